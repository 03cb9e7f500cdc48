//! A client's command on its way to an owner, which coordinates it.
//!
//! It goes to the first owner that answers, in the order of the preference list, so that one connection's commands for a key
//! go to one owner in their order. A read that stays without an answer is asked of the next. A write is not: it may have been
//! carried out, and a blind one that is carried out again later would replace what was written meanwhile; the client is told
//! that its outcome is not known (rule S8). Only an owner that says that it surely has not, and never will, is followed by the
//! next.
//!
//! A client may call a write repeatable that has a context, and so replaces what the client has seen and nothing else, whenever
//! it is carried out. Such a write goes to the next owner when the first is gone, or has had half of the time: at worst it stands
//! beside itself. What an owner is sent carries the end of that owner's time, and is not carried out there after it.
//!
//! Invariant: of all owners that a write was sent to, all but the last have said that they did not carry it out, unless it is
//! repeatable; whoever may have been served is not told that nothing was done.

use annulus_object::Dot;
use smallvec::SmallVec;

use crate::compose::{SavedWrite, WriteRef};
use crate::effect::Failure;
use crate::event::{Key, Quorum};
use crate::get::GetCommand;
use crate::ids::NodeId;
use crate::message::{ForwardOutcome, ForwardPut, Message, NotCarriedOut};
use crate::mutation::{Mutation, mutated};
use crate::put::{PutCommand, Repetition};
use crate::slab::Handle;
use crate::turn::{Origin, Turn};

pub(crate) mod once;

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// An answer is waited for.
    Wait,
    /// The same owner is to be asked once more, under a new number: its refusal may come twice.
    Again,
    /// The client has its answer.
    Done,
    /// No owner is left: this node has to coordinate the command itself.
    Coordinate,
}

/// One command.
#[derive(Debug, Default)]
pub(crate) struct Forward {
    /// When [`Forward::on_time`] is next due.
    pub(crate) wake_us: u64,
    /// Bytes that the request counts for.
    pub(crate) bytes: usize,
    origin: Origin,
    is_put: bool,
    saved: SavedWrite,
    own_last: Option<Dot>,
    quorum: Quorum,
    deadline_us: u64,
    /// When the owner that is asked now has had its time.
    ends_us: u64,
    context: Vec<u8>,
    current: Option<NodeId>,
    has_retried: bool,
    repetition: Repetition,
    tried: SmallVec<[NodeId; 4]>,
}

impl Forward {
    /// Takes a write on.
    pub(crate) fn begin_put(&mut self, command: &PutCommand<'_>) {
        self.is_put = true;
        self.saved.save(&command.write);
        self.begin(command.origin, (command.quorum, command.deadline_us));
        self.own_last = command.write.own;
        self.repetition = command.repetition;
    }

    /// Takes a read on.
    pub(crate) fn begin_get(&mut self, command: &GetCommand<'_>) {
        self.is_put = false;
        let write = WriteRef {
            key: command.key,
            value: None,
            expires_at_ms: 0,
            value_dot: None,
            context: None,
            own: command.own_last,
            own_is_alone: false,
        };
        self.saved.save(&write);
        self.begin(command.origin, (command.quorum, command.deadline_us));
        self.own_last = command.own_last;
    }

    fn begin(&mut self, origin: Origin, (quorum, deadline_us): (Quorum, u64)) {
        (self.origin, self.quorum, self.deadline_us) = (origin, quorum, deadline_us);
        let write = self.saved.borrowed();
        self.bytes = write.key.bytes.len() + write.value.map_or(0, <[u8]>::len);
        self.context.clear();
        if let Some(context) = write.context {
            context.encode(&mut self.context);
        }
        (self.current, self.has_retried, self.repetition) = (None, false, Repetition::Forbidden);
        self.tried.clear();
    }

    /// Whether it is a write.
    pub(crate) fn is_put(&self) -> bool {
        self.is_put
    }

