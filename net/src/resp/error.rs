//! How a request can break the protocol, and what the client is told.
//!
//! Invariant: the texts are those of Redis 7.2; where a limit is ours, the limit is named after them.

use super::writer;

/// The client broke the protocol. The connection gets [`ProtocolError::reply`] and is closed; the parser is done for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// An inline command without an end of line.
    #[error("Protocol error: too big inline request")]
    InlineTooBig,
    /// A `*` line without an end of line.
    #[error("Protocol error: too big mbulk count string")]
    CountLineTooBig,
    /// A `$` line without an end of line.
    #[error("Protocol error: too big bulk count string")]
    BulkLineTooBig,
    /// A `*` line that is no number.
    #[error("Protocol error: invalid multibulk length")]
    InvalidCount,
    /// More arguments than the limit.
    #[error("Protocol error: invalid multibulk length ({count} arguments; the maximum is {maximum})")]
    TooManyArguments {
        /// What the client announced.
        count: i64,
        /// The limit.
        maximum: usize,
    },
    /// More arguments than a client may send before it has authenticated.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedCount,
    /// Something else where an argument has to begin.
    #[error("Protocol error: expected '$', got '{}'", shown(*.found))]
    ExpectedBulk {
        /// The byte that was there.
        found: u8,
    },
    /// A `$` line that is no number, or a negative one.
    #[error("Protocol error: invalid bulk length")]
    InvalidBulk,
    /// An argument larger than the limit.
    #[error("Protocol error: invalid bulk length ({bytes} bytes; proto-max-bulk-len is {maximum})")]
    BulkTooBig {
        /// What the client announced.
        bytes: i64,
        /// The limit.
        maximum: usize,
    },
    /// A larger argument than a client may send before it has authenticated.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulk,
    /// An argument is longer or shorter than announced.
    #[error("Protocol error: expected CRLF after an argument of {bytes} bytes")]
    ExpectedLineEnd {
        /// Bytes announced.
        bytes: usize,
    },
    /// The arguments together are larger than the limit.
    #[error("Protocol error: too big request ({bytes} bytes or more; client-query-buffer-limit is {maximum})")]
    CommandTooBig {
        /// Bytes announced so far.
        bytes: usize,
        /// The limit.
        maximum: usize,
    },
    /// An inline command with an open quote, or with something right after a closing one.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
}

/// A byte as Redis' text shows it: a line break would end the reply early and becomes a space.
fn shown(byte: u8) -> String {
    match byte {
        b'\r' | b'\n' => " ".to_owned(),
        byte => byte.escape_ascii().to_string(),
    }
}

impl ProtocolError {
    /// Appends the error reply, `-ERR Protocol error: …`.
    pub fn reply(&self, out: &mut Vec<u8>) {
        writer::error(out, &format!("ERR {self}"));
    }
}
