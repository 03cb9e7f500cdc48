//! Walking through the keys of a partition, and picking one at random.
//!
//! Every key with a sibling that is no tombstone is told of; whether all of those have expired, [`Record::is_shown`] tells of
//! the record.
//!
//! Invariant: a key that is there from a scan's beginning to its end is told of.

use std::rc::Rc;

use super::{Record, ScanBatch, ScanEntry};
use crate::disk::Disk;
use crate::engine::Engine;
use crate::index::{Entry, Index, IndexHash};
use crate::record::RecordRef;
use crate::write_path::PendingWrite;

impl<D: Disk> Engine<D> {
    /// Keys of a partition from a hash on: about `max` of them.
    pub fn scan(&mut self, partition: u16, from: u64, max: usize, now_ms: u64) -> ScanBatch {
        assert!(max > 0, "a scan looks at a key");
        let mut found = Vec::with_capacity(max.min(1024));
        let next = self.index.scan(partition, from, max, |entry| found.push(entry));
        let mut entries = Vec::with_capacity(found.len());
        let is_in_range = |hash: IndexHash| hash.high >= from && next.is_none_or(|next| hash.high < next);
        // What is pending counts, not what it replaces.
        let mut replaced: Vec<IndexHash> = Vec::new();
        for (hash, pending) in self.pending.iter().filter(|(_, pending)| pending.partition == partition) {
            let hash = IndexHash::of(hash);
            if is_in_range(hash) {
                replaced.push(hash);
                entries.extend(self.pending_entry(pending, now_ms));
            }
        }
        replaced.sort_unstable();
        for entry in found {
            let is_newest = replaced.binary_search(&entry.hash).is_err();
            if is_newest && self.visible(partition, entry.hash, now_ms).is_some() {
                entries.push(self.scan_entry(partition, &entry));
            }
        }
        ScanBatch { entries, next }
    }

    /// Any key, each about as likely as the others; `None` when there is none, or by bad luck.
    pub fn random_entry(&mut self, random: u64, now_ms: u64) -> Option<ScanEntry> {
        self.random_of(random, now_ms, |_| true, Index::random)
    }

    /// The same of the partitions that `is_wanted` names.
    pub fn random_entry_among(
        &mut self,
        random: u64,
        now_ms: u64,
        is_wanted: impl Fn(u16) -> bool,
    ) -> Option<ScanEntry> {
        self.random_of(random, now_ms, &is_wanted, |index, random| index.random_among(random, &is_wanted))
    }

    fn random_of(
        &mut self,
        random: u64,
        now_ms: u64,
        is_wanted: impl Fn(u16) -> bool,
        pick: impl Fn(&Index, u64) -> Option<(u16, Entry)>,
    ) -> Option<ScanEntry> {
        const TRIES: u64 = 16;
        for attempt in 0..TRIES {
            let random = random.wrapping_add(attempt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let Some((partition, entry)) = pick(&self.index, random) else {
                break;
            };
            let is_it =
                |hash: u128, write: &PendingWrite| write.partition == partition && IndexHash::of(hash) == entry.hash;
            if self.pending.iter().any(|(hash, write)| is_it(hash, write)) {
                continue;
            }
            if let Some(entry) = self.visible(partition, entry.hash, now_ms) {
                return Some(self.scan_entry(partition, &entry));
            }
        }
        let is_own = |partition: u16| !self.partitions.is_hints(partition) && is_wanted(partition);
        let own = self.pending.iter().filter(|(_, pending)| is_own(pending.partition));
        own.into_iter().find_map(|(_, pending)| self.pending_entry(pending, now_ms))
    }

    fn pending_entry(&self, pending: &PendingWrite, now_ms: u64) -> Option<ScanEntry> {
        let record = pending.view();
        (record.is_shown(now_ms) && !self.is_flushed(record.dot().clock))
            .then(|| ScanEntry::InMemory(Rc::new(Record::new(Rc::clone(&pending.record)))))
    }

    fn scan_entry(&mut self, partition: u16, entry: &Entry) -> ScanEntry {
        if self.is_memory() {
            let bytes = self.store.get(entry.place.raw()).expect("the index names records that are there");
            return ScanEntry::InMemory(Rc::new(Record::new(Rc::from(bytes))));
        }
        let in_log = (!entry.place.is_cold()).then(|| self.segments.get(entry.place.file));
        let resident = in_log.and_then(|segment| self.resident.bytes(&segment.resident, entry.place.offset()));
        if let Some((bytes, _)) = resident {
            let record = RecordRef::checked_before(bytes).bytes();
            return ScanEntry::InMemory(Rc::new(Record::new(Rc::from(record))));
        }
        ScanEntry::OnDisk(self.plan(partition, entry))
    }
}