    /// The key's hash, if it is a write.
    pub(crate) fn hash_of_put(&self) -> Option<u128> {
        self.is_put.then(|| self.key().hash)
    }

    /// The command, to be coordinated here.
    pub(crate) fn put_command(&self) -> PutCommand<'_> {
        let (origin, quorum, deadline_us) = (self.origin, self.quorum, self.deadline_us);
        PutCommand { origin, write: self.saved.borrowed(), quorum, deadline_us, repetition: self.repetition }
    }

    /// The command, to be coordinated here.
    pub(crate) fn get_command(&self) -> GetCommand<'_> {
        let (origin, quorum, deadline_us) = (self.origin, self.quorum, self.deadline_us);
        GetCommand { origin, key: self.key(), own_last: self.own_last, quorum, deadline_us }
    }

    fn key(&self) -> Key<'_> {
        self.saved.borrowed().key
    }

    /// Sends it to the next owner that answers.
    pub(crate) fn send_on(&mut self, turn: &mut Turn<'_>, id: Handle, number: &mut u64) -> Next {
        let partition = self.key().partition;
        let list = turn.preference_list(partition, self.quorum.n);
        let is_left =
            |owner: &&NodeId| **owner != turn.common.node && turn.routes.is_up(**owner) && !self.tried.contains(owner);
        let usable = list.owners.iter().filter(is_left).find(|owner| turn.is_usable(**owner));
        let Some(&owner) = usable.or_else(|| list.owners.iter().find(is_left)) else { return Next::Coordinate };
        self.current = Some(owner);
        let has_halves = self.may_be_repeated() && self.has_time_left(turn);
        self.ends_us = if has_halves { self.deadline_us.midpoint(turn.now.steady_us) } else { self.deadline_us };
        self.send(turn, id, owner, number);
        self.wake_us = self.ends_us.min(turn.now.steady_us + turn.common.limits.reroute_after_us);
        Next::Wait
    }

    /// Whether an owner that may have carried it out may be followed by another.
    fn may_be_repeated(&self) -> bool {
        !self.is_put || self.repetition != Repetition::Forbidden || mutated(Mutation::BlindPutRetried)
    }

    /// Whether it is worth while to ask another owner.
    fn has_time_left(&self, turn: &Turn<'_>) -> bool {
        turn.now.steady_us + 2 * turn.common.limits.reroute_after_us <= self.deadline_us
    }

    fn send(&self, turn: &mut Turn<'_>, id: Handle, owner: NodeId, number: &mut u64) {
        let remaining_ms = self.ends_us.saturating_sub(turn.now.steady_us) / 1000;
        let deadline_ms = turn.common.clock.read(turn.now) + remaining_ms;
        let write = self.saved.borrowed();
        let (key, hash) = (write.key.bytes, write.key.hash);
        let message = if self.is_put {
            *number += 1;
            Message::ForwardPut(ForwardPut {
                number: *number,
                hash,
                key,
                value: write.value,
                expires_at_ms: write.expires_at_ms,
                value_dot: write.value_dot,
                context: write.context.map(|_| &self.context[..]).filter(|_| !mutated(Mutation::ForwardLosesContext)),
                own_last: write.own.filter(|_| !mutated(Mutation::ForwardLosesOwnLast)),
                own_is_alone: write.own_is_alone,
                quorum: self.quorum,
                deadline_ms,
            })
        } else {
            Message::ForwardGet { hash, key, quorum: self.quorum, deadline_ms, own_last: self.own_last }
        };
        let span = turn.write_message(write.key.partition, id.request(), &message);
        turn.send(owner, write.key.partition, &span);
    }

    /// Sends it to the same owner once more.
    pub(crate) fn send_again(&self, turn: &mut Turn<'_>, id: Handle, number: &mut u64) {
        self.send(turn, id, self.current.expect("an owner was asked"), number);
    }

    /// What an owner has made of it.
    pub(crate) fn on_outcome(
        &mut self,
        turn: &mut Turn<'_>,
        id: Handle,
        from: NodeId,
        outcome: &ForwardOutcome<'_>,
        number: &mut u64,
    ) -> Next {
        // Whoever was asked before and did not answer in time may have served it after all.
        let is_served = matches!(outcome, ForwardOutcome::Written { .. } | ForwardOutcome::Found { .. });
        let is_welcome = is_served && self.tried.contains(&from);
        if self.current != Some(from) && !is_welcome {
            turn.common.counters.late_replies += 1;
            return Next::Wait;
        }
        let asker = (self.origin, self.key().partition);
        match *outcome {
            ForwardOutcome::Written { dot, is_alone, context } => turn.answer_written(asker, dot, is_alone, context),
            ForwardOutcome::Found { reach, object } => turn.answer_found(asker, object, reach),
            ForwardOutcome::Failed(failure) if self.may_be_served_elsewhere(turn, failure) => {
                self.tried.push(from);
                return self.send_on(turn, id, number);
            }
            ForwardOutcome::Failed(Failure::InDoubt) if self.may_be_repeated() && self.has_time_left(turn) => {
                return self.on_unreachable(turn, id, number);
            }
            ForwardOutcome::Failed(failure) => self.fail(turn, failure),
            // The reply has told the owner's time: what is sent now carries a deadline that it understands.
            ForwardOutcome::NotCarriedOut(NotCarriedOut::Expired) if !self.has_retried => {
                self.has_retried = true;
                return Next::Again;
            }
            ForwardOutcome::NotCarriedOut(_) => {
                self.tried.push(from);
                return self.send_on(turn, id, number);
            }
        }
        Next::Done
    }

    /// Whether a write that an owner has refused is worth another try: that one is cut off from the others; or it has too much
    /// to do, or did not get to it in time, and the client could not be told that nothing was done.
    fn may_be_served_elsewhere(&self, turn: &Turn<'_>, failure: Failure) -> bool {
        let is_meant = match failure {
            Failure::NoReplicas => true,
            Failure::Busy => self.repetition == Repetition::Suspected,
            _ => false,
        };
        self.is_put && is_meant && self.has_time_left(turn)
    }

    /// A node will not answer: true when that is the one.
    pub(crate) fn is_waiting_for(&self, node: NodeId) -> bool {
        self.current == Some(node)
    }

    /// The owner that was asked is gone, or does not know what became of it.
    pub(crate) fn on_unreachable(&mut self, turn: &mut Turn<'_>, id: Handle, number: &mut u64) -> Next {
        if !self.may_be_repeated() {
            self.fail(turn, Failure::InDoubt);
            return Next::Done;
        }
        if self.is_put {
            self.repetition = Repetition::Suspected;
            turn.common.counters.forwards_again += 1;
        }
        self.tried.extend(self.current.take());
        self.send_on(turn, id, number)
    }

    fn fail(&self, turn: &mut Turn<'_>, failure: Failure) {
        turn.answer_failed((self.origin, self.key().partition), self.repetition.refusal(failure));
    }

    /// Its time has come.
    pub(crate) fn on_time(&mut self, turn: &mut Turn<'_>, id: Handle, number: &mut u64) -> Next {
        if turn.now.steady_us >= self.deadline_us {
            let failure = if self.is_put { Failure::InDoubt } else { Failure::ReadTimeout };
            self.fail(turn, failure);
            return Next::Done;
        }
        // The commands that come now go elsewhere; this one too, once it may.
        self.current.into_iter().for_each(|owner| turn.avoid(owner));
        self.wake_us = self.ends_us;
        let waits = self.is_put && turn.now.steady_us < self.ends_us && !mutated(Mutation::BlindPutRetried);
        if waits { Next::Wait } else { self.on_unreachable(turn, id, number) }
    }

    /// The end: large buffers go back.
    pub(crate) fn shrink(&mut self, keep: usize) {
        self.saved.shrink(keep);
    }
}
