//! The data plane of one core: an event goes in, and what is to be done comes out.
//!
//! It routes; the nouns beside it decide: `put` and `get` coordinate, `forward` passes on, `replica` serves coordinators
//! elsewhere, `hints` hands over what is kept for others, `exchange` compares this node with other owners.
//!
//! Invariant: everything is bounded. Beyond its limits the shard refuses, and never forgets what it has acknowledged.

use annulus_object::{Actor, Context, ContextView};
use smallvec::SmallVec;

use crate::compose::WriteRef;
use crate::counters::Counters;
use crate::effect::{Effects, Failure};
use crate::event::{Event, Get, Key, Now, Put, StoreFailure};
use crate::exchange::{DirtyPairs, Exchanges};
use crate::forward::once::Once;
use crate::get::GetCommand;
use crate::held::Held;
use crate::hints::Hints;
use crate::ids::{NodeId, PartitionId, RequestId, Session, StoreToken};
use crate::limits::Limits;
use crate::message::{ForwardOutcome, ForwardPut, Header, Message, NotCarriedOut, Unverified};
use crate::mutation::{Mutation, mutated};
use crate::pair_facts::{PairFact, PairFacts};
use crate::put::{PutCommand, Repetition};
use crate::read_repair::Rate;
use crate::refill::Refill;
use crate::replica::{Replica, is_owner};
use crate::requests::Requests;
use crate::route::Routes;
use crate::slab::{Handle, Kind};
use crate::stamping::Stamping;
use crate::store::Store;
use crate::turn::{Common, HybridTime, Origin, Turn};
use crate::versions::VersionsView;

/// A client's command is given no longer than this by another node's word, in milliseconds.
const FORWARD_MS_MAX: u64 = 600_000;

/// With what a core's data plane begins.
#[derive(Debug, Clone)]
pub struct Start {
    /// This node.
    pub node: NodeId,
    /// This life of this core: no core ever had the same.
    pub session: Session,
    /// The actor, if this life goes on stamping with one of an earlier life; `None` if its incarnation is new. An earlier life
    /// may have forgotten hints that it stamped as a fallback: before this one stamps as a fallback, it asks for a new
    /// incarnation (rule S4).
    pub earlier_actor: Option<Actor>,
    /// The node came back without what it had, and owns what it owned: until it is refilled, what it tells of a key counts as
    /// little as what a fallback tells (rule S11).
    pub is_refilling: bool,
    /// What it may have under way.
    pub limits: Limits,
}

/// The data plane of one core.
pub struct Shard {
    common: Common,
    parts: Parts,
}

struct Parts {
    requests: Requests,
    replica: Replica,
    hints: Hints,
    exchanges: Exchanges,
    once: Once,
    /// Scratch, for a context that came with a command.
    context: Context,
}

impl Shard {
    /// Nothing under way.
    #[must_use]
    pub fn new(start: Start) -> Self {
        let limits = start.limits;
        limits.assert_valid();
        let parts = Parts {
            requests: Requests::new(&limits),
            replica: Replica::new(limits.replica_operations_max),
            hints: Hints::new(limits.hints_in_flight_max),
            exchanges: Exchanges::new(&limits),
            once: Once::new(limits.forwarders_max),
            context: Context::default(),
        };
        let common = Common {
            node: start.node,
            session: start.session,
            counters: Counters::default(),
            stamping: Stamping::new(start.node, start.earlier_actor),
            repairs: Rate::new(limits.read_repairs_per_second),
            clock: HybridTime::default(),
            avoided: SmallVec::new(),
            request_bytes: 0,
            dirty: DirtyPairs::default(),
            refill: Refill::new(start.is_refilling),
            pair_facts: PairFacts::default(),
            held: Held::default(),
            limits,
        };
        Self { common, parts }
    }

