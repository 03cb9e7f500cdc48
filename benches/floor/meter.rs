//! Time, CPU time of the calling thread, and latencies of one measurement.

use super::options::Options;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// Operations of one measurement at most: what bounds the memory for their latencies.
const OPERATIONS_MAX: usize = 50_000_000;

/// CPU time that the calling thread has used.
pub fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).expect("CPU time is not negative");
    Duration::from_secs(seconds) + Duration::from_nanos(time.tv_nsec.unsigned_abs())
}

/// Collects the operations that one thread ends between the warm-up and the end.
pub struct Meter {
    from: Instant,
    until: Instant,
    /// When the first operation behind the warm-up ended, and the CPU time then.
    began: Option<(Instant, Duration)>,
    /// Nanoseconds of each operation after that one.
    latencies: Vec<u32>,
}

impl Meter {
    /// A measurement that begins now.
    pub fn start(options: &Options) -> Meter {
        let from = Instant::now() + options.warm_up;
        Meter { from, until: from + options.duration, began: None, latencies: Vec::with_capacity(1 << 20) }
    }

    /// Takes one operation in that was started at `started` and ended at `now`; false when it was the last to be counted.
    pub fn ended(&mut self, started: Instant, now: Instant) -> bool {
        if self.began.is_some() {
            let ns = now.duration_since(started).as_nanos();
            self.latencies.push(u32::try_from(ns).unwrap_or(u32::MAX));
        } else if now >= self.from {
            self.began = Some((now, thread_cpu()));
        }
        now < self.until && self.latencies.len() < OPERATIONS_MAX
    }

    /// The figures: rate, percentiles and CPU time per operation.
    pub fn figures(mut self, now: Instant) -> Vec<(&'static str, f64)> {
        let Some((began, cpu)) = self.began.filter(|_| !self.latencies.is_empty()) else {
            return vec![("operations_per_second", 0.0)];
        };
        let count = self.latencies.len();
        let cpu = thread_cpu().saturating_sub(cpu);
        self.latencies.sort_unstable();
        let percentile = |part: f64| {
            let rank = (count as f64 * part).ceil() as usize;
            f64::from(self.latencies[rank.clamp(1, count) - 1]) / 1000.0
        };
        vec![
            ("operations_per_second", count as f64 / now.duration_since(began).as_secs_f64()),
            ("p50", percentile(0.5)),
            ("p99", percentile(0.99)),
            ("p999", percentile(0.999)),
            ("max", percentile(1.0)),
            ("cpu", cpu.as_secs_f64() * 1e6 / count as f64),
        ]
    }
}
