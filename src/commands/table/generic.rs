//! Commands on keys of any type.

use super::access::{ACCESS, DELETE, RM, RO, RW, UPDATE};
use super::build::rows;
use super::category::{CONNECTION, DANGEROUS, KEYSPACE, LIST, SET, SORTEDSET};
use super::refusals::{ONE_DATABASE, OWN_FORMAT, SORTING, STATISTICS_OF_KEYS, TWO_KEYS};
use super::{Command::*, Gather::*, Route::*, Row};

const MULTI_SHARD_SUM: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];
const CHANGES_BY_ITSELF: &[&str] = &["nondeterministic_output"];

pub(super) static ROWS: &[Row] = rows! { Generic:
    "del" -2 (1 -1 1) [WRITE] "1.0.0"
        => served(Del, Gather(Sum), "key [key ...]", "O(N) for N keys", "Deletes keys, each atomic on its own.")
        .access(RM | DELETE).tips(MULTI_SHARD_SUM);
    "unlink" -2 (1 -1 1) [WRITE FAST] "4.0.0"
        => served(Unlink, Gather(Sum), "key [key ...]", "O(N) for N keys", "Deletes keys, as DEL does.")
        .access(RM | DELETE).tips(MULTI_SHARD_SUM);
    "exists" -2 (1 -1 1) [READONLY FAST] "1.0.0"
        => served(Exists, Gather(Sum), "key [key ...]", "O(N) for N keys",
            "Counts those of the keys that exist; one named twice counts twice.")
        .access(RO).tips(MULTI_SHARD_SUM);
    "touch" -2 (1 -1 1) [READONLY FAST] "3.2.1"
        => served(Touch, Gather(Sum), "key [key ...]", "O(N) for N keys", "Counts those of the keys that exist.")
        .access(RO).tips(MULTI_SHARD_SUM);
    "type" 2 (1 1 1) [READONLY FAST] "1.0.0"
        => served(Type, OneKey, "key", "O(1)", "Returns the type of a value: string, or none.")
        .access(RO);
    "expire" -3 (1 1 1) [WRITE FAST] "1.0.0"
        => served(Expire, OneKey, "key seconds [NX | XX | GT | LT]",
            "O(1)",
            "Sets the expiry of a key in seconds from now.")
        .access(RW | UPDATE);
    "pexpire" -3 (1 1 1) [WRITE FAST] "2.6.0"
        => served(PExpire, OneKey, "key milliseconds [NX | XX | GT | LT]", "O(1)",
            "Sets the expiry of a key in milliseconds from now.")
        .access(RW | UPDATE);
    "expireat" -3 (1 1 1) [WRITE FAST] "1.2.0"
        => served(ExpireAt, OneKey, "key unix-time-seconds [NX | XX | GT | LT]", "O(1)",
            "Sets the expiry of a key as Unix time in seconds.")
        .access(RW | UPDATE);
    "pexpireat" -3 (1 1 1) [WRITE FAST] "2.6.0"
        => served(PExpireAt, OneKey, "key unix-time-milliseconds [NX | XX | GT | LT]", "O(1)",
            "Sets the expiry of a key as Unix time in milliseconds.")
        .access(RW | UPDATE);
    "ttl" 2 (1 1 1) [READONLY FAST] "1.0.0"
        => served(Ttl, OneKey, "key", "O(1)", "Returns the seconds until a key expires.")
        .access(RO | ACCESS).tips(CHANGES_BY_ITSELF);
    "pttl" 2 (1 1 1) [READONLY FAST] "2.6.0"
        => served(PTtl, OneKey, "key", "O(1)", "Returns the milliseconds until a key expires.")
        .access(RO | ACCESS).tips(CHANGES_BY_ITSELF);
    "expiretime" 2 (1 1 1) [READONLY FAST] "7.0.0"
        => served(ExpireTime, OneKey, "key", "O(1)", "Returns the Unix time in seconds at which a key expires.")
        .access(RO | ACCESS);
    "pexpiretime" 2 (1 1 1) [READONLY FAST] "7.0.0"
        => served(PExpireTime, OneKey, "key", "O(1)", "Returns the Unix time in milliseconds at which a key expires.")
        .access(RO | ACCESS);
    "persist" 2 (1 1 1) [WRITE FAST] "2.2.0"
        => served(Persist, OneKey, "key", "O(1)", "Removes the expiry of a key.")
        .access(RW | UPDATE);
    "keys" 2 () [READONLY] "1.0.0"
        => served(Keys, EveryCore(Concat), "pattern",
            "O(N) for N keys stored",
            "Returns the keys that match a pattern.")
        .categories_instead(KEYSPACE | DANGEROUS)
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"]);
    "scan" -2 () [READONLY] "2.8.0"
        => served(Scan, Cursor, "cursor [MATCH pattern] [COUNT count] [TYPE type]", "O(1) for each call",
            "Returns some of the keys and the cursor with which to go on.")
        .tips(&["nondeterministic_output", "request_policy:special"]);
    "randomkey" 1 () [READONLY] "1.0.0"
        => served(RandomKey, EveryCore(AnyKey), "", "O(1)", "Returns a key chosen at random.")
        .tips(&["request_policy:all_shards", "nondeterministic_output"]);
    "wait" 3 () [NOSCRIPT] "3.0.0"
        => served(Wait, Session, "numreplicas timeout", "O(1)",
            "Returns how many other replicas have what the connection was told is written. It never waits.")
        .categories_instead(CONNECTION).tips(&["request_policy:all_shards", "response_policy:agg_min"]);
    "waitaof" 4 () [BLOCKING] "7.2.0"
        => served(WaitAof, Session, "numlocal numreplicas timeout", "O(1)",
            "Returns whether one replica has that on stable storage, and how many others have. It never waits.")
        .categories_instead(CONNECTION).tips(&["request_policy:all_shards", "response_policy:agg_min"]);
    "object" -2 () [] "2.2.3" => refused(STATISTICS_OF_KEYS).container(OBJECT);

    "rename" 3 (1 2 1) [WRITE] "1.0.0" => refused(TWO_KEYS);
    "renamenx" 3 (1 2 1) [WRITE FAST] "1.0.0" => refused(TWO_KEYS);
    "copy" -3 (1 2 1) [WRITE DENYOOM] "6.2.0" => refused(TWO_KEYS);
    "move" 3 (1 1 1) [WRITE FAST] "1.0.0" => refused(ONE_DATABASE);
    "dump" 2 (1 1 1) [READONLY] "2.6.0" => refused(OWN_FORMAT);
    "restore" -4 (1 1 1) [WRITE DENYOOM] "2.6.0"
        => refused(OWN_FORMAT).categories_instead(KEYSPACE | DANGEROUS);
    "migrate" -6 (3 3 1) [WRITE MOVABLEKEYS] "2.6.0"
        => refused(OWN_FORMAT).categories_instead(KEYSPACE | DANGEROUS);
    "sort" -2 (1 1 1) [WRITE DENYOOM MOVABLEKEYS] "1.0.0"
        => refused(SORTING).categories_instead(SET | SORTEDSET | LIST | DANGEROUS);
    "sort_ro" -2 (1 1 1) [READONLY MOVABLEKEYS] "7.0.0"
        => refused(SORTING).categories_instead(SET | SORTEDSET | LIST | DANGEROUS);
};

static OBJECT: &[Row] = rows! { Generic:
    "object|encoding" 3 (2 2 1) [READONLY] "2.2.3" => refused(STATISTICS_OF_KEYS);
    "object|freq" 3 (2 2 1) [READONLY] "4.0.0" => refused(STATISTICS_OF_KEYS);
    "object|help" 2 () [LOADING STALE] "6.2.0" => refused(STATISTICS_OF_KEYS);
    "object|idletime" 3 (2 2 1) [READONLY] "2.2.3" => refused(STATISTICS_OF_KEYS);
    "object|refcount" 3 (2 2 1) [READONLY] "2.2.3" => refused(STATISTICS_OF_KEYS);
};