    /// Handles one event; what is to be done is added to `effects`, and carried out before the next.
    pub fn handle(
        &mut self,
        now: Now,
        event: Event<'_>,
        store: &mut dyn Store,
        routes: &dyn Routes,
        effects: &mut Effects,
    ) {
        let turn = &mut Turn { now, store, routes, effects, common: &mut self.common };
        // Those behind them go on after this event: it may be the news that a stamp of theirs was lost.
        let lines = self.parts.requests.lines();
        match event {
            Event::Put(put) => self.parts.on_put(turn, &put),
            Event::Get(get) => self.parts.on_get(turn, &get),
            Event::Message { from, bytes } => self.parts.on_message(turn, from, bytes),
            Event::Unreachable { peer } => self.parts.on_unreachable(turn, peer),
            Event::Stored { token, result } => self.parts.on_stored(turn, token, result),
            Event::Loaded { token, home: _, key, hash, object } => {
                self.parts.on_loaded(turn, token, (key, hash), object);
            }
            Event::Tick => {
                self.parts.hints.on_tick(turn);
                self.parts.exchanges.on_tick(turn);
            }
            Event::Liveness { node, up: true } => {
                turn.common.avoided.retain(|(avoided, _)| *avoided != node);
                self.parts.hints.on_up(turn, node);
            }
            Event::Liveness { node, up: false } => self.parts.on_unreachable(turn, node),
        }
        self.parts.requests.move_up(turn, lines);
        self.parts.requests.on_time(turn);
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters { incarnations_needed: self.common.stamping.needed(), ..self.common.counters }
    }

    /// Commands, operations for others, and hints that are under way.
    #[must_use]
    pub fn in_flight(&self) -> (usize, usize, usize) {
        (self.parts.requests.len(), self.parts.replica.len(), self.parts.hints.len())
    }

    /// Whether a client's command should be handed in now: an eighth of the room is kept for those that go on, and for those of
    /// other nodes' clients. A write that was answered takes room until its last copy is accounted for.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let limits = &self.common.limits;
        let most = |max: usize| max - max / 8;
        self.parts.requests.len() < most(limits.requests_max)
            && self.common.request_bytes < most(limits.request_bytes_max)
    }

    /// Exchanges that this core has begun and not ended.
    #[must_use]
    pub fn exchanges_in_flight(&self) -> usize {
        self.parts.exchanges.len()
    }

    /// Whether this core has of all that it owns as much as every other owner, after its disk was lost.
    #[must_use]
    pub fn is_refilled(&self, store: &dyn Store, routes: &dyn Routes) -> bool {
        let mut next = store.partition_from(0);
        let partitions = std::iter::from_fn(|| {
            let partition = next?;
            next = partition.checked_add(1).and_then(|from| store.partition_from(from));
            Some(partition)
        });
        let is_owned = |partition: &PartitionId| routes.owners(*partition).contains(&self.common.node);
        let mut owned = partitions.filter(is_owned);
        owned.all(|partition| self.common.refill.is_whole(partition, routes.owners(partition).len()))
    }

    /// What is remembered of comparing partitions with other owners, by partition and node.
    pub fn pair_facts(&self) -> impl Iterator<Item = &PairFact> {
        self.common.pair_facts.iter()
    }

    /// Of each node for which hints are kept: how many were handed over and forgotten, and how many attempts failed, since there
    /// are hints for it.
    pub fn hint_targets(&self) -> impl Iterator<Item = (NodeId, u64, u64)> {
        self.parts.hints.targets()
    }

    /// Whether this core compares nothing now, has nothing to send another owner, and knows of no owner that lacks anything.
    #[must_use]
    pub fn has_no_repairs(&self) -> bool {
        self.parts.exchanges.is_idle() && self.common.dirty.len() == 0
    }
}

impl Parts {
    fn on_put(&mut self, turn: &mut Turn<'_>, put: &Put<'_>) {
        assert!(!put.is_repeatable || put.context.is_some(), "a blind write is carried out once");
        let is_repeatable = put.is_repeatable || (put.value.is_none() && put.context.is_some());
        let repetition = if is_repeatable { Repetition::Allowed } else { Repetition::Forbidden };
        let write = WriteRef {
            key: put.key,
            value: put.value,
            expires_at_ms: put.expires_at_ms,
            value_dot: put.value_dot,
            context: put.context,
            own: put.own_last,
            own_is_alone: put.own_is_alone,
        };
        let (origin, quorum, deadline_us) = (Origin::Client(put.client), put.quorum, put.deadline_us);
        self.requests.on_put(turn, &PutCommand { origin, write, quorum, deadline_us, repetition });
    }

    fn on_get(&mut self, turn: &mut Turn<'_>, get: &Get<'_>) {
        let origin = Origin::Client(get.client);
        let Get { key, own_last, quorum, deadline_us, .. } = *get;
        self.requests.on_get(turn, &GetCommand { origin, key, own_last, quorum, deadline_us });
    }

