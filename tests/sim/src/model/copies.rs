//! Who has a write on stable storage, and what it would mean to destroy a disk.
//!
//! Invariant: a bit says that the node holds the write, or something that replaces it, durably; it goes only when the copy
//! was given away or destroyed.

use annulus_cluster::ids::Home;

use super::{KeyIndex, Model, Outcome, WriteIndex};
use crate::bits::Bits;

/// Nodes by their place in the world, one bit each.
pub type Nodes = u64;

/// Who has a write durably.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copies {
    /// As owners.
    pub owned: Nodes,
    /// For others.
    pub hinted: Nodes,
    /// Had it on a disk that is gone.
    pub wiped: Nodes,
    /// Of these, such as went on for a while on a disk some of whose bits had flipped.
    pub rotten: Nodes,
}

impl Copies {
    /// Who has it in any way.
    #[must_use]
    pub fn any(self) -> Nodes {
        self.owned | self.hinted
    }

    /// Whether, as far as it is for lost disks, whoever of `n` owners counts still tells of the write, once `kept` owners had it.
    ///
    /// With one disk lost: its node counts for nothing until it was found equal with so many others that every majority less
    /// itself has one among them (rule S11). With several lost nothing is promised, nor where a majority never had the write. A
    /// disk that rots is not known to be lost, and its node goes on counting.
    #[must_use]
    pub fn are_told_of(self, kept: u8, n: u8) -> bool {
        let is_made_good = self.wiped.is_power_of_two() && self.rotten == 0 && kept > n / 2;
        self.wiped == 0 || is_made_good
    }
}

impl Model {
    /// A node has something durably that covers these writes.
    pub fn note_durable(&mut self, node: usize, home: Home, key: KeyIndex, writes: &Bits) {
        for index in writes.iter() {
            let copies = &mut self.write_mut(key, index).copies;
            match home {
                Home::Owned(_) => copies.owned |= 1 << node,
                Home::Hinted { .. } => copies.hinted |= 1 << node,
            }
        }
    }

    /// A node keeps of the key's hints only what covers `left`.
    pub fn note_forgotten(&mut self, node: usize, key: KeyIndex, left: &Bits) {
        let count = self.key(key).count();
        for index in (0..count).filter(|index| !left.has(*index)) {
            self.write_mut(key, index).copies.hinted &= !(1 << node);
        }
    }

    /// The writes that would be gone if a node's disk were: those that may have been acknowledged and that no other owner has.
    /// Hints on others do not count: one that this node has confirmed may be forgotten the moment after. Nor does what
    /// `doubtful` nodes have.
    #[must_use]
    pub fn only_on(&self, node: usize, doubtful: Nodes) -> Option<(KeyIndex, WriteIndex)> {
        let bit: Nodes = 1 << node;
        (0..).zip(self.keys()).find_map(|(key, model)| {
            let is_last = |index: &WriteIndex| {
                let write = model.write(*index);
                let is_refused = write.op.is_some_and(|op| is_refused(self.op(op).outcome));
                write.copies.any() & bit != 0 && write.copies.owned & !(bit | doubtful) == 0 && !is_refused
            };
            (0..model.count()).find(is_last).map(|index| (key, index))
        })
    }

    /// Bits of a node's disk have flipped, and its process goes on: nothing on it is a copy any more.
    pub fn note_rotten(&mut self, node: usize) {
        let bit: Nodes = 1 << node;
        for write in self.keys.iter_mut().flat_map(|key| &mut key.writes) {
            write.copies.rotten |= write.copies.any() & bit;
        }
        self.note_wiped(node);
    }

    /// A node's disk is gone.
    pub fn note_wiped(&mut self, node: usize) {
        let bit: Nodes = 1 << node;
        for write in self.keys.iter_mut().flat_map(|key| &mut key.writes) {
            let copies = &mut write.copies;
            if copies.any() & bit != 0 {
                copies.wiped |= bit;
            }
            copies.owned &= !bit;
            copies.hinted &= !bit;
        }
    }
}

/// The client was told that nothing had happened.
#[must_use]
pub fn is_refused(outcome: Outcome) -> bool {
    use annulus_cluster::effect::Failure;
    matches!(outcome, Outcome::Failed(failure) if failure != Failure::InDoubt)
}
