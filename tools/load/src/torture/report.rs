//! What a torture found out, for people and as JSON.
//!
//! Invariant: whatever makes a run worth nothing (nothing acknowledged, nothing compared) fails it as loudly as a loss.

use std::collections::BTreeMap;
use std::io::{self, Write};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::client::{Log, Made};
use super::history::Kind;
use super::reach::Reach;
use super::verdict::Verdict;
use super::workload::Attempt;
use crate::report::Latency;
use crate::report::text::write_table;

/// A write is available when it is answered within this.
const AVAILABLE_NS: u64 = 1_000_000_000;
/// A client that takes an attempt up so late was held up by an earlier one; less is the scheduler's.
const PUNCTUAL_NS: u64 = 5_000_000;
/// What the authors of the design report, in percent, of requests answered in time over two years.
const PAPER_PERCENT: f64 = 99.9995;

/// One run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Name in the keys of this run.
    pub run: String,
    /// Everything random followed from it.
    pub seed: u64,
    /// Seconds of load.
    pub elapsed_s: f64,
    /// Clients.
    pub clients: u32,
    /// Nodes.
    pub nodes: usize,
    /// How often each fault was made.
    pub faults: BTreeMap<&'static str, u64>,
    /// Why the fault driver gave up, if it did.
    pub fault_driver: Option<String>,
    /// By workload.
    pub verdicts: BTreeMap<&'static str, Verdict>,
    /// Reads during the run that showed something which was never written there.
    pub invented_reads: u64,
    /// Reads during the run that were checked.
    pub reads_checked: u64,
    /// Answers that were compared at the end.
    pub answers_compared: u64,
    /// Seconds until all nodes agreed; `None` = they never did.
    pub agreed_after_s: Option<f64>,
    /// Of writes.
    pub availability: Availability,
    /// Of reads, those from which a write follows among them.
    pub read_availability: Availability,
    /// Failed attempts by kind.
    pub errors: BTreeMap<String, u64>,
    /// Connections that were made anew.
    pub reconnects: u64,
    /// Longest time between two writes that were done, by client, milliseconds.
    pub longest_gap_ms: Vec<f64>,
    /// Microseconds from when a write was due; of those that were done.
    pub writes: Latency,
    /// Of reads.
    pub reads: Latency,
}

/// How often a write, or a read, was answered in time.
#[derive(Debug, Default, Serialize)]
pub struct Availability {
    /// Of them, while the client's node could reach enough others.
    pub attempts: u64,
    /// Of them, done within a second.
    pub in_time: u64,
    /// Of them, in percent; 0 when there were none.
    pub percent: f64,
    /// What became of the others, by kind: `late` was done after more than a second, `behind` within one after its client, which
    /// still waited for an earlier answer, took it up.
    pub missed: BTreeMap<String, u64>,
    /// Such as met a time in which the client's node was down or could not reach enough others.
    pub apart: u64,
    /// Of those, done within a second.
    pub apart_in_time: u64,
    /// The share of the time in which a node could reach enough others, over all nodes, percent.
    pub reaching_percent: f64,
}

impl Report {
    /// Whether nothing was lost, and something was compared.
    pub fn passed(&self) -> bool {
        self.failures().is_empty()
    }

