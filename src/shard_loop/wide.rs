//! Commands on all keys in a cluster: each partition is told of by the core that covers it.
//!
//! On the base port every core of the cluster that covers something is asked for its part. SCAN goes from core to core, in the
//! order of the partitions ([`BaseScan`]). On a core's port it is that core's part alone.
//!
//! Invariant: a walk has one step under way, and ends with it or goes on.

use std::sync::Arc;

use annulus_engine::Disk;
use annulus_net::resp::{Protocol, writer};

use super::ShardLoop;
use super::dispatch::request_head;
use super::remote::BUSY;
use crate::commands::server::NO_FLUSH;
use crate::commands::table::{Command, Gather as GatherKind, Row};
use crate::commands::{Args, scan_options};
use crate::consistency::Asker;
use crate::coverage::{BaseScan, Coverage, Position, ScanStep};
use crate::gather::Gather;
use crate::limits;
use crate::mesh::RequestFlags;
use crate::remote::{self, Expected};
use crate::session::Session;
use crate::waiting::{Parked, ReplyTo};

/// Whether a command deletes all keys.
fn is_flush(row: &Row) -> bool {
    matches!(row.command(), Some(Command::FlushAll | Command::FlushDb))
}

/// A SCAN on the base port, of which a step is under way.
pub(super) struct Walk {
    scan: BaseScan,
    /// As it was when the walk began: the next command goes by the new one.
    coverage: Arc<Coverage>,
    /// What the step that is under way was asked for.
    step: (Position, u32, usize),
    row: &'static Row,
    to: ReplyTo,
    protocol: Protocol,
    asker: Asker,
    pattern: Option<Vec<u8>>,
    any_type: bool,
    /// RESP bulk strings.
    found: Vec<u8>,
    found_count: usize,
}

