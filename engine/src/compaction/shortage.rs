//! What can be compacted where the space is short: a compaction sets nothing free before all that it writes is there.
//!
//! Of a full log of records that count, a drain makes partition files that are as long, and no room; it would only use up what
//! later compactions need. Where deletes make garbage, what fits goes first, and makes room for the next.
//!
//! Invariant: nothing is begun that would, by what is known before, need more than there is.

use crate::disk::Disk;
use crate::disk_level::DiskLevel;
use crate::engine::Engine;
use crate::frame::BLOCK_BYTES;
use crate::hot_log::SMALL;
use crate::partition_files::Set;
use crate::sealed_run::RUN_BLOCK_BYTES;

/// What a run takes beside its records: the header of its file, and a footer and a trailer that fill their blocks.
const RUN_OVERHEAD_BYTES: u64 = 3 * RUN_BLOCK_BYTES as u64;
/// The log's next segments come first: so many, or a quarter of what is left.
const SEGMENTS_LEFT_TO_LOG: u64 = 4;

impl<D: Disk> Engine<D> {
    /// Whether what can be set free should be.
    pub(super) fn is_space_short(&self) -> bool {
        self.disk_state.is_full || self.disk_state.level >= DiskLevel::Hurry
    }

    /// Whether values are refused for want of space.
    pub(super) fn is_space_out(&self) -> bool {
        self.disk_state.is_full || self.disk_state.level >= DiskLevel::NoWrites
    }

    /// What has to stay free for compaction: for each core as much as counts in the files of its largest partition, and what
    /// each partition takes beside records when a drain ends.
    pub(crate) fn compaction_reserve(&self) -> u64 {
        let largest = self.partition_files.iter().map(|(_, set)| set.live_bytes()).max();
        estimate(largest.unwrap_or(0), self.partitions.len() as u64) * u64::from(self.config.cores)
    }

    /// How much a compaction may write where the space is short.
    pub(super) fn space_at_hand(&self) -> u64 {
        if !self.is_space_short() {
            return u64::MAX;
        }
        let available = self.disk.space().map_or(self.disk_state.available_bytes, |space| space.available_bytes);
        available - (SEGMENTS_LEFT_TO_LOG * self.config.segment_bytes(SMALL)).min(available / 4)
    }

    /// How many of the oldest segments, at most `most`, can be drained and let go.
    pub(super) fn segments_that_fit(&mut self, instance: u8, most: usize) -> Option<usize> {
        let number = usize::from(instance);
        if self.logs[number].room(&self.segments) < BLOCK_BYTES as u64 {
            // The frame that moves the tail has nowhere to go. Where the disk is full compactions may change that; but not for
            // small records, of which there are deletes, whatever else there is.
            match (instance, self.disk_state.is_full) {
                (SMALL, true) => self.want_tail_segment(number),
                (_, true) => {}
                (_, false) => self.want_segment(number),
            }
            return None;
        }
        if !self.is_space_short() {
            return Some(most);
        }
        let log = &self.logs[number];
        // Deletes need a place, even if nothing is gained.
        let has_reserve = log.room(&self.segments) > self.config.segment_bytes(instance) / 4;
        let is_wanted = instance == SMALL && !has_reserve;
        let space = self.space_at_hand();
        let partitions = self.partitions.len() as u64;
        let (mut freed, mut live, mut entries) = (0, 0, 0);
        let mut fitting = None;
        for (count, file) in (1..=most).zip(&log.sealed) {
            let segment = self.segments.get(*file);
            freed += segment.bytes;
            live += segment.live_bytes();
            entries += u64::from(segment.live);
            let written = estimate(live, entries.min(partitions));
            if written <= space && (written < freed || (is_wanted && fitting.is_none())) {
                fitting = Some(count);
            }
        }
        fitting
    }

    /// Whether there is space for what is left of a partition's files.
    pub(super) fn set_fits(&self, set: &Set<D::File>, space: u64) -> bool {
        estimate(set.live_bytes(), 1) <= space
    }
}

/// What a compaction of so many bytes of records, which are an estimate, may write as so many runs.
fn estimate(live_bytes: u64, runs: u64) -> u64 {
    live_bytes + live_bytes / 8 + RUN_OVERHEAD_BYTES * runs
}
