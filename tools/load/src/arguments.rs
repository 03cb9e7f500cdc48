//! The command line, and the settings that it means.
//!
//! Invariant: whatever cannot be is refused here, by the name of the option, before anything is sent.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::content::{KEY_BYTES_MIN, VALUE_HEADER_BYTES};
use crate::schedule::Arrivals;
use crate::settings::{Mode, Settings};
use crate::torture::options::Options;
use crate::workload::{Named, Sizes, Spread, Workload};

/// Most connections, requests under way on one, and threads.
const CONNECTIONS_MAX: u32 = 20_000;
const PIPELINE_MAX: u32 = 100_000;
const THREADS_MAX: u32 = 256;
/// Replicas that a write may wait for.
const WAIT_MAX: u32 = 100;
/// Keys have twelve digits.
const KEYS_MAX: u64 = 100_000_000_000;
/// Bytes of a key or a value.
const KEY_BYTES_MAX: usize = 60_000;
const VALUE_BYTES_MAX: usize = 32 << 20;
/// Under way on one connection in an open loop unless told.
const OPEN_PIPELINE: u32 = 1024;
/// What is counted unless told, and at most.
const DURATION: Duration = Duration::from_secs(8);
const DURATION_MAX: Duration = Duration::from_secs(100 * 3600);
/// Requests a second at which a search begins unless told.
const FIRST_RATE: f64 = 1000.0;

/// Load generator over the Redis protocol
#[derive(Debug, Parser)]
#[command(name = "annulus-load", version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub chore: Chore,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Chore {
    /// Make load and report what came of it
    Run(RunArguments),
    /// Write while nodes of a cluster are hurt, and check that nothing which was acknowledged is lost
    Torture(Box<Options>),
    /// Print the ratios of two reports, B over A
    Compare {
        /// The base
        a: PathBuf,
        /// What is compared with it
        b: PathBuf,
    },
}

/// Options of a run.
#[derive(Debug, Clone, Args)]
pub struct RunArguments {
    /// Where the server listens
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7379")]
    pub endpoint: String,
    /// Send every key to the node that owns it, as CLUSTER SLOTS says
    #[arg(long)]
    pub cluster: bool,
    /// Open loop: requests a second, over all threads
    #[arg(long, value_name = "R", conflicts_with = "closed")]
    rate: Option<f64>,
    /// How open-loop requests are spread over time
    #[arg(long, value_enum, default_value = "poisson")]
    arrivals: Arrivals,
    /// Closed loop: the next request leaves when a reply has come
    #[arg(long)]
    closed: bool,
    /// Connections, over all threads and nodes
    #[arg(long, value_name = "C", default_value_t = 50)]
    connections: u32,
    /// Requests under way on one connection: 1 in a closed loop, 1024 at most in an open one, unless told
    #[arg(long, value_name = "P")]
    pipeline: Option<u32>,
    /// Threads
    #[arg(long, value_name = "T", default_value_t = 1)]
    threads: u32,
    /// The mix of operations
    #[arg(long, value_enum, value_name = "W", default_value = "mixed")]
    workload: Named,
    /// Reads of the mixed workload, percent
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(..=100))]
    gets: u32,
    /// Which keys are chosen; the workload's own unless told
    #[arg(long, value_enum)]
    distribution: Option<Spread>,
    /// Keys to begin with
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    keys: u64,
    /// Bytes of a key: a number, or least-most
    #[arg(long, value_name = "N|A-B", default_value = "16")]
    key_bytes: Sizes,
    /// Bytes of a value: a number, or least-most
    #[arg(long, value_name = "N|A-B", default_value = "100")]
    value_bytes: Sizes,
    /// Write every key before the run
    #[arg(long)]
    preload: bool,
    /// Send WAIT N behind every SET, in one piece with it; the write is done when that many replicas have it
    #[arg(long, value_name = "N", default_value_t = 0)]
    wait: u32,
    /// Load before what is counted
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    warm_up: Duration,
    /// Load that is counted; 8 s unless told, or without end when --count is
    #[arg(long, value_name = "TIME", value_parser = time)]
    duration: Option<Duration>,
    /// End after so many requests, or after --duration if that comes first
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// How long the last replies are waited for
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    patience: Duration,
    /// Of everything random
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Search the highest rate, from --rate on, whose p99.9 is at most this
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "closed")]
    pub slo: Option<Duration>,
    /// Check every value that is read, and at the end that no acknowledged write is lost; implies --preload
    #[arg(long)]
    verify: bool,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the report as one self-contained page
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// No line every second
    #[arg(long)]
    pub quiet: bool,
}

/// An option that cannot be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("--{option}: {why}")]
pub struct BadOption {
    option: &'static str,
    why: String,
}

fn within<T: PartialOrd + std::fmt::Display>(
    option: &'static str,
    value: T,
    least: T,
    most: T,
) -> Result<T, BadOption> {
    if value >= least && value <= most {
        return Ok(value);
    }
    Err(BadOption { option, why: format!("{value} is outside {least} to {most}") })
}

fn within_times(option: &'static str, time: Duration) -> Result<Duration, BadOption> {
    if time <= DURATION_MAX {
        return Ok(time);
    }
    Err(BadOption { option, why: format!("more than {} h", DURATION_MAX.as_secs() / 3600) })
}

