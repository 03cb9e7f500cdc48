//! Beginning a compaction when it is time, and its pace.
//!
//! Invariant: the next one begins only when what the last one let go of is durably behind the log's tail.

use std::collections::{BTreeMap, VecDeque};

use super::input::{Layout, Reader};
use super::{Compaction, Input, Stage};
use crate::compaction_policy::{self as policy, LogState, SetState, Space};
use crate::config::Config;
use crate::disk::Disk;
use crate::engine::Engine;
use crate::frame::BLOCK_BYTES;
use crate::hot_log::{LARGE, SMALL};
use crate::segment::SEGMENT_HEADER_BYTES;

/// The log's budget grows by one byte for so many that are live.
const LIVE_BYTES_PER_LOG_BYTE: u64 = 20;

impl<D: Disk> Engine<D> {
    /// Refills what compaction may read until the next tick, and begins or goes on with one.
    pub(crate) fn pace_compaction(&mut self) {
        let elapsed = self.now_us.saturating_sub(self.pacing.refilled_us);
        let space = self.space();
        self.pacing.live_bytes = space.live_bytes;
        let debts = [SMALL, LARGE].map(|instance| {
            let log_bytes = self.logs[usize::from(instance)].bytes_in_use(&self.segments);
            (log_bytes, self.log_budget(instance))
        });
        if elapsed > 0 {
            let written = self.counts.bytes_written - self.pacing.log_bytes;
            let rate_now = u128::from(written) * 1_000_000 / u128::from(elapsed);
            let rate_now = u64::try_from(rate_now).unwrap_or(u64::MAX);
            // About the last second.
            self.pacing.ingest = self.pacing.ingest - self.pacing.ingest / 32 + rate_now / 32;
            self.pacing.log_bytes = self.counts.bytes_written;
            self.pacing.refilled_us = self.now_us;
            let is_log_full = debts.iter().any(|(bytes, budget)| bytes > budget);
            let disturbs = self.pacing.latency.is_disturbed();
            let rate_min = self.config.limits.compaction_rate_min;
            let rate =
                policy::rate(policy::Load { ingest: self.pacing.ingest, is_log_full, space, rate_min, disturbs });
            let tokens = u128::from(rate) * u128::from(elapsed.min(100_000)) / 1_000_000;
            self.pacing.tokens = u64::try_from(tokens).unwrap_or(u64::MAX).max(1);
        }
        let delays = debts.iter().map(|(bytes, budget)| policy::write_delay_us(*bytes, *budget));
        let delay = delays.max().expect("there are two instances");
        self.pacing.write_delay_us = if self.pacing.paused { 0 } else { delay };
        self.carry_tails();
        if self.compaction.is_none() {
            self.maybe_begin_compaction(space);
        }
        self.continue_compaction();
    }

    /// What an instance may take; segments of large records are so long that few of them are more than the log's budget.
    fn log_budget(&self, instance: u8) -> u64 {
        let Config { hot_log_bytes, hot_log_bytes_max, .. } = self.config;
        let follows = (self.pacing.live_bytes / LIVE_BYTES_PER_LOG_BYTE).min(hot_log_bytes_max);
        hot_log_bytes.max(follows).max(4 * self.config.segment_bytes(instance))
    }

    /// Lets drains and compactions go on, or holds them back where they are. While they are held back the log grows.
    pub fn let_compaction_run(&mut self, goes_on: bool) {
        self.pacing.paused = !goes_on;
    }

    /// Whether all segments of an instance, spare ones too, take hardly more than it may.
    pub(crate) fn is_log_within_budget(&self, instance: usize) -> bool {
        let number = u8::try_from(instance).expect("there are two instances");
        let log = &self.logs[instance];
        let bytes = log.bytes_in_use(&self.segments) + log.idle_bytes(&self.segments);
        bytes <= self.log_budget(number) / 1000 * self.config.limits.log_kept_per_mille && !self.is_space_short()
    }

    fn space(&self) -> Space {
        let files = (self.partition_files.bytes(), self.segments.bytes());
        Space::new(files, self.live_bytes(), self.is_space_short())
    }

    fn maybe_begin_compaction(&mut self, space: Space) {
        let pacing = &self.pacing;
        let waits = pacing.stopped || pacing.paused || pacing.tidying || self.now_us < pacing.not_before_us;
        let settled = self.logs.iter().all(|log| log.drains_are_durable());
        if waits || !settled || self.failures.read_only || self.closing {
            return;
        }
        // Without space for more, what is garbage already goes first: a drain needs space before it gives any.
        let is_out = self.is_space_out();
        let is_wasteful = is_out || policy::is_wasteful(space, self.config.limits.space_per_mille);
        let due = [SMALL, LARGE].into_iter().find_map(|instance| self.drain_due(instance));
        // What was drained makes garbage of what was there before: where both are due they take turns by bytes.
        let is_its_turn = !is_wasteful || (self.pacing.owed_bytes == 0 && !is_out);
        if let Some((instance, count)) = due.filter(|_| is_its_turn) {
            return self.begin_drain(instance, count);
        }
        if !is_wasteful && self.mark.is_none() {
            return;
        }
        let limits = &self.config.limits;
        let partitions = policy::choose_sets(
            self.set_states(),
            is_wasteful.then_some(limits.garbage_per_mille_min),
            limits.compaction_sets_bytes.min(self.space_at_hand()),
        );
        if !partitions.is_empty() {
            return self.begin_sets(partitions);
        }
        self.pacing.owed_bytes = 0;
        if let Some((instance, count)) = due {
            self.begin_drain(instance, count);
        }
    }

