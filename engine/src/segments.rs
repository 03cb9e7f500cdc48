//! The segments of a core by file number, and what is still needed of each.
//!
//! Invariant: `live` is the number of index entries whose place is in the segment (a FLUSHALL mark counts as one); a segment
//! is given to another use only when that and its pins are zero and the log's durable tail has passed it.

use annulus_object::Clock;

use crate::index::{Place, class_bytes};
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
    /// Bytes written in this use, the header included.
    pub written: u64,
    /// Index entries that point here, and a mark.
    pub live: u32,
    /// Reads in flight.
    pub pins: u32,
    /// What it is there for.
    pub state: Use,
    /// Size classes of the records that were written in this use, and of those that the index still names, in bytes.
    pub class_bytes: (u64, u64),
    /// Bytes of the records that were written in this use.
    pub record_bytes: u64,
    /// The smallest clock in it.
    pub min_clock: Clock,
    /// It holds the newest FLUSHALL mark.
    pub has_mark: bool,
    /// It is being drained: the log's tail passes all segments of a drain at once, or none. A run that was drained from several
    /// does not count while the log still has one of them, and then it must have all.
    pub held: bool,
    /// Which of its blocks are in memory.
    pub resident: Blocks,
    /// Its header was found damaged; what it is was told from its frames.
    pub header_damaged: bool,
    /// Records that count cannot be read any more: it is not drained.
    pub damaged: bool,
}

impl<F> Segment<F> {
    /// A segment that holds nothing yet.
    pub fn new(file: F, path: String, bytes: u64, state: Use) -> Self {
        Self {
            file,
            path,
            bytes,
            sequence: 0,
            written: 0,
            live: 0,
            pins: 0,
            state,
            class_bytes: (0, 0),
            record_bytes: 0,
            min_clock: Clock::MAX,
            has_mark: false,
            held: false,
            resident: Blocks::default(),
            header_damaged: false,
            damaged: false,
        }
    }

    /// What an earlier use left behind does not count.
    pub fn begin_use(&mut self) {
        (self.class_bytes, self.record_bytes, self.min_clock) = ((0, 0), 0, Clock::MAX);
        self.damaged = false;
    }

    /// About how many bytes of its records the index still names.
    pub fn live_bytes(&self) -> u64 {
        share(self.record_bytes, self.class_bytes)
    }
}

/// Of `bytes`, the share that (all, live) says.
pub(crate) fn share(bytes: u64, (all, live): (u64, u64)) -> u64 {
    if all == 0 {
        return 0;
    }
    let share = u128::from(bytes) * u128::from(live.min(all)) / u128::from(all);
    u64::try_from(share).expect("a share is not more than the whole")
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
            None if self.by_file.len() < usize::from(Place::LOG_FILES) => {
                self.by_file.push(None);
                self.by_file.len() - 1
            }
            None => return None,
        };
        self.by_file[file] = Some(segment);
        Some(u16::try_from(file).expect("below Place::LOG_FILES"))
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
            Some((u16::try_from(file).expect("below Place::LOG_FILES"), segment.as_ref()?))
        })
    }

    /// A record of so many bytes was written to `file`.
    pub fn wrote(&mut self, file: u16, record_bytes: usize, class: u8) {
        let segment = self.get_mut(file);
        segment.record_bytes += record_bytes as u64;
        segment.class_bytes.0 += class_bytes(class) as u64;
    }

    /// An index entry points into `file` from now on.
    pub fn gained(&mut self, file: u16, class: u8) {
        let segment = self.get_mut(file);
        segment.live += 1;
        segment.class_bytes.1 += class_bytes(class) as u64;
    }

    /// An index entry points into `file` no more.
    pub fn lost(&mut self, file: u16, class: u8) {
        let segment = self.get_mut(file);
        assert!(segment.live > 0, "an entry is counted once");
        segment.live -= 1;
        segment.class_bytes.1 -= class_bytes(class) as u64;
    }

    /// The newest FLUSHALL mark is in `file` from now on.
    pub fn gained_mark(&mut self, file: u16) {
        let segment = self.get_mut(file);
        assert!(!std::mem::replace(&mut segment.has_mark, true), "there is one newest mark");
        segment.live += 1;
    }

    /// It is no more.
    pub fn lost_mark(&mut self, file: u16) {
        let segment = self.get_mut(file);
        assert!(std::mem::replace(&mut segment.has_mark, false), "the mark was counted");
        segment.live -= 1;
    }

    /// About how many bytes of records the index names.
    pub fn live_bytes(&self) -> u64 {
        self.iter().map(|(_, segment)| segment.live_bytes()).sum()
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
