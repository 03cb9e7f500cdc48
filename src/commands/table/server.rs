//! Commands on the server: its own commands, configuration, figures, and how it is run.

use super::access::RO;
use super::build::rows;
use super::category::{ADMIN, CONNECTION, DANGEROUS, KEYSPACE};
use super::refusals::{
    ACCOUNTS, CONFIGURATION_FILE, DURABLE_LOG, INTERNALS, LATENCY_EVENTS, LEADERLESS, MEMORY_FIGURES, MODULES,
    MONITORING, ONE_DATABASE, OWN_FORMAT, PICTURES,
};
use super::{Command::*, Gather::*, Route::*, Row};

const DEPENDS: &str = "Depends on the subcommand.";
const ANY_ORDER: &[&str] = &["nondeterministic_output_order"];
const ALL_SHARDS_OK: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];
const ALL_NODES_OK: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

pub(super) static ROWS: &[Row] = rows! { Server:
    "command" -1 () [LOADING STALE] "2.8.13"
        => served(Command, Session, "", "O(N) for N commands", "Describes all commands.")
        .container(COMMAND).categories_instead(CONNECTION).tips(ANY_ORDER);
    "config" -2 () [] "2.0.0"
        => served(Config, Session, "", DEPENDS, "Holds the commands on the configuration.").container(CONFIG);
    "dbsize" 1 () [READONLY FAST] "1.0.0"
        => served(DbSize, EveryCore(Sum), "", "O(1)", "Counts the keys.")
        .categories_instead(KEYSPACE).tips(&["request_policy:all_shards", "response_policy:agg_sum"]);
    "flushall" -1 () [WRITE] "1.0.0"
        => served(FlushAll, EveryCore(AllOk), "[ASYNC | SYNC]", "O(N) for N keys", "Deletes all keys.")
        .categories_instead(KEYSPACE | DANGEROUS).tips(ALL_SHARDS_OK);
    "flushdb" -1 () [WRITE] "1.0.0"
        => served(FlushDb, EveryCore(AllOk), "[ASYNC | SYNC]", "O(N) for N keys", "Deletes all keys, as FLUSHALL does.")
        .categories_instead(KEYSPACE | DANGEROUS).tips(ALL_SHARDS_OK);
    "info" -1 () [LOADING STALE] "1.0.0"
        => served(Info, Session, "[section [section ...]]", "O(1)", "Returns the server's state and figures.")
        .categories_instead(DANGEROUS)
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]);
    "latency" -2 () [] "2.8.13"
        => served(Latency, Session, "", DEPENDS, "Holds the commands on latencies.").container(LATENCY);
    "memory" -2 () [] "4.0.0"
        => served(Memory, Session, "", DEPENDS, "Holds the commands on memory.").container(MEMORY);
    "shutdown" -1 () [ADMIN NOSCRIPT LOADING STALE NO_MULTI ALLOW_BUSY] "1.0.0"
        => served(Shutdown, Session, "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]", "O(1)",
            "Finishes what is under way and stops the server.");
    "slowlog" -2 () [] "2.2.12"
        => served(SlowLog, Session, "", DEPENDS, "Holds the commands on the slow log.").container(SLOWLOG);
    "time" 1 () [LOADING STALE FAST] "2.6.0"
        => served(Time, Session, "", "O(1)", "Returns the server's time: seconds and microseconds.")
        .tips(&["nondeterministic_output"]);
    "acl" -2 () [] "6.0.0" => refused(ACCOUNTS).container(ACL);
    "module" -2 () [] "4.0.0" => refused(MODULES).container(MODULE);

    "bgrewriteaof" 1 () [ADMIN NOSCRIPT NO_ASYNC_LOADING] "1.0.0" => refused(DURABLE_LOG);
    "bgsave" -1 () [ADMIN NOSCRIPT NO_ASYNC_LOADING] "1.0.0" => refused(DURABLE_LOG);
    "lastsave" 1 () [LOADING STALE FAST] "1.0.0"
        => refused(DURABLE_LOG).categories_instead(ADMIN | DANGEROUS);
    "save" 1 () [ADMIN NOSCRIPT NO_ASYNC_LOADING NO_MULTI] "1.0.0" => refused(DURABLE_LOG);
    "debug" -2 () [ADMIN NOSCRIPT LOADING STALE] "1.0.0" => refused(INTERNALS);
    "failover" -1 () [ADMIN NOSCRIPT STALE] "6.2.0" => refused(LEADERLESS);
    "psync" -3 () [ADMIN NOSCRIPT NO_ASYNC_LOADING NO_MULTI] "2.8.0" => refused(LEADERLESS);
    "replconf" -1 () [ADMIN NOSCRIPT LOADING STALE ALLOW_BUSY] "3.0.0" => refused(LEADERLESS);
    "replicaof" 3 () [ADMIN NOSCRIPT STALE NO_ASYNC_LOADING] "5.0.0" => refused(LEADERLESS);
    "role" 1 () [NOSCRIPT LOADING STALE FAST] "2.8.12"
        => refused(LEADERLESS).categories_instead(ADMIN | DANGEROUS);
    "slaveof" 3 () [ADMIN NOSCRIPT STALE NO_ASYNC_LOADING] "1.0.0" => refused(LEADERLESS);
    "sync" 1 () [ADMIN NOSCRIPT NO_ASYNC_LOADING NO_MULTI] "1.0.0" => refused(LEADERLESS);
    "lolwut" -1 () [READONLY FAST] "5.0.0" => refused(PICTURES);
    "monitor" 1 () [ADMIN NOSCRIPT LOADING STALE] "1.0.0" => refused(MONITORING);
    "restore-asking" -4 (1 1 1) [WRITE DENYOOM ASKING] "3.0.0"
        => refused(OWN_FORMAT).categories_instead(KEYSPACE | DANGEROUS);
    "swapdb" 3 () [WRITE FAST] "4.0.0" => refused(ONE_DATABASE).categories_instead(KEYSPACE | DANGEROUS);
};

