//! Replies on their way back: to a client, into a gather, to another core. And requests as they come from other cores.

use annulus_engine::{Commit, Disk, Key};
use annulus_net::limits::Limits;
use annulus_net::resp::{Parsed, Parser};
use smallvec::SmallVec;

use super::ShardLoop;
use super::execute::Request;
use crate::commands::table::{self, Route, Row};
use crate::mesh::{self, Batch, Message};
use crate::metrics::Metric;
use crate::session::{Blocked, Session};
use crate::waiting::ReplyTo;

/// Requests of another core that are looked at together before the first is run.
const AHEAD_MAX: usize = 16;

/// A request of another core.
struct Ahead<'a> {
    row: &'static Row,
    request: mesh::Request<'a>,
    to: ReplyTo,
    args: SmallVec<[&'a [u8]; 6]>,
    key: Option<Key<'a>>,
}

/// What is answered when the write that a reply stands for failed.
const FAILED_WRITE: &[u8] =
    b"-INDOUBT writing to the disk failed: the write was not acknowledged and may or may not survive; read before retrying\r\n";

impl<D: Disk> ShardLoop<D> {
    /// Hands a reply to whom it is for. Not to be called while that client's session is taken out.
    pub(super) fn deliver(&mut self, to: ReplyTo, reply: &[u8]) {
        match to {
            ReplyTo::Nobody => {}
            ReplyTo::Core { core, token } => self.mesh.replies_to(core).push_reply(token, reply),
            ReplyTo::Session { session: index, slot } => {
                if reply.first() == Some(&b'-') {
                    self.counts.add(Metric::CommandErrors, 1);
                }
                let session = self.sessions.get_mut(index);
                session.replies.fill(slot, reply);
                if session.connection.is_none() {
                    return self.maybe_forget(index);
                }
                if !session.dirty {
                    session.dirty = true;
                    self.dirty.push(index);
                }
                if session.blocked == Blocked::Outstanding {
                    self.maybe_unblock(index);
                }
            }
            ReplyTo::Walk { walk } => self.on_walk_answer(walk, reply),
            ReplyTo::Peer { part } => self.answer_peer(part, reply),
            ReplyTo::Gather { gather, part } => {
                if self.gathers.get_mut(gather).fill(part, reply) {
                    let gather = self.gathers.remove(gather);
                    let mut whole = Vec::new();
                    gather.finish(&mut whole);
                    self.deliver(gather.to(), &whole);
                }
            }
        }
    }

    /// Lets the replies go whose commit is durable.
    pub(super) fn release_durable(&mut self, commit: Commit) {
        while let Some((to, reply)) = self.commits.pop_durable(commit) {
            self.deliver(to, &reply);
        }
    }

    /// Answers those whose commit failed.
    pub(super) fn fail_commit(&mut self, commit: Commit) {
        tracing::error!(core = self.core, commit = commit.ordinal, "a log write failed; its clients are told");
        while let Some((to, _)) = self.commits.pop_durable(commit) {
            self.deliver(to, FAILED_WRITE);
        }
    }

    /// Takes what other cores sent; gives out the clients that they handed over.
    pub fn on_mesh(&mut self, mut adopt: impl FnMut(std::os::fd::OwnedFd)) {
        for core in self.mesh.others() {
            while let Some(message) = self.mesh.next_replies(core) {
                let Message::Batch(batch) = message else {
                    unreachable!("only batches of replies are sent as replies")
                };
                self.take_replies(&batch);
                self.mesh.recycle(core, batch);
            }
            // While the engine's buffers are full, or too much is under way, requests wait in their queue, which stops their senders.
            while self.takes_requests() {
                match self.mesh.next_requests(core) {
                    None => break,
                    Some(Message::Client(socket)) => adopt(socket),
                    Some(Message::Batch(batch)) => {
                        self.serve_requests(core, &batch);
                        self.mesh.recycle(core, batch);
                    }
                }
            }
        }
    }

    fn take_replies(&mut self, batch: &Batch) {
        let mut offset = 0;
        while let Some((token, reply, next)) = batch.reply(offset) {
            self.deliver(ReplyTo::from_token(token), reply);
            offset = next;
        }
    }

    fn serve_requests(&mut self, core: u16, batch: &Batch) {
        self.unpublished = true;
        self.start_timing();
        let mut parser = std::mem::replace(&mut self.mesh_parser, mesh_parser());
        let mut offset = 0;
        loop {
            let mut ahead: SmallVec<[Ahead<'_>; AHEAD_MAX]> = SmallVec::new();
            while let (true, Some((request, next))) = (ahead.len() < AHEAD_MAX, batch.request(offset)) {
                offset = next;
                ahead.push(self.parse_request(&mut parser, core, request));
            }
            if ahead.is_empty() {
                break;
            }
            self.warm_keys(|| ahead.iter().filter_map(|ahead| ahead.key.as_ref()));
            for Ahead { row, request: mesh::Request { flags, asker, .. }, to, args, key } in &ahead {
                let (protocol, partition) = (flags.protocol(), flags.partition());
                let request = Request { row, protocol, asker: *asker, partition, args };
                self.run_request(&request, key.as_ref(), *to);
            }
        }
        self.mesh_parser = parser;
    }

    /// Takes apart what another core, which has checked it, sent.
    fn parse_request<'a>(&mut self, parser: &mut Parser, core: u16, request: mesh::Request<'a>) -> Ahead<'a> {
        self.counts.add(Metric::MeshReceived, 1);
        let bytes = request.command;
        let parsed = parser.parse(bytes, true);
        let is_whole = matches!(parsed, Ok(Parsed::Command { consumed }) if consumed == bytes.len());
        assert!(is_whole, "another core sends whole commands");
        let args: SmallVec<[&[u8]; 6]> =
            parser.arguments_in(bytes).expect("another core sends no inline command").collect();
        let row = table::resolve(args[0], args.get(1).copied()).expect("another core sends known commands");
        let key = (row.route == Route::OneKey).then(|| {
            let first = usize::from(row.keys.expect("a data command has a key").first);
            self.store.engine().key(args[first], request.flags.partition())
        });
        let to = match ReplyTo::from_token(request.token) {
            ReplyTo::Nobody => ReplyTo::Nobody,
            _ => ReplyTo::Core { core, token: request.token },
        };
        Ahead { row, request, to, args, key }
    }

    /// Notes that a session's output may have to leave.
    pub(super) fn mark_dirty(&mut self, session: &mut Session, index: u32) {
        if !session.dirty {
            session.dirty = true;
            self.dirty.push(index);
        }
    }
}

/// A parser for what other cores send, which was checked by them already.
pub(super) fn mesh_parser() -> Parser {
    Parser::new(Limits { bulk_bytes_max: annulus_net::limits::BULK_BYTES_CEILING, ..Limits::PRODUCTION })
}
