//! What became of runs: what was injected, done and compared; what was violated; and the line that repeats it.
//!
//! Invariant: a run that injected, acknowledged or compared nothing is no success: [`Report::gates`] says so.

use std::fmt::Write as _;

use annulus_cluster::effect::Failure;

use crate::checkers::{Compared, Promise, Violation};
use crate::faults::{Injected, Kind};
use crate::node::{DiskCounts, ExchangeCounts, RefillCounts};
use crate::options::{Options, StoreKind};

/// Names of failures, each at its place.
pub const FAILURES: [&str; 7] =
    ["no replicas", "in doubt", "read timeout", "too many siblings", "busy", "not coordinating", "too large"];

/// Where a failure is counted. It says so of every one by itself, so that another one in the protocol's list cannot be taken for
/// its neighbour.
const fn place_of(failure: Failure) -> usize {
    match failure {
        Failure::NoReplicas => 0,
        Failure::InDoubt => 1,
        Failure::ReadTimeout => 2,
        Failure::TooManySiblings => 3,
        Failure::Busy => 4,
        Failure::NotCoordinating => 5,
        Failure::TooLarge => 6,
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Things that happened.
    pub events: u64,
    /// Packets sent.
    pub packets: u64,
    /// Operations begun.
    pub ops: u64,
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Reads answered.
    pub read: u64,
    /// Of these, such as may be stale.
    pub stale_possible: u64,
    /// Operations that failed, by how: see [`FAILURES`].
    pub failed: [u64; FAILURES.len()],
    /// Operations whose client learnt nothing.
    pub unknown: u64,
    /// Writes stamped.
    pub stamps: u64,
    /// Of these, by a fallback.
    pub fallback_stamps: u64,
    /// Hints that were handed over and forgotten.
    pub hints_forgotten: u64,
    /// New incarnations that a failed append made necessary.
    pub incarnations: u64,
    /// Copies that nobody keeps a hint of.
    pub dirty: u64,
    /// What exchanges came to.
    pub exchanges: ExchangeCounts,
    /// What refilling came to.
    pub refilling: RefillCounts,
    /// Nodes that had back all that a lost disk had.
    pub refilled: u64,
    /// Disks that were spared because they had the last copy of something.
    pub spared: u64,
    /// Writes that crashes lost before they were confirmed.
    pub lost_in_crash: u64,
    /// Writes that had failed and were there after a restart.
    pub ghosts: u64,
    /// Processes that were started again because their disk had failed too often.
    pub read_only: u64,
    /// What disks and stores counted.
    pub disks: DiskCounts,
    /// Reads that found siblings.
    pub conflicts: u64,
    /// The most siblings that a read has found.
    pub siblings_max: u64,
    /// The most packets that a link held.
    pub link_depth_max: u64,
    /// Elements added to the set, and lost.
    pub set_added: u64,
    /// Elements whose addition was acknowledged and that are gone.
    pub set_lost: u64,
}

impl Tally {
    /// An operation failed.
    pub fn count_failure(&mut self, failure: Failure) {
        self.failed[place_of(failure)] += 1;
    }

    fn merge(&mut self, other: &Tally) {
        self.events += other.events;
        self.packets += other.packets;
        self.ops += other.ops;
        self.acknowledged += other.acknowledged;
        self.read += other.read;
        self.stale_possible += other.stale_possible;
        self.failed.iter_mut().zip(other.failed).for_each(|(count, other)| *count += other);
        self.unknown += other.unknown;
        self.stamps += other.stamps;
        self.fallback_stamps += other.fallback_stamps;
        self.hints_forgotten += other.hints_forgotten;
        self.incarnations += other.incarnations;
        self.dirty += other.dirty;
        self.exchanges.add(&other.exchanges, &ExchangeCounts::default());
        self.refilling.add(&other.refilling, &RefillCounts::default());
        self.refilled += other.refilled;
        self.spared += other.spared;
        self.lost_in_crash += other.lost_in_crash;
        self.ghosts += other.ghosts;
        self.read_only += other.read_only;
        self.disks.add(&other.disks);
        self.conflicts += other.conflicts;
        self.siblings_max = self.siblings_max.max(other.siblings_max);
        self.link_depth_max = self.link_depth_max.max(other.link_depth_max);
        self.set_added += other.set_added;
        self.set_lost += other.set_lost;
    }
}

/// What became of one run.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What the nodes kept their objects in, and whether that was asked for and not the seed's choice.
    pub store: (StoreKind, bool),
    /// Of everything that happened.
    pub hash: u64,
    /// Faults that had an effect.
    pub injected: Injected,
    /// What was done.
    pub tally: Tally,
    /// What was compared.
    pub compared: Compared,
    /// The first broken promise.
    pub violation: Option<Violation>,
    /// The story, if one was kept: of the violated key, else all of it.
    pub story: String,
}

