//! The path of a write:
//!
//! 1. look the key up: what it replaces ([`Engine::put`]);
//! 2. stamp: above the clock, the stored dot and the floor;
//! 3. encode the record straight into the waiting frame, and enter it into `pending`: visible from here on;
//! 4. [`Engine::end_turn`]: when no write is in flight, seal the frame and write it — one group commit;
//! 5. when it is durable: `pending` → index, side table, resident part of the log; then the event that lets the replies go.
//!
//! With memory durability, 3 puts the record into the memory store and the index at once.
//!
//! Invariant (rule S2): a stamp sees every earlier write of its key, also one that is still in flight.

use std::rc::Rc;

use annulus_object::{Clock, Dot};

use crate::Refusal;
use crate::config::Durability;
use crate::disk::{Completion, Disk, File, OperationId};
use crate::engine::{Engine, Event, Key};
use crate::frame::frame_bytes;
use crate::hot_log::{Commit, Idle, InFlight, LARGE, SMALL, Write};
use crate::housekeeping::DiskLevel;
use crate::index::{ACTOR_IN_SIDE_TABLE, Entry, Flags, IndexHash, Place, size_class};
use crate::pending::PendingLimits;
use crate::record::{self, Kind, RecordFields, RecordRef};
use crate::side_table::Extra;

/// The log's own limits on waiting frames bind first; this bounds the table itself.
pub(crate) const PENDING_LIMITS: PendingLimits = PendingLimits {
    entries_max: 4 << 20,
    bytes_max: 1 << 30,
};

/// Records whose place in the index is asked for together.
const WARM_RECORDS: u32 = 16;

/// A write that is not durable yet.
pub(crate) struct PendingWrite {
    pub(crate) commit: Commit,
    pub(crate) partition: u16,
    /// The encoded record; goes into the cache when it is durable and the log's resident part cannot take it.
    pub(crate) record: Rc<[u8]>,
    /// An earlier write of the key in the other instance, whose outcome is open too: it counts again if this one fails.
    pub(crate) earlier: Option<Box<PendingWrite>>,
}

impl PendingWrite {
    pub(crate) fn view(&self) -> RecordRef<'_> {
        RecordRef::checked_before(&self.record)
    }
}

/// A FLUSHALL that is not durable yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PendingMark {
    /// What is at or below it is not seen any more.
    pub(crate) clock: Clock,
    pub(crate) commit: Commit,
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Its dot.
    pub dot: Dot,
    /// Whether the key was there before.
    pub existed: bool,
    /// What its reply waits for; `None` = nothing.
    pub after: Option<Commit>,
}

/// What a write has to know of the key's state.
struct Before {
    clock: Clock,
    existed: bool,
    known: bool,
    /// Whether [`Engine::keys`] counts it: also a value that has expired, until that is noted.
    counted: bool,
    /// With memory durability, what the index has.
    entry: Option<Entry>,
}

impl<D: Disk> Engine<D> {
    /// Stores a value that expires at `expires_at_ms` (0: never; must be ahead).
    pub fn put(&mut self, key: &Key<'_>, value: &[u8], expires_at_ms: u64, now_ms: u64) -> Result<Written, Refusal> {
        let before = self.before(key, now_ms);
        self.check_may_write(!before.known, false)?;
        self.write(key, Kind::Value, value, expires_at_ms, &before, now_ms)
    }

    /// Deletes a key; `None` when it was not there.
    pub fn delete(&mut self, key: &Key<'_>, now_ms: u64) -> Result<Option<Written>, Refusal> {
        let before = self.before(key, now_ms);
        if !before.existed {
            return Ok(None);
        }
        self.check_may_write(false, true)?;
        if self.is_memory() {
            // A node alone is its own floor, and there is no log that could bring the value back.
            let hash = IndexHash::of(key.hash);
            let entry = self.index.remove(key.partition, hash).expect("the key is there");
            self.forget_in_memory(key.partition, &entry);
            let dot = Dot::new(self.clock.stamp(now_ms, before.clock), self.actor);
            return Ok(Some(Written {
                dot,
                existed: true,
                after: None,
            }));
        }
        self.write(key, Kind::Tombstone, &[], 0, &before, now_ms).map(Some)
    }

