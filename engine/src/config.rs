//! What a core's store is told when it opens.

use std::ops::Range;
use std::sync::Arc;

use annulus_object::{Actor, Clock};

use crate::limits::Limits;
use crate::recovery::Progress;

/// What a reply promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On stable storage.
    Sync,
    /// On stable storage within this time.
    Interval {
        /// Milliseconds.
        ms: u32,
    },
    /// In memory; nothing is logged.
    Memory,
}

/// One core's store.
#[derive(Debug, Clone)]
pub struct Config {
    /// Number of the core.
    pub core: u16,
    /// Cores of the node.
    pub cores: u16,
    /// Layout of the log: another for every change of the number of cores.
    pub layout: u32,
    /// The layout that this one replaces and the partitions of each of its cores, when the number of cores has changed.
    pub migrate_from: Option<(u32, Vec<Range<u16>>)>,
    /// The partitions of this core.
    pub partitions: Range<u16>,
    /// Partitions of hints are numbered from here on: behind all partitions of the cluster.
    pub hints_from: u16,
    /// Key of the keyed hash of keys.
    pub hash_key: [u8; 16],
    /// The cluster that the files belong to.
    pub cluster_id: [u8; 16],
    /// Who stamps.
    pub actor: Actor,
    /// Stamps are above it.
    pub clock: Clock,
    /// What a reply promises.
    pub durability: Durability,
    /// No other node has versions of these keys, or will: a stamp covers all that was merged when the store opened, and deletes
    /// and expired values may be forgotten when nothing older is left on the disk. Otherwise they stay. See
    /// [`crate::Engine::join_others`].
    pub is_alone: bool,
    /// Budget of this core's log.
    pub hot_log_bytes: u64,
    /// What the budget may grow to: with the data it is a twentieth of what is live.
    pub hot_log_bytes_max: u64,
    /// Cache of values.
    pub cache_bytes: usize,
    /// Limit of everything this core's store holds in memory.
    pub memory_bytes: usize,
    /// Sizes and counts.
    pub limits: Limits,
    /// The time, Unix milliseconds.
    pub now_unix_ms: u64,
    /// Where opening counts what it has read.
    pub progress: Arc<Progress>,
}

impl Config {
    /// Directory of this core's log.
    pub fn directory(&self) -> String {
        log_directory(self.layout, self.core)
    }

    /// Length of a segment of an instance.
    pub fn segment_bytes(&self, instance: u8) -> u64 {
        let limits = &self.limits;
        let eighth = (self.hot_log_bytes / 8).next_multiple_of(4096);
        let bytes = eighth.clamp(limits.segment_bytes_min, limits.segment_bytes_max);
        if instance == crate::hot_log::SMALL { bytes } else { bytes.max(limits.large_segment_bytes_min) }
    }
}

/// Directory of all cores' logs of a layout.
pub fn layout_directory(layout: u32) -> String {
    format!("log-{layout:04}")
}

/// Directory of one core's log.
pub fn log_directory(layout: u32, core: u16) -> String {
    format!("{}/core-{core:02}", layout_directory(layout))
}
