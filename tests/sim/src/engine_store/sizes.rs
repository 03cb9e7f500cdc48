//! How large an engine is in the simulator: so small that a run of some seconds fills its log, drains it, compacts its
//! partitions and reads from its disk.
//!
//! Invariant: sizes are valid, and a function of the disk's stream of chance.

use annulus_engine::Limits;

use crate::seeds::Random;

/// Sizes that an engine is opened with; they stay the same over restarts.
#[derive(Debug, Clone)]
pub(super) struct Sizes {
    pub(super) limits: Limits,
    pub(super) hot_log_bytes: u64,
    pub(super) cache_bytes: usize,
}

impl Sizes {
    pub(super) fn draw(random: &mut Random) -> Self {
        let tiny = random.one_in(2);
        let segment_bytes = if tiny { 20 << 10 } else { 32 << 10 };
        let limits = Limits {
            segment_bytes_min: segment_bytes,
            segment_bytes_max: segment_bytes,
            large_segment_bytes_min: 64 << 10,
            small_record_bytes_max: 1 << 10,
            frame_bytes_max: if tiny { 2 << 10 } else { 8 << 10 },
            frame_bytes_eager: 4 << 10,
            waiting_bytes_max: 64 << 10,
            waiting_frames_max: 4,
            resident_bytes_max: 16 << 10,
            reads_max: *random.pick(&[2, 16]),
            read_bytes_max: 8 << 10,
            recovery_read_bytes: 16 << 10,
            log_kept_per_mille: if tiny { 1_000 } else { 2_000 },
            compaction_read_bytes: 8 << 10,
            compaction_sets_bytes: 48 << 10,
            compaction_buffer_bytes: 16 << 10,
            compaction_seal_bytes: 4 << 10,
            compaction_move_entries: 5,
            compaction_retry_us: 30_000,
            partition_file_bytes_max: 24 << 10,
            scrub_cycle_s: 2,
            failure_window_ms: 300,
            space_interval_ms: 50,
            ..Limits::PRODUCTION
        };
        let hot_log_bytes = *random.pick(&[128 << 10, 256 << 10]);
        Self { limits, hot_log_bytes, cache_bytes: *random.pick(&[0, 4 << 10, 64 << 10]) }
    }
}
