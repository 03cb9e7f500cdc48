//! Runs the load generator once: its arguments, and the part of its report that is compared.
//!
//! Invariant: a run without a single reply, or whose report cannot be read, is an error and never a row of zeros.

use super::process::{Process, pinned};
use super::results::{Metric, Values};
use super::server::{Programs, Server};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Of an open loop.
const CONNECTIONS: u32 = 50;
/// Before a run is measured.
pub const WARM_UP_MS: u32 = 300;
/// Beyond the time that a run takes by itself.
const GRACE: Duration = Duration::from_secs(60);
/// For storing all keys once: at least, and at so many bytes a second.
const PRELOAD: Duration = Duration::from_secs(600);
const PRELOAD_BYTES_PER_SECOND: u64 = 8 << 20;
/// Requests that are counted come at least so fast.
const REQUESTS_PER_SECOND: u64 = 1_000;
/// What is outstanding at once while storing them.
const PRELOAD_BYTES: u64 = 4 << 20;
const PRELOAD_CONNECTIONS: u32 = 16;

/// How requests leave, with every number known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Paced {
    Closed { connections: u32, pipeline: u32 },
    Open { rate: f64 },
}

/// How long a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    /// behind a warm-up
    Seconds(u32),
    /// so many requests, all of which count
    Requests(u64),
}

/// One run.
#[derive(Debug, Clone)]
pub struct Load {
    pub workload: &'static str,
    pub distribution: &'static str,
    pub paced: Paced,
    pub keys: u64,
    pub value_bytes: u64,
    pub length: Length,
    pub seed: u32,
    /// Requests before those that are counted; of servers that cannot count theirs there are none.
    pub warm_up_ms: u32,
    /// options that the contestant brings
    pub extra: Vec<&'static str>,
}

impl Load {
    /// Everything after the program's name.
    fn arguments(&self, port: u16, report: &str) -> Vec<String> {
        let mut words = common(port, self.workload, self.keys, self.value_bytes);
        words.extend(match self.paced {
            Paced::Closed { connections, pipeline } => closed(connections, pipeline),
            Paced::Open { rate } => strings(&["--rate", &format!("{rate:.1}"), "--connections", &number(CONNECTIONS)]),
        });
        words.extend(strings(&["--distribution", self.distribution, "--seed", &number(self.seed)]));
        words.extend(match self.length {
            Length::Seconds(seconds) => {
                strings(&["--warm-up", &format!("{}ms", self.warm_up_ms), "--duration", &format!("{seconds}s")])
            }
            Length::Requests(count) => strings(&["--warm-up", "0ms", "--count", &count.to_string()]),
        });
        words.extend(strings(&self.extra));
        words.extend(strings(&["--quiet", "--json", report]));
        words
    }

    /// Runs it against a server.
    pub fn run(&self, programs: &Programs, server: &mut Server, directory: &Path) -> Result<Report, String> {
        let length = match self.length {
            Length::Seconds(seconds) => Duration::from_millis(u64::from(seconds) * 1000 + u64::from(self.warm_up_ms)),
            Length::Requests(count) => Duration::from_secs(count / REQUESTS_PER_SECOND),
        };
        let port = server.port();
        start(programs, server, directory, length + GRACE, |report| self.arguments(port, report))
    }
}

/// Stores every key once.
pub fn preload(
    programs: &Programs,
    server: &mut Server,
    keys: u64,
    value_bytes: u64,
    directory: &Path,
) -> Result<(), String> {
    let port = server.port();
    let pipeline = (PRELOAD_BYTES / value_bytes.max(1) / u64::from(PRELOAD_CONNECTIONS)).clamp(1, 64);
    let pipeline = u32::try_from(pipeline).expect("clamped to 64");
    let arguments = |report: &str| {
        let mut words = common(port, "set", keys, value_bytes);
        words.extend(closed(PRELOAD_CONNECTIONS, pipeline));
        words.extend(strings(&["--preload", "--warm-up", "0ms", "--count", "1", "--quiet", "--json", report]));
        words
    };
    let deadline = PRELOAD.max(Duration::from_secs(keys * value_bytes / PRELOAD_BYTES_PER_SECOND));
    start(programs, server, directory, deadline, arguments).map(|_| ())
}

fn start(
    programs: &Programs,
    server: &mut Server,
    directory: &Path,
    deadline: Duration,
    arguments: impl Fn(&str) -> Vec<String>,
) -> Result<Report, String> {
    let (report, log) = (directory.join("load.json"), directory.join("load.log"));
    for old in [&report, &log] {
        let _ = std::fs::remove_file(old);
    }
    let mut command = pinned(&[programs.client_cpu], &programs.load);
    let words = arguments(&report.to_string_lossy());
    command.args(&words);
    let mut process = Process::start(command, "annulus-load", &log)?;
    // A server that died is the better message than what the client sees of it.
    let status = process.wait_beside(deadline, || server.check_alive())?;
    if !status.success() {
        return Err(process.failure(&format!("ended with {status} ({})", words.join(" "))));
    }
    let text =
        std::fs::read_to_string(&report).map_err(|error| process.failure(&format!("left no report: {error}")))?;
    Report::parse(&text)
}