impl Report {
    /// Why the run proves nothing, if so.
    pub fn gates(&self) -> Result<(), String> {
        let must = [
            (self.injected.total(), "no fault was injected"),
            (self.tally.acknowledged, "no write was acknowledged"),
            (self.tally.read, "no read was answered"),
            (self.compared.of(Promise::Kept), "no acknowledged write was looked for"),
            (self.compared.of(Promise::NothingInvented), "no value was compared"),
            (self.compared.of(Promise::Causality), "no history was compared"),
            (self.compared.of(Promise::Copies), "no copies were counted"),
            (self.compared.of(Promise::Convergence), "no owners were compared"),
            (self.compared.of(Promise::Bounded), "no queue was measured"),
        ];
        must.iter().find(|(count, _)| *count == 0).map_or(Ok(()), |(_, what)| Err((*what).to_owned()))
    }

    /// The line that repeats the run.
    #[must_use]
    pub fn repeat(&self) -> String {
        let (store, is_asked) = self.store;
        let store = if is_asked { format!(" --store {}", store.name()) } else { String::new() };
        format!("cargo run -p sim -- --seed {}{store} --story", self.seed)
    }

    /// Whether the run is a success; else why not.
    #[must_use]
    pub fn verdict(&self) -> Option<String> {
        match (&self.violation, self.gates()) {
            (Some(violation), _) => Some(format!("broken: {}. {}", violation.promise.text(), violation.text)),
            (None, Err(gate)) => Some(format!("proves nothing: {gate}")),
            (None, Ok(())) => None,
        }
    }
}

/// What became of many runs.
#[derive(Debug, Default)]
pub struct Summary {
    /// How many.
    pub runs: u64,
    /// Of these, over the engine.
    pub engine_runs: u64,
    /// Faults that had an effect.
    pub injected: Injected,
    /// What was done.
    pub tally: Tally,
    /// What was compared.
    pub compared: Compared,
    /// Those that failed, with why, by seed.
    pub failures: Vec<(u64, String)>,
    /// All hashes together: of all runs in any order.
    pub hash: u64,
}

