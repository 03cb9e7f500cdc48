//! The index of one core: for each key of its partitions, which version is current and where it is.
//!
//! What it is: a hash-ordered table of 24-byte slots for each partition (see `index/table.rs`). Keys
//! are not in it; 72 bits of their keyed hash are. Two keys of one partition that share them cannot
//! be told apart here: among n keys of a partition some pair does with probability n² / 2^73, about
//! 10^-10 for a million, and as the hash is keyed nobody can aim for it. Readers compare whole keys.
//!
//! What it is not: it does not merge versions or judge which is newer, and knows no time: an expired
//! value is live here until its entry is changed.
//!
//! Invariant: at most one entry per hash and partition; the counts equal a recount at any moment.

mod actors;
mod entry;
mod table;
#[cfg(test)]
mod tests;

pub use actors::{ACTOR_IN_SIDE_TABLE, ActorTable, ActorTableFull};
pub use entry::{
    ACTOR_SLOTS, Entry, Flags, IndexHash, Place, SIZE_CLASS_UNIT_BYTES, SLOT_BYTES, class_bytes, size_class,
};
pub(crate) use table::{Slot, Table, fast_range};

pub(crate) use entry::PackedEntry;
use std::ops::Range;

use crate::partitions::Partitions;

/// One core's index over its partitions. All methods panic for a partition that it does not have.
pub struct Index {
    partitions: Partitions,
    tables: Vec<PartitionTable>,
    len: usize,
    /// Hints, which are nobody's keys, are not among them.
    live: usize,
    slot_bytes: usize,
}

struct PartitionTable {
    table: Table<PackedEntry>,
    live: usize,
}

impl Index {
    /// An empty index over `partitions`.
    #[must_use]
    pub fn new(partitions: Range<u16>) -> Index {
        Index::over(&Partitions::new(partitions, u16::MAX))
    }

    /// An empty index over what a core has.
    pub(crate) fn over(partitions: &Partitions) -> Index {
        let tables = partitions.all().map(|partition| PartitionTable { table: Table::new(partition), live: 0 });
        Index { partitions: partitions.clone(), tables: tables.collect(), len: 0, live: 0, slot_bytes: 0 }
    }

    /// Covers one more partition, for hints.
    pub(crate) fn add_hints(&mut self) {
        let partition = self.partitions.add_hints().expect("whoever adds a partition has a number for it");
        self.tables.push(PartitionTable { table: Table::new(partition), live: 0 });
    }

    /// The partitions of the cluster that the index covers.
    #[must_use]
    pub fn partitions(&self) -> Range<u16> {
        self.partitions.owned()
    }

    /// The entry of `hash`, tombstones included.
    #[must_use]
    #[inline]
    pub fn get(&self, partition: u16, hash: IndexHash) -> Option<Entry> {
        self.table(partition).table.get(hash).map(|slot| slot.unpack())
    }

    /// Asks for the memory that [`Index::get`] will need: first for where it is, then (`is_near`) for the slots.
    #[inline]
    pub(crate) fn prefetch(&self, partition: u16, hash: IndexHash, is_near: bool) {
        let table = &self.table(partition).table;
        if is_near {
            table.prefetch_slots(hash);
        } else {
            table.prefetch_chunk(hash);
        }
    }

    /// Makes room for `more` entries of `partition`, so that its table grows once.
    pub(crate) fn reserve(&mut self, partition: u16, more: usize) {
        let of = self.table_mut(partition);
        let bytes = of.table.bytes();
        of.table.reserve(more);
        let grown = of.table.bytes().wrapping_sub(bytes);
        self.slot_bytes = self.slot_bytes.wrapping_add(grown);
    }

    /// Gives back what a partition's table has too much.
    pub(crate) fn fit(&mut self, partition: u16) {
        let of = self.table_mut(partition);
        let bytes = of.table.bytes();
        of.table.fit();
        let grown = of.table.bytes().wrapping_sub(bytes);
        self.slot_bytes = self.slot_bytes.wrapping_add(grown);
    }

    /// Stores `entry` and returns the one of the same hash that it replaced. Asserts that the
    /// fields of `entry` are in range.
    #[inline]
    pub fn insert(&mut self, partition: u16, entry: Entry) -> Option<Entry> {
        let of = self.table_mut(partition);
        let bytes = of.table.bytes();
        let old = of.table.insert(entry.pack());
        let grown = of.table.bytes().wrapping_sub(bytes);
        let (was_live, is_live) = (old.is_some_and(|old| !old.is_tombstone()), !entry.is_tombstone());
        self.account(partition, was_live, is_live);
        self.len += usize::from(old.is_none());
        self.slot_bytes = self.slot_bytes.wrapping_add(grown);
        old.map(PackedEntry::unpack)
    }

    /// Removes the entry of `hash` and returns it.
    pub fn remove(&mut self, partition: u16, hash: IndexHash) -> Option<Entry> {
        let of = self.table_mut(partition);
        let bytes = of.table.bytes();
        let removed = of.table.remove(hash)?.unpack();
        let grown = of.table.bytes().wrapping_sub(bytes);
        self.account(partition, !removed.is_tombstone(), false);
        self.len -= 1;
        self.slot_bytes = self.slot_bytes.wrapping_add(grown);
        Some(removed)
    }

