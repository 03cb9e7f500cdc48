//! The path of a write:
//!
//! 1. look the key up: what it replaces ([`Engine::put`]);
//! 2. stamp: above the clock, the stored dot and the floor;
//! 3. encode the record straight into the waiting frame, and enter it into `pending`: visible from here on;
//! 4. [`Engine::end_turn`]: when no write is in flight, seal the frame and write it — one group commit;
//! 5. when it is durable: `pending` → index, side table, resident part of the log; then the event that lets the replies go.
//!
//! With memory durability, 3 puts the record into the memory store and the index at once. What others have stamped, and what
//! this node's coordinator has, comes in by `merge_path`, and goes on with 3.
//!
//! Invariants (rule S2): a stamp sees every earlier write of its key, also one that is still in flight; and every record of a
//! key includes what the key's earlier ones said, so that of two records of one key the one that was written later counts.

mod before;

use std::rc::Rc;

use annulus_object::{CONTEXT_ENTRIES_MAX, Clock, Context, Dot, ObjectView};

use crate::Refusal;
use crate::config::Durability;
use crate::disk::{Disk, File, OperationId};
use crate::disk_level::DiskLevel;
use crate::engine::{Engine, Key};
use crate::frame::BLOCK_BYTES;
use crate::hot_log::{Commit, Idle, LARGE, SMALL, Write};
use crate::index::IndexHash;
use crate::pending::PendingLimits;
use crate::record::{self, Kind, RecordFields, RecordRef};

use self::before::Before;
pub(crate) use self::before::Counted;

/// The log's own limits on waiting frames bind first; this bounds the table itself.
pub(crate) const PENDING_LIMITS: PendingLimits = PendingLimits { entries_max: 4 << 20, bytes_max: 1 << 30 };

/// A disk on which only so many segments of large records fit any more may be full before it is looked at again.
const NEAR_SEGMENTS: u64 = 16;

/// Kept for frames without records: one moves the tail, and another one is there if its write fails.
pub(crate) const TAIL_BYTES: u64 = 2 * BLOCK_BYTES as u64;

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

impl<D: Disk> Engine<D> {
    /// Stores a value that expires at `expires_at_ms` (0: never; must be ahead).
    pub fn put(&mut self, key: &Key<'_>, value: &[u8], expires_at_ms: u64, now_ms: u64) -> Result<Written, Refusal> {
        let before = self.before(key, now_ms);
        self.check_may_stamp()?;
        self.check_may_write(!before.counted.known, false)?;
        self.write(key, Kind::Value, value, expires_at_ms, &before, now_ms)
    }

    /// Deletes a key; `None` when it was not there.
    pub fn delete(&mut self, key: &Key<'_>, now_ms: u64) -> Result<Option<Written>, Refusal> {
        let before = self.before(key, now_ms);
        if !before.counted.existed {
            return Ok(None);
        }
        self.check_may_stamp()?;
        self.check_may_write(false, true)?;
        if self.is_memory() && self.config.is_alone {
            // A node alone is its own floor, and there is no log that could bring the value back.
            let hash = IndexHash::of(key.hash);
            let entry = self.index.remove(key.partition, hash).expect("the key is there");
            self.forget_in_memory(key.partition, &entry);
            let dot = Dot::new(self.clock.stamp(now_ms, before.above), self.actor);
            return Ok(Some(Written { dot, existed: true, after: None }));
        }
        self.write(key, Kind::Tombstone, &[], 0, &before, now_ms).map(Some)
    }

    /// Deletes every key of this core. The stamp is above all that there is, so that nothing is half deleted.
    pub fn flush_all(&mut self, now_ms: u64) -> Result<Written, Refusal> {
        self.check_may_stamp()?;
        self.check_may_write(false, true)?;
        let counted = Counted { existed: true, known: true, counts: false, entry: None };
        let before = Before { counted, above: self.clock.last().max(self.highest), seen: None };
        if self.is_memory() {
            self.index.clear();
            self.side.clear();
            self.store.clear();
            self.build_trees();
            let dot = Dot::new(self.clock.stamp(now_ms, before.above), self.actor);
            return Ok(Written { dot, existed: true, after: None });
        }
        let key = Key { bytes: &[], partition: self.config.partitions.start, hash: 0 };
        self.write(&key, Kind::Mark, &[], 0, &before, now_ms)
    }

