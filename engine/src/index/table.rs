//! One partition's hash table: linear probing in hash order, without wrapping.
//!
//! ```text
//! slots   home positions ─────────────────────────────────────────┬─ pad ─┐
//!         │ a │ b │ c │   │   │ d │ e │   │ f │ ...               │       │
//! home(hash) = high × homes / 2^64, which grows with the hash
//! ```
//!
//! Invariant: filled slots ascend by hash; each is at its home or behind it, with no empty slot
//! between. So a lookup walks from the home to the first empty or larger slot, and a range of hashes
//! is a run of slots. Tables grow by a quarter at nine tenths full and shrink a step below 0.68;
//! every partition starts at a different point of that step, so that at any count the tables of a
//! core are spread over it and their memory per key stays near its average.
//!
//! What it is not: it knows nothing of what a slot means beyond its hash.

use super::entry::IndexHash;

/// A fixed-size slot that carries its own hash.
pub(crate) trait Slot: Copy {
    /// A slot that holds nothing.
    const EMPTY: Self;
    /// Whether the slot holds nothing.
    fn is_empty(&self) -> bool;
    /// The upper 64 bits of the hash.
    fn high(&self) -> u64;
    /// The lower 8 bits of the hash.
    fn low(&self) -> u8;
    /// The whole hash.
    #[inline]
    fn hash(&self) -> IndexHash {
        IndexHash {
            high: self.high(),
            low: self.low(),
        }
    }
}

/// Slots of the smallest table at the first point of the growth step.
const SLOTS_MIN: f64 = 8.0;
const GROWTH: f64 = 1.25;
const PAD_MAX: usize = 24;

/// A hash table of one partition. Empty tables own no memory.
pub(crate) struct Table<S> {
    slots: Vec<S>,
    /// Home positions; the rest of `slots` is the pad that the last entries may overflow into.
    homes: usize,
    len: usize,
    /// Growth steps taken.
    level: u32,
    /// Where in a growth step this table's sizes lie: 0 to 1.
    phase: f32,
}

impl<S: Slot> Table<S> {
    /// An empty table. `ordinal` chooses the point of the growth step: consecutive ones spread
    /// evenly, as multiples of the golden ratio do.
    pub(crate) fn new(ordinal: u16) -> Table<S> {
        let phase = (f64::from(ordinal) * 0.618_033_988_749_894_9).fract() as f32;
        Table {
            slots: Vec::new(),
            homes: 0,
            len: 0,
            level: 0,
            phase,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes allocated.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<S>()
    }

    #[inline]
    pub(crate) fn get(&self, hash: IndexHash) -> Option<&S> {
        let index = self.find(hash).ok()?;
        Some(&self.slots[index])
    }

    /// The slot of `hash`, for changes that leave its hash as it is.
    #[inline]
    pub(crate) fn get_mut(&mut self, hash: IndexHash) -> Option<&mut S> {
        let index = self.find(hash).ok()?;
        Some(&mut self.slots[index])
    }

    /// Stores `slot`, and returns the one of the same hash that it replaced.
    #[inline]
    pub(crate) fn insert(&mut self, slot: S) -> Option<S> {
        assert!(!slot.is_empty(), "an empty slot cannot be told from none");
        match self.find(slot.hash()) {
            Ok(index) => Some(std::mem::replace(&mut self.slots[index], slot)),
            Err(index) => {
                self.insert_at(index, slot);
                None
            }
        }
    }

    /// Removes the slot of `hash`; those behind it that are not at home move one back.
    pub(crate) fn remove(&mut self, hash: IndexHash) -> Option<S> {
        let index = self.find(hash).ok()?;
        let removed = self.slots[index];
        let behind = self.slots[index + 1..].iter().zip(index + 1..);
        let displaced = behind
            .take_while(|(slot, at)| !slot.is_empty() && self.home(slot.high()) < *at)
            .count();
        self.slots.copy_within(index + 1..=index + displaced, index);
        self.slots[index + displaced] = S::EMPTY;
        self.len -= 1;
        self.maybe_shrink();
        Some(removed)
    }

    /// Filled slots from `high` on, in order.
    pub(crate) fn iter_from(&self, high: u64) -> impl Iterator<Item = &S> {
        let start = self.home(high);
        let filled = self.slots[start..].iter().filter(|slot| !slot.is_empty());
        filled.skip_while(move |slot| slot.high() < high)
    }

    /// Filled slots from a position chosen by `random` on, each once.
    pub(crate) fn iter_around(&self, random: u64) -> impl Iterator<Item = &S> {
        let start = fast_range(random, self.slots.len());
        let (before, behind) = self.slots.split_at(start);
        behind.iter().chain(before).filter(|slot| !slot.is_empty())
    }

    /// Removes every slot that `keep` refuses.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&S) -> bool) {
        let mut end = 0;
        for index in 0..self.slots.len() {
            let slot = std::mem::replace(&mut self.slots[index], S::EMPTY);
            if slot.is_empty() {
                continue;
            }
            if !keep(&slot) {
                self.len -= 1;
                continue;
            }
            let at = self.home(slot.high()).max(end);
            assert!(at <= index, "slots only move back");
            self.slots[at] = slot;
            end = at + 1;
        }
        self.maybe_shrink();
    }

