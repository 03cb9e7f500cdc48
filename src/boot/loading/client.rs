//! One client of a node that loads: bytes in, replies out, and an orderly end.
//!
//! Invariant: it holds at most [`INPUT_BYTES_MAX`] of what was received, and little more than [`OUTPUT_BYTES_MAX`] of what is to
//! be sent: it is not read from while it does not read.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use annulus_net::limits::Limits;
use annulus_net::resp::{Parsed, Parser};
use rustix::event::PollFlags;
use rustix::net::SendFlags;

use super::answer::{self, Then};
use super::estimate::Loaded;

/// Bytes of one command that are kept until it is whole.
pub(super) const INPUT_BYTES_MAX: usize = 64 << 10;
/// Bytes of replies that may wait before the next command is answered.
const OUTPUT_BYTES_MAX: usize = 16 << 10;
/// How long a client that was closed may take to notice.
const LEAVE_PATIENCE: Duration = Duration::from_secs(1);
/// Bytes that are received at a time.
const READ_BYTES: usize = 16 << 10;

/// Whether a client stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It does.
    Stay,
    /// Its connection is over: drop it.
    Gone,
}

/// One connection.
pub(super) struct Client {
    stream: TcpStream,
    parser: Parser,
    /// From the first byte of the command that is not answered yet.
    input: Vec<u8>,
    output: Vec<u8>,
    /// It sends no more.
    ended: bool,
    /// Until when its last replies, and the end, may take: it gets no further ones.
    leaves: Option<Instant>,
    /// It was told that nothing follows.
    is_shut: bool,
}

impl Client {
    /// A client that was just accepted. Errors: it has gone.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            parser: Parser::new(Limits::PRODUCTION),
            input: Vec::new(),
            output: Vec::new(),
            ended: false,
            leaves: None,
            is_shut: false,
        })
    }

    /// Its socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// What to wait for.
    pub fn interest(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, !self.ended && self.output.len() < OUTPUT_BYTES_MAX);
        flags.set(PollFlags::OUT, self.has_output());
        flags
    }

    /// True when replies have not been sent.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// True for a client that was closed and does not notice.
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.leaves.is_some_and(|until| now >= until)
    }

    /// Takes what has arrived, answers it, and sends what the socket takes.
    pub fn turn(&mut self, loaded: &Loaded, now: Instant) -> Next {
        if !self.ended && self.output.len() < OUTPUT_BYTES_MAX && self.receive() == Next::Gone {
            return Next::Gone;
        }
        loop {
            let has_more = self.answer(loaded, now);
            if self.flush() == Next::Gone {
                return Next::Gone;
            }
            if !has_more || self.has_output() {
                break;
            }
        }
        if self.ended && !self.has_output() { Next::Gone } else { Next::Stay }
    }

    /// Answers nothing more; what is to be sent is sent, and then the client is told that nothing follows.
    pub fn leave(&mut self, now: Instant) {
        self.leaves.get_or_insert(now + LEAVE_PATIENCE);
        self.input = Vec::new();
        self.shut();
    }

    /// Sends what the socket takes.
    pub fn flush(&mut self) -> Next {
        let mut sent = 0;
        while sent < self.output.len() {
            match self.stream.write(&self.output[sent..]) {
                Ok(bytes) => sent += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Next::Gone,
            }
        }
        self.output.drain(..sent);
        self.shut();
        Next::Stay
    }

    /// Behind the last reply of a client that leaves. What it still sends is read on, because closing a socket that holds
    /// unread bytes would take the reply away from it.
    fn shut(&mut self) {
        if self.leaves.is_some() && !self.has_output() && !self.is_shut {
            self.is_shut = true;
            // It has gone by itself.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }

    fn receive(&mut self) -> Next {
        let mut bytes = [0; READ_BYTES];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.ended = true,
            Ok(count) if self.leaves.is_none() => self.input.extend_from_slice(&bytes[..count]),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => return Next::Gone,
        }
        Next::Stay
    }

    /// Answers commands while there is room for replies; true when whole commands may be left.
    fn answer(&mut self, loaded: &Loaded, now: Instant) -> bool {
        let mut used = 0;
        let mut has_more = false;
        while self.leaves.is_none() {
            if self.output.len() >= OUTPUT_BYTES_MAX {
                has_more = true;
                break;
            }
            let input = &self.input[used..];
            match self.parser.parse(input, true) {
                Ok(Parsed::Command { consumed }) => {
                    if answer::answer(&mut self.output, self.parser.arguments(input), loaded) == Then::Close {
                        self.leave(now);
                    }
                    used += consumed;
                }
                Ok(Parsed::Nothing { consumed }) => used += consumed,
                Ok(Parsed::Incomplete { needed }) if input.len() + needed > INPUT_BYTES_MAX => {
                    // Where the next command begins is not known then, so this one is the last.
                    answer::refuse(&mut self.output, loaded);
                    self.leave(now);
                }
                Ok(Parsed::Incomplete { .. }) => break,
                Err(error) => {
                    error.reply(&mut self.output);
                    self.leave(now);
                }
            }
        }
        // Nothing is left of a client that leaves.
        self.input.drain(..used.min(self.input.len()));
        if self.input.is_empty() {
            self.input = Vec::new();
        }
        has_more
    }
}

/// Tells a client that there are too many, as far as its socket takes it; there is nothing to wait for.
pub(super) fn refuse(stream: &TcpStream) {
    let reply = b"-ERR max number of clients reached\r\n";
    let _ = rustix::net::send(stream, reply, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}
