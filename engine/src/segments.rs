//! The segments of a core by file number, and what is still needed of each.
//!
//! Invariant: `live` is the number of index entries whose place is in the segment (a FLUSHALL mark counts as one); a segment
//! is given to another use only when that and its pins are zero and the log's durable tail has passed it.

use crate::index::{IndexHash, Place};
use crate::resident::Blocks;

/// What a segment is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Zero-filled or recycled, waiting to be activated.
    Spare,
    /// Being written.
    Active,
    /// Full, or retired after a failed write; its good frames are read.
    Sealed,
    /// Nothing in it is needed; reused when a durable frame says that the log begins behind it.
    Passed,
    /// Of another layout: read while its records move into this one.
    Foreign,
}

/// One segment.
#[derive(Debug)]
pub(crate) struct Segment<F> {
    /// The open file.
    pub file: F,
    /// Its path below the data directory.
    pub path: String,
    /// Length.
    pub bytes: u64,
    /// Number of this use; 0 before the first.
    pub sequence: u64,
    /// The core's newest sequence when this segment was closed: what was activated later is above it.
    pub closed_at: u64,
    /// Bytes written in this use, the header included.
    pub written: u64,
    /// Index entries that point here, and a mark.
    pub live: u32,
    /// Reads in flight.
    pub pins: u32,
    /// What it is there for.
    pub state: Use,
    /// How many of `live` are tombstones.
    pub live_tombstones: u32,
    /// Entries here that are tombstones, or were when they were noted.
    pub tombstones: Vec<(u16, IndexHash)>,
    /// It holds the newest FLUSHALL mark.
    pub has_mark: bool,
    /// Which of its blocks are in memory.
    pub resident: Blocks,
    /// Its header was found damaged; what it is was told from its frames.
    pub header_damaged: bool,
}

/// All segments of a core.
#[derive(Debug)]
pub(crate) struct Segments<F> {
    by_file: Vec<Option<Segment<F>>>,
}

impl<F> Segments<F> {
    /// None.
    pub fn new() -> Self {
        Self { by_file: Vec::new() }
    }

    /// Adds a segment and numbers it; `None` when no number is left.
    pub fn add(&mut self, segment: Segment<F>) -> Option<u16> {
        let file = match self.by_file.iter().position(Option::is_none) {
            Some(free) => free,
            None if self.by_file.len() < usize::from(Place::FILES_MAX) => {
                self.by_file.push(None);
                self.by_file.len() - 1
            }
            None => return None,
        };
        self.by_file[file] = Some(segment);
        Some(u16::try_from(file).expect("below Place::FILES_MAX"))
    }

    /// A segment.
    pub fn get(&self, file: u16) -> &Segment<F> {
        self.by_file[usize::from(file)].as_ref().expect("places name segments that are there")
    }

    /// Which use a segment is in; `None` when there is none of that number.
    pub fn sequence(&self, file: u16) -> Option<u64> {
        self.by_file.get(usize::from(file))?.as_ref().map(|segment| segment.sequence)
    }

    /// A segment.
    pub fn get_mut(&mut self, file: u16) -> &mut Segment<F> {
        self.by_file[usize::from(file)].as_mut().expect("places name segments that are there")
    }

    /// Takes a segment that nothing needs out.
    pub fn remove(&mut self, file: u16) -> Segment<F> {
        let segment = self.by_file[usize::from(file)].take().expect("a segment is removed once");
        assert!(segment.live == 0 && segment.pins == 0, "nothing points at a segment that goes");
        segment
    }

    /// All, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &Segment<F>)> {
        self.by_file.iter().enumerate().filter_map(|(file, segment)| {
            Some((u16::try_from(file).expect("below Place::FILES_MAX"), segment.as_ref()?))
        })
    }

    /// An index entry, or a mark, points into `file` from now on.
    pub fn gained(&mut self, file: u16, is_tombstone: bool) {
        let segment = self.get_mut(file);
        segment.live += 1;
        segment.live_tombstones += u32::from(is_tombstone);
    }

    /// An index entry, or a mark, points into `file` no more.
    pub fn lost(&mut self, file: u16, is_tombstone: bool) {
        let segment = self.get_mut(file);
        assert!(segment.live > 0, "an entry is counted once");
        segment.live -= 1;
        if is_tombstone {
            assert!(segment.live_tombstones > 0, "a tombstone is counted once");
            segment.live_tombstones -= 1;
        }
    }

    /// The value of an entry that points into `file` has expired.
    pub fn expired(&mut self, file: u16, partition: u16, hash: IndexHash) {
        let segment = self.get_mut(file);
        segment.live_tombstones += 1;
        assert!(segment.live_tombstones <= segment.live);
        segment.tombstones.push((partition, hash));
    }

    /// Length of all files.
    pub fn bytes(&self) -> u64 {
        self.iter().map(|(_, segment)| segment.bytes).sum()
    }

    /// Number of segments.
    pub fn len(&self) -> usize {
        self.iter().count()
    }
}
