//! The coordinator of one read.
//!
//! This node's own copy is read in full, the other owners tell their versions, which costs them no disk. As long as all
//! agree, what was read is the answer, byte for byte. Where versions differ, the objects that have more are fetched and merged
//! before the client is answered (rule S3); afterwards owners that lack something are repaired.
//!
//! An owner that does not answer is not replaced: a fallback may have newer versions, as hints, and is asked for them, but
//! that it knows nothing proves nothing. When fewer owners than R can be heard, what is known is answered and said to be
//! possibly stale; PR is never relaxed.
//!
//! Invariant: the answer includes everything that any node that counts has told; it is given once.

use annulus_object::{ContextView, Dot, ObjectView};
use smallvec::SmallVec;

use crate::compose::shrink;
use crate::effect::Failure;
use crate::event::{Key, Quorum};
use crate::ids::{Home, NodeId};
use crate::message::Message;
use crate::mutation::{Mutation, mutated};
use crate::put::merge_into;
use crate::quorum::{Knowing, ReadTally, Verdict};
use crate::read_repair::repair;
use crate::slab::Handle;
use crate::turn::{Origin, Turn};
use crate::versions::{Versions, VersionsView, encode_of_object};

/// How far a read is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing to do, or nothing any more.
    #[default]
    Done,
    /// Behind a write of the same key that is not stamped yet.
    Queued,
    /// Under way; perhaps answered.
    Reading,
}

/// A client's read, as it comes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GetCommand<'a> {
    pub(crate) origin: Origin,
    pub(crate) key: Key<'a>,
    pub(crate) own_last: Option<Dot>,
    pub(crate) quorum: Quorum,
    pub(crate) deadline_us: u64,
}

/// A node whose versions are not those that this node had when the read began.
#[derive(Debug)]
struct Witness {
    node: NodeId,
    versions: Versions,
    is_fetched: bool,
}

/// One read.
#[derive(Debug, Default)]
pub(crate) struct Get {
    pub(crate) phase: Phase,
    /// When [`Get::on_time`] is next due.
    pub(crate) wake_us: u64,
    origin: Origin,
    partition: u16,
    pub(crate) hash: u128,
    key: Vec<u8>,
    own_last: Option<Dot>,
    quorum: Quorum,
    deadline_us: u64,
    is_owner: bool,
    tally: ReadTally,
    /// Encoded versions that this node had at the start, and who else has just these.
    reference: Vec<u8>,
    same: SmallVec<[NodeId; 8]>,
    is_same_fetched: bool,
    others: SmallVec<[Witness; 2]>,
    /// What was read and fetched so far, merged; its encoded versions.
    object: Vec<u8>,
    have: Vec<u8>,
    has_object: bool,
    loads: u8,
    has_load_failed: bool,
    has_asked_others: bool,
    /// From when on silent nodes are not waited for, and whether that is so.
    late_us: u64,
    is_late: bool,
    is_answered: bool,
}

impl Get {
    /// Takes the read on.
    pub(crate) fn begin(&mut self, turn: &mut Turn<'_>, command: &GetCommand<'_>) {
        let key = command.key;
        self.origin = command.origin;
        (self.partition, self.hash) = (key.partition, key.hash);
        self.key.clear();
        self.key.extend_from_slice(key.bytes);
        (self.own_last, self.quorum, self.deadline_us) = (command.own_last, command.quorum, command.deadline_us);
        let node = turn.common.node;
        self.is_owner = turn.preference_list(key.partition, self.quorum.n).owners.contains(&node);
        self.same.clear();
        self.others.clear();
        self.object.clear();
        (self.is_same_fetched, self.has_object, self.loads) = (false, false, 0);
        (self.has_load_failed, self.has_asked_others, self.is_late, self.is_answered) = (false, false, false, false);
        turn.common.counters.gets += 1;
    }

    /// Waits behind a write of the key.
    pub(crate) fn queue(&mut self) {
        (self.phase, self.wake_us) = (Phase::Queued, self.deadline_us);
    }

