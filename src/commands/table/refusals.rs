//! Why commands are not served, and what to use instead: two half sentences that every refusal prints.

/// One reason, shared by all commands that it concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What stands against it.
    pub why: &'static str,
    /// What does the work here.
    pub instead: &'static str,
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident: $why:literal; $instead:literal;)*) => {
        $($(#[$doc])* pub const $name: Refusal = Refusal { why: $why, instead: $instead };)*
    };
}

refusals! {
    /// SETNX, MSETNX, and the options NX and XX of SET.
    COMPARE_AND_SET: "replicas accept writes independently, so none can promise to be the first";
        "use SET, and let one writer own each key";
    /// Counters and changes inside a value.
    READ_MODIFY_WRITE: "replicas accept writes independently, and one's change would overwrite another's";
        "GET the value, change it in the client and SET it, or keep one key per writer and add them up";
    /// GETSET, GETDEL and the option GET of SET where a key has several copies.
    SWAPS: "replicas accept writes independently, and one that comes in between would be lost unseen";
        "send GET and SET or DEL, or let it be done in two steps with relaxed-commands = yes";
    /// LCS.
    COMPARISON: "values are not compared in the store"; "GET both values and compare them in the client";
    /// Commands that change two keys as one.
    TWO_KEYS: "two keys live on different cores and replicas and do not change together";
        "GET the old key, SET the new one, then DEL the old";
    /// Databases other than 0.
    ONE_DATABASE: "there is only database 0"; "give each set of data a key prefix";
    /// Redis' serialised values.
    OWN_FORMAT: "Redis' serialised values are neither written nor read"; "copy keys with SCAN, GET, PTTL and SET";
    /// SORT.
    SORTING: "only strings are stored, and there is no list or set to sort"; "sort in the client";
    /// OBJECT.
    STATISTICS_OF_KEYS: "values have one encoding and no record of their use"; "use TYPE, STRLEN or MEMORY USAGE";
    /// Tracking for caches in clients.
    CLIENT_CACHES: "the keys that clients cache are not tracked"; "let cached values expire in the client";
    /// CLIENT PAUSE.
    NO_FAILOVER: "no failover has to wait for clients to pause"; "stop the traffic at the clients";
    /// CLIENT UNBLOCK.
    NOTHING_BLOCKS: "no command blocks"; "close a connection with CLIENT KILL";
    /// Users and their rights.
    ACCOUNTS: "every client has the same rights"; "set requirepass and use AUTH";
    /// CONFIG REWRITE.
    CONFIGURATION_FILE: "the server never writes its configuration file";
        "edit the file, and CONFIG SET until the next start";
    /// Snapshots and rewrites.
    DURABLE_LOG: "the log keeps every write, and there is no snapshot to take or log to rewrite";
        "see INFO persistence, and choose with the setting durability";
    /// DEBUG.
    INTERNALS: "clients cannot reach into the server"; "use INFO, SLOWLOG and LATENCY HISTOGRAM";
    /// LATENCY but for HISTOGRAM.
    LATENCY_EVENTS: "latency events are not sampled"; "use LATENCY HISTOGRAM or SLOWLOG";
    /// Redis' replication.
    LEADERLESS: "no node leads or follows another"; "see CLUSTER NODES and INFO";
    /// MEMORY but for USAGE.
    MEMORY_FIGURES: "the allocator has nothing to report or to purge"; "use INFO memory or MEMORY USAGE";
    /// MODULE.
    MODULES: "no code is loaded into the server"; "see COMMAND LIST for what is served";
    /// MONITOR.
    MONITORING: "a feed of all commands would slow every core"; "use SLOWLOG, LATENCY HISTOGRAM or INFO commandstats";
    /// LOLWUT.
    PICTURES: "the server draws no pictures"; "see INFO server for its version";
    /// CLUSTER's figures about one node.
    NODE_FIGURES: "Redis' cluster bus and replica sets do not exist here"; "use CLUSTER SHARDS or CLUSTER NODES";
    /// CLUSTER's changes of placement.
    OWN_PLACEMENT: "the nodes place slots themselves"; "see CLUSTER SHARDS for where they are";
    /// Lists.
    LISTS: "only strings are stored"; "keep the list in one encoded value, or one key per element";
    /// Hashes.
    HASHES: "only strings are stored"; "keep one key per field, or all fields in one encoded value";
    /// Sets.
    SETS: "only strings are stored"; "keep one key per member, or the set in one encoded value";
    /// Sorted sets.
    SORTED_SETS: "only strings are stored, and keys have no order"; "keep the ranking in one encoded value";
    /// Streams.
    STREAMS: "only strings are stored, and keys have no order"; "use a message log beside the store";
    /// Bitmaps and bit fields.
    BITMAPS: "values are read and written as a whole"; "GET the value, use its bits in the client and SET it";
    /// HyperLogLog.
    SKETCHES: "only plain strings are stored"; "keep the sketch of a library in the client as a value";
    /// Geographic indexes.
    PLACES: "only strings are stored, and keys have no order"; "put a geohash prefix into the key";
    /// Publish and subscribe.
    MESSAGES: "the server stores values and passes no messages on"; "use a message broker beside the store";
    /// MULTI, EXEC, DISCARD.
    TRANSACTIONS: "keys live on different cores and replicas and do not change as one";
        "send the commands as one batch with pipeline(transaction=False)";
    /// WATCH.
    WATCHING: "replicas accept writes independently, so no change can depend on a key having stayed the same";
        "let one writer own each key, and batch with pipeline(transaction=False)";
    /// Scripts and functions.
    SCRIPTS: "no code runs inside the server"; "run it in the client, batching with pipeline(transaction=False)";
}
