//! What a store has counted, and how it stands.

use crate::disk::Disk;
pub use crate::disk_level::DiskLevel;
use crate::engine::Engine;

/// Counted since the store opened; only ever grows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that became durable.
    pub commits: u64,
    /// Records in them.
    pub records_written: u64,
    /// Bytes written to the log, padding and headers included.
    pub bytes_written: u64,
    /// Bytes of records in them.
    pub record_bytes_written: u64,
    /// Log writes that failed.
    pub write_failures: u64,
    /// Segments made.
    pub segments_created: u64,
    /// Segments reused.
    pub segments_recycled: u64,
    /// Segments removed.
    pub segments_removed: u64,
    /// Records read from the disk.
    pub disk_reads: u64,
    /// Bytes of those reads.
    pub disk_read_bytes: u64,
    /// Reads that failed or gave damaged bytes.
    pub read_failures: u64,
    /// Records that were another key's with the same 72 bits of hash.
    pub hash_collisions: u64,
    /// Keys that expired.
    pub expired: u64,
    /// Drains of the log that ended well.
    pub drains: u64,
    /// Segments that were drained.
    pub segments_drained: u64,
    /// Compactions of a partition's whole set that ended well.
    pub compactions: u64,
    /// Drains and compactions that were given up.
    pub compactions_failed: u64,
    /// Runs that were sealed.
    pub runs_sealed: u64,
    /// Records that the index found in a new place afterwards.
    pub records_moved: u64,
    /// Bytes that compaction read.
    pub compaction_read_bytes: u64,
    /// Bytes that compaction wrote, footers and padding included.
    pub compaction_written_bytes: u64,
    /// Of the records that the index found in a new place, those that hold siblings.
    pub siblings_moved: u64,
    /// Objects that were merged and changed what was stored.
    pub merges: u64,
    /// Objects that brought nothing new.
    pub merges_unchanged: u64,
    /// Merges that had to wait for a record from the disk.
    pub merge_reads: u64,
    /// Hints that were forgotten.
    pub hints_forgotten: u64,
    /// Records with several siblings that merges wrote.
    pub siblings_written: u64,
    /// Records and frames that compaction could not read.
    pub compaction_damaged_records: u64,
    /// Bytes of files that the scrub has looked at.
    pub scrub_bytes: u64,
    /// Damaged places that it has found.
    pub scrub_damage: u64,
    /// Times that it has looked at everything.
    pub scrub_cycles: u64,
    /// Tombstones that were dropped for good.
    pub tombstones_reaped: u64,
    /// Writes refused for memory.
    pub refused_memory: u64,
    /// Writes refused for the disk.
    pub refused_disk: u64,
    /// Times that a writer had to wait.
    pub stalls: u64,
}

/// How a store stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Keys.
    pub keys: u64,
    /// Keys that expire.
    pub expiring: u64,
    /// Deleted or expired keys that the log still has to remember.
    pub tombstones: u64,
    /// Memory of the index.
    pub index_bytes: u64,
    /// Entries of the index, tombstones included.
    pub index_entries: u64,
    /// Memory of expiry instants and contexts.
    pub side_table_bytes: u64,
    /// Memory of cached values.
    pub cache_bytes: u64,
    /// What it may grow to.
    pub cache_capacity_bytes: u64,
    /// Look-ups that found.
    pub cache_hits: u64,
    /// Look-ups that did not.
    pub cache_misses: u64,
    /// Memory of values, with memory durability.
    pub memory_store_bytes: u64,
    /// Everything that counts against the limit.
    pub memory_bytes: u64,
    /// Files of the log.
    pub log_segments: u64,
    /// Of these, those that a read or a snapshot keeps from being written again.
    pub log_segments_pinned: u64,
    /// Their bytes.
    pub log_bytes: u64,
    /// Bytes written of those that hold something live.
    pub log_tail_bytes_live: u64,
    /// Partition files.
    pub partition_files: u64,
    /// Their sealed runs.
    pub runs: u64,
    /// Their bytes, footers included.
    pub partition_file_bytes: u64,
    /// Bytes of all records that the index names, in the log and in partition files; an estimate where records of one file
    /// differ much in length.
    pub live_bytes: u64,
    /// Partitions in whose files damage was found.
    pub partitions_damaged: u64,
    /// Microseconds that log writes are put off at present, because compaction is behind.
    pub write_delay_us: u64,
    /// Writes that are not durable.
    pub pending_writes: u64,
    /// Their bytes.
    pub pending_bytes: u64,
    /// Frames that wait or are in flight.
    pub pending_commits: u64,
    /// Record reads in flight.
    pub reads_in_flight: u64,
    /// The disk failed twice: nothing more is written.
    pub is_read_only: bool,
    /// Which water mark the disk has reached.
    pub disk_state: DiskLevel,
    /// Space that is left on it.
    pub disk_available_bytes: u64,
    /// Counted since the start.
    pub counts: Counts,
}

/// How one partition stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Its number.
    pub partition: u16,
    /// Its durable keys.
    pub keys: u64,
    /// Deleted or expired keys that are still remembered.
    pub tombstones: u64,
    /// Its files, their sealed runs, and their bytes.
    pub files: u64,
    /// Sealed runs in them.
    pub runs: u64,
    /// Bytes of the files.
    pub file_bytes: u64,
    /// Bytes of the records in the files that count; an estimate where records differ much in length.
    pub live_bytes: u64,
    /// Damage was found in the files: they are kept as they are.
    pub damaged: bool,
}

impl<D: Disk> Engine<D> {
    /// How a partition of this core stands. What is not durable yet is left out: to find it, every pending write would be
    /// looked at, for every partition that is asked about.
    pub fn partition_status(&self, partition: u16) -> PartitionStatus {
        let keys = if self.pending_mark.is_some() { 0 } else { self.index.live_in(partition) as u64 };
        let set = self.partition_files.set(partition);
        PartitionStatus {
            partition,
            keys,
            tombstones: (self.index.len_in(partition) - self.index.live_in(partition)) as u64,
            files: set.files().count() as u64,
            runs: set.runs().len() as u64,
            file_bytes: set.bytes(),
            live_bytes: set.live_bytes(),
            damaged: set.damaged,
        }
    }
}
