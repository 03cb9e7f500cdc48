//! The command line of `annulus-load torture`, and the settings that it means.
//!
//! Invariant: whatever cannot be is refused here, by the name of the option, before anything is sent.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::history::Kind;
use super::hook::Hook;
use crate::endpoints::resolve;

/// Most of each.
const CLIENTS_MAX: u32 = 1000;
const KEYS_MAX: u32 = 100_000;
const ATTEMPTS_MAX: u64 = 5_000_000;
const SECONDS_MAX: f64 = 24.0 * 3600.0;

/// Options of a torture.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Nodes, each by an address for clients; those of --dev unless told
    #[arg(long, value_name = "HOST:PORT,…", value_delimiter = ',')]
    endpoints: Vec<String>,
    /// Directory of a running `annulus dev`, whose nodes can be hurt
    #[arg(long, value_name = "DIR")]
    dev: Option<PathBuf>,
    /// Hurt or heal a node every so many seconds on average: kill -9, pause, cut (both ways, one way), slow links
    #[arg(long, value_name = "SECONDS", requires = "dev")]
    faults: Option<f64>,
    /// Nodes that are hurt at a time; as many as leave three, but one at least, unless told
    #[arg(long, value_name = "N")]
    faults_at_once: Option<usize>,
    /// What is tried; all of it unless told
    #[arg(long, value_enum, value_name = "W,…", value_delimiter = ',')]
    workload: Vec<Kind>,
    /// Seconds of load
    #[arg(long, value_name = "S", default_value_t = 30.0)]
    seconds: f64,
    /// Clients, each on a thread, tied to the nodes in turn
    #[arg(long, value_name = "C", default_value_t = 12)]
    clients: u32,
    /// Keys in use at a time, of each workload
    #[arg(long, value_name = "K", default_value_t = 8)]
    keys: u32,
    /// Attempts a second over all clients; as fast as answers come unless told
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// End after so many attempts
    #[arg(long, value_name = "N", default_value_t = 2_000_000)]
    count: u64,
    /// How long a client waits for an answer, milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2000)]
    patience: u64,
    /// Clients never go to another node than their own
    #[arg(long)]
    stay: bool,
    /// Nodes that a write needs (W); decides what counts as reachable
    #[arg(long, value_name = "W", default_value_t = 2)]
    write_quorum: usize,
    /// By how much the nodes' clocks may be apart, milliseconds
    #[arg(long, value_name = "MS", default_value_t = 500)]
    clock_skew: u64,
    /// Writes that fail so many seconds after a client's node could not reach enough others are told apart, too
    #[arg(long, value_name = "S", default_value_t = 0.0)]
    grace: f64,
    /// Seconds that the cluster may take to agree afterwards
    #[arg(long, value_name = "S", default_value_t = 120.0)]
    settle: f64,
    /// Of everything random; from the clock unless told
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What the options mean together.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Every node.
    pub endpoints: Vec<SocketAddr>,
    /// What can hurt them, the mean time between two changes, and how many at a time.
    pub faults: Option<(Hook, Duration, usize)>,
    /// What is tried, each once.
    pub kinds: Vec<Kind>,
    /// Of load.
    pub length: Duration,
    /// Threads.
    pub clients: u32,
    /// In use at a time, of each kind.
    pub keys: u32,
    /// Of one client, a second.
    pub rate: Option<f64>,
    /// Attempts at most.
    pub attempts_max: u64,
    /// For one answer.
    pub patience: Duration,
    /// Clients stay with their node.
    pub stays: bool,
    /// W.
    pub write_quorum: usize,
    /// Between clocks.
    pub skew: Duration,
    /// After a node could not reach enough others.
    pub grace: Duration,
    /// For the nodes to agree.
    pub settle: Duration,
    /// Of everything random.
    pub seed: u64,
}

fn within<T: PartialOrd + std::fmt::Display>(option: &str, value: T, least: T, most: T) -> Result<T, String> {
    if value >= least && value <= most {
        return Ok(value);
    }
    Err(format!("--{option}: {value} is outside {least} to {most}"))
}

