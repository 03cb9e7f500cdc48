//! What reads give: records, where to read one, what is known without it.
//!
//! Invariant: the bytes of a [`Record`] have been checked.

use std::rc::Rc;

use annulus_object::{Clock, Dot};

use crate::hot_log::Commit;
use crate::index::IndexHash;
use crate::record::RecordRef;

/// A whole record, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    bytes: Rc<[u8]>,
}

impl Record {
    pub(super) fn new(bytes: Rc<[u8]>) -> Self {
        Self { bytes }
    }

    /// What it says.
    pub fn view(&self) -> RecordRef<'_> {
        RecordRef::checked_before(&self.bytes)
    }

    /// Its key.
    pub fn key(&self) -> &[u8] {
        self.view().key()
    }

    /// Its value; of siblings that of the one which is shown.
    pub fn value(&self, now_ms: u64) -> &[u8] {
        self.view().value(now_ms)
    }

    /// Its dot.
    pub fn dot(&self) -> Dot {
        self.view().dot()
    }

    /// True when there is a value to be shown: some sibling is neither a tombstone nor expired.
    pub fn is_shown(&self, now_ms: u64) -> bool {
        self.view().is_shown(now_ms)
    }
}

/// Where a record has to be read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadPlan {
    pub(super) file: u16,
    /// Which use of the file.
    pub(super) file_use: u64,
    pub(super) offset: u64,
    pub(super) bytes: usize,
    pub(super) hash: IndexHash,
    pub(super) clock: Clock,
    pub(super) partition: u16,
}

/// What a look-up gives without waiting.
#[derive(Debug)]
pub enum Found<'a> {
    /// No such key, or it has expired.
    Absent {
        /// The delete that this depends on, while it is not durable.
        after: Option<Commit>,
    },
    /// The record is in memory.
    Here {
        /// The record.
        record: RecordRef<'a>,
        /// The write that this depends on, while it is not durable.
        after: Option<Commit>,
    },
    /// It must be read.
    OnDisk(ReadPlan),
}

/// What is known of a key without reading its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// Clock of its version.
    pub clock: Clock,
    /// When it expires, 0 for never; 0 where the record is needed.
    pub expires_at_ms: u64,
    /// Bytes of its record, rounded up by at most 6.25 % and 256.
    pub record_bytes: usize,
    /// It has siblings: whether any of them is shown, and when that expires, only the record tells.
    pub needs_record: bool,
    /// The write that this depends on, while it is not durable.
    pub after: Option<Commit>,
}

/// One key of a scan.
#[derive(Debug)]
pub enum ScanEntry {
    /// Its record.
    InMemory(Rc<Record>),
    /// Where to read its record.
    OnDisk(ReadPlan),
}

/// A part of a scan.
#[derive(Debug)]
pub struct ScanBatch {
    /// Keys that are not durable yet, then the others in the order of their hashes.
    pub entries: Vec<ScanEntry>,
    /// The hash to go on from; `None` at the partition's end.
    pub next: Option<u64>,
}
