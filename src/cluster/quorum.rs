//! Counting answers: pure arithmetic over who was asked and what came back.
//!
//! A write has N slots, one per owner. A slot is kept by its owner, or by a fallback that has a hint for that owner; it counts
//! once even when both have it, because the hint will be handed to the very same owner (invariant I2). A node is asked for
//! one slot only, so that W counts machines. A read counts owners, and of the fallbacks those that have something: that one
//! of them knows nothing proves nothing.
//!
//! Invariant: once a verdict is `Met` it stays so for a write; `Impossible` means that no answer that may still come changes it.

use smallvec::SmallVec;

use crate::event::Quorum;
use crate::ids::NodeId;
use crate::mutation::{Mutation, mutated};

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// More answers are needed and may come.
    Pending,
    /// Enough answers.
    Met,
    /// Whatever may still come is not enough.
    Impossible,
}

/// What a node that was asked to keep a write has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// Nothing yet.
    Waiting,
    /// Nothing, and what it was sent may be lost: it is to be asked again.
    Lost,
    /// It has not, or will not be heard of.
    Failed,
    /// It keeps it, as durably as the key's durability promises.
    Stored,
    /// It keeps it on stable storage.
    Durable,
}

#[derive(Debug, Clone, Copy)]
struct Keeper {
    node: NodeId,
    slot: u8,
    is_owner: bool,
    keeping: Keeping,
}

/// Who keeps a write.
#[derive(Debug, Default)]
pub struct WriteTally {
    slots: u8,
    need: (u8, u8, u8),
    keepers: SmallVec<[Keeper; 8]>,
    /// Slots that nobody else will be asked to keep.
    closed: u32,
}

/// What has become of the slots so far: one bit per slot.
#[derive(Debug, Default, Clone, Copy)]
struct Slots {
    kept: u32,
    owned: u32,
    durable: u32,
    waiting: u32,
    owner_waiting: u32,
    /// What may be asked for again: all of owners.
    lost: u32,
}

impl WriteTally {
    /// Begins to count for a write with `slots` owners; keeps the memory.
    pub fn start(&mut self, slots: usize, quorum: Quorum) {
        assert!(slots > 0 && slots <= crate::limits::COPIES_MAX, "a write has a bounded number of copies");
        self.slots = slots as u8;
        self.need = (quorum.w.max(1), quorum.pw, quorum.dw);
        self.keepers.clear();
        self.closed = 0;
    }

    /// A node is asked to keep the write, as the slot's owner or for it. A node is asked once (asserted).
    pub fn ask(&mut self, node: NodeId, slot: usize, is_owner: bool) {
        assert!(!self.was_asked(node), "a node counts once");
        assert!(slot < usize::from(self.slots), "a slot is one of the owners");
        self.keepers.push(Keeper { node, slot: slot as u8, is_owner, keeping: Keeping::Waiting });
    }

    /// Whether the node was asked.
    #[must_use]
    pub fn was_asked(&self, node: NodeId) -> bool {
        self.keepers.iter().any(|keeper| keeper.node == node)
    }

    /// What a node has said; the slot for which it was asked, if that is news. A late success undoes a failure, never the
    /// other way round.
    pub fn answer(&mut self, node: NodeId, keeping: Keeping) -> Option<usize> {
        let keeper = self.keepers.iter_mut().find(|keeper| keeper.node == node)?;
        if mutated(Mutation::CountTwice) && keeper.keeping == keeping {
            (self.need.0, self.need.2) = (self.need.0.saturating_sub(1), self.need.2.saturating_sub(1));
        }
        let is_news = match keeper.keeping {
            Keeping::Waiting => keeping != Keeping::Waiting,
            Keeping::Lost => !matches!(keeping, Keeping::Waiting | Keeping::Lost),
            Keeping::Failed => matches!(keeping, Keeping::Stored | Keeping::Durable),
            Keeping::Stored => keeping == Keeping::Durable,
            Keeping::Durable => false,
        };
        is_news.then(|| {
            keeper.keeping = keeping;
            usize::from(keeper.slot)
        })
    }

    /// Whether what the slot's owner was sent may be lost, and it has not answered nevertheless.
    #[must_use]
    pub fn is_lost(&self, slot: usize) -> bool {
        self.look().lost >> slot & 1 == 1
    }