    /// Whether the disk takes a write: new values leave a quarter of a segment to deletes, and these the last blocks to frames
    /// that only move the log's tail, without which nothing that was drained could go.
    fn check_disk_room(&self, frees: bool) -> Result<(), Refusal> {
        let takes_writes = self.disk_state.level < DiskLevel::NoWrites;
        if !takes_writes && !frees {
            return Err(Refusal::DiskFull);
        }
        let log = &self.logs[usize::from(SMALL)];
        let is_full = self.disk_state.is_full || !takes_writes;
        // Between two looks a disk may become full. Before the first segment, and where the disk fails, a write finds out by
        // itself.
        let is_near = self.disk_state.is_near(NEAR_SEGMENTS * self.config.segment_bytes(LARGE));
        if !is_full && (!is_near || log.is_fresh() || self.disk_state.is_failing) {
            return Ok(());
        }
        let quarter = self.config.segment_bytes(SMALL) / 4;
        let frame = self.config.limits.frame_bytes_max as u64;
        let kept_for_deletes = match (frees, is_full) {
            (true, _) => 0,
            (false, false) => quarter,
            // What is prepared already takes nothing more of the disk, and stays in reserve.
            (false, true) => log.spare_bytes(&self.segments).max(quarter) + frame,
        };
        // A frame that does not fit the active segment any more leaves its end unused.
        let unused = if log.spares.is_empty() { 0 } else { frame };
        if log.room(&self.segments) > kept_for_deletes + unused + TAIL_BYTES {
            return Ok(());
        }
        // Either the next segment is on its way, or it will turn out that there is none.
        Err(if is_full { Refusal::DiskFull } else { Refusal::Stall })
    }

    /// Whether this node may stamp: not while it waits for another incarnation.
    fn check_may_stamp(&mut self) -> Result<(), Refusal> {
        if self.failures.read_only {
            return Err(Refusal::ReadOnly);
        }
        if self.failures.awaits_incarnation {
            self.counts.stalls += 1;
            return Err(Refusal::Stall);
        }
        Ok(())
    }