    /// Deletes every key of this core.
    pub fn flush_all(&mut self, now_ms: u64) -> Result<Written, Refusal> {
        self.check_may_write(false, true)?;
        let before = Before {
            clock: self.clock.last(),
            existed: true,
            known: true,
            counted: false,
            entry: None,
        };
        if self.is_memory() {
            self.index.clear();
            self.side.clear();
            self.store.clear();
            let dot = Dot::new(self.clock.stamp(now_ms, before.clock), self.actor);
            return Ok(Written {
                dot,
                existed: true,
                after: None,
            });
        }
        let key = Key {
            bytes: &[],
            partition: self.config.partitions.start,
            hash: 0,
        };
        let written = self.write(&key, Kind::Mark, &[], 0, &before, now_ms)?;
        Ok(written)
    }

    /// The key's newest version, as far as a write must know it.
    fn before(&mut self, key: &Key<'_>, now_ms: u64) -> Before {
        if let Some(pending) = self.pending.get(key.hash) {
            let record = pending.view();
            let counted = record.kind() == Kind::Value && !self.is_flushed(record.dot().clock);
            let existed = counted && !is_expired(record.expires_at_ms(), now_ms);
            return Before {
                clock: record.dot().clock,
                existed,
                known: true,
                counted,
                entry: None,
            };
        }
        let hash = IndexHash::of(key.hash);
        let Some(entry) = self.index.get(key.partition, hash) else {
            return Before {
                clock: Clock::ZERO,
                existed: false,
                known: false,
                counted: false,
                entry: None,
            };
        };
        if self.is_flushed(entry.clock) {
            return Before {
                clock: entry.clock,
                existed: false,
                known: true,
                counted: false,
                entry: None,
            };
        }
        let mut existed = !entry.is_tombstone();
        if existed
            && self
                .expires_at(key.partition, &entry)
                .is_some_and(|at| is_expired(at, now_ms))
        {
            // Noted now, so that the count of keys changes once.
            self.expire(key.partition, hash);
            existed = false;
        }
        let known = existed || !self.is_memory();
        Before {
            clock: entry.clock,
            existed,
            known,
            counted: existed,
            entry: existed.then_some(entry),
        }
    }

    /// Whether a FLUSHALL, durable or under way, hides what was stamped at `clock`.
    #[inline]
    pub(crate) fn is_flushed(&self, clock: Clock) -> bool {
        self.pending_mark.is_some_and(|mark| clock <= mark.clock) || self.mark.is_some_and(|(mark, _)| clock <= mark)
    }

    /// When the entry's value expires.
    #[inline]
    pub(crate) fn expires_at(&self, partition: u16, entry: &Entry) -> Option<u64> {
        if !entry.flags.contains(Flags::EXTRA) {
            return None;
        }
        self.side
            .get(partition, entry.hash)
            .map(|extra| extra.expires_at_ms)
            .filter(|at| *at > 0)
    }

    /// Whether the disk takes a write: new values leave a quarter of a segment to deletes.
    fn has_disk_room(&self, frees: bool) -> bool {
        let has_room = match self.disk_state.level {
            DiskLevel::Ample | DiskLevel::Hurry | DiskLevel::NoTransfers => true,
            DiskLevel::NoWrites => frees,
            DiskLevel::ReadOnly => false,
        };
        if !has_room || !self.disk_state.is_full {
            return has_room;
        }
        let kept_for_deletes = self.config.segment_bytes(SMALL) / 4 + self.config.limits.frame_bytes_max as u64;
        self.logs[usize::from(SMALL)].room(&self.segments) > if frees { 0 } else { kept_for_deletes }
    }

    fn check_may_write(&mut self, is_new: bool, frees: bool) -> Result<(), Refusal> {
        if self.failures.read_only {
            return Err(Refusal::ReadOnly);
        }
        if self.failures.awaits_incarnation {
            self.counts.stalls += 1;
            return Err(Refusal::Stall);
        }
        if !self.is_memory() && !self.has_disk_room(frees) {
            self.counts.refused_disk += 1;
            return Err(Refusal::DiskFull);
        }
        if is_new && self.memory_bytes() > self.config.memory_bytes {
            self.counts.refused_memory += 1;
            return Err(Refusal::OutOfMemory);
        }
        Ok(())
    }

