//! Every size and count of a core's store, as a value, so that tests pass small ones.

use crate::frame::{BLOCK_BYTES, FRAME_HEADER_BYTES};
use crate::record::{RECORD_BYTES_MAX, VALUE_BYTES_MAX};
use crate::segment::SEGMENT_HEADER_BYTES;

/// Sizes and counts of one core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// A segment is an eighth of the log's budget, but at least this long.
    pub segment_bytes_min: u64,
    /// And at most this long.
    pub segment_bytes_max: u64,
    /// Segments of large records are at least this long: one of the longest fits.
    pub large_segment_bytes_min: u64,
    /// Records up to this many bytes go into the instance of small ones.
    pub small_record_bytes_max: usize,
    /// Payload of one frame of small records.
    pub frame_bytes_max: usize,
    /// With interval durability a frame is written when it has this many bytes.
    pub frame_bytes_eager: usize,
    /// Bytes of frames that wait in one instance before writers wait.
    pub waiting_bytes_max: usize,
    /// Frames that wait in one instance.
    pub waiting_frames_max: usize,
    /// The newest bytes of the log that stay in memory: at most so many, and half of the cache.
    pub resident_bytes_max: usize,
    /// Record reads in flight.
    pub reads_max: usize,
    /// One read moves at most so many bytes.
    pub read_bytes_max: usize,
    /// Recovery reads so many bytes at a time.
    pub recovery_read_bytes: usize,
    /// How far above the clock a frame says that stamps stay.
    pub clock_ceiling_ms: u64,
    /// Clocks of others are adopted up to so far ahead of the wall clock.
    pub clock_adopt_ms: u64,
    /// Nodes that hints can be kept for.
    pub hint_partitions_max: usize,
    /// Keys expired by one housekeeping.
    pub expire_per_tick: usize,
    /// Emptied segments kept for reuse.
    pub spare_segments: usize,
    /// More of them are kept while an instance takes less than this share of its budget: to make them anew would cost more.
    pub log_kept_per_mille: u64,
    /// Compaction reads so many bytes at a time.
    pub compaction_read_bytes: usize,
    /// Bytes of all files, per thousand live bytes of records, from which on partitions are compacted.
    pub space_per_mille: u64,
    /// Garbage below this share of its files is not worth a compaction of a partition: per thousand.
    pub garbage_per_mille_min: u64,
    /// Partitions are compacted together while their files are not longer than this in sum: they share their syncs.
    pub compaction_sets_bytes: u64,
    /// What compaction may hold back of the runs that it writes, footers aside; the longest record is taken all the same.
    pub compaction_buffer_bytes: usize,
    /// Runs are sealed until so many bytes are to be written.
    pub compaction_seal_bytes: usize,
    /// Index entries that move over to their new places in one turn.
    pub compaction_move_entries: usize,
    /// Compaction goes on at least at so many bytes a second.
    pub compaction_rate_min: u64,
    /// After a failure, microseconds until compaction is tried again.
    pub compaction_retry_us: u64,
    /// A run is begun in another file when the newest one is so long.
    pub partition_file_bytes_max: u64,
    /// The scrub reads everything once in so many seconds.
    pub scrub_cycle_s: u64,
    /// But never more than so many bytes a second, unless it was told to hurry.
    pub scrub_rate_max: u64,
    /// Index entries that are looked at in one turn, to find what damage concerns.
    pub scrub_judge_entries: usize,
    /// A second failed write within this time makes the core read-only.
    pub failure_window_ms: u64,
    /// Time between two looks at the disk's space, and before a failed preparation is tried again.
    pub space_interval_ms: u64,
}

