//! One client: its bytes that are not yet a command, its replies in order, and what it told us about itself.
//!
//! Invariant: a session outlives its connection until every reply that it reserved has come (see [`Session::is_finished`]),
//! so a late reply never reaches another client.

use std::net::SocketAddr;

use annulus_net::limits::Limits as RespLimits;
use annulus_net::resp::{Parser, Protocol};
use annulus_net::ring::ConnectionId;

use crate::commands::table::Command;
use crate::consistency::{Asker, Consistency, Promised};
use crate::limits;
use crate::replies::Replies;

/// `CLIENT REPLY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyMode {
    /// Every command is answered.
    On,
    /// No command is answered.
    Off,
    /// The next command is not answered.
    SkipNext,
    /// This command is not answered.
    SkipThis,
}

/// What keeps a session from running its next command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// Nothing.
    No,
    /// The core or the mesh cannot take more work for now.
    Busy,
    /// The client does not read its replies.
    SlowReader,
    /// Too many replies are outstanding.
    Outstanding,
}

/// One client.
pub struct Session {
    /// `CLIENT ID`: unique in the node's lifetime.
    pub id: u64,
    /// Its connection, until that is closed.
    pub connection: Option<ConnectionId>,
    /// The client's address.
    pub peer: SocketAddr,
    /// The address that the client reached.
    pub local: SocketAddr,
    /// True when it came through a core's own port.
    pub on_core_port: bool,
    /// When a MOVED was last given, Unix milliseconds.
    pub last_moved_ms: u64,
    /// Turns bytes into commands; out while it does.
    pub parser: Option<Parser>,
    /// Bytes that are not a whole command yet.
    pub input: Vec<u8>,
    /// Replies in order.
    pub replies: Replies,
    /// A send is in flight.
    pub sending: bool,
    /// Bytes of that send.
    pub sending_bytes: usize,
    /// Until when it had read enough, Unix milliseconds.
    pub above_soft_since_ms: u64,
    /// The core's list of sessions to flush has it.
    pub dirty: bool,
    /// Since when replies are held back until those behind them are ready, steady nanoseconds.
    pub held_since_ns: Option<u64>,
    /// Receiving is paused.
    pub paused: bool,
    /// Why it waits.
    pub blocked: Blocked,
    /// The peer sends no more.
    pub ended: bool,
    /// Close when every reply has been sent; no further command is run.
    pub closing: bool,
    /// The connection is being closed.
    pub closed: bool,
    /// RESP2 or RESP3.
    pub protocol: Protocol,
    /// `DYN.CONSISTENCY`.
    pub consistency: Consistency,
    /// A command that may write has come.
    pub has_written: bool,
    /// What its earlier writes were promised, where that is less than what is in force.
    pub promised: Promised,
    /// `AUTH` was given or is not needed.
    pub authenticated: bool,
    /// `CLIENT SETNAME`.
    pub name: Vec<u8>,
    /// `CLIENT SETINFO LIB-NAME`.
    pub driver_name: Vec<u8>,
    /// `CLIENT SETINFO LIB-VER`.
    pub driver_version: Vec<u8>,
    /// `CLIENT REPLY`.
    pub reply_mode: ReplyMode,
    /// `CLIENT NO-EVICT`, only shown: nothing is evicted.
    pub no_evict: bool,
    /// `CLIENT NO-TOUCH`, only shown.
    pub no_touch: bool,
    /// When it connected, Unix milliseconds.
    pub connected_ms: u64,
    /// When it last sent something, Unix milliseconds.
    pub last_ms: u64,
    /// Its last command.
    pub last_command: &'static str,
    /// The same, when it is a served one.
    pub last_served: Option<Command>,
    /// Commands run.
    pub commands: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
}

impl Session {
    /// A client that has just connected.
    pub fn new(
        id: u64,
        connection: ConnectionId,
        (peer, local): (SocketAddr, SocketAddr),
        resp_limits: RespLimits,
        authenticated: bool,
        now_ms: u64,
    ) -> Self {
        Self {
            id,
            connection: Some(connection),
            peer,
            local,
            on_core_port: false,
            last_moved_ms: 0,
            parser: Some(Parser::new(resp_limits)),
            input: Vec::new(),
            replies: Replies::default(),
            sending: false,
            sending_bytes: 0,
            above_soft_since_ms: now_ms,
            dirty: false,
            held_since_ns: None,
            paused: false,
            blocked: Blocked::No,
            ended: false,
            closing: false,
            closed: false,
            protocol: Protocol::Resp2,
            consistency: Consistency::default(),
            has_written: false,
            promised: Promised::default(),
            authenticated,
            name: Vec::new(),
            driver_name: Vec::new(),
            driver_version: Vec::new(),
            reply_mode: ReplyMode::On,
            no_evict: false,
            no_touch: false,
            connected_ms: now_ms,
            last_ms: now_ms,
            last_command: "",
            last_served: None,
            commands: 0,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// What its commands take along to the core of their key.
    #[inline]
    pub fn asker(&self) -> Asker {
        Asker { client: self.id, consistency: self.consistency }
    }

    /// How and for whom its commands are answered.
    #[inline]
    pub fn reply_as(&self) -> (Protocol, Asker) {
        (self.protocol, self.asker())
    }

    /// Keeps bytes that are no whole command yet; `needed` more will come at least.
    pub fn keep_input(&mut self, rest: &[u8], needed: usize) {
        self.input.reserve(rest.len() + needed);
        self.input.extend_from_slice(rest);
    }

    /// Forgets the first `consumed` bytes of the input.
    pub fn consume_input(&mut self, consumed: usize) {
        if consumed == self.input.len() {
            self.input.clear();
            if self.input.capacity() > limits::SESSION_BUFFER_KEEP_BYTES {
                self.input = Vec::new();
            }
        } else if consumed > 0 {
            self.input.drain(..consumed);
        }
    }

    /// Bytes that wait for the client to read.
    pub fn unread_bytes(&self) -> usize {
        self.sending_bytes + self.replies.bytes()
    }

    /// What it may not do more of now, if anything.
    pub fn why_blocked(&self) -> Blocked {
        if self.unread_bytes() > limits::SESSION_OUTPUT_PAUSE_BYTES {
            Blocked::SlowReader
        } else if self.replies.outstanding() >= limits::SESSION_OUTSTANDING_MAX {
            Blocked::Outstanding
        } else {
            Blocked::No
        }
    }

    /// Drops what nobody will read or run any more: its connection has gone.
    pub fn abandon(&mut self) {
        assert!(self.connection.is_none());
        self.blocked = Blocked::No;
        self.closing = true;
        self.input = Vec::new();
        self.replies.drop_output();
    }

    /// True when it can be closed: nothing is left to run or to send.
    pub fn is_drained(&self) -> bool {
        !self.sending && self.replies.outstanding() == 0 && !self.replies.has_output()
    }

    /// True when its place may be given to another client.
    pub fn is_finished(&self) -> bool {
        self.connection.is_none() && self.replies.outstanding() == 0
    }

    /// Memory of its buffers.
    pub fn buffer_bytes(&self) -> usize {
        self.input.capacity() + self.replies.bytes()
    }
}