    fn write(
        &mut self,
        key: &Key<'_>,
        kind: Kind,
        value: &[u8],
        expires_at_ms: u64,
        before: &Before,
        now_ms: u64,
    ) -> Result<Written, Refusal> {
        // Everything this node has merged is at or below the floor or its own, so no context entries are needed.
        let mut fields = RecordFields {
            dot: Dot::new(Clock::ZERO.next(), self.actor),
            hash: key.hash,
            partition: key.partition,
            partition_incarnation: 0,
            kind,
            floor: self.floor,
            expires_at_ms,
            context: &[],
            key: key.bytes,
            value,
        };
        let max = self.config.limits.record_bytes_max();
        if key.bytes.len() > record::KEY_BYTES_MAX || value.len() > record::VALUE_BYTES_MAX {
            return Err(Refusal::TooLarge {
                bytes: key.bytes.len() + value.len(),
                max,
            });
        }
        let bytes = record::encoded_bytes(&fields);
        if bytes > max {
            return Err(Refusal::TooLarge { bytes, max });
        }
        if self.is_memory() {
            fields.dot.clock = self.clock.stamp(now_ms, before.clock);
            self.write_to_memory(key, &fields, bytes, before.entry);
            return Ok(Written {
                dot: fields.dot,
                existed: before.existed,
                after: None,
            });
        }
        let instance = if bytes <= self.config.limits.small_record_bytes_max {
            SMALL
        } else {
            LARGE
        };
        let log = &mut self.logs[usize::from(instance)];
        if instance == LARGE && self.disk_state.is_full && log.room(&self.segments) < 2 * bytes as u64 {
            self.counts.refused_disk += 1;
            return Err(Refusal::DiskFull);
        }
        if !log.has_room(bytes, &self.config.limits) || !self.pending.has_room(bytes) {
            self.counts.stalls += 1;
            return Err(Refusal::Stall);
        }
        fields.dot.clock = self.clock.stamp(now_ms, before.clock);
        let (commit, place) = log.append(bytes, self.now_us, self.sequence, &self.config.limits);
        record::encode(&fields, place);
        if kind == Kind::Mark {
            self.pending_mark = Some(PendingMark {
                clock: fields.dot.clock,
                commit,
            });
            self.pending_keys = 0;
        } else {
            let record = Rc::from(&*place);
            let write = PendingWrite {
                commit,
                partition: key.partition,
                record,
                earlier: None,
            };
            if let Some(old) = self.pending.insert(key.hash, write, bytes) {
                let earlier = if old.commit.instance == commit.instance {
                    old.earlier
                } else {
                    Some(Box::new(old))
                };
                self.has_hidden_writes |= earlier.is_some();
                self.pending.get_mut(key.hash).expect("just inserted").earlier = earlier;
            }
            self.pending_keys += i64::from(kind == Kind::Value) - i64::from(before.counted);
        }
        Ok(Written {
            dot: fields.dot,
            existed: before.existed,
            after: self.wait_for(commit),
        })
    }

    fn write_to_memory(&mut self, key: &Key<'_>, fields: &RecordFields<'_>, bytes: usize, old: Option<Entry>) {
        if let Some(old) = old {
            let is_plain = fields.expires_at_ms == 0 && old.flags == Flags::NONE;
            if is_plain && self.actors.resolve(old.actor_slot) == Some((self.actor, self.floor)) {
                if let Some(place) = self.store.overwrite(old.place.raw(), bytes) {
                    record::encode_in_memory(fields, place);
                    let updated = self
                        .index
                        .update(key.partition, old.hash, |entry| entry.clock = fields.dot.clock);
                    assert!(updated.is_some(), "the key is indexed");
                    return;
                }
            }
        }
        let number = self
            .store
            .insert_with(bytes, |out| record::encode_in_memory(fields, out));
        let place = Place::from_raw(number);
        if let Some(old) = self.enter(key.partition, &FieldsView::of(fields), place, bytes) {
            self.store.remove(old.place.raw());
        }
    }

    /// Drops what memory holds for an entry that left the index.
    pub(crate) fn forget_in_memory(&mut self, partition: u16, entry: &Entry) {
        self.store.remove(entry.place.raw());
        if entry.flags.contains(Flags::EXTRA) {
            self.side.remove(partition, entry.hash);
        }
    }

