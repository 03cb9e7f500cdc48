//! What of the files the index still needs: every entry is counted where it points.
//!
//! Invariant: with durability on disk, each index entry is counted once, by the segment or by the partition's files that it
//! points into.

use crate::disk::Disk;
use crate::engine::Engine;
use crate::index::{Entry, Place};
use crate::partition_files::PartitionFiles;
use crate::segments::Segments;

impl<D: Disk> Engine<D> {
    /// The index has this entry from now on.
    #[inline]
    pub(crate) fn gained(&mut self, partition: u16, entry: &Entry) {
        gained(&mut self.segments, &mut self.partition_files, partition, entry);
    }

    /// The index has this entry no more.
    #[inline]
    pub(crate) fn lost(&mut self, partition: u16, entry: &Entry) {
        lost(&mut self.segments, &mut self.partition_files, partition, entry);
    }

    /// Which use of which file a number means now; `None` when there is none.
    pub(crate) fn file_use(&self, partition: u16, file: u16) -> Option<u64> {
        file_use(&self.segments, &self.partition_files, partition, file)
    }

    /// About how many bytes of records the index names, wherever they are.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.segments.live_bytes() + self.partition_files.live_bytes()
    }
}

/// As [`Engine::file_use`], for whoever has the parts.
pub(crate) fn file_use<F>(segments: &Segments<F>, files: &PartitionFiles<F>, partition: u16, file: u16) -> Option<u64> {
    if file < Place::LOG_FILES {
        return segments.sequence(file);
    }
    files.set(partition).get(file).map(|file| file.id)
}

/// As [`Engine::gained`], for whoever has the parts.
pub(crate) fn gained<F>(segments: &mut Segments<F>, files: &mut PartitionFiles<F>, partition: u16, entry: &Entry) {
    if entry.place.is_cold() {
        files.set_mut(partition).gained(entry.size_class);
    } else {
        segments.gained(entry.place.file, entry.size_class);
    }
}

/// As [`Engine::lost`], for whoever has the parts.
pub(crate) fn lost<F>(segments: &mut Segments<F>, files: &mut PartitionFiles<F>, partition: u16, entry: &Entry) {
    if entry.place.is_cold() {
        files.set_mut(partition).lost(entry.size_class);
    } else {
        segments.lost(entry.place.file, entry.size_class);
    }
}