    /// Whether the store takes a record: of a key that it does not have, or one that may let others go.
    pub(crate) fn check_may_write(&mut self, is_new: bool, frees: bool) -> Result<(), Refusal> {
        if self.failures.read_only {
            return Err(Refusal::ReadOnly);
        }
        if let Err(refusal) = if self.is_memory() { Ok(()) } else { self.check_disk_room(frees) } {
            if refusal == Refusal::DiskFull {
                self.counts.refused_disk += 1;
            } else {
                self.counts.stalls += 1;
                self.want_segment(usize::from(SMALL));
            }
            return Err(refusal);
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
        // What this node has merged when it opened is at or below the floor, what it stamped since is its own; the rest is named.
        let seen = before.seen.as_ref().map(|seen| {
            let mut seen = seen.clone();
            seen.raise_floor(self.floor);
            seen
        });
        let mut fields = RecordFields {
            dot: Dot::new(Clock::ZERO.next(), self.actor),
            hash: key.hash,
            partition: key.partition,
            partition_incarnation: 0,
            kind,
            floor: seen.as_ref().map_or(self.floor, Context::floor),
            expires_at_ms,
            context: seen.as_ref().map_or(&[], Context::entries),
            value_dot: None,
            key: key.bytes,
            value,
        };
        // The length does not depend on the clock, as long as that is above all that was seen.
        fields.dot.clock = before.above.next();
        let bytes = self.check_length(&fields)?;
        if self.is_memory() {
            fields.dot.clock = self.clock.stamp(now_ms, before.above);
            self.write_to_memory(key, &fields, bytes, before.counted.entry);
            return Ok(Written { dot: fields.dot, existed: before.counted.existed, after: None });
        }
        let instance = self.instance_for(bytes)?;
        fields.dot.clock = self.clock.stamp(now_ms, before.above);
        let commit = self.append(key, &fields, (bytes, instance), &before.counted);
        Ok(Written { dot: fields.dot, existed: before.counted.existed, after: self.wait_for(commit) })
    }

    /// Bytes of a record, if they are not too many.
    pub(crate) fn check_length(&self, fields: &RecordFields<'_>) -> Result<usize, Refusal> {
        let max = self.config.limits.record_bytes_max();
        let (key_bytes, value_bytes, entries) = (fields.key.len(), fields.value.len(), fields.context.len());
        if key_bytes > record::KEY_BYTES_MAX || value_bytes > record::VALUE_BYTES_MAX || entries > CONTEXT_ENTRIES_MAX {
            return Err(Refusal::TooLarge { bytes: key_bytes + value_bytes + size_of_val(fields.context), max });
        }
        let bytes = record::encoded_bytes(fields);
        if bytes > max { Err(Refusal::TooLarge { bytes, max }) } else { Ok(bytes) }
    }

    /// The instance that a record of so many bytes goes to, if there is room.
    pub(crate) fn instance_for(&mut self, bytes: usize) -> Result<u8, Refusal> {
        let instance = if bytes <= self.config.limits.small_record_bytes_max { SMALL } else { LARGE };
        let log = &self.logs[usize::from(instance)];
        if instance == LARGE && self.disk_state.is_full && log.room(&self.segments) < 2 * bytes as u64 {
            self.counts.refused_disk += 1;
            return Err(Refusal::DiskFull);
        }
        if !log.has_room(bytes, &self.config.limits) || !self.pending.has_room(bytes) {
            self.counts.stalls += 1;
            return Err(Refusal::Stall);
        }
        Ok(instance)
    }

    /// Appends a record, for which there is room, to what waits in its instance, and makes it visible.
    pub(crate) fn append(
        &mut self,
        key: &Key<'_>,
        fields: &RecordFields<'_>,
        (bytes, instance): (usize, u8),
        counted: &Counted,
    ) -> Commit {
        let log = &mut self.logs[usize::from(instance)];
        let (commit, place) = log.append(bytes, oldest_clock(fields), self.now_us, &self.config.limits);
        record::encode(fields, place);
        if fields.kind == Kind::Mark {
            self.pending_mark = Some(PendingMark { clock: fields.dot.clock, commit });
            self.pending_keys = 0;
            return commit;
        }
        let record: Rc<[u8]> = Rc::from(&*place);
        let deletes = RecordRef::checked_before(&record).deletes();
        let write = PendingWrite { commit, partition: key.partition, record, earlier: None };
        if let Some(old) = self.pending.insert(key.hash, write, bytes) {
            let earlier = if old.commit.instance == commit.instance { old.earlier } else { Some(Box::new(old)) };
            self.has_hidden_writes |= earlier.is_some();
            self.pending.get_mut(key.hash).expect("just inserted").earlier = earlier;
        }
        if self.partitions.is_hints(key.partition) {
            if !counted.known {
                self.note_added_hint(key.partition, true);
            }
        } else {
            self.pending_keys += i64::from(!deletes) - i64::from(counted.counts);
        }
        commit
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

    pub(crate) fn maybe_commit(&mut self, instance: usize) {
        let eager = match self.config.durability {
            Durability::Interval { ms } if !self.closing => {
                Some((self.config.limits.frame_bytes_eager, u64::from(ms) * 1000 / 2))
            }
            _ => None,
        };
        let is_put_off = self.now_us.saturating_sub(self.pacing.log_write_us[instance]) < self.pacing.write_delay_us;
        if !self.logs[instance].is_due(self.now_us, eager) || (is_put_off && !self.closing) {
            return;
        }
        match self.next_write(instance) {
            Ok(Write { file, offset, buffer, skip }) => {
                let operation = OperationId(instance as u64);
                self.pacing.log_write_us[instance] = self.now_us;
                self.pacing.write_began_us[instance] = self.now_us;
                self.segments.get(file).file.start_write(operation, offset, buffer, skip);
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
}

/// The smallest clock of a version in a record.
pub(crate) fn oldest_clock(fields: &RecordFields<'_>) -> Clock {
    if fields.kind != Kind::Siblings {
        return fields.dot.clock;
    }
    let oldest = ObjectView::checked_before(fields.value).siblings().next();
    oldest.map_or(fields.dot.clock, |oldest| oldest.dot.clock)
}

pub(crate) fn commit_of(instance: usize, ordinal: u64) -> Commit {
    Commit { instance: u8::try_from(instance).expect("there are two instances"), ordinal }
}

/// True when an expiry instant, 0 for none, has come.
#[inline]
pub(crate) fn is_expired(expires_at_ms: u64, now_ms: u64) -> bool {
    (1..=now_ms).contains(&expires_at_ms)
}
