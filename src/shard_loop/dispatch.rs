//! From a client's command to the core that runs it: looks the command up, checks it, and follows its route.

use annulus_engine::{Disk, Key};
use annulus_net::resp::writer;

use super::ShardLoop;
use crate::commands::session::{self, Answer, SessionCommand};
use crate::commands::table::{self, Command, Gather as GatherKind, Route, Row, Service, Unknown, flag};
use crate::commands::{Args, dynamo};
use crate::consistency::Asker;
use crate::control::why_unowned;
use crate::gather::Gather;
use crate::limits;
use crate::mesh::RequestFlags;
use crate::metrics::Metric;
use crate::session::{ReplyMode, Session};
use crate::slot;
use crate::topology;
use crate::waiting::{Parked, ReplyTo};

/// What looking ahead has found out about a command.
#[derive(Clone, Copy, Default)]
pub(super) struct Known<'a> {
    /// Its key, when it has one key that is this core's.
    pub(super) key: Option<&'a Key<'a>>,
    /// The request as it came.
    pub(super) raw: Option<&'a [u8]>,
}

impl<D: Disk> ShardLoop<D> {
    /// Runs or forwards one command of a client.
    pub(super) fn dispatch(&mut self, session: &mut Session, index: u32, args: Args<'_>, known: Known<'_>) {
        session.commands += 1;
        session.last_served = None;
        let row = match table::resolve(args[0], args.get(1).copied()) {
            Ok(row) => row,
            Err(unknown) => {
                self.refuse(session, |out| match unknown {
                    Unknown::Command => table::unknown_command(out, args[0], args[1..].iter().copied()),
                    Unknown::Subcommand(container) => table::unknown_subcommand(out, container, args[1]),
                });
                return self.after_command(session);
            }
        };
        session.last_command = row.name;
        session.last_served = row.command();
        session.has_written |= row.writes();
        if !session.authenticated && !row.has(flag::NO_AUTH) {
            self.refuse(session, |out| writer::error(out, "NOAUTH Authentication required."));
        } else if let Service::Refused(_) = row.service {
            self.refuse(session, |out| table::refused(out, row));
        } else if !row.check_arity(args.len()) {
            self.refuse(session, |out| table::wrong_arity(out, row));
        } else {
            self.route(session, index, row, args, known);
        }
        self.after_command(session);
    }

    fn after_command(&mut self, session: &mut Session) {
        session.reply_mode = match session.reply_mode {
            ReplyMode::SkipNext => ReplyMode::SkipThis,
            ReplyMode::SkipThis => ReplyMode::On,
            mode => mode,
        };
    }

    fn route(&mut self, session: &mut Session, index: u32, row: &'static Row, args: Args<'_>, known: Known<'_>) {
        if !self.replication.has_owners && row.route != Route::Session {
            let text = why_unowned(&self.node);
            return self.refuse(session, |out| writer::error(out, &text));
        }
        match row.route {
            Route::OneKey => match known.key {
                Some(key) => self.run_for_session(session, index, row, key, args),
                None => self.route_key(session, index, row, args, known.raw),
            },
            Route::Protocol => {
                let command = row.command().expect("refused rows were answered");
                session.promised.lower_by_options(dynamo::options(command, args));
                self.route_key(session, index, row, args, known.raw);
            }
            Route::Session => self.answer(session, index, row, args),
            Route::Gather(kind) => self.route_keys(session, index, row, kind, args),
            Route::EveryCore(kind) if !self.replication.is_alone => {
                self.route_wide(session, index, (row, kind), args);
            }
            Route::EveryCore(kind) => {
                let cores = self.covered_cores(session);
                self.route_every_core(session, index, row, kind, cores, args);
            }
            Route::Slot => match slot::parse(args[2]) {
                Ok(slot) => {
                    let partition = slot::partition(slot, self.map.partitions());
                    self.route_slot(session, index, row, partition, args);
                }
                Err(text) => self.refuse(session, |out| writer::error(out, text)),
            },
            Route::Cursor => self.route_cursor(session, index, row, args),
        }
    }