impl RunArguments {
    /// What the options mean together.
    pub fn settings(&self) -> Result<Settings, BadOption> {
        let mode = match (self.closed, self.rate, self.slo) {
            (true, ..) => Mode::Closed,
            (false, Some(rate), _) => Mode::Open { rate: within("rate", rate, 0.1, 1e9)?, arrivals: self.arrivals },
            (false, None, Some(_)) => Mode::Open { rate: FIRST_RATE, arrivals: self.arrivals },
            (false, None, None) => {
                let why = "how many requests a second? Or --closed to send as fast as replies come, or --slo to search";
                return Err(BadOption { option: "rate", why: why.to_owned() });
            }
        };
        let pipeline = self.pipeline.unwrap_or(if self.closed { 1 } else { OPEN_PIPELINE });
        let threads = within("threads", self.threads, 1, THREADS_MAX)?;
        let least_value = if self.verify { VALUE_HEADER_BYTES } else { 0 };
        within("value-bytes", self.value_bytes.least, least_value, VALUE_BYTES_MAX)?;
        within("value-bytes", self.value_bytes.most, least_value, VALUE_BYTES_MAX)?;
        within("key-bytes", self.key_bytes.least, KEY_BYTES_MIN, KEY_BYTES_MAX)?;
        within("key-bytes", self.key_bytes.most, KEY_BYTES_MIN, KEY_BYTES_MAX)?;
        let unless_told = if self.count.is_some() { DURATION_MAX } else { DURATION };
        Ok(Settings {
            mode,
            connections: within("connections", self.connections, threads, CONNECTIONS_MAX)?,
            pipeline: within("pipeline", pipeline, 1, PIPELINE_MAX)?,
            threads,
            workload: Workload::new(self.workload, self.gets, self.distribution),
            keys: within("keys", self.keys, u64::from(threads), KEYS_MAX)?,
            key_sizes: self.key_bytes,
            value_sizes: self.value_bytes,
            preload: self.preload || self.verify,
            wait: within("wait", self.wait, 0, WAIT_MAX)?,
            verify: self.verify,
            warm_up: within_times("warm-up", self.warm_up)?,
            duration: within_times("duration", self.duration.unwrap_or(unless_told))?,
            count: self.count,
            seed: self.seed,
            patience: self.patience,
        })
    }

    /// Where a search begins.
    pub fn first_rate(&self) -> f64 {
        self.rate.unwrap_or(FIRST_RATE)
    }

    /// The settings of one step of a search.
    pub fn at_rate(&self, settings: &Settings, rate: f64, first: bool) -> Settings {
        let mode = Mode::Open { rate, arrivals: self.arrivals };
        Settings { mode, preload: settings.verify || (settings.preload && first), ..settings.clone() }
    }

    /// As reports name it.
    pub fn workload_name(&self) -> String {
        let name = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
        let mix = match self.workload {
            Named::Mixed => format!("mixed, {} % reads", self.gets),
            named => name(&named),
        };
        let spread = self.distribution.map(|spread| format!(", {}", name(&spread))).unwrap_or_default();
        let Sizes { least, most } = self.value_bytes;
        let bytes = if least == most { format!("{least}") } else { format!("{least}-{most}") };
        format!("{mix}{spread}, values of {bytes} B")
    }
}

/// A time such as `500ms` or `8s`; a plain number is seconds.
fn time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: f64 = digits.parse().map_err(|_| format!("{text:?} is no time; write 500us, 20ms, 8s or 5m"))?;
    let unit = match &text[digits.len()..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        unit => return Err(format!("{unit:?} is no unit of time; write us, ms, s or m")),
    };
    Duration::try_from_secs_f64(number * unit).map_err(|_| format!("{text:?} is no length of time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(options: &str) -> Result<Settings, BadOption> {
        let words = ["annulus-load", "run"].into_iter().chain(options.split_whitespace());
        let Chore::Run(run) = Arguments::try_parse_from(words).unwrap().chore else { panic!("a run") };
        run.settings()
    }

    #[test]
    fn options_become_settings() {
        let open = settings("--rate 5000 --duration 250ms --value-bytes 10-20").unwrap();
        assert_eq!(open.mode, Mode::Open { rate: 5000.0, arrivals: Arrivals::Poisson });
        assert_eq!((open.pipeline, open.duration), (OPEN_PIPELINE, Duration::from_millis(250)));
        let closed = settings("--closed --connections 8 --pipeline 16 --verify").unwrap();
        assert_eq!((closed.mode, closed.pipeline, closed.preload), (Mode::Closed, 16, true));
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (options, option) in [
            ("", "rate"),
            ("--rate 0", "rate"),
            ("--closed --connections 0", "connections"),
            ("--closed --connections 2 --threads 3", "connections"),
            ("--closed --pipeline 0", "pipeline"),
            ("--closed --verify --value-bytes 8", "value-bytes"),
            ("--closed --key-bytes 4", "key-bytes"),
            ("--closed --keys 0", "keys"),
        ] {
            assert_eq!(settings(options).unwrap_err().option, option, "{options}");
        }
        assert!(time("x").is_err() && time("3 parsecs").is_err() && time("-1s").is_err());
        assert!(Arguments::try_parse_from(["annulus-load", "run", "--rate", "1", "--closed"]).is_err());
    }
}
