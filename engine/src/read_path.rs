//! The path of a read: pending writes → index → memory store, the log's resident part or cache → disk.
//!
//! A record from the disk is checked (checksum, whose key, which version) before anybody sees it. While it is read, its
//! segment is pinned. It answers the question as it was when it was asked, whatever has been written since.
//!
//! Invariant (I8): bytes with a bad checksum are never given out.

mod found;
mod objects;
mod scan;

use std::rc::Rc;

use annulus_object::Dot;

use crate::ReadError;
use crate::buffer::AlignedBuffer;
use crate::disk::{Completion, Disk, File, OperationId};
use crate::engine::{Engine, Event, Key};
use crate::hot_log::Commit;
use crate::index::{Entry, IndexHash, Place, class_bytes};
use crate::liveness::file_use;
use crate::partition_files::PartitionFiles;
use crate::prefetch::prefetch_bytes;
use crate::record::RecordRef;
use crate::segments::Segments;
use crate::side_table::Extra;
use crate::trees::version_of;

pub use found::{Description, Found, ReadPlan, Record, ScanBatch, ScanEntry};
pub use objects::ObjectFound;
pub(crate) use objects::Stored;

/// Steps of [`Engine::warm`].
pub const WARM_STEPS: u8 = 4;
/// Bytes of a record that are asked for; the processor sees by itself where a longer read goes.
const WARM_BYTES: usize = 256;

/// A read in flight.
pub(crate) struct Reading<F> {
    plan: ReadPlan,
    /// A partition's file may be replaced while it is read; what is open stays.
    file: F,
    token: u64,
    /// What earlier parts of a long read brought.
    bytes: Vec<u8>,
    /// Where the next part begins in the file.
    next: u64,
    end: u64,
}