    /// The slot's owner is asked again, after what it was sent may have been lost.
    pub fn ask_again(&mut self, slot: usize) {
        let is_lost = |keeper: &&mut Keeper| usize::from(keeper.slot) == slot && keeper.keeping == Keeping::Lost;
        self.keepers.iter_mut().filter(is_lost).for_each(|keeper| keeper.keeping = Keeping::Waiting);
    }

    /// What a node was sent may be lost: an owner may be asked again, anybody else has failed. The slot for which it was asked,
    /// if that is news.
    pub fn lose(&mut self, node: NodeId) -> Option<usize> {
        let is_owner = self.keepers.iter().any(|keeper| keeper.node == node && keeper.is_owner);
        self.answer(node, if is_owner { Keeping::Lost } else { Keeping::Failed })
    }

    /// Nobody else will be asked to keep this slot.
    pub fn close(&mut self, slot: usize) {
        self.closed |= 1 << slot;
    }

    /// Whether somebody has the slot's copy.
    #[must_use]
    pub fn is_kept(&self, slot: usize) -> bool {
        self.look().kept >> slot & 1 == 1
    }

    /// Whether an answer for the slot may still come.
    #[must_use]
    pub fn is_waiting(&self, slot: usize) -> bool {
        self.look().waiting >> slot & 1 == 1
    }

    /// The nodes that have not answered, with their slots.
    pub fn waiting(&self) -> impl Iterator<Item = (NodeId, usize)> {
        let waiting = self.keepers.iter().filter(|keeper| keeper.keeping == Keeping::Waiting);
        waiting.map(|keeper| (keeper.node, usize::from(keeper.slot)))
    }

    /// Whether every slot is kept.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.look().kept == self.all()
    }

    /// Where the write stands.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let slots = self.look();
        let (mut w, pw, mut dw) = self.need;
        if mutated(Mutation::AckBeforeW) {
            (w, dw) = (w.saturating_sub(1), dw.saturating_sub(1));
        }
        let is_kept = |keeper: &&Keeper| matches!(keeper.keeping, Keeping::Stored | Keeping::Durable);
        if mutated(Mutation::OwnerAndFallbackCount) && self.keepers.iter().filter(is_kept).count() >= usize::from(w) {
            return Verdict::Met;
        }
        let is_enough = |kept: u32, owned: u32, durable: u32| {
            kept.count_ones() >= u32::from(w)
                && owned.count_ones() >= u32::from(pw)
                && durable.count_ones() >= u32::from(dw)
        };
        // A kept slot is not given to others; one that is neither kept nor closed may be.
        let open = self.all() & !self.closed & !slots.kept;
        let hope = slots.waiting | slots.lost | open;
        if is_enough(slots.kept, slots.owned, slots.durable) {
            Verdict::Met
        } else if is_enough(slots.kept | hope, slots.owned | slots.owner_waiting | slots.lost, slots.durable | hope) {
            Verdict::Pending
        } else {
            Verdict::Impossible
        }
    }

    fn all(&self) -> u32 {
        (1 << self.slots) - 1
    }

    fn look(&self) -> Slots {
        let mut slots = Slots::default();
        for keeper in &self.keepers {
            let bit = 1 << keeper.slot;
            let owner = if keeper.is_owner || mutated(Mutation::FallbackCountsForPw) { bit } else { 0 };
            match keeper.keeping {
                Keeping::Failed => {}
                Keeping::Lost => slots.lost |= bit,
                Keeping::Waiting => {
                    slots.waiting |= bit;
                    slots.owner_waiting |= owner;
                }
                Keeping::Stored | Keeping::Durable => {
                    slots.kept |= bit;
                    slots.owned |= owner;
                    slots.durable |= if keeper.keeping == Keeping::Durable { bit } else { 0 };
                }
            }
        }
        slots
    }
}

/// What a node that was asked for a key has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knowing {
    /// Nothing yet.
    Waiting,
    /// It cannot tell, or will not be heard of.
    Failed,
    /// It knows the key, be it as deleted.
    Found,
    /// It never heard of it.
    Absent,
}

#[derive(Debug, Clone, Copy)]
struct Witness {
    node: NodeId,
    is_owner: bool,
    knowing: Knowing,
}

/// Who knows a key.
#[derive(Debug, Default)]
pub struct ReadTally {
    need: (u8, u8),
    witnesses: SmallVec<[Witness; 8]>,
}

