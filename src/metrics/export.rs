//! The published numbers as OpenMetrics text, which Prometheus reads. Each metric comes once a core, with the label `core`;
//! sums are the reader's business.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::histogram::{HistogramSnapshot, bucket_upper_us};
use super::{Family, Kind, METRICS, NodeMetrics};

/// Content type of [`render`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug)]
struct Exporter {
    metrics: Arc<NodeMetrics>,
}

/// All metrics as text.
pub fn render(metrics: &Arc<NodeMetrics>) -> String {
    let mut registry = Registry::with_prefix("annulus");
    registry.register_collector(Box::new(Exporter { metrics: Arc::clone(metrics) }));
    let mut out = String::with_capacity(16 * 1024);
    text::encode(&mut out, &registry).expect("writing to a string does not fail");
    out
}

impl Collector for Exporter {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        for row in METRICS {
            let values: Vec<u64> = self.metrics.cores().iter().map(|core| core.get(row.metric)).collect();
            encode_cores(&mut encoder, row.name, row.help, row.kind, &values)?;
        }
        let silence: Vec<u64> = self.metrics.silence_ms().collect();
        let help = "Milliseconds since the core's loop last turned";
        encode_cores(&mut encoder, "last_turn_ms", help, Kind::Gauge, &silence)?;
        let name = "command_duration_seconds";
        let help = "Time from a command's parsing to its reply, by family";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for family in Family::ALL {
            let latency = self.metrics.latency(family);
            let labels = [("family", family.name())];
            let sum_seconds = latency.sum_us as f64 / 1e6;
            metric.encode_family(&labels)?.encode_histogram::<[(&str, &str); 1]>(
                sum_seconds,
                latency.count(),
                &buckets(&latency),
                None,
            )?;
        }
        Ok(())
    }
}

fn encode_cores(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: Kind,
    values: &[u64],
) -> Result<(), fmt::Error> {
    let metric_type = match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
    };
    let mut metric = encoder.encode_descriptor(name, help, None, metric_type)?;
    for (core, value) in values.iter().enumerate() {
        let labels = [("core", core.to_string())];
        let family = metric.encode_family(&labels)?;
        match kind {
            Kind::Counter => ConstCounter::new(*value).encode(family)?,
            Kind::Gauge => ConstGauge::new(i64::try_from(*value).unwrap_or(i64::MAX)).encode(family)?,
        }
    }
    Ok(())
}

/// Buckets as (upper bound in seconds, observations in it); the encoder accumulates, and writes the largest number as +Inf.
fn buckets(snapshot: &HistogramSnapshot) -> Vec<(f64, u64)> {
    let upper = |bucket| bucket_upper_us(bucket).map_or(f64::MAX, |upper_us| upper_us as f64 / 1e6);
    snapshot.counts.iter().enumerate().map(|(bucket, count)| (upper(bucket), *count)).collect()
}