static COMMAND: &[Row] = rows! { Server:
    "command|count" 2 () [LOADING STALE] "2.8.13"
        => served(CommandCount, Session, "", "O(1)", "Counts the commands.").categories_instead(CONNECTION);
    "command|docs" -2 () [LOADING STALE] "7.0.0"
        => served(CommandDocs, Session, "[command-name [command-name ...]]", "O(N) for N commands",
            "Returns the manual of commands.")
        .categories_instead(CONNECTION).tips(ANY_ORDER);
    "command|getkeys" -3 () [LOADING STALE] "2.8.13"
        => served(CommandGetKeys, Session, "command [arg [arg ...]]", "O(N) for N arguments",
            "Returns the keys of a full command.")
        .categories_instead(CONNECTION);
    "command|getkeysandflags" -3 () [LOADING STALE] "7.0.0"
        => served(CommandGetKeysAndFlags, Session, "command [arg [arg ...]]", "O(N) for N arguments",
            "Returns the keys of a full command and what it does to them.")
        .categories_instead(CONNECTION);
    "command|help" 2 () [LOADING STALE] "5.0.0" => help().categories_instead(CONNECTION);
    "command|info" -2 () [LOADING STALE] "2.8.13"
        => served(CommandInfo, Session, "[command-name [command-name ...]]", "O(N) for N commands",
            "Describes some or all commands.")
        .categories_instead(CONNECTION).tips(ANY_ORDER);
    "command|list" -2 () [LOADING STALE] "7.0.0"
        => served(CommandList, Session, "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
            "O(N) for N commands", "Lists the names of commands.")
        .categories_instead(CONNECTION).tips(ANY_ORDER);
};

static CONFIG: &[Row] = rows! { Server:
    "config|get" -3 () [ADMIN NOSCRIPT LOADING STALE] "2.0.0"
        => served(ConfigGet, Session, "parameter [parameter ...]", "O(N) for N parameters",
            "Returns the values of parameters that match the patterns.");
    "config|help" 2 () [LOADING STALE] "5.0.0" => help();
    "config|resetstat" 2 () [ADMIN NOSCRIPT LOADING STALE] "2.0.0"
        => served(ConfigResetStat, Session, "", "O(1)", "Sets the figures of INFO back to zero.")
        .tips(ALL_NODES_OK);
    "config|set" -4 () [ADMIN NOSCRIPT LOADING STALE] "2.0.0"
        => served(ConfigSet, Session, "parameter value [parameter value ...]", "O(N) for N parameters",
            "Sets parameters until the next start.")
        .tips(ALL_NODES_OK);

    "config|rewrite" 2 () [ADMIN NOSCRIPT LOADING STALE] "2.8.0" => refused(CONFIGURATION_FILE);
};