    /// Why it did not pass.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for (name, verdict) in &self.verdicts {
            if !verdict.is_clean() {
                failures.push(format!("{name}: not what was acknowledged"));
            }
            if verdict.acknowledged == 0 {
                failures.push(format!("{name}: no write was acknowledged, so nothing is shown"));
            }
        }
        if self.verdicts.is_empty() || self.answers_compared == 0 {
            failures.push("nothing was compared".to_owned());
        }
        if self.invented_reads > 0 {
            failures.push(format!("{} reads showed what was never written", self.invented_reads));
        }
        failures.extend(self.fault_driver.iter().map(|why| format!("faults: {why}")));
        failures
    }

    /// For people.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "run {}, seed {}, {:.1} s, {} clients, {} nodes",
            self.run, self.seed, self.elapsed_s, self.clients, self.nodes
        )?;
        writeln!(out, "faults   {}", listed(&self.faults))?;
        writeln!(out, "errors   {}", listed(&self.errors))?;
        writeln!(out)?;
        write_table(out, &self.verdict_rows())?;
        for example in self.verdicts.values().flat_map(|verdict| &verdict.examples) {
            writeln!(out, "  {example}")?;
        }
        writeln!(out)?;
        self.write_figures(out)?;
        let failures = self.failures();
        failures.iter().try_for_each(|failure| writeln!(out, "FAILED   {failure}"))?;
        if failures.is_empty() { writeln!(out, "passed: nothing that was acknowledged is lost") } else { Ok(()) }
    }

    fn verdict_rows(&self) -> Vec<Vec<String>> {
        let head = [
            "workload",
            "keys",
            "acknowledged",
            "survived",
            "lost",
            "resurrected",
            "duplicated",
            "invented",
            "diverged",
        ];
        let row = |(name, v): (&&'static str, &Verdict)| {
            let counts =
                [v.keys, v.acknowledged, v.survived, v.lost, v.resurrected, v.duplicated, v.invented, v.diverged];
            std::iter::once((*name).to_owned()).chain(counts.map(|count| count.to_string())).collect()
        };
        std::iter::once(head.map(str::to_owned).to_vec()).chain(self.verdicts.iter().map(row)).collect()
    }

    fn write_figures(&self, out: &mut impl Write) -> io::Result<()> {
        let agreed = self.agreed_after_s.map_or("never".to_owned(), |seconds| format!("after {seconds:.1} s"));
        writeln!(
            out,
            "checked  {} reads on the way, {} answers at the end; nodes agreed {agreed}",
            self.reads_checked, self.answers_compared
        )?;
        for (name, a) in [("writes", &self.availability), ("reads", &self.read_availability)] {
            writeln!(
                out,
                "{name:<8} {:.4} % of {} done within 1 s while the client's node could reach enough others",
                a.percent, a.attempts
            )?;
            if !a.missed.is_empty() {
                writeln!(out, "         the others: {}", listed(&a.missed))?;
            }
            writeln!(out, "         {} of {} that met another time", a.apart_in_time, a.apart)?;
        }
        writeln!(
            out,
            "         nodes could reach enough others {:.2} % of the time; the paper: {PAPER_PERCENT} % of requests",
            self.availability.reaching_percent
        )?;
        let longest = self.longest_gap_ms.iter().copied().fold(0.0, f64::max);
        writeln!(
            out,
            "gaps     {longest:.0} ms at most between two writes of a client; {} new connections",
            self.reconnects
        )?;
        for (name, latency) in [("writes", &self.writes), ("reads", &self.reads)] {
            writeln!(
                out,
                "{name:<8} {} done: mean {:.0} µs, p50 {:.0}, p99 {:.0}, p99.9 {:.0}, max {:.0}",
                latency.count, latency.mean, latency.p50, latency.p99, latency.p999, latency.max
            )?;
        }
        Ok(())
    }
}

fn listed(counts: &BTreeMap<impl std::fmt::Display, u64>) -> String {
    let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

/// How available writes, or reads, were.
///
/// A client's node needs `grace_ns` after it could not reach enough others until its failures count.
pub fn availability(wanted: Attempt, logs: &[Log], reach: &Reach, (until_ns, grace_ns): (u64, u64)) -> Availability {
    let mut sum = Availability { reaching_percent: 100.0 * reach.share(until_ns), ..Availability::default() };
    for log in logs {
        let mut busy_since_ns = 0;
        for made in &log.made {
            // What had to wait for earlier answers has met what those have met.
            busy_since_ns = if made.begun_ns > made.due_ns + PUNCTUAL_NS { busy_since_ns } else { made.due_ns };
            if made.attempt != wanted {
                continue;
            }
            let in_time = made.is_done() && made.done_ns - made.due_ns <= AVAILABLE_NS;
            let end = made.done_ns.min(made.due_ns + AVAILABLE_NS);
            let from = made.due_ns.min(busy_since_ns).saturating_sub(grace_ns);
            if reach.holds(&log.nodes, from, end) {
                sum.attempts += 1;
                sum.in_time += u64::from(in_time);
                if !in_time {
                    let late = if made.done_ns - made.begun_ns <= AVAILABLE_NS { "behind" } else { "late" };
                    let kind = made.failure.as_ref().map_or(late.to_owned(), ToString::to_string);
                    *sum.missed.entry(kind).or_insert(0) += 1;
                }
            } else {
                sum.apart += 1;
                sum.apart_in_time += u64::from(in_time);
            }
        }
    }
    sum.percent = if sum.attempts == 0 { 0.0 } else { 100.0 * sum.in_time as f64 / sum.attempts as f64 };
    sum
}

/// Longest time without a write that was done, beginning and end of the run included, milliseconds.
pub fn longest_gap_ms(log: &Log, until_ns: u64) -> f64 {
    let mut last = 0;
    let mut longest = 0;
    let is_done = |made: &&Made| made.attempt == Attempt::Write && made.is_done();
    let done = log.made.iter().filter(is_done).map(|made| made.done_ns);
    for at in done.chain(std::iter::once(until_ns)) {
        longest = longest.max(at.saturating_sub(last));
        last = at;
    }
    longest as f64 / 1e6
}

/// Latencies of one kind of attempt, of those that were done.
pub fn latency(logs: &[Log], wanted: Attempt) -> Latency {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 3_600_000_000_000, 3).expect("sound bounds");
    for made in logs.iter().flat_map(|log| &log.made).filter(|made| made.attempt == wanted && made.is_done()) {
        histogram.saturating_record((made.done_ns - made.due_ns).max(1));
    }
    Latency::of(&histogram)
}

