//! What every part of the shard works with while one event is handled: the time, the store, the ring, the list of effects, and
//! what the requests of a core share.
//!
//! Invariant: a node that is avoided is still sent what it owns; it is only not waited for.

use annulus_object::Dot;
use smallvec::SmallVec;

use crate::counters::Counters;
use crate::effect::{Answer, Effect, Effects, Failure, Reach, Span};
use crate::event::{Key, Now};
use crate::exchange::DirtyPairs;
use crate::held::Held;
use crate::ids::{ClientToken, Home, NodeId, PartitionId, RequestId, Session, StoreToken};
use crate::limits::Limits;
use crate::message::{ForwardOutcome, Header, Message, NotCarriedOut};
use crate::mutation::{Mutation, mutated};
use crate::pair_facts::{PairFact, PairFacts};
use crate::read_repair::Rate;
use crate::refill::Refill;
use crate::route::{PreferenceList, Routes};
use crate::stamping::Stamping;
use crate::store::Store;

/// Nodes that are avoided at a time; the first of more is not avoided any longer.
const AVOIDED_MAX: usize = 64;

/// What the requests of a core share.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) node: NodeId,
    pub(crate) session: Session,
    pub(crate) limits: Limits,
    pub(crate) counters: Counters,
    pub(crate) stamping: Stamping,
    pub(crate) repairs: Rate,
    pub(crate) clock: HybridTime,
    /// Nodes that did not answer, and until when nobody waits for them.
    pub(crate) avoided: SmallVec<[(NodeId, u64); 4]>,
    /// Bytes that requests under way hold.
    pub(crate) request_bytes: usize,
    /// Owners that are known to lack something.
    pub(crate) dirty: DirtyPairs,
    /// What this node lost with its disk, and has back.
    pub(crate) refill: Refill,
    /// What is remembered of exchanges.
    pub(crate) pair_facts: PairFacts,
    /// Scratch.
    pub(crate) held: Held,
}

/// One event's work.
pub(crate) struct Turn<'a> {
    pub(crate) now: Now,
    pub(crate) store: &'a mut dyn Store,
    pub(crate) routes: &'a dyn Routes,
    pub(crate) effects: &'a mut Effects,
    pub(crate) common: &'a mut Common,
}

/// Who waits for a command's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client of this node.
    Client(ClientToken),
    /// A node that passed on what its client asked.
    Forward { from: NodeId, session: Session, request: RequestId },
}

impl Default for Origin {
    fn default() -> Self {
        Self::Client(ClientToken(0))
    }
}

impl Origin {
    pub(crate) const fn is_forward(self) -> bool {
        matches!(self, Self::Forward { .. })
    }
}

