//! The lattice that the storage engine and the cluster protocol both speak: dots, contexts, objects.
//!
//! What it is: the state of one key as a value. An [`Object`] says, of every [`Dot`] ever issued for
//! the key, whether it has not been seen, is live (a sibling), or is dead (seen and replaced):
//!
//! ```text
//! unseen  <  live(payload)  <  dead            per dot
//! ```
//!
//! and merging two objects takes the larger state of every dot. That makes [`Object::merge`]
//! commutative, associative and idempotent, so states may be merged in any order and any number of
//! times: recovery, compaction, transfer and repair are the same operation. The [`Context`] is the
//! set of dots that have been seen; it is kept as a floor and one clock per actor.
//!
//! What it is not: it does no I/O, reads no clock, knows neither files nor peers, and never limits
//! how many siblings a merge may yield (limits bind new client writes, which are checked elsewhere).
//!
//! Invariants: every sibling's dot is covered by its object's context; contexts are in normal form,
//! so that equal sets are equal values; decoding accepts exactly what encoding produces.
#![forbid(unsafe_code)]

mod context;
mod dot;
mod object;
mod view;

pub use context::{CONTEXT_ENTRIES_MAX, Context};
pub use dot::{Actor, Clock, Dot, HybridClock};
pub use object::{Comparison, Object, Sibling};
pub use view::{ContextView, ObjectView, SiblingRef, encode_object, shown};

/// Why bytes are not the encoding of a context or an object. Nothing was changed; the caller drops
/// the bytes and reports whence they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes end before what they announce.
    Truncated,
    /// Bytes follow the end of the encoding.
    Trailing,
    /// The first byte names a format that this build does not know.
    Format(u8),
    /// More context entries than [`CONTEXT_ENTRIES_MAX`].
    TooManyEntries,
    /// A clock beyond [`Clock::MAX`].
    ClockRange,
    /// Entries or siblings out of order, twice, or entries that the floor already covers.
    Order,
    /// A sibling that its own context does not cover.
    Uncovered,
    /// A flag or length that no encoder writes.
    Field,
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DecodeError::Truncated => formatter.write_str("the bytes end too early"),
            DecodeError::Trailing => formatter.write_str("bytes follow the end"),
            DecodeError::Format(format) => write!(formatter, "unknown format {format}"),
            DecodeError::TooManyEntries => formatter.write_str("too many context entries"),
            DecodeError::ClockRange => formatter.write_str("a clock is out of range"),
            DecodeError::Order => formatter.write_str("entries are not in order"),
            DecodeError::Uncovered => formatter.write_str("a sibling is outside its context"),
            DecodeError::Field => formatter.write_str("a field has an impossible value"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// A checked walk over bytes that nobody has vouched for.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(bytes).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    fn clock(&mut self) -> Result<Clock, DecodeError> {
        Clock::from_raw(self.u64()?).ok_or(DecodeError::ClockRange)
    }
}