static LATENCY: &[Row] = rows! { Server:
    "latency|help" 2 () [LOADING STALE] "2.8.13" => help();
    "latency|histogram" -2 () [ADMIN NOSCRIPT LOADING STALE] "7.0.0"
        => served(LatencyHistogram, Session, "[command [command ...]]", "O(N) for N commands",
            "Returns how long commands took, as histograms.")
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]);

    "latency|doctor" 2 () [ADMIN NOSCRIPT LOADING STALE] "2.8.13" => refused(LATENCY_EVENTS);
    "latency|graph" 3 () [ADMIN NOSCRIPT LOADING STALE] "2.8.13" => refused(LATENCY_EVENTS);
    "latency|history" 3 () [ADMIN NOSCRIPT LOADING STALE] "2.8.13" => refused(LATENCY_EVENTS);
    "latency|latest" 2 () [ADMIN NOSCRIPT LOADING STALE] "2.8.13" => refused(LATENCY_EVENTS);
    "latency|reset" -2 () [ADMIN NOSCRIPT LOADING STALE] "2.8.13" => refused(LATENCY_EVENTS);
};

static MEMORY: &[Row] = rows! { Server:
    "memory|help" 2 () [LOADING STALE] "4.0.0" => help();
    "memory|usage" -3 (2 2 1) [READONLY] "4.0.0"
        => served(MemoryUsage, OneKey, "key [SAMPLES count]", "O(1)", "Estimates the bytes that a key takes.")
        .access(RO);

    "memory|doctor" 2 () [] "4.0.0" => refused(MEMORY_FIGURES);
    "memory|malloc-stats" 2 () [] "4.0.0" => refused(MEMORY_FIGURES);
    "memory|purge" 2 () [] "4.0.0" => refused(MEMORY_FIGURES);
    "memory|stats" 2 () [] "4.0.0" => refused(MEMORY_FIGURES);
};

static SLOWLOG: &[Row] = rows! { Server:
    "slowlog|get" -2 () [ADMIN LOADING STALE] "2.2.12"
        => served(SlowLogGet, Session, "[count]", "O(N) for N entries", "Returns the newest entries of the slow log.")
        .tips(&["request_policy:all_nodes", "nondeterministic_output"]);
    "slowlog|help" 2 () [LOADING STALE] "6.2.0" => help();
    "slowlog|len" 2 () [ADMIN LOADING STALE] "2.2.12"
        => served(SlowLogLen, Session, "", "O(1)", "Counts the entries of the slow log.")
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"]);
    "slowlog|reset" 2 () [ADMIN LOADING STALE] "2.2.12"
        => served(SlowLogReset, Session, "", "O(N) for N entries", "Empties the slow log.")
        .tips(ALL_NODES_OK);
};

static ACL: &[Row] = rows! { Server:
    "acl|cat" -2 () [NOSCRIPT LOADING STALE] "6.0.0" => refused(ACCOUNTS);
    "acl|deluser" -3 () [ADMIN NOSCRIPT LOADING STALE] "6.0.0" => refused(ACCOUNTS);
    "acl|dryrun" -4 () [ADMIN NOSCRIPT LOADING STALE] "7.0.0" => refused(ACCOUNTS);
    "acl|genpass" -2 () [NOSCRIPT LOADING STALE] "6.0.0" => refused(ACCOUNTS);
    "acl|getuser" 3 () [ADMIN NOSCRIPT LOADING STALE] "6.0.0" => refused(ACCOUNTS);
    "acl|help" 2 () [LOADING STALE] "6.0.0" => refused(ACCOUNTS);
    "acl|list" 2 () [ADMIN NOSCRIPT LOADING STALE] "6.0.0" => refused(ACCOUNTS);
    "acl|load" 2 () [ADMIN NOSCRIPT LOADING STALE] "6.0.0" => refused(ACCOUNTS);
    "acl|log" -2 () [ADMIN NOSCRIPT LOADING STALE] "6.0.0" => refused(ACCOUNTS);
    "acl|save" 2 () [ADMIN NOSCRIPT LOADING STALE] "6.0.0" => refused(ACCOUNTS);
    "acl|setuser" -3 () [ADMIN NOSCRIPT LOADING STALE] "6.0.0" => refused(ACCOUNTS);
    "acl|users" 2 () [ADMIN NOSCRIPT LOADING STALE] "6.0.0" => refused(ACCOUNTS);
    "acl|whoami" 2 () [NOSCRIPT LOADING STALE] "6.0.0" => refused(ACCOUNTS);
};

static MODULE: &[Row] = rows! { Server:
    "module|help" 2 () [LOADING STALE] "5.0.0" => refused(MODULES);
    "module|list" 2 () [ADMIN NOSCRIPT] "4.0.0" => refused(MODULES);
    "module|load" -3 () [ADMIN NOSCRIPT NO_ASYNC_LOADING] "4.0.0" => refused(MODULES);
    "module|loadex" -3 () [ADMIN NOSCRIPT NO_ASYNC_LOADING] "7.0.0" => refused(MODULES);
    "module|unload" 3 () [ADMIN NOSCRIPT NO_ASYNC_LOADING] "4.0.0" => refused(MODULES);
};