    /// A drain that is due, and that could let go of what it drains.
    fn drain_due(&mut self, instance: u8) -> Option<(u8, usize)> {
        let most = policy::segments_to_drain(self.log_state(instance))?;
        self.segments_that_fit(instance, most).map(|count| (instance, count))
    }

    /// Writes frames without records where one that would have moved the tail was lost, and no other one follows.
    fn carry_tails(&mut self) {
        if self.failures.read_only || self.failures.awaits_incarnation || self.closing {
            return;
        }
        for instance in 0..self.logs.len() {
            let log = &mut self.logs[instance];
            if !log.is_quiet() || log.tail_is_durable() {
                continue;
            }
            if log.room(&self.segments) >= BLOCK_BYTES as u64 {
                log.append_empty(self.now_us);
            } else {
                // It takes one segment for those that go then, also beyond the water marks.
                self.want_tail_segment(instance);
            }
        }
    }

    fn set_states(&self) -> impl Iterator<Item = SetState> {
        let mark = self.mark.map(|(clock, _)| clock);
        let space = self.space_at_hand();
        let sets = self.partition_files.iter().filter(|(_, set)| !set.damaged && !set.is_empty());
        let sets = sets.filter(move |(_, set)| self.set_fits(set, space));
        sets.map(move |(partition, set)| SetState {
            partition,
            file_bytes: set.bytes(),
            garbage_bytes: set.garbage_bytes(),
            is_flushed: mark.is_some_and(|mark| set.min_clock().is_some_and(|min| min <= mark)),
        })
    }

    fn log_state(&self, instance: u8) -> LogState {
        LogState {
            sealed_bytes: self.drainable(instance).map(|file| self.segments.get(file).bytes).sum(),
            segment_bytes: self.config.segment_bytes(instance),
            budget_bytes: self.log_budget(instance),
            hurry: self.is_space_short(),
        }
    }

    /// The oldest segments of an instance, up to the first one that is damaged: a drain could not let go of it.
    fn drainable(&self, instance: u8) -> impl Iterator<Item = u16> {
        let sealed = self.logs[usize::from(instance)].sealed.iter().copied();
        sealed.take_while(|file| {
            let segment = self.segments.get(*file);
            !segment.damaged || segment.live == 0
        })
    }

    /// Begins to drain the oldest segments of an instance: at most `count`.
    pub(crate) fn begin_drain(&mut self, instance: u8, count: usize) {
        let segments: Vec<u16> = self.drainable(instance).take(count).collect();
        segments.iter().for_each(|file| self.segments.get_mut(*file).held = true);
        // What nothing points into is not read.
        let live =
            segments.iter().map(|file| (*file, self.segments.get(*file))).filter(|(_, segment)| segment.live > 0);
        let readers = live.map(|(file, segment)| {
            let layout = Layout::Frames { sequence: segment.sequence };
            Reader::new(segment.file.clone(), (file, 0), layout, (SEGMENT_HEADER_BYTES as u64, segment.written))
        });
        let readers = readers.collect();
        let newest = segments.last().map(|file| self.segments.get(*file).sequence);
        let through = newest.expect("a drain is due when a segment is sealed");
        self.begin(Input::Drain { instance, segments, through }, readers);
    }

    /// Begins to compact all files of each of some partitions.
    pub(crate) fn begin_sets(&mut self, partitions: Vec<u16>) {
        let mut readers = VecDeque::new();
        for partition in &partitions {
            let set = self.partition_files.set(*partition);
            // Where nothing counts any more nothing is read.
            for (place_file, file) in set.files().filter(|_| set.live() > 0) {
                let runs = set.runs().iter().filter(|run| run.file == place_file && run.trailer.entries > 0);
                let ranges: VecDeque<_> = runs
                    .map(|run| (run.trailer.run_start, run.trailer.run_start + run.trailer.records_bytes))
                    .collect();
                if let (Some((from, _)), Some((_, end))) = (ranges.front().copied(), ranges.back().copied()) {
                    let layout = Layout::Records { ranges };
                    readers.push_back(Reader::new(file.file.clone(), (place_file, *partition), layout, (from, end)));
                }
            }
        }
        self.begin(Input::Sets { partitions }, readers);
    }

    fn begin(&mut self, input: Input, readers: VecDeque<Reader<D::File>>) {
        tracing::debug!(core = self.config.core, %input, "a compaction begins");
        self.compaction = Some(Box::new(Compaction {
            input,
            stage: Stage::Reading,
            readers,
            writers: BTreeMap::new(),
            sealed: VecDeque::new(),
            dropped: Vec::new(),
            buffered: 0,
            mark_carried: false,
            busy: false,
            read_bytes: 0,
            written_bytes: 0,
            began_us: self.now_us,
        }));
    }

    /// Tells how a compaction went.
    pub(super) fn finish_compaction(&mut self, job: &Compaction<D::File>) {
        let took_ms = self.now_us.saturating_sub(job.began_us) / 1000;
        let read = job.read_bytes;
        self.pacing.owed_bytes = match job.input {
            Input::Drain { .. } => self.pacing.owed_bytes + read * policy::SETS_PER_DRAIN,
            Input::Sets { .. } => self.pacing.owed_bytes.saturating_sub(read.max(1)),
        };
        if self.is_space_out() && job.written_bytes > read / 8 * 7 {
            // It was hardly worth it, and the next one will not be.
            self.pacing.not_before_us = self.now_us + self.config.limits.compaction_retry_us;
        }
        tracing::debug!(core = self.config.core, input = %job.input, read_bytes = job.read_bytes,
            written_bytes = job.written_bytes, took_ms, "a compaction has ended");
    }
}