    fn on_unreachable(&mut self, turn: &mut Turn<'_>, node: NodeId) {
        turn.avoid(node);
        self.requests.on_unreachable(turn, node);
        self.hints.on_unreachable(turn, node);
        self.exchanges.on_unreachable(turn, node);
    }

    fn on_stored(&mut self, turn: &mut Turn<'_>, token: StoreToken, result: Result<(), StoreFailure>) {
        let Some((id, part)) = Handle::of_token(token) else { return };
        match id.kind {
            Kind::Put => self.requests.on_stored(turn, (id, part), result),
            Kind::Replica => self.replica.on_stored(turn, id, result),
            Kind::Handover => self.hints.on_stored(turn, id, result),
            Kind::Get | Kind::Forward | Kind::Exchange | Kind::Supply => {
                unreachable!("they store nothing that is waited for")
            }
        }
    }

    fn on_loaded(&mut self, turn: &mut Turn<'_>, token: StoreToken, key: (&[u8], u128), object: Option<&[u8]>) {
        let Some((id, _)) = Handle::of_token(token) else { return };
        match id.kind {
            Kind::Put | Kind::Get => self.requests.on_loaded(turn, id, object),
            Kind::Replica => self.replica.on_loaded(turn, id, object),
            Kind::Handover => self.hints.on_loaded(turn, id, key, object),
            Kind::Supply => self.exchanges.on_loaded(turn, id, key, object),
            Kind::Forward | Kind::Exchange => unreachable!("they read nothing"),
        }
    }

    fn on_message(&mut self, turn: &mut Turn<'_>, from: NodeId, bytes: &[u8]) {
        let checked = Unverified::new(bytes).check(turn.common.limits.message_bytes_max);
        let Ok((header, message)) = checked else {
            turn.common.counters.bad_messages += 1;
            return;
        };
        turn.common.clock.observe(header.sent_ms, turn.now);
        turn.common.counters.ring_differs += u64::from(header.fingerprint != turn.routes.fingerprint());
        let partition = header.partition;
        match message {
            Message::Write { target, hash, key, object, .. } => {
                self.replica.on_write(turn, (from, &header), target, &Key { bytes: key, partition, hash }, object);
            }
            Message::Exchange(question) if question.is_question() => {
                self.exchanges.on_question(turn, (from, &header), &question);
            }
            Message::Repair { hash, key, object } => {
                if header.request != RequestId(0) {
                    turn.common.counters.exchange_objects_received += 1;
                    turn.note_pair((partition, from), |fact| {
                        fact.objects_received += 1;
                        fact.bytes_received += (key.len() + object.len()) as u64;
                    });
                }
                self.replica.on_repair(turn, &Key { bytes: key, partition, hash }, object);
            }
            Message::VersionRead { hash, key } => {
                self.replica.on_version_read(turn, from, &header, &Key { bytes: key, partition, hash });
            }
            Message::ObjectRead { hash, key } => {
                self.replica.on_object_read(turn, from, &header, &Key { bytes: key, partition, hash });
            }
            Message::ForwardPut(put) => self.on_forward_put(turn, from, &header, &put),
            Message::ForwardGet { hash, key, quorum, deadline_ms, own_last } => {
                let key = Key { bytes: key, partition, hash };
                let command = GetCommand { origin: origin(from, &header), key, own_last, quorum, deadline_us: 0 };
                self.on_forward_get(turn, command, deadline_ms);
            }
            reply => self.on_reply(turn, from, &header, &reply),
        }
    }

    /// Something that this core has asked for.
    fn on_reply(&mut self, turn: &mut Turn<'_>, from: NodeId, header: &Header, reply: &Message<'_>) {
        let id = Handle::of_request(header.request)
            .filter(|_| header.session == turn.common.session || mutated(Mutation::StaleReplyAccepted));
        let Some(id) = id else {
            turn.common.counters.late_replies += 1;
            return;
        };
        match (id.kind, *reply) {
            (Kind::Put, Message::WriteReply(outcome)) => self.requests.on_outcome(turn, id, from, outcome),
            (Kind::Handover, Message::WriteReply(outcome)) => self.hints.on_outcome(turn, id, from, outcome),
            (Kind::Put | Kind::Get, Message::VersionReply { is_owner, versions }) => {
                let versions = VersionsView::check(versions).expect("checked with the message");
                self.requests.on_versions(turn, id, from, (is_owner, versions));
            }
            (Kind::Get, Message::ObjectReply { is_owner, object }) => {
                self.requests.on_object(turn, id, from, (is_owner, object));
            }
            (Kind::Exchange, Message::Exchange(answer)) => self.exchanges.on_answer(turn, id, from, &answer),
            (Kind::Forward, Message::ForwardReply(outcome)) => {
                self.requests.on_forward_outcome(turn, id, from, &outcome);
            }
            _ => turn.common.counters.bad_messages += 1,
        }
    }

