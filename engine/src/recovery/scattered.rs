//! Keys whose state is the merge of several records: none of them includes the others.
//!
//! While it runs, a store writes records that include what was written of their key before. But a write whose failure was
//! reported may lie on the disk all the same, as may a hint that was forgotten, or a record that was restored beside others.
//! Such records are *joined* before the store is used: their values are read, and the whole state is written anew, as one
//! record at the log's end, which is durable when the store opens. Until then the records stay where they are and the next
//! start finds them again, so a crash on the way changes nothing; and as nothing else runs meanwhile, no drain or compaction
//! has to know that a key may have several records. The price is that a store with such keys does not open while the disk
//! takes no write at all; on a full disk the segment that is kept for deletes takes them.
//!
//! Invariant: once a store is open, every key's state is in the one record that the index names.

use std::collections::BTreeMap;

use annulus_object::{Clock, Dot, SiblingRef};
use smallvec::SmallVec;

use super::Corruption;
use crate::Error;
use crate::disk::{Disk, File};
use crate::engine::{Engine, Key};
use crate::entries::FieldsView;
use crate::hot_log::{LARGE, SMALL};
use crate::index::{Entry, IndexHash, Place, class_bytes};
use crate::merge_path::{fields_of, highest_dot, without_idle_expiry};
use crate::record::{self, RecordRef};
use crate::versions::Versions;
use crate::write_path::oldest_clock;

/// Where a record is, and how long at most.
type Where = (Place, usize);

/// The keys, and where the records are that say a part of their state.
#[derive(Debug, Default)]
pub(crate) struct Scattered {
    keys: BTreeMap<(u16, IndexHash), Vec<Where>>,
}

impl Scattered {
    /// Whether a key is one of them.
    pub(super) fn has(&self, partition: u16, hash: IndexHash) -> bool {
        self.keys.contains_key(&(partition, hash))
    }

    /// One record includes all others of a key.
    pub(super) fn forget(&mut self, partition: u16, hash: IndexHash) {
        self.keys.remove(&(partition, hash));
    }

    fn note(&mut self, partition: u16, hash: IndexHash, first: Where, next: Option<Where>) {
        self.keys.entry((partition, hash)).or_insert_with(|| vec![first]).extend(next);
    }
}

impl<D: Disk> Engine<D> {
    /// Merges a record into an entry where neither includes the other.
    pub(super) fn scatter(&mut self, partition: u16, old: &Entry, view: &FieldsView<'_>, found: Where) {
        let old_place = (old.place, class_bytes(old.size_class));
        let mut merged = self.versions_of_entry(partition, old);
        merged.merge(&view.versions());
        self.scattered.note(partition, old.hash, old_place, Some(found));
        self.enter_versions(partition, view.hash, &merged, found);
    }

    /// Takes the siblings that a FLUSHALL has deleted out of an entry that has others, too.
    pub(super) fn flush_siblings(&mut self, partition: u16, entry: &Entry, mark: Clock) {
        let mut versions = self.versions_of_entry(partition, entry);
        if versions.siblings.first().is_none_or(|(oldest, _)| oldest.clock > mark) {
            return;
        }
        versions.flush(mark);
        let found = (entry.place, class_bytes(entry.size_class));
        self.scattered.note(partition, entry.hash, found, None);
        let hash = u128::from(entry.hash.high) << 64 | u128::from(entry.hash.low) << 56;
        self.enter_versions(partition, hash, &versions, found);
    }

    fn enter_versions(&mut self, partition: u16, hash: u128, versions: &Versions, (place, bytes): Where) {
        let latest = versions.latest();
        let view = FieldsView {
            hash,
            dot: latest.map_or_else(|| highest_dot(&versions.context), |(dot, _)| dot),
            floor: versions.context.floor(),
            expires_at_ms: 0,
            context: versions.context.entries(),
            siblings: Some(&versions.siblings),
            is_tombstone: latest.is_none_or(|(_, deletes)| deletes),
        };
        self.enter(partition, &view, place, bytes);
    }

    /// Joins the records of every such key. With `moves`, the index lets go of the key first: its records are in logs that go.
    pub(super) async fn join_scattered(&mut self, moves: bool) -> Result<(), Error> {
        let keys = std::mem::take(&mut self.scattered.keys);
        if keys.is_empty() {
            return Ok(());
        }
        tracing::warn!(core = self.config.core, keys = keys.len(), "keys whose records have to be joined");
        for ((partition, hash), places) in keys {
            // FLUSHALL may have deleted it.
            if let Some(entry) = self.index.get(partition, hash) {
                self.join_records((partition, &entry), &places, moves).await?;
            }
        }
        self.flush_now(SMALL).await?;
        self.flush_now(LARGE).await
    }

