//! The coordinator of one write.
//!
//! ```text
//! queued ──▶ gathering ──▶ loading ──▶ copying ──▶ done
//!            a plain delete   values that   stamped and sent; goes on after the answer
//!            asks R owners    stay beside   until every copy is kept or the deadline
//!            (rule S7)        it (S3)
//!                      └─▶ waiting for an actor (rule S1) ─┘
//! ```
//!
//! A plain write goes straight to copying. Nothing is stamped before `copying`, and nothing is asked of the store twice; what
//! is looked up then includes every write that was carried out meanwhile (rule S2).
//!
//! Invariant: the client is answered once. `NoReplicas` and all other refusals are said only while nothing was sent; from the
//! first copy on it is `Written` or `InDoubt` (rule S14).

use annulus_object::{Context, Object, ObjectView};
use smallvec::SmallVec;

use crate::compose::{Composed, Obstacle, SavedWrite, WriteRef, compose, shrink};
use crate::copies::{Copies, OWN_COPY};
use crate::effect::Failure;
use crate::event::{Quorum, StoreFailure};
use crate::ids::{Home, NodeId};
use crate::message::{Message, WriteOutcome};
use crate::mutation::{Mutation, mutated};
use crate::quorum::{Knowing, ReadTally, Verdict};
use crate::replica::counts_as_owner;
use crate::slab::Handle;
use crate::turn::{Origin, Turn};
use crate::versions::VersionsView;

/// How often it is tried again to stamp, in microseconds.
const STAMP_RETRY_US: u64 = 10_000;

/// How far a write is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing to do, or nothing any more.
    #[default]
    Done,
    /// Behind an earlier write of the same key that is not stamped yet.
    Queued,
    /// Asks other owners what they have.
    Gathering,
    /// Reads values that stay.
    Loading,
    /// Waits until this node may stamp.
    Waiting,
    /// Stamped and sent.
    Copying,
}

/// A client's write, as it comes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PutCommand<'a> {
    pub(crate) origin: Origin,
    pub(crate) write: WriteRef<'a>,
    pub(crate) quorum: Quorum,
    pub(crate) deadline_us: u64,
    pub(crate) repetition: Repetition,
}

/// Whether several owners may carry a write out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repetition {
    /// No.
    #[default]
    Forbidden,
    /// Yes.
    Allowed,
    /// One that was asked before may have.
    Suspected,
}

impl Repetition {
    /// What the client is told when nothing is carried out now.
    pub(crate) fn refusal(self, failure: Failure) -> Failure {
        if self == Self::Suspected && !mutated(Mutation::SuspectedPutRefused) { Failure::InDoubt } else { failure }
    }
}

/// One write.
#[derive(Debug, Default)]
pub(crate) struct Put {
    pub(crate) phase: Phase,
    /// When [`Put::on_time`] is next due.
    pub(crate) wake_us: u64,
    origin: Origin,
    partition: u16,
    pub(crate) hash: u128,
    quorum: Quorum,
    deadline_us: u64,
    is_owner: bool,
    /// Bytes that the request counts for.
    pub(crate) bytes: usize,
    saved: SavedWrite,
    /// What other owners have seen.
    seen: Context,
    gathered: ReadTally,
    /// What was read of this node's homes, and how many reads are under way.
    loaded: Vec<u8>,
    loads: u8,
    copies: Copies,
    stamped: Option<Composed>,
    is_answered: bool,
    repetition: Repetition,
}

impl Put {
    /// Takes the write on.
    pub(crate) fn begin(&mut self, turn: &mut Turn<'_>, command: &PutCommand<'_>) {
        let key = command.write.key;
        self.origin = command.origin;
        (self.partition, self.hash) = (key.partition, key.hash);
        self.quorum = command.quorum;
        self.deadline_us = command.deadline_us;
        let node = turn.common.node;
        self.is_owner = turn.preference_list(key.partition, self.quorum.n).owners.contains(&node);
        self.bytes = key.bytes.len() + command.write.value.map_or(0, <[u8]>::len);
        self.seen.clear();
        self.loaded.clear();
        (self.loads, self.stamped, self.is_answered, self.repetition) = (0, None, false, command.repetition);
        turn.common.counters.puts += 1;
    }

