//! The copies of one stamped write: who was asked to keep one, for whom, and who is asked next (sloppy quorum).
//!
//! Every owner is sent the whole object at once. A slot whose owner is down, refuses, or does not answer in time is given to
//! the next healthy node of the preference list, with a hint for that owner. When there is nobody left, or at the deadline,
//! this node keeps a hint for the owner itself: that copy is not counted, since this node counts already. Of a write that was
//! answered it does so earlier when room for new ones runs short. A copy of which not even a hint is kept is left to
//! anti-entropy.
//!
//! An owner that is up, and to which the connection was lost or does not come about, is sent its copy again and again until the
//! client is answered: where there is no fallback, two connections that break at the same moment would else fail the write at
//! once, though both owners are there. A copy that comes twice changes nothing.
//!
//! Invariant: no node is asked for two slots; a slot's hint is always for that slot's owner.

use smallvec::SmallVec;

use crate::effect::{Effect, Span};
use crate::event::{Key, Quorum};
use crate::ids::{Home, NodeId};
use crate::message::{Message, WRITE_KEY_AT};
use crate::mutation::{Mutation, mutated};
use crate::quorum::{Keeping, Verdict, WriteTally};
use crate::slab::Handle;
use crate::turn::Turn;

/// The part of a request's token that means this node's own copy.
pub(crate) const OWN_COPY: u8 = 0x40;
/// With the slot behind it: a hint that this node keeps beside its own copy.
const OWN_HINT: u8 = 0x80;

/// The copies of a write.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    partition: u16,
    hash: u128,
    pub(crate) key: Vec<u8>,
    pub(crate) object: Vec<u8>,
    n: u8,
    deadline_us: u64,
    owners: SmallVec<[NodeId; 5]>,
    tally: WriteTally,
    /// Per slot: when somebody was last asked for it.
    asked_us: SmallVec<[u64; 5]>,
    next_fallback: usize,
    /// Slots for which this node has tried to keep a hint itself, and those of them of which the end is not known.
    own_hints: u32,
    open_hints: u32,
    /// Whether the end of this node's own copy is not known: until it is, its failure must not be missed (rule S1).
    is_own_open: bool,
}

impl Copies {
    /// Whether as many nodes answer as the write needs. Nothing is sent.
    pub(crate) fn is_possible(turn: &Turn<'_>, partition: u16, quorum: Quorum) -> bool {
        let list = turn.preference_list(partition, quorum.n);
        let is_up = |node: NodeId| node == turn.common.node || turn.routes.is_up(node);
        let owners = list.owners.iter().filter(|owner| is_up(**owner)).count();
        let all = owners + list.fallbacks().filter(|fallback| is_up(*fallback)).count();
        let most = all.min(list.owners.len());
        most >= usize::from(quorum.w.max(1)) && most >= usize::from(quorum.dw) && owners >= usize::from(quorum.pw)
    }

    /// Sends the object, which is in `object` already, to all owners.
    pub(crate) fn start(
        &mut self,
        turn: &mut Turn<'_>,
        id: Handle,
        key: &Key<'_>,
        (quorum, deadline_us): (Quorum, u64),
    ) {
        let list = turn.preference_list(key.partition, quorum.n);
        (self.partition, self.hash, self.n, self.deadline_us) = (key.partition, key.hash, quorum.n, deadline_us);
        self.key.clear();
        self.key.extend_from_slice(key.bytes);
        self.owners.clear();
        self.owners.extend_from_slice(list.owners);
        self.tally.start(self.owners.len(), quorum);
        self.asked_us.clear();
        self.asked_us.resize(self.owners.len(), turn.now.steady_us);
        (self.next_fallback, self.own_hints, self.open_hints, self.is_own_open) = (0, 0, 0, true);
        let message = self.write_message(turn, id, None);
        for (slot, &owner) in list.owners.iter().enumerate() {
            if owner == turn.common.node {
                self.tally.ask(owner, slot, true);
                let home = Home::Owned(self.partition);
                turn.store_object(id.token(OWN_COPY), home, self.hash, self.spans(&message));
                if mutated(Mutation::AckBeforeStored) {
                    self.tally.answer(owner, Keeping::Durable);
                }
            } else if turn.routes.is_up(owner) {
                self.tally.ask(owner, slot, true);
                turn.send(owner, self.partition, &message);
            }
        }
        if !self.tally.was_asked(turn.common.node) {
            self.stand_in_itself(turn, id, &message);
        }
        for slot in 0..self.owners.len() {
            let owner = self.owners[slot];
            let is_missing = !self.tally.was_asked(owner) || turn.is_avoided(owner);
            if is_missing && !self.is_stood_in_for(slot, owner) {
                self.stand_in(turn, id, slot);
            }
        }
    }

    /// Whether somebody else than the owner was asked for the slot.
    fn is_stood_in_for(&self, slot: usize, owner: NodeId) -> bool {
        self.tally.waiting().any(|(node, of)| of == slot && node != owner)
    }