    /// Lets `change` alter the entry of `hash` in place, and returns the altered entry; `None` when
    /// there is no such entry. Asserts that the hash stays as it is.
    pub fn update(&mut self, partition: u16, hash: IndexHash, change: impl FnOnce(&mut Entry)) -> Option<Entry> {
        let slot = self.table_mut(partition).table.get_mut(hash)?;
        let mut entry = slot.unpack();
        let was_live = !entry.is_tombstone();
        change(&mut entry);
        assert!(entry.hash == hash, "an update leaves the hash as it is");
        *slot = entry.pack();
        self.account(partition, was_live, !entry.is_tombstone());
        Some(entry)
    }

    /// Shows `visit` the entries of `partition` whose hash's upper 64 bits are at least `from`, in
    /// hash order, tombstones included: at most `max`, but never only some of those that share the
    /// upper bits. Returns where to go on, `None` at the end. What is in the index throughout a
    /// sequence of such calls is seen exactly once, however the table changes meanwhile.
    pub fn scan(&self, partition: u16, from: u64, max: usize, mut visit: impl FnMut(Entry)) -> Option<u64> {
        assert!(max > 0, "a scan that visits nothing does not advance");
        let mut last = None;
        for (visited, slot) in self.table(partition).table.iter_from(from).enumerate() {
            if visited >= max && last != Some(slot.high()) {
                return Some(slot.high());
            }
            last = Some(slot.high());
            visit(slot.unpack());
        }
        None
    }

    /// Removes the entries of `partition` that `keep` refuses; returns how many.
    pub fn retain(&mut self, partition: u16, mut keep: impl FnMut(&Entry) -> bool) -> usize {
        let of = self.table_mut(partition);
        let (bytes, len, live) = (of.table.bytes(), of.table.len(), of.live);
        let mut live_left = 0;
        of.table.retain(|slot| {
            let kept = keep(&slot.unpack());
            live_left += usize::from(kept && !slot.is_tombstone());
            kept
        });
        of.live = live_left;
        let removed = len - of.table.len();
        let grown = of.table.bytes().wrapping_sub(bytes);
        self.len -= removed;
        if !self.partitions.is_hints(partition) {
            self.live -= live - live_left;
        }
        self.slot_bytes = self.slot_bytes.wrapping_add(grown);
        removed
    }

    /// Removes every entry of `partition` and frees its table.
    pub fn clear_partition(&mut self, partition: u16) {
        self.retain(partition, |_| false);
        assert!(self.len_in(partition) == 0 && self.live_in(partition) == 0);
    }

    /// Removes every entry, and frees all tables.
    pub fn clear(&mut self) {
        for of in &mut self.tables {
            of.table.clear();
            of.live = 0;
        }
        (self.len, self.live, self.slot_bytes) = (0, 0, 0);
    }

    /// A live entry and its partition, chosen by `random` (64 random bits); `None` when there is
    /// none. Nearly uniform: an entry behind a gap is somewhat likelier. Costs a walk over the
    /// partitions' counts, and over the tombstones in between.
    #[must_use]
    pub fn random(&self, random: u64) -> Option<(u16, Entry)> {
        self.random_of(self.live, random, |_| true)
    }

    /// As [`Index::random`], of the partitions that `is_wanted` names. Costs another walk over the counts.
    #[must_use]
    pub fn random_among(&self, random: u64, is_wanted: impl Fn(u16) -> bool) -> Option<(u16, Entry)> {
        let wanted = self.tables.iter().zip(self.partitions.owned()).filter(|(_, partition)| is_wanted(*partition));
        self.random_of(wanted.map(|(of, _)| of.live).sum(), random, &is_wanted)
    }

    /// `live` is the number of live entries in the wanted partitions.
    fn random_of(&self, live: usize, random: u64, is_wanted: impl Fn(u16) -> bool) -> Option<(u16, Entry)> {
        let mut rank = fast_range(random, live);
        for (of, partition) in self.tables.iter().zip(self.partitions.owned()) {
            if !is_wanted(partition) {
                continue;
            }
            if rank < of.live {
                // Other bits than those that chose the partition.
                let position = random.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
                let mut around = of.table.iter_around(position);
                let slot = around.find(|slot| !slot.is_tombstone()).expect("the partition has a live entry");
                return Some((partition, slot.unpack()));
            }
            rank -= of.live;
        }
        None
    }

    /// Entries, tombstones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Entries that are not tombstones, hints left out.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live
    }

    /// Entries that are tombstones, hints left out.
    #[must_use]
    pub fn tombstones(&self) -> usize {
        let hints: usize = self.partitions.hints().map(|partition| self.len_in(partition)).sum();
        self.len - hints - self.live
    }

    /// Entries of `partition`, tombstones included.
    #[must_use]
    pub fn len_in(&self, partition: u16) -> usize {
        self.table(partition).table.len()
    }

    /// Entries of `partition` that are not tombstones.
    #[must_use]
    pub fn live_in(&self, partition: u16) -> usize {
        self.table(partition).live
    }

    /// Bytes of memory in use: all slots, filled or not, and the tables themselves.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.slot_bytes + self.tables.capacity() * size_of::<PartitionTable>()
    }

    #[inline]
    fn table(&self, partition: u16) -> &PartitionTable {
        self.tables.get(self.partitions.slot(partition)).expect("the partition is this core's")
    }

    #[inline]
    fn table_mut(&mut self, partition: u16) -> &mut PartitionTable {
        self.tables.get_mut(self.partitions.slot(partition)).expect("the partition is this core's")
    }

    #[inline]
    fn account(&mut self, partition: u16, was_live: bool, is_live: bool) {
        if was_live != is_live {
            let of = self.table_mut(partition);
            of.live = of.live + usize::from(is_live) - usize::from(was_live);
            if !self.partitions.is_hints(partition) {
                self.live = self.live + usize::from(is_live) - usize::from(was_live);
            }
        }
    }
}
