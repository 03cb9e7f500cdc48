//! What a ring takes and gives: buffers that stay in place, events, and how long to wait.

#![allow(unsafe_code)] // SAFETY: only the declaration of an unsafe trait; its contract is stated there.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;

use super::ConnectionId;

/// Memory whose bytes stay where they are when the value is moved.
///
/// # Safety
///
/// `bytes` and `bytes_mut` must always give the same address range, however often the value itself is moved, until the
/// value is changed through its own methods or dropped.
pub unsafe trait StableBytes: 'static {
    /// The bytes to write.
    fn bytes(&self) -> &[u8];
    /// The bytes to read into.
    fn bytes_mut(&mut self) -> &mut [u8];
}

// SAFETY: there is no value whose bytes could move. For rings without file operations.
unsafe impl StableBytes for std::convert::Infallible {
    fn bytes(&self) -> &[u8] {
        match *self {}
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match *self {}
    }
}

/// What a completed operation was, given out by `Ring::next_event`.
#[derive(Debug)]
pub enum Event<'a, B> {
    /// A client connected to the listener with this number; the socket is not yet adopted.
    Accepted {
        /// The number given to `Ring::listen`.
        listener: u16,
        /// The connected socket.
        socket: OwnedFd,
    },
    /// A listener failed to accept (descriptors exhausted, …); it may wait for `Ring::retry_accepts`.
    AcceptFailed {
        /// The number given to `Ring::listen`.
        listener: u16,
        /// Why.
        error: io::Error,
    },
    /// Bytes arrived. They are valid until the next call.
    Received {
        /// On which connection.
        connection: ConnectionId,
        /// The bytes, never empty.
        bytes: &'a [u8],
    },
    /// The peer sends no more (`None`), or receiving failed. The connection can still send until it is closed.
    Ended {
        /// On which connection.
        connection: ConnectionId,
        /// `None` for an orderly end.
        error: Option<io::Error>,
    },
    /// A send has ended; the buffer comes back.
    Sent {
        /// On which connection.
        connection: ConnectionId,
        /// The buffer given to `Ring::send`.
        buffer: Vec<u8>,
        /// `Err` when not all of it was sent.
        result: io::Result<()>,
    },
    /// The last operation of a closed connection has ended; its id may be given out again.
    Closed {
        /// Which connection.
        connection: ConnectionId,
    },
    /// A file operation has ended; the buffer comes back.
    File {
        /// The number given when it was started.
        operation: u64,
        /// The buffer.
        buffer: B,
        /// Bytes moved.
        result: io::Result<usize>,
    },
    /// Another core called `Ring::wake` for this ring.
    Woken,
}

/// How long a turn may wait for a completion when none is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    No,
    /// At most this long.
    AtMost(Duration),
}

/// Where another core's ring can be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingAddress(pub(super) RawFd);
