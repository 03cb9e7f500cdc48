//! What a store does beside reads and writes: segments prepared and reused, expired keys noted, tombstones dropped, the
//! disk's space watched, failures counted.
//!
//! A *tombstone* (an expired value is one too) hides older records of its key. It goes with its segment, and only when
//! nothing that it could hide is left: its segment is the oldest of its instance, and everything the other instance still
//! has was begun after it was closed.
//!
//! Invariant: a segment is reused only when no index entry and no read needs it, and a durable frame says that the log
//! begins behind it. Until then a crash replays it.

use crate::Refusal;
use crate::disk::{Disk, DiskError};
use crate::disk_level::DiskLevel;
use crate::engine::{Engine, Event};
use crate::hot_log::{LARGE, SMALL};
use crate::index::{Entry, Flags, IndexHash, Place};
use crate::segments::{Segment, Use};
use crate::side_table::Extra;
use crate::work::{Done, PrepareError, Work, WorkDone};
use crate::write_path::commit_of;

/// What is known of the disk's space.
#[derive(Debug, Default)]
pub(crate) struct DiskState {
    pub(crate) level: DiskLevel,
    pub(crate) available_bytes: u64,
    /// What of them compaction needs before it sets any free.
    reserve_bytes: u64,
    looked_ms: u64,
    /// No segment of an instance is prepared before this time: the last try failed.
    prepare_after_ms: [u64; 2],
    /// The last segment that was wanted did not fit on the disk.
    pub(crate) is_full: bool,
    /// Or could not be prepared for another reason.
    pub(crate) is_failing: bool,
}

impl DiskState {
    /// The water mark that is reached where so much is left. Values are also refused where compaction has no room to work.
    fn level_of(&self, total_bytes: u64, available_bytes: u64) -> DiskLevel {
        let level = DiskLevel::of(total_bytes, available_bytes);
        if available_bytes < self.reserve_bytes { level.max(DiskLevel::NoWrites) } else { level }
    }

    /// Whether so many bytes, or fewer, were left at the last look.
    pub(crate) fn is_near(&self, bytes: u64) -> bool {
        self.looked_ms > 0 && self.available_bytes <= bytes
    }
}

/// What has failed.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// When a write last failed.
    last_ms: Option<u64>,
    pub(crate) awaits_incarnation: bool,
    pub(crate) read_only: bool,
}

impl<D: Disk> Engine<D> {
    /// About every 20 ms.
    pub fn tick(&mut self, now_ms: u64) {
        self.expire_due(now_ms);
        if self.is_memory() {
            return;
        }
        self.watch_disk(now_ms);
        self.pace_compaction();
        self.continue_snapshot();
        for instance in 0..self.logs.len() {
            self.advance_tail(instance);
            if self.logs[instance].wants_segment(&self.segments) {
                self.want_segment(instance);
            }
        }
        self.pace_scrub(now_ms);
    }

    fn expire_due(&mut self, now_ms: u64) {
        let mut due = Vec::new();
        self.side.due(now_ms, self.config.limits.expire_per_tick, &mut due);
        if due.is_empty() {
            return;
        }
        for (partition, hash) in due {
            self.expire(partition, hash);
        }
        if !self.pending.is_empty() {
            self.recount_pending();
        }
    }

    /// Notes that a value has expired, or the latest of several siblings. Of a node alone it is a tombstone, with memory
    /// durability nothing; where others have copies, or siblings are beside it, it stays until something replaces it, since
    /// their clocks may not agree that its instant has come.
    pub(crate) fn expire(&mut self, partition: u16, hash: IndexHash) {
        self.counts.expired += 1;
        let entry = self.index.get(partition, hash).expect("what expires is indexed");
        let keeps_value = !self.config.is_alone || entry.has_siblings();
        if self.is_memory() && !keeps_value {
            let entry = self.index.remove(partition, hash).expect("what expires is indexed");
            return self.forget_in_memory(partition, &entry);
        }
        let extra = self.side.get(partition, hash).expect("what expires is in the side table");
        let (actor, context, siblings) = (extra.actor, extra.context.to_vec(), extra.siblings.to_vec());
        let rest = Extra { expires_at_ms: 0, actor, context: &context, siblings: &siblings };
        let keeps_extra = !rest.is_empty();
        self.side.set(partition, hash, rest);
        let mut old = None;
        let entry = self.index.update(partition, hash, |entry| {
            old = Some(*entry);
            entry.flags = entry.flags.with(Flags::TOMBSTONE);
            if keeps_value {
                entry.flags = entry.flags.with(Flags::EXPIRED);
            } else {
                // What has to be kept of it is a tombstone: the value's bytes are garbage.
                entry.size_class = entry.size_class.min(1);
            }
            if !keeps_extra {
                entry.flags = entry.flags.without(Flags::EXTRA);
            }
        });
        let entry: Entry = entry.expect("what expires is indexed");
        if !self.is_memory() {
            self.lost(partition, &old.expect("it was updated"));
            self.gained(partition, &entry);
        }
    }