impl ReadTally {
    /// Begins to count for a read; keeps the memory.
    pub fn start(&mut self, r: u8, pr: u8) {
        let fewer = u8::from(mutated(Mutation::ReadAnswersEarly));
        self.need = (r.saturating_sub(fewer).max(1), pr.saturating_sub(fewer));
        self.witnesses.clear();
    }

    /// A node is asked; once (asserted).
    pub fn ask(&mut self, node: NodeId, is_owner: bool) {
        assert!(!self.was_asked(node), "a node counts once");
        self.witnesses.push(Witness { node, is_owner, knowing: Knowing::Waiting });
    }

    /// Whether the node was asked.
    #[must_use]
    pub fn was_asked(&self, node: NodeId) -> bool {
        self.witnesses.iter().any(|witness| witness.node == node)
    }

    /// What a node has said, and whether it holds itself for an owner; false when it was not asked, or had answered.
    pub fn answer(&mut self, node: NodeId, knowing: Knowing, is_owner: bool) -> bool {
        let Some(witness) = self.witnesses.iter_mut().find(|witness| witness.node == node) else { return false };
        let was_open = matches!(witness.knowing, Knowing::Waiting | Knowing::Failed);
        if was_open {
            witness.knowing = knowing;
            witness.is_owner &= is_owner;
        }
        was_open
    }

    /// A node that had answered cannot give what it spoke of.
    pub fn withdraw(&mut self, node: NodeId) {
        self.witnesses.iter_mut().filter(|witness| witness.node == node).for_each(|witness| {
            witness.knowing = Knowing::Failed;
        });
    }

    /// Whether the node has not answered.
    #[must_use]
    pub fn is_waiting_for(&self, node: NodeId) -> bool {
        self.waiting().any(|waiting| waiting == node)
    }

    /// The nodes that have not answered.
    pub fn waiting(&self) -> impl Iterator<Item = NodeId> {
        let waiting = self.witnesses.iter().filter(|witness| witness.knowing == Knowing::Waiting);
        waiting.map(|witness| witness.node)
    }

    /// The owners that have answered.
    pub fn owners(&self) -> impl Iterator<Item = NodeId> {
        self.witnesses.iter().filter(|witness| witness.is_owner && witness.has_answered()).map(|witness| witness.node)
    }

    /// The nodes that have answered, whatever they hold themselves for.
    pub fn told(&self) -> impl Iterator<Item = NodeId> {
        self.witnesses.iter().filter(|witness| witness.has_answered()).map(|witness| witness.node)
    }

    /// Whether every owner that was asked has answered or failed, and so has everybody else.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.waiting().next().is_none()
    }

    /// How many owners, and how many nodes altogether, have said something that counts.
    #[must_use]
    pub fn counted(&self) -> (usize, usize) {
        let owners = self.owners().count();
        let counts = |other: &Witness| match other.knowing {
            Knowing::Found => true,
            Knowing::Absent => mutated(Mutation::FallbackNotFoundCounts),
            Knowing::Waiting | Knowing::Failed => false,
        };
        let others = self.witnesses.iter().filter(|other| !other.is_owner && counts(other));
        (owners, owners + others.count())
    }

    /// Where the read stands, when nobody else will be asked.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let (r, pr) = (usize::from(self.need.0), usize::from(self.need.1));
        let (owners, all) = self.counted();
        let waiting = self.waiting().count();
        let waiting_owners =
            self.witnesses.iter().filter(|witness| witness.is_owner && witness.knowing == Knowing::Waiting).count();
        if all >= r && owners >= pr {
            Verdict::Met
        } else if all + waiting >= r && owners + waiting_owners >= pr {
            Verdict::Pending
        } else {
            Verdict::Impossible
        }
    }

    /// Whether as many owners have answered as R and PR ask for.
    #[must_use]
    pub fn has_owners(&self) -> bool {
        self.counted().0 >= usize::from(self.need.0.max(self.need.1))
    }

    /// Whether as many owners have answered as PR asks for.
    #[must_use]
    pub fn has_primaries(&self) -> bool {
        self.counted().0 >= usize::from(self.need.1)
    }
}

impl Witness {
    fn has_answered(&self) -> bool {
        matches!(self.knowing, Knowing::Found | Knowing::Absent)
    }
}

#[cfg(test)]
mod tests;
