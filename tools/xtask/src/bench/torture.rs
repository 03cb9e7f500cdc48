//! Runs `annulus-load torture` once: clients that write at a rate, and then look for everything that was acknowledged.
//!
//! Invariant: a run in which nothing was acknowledged, or whose report cannot be read, is an error and never a row of zeros.

use super::process::{Process, pinned};
use super::results::{Metric, Values};
use super::server::{Programs, Server};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Beyond the time of the load: looking for everything, which waits for nodes to agree.
const GRACE: Duration = Duration::from_secs(240);
/// Writes that replace what they have not seen, and such as say what they have seen.
const WORKLOADS: &str = "register,siblings";

/// One run.
pub struct Torture {
    pub seconds: u32,
    /// attempts a second, over all clients
    pub rate: u32,
    pub clients: u32,
    /// in use at a time, of each workload
    pub keys: u32,
    pub seed: u32,
}

impl Torture {
    /// Everything after the program's name.
    fn arguments(&self, ports: &[u16], report: &str) -> Vec<String> {
        let endpoints: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let numbers = [self.rate, self.clients, self.seconds, self.keys, self.seed].map(|number| number.to_string());
        let [rate, clients, seconds, keys, seed] = &numbers;
        let words = ["torture", "--endpoints", &endpoints.join(","), "--workload", WORKLOADS, "--rate", rate];
        let rest = ["--clients", clients, "--seconds", seconds, "--keys", keys, "--seed", seed, "--json", report];
        words.iter().chain(&rest).map(|word| (*word).to_string()).collect()
    }

    /// Runs it against all nodes; `beside` is called all the while with the time since it began.
    pub fn run(
        &self,
        programs: &Programs,
        server: &mut Server,
        directory: &Path,
        mut beside: impl FnMut(&mut Server, Duration) -> Result<(), String>,
    ) -> Result<Report, String> {
        let (report, log) = (directory.join("torture.json"), directory.join("torture.log"));
        for old in [&report, &log] {
            let _ = std::fs::remove_file(old);
        }
        let ports: Vec<u16> = server.nodes().iter().map(super::node::Node::port).collect();
        let mut command = pinned(&[programs.client_cpu], &programs.load);
        command.args(self.arguments(&ports, &report.to_string_lossy()));
        let (mut process, started) = (Process::start(command, "annulus-load", &log)?, Instant::now());
        let deadline = Duration::from_secs(self.seconds.into()) + GRACE;
        let status = process.wait_beside(deadline, || {
            server.check_alive()?;
            beside(server, started.elapsed())
        })?;
        let text =
            std::fs::read_to_string(&report).map_err(|error| process.failure(&format!("left no report: {error}")))?;
        let failure = (!status.success()).then(|| process.failure(&format!("ended with {status}")));
        Ok(Report { failure, ..Report::parse(&text)? })
    }
}

/// What is used of the report that it writes.
#[derive(Debug, Clone, Deserialize)]
pub struct Report {
    verdicts: BTreeMap<String, Verdict>,
    longest_gap_ms: Vec<f64>,
    writes: Latency,
    #[serde(default)]
    errors: BTreeMap<String, u64>,
    agreed_after_s: Option<f64>,
    /// why it failed in the end, with its own words: something was lost, invented, or never agreed on
    #[serde(skip)]
    pub failure: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Verdict {
    acknowledged: u64,
    lost: u64,
}

#[derive(Debug, Clone, Deserialize)]
struct Latency {
    count: u64,
    p50: f64,
    p99: f64,
    p999: f64,
}

impl Report {
    fn parse(text: &str) -> Result<Report, String> {
        let report: Report = serde_json::from_str(text)
            .map_err(|error| format!("the report of annulus-load torture is not understood: {error}"))?;
        if report.acknowledged() == 0 || report.writes.count == 0 {
            return Err(format!("no write was acknowledged; errors: {:?}", report.errors));
        }
        if report.longest_gap_ms.is_empty() {
            return Err("the report of annulus-load torture tells no client's gap".into());
        }
        Ok(report)
    }

    fn acknowledged(&self) -> u64 {
        self.verdicts.values().map(|verdict| verdict.acknowledged).sum()
    }

    /// What it says about the nodes.
    pub fn values(&self) -> Values {
        let mut gaps = self.longest_gap_ms.clone();
        gaps.sort_by(f64::total_cmp);
        let lost: u64 = self.verdicts.values().map(|verdict| verdict.lost).sum();
        Values::from([
            (Metric::P50Us, self.writes.p50),
            (Metric::P99Us, self.writes.p99),
            (Metric::P999Us, self.writes.p999),
            (Metric::GapMs, gaps[gaps.len() - 1]),
            (Metric::GapMedianMs, gaps[gaps.len() / 2]),
            (Metric::Acknowledged, self.acknowledged() as f64),
            (Metric::Lost, lost as f64),
        ])
    }

    /// What clients met, and what came of the nodes.
    pub fn remarks(&self) -> Vec<String> {
        let errors = self.errors.iter().filter(|(_, count)| **count > 0);
        let errors = errors.map(|(kind, count)| format!("{count} errors of kind {kind}"));
        let never = self.agreed_after_s.is_none().then(|| "the nodes never agreed".to_string());
        errors.chain(never).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{"run":"a","verdicts":{"register":{"keys":1,"acknowledged":40,"survived":39,"lost":1},
        "siblings":{"keys":1,"acknowledged":60,"survived":60,"lost":0}},"agreed_after_s":1.5,
        "errors":{"disconnected":4,"none":0},"longest_gap_ms":[20.0,61.5,30.0],
        "writes":{"count":100,"mean":1,"p50":400.5,"p90":1,"p99":2000,"p999":9000,"p9999":1,"max":1,"curve":[]}}"#;

    #[test]
    fn a_report_becomes_values_and_remarks() {
        let report = Report::parse(REPORT).unwrap();
        let values = report.values();
        assert_eq!((values[&Metric::GapMs], values[&Metric::GapMedianMs]), (61.5, 30.0));
        assert_eq!(
            (values[&Metric::Acknowledged], values[&Metric::Lost], values[&Metric::P999Us]),
            (100.0, 1.0, 9000.0)
        );
        assert_eq!(report.remarks(), ["4 errors of kind disconnected"]);
        let never = Report::parse(&REPORT.replace("_s\":1.5", "_s\":null")).unwrap();
        assert!(never.remarks().contains(&"the nodes never agreed".to_string()));
    }

    #[test]
    fn a_report_without_acknowledged_writes_is_an_error() {
        let none = REPORT
            .replace("\"acknowledged\":40", "\"acknowledged\":0")
            .replace("\"acknowledged\":60", "\"acknowledged\":0");
        assert!(Report::parse(&none).unwrap_err().contains("disconnected"));
        assert!(Report::parse(&REPORT.replace("[20.0,61.5,30.0]", "[]")).is_err());
        assert!(Report::parse("{}").is_err());
    }

    #[test]
    fn arguments_say_all_that_matters() {
        let torture = Torture { seconds: 24, rate: 3000, clients: 12, keys: 2000, seed: 3 };
        let wanted = "torture --endpoints 127.0.0.1:1,127.0.0.1:2 --workload register,siblings --rate 3000 --clients 12 \
                      --seconds 24 --keys 2000 --seed 3 --json r.json";
        assert_eq!(torture.arguments(&[1, 2], "r.json").join(" "), wanted);
    }
}
