//! One partition's hash table: linear probing in hash order, without wrapping.
//!
//! ```text
//! slots   home positions ─────────────────────────────────────────┬─ pad ─┐
//!         │ a │ b │ c │   │   │ d │ e │   │ f │ ...               │       │
//! chunks  └──────── 85 ────────┴──────── 85 ────────┴──────── 85 ─────────┘
//! home(hash) = high × homes / 2^64, which grows with the hash
//! ```
//!
//! Invariant: filled slots ascend by hash; each is at its home or behind it, with no empty slot
//! between. So a lookup walks from the home to the first empty or larger slot, and a range of hashes
//! is a run of slots.
//!
//! Memory: tables grow by a quarter at nine tenths full and shrink by as much when that leaves them
//! at most 0.85 full; every partition starts at a different point of that step, so that at any count
//! the tables of a core are spread over it and the memory per key stays near its average. Slots lie
//! in chunks that are all of one size, so that what one table frees fits every other one: with
//! allocations as large as tables, the allocator would keep a fifth to a whole of it unused.
//!
//! What it is not: it knows nothing of what a slot means beyond its hash.

use super::entry::IndexHash;
use crate::prefetch::prefetch;

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
        IndexHash { high: self.high(), low: self.low() }
    }
}

/// Slots of a chunk, and of the smallest table: as many of 24 bytes as leave 8 of [`CHUNK_BYTES`],
/// which allocators take for alignment or a header.
const CHUNK_SLOTS: usize = 85;
/// What a chunk costs.
const CHUNK_BYTES: usize = 2048;
const GROWTH: f64 = 1.25;
const PAD_MAX: usize = 24;

type Chunk<S> = [S; CHUNK_SLOTS];

