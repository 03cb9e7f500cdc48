//! A walk through one file: header, records, footers and trailers of a partition's file; header and frames of a segment.
//!
//! What it is not: it reads nothing and does not know what bad bytes mean.
//!
//! Invariant: every byte that a checksum covers is compared with it once, and where it does not match is in `bad`.

use std::collections::VecDeque;

use crate::buffer::AlignedBuffer;
use crate::compaction::{Layout, Next, Reader};
use crate::frame::BLOCK_BYTES;
use crate::partition_files::{PartitionFile, Set};
use crate::sealed_run::{FooterRef, PartitionFileHeader, RUN_BLOCK_BYTES, RunError, Trailer};
use crate::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::segments::Segment;

use super::fetch::Fetch;

/// A file, as it was when the scrub came to its partition or to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    /// Of a segment, any of the core.
    pub(super) partition: u16,
    /// As in a place.
    pub(super) file: u16,
    /// Another one means other contents.
    pub(super) file_use: u64,
}

/// Bytes that are not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) what: &'static str,
    /// Records may be in it, so the index may name some.
    pub(super) has_records: bool,
}

/// A walk.
pub(super) struct Walk<F> {
    pub(super) target: Target,
    pub(super) path: String,
    pub(super) file: F,
    /// Where the file ends for the scrub.
    pub(super) end: u64,
    parts: VecDeque<Part<F>>,
    /// Up to here its bytes were counted; some blocks are read twice.
    covered: u64,
    pub(super) bad: VecDeque<Bad>,
}

enum Part<F> {
    SegmentHeader { sequence: u64 },
    FileHeader(PartitionFileHeader),
    Records(Reader<F>),
    Ending { trailer: Box<Trailer>, held: AlignedBuffer },
}

impl<F: Clone> Walk<F> {
    /// Through a segment that is written no more.
    pub(super) fn of_segment(target: Target, segment: &Segment<F>) -> Self {
        let (from, end) = (SEGMENT_HEADER_BYTES as u64, segment.written.max(SEGMENT_HEADER_BYTES as u64));
        let layout = Layout::Frames { sequence: segment.sequence };
        let reader = Reader::new(segment.file.clone(), (target.file, target.partition), layout, (from, end));
        let header = Part::SegmentHeader { sequence: segment.sequence };
        let parts = VecDeque::from([header, Part::Records(reader.checking_frames())]);
        Self::new(target, (segment.path.clone(), segment.file.clone()), end, parts)
    }

    /// Through a partition's file, as far as its runs of now reach.
    pub(super) fn of_file(target: Target, set: &Set<F>, file: &PartitionFile<F>, cluster_id: [u8; 16]) -> Self {
        let PartitionFile { number, node, .. } = *file;
        let header = PartitionFileHeader { cluster_id, node, number, partition: target.partition };
        let mut parts = VecDeque::from([Part::FileHeader(header)]);
        for run in set.runs().iter().filter(|run| run.file == target.file) {
            let trailer = run.trailer;
            let range = (trailer.run_start, trailer.footer_start());
            if trailer.records_bytes > 0 {
                let layout = Layout::Records { ranges: VecDeque::from([range]) };
                parts.push_back(Part::Records(Reader::new(
                    file.file.clone(),
                    (target.file, target.partition),
                    layout,
                    range,
                )));
            }
            parts.push_back(Part::Ending { trailer: Box::new(trailer), held: AlignedBuffer::default() });
        }
        Self::new(target, (file.path.clone(), file.file.clone()), file.bytes, parts)
    }

    fn new(target: Target, (path, file): (String, F), end: u64, parts: VecDeque<Part<F>>) -> Self {
        Self { target, path, file, end, parts, covered: 0, bad: VecDeque::new() }
    }

    /// What to read next; `None` at the end.
    pub(super) fn wanted(&self, most: usize) -> Option<Fetch<F>> {
        let (offset, bytes) = match self.parts.front()? {
            Part::SegmentHeader { .. } | Part::FileHeader(_) => (0, BLOCK_BYTES),
            Part::Records(reader) => reader.wanted(most),
            Part::Ending { trailer, held } => {
                let offset = ending_start(trailer) + held.len() as u64;
                let left = usize::try_from(trailer.end() - offset).unwrap_or(most);
                (offset, left.min(most))
            }
        };
        Some(Fetch { file: self.file.clone(), offset, bytes })
    }

