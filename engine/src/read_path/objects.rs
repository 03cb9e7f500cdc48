//! Whole objects: all siblings of a key, with their context.
//!
//! What is live and what was seen is known from memory; a record only gives the values of dots. So any record of the key that
//! has all live ones serves, wherever it is, also an older one.
//!
//! Invariant: what is given out is the state as it was when it was asked for, or a later one.

use std::rc::Rc;

use annulus_object::{Dot, SiblingRef, encode_object};
use smallvec::SmallVec;

use super::{Record, plan};
use crate::ReadPlan;
use crate::disk::Disk;
use crate::engine::{Engine, Key};
use crate::hot_log::Commit;
use crate::index::{Entry, IndexHash};
use crate::merge_path::without_idle_expiry;
use crate::record::RecordRef;
use crate::versions::Versions;

/// What a look-up of a whole object gives without waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectFound {
    /// Nothing was ever seen of the key, or it is forgotten.
    Absent {
        /// What this depends on, while it is not durable.
        after: Option<Commit>,
    },
    /// The object was appended to what the caller gave.
    Here {
        /// The write that this depends on, while it is not durable.
        after: Option<Commit>,
    },
    /// A record must be read.
    OnDisk(ReadPlan),
}

/// The record of a key that is there.
pub(crate) enum Stored<'a> {
    /// It is in memory.
    Here(RecordRef<'a>),
    /// It must be read.
    OnDisk(ReadPlan),
}

impl<D: Disk> Engine<D> {
    /// Appends a key's encoded object to `out`, tombstones and values that have expired included.
    pub fn object(&mut self, key: &Key<'_>, out: &mut Vec<u8>) -> ObjectFound {
        self.object_with(key, None, out)
    }

    /// As [`Engine::object`]; `fetched`, from the plan of an earlier look-up, serves while it has all that is live now.
    pub fn object_with(&mut self, key: &Key<'_>, fetched: Option<&Rc<Record>>, out: &mut Vec<u8>) -> ObjectFound {
        if !self.is_known(key) {
            return ObjectFound::Absent { after: self.after_flush() };
        }
        let after = self.open_commit(key).and_then(|commit| self.wait_for(commit));
        let versions = self.stored_versions(key);
        let live = versions.siblings.iter().filter(|(_, deletes)| !deletes);
        let wanted: SmallVec<[Dot; 2]> = live.map(|(dot, _)| *dot).collect();
        if wanted.is_empty() {
            encode(&versions, None, out);
            return ObjectFound::Here { after };
        }
        match self.stored_record((key.partition, key.hash), &wanted, fetched) {
            Stored::OnDisk(plan) => ObjectFound::OnDisk(plan),
            Stored::Here(record) if record.key() != key.bytes => ObjectFound::Absent { after: None },
            Stored::Here(record) => {
                encode(&versions, Some(&record), out);
                ObjectFound::Here { after }
            }
        }
    }

    /// As [`Engine::object_with`], of a key that is known by its hash; its bytes are appended to `key_out`.
    pub(crate) fn object_by_hash(
        &mut self,
        (partition, hash): (u16, u128),
        fetched: Option<&Rc<Record>>,
        key_out: &mut Vec<u8>,
        object_out: &mut Vec<u8>,
    ) -> ObjectFound {
        let key = Key { bytes: &[], partition, hash };
        if !self.is_known(&key) {
            return ObjectFound::Absent { after: self.after_flush() };
        }
        let after = self.open_commit(&key).and_then(|commit| self.wait_for(commit));
        let versions = self.stored_versions(&key);
        let live = versions.siblings.iter().filter(|(_, deletes)| !deletes);
        let wanted: SmallVec<[Dot; 2]> = live.map(|(dot, _)| *dot).collect();
        match self.stored_record((partition, hash), &wanted, fetched) {
            Stored::OnDisk(plan) => ObjectFound::OnDisk(plan),
            Stored::Here(record) => {
                key_out.extend_from_slice(record.key());
                encode(&versions, Some(&record), object_out);
                ObjectFound::Here { after }
            }
        }
    }

