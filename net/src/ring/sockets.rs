//! The connected sockets of one ring, and which operations of each are in flight.
//!
//! Invariant: a slot is freed only when its socket is closing and neither a receive nor a send is in flight.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::net::Shutdown;

/// A connection of one ring, valid until its `Closed` event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(u32);

impl ConnectionId {
    /// The id as a table index: small, dense, reused after the connection has closed.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// The id of a table index.
    pub fn from_index(index: usize) -> Self {
        Self(u32::try_from(index).expect("connections are counted in u32"))
    }

    pub(super) fn raw(self) -> u64 {
        u64::from(self.0)
    }

    pub(super) fn from_raw(raw: u64) -> Self {
        Self(u32::try_from(raw).expect("user data carries an id that we gave"))
    }
}

struct Socket {
    fd: OwnedFd,
    receiving: bool,
    paused: bool,
    ended: bool,
    closing: bool,
    sending: Option<Sending>,
}

struct Sending {
    buffer: Vec<u8>,
    sent: usize,
    error: Option<i32>,
    /// The attempt without waiting did not take everything.
    fell_short: bool,
}

#[derive(Default)]
pub(super) struct Sockets {
    slots: Vec<Option<Socket>>,
    free: Vec<u32>,
}

impl Sockets {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn adopt(&mut self, fd: OwnedFd) -> ConnectionId {
        let socket = Socket { fd, receiving: false, paused: false, ended: false, closing: false, sending: None };
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("connections are counted in u32")
        });
        let slot = &mut self.slots[index as usize];
        assert!(slot.is_none(), "a free slot is empty");
        *slot = Some(socket);
        ConnectionId(index)
    }

    fn get(&self, connection: ConnectionId) -> &Socket {
        self.slots[connection.index()].as_ref().expect("an id is used only until its Closed event")
    }

    fn get_mut(&mut self, connection: ConnectionId) -> &mut Socket {
        self.slots[connection.index()].as_mut().expect("an id is used only until its Closed event")
    }

    pub(super) fn start_receive(&mut self, connection: ConnectionId) -> RawFd {
        let socket = self.get_mut(connection);
        assert!(!socket.receiving, "one receive is armed at a time");
        socket.receiving = true;
        socket.fd.as_raw_fd()
    }

    pub(super) fn receive_stopped(&mut self, connection: ConnectionId) {
        self.get_mut(connection).receiving = false;
    }

    pub(super) fn receive_ended(&mut self, connection: ConnectionId) {
        self.get_mut(connection).ended = true;
    }

    /// True when a receive should be armed and is not.
    pub(super) fn wants_receive(&self, connection: ConnectionId) -> bool {
        match &self.slots[connection.index()] {
            Some(socket) => !(socket.receiving || socket.paused || socket.ended || socket.closing),
            None => false,
        }
    }

    /// True when an armed receive must be cancelled.
    pub(super) fn pause(&mut self, connection: ConnectionId) -> bool {
        let socket = self.get_mut(connection);
        !std::mem::replace(&mut socket.paused, true) && socket.receiving
    }

    /// True when a receive must be armed now; a cancelled one that has not ended yet is armed again at its end.
    pub(super) fn resume(&mut self, connection: ConnectionId) -> bool {
        self.get_mut(connection).paused = false;
        self.wants_receive(connection)
    }

    pub(super) fn start_send(&mut self, connection: ConnectionId, buffer: Vec<u8>) -> (RawFd, *const u8, u32) {
        let socket = self.get_mut(connection);
        assert!(socket.sending.is_none(), "one send is in flight at a time");
        assert!(!socket.closing, "a closing connection sends nothing");
        let bytes = u32::try_from(buffer.len()).expect("an output buffer is far below 4 GiB");
        let sending = socket.sending.insert(Sending { buffer, sent: 0, error: None, fell_short: false });
        (socket.fd.as_raw_fd(), sending.buffer.as_ptr(), bytes)
    }

    fn sending(&mut self, connection: ConnectionId) -> &mut Sending {
        self.get_mut(connection).sending.as_mut().expect("a send that ended was in flight")
    }

    /// The attempt sent `result` bytes, fewer than all, or failed.
    pub(super) fn attempt_fell_short(&mut self, connection: ConnectionId, result: i32) {
        let sending = self.sending(connection);
        sending.fell_short = true;
        match usize::try_from(result) {
            Ok(sent) => sending.sent = sent,
            Err(_) if result == -libc::EAGAIN => {}
            Err(_) => sending.error = Some(-result),
        }
    }

    /// What is left to send after the attempt: `None` when the send has ended, well or not.
    pub(super) fn settle_attempt(&mut self, connection: ConnectionId) -> Option<(RawFd, *const u8, u32)> {
        let fd = self.get(connection).fd.as_raw_fd();
        let sending = self.sending(connection);
        if !sending.fell_short {
            sending.sent = sending.buffer.len();
        }
        if sending.error.is_some() || sending.sent == sending.buffer.len() {
            return None;
        }
        let rest = &sending.buffer[sending.sent..];
        Some((fd, rest.as_ptr(), u32::try_from(rest.len()).expect("a part of a buffer below 4 GiB")))
    }

    /// The rest was sent, or failed.
    pub(super) fn rest_was_sent(&mut self, connection: ConnectionId, result: i32) {
        let sending = self.sending(connection);
        match usize::try_from(result) {
            Ok(sent) => sending.sent += sent,
            Err(_) => sending.error = Some(-result),
        }
    }

    pub(super) fn finish_send(&mut self, connection: ConnectionId) -> (Vec<u8>, io::Result<()>) {
        let sending = self.get_mut(connection).sending.take().expect("a send that ended was in flight");
        let result = match sending.error {
            Some(error) => Err(io::Error::from_raw_os_error(error)),
            None if sending.sent < sending.buffer.len() => Err(io::Error::from(io::ErrorKind::WriteZero)),
            None => Ok(()),
        };
        (sending.buffer, result)
    }

    /// Begins to close: the peer is cut off, which ends what is in flight.
    pub(super) fn close(&mut self, connection: ConnectionId) {
        let socket = self.get_mut(connection);
        assert!(!socket.closing, "a connection is closed once");
        socket.closing = true;
        // An error means that the peer is gone already, which ends the operations as well.
        let _ = rustix::net::shutdown(&socket.fd, Shutdown::Both);
    }

    pub(super) fn is_idle(&self, connection: ConnectionId) -> bool {
        let socket = self.get(connection);
        !socket.receiving && socket.sending.is_none()
    }

    /// A stand-in completion will report the end.
    pub(super) fn expect_end(&mut self, connection: ConnectionId) {
        self.get_mut(connection).receiving = true;
    }

    pub(super) fn is_closing(&self, connection: ConnectionId) -> bool {
        self.get(connection).closing
    }

    /// Frees a closing socket when nothing of it is in flight any more.
    pub(super) fn maybe_free(&mut self, connection: ConnectionId) -> bool {
        let socket = self.get(connection);
        assert!(socket.closing);
        if socket.receiving || socket.sending.is_some() {
            return false;
        }
        self.slots[connection.index()] = None;
        self.free.push(connection.0);
        true
    }
}
