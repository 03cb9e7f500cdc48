//! Writes that are not yet durable, by key: commands see them before the index does.
//!
//! What it is: a bounded table from a key's keyed hash to its newest write in flight. A later write
//! of the key replaces an earlier one; when a commit ends, only entries that still belong to it go.
//!
//! What it is not: it knows neither commits nor records; entries are whatever the caller keeps.
//!
//! Invariant: at most one entry per key; `bytes` is the sum of what its entries were said to take;
//! both are bounded, except that a lone entry may be of any size.

use crate::keyed_hash::{BuildPassThrough, KeyedHash};
use std::collections::HashMap;

/// How much may be pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingLimits {
    /// Entries at most.
    pub entries_max: usize,
    /// Sum of the entries' bytes at most.
    pub bytes_max: usize,
}

/// Newest writes in flight, by keyed hash.
pub struct Pending<T> {
    entries: HashMap<KeyedHash, (T, usize), BuildPassThrough>,
    bytes: usize,
    limits: PendingLimits,
}

impl<T> Pending<T> {
    /// An empty table. Asserts that `limits` allow at least one entry.
    #[must_use]
    pub fn new(limits: PendingLimits) -> Pending<T> {
        assert!(limits.entries_max > 0 && limits.bytes_max > 0);
        Pending { entries: HashMap::default(), bytes: 0, limits }
    }

    /// Whether one more entry of `bytes` is within the limits. An empty table has room for any.
    #[must_use]
    #[inline]
    pub fn has_room(&self, bytes: usize) -> bool {
        let fits =
            self.entries.len() < self.limits.entries_max && bytes <= self.limits.bytes_max.saturating_sub(self.bytes);
        self.entries.is_empty() || fits
    }

    /// Makes `value`, of `bytes`, the newest write of the key, and returns the one that it replaced.
    /// Asserts that there [was room](Pending::has_room).
    pub fn insert(&mut self, hash: u128, value: T, bytes: usize) -> Option<T> {
        assert!(self.has_room(bytes), "pending writes are bounded");
        self.bytes += bytes;
        let (old, old_bytes) = self.entries.insert(KeyedHash::new(hash), (value, bytes))?;
        self.bytes -= old_bytes;
        Some(old)
    }

    /// The newest pending write of the key.
    #[must_use]
    #[inline]
    pub fn get(&self, hash: u128) -> Option<&T> {
        if self.entries.is_empty() {
            return None;
        }
        self.entries.get(&KeyedHash::new(hash)).map(|(value, _)| value)
    }

    /// The newest pending write of the key, to be changed.
    #[must_use]
    pub fn get_mut(&mut self, hash: u128) -> Option<&mut T> {
        self.entries.get_mut(&KeyedHash::new(hash)).map(|(value, _)| value)
    }

    /// Removes the key's entry if `condition` holds for it (that it belongs to the commit that
    /// ended), and returns it.
    pub fn remove_if(&mut self, hash: u128, condition: impl FnOnce(&T) -> bool) -> Option<T> {
        let std::collections::hash_map::Entry::Occupied(entry) = self.entries.entry(KeyedHash::new(hash)) else {
            return None;
        };
        if !condition(&entry.get().0) {
            return None;
        }
        let (value, bytes) = entry.remove();
        self.bytes -= bytes;
        Some(value)
    }

    /// All entries with their keyed hashes, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u128, &T)> {
        self.entries.iter().map(|(hash, (value, _))| (hash.get(), value))
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sum of the bytes that the entries were said to take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PendingLimits = PendingLimits { entries_max: 3, bytes_max: 100 };

    #[test]
    fn a_commit_removes_only_its_own_entries() {
        let mut pending = Pending::new(LIMITS);
        assert_eq!(pending.insert(1, "first", 10), None);
        assert_eq!(pending.insert(2, "first", 10), None);
        assert_eq!(pending.insert(1, "second", 30), Some("first"));
        assert_eq!((pending.len(), pending.bytes()), (2, 40));
        assert_eq!(pending.remove_if(1, |commit| *commit == "first"), None);
        assert_eq!(pending.remove_if(2, |commit| *commit == "first"), Some("first"));
        assert_eq!(pending.remove_if(2, |_| true), None);
        assert_eq!((pending.get(1), pending.get(2)), (Some(&"second"), None));
        assert_eq!(pending.iter().collect::<Vec<_>>(), [(1, &"second")]);
        assert_eq!(pending.remove_if(1, |_| true), Some("second"));
        assert!(pending.is_empty() && pending.bytes() == 0);
    }

    #[test]
    fn room_is_bounded_by_entries_and_bytes() {
        let mut pending = Pending::new(LIMITS);
        assert!(pending.has_room(usize::MAX));
        pending.insert(1, (), 60);
        assert!(pending.has_room(40) && !pending.has_room(41));
        pending.insert(2, (), 1);
        pending.insert(3, (), 1);
        assert!(!pending.has_room(0));
        for hash in [1, 2, 3] {
            assert!(pending.remove_if(hash, |()| true).is_some());
        }
        pending.insert(9, (), 1000);
        assert!(!pending.has_room(1));
    }

    #[test]
    #[should_panic(expected = "bounded")]
    fn an_insert_beyond_the_limits_is_a_bug() {
        let mut pending = Pending::new(LIMITS);
        pending.insert(1, (), 100);
        pending.insert(2, (), 1);
    }
}
