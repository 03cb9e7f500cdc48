//! What a core remembers of comparing its partitions with other owners: for whoever wants to know whether copies are equal. The
//! protocol decides nothing by it.
//!
//! Both owners of a pair remember: the one that has begun an exchange, and the one that was asked.
//!
//! Invariant: at most [`PAIRS_MAX`] pairs; where more are compared, those go first whose node is no owner any more.

use std::collections::BTreeMap;

use crate::ids::{NodeId, PartitionId};

/// Four other owners of each partition that there can be.
pub const PAIRS_MAX: usize = 4 << 14;

/// One partition and one other owner, since this core's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairFact {
    /// The partition.
    pub partition: PartitionId,
    /// The other owner.
    pub node: NodeId,
    /// What was written up to then is on both, Unix milliseconds; 0 = they were not seen to be equal.
    pub in_sync_ms: u64,
    /// Exchanges that this core has begun and carried to the end, or answered to be equal.
    pub exchanges: u64,
    /// Exchanges of these that found differences, as far as this core has begun them.
    pub differing: u64,
    /// Exchanges that failed, as far as this core has begun them.
    pub failed: u64,
    /// Objects that the other owner lacked, sent to it.
    pub objects_sent: u64,
    /// Bytes of these.
    pub bytes_sent: u64,
    /// Objects that this node lacked, sent by the other owner.
    pub objects_received: u64,
    /// Bytes of these.
    pub bytes_received: u64,
}

impl PairFact {
    const fn new(partition: PartitionId, node: NodeId) -> Self {
        Self {
            partition,
            node,
            in_sync_ms: 0,
            exchanges: 0,
            differing: 0,
            failed: 0,
            objects_sent: 0,
            bytes_sent: 0,
            objects_received: 0,
            bytes_received: 0,
        }
    }

    /// The trees at a cut were equal: both have everything that was stamped up to its end. Not later than now, whatever the cut.
    pub(crate) fn note_equal(&mut self, cut: u64, epoch_bits: u32, now_ms: u64) {
        let end_ms = cut.saturating_add(1).saturating_mul(1 << epoch_bits);
        self.exchanges += 1;
        self.in_sync_ms = self.in_sync_ms.max(end_ms.min(now_ms));
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct PairFacts {
    pairs: BTreeMap<(PartitionId, NodeId), PairFact>,
}

impl PairFacts {
    /// Notes something of a pair. Where there are too many, those that are no pair of owners any more are forgotten first.
    pub(crate) fn note(
        &mut self,
        (partition, node): (PartitionId, NodeId),
        is_owner: impl Fn(PartitionId, NodeId) -> bool,
        note: impl FnOnce(&mut PairFact),
    ) {
        if self.pairs.len() >= PAIRS_MAX && !self.pairs.contains_key(&(partition, node)) {
            self.pairs.retain(|(partition, node), _| is_owner(*partition, *node));
            if self.pairs.len() >= PAIRS_MAX {
                return;
            }
        }
        note(self.pairs.entry((partition, node)).or_insert(PairFact::new(partition, node)));
    }

    /// All of them, by partition and node.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &PairFact> {
        self.pairs.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_as_of_the_end_of_the_cut_and_never_of_the_future() {
        let mut fact = PairFact::new(1, NodeId::new(2));
        fact.note_equal(9, 12, 1_000_000);
        assert_eq!((fact.in_sync_ms, fact.exchanges), (10 << 12, 1));
        fact.note_equal(3, 12, 1_000_000);
        assert_eq!(fact.in_sync_ms, 10 << 12, "an older cut proves nothing newer");
        fact.note_equal(u64::MAX, 12, 1_000_000);
        assert_eq!((fact.in_sync_ms, fact.exchanges), (1_000_000, 3));
    }

    #[test]
    fn pairs_are_bounded_and_former_owners_go_first() {
        let mut facts = PairFacts::default();
        let pair = |number: usize| ((number % 16_384) as PartitionId, NodeId::new((number / 16_384) as u64 + 1));
        for number in 0..PAIRS_MAX {
            facts.note(pair(number), |_, _| true, |fact| fact.exchanges += 1);
        }
        let newcomer = (7, NodeId::new(99));
        facts.note(newcomer, |_, _| true, |fact| fact.exchanges += 1);
        assert_eq!(facts.iter().count(), PAIRS_MAX);
        assert!(facts.iter().all(|fact| fact.node != newcomer.1), "there is no room");
        facts.note(pair(0), |_, _| true, |fact| fact.exchanges += 1);
        facts.note(newcomer, |_, node| node != NodeId::new(2), |fact| fact.exchanges += 1);
        assert_eq!(facts.iter().count(), PAIRS_MAX - 16_384 + 1);
        assert_eq!(facts.iter().next().map(|fact| fact.exchanges), Some(2));
        assert!(facts.iter().any(|fact| fact.node == newcomer.1));
    }
}
