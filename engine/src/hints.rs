//! Hints: objects that this core keeps for other nodes, until those have them.
//!
//! Each target has a partition of its own, numbered from the number of the cluster's partitions on, whose records, files and
//! index are like any other's. A hint's *name* takes the place of its key's hash, so that the same key may be kept for several
//! nodes, and be this node's own as well; it says which partition of the cluster the key is of, and for whom it is kept:
//!
//! ```text
//! hash of the key, its upper 58 bits │ partition of the key 14 │ zeros 8 │ target 48
//! ```
//!
//! Of that the index knows the first 72 bits, and the rest is the same for all hints of a partition: whatever lists hints needs
//! no record. The target is in every record and in the names of files, so numbers need no list on disk: a number is its
//! target's as long as anything of it is on the disk. Two keys of one partition that share 58 bits of hash are not told apart
//! among the hints of a node.
//!
//! **Forgetting** is not written: a hint leaves the index, and its record goes when its file does. Until then a start finds it
//! again, and it is handed over once more, which changes nothing there.
//!
//! Invariant: a partition for hints has one target, and a target one partition.

use std::collections::BTreeMap;
use std::rc::Rc;

use annulus_object::Dot;

use crate::Record;
use crate::disk::Disk;
use crate::engine::{Engine, Key};
use crate::hot_log::{Commit, HotLog};
use crate::index::{Flags, IndexHash};
use crate::partition_files::{DIRECTORY, hints_path, partition_path};
use crate::read_path::ObjectFound;
use crate::recovery::MovedHint;
use crate::trees::version_of;

/// A node id has so many bits.
const TARGET_BITS: u32 = 48;
const PARTITION_SHIFT: u32 = 56;
const PARTITION_BITS: u32 = 14;
const HASH_SHIFT: u32 = PARTITION_SHIFT + PARTITION_BITS;

/// For whom this core keeps hints.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    /// By the partitions' slots among those for hints; `None` is free.
    targets: Vec<Option<u64>>,
    by_target: BTreeMap<u64, u16>,
    /// Keys that pending writes add, by slot.
    added: Vec<u64>,
    /// Names that were forgotten while something was in flight: of each instance the first commit that is not older. Nothing of
    /// them is stored before all older ones have ended.
    forgotten: BTreeMap<u128, [u64; 2]>,
    /// While a store opens with another number of cores: what is this core's now, by name.
    pub(crate) moved: BTreeMap<u128, MovedHint>,
    /// Bytes of the records that this came from.
    pub(crate) moved_bytes: usize,
}

/// The name of a hint.
fn name_of(hash: u128, partition: u16, target: u64) -> u128 {
    hash >> HASH_SHIFT << HASH_SHIFT | u128::from(partition) << PARTITION_SHIFT | u128::from(target)
}

/// The same, from what the index knows of it.
fn name_in_index(hash: IndexHash, target: u64) -> u128 {
    u128::from(hash.high) << 64 | u128::from(hash.low) << PARTITION_SHIFT | u128::from(target)
}

/// The partition of the key of a hint.
pub(crate) fn home_of(name: u128) -> u16 {
    (name >> PARTITION_SHIFT) as u16 & ((1 << PARTITION_BITS) - 1)
}

/// For whom a hint is kept.
pub(crate) fn target_of(name: u128) -> u64 {
    name as u64 & ((1 << TARGET_BITS) - 1)
}

impl<D: Disk> Engine<D> {
    /// The partition for hints of a node (48 bits), made if there is none; `None` when there are as many as there may be.
    pub fn add_hint_partition(&mut self, target: u64) -> Option<u16> {
        assert!(!self.config.is_alone && target < 1 << TARGET_BITS, "hints are for other nodes of a cluster");
        if let Some(partition) = self.hint_partition(target) {
            return Some(partition);
        }
        let free = self.hints.targets.iter().position(Option::is_none);
        if free.is_none() && self.hints.targets.len() >= self.config.limits.hint_partitions_max {
            return None;
        }
        let partition = match free {
            Some(slot) => self.partitions.hints().start + u16::try_from(slot).expect("partitions are counted in u16"),
            None => self.grow_hints()?,
        };
        self.name_hints(partition, target);
        Some(partition)
    }

    /// The partition for hints of a node.
    pub fn hint_partition(&self, target: u64) -> Option<u16> {
        self.hints.by_target.get(&target).copied()
    }

    /// Nodes for which this core keeps anything, ascending, and of how many keys.
    pub fn hint_targets(&self) -> impl Iterator<Item = (u64, u64)> {
        let counts = self.hints.by_target.keys().map(|target| (*target, self.hint_count(*target)));
        counts.filter(|(_, count)| *count > 0)
    }

