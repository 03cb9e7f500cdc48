//! From a client's bytes to its commands.
//!
//! Bytes are parsed where they arrived; only an unfinished command is copied, once, into the session's own buffer. A session
//! that is blocked keeps its bytes unparsed and, when they grow, stops receiving: the kernel's window then slows the client.

use annulus_engine::Disk;
use annulus_net::resp::ProtocolError;
use smallvec::SmallVec;

use super::ShardLoop;
use super::dispatch::Known;
use super::lookahead::{Ahead, Lookahead, Then};
use crate::metrics::Metric;
use crate::session::{Blocked, Session};

/// Unparsed bytes of a blocked client above which it is not received from.
const BLOCKED_INPUT_BYTES: usize = 64 << 10;

/// Why a run over input ended.
enum Ran {
    /// Every whole command was run; this many more bytes are needed at least.
    Exhausted { needed: usize },
    /// Parts of the last command must be run by this core before the next one.
    LocalParts,
    /// The session may not go on for now.
    Blocked,
    /// No further command of this session is run.
    Stopped,
}

impl<D: Disk> ShardLoop<D> {
    /// Runs the commands in what a session has kept and in `bytes`, which arrived behind it.
    pub(super) fn run_input(&mut self, index: u32, bytes: &[u8]) {
        self.start_timing();
        let mut session = self.sessions.take(index);
        session.bytes_in += bytes.len() as u64;
        session.last_ms = self.now.unix_ms;
        session.replies.begin_burst();
        if session.closing || session.closed {
            self.sessions.put_back(index, session);
            return;
        }
        if session.input.is_empty() {
            let (kept, rest, needed) = self.run_commands(session, index, bytes);
            session = kept;
            session.keep_input(&bytes[rest..], needed);
        } else {
            session.input.extend_from_slice(bytes);
            let input = std::mem::take(&mut session.input);
            let (kept, rest, needed) = self.run_commands(session, index, &input);
            session = kept;
            session.input = input;
            session.consume_input(rest);
            session.input.reserve(needed);
        }
        if session.closing {
            session.input = Vec::new();
        } else if session.blocked != Blocked::No && session.input.len() > BLOCKED_INPUT_BYTES && !session.paused {
            session.paused = true;
            self.outbox.receives.extend(session.connection.map(|connection| (connection, false)));
        }
        self.mark_dirty(&mut session, index);
        self.sessions.put_back(index, session);
    }

    /// Runs commands until the input or the session's leave is exhausted. Gives the session back, how much of the input was
    /// consumed, and how many bytes are missing at least.
    fn run_commands(&mut self, mut session: Box<Session>, index: u32, input: &[u8]) -> (Box<Session>, usize, usize) {
        let mut start = 0;
        loop {
            match self.run_until(&mut session, index, input, &mut start) {
                Ran::Exhausted { needed } => return (session, start, needed),
                Ran::Blocked | Ran::Stopped => return (session, start, 0),
                Ran::LocalParts => {
                    self.mark_dirty(&mut session, index);
                    self.sessions.put_back(index, session);
                    self.run_local();
                    session = self.sessions.take(index);
                }
            }
        }
    }

    fn run_until(&mut self, session: &mut Session, index: u32, input: &[u8], start: &mut usize) -> Ran {
        let mut parser = session.parser.take().expect("a session parses one input at a time");
        let ran = loop {
            let mut ahead = Lookahead::parse(&mut parser, &input[*start..], session.authenticated);
            self.warm(&mut ahead);
            let parsed_from = *start;
            let (commands, then) = ahead.into_parts();
            if let Some(stopped) = self.run_ahead(session, index, &commands, parsed_from, start) {
                // What was parsed beyond will be parsed again.
                parser.reset();
                break stopped;
            }
            match then {
                Then::More => {}
                Then::Inline { consumed } => {
                    if let Some(stopped) = self.stops(session, index) {
                        break stopped;
                    }
                    let arguments = parser.arguments(&input[*start..]);
                    let args: SmallVec<[&[u8]; 8]> = arguments.iter().collect();
                    self.dispatch(session, index, &args, Known::default());
                    *start += consumed;
                }
                Then::Nothing { consumed } => *start += consumed,
                Then::Incomplete { needed } => break Ran::Exhausted { needed },
                Then::Failed(error) => {
                    self.refuse_input(session, &error);
                    break Ran::Stopped;
                }
            }
            if !self.local.is_empty() {
                break Ran::LocalParts;
            }
        };
        session.parser = Some(parser);
        ran
    }