/// By name, with every workload that was tried, even if nothing came of it.
pub fn verdicts(kinds: &[Kind], mut found: BTreeMap<Kind, Verdict>) -> BTreeMap<&'static str, Verdict> {
    kinds.iter().map(|kind| (kind.name(), found.remove(kind).unwrap_or_default())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torture::conversation::Failure;
    use crate::torture::reach::Links;

    const SECOND: u64 = AVAILABLE_NS;

    fn made(due_ns: u64, done_ns: u64, is_done: bool) -> Made {
        let failure = (!is_done).then_some(Failure::Timeout);
        Made { kind: Kind::Set, attempt: Attempt::Write, due_ns, begun_ns: due_ns, done_ns, failure }
    }

    #[test]
    fn availability_tells_the_cut_off_apart() {
        let mut reach = Reach::new(2, 1);
        let mut links = Links::sound(2);
        links.set_up(0, false);
        reach.change(10 * SECOND, links);
        reach.change(20 * SECOND, Links::sound(2));
        let log = Log {
            nodes: vec![(0, 0)],
            made: vec![
                made(0, SECOND, true),
                made(2 * SECOND, 3 * SECOND + 1, true),
                made(5 * SECOND, 5 * SECOND + 9, false),
                made(15 * SECOND, 17 * SECOND, false),
                made(19 * SECOND, 19 * SECOND + 5, true),
                made(30 * SECOND, 30 * SECOND + 5, true),
                Made { begun_ns: 32 * SECOND, ..made(30 * SECOND, 32 * SECOND + 5, true) },
                Made { attempt: Attempt::Read, ..made(31 * SECOND, 31 * SECOND + 5, false) },
            ],
            ..Log::default()
        };
        let logs = [log];
        let sum = availability(Attempt::Write, &logs, &reach, (40 * SECOND, 0));
        assert_eq!(sum.missed, ["behind", "late", "timeout"].map(|kind| (kind.to_owned(), 1)).into());
        let kind = availability(Attempt::Write, &logs, &reach, (40 * SECOND, 11 * SECOND));
        assert_eq!((kind.attempts, kind.apart), (3, 4), "30 is 10 after the fault");
        assert_eq!((sum.attempts, sum.in_time, sum.apart, sum.apart_in_time), (5, 2, 2, 1));
        assert_eq!((sum.percent, sum.reaching_percent), (40.0, 87.5));
        let reads = availability(Attempt::Read, &logs, &reach, (40 * SECOND, 0));
        assert_eq!((reads.attempts, reads.in_time, reads.apart), (1, 0, 0));
    }

    #[test]
    fn gaps_are_between_writes_that_were_done() {
        let writes = vec![made(0, SECOND, true), made(SECOND, 2 * SECOND, false), made(0, 4 * SECOND, true)];
        let log = Log { made: writes, ..Log::default() };
        assert_eq!(longest_gap_ms(&log, 5 * SECOND), 3000.0);
        assert_eq!(longest_gap_ms(&log, 9 * SECOND), 5000.0);
        assert_eq!(longest_gap_ms(&Log::default(), 9 * SECOND), 9000.0);
    }
}