    /// The read's turn has come.
    pub(crate) fn start(&mut self, turn: &mut Turn<'_>, id: Handle) {
        self.phase = Phase::Reading;
        let list = turn.preference_list(self.partition, self.quorum.n);
        let node = turn.common.node;
        let primaries = list.owners.iter().filter(|owner| **owner == node || turn.routes.is_up(**owner)).count();
        if primaries < usize::from(self.quorum.pr) {
            self.fail(turn, Failure::NoReplicas);
            return;
        }
        let key = Key { bytes: &self.key, partition: self.partition, hash: self.hash };
        turn.common.held.look_up(&*turn.store, &key);
        self.reference.clear();
        turn.common.held.versions.encode(&mut self.reference);
        self.tally.start(self.quorum.r, self.quorum.pr);
        self.tally.ask(node, self.is_owner);
        if turn.common.held.homes.is_empty() {
            self.tally.answer(node, Knowing::Absent, self.is_owner);
            self.same.push(node);
            self.have.clone_from(&self.reference);
            self.has_object = true;
        } else {
            let homes: SmallVec<[Home; 2]> = turn.common.held.homes.clone();
            self.loads = u8::try_from(homes.len()).expect("few nodes are stood in for");
            homes.into_iter().for_each(|home| turn.load(id.token(0), home, &key));
        }
        if !self.is_owner || self.quorum.r > 1 || self.quorum.pr > 1 || !self.has_own(&self.reference) {
            self.ask_others(turn, id);
        }
        self.late_us = turn.now.steady_us + turn.common.limits.reroute_after_us;
        self.wake_us = self.deadline_us.min(self.late_us);
        self.proceed(turn, id);
    }

    /// Asks the other owners for their versions, and fallbacks in place of those that are down.
    fn ask_others(&mut self, turn: &mut Turn<'_>, id: Handle) {
        self.has_asked_others = true;
        let list = turn.preference_list(self.partition, self.quorum.n);
        let node = turn.common.node;
        let read = Message::VersionRead { hash: self.hash, key: &self.key };
        let message = turn.write_message(self.partition, id.request(), &read);
        for &owner in list.owners.iter().filter(|owner| **owner != node && turn.routes.is_up(**owner)) {
            self.tally.ask(owner, true);
            turn.send(owner, self.partition, &message);
        }
        let missing = list.owners.iter().filter(|owner| !self.tally.was_asked(**owner) || turn.is_avoided(**owner));
        let missing = missing.count();
        self.ask_fallbacks(turn, id, missing);
    }

    fn ask_fallbacks(&mut self, turn: &mut Turn<'_>, id: Handle, most: usize) {
        if most == 0 {
            return;
        }
        let list = turn.preference_list(self.partition, self.quorum.n);
        let read = Message::VersionRead { hash: self.hash, key: &self.key };
        let message = turn.write_message(self.partition, id.request(), &read);
        let is_new = |node: &NodeId| !self.tally.was_asked(*node) && turn.is_usable(*node);
        let nodes: SmallVec<[NodeId; 4]> = list.fallbacks().filter(is_new).take(most).collect();
        for node in nodes {
            self.tally.ask(node, false);
            turn.send(node, self.partition, &message);
        }
    }

