//! What one record says of its key, as the index of a start would know it, and which of several count.
//!
//! It is not the record: it says where that lies. A record says a key's whole state, of one version or of several siblings; of
//! two records the one counts that includes the other. Where neither does, both count, and a start joins them.
//!
//! Invariant: the order in which versions are compared makes no difference to which are left.

use std::cmp::Ordering;

use annulus_engine::Versions;
use annulus_engine::index::IndexHash;
use annulus_engine::record::{Kind, RecordRef};
use annulus_object::{Actor, Clock, Context, Dot};

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
    /// Which siblings there are, and whether each deletes; `None` for one version.
    pub siblings: Option<Box<[(Dot, bool)]>>,
}

/// One version, or several that one record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The key, as far as the index knows it.
    pub hash: IndexHash,
    /// The write that made it; of siblings, the latest.
    pub dot: Dot,
    /// What it replaces, and which siblings it holds.
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

    /// The state that it says, without values.
    pub fn state(&self) -> Versions {
        let mut context = Context::from_parts(self.seen.floor, self.seen.context.iter().copied());
        match &self.seen.siblings {
            Some(siblings) => Versions { siblings: siblings.iter().copied().collect(), context },
            None => {
                context.insert(self.dot);
                Versions { siblings: [(self.dot, self.is_tombstone())].into_iter().collect(), context }
            }
        }
    }

    /// `Greater` when this one counts, `Less` when the other does; `None` when neither includes the other.
    pub fn compare(&self, other: &Version) -> Option<Ordering> {
        let (ours, theirs) = (self.state(), other.state());
        match (ours.includes(&theirs), theirs.includes(&ours)) {
            // The same, copied; a value that expired became a tombstone under its own dot.
            (true, true) => Some(self.is_tombstone().cmp(&other.is_tombstone())),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => None,
        }
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
        let dots = || record.siblings().map(|sibling| (sibling.dot, sibling.value.is_none())).collect();
        let siblings = (record.kind() == Kind::Siblings).then(dots);
        Self { floor: record.floor(), context: record.context_entries().collect(), siblings }
    }
}

/// The versions of a key that count, by their indices, the newest first: one, unless several say parts of its state.
pub fn counting(versions: &[Version]) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::new();
    for (index, version) in versions.iter().enumerate() {
        let order = |other: &usize| version.compare(&versions[*other]);
        if kept.iter().any(|other| matches!(order(other), Some(Ordering::Less | Ordering::Equal))) {
            continue;
        }
        kept.retain(|other| order(other) != Some(Ordering::Greater));
        kept.push(index);
    }
    kept.sort_by_key(|index| std::cmp::Reverse(versions[*index].dot));
    kept
}

/// What several versions of a key say together.
pub fn joined(versions: &[Version]) -> Versions {
    versions.iter().fold(Versions::default(), |mut joined, version| {
        joined.merge(&version.state());
        joined
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(at: u64, actor: u64, floor: u64, kind: Kind) -> Version {
        let clock = |raw| Clock::from_raw(raw).unwrap();
        Version {
            hash: IndexHash { high: 1, low: 0 },
            dot: Dot::new(clock(at), Actor::from_raw(actor)),
            seen: Seen { floor: clock(floor), ..Seen::default() },
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
        assert_eq!(counting(&[value.clone(), expired.clone()]), [1]);
        assert_eq!(counting(&[expired, value]), [0]);
    }

    #[test]
    fn two_that_did_not_see_each_other_count_until_a_third_has_both() {
        let (one, other) = (version(5, 1, 0, Kind::Value), version(6, 2, 0, Kind::Value));
        assert_eq!(counting(&[one.clone(), other.clone()]), [1, 0]);
        assert_eq!(counting(&[other.clone(), one.clone(), one.clone()]), [0, 1]);
        let mut both = version(6, 2, 0, Kind::Siblings);
        both.seen.siblings = Some([(one.dot, false), (other.dot, false)].into());
        both.seen.context = [one.dot, other.dot].map(|dot| (dot.actor, dot.clock)).into();
        assert_eq!(counting(&[one.clone(), both.clone(), other.clone()]), [1]);
        assert_eq!(joined(&[one, other]), both.state());
    }
}