    /// Appends the key of an entry, and its encoded object: its versions are known, and its record has their values.
    pub(crate) fn object_of_entry(
        &mut self,
        (partition, entry): (u16, &Entry),
        versions: &Versions,
        fetched: Option<&Rc<Record>>,
        (key_out, object_out): (&mut Vec<u8>, &mut Vec<u8>),
    ) -> ObjectFound {
        let live = versions.siblings.iter().filter(|(_, deletes)| !deletes);
        let wanted: SmallVec<[Dot; 2]> = live.map(|(dot, _)| *dot).collect();
        match self.indexed_record((partition, entry), None, &wanted, fetched) {
            Stored::OnDisk(plan) => ObjectFound::OnDisk(plan),
            Stored::Here(record) => {
                key_out.extend_from_slice(record.key());
                encode(versions, Some(&record), object_out);
                ObjectFound::Here { after: None }
            }
        }
    }

    /// Whether anything was seen of a key that no FLUSHALL hides.
    fn is_known(&self, key: &Key<'_>) -> bool {
        let clock = match self.pending.get(key.hash) {
            Some(pending) => Some(pending.view().dot().clock),
            None => self.index.get(key.partition, IndexHash::of(key.hash)).map(|entry| entry.clock),
        };
        clock.is_some_and(|clock| !self.is_flushed(clock))
    }

    /// A record of a key that is there (asserted), with the values of all `wanted` dots, which are live.
    pub(crate) fn stored_record<'a>(
        &'a mut self,
        (partition, hash): (u16, u128),
        wanted: &[Dot],
        fetched: Option<&'a Rc<Record>>,
    ) -> Stored<'a> {
        if self.pending.get(hash).is_some() {
            let pending = self.pending.get(hash).expect("it was just seen");
            return Stored::Here(pending.view());
        }
        let entry = self.index.get(partition, IndexHash::of(hash)).expect("the key is there");
        self.indexed_record((partition, &entry), Some(hash), wanted, fetched)
    }

    /// As [`Engine::stored_record`], of what is durable; `hash` is the whole hash, where it is known: the cache asks for it.
    fn indexed_record<'a>(
        &'a mut self,
        (partition, entry): (u16, &Entry),
        hash: Option<u128>,
        wanted: &[Dot],
        fetched: Option<&'a Rc<Record>>,
    ) -> Stored<'a> {
        let Self { store, cache, resident, segments, partition_files, .. } = self;
        if self.config.durability == crate::Durability::Memory {
            let bytes = store.get(entry.place.raw()).expect("the index names records that are there");
            return Stored::Here(RecordRef::checked_before(bytes));
        }
        let serves = |record: &RecordRef<'_>| {
            let has = |dot: &Dot| record.siblings().any(|sibling| sibling.dot == *dot);
            IndexHash::of(record.hash()) == entry.hash && wanted.iter().all(has)
        };
        if let Some(record) = fetched.map(|fetched| fetched.view()).filter(serves) {
            return Stored::Here(record);
        }
        let in_log = (!entry.place.is_cold()).then(|| segments.get(entry.place.file));
        if let Some((bytes, _)) = in_log.and_then(|segment| resident.bytes(&segment.resident, entry.place.offset())) {
            self.resident_hits += 1;
            return Stored::Here(RecordRef::checked_before(bytes));
        }
        let cached = hash.and_then(|hash| cache.get(hash)).map(|bytes| RecordRef::checked_before(bytes));
        if let Some(record) = cached.filter(serves) {
            return Stored::Here(record);
        }
        Stored::OnDisk(plan(segments, partition_files, partition, entry))
    }
}

/// Appends an object: its versions are known, its values are the record's.
fn encode(versions: &Versions, record: Option<&RecordRef<'_>>, out: &mut Vec<u8>) {
    let value_of = |dot: Dot| record.and_then(|record| record.siblings().find(|sibling| sibling.dot == dot));
    let siblings: SmallVec<[SiblingRef<'_>; 4]> = versions
        .siblings
        .iter()
        .map(|(dot, deletes)| match value_of(*dot).filter(|_| !deletes) {
            Some(sibling) => without_idle_expiry(sibling),
            None => {
                assert!(deletes, "a record of the key has the values of all live dots");
                SiblingRef::tombstone(*dot)
            }
        })
        .collect();
    encode_object(&versions.context, siblings, out);
}
