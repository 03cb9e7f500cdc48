//! Limits on what a client may send; not the ring's sizes, which are in [`crate::ring`].
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