    /// Another node's client writes, and this node is taken for an owner.
    fn on_forward_put(&mut self, turn: &mut Turn<'_>, from: NodeId, header: &Header, put: &ForwardPut<'_>) {
        let origin = origin(from, header);
        let partition = header.partition;
        // One that was decided on already is not answered a second time: the answers might differ.
        if !self.once.is_new(header.session, put.number) && !mutated(Mutation::ForwardExecutedTwice) {
            turn.common.counters.forwards_dropped += 1;
            return;
        }
        let Some(deadline_us) = self.deadline_us(turn, (origin, partition), put.deadline_ms) else { return };
        let mut context = std::mem::take(&mut self.context);
        if let Some(bytes) = put.context {
            context = ContextView::check(bytes).expect("checked with the message").to_context();
        }
        let write = WriteRef {
            key: Key { bytes: put.key, partition, hash: put.hash },
            value: put.value,
            expires_at_ms: put.expires_at_ms,
            value_dot: put.value_dot,
            context: put.context.map(|_| &context),
            own: put.own_last,
            own_is_alone: put.own_is_alone,
        };
        let command = PutCommand { origin, write, quorum: put.quorum, deadline_us, repetition: Repetition::Forbidden };
        let bytes = put.key.len() + put.value.map_or(0, <[u8]>::len);
        if !self.requests.has_room(turn, bytes) {
            turn.answer_failed((origin, partition), Failure::Busy);
        } else if !Requests::is_put_coordinator(turn, &command) {
            let is_owner = is_owner(turn, partition);
            let why = if is_owner { NotCarriedOut::NotCoordinating } else { NotCarriedOut::NotOwner };
            turn.answer_forward(origin, partition, ForwardOutcome::NotCarriedOut(why));
        } else {
            turn.common.counters.forwarded += 1;
            self.requests.coordinate_put(turn, &command);
        }
        self.context = context;
    }

    /// Another node's client reads, and this node is taken for an owner.
    fn on_forward_get(&mut self, turn: &mut Turn<'_>, mut command: GetCommand<'_>, deadline_ms: u64) {
        let (origin, partition) = (command.origin, command.key.partition);
        let Some(deadline_us) = self.deadline_us(turn, (origin, partition), deadline_ms) else { return };
        command.deadline_us = deadline_us;
        if !self.requests.has_room(turn, 0) {
            turn.answer_failed((origin, partition), Failure::Busy);
        } else if !is_owner(turn, partition) {
            turn.answer_forward(origin, partition, ForwardOutcome::NotCarriedOut(NotCarriedOut::NotOwner));
        } else {
            turn.common.counters.forwarded += 1;
            self.requests.coordinate_get(turn, &command);
        }
    }

    /// A deadline on the hybrid clock as one on this core's steady clock; `None` once it has passed, and the sender is told.
    fn deadline_us(&self, turn: &mut Turn<'_>, (origin, partition): (Origin, u16), deadline_ms: u64) -> Option<u64> {
        let now_ms = turn.common.clock.read(turn.now);
        if mutated(Mutation::ForwardIgnoresDeadline) {
            return Some(turn.now.steady_us + FORWARD_MS_MAX * 1000);
        }
        if deadline_ms <= now_ms {
            turn.common.counters.forwards_dropped += 1;
            turn.answer_forward(origin, partition, ForwardOutcome::NotCarriedOut(NotCarriedOut::Expired));
            return None;
        }
        Some(turn.now.steady_us + (deadline_ms - now_ms).min(FORWARD_MS_MAX) * 1000)
    }
}

fn origin(from: NodeId, header: &Header) -> Origin {
    Origin::Forward { from, session: header.session, request: header.request }
}