    /// How many keys are kept for a node, what is not durable yet included.
    pub fn hint_count(&self, target: u64) -> u64 {
        let Some(partition) = self.hint_partition(target) else { return 0 };
        self.index.len_in(partition) as u64 + self.hints.added[self.hint_slot(partition)]
    }

    /// A key's hint for a node, for [`Engine::versions`], [`Engine::merge`] and whatever else takes a key. `None` where the node
    /// has no partition for hints.
    pub fn hint_key<'a>(&self, key: &Key<'a>, target: u64) -> Option<Key<'a>> {
        let partition = self.hint_partition(target)?;
        assert!(key.partition < 1 << PARTITION_BITS, "the key is of a partition of the cluster");
        Some(Key { bytes: key.bytes, partition, hash: name_of(key.hash, key.partition, target) })
    }

    /// Shows `visit` the nodes for which something of a key is kept, ascending.
    pub fn hinted_for(&self, key: &Key<'_>, mut visit: impl FnMut(u64)) {
        for target in self.hints.by_target.keys() {
            let hint = self.hint_key(key, *target).expect("the target has a partition");
            if self.has_hint(&hint) {
                visit(*target);
            }
        }
    }

    fn has_hint(&self, hint: &Key<'_>) -> bool {
        let is_pending = self.pending.get(hint.hash).is_some() || self.waiting_merges.is_waiting(hint.hash);
        is_pending || self.index.get(hint.partition, IndexHash::of(hint.hash)).is_some()
    }

    /// Shows `visit` at most `max` hints of a node, in the order of their names, from the first at or behind `from`: the
    /// partition of the key, the hint's name, and its newest dot. What is not durable yet is among them.
    pub fn hints(&self, target: u64, from: u128, max: usize, mut visit: impl FnMut(u16, u128, Dot)) {
        let Some(partition) = self.hint_partition(target) else { return };
        let mut found: Vec<(u128, Dot)> = Vec::new();
        let mut next = Some((from >> 64) as u64);
        while let Some(high) = next.filter(|_| found.len() < max) {
            next = self.index.scan(partition, high, max.max(1), |entry| {
                let name = name_in_index(entry.hash, target);
                if name >= from {
                    let (actor, _) = version_of(&self.actors, &self.side, partition, &entry);
                    found.push((name, Dot::new(entry.clock, actor)));
                }
            });
        }
        let end = next.and(found.last()).map_or(u128::MAX, |(last, _)| *last);
        for (name, write) in self.pending.iter().filter(|(_, write)| write.partition == partition) {
            if (from..=end).contains(&name) {
                let dot = write.view().dot();
                match found.binary_search_by_key(&name, |(name, _)| *name) {
                    Ok(index) => found[index].1 = dot,
                    Err(index) => found.insert(index, (name, dot)),
                }
            }
        }
        found.truncate(max);
        found.into_iter().for_each(|(name, dot)| visit(home_of(name), name, dot));
    }

    /// Appends the key of a hint that is known by its name, and its encoded object; `fetched` as for
    /// [`Engine::object_with`].
    pub fn hint_object(
        &mut self,
        target: u64,
        name: u128,
        fetched: Option<&Rc<Record>>,
        (key_out, object_out): (&mut Vec<u8>, &mut Vec<u8>),
    ) -> ObjectFound {
        let Some(partition) = self.hint_partition(target) else { return ObjectFound::Absent { after: None } };
        self.object_by_hash((partition, name), fetched, key_out, object_out)
    }

    /// Forgets a hint, of which `dot` must be the newest: the caller has seen that what is kept is what was handed over. Whether
    /// it was; not while some of it is in flight or waits to be merged.
    pub fn forget(&mut self, hint: &Key<'_>, dot: Dot) -> bool {
        assert!(self.partitions.is_hints(hint.partition), "only hints are forgotten");
        if self.pending.get(hint.hash).is_some() || self.waiting_merges.is_waiting(hint.hash) {
            return false;
        }
        let (partition, hash) = (hint.partition, IndexHash::of(hint.hash));
        let newest = self.index.get(partition, hash).map(|entry| {
            let (actor, _) = version_of(&self.actors, &self.side, partition, &entry);
            Dot::new(entry.clock, actor)
        });
        if newest != Some(dot) {
            return false;
        }
        let entry = self.index.remove(partition, hash).expect("it was just seen");
        self.counts.hints_forgotten += 1;
        // An older record of it may still be on its way in the other instance.
        if !self.logs.iter().all(HotLog::is_quiet) {
            let first = [0, 1].map(|instance: usize| self.logs[instance].next_ordinal());
            self.hints.forgotten.insert(hint.hash, first);
        }
        if self.is_memory() {
            self.forget_in_memory(partition, &entry);
            return true;
        }
        self.lost(partition, &entry);
        self.tree_lost(partition, &entry);
        if entry.flags.contains(Flags::EXTRA) {
            self.side.remove(partition, hash);
        }
        true
    }

    /// Whether a name was forgotten and older records of it may be on their way.
    #[inline]
    pub(crate) fn is_settling(&self, name: u128) -> bool {
        !self.hints.forgotten.is_empty() && self.hints.forgotten.contains_key(&name)
    }

    /// Whether a record that has become durable is of a hint that was forgotten since it was written.
    #[inline]
    pub(crate) fn was_forgotten(&self, name: u128, commit: Commit) -> bool {
        if self.hints.forgotten.is_empty() {
            return false;
        }
        let first = self.hints.forgotten.get(&name);
        first.is_some_and(|first| commit.ordinal < first[usize::from(commit.instance)])
    }

    /// Lets go of forgotten names of which nothing older is on its way any more.
    pub(crate) fn purge_forgotten(&mut self) {
        if !self.hints.forgotten.is_empty() {
            let logs = &self.logs;
            let is_open = |first: &[u64; 2]| !logs.iter().zip(first).all(|(log, first)| log.is_durable_before(*first));
            self.hints.forgotten.retain(|_, first| is_open(first));
        }
    }

    fn hint_slot(&self, partition: u16) -> usize {
        usize::from(partition - self.partitions.hints().start)
    }

    /// One more partition for hints, without a target.
    fn grow_hints(&mut self) -> Option<u16> {
        let partition = self.partitions.add_hints()?;
        self.index.add_hints();
        self.side.add_hints();
        self.trees.add_hints();
        self.partition_files.add_hints();
        self.hints.targets.push(None);
        self.hints.added.push(0);
        Some(partition)
    }

    fn name_hints(&mut self, partition: u16, target: u64) {
        let slot = self.hint_slot(partition);
        self.hints.targets[slot] = Some(target);
        self.hints.by_target.insert(target, partition);
    }

    /// Takes note of what the disk says: whose hints are in a partition. False where it says otherwise elsewhere.
    pub(crate) fn adopt_hints(&mut self, partition: u16, target: u64) -> bool {
        while !self.partitions.hints().contains(&partition) {
            if self.grow_hints().is_none() {
                return false;
            }
        }
        let known = self.hints.targets[self.hint_slot(partition)];
        match (known, self.hint_partition(target)) {
            (None, None) => self.name_hints(partition, target),
            (Some(known), Some(other)) if (known, other) == (target, partition) => {}
            _ => return false,
        }
        true
    }

    /// A pending write adds a key, or ceases to: it has become durable.
    pub(crate) fn note_added_hint(&mut self, partition: u16, adds: bool) {
        if self.partitions.is_hints(partition) {
            let slot = self.hint_slot(partition);
            let added = &mut self.hints.added[slot];
            *added = if adds { *added + 1 } else { added.saturating_sub(1) };
        }
    }

    /// Counts anew which hints pending writes add.
    pub(crate) fn recount_hints(&mut self) {
        self.hints.added.fill(0);
        let hints = self.pending.iter().filter(|(_, write)| self.partitions.is_hints(write.partition));
        let new = hints.filter(|(hash, write)| self.index.get(write.partition, IndexHash::of(*hash)).is_none());
        let slots: Vec<usize> = new.map(|(_, write)| self.hint_slot(write.partition)).collect();
        slots.into_iter().for_each(|slot| self.hints.added[slot] += 1);
    }

    /// The path of a partition's file.
    pub(crate) fn partition_file_path(&self, partition: u16, number: u64) -> String {
        if !self.partitions.is_hints(partition) {
            return partition_path(partition, number);
        }
        let target = self.hints.targets[self.hint_slot(partition)];
        let target = target.expect("a partition for hints that has records has a target");
        hints_path(&self.config.directory(), partition, target, number)
    }

    /// Where partitions' files are.
    pub(crate) fn partition_directories(&self) -> Vec<String> {
        let of_hints = (!self.hints.targets.is_empty()).then(|| self.config.directory());
        std::iter::once(DIRECTORY.to_owned()).chain(of_hints).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_all_and_the_index_has_what_is_not_the_same_for_all() {
        let hash = 0x0123_4567_89ab_cdef_1122_3344_5566_7788_u128;
        for (partition, target) in [(0, 1), (16_383, (1 << 48) - 1), (1027, 0xabc)] {
            let name = name_of(hash, partition, target);
            assert_eq!((home_of(name), target_of(name)), (partition, target));
            assert_eq!(name >> HASH_SHIFT, hash >> HASH_SHIFT);
            assert_eq!(name_in_index(IndexHash::of(name), target), name);
        }
    }
}
