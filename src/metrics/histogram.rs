//! Latencies in buckets that double: below 1 µs, below 2 µs … up to 8 s, and longer.

use std::sync::atomic::{AtomicU64, Ordering};

/// Number of buckets; the last one has no upper bound.
pub const BUCKETS: usize = 25;

/// The published form.
#[derive(Debug)]
pub struct Histogram {
    counts: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

/// Plain numbers: a core's own form, and what a reader gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// Observations in each bucket, not accumulated.
    pub counts: [u64; BUCKETS],
    /// Sum of all observations in microseconds.
    pub sum_us: u64,
}

/// The bucket of a latency.
#[inline]
pub const fn bucket_of(microseconds: u64) -> usize {
    let bits = (u64::BITS - microseconds.leading_zeros()) as usize;
    if bits < BUCKETS { bits } else { BUCKETS - 1 }
}

/// Every latency in the bucket is below this many microseconds; `None` for the last.
pub const fn bucket_upper_us(bucket: usize) -> Option<u64> {
    if bucket + 1 < BUCKETS { Some(1 << bucket) } else { None }
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; BUCKETS], sum_us: AtomicU64::new(0) }
    }

    pub(super) fn write(&self, own: &HistogramSnapshot) {
        for (published, count) in self.counts.iter().zip(own.counts) {
            published.store(count, Ordering::Relaxed);
        }
        self.sum_us.store(own.sum_us, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> HistogramSnapshot {
        HistogramSnapshot {
            counts: std::array::from_fn(|bucket| self.counts[bucket].load(Ordering::Relaxed)),
            sum_us: self.sum_us.load(Ordering::Relaxed),
        }
    }
}

impl HistogramSnapshot {
    pub(super) const EMPTY: Self = Self { counts: [0; BUCKETS], sum_us: 0 };

    /// Counts one observation.
    #[inline]
    pub fn record(&mut self, microseconds: u64) {
        self.counts[bucket_of(microseconds)] += 1;
        self.sum_us = self.sum_us.saturating_add(microseconds);
    }

    /// Adds another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (own, count) in self.counts.iter_mut().zip(other.counts) {
            *own += count;
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// Number of observations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl Default for HistogramSnapshot {
    fn default() -> Self {
        Self::EMPTY
    }
}
