//! What a core remembers of comparing its partitions with other owners: for whoever wants to know whether copies are equal. The
//! protocol decides nothing by it.
//!
//! Both owners of a pair remember: the one that has begun an exchange, and the one that was asked.
//!
//! Invariant: what is remembered are pairs of one ring, so there are as many as that has other owners for this core's partitions
//! at most.

use std::collections::BTreeMap;

use crate::ids::{Fingerprint, NodeId, PartitionId};
use crate::route::Routes;

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
    ring: Fingerprint,
    pairs: BTreeMap<(PartitionId, NodeId), PairFact>,
}

impl PairFacts {
    /// Notes something of a pair, if it is one in this ring. With another ring than before, pairs that are none in it are forgotten.
    pub(crate) fn note(
        &mut self,
        (partition, node): (PartitionId, NodeId),
        routes: &dyn Routes,
        note: impl FnOnce(&mut PairFact),
    ) {
        let is_pair = |partition, node: NodeId| routes.owners(partition).contains(&node);
        if self.ring != routes.fingerprint() {
            self.ring = routes.fingerprint();
            self.pairs.retain(|(partition, node), _| is_pair(*partition, *node));
        }
        if is_pair(partition, node) {
            note(self.pairs.entry((partition, node)).or_insert(PairFact::new(partition, node)));
        }
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

    /// Every partition has the same owners.
    struct Ring(u64, Vec<NodeId>);

    impl Routes for Ring {
        fn owners(&self, _: PartitionId) -> &[NodeId] {
            &self.1
        }

        fn fallbacks(&self, _: PartitionId) -> &[NodeId] {
            &[]
        }

        fn is_up(&self, _: NodeId) -> bool {
            true
        }

        fn fingerprint(&self) -> Fingerprint {
            Fingerprint(self.0)
        }
    }

    #[test]
    fn pairs_of_the_ring_are_remembered_and_no_others() {
        let mut facts = PairFacts::default();
        let [a, b, c] = [1, 2, 3].map(NodeId::new);
        let told = |facts: &PairFacts| -> Vec<_> {
            facts.iter().map(|fact| (fact.partition, fact.node, fact.exchanges)).collect()
        };
        let first = Ring(1, vec![a, b]);
        for (partition, node) in [(7, b), (6, b), (7, b), (7, c)] {
            facts.note((partition, node), &first, |fact| fact.exchanges += 1);
        }
        assert_eq!(told(&facts), [(6, b, 1), (7, b, 2)]);
        facts.note((7, c), &Ring(2, vec![b, c]), |fact| fact.exchanges += 1);
        assert_eq!(told(&facts), [(6, b, 1), (7, b, 2), (7, c, 1)]);
        facts.note((7, b), &Ring(3, vec![a, c]), |_| unreachable!("it is no owner"));
        assert_eq!(told(&facts), [(7, c, 1)]);
    }
}
