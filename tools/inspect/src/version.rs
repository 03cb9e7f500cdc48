//! One version of a key, as the index of a start would know it, and which of several counts.
//!
//! It is not the record: it says where that lies.
//!
//! Invariant: the order in which versions are compared makes no difference to which one is left.

use std::cmp::Ordering;

use annulus_engine::index::IndexHash;
use annulus_engine::record::{Kind, RecordRef};
use annulus_object::{Actor, Clock, Dot};

/// The bits of a hash that the index does not know.
pub const UNKNOWN_BITS: u128 = (1 << 56) - 1;

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a segment of the log.
    Log {
        /// Which, in the order in which they were read.
        segment: u32,
        /// Byte of the file.
        offset: u64,
    },
    /// In a run of a partition file.
    Run {
        /// Which of the partition's files.
        file: u16,
        /// Which of the file's runs.
        run: u16,
        /// Byte of the file.
        offset: u64,
    },
}

/// What a version's writer had seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Seen {
    /// Every dot with a clock up to it.
    pub floor: Clock,
    /// And of these actors every dot up to these clocks.
    pub context: Box<[(Actor, Clock)]>,
}

/// One version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The key, as far as the index knows it.
    pub hash: IndexHash,
    /// The write that made it.
    pub dot: Dot,
    /// What it replaces.
    pub seen: Seen,
    /// What it says.
    pub kind: Kind,
    /// Where its record is.
    pub place: Place,
    /// Bytes of the record.
    pub bytes: u32,
}

impl Version {
    /// The version that a record is.
    pub fn of_record(record: &RecordRef<'_>, place: Place) -> Self {
        Self {
            hash: IndexHash::of(record.hash()),
            dot: record.dot(),
            seen: Seen::of_record(record),
            kind: record.kind(),
            place,
            bytes: u32::try_from(record.total_bytes()).expect("records are bounded"),
        }
    }

    /// Whether it deletes.
    pub fn is_tombstone(&self) -> bool {
        self.kind == Kind::Tombstone
    }

    /// The smallest and the largest hash of a key that this may be: the index knows 72 bits.
    pub fn hashes(&self) -> [u128; 2] {
        hashes_of(self.hash)
    }

    fn sees(&self, dot: Dot) -> bool {
        dot.clock <= self.seen.floor
            || (dot.actor == self.dot.actor && dot.clock <= self.dot.clock)
            || self.seen.context.iter().any(|(actor, clock)| *actor == dot.actor && dot.clock <= *clock)
    }

    /// `Greater` when this one counts, `Less` when the other does; `None` when neither saw the other.
    pub fn compare(&self, other: &Version) -> Option<Ordering> {
        if self.dot == other.dot {
            // The same version, copied; a value that expired became a tombstone under its own dot.
            return Some(self.is_tombstone().cmp(&other.is_tombstone()));
        }
        // Larger clocks see smaller ones, never the other way round.
        if self.dot.clock > other.dot.clock && self.sees(other.dot) {
            return Some(Ordering::Greater);
        }
        if other.dot.clock > self.dot.clock && other.sees(self.dot) {
            return Some(Ordering::Less);
        }
        None
    }
}

/// The smallest and the largest hash of a key that the index knows so.
pub fn hashes_of(hash: IndexHash) -> [u128; 2] {
    let first = u128::from(hash.high) << 64 | u128::from(hash.low) << 56;
    [first, first | UNKNOWN_BITS]
}

impl Seen {
    /// What a record's context says, besides its own dot.
    pub fn of_record(record: &RecordRef<'_>) -> Self {
        Self { floor: record.floor(), context: record.context_entries().collect() }
    }
}

/// The version of a key that counts, by its index, and whether some pair did not see one another; then the newest dot counts.
pub fn newest(versions: &[Version]) -> (usize, bool) {
    assert!(!versions.is_empty(), "a key that was met has a version");
    let mut concurrent = false;
    let mut newest = 0;
    for (index, version) in versions.iter().enumerate().skip(1) {
        let order = version.compare(&versions[newest]).unwrap_or_else(|| {
            concurrent = true;
            version.dot.cmp(&versions[newest].dot)
        });
        if order == Ordering::Greater {
            newest = index;
        }
    }
    (newest, concurrent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(at: u64, actor: u64, floor: u64, kind: Kind) -> Version {
        let clock = |raw| Clock::from_raw(raw).unwrap();
        Version {
            hash: IndexHash { high: 1, low: 0 },
            dot: Dot::new(clock(at), Actor::from_raw(actor)),
            seen: Seen { floor: clock(floor), context: Box::default() },
            kind,
            place: Place::Log { segment: 0, offset: 0 },
            bytes: 64,
        }
    }

    #[test]
    fn what_saw_the_other_counts() {
        let first = version(5, 1, 0, Kind::Value);
        let by_floor = version(9, 2, 5, Kind::Value);
        let own = version(7, 1, 0, Kind::Tombstone);
        assert_eq!(by_floor.compare(&first), Some(Ordering::Greater));
        assert_eq!(first.compare(&by_floor), Some(Ordering::Less));
        assert_eq!(own.compare(&first), Some(Ordering::Greater));
        assert_eq!(own.compare(&by_floor), None);
        let mut by_context = by_floor.clone();
        by_context.seen.context = [(Actor::from_raw(1), Clock::from_raw(7).unwrap())].into();
        assert_eq!(by_context.compare(&own), Some(Ordering::Greater));
    }

    #[test]
    fn of_one_dot_the_tombstone_counts() {
        let value = version(5, 1, 0, Kind::Value);
        let expired = version(5, 1, 0, Kind::Tombstone);
        assert_eq!(newest(&[value.clone(), expired.clone()]), (1, false));
        assert_eq!(newest(&[expired, value]), (0, false));
    }

    #[test]
    fn of_two_that_did_not_see_each_other_the_newer_counts() {
        let (one, other) = (version(5, 1, 0, Kind::Value), version(6, 2, 0, Kind::Value));
        assert_eq!(newest(&[one.clone(), other.clone()]), (1, true));
        assert_eq!(newest(&[other, one]), (0, true));
    }
}