impl Limits {
    /// What production uses.
    pub const PRODUCTION: Self = Self {
        segment_bytes_min: 4 << 20,
        segment_bytes_max: 64 << 20,
        large_segment_bytes_min: 64 << 20,
        small_record_bytes_max: 128 << 10,
        frame_bytes_max: 1 << 20,
        frame_bytes_eager: 256 << 10,
        waiting_bytes_max: 64 << 20,
        waiting_frames_max: 64,
        resident_bytes_max: 64 << 20,
        reads_max: 256,
        read_bytes_max: 1 << 20,
        recovery_read_bytes: 1 << 20,
        clock_ceiling_ms: 250,
        clock_adopt_ms: 500,
        hint_partitions_max: 4096,
        expire_per_tick: 4096,
        spare_segments: 3,
        // It stays below, as writers are delayed most at one and a half.
        log_kept_per_mille: 2_000,
        compaction_read_bytes: 256 << 10,
        space_per_mille: 1_470,
        garbage_per_mille_min: 150,
        compaction_sets_bytes: 16 << 20,
        compaction_buffer_bytes: 16 << 20,
        compaction_seal_bytes: 1 << 20,
        compaction_move_entries: 1024,
        compaction_rate_min: 8 << 20,
        compaction_retry_us: 5_000_000,
        partition_file_bytes_max: 192 << 20,
        scrub_cycle_s: 14 * 24 * 3600,
        scrub_rate_max: 16 << 20,
        scrub_judge_entries: 4096,
        failure_window_ms: 600_000,
        space_interval_ms: 1000,
    };

    /// Asserts how they relate.
    pub fn assert_valid(&self) {
        let overhead = SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES + BLOCK_BYTES;
        assert!(self.segment_bytes_min <= self.segment_bytes_max);
        assert!(self.segment_bytes_min.is_multiple_of(BLOCK_BYTES as u64));
        assert!(self.segment_bytes_max.is_multiple_of(BLOCK_BYTES as u64));
        assert!(self.large_segment_bytes_min.is_multiple_of(BLOCK_BYTES as u64));
        assert!(self.segment_bytes_min >= (self.frame_bytes_max + overhead) as u64, "a frame fits a segment");
        assert!(self.small_record_bytes_max <= self.frame_bytes_max, "a small record fits a frame");
        assert!(self.large_segment_bytes_min >= self.segment_bytes_min);
        assert!(self.waiting_bytes_max >= RECORD_BYTES_MAX.min(self.large_segment_bytes_min as usize));
        assert!(self.waiting_frames_max >= 2 && self.reads_max > 0 && self.spare_segments > 0);
        assert!(self.read_bytes_max.is_multiple_of(BLOCK_BYTES) && self.read_bytes_max > 0);
        assert!(self.recovery_read_bytes.is_multiple_of(BLOCK_BYTES) && self.recovery_read_bytes > 0);
        self.assert_compaction_valid();
    }

    /// Asserts how those of compaction relate; part of [`Limits::assert_valid`].
    fn assert_compaction_valid(&self) {
        assert!(self.compaction_read_bytes.is_multiple_of(BLOCK_BYTES) && self.compaction_read_bytes > 0);
        assert!(self.compaction_move_entries > 0 && self.compaction_rate_min > 0);
        assert!(self.scrub_cycle_s > 0 && self.scrub_rate_max > 0 && self.scrub_judge_entries > 0);
        let longest = self.partition_file_bytes_max + (self.record_bytes_max() + BLOCK_BYTES) as u64;
        assert!(longest < crate::index::Place::FILE_BYTES_MAX, "places name every record of a file");
    }

    /// The longest value, and the longest encoded set of siblings, that can be stored whatever its key and its context are.
    pub fn value_bytes_max(&self) -> usize {
        self.record_bytes_max().saturating_sub(RECORD_BYTES_MAX - VALUE_BYTES_MAX).min(VALUE_BYTES_MAX)
    }

    /// The longest record that can be stored.
    pub fn record_bytes_max(&self) -> usize {
        let segment = usize::try_from(self.large_segment_bytes_min).expect("segments fit memory");
        (segment - SEGMENT_HEADER_BYTES - FRAME_HEADER_BYTES - BLOCK_BYTES).min(RECORD_BYTES_MAX)
    }
}