    /// Makes a record the key's newest in index and side table; gives what it replaced.
    pub(crate) fn enter(
        &mut self,
        partition: u16,
        record: &FieldsView<'_>,
        place: Place,
        bytes: usize,
    ) -> Option<Entry> {
        let hash = IndexHash::of(record.hash);
        let (actor_slot, actor) = match self.actors.intern(record.dot.actor, record.floor) {
            Ok(slot) => (slot, None),
            Err(_) => (ACTOR_IN_SIDE_TABLE, Some((record.dot.actor, record.floor))),
        };
        let extra = Extra {
            expires_at_ms: record.expires_at_ms,
            actor,
            context: record.context,
        };
        let mut flags = if record.is_tombstone {
            Flags::TOMBSTONE
        } else {
            Flags::NONE
        };
        if !extra.is_empty() {
            flags = flags.with(Flags::EXTRA);
        }
        let entry = Entry {
            hash,
            clock: record.dot.clock,
            actor_slot,
            place,
            size_class: size_class(bytes),
            flags,
        };
        let old = self.index.insert(partition, entry);
        if !extra.is_empty() {
            self.side.set(partition, hash, extra);
        } else if old.is_some_and(|old| old.flags.contains(Flags::EXTRA)) {
            self.side.remove(partition, hash);
        }
        old
    }

    /// Ends a turn: what waits is written, if it is due.
    pub fn end_turn(&mut self, now_us: u64) {
        self.now_us = now_us;
        if self.is_memory() {
            return;
        }
        for instance in [SMALL, LARGE] {
            self.maybe_commit(usize::from(instance));
        }
    }

    fn maybe_commit(&mut self, instance: usize) {
        let eager = match self.config.durability {
            Durability::Interval { ms } if !self.closing => {
                Some((self.config.limits.frame_bytes_eager, u64::from(ms) * 1000 / 2))
            }
            _ => None,
        };
        if !self.logs[instance].is_due(self.now_us, eager) {
            return;
        }
        match self.next_write(instance) {
            Ok(Write {
                file,
                offset,
                buffer,
                skip,
            }) => {
                let operation = OperationId(instance as u64);
                self.segments
                    .get(file)
                    .file
                    .start_write(operation, offset, buffer, skip);
            }
            Err(Idle::NoSegment) => self.want_segment(instance),
            Err(Idle::Nothing) => {}
        }
    }

    pub(crate) fn next_write(&mut self, instance: usize) -> Result<Write, Idle> {
        let ceiling_ms = self.clock.last().unix_ms() + self.config.limits.clock_ceiling_ms;
        let ceiling = Clock::from_unix_ms(ceiling_ms, 0);
        let write = self.logs[instance].next_write(&mut self.segments, &mut self.sequence, &self.identity, ceiling);
        if self.logs[instance].wants_segment(&self.segments) {
            self.want_segment(instance);
        }
        write
    }

    /// A frame's write has ended.
    pub(crate) fn on_log_write(&mut self, instance: usize, completion: Completion, now_ms: u64) {
        let Completion { result, buffer, .. } = completion;
        match result {
            Ok(()) => {
                let written = self.logs[instance].on_written(&mut self.segments);
                self.apply(instance, &written, written.payload(&buffer));
                self.events
                    .push_back(Event::Durable(commit_of(instance, written.ordinal)));
                self.after_durable(instance, written.log_tail);
            }
            Err(error) => {
                let failed = self.logs[instance].on_failed(&mut self.segments, self.sequence);
                tracing::error!(core = self.config.core, segment = %self.segments.get(failed.file).path, %error, "a log write failed");
                self.counts.write_failures += 1;
                self.vanish(
                    commit_of(instance, failed.ordinal),
                    failed.payload(&buffer),
                    failed.records,
                );
                self.note_failure(now_ms);
            }
        }
        self.logs[instance].recycle_buffer(buffer, &self.config.limits);
        self.maybe_commit(instance);
    }

