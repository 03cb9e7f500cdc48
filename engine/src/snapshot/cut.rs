//! The cut: which files, and how much of each, say what a core's store held at one moment.
//!
//! It is what a crash at that moment would leave at the worst: the segments from the durable tail on, up to their last durable
//! frames, and of every partition file the runs that recovery would then let count. A run that the log of the cut still
//! replays is left out: after a real crash the file may go on with another one in its place.
//!
//! Invariant: of what is in the cut nothing changes while its names are there and its segments are pinned.

use crate::disk::Disk;
use crate::engine::Engine;
use crate::hot_log::{LARGE, SMALL};
use crate::sealed_run::Replayed;
use crate::segment::SEGMENT_HEADER_BYTES;

/// A partition file.
pub(crate) struct CutFile<F> {
    pub(crate) file: F,
    pub(crate) path: String,
    /// Where the newest run that counts ends.
    pub(crate) bytes: u64,
    /// Its sequence.
    pub(crate) sequence: u64,
}

/// A segment of the log.
pub(crate) struct CutSegment<F> {
    pub(crate) file: F,
    /// Its number among the segments.
    pub(crate) number: u16,
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) written: u64,
    pub(crate) sequence: u64,
}

/// All of them.
pub(crate) struct Cut<F> {
    pub(crate) files: Vec<CutFile<F>>,
    pub(crate) segments: Vec<CutSegment<F>>,
}

impl<D: Disk> Engine<D> {
    /// What there is now.
    pub(super) fn make_cut(&self) -> Cut<D::File> {
        let mut segments = Vec::new();
        for instance in [SMALL, LARGE] {
            for number in self.logs[usize::from(instance)].replayed(&self.segments) {
                let segment = self.segments.get(number);
                // Without a durable frame there is nothing in it.
                if segment.written <= SEGMENT_HEADER_BYTES as u64 {
                    continue;
                }
                segments.push(CutSegment {
                    file: segment.file.clone(),
                    number,
                    path: segment.path.clone(),
                    bytes: segment.bytes,
                    written: segment.written,
                    sequence: segment.sequence,
                });
            }
        }
        let mut files = Vec::new();
        for (_, set) in self.partition_files.iter() {
            for (place, file) in set.files() {
                let runs = set.runs().iter().filter(|run| run.file == place);
                let counted = runs.filter(|run| !self.is_replayed(run.trailer.drained, &segments));
                let Some(newest) = counted.map(|run| &run.trailer).max_by_key(|trailer| trailer.end()) else {
                    continue;
                };
                let (bytes, sequence) = (newest.end(), newest.sequence);
                files.push(CutFile { file: file.file.clone(), path: file.path.clone(), bytes, sequence });
            }
        }
        Cut { files, segments }
    }

    /// Whether the log of the cut has what a run was drained from; recovery judges by the same.
    fn is_replayed(&self, drained: Option<Replayed>, segments: &[CutSegment<D::File>]) -> bool {
        drained.is_some_and(|drained| {
            let is_ours = (drained.layout, drained.core) == (self.config.layout, self.config.core);
            is_ours && segments.iter().any(|segment| segment.sequence == drained.through)
        })
    }
}
