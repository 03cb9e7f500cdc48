//! Clients in the world: what they ask, what they are told, and how they find out that nobody will tell them.
//!
//! Invariant: an operation is under way for at most one client, which waits for it and nothing else.

use std::rc::Rc;

use annulus_cluster::effect::Failure;
use annulus_cluster::event::{Event, Get, Key, Put};
use annulus_cluster::ids::ClientToken;
use annulus_cluster::mutation::{Mutation, mutated};
use annulus_engine::keyed_hash;
use annulus_object::{Context, Dot, Object};

use super::machine::State;
use super::{HASH_KEY, Happening, World};
use crate::checkers::{Promise, Told, Violation, answers};
use crate::clock::{Instant, MILLISECOND};
use crate::model::{Kind, Op, OpId, Outcome, expires_at_ms, op_of_value};
use crate::node::{Disk, Protocol};
use crate::shape::{Resolution, Work};
use crate::store::core_of;
use crate::watched::Watched;
use crate::workload::{Held, Own, Wanted};

/// What a client is given.
#[derive(Debug)]
pub(super) enum Answered {
    /// Its write, and what it may say that it has seen.
    Written { dot: Dot, is_alone: bool, context: Context },
    /// What was read.
    Found(Object),
    /// Nothing.
    Failed,
}

impl<D: Disk, P: Protocol<Watched<D::Core>>> World<D, P> {
    pub(super) fn add_keys(&mut self) {
        for index in 0..self.shape.hot_keys + self.shape.cold_keys {
            let bytes = if index < self.shape.hot_keys { format!("hot{index}") } else { format!("key{index}") };
            let hash = keyed_hash(&HASH_KEY, bytes.as_bytes());
            let partition = u16::try_from(hash % u128::from(self.shape.partitions)).expect("below 2^16");
            self.checkers.model.add_key(bytes.into_bytes(), partition, hash);
        }
    }

    /// A client goes on: it begins its next operation.
    pub(super) fn on_wake(&mut self, client: usize) {
        if self.is_healing || self.clients[client].waits_for.is_some() || self.clients[client].is_done(&self.shape) {
            return;
        }
        let wanted = self.clients[client].choose(&self.shape);
        let node = self.clients[client].node;
        let op = self.begin_op(client, node, wanted);
        self.clients[client].waits_for = Some(op);
    }

    /// Sends an operation on its way.
    pub(super) fn begin_op(&mut self, client: usize, node: usize, wanted: Wanted) -> OpId {
        let id = self.checkers.model.next_op();
        let mut value = id.to_le_bytes().to_vec();
        value.extend_from_slice(&wanted.content);
        if wanted.kind != Kind::Put {
            value.clear();
        }
        self.tell_op(client, node, id, &wanted);
        let is_repeatable = wanted.context.is_some() && (wanted.kind == Kind::Delete || id.is_multiple_of(2));
        let (context, meaning) = wanted.context.map(|held| (held.context, held.seen)).unzip();
        let op = Op {
            client,
            key: wanted.key,
            kind: wanted.kind,
            value,
            context: meaning,
            own_last: wanted.own_last.map(|own| own.write),
            own_is_alone: wanted.own_last.is_some_and(|own| own.is_alone),
            is_repeatable,
            quorum: wanted.quorum,
            invoked: self.now,
            due: None,
            node,
            outcome: Outcome::Open,
            answers: 0,
            writes: Vec::new(),
        };
        self.tally.ops += 1;
        let id = self.checkers.model.invoke(op);
        self.requests.insert(id, (context, wanted.own_last));
        let arrives = self.now + 50 + self.turns.waiting(100);
        self.agenda.add(arrives, Happening::Request { op: id });
        let patience = self.shape.deadline * 5 / 4 + answers::GRACE + 20 * MILLISECOND;
        self.agenda.add(arrives + patience, Happening::Overdue { client, op: id });
        id
    }

    fn tell_op(&mut self, client: usize, node: usize, id: OpId, wanted: &Wanted) {
        self.trace.note(9, u64::from(id) << 32 | u64::from(wanted.key));
        if !self.trace.tells() {
            return;
        }
        let model = &self.checkers.model;
        let name = model.key_name(wanted.key);
        let with = match &wanted.context {
            None if wanted.kind == Kind::Get => String::new(),
            None => ", blind".to_owned(),
            Some(held) => format!(", having seen {}", model.names(wanted.key, held.seen.must.iter())),
        };
        let own = wanted.own_last.map(|own| model.name(wanted.key, own.write));
        let own = own.map(|own| format!(", wrote {own} last")).unwrap_or_default();
        let quorum = wanted.quorum;
        let (kind, counts) = match wanted.kind {
            Kind::Get => ("GET", format!("R={} PR={}", quorum.r, quorum.pr)),
            Kind::Put => ("PUT", format!("W={} PW={}", quorum.w, quorum.pw)),
            Kind::Delete => ("DEL", format!("W={} PW={}", quorum.w, quorum.pw)),
        };
        let text = format!("c{client} → n{node}  #{id} {kind} {name} {counts}{with}{own}");
        self.tell(Some(wanted.key), || text);
    }