    /// One key: run here, or where the key's partition is.
    fn route_key(&mut self, session: &mut Session, index: u32, row: &'static Row, args: Args<'_>, raw: Option<&[u8]>) {
        let first = usize::from(row.keys.expect("a row on one key says where the key is").first);
        let key = args[first];
        if key.len() > usize::from(u16::MAX) {
            let text = format!("ERR the key has {} bytes; a key has at most {}", key.len(), u16::MAX);
            return self.refuse(session, |out| writer::error(out, &text));
        }
        let slot = slot::of_key(key);
        let partition = slot::partition(slot, self.map.partitions());
        let core = self.map.core_of(partition);
        if core == self.core {
            if row.route == Route::Protocol {
                let to = self.reserve(session, index);
                return self.local.push_back(Parked::new(row, session.reply_as(), to, partition, args));
            }
            let key = self.store.engine().key(key, partition);
            return self.run_for_session(session, index, row, &key, args);
        }
        if session.on_core_port && self.may_advise(session) {
            let view = self.node.view.get();
            if let Some(target) = topology::advice(&view, &self.node, session.local, slot, self.core) {
                session.last_moved_ms = self.now.unix_ms;
                self.counts.add(Metric::CommandErrors, 1);
                return self.reply(session, |out| writer::error(out, &format!("MOVED {slot} {target}")));
            }
        }
        self.counts.add(Metric::CoreForwards, 1);
        let to = self.reserve(session, index);
        let head = request_head(session, partition);
        match raw {
            Some(raw) => {
                self.counts.add(Metric::MeshSent, 1);
                self.mesh.requests_to(core).push_request(to.token(), head, |out| out.extend_from_slice(raw));
            }
            None => self.send_request(core, to, head, args),
        }
    }

    /// Whether a client may be told again that it would do better elsewhere.
    fn may_advise(&self, session: &Session) -> bool {
        self.node.announces_cores() && self.now.unix_ms.saturating_sub(session.last_moved_ms) >= 1000
    }

    /// Runs or forwards a command to the core of a partition that its arguments named.
    pub(super) fn route_to(
        &mut self,
        session: &mut Session,
        index: u32,
        row: &'static Row,
        partition: u16,
        args: Args<'_>,
    ) {
        let core = self.map.core_of(partition);
        if core == self.core {
            let to = self.reserve(session, index);
            self.local.push_back(Parked::new(row, session.reply_as(), to, partition, args));
        } else {
            let to = self.reserve(session, index);
            self.send_request(core, to, request_head(session, partition), args);
        }
    }

    /// Sends a command to another core.
    pub(super) fn send_request(&mut self, core: u16, to: ReplyTo, head: (RequestFlags, Asker), args: Args<'_>) {
        self.counts.add(Metric::MeshSent, 1);
        self.mesh.requests_to(core).push_request(to.token(), head, |out| {
            writer::array_header(out, args.len());
            args.iter().for_each(|arg| writer::bulk(out, arg));
        });
    }

    /// Several keys: a part of one key each, so that every part is a command that its core can run alone.
    fn route_keys(&mut self, session: &mut Session, index: u32, row: &'static Row, kind: GatherKind, args: Args<'_>) {
        let keys = row.keys.expect("a row on several keys says where they are");
        let step = usize::from(keys.step);
        if !(args.len() - usize::from(keys.first)).is_multiple_of(step) {
            return self.refuse(session, |out| table::wrong_arity(out, row));
        }
        let positions = row.key_positions(args.len());
        let parts = positions.len();
        if parts > limits::GATHER_PARTS_MAX {
            let text = format!("ERR {parts} keys in one command; at most {} are taken", limits::GATHER_PARTS_MAX);
            return self.refuse(session, |out| writer::error(out, &text));
        }
        if let Some(key) = positions.clone().map(|at| args[at]).find(|key| key.len() > usize::from(u16::MAX)) {
            let text = format!("ERR a key has {} bytes; a key has at most {}", key.len(), u16::MAX);
            return self.refuse(session, |out| writer::error(out, &text));
        }
        let part_row = one_key_row(row);
        // Attributes belong to whole replies.
        let (protocol, mut asker) = session.reply_as();
        asker.consistency.attributes = false;
        let to = self.reserve(session, index);
        let gather = self.gathers.insert(Gather::new(kind, to, session.protocol, parts, 0));
        let mut is_forwarded = false;
        for (part, at) in positions.enumerate() {
            let part_args: smallvec::SmallVec<[&[u8]; 4]> =
                std::iter::once(part_row.name.as_bytes()).chain(args[at..at + step].iter().copied()).collect();
            let partition = slot::partition(slot::of_key(args[at]), self.map.partitions());
            let part = u32::try_from(part).expect("parts are bounded");
            let to = ReplyTo::Gather { gather, part };
            let core = self.map.core_of(partition);
            if core == self.core {
                self.local.push_back(Parked::new(part_row, (protocol, asker), to, partition, &part_args));
            } else {
                is_forwarded = true;
                self.send_request(core, to, (RequestFlags::new(protocol, partition), asker), &part_args);
            }
        }
        self.counts.add(Metric::CoreForwards, u64::from(is_forwarded));
    }

    /// The cores whose keys a client sees as one database: all, or on a core's own port that core's, because cluster clients
    /// ask every endpoint and add up.
    pub(super) fn covered_cores(&self, session: &Session) -> std::ops::Range<u16> {
        if session.on_core_port && self.node.announces_cores() { self.core..self.core + 1 } else { 0..self.map.cores() }
    }

