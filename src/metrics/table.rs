//! The table of metrics: each once, with its exported name, kind and help.

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; exported with the ending `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The metric.
    pub metric: Metric,
    /// Exported name without `annulus_` in front and `_total` behind; the unit is its last word.
    pub name: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// One sentence without a full stop.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($kind:ident $metric:ident $name:literal $help:literal;)*) => {
        /// Every metric of a core.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Metric {
            $(#[doc = $help] $metric,)*
        }

        /// Every metric, in the order of [`Metric`].
        pub const METRICS: &[Row] = &[
            $(Row { metric: Metric::$metric, name: $name, kind: Kind::$kind, help: $help },)*
        ];
    };
}

metrics! {
    Gauge ConnectionsOpen "connections_open" "Client connections that are open";
    Counter ConnectionsAccepted "connections_accepted" "Client connections accepted";
    Counter ConnectionsRefused "connections_refused" "Client connections refused because maxclients was reached";
    Counter ConnectionsIdleClosed "connections_idle_closed" "Client connections closed because they were idle";
    Counter ConnectionsSlowClosed "connections_slow_closed" "Client connections closed because they did not read";
    Counter ReceivedBytes "received_bytes" "Bytes received from clients";
    Counter SentBytes "sent_bytes" "Bytes sent to clients";
    Counter CommandsRead "commands_read" "Commands that read values";
    Counter CommandsWrite "commands_write" "Commands that write or delete values";
    Counter CommandsKey "commands_key" "Commands about keys: existence, expiry, type";
    Counter CommandsScan "commands_scan" "Commands that walk over keys";
    Counter CommandsConnection "commands_connection" "Commands about the connection";
    Counter CommandsServer "commands_server" "Commands about the server";
    Counter CommandsCluster "commands_cluster" "Commands about the cluster";
    Counter CommandErrors "command_errors" "Commands answered by an error";
    Counter ProtocolErrors "protocol_errors" "Connections closed because of malformed requests";
    Counter KeyHits "key_hits" "Lookups of keys that were there";
    Counter KeyMisses "key_misses" "Lookups of keys that were not there";
    Counter KeysExpired "keys_expired" "Keys whose time had come";
    Counter MeshSent "mesh_sent" "Messages sent to other cores";
    Counter CoreForwards "core_forwards" "Clients' commands on keys of which another core of the node has one or more";
    Counter MeshReceived "mesh_received" "Messages received from other cores";
    Counter MeshWaits "mesh_waits" "Turns in which a queue to another core was full";
    Counter LogCommits "log_commits" "Group commits that became durable";
    Counter LogBytes "log_bytes" "Bytes written to the hot log";
    Counter LogWriteFailures "log_write_failures" "Writes of the hot log that failed";
    Gauge LogSegments "log_segments" "Segments of the hot log that hold data";
    Gauge LogFileBytes "log_file_bytes" "Bytes of the hot log's files";
    Gauge PartitionFiles "partition_files" "Partition files";
    Gauge PartitionRuns "partition_runs" "Sealed runs in partition files";
    Gauge PartitionFileBytes "partition_file_bytes" "Bytes of partition files";
    Gauge LiveBytes "live_bytes" "Bytes of the records that count";
    Gauge Tombstones "tombstones" "Deleted or expired keys that are still remembered";
    Counter TombstonesReaped "tombstones_reaped" "Tombstones that nothing needed any more";
    Counter Drains "drains" "Drains of hot log segments into partition files";
    Counter SegmentsRecycled "segments_recycled" "Segments of the hot log that were used again";
    Counter Compactions "compactions" "Compactions of all files of a partition";
    Counter CompactionsFailed "compactions_failed" "Drains and compactions that were given up";
    Counter CompactionReadBytes "compaction_read_bytes" "Bytes that drains and compactions read";
    Counter CompactionWrittenBytes "compaction_written_bytes" "Bytes that drains and compactions wrote";
    Gauge WriteDelayMicroseconds "write_delay_microseconds" "How long log writes are put off because compaction is behind";
    Gauge PartitionsDamaged "partitions_damaged" "Partitions in whose files damage was found";
    Counter ScrubbedBytes "scrubbed_bytes" "Bytes of files that the scrub has looked at";
    Counter ScrubDamage "scrub_damage" "Damaged places that the scrub has found";
    Counter ScrubCycles "scrub_cycles" "Times that the scrub has looked at everything";
    Gauge DiskFreeBytes "disk_free_bytes" "Bytes free where the data is; the same for every core";
    Counter RecordReads "record_reads" "Records read from the disk";
    Counter RecordReadFailures "record_read_failures" "Records that could not be read or had a bad checksum";
    Counter CacheHits "cache_hits" "Values found in the cache";
    Counter CacheMisses "cache_misses" "Values that were not in the cache";
    Gauge CacheBytes "cache_bytes" "Bytes that the cache takes";
    Gauge IndexBytes "index_bytes" "Bytes that the index takes";
    Gauge MemoryBytes "memory_bytes" "Bytes that count towards the memory limit";
    Gauge Keys "keys" "Keys that are held";
    Gauge KeysWithExpiry "keys_with_expiry" "Keys that are held and will expire";
    Gauge PendingBytes "pending_bytes" "Bytes of writes that are not durable yet";
    Counter WritesRefused "writes_refused" "Writes refused for want of memory or disk, or because the core is read-only";
    Gauge ReadOnly "read_only" "1 when the core refuses writes because its disk failed or is full";
    Counter ReplicatedPuts "replicated_puts" "Clients' writes that this core coordinated";
    Counter ReplicatedGets "replicated_gets" "Clients' reads that this core coordinated";
    Counter Forwards "forwards" "Clients' commands that were passed to an owner";
    Counter ForwardsAgain "forwards_again" "Repeatable writes that were passed to another owner because the first did not say what became of them";
    Counter Forwarded "forwarded" "Commands of other nodes' clients that were coordinated here";
    Counter FallbackPuts "fallback_puts" "Writes that this core coordinated without owning the partition";
    Counter SloppyCopies "sloppy_copies" "Copies that went to a fallback";
    Counter CopiesAgain "copies_again" "Copies that were sent to their owners again because a connection was lost";
    Counter InDoubt "in_doubt" "Clients that were told that a write may or may not survive";
    Counter NoReplicas "no_replicas" "Clients that were told that too few nodes answer, before anything was sent";
    Counter ReadTimeouts "read_timeouts" "Reads that too few nodes answered";
    Counter StalePossible "stale_possible" "Reads that fewer owners answered than R";
    Counter CoordinatorBusy "coordinator_busy" "Clients that were refused because too much was under way";
    Counter SiblingsWarned "siblings_warned" "Writes after which a key had many siblings";
    Counter SiblingsRefused "siblings_refused" "Writes that were refused because of too many siblings";
    Counter MergedReads "merged_reads" "Reads for which objects were fetched because versions differed";
    Counter ReadRepairs "read_repairs" "Objects sent to owners that a read found stale";
    Counter ReadRepairsSkipped "read_repairs_skipped" "Read repairs that were left to anti-entropy because there were too many";
    Counter HintsTaken "hints_taken" "Hints taken for other coordinators";
    Counter HintsRefused "hints_refused" "Hints refused because there are too many for that target";
    Counter HintsOwn "hints_own" "Hints that a coordinator kept itself";
    Counter UnhintedCopies "unhinted_copies" "Copies that nobody keeps a hint of, so that anti-entropy has to find them";
    Counter HintsHandedOver "hints_handed_over" "Hints handed over and forgotten";
    Counter HintFailures "hint_failures" "Attempts to hand a hint over that failed";
    Counter HintsRerouted "hints_rerouted" "Hints handed to all owners because their target is none any more";
    Counter IncarnationsNeeded "incarnations_needed" "Times that the protocol asked for a new incarnation";
    Counter BadMessages "bad_messages" "Messages of other nodes that did not decode";
    Counter RingDiffers "ring_differs" "Messages of senders with another ring";
    Counter LateReplies "late_replies" "Replies that nobody waited for any more";
    Counter ForwardsDropped "forwards_dropped" "Forwarded commands that came twice, late, or after their deadline";
    Counter Exchanges "exchanges" "Exchanges with other owners that this core began";
    Counter ExchangesEqual "exchanges_equal" "Exchanges that found the same tree";
    Counter ExchangesDiffering "exchanges_differing" "Exchanges that found another tree and were carried to the end";
    Counter ExchangesFailed "exchanges_failed" "Exchanges that were refused or not answered in time";
    Counter ExchangesOfDirty "exchanges_of_dirty" "Exchanges of a pair that was known to differ";
    Counter ExchangeKeys "exchange_keys" "Keys whose versions were compared in exchanges";
    Counter ExchangeObjectsSent "exchange_objects_sent" "Objects sent to owners that an exchange found to lack some of them";
    Counter ExchangeObjectsReceived "exchange_objects_received" "Objects that other owners sent because this node lacked some of them";
    Counter ExchangeObjectsSkipped "exchange_objects_skipped" "Objects that were left to the next exchange";
    Counter WordsUncounted "words_uncounted" "Times that what this core told of a key did not count, because its node is being refilled";
    Counter PartitionsRefilled "partitions_refilled" "Partitions that are whole again after the node's disk was lost";
    Counter DirtyDropped "dirty_dropped" "Pairs known to differ that were left to the regular exchanges";
    Counter Oversized "oversized" "Writes and objects that are too large";
    Gauge LinksOpen "links_open" "Connections to cores of other nodes";
    Gauge LinkQueuedBytes "link_queued_bytes" "Bytes that wait to be sent to other nodes";
    Counter LinkFramesSent "link_frames_sent" "Frames sent to other nodes";
    Counter LinkFramesReceived "link_frames_received" "Frames received from other nodes";
    Counter LinkSentBytes "link_sent_bytes" "Bytes sent to other nodes";
    Counter LinkReceivedBytes "link_received_bytes" "Bytes received from other nodes";
    Counter LinkDials "link_dials" "Connections to other nodes that were begun";
    Counter LinkDialFailures "link_dial_failures" "Connections to other nodes that did not come about";
    Counter LinksBroken "links_broken" "Connections to other nodes that broke";
    Counter LinkMessagesDropped "link_messages_dropped" "Messages given up because too much waited for their node";
    Gauge ClockSkewMilliseconds "clock_skew_milliseconds" "By how much the clock of any member was off at most, when it connected; the same for every core";
    Gauge HintsKept "hints_kept" "Keys that are kept for nodes that did not answer";
    Counter Turns "turns" "Turns of the core's loop";
    Counter Stalls "stalls" "Turns that took more than 100 ms";
}

/// Commands by what they are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Family {
    /// Reads values.
    Read,
    /// Writes or deletes values.
    Write,
    /// Existence, expiry, type.
    Key,
    /// Walks over keys.
    Scan,
    /// The connection.
    Connection,
    /// The server.
    Server,
    /// The cluster.
    Cluster,
}

impl Family {
    /// All of them, in order.
    pub const ALL: [Self; 7] =
        [Self::Read, Self::Write, Self::Key, Self::Scan, Self::Connection, Self::Server, Self::Cluster];

    /// The counter of its commands.
    pub const fn metric(self) -> Metric {
        match self {
            Self::Read => Metric::CommandsRead,
            Self::Write => Metric::CommandsWrite,
            Self::Key => Metric::CommandsKey,
            Self::Scan => Metric::CommandsScan,
            Self::Connection => Metric::CommandsConnection,
            Self::Server => Metric::CommandsServer,
            Self::Cluster => Metric::CommandsCluster,
        }
    }

    /// As exported.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Key => "key",
            Self::Scan => "scan",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Cluster => "cluster",
        }
    }
}
