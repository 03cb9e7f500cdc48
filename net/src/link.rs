//! One established connection between two nodes' cores: messages in, buffers out, and the reverse. It owns no socket and no clock.
//!
//! ```text
//! send ──▶ outbox ── take_output ──▶ one buffer to send ──▶ on_sent
//!            ▲ questions and answers                             at most one buffer is away
//! on_received ──▶ decoder ──▶ whole messages ──▶ deliver
//!                         └─▶ chunks ──▶ incoming streams ──▶ whole messages ──▶ deliver
//! ```
//!
//! Messages that fit one frame keep their order among each other. Longer ones are cut into chunks, take turns, and are overtaken
//! by whatever is shorter, so that a large value does not hold the line.
//!
//! Time is in microseconds of a steady clock that stands still while this process does, so that whoever was stopped does not
//! take the others for dead when it goes on.
//!
//! Invariants: whatever the other end sends, at most [`LinkLimits::stream_bytes_max`] and one frame are held for it; what
//! [`Link::send`] has taken leaves unless the connection ends.

mod outbox;
mod pulse;
mod streams;
#[cfg(test)]
mod tests;

use crate::limits::LinkLimits;
use crate::peer_frame::{
    CHANNEL_ANSWER, CHANNEL_CHUNK, CHANNEL_QUESTION, CHANNELS_RESERVED, Frame, FrameDecoder, FrameError, Label, write,
};
use outbox::Outbox;
use pulse::Pulse;
use streams::IncomingStreams;

pub use streams::StreamError;

/// Why a message was not taken; nothing of it will be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Too much waits to be sent already.
    #[error("the queue to the peer is full")]
    Full,
    /// No link carries it.
    #[error("a message of {bytes} bytes; the maximum is {most}")]
    TooLong {
        /// What it has.
        bytes: usize,
        /// What may be.
        most: usize,
    },
}

/// Why the connection has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// No frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// No chunk that could come now.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// A frame on a channel that links do not have, or with marks that its channel does not.
    #[error("a frame that does not belong on a link (channel {0})")]
    Misplaced(u8),
}

/// Whether the other end is there, as far as one can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has sent something lately, or was not asked yet.
    Alive,
    /// It was asked and has not answered yet.
    Doubtful,
    /// It has not answered for so long that the connection is to be ended.
    Dead,
}

/// What went through a link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Bytes received, frames' headers and all.
    pub bytes_in: u64,
    /// Bytes handed over to be sent.
    pub bytes_out: u64,
    /// Messages delivered.
    pub messages_in: u64,
    /// Messages taken.
    pub messages_out: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Link {
    limits: LinkLimits,
    outbox: Outbox,
    pulse: Pulse,
    decoder: FrameDecoder,
    streams: IncomingStreams,
    /// A buffer is away.
    is_sending: bool,
    counts: LinkCounts,
}

impl Link {
    /// A link that may be filled before its connection stands.
    pub fn new(limits: LinkLimits, now_us: u64) -> Self {
        limits.assert_valid();
        Self {
            limits,
            outbox: Outbox::new(limits),
            pulse: Pulse::new(now_us),
            decoder: FrameDecoder::new(),
            streams: IncomingStreams::new(limits),
            is_sending: false,
            counts: LinkCounts::default(),
        }
    }

    /// Its connection stands as of now: the other end is awaited from here on.
    pub fn begin(&mut self, now_us: u64) {
        self.pulse = Pulse::new(now_us);
    }

    /// Takes a message for a channel below [`CHANNELS_RESERVED`], asserted. Its bytes are copied, once.
    ///
    /// Errors: see [`SendError`].
    pub fn send(&mut self, channel: u8, message: &[u8]) -> Result<(), SendError> {
        assert!(channel < CHANNELS_RESERVED, "messages have channels of their own");
        self.outbox.push(channel, message)?;
        self.counts.messages_out += 1;
        Ok(())
    }

    /// Whether [`Link::take_output`] has something.
    pub fn has_output(&self) -> bool {
        !self.is_sending && (!self.outbox.is_empty() || self.pulse.has_output())
    }

    /// What to send next: all short messages that wait, or one chunk of a long one. `None` while a buffer is away or nothing
    /// waits. The buffer comes back by [`Link::on_sent`].
    pub fn take_output(&mut self, now_us: u64) -> Option<Vec<u8>> {
        if !self.has_output() {
            return None;
        }
        let mut buffer = self.outbox.take();
        let has_messages = !buffer.is_empty();
        // Behind what leaves now rather than behind everything that waits.
        if let Some(number) = self.pulse.take_answer() {
            write(Label { channel: CHANNEL_ANSWER, flags: 0, stream: number }, [&[], &[]], &mut buffer);
        }
        if let Some(number) = self.pulse.take_question() {
            write(Label { channel: CHANNEL_QUESTION, flags: 0, stream: number }, [&[], &[]], &mut buffer);
        }
        self.pulse.on_sending(now_us, has_messages);
        self.is_sending = true;
        self.counts.bytes_out += buffer.len() as u64;
        Some(buffer)
    }

    /// The buffer was sent, all of it.
    pub fn on_sent(&mut self, buffer: Vec<u8>, now_us: u64) {
        assert!(self.is_sending, "only a buffer that is away comes back");
        self.is_sending = false;
        self.pulse.on_sent(now_us, &self.limits);
        self.outbox.recycle(buffer);
    }

    /// Bytes came; each message that is whole now is delivered with its channel.
    ///
    /// Errors: see [`LinkError`]; the connection has to end. What was delivered before the error was right.
    pub fn on_received(
        &mut self,
        bytes: &[u8],
        now_us: u64,
        deliver: &mut dyn FnMut(u8, &[u8]),
    ) -> Result<(), LinkError> {
        self.pulse.on_heard(now_us);
        self.counts.bytes_in += bytes.len() as u64;
        let mut rest = bytes;
        let Self { decoder, streams, pulse, counts, .. } = self;
        while let Some(Frame { label, payload }) = decoder.next(&mut rest)? {
            let Label { channel, flags, stream } = label;
            match channel {
                _ if channel < CHANNELS_RESERVED && flags == 0 && stream == 0 => {
                    counts.messages_in += 1;
                    deliver(channel, payload);
                }
                CHANNEL_CHUNK => {
                    if let Some((channel, message)) = streams.take(label, payload)? {
                        counts.messages_in += 1;
                        deliver(channel, &message);
                    }
                }
                CHANNEL_QUESTION if flags == 0 && payload.is_empty() => pulse.on_question(stream),
                CHANNEL_ANSWER if flags == 0 && payload.is_empty() => {}
                _ => return Err(LinkError::Misplaced(channel)),
            }
        }
        Ok(())
    }

    /// Looks at the time; to be called every few dozen milliseconds. It may have something to send after it.
    pub fn tick(&mut self, now_us: u64) -> Standing {
        self.pulse.tick(now_us, &self.limits)
    }

    /// As of the last tick, and never dead.
    pub fn is_doubtful(&self) -> bool {
        self.pulse.is_asked()
    }

    /// Bytes that wait to be sent.
    pub fn queued_bytes(&self) -> usize {
        self.outbox.bytes()
    }

    /// Messages that wait to be sent.
    pub fn queued_messages(&self) -> usize {
        self.outbox.messages()
    }

    /// What went through so far.
    pub fn counts(&self) -> LinkCounts {
        self.counts
    }
}