    /// Removes everything and frees the memory.
    pub(crate) fn clear(&mut self) {
        (self.slots, self.homes, self.len, self.level) = (Vec::new(), 0, 0, 0);
    }

    #[inline]
    fn home(&self, high: u64) -> usize {
        fast_range(high, self.homes)
    }

    /// Where `hash` is, or else where it belongs.
    #[inline]
    fn find(&self, hash: IndexHash) -> Result<usize, usize> {
        let start = self.home(hash.high);
        for (offset, slot) in self.slots[start..].iter().enumerate() {
            if slot.is_empty() || slot.high() > hash.high {
                return Err(start + offset);
            }
            if slot.high() == hash.high && slot.low() >= hash.low {
                let found = slot.low() == hash.low;
                return if found { Ok(start + offset) } else { Err(start + offset) };
            }
        }
        Err(self.slots.len())
    }

    fn insert_at(&mut self, mut index: usize, slot: S) {
        if (self.len + 1) * 10 > self.homes * 9 {
            self.rebuild(self.level + u32::from(self.len > 0));
            index = self.find(slot.hash()).expect_err("the hash is not there");
        }
        // A full pad means growth too, unless the hashes are so uneven that it would not help:
        // then rebuilding lengthens the pad.
        let empty = loop {
            if let Some(distance) = self.slots[index..].iter().position(Slot::is_empty) {
                break index + distance;
            }
            self.rebuild(self.level + u32::from(self.len * 2 > self.homes));
            index = self.find(slot.hash()).expect_err("the hash is not there");
        };
        self.slots.copy_within(index..empty, index + 1);
        self.slots[index] = slot;
        self.len += 1;
    }

    fn maybe_shrink(&mut self) {
        if self.len == 0 {
            return self.clear();
        }
        let mut level = self.level;
        while level > 0 && self.len * 100 < self.homes_at(level) * 68 {
            level -= 1;
        }
        if level < self.level {
            self.rebuild(level);
        }
    }

    /// Lays all slots out anew in a table of `level`, with room behind the last of them.
    fn rebuild(&mut self, level: u32) {
        (self.level, self.homes) = (level, self.homes_at(level));
        let filled = || self.slots.iter().filter(|slot| !slot.is_empty());
        let end = filled().fold(0, |end, slot| self.home(slot.high()).max(end) + 1);
        let overflow = end.saturating_sub(self.homes);
        let total = self.total_at(level).max(end + 1 + overflow / 4);
        let mut slots = vec![S::EMPTY; total];
        let mut end = 0;
        for slot in filled() {
            let at = self.home(slot.high()).max(end);
            slots[at] = *slot;
            end = at + 1;
        }
        self.slots = slots;
        assert!(self.len <= self.homes && self.slots.capacity() == total);
    }

    fn total_at(&self, level: u32) -> usize {
        (SLOTS_MIN * GROWTH.powf(f64::from(level) + f64::from(self.phase))) as usize
    }

    fn homes_at(&self, level: u32) -> usize {
        let total = self.total_at(level);
        total - (total / 8).clamp(2, PAD_MAX)
    }

    /// Panics where the invariant at the top of this file does not hold.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let mut last = None;
        let mut filled = 0;
        for (at, slot) in self.slots.iter().enumerate().filter(|(_, slot)| !slot.is_empty()) {
            let home = self.home(slot.high());
            assert!(home <= at && self.slots[home..at].iter().all(|slot| !slot.is_empty()));
            assert!(last < Some(slot.hash()));
            last = Some(slot.hash());
            filled += 1;
        }
        assert_eq!(filled, self.len);
        assert!(self.len * 10 <= self.homes * 9);
    }
}

/// `value` scaled from 64 bits to below `end` (0 for 0), keeping the order.
#[inline]
pub(crate) fn fast_range(value: u64, end: usize) -> usize {
    ((u128::from(value) * end as u128) >> 64) as usize
}
