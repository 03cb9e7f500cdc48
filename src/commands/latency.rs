//! How often each command ran and how long it took, per core: for LATENCY HISTOGRAM and INFO's command statistics.
//!
//! A core counts with plain loads and stores into numbers that all cores may read. Times are counted in buckets, four to
//! each power of two, so percentiles are at most a quarter too high.
//!
//! Invariant: only the core that owns a [`Latency`] counts in it; readers see each number some moments old.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use annulus_net::resp::{Protocol, writer};

use super::Args;
use super::session::SessionCommand;
use super::table::{self, Command, Row};

/// The first bucket ends at 256 ns.
const FIRST_OCTAVE: u32 = 8;
/// The last bucket also holds everything from 64 s on.
const LAST_OCTAVE: u32 = 35;
const BUCKETS: usize = 1 + 4 * (LAST_OCTAVE - FIRST_OCTAVE + 1) as usize;
/// Error prefixes that are counted by name; others together.
const ERROR_PREFIXES: [&str; 16] = [
    "ERR",
    "BUSY",
    "CLUSTERDOWN",
    "INDOUBT",
    "LOADING",
    "MISCONF",
    "MOVED",
    "NOAUTH",
    "NOPERM",
    "NOPROTO",
    "NOREPLICAS",
    "OOM",
    "TRYAGAIN",
    "WRONGPASS",
    "WRONGTYPE",
    "other",
];

