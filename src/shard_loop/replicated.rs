//! Data commands in a cluster, on the core of this node that has the key's partition: what R owners have is read, what is
//! written goes to W nodes.
//!
//! A command is one function, run as often as it takes: first without having looked; if it has to, the protocol reads its key,
//! and it runs again with what was found. What it then writes is handed to the protocol, and its reply is held until enough
//! nodes have it.
//!
//! Invariant: every command here is answered once; while one that writes reads its key, no other command of this core runs on
//! that key.

use annulus_cluster::effect::{Answer, Effects, Failure, Reach};
use annulus_cluster::event::{self, Event, Get, Put, Quorum};
use annulus_cluster::ids::ClientToken;
use annulus_engine::{Disk, Key};
use annulus_net::resp::writer;
use annulus_object::{Dot, ObjectView};

use super::ShardLoop;
use super::execute::Request;
use super::replication::answer_bytes;
use crate::commands::data::{Data, Intended, Outcome, ReplicatedKeys};
use crate::commands::dynamo::{Circumstances, Parsed, Wanted};
use crate::commands::table::Command;
use crate::commands::{self, dynamo, failures};
use crate::consistency::{Asker, Bounds};
use crate::logging::panics;
use crate::metrics::Metric;
use crate::own_writes::OwnWrites;
use crate::replies::ReplyBytes;
use crate::session::Session;
use crate::slab::Slab;
use crate::waiting::{Parked, ReplyTo};

/// How far a command is.
enum Stage {
    /// Its key is read, and then it runs again; with `holds` no other command writes the key meanwhile.
    Asked { parked: Parked, holds: bool },
    /// Its write is on its way; this is the reply, which an attribute with the key's context may go before.
    Sent { reply: ReplyBytes, with_context: bool },
    /// DYN.GET.
    Reading,
    /// DYN.PUT, DYN.DEL: answered with the key's context.
    Writing,
}

/// How a run of a command has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Its reply is there, and may leave.
    Complete,
    /// The protocol has to do something first.
    Waits,
}

/// A command that the protocol is at work on.
struct Underway {
    to: ReplyTo,
    client: u64,
    hash: u128,
    stage: Stage,
}

/// All of them.
pub(super) struct Replicated {
    commands: Slab<Underway>,
    commands_max: usize,
    own_writes: OwnWrites,
}

impl Replicated {
    pub(super) fn new(commands_max: usize) -> Self {
        Self { commands: Slab::default(), commands_max, own_writes: OwnWrites::default() }
    }

    /// Whether one more may be begun.
    pub(super) fn has_room(&self) -> bool {
        self.commands.len() < self.commands_max
    }

    fn insert(&mut self, underway: Underway) -> ClientToken {
        ClientToken(u64::from(self.commands.insert(underway)))
    }
}

impl<D: Disk> ShardLoop<D> {
    /// Runs a command; `object` is what was read for it, `None` the first time. Not to be called while its client's session
    /// is taken out.
    pub(super) fn run_replicated(&mut self, request: &Request<'_>, key: &Key<'_>, object: Option<&[u8]>, to: ReplyTo) {
        let mut reply = std::mem::take(&mut self.scratch);
        reply.clear();
        if self.step(request, key, (object, to), &mut reply) == Step::Complete {
            self.deliver(to, &reply);
        }
        self.scratch = reply;
    }

    /// Runs a command of a client whose session is taken out for the first time.
    pub(super) fn run_replicated_for_session(
        &mut self,
        (session, index): (&mut Session, u32),
        request: &Request<'_>,
        key: &Key<'_>,
    ) {
        let to = self.reserve(session, index);
        let mut reply = std::mem::take(&mut self.scratch);
        reply.clear();
        let step = self.step(request, key, (None, to), &mut reply);
        if let (Step::Complete, ReplyTo::Session { slot, .. }) = (step, to) {
            self.counts.add(Metric::CommandErrors, u64::from(reply.first() == Some(&b'-')));
            session.replies.fill(slot, &reply);
        }
        self.scratch = reply;
    }

    /// One run of a command, whose reply goes into `reply`.
    fn step(
        &mut self,
        request: &Request<'_>,
        key: &Key<'_>,
        (object, to): (Option<&[u8]>, ReplyTo),
        reply: &mut Vec<u8>,
    ) -> Step {
        let command = request.row.command().expect("refused rows never get here");
        panics::enter_command(request.row.name);
        let has_one_copy = self.replication.is_alone || self.replication.view.wanted == 1;
        let may_swap = has_one_copy || self.runtime.relaxed_commands;
        let mut data = Data {
            keys: ReplicatedKeys::new(object, may_swap),
            now_ms: self.now.unix_ms,
            protocol: request.protocol,
            hits: &mut self.hits,
            misses: &mut self.misses,
            out: reply,
        };
        let outcome = commands::run(command, &mut data, key, request.args);
        let intended = data.keys.write;
        if reply.first() == Some(&b'-') {
            self.latency.record_failure(command, reply);
        }
        match outcome {
            Outcome::Done(None) => {
                self.time_command(command, request.args);
                if let Some(object) = object.filter(|_| command == Command::Get && request.carries_context()) {
                    let value = reply.split_off(0);
                    dynamo::write_found_attribute(reply, object, key.hash);
                    reply.extend_from_slice(&value);
                }
                Step::Complete
            }
            Outcome::Ask => {
                self.start_timing();
                self.ask_owners(request, key, to);
                Step::Waits
            }
            Outcome::Sent => {
                self.time_command(command, request.args);
                let intended = intended.expect("a command that has sent a write intended it");
                self.write_to_owners(request, key, (intended, object), (to, reply));
                Step::Waits
            }
            Outcome::Done(Some(_)) | Outcome::Read(_) | Outcome::Stall | Outcome::Snapshot => {
                unreachable!("a command over the protocol touches no engine")
            }
        }
    }

