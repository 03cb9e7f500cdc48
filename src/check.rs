//! The preflight: whether a node with this configuration can run here, test by test, each with its cause and exact remedy.
//!
//! `annulus check` prints it; `serve` runs it first, holding the data directory's lock and without trying the ports, which it
//! is about to bind itself. It changes nothing but the soft descriptor limit, and leaves nothing behind.
//!
//! Invariant: a test that fails says what to do about it.

pub mod data_lock;
mod storage;
mod system;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use crate::config::{ClusterConfig, Config};
use crate::secrets::ClusterSecrets;

pub use data_lock::{DataLock, LockError};
pub use system::raise_descriptor_limit;

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// The node runs, but not as well as it could.
    Warn,
    /// The node does not run.
    Fail,
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was tested.
    pub name: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found; for a failure, the cause.
    pub text: String,
    /// What to do; never empty for a failure.
    pub remedy: String,
}

/// All tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// In the order in which they ran.
    pub findings: Vec<Finding>,
}

/// Whether the tests include what a running node holds itself: its ports and the lock of its data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// Yes: `annulus check`.
    Probe,
    /// No: `annulus serve`, which has the lock already and is about to bind the ports.
    Skip,
}

/// Runs every test. Takes some milliseconds.
pub fn run(config: &Config, ports: Ports) -> Report {
    let mut findings = system::findings(config);
    findings.extend(storage::findings(config, ports));
    if ports == Ports::Probe {
        let bind = |address| TcpListener::bind(address).map(drop);
        findings.extend(config.ports().bound().into_iter().map(|(whose, address)| port(&whose, address, bind)));
        let bind = |address| UdpSocket::bind(address).map(drop);
        findings.extend(config.ports().gossip().map(|address| port("peers, UDP", address, bind)));
    }
    findings.extend(config.cluster.as_ref().map(secret));
    findings.push(safety(config));
    assert!(findings.iter().all(|finding| finding.verdict == Verdict::Ok || !finding.remedy.is_empty()));
    Report { findings }
}

impl Report {
    /// The worst verdict.
    pub fn verdict(&self) -> Verdict {
        self.findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok)
    }

    /// True when a node cannot run.
    pub fn failed(&self) -> bool {
        self.verdict() == Verdict::Fail
    }

    /// Logs what could be better, one line a test. Failures are the caller's to report, by the whole text.
    pub fn log_warnings(&self) {
        for finding in self.findings.iter().filter(|finding| finding.verdict == Verdict::Warn) {
            let Finding { name, text, remedy, .. } = finding;
            tracing::warn!("check {name}: {text}; {remedy}");
        }
    }
}

impl Finding {
    pub(crate) fn ok(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, text: text.into(), remedy: String::new() }
    }

    pub(crate) fn warn(name: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warn, text: text.into(), remedy: remedy.into() }
    }

    pub(crate) fn fail(name: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Fail, text: text.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Report {
    /// One line a test, and one with the remedy below what is not as it should be.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            let mark = match finding.verdict {
                Verdict::Ok => "ok  ",
                Verdict::Warn => "warn",
                Verdict::Fail => "FAIL",
            };
            writeln!(formatter, "{mark}  {:<17} {}", finding.name, finding.text)?;
            if !finding.remedy.is_empty() {
                writeln!(formatter, "      {:<17} -> {}", "", finding.remedy)?;
            }
        }
        let count = |verdict| self.findings.iter().filter(|finding| finding.verdict == verdict).count();
        let (failures, warnings) = (count(Verdict::Fail), count(Verdict::Warn));
        match self.failed() {
            false => write!(formatter, "a node can run here ({warnings} warnings)"),
            true => write!(formatter, "a node cannot run here ({failures} failures, {warnings} warnings)"),
        }
    }
}

fn port(whose: &str, address: SocketAddr, bind: impl FnOnce(SocketAddr) -> io::Result<()>) -> Finding {
    let name = "port";
    match bind(address) {
        Ok(()) => Finding::ok(name, format!("{address} ({whose}) is free")),
        Err(error) => bind_failure(name, whose, address, &error),
    }
}

/// What to say when `address` cannot be bound; also for `serve`, when it finds out itself.
pub fn bind_failure(name: &'static str, whose: &str, address: SocketAddr, error: &io::Error) -> Finding {
    let number = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => Finding::fail(
            name,
            format!("{address} ({whose}) is taken by another process"),
            format!(
                "`ss -ltnp 'sport = :{number}'` names it; stop it, or choose another port with --listen, --http or --peer-listen"
            ),
        ),
        io::ErrorKind::AddrNotAvailable => Finding::fail(
            name,
            format!("{address} ({whose}) is no address of this machine"),
            "`ip address` lists them; choose one with --listen, --http or --peer-listen",
        ),
        io::ErrorKind::PermissionDenied => Finding::fail(
            name,
            format!("{address} ({whose}) may not be bound by this user"),
            "choose a port from 1024 up with --listen, --http or --peer-listen",
        ),
        _ => Finding::fail(
            name,
            format!("{address} ({whose}) cannot be bound: {error}"),
            "choose another address with --listen, --http or --peer-listen",
        ),
    }
}

/// The cluster's secret, without showing it.
fn secret(cluster: &ClusterConfig) -> Finding {
    let (name, path) = ("secret", cluster.secret_file.display());
    match ClusterSecrets::read(&cluster.secret_file, &cluster.name) {
        Ok(secrets) if secrets.is_readable_by_others() => {
            Finding::warn(name, format!("other users can read {path}"), format!("`chmod 600 {path}`"))
        }
        Ok(secrets) => Finding::ok(name, format!("{path} holds {secrets:?}")),
        Err(error) => Finding::fail(
            name,
            error.to_string(),
            "write one secret into it, the same on every node: `openssl rand -hex 32`, and `chmod 600` it",
        ),
    }
}

fn safety(config: &Config) -> Finding {
    let name = "safety";
    let has_password = config.runtime.requirepass.is_some();
    if config.is_loopback() {
        return Finding::ok(name, format!("{} is reachable from this machine only", config.listen));
    }
    match has_password {
        true => Finding::ok(name, format!("{} asks for a password", config.listen)),
        false => Finding::warn(
            name,
            format!("{} is open to everybody who can reach it, as --insecure wants", config.listen),
            "set requirepass in the configuration file unless the network keeps strangers out",
        ),
    }
}