    /// Waits behind an earlier write of the key.
    pub(crate) fn queue(&mut self, command: &PutCommand<'_>) {
        self.saved.save(&command.write);
        (self.phase, self.wake_us) = (Phase::Queued, self.deadline_us);
    }

    /// The write's turn has come; with `fresh` it needs no copy of the command.
    pub(crate) fn start(&mut self, turn: &mut Turn<'_>, id: Handle, fresh: Option<&WriteRef<'_>>) {
        let write = fresh.copied().unwrap_or_else(|| self.saved.borrowed());
        let is_plain_delete = write.context.is_none() && write.value.is_none() && !mutated(Mutation::DeleteDoesNotRead);
        match fresh {
            Some(write) if is_plain_delete => self.saved.save(write),
            _ => {}
        }
        if is_plain_delete { self.gather(turn, id) } else { self.stamp(turn, id, fresh) }
    }

    /// Whether later commands for the key have to wait.
    pub(crate) fn is_unstamped(&self) -> bool {
        matches!(self.phase, Phase::Queued | Phase::Gathering | Phase::Loading | Phase::Waiting)
    }

    /// Asks the other owners what they have, so that the delete replaces it (rule S7).
    fn gather(&mut self, turn: &mut Turn<'_>, id: Handle) {
        self.phase = Phase::Gathering;
        let pr = if mutated(Mutation::DeleteReadsAnybody) { 0 } else { self.quorum.pr };
        self.gathered.start(self.quorum.r, pr);
        let node = turn.common.node;
        let write = self.saved.borrowed();
        turn.common.held.look_up(&*turn.store, &write.key);
        let knowing = if turn.common.held.versions.is_empty() { Knowing::Absent } else { Knowing::Found };
        let counts = self.is_owner && counts_as_owner(turn, self.partition);
        self.gathered.ask(node, counts);
        self.gathered.answer(node, knowing, counts);
        let list = turn.preference_list(self.partition, self.quorum.n);
        let read = Message::VersionRead { hash: self.hash, key: write.key.bytes };
        let message = turn.write_message(self.partition, id.request(), &read);
        for &owner in list.owners.iter().filter(|owner| **owner != node && turn.routes.is_up(**owner)) {
            self.gathered.ask(owner, true);
            turn.send(owner, self.partition, &message);
        }
        // Fallbacks may have what the missing owners were meant to get.
        let missing = list.owners.iter().filter(|owner| !self.gathered.was_asked(**owner)).count();
        let is_usable = |node: &NodeId| *node != turn.common.node && turn.is_usable(*node);
        let fallbacks: SmallVec<[NodeId; 4]> = list.fallbacks().filter(is_usable).take(missing).collect();
        for node in fallbacks {
            self.gathered.ask(node, false);
            turn.send(node, self.partition, &message);
        }
        self.wake_us = self.deadline_us;
        self.on_gathered(turn, id);
    }