impl<'a> Turn<'a> {
    /// Who is asked for a key of this partition.
    pub(crate) fn preference_list(&self, partition: PartitionId, n: u8) -> PreferenceList<'a> {
        PreferenceList::new(self.routes, partition, n)
    }

    /// Whether a node is worth waiting for.
    pub(crate) fn is_usable(&self, node: NodeId) -> bool {
        node == self.common.node || (self.routes.is_up(node) && !self.is_avoided(node))
    }

    /// Whether a node did not answer a short while ago.
    pub(crate) fn is_avoided(&self, node: NodeId) -> bool {
        self.common.avoided.iter().any(|(avoided, until_us)| *avoided == node && self.now.steady_us < *until_us)
    }

    /// Nobody waits for this node for a while.
    pub(crate) fn avoid(&mut self, node: NodeId) {
        let until_us = self.now.steady_us + self.common.limits.avoid_us;
        let avoided = &mut self.common.avoided;
        avoided.retain(|(other, _)| *other != node);
        if avoided.len() == AVOIDED_MAX {
            avoided.remove(0);
        }
        avoided.push((node, until_us));
    }

    /// An owner lacks a write, and nobody keeps a hint of it: the two are compared before others. Where it is this node that
    /// lacks it, any other owner may have it.
    pub(crate) fn note_dirty(&mut self, partition: PartitionId, node: NodeId) {
        let own = self.common.node;
        let is_meant = |owner: &NodeId| *owner != own && (node == own || *owner == node);
        for owner in self.routes.owners(partition).iter().copied().filter(is_meant) {
            let has_room = self.common.dirty.note(&self.common.limits, self.now, (partition, owner));
            self.common.counters.dirty_dropped += u64::from(!has_room);
        }
    }

    /// This node and another owner have the same of a partition, up to a cut.
    pub(crate) fn note_equal(&mut self, partition: PartitionId, with: NodeId, cut: u64) {
        let owners = self.routes.owners(partition).len();
        let is_refilled = self.common.refill.on_equal((partition, with), cut, owners, self.now);
        self.common.counters.partitions_refilled += u64::from(is_refilled);
    }

    /// Remembers something of comparing a partition with another node.
    pub(crate) fn note_pair(&mut self, pair: (PartitionId, NodeId), note: impl FnOnce(&mut PairFact)) {
        if self.store.partition_from(pair.0) != Some(pair.0) {
            return;
        }
        self.common.pair_facts.note(pair, self.routes, note);
    }

    /// Writes a message of this core's own; it may be sent to several.
    pub(crate) fn write_message(&mut self, partition: PartitionId, request: RequestId, message: &Message<'_>) -> Span {
        self.encode(partition, self.common.session, request, message)
    }

    fn encode(&mut self, partition: PartitionId, session: Session, request: RequestId, message: &Message<'_>) -> Span {
        let sent_ms = self.common.clock.read(self.now);
        let header = Header { partition, session, request, fingerprint: self.routes.fingerprint(), sent_ms };
        self.effects.write(|out| message.encode(&header, out))
    }

    /// Sends a message that was written.
    pub(crate) fn send(&mut self, to: NodeId, partition: PartitionId, message: &Span) {
        debug_assert!(to != self.common.node, "nobody writes to itself");
        if message.len() > self.common.limits.message_bytes_max {
            self.common.counters.oversized += 1;
            return;
        }
        self.effects.push(Effect::Send { to, partition, message: message.clone() });
    }

    /// Answers what another core asked.
    pub(crate) fn reply(&mut self, to: NodeId, asked: &Header, message: &Message<'_>) {
        let span = self.encode(asked.partition, asked.session, asked.request, message);
        self.send(to, asked.partition, &span);
    }

    /// Stores an object whose bytes are in the effects already.
    pub(crate) fn store_object(&mut self, token: StoreToken, home: Home, hash: u128, (key, object): (Span, Span)) {
        self.effects.push(Effect::Store { token, home, key, hash, object });
    }

    /// Reads an object of this node.
    pub(crate) fn load(&mut self, token: StoreToken, home: Home, key: &Key<'_>) {
        let span = self.effects.write(|out| out.extend_from_slice(key.bytes));
        self.effects.push(Effect::Load { token, home, key: span, hash: key.hash });
    }

    /// A write is kept as asked.
    pub(crate) fn answer_written(
        &mut self,
        (origin, partition): (Origin, PartitionId),
        dot: Dot,
        is_alone: bool,
        context: &[u8],
    ) {
        match origin {
            Origin::Client(client) => {
                let context = self.effects.write(|out| out.extend_from_slice(context));
                let answer = Answer::Written { dot, is_alone, context };
                self.effects.push(Effect::Answer { client, answer });
            }
            Origin::Forward { .. } => {
                self.answer_forward(origin, partition, ForwardOutcome::Written { dot, is_alone, context });
            }
        }
    }

    /// A key was read.
    pub(crate) fn answer_found(&mut self, (origin, partition): (Origin, PartitionId), object: &[u8], reach: Reach) {
        self.common.counters.stale_possible += u64::from(reach.is_stale_possible());
        match origin {
            Origin::Client(client) => {
                let object = self.effects.write(|out| out.extend_from_slice(object));
                let answer = Answer::Found { object, reach };
                self.effects.push(Effect::Answer { client, answer });
            }
            Origin::Forward { .. } => {
                self.answer_forward(origin, partition, ForwardOutcome::Found { reach, object });
            }
        }
    }

    /// A command was refused, or its end is not known.
    pub(crate) fn answer_failed(&mut self, (origin, partition): (Origin, PartitionId), failure: Failure) {
        let is_wrong = mutated(Mutation::InDoubtAsNoReplicas) && failure == Failure::InDoubt;
        let failure = if is_wrong { Failure::NoReplicas } else { failure };
        let counters = &mut self.common.counters;
        match failure {
            Failure::NoReplicas => counters.no_replicas += 1,
            Failure::InDoubt => counters.in_doubt += 1,
            Failure::ReadTimeout => counters.read_timeouts += 1,
            Failure::TooManySiblings => counters.siblings_refused += 1,
            Failure::TooLarge => counters.oversized += 1,
            Failure::Busy => counters.busy += 1,
            Failure::NotCoordinating => {}
        }
        match origin {
            Origin::Client(client) => self.effects.push(Effect::Answer { client, answer: Answer::Failed(failure) }),
            Origin::Forward { .. } if failure == Failure::NotCoordinating => {
                let why = NotCarriedOut::NotCoordinating;
                self.answer_forward(origin, partition, ForwardOutcome::NotCarriedOut(why));
            }
            Origin::Forward { .. } => self.answer_forward(origin, partition, ForwardOutcome::Failed(failure)),
        }
    }

    /// Tells the node that passed a command on.
    pub(crate) fn answer_forward(&mut self, origin: Origin, partition: PartitionId, outcome: ForwardOutcome<'_>) {
        let Origin::Forward { from, session, request } = origin else {
            unreachable!("clients of this node get effects");
        };
        let span = self.encode(partition, session, request, &Message::ForwardReply(outcome));
        self.send(from, partition, &span);
    }
}