    /// This node is no owner and has stamped nevertheless: what it stamps it keeps (rule S4), for an owner that is missing.
    fn stand_in_itself(&mut self, turn: &mut Turn<'_>, id: Handle, message: &Span) {
        let is_missing = |owner: &NodeId| !self.tally.was_asked(*owner);
        let is_avoided = |owner: &NodeId| turn.is_avoided(*owner);
        let slot = self.owners.iter().position(is_missing).or_else(|| self.owners.iter().position(is_avoided));
        let slot = slot.unwrap_or(0);
        turn.common.counters.fallback_puts += 1;
        self.tally.ask(turn.common.node, slot, false);
        let home = Home::Hinted { partition: self.partition, target: self.owners[slot] };
        turn.store_object(id.token(OWN_COPY), home, self.hash, self.spans(message));
    }

    /// The next healthy node is asked to keep the slot's copy, with a hint for its owner; false when there is none.
    fn stand_in(&mut self, turn: &mut Turn<'_>, id: Handle, slot: usize) -> bool {
        let list = turn.preference_list(self.partition, self.n);
        while let Some(node) = list.fallback(self.next_fallback) {
            self.next_fallback += 1;
            // The ring may have changed meanwhile: one of the owners may be among the fallbacks now.
            if self.tally.was_asked(node) || self.owners.contains(&node) || !turn.is_usable(node) {
                continue;
            }
            self.tally.ask(node, slot, false);
            self.asked_us[slot] = turn.now.steady_us;
            turn.common.counters.sloppy_copies += 1;
            let message = self.write_message(turn, id, Some(self.owners[slot]));
            turn.send(node, self.partition, &message);
            return true;
        }
        self.tally.close(slot);
        if !self.tally.is_waiting(slot) {
            self.hint_here(turn, id, slot);
        }
        false
    }

    /// Nobody else keeps the slot's copy for its owner: this node does, beside its own.
    fn hint_here(&mut self, turn: &mut Turn<'_>, id: Handle, slot: usize) {
        let (bit, target) = (1 << slot, self.owners[slot]);
        if self.own_hints & bit != 0 || self.tally.is_kept(slot) {
            return;
        }
        self.own_hints |= bit;
        let has_room = turn.store.hint_count(target) < turn.common.limits.hints_per_target_max;
        if target == turn.common.node || !has_room {
            self.give_up(turn, target);
            return;
        }
        turn.common.counters.hints_own += 1;
        self.open_hints |= bit;
        let key = turn.effects.write(|out| out.extend_from_slice(&self.key));
        let object = turn.effects.write(|out| out.extend_from_slice(&self.object));
        let home = Home::Hinted { partition: self.partition, target };
        turn.store_object(id.token(OWN_HINT | slot as u8), home, self.hash, (key, object));
    }

    fn give_up(&self, turn: &mut Turn<'_>, node: NodeId) {
        turn.common.counters.dirty += 1;
        turn.note_dirty(self.partition, node);
        turn.effects.push(Effect::Dirty { partition: self.partition, node });
    }

    /// This node's own copy, or one of its own hints, is stored or not.
    pub(crate) fn on_stored(&mut self, turn: &mut Turn<'_>, id: Handle, part: u8, is_stored: bool) {
        if part == OWN_COPY {
            self.is_own_open = false;
            let key = Key { bytes: &self.key, partition: self.partition, hash: self.hash };
            let is_durable = is_stored && turn.store.is_stable(&key);
            self.on_outcome(turn, id, turn.common.node, is_stored, is_durable);
            return;
        }
        let slot = usize::from(part & !OWN_HINT);
        assert!(part & OWN_HINT != 0 && slot < self.owners.len(), "a token comes back as it was given");
        self.open_hints &= !(1 << slot);
        if mutated(Mutation::OwnHintCounts) && is_stored {
            self.count_own_hint(slot);
        }
        if !is_stored {
            self.give_up(turn, self.owners[slot]);
        }
    }

    /// A deliberate bug: this node counts once more, in the owner's place.
    fn count_own_hint(&mut self, slot: usize) {
        let owner = self.owners[slot];
        if !self.tally.was_asked(owner) {
            self.tally.ask(owner, slot, false);
        }
        self.tally.answer(owner, Keeping::Durable);
    }

    /// A node keeps its copy, or has refused to.
    pub(crate) fn on_outcome(
        &mut self,
        turn: &mut Turn<'_>,
        id: Handle,
        node: NodeId,
        is_stored: bool,
        is_durable: bool,
    ) {
        let is_stored = is_stored || mutated(Mutation::FailureCounts);
        let keeping = match (is_stored, is_durable) {
            _ if mutated(Mutation::FailureCounts) => Keeping::Durable,
            (false, _) => Keeping::Failed,
            (true, false) => Keeping::Stored,
            (true, true) => Keeping::Durable,
        };
        if let Some(slot) = self.tally.answer(node, keeping)
            && !is_stored
            && !self.tally.is_kept(slot)
            && !self.is_stood_in_for(slot, node)
        {
            self.stand_in(turn, id, slot);
        }
    }

