//! What a suite found out: plain data, stored as JSON and printed by `table`.
//!
//! Invariant: a value is only ever compared with one of the same case, metric and round; names and units stay as they
//! are once stored.

use super::machine::Machine;
use serde::Serialize;
use std::collections::BTreeMap;

/// Of the stored form.
pub const FORMAT: u32 = 1;

/// What is measured of one run; columns are in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    Throughput,
    CpuUs,
    KernelCpuUs,
    MeanUs,
    P50Us,
    P99Us,
    P999Us,
    RecordReads,
    DeviceReads,
    QueueDepth,
    WriteAmplification,
    DeviceWriteAmplification,
    SpaceMean,
    SpaceMax,
    CompactedMib,
    StolenPercent,
    IdleCpuMs,
    StartMs,
    GapMs,
    GapMedianMs,
    Acknowledged,
    Lost,
    HintsGoneS,
    EqualS,
    ShownS,
    ExchangedKb,
    ObjectsSent,
    KeysCompared,
    LinkKb,
    RestKb,
    ObjectsKb,
    ClientShare,
}

impl Metric {
    /// Head of its column.
    pub fn title(self) -> &'static str {
        match self {
            Metric::Throughput => "throughput",
            Metric::CpuUs => "CPU/request",
            Metric::KernelCpuUs => "kernel threads/request",
            Metric::MeanUs => "mean",
            Metric::P50Us => "p50",
            Metric::P99Us => "p99",
            Metric::P999Us => "p99.9",
            Metric::RecordReads => "reads/request, as the node counts",
            Metric::DeviceReads => "device reads/request",
            Metric::QueueDepth => "device queue depth",
            Metric::WriteAmplification => "log and files written per byte",
            Metric::DeviceWriteAmplification => "process wrote per byte",
            Metric::SpaceMean => "disk space per live byte, mean",
            Metric::SpaceMax => "largest",
            Metric::CompactedMib => "compacted",
            Metric::StolenPercent => "stolen CPU",
            Metric::IdleCpuMs => "idle CPU",
            Metric::StartMs => "start to first answer",
            Metric::GapMs => "longest gap",
            Metric::GapMedianMs => "longest gap, median client",
            Metric::Acknowledged => "acknowledged",
            Metric::Lost => "lost",
            Metric::HintsGoneS => "no hint kept after",
            Metric::EqualS => "equal after",
            Metric::ShownS => "shown by exchanges after",
            Metric::ExchangedKb => "exchanged",
            Metric::ObjectsSent => "objects sent",
            Metric::KeysCompared => "keys compared",
            Metric::LinkKb => "all links",
            Metric::RestKb => "of it at rest",
            Metric::ObjectsKb => "of it objects",
            Metric::ClientShare => "client's CPU",
        }
    }

    /// Of its absolute values.
    pub fn unit(self) -> &'static str {
        match self {
            Metric::Throughput => "1/s",
            Metric::CpuUs | Metric::KernelCpuUs | Metric::MeanUs | Metric::P50Us | Metric::P99Us | Metric::P999Us => {
                "µs"
            }
            Metric::RecordReads
            | Metric::DeviceReads
            | Metric::QueueDepth
            | Metric::WriteAmplification
            | Metric::DeviceWriteAmplification
            | Metric::SpaceMean
            | Metric::SpaceMax
            | Metric::Acknowledged
            | Metric::Lost
            | Metric::ObjectsSent
            | Metric::KeysCompared => "",
            Metric::CompactedMib => "MiB",
            Metric::StolenPercent => "%",
            Metric::IdleCpuMs => "ms/s",
            Metric::StartMs | Metric::GapMs | Metric::GapMedianMs => "ms",
            Metric::HintsGoneS | Metric::EqualS | Metric::ShownS => "s",
            Metric::ExchangedKb | Metric::LinkKb | Metric::RestKb | Metric::ObjectsKb => "KB",
            Metric::ClientShare => "of a core",
        }
    }
}

/// The values of one run.
pub type Values = BTreeMap<Metric, f64>;

/// One contestant's run of one case in one round.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    pub case: String,
    pub contestant: String,
    /// from 1
    pub round: u32,
    pub values: Values,
    /// what makes the values say something else than they seem to: a client at its limit, errors
    pub remarks: Vec<String>,
}

/// One of those that are compared.
#[derive(Debug, Clone, Serialize)]
pub struct Contestant {
    pub name: String,
    /// what would be typed, with `DIR` and `PORT` for what differs from run to run
    pub command: String,
}

/// Runs that belong together: the same contestants and columns.
#[derive(Debug, Clone, Serialize)]
pub struct Table {
    pub title: String,
    pub contestants: Vec<Contestant>,
    /// whose values are divided by whose
    pub pairs: Vec<(String, String)>,
    pub columns: Vec<Metric>,
    pub runs: Vec<Run>,
    pub notes: Vec<String>,
}

impl Table {
    /// The cases in the order in which they were run.
    pub fn cases(&self) -> Vec<&str> {
        let mut cases: Vec<&str> = Vec::new();
        for run in &self.runs {
            if !cases.contains(&run.case.as_str()) {
                cases.push(&run.case);
            }
        }
        cases
    }

    /// One contestant's values of one case, with their rounds.
    pub fn values(&self, case: &str, contestant: &str, metric: Metric) -> Vec<(u32, f64)> {
        let runs = self.runs.iter().filter(|run| run.case == case && run.contestant == contestant);
        runs.filter_map(|run| Some((run.round, *run.values.get(&metric)?))).collect()
    }

    /// The best throughput of any round.
    pub fn peak(&self, case: &str, contestant: &str) -> Option<f64> {
        let values = self.values(case, contestant, Metric::Throughput);
        values.into_iter().map(|(_, value)| value).max_by(f64::total_cmp)
    }
}

/// One measurement of the raw machine: its parameters and figures under the names that the bench gave them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FloorRow {
    pub name: String,
    pub figures: Vec<(String, f64)>,
}

/// One suite, complete.
#[derive(Debug, Clone, Serialize)]
pub struct Results {
    pub format: u32,
    pub suite: String,
    pub about: String,
    /// what made it
    pub command: String,
    pub rounds: u32,
    /// of one run; 0 where runs end by what they have done
    pub seconds: u32,
    pub machine: Machine,
    pub tables: Vec<Table>,
    /// of the raw machine
    pub floor: Vec<FloorRow>,
    pub notes: Vec<String>,
    /// what was promised, and whether it is kept
    pub verdict: Vec<String>,
    /// why it is not complete
    pub failure: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_keep_their_order_and_the_peak_is_the_best_round() {
        let run = |case: &str, round, throughput| Run {
            case: case.into(),
            contestant: "annulus".into(),
            round,
            values: Values::from([(Metric::Throughput, throughput)]),
            remarks: Vec::new(),
        };
        let runs = vec![run("z", 1, 5.0), run("z", 2, 9.0), run("a", 1, 20.0)];
        let (title, contestants, pairs, columns) = (String::new(), Vec::new(), Vec::new(), Vec::new());
        let table = Table { title, contestants, pairs, columns, runs, notes: Vec::new() };
        assert_eq!(table.cases(), ["z", "a"]);
        assert_eq!(table.peak("z", "annulus"), Some(9.0));
        assert_eq!(table.peak("z", "redis"), None);
        let stored = serde_json::to_value(&table.runs[0]).unwrap();
        assert_eq!(stored["values"]["throughput"], 5.0);
    }
}