/// The hybrid clock of this core: never behind its wall clock, nor behind any node that it has heard of, and always moving.
/// For deadlines only; stamps have their own.
///
/// What is told are whole milliseconds, and nodes' milliseconds begin at different moments. Kept in milliseconds, two clocks
/// that talk would drive each other on, by up to one with every message; kept in microseconds none passes the one most ahead.
#[derive(Debug, Default)]
pub(crate) struct HybridTime {
    /// How far the wall clock that is most ahead is ahead of this node's steady clock.
    ahead_us: u64,
}

impl HybridTime {
    /// The time, in Unix milliseconds.
    pub(crate) fn read(&mut self, now: Now) -> u64 {
        self.observe(now.unix_ms, now);
        (now.steady_us + self.ahead_us) / 1000
    }

    /// Takes note of another node's time.
    pub(crate) fn observe(&mut self, unix_ms: u64, now: Now) {
        self.ahead_us = self.ahead_us.max(unix_ms.saturating_mul(1000).saturating_sub(now.steady_us));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_right_stay_right_however_often_they_talk() {
        let (mut ours, mut theirs) = (HybridTime::default(), HybridTime::default());
        let now = |true_us: u64, offset_us: u64| Now { unix_ms: true_us / 1000, steady_us: true_us - offset_us };
        for true_us in (1_000_000..2_000_000).step_by(70) {
            let told = ours.read(now(true_us, 333));
            theirs.observe(told, now(true_us + 35, 777));
            let told = theirs.read(now(true_us + 35, 777));
            ours.observe(told, now(true_us + 70, 333));
            assert_eq!(told, (true_us + 35) / 1000);
        }
    }

    #[test]
    fn a_clock_follows_the_one_most_ahead_and_goes_on() {
        let mut clock = HybridTime::default();
        let now = |steady_us| Now { unix_ms: 5_000, steady_us };
        clock.observe(9_000, now(1_000_000));
        clock.observe(7_000, now(1_000_000));
        assert_eq!(clock.read(now(1_000_000)), 9_000);
        assert_eq!(clock.read(now(1_250_000)), 9_250, "a wall clock that stands still does not stop it");
    }
}
