//! Messages that come in chunks, until they are whole.
//!
//! The first chunk of a message begins with
//!
//! ```text
//!  0  4  bytes of the message
//!  4  1  its channel
//!  5  3  zero
//! ```
//!
//! Invariant: no more messages, and no more bytes as announced, are under way than the limits say.

use super::outbox::ChunkHead;
use crate::limits::{CHUNK_HEAD_BYTES, LinkLimits};
use crate::peer_frame::{CHANNELS_RESERVED, FLAG_FIRST, Label};

/// Why a chunk ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// It belongs to no message that has begun.
    #[error("a chunk of a message that has not begun")]
    Unknown,
    /// A message begins under a number that one has which is not whole.
    #[error("a message begins twice")]
    Twice,
    /// It holds nothing, more than its message lacks, or what no sender writes.
    #[error("a malformed chunk")]
    Malformed,
    /// Its message is longer than messages may be.
    #[error("a message of {0} bytes is announced")]
    TooLong(usize),
    /// More messages, or more bytes of them, than may be under way.
    #[error("too many messages are under way")]
    TooMany,
}

#[derive(Debug)]
struct Incoming {
    stream: u32,
    channel: u8,
    message: Vec<u8>,
    /// Bytes of the whole message.
    total: usize,
}

#[derive(Debug)]
pub(super) struct IncomingStreams {
    limits: LinkLimits,
    /// Few: looked for one by one.
    under_way: Vec<Incoming>,
    /// Announced by those under way.
    bytes: usize,
}

impl IncomingStreams {
    pub(super) fn new(limits: LinkLimits) -> Self {
        Self { limits, under_way: Vec::new(), bytes: 0 }
    }

    /// Bytes that the messages under way were announced with.
    #[cfg(test)]
    pub(super) fn announced_bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a chunk; its channel and message if that is whole now.
    pub(super) fn take(&mut self, label: Label, payload: &[u8]) -> Result<Option<(u8, Vec<u8>)>, StreamError> {
        let found = self.under_way.iter().position(|incoming| incoming.stream == label.stream);
        let (at, part) = match (label.flags, found) {
            (0, Some(at)) => (at, payload),
            (0, None) => return Err(StreamError::Unknown),
            (FLAG_FIRST, Some(_)) => return Err(StreamError::Twice),
            (FLAG_FIRST, None) => (self.under_way.len(), self.begin(label.stream, payload)?),
            _ => return Err(StreamError::Malformed),
        };
        let incoming = &mut self.under_way[at];
        if part.is_empty() || part.len() > incoming.total - incoming.message.len() {
            return Err(StreamError::Malformed);
        }
        incoming.message.extend_from_slice(part);
        if incoming.message.len() < incoming.total {
            return Ok(None);
        }
        let whole = self.under_way.swap_remove(at);
        self.bytes -= whole.total;
        Ok(Some((whole.channel, whole.message)))
    }

    /// A message begins; what of it is in its first chunk.
    fn begin<'a>(&mut self, stream: u32, payload: &'a [u8]) -> Result<&'a [u8], StreamError> {
        let (head, part) = payload.split_at_checked(CHUNK_HEAD_BYTES).ok_or(StreamError::Malformed)?;
        let head: ChunkHead = bytemuck::pod_read_unaligned(head);
        let total = u32::from_le_bytes(head.message_bytes) as usize;
        if head.zero != [0; 3] || head.channel >= CHANNELS_RESERVED {
            return Err(StreamError::Malformed);
        }
        if total > self.limits.message_bytes_max {
            return Err(StreamError::TooLong(total));
        }
        if self.under_way.len() == self.limits.streams_max || self.bytes + total > self.limits.stream_bytes_max {
            return Err(StreamError::TooMany);
        }
        self.bytes += total;
        self.under_way.push(Incoming { stream, channel: head.channel, message: Vec::with_capacity(total), total });
        Ok(part)
    }
}