    /// Has a command's key read.
    fn ask_owners(&mut self, request: &Request<'_>, key: &Key<'_>, to: ReplyTo) {
        let holds = request.row.writes();
        if holds {
            self.busy_keys.hold(key.hash);
        }
        let client = request.asker.client;
        let stage = Stage::Asked { parked: request.park(to), holds };
        let token = self.replication.commands.insert(Underway { to, client, hash: key.hash, stage });
        let get = Get {
            client: token,
            key: event_key(key),
            own_last: self.own_last(client, key.hash).map(|(dot, _)| dot),
            quorum: self.quorum(request.asker),
            deadline_us: self.deadline_us(),
        };
        self.tell(Event::Get(get));
    }

    /// Has a command's write kept by W nodes; `object` is what it replaces, if it has looked.
    fn write_to_owners(
        &mut self,
        request: &Request<'_>,
        key: &Key<'_>,
        (intended, object): (Intended<'_>, Option<&[u8]>),
        (to, reply): (ReplyTo, &[u8]),
    ) {
        let client = request.asker.client;
        let seen = object.filter(|_| intended.has_read);
        // Of a key that nobody has there is nothing to replace, and still it was looked at.
        let context = seen.map(|object| match object {
            [] => annulus_object::Context::default(),
            object => ObjectView::checked_before(object).context().to_context(),
        });
        // What was read includes what this connection has written before.
        let own = if context.is_some() { None } else { self.own_last(client, key.hash) };
        let with_context = request.carries_context();
        let stage = Stage::Sent { reply: ReplyBytes::from_slice(reply), with_context };
        let token = self.replication.commands.insert(Underway { to, client, hash: key.hash, stage });
        let put = Put {
            client: token,
            key: event_key(key),
            value: intended.value,
            expires_at_ms: intended.expires_at_ms,
            value_dot: intended.value_dot,
            context: context.as_ref(),
            own_last: own.map(|(dot, _)| dot),
            own_is_alone: own.is_some_and(|(_, is_alone)| is_alone),
            is_repeatable: false,
            quorum: self.quorum(request.asker),
            deadline_us: self.deadline_us(),
        };
        self.tell(Event::Put(put));
    }

    fn own_last(&self, client: u64, hash: u128) -> Option<(Dot, bool)> {
        self.replication.commands.own_writes.get(client, hash)
    }

    fn quorum(&self, asker: Asker) -> Quorum {
        asker.consistency.quorum(&self.node.config.quorums, self.replication.view.copies)
    }

    fn deadline_us(&self) -> u64 {
        self.now.steady_ns / 1000
            + u64::try_from(self.node.config.quorums.deadline.as_micros()).expect("checked: seconds")
    }

    /// The protocol has an answer to a command.
    pub(super) fn on_answer(&mut self, client: ClientToken, answer: &Answer, effects: &Effects) {
        let number = u32::try_from(client.0).expect("a command's name is its number");
        let Underway { to, client, hash, stage } = self.replication.commands.commands.remove(number);
        match (stage, answer) {
            // Fewer than R have told: that is no answer to whoever asked for R.
            (Stage::Asked { parked, holds }, Answer::Found { reach: Reach::Fewer, .. }) => {
                self.go_on(&parked, holds.then_some(hash), Err(Failure::ReadTimeout));
            }
            (Stage::Reading, Answer::Found { reach: Reach::Fewer, .. }) => {
                self.fail_replicated(Failure::ReadTimeout, to);
            }
            (Stage::Asked { parked, holds }, Answer::Found { .. }) => {
                self.go_on(&parked, holds.then_some(hash), Ok(answer_bytes(answer, effects)));
            }
            (Stage::Asked { parked, holds }, Answer::Failed(failure)) => {
                self.go_on(&parked, holds.then_some(hash), Err(*failure));
            }
            (Stage::Reading, Answer::Found { .. }) => {
                let mut reply = Vec::new();
                dynamo::write_found(&mut reply, answer_bytes(answer, effects), hash, self.now.unix_ms);
                self.deliver(to, &reply);
            }
            (stage @ (Stage::Sent { .. } | Stage::Writing), Answer::Written { dot, is_alone, .. }) => {
                self.replication.commands.own_writes.insert(client, hash, *dot, *is_alone);
                let written = (*dot, *is_alone, answer_bytes(answer, effects));
                self.answer_written(&stage, written, hash, to);
            }
            (_, Answer::Failed(failure)) => self.fail_replicated(*failure, to),
            (_, Answer::Written { .. } | Answer::Found { .. }) => {
                unreachable!("reads are answered with objects, writes with dots")
            }
        }
    }

    /// A command's key was read, or could not be: it runs again, and those that waited for the key behind it.
    fn go_on(&mut self, parked: &Parked, held: Option<u128>, object: Result<&[u8], Failure>) {
        self.start_timing();
        let waiting = held.map(|hash| self.busy_keys.release(hash));
        // What has stalled meanwhile came later than those that wait for this key.
        let mut later = std::mem::take(&mut self.stalled);
        match object {
            Ok(object) => {
                let args = parked.arguments();
                let request = Request::of(parked, &args);
                let first = usize::from(parked.row.keys.expect("a data command has a key").first);
                let key = self.store.engine().key(args[first], parked.partition);
                self.run_replicated(&request, &key, Some(object), parked.to);
            }
            Err(failure) => self.fail_replicated(failure, parked.to),
        }
        for next in waiting.into_iter().flatten() {
            self.run_parked(&next);
        }
        self.stalled.append(&mut later);
    }

    fn answer_written(&mut self, stage: &Stage, written: (Dot, bool, &[u8]), hash: u128, to: ReplyTo) {
        let mut reply = Vec::new();
        match stage {
            Stage::Sent { reply, with_context: false } => return self.deliver(to, reply),
            Stage::Sent { reply: rest, with_context: true } => {
                dynamo::write_written_attribute(&mut reply, written, hash);
                reply.extend_from_slice(rest);
            }
            _ => dynamo::write_written(&mut reply, written, hash),
        }
        self.deliver(to, &reply);
    }

    /// Runs DYN.GET, DYN.PUT or DYN.DEL.
    pub(super) fn run_dynamo(&mut self, request: &Request<'_>, to: ReplyTo) {
        let command = request.row.command().expect("refused rows never get here");
        panics::enter_command(request.row.name);
        let key = self.store.engine().key(request.args[1], request.partition);
        if self.must_wait(&key) {
            return self.wait_for_key(&key, request.park(to));
        }
        let circumstances = Circumstances {
            hash: key.hash,
            now_ms: self.now.unix_ms,
            consistency: request.asker.consistency,
            bounds: Bounds::of(&self.node.config),
        };
        match dynamo::parse(command, request.args, circumstances) {
            Ok(parsed) => self.ask_protocol(request, &key, &parsed, to),
            Err(text) => {
                let mut reply = Vec::new();
                writer::error(&mut reply, &text);
                self.latency.record_failure(command, &reply);
                self.deliver(to, &reply);
            }
        }
        self.time_command(command, request.args);
    }

    fn ask_protocol(&mut self, request: &Request<'_>, key: &Key<'_>, parsed: &Parsed<'_>, to: ReplyTo) {
        let client = request.asker.client;
        let own = self.own_last(client, key.hash);
        let quorum = self.quorum(Asker { client, consistency: parsed.consistency });
        let (key, deadline_us) = (event_key(key), self.deadline_us());
        match &parsed.wanted {
            Wanted::Read => {
                let underway = Underway { to, client, hash: key.hash, stage: Stage::Reading };
                let client = self.replication.commands.insert(underway);
                let own_last = own.map(|(dot, _)| dot);
                self.tell(Event::Get(Get { client, key, own_last, quorum, deadline_us }));
            }
            Wanted::Write { value, expires_at_ms, seen, is_repeatable } => {
                let underway = Underway { to, client, hash: key.hash, stage: Stage::Writing };
                let client = self.replication.commands.insert(underway);
                // With a context only what came with it was seen.
                let (own_last, own_is_alone) = match seen {
                    Some(token) => (token.own, false),
                    None => (own.map(|(dot, _)| dot), own.is_some_and(|(_, is_alone)| is_alone)),
                };
                let context = seen.as_ref().map(|token| &token.context);
                let put = Put {
                    client,
                    key,
                    value: *value,
                    expires_at_ms: *expires_at_ms,
                    value_dot: None,
                    context,
                    own_last,
                    own_is_alone,
                    is_repeatable: *is_repeatable,
                    quorum,
                    deadline_us,
                };
                self.tell(Event::Put(put));
            }
        }
    }

    fn fail_replicated(&mut self, failure: Failure, to: ReplyTo) {
        let mut reply = Vec::new();
        failures::write(&mut reply, failure);
        self.deliver(to, &reply);
    }
}

fn event_key<'a>(key: &Key<'a>) -> event::Key<'a> {
    event::Key { bytes: key.bytes, partition: key.partition, hash: key.hash }
}