/// What one command did on one core.
#[derive(Debug)]
struct Counts {
    nanos: AtomicU64,
    failed: AtomicU64,
    rejected: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

#[derive(Debug)]
struct Shared {
    commands: Box<[Counts]>,
    errors: [AtomicU64; ERROR_PREFIXES.len()],
}

/// The commands of one core. Clones count into, and read, the same numbers.
#[derive(Debug, Clone)]
pub struct Latency {
    shared: Arc<Shared>,
}

/// Adds with a load and a store: only one core writes.
#[inline]
fn add(number: &AtomicU64, more: u64) {
    number.store(number.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

#[inline]
fn bucket_of(nanos: u64) -> usize {
    let octave = (nanos | 1).ilog2();
    if octave < FIRST_OCTAVE {
        return 0;
    }
    if octave > LAST_OCTAVE {
        return BUCKETS - 1;
    }
    let quarter = (nanos >> (octave - 2) & 3) as usize;
    1 + 4 * (octave - FIRST_OCTAVE) as usize + quarter
}

/// The first time that is too long for a bucket, in nanoseconds.
fn bucket_end(bucket: usize) -> u64 {
    let Some(above_first) = bucket.checked_sub(1) else {
        return 1 << FIRST_OCTAVE;
    };
    let octave = FIRST_OCTAVE as usize + above_first / 4;
    (5 + above_first as u64 % 4) << (octave - 2)
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Latency {
    /// Nothing counted.
    pub fn new() -> Self {
        let zero = || AtomicU64::new(0);
        let counts =
            |_| Counts { nanos: zero(), failed: zero(), rejected: zero(), buckets: std::array::from_fn(|_| zero()) };
        let commands = (0..Command::COUNT).map(counts).collect();
        Self { shared: Arc::new(Shared { commands, errors: std::array::from_fn(|_| zero()) }) }
    }

    /// Counts a run of a command.
    #[inline]
    pub fn record(&self, command: Command, nanos: u64) {
        let counts = &self.shared.commands[command.index()];
        add(&counts.nanos, nanos);
        add(&counts.buckets[bucket_of(nanos)], 1);
    }

    /// How often a command ran.
    pub fn calls(&self, command: Command) -> u64 {
        let buckets = &self.shared.commands[command.index()].buckets;
        buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// Counts a run, counted by [`Latency::record`] too, that ended with this error reply.
    #[cold]
    pub fn record_failure(&self, command: Command, reply: &[u8]) {
        add(&self.shared.commands[command.index()].failed, 1);
        self.record_error(reply);
    }

    /// Counts a command that was answered with this error reply before it ran.
    #[cold]
    pub fn record_rejection(&self, command: Option<Command>, reply: &[u8]) {
        if let Some(command) = command {
            add(&self.shared.commands[command.index()].rejected, 1);
        }
        self.record_error(reply);
    }

    fn record_error(&self, reply: &[u8]) {
        let text = reply.strip_prefix(b"-").unwrap_or(reply);
        let prefix = text.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
        let known = ERROR_PREFIXES.iter().position(|known| known.as_bytes() == prefix);
        add(&self.shared.errors[known.unwrap_or(ERROR_PREFIXES.len() - 1)], 1);
    }

    /// Forgets everything; only the core that counts may.
    pub fn reset(&mut self) {
        let clear = |number: &AtomicU64| number.store(0, Ordering::Relaxed);
        for counts in &self.shared.commands {
            [&counts.nanos, &counts.failed, &counts.rejected].into_iter().for_each(clear);
            counts.buckets.iter().for_each(clear);
        }
        self.shared.errors.iter().for_each(clear);
    }
}

/// One command on all cores.
#[derive(Debug)]
struct Total {
    calls: u64,
    nanos: u64,
    failed: u64,
    rejected: u64,
    buckets: [u64; BUCKETS],
}

impl Total {
    fn of(cores: &[Latency], command: Command) -> Self {
        let mut total = Self { calls: 0, nanos: 0, failed: 0, rejected: 0, buckets: [0; BUCKETS] };
        for core in cores {
            let counts = &core.shared.commands[command.index()];
            let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
            total.nanos = total.nanos.wrapping_add(read(&counts.nanos));
            total.failed += read(&counts.failed);
            total.rejected += read(&counts.rejected);
            for (sum, bucket) in total.buckets.iter_mut().zip(&counts.buckets) {
                *sum += read(bucket);
            }
        }
        total.calls = total.buckets.iter().sum();
        total
    }

    /// The end of the bucket in which so many of a thousand calls, or more, have ended; microseconds.
    fn percentile_us(&self, per_mille: u64) -> f64 {
        let wanted = (self.calls * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        let reached = self.buckets.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        bucket_end(reached.unwrap_or(0)) as f64 / 1000.0
    }

    /// Pairs of microseconds and calls that took at most so long, by powers of two; only where the number grows.
    fn cumulative(&self) -> Vec<(i64, i64)> {
        let mut pairs = Vec::new();
        let (mut seen, mut before) = (0, 0);
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            let end = bucket_end(bucket);
            if end.is_power_of_two() && end >= 1024 && seen > before {
                let micros = i64::try_from((end + 500) / 1000).expect("far below 2^63");
                pairs.push((micros, i64::try_from(seen).unwrap_or(i64::MAX)));
                before = seen;
            }
        }
        pairs
    }
}

/// Names of the commands by number; the HELPs share one.
static NAMES: LazyLock<[&str; Command::COUNT]> = LazyLock::new(|| {
    let mut names = ["help"; Command::COUNT];
    let rows = table::all().flat_map(|row| std::iter::once(row).chain(row.subcommands));
    for (row, command) in rows.filter_map(|row| row.command().map(|command| (row, command))) {
        if command != Command::Help {
            names[command.index()] = row.name;
        }
    }
    names
});

/// Commands that ran, by number.
fn ran(cores: &[Latency]) -> impl Iterator<Item = (Command, &'static str, Total)> {
    let total = |command: &Command| (*command, NAMES[command.index()], Total::of(cores, *command));
    Command::ALL.iter().map(total).filter(|(.., total)| total.calls + total.rejected > 0)
}

/// LATENCY HISTOGRAM.
pub fn histogram(context: &mut SessionCommand<'_>, args: Args<'_>) {
    let wanted: Vec<Command> = args[2..].iter().flat_map(|name| commands_named(name)).collect();
    let all = args.len() == 2;
    let chosen: Vec<(&str, Total)> = ran(&context.node.latency)
        .filter(|(command, _, total)| total.calls > 0 && (all || wanted.contains(command)))
        .map(|(_, name, total)| (name, total))
        .collect();
    write_histograms(context.out, context.session.protocol, &chosen);
}

/// The command of a name, or all of a container's.
fn commands_named(name: &[u8]) -> Vec<Command> {
    let Some(row) = table::resolve_full_name(name) else {
        return Vec::new();
    };
    std::iter::once(row).chain(row.subcommands).filter_map(Row::command).collect()
}

fn write_histograms(out: &mut Vec<u8>, protocol: Protocol, totals: &[(&str, Total)]) {
    writer::map_header(out, protocol, totals.len());
    for (name, total) in totals {
        writer::bulk(out, name.as_bytes());
        writer::map_header(out, protocol, 2);
        writer::bulk(out, b"calls");
        writer::integer(out, i64::try_from(total.calls).unwrap_or(i64::MAX));
        writer::bulk(out, b"histogram_usec");
        let pairs = total.cumulative();
        writer::map_header(out, protocol, pairs.len());
        for (micros, calls) in pairs {
            writer::integer(out, micros);
            writer::integer(out, calls);
        }
    }
}

/// Lines of INFO commandstats.
pub fn write_command_statistics(text: &mut String, cores: &[Latency]) {
    for (_, name, total) in ran(cores) {
        let micros = total.nanos / 1000;
        let each = if total.calls == 0 { 0.0 } else { total.nanos as f64 / 1000.0 / total.calls as f64 };
        let Total { calls, failed, rejected, .. } = total;
        write!(
            text,
            "cmdstat_{name}:calls={calls},usec={micros},usec_per_call={each:.2},rejected_calls={rejected},\
             failed_calls={failed}\r\n"
        )
        .expect("writing to a string");
    }
}

/// Lines of INFO latencystats.
pub fn write_percentiles(text: &mut String, cores: &[Latency]) {
    for (_, name, total) in ran(cores).filter(|(.., total)| total.calls > 0) {
        let [middle, high, highest] = [500, 990, 999].map(|per_mille| total.percentile_us(per_mille));
        write!(text, "latency_percentiles_usec_{name}:p50={middle:.3},p99={high:.3},p99.9={highest:.3}\r\n")
            .expect("writing to a string");
    }
}

/// Lines of INFO errorstats.
pub fn write_error_statistics(text: &mut String, cores: &[Latency]) {
    for (number, prefix) in ERROR_PREFIXES.iter().enumerate() {
        let count: u64 = cores.iter().map(|core| core.shared.errors[number].load(Ordering::Relaxed)).sum();
        if count > 0 {
            write!(text, "errorstat_{prefix}:count={count}\r\n").expect("writing to a string");
        }
    }
}

#[cfg(test)]
mod tests;
