//! What one thread counted, and how threads are added up.
//!
//! Invariant: every request that was due in the measured time ends in exactly one place: a reply with its latency, or an
//! error of some kind.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::report::{Latency, Second};
use crate::workload::Operation;

/// Kinds of errors that are told apart; what comes after is counted as "other".
const ERROR_KINDS_MAX: usize = 32;
/// Least difference and largest value of a latency, nanoseconds.
const LEAST_NS: u64 = 100;
const MOST_NS: u64 = 600_000_000_000;

/// An empty histogram of latencies.
pub fn histogram(digits: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(LEAST_NS, MOST_NS, digits).expect("the bounds and digits are constants that fit")
}

/// One second of one thread.
#[derive(Debug)]
pub struct SecondTally {
    /// Which.
    pub at: u64,
    replies: u64,
    errors: u64,
    latency: Histogram<u64>,
}

impl SecondTally {
    /// An empty one.
    pub fn new(at: u64) -> Self {
        Self { at, replies: 0, errors: 0, latency: histogram(2) }
    }

    /// Adds another thread's.
    pub fn add(&mut self, other: &Self) {
        assert_eq!(self.at, other.at, "seconds are added to themselves");
        self.replies += other.replies;
        self.errors += other.errors;
        self.latency.add(&other.latency).expect("the same bounds");
    }

    /// As it is reported.
    pub fn report(&self) -> Second {
        let latency = Latency::of(&self.latency);
        Second {
            at: self.at,
            replies: self.replies,
            errors: self.errors,
            p50: latency.p50,
            p99: latency.p99,
            p999: latency.p999,
            max: latency.max,
        }
    }
}

/// What a thread counted.
#[derive(Debug)]
pub struct Tally {
    /// Requests due.
    pub due: u64,
    /// Errors by kind.
    pub errors: BTreeMap<String, u64>,
    /// Latencies by operation, in the order of [`Operation::ALL`].
    pub latencies: [Histogram<u64>; 4],
    /// How late requests left that nothing but this thread kept.
    pub lateness: Histogram<u64>,
    /// CPU time, less what was spent looking at an empty ring.
    pub busy_ns: u64,
    /// Measured time.
    pub elapsed_ns: u64,
    second: SecondTally,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            due: 0,
            errors: BTreeMap::new(),
            latencies: std::array::from_fn(|_| histogram(3)),
            lateness: histogram(3),
            busy_ns: 0,
            elapsed_ns: 0,
            second: SecondTally::new(0),
        }
    }
}

impl Tally {
    /// A request was answered.
    pub fn reply(&mut self, operation: Operation, latency_ns: u64) {
        let index = Operation::ALL.iter().position(|other| *other == operation).expect("all are there");
        self.latencies[index].saturating_record(latency_ns);
        self.second.replies += 1;
        self.second.latency.saturating_record(latency_ns);
    }

    /// A request ended otherwise; `kind` is a word.
    pub fn error(&mut self, kind: &str) {
        self.second.errors += 1;
        let known = self.errors.len() < ERROR_KINDS_MAX || self.errors.contains_key(kind);
        *self.errors.entry(if known { kind } else { "other" }.to_owned()).or_default() += 1;
    }

    /// Requests that were answered.
    pub fn replies(&self) -> u64 {
        self.latencies.iter().map(Histogram::len).sum()
    }

    /// Requests that ended otherwise.
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Ends a second when `at` lies behind it: gives it out, and those that were empty between.
    pub fn roll(&mut self, at: u64, mut ended: impl FnMut(SecondTally)) {
        while self.second.at < at {
            let next = SecondTally::new(self.second.at + 1);
            ended(std::mem::replace(&mut self.second, next));
        }
    }

    /// Adds another thread's; the shares are the busiest thread's.
    pub fn add(&mut self, other: &Self) {
        self.due += other.due;
        other.errors.iter().for_each(|(kind, count)| *self.errors.entry(kind.clone()).or_default() += count);
        for (mine, theirs) in self.latencies.iter_mut().zip(&other.latencies) {
            mine.add(theirs).expect("the same bounds");
        }
        self.lateness.add(&other.lateness).expect("the same bounds");
        self.busy_ns = self.busy_ns.max(other.busy_ns);
        self.elapsed_ns = self.elapsed_ns.max(other.elapsed_ns);
    }

    /// Latencies by operation, of those that happened.
    pub fn operations(&self) -> BTreeMap<String, Latency> {
        let each = Operation::ALL.iter().zip(&self.latencies).filter(|(_, latencies)| !latencies.is_empty());
        each.map(|(operation, latencies)| (operation.name().to_owned(), Latency::of(latencies))).collect()
    }

    /// Latencies of all operations.
    pub fn latency(&self) -> Latency {
        let mut all = histogram(3);
        self.latencies.iter().for_each(|latencies| all.add(latencies).expect("the same bounds"));
        Latency::of(&all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_and_seconds_add_up() {
        let mut first = Tally::default();
        let mut second = Tally::default();
        (0..100).for_each(|at| first.reply(Operation::Read, 1_000 * (at + 1)));
        second.reply(Operation::Update, 5_000_000);
        second.error("OOM");
        let mut seconds = Vec::new();
        first.roll(3, |ended| seconds.push(ended));
        assert_eq!(
            seconds.iter().map(|second| (second.at, second.replies)).collect::<Vec<_>>(),
            [(0, 100), (1, 0), (2, 0)]
        );
        second.roll(1, |ended| seconds[0].add(&ended));
        let report = seconds[0].report();
        assert_eq!((report.replies, report.errors), (101, 1));
        assert!((4_900.0..5_100.0).contains(&report.max));
        first.add(&second);
        assert_eq!((first.replies(), first.error_count()), (101, 1));
        let operations = first.operations();
        assert_eq!(operations.keys().map(String::as_str).collect::<Vec<_>>(), ["read", "update"]);
        assert!((49.0..52.0).contains(&operations["read"].p50), "{:?}", operations["read"].p50);
    }

    #[test]
    fn kinds_of_errors_are_bounded() {
        let mut tally = Tally::default();
        (0..100).for_each(|kind| tally.error(&format!("E{kind}")));
        assert_eq!(tally.error_count(), 100);
        assert_eq!(tally.errors.len(), ERROR_KINDS_MAX + 1);
        assert_eq!(tally.errors["other"], 100 - ERROR_KINDS_MAX as u64);
    }
}