    /// What another owner has.
    pub(crate) fn on_versions(
        &mut self,
        turn: &mut Turn<'_>,
        id: Handle,
        from: NodeId,
        (is_owner, versions): (bool, VersionsView<'_>),
    ) {
        let knowing = if versions.context().is_empty() { Knowing::Absent } else { Knowing::Found };
        if self.phase != Phase::Gathering || !self.gathered.answer(from, knowing, is_owner) {
            turn.common.counters.late_replies += 1;
            return;
        }
        self.seen.merge(&versions.context().to_context());
        self.on_gathered(turn, id);
    }

    fn on_gathered(&mut self, turn: &mut Turn<'_>, id: Handle) {
        match self.gathered.verdict() {
            Verdict::Pending => {}
            Verdict::Met => self.stamp(turn, id, None),
            Verdict::Impossible => self.refuse(turn, Failure::NoReplicas),
        }
    }

    /// Stamps and sends, if nothing is in the way.
    fn stamp(&mut self, turn: &mut Turn<'_>, id: Handle, fresh: Option<&WriteRef<'_>>) {
        if turn.now.steady_us >= self.deadline_us && !mutated(Mutation::StampAfterDeadline) {
            // Whoever was stopped for a while must not write what its client has given up (rule S8).
            self.refuse(turn, Failure::Busy);
            return;
        }
        if !Copies::is_possible(turn, self.partition, self.quorum) {
            self.refuse(turn, Failure::NoReplicas);
            return;
        }
        let loaded = (!self.loaded.is_empty()).then(|| ObjectView::check(&self.loaded).expect("checked when loaded"));
        let write = fresh.copied().unwrap_or_else(|| self.saved.borrowed());
        match compose(turn, &write, (&self.seen, loaded), self.is_owner, &mut self.copies.object) {
            Ok(stamped) => {
                self.stamped = Some(stamped);
                self.phase = Phase::Copying;
                self.copies.start(turn, id, &write.key, (self.quorum, self.deadline_us));
                self.settle(turn);
            }
            Err(Obstacle::TooManySiblings) => self.refuse(turn, Failure::TooManySiblings),
            Err(Obstacle::TooLarge) => self.refuse(turn, Failure::TooLarge),
            Err(obstacle) => {
                if let Some(write) = fresh {
                    self.saved.save(write);
                }
                match obstacle {
                    Obstacle::NeedValues => self.load(turn, id),
                    // Whoever passed the write on finds another owner sooner than this node an actor.
                    _ if self.origin.is_forward() => self.refuse(turn, Failure::NotCoordinating),
                    _ => {
                        self.phase = Phase::Waiting;
                        self.wake_us = self.deadline_us.min(turn.now.steady_us + STAMP_RETRY_US);
                    }
                }
            }
        }
    }

    /// Reads what stays beside the write.
    fn load(&mut self, turn: &mut Turn<'_>, id: Handle) {
        (self.phase, self.wake_us) = (Phase::Loading, self.deadline_us);
        self.loaded.clear();
        let homes: SmallVec<[Home; 2]> = turn.common.held.homes.clone();
        assert!(!homes.is_empty(), "siblings are somewhere");
        self.loads = u8::try_from(homes.len()).expect("few nodes are stood in for");
        let key = self.saved.borrowed().key;
        homes.into_iter().for_each(|home| turn.load(id.token(0), home, &key));
    }

    /// One of this node's homes was read.
    pub(crate) fn on_loaded(&mut self, turn: &mut Turn<'_>, id: Handle, object: Option<&[u8]>) {
        assert!(self.phase == Phase::Loading && self.loads > 0, "reads end while they are waited for");
        self.loads -= 1;
        if !object.is_some_and(|object| merge_into(&mut self.loaded, object)) {
            // Without the values that stay the write cannot be sent; nothing was.
            self.refuse(turn, Failure::NotCoordinating);
        } else if self.loads == 0 {
            self.stamp(turn, id, None);
        }
    }

    /// This node's own copy, or a hint that it keeps, is stored or not.
    pub(crate) fn on_stored(&mut self, turn: &mut Turn<'_>, id: Handle, part: u8, result: Result<(), StoreFailure>) {
        let stamped = self.stamped.expect("what is stored was stamped");
        let is_stored = result.is_ok();
        if part == OWN_COPY && !is_stored && !mutated(Mutation::SameActorAfterFailedAppend) {
            // Others have the write, and this node forgets it: its next stamp would seem to have seen it (rule S1).
            turn.common.stamping.retire(stamped.dot.actor, turn.effects);
        }
        self.copies.on_stored(turn, id, part, is_stored);
        self.settle(turn);
    }

    /// A replica has stored its copy or refused it.
    pub(crate) fn on_outcome(&mut self, turn: &mut Turn<'_>, id: Handle, from: NodeId, outcome: WriteOutcome) {
        if self.phase != Phase::Copying {
            turn.common.counters.late_replies += 1;
            return;
        }
        let (is_stored, is_durable) = match outcome {
            WriteOutcome::Stored { is_durable } => (true, is_durable),
            WriteOutcome::Refused(_) => (false, false),
        };
        self.copies.on_outcome(turn, id, from, is_stored, is_durable);
        self.settle(turn);
    }

    /// A node will not answer what it was sent; true when that changes something, at once. With `is_up` it is there.
    pub(crate) fn on_unreachable(&mut self, node: NodeId, is_up: bool) -> bool {
        match self.phase {
            Phase::Gathering => self.gathered.answer(node, Knowing::Failed, true),
            Phase::Copying => self.copies.on_unreachable(node, is_up),
            _ => false,
        }
    }

    /// Its time has come, or a node is gone. Where it is crowded, what was answered does not wait for copies that are late.
    pub(crate) fn on_time(&mut self, turn: &mut Turn<'_>, id: Handle, is_crowded: bool) {
        let is_over = turn.now.steady_us >= self.deadline_us;
        match self.phase {
            Phase::Done => {}
            Phase::Gathering if is_over => self.refuse(turn, Failure::NoReplicas),
            Phase::Waiting if is_over => self.refuse(turn, Failure::NotCoordinating),
            Phase::Queued | Phase::Loading if is_over => self.refuse(turn, Failure::Busy),
            Phase::Gathering => self.on_gathered(turn, id),
            Phase::Waiting => self.stamp(turn, id, None),
            Phase::Queued | Phase::Loading => {}
            Phase::Copying => {
                if is_over {
                    self.copies.give_hints(turn, id);
                } else {
                    self.copies.reroute(turn, id, is_crowded && self.is_answered);
                    // Of what was answered the hints that stand in for owners are enough.
                    if !self.is_answered {
                        self.copies.send_again(turn, id);
                    }
                }
                self.settle(turn);
            }
        }
    }

    /// Answers when it is time to, and ends when nothing is left to do.
    fn settle(&mut self, turn: &mut Turn<'_>) {
        let is_over = turn.now.steady_us >= self.deadline_us;
        let asker = (self.origin, self.partition);
        if !self.is_answered {
            match self.copies.verdict() {
                Verdict::Met => self.answer_written(turn),
                Verdict::Pending if !is_over => {}
                _ if mutated(Mutation::TimeoutForgotten) => self.is_answered = true,
                _ if mutated(Mutation::TimeoutAsSuccess) => self.answer_written(turn),
                _ => {
                    self.is_answered = true;
                    turn.answer_failed(asker, Failure::InDoubt);
                }
            }
        }
        let is_done = self.copies.is_settled() || (is_over && !self.copies.is_storing());
        if is_done && self.is_answered {
            self.phase = Phase::Done;
            return;
        }
        let next_us = self
            .copies
            .next_reroute_us(turn, !self.is_answered)
            .map_or(self.deadline_us, |due| due.min(self.deadline_us));
        self.wake_us = if is_over { u64::MAX } else { next_us };
    }

    fn answer_written(&mut self, turn: &mut Turn<'_>) {
        self.is_answered = true;
        let Composed { dot, is_alone } = self.stamped.expect("what is kept was stamped");
        let asker = (self.origin, self.partition);
        if is_alone {
            let object = ObjectView::check(&self.copies.object).expect("composed here");
            turn.answer_written(asker, dot, true, object.context().bytes());
        } else {
            let mut context = Vec::new();
            self.saved.context().encode(&mut context);
            turn.answer_written(asker, dot, false, &context);
        }
    }

    /// Nothing was sent.
    fn refuse(&mut self, turn: &mut Turn<'_>, failure: Failure) {
        assert!(self.stamped.is_none() && !self.is_answered, "what was sent is not refused");
        self.is_answered = true;
        self.phase = Phase::Done;
        turn.answer_failed((self.origin, self.partition), self.repetition.refusal(failure));
    }

    /// The end: large buffers go back.
    pub(crate) fn shrink(&mut self, keep: usize) {
        self.saved.shrink(keep);
        shrink(&mut self.loaded, keep);
        shrink(&mut self.copies.object, keep);
    }
}

/// Merges an encoded object into another; false when it does not decode. The first one is copied.
pub(crate) fn merge_into(into: &mut Vec<u8>, object: &[u8]) -> bool {
    if object.is_empty() {
        return true;
    }
    if into.is_empty() {
        let is_valid = ObjectView::check(object).is_ok();
        into.extend_from_slice(if is_valid { object } else { &[] });
        return is_valid;
    }
    let (Ok(mut ours), Ok(theirs)) = (Object::decode(into), Object::decode(object)) else { return false };
    ours.merge(theirs);
    if !ours.context().fits() {
        return false;
    }
    into.clear();
    ours.encode(into);
    true
}