/// A hash table of one partition. Empty tables own no memory.
pub(crate) struct Table<S> {
    chunks: Vec<Box<Chunk<S>>>,
    /// Home positions; the slots behind them are the pad that the last entries may overflow into.
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
        const { assert!(size_of::<Chunk<S>>() + 8 <= CHUNK_BYTES) };
        let phase = (f64::from(ordinal) * 0.618_033_988_749_894_9).fract() as f32;
        Table { chunks: Vec::new(), homes: 0, len: 0, level: 0, phase }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes allocated.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK_BYTES + self.chunks.capacity() * size_of::<usize>()
    }

    #[inline]
    pub(crate) fn get(&self, hash: IndexHash) -> Option<&S> {
        let index = self.find(hash).ok()?;
        Some(self.slot(index))
    }

    /// Asks for the memory that says where the chunk of `hash` is.
    #[inline]
    pub(crate) fn prefetch_chunk(&self, hash: IndexHash) {
        if let Some(chunk) = self.chunks.get(self.home(hash.high) / CHUNK_SLOTS) {
            prefetch(chunk);
        }
    }

    /// Asks for the slots where `hash` is looked for.
    #[inline]
    pub(crate) fn prefetch_slots(&self, hash: IndexHash) {
        let home = self.home(hash.high);
        if let Some(chunk) = self.chunks.get(home / CHUNK_SLOTS) {
            let first = home % CHUNK_SLOTS;
            prefetch(&chunk[first]);
            prefetch(&chunk[(first + 4).min(CHUNK_SLOTS - 1)]);
        }
    }

    /// The slot of `hash`, for changes that leave its hash as it is.
    #[inline]
    pub(crate) fn get_mut(&mut self, hash: IndexHash) -> Option<&mut S> {
        let index = self.find(hash).ok()?;
        Some(self.slot_mut(index))
    }

    /// Grows so that `more` slots fit.
    pub(crate) fn reserve(&mut self, more: usize) {
        let fits = |level: &u32| (self.len + more) * 10 <= self.homes_at(*level) * 9;
        let level = (self.level..).find(fits).expect("levels grow without end");
        if level > self.level {
            self.rebuild(level);
        }
    }

    /// Shrinks to what it holds.
    pub(crate) fn fit(&mut self) {
        self.maybe_shrink();
    }

    /// Stores `slot`, and returns the one of the same hash that it replaced.
    #[inline]
    pub(crate) fn insert(&mut self, slot: S) -> Option<S> {
        assert!(!slot.is_empty(), "an empty slot cannot be told from none");
        match self.find(slot.hash()) {
            Ok(index) => Some(std::mem::replace(self.slot_mut(index), slot)),
            Err(index) => {
                self.insert_at(index, slot);
                None
            }
        }
    }

    /// Removes the slot of `hash`; those behind it that are not at home move one back.
    pub(crate) fn remove(&mut self, hash: IndexHash) -> Option<S> {
        let index = self.find(hash).ok()?;
        let removed = *self.slot(index);
        let behind = self.iter_slots(index + 1).zip(index + 1..);
        let displaced = behind.take_while(|(slot, at)| !slot.is_empty() && self.home(slot.high()) < *at).count();
        self.close(index, index + displaced);
        self.len -= 1;
        self.maybe_shrink();
        Some(removed)
    }

    /// Filled slots from `high` on, in order.
    pub(crate) fn iter_from(&self, high: u64) -> impl Iterator<Item = &S> {
        let filled = self.iter_slots(self.home(high)).filter(|slot| !slot.is_empty());
        filled.skip_while(move |slot| slot.high() < high)
    }

    /// Filled slots from a position chosen by `random` on, each once.
    pub(crate) fn iter_around(&self, random: u64) -> impl Iterator<Item = &S> {
        let start = fast_range(random, self.slots());
        let around = self.iter_slots(start).chain(self.iter_slots(0).take(start));
        around.filter(|slot| !slot.is_empty())
    }

    /// Removes every slot that `keep` refuses.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&S) -> bool) {
        let mut end = 0;
        for index in 0..self.slots() {
            let slot = std::mem::replace(self.slot_mut(index), S::EMPTY);
            if slot.is_empty() {
                continue;
            }
            if !keep(&slot) {
                self.len -= 1;
                continue;
            }
            let at = self.home(slot.high()).max(end);
            assert!(at <= index, "slots only move back");
            *self.slot_mut(at) = slot;
            end = at + 1;
        }
        self.maybe_shrink();
    }

    /// Removes everything and frees the memory.
    pub(crate) fn clear(&mut self) {
        (self.chunks, self.homes, self.len, self.level) = (Vec::new(), 0, 0, 0);
    }

    #[inline]
    fn home(&self, high: u64) -> usize {
        fast_range(high, self.homes)
    }

    #[inline]
    fn slots(&self) -> usize {
        self.chunks.len() * CHUNK_SLOTS
    }

    #[inline]
    fn slot(&self, index: usize) -> &S {
        &self.chunks[index / CHUNK_SLOTS][index % CHUNK_SLOTS]
    }

    #[inline]
    fn slot_mut(&mut self, index: usize) -> &mut S {
        &mut self.chunks[index / CHUNK_SLOTS][index % CHUNK_SLOTS]
    }

    /// All slots from `index` on, empty ones too.
    #[inline]
    fn iter_slots(&self, index: usize) -> impl Iterator<Item = &S> {
        let chunks = self.chunks.get(index / CHUNK_SLOTS..).unwrap_or_default();
        chunks.iter().flat_map(|chunk| chunk.iter()).skip(index % CHUNK_SLOTS)
    }

    /// Where `hash` is, or else where it belongs.
    #[inline]
    fn find(&self, hash: IndexHash) -> Result<usize, usize> {
        let mut start = self.home(hash.high);
        while let Some(chunk) = self.chunks.get(start / CHUNK_SLOTS) {
            for (offset, slot) in chunk[start % CHUNK_SLOTS..].iter().enumerate() {
                if slot.is_empty() || slot.high() > hash.high {
                    return Err(start + offset);
                }
                if slot.high() == hash.high && slot.low() >= hash.low {
                    let found = slot.low() == hash.low;
                    return if found { Ok(start + offset) } else { Err(start + offset) };
                }
            }
            start = (start / CHUNK_SLOTS + 1) * CHUNK_SLOTS;
        }
        Err(start)
    }

    /// The first empty slot at `index` or behind it.
    #[inline]
    fn find_empty(&self, index: usize) -> Option<usize> {
        let mut start = index;
        while let Some(chunk) = self.chunks.get(start / CHUNK_SLOTS) {
            if let Some(offset) = chunk[start % CHUNK_SLOTS..].iter().position(Slot::is_empty) {
                return Some(start + offset);
            }
            start = (start / CHUNK_SLOTS + 1) * CHUNK_SLOTS;
        }
        None
    }

    fn insert_at(&mut self, mut index: usize, slot: S) {
        if (self.len + 1) * 10 > self.homes * 9 {
            let fits = |level: &u32| (self.len + 1) * 10 <= self.homes_at(*level) * 9;
            let level = (self.level..).find(fits).expect("levels grow without end");
            self.rebuild(level);
            index = self.find(slot.hash()).expect_err("the hash is not there");
        }
        // A full pad means growth too, unless the hashes are so uneven that it would not help:
        // then rebuilding lengthens the pad.
        let empty = loop {
            if let Some(empty) = self.find_empty(index) {
                break empty;
            }
            self.rebuild(self.level + u32::from(self.len * 2 > self.homes));
            index = self.find(slot.hash()).expect_err("the hash is not there");
        };
        self.open(index, empty, slot);
        self.len += 1;
    }

    /// Puts `slot` at `index`, and what is from there to the empty slot at `empty` one further.
    #[inline]
    fn open(&mut self, mut index: usize, empty: usize, mut slot: S) {
        while index / CHUNK_SLOTS < empty / CHUNK_SLOTS {
            let (chunk, at) = (&mut self.chunks[index / CHUNK_SLOTS], index % CHUNK_SLOTS);
            let last = chunk[CHUNK_SLOTS - 1];
            chunk.copy_within(at..CHUNK_SLOTS - 1, at + 1);
            chunk[at] = slot;
            (slot, index) = (last, (index / CHUNK_SLOTS + 1) * CHUNK_SLOTS);
        }
        let (chunk, at) = (&mut self.chunks[index / CHUNK_SLOTS], index % CHUNK_SLOTS);
        chunk.copy_within(at..empty % CHUNK_SLOTS, at + 1);
        chunk[at] = slot;
    }

    /// Overwrites the slot at `index` with those behind it up to `last`, which becomes empty.
    fn close(&mut self, mut index: usize, last: usize) {
        while index / CHUNK_SLOTS < last / CHUNK_SLOTS {
            let next = (index / CHUNK_SLOTS + 1) * CHUNK_SLOTS;
            let first = *self.slot(next);
            let chunk = &mut self.chunks[index / CHUNK_SLOTS];
            chunk.copy_within(index % CHUNK_SLOTS + 1.., index % CHUNK_SLOTS);
            chunk[CHUNK_SLOTS - 1] = first;
            index = next;
        }
        let (chunk, last) = (&mut self.chunks[index / CHUNK_SLOTS], last % CHUNK_SLOTS);
        chunk.copy_within(index % CHUNK_SLOTS + 1..=last, index % CHUNK_SLOTS);
        chunk[last] = S::EMPTY;
    }

    fn maybe_shrink(&mut self) {
        if self.len == 0 {
            return self.clear();
        }
        let mut level = self.level;
        while level > 0 && self.len * 100 < self.homes_at(level - 1) * 85 {
            level -= 1;
        }
        if level < self.level {
            self.rebuild(level);
        }
    }

    /// Lays all slots out anew in a table of `level`, with room behind the last of them. Chunks are
    /// used again as they are emptied, so that growing allocates only what is added.
    fn rebuild(&mut self, level: u32) {
        (self.level, self.homes) = (level, self.homes_at(level));
        let filled = self.iter_slots(0).filter(|slot| !slot.is_empty());
        let end = filled.fold(0, |end, slot| self.home(slot.high()).max(end) + 1);
        let overflow = end.saturating_sub(self.homes);
        let slots = self.total_at(level).max(end + 1 + overflow / 4);
        let chunks = slots.div_ceil(CHUNK_SLOTS);
        let old = std::mem::replace(&mut self.chunks, Vec::with_capacity(chunks));
        let mut spare = Vec::new();
        let mut end = 0;
        for mut chunk in old {
            let slots = std::mem::replace(&mut *chunk, [S::EMPTY; CHUNK_SLOTS]);
            spare.push(chunk);
            for slot in slots.iter().filter(|slot| !slot.is_empty()) {
                let at = self.home(slot.high()).max(end);
                self.extend(at / CHUNK_SLOTS + 1, &mut spare);
                *self.slot_mut(at) = *slot;
                end = at + 1;
            }
        }
        self.extend(chunks, &mut spare);
        assert!(self.len <= self.homes && self.chunks.len() == chunks);
    }

    /// Appends empty chunks until there are `chunks`, first those of `spare`.
    #[inline]
    fn extend(&mut self, chunks: usize, spare: &mut Vec<Box<Chunk<S>>>) {
        while self.chunks.len() < chunks {
            let chunk = spare.pop().unwrap_or_else(|| Box::new([S::EMPTY; CHUNK_SLOTS]));
            self.chunks.push(chunk);
        }
    }

    /// Slots of a table of `level`: whole chunks.
    fn total_at(&self, level: u32) -> usize {
        let chunks = GROWTH.powf(f64::from(level) + f64::from(self.phase)).round();
        chunks as usize * CHUNK_SLOTS
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
        for (at, slot) in self.iter_slots(0).enumerate().filter(|(_, slot)| !slot.is_empty()) {
            let home = self.home(slot.high());
            assert!(home <= at && self.iter_slots(home).take(at - home).all(|slot| !slot.is_empty()));
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