impl Summary {
    /// Adds a run.
    pub fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.engine_runs += u64::from(report.store.0 == StoreKind::Engine);
        self.injected.merge(&report.injected);
        self.tally.merge(&report.tally);
        self.compared.merge(&report.compared);
        self.hash = self.hash.wrapping_add(crate::seeds::mix(report.hash ^ crate::seeds::mix(report.seed)));
        if let Some(why) = report.verdict() {
            self.failures.push((report.seed, why));
        }
    }

    /// Why the campaign proves nothing, if so: with a hundred runs or more every kind of fault must have had an effect, and
    /// every promise must have been put to the test.
    pub fn gates(&self, options: &Options) -> Result<(), String> {
        if self.runs < 100 {
            return Ok(());
        }
        let kinds = options.kinds_on(options.store != Some(StoreKind::Plain));
        let idle = Kind::ALL.iter().filter(|kind| kinds.has(**kind) && self.injected.of(**kind) == 0);
        if let Some(kind) = idle.min() {
            return Err(format!("no effect of: {}", kind.name()));
        }
        let exchanges = &self.tally.exchanges;
        let must = [
            (exchanges.equal, "no owners were found equal"),
            (exchanges.differing, "no owners were found different"),
            (exchanges.objects, "no exchange has repaired anything"),
            (exchanges.of_dirty, "no exchange was begun for a copy that nobody kept a hint of"),
            (self.tally.refilling.uncounted, "no refilling node was asked for what it has"),
            (self.tally.refilling.partitions, "no partition was refilled"),
            (self.tally.refilled, "no node was refilled"),
        ];
        if let Some((_, what)) = must.iter().find(|(count, _)| *count == 0) {
            return Err((*what).to_owned());
        }
        if options.store != Some(StoreKind::Plain) {
            let disks = &self.tally.disks;
            let must = [
                (self.engine_runs, "no run was over the engine"),
                (disks.drains, "no engine drained its log"),
                (disks.compactions, "no engine compacted a partition"),
                (disks.merge_reads, "no merge waited for the disk"),
                (disks.disk_reads, "no record was read from a disk"),
                (disks.rot_found, "no damage was found on a disk"),
            ];
            if let Some((_, what)) = must.iter().find(|(count, _)| *count == 0) {
                return Err((*what).to_owned());
            }
        }
        let untested = Promise::ALL.iter().find(|promise| self.compared.of(**promise) == 0);
        untested.map_or(Ok(()), |promise| Err(format!("never compared: {}", promise.text())))
    }

    /// In words.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let mut line =
            |name: &str, count: u64| writeln!(out, "  {count:>12}  {name}").expect("a string takes everything");
        line("runs", self.runs);
        line("of these over the engine", self.engine_runs);
        line("events", self.tally.events);
        line("packets", self.tally.packets);
        line("operations", self.tally.ops);
        line("writes acknowledged", self.tally.acknowledged);
        line("reads answered", self.tally.read);
        line("of these possibly stale", self.tally.stale_possible);
        FAILURES.iter().zip(self.tally.failed).for_each(|(name, count)| line(&format!("failed: {name}"), count));
        line("clients that learnt nothing", self.tally.unknown);
        line("writes stamped", self.tally.stamps);
        line("writes stamped by fallbacks", self.tally.fallback_stamps);
        line("hints handed over and forgotten", self.tally.hints_forgotten);
        line("incarnations after failed appends", self.tally.incarnations);
        line("copies left to an exchange", self.tally.dirty);
        let exchanges = &self.tally.exchanges;
        line("exchanges begun", exchanges.begun);
        line("of these of copies left to them", exchanges.of_dirty);
        line("ended with equal trees", exchanges.equal);
        line("ended with trees that differed", exchanges.differing);
        line("not answered or refused", exchanges.failed);
        line("keys compared by exchanges", exchanges.keys);
        line("objects brought by exchanges", exchanges.objects);
        line("words of refilling nodes that did not count", self.tally.refilling.uncounted);
        line("partitions that were refilled", self.tally.refilling.partitions);
        line("nodes that were refilled", self.tally.refilled);
        line("disks spared for a last copy", self.tally.spared);
        line("unconfirmed writes lost in crashes", self.tally.lost_in_crash);
        line("failed writes found again", self.tally.ghosts);
        line("processes started again for their disk", self.tally.read_only);
        if self.engine_runs > 0 {
            let disks = &self.tally.disks;
            line("drains of logs", disks.drains);
            line("compactions of partitions", disks.compactions);
            line("scrubs of everything", disks.scrubs);
            line("damaged places found", disks.rot_found);
            line("starts interrupted", disks.interrupted);
            line("records read from disks", disks.disk_reads);
            line("merges that waited for a record", disks.merge_reads);
            line("writes that found no room at once", disks.stalls);
            line("writes refused by full disks", disks.refused);
        }
        line("reads that found siblings", self.tally.conflicts);
        line("siblings at most", self.tally.siblings_max);
        line("packets on a link at most", self.tally.link_depth_max);
        if self.tally.set_added > 0 {
            line("elements added to sets", self.tally.set_added);
            line("elements lost", self.tally.set_lost);
        }
        out.push_str("faults that had an effect\n");
        for kind in Kind::ALL {
            writeln!(out, "  {:>12}  {}", self.injected.of(*kind), kind.name()).expect("a string takes everything");
        }
        out.push_str("comparisons\n");
        for promise in Promise::ALL {
            let count = self.compared.of(promise);
            writeln!(out, "  {count:>12}  {}", promise.text()).expect("a string takes everything");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_is_counted_under_its_own_name() {
        let named = [
            (Failure::NoReplicas, "no replicas"),
            (Failure::InDoubt, "in doubt"),
            (Failure::ReadTimeout, "read timeout"),
            (Failure::TooManySiblings, "too many siblings"),
            (Failure::Busy, "busy"),
            (Failure::NotCoordinating, "not coordinating"),
            (Failure::TooLarge, "too large"),
        ];
        assert_eq!(named.len(), FAILURES.len());
        for (failure, name) in named {
            let mut summary = Summary::default();
            summary.tally.count_failure(failure);
            let text = summary.text();
            let counted = text.lines().filter_map(|line| line.trim().strip_prefix("1  failed: "));
            assert_eq!(counted.collect::<Vec<&str>>(), [name]);
        }
    }
}
