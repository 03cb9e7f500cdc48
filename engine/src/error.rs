//! What can go wrong, and whether the store is usable afterwards.

use crate::disk::DiskError;
use crate::segment::SegmentError;

/// Why a store does not open. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk refused.
    #[error("{path}: {error}")]
    Disk {
        /// Which file or directory.
        path: String,
        /// What it said.
        error: DiskError,
    },
    /// A segment is not one of this store's, or of a newer format.
    #[error("{path}: {error}; if it does not belong here, move it away")]
    Segment {
        /// Which file.
        path: String,
        /// What is wrong.
        error: SegmentError,
    },
    /// A partition file is not one of this store's, or of a newer format.
    #[error("{path}: {error}; if it does not belong here, move it away")]
    PartitionFile {
        /// Which file.
        path: String,
        /// What is wrong.
        error: crate::sealed_run::RunError,
    },
    /// What a FLUSHALL deleted could not be taken out of a partition's files while the number of cores changes.
    #[error("partition {0}: what FLUSHALL deleted cannot be taken out of its files now; the log says why; try again")]
    Purge(u16),
    /// More files of a partition than places can name.
    #[error("partition {0} has too many files")]
    TooManyPartitionFiles(u16),
    /// A whole frame holds what is no record: written by a newer version or by a fault of this one.
    #[error("{path}: {error}")]
    Frame {
        /// Which file.
        path: String,
        /// What is wrong.
        error: crate::frame::FrameError,
    },
    /// Files or records say of a partition for hints that it is kept for two nodes, or of two that they are for one.
    #[error("{path}: partition {partition} holds hints for another node; this file does not belong here: move it away")]
    HintsOfTwo {
        /// Which partition.
        partition: u16,
        /// Where that was found.
        path: String,
    },
    /// The hints that have to move to other cores do not fit memory.
    #[error(
        "{0} bytes of hints for other nodes have to move to other cores, more than memory holds: let them be handed over with the old number of cores first"
    )]
    TooManyHints(usize),
    /// More segments than places can name.
    #[error("the log has {0} segments; at most {max} can be used", max = crate::index::Place::LOG_FILES)]
    TooManySegments(usize),
}

/// Why a write was not taken. The store goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The memory limit is reached and the key is new.
    #[error("the memory limit is reached")]
    OutOfMemory,
    /// The disk's water mark is reached.
    #[error("the disk is nearly full")]
    DiskFull,
    /// The disk failed twice.
    #[error("the store is read-only")]
    ReadOnly,
    /// Buffers are full, or a new incarnation is awaited: try again after the next event.
    #[error("the log's buffers are full")]
    Stall,
    /// The record is too long.
    #[error("the value and its key take {bytes} bytes; at most {max} are stored")]
    TooLarge {
        /// Bytes of the record.
        bytes: usize,
        /// The most.
        max: usize,
    },
}

/// Why a record could not be read. It stays where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The disk refused.
    #[error("{0}")]
    Disk(DiskError),
    /// The bytes are not those that were written; they are not given out.
    #[error("the record is damaged ({0})")]
    Corrupt(crate::record::RecordError),
    /// A whole record, but another than the index says.
    #[error("another record lies where it should be")]
    Misplaced,
    /// The key was deleted before the read began.
    #[error("the key is gone")]
    Gone,
}
