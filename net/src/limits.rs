//! Limits on what a client may send, and on a connection to another node; not the ring's sizes, which are in
//! [`crate::ring`].
//!
//! Invariant: every position inside one unfinished command fits 32 bits ([`Limits::assert_valid`]).

/// The largest `bulk_bytes_max` that may be configured: the log stores no larger record.
pub const BULK_BYTES_CEILING: usize = 32 * 1024 * 1024;

/// Bytes around one argument at most: `$`, eight digits, CR LF before it and CR LF after it.
const ARGUMENT_FRAME_BYTES: usize = 13;

/// Limits on one client's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an inline command, and of a header line, before its end of line has to appear.
    pub inline_bytes_max: usize,
    /// Bytes of one argument.
    pub bulk_bytes_max: usize,
    /// Arguments of one command, its name included.
    pub arguments_max: usize,
    /// Bytes of one command's arguments together.
    pub command_bytes_max: usize,
    /// Arguments of one command before the client has authenticated.
    pub unauthenticated_arguments_max: usize,
    /// Bytes of one argument before the client has authenticated.
    pub unauthenticated_bulk_bytes_max: usize,
}

impl Limits {
    /// What production uses unless configured otherwise.
    pub const PRODUCTION: Self = Self {
        inline_bytes_max: 64 * 1024,
        bulk_bytes_max: 16 * 1024 * 1024,
        arguments_max: 1024 * 1024,
        command_bytes_max: 64 * 1024 * 1024,
        unauthenticated_arguments_max: 10,
        unauthenticated_bulk_bytes_max: 16 * 1024,
    };

    /// Asserts how the limits must relate.
    pub fn assert_valid(&self) {
        assert!(self.inline_bytes_max >= 64, "a header line has to fit");
        assert!(self.bulk_bytes_max >= 1, "an argument has at least one byte");
        assert!(self.bulk_bytes_max <= BULK_BYTES_CEILING, "the log stores no larger record");
        assert!(self.bulk_bytes_max <= self.command_bytes_max);
        assert!(self.arguments_max >= 1);
        assert!(self.unauthenticated_arguments_max <= self.arguments_max);
        assert!(self.unauthenticated_bulk_bytes_max <= self.bulk_bytes_max);
        assert!(self.command_bytes_max <= 1 << 30 && self.arguments_max <= 1 << 24 && self.inline_bytes_max <= 1 << 24);
        assert!(u32::try_from(self.buffer_bytes_max()).is_ok(), "positions fit 32 bits");
    }

    /// Bytes of one unfinished command that a connection may have to hold.
    pub fn buffer_bytes_max(&self) -> usize {
        self.command_bytes_max + self.arguments_max * ARGUMENT_FRAME_BYTES + self.inline_bytes_max + 2
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::PRODUCTION
    }
}

/// Limits on one connection to another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkLimits {
    /// Bytes of a message.
    pub message_bytes_max: usize,
    /// Bytes of a message that travels in one frame; what is longer is cut into chunks of this size.
    pub chunk_bytes: usize,
    /// Bytes that wait to be sent before no further message is taken. One message may go beyond it, so that the largest fits.
    pub queue_bytes_max: usize,
    /// Messages that wait to be sent.
    pub queue_messages_max: usize,
    /// Bytes that leave as one buffer, unless one frame is longer.
    pub output_bytes: usize,
    /// Long messages that are under way at the same time, in one direction.
    pub streams_max: usize,
    /// Bytes of these messages together, in one direction.
    pub stream_bytes_max: usize,
    /// After so long without a byte the other end is asked whether it is there, in microseconds.
    pub ask_idle_us: u64,
    /// The same while it owes us something: what was sent has been followed by nothing.
    pub ask_awaited_us: u64,
    /// After so long without a byte since something was sent, the other end is taken for dead, in microseconds.
    pub dead_us: u64,
    /// A send that took this long waited for the other end to take bytes, and so shows that it did, in microseconds.
    pub slow_send_us: u64,
}

impl LinkLimits {
    /// What production uses.
    ///
    /// A cut is noticed within [`LinkLimits::dead_us`] by whoever waits for something, as long as a client waits (the deadline's
    /// default), and within another [`LinkLimits::ask_idle_us`] by whoever does not. The question is asked early enough to be
    /// answered by a core that stalls for half a second.
    pub const PRODUCTION: Self = Self {
        message_bytes_max: 64 << 20,
        chunk_bytes: 64 << 10,
        queue_bytes_max: 32 << 20,
        queue_messages_max: 64 << 10,
        output_bytes: 256 << 10,
        streams_max: 8,
        stream_bytes_max: 128 << 20,
        ask_idle_us: 1_000_000,
        ask_awaited_us: 250_000,
        dead_us: 1_000_000,
        slow_send_us: 20_000,
    };

    /// Asserts how the limits must relate.
    pub fn assert_valid(&self) {
        assert!(self.chunk_bytes > 0 && self.chunk_bytes + CHUNK_HEAD_BYTES <= crate::peer_frame::PAYLOAD_BYTES_MAX);
        assert!(self.chunk_bytes <= self.message_bytes_max && self.message_bytes_max <= 1 << 30);
        assert!(self.message_bytes_max <= self.stream_bytes_max, "the longest message can travel");
        assert!(self.queue_bytes_max > 0 && self.queue_messages_max > 0 && self.output_bytes > 0);
        assert!(self.streams_max > 0);
        assert!(self.ask_awaited_us < self.dead_us, "who is asked has time to answer");
        assert!(self.ask_idle_us > 0 && self.slow_send_us > 0);
    }
}

/// Bytes that the first chunk of a message begins with.
pub(crate) const CHUNK_HEAD_BYTES: usize = 8;