    /// Takes what was wanted; how many bytes of the file are new in it.
    pub(super) fn push(&mut self, bytes: &AlignedBuffer) -> u64 {
        let Some(fetch) = self.wanted(bytes.len()) else { return 0 };
        let end = (fetch.offset + bytes.len() as u64).min(self.end);
        let new = end.saturating_sub(self.covered.max(fetch.offset));
        self.covered = self.covered.max(end);
        let Some(mut part) = self.parts.pop_front() else { return 0 };
        if !self.check(&mut part, bytes) {
            self.parts.push_front(part);
        }
        new
    }

    /// Whether the part is through.
    fn check(&mut self, part: &mut Part<F>, bytes: &AlignedBuffer) -> bool {
        let mut bad = |from, to, what| self.bad.push_back(Bad { from, to, what, has_records: false });
        match part {
            Part::SegmentHeader { sequence } => {
                let header = SegmentHeader::decode(bytes.as_slice());
                if !header.is_ok_and(|header| header.sequence == *sequence) {
                    bad(0, SEGMENT_HEADER_BYTES as u64, "the segment's header");
                }
                true
            }
            Part::FileHeader(expected) => {
                if PartitionFileHeader::decode(bytes.as_slice()) != Ok(*expected) {
                    bad(0, RUN_BLOCK_BYTES as u64, "the file's header");
                }
                true
            }
            Part::Records(reader) => {
                reader.push(bytes);
                let is_over = pass_over(reader);
                if is_over {
                    let what = if self.target.is_log() { "a frame" } else { "a record" };
                    let found =
                        reader.bad.iter().map(|(from, to)| Bad { from: *from, to: *to, what, has_records: true });
                    self.bad.extend(found);
                }
                is_over
            }
            Part::Ending { trailer, held } => {
                held.extend_from_slice(bytes.as_slice());
                let is_over = ending_start(trailer) + held.len() as u64 >= trailer.end();
                if is_over {
                    let (footer, end) = check_ending(trailer, held.as_slice());
                    if let Err(error) = footer {
                        let what = if error == RunError::Damaged { "a footer" } else { "a footer's contents" };
                        bad(trailer.footer_start(), trailer.footer_start() + trailer.footer_bytes().max(1), what);
                    }
                    if !end {
                        bad(trailer.offset, trailer.end(), "a trailer");
                    }
                }
                is_over
            }
        }
    }

    /// Memory in use.
    pub(super) fn memory_bytes(&self) -> usize {
        match self.parts.front() {
            Some(Part::Records(reader)) => reader.memory_bytes(),
            Some(Part::Ending { held, .. }) => held.capacity(),
            _ => 0,
        }
    }
}

impl Target {
    /// Whether it is a segment of the log.
    pub(super) fn is_log(&self) -> bool {
        self.file < crate::index::Place::LOG_FILES
    }
}

/// The block in which a run's footer begins.
fn ending_start(trailer: &Trailer) -> u64 {
    (trailer.footer_start() & !(RUN_BLOCK_BYTES as u64 - 1)).min(trailer.offset)
}

/// Whether a run's footer is the one that its trailer tells of, and whether the trailer on disk is that one.
fn check_ending(trailer: &Trailer, held: &[u8]) -> (Result<(), RunError>, bool) {
    let start = ending_start(trailer);
    let from = |offset: u64| usize::try_from(offset - start).ok().and_then(|at| held.get(at..)).unwrap_or_default();
    let footer = match FooterRef::check(from(trailer.footer_start().max(start)), trailer) {
        // It is what was written.
        Ok(_) | Err(RunError::SiblingsUnknown) => Ok(()),
        Err(error) => Err(error),
    };
    (footer, Trailer::decode(from(trailer.offset), trailer.offset).as_ref() == Ok(trailer))
}

/// Lets all records go by that are there; whether there will be no more.
fn pass_over<F>(reader: &mut Reader<F>) -> bool {
    loop {
        match reader.next() {
            Next::Record { .. } => {}
            Next::NeedsBytes if reader.wanted(1).1 > 0 => return false,
            Next::NeedsBytes | Next::End => return true,
        }
    }
}
