//! How far loading has come at a moment, and how long it will take if it goes on like that.
//!
//! Invariant: what is shown as done is never more than the total beside it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use annulus_engine::Progress;

/// The cores' progress, and since when.
pub(super) struct Estimate {
    progress: Arc<Progress>,
    began: Instant,
}

/// What is known at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loaded {
    done_bytes: u64,
    total_bytes: u64,
    took: Duration,
}

impl Estimate {
    /// Loading has begun.
    pub fn new(progress: Arc<Progress>, began: Instant) -> Self {
        Self { progress, began }
    }

    /// How far it has come.
    pub fn at(&self, now: Instant) -> Loaded {
        let done_bytes = self.progress.bytes_done();
        // Read afterwards, and it only grows.
        let total_bytes = self.progress.bytes_total();
        Loaded { done_bytes: done_bytes.min(total_bytes), total_bytes, took: now.duration_since(self.began) }
    }
}

impl Loaded {
    /// 0 to 100.
    pub fn percent(&self) -> f64 {
        if self.total_bytes == 0 { 0.0 } else { self.done_bytes as f64 / self.total_bytes as f64 * 100.0 }
    }

    /// Seconds until the end; −1, as in Redis, while nothing can be said.
    pub fn eta_seconds(&self) -> i64 {
        if self.done_bytes == 0 {
            return -1;
        }
        let left = (self.total_bytes - self.done_bytes) as f64;
        (self.took.as_secs_f64() * left / self.done_bytes as f64).round() as i64
    }

    /// `loading: 45 % (1.2 of 2.7 GB), 3 s so far`.
    pub fn line(&self) -> String {
        let units = [(1u64 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")];
        let (size, unit) = *units.iter().find(|(size, _)| self.total_bytes >= *size).unwrap_or(&(1, "bytes"));
        let places = usize::from(size > 1);
        let shown = |bytes: u64| format!("{:.places$}", bytes as f64 / size as f64);
        let (done, total) = (shown(self.done_bytes), shown(self.total_bytes));
        let (percent, seconds) = (self.percent().floor(), self.took.as_secs());
        format!("loading: {percent} % ({done} of {total} {unit}), {seconds} s so far")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(done_bytes: u64, total_bytes: u64, seconds: u64) -> Loaded {
        Loaded { done_bytes, total_bytes, took: Duration::from_secs(seconds) }
    }

    #[test]
    fn lines() {
        let cases = [
            (loaded(1_288_490_189, 2_899_102_925, 3), "loading: 44 % (1.2 of 2.7 GB), 3 s so far"),
            (loaded(0, 0, 1), "loading: 0 % (0 of 0 bytes), 1 s so far"),
            (loaded(512, 4096, 2), "loading: 12 % (0.5 of 4.0 KB), 2 s so far"),
            (loaded(3 << 40, 3 << 40, 900), "loading: 100 % (3.0 of 3.0 TB), 900 s so far"),
        ];
        for (loaded, expected) in cases {
            assert_eq!(loaded.line(), expected);
        }
    }

    #[test]
    fn the_end_is_estimated_from_what_was_done() {
        assert_eq!(loaded(0, 1000, 5).eta_seconds(), -1);
        assert_eq!(loaded(250, 1000, 5).eta_seconds(), 15);
        assert_eq!(loaded(1000, 1000, 5).eta_seconds(), 0);
        assert_eq!(loaded(0, 0, 5).eta_seconds(), -1);
    }

    #[test]
    fn what_is_counted_too_early_is_not_shown() {
        let progress = Arc::new(Progress::default());
        let began = Instant::now();
        progress.advance(10);
        let estimate = Estimate::new(Arc::clone(&progress), began);
        assert_eq!(estimate.at(began).percent(), 0.0);
        progress.expect(8);
        assert_eq!(estimate.at(began).percent(), 100.0);
    }
}