impl<D: Disk> ShardLoop<D> {
    /// A command of which every core that covers something has a part.
    pub(super) fn route_wide(
        &mut self,
        session: &mut Session,
        index: u32,
        (row, kind): (&'static Row, GatherKind),
        args: Args<'_>,
    ) {
        if is_flush(row) {
            return self.refuse(session, |out| writer::error(out, NO_FLUSH));
        }
        if session.on_core_port && self.node.announces_cores() {
            let own = self.core..self.core + 1;
            self.route_every_core(session, index, row, kind, own, args);
            return;
        }
        let coverage = Arc::clone(self.coverage().all());
        let cores = coverage.cores();
        let Some(command) = self.may_ask(session, row, cores.len(), args) else { return };
        let to = self.reserve(session, index);
        let random = self.next_random();
        let gather = self.gathers.insert(Gather::new(kind, to, session.protocol, cores.len(), random));
        let (flags, asker) = request_head(session, 0);
        for (part, peer) in cores.iter().enumerate() {
            let to = ReplyTo::Gather { gather, part: u32::try_from(part).expect("cores are few") };
            if peer.node != self.replication.view.own {
                self.ask_peer(*peer, (command, flags), args, to);
            } else if peer.core == self.core {
                self.local.push_back(Parked::new(row, (session.protocol, asker), to, 0, args));
            } else {
                self.send_request(peer.core, to, (flags, asker), args);
            }
        }
    }

    /// A command on a slot: to the core that covers it.
    pub(super) fn route_slot(
        &mut self,
        session: &mut Session,
        index: u32,
        row: &'static Row,
        partition: u16,
        args: Args<'_>,
    ) {
        let elsewhere = self.replication.coverage.as_ref().map(|coverage| coverage.all().core_of(partition));
        match elsewhere.filter(|peer| peer.node != self.replication.view.own) {
            None => self.route_to(session, index, row, partition, args),
            Some(peer) => {
                let Some(command) = self.may_ask(session, row, 1, args) else { return };
                let to = self.reserve(session, index);
                self.ask_peer(peer, (command, RequestFlags::new(session.protocol, partition)), args, to);
            }
        }
    }

    /// Whether so many cores of other nodes can be asked; else the client is told why not.
    fn may_ask(&mut self, session: &mut Session, row: &Row, cores: usize, args: Args<'_>) -> Option<Command> {
        let bytes: usize = args.iter().map(|arg| arg.len()).sum();
        let most = limits::REMOTE_COMMAND_BYTES_MAX;
        if bytes > most || args.len() > limits::REMOTE_ARGUMENTS_MAX {
            let text = format!(
                "ERR the command has {bytes} bytes in {} arguments; at most {most} in {} go to other nodes",
                args.len(),
                limits::REMOTE_ARGUMENTS_MAX
            );
            self.refuse(session, |out| writer::error(out, &text));
            return None;
        }
        if !self.remote.has_room(cores) {
            self.refuse(session, |out| writer::error(out, BUSY));
            return None;
        }
        row.command()
    }

    /// SCAN.
    pub(super) fn route_wide_scan(
        &mut self,
        session: &mut Session,
        index: u32,
        (row, args): (&'static Row, Args<'_>),
        position: Position,
    ) {
        let options = scan_options::parse(args).expect("it was parsed for its cursor");
        if self.may_ask(session, row, 1, args).is_none() {
            return;
        }
        let (protocol, asker) = session.reply_as();
        let to = self.reserve(session, index);
        if session.on_core_port && self.node.announces_cores() {
            return self.local.push_back(Parked::new(row, (protocol, asker), to, 0, args));
        }
        let walk = self.walks.insert(Walk {
            scan: BaseScan::new(position, options.count),
            coverage: Arc::clone(self.coverage().all()),
            step: (position, 0, 0),
            row,
            to,
            protocol,
            asker,
            pattern: options.pattern.map(<[u8]>::to_vec),
            any_type: options.any_type,
            found: Vec::new(),
            found_count: 0,
        });
        self.step_walk(walk);
    }

    /// Asks the next core, or answers the client. The first step of a walk, of which the client's session is taken out, always
    /// finds a core to ask, and room for it.
    fn step_walk(&mut self, number: u32) {
        let walk = self.walks.get_mut(number);
        let (core, from, end, count) = match walk.scan.next(&walk.coverage) {
            ScanStep::Ask { core, from, end, count } => (core, from, end, count),
            ScanStep::Done { cursor } => return self.finish_walk(number, cursor),
        };
        walk.step = (from, end, count);
        let (cursor, count) = (from.cursor().to_string(), count.to_string());
        let pattern = walk.pattern.take();
        let (row, protocol, asker, any_type) = (walk.row, walk.protocol, walk.asker, walk.any_type);
        let mut args: Vec<&[u8]> = vec![b"SCAN", cursor.as_bytes(), b"COUNT", count.as_bytes()];
        if let Some(pattern) = &pattern {
            args.extend([b"MATCH", pattern.as_slice()]);
        }
        if !any_type {
            args.extend([&b"TYPE"[..], b"none"]);
        }
        let (to, partition) = (ReplyTo::Walk { walk: number }, remote::step_until(end));
        let flags = RequestFlags::new(protocol, partition);
        if core.node != self.replication.view.own {
            if self.remote.has_room(1) {
                self.ask_for(core, (Command::Scan, Expected::Step { from, end }), (flags, &args), to);
            } else {
                return self.fail_walk(number, format!("-{BUSY}\r\n").as_bytes());
            }
        } else if core.core == self.core {
            self.local.push_back(Parked::new(row, (protocol, asker), to, partition, &args));
        } else {
            self.send_request(core.core, to, (flags, asker), &args);
        }
        self.walks.get_mut(number).pattern = pattern;
    }

    /// The core that was asked has answered.
    pub(super) fn on_walk_answer(&mut self, number: u32, reply: &[u8]) {
        let walk = self.walks.get_mut(number);
        let (from, end, count) = walk.step;
        let Some(step) = remote::read_step(reply, from, end) else {
            return self.fail_walk(number, reply);
        };
        walk.found.extend_from_slice(step.keys);
        walk.found_count += step.found;
        // Short of the end it has looked at all that it should.
        let has_ended = step.reached == Position::at(end);
        walk.scan.on_answer(step.reached, if has_ended { step.found } else { count.max(step.found) });
        if walk.found.len() >= limits::SCAN_STEP_BYTES {
            walk.scan.stop();
        }
        self.step_walk(number);
    }

    fn finish_walk(&mut self, number: u32, cursor: u64) {
        let walk = self.walks.remove(number);
        let mut reply = Vec::with_capacity(walk.found.len() + 64);
        writer::array_header(&mut reply, 2);
        writer::bulk(&mut reply, cursor.to_string().as_bytes());
        writer::array_header(&mut reply, walk.found_count);
        reply.extend_from_slice(&walk.found);
        self.deliver(walk.to, &reply);
    }

    fn fail_walk(&mut self, number: u32, error: &[u8]) {
        assert_eq!(error.first(), Some(&b'-'), "cores answer with what they found, or with an error");
        let walk = self.walks.remove(number);
        self.deliver(walk.to, error);
    }
}
