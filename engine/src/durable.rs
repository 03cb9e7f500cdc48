//! What happens when a frame's write has ended: its records enter the index, or vanish.
//!
//! Invariant: the index changes only by what is durable; a write that has failed leaves nothing behind, and what only it hid
//! is visible again.

use annulus_object::Clock;

use crate::disk::{Completion, Disk};
use crate::engine::{Engine, Event};
use crate::entries::{FieldsView, Pieces};
use crate::frame::frame_bytes;
use crate::hot_log::{Commit, InFlight};
use crate::index::{Entry, Flags, IndexHash, Place, size_class};
use crate::liveness::lost;
use crate::record::{Kind, RecordRef};
use crate::versions::Relation;
use crate::write_path::{PendingWrite, commit_of};

/// Records whose place in the index is asked for together.
const WARM_RECORDS: u32 = 16;

impl<D: Disk> Engine<D> {
    /// A frame's write has ended.
    pub(crate) fn on_log_write(&mut self, instance: usize, completion: Completion, now_ms: u64) {
        let Completion { result, buffer, .. } = completion;
        match result {
            Ok(()) => {
                let took_us = self.now_us.saturating_sub(self.pacing.write_began_us[instance]);
                self.pacing.latency.note(took_us, self.compaction.is_some());
                let written = self.logs[instance].on_written(&mut self.segments);
                self.apply(instance, &written, written.payload(&buffer));
                self.events.push_back(Event::Durable(commit_of(instance, written.ordinal)));
                self.after_durable(instance, written.log_tail);
            }
            Err(error) => {
                let failed = self.logs[instance].on_failed(&mut self.segments);
                tracing::error!(core = self.config.core, segment = %self.segments.get(failed.file).path, %error, "a log write failed");
                self.counts.write_failures += 1;
                self.vanish(commit_of(instance, failed.ordinal), failed.payload(&buffer), failed.records);
                self.note_failure(now_ms);
            }
        }
        self.logs[instance].recycle_buffer(buffer, &self.config.limits);
        self.maybe_commit(instance);
    }

    /// Keeps a durable frame's bytes, and enters its records into the index.
    pub(crate) fn apply(&mut self, instance: usize, written: &InFlight, payload: &[u8]) {
        let segment = self.segments.get_mut(written.file);
        let is_resident = self.resident.keep(payload, written.frame_offset, segment.bytes, &mut segment.resident);
        let mut offset = 0;
        let mut warmed = 0;
        for number in 0..written.records {
            if number.is_multiple_of(WARM_RECORDS) {
                warmed = self.warm_records(&payload[warmed..], written.records - number) + warmed;
            }
            let record = RecordRef::checked_before(&payload[offset..]);
            let bytes = record.total_bytes();
            let place = Place::at(written.file, written.payload_offset() + offset as u64);
            self.apply_record(&record, place, commit_of(instance, written.ordinal), is_resident);
            offset += bytes;
        }
        assert_eq!(offset, payload.len(), "a frame holds the records that it counts");
        self.purge_forgotten();
        self.has_hidden_writes &= !self.pending.is_empty();
        self.counts.commits += 1;
        self.counts.records_written += u64::from(written.records);
        self.counts.record_bytes_written += written.payload_bytes as u64;
        self.counts.bytes_written += frame_bytes(written.payload_bytes) as u64;
    }

    /// Asks for the index' memory of the next records, all at once; gives their bytes.
    fn warm_records(&self, payload: &[u8], records: u32) -> usize {
        let mut offset = 0;
        for is_near in [false, true] {
            offset = 0;
            for _ in 0..records.min(WARM_RECORDS) {
                let record = RecordRef::checked_before(&payload[offset..]);
                if record.kind() != Kind::Mark {
                    self.index.prefetch(record.partition(), IndexHash::of(record.hash()), is_near);
                }
                offset += record.total_bytes();
            }
        }
        offset
    }

    fn apply_record(&mut self, record: &RecordRef<'_>, place: Place, commit: Commit, is_resident: bool) {
        let dot = record.dot();
        if record.kind() == Kind::Mark {
            return self.apply_mark(dot.clock, place.file);
        }
        let hash = record.hash();
        self.segments.wrote(place.file, record.total_bytes(), size_class(record.total_bytes()));
        let pending = self.pending.remove_if(hash, |pending| pending.commit == commit && pending.view().dot() == dot);
        self.settle_earlier(hash, commit);
        let was_pending = pending.is_some() || self.pending.get(hash).is_some();
        // A mark that is not durable yet may fail; until it is known, it only hides.
        let is_dead = self.mark.is_some_and(|(mark, _)| dot.clock <= mark);
        let partition = record.partition();
        if is_dead || self.was_forgotten(hash, commit) {
            return;
        }
        let pieces = Pieces::of(record);
        let view = FieldsView::of_record(record, &pieces);
        // Records of the other instance may become durable later than newer ones, which include them.
        if let Some(entry) = self.index.get(partition, IndexHash::of(hash)) {
            let relation = self.relation(partition, &entry, &view);
            debug_assert_ne!(relation, Relation::Concurrent, "a record includes what was written of its key before");
            if relation == Relation::Older {
                return;
            }
        }
        let (entry, old) = self.enter(partition, &view, place, record.total_bytes());
        self.gained(partition, &entry);
        match old {
            Some(old) => self.lost(partition, &old),
            None => self.note_added_hint(partition, false),
        }
        // Without one, a newer write had replaced the pending entry and failed.
        if self.pending_mark.is_none() && was_pending && !self.partitions.is_hints(partition) {
            let was_live = old.is_some_and(|old| !old.is_tombstone());
            self.pending_keys -= i64::from(!view.is_tombstone) - i64::from(was_live);
        }
        // What the cache has of the key is older now, which readers tell by its clock.
        if let (Some(pending), false, false) = (pending, view.is_tombstone, is_resident) {
            self.cache.insert(hash, pending.record);
        }
    }