    /// What a node was sent may be lost: others are asked when the request's time comes, which is now. With `is_up` it is there
    /// nevertheless. True when that changes something.
    pub(crate) fn on_unreachable(&mut self, node: NodeId, is_up: bool) -> bool {
        let news = if is_up { self.tally.lose(node) } else { self.tally.answer(node, Keeping::Failed) };
        news.is_some()
    }

    /// Sends the owners of slots that nobody keeps their copies again, if those were lost some time ago.
    pub(crate) fn send_again(&mut self, turn: &mut Turn<'_>, id: Handle) {
        for slot in 0..self.owners.len() {
            let owner = self.owners[slot];
            let is_due = self.due_us(turn, slot) <= turn.now.steady_us;
            if is_due && self.tally.is_lost(slot) && !self.tally.is_kept(slot) && turn.routes.is_up(owner) {
                self.tally.ask_again(slot);
                self.asked_us[slot] = turn.now.steady_us;
                turn.common.counters.copies_again += 1;
                let message = self.write_message(turn, id, None);
                turn.send(owner, self.partition, &message);
            }
        }
    }

    /// When whoever was asked for a slot last has had time to answer.
    fn due_us(&self, turn: &Turn<'_>, slot: usize) -> u64 {
        self.asked_us[slot] + turn.common.limits.reroute_after_us
    }

    /// Asks somebody else for every slot that nobody keeps and of which nobody has been heard for too long. In a hurry a hint
    /// takes the place of what is still waited for, though it may yet arrive.
    pub(crate) fn reroute(&mut self, turn: &mut Turn<'_>, id: Handle, hurries: bool) {
        for slot in 0..self.owners.len() {
            if self.tally.is_kept(slot) || self.own_hints >> slot & 1 == 1 {
                continue;
            }
            let is_late = self.due_us(turn, slot) <= turn.now.steady_us;
            if self.tally.is_waiting(slot) && !is_late {
                continue;
            }
            for (node, of) in self.tally.waiting() {
                if of == slot && node != turn.common.node {
                    turn.avoid(node);
                }
            }
            if !self.stand_in(turn, id, slot) && hurries {
                self.hint_here(turn, id, slot);
            }
        }
    }

    /// When a slot has to be looked at again: as long as one is waited for, or, with `sends_again`, to be asked for again.
    pub(crate) fn next_reroute_us(&self, turn: &Turn<'_>, sends_again: bool) -> Option<u64> {
        let is_open = |slot: &usize| {
            let is_waiting = self.tally.is_waiting(*slot) || (sends_again && self.tally.is_lost(*slot));
            is_waiting && !self.tally.is_kept(*slot)
        };
        // Once nobody is left to ask, only the deadline changes anything.
        let due = (0..self.owners.len()).filter(is_open).map(|slot| self.due_us(turn, slot));
        due.filter(|due_us| *due_us > turn.now.steady_us).min()
    }

    /// The deadline has passed: this node keeps a hint for every owner of which no copy is known.
    pub(crate) fn give_hints(&mut self, turn: &mut Turn<'_>, id: Handle) {
        for slot in 0..self.owners.len() {
            // Its own copy may still arrive.
            if self.owners[slot] != turn.common.node || !self.is_own_open {
                self.hint_here(turn, id, slot);
            }
        }
    }

    /// Where the write stands.
    pub(crate) fn verdict(&self) -> Verdict {
        self.tally.verdict()
    }

    /// Whether nothing is left to be done for any copy.
    pub(crate) fn is_settled(&self) -> bool {
        let is_done = |slot: usize| self.tally.is_kept(slot) || self.own_hints >> slot & 1 == 1;
        !self.is_storing() && (0..self.owners.len()).all(is_done)
    }

    /// Whether the end of something that was asked of this node's store is not known.
    pub(crate) fn is_storing(&self) -> bool {
        self.is_own_open || self.open_hints != 0
    }

    fn write_message(&self, turn: &mut Turn<'_>, id: Handle, target: Option<NodeId>) -> Span {
        let remaining_us = self.deadline_us.saturating_sub(turn.now.steady_us);
        let write = Message::Write { target, hash: self.hash, remaining_us, key: &self.key, object: &self.object };
        turn.write_message(self.partition, id.request(), &write)
    }

    /// Key and object within a message.
    fn spans(&self, message: &Span) -> (Span, Span) {
        let key = message.start + WRITE_KEY_AT as u32;
        let object = key + self.key.len() as u32;
        debug_assert_eq!(object as usize + self.object.len(), message.end as usize);
        (key..object, object..message.end)
    }
}