fn common(port: u16, workload: &str, keys: u64, value_bytes: u64) -> Vec<String> {
    let (endpoint, keys, bytes) = (format!("127.0.0.1:{port}"), keys.to_string(), value_bytes.to_string());
    let head = ["run", "--endpoint", &endpoint, "--workload", workload, "--threads", "1"];
    strings(&[&head[..], &["--keys", &keys, "--value-bytes", &bytes]].concat())
}

fn closed(connections: u32, pipeline: u32) -> Vec<String> {
    strings(&["--closed", "--connections", &number(connections), "--pipeline", &number(pipeline)])
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_string()).collect()
}

fn number(value: u32) -> String {
    value.to_string()
}

/// What is used of the report that `annulus-load` writes.
#[derive(Debug, Clone, Deserialize)]
pub struct Report {
    pub replies: u64,
    pub throughput: f64,
    pub elapsed_s: f64,
    #[serde(default)]
    errors: BTreeMap<String, u64>,
    latency: Latency,
    #[serde(default)]
    generator: Generator,
}

#[derive(Debug, Clone, Deserialize)]
struct Latency {
    mean: f64,
    p50: f64,
    p99: f64,
    p999: f64,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Generator {
    #[serde(default)]
    cpu_share: f64,
    #[serde(default)]
    limited: Option<String>,
}

impl Report {
    fn parse(text: &str) -> Result<Report, String> {
        let report: Report = serde_json::from_str(text)
            .map_err(|error| format!("the report of annulus-load is not understood: {error}"))?;
        if report.replies == 0 {
            return Err(format!("no request was answered; errors: {:?}", report.errors));
        }
        Ok(report)
    }

    /// What it says about the server.
    pub fn values(&self) -> Values {
        Values::from([
            (Metric::Throughput, self.throughput),
            (Metric::MeanUs, self.latency.mean),
            (Metric::P50Us, self.latency.p50),
            (Metric::P99Us, self.latency.p99),
            (Metric::P999Us, self.latency.p999),
            (Metric::ClientShare, self.generator.cpu_share),
        ])
    }

    /// What makes the values doubtful.
    pub fn remarks(&self) -> Vec<String> {
        let limited = self.generator.limited.iter().map(|why| format!("load generator limited: {why}"));
        let errors = self.errors.iter().filter(|(_, count)| **count > 0);
        limited.chain(errors.map(|(kind, count)| format!("{count} errors of kind {kind}"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{"format":1,"replies":10,"throughput":5.0,"elapsed_s":2.0,"errors":{"closed":3,"none":0},
        "latency":{"count":10,"mean":1,"p50":100,"p90":1,"p99":200,"p999":300.5,"p9999":1,"max":1,"curve":[]},
        "generator":{"cpu_share":0.5,"lateness_p99":0,"limited":"late"},"sweep":[]}"#;

    #[test]
    fn a_report_becomes_values_and_remarks() {
        let report = Report::parse(REPORT).unwrap();
        let values = report.values();
        assert_eq!((values[&Metric::Throughput], values[&Metric::P999Us]), (5.0, 300.5));
        assert_eq!(report.remarks(), ["load generator limited: late", "3 errors of kind closed"]);
    }

    #[test]
    fn a_report_without_replies_is_an_error() {
        let none = REPORT.replace("\"replies\":10", "\"replies\":0");
        assert!(Report::parse(&none).unwrap_err().contains("closed"));
        assert!(Report::parse("{}").is_err());
    }

    #[test]
    fn arguments_say_all_that_matters() {
        let paced = Paced::Closed { connections: 8, pipeline: 2 };
        let length = Length::Seconds(4);
        let distribution = "uniform";
        let mut load = Load {
            workload: "get",
            distribution,
            paced,
            keys: 7,
            value_bytes: 100,
            length,
            seed: 3,
            warm_up_ms: WARM_UP_MS,
            extra: Vec::new(),
        };
        let words = load.arguments(99, "r.json").join(" ");
        let wanted = "run --endpoint 127.0.0.1:99 --workload get --threads 1 --keys 7 --value-bytes 100 --closed \
                      --connections 8 --pipeline 2 --distribution uniform --seed 3 --warm-up 300ms --duration 4s --quiet \
                      --json r.json";
        assert_eq!(words, wanted);
        load.paced = Paced::Open { rate: 1234.56 };
        load.length = Length::Requests(9);
        let words = load.arguments(99, "r.json").join(" ");
        assert!(words.contains("--rate 1234.6 --connections 50") && words.contains("--warm-up 0ms --count 9 --quiet"));
    }
}