    /// A FLUSHALL is durable: everything at or below its clock goes.
    fn apply_mark(&mut self, clock: Clock, file: u16) {
        // A drain that writes a mark anew may do so behind a FLUSHALL which it does not know to be durable yet.
        if self.mark.is_some_and(|(newest, _)| newest > clock) {
            return;
        }
        let old = self.mark.replace((clock, file));
        if let Some((_, old)) = old {
            self.segments.lost_mark(old);
        }
        self.segments.gained_mark(file);
        // A drain writes the mark anew, as it is.
        if old.is_none_or(|(old, _)| old < clock) {
            self.drop_up_to(clock);
        }
        if self.pending_mark.is_some_and(|pending| pending.clock <= clock) {
            self.pending_mark = None;
            self.recount_pending();
        }
    }

    /// Drops every entry at or below a mark.
    pub(crate) fn drop_up_to(&mut self, clock: Clock) {
        let mut any = Vec::new();
        let Self { index, side, segments, partition_files, .. } = self;
        for partition in self.partitions.all() {
            let mut dropped = Vec::new();
            let removed = index.retain(partition, |entry| {
                let keep = entry.clock > clock;
                if !keep {
                    lost(segments, partition_files, partition, entry);
                    if entry.flags.contains(Flags::EXTRA) {
                        dropped.push(entry.hash);
                    }
                }
                keep
            });
            any.extend((removed > 0).then_some(partition));
            for hash in dropped {
                side.remove(partition, hash);
            }
        }
        any.into_iter().for_each(|partition| self.rebuild_tree(partition));
        // What is newer than the mark stays in `pending` or comes back with its next read.
        self.cache.clear();
    }

    /// Makes the writes of a failed frame invisible, and tells of it.
    pub(crate) fn vanish(&mut self, commit: Commit, payload: &[u8], records: u32) {
        let mut offset = 0;
        for _ in 0..records {
            let record = RecordRef::checked_before(&payload[offset..]);
            offset += record.total_bytes();
            if record.kind() == Kind::Mark {
                self.pending_mark = self.pending_mark.filter(|mark| mark.clock != record.dot().clock);
            }
            self.settle_earlier(record.hash(), commit);
            if let Some(failed) = self.pending.remove_if(record.hash(), |pending| pending.commit == commit) {
                self.bring_back(record.hash(), failed.earlier);
            }
        }
        self.purge_forgotten();
        self.recount_pending();
        self.events.push_back(Event::Failed(commit));
    }

    /// Forgets the writes of a commit that later ones of their keys hid: its outcome is known.
    fn settle_earlier(&mut self, hash: u128, commit: Commit) {
        if !self.has_hidden_writes {
            return;
        }
        let Some(newest) = self.pending.get_mut(hash) else {
            return;
        };
        let mut link = &mut newest.earlier;
        while link.as_ref().is_some_and(|earlier| earlier.commit != commit) {
            link = &mut link.as_mut().expect("just seen").earlier;
        }
        *link = link.take().and_then(|settled| settled.earlier);
    }

    /// Makes a write visible again that only a failed one hid, unless something newer is durable.
    fn bring_back(&mut self, hash: u128, earlier: Option<Box<PendingWrite>>) {
        let Some(earlier) = earlier else { return };
        let entry = self.index.get(earlier.partition, IndexHash::of(hash));
        let is_newer = entry.is_none_or(|entry| {
            let pieces = Pieces::of(&earlier.view());
            let view = FieldsView::of_record(&earlier.view(), &pieces);
            !matches!(self.relation(earlier.partition, &entry, &view), Relation::Older | Relation::Same)
        });
        if is_newer {
            let bytes = earlier.record.len();
            self.pending.insert(hash, *earlier, bytes);
        }
    }

    /// Counts anew what pending writes change in the number of keys.
    pub(crate) fn recount_pending(&mut self) {
        self.recount_hints();
        self.pending_keys = self.change_by_pending(|partition| !self.partitions.is_hints(partition));
    }

    /// What pending writes change in the number of keys of some partitions.
    pub(crate) fn change_by_pending(&self, is_wanted: impl Fn(u16) -> bool) -> i64 {
        let is_live = |entry: Entry| !entry.is_tombstone() && !self.is_flushed(entry.clock);
        let change = |(hash, write): (u128, &PendingWrite)| {
            let entry = self.index.get(write.partition, IndexHash::of(hash));
            let record = write.view();
            let is_value = !record.deletes() && !self.is_flushed(record.dot().clock);
            i64::from(is_value) - i64::from(entry.is_some_and(is_live))
        };
        self.pending.iter().filter(|(_, write)| is_wanted(write.partition)).map(change).sum()
    }
}
