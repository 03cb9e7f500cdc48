//! `annulus-load torture` beside a test that hurts nodes: verified load, and what became of it.
//!
//! `ANNULUS_LOAD` names the binary to use; else cargo builds it, once for each test binary that asks.
//!
//! Invariant: a run that lost something, or compared nothing, fails the test that asked for it.

use super::tool;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// Load under way.
pub struct Torture {
    child: Child,
    json: PathBuf,
}

/// What became of it.
pub struct Outcome {
    report: Value,
}

fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| tool::binary("annulus-load", "ANNULUS_LOAD"))
}

impl Torture {
    /// Builds the tool if need be, so that it takes no time once nodes run.
    pub fn prepare() {
        binary();
    }

    /// Starts load on the nodes at these ports; `options` are the tool's. Its files are in `directory`.
    pub fn start(ports: &[u16], directory: &Path, options: &str) -> Self {
        let json = directory.join("torture.json");
        let _ = std::fs::remove_file(&json);
        let endpoints: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let mut command = Command::new(binary());
        command.args(["torture", "--endpoints", &endpoints.join(","), "--json"]).arg(&json);
        command.args(options.split_whitespace()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { child: command.spawn().expect("the load can be started"), json }
    }

    /// Ends it before its time; what it did until now is verified as ever. Panics unless it was under way.
    pub fn end(mut self) -> Outcome {
        let has_ended = self.child.try_wait().expect("our own child").is_some();
        if !has_ended {
            let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
            kill_process(id, Signal::TERM).expect("our own child");
        }
        let outcome = self.finish();
        assert!(!has_ended, "the load was over before its end was wanted");
        outcome
    }

    /// Waits for its end; panics when anything was lost, or nothing was compared.
    pub fn finish(self) -> Outcome {
        let output = self.child.wait_with_output().expect("our own child");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        eprintln!("{said}");
        assert!(output.status.success(), "the load found a fault:\n{said}");
        let text = std::fs::read(&self.json).expect("it wrote its report");
        Outcome { report: serde_json::from_slice(&text).expect("a report is JSON") }
    }
}

impl Outcome {
    /// Writes that were acknowledged, over all workloads; as many survived.
    pub fn acknowledged(&self) -> u64 {
        let verdicts = self.report["verdicts"].as_object().expect("by workload");
        let count =
            |name: &str| -> u64 { verdicts.values().map(|verdict| verdict[name].as_u64().expect("a number")).sum() };
        assert_eq!((count("survived"), count("lost")), (count("acknowledged"), 0), "what passed lost nothing");
        count("acknowledged")
    }

    /// How many attempts failed in that way.
    pub fn errors(&self, kind: &str) -> u64 {
        self.report["errors"][kind].as_u64().unwrap_or(0)
    }

    /// In which ways attempts failed.
    pub fn kinds(&self) -> Vec<&str> {
        self.report["errors"].as_object().expect("by kind").keys().map(String::as_str).collect()
    }

    /// How many attempts failed at all.
    pub fn failed(&self) -> u64 {
        self.report["errors"].as_object().expect("by kind").values().filter_map(Value::as_u64).sum()
    }

    /// Connections that were made anew.
    pub fn reconnects(&self) -> u64 {
        self.report["reconnects"].as_u64().expect("a number")
    }

    /// The longest time without a write that was done, of the clients of one of `nodes` nodes, in milliseconds.
    pub fn longest_gap_ms(&self, node: usize, nodes: usize) -> f64 {
        let gaps = self.report["longest_gap_ms"].as_array().expect("by client").iter();
        gaps.skip(node).step_by(nodes).filter_map(Value::as_f64).fold(0.0, f64::max)
    }
}