    /// A request reaches its node.
    pub(super) fn on_request(&mut self, id: OpId) -> Result<(), Violation> {
        let op = self.checkers.model.op(id);
        let (node, client) = (op.node, op.client);
        let machine = &self.machines[node];
        if machine.paused_until > self.now {
            self.agenda.add(machine.paused_until, Happening::Request { op: id });
            return Ok(());
        }
        let (context, own) = self.requests.remove(&id).expect("a request arrives once");
        let (own_last, own_is_alone) = (own.map(|own| own.dot), own.is_some_and(|own| own.is_alone));
        if machine.state != State::Up {
            // Nobody listens: it was surely not executed.
            self.on_lost(client, id);
            return Ok(());
        }
        self.checkers.model.op_mut(id).due = Some(self.now + self.shape.deadline);
        let op = self.checkers.model.op(id);
        let key = self.checkers.model.key(op.key);
        let (bytes, value) = (key.bytes.clone(), op.value.clone());
        let known = Key { bytes: &bytes, partition: key.partition, hash: key.hash };
        let now = machine.clock.read(self.now);
        let deadline_us = now.steady_us + self.shape.deadline;
        let (client, quorum, is_repeatable) = (ClientToken(id.into()), op.quorum, op.is_repeatable);
        let cores = machine.cores.len();
        let own = usize::from(core_of(key.partition, self.ring.partitions(), cores as u16));
        let core = if mutated(Mutation::AnyCoreStamps) { id as usize % cores } else { own };
        let value = (op.kind == Kind::Put).then_some(value.as_slice());
        let event = if op.kind == Kind::Get {
            Event::Get(Get { client, key: known, own_last, quorum, deadline_us })
        } else {
            let context = context.as_ref();
            let (own_last, own_is_alone) = (own_last, own_is_alone);
            Event::Put(Put {
                client,
                key: known,
                value,
                expires_at_ms: expires_at_ms(op.kind, id),
                value_dot: None,
                context,
                own_last,
                own_is_alone,
                is_repeatable,
                quorum,
                deadline_us,
            })
        };
        self.drive((node, core), event, Some(id))
    }

    pub(super) fn answer_written(
        &mut self,
        node: usize,
        op: OpId,
        (dot, is_alone): (Dot, bool),
        context: Context,
    ) -> Result<(), Violation> {
        let key = self.checkers.model.op(op).key;
        let owners = self.ring.owner_bits(self.checkers.model.key(key).partition);
        self.checkers.on_answer(node, self.now, op, Told::Written { dot, owners })?;
        self.tally.acknowledged += 1;
        self.tell(Some(key), || format!("n{node} acknowledges #{op} as {dot:?}"));
        self.reply(op, Answered::Written { dot, is_alone, context });
        Ok(())
    }

    pub(super) fn answer_found(
        &mut self,
        node: usize,
        op: OpId,
        object: Object,
        is_stale_possible: bool,
    ) -> Result<(), Violation> {
        self.checkers.on_answer(node, self.now, op, Told::Found { object: &object, is_stale_possible })?;
        self.tally.stale_possible += u64::from(is_stale_possible);
        self.tally.read += 1;
        self.tally.conflicts += u64::from(object.siblings().len() > 1);
        self.tally.siblings_max = self.tally.siblings_max.max(object.siblings().len() as u64);
        if self.trace.tells() {
            let key = self.checkers.model.op(op).key;
            let dots = object.siblings().iter().map(|sibling| sibling.dot);
            let live: Vec<u32> = self.checkers.model.key(key).known(dots).collect();
            let names = self.checkers.model.names(key, live);
            self.tell(Some(key), || format!("n{node} answers #{op} with {names}"));
        }
        self.reply(op, Answered::Found(object));
        Ok(())
    }

    pub(super) fn answer_failed(&mut self, node: usize, op: OpId, failure: Failure) -> Result<(), Violation> {
        self.checkers.on_answer(node, self.now, op, Told::Failed(failure))?;
        self.tally.count_failure(failure);
        let key = self.checkers.model.op(op).key;
        self.tell(Some(key), || format!("n{node} fails #{op}: {failure}"));
        self.reply(op, Answered::Failed);
        Ok(())
    }