    /// Whether so many bytes may be taken without reaching the mark at which writes are refused. Asked each time, because a
    /// fast disk can be filled between two looks.
    fn disk_takes(&self, bytes: u64) -> bool {
        self.disk.space().map_or(true, |space| {
            let left = space.available_bytes.saturating_sub(bytes);
            left > 0 && self.disk_state.level_of(space.total_bytes, left) < DiskLevel::NoWrites
        })
    }

    fn watch_disk(&mut self, now_ms: u64) {
        let takes_more = self.disk_takes(self.config.segment_bytes(LARGE));
        let state = &self.disk_state;
        // A clock that was set back must not stop this.
        if (state.looked_ms..state.looked_ms + self.config.limits.space_interval_ms).contains(&now_ms) {
            return;
        }
        let reserve_bytes = self.compaction_reserve();
        let state = &mut self.disk_state;
        let latest = now_ms + self.config.limits.space_interval_ms;
        state.prepare_after_ms = state.prepare_after_ms.map(|after| after.min(latest));
        (state.looked_ms, state.reserve_bytes) = (now_ms, reserve_bytes);
        match self.disk.space() {
            Err(error) => tracing::warn!(core = self.config.core, %error, "the disk does not tell its space"),
            Ok(space) => {
                let level = state.level_of(space.total_bytes, space.available_bytes);
                state.available_bytes = space.available_bytes;
                state.is_full &= !takes_more;
                if level != state.level {
                    let available_mib = space.available_bytes >> 20;
                    tracing::warn!(core = self.config.core, ?level, before = ?state.level, available_mib, "disk water mark");
                    state.level = level;
                }
            }
        }
    }

    /// Lets go of the oldest segments that nothing needs.
    pub(crate) fn advance_tail(&mut self, instance: usize) {
        while let Some(&file) = self.logs[instance].sealed.front() {
            let segment = self.segments.get(file);
            if segment.live > 0 || segment.held {
                return;
            }
            let log = &mut self.logs[instance];
            log.log_tail = log.sequence_after_oldest(&self.segments, self.sequence);
            log.sealed.pop_front();
            log.passed.push_back(file);
            self.segments.get_mut(file).state = Use::Passed;
        }
    }

    /// A frame that carried this tail is durable: what it passed may be reused.
    pub(crate) fn after_durable(&mut self, instance: usize, log_tail: u64) {
        while let Some(&file) = self.logs[instance].passed.front() {
            let segment = self.segments.get(file);
            if segment.sequence >= log_tail || segment.pins > 0 {
                return;
            }
            self.logs[instance].passed.pop_front();
            let is_within_budget = self.is_log_within_budget(instance);
            let log = &mut self.logs[instance];
            let number = u8::try_from(instance).expect("there are two instances");
            let right_size = self.segments.get(file).bytes == self.config.segment_bytes(number);
            // Within the budget a segment is worth more than its space: making another one writes it twice.
            let is_wanted = log.spares.len() < self.config.limits.spare_segments || is_within_budget;
            if right_size && is_wanted {
                self.disk_state.is_full = false;
                let segment = self.segments.get_mut(file);
                segment.state = Use::Spare;
                // Whoever still has a plan for what it held must see that it is another use.
                segment.sequence = 0;
                log.spares.push_back(file);
                self.counts.segments_recycled += 1;
            } else {
                let segment = self.segments.remove(file);
                self.counts.segments_removed += 1;
                self.work.push_back(Work::remove(self.disk.clone(), segment.path));
            }
        }
    }

    /// Prepares a segment, unless that is under way or has just failed.
    pub(crate) fn want_segment(&mut self, instance: usize) {
        let number = u8::try_from(instance).expect("there are two instances");
        if !self.may_prepare(instance) {
            return;
        }
        if !self.disk_takes(self.config.segment_bytes(number)) {
            let now_ms = self.disk_state.looked_ms;
            self.disk_state.prepare_after_ms[instance] = now_ms + self.config.limits.space_interval_ms;
            self.disk_state.is_full = true;
            self.fail_waiting(instance);
            return;
        }
        self.prepare_segment(instance);
    }

    /// Prepares a segment for the frame that lets others go, if there is any space for it at all.
    pub(crate) fn want_tail_segment(&mut self, instance: usize) {
        let number = u8::try_from(instance).expect("there are two instances");
        let bytes = self.config.segment_bytes(number);
        if self.may_prepare(instance) && self.disk.space().is_ok_and(|space| space.available_bytes > bytes) {
            self.prepare_segment(instance);
        }
    }

    fn may_prepare(&self, instance: usize) -> bool {
        let is_due = self.disk_state.looked_ms >= self.disk_state.prepare_after_ms[instance];
        is_due && !self.preparing[instance] && !self.failures.read_only
    }

    fn prepare_segment(&mut self, instance: usize) {
        self.preparing[instance] = true;
        let path = self.next_segment_path(instance);
        let instance = u8::try_from(instance).expect("there are two instances");
        let bytes = self.config.segment_bytes(instance);
        self.work.push_back(Work::prepare(self.disk.clone(), instance, path, bytes));
    }

