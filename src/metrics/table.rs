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
