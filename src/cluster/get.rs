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

use annulus_object::Dot;
use smallvec::SmallVec;

use crate::compose::shrink;
use crate::effect::{Failure, Reach};
use crate::event::{Key, Quorum};
use crate::evidence::Evidence;
use crate::ids::{Home, NodeId};
use crate::message::Message;
use crate::mutation::{Mutation, mutated};
use crate::put::merge_into;
use crate::quorum::{Knowing, ReadTally, Verdict};
use crate::read_repair::repair;
use crate::replica::counts_as_owner;
use crate::slab::Handle;
use crate::turn::{Origin, Turn};
use crate::versions::VersionsView;

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
    /// And what it knows counts as an owner's word.
    is_owner: bool,
    tally: ReadTally,
    evidence: Evidence,
    /// Whether something was read, or there is nothing to read.
    has_object: bool,
    /// Reads of this node's homes that are under way, and what they gave so far; nothing once one could not tell.
    loads: u8,
    own: Option<Vec<u8>>,
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
        let is_owner = turn.preference_list(key.partition, self.quorum.n).owners.contains(&node);
        self.is_owner = is_owner && counts_as_owner(turn, key.partition);
        (self.has_object, self.loads) = (false, 0);
        (self.has_asked_others, self.is_late, self.is_answered) = (false, false, false);
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
        self.evidence.start(&turn.common.held.versions);
        self.tally.start(self.quorum.r, self.quorum.pr);
        self.tally.ask(node, self.is_owner);
        if turn.common.held.homes.is_empty() {
            self.tally.answer(node, Knowing::Absent, self.is_owner);
            self.has_object = self.evidence.see_object(node, &[]);
        } else {
            let homes: SmallVec<[Home; 2]> = turn.common.held.homes.clone();
            self.loads = u8::try_from(homes.len()).expect("few nodes are stood in for");
            self.own.get_or_insert_default().clear();
            homes.into_iter().for_each(|home| turn.load(id.token(0), home, &key));
        }
        let has_own = self.own_last.is_none_or(|own| self.evidence.began_with(own));
        if !self.is_owner || self.quorum.r > 1 || self.quorum.pr > 1 || !has_own {
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
        self.evidence.see(from, versions);
        self.proceed(turn, id);
    }

    /// One of this node's homes was read.
    pub(crate) fn on_loaded(&mut self, turn: &mut Turn<'_>, id: Handle, object: Option<&[u8]>) {
        self.loads -= 1;
        let object = object.or_else(|| mutated(Mutation::LoadFailureAsAbsent).then_some(&[][..]));
        let node = turn.common.node;
        let is_only = self.loads == 0 && self.own.as_ref().is_some_and(Vec::is_empty);
        let is_seen = if is_only {
            object.is_some_and(|object| self.evidence.see_object(node, object))
        } else {
            let merged = self.own.as_mut().zip(object).is_some_and(|(own, object)| merge_into(own, object));
            if !merged {
                self.own = None;
            }
            if self.loads > 0 {
                return;
            }
            self.own.as_ref().is_some_and(|own| self.evidence.see_object(node, own))
        };
        self.tally.answer(node, if is_seen { Knowing::Found } else { Knowing::Failed }, self.is_owner);
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
        if object.is_some_and(|object| self.evidence.see_object(from, object)) {
            self.has_object = true;
        } else {
            self.lose(from);
        }
        self.proceed(turn, id);
    }

    /// A node cannot give what it told of.
    fn lose(&mut self, node: NodeId) {
        self.tally.withdraw(node);
        self.evidence.lose(node);
    }

    /// A node will not answer; true when that changes something, at once.
    pub(crate) fn on_unreachable(&mut self, node: NodeId) -> bool {
        if self.phase != Phase::Reading {
            return false;
        }
        let was_waiting = self.tally.answer(node, Knowing::Failed, true);
        let was_fetched = self.evidence.is_fetched(node);
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
        if let Some(other) = self.evidence.instead_of(turn.common.node) {
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
            if self.is_late {
                self.hedge(turn, id);
            }
            return;
        }
        // What is missing is waited for.
        if let Some(nodes) = self.evidence.missing(turn.common.node) {
            turn.common.counters.merged_reads += u64::from(!nodes.is_empty());
            nodes.into_iter().for_each(|node| self.fetch(turn, id, node));
            return;
        }
        if !self.is_answered {
            let has_own = self.has_own();
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

    /// Whether the client's own last write is in it.
    fn has_own(&self) -> bool {
        self.own_last.is_none_or(|own| self.evidence.covers(own)) || mutated(Mutation::ReadIgnoresOwnLast)
    }

    fn answer(&mut self, turn: &mut Turn<'_>) {
        self.is_answered = true;
        let reach = if self.tally.has_owners() && self.has_own() { Reach::Owners } else { Reach::Nodes };
        turn.answer_found((self.origin, self.partition), self.evidence.object(), reach);
    }

    /// Not enough have answered, and no more will.
    fn answer_what_is_known(&mut self, turn: &mut Turn<'_>) {
        let is_anything_known = self.tally.counted().1 > 0;
        if is_anything_known && self.tally.has_primaries() {
            self.is_answered = true;
            let is_met = self.tally.verdict() == Verdict::Met;
            let reach = if is_met { Reach::Nodes } else { Reach::Fewer };
            turn.answer_found((self.origin, self.partition), self.evidence.object(), reach);
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
                self.evidence.lose_missing().into_iter().for_each(|node| self.tally.withdraw(node));
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

    fn fail(&mut self, turn: &mut Turn<'_>, failure: Failure) {
        self.is_answered = true;
        self.phase = Phase::Done;
        turn.answer_failed((self.origin, self.partition), failure);
    }

    /// Owners that lack some of the answer get it.
    fn repair(&mut self, turn: &mut Turn<'_>) {
        // Those too whose word does not count yet, because they have lost their disk.
        let owners = turn.preference_list(self.partition, self.quorum.n).owners;
        let stale = self.evidence.stale(self.tally.told().filter(|node| owners.contains(node)));
        if !stale.is_empty() {
            let key = Key { bytes: &self.key, partition: self.partition, hash: self.hash };
            repair(turn, &key, self.evidence.object(), stale.into_iter());
        }
    }

    /// The end: large buffers go back.
    pub(crate) fn shrink(&mut self, keep: usize) {
        self.evidence.shrink(keep);
        self.own.iter_mut().for_each(|own| shrink(own, keep));
    }
}
