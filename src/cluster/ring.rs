//! Who owns what at an epoch of the map: the owner table, its fingerprint, and what changed since another table.
//!
//! A ring is made from a map and never changed; the next map makes the next ring. There is one per number of copies that keyspaces
//! ask for.
//!
//! It is not what nodes hold: a new owner has nothing at first, and an old one keeps everything until others have it.
//!
//! Invariant: rings with equal fingerprints have equal owners, in the same order, for every partition (rule S13).

#[cfg(test)]
mod tests;

use std::hash::Hasher;

use annulus_object::Clock;
use siphasher::sip::SipHasher13;

use crate::ids::{Fingerprint, NodeId, PartitionId};
use crate::membership::Membership;
use crate::mutation::{Mutation, mutated};
use crate::placement::{self, Load, Member, Placement};

/// "annulus: " and "ring own"; a different key is a different fingerprint on every frame.
const KEY: (u64, u64) = (0x616e_6e75_6c75_733a, 0x7269_6e67_206f_776e);

/// The owners of every partition: see the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    epoch: Clock,
    wanted: u8,
    placement: Placement,
    fingerprint: Fingerprint,
}

/// One copy of a partition that has another owner now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Move {
    /// Which partition.
    pub partition: PartitionId,
    /// Who owned it; `None` where there are more copies now.
    pub from: Option<NodeId>,
    /// Who owns it; `None` where there are fewer copies now.
    pub to: Option<NodeId>,
}

impl Ring {
    /// The ring of `members`, as they were at `epoch`. `partitions` is a power of two; `copies` are those wanted of each.
    #[must_use]
    pub fn new(epoch: Clock, members: &[Member], partitions: u16, copies: u8) -> Self {
        let placement = placement::place(members, partitions, copies);
        let fingerprint = fingerprint(&placement);
        Self { epoch, wanted: copies, placement, fingerprint }
    }

    /// The ring of a map.
    #[must_use]
    pub fn of(map: &Membership, partitions: u16, copies: u8) -> Self {
        let mut ring = Self::new(map.epoch(), &map.placed(), partitions, copies);
        if mutated(Mutation::FingerprintOfMap) {
            ring.fingerprint = Fingerprint(map.digest().0);
        }
        ring
    }

    /// The largest clock of the map that it was made from.
    #[must_use]
    pub fn epoch(&self) -> Clock {
        self.epoch
    }

    /// Of the owner table.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// How many partitions there are.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.placement.partitions()
    }

    /// Owners of each partition.
    #[must_use]
    pub fn copies(&self) -> usize {
        self.placement.copies()
    }

    /// Owners that each partition should have; there are fewer while there are fewer members.
    #[must_use]
    pub fn wanted(&self) -> usize {
        usize::from(self.wanted)
    }

    /// Whether there are too few members for the copies that are wanted.
    #[must_use]
    pub fn is_capped(&self) -> bool {
        self.copies() < self.wanted()
    }

    /// Those who own partitions, by id, and what each has of them.
    pub fn loads(&self) -> impl Iterator<Item = (&Member, &Load)> {
        self.placement.members().iter().zip(self.placement.loads())
    }

    /// The owners of a partition, best first.
    pub fn owners(&self, partition: PartitionId) -> impl ExactSizeIterator<Item = NodeId> {
        self.placement.owners(partition).iter().map(|place| self.member(*place).node)
    }

    /// Which owner of a partition a node is, from 0 on; `None` if it is none.
    #[must_use]
    pub fn rank(&self, partition: PartitionId, node: NodeId) -> Option<usize> {
        self.owners(partition).position(|owner| owner == node)
    }

    /// The partitions that a node owns, ascending.
    pub fn partitions_of(&self, node: NodeId) -> impl Iterator<Item = PartitionId> {
        (0..self.partitions()).filter(move |partition| self.rank(*partition, node).is_some())
    }

    /// What has another owner than in `old`, a ring with as many partitions: by partition, and within one in the order of owners.
    #[must_use]
    pub fn moves_from(&self, old: &Self) -> Vec<Move> {
        assert_eq!(self.partitions(), old.partitions(), "partitions are fixed when a cluster is founded");
        let mut moves = Vec::new();
        for partition in 0..self.partitions() {
            let mut lost = old.owners(partition).filter(|node| self.rank(partition, *node).is_none());
            for to in self.owners(partition).filter(|node| old.rank(partition, *node).is_none()) {
                moves.push(Move { partition, from: lost.next(), to: Some(to) });
            }
            moves.extend(lost.map(|from| Move { partition, from: Some(from), to: None }));
        }
        moves
    }

    pub(crate) fn placement(&self) -> &Placement {
        &self.placement
    }

    pub(crate) fn member(&self, place: u16) -> &Member {
        &self.placement.members()[usize::from(place)]
    }
}

fn fingerprint(placement: &Placement) -> Fingerprint {
    let mut hasher = SipHasher13::new_with_keys(KEY.0, KEY.1);
    let copies = u16::try_from(placement.copies()).expect("copies are counted in a byte");
    hasher.write(&placement.partitions().to_le_bytes());
    hasher.write(&copies.to_le_bytes());
    for partition in 0..placement.partitions() {
        for owner in placement.owners(partition) {
            hasher.write(&placement.members()[usize::from(*owner)].node.raw().to_le_bytes());
        }
    }
    // 0 is what a frame carries that knows no ring.
    Fingerprint(hasher.finish().max(1))
}