    async fn join_records(
        &mut self,
        (partition, entry): (u16, &Entry),
        places: &[Where],
        moves: bool,
    ) -> Result<(), Error> {
        let versions = self.versions_of_entry(partition, entry);
        let (mut records, mut unreadable) = (Vec::new(), None);
        for found in places {
            match self.read_record((partition, entry.hash), *found).await? {
                Some(bytes) => records.push(bytes),
                None => unreadable = Some(*found),
            }
        }
        let records: Vec<RecordRef<'_>> = records.iter().map(|bytes| RecordRef::checked_before(bytes)).collect();
        let find = |dot: Dot| records.iter().find_map(|record| record.siblings().find(|sibling| sibling.dot == dot));
        let live = |(dot, deletes): &(Dot, bool)| match find(*dot) {
            Some(sibling) => Some(without_idle_expiry(sibling)),
            None => deletes.then_some(SiblingRef::tombstone(*dot)),
        };
        let siblings: Option<SmallVec<[SiblingRef<'_>; 4]>> = versions.siblings.iter().map(live).collect();
        let (Some(siblings), Some(first)) = (siblings, records.first()) else {
            let lost = unreadable.expect("records that were read have what they were found to have");
            self.note_lost((partition, entry), (lost, moves), "a record of several of a key cannot be read");
            return Ok(());
        };
        let key = Key { bytes: first.key(), partition, hash: first.hash() };
        let mut body = Vec::new();
        let fields = fields_of(&key, &siblings, &versions.context, &mut body);
        let Ok(bytes) = self.check_length(&fields) else {
            self.note_lost((partition, entry), (places[0], moves), "the siblings of a key are too long for one record");
            return Ok(());
        };
        let instance = if bytes <= self.config.limits.small_record_bytes_max { SMALL } else { LARGE };
        if !self.logs[usize::from(instance)].has_room(bytes, &self.config.limits) {
            self.flush_now(instance).await?;
        }
        if moves {
            self.index.remove(partition, entry.hash);
            self.side.remove(partition, entry.hash);
        }
        let log = &mut self.logs[usize::from(instance)];
        let (_, place) = log.append(bytes, oldest_clock(&fields), 0, &self.config.limits);
        record::encode(&fields, place);
        self.recovery.joined += 1;
        Ok(())
    }

    /// A record that recovery has met; `None` if it cannot be read any more.
    async fn read_record(
        &self,
        (partition, hash): (u16, IndexHash),
        (place, bytes): Where,
    ) -> Result<Option<Vec<u8>>, Error> {
        let (file, path, length) = self.file_of(partition, place);
        let start = place.offset() & !4095;
        let end = (place.offset() + bytes as u64).next_multiple_of(4096).min(length);
        let mut read: Vec<u8> = Vec::new();
        while start + (read.len() as u64) < end {
            let at = start + read.len() as u64;
            let step = usize::try_from(end - at).unwrap_or(usize::MAX).min(self.config.limits.recovery_read_bytes);
            let part = file.read_at(at, step).await.map_err(|error| Error::Disk { path: path.clone(), error })?;
            if part.is_empty() {
                break;
            }
            read.extend_from_slice(part.as_slice());
        }
        let from = usize::try_from(place.offset() - start).expect("below a block");
        let record = read.get(from..).and_then(|bytes| RecordRef::check(bytes).ok());
        let record = record.filter(|record| IndexHash::of(record.hash()) == hash);
        Ok(record.map(|record| record.bytes().to_vec()))
    }

    fn file_of(&self, partition: u16, place: Place) -> (D::File, String, u64) {
        if place.is_cold() {
            let file = self.partition_files.set(partition).file(place.file);
            return (file.file.clone(), file.path.clone(), file.bytes);
        }
        let segment = self.segments.get(place.file);
        (segment.file.clone(), segment.path.clone(), segment.bytes)
    }

    /// A key's state cannot be put together: reading it is an error, and what there is of it stays where it is.
    fn note_lost(&mut self, (partition, entry): (u16, &Entry), ((place, _), moves): (Where, bool), what: &'static str) {
        let (_, path, _) = self.file_of(partition, place);
        self.recovery.corruption.push(Corruption { path, offset: place.offset(), what });
        self.partition_files.set_mut(partition).damaged = true;
        if moves {
            // What goes is copied from where the entry says; what stays is not counted yet.
            let update = |entry: &mut Entry| entry.place = place;
            self.index.update(partition, entry.hash, |entry| {
                if place.is_cold() {
                    update(entry)
                }
            });
            return;
        }
        self.lost(partition, entry);
        let moved = self.index.update(partition, entry.hash, |entry| entry.place = place).expect("the key is indexed");
        self.gained(partition, &moved);
    }
}