    /// Runs commands that were parsed ahead; says why it stopped before their end.
    fn run_ahead(
        &mut self,
        session: &mut Session,
        index: u32,
        commands: &[Ahead<'_>],
        parsed_from: usize,
        start: &mut usize,
    ) -> Option<Ran> {
        for command in commands {
            if let Some(stopped) = self.stops(session, index) {
                return Some(stopped);
            }
            self.dispatch(session, index, &command.args, Known { key: command.key.as_ref(), raw: Some(command.raw) });
            *start = parsed_from + command.end;
            if !self.local.is_empty() {
                return Some(Ran::LocalParts);
            }
        }
        (session.closing || session.closed).then_some(Ran::Stopped)
    }

    /// Why the session may not run its next command, if so.
    fn stops(&mut self, session: &mut Session, index: u32) -> Option<Ran> {
        if session.closing || session.closed {
            return Some(Ran::Stopped);
        }
        self.blocks(session, index).then_some(Ran::Blocked)
    }

    fn refuse_input(&mut self, session: &mut Session, error: &ProtocolError) {
        self.counts.add(Metric::ProtocolErrors, 1);
        tracing::debug!(core = self.core, client = session.id, peer = %session.peer, %error, "closing a client");
        let mut reply = Vec::new();
        error.reply(&mut reply);
        session.replies.push(&reply);
        session.closing = true;
    }

    /// True when the session may not run its next command now; it will be resumed.
    fn blocks(&mut self, session: &mut Session, index: u32) -> bool {
        let blocked = if self.is_busy() { Blocked::Busy } else { session.why_blocked() };
        if blocked == Blocked::No {
            return false;
        }
        if blocked == Blocked::Busy && session.blocked != Blocked::Busy {
            self.busy_sessions.push(index);
        }
        session.blocked = blocked;
        true
    }

    /// Whether this core, or another that it asks, has as much to do as it may.
    fn is_busy(&self) -> bool {
        !self.stalled.is_empty() || self.mesh.any_congested()
    }

    /// Lets a session go on if nothing keeps it.
    pub(super) fn maybe_unblock(&mut self, index: u32) {
        let session = self.sessions.get_mut(index);
        if matches!(session.blocked, Blocked::SlowReader | Blocked::Outstanding) && session.why_blocked() == Blocked::No
        {
            session.blocked = Blocked::No;
            self.ready_sessions.push(index);
        }
    }

    /// Runs what unblocked sessions have kept.
    pub(super) fn resume_sessions(&mut self) {
        if !self.busy_sessions.is_empty() && !self.is_busy() {
            for index in std::mem::take(&mut self.busy_sessions) {
                self.sessions.get_mut(index).blocked = Blocked::No;
                self.ready_sessions.push(index);
            }
        }
        for index in std::mem::take(&mut self.ready_sessions) {
            let session = self.sessions.get_mut(index);
            if session.connection.is_none() || session.closed {
                self.maybe_forget(index);
                continue;
            }
            if std::mem::take(&mut session.paused) {
                self.outbox.receives.extend(session.connection.map(|connection| (connection, true)));
            }
            let ended = session.ended;
            self.run_input(index, &[]);
            if ended {
                self.end_input(index, true);
            }
        }
    }
}