    /// Every core: each runs its part of the command. Gives the number of the gather, which no part has reached yet.
    pub(super) fn route_every_core(
        &mut self,
        session: &mut Session,
        index: u32,
        row: &'static Row,
        kind: GatherKind,
        cores: std::ops::Range<u16>,
        args: Args<'_>,
    ) -> u32 {
        let to = self.reserve(session, index);
        let random = self.next_random();
        let gather = self.gathers.insert(Gather::new(kind, to, session.protocol, cores.len(), random));
        for (part, core) in cores.into_iter().enumerate() {
            let to = ReplyTo::Gather { gather, part: u32::try_from(part).expect("cores are few") };
            if core == self.core {
                self.local.push_back(Parked::new(row, session.reply_as(), to, 0, args));
            } else {
                self.send_request(core, to, request_head(session, 0), args);
            }
        }
        gather
    }

    /// A command about the connection or the node.
    fn answer(&mut self, session: &mut Session, index: u32, row: &'static Row, args: Args<'_>) {
        let command = row.command().expect("refused rows were answered");
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        if command == Command::Info {
            self.publish_metrics();
        }
        let muted_before = is_muted(session);
        let mut context = SessionCommand {
            node: &self.node,
            core: self.core,
            runtime: &self.runtime,
            session,
            now_ms: self.now.unix_ms,
            out: &mut out,
        };
        match session::run(command, &mut context, args) {
            Answer::Done => self.reply_bytes(session, &out, muted_before),
            Answer::Close => {
                self.reply_bytes(session, &out, muted_before);
                session.closing = true;
            }
            Answer::EveryCore(kind) => {
                let gather = self.route_every_core(session, index, row, kind, 0..self.map.cores(), args);
                self.gathers.get_mut(gather).put_before(&out);
            }
            Answer::EveryCoreWith(kind, args) => {
                let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                self.route_every_core(session, index, row, kind, 0..self.map.cores(), &args);
            }
            Answer::ThisCore => {
                let to = self.reserve(session, index);
                self.local.push_back(Parked::new(row, session.reply_as(), to, 0, args));
            }
            Answer::Operate(node, change) => self.begin_operation(session, index, node, change),
            Answer::Shutdown => {
                tracing::info!(client = session.id, peer = %session.peer, "SHUTDOWN was asked for");
                self.outbox.shutdown = true;
            }
        }
        self.time_command(command, args);
        self.scratch = out;
    }

    fn reply_bytes(&mut self, session: &mut Session, reply: &[u8], muted_before: bool) {
        // CLIENT REPLY ON is answered, OFF and SKIP are not: what counts is the mode after the command, or before it.
        if !(is_muted(session) || muted_before && session.reply_mode != ReplyMode::On) {
            if reply.first() == Some(&b'-') {
                self.counts.add(Metric::CommandErrors, 1);
                if let Some(command) = session.last_served {
                    self.latency.record_failure(command, reply);
                }
            }
            session.replies.push(reply);
        }
    }

    /// Answers at once, in order.
    fn reply(&mut self, session: &mut Session, write: impl FnOnce(&mut Vec<u8>)) {
        if is_muted(session) {
            return;
        }
        if let Some(out) = session.replies.direct() {
            return write(out);
        }
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        write(&mut out);
        session.replies.push(&out);
        self.scratch = out;
    }

    /// Answers with an error that kept a command from running.
    pub(super) fn refuse(&mut self, session: &mut Session, write: impl FnOnce(&mut Vec<u8>)) {
        self.counts.add(Metric::CommandErrors, 1);
        let mut error = Vec::new();
        write(&mut error);
        self.latency.record_rejection(session.last_served, &error);
        self.reply(session, |out| out.extend_from_slice(&error));
    }

    /// Where a reply of this session that comes later goes.
    pub(super) fn reserve(&mut self, session: &mut Session, index: u32) -> ReplyTo {
        if is_muted(session) {
            return ReplyTo::Nobody;
        }
        ReplyTo::Session { session: index, slot: session.replies.reserve() }
    }
}

/// What goes before a client's command to another core.
pub(super) fn request_head(session: &Session, partition: u16) -> (RequestFlags, Asker) {
    (RequestFlags::new(session.protocol, partition), session.asker())
}

/// The command that runs one part of a command on several keys.
fn one_key_row(row: &'static Row) -> &'static Row {
    let name: &[u8] = match row.command() {
        Some(Command::MGet) => b"get",
        Some(Command::MSet) => b"set",
        _ => return row,
    };
    table::lookup(name).expect("the table has GET and SET")
}

/// True when the current command is not to be answered.
pub(super) fn is_muted(session: &Session) -> bool {
    matches!(session.reply_mode, ReplyMode::Off | ReplyMode::SkipThis | ReplyMode::SkipNext)
}