    /// Keeps a durable frame's bytes, and enters its records into the index.
    pub(crate) fn apply(&mut self, instance: usize, written: &InFlight, payload: &[u8]) {
        let segment = self.segments.get_mut(written.file);
        let is_resident = self
            .resident
            .keep(payload, written.frame_offset, segment.bytes, &mut segment.resident);
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
                    self.index
                        .prefetch(record.partition(), IndexHash::of(record.hash()), is_near);
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
        let pending = self
            .pending
            .remove_if(hash, |pending| pending.commit == commit && pending.view().dot() == dot);
        self.settle_earlier(hash, commit);
        let was_pending = pending.is_some() || self.pending.get(hash).is_some();
        // A mark that is not durable yet may fail; until it is known, it only hides.
        let is_dead = self.mark.is_some_and(|(mark, _)| dot.clock <= mark);
        let partition = record.partition();
        if is_dead
            || self
                .index
                .get(partition, IndexHash::of(hash))
                .is_some_and(|entry| entry.clock > dot.clock)
        {
            return;
        }
        let context: Vec<_> = record.context_entries().collect();
        let view = FieldsView::of_record(record, &context);
        self.segments.gained(place.file, view.is_tombstone);
        if view.is_tombstone {
            self.segments
                .get_mut(place.file)
                .tombstones
                .push((partition, IndexHash::of(hash)));
        }
        let old = self.enter(partition, &view, place, record.total_bytes());
        if let Some(old) = old {
            self.segments.lost(old.place.file, old.is_tombstone());
        }
        // Without one, a newer write had replaced the pending entry and failed.
        if self.pending_mark.is_none() && was_pending {
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
        if let Some((_, old)) = self.mark.replace((clock, file)) {
            self.segments.lost(old, false);
            self.segments.get_mut(old).has_mark = false;
        }
        self.segments.gained(file, false);
        self.segments.get_mut(file).has_mark = true;
        self.drop_up_to(clock);
        if self.pending_mark.is_some_and(|pending| pending.clock <= clock) {
            self.pending_mark = None;
            self.recount_pending();
        }
    }

    /// Drops every entry at or below a mark.
    pub(crate) fn drop_up_to(&mut self, clock: Clock) {
        let Self {
            index, side, segments, ..
        } = self;
        for partition in self.config.partitions.clone() {
            let mut dropped = Vec::new();
            index.retain(partition, |entry| {
                let keep = entry.clock > clock;
                if !keep {
                    segments.lost(entry.place.file, entry.is_tombstone());
                    if entry.flags.contains(Flags::EXTRA) {
                        dropped.push(entry.hash);
                    }
                }
                keep
            });
            for hash in dropped {
                side.remove(partition, hash);
            }
        }
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
            if let Some(failed) = self
                .pending
                .remove_if(record.hash(), |pending| pending.commit == commit)
            {
                self.bring_back(record.hash(), failed.earlier);
            }
        }
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
        if entry.is_none_or(|entry| entry.clock < earlier.view().dot().clock) {
            let bytes = earlier.record.len();
            self.pending.insert(hash, *earlier, bytes);
        }
    }

    /// Counts anew what pending writes change in the number of keys.
    pub(crate) fn recount_pending(&mut self) {
        self.pending_keys = self.change_by_pending(None);
    }

    /// What pending writes change in the number of keys, of one partition or of all.
    pub(crate) fn change_by_pending(&self, partition: Option<u16>) -> i64 {
        let is_live = |entry: Entry| !entry.is_tombstone() && !self.is_flushed(entry.clock);
        let of_partition = |write: &PendingWrite| partition.is_none_or(|partition| write.partition == partition);
        let change = |(hash, write): (u128, &PendingWrite)| {
            let entry = self.index.get(write.partition, IndexHash::of(hash));
            let record = write.view();
            let is_value = record.kind() == Kind::Value && !self.is_flushed(record.dot().clock);
            i64::from(is_value) - i64::from(entry.is_some_and(is_live))
        };
        self.pending
            .iter()
            .filter(|(_, write)| of_partition(write))
            .map(change)
            .sum()
    }
}

/// What the index takes from a record, wherever that is.
pub(crate) struct FieldsView<'a> {
    pub(crate) hash: u128,
    pub(crate) dot: Dot,
    pub(crate) floor: Clock,
    pub(crate) expires_at_ms: u64,
    pub(crate) context: &'a [(annulus_object::Actor, Clock)],
    pub(crate) is_tombstone: bool,
}

impl<'a> FieldsView<'a> {
    fn of(fields: &RecordFields<'a>) -> Self {
        Self {
            hash: fields.hash,
            dot: fields.dot,
            floor: fields.floor,
            expires_at_ms: fields.expires_at_ms,
            context: fields.context,
            is_tombstone: fields.kind == Kind::Tombstone,
        }
    }

    pub(crate) fn of_record(record: &RecordRef<'_>, context: &'a [(annulus_object::Actor, Clock)]) -> Self {
        Self {
            hash: record.hash(),
            dot: record.dot(),
            floor: record.floor(),
            expires_at_ms: record.expires_at_ms(),
            context,
            is_tombstone: record.kind() == Kind::Tombstone,
        }
    }
}

pub(crate) fn commit_of(instance: usize, ordinal: u64) -> Commit {
    Commit {
        instance: u8::try_from(instance).expect("there are two instances"),
        ordinal,
    }
}

/// True when an expiry instant, 0 for none, has come.
#[inline]
pub(crate) fn is_expired(expires_at_ms: u64, now_ms: u64) -> bool {
    (1..=now_ms).contains(&expires_at_ms)
}