    /// Another node has told its versions.
    pub(crate) fn on_versions(
        &mut self,
        turn: &mut Turn<'_>,
        id: Handle,
        from: NodeId,
        (is_owner, versions): (bool, VersionsView<'_>),
    ) {
        let knowing = if versions.context().is_empty() { Knowing::Absent } else { Knowing::Found };
        if self.phase != Phase::Reading || !self.tally.answer(from, knowing, is_owner) {
            turn.common.counters.late_replies += 1;
            return;
        }
        if versions.bytes() == self.reference || self.is_taken_for_same(versions) {
            self.same.push(from);
        } else {
            self.see(from, versions);
        }
        self.proceed(turn, id);
    }

    /// One of this node's homes was read.
    pub(crate) fn on_loaded(&mut self, turn: &mut Turn<'_>, id: Handle, object: Option<&[u8]>) {
        self.loads -= 1;
        // What was fetched meanwhile is there already: it is the union that is answered.
        self.has_load_failed |= !object.is_some_and(|object| merge_into(&mut self.object, object));
        if self.loads > 0 {
            return;
        }
        let node = turn.common.node;
        self.look_at_object();
        if self.has_load_failed {
            self.tally.answer(node, Knowing::Failed, self.is_owner);
        } else {
            self.tally.answer(node, Knowing::Found, self.is_owner);
            if self.have == self.reference {
                self.same.push(node);
            } else {
                let have = std::mem::take(&mut self.have);
                self.see(node, VersionsView::check(&have).expect("encoded here"));
                self.have = have;
            }
        }
        self.has_object = true;
        self.proceed(turn, id);
    }

    /// Another node has given its object.
    pub(crate) fn on_object(
        &mut self,
        turn: &mut Turn<'_>,
        id: Handle,
        from: NodeId,
        (_is_owner, object): (bool, Option<&[u8]>),
    ) {
        if self.phase != Phase::Reading {
            turn.common.counters.late_replies += 1;
            return;
        }
        if mutated(Mutation::ReadDoesNotMerge) && object.is_some() {
            self.object.clear();
        }
        if !object.is_some_and(|object| merge_into(&mut self.object, object)) {
            self.lose(from);
        } else {
            let mut versions = Vec::new();
            match object.filter(|object| !object.is_empty()) {
                Some(object) => encode_of_object(ObjectView::check(object).expect("checked"), &mut versions),
                None => Versions::default().encode(&mut versions),
            }
            self.see(from, VersionsView::check(&versions).expect("encoded here"));
            self.look_at_object();
            self.has_object = true;
        }
        self.proceed(turn, id);
    }

    /// A deliberate bug: equal newest dots are taken for equal versions.
    fn is_taken_for_same(&self, versions: VersionsView<'_>) -> bool {
        let newest = |versions: &Versions| versions.siblings.last().map(|(dot, _)| *dot);
        let mut told = Versions::default();
        mutated(Mutation::ReadComparesHighestDot) && {
            versions.copy_to(&mut told);
            newest(&told) == newest(&versions_of(&self.reference))
        }
    }

    /// What a node has, as far as it differs from what this node had.
    fn see(&mut self, node: NodeId, versions: VersionsView<'_>) {
        self.same.retain(|same| *same != node);
        let known = self.others.iter().position(|witness| witness.node == node);
        let index = known.unwrap_or_else(|| {
            self.others.push(Witness { node, versions: Versions::default(), is_fetched: false });
            self.others.len() - 1
        });
        versions.copy_to(&mut self.others[index].versions);
    }

    /// A node cannot give what it told of.
    fn lose(&mut self, node: NodeId) {
        self.tally.withdraw(node);
        self.same.retain(|same| *same != node);
        self.others.retain(|witness| witness.node != node);
        self.is_same_fetched = false;
    }

    fn look_at_object(&mut self) {
        self.have.clear();
        if self.object.is_empty() {
            Versions::default().encode(&mut self.have);
        } else {
            encode_of_object(ObjectView::check(&self.object).expect("merged here"), &mut self.have);
        }
    }

    /// A node will not answer; true when that changes something, at once.
    pub(crate) fn on_unreachable(&mut self, node: NodeId) -> bool {
        if self.phase != Phase::Reading {
            return false;
        }
        let was_waiting = self.tally.answer(node, Knowing::Failed, true);
        let was_fetched = self.others.iter().any(|witness| witness.node == node && witness.is_fetched)
            || (self.is_same_fetched && self.same.contains(&node));
        if was_fetched {
            self.lose(node);
        }
        was_waiting || was_fetched
    }

    /// Its time has come, or a node is gone.
    pub(crate) fn on_time(&mut self, turn: &mut Turn<'_>, id: Handle) {
        if self.phase == Phase::Done {
            return;
        }
        if turn.now.steady_us >= self.deadline_us {
            self.finish(turn);
            return;
        }
        if self.phase == Phase::Queued {
            return;
        }
        if !self.is_late && turn.now.steady_us >= self.late_us {
            self.on_late(turn, id);
        }
        self.proceed(turn, id);
    }

    /// Some have been silent for long: fallbacks may know more, and the own disk is not waited for.
    fn on_late(&mut self, turn: &mut Turn<'_>, id: Handle) {
        self.is_late = true;
        self.wake_us = self.deadline_us;
        let node = turn.common.node;
        let silent: SmallVec<[NodeId; 4]> = self.tally.waiting().filter(|silent| *silent != node).collect();
        silent.iter().for_each(|silent| turn.avoid(*silent));
        self.ask_fallbacks(turn, id, silent.len());
        if !self.has_object {
            if !self.has_asked_others {
                self.ask_others(turn, id);
            }
            self.hedge(turn, id);
        }
    }

    /// Reads the object elsewhere while the own disk does not tell.
    fn hedge(&mut self, turn: &mut Turn<'_>, id: Handle) {
        let node = turn.common.node;
        if let Some(other) = self.same.iter().copied().find(|same| *same != node) {
            self.is_same_fetched = true;
            self.fetch(turn, id, other);
        } else if let Some(witness) = self.others.iter_mut().find(|witness| !witness.is_fetched) {
            witness.is_fetched = true;
            let other = witness.node;
            self.fetch(turn, id, other);
        }
    }

    fn fetch(&self, turn: &mut Turn<'_>, id: Handle, node: NodeId) {
        let read = Message::ObjectRead { hash: self.hash, key: &self.key };
        let message = turn.write_message(self.partition, id.request(), &read);
        turn.send(node, self.partition, &message);
    }

    /// Does what can be done with what is known now.
    fn proceed(&mut self, turn: &mut Turn<'_>, id: Handle) {
        if !self.has_object {
            // The own disk is late, and somebody has answered since.
            if self.is_late && !self.is_same_fetched && self.others.iter().all(|witness| !witness.is_fetched) {
                self.hedge(turn, id);
            }
            return;
        }
        if self.fetch_missing(turn, id) {
            return;
        }
        if !self.is_answered {
            let has_own = self.has_own(&self.have);
            if self.tally.verdict() == Verdict::Met && !has_own && !self.has_asked_others {
                self.ask_others(turn, id);
            }
            let is_settled = self.tally.is_settled();
            match self.tally.verdict() {
                Verdict::Met if has_own || is_settled => self.answer(turn),
                _ if is_settled => self.answer_what_is_known(turn),
                _ => return,
            }
        }
        if self.tally.is_settled() {
            self.repair(turn);
            self.phase = Phase::Done;
        }
    }

    /// Fetches objects that have more than what is here; true while one is waited for.
    fn fetch_missing(&mut self, turn: &mut Turn<'_>, id: Handle) -> bool {
        if self.others.is_empty() && self.have == self.reference {
            return false;
        }
        let node = turn.common.node;
        let have = versions_of(&self.have);
        let is_missing = |versions: &Versions| !have.includes(versions);
        let reference = versions_of(&self.reference);
        let same = self.same.iter().copied().find(|same| *same != node);
        let same = same.filter(|_| is_missing(&reference));
        if same.is_none() && !self.others.iter().any(|witness| is_missing(&witness.versions)) {
            return false;
        }
        // What is asked of one need not be asked of another.
        let mut coming = have.clone();
        let asked = self.others.iter().filter(|witness| witness.is_fetched);
        asked.for_each(|witness| coming.merge(&witness.versions));
        let mut fetched: SmallVec<[NodeId; 4]> = SmallVec::new();
        if let Some(same) = same {
            if !self.is_same_fetched {
                self.is_same_fetched = true;
                fetched.push(same);
            }
            coming.merge(&reference);
        }
        for witness in self.others.iter_mut().filter(|witness| witness.node != node && !witness.is_fetched) {
            if !coming.includes(&witness.versions) {
                coming.merge(&witness.versions);
                witness.is_fetched = true;
                fetched.push(witness.node);
            }
        }
        turn.common.counters.merged_reads += u64::from(!fetched.is_empty());
        fetched.into_iter().for_each(|node| self.fetch(turn, id, node));
        true
    }

    /// Whether the client's own last write is in it.
    fn has_own(&self, versions: &[u8]) -> bool {
        let covers = |own: Dot| ContextView::check_prefix(versions).is_ok_and(|(context, _)| context.covers(own));
        self.own_last.is_none_or(covers) || mutated(Mutation::ReadIgnoresOwnLast)
    }

    fn answer(&mut self, turn: &mut Turn<'_>) {
        self.is_answered = true;
        let is_stale_possible = !self.tally.has_owners() || !self.has_own(&self.have);
        turn.answer_found((self.origin, self.partition), &self.object, is_stale_possible);
    }

    /// Not enough have answered, and no more will.
    fn answer_what_is_known(&mut self, turn: &mut Turn<'_>) {
        let is_anything_known = self.tally.counted().1 > 0;
        if is_anything_known && self.tally.has_primaries() {
            self.is_answered = true;
            turn.answer_found((self.origin, self.partition), &self.object, true);
        } else {
            self.fail(turn, Failure::ReadTimeout);
        }
    }

    /// The deadline has passed.
    fn finish(&mut self, turn: &mut Turn<'_>) {
        if self.phase == Phase::Queued {
            self.fail(turn, Failure::Busy);
        } else if !self.is_answered && self.has_object {
            if !mutated(Mutation::ReadAnswersWithoutTold) {
                self.withdraw_missing();
            }
            self.answer_what_is_known(turn);
        } else if !self.is_answered {
            self.fail(turn, Failure::ReadTimeout);
        }
        if self.has_object {
            self.repair(turn);
        }
        self.phase = Phase::Done;
    }

    /// Who told of something that could not be fetched in time does not count: the answer would lack it.
    fn withdraw_missing(&mut self) {
        let have = versions_of(&self.have);
        for witness in self.others.iter().filter(|witness| !have.includes(&witness.versions)) {
            self.tally.withdraw(witness.node);
        }
        if !have.includes(&versions_of(&self.reference)) {
            self.same.iter().for_each(|node| self.tally.withdraw(*node));
        }
    }

    fn fail(&mut self, turn: &mut Turn<'_>, failure: Failure) {
        self.is_answered = true;
        self.phase = Phase::Done;
        turn.answer_failed((self.origin, self.partition), failure);
    }

    /// Owners that lack some of the answer get it.
    fn repair(&mut self, turn: &mut Turn<'_>) {
        if self.object.is_empty() || (self.others.is_empty() && self.have == self.reference) {
            return;
        }
        let have = versions_of(&self.have);
        if self.others.iter().any(|witness| !have.includes(&witness.versions)) {
            return;
        }
        let are_same_stale = self.have != self.reference;
        let is_stale = |node: &NodeId| match self.others.iter().find(|witness| witness.node == *node) {
            Some(witness) => witness.versions != have,
            None => are_same_stale && self.same.contains(node),
        };
        let stale: SmallVec<[NodeId; 8]> = self.tally.owners().filter(is_stale).collect();
        let key = Key { bytes: &self.key, partition: self.partition, hash: self.hash };
        repair(turn, &key, &self.object, stale.into_iter());
    }

    /// The end: large buffers go back.
    pub(crate) fn shrink(&mut self, keep: usize) {
        shrink(&mut self.object, keep);
    }
}

fn versions_of(encoded: &[u8]) -> Versions {
    let mut versions = Versions::default();
    VersionsView::check(encoded).expect("encoded here").copy_to(&mut versions);
    versions
}