impl Options {
    /// Checks them, and finds the nodes.
    pub fn settings(&self, unix_ns: u64) -> Result<Settings, Box<dyn std::error::Error>> {
        let hook = self.dev.as_deref().map(Hook::read).transpose()?;
        let mut endpoints = Vec::new();
        for endpoint in &self.endpoints {
            endpoints.push(resolve(endpoint)?);
        }
        if let Some(hook) = &hook {
            let nodes = hook.endpoints();
            if endpoints.is_empty() {
                endpoints = nodes;
            } else if endpoints != nodes && self.faults.is_some() {
                return Err(format!("--endpoints: with --faults they are those of --dev: {nodes:?}").into());
            }
        }
        if endpoints.is_empty() {
            return Err("--endpoints: which nodes? Or --dev DIR for those of `annulus dev`".into());
        }
        let nodes = endpoints.len();
        let at_once = self.faults_at_once.unwrap_or(nodes.saturating_sub(3).max(1));
        let faults = match (hook, self.faults) {
            (Some(hook), Some(seconds)) => {
                let interval = Duration::from_secs_f64(within("faults", seconds, 0.1, 3600.0)?);
                Some((hook, interval, within("faults-at-once", at_once, 1, nodes)?))
            }
            _ => None,
        };
        let mut kinds = if self.workload.is_empty() { Kind::ALL.to_vec() } else { self.workload.clone() };
        kinds.sort_unstable();
        kinds.dedup();
        let clients = within("clients", self.clients, 1, CLIENTS_MAX)?;
        let rate = self.rate.map(|rate| within("rate", rate, 0.1, 1e6)).transpose()?;
        Ok(Settings {
            faults,
            kinds,
            length: Duration::from_secs_f64(within("seconds", self.seconds, 0.1, SECONDS_MAX)?),
            clients,
            keys: within("keys", self.keys, 1, KEYS_MAX)?,
            rate: rate.map(|rate| rate / f64::from(clients)),
            attempts_max: within("count", self.count, 1, ATTEMPTS_MAX)?,
            patience: Duration::from_millis(within("patience", self.patience, 10, 60_000)?),
            stays: self.stay,
            write_quorum: within("write-quorum", self.write_quorum, 1, nodes)?,
            skew: Duration::from_millis(within("clock-skew", self.clock_skew, 0, 3_600_000)?),
            grace: Duration::from_secs_f64(within("grace", self.grace, 0.0, 3600.0)?),
            settle: Duration::from_secs_f64(within("settle", self.settle, 0.0, SECONDS_MAX)?),
            seed: self.seed.unwrap_or(unix_ns),
            endpoints,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Arguments, Chore};
    use clap::Parser;

    fn settings(options: &str) -> Result<Settings, String> {
        let words = ["annulus-load", "torture"].into_iter().chain(options.split_whitespace());
        let parsed = Arguments::try_parse_from(words).map_err(|error| error.to_string())?;
        let Chore::Torture(options) = parsed.chore else { panic!("a torture") };
        options.settings(7).map_err(|error| error.to_string())
    }

    #[test]
    fn options_become_settings() {
        let nodes = "--endpoints 127.0.0.1:1,127.0.0.1:2";
        let all = settings(nodes).unwrap();
        assert_eq!((all.endpoints.len(), all.kinds.as_slice(), all.seed), (2, &Kind::ALL[..], 7));
        let some = settings(&format!("{nodes} --workload delete,set,set --rate 120 --clients 4 --stay")).unwrap();
        assert_eq!((some.kinds, some.rate, some.stays), (vec![Kind::Set, Kind::Delete], Some(30.0), true));
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (options, word) in [
            ("", "--endpoints"),
            ("--endpoints nonsense", "nonsense"),
            ("--endpoints 127.0.0.1:1 --clients 0", "--clients"),
            ("--endpoints 127.0.0.1:1 --seconds 0", "--seconds"),
            ("--endpoints 127.0.0.1:1 --rate 0", "--rate"),
            ("--endpoints 127.0.0.1:1 --write-quorum 1 --keys 0", "--keys"),
            ("--endpoints 127.0.0.1:1", "--write-quorum"),
            ("--endpoints 127.0.0.1:1 --faults 3", "--dev"),
            ("--dev /nonexistent", "/nonexistent/dev.json"),
            ("--workload sets", "sets"),
        ] {
            let error = settings(options).unwrap_err();
            assert!(error.contains(word), "{options}: {error}");
        }
    }
}
