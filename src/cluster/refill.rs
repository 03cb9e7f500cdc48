//! Which partitions of a node that has lost its disk are whole again (rule S11).
//!
//! A node that came back with nothing under its old number owns what it owned, and has none of it: that it does not know a key
//! says nothing. Until a partition was compared equal with enough other owners, at a cut behind the node's start, what it tells
//! of the partition counts as little as what a fallback tells. Enough are N less a majority and one more: every write that a
//! majority has is on one of them.
//!
//! Invariant: a partition that is whole stays so for this life.

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use crate::ids::{NodeId, PartitionId};
use crate::mutation::{Mutation, mutated};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Refill {
    /// `None` on a node that has what it ever had.
    partitions: Option<Partitions>,
}

#[derive(Debug, Default)]
struct Partitions {
    /// The epoch in which this life began; `None` before the first tick.
    begun: Option<u64>,
    /// With whom a partition was found equal.
    equal: BTreeMap<PartitionId, SmallVec<[NodeId; 3]>>,
    whole: BTreeSet<PartitionId>,
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

    /// The epoch of now; the first that is told is that of the start.
    pub(crate) fn note_epoch(&mut self, epoch: u64) {
        if let Some(partitions) = &mut self.partitions {
            partitions.begun.get_or_insert(epoch);
        }
    }

    /// This node and another of the partition's owners have the same of it, up to a cut. True when the partition is whole by it,
    /// and was not before.
    pub(crate) fn on_equal(&mut self, partition: PartitionId, with: NodeId, cut: u64, owners: usize) -> bool {
        let Some(partitions) = &mut self.partitions else { return false };
        // What was written before this life began must be below the cut: from then on this node is sent what is written.
        let is_behind = partitions.begun.is_some_and(|begun| cut > begun) || mutated(Mutation::RefillIgnoresCut);
        if !is_behind || partitions.whole.contains(&partition) {
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

    #[test]
    fn a_partition_is_whole_when_enough_have_the_same_behind_the_start() {
        let mut refill = Refill::new(true);
        assert!(!refill.on_equal(1, node(2), 100, 3));
        refill.note_epoch(10);
        refill.note_epoch(11);
        assert!(!refill.on_equal(1, node(2), 10, 3) && !refill.on_equal(1, node(3), 10, 3));
        assert!(!refill.is_whole(1, 3), "what was written between the cut and the start may be missing");
        assert!(!refill.on_equal(1, node(2), 11, 3) && !refill.on_equal(1, node(2), 12, 3));
        assert!(!refill.is_whole(1, 3), "one of two others");
        assert!(refill.on_equal(1, node(3), 11, 3) && !refill.on_equal(1, node(3), 12, 3), "it becomes whole once");
        assert!(refill.is_whole(1, 3) && !refill.is_whole(2, 3));
    }

    #[test]
    fn a_node_that_has_lost_nothing_is_whole() {
        let mut refill = Refill::new(false);
        assert!(!refill.on_equal(1, node(2), 100, 3));
        assert!(refill.is_whole(0, 3));
    }

    #[test]
    fn what_nobody_else_owns_is_whole() {
        assert!(Refill::new(true).is_whole(1, 1));
    }
}