    pub(crate) fn next_segment_path(&mut self, instance: usize) -> String {
        self.next_segment_number += 1;
        let name = if instance == usize::from(SMALL) { "small" } else { "large" };
        format!("{}/{name}-{:05}.log", self.config.directory(), self.next_segment_number)
    }

    /// A piece of background work has ended.
    pub fn on_work_done(&mut self, done: WorkDone<D>, now_ms: u64) {
        match done.0 {
            Done::Prepared { instance, path, bytes, result } => {
                self.preparing[usize::from(instance)] = false;
                match result {
                    Ok(file) => self.add_spare(instance, path, bytes, file),
                    Err(error) => self.on_prepare_failed(usize::from(instance), &path, &error, now_ms),
                }
            }
            Done::Compacted(done) => self.on_step_done(done),
            Done::Scrubbed(fetched) => self.on_scrubbed(fetched),
            Done::Snapshot(done) => self.on_snapshot_step(done),
            Done::Removed { path, result } => {
                if let Err(error) = result {
                    tracing::warn!(core = self.config.core, segment = %path, %error, "a segment that is not needed stays");
                }
            }
        }
        // A compaction that waits for its pace leaves room in between.
        self.continue_scrub();
    }

    pub(crate) fn add_spare(&mut self, instance: u8, path: String, bytes: u64, file: D::File) {
        let segment = Segment::new(file, path.clone(), bytes, Use::Spare);
        let Some(file) = self.segments.add(segment) else {
            tracing::error!(core = self.config.core, max = Place::LOG_FILES, "the log has as many segments as it can");
            self.work.push_back(Work::remove(self.disk.clone(), path));
            self.disk_state.is_full = true;
            self.fail_waiting(usize::from(instance));
            return;
        };
        self.counts.segments_created += 1;
        (self.disk_state.is_full, self.disk_state.is_failing) = (false, false);
        self.logs[usize::from(instance)].spares.push_back(file);
    }

    fn on_prepare_failed(&mut self, instance: usize, path: &str, error: &PrepareError, now_ms: u64) {
        tracing::error!(core = self.config.core, segment = %path, %error, "a segment cannot be prepared");
        self.disk_state.prepare_after_ms[instance] = now_ms + self.config.limits.space_interval_ms;
        let is_full = matches!(error, PrepareError::Disk(DiskError::Full));
        self.disk_state.is_full |= is_full;
        self.disk_state.is_failing = !is_full;
        if matches!(error, PrepareError::Sync(_)) {
            // What the disk says of durability cannot be believed any more.
            return self.become_read_only();
        }
        // Whoever waits for it is told; a write that cannot be kept must not look as if it were under way.
        if self.fail_waiting(instance) && !self.disk_state.is_full {
            self.note_failure(now_ms);
        }
    }

    /// Fails the frames that have no segment to go to; whether there were any.
    fn fail_waiting(&mut self, instance: usize) -> bool {
        let mut any = false;
        while self.logs[instance].in_flight.is_none() && !self.logs[instance].can_write(&self.segments) {
            let waiting = self.logs[instance].pop_waiting().expect("a frame that cannot be written waits");
            self.vanish(commit_of(instance, waiting.ordinal), waiting.payload(), waiting.records);
            any |= waiting.records > 0;
        }
        if any && !self.failures.awaits_incarnation {
            self.failures.awaits_incarnation = true;
            self.events.push_back(Event::NeedIncarnation);
        }
        any
    }

    /// An own write was lost: another incarnation first, and no third chance.
    pub(crate) fn note_failure(&mut self, now_ms: u64) {
        let again = self
            .failures
            .last_ms
            .is_some_and(|last| now_ms.saturating_sub(last) < self.config.limits.failure_window_ms);
        self.failures.last_ms = Some(now_ms);
        if again {
            return self.become_read_only();
        }
        if !self.failures.awaits_incarnation {
            self.failures.awaits_incarnation = true;
            self.events.push_back(Event::NeedIncarnation);
        }
    }

    pub(crate) fn become_read_only(&mut self) {
        if std::mem::replace(&mut self.failures.read_only, true) {
            return;
        }
        self.events.push_back(Event::ReadOnly);
        for instance in 0..self.logs.len() {
            while let Some(waiting) = self.logs[instance].pop_waiting() {
                self.vanish(commit_of(instance, waiting.ordinal), waiting.payload(), waiting.records);
            }
        }
    }

    /// Whether a new value would be taken now, as far as the disk is concerned.
    pub fn takes_values(&self) -> bool {
        !self.failures.read_only && !self.disk_state.is_full && self.disk_state.level < DiskLevel::NoWrites
    }

    /// What a writer is told while the store takes nothing.
    pub fn write_refusal(&self) -> Option<Refusal> {
        self.failures.read_only.then_some(Refusal::ReadOnly)
    }
}
