//! Counters per core: written by their core alone, with plain stores, and summed only when somebody asks.
//!
//! A core counts in its own [`CoreCounts`], which nothing else sees, and publishes them about every tick into its
//! [`CoreMetrics`], which lie in cache lines of their own. So counting costs an addition, and reading disturbs nobody. The
//! numbers of different cores, and of one publication, may be from slightly different moments.
//!
//! Invariant: only core k stores into entry k, and counters never go down while the process runs.

mod export;
mod histogram;
pub mod replication;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

pub use export::{CONTENT_TYPE, render};
pub use histogram::{BUCKETS, Histogram, HistogramSnapshot, bucket_of, bucket_upper_us};
pub use replication::{REPLICATION_METRICS, figures};
pub use table::{Family, Kind, METRICS, Metric};

/// Number of metrics.
pub const METRIC_COUNT: usize = METRICS.len();
/// Number of command families.
pub const FAMILY_COUNT: usize = Family::ALL.len();

/// What the node's cores have published; shared by all threads as an `Arc`.
#[derive(Debug)]
pub struct NodeMetrics {
    started: Instant,
    cores: Box<[CoreMetrics]>,
}

/// One core's published numbers. Aligned so that no two cores share a cache line, nor a pair that is fetched together.
#[derive(Debug)]
#[repr(align(128))]
pub struct CoreMetrics {
    values: [AtomicU64; METRIC_COUNT],
    /// Milliseconds since the node started, plus one; 0 = never turned.
    last_turn: AtomicU64,
    latencies: [Histogram; FAMILY_COUNT],
}

/// One core's own numbers, not shared.
#[derive(Debug, Clone)]
pub struct CoreCounts {
    values: [u64; METRIC_COUNT],
    latencies: [HistogramSnapshot; FAMILY_COUNT],
}

impl NodeMetrics {
    /// Nothing counted yet, for that many cores.
    pub fn new(cores: u16) -> Arc<Self> {
        assert!(cores > 0);
        let cores = (0..cores).map(|_| CoreMetrics::new()).collect();
        Arc::new(Self { started: Instant::now(), cores })
    }

    /// As if the node had started that long ago.
    #[cfg(test)]
    pub(crate) fn started_ago(cores: u16, ago: std::time::Duration) -> Arc<Self> {
        let mut metrics = Arc::into_inner(Self::new(cores)).expect("the only one");
        metrics.started = Instant::now().checked_sub(ago).expect("the machine runs for longer");
        Arc::new(metrics)
    }

    /// One entry a core.
    pub fn cores(&self) -> &[CoreMetrics] {
        &self.cores
    }

    /// Says that `core` turns. About every tick, also when idle.
    pub fn beat(&self, core: u16) {
        self.cores[usize::from(core)].last_turn.store(self.now_ms() + 1, Ordering::Relaxed);
    }

    /// Milliseconds since the last beat of each core, or since the node started for a core that has not turned yet.
    pub fn silence_ms(&self) -> impl Iterator<Item = u64> + '_ {
        let now = self.now_ms();
        self.cores.iter().map(move |core| now.saturating_sub(core.last_turn.load(Ordering::Relaxed).saturating_sub(1)))
    }

    /// The sum of a metric over all cores.
    pub fn sum(&self, metric: Metric) -> u64 {
        self.cores.iter().map(|core| core.get(metric)).fold(0, u64::saturating_add)
    }

    /// The latencies of a family, over all cores.
    pub fn latency(&self, family: Family) -> HistogramSnapshot {
        let mut total = HistogramSnapshot::default();
        for core in &self.cores {
            total.merge(&core.latencies[family as usize].read());
        }
        total
    }

    /// Milliseconds since the node started.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).expect("no process runs for 500 million years")
    }
}

impl CoreMetrics {
    fn new() -> Self {
        Self {
            values: [const { AtomicU64::new(0) }; METRIC_COUNT],
            last_turn: AtomicU64::new(0),
            latencies: std::array::from_fn(|_| Histogram::new()),
        }
    }

    /// The published value of a metric.
    pub fn get(&self, metric: Metric) -> u64 {
        self.values[metric as usize].load(Ordering::Relaxed)
    }

    /// Replaces what is published. Only for the core whose entry this is.
    pub fn publish(&self, counts: &CoreCounts) {
        for (published, value) in self.values.iter().zip(counts.values) {
            published.store(value, Ordering::Relaxed);
        }
        for (published, own) in self.latencies.iter().zip(&counts.latencies) {
            published.write(own);
        }
    }
}

impl CoreCounts {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self { values: [0; METRIC_COUNT], latencies: [const { HistogramSnapshot::EMPTY }; FAMILY_COUNT] }
    }

    /// Counts `more`.
    #[inline]
    pub fn add(&mut self, metric: Metric, more: u64) {
        let value = &mut self.values[metric as usize];
        *value = value.wrapping_add(more);
    }

    /// Sets a gauge, or a counter that somebody else keeps.
    #[inline]
    pub fn set(&mut self, metric: Metric, value: u64) {
        self.values[metric as usize] = value;
    }

    /// What was counted.
    pub fn get(&self, metric: Metric) -> u64 {
        self.values[metric as usize]
    }

    /// Counts one command of `family` that took so long.
    #[inline]
    pub fn command(&mut self, family: Family, microseconds: u64) {
        self.add(family.metric(), 1);
        self.latencies[family as usize].record(microseconds);
    }
}

impl Default for CoreCounts {
    fn default() -> Self {
        Self::new()
    }
}
