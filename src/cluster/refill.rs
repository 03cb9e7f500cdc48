//! Which partitions of a node that has lost its disk are whole again (rule S11).
//!
//! A node that came back with nothing under its old number owns what it owned, and has none of it: that it does not know a key
//! says nothing. Until a partition was compared equal with enough other owners, at a cut behind the node's start, what it tells
//! of the partition counts as little as what a fallback tells. Enough are N less a majority and one more: every write that a
//! majority had, this node perhaps among them, is on one of them.
//!
//! What others compare leaves out the epochs around their own time, as far as these are behind the cut. Clocks being what they
//! are, the cut alone does not say that what was written before this node's start was not left out; so as much time has passed
//! too, by the clock that only goes forward, as makes those epochs old to everybody.
//!
//! Invariant: a partition that is whole stays so for this life.

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use crate::event::Now;
use crate::ids::{NodeId, PartitionId};
use crate::limits::Limits;
use crate::mutation::{Mutation, mutated};

/// Epochs around now that a store can leave out of its trees: two before this one, this one and the next.
const EPOCHS_OPEN: u64 = 4;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Refill {
    /// `None` on a node that has what it ever had.
    partitions: Option<Partitions>,
}

#[derive(Debug, Default)]
struct Partitions {
    /// `None` before the first tick.
    start: Option<Start>,
    /// With whom a partition was found equal.
    equal: BTreeMap<PartitionId, SmallVec<[NodeId; 3]>>,
    whole: BTreeSet<PartitionId>,
}

/// When this life began.
#[derive(Debug, Clone, Copy)]
struct Start {
    /// The epoch then.
    epoch: u64,
    /// From then on, on the steady clock, nobody leaves out any more what was written before.
    counts_from_us: u64,
}

impl Refill {
    pub(crate) fn new(is_refilling: bool) -> Self {
        Self { partitions: is_refilling.then(Partitions::default) }
    }

    /// Whether what this node tells of a partition with so many owners counts. Of what only this node owns there is nobody who
    /// could know better.
    pub(crate) fn is_whole(&self, partition: PartitionId, owners: usize) -> bool {
        owners == 1 || self.partitions.as_ref().is_none_or(|partitions| partitions.whole.contains(&partition))
    }

    /// Time has passed; the first that is told is that of the start.
    pub(crate) fn on_tick(&mut self, now: Now, limits: &Limits) {
        if let Some(partitions) = &mut self.partitions {
            let epochs_us = (EPOCHS_OPEN * 1000) << limits.exchange_epoch_bits;
            partitions.start.get_or_insert(Start {
                epoch: now.unix_ms >> limits.exchange_epoch_bits,
                // What is told may be so old.
                counts_from_us: now.steady_us + epochs_us + limits.exchange_timeout_us,
            });
        }
    }

    /// This node and another of the partition's owners have the same of it, up to a cut. True when the partition is whole by it,
    /// and was not before.
    pub(crate) fn on_equal(&mut self, pair: (PartitionId, NodeId), cut: u64, owners: usize, now: Now) -> bool {
        let Some(partitions) = &mut self.partitions else { return false };
        let (partition, with) = pair;
        // What was written before this life began must be below the cut: from then on this node is sent what is written.
        let is_behind = |start: Start| cut > start.epoch && now.steady_us >= start.counts_from_us;
        let counts = partitions.start.is_some_and(is_behind) || mutated(Mutation::RefillIgnoresCut);
        if !counts || partitions.whole.contains(&partition) {
            return false;
        }
        let equal = partitions.equal.entry(partition).or_default();
        if !equal.contains(&with) {
            equal.push(with);
        }
        let is_whole = equal.len() >= enough(owners) || mutated(Mutation::RefilledByOne);
        if is_whole {
            partitions.equal.remove(&partition);
            partitions.whole.insert(partition);
        }
        is_whole
    }
}

/// How many other owners have to be found equal, of so many owners altogether.
fn enough(owners: usize) -> usize {
    let majority = owners / 2 + 1;
    (owners + 1).saturating_sub(majority).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u64) -> NodeId {
        NodeId::new(number)
    }

    #[test]
    fn enough_owners_overlap_every_majority() {
        for owners in 2..=crate::limits::COPIES_MAX {
            let (majority, enough) = (owners / 2 + 1, enough(owners));
            assert!(majority + enough > owners && enough < owners, "{owners}");
        }
    }

    /// Epochs of 64 ms; questions wait 100.
    fn limits() -> Limits {
        Limits { exchange_epoch_bits: 6, exchange_timeout_us: 100_000, ..Limits::default() }
    }

    fn now(unix_ms: u64, steady_ms: u64) -> Now {
        Now { unix_ms, steady_us: steady_ms * 1000 }
    }

    #[test]
    fn a_partition_is_whole_when_enough_have_the_same_behind_the_start() {
        let mut refill = Refill::new(true);
        let late = now(6400, 6400);
        assert!(!refill.on_equal((1, node(2)), 100, 3, late), "before the first tick nothing is known");
        refill.on_tick(now(640, 640), &limits());
        refill.on_tick(now(704, 704), &limits());
        assert!(!refill.on_equal((1, node(2)), 10, 3, late) && !refill.on_equal((1, node(3)), 10, 3, late));
        assert!(!refill.is_whole(1, 3), "what was written between the cut and the start may be missing");
        assert!(!refill.on_equal((1, node(2)), 11, 3, late) && !refill.on_equal((1, node(2)), 12, 3, late));
        assert!(!refill.is_whole(1, 3), "one of two others");
        assert!(refill.on_equal((1, node(3)), 11, 3, late), "both");
        assert!(!refill.on_equal((1, node(3)), 12, 3, late), "it becomes whole once");
        assert!(refill.is_whole(1, 3) && !refill.is_whole(2, 3));
    }

    #[test]
    fn a_clock_that_jumps_ahead_after_the_start_proves_nothing() {
        let mut refill = Refill::new(true);
        refill.on_tick(now(640, 640), &limits());
        let counts_from_ms = 640 + 4 * 64 + 100;
        assert!(!refill.on_equal((1, node(2)), 1 << 30, 2, now(64 << 30, counts_from_ms - 1)));
        assert!(refill.on_equal((1, node(2)), 1 << 30, 2, now(64 << 30, counts_from_ms)));
    }

    #[test]
    fn a_node_that_has_lost_nothing_is_whole() {
        let mut refill = Refill::new(false);
        assert!(!refill.on_equal((1, node(2)), 100, 3, now(0, 0)));
        assert!(refill.is_whole(0, 3));
    }

    #[test]
    fn what_nobody_else_owns_is_whole() {
        assert!(Refill::new(true).is_whole(1, 1));
    }
}
