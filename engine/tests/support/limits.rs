//! Sizes so small that a short test fills, rolls over and recycles.

use annulus_engine::Limits;

/// Small sizes, so that segments fill and are reused within a few hundred writes.
pub fn limits() -> Limits {
    Limits {
        segment_bytes_min: 32 << 10,
        segment_bytes_max: 32 << 10,
        large_segment_bytes_min: 64 << 10,
        small_record_bytes_max: 1 << 10,
        frame_bytes_max: 8 << 10,
        frame_bytes_eager: 4 << 10,
        waiting_bytes_max: 64 << 10,
        waiting_frames_max: 4,
        resident_bytes_max: 16 << 10,
        reads_max: 4,
        read_bytes_max: 8 << 10,
        recovery_read_bytes: 16 << 10,
        compaction_read_bytes: 8 << 10,
        compaction_sets_bytes: 48 << 10,
        compaction_buffer_bytes: 16 << 10,
        compaction_seal_bytes: 4 << 10,
        compaction_move_entries: 5,
        compaction_retry_us: 30_000,
        partition_file_bytes_max: 24 << 10,
        ..Limits::PRODUCTION
    }
}

/// Smaller still: a segment holds a few frames.
pub fn tiny() -> Limits {
    Limits {
        segment_bytes_min: 20 << 10,
        segment_bytes_max: 20 << 10,
        large_segment_bytes_min: 20 << 10,
        small_record_bytes_max: 1 << 10,
        frame_bytes_max: 2 << 10,
        waiting_bytes_max: 20 << 10,
        // Segments go, too.
        log_kept_per_mille: 1_000,
        ..limits()
    }
}
