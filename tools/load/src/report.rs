//! What a run found out, as it is stored and compared: numbers only, all latencies in microseconds.
//!
//! Invariant: a field that was stored once keeps its name and its unit; new ones have a default, so that older files still
//! compare.

pub mod page;
pub mod text;

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Of the stored form.
pub const FORMAT: u32 = 1;

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// When it began, Unix milliseconds.
    pub started_unix_ms: u64,
    /// The arguments that made it.
    pub command: Vec<String>,
    /// `HOST:PORT` as given.
    pub endpoint: String,
    /// Name of the workload.
    pub workload: String,
    /// `open` or `closed`.
    pub mode: String,
    /// Requests a second that were scheduled; `None` in a closed loop.
    pub rate: Option<f64>,
    /// Connections, over all endpoints and threads.
    pub connections: u32,
    /// Requests that a connection has outstanding at most.
    pub pipeline: u32,
    /// Threads that made the load.
    pub threads: u32,
    /// Keys of the workload when it began.
    pub keys: u64,
    /// Seconds that were measured, without the warm-up.
    pub elapsed_s: f64,
    /// Requests that were due in the measured time.
    pub due: u64,
    /// Of them, answered without an error.
    pub replies: u64,
    /// `replies` a second.
    pub throughput: f64,
    /// How often each kind of error happened.
    pub errors: BTreeMap<String, u64>,
    /// Of all operations.
    pub latency: Latency,
    /// By operation.
    pub operations: BTreeMap<String, Latency>,
    /// Over time.
    pub seconds: Vec<Second>,
    /// Whether the client itself kept up.
    pub generator: Generator,
    /// What was checked, if values were.
    pub verification: Option<Verification>,
    /// Steps of the search for the highest rate that meets `slo_us`; empty without one.
    #[serde(default)]
    pub sweep: Vec<Step>,
    /// The target of that search: p99.9 at most this.
    #[serde(default)]
    pub slo_us: Option<f64>,
}

/// A distribution of latencies; all zero when nothing was counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// 99.99th percentile.
    pub p9999: f64,
    /// Largest.
    pub max: f64,
    /// Percentile and latency, for drawing.
    pub curve: Vec<(f64, f64)>,
}

/// One second of the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Which, from 0 when measuring began.
    pub at: u64,
    /// Answers that came in it.
    pub replies: u64,
    /// Errors in it.
    pub errors: u64,
    /// Median of the answers that came in it.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// Largest.
    pub max: f64,
}

/// How the client itself did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// CPU time of its busiest thread over the elapsed time, 0 to 1.
    pub cpu_share: f64,
    /// How late requests left although nothing but the client kept them, 99th percentile.
    pub lateness_p99: f64,
    /// Why the figures say more of the client than of the server, if they do.
    pub limited: Option<String>,
}

/// What the checks of values found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// Reads whose value was checked.
    pub checked: u64,
    /// Values that were nothing that was ever written there.
    pub mismatches: u64,
    /// Acknowledged writes of which a read found nothing, or an older value.
    pub lost: u64,
    /// Keys read once more at the end.
    pub keys_at_end: u64,
    /// The first few findings, as text.
    pub examples: Vec<String>,
}

/// One rate that was tried.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Wanted, requests a second.
    pub rate: f64,
    /// Answered, requests a second.
    pub throughput: f64,
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// Errors.
    pub errors: u64,
    /// The client could not make this rate.
    pub generator_limited: bool,
    /// The target was met.
    pub met: bool,
}

impl Latency {
    /// Of a histogram of nanoseconds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile: f64| micros(histogram.value_at_quantile(quantile));
        let curve = histogram
            .iter_quantiles(5)
            .map(|step| (step.quantile_iterated_to() * 100.0, micros(step.value_iterated_to())));
        Self {
            count: histogram.len(),
            mean: histogram.mean() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: micros(histogram.max()),
            curve: curve.collect(),
        }
    }
}

fn micros(nanos: u64) -> f64 {
    // Exact for every latency below three months.
    nanos as f64 / 1000.0
}

#[cfg(test)]
pub(crate) mod tests;
