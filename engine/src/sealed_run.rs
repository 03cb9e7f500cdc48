//! One sealed run: records of one partition, and behind them a footer that says where each is.
//!
//! ```text
//! partition file   header 4096 │ run │ run │ … │ (what an interrupted append left)
//! run              records, back to back │ footer │ zeros │ trailer 160, the end of a block
//! footer           entries 24 × n, sorted by hash │ actors 16 × a │ extras of the entries that have any, in their order
//! entry            as in the index: hash 64 │ clock 56, hash 8 │ place 38, size class 8, actor slot 12, flags 6
//! actor            actor u64 │ context floor u64
//! extra            expires_at_ms u64 │ actor u64 │ floor u64 │ has_actor u32 │ context u32 │ (actor u64 │ clock u64) × context
//!                  │ of siblings: count u32 │ zeros 4 │ (actor u64 │ clock 56, zeros 7, deletes 1) × count
//! ```
//!
//! An entry's place is an offset in the file (its file number is zero); its actor slot counts the footer's actors, or is
//! [`ACTOR_IN_SIDE_TABLE`], and then the actor is in its extra. An entry of siblings has an extra with their dots, and its run
//! is of format 2. A run in which some record has a value dot is of format 3, which its footer does not show: versions that
//! cannot read such records refuse the run by name. Any other run is of format 1. (Entries of siblings in a run of format 1 do
//! not say what their siblings are: its records have to be read.) The trailer is the end of the last block: whoever has the end of
//! a file finds the last run, whose start is the end of the one before.
//!
//! What it is not: it reads and writes no file, and does not know which of several runs counts.
//!
//! Invariant: a footer that was accepted names every record of its run once, in the order of the hashes.

mod builder;
mod ending;
mod footer;
mod trailer;

pub use builder::FooterBuilder;
pub(crate) use ending::encode_footer;
pub use ending::{RunFields, encode_ending};
pub use footer::{FooterEntry, FooterRef};
pub use trailer::{PartitionFileHeader, Replayed, TRAILER_BYTES, Trailer};

pub use crate::index::ACTOR_IN_SIDE_TABLE;

/// The format of a run without siblings, and of the header of every file.
pub const FORMAT_PLAIN: u32 = 1;
/// The format of a run with siblings.
pub const FORMAT_SIBLINGS: u32 = 2;
/// The format of a run with a value that was touched after it was made, and the newest that is read.
pub const FORMAT_VALUE_DOTS: u32 = 3;
/// Bytes of a partition file's header; runs begin and end at multiples of it.
pub const RUN_BLOCK_BYTES: usize = crate::frame::BLOCK_BYTES;
/// Bytes of an entry of the footer.
pub const ENTRY_BYTES: usize = crate::index::SLOT_BYTES;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// Fewer bytes than it takes.
    #[error("{needed} bytes are needed, {available} are there")]
    Truncated {
        /// Needed.
        needed: u64,
        /// There.
        available: u64,
    },
    /// Something else.
    #[error("this is not part of an Annulus partition file")]
    Foreign,
    /// Written by a newer version; this one leaves it alone.
    #[error("it has format {found}; this version reads up to {supported}")]
    Newer {
        /// As written.
        found: u32,
        /// The newest that is read.
        supported: u32,
    },
    /// The bytes are not those that were written.
    #[error("the checksum does not match")]
    Damaged,
    /// A whole trailer, but of another place.
    #[error("it was written for offset {written_for}, not {found_at}")]
    Misplaced {
        /// As written.
        written_for: u64,
        /// Where it is.
        found_at: u64,
    },
    /// A footer of format 1 that is whole, but does not say what the siblings of some records are: the records do.
    #[error("it does not say what siblings there are")]
    SiblingsUnknown,
    /// Contents that no writer writes.
    #[error("its contents are impossible: {0}")]
    Contents(&'static str),
}

#[cfg(test)]
mod tests;
