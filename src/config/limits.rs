//! Ranges and defaults of the configuration, and how they relate.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

const MIB: u64 = 1024 * 1024;

/// Namespace of the ranges and defaults; sizes in bytes.
pub struct ConfigLimits;

impl ConfigLimits {
    /// Data directory unless told.
    pub const DATA: &'static str = "./annulus-data";
    /// Where clients connect unless told.
    pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7379);
    /// Most cores of a node: core ports must stay below the HTTP port.
    pub const CORES_MAX: usize = 1024;
    /// HTTP is on the base port plus this, unless told.
    pub const HTTP_PORT_OFFSET: u16 = 2000;
    /// Peers are on the base port plus this.
    pub const PEER_PORT_OFFSET: u16 = 10_000;

    /// Most bytes of a cluster's name.
    pub const CLUSTER_NAME_BYTES_MAX: usize = 64;
    /// Most seeds: a node needs one that answers.
    pub const SEEDS_MAX: usize = 32;
    /// Most nodes that found a cluster together; more can join it.
    pub const FOUNDERS_MAX: u8 = 64;
    /// `copies` unless told.
    pub const COPIES: u8 = 3;
    /// `deadline` unless told.
    pub const DEADLINE: Duration = Duration::from_secs(1);
    /// Least `deadline`: below it a sync to a disk is no answer any more.
    pub const DEADLINE_MIN: Duration = Duration::from_millis(10);
    /// Largest `deadline`.
    pub const DEADLINE_MAX: Duration = Duration::from_secs(60);

    /// Share of the cgroup's or machine's memory.
    pub const MEMORY_LIMIT_PERCENT: u64 = 80;
    /// Least `memory-limit` of a core: its ring's buffers, frames in flight and a little data.
    pub const MEMORY_CORE_BYTES_MIN: u64 = 16 * MIB;
    /// The cache is `memory-limit` divided by this, unless told.
    pub const CACHE_SHARE: u64 = 4;
    /// Least hot log of a node when it is chosen for the user.
    pub const HOT_LOG_BYTES_MIN_AUTO: u64 = 256 * MIB;
    /// Least hot log of a core: four of the smallest segments.
    pub const HOT_LOG_CORE_BYTES_MIN: u64 = 16 * MIB;
    /// Largest hot log of a core.
    pub const HOT_LOG_CORE_BYTES_MAX: u64 = 8 * 1024 * MIB;

    /// `interval` unless told.
    pub const INTERVAL: Duration = Duration::from_millis(100);
    /// Least `interval`.
    pub const INTERVAL_MIN: Duration = Duration::from_millis(10);
    /// Largest `interval`.
    pub const INTERVAL_MAX: Duration = Duration::from_secs(1);
    /// `shutdown-timeout` unless told.
    pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
    /// Least `shutdown-timeout`.
    pub const SHUTDOWN_MIN: Duration = Duration::from_millis(100);
    /// Largest `shutdown-timeout`.
    pub const SHUTDOWN_MAX: Duration = Duration::from_secs(600);
    /// `preempt-timer` unless told.
    pub const PREEMPT_TIMER: Duration = Duration::from_micros(250);
    /// Least `preempt-timer`: far below it the executor does nothing but switch.
    pub const PREEMPT_MIN: Duration = Duration::from_micros(100);
    /// Largest `preempt-timer`: above it background work shows in the latency of clients.
    pub const PREEMPT_MAX: Duration = Duration::from_millis(10);

    /// Partitions unless told.
    pub const PARTITIONS: u32 = 1024;
    /// Most partitions: one per slot of Redis Cluster.
    pub const PARTITIONS_MAX: u32 = 16_384;

    /// `maxclients` unless told.
    pub const MAXCLIENTS: u32 = 10_000;
    /// Most clients.
    pub const MAXCLIENTS_MAX: u32 = 1_000_000;
    /// Descriptors that a node needs beside its clients' and its cores'.
    pub const DESCRIPTORS_RESERVED: u64 = 256;
    /// Descriptors of a core: ring, event descriptors, segments of its log, listeners.
    pub const DESCRIPTORS_PER_CORE: u64 = 320;
    /// Descriptors of a partition: its file, and the one that a compaction replaces it by.
    pub const DESCRIPTORS_PER_PARTITION: u64 = 2;
    /// `tcp-keepalive` in seconds unless told.
    pub const TCP_KEEPALIVE_S: u32 = 300;
    /// Largest `timeout` and `tcp-keepalive`, in seconds.
    pub const SECONDS_MAX: u32 = 31_536_000;
    /// `proto-max-bulk-len` unless told.
    pub const BULK_BYTES: u64 = 16 * MIB;
    /// Least `proto-max-bulk-len`.
    pub const BULK_BYTES_MIN: u64 = MIB;
    /// Largest `proto-max-bulk-len`.
    pub const BULK_BYTES_MAX: u64 = 32 * MIB;
    /// Bytes waiting for a client beyond which it is cut off at once, unless told.
    pub const OUTPUT_HARD_BYTES: u64 = 256 * MIB;
    /// Bytes waiting for a client beyond which it is cut off after a while, unless told.
    pub const OUTPUT_SOFT_BYTES: u64 = 64 * MIB;
    /// That while, in seconds.
    pub const OUTPUT_SOFT_SECONDS: u32 = 60;
    /// Largest hard limit.
    pub const OUTPUT_BYTES_MAX: u64 = 4096 * MIB;
    /// `slowlog-log-slower-than` in microseconds unless told.
    pub const SLOWLOG_US: i64 = 10_000;
    /// `slowlog-max-len` unless told.
    pub const SLOWLOG_ENTRIES: u32 = 128;
    /// Largest `slowlog-max-len`.
    pub const SLOWLOG_ENTRIES_MAX: u32 = 16_384;
    /// Longest password.
    pub const PASSWORD_BYTES_MAX: usize = 512;
    /// Largest configuration file.
    pub const FILE_BYTES_MAX: u64 = MIB;
}

const _: () = {
    use ConfigLimits as L;
    assert!(L::CORES_MAX + 1 < L::HTTP_PORT_OFFSET as usize);
    assert!(L::HTTP_PORT_OFFSET < L::PEER_PORT_OFFSET);
    assert!(L::PARTITIONS.is_power_of_two() && L::PARTITIONS <= L::PARTITIONS_MAX);
    assert!(L::PARTITIONS_MAX <= 1 << 14);
    assert!(L::BULK_BYTES_MIN <= L::BULK_BYTES && L::BULK_BYTES <= L::BULK_BYTES_MAX);
    assert!(L::OUTPUT_HARD_BYTES >= 2 * L::BULK_BYTES_MAX && L::OUTPUT_SOFT_BYTES <= L::OUTPUT_HARD_BYTES);
    assert!(L::HOT_LOG_CORE_BYTES_MIN <= L::HOT_LOG_BYTES_MIN_AUTO);
    assert!(L::MAXCLIENTS <= L::MAXCLIENTS_MAX && L::SLOWLOG_ENTRIES <= L::SLOWLOG_ENTRIES_MAX);
    assert!(L::CACHE_SHARE >= 2);
};