impl<D: Disk> Engine<D> {
    /// Looks a key up. Of siblings it shows what [`crate::record::RecordRef::shown`] does, and nothing where that is nothing.
    #[inline]
    pub fn find(&mut self, key: &Key<'_>, now_ms: u64) -> Found<'_> {
        self.find_with(key, now_ms, None)
    }

    /// Looks a key up; `fetched` serves while it is still the key's current record.
    pub fn find_with<'a>(&'a mut self, key: &Key<'_>, now_ms: u64, fetched: Option<&'a Rc<Record>>) -> Found<'a> {
        if let Some(pending) = self.pending.get(key.hash) {
            let (record, after) = (pending.view(), self.wait_for(pending.commit));
            if self.is_flushed(record.dot().clock) {
                return Found::Absent { after: self.after_flush() };
            }
            return match record.is_shown(now_ms) {
                true if record.key() == key.bytes => Found::Here { record, after },
                _ => Found::Absent { after },
            };
        }
        let hash = IndexHash::of(key.hash);
        let Some(entry) = self.visible(key.partition, hash, now_ms) else {
            return Found::Absent { after: self.after_flush() };
        };
        if self.is_memory() {
            let bytes = self.store.get(entry.place.raw()).expect("the index names records that are there");
            return shown_of(RecordRef::checked_before(bytes), key, now_ms);
        }
        // Two siblings may have one clock, of which only the larger actor's is shown.
        let dot = Dot::new(entry.clock, version_of(&self.actors, &self.side, key.partition, &entry).0);
        if let Some(fetched) = fetched {
            let record = fetched.view();
            if record.dot() == dot {
                return shown_of(record, key, now_ms);
            }
        }
        let Self { cache, resident, segments, partition_files, .. } = self;
        let in_log = (!entry.place.is_cold()).then(|| segments.get(entry.place.file));
        let resident = in_log.and_then(|segment| resident.bytes(&segment.resident, entry.place.offset()));
        if let Some((bytes, goes_soon)) = resident {
            self.resident_hits += 1;
            let record = RecordRef::checked_before(bytes);
            if goes_soon {
                // Somebody reads it, so it is worth keeping.
                cache.keep(key.hash, &record);
            }
            return shown_of(record, key, now_ms);
        }
        // The cache may hold an older version; the dot tells.
        if let Some(bytes) = cache.get(key.hash) {
            let record = RecordRef::checked_before(bytes);
            if record.dot() == dot {
                return shown_of(record, key, now_ms);
            }
        }
        Found::OnDisk(plan(segments, partition_files, key.partition, &entry))
    }

    /// Asks for memory that looking this key up, or writing it, will need. To be called for several keys with step 0, then
    /// for all with step 1, and so on below [`WARM_STEPS`]: each step follows the pointers that the one before asked for, and
    /// the waits of all keys overlap.
    #[inline]
    pub fn warm(&self, key: &Key<'_>, step: u8) {
        let hash = IndexHash::of(key.hash);
        if step < 2 {
            return self.index.prefetch(key.partition, hash, step == 1);
        }
        let Some(entry) = self.index.get(key.partition, hash) else {
            return;
        };
        if entry.place.is_cold() && !self.is_memory() {
            return;
        }
        let (raw, offset) = (entry.place.raw(), entry.place.offset());
        let bytes = match (self.is_memory(), step) {
            (true, 2) => return self.store.prefetch(raw),
            (false, 2) => {
                return self.resident.prefetch(&self.segments.get(entry.place.file).resident, offset);
            }
            (true, _) => self.store.get(raw),
            (false, _) => {
                let blocks = &self.segments.get(entry.place.file).resident;
                self.resident.bytes(blocks, offset).map(|(bytes, _)| bytes)
            }
        };
        if let Some(bytes) = bytes {
            prefetch_bytes(bytes, class_bytes(entry.size_class).min(WARM_BYTES));
        }
    }

    /// The entry of a key that is there as far as the index knows.
    #[inline]
    fn visible(&self, partition: u16, hash: IndexHash, now_ms: u64) -> Option<Entry> {
        let entry = self.index.get(partition, hash)?;
        let hides = entry.is_tombstone() || self.has_expired(partition, &entry, now_ms);
        let is_gone = self.is_flushed(entry.clock) || hides && !self.has_sibling_with_value(partition, &entry);
        (!is_gone).then_some(entry)
    }

    /// Whether it has siblings, and one of them is no tombstone. Which of them have expired only their record tells.
    pub(crate) fn has_sibling_with_value(&self, partition: u16, entry: &Entry) -> bool {
        let has_value = |extra: Extra<'_>| extra.siblings.iter().any(|(_, deletes)| !deletes);
        entry.has_siblings() && self.extra_of(partition, entry).is_some_and(has_value)
    }

    /// What a reply that calls a key absent waits for while a FLUSHALL is under way.
    pub(crate) fn after_flush(&self) -> Option<Commit> {
        self.pending_mark.and_then(|mark| self.wait_for(mark.commit))
    }

    /// The commit that decides what a key holds, while it is not durable. A reply waits for it only with sync durability.
    pub fn open_commit(&self, key: &Key<'_>) -> Option<Commit> {
        let pending = self.pending.get(key.hash).filter(|pending| !self.is_flushed(pending.view().dot().clock));
        pending.map(|pending| pending.commit).or(self.pending_mark.map(|mark| mark.commit))
    }

    /// What is known of a key without its record. Two keys with the same 72 bits of hash are not told apart.
    pub fn describe(&self, key: &Key<'_>, now_ms: u64) -> Option<Description> {
        if let Some(pending) = self.pending.get(key.hash) {
            let record = pending.view();
            let shown = record.shown(now_ms).filter(|_| !self.is_flushed(record.dot().clock));
            return shown.map(|shown| Description {
                clock: record.dot().clock,
                expires_at_ms: shown.expires_at_ms,
                record_bytes: record.total_bytes(),
                needs_record: false,
                after: self.wait_for(pending.commit),
            });
        }
        let entry = self.visible(key.partition, IndexHash::of(key.hash), now_ms)?;
        let needs_record = entry.has_siblings();
        let expires_at_ms = self.expires_at(key.partition, &entry).filter(|_| !needs_record).unwrap_or(0);
        let record_bytes = class_bytes(entry.size_class);
        Some(Description { clock: entry.clock, expires_at_ms, record_bytes, needs_record, after: None })
    }

    /// Starts to read a record; ends as [`Event::Read`]. `false` when too many reads are in flight: try later. A plan that was
    /// kept until its segment was reused finds the key's record of now.
    pub fn start_read(&mut self, plan: &ReadPlan, token: u64) -> bool {
        if self.reads.len() >= self.config.limits.reads_max {
            return false;
        }
        let Some(plan) = self.current_plan(plan) else {
            self.events.push_back(Event::Read { token, result: Err(ReadError::Gone) });
            return true;
        };
        let (file, bytes) = self.pin(&plan);
        let start = plan.offset & !4095;
        assert!(start < bytes, "the index names records that were read or written");
        let end = (plan.offset + plan.bytes as u64).next_multiple_of(4096).min(bytes);
        let number = self.reads.insert(Reading { plan, file, token, bytes: Vec::new(), next: start, end });
        self.counts.disk_reads += 1;
        self.read_part(number);
        true
    }

    /// The file of a plan and its length; a segment is not used anew until the read has ended.
    fn pin(&mut self, plan: &ReadPlan) -> (D::File, u64) {
        if plan.file >= Place::LOG_FILES {
            let file = self.partition_files.set(plan.partition).file(plan.file);
            return (file.file.clone(), file.bytes);
        }
        let segment = self.segments.get_mut(plan.file);
        segment.pins += 1;
        (segment.file.clone(), segment.bytes)
    }

    /// Where to read an entry's record.
    pub(crate) fn plan(&self, partition: u16, entry: &Entry) -> ReadPlan {
        plan(&self.segments, &self.partition_files, partition, entry)
    }

    /// The plan itself while its file is still in the same use, else one for the key's record of now.
    fn current_plan(&self, old: &ReadPlan) -> Option<ReadPlan> {
        if self.file_use(old.partition, old.file) == Some(old.file_use) {
            return Some(old.clone());
        }
        let entry = self.index.get(old.partition, old.hash).filter(|entry| !entry.is_only_tombstone())?;
        Some(self.plan(old.partition, &entry))
    }

    fn read_part(&mut self, number: u64) {
        let reading = self.reads.get_mut(number).expect("a read in flight");
        let bytes = usize::try_from(reading.end - reading.next).expect("a record fits memory");
        let bytes = bytes.min(self.config.limits.read_bytes_max);
        let mut buffer = AlignedBuffer::with_capacity(bytes);
        buffer.resize(bytes);
        let operation = OperationId(number + 2);
        self.counts.disk_read_bytes += bytes as u64;
        reading.file.start_read(operation, reading.next, buffer);
    }

    /// A part of a record came.
    pub(crate) fn on_record_read(&mut self, number: u64, completion: Completion) {
        let reading = self.reads.get_mut(number).expect("a read that ended was in flight");
        if completion.result.is_ok() {
            reading.next += completion.buffer.len() as u64;
            if reading.next < reading.end || !reading.bytes.is_empty() {
                reading.bytes.extend_from_slice(completion.buffer.as_slice());
                if reading.next < reading.end {
                    return self.read_part(number);
                }
            }
        }
        let reading = self.reads.remove(number).expect("it is there");
        if reading.plan.file < Place::LOG_FILES {
            self.segments.get_mut(reading.plan.file).pins -= 1;
        }
        let result = match completion.result {
            Err(error) => Err(ReadError::Disk(error)),
            Ok(()) if reading.bytes.is_empty() => self.check(&reading.plan, completion.buffer.as_slice()),
            Ok(()) => self.check(&reading.plan, &reading.bytes),
        };
        if let Err(error) = &result {
            self.counts.read_failures += 1;
            let path = self.path_of(&reading.plan);
            let (partition, offset) = (reading.plan.partition, reading.plan.offset);
            tracing::error!(core = self.config.core, partition, file = %path, offset, %error, "a record cannot be read");
        }
        self.events.push_back(Event::Read { token: reading.token, result });
    }

    fn path_of(&self, plan: &ReadPlan) -> String {
        if plan.file < Place::LOG_FILES {
            return self.segments.get(plan.file).path.clone();
        }
        let file = self.partition_files.set(plan.partition).get(plan.file).filter(|file| file.id == plan.file_use);
        file.map_or_else(|| "a file that was replaced".to_owned(), |file| file.path.clone())
    }

    /// The record that a plan names, out of the blocks around it.
    fn check(&mut self, plan: &ReadPlan, bytes: &[u8]) -> Result<Rc<Record>, ReadError> {
        let start = usize::try_from(plan.offset % 4096).expect("below 4096");
        let record = RecordRef::check(&bytes[start..]).map_err(ReadError::Corrupt)?;
        if IndexHash::of(record.hash()) != plan.hash || record.dot().clock != plan.clock {
            return Err(ReadError::Misplaced);
        }
        let bytes: Rc<[u8]> = Rc::from(record.bytes());
        if self.index.get(plan.partition, plan.hash).is_some_and(|entry| entry.clock == plan.clock) {
            self.cache.insert(record.hash(), Rc::clone(&bytes));
        }
        Ok(Rc::new(Record::new(bytes)))
    }
}

fn plan<F>(segments: &Segments<F>, files: &PartitionFiles<F>, partition: u16, entry: &Entry) -> ReadPlan {
    ReadPlan {
        file: entry.place.file,
        file_use: file_use(segments, files, partition, entry.place.file).expect("places name files that are there"),
        offset: entry.place.offset(),
        bytes: class_bytes(entry.size_class),
        hash: entry.hash,
        clock: entry.clock,
        partition,
    }
}

/// A record whose 72 bits of hash are the key's is nearly always the key's. That a single version is shown is known already.
#[inline]
fn shown_of<'a>(record: RecordRef<'a>, key: &Key<'_>, now_ms: u64) -> Found<'a> {
    if record.key() == key.bytes && (!record.has_siblings() || record.is_shown(now_ms)) {
        Found::Here { record, after: None }
    } else {
        Found::Absent { after: None }
    }
}
