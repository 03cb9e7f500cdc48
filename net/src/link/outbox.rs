//! What waits to be sent on a link.
//!
//! Messages that fit one frame are written, as frames, into the buffer in which they will leave. Longer ones are cut when they
//! come, each chunk in a buffer of its own: in both cases the bytes are copied once. Buffers of short messages and single chunks
//! leave by turns; of the long messages the first few have begun, and their chunks take turns.
//!
//! A long message begins after everything that was there before it, so it overtakes nothing. What comes after it passes it, unless
//! it is in the same lane: then it waits behind it, as a long message of one chunk.
//!
//! Invariant: the other end's bounds on what is under way ([`LinkLimits::streams_max`], [`LinkLimits::stream_bytes_max`]) are kept
//! here, so that it never has to refuse.

use std::collections::VecDeque;

use bytemuck::{Pod, Zeroable};

use super::SendError;
use crate::limits::LinkLimits;
use crate::peer_frame::{CHANNEL_CHUNK, FLAG_FIRST, HEADER_BYTES, Label, write};

/// Emptied buffers that are kept.
const SPARE_BUFFERS: usize = 2;

/// What the first chunk of a message begins with.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct ChunkHead {
    pub(super) message_bytes: [u8; 4],
    pub(super) channel: u8,
    pub(super) zero: [u8; 3],
}

/// Frames that leave together.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    messages: usize,
}

/// A message in chunks.
#[derive(Debug)]
struct Outgoing {
    /// Those that have not left.
    chunks: VecDeque<Vec<u8>>,
    /// Bytes of the message.
    total: usize,
    lane: Option<u32>,
    /// So many batches have to leave before it.
    after_batches: u64,
}

#[derive(Debug)]
pub(super) struct Outbox {
    limits: LinkLimits,
    /// Being filled.
    open: Batch,
    /// Filled, because something before them has not left yet.
    full: VecDeque<Batch>,
    /// Batches that have left.
    batches: u64,
    /// In the order of their coming; the first `begun` may send chunks.
    streams: VecDeque<Outgoing>,
    begun: usize,
    /// Of the messages that have begun.
    begun_bytes: usize,
    /// Whose turn it is among those that have begun.
    turn: usize,
    next_stream: u32,
    /// What left last was a batch.
    is_chunks_turn: bool,
    spare: Vec<Vec<u8>>,
    bytes: usize,
    messages: usize,
}

impl Outbox {
    pub(super) fn new(limits: LinkLimits) -> Self {
        Self {
            limits,
            open: Batch::default(),
            full: VecDeque::new(),
            batches: 0,
            streams: VecDeque::new(),
            begun: 0,
            begun_bytes: 0,
            turn: 0,
            next_stream: 0,
            is_chunks_turn: false,
            spare: Vec::new(),
            bytes: 0,
            messages: 0,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages == 0
    }

    pub(super) fn push(&mut self, channel: u8, lane: Option<u32>, message: &[u8]) -> Result<(), SendError> {
        if message.len() > self.limits.message_bytes_max {
            return Err(SendError::TooLong { bytes: message.len(), most: self.limits.message_bytes_max });
        }
        if self.bytes >= self.limits.queue_bytes_max || self.messages >= self.limits.queue_messages_max {
            return Err(SendError::Full);
        }
        self.messages += 1;
        // An empty one has nothing that could be cut, and says nothing that could be out of order.
        let is_behind = lane.is_some() && self.streams.iter().any(|stream| stream.lane == lane);
        if message.len() > self.limits.chunk_bytes || (is_behind && !message.is_empty()) {
            self.push_chunks(channel, lane, message);
            return Ok(());
        }
        let frame_bytes = HEADER_BYTES + message.len();
        if !self.open.bytes.is_empty() && self.open.bytes.len() + frame_bytes > self.limits.output_bytes {
            let next = Batch { bytes: self.spare.pop().unwrap_or_default(), messages: 0 };
            self.full.push_back(std::mem::replace(&mut self.open, next));
        }
        write(Label::message(channel), [message, &[]], &mut self.open.bytes);
        self.open.messages += 1;
        self.bytes += frame_bytes;
        Ok(())
    }

    fn push_chunks(&mut self, channel: u8, lane: Option<u32>, message: &[u8]) {
        let message_bytes = u32::try_from(message.len()).expect("limits: a message is at most 1 GiB").to_le_bytes();
        let head = ChunkHead { message_bytes, channel, zero: [0; 3] };
        let stream = self.next_stream;
        self.next_stream = self.next_stream.wrapping_add(1);
        let mut chunks = VecDeque::with_capacity(message.len().div_ceil(self.limits.chunk_bytes));
        for part in message.chunks(self.limits.chunk_bytes) {
            let is_first = chunks.is_empty();
            let head = if is_first { bytemuck::bytes_of(&head) } else { &[] };
            let flags = if is_first { FLAG_FIRST } else { 0 };
            let mut chunk = Vec::with_capacity(part.len() + head.len() + 3 * HEADER_BYTES);
            write(Label { channel: CHANNEL_CHUNK, flags, stream }, [head, part], &mut chunk);
            self.bytes += chunk.len();
            chunks.push_back(chunk);
        }
        let waiting = self.full.len() + usize::from(self.open.messages > 0);
        let after_batches = self.batches + waiting as u64;
        self.streams.push_back(Outgoing { chunks, total: message.len(), lane, after_batches });
    }

    /// What leaves next; empty when nothing waits.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.begin_streams();
        let has_batch = self.open.messages > 0 || !self.full.is_empty();
        let is_chunk = self.begun > 0 && (self.is_chunks_turn || !has_batch);
        assert!(is_chunk || has_batch || self.streams.is_empty(), "a long message waits for others only");
        self.is_chunks_turn = !is_chunk;
        let buffer = if is_chunk { self.take_chunk() } else { self.take_batch() };
        self.bytes -= buffer.len();
        buffer
    }

    fn take_batch(&mut self) -> Vec<u8> {
        let batch = self.full.pop_front().unwrap_or_else(|| {
            let next = Batch { bytes: self.spare.pop().unwrap_or_default(), messages: 0 };
            std::mem::replace(&mut self.open, next)
        });
        self.messages -= batch.messages;
        self.batches += u64::from(batch.messages > 0);
        batch.bytes
    }

    fn take_chunk(&mut self) -> Vec<u8> {
        self.turn = if self.turn < self.begun { self.turn } else { 0 };
        let stream = &mut self.streams[self.turn];
        let chunk = stream.chunks.pop_front().expect("a message leaves with its last chunk");
        if stream.chunks.is_empty() {
            self.begun -= 1;
            self.begun_bytes -= stream.total;
            self.messages -= 1;
            // Who stood behind it has the next turn.
            self.streams.remove(self.turn);
        } else {
            self.turn += 1;
        }
        chunk
    }

    /// As many of the messages in chunks as the other end takes at a time.
    fn begin_streams(&mut self) {
        while self.begun < self.limits.streams_max
            && let Some(next) = self.streams.get(self.begun)
            && self.begun_bytes + next.total <= self.limits.stream_bytes_max
            && next.after_batches <= self.batches
            && !(next.lane.is_some() && self.streams.range(..self.begun).any(|begun| begun.lane == next.lane))
        {
            self.begun += 1;
            self.begun_bytes += next.total;
        }
    }

    /// A buffer that has left is filled again.
    pub(super) fn recycle(&mut self, mut buffer: Vec<u8>) {
        // What a backlog needed is not kept: links are many, and most of them idle.
        if self.spare.len() < SPARE_BUFFERS && buffer.capacity() <= 2 * self.limits.chunk_bytes {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}