    fn reply(&mut self, op: OpId, answered: Answered) {
        let client = self.checkers.model.op(op).client;
        let arrives = self.now + 50 + self.turns.waiting(100);
        self.agenda.add(arrives, Happening::Answer { client, op, answered: Box::new(answered) });
    }

    /// An answer reaches its client.
    pub(super) fn on_answered(&mut self, client: usize, op: OpId, answered: Answered) {
        if client >= self.clients.len() {
            return self.on_swept(op, &answered);
        }
        if self.clients[client].waits_for != Some(op) {
            return;
        }
        self.clients[client].waits_for = None;
        let (key, kind) = (self.checkers.model.op(op).key, self.checkers.model.op(op).kind);
        let model = &self.checkers.model;
        match answered {
            Answered::Written { dot, is_alone, context } => {
                let write = model.key(key).find(dot).expect("what was acknowledged is known");
                let seen = model.seen_after(op, (write, is_alone), &context);
                let own = Own { write, dot, is_alone };
                let held = Held { context, seen: Rc::new(seen), own: (!is_alone).then_some(own) };
                self.clients[client].wrote(key, own);
                if self.shape.work == Work::Mixed {
                    self.clients[client].learn(key, held, Vec::new());
                }
            }
            Answered::Found(object) => {
                let seen = Rc::new(model.seen_in(key, &object));
                let held = Held { context: object.context().clone(), seen, own: None };
                self.clients[client].learn(key, held, elements(&object, self.shape.work));
            }
            Answered::Failed => self.client_failed(client, op, kind),
        }
        self.wake_later(client);
    }

    fn client_failed(&mut self, client: usize, op: OpId, kind: Kind) {
        let known = self.checkers.model.op(op);
        let content = known.value.get(4..).unwrap_or_default().to_vec();
        self.clients[client].failed(known.key, kind, content, self.shape.work);
    }

    fn wake_later(&mut self, client: usize) {
        let pause = self.clients[client].pause(&self.shape);
        self.agenda.add(self.now + pause, Happening::Wake { client });
    }

    /// The connection of a client is gone: it goes elsewhere.
    pub(super) fn on_lost(&mut self, client: usize, op: OpId) {
        let known = self.checkers.model.op_mut(op);
        if known.outcome == Outcome::Open {
            known.outcome = Outcome::Unknown;
            self.tally.unknown += 1;
        }
        let (key, kind) = (known.key, known.kind);
        self.tell(Some(key), || format!("c{client} does not learn what became of #{op}"));
        if client >= self.clients.len() || self.clients[client].waits_for != Some(op) {
            return;
        }
        self.clients[client].waits_for = None;
        self.client_failed(client, op, kind);
        self.clients[client].reconnect(self.shape.nodes);
        self.wake_later(client);
    }

    /// A client has waited for longer than an answer may take.
    pub(super) fn on_overdue(&mut self, client: usize, op: OpId) -> Result<(), Violation> {
        let known = self.checkers.model.op(op);
        if known.outcome != Outcome::Open {
            return Ok(());
        }
        let (node, waited) = (known.node, self.now - known.invoked);
        let machine = &self.machines[node];
        if machine.state == State::Up && machine.undisturbed_since <= known.invoked {
            let compared = answers::check_silence(&self.checkers.model, op, waited, self.shape.deadline)?;
            self.checkers.compared.add(Promise::Answers, compared);
        }
        self.on_lost(client, op);
        Ok(())
    }

    /// All connections to a node break.
    pub(super) fn break_connections(&mut self, node: usize) {
        let waiting = self.clients.iter().enumerate().filter_map(|(client, it)| Some((client, it.waits_for?)));
        let lost: Vec<(usize, OpId)> = waiting.filter(|(_, op)| self.checkers.model.op(*op).node == node).collect();
        for (client, op) in lost {
            let at: Instant = self.now + 100 + self.turns.waiting(500);
            self.agenda.add(at, Happening::Lost { client, op });
        }
    }
}

/// The elements of a set, as its readers take them from its siblings.
pub(super) fn elements(object: &Object, work: Work) -> Vec<OpId> {
    let siblings = match work {
        Work::Set { resolution: Resolution::Newest, .. } => object.newest().map(std::slice::from_ref),
        _ => Some(object.siblings()),
    };
    let values = siblings.unwrap_or_default().iter().filter_map(|sibling| sibling.value.as_deref());
    let mut all: Vec<OpId> = values.flat_map(|value| value.chunks_exact(4).filter_map(op_of_value)).collect();
    all.sort_unstable();
    all.dedup();
    all
}
