//! Reading what is compacted: frame after frame of a segment, or run after run of a file, as their bytes come in.
//!
//! It judges nothing but checksums. A record that cannot be read is skipped and counted: whether it mattered shows when the
//! index still points at it in the end.
//!
//! Invariant: a record that is given out is whole, and is given out with the place it was read from.

use std::collections::VecDeque;

use crate::buffer::AlignedBuffer;
use crate::frame::{BLOCK_BYTES, CRC_START, FRAME_HEADER_BYTES, FrameHeader};
use crate::record::{RECORD_HEADER_BYTES, RecordRef, peek_total_bytes};

/// What the bytes are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Frames of a segment in this use.
    Frames { sequence: u64 },
    /// Records, back to back, in these ranges; what lies between them is read and passed over.
    Records { ranges: VecDeque<(u64, u64)> },
}

/// One input.
#[derive(Debug)]
pub(crate) struct Reader<F> {
    pub(crate) file: F,
    /// The file number of its places.
    pub(crate) place_file: u16,
    /// Whose records they are; of a segment, nobody's.
    pub(crate) partition: u16,
    layout: Layout,
    /// Where the next bytes are read.
    next: u64,
    end: u64,
    bytes: AlignedBuffer,
    /// Where `bytes` begins in the file.
    start: u64,
    /// Where the next record, or frame, begins.
    at: u64,
    /// Where the records of the present frame or range end, and where the next frame begins.
    within: Option<(u64, u64)>,
    /// Records or frames that could not be read.
    pub(crate) damaged: u64,
    /// Where they are, in ascending order; what touches is one range.
    pub(crate) bad: Vec<(u64, u64)>,
    /// Checksum of the present frame so far, if frames are checked as a whole.
    frame: Option<FrameSum>,
    checks_frames: bool,
}

/// The checksum of a frame, gathered while its records pass.
#[derive(Debug)]
struct FrameSum {
    start: u64,
    expected: u32,
    hasher: crc32fast::Hasher,
    is_whole: bool,
}

/// What comes next.
pub(crate) enum Next {
    /// A record of so many bytes, at this offset of the file; [`Reader::record`] gives it.
    Record { offset: u64, bytes: usize },
    /// More bytes have to be read first.
    NeedsBytes,
    /// Nothing.
    End,
}

impl<F> Reader<F> {
    /// What lies from `from`, the start of a block, to `end` of a file.
    pub(crate) fn new(file: F, (place_file, partition): (u16, u16), layout: Layout, (from, end): (u64, u64)) -> Self {
        assert!(from.is_multiple_of(BLOCK_BYTES as u64) && from <= end);
        Self {
            file,
            place_file,
            partition,
            layout,
            next: from,
            end,
            bytes: AlignedBuffer::default(),
            start: from,
            at: from,
            within: None,
            damaged: 0,
            bad: Vec::new(),
            frame: None,
            checks_frames: false,
        }
    }

    /// Compares the checksums of whole frames too. Compaction has no need of it: it asks for nothing but records, and they have
    /// their own.
    pub(crate) fn checking_frames(self) -> Self {
        Self { checks_frames: true, ..self }
    }

    /// The next bytes to read: offset and length, in whole blocks.
    pub(crate) fn wanted(&self, most: usize) -> (u64, usize) {
        let left = usize::try_from(self.end.next_multiple_of(BLOCK_BYTES as u64) - self.next).unwrap_or(most);
        (self.next, left.min(most))
    }

    /// Takes the bytes that were wanted.
    pub(crate) fn push(&mut self, bytes: &AlignedBuffer) {
        // What was given out goes first, in whole blocks, so that what is kept stays aligned.
        let done = usize::try_from(self.at.min(self.next) - self.start).expect("what is held fits memory");
        let done = done & !(BLOCK_BYTES - 1);
        if done > 0 {
            let kept = self.bytes.len() - done;
            self.bytes.as_mut_slice().copy_within(done.., 0);
            self.bytes.resize(kept);
            self.start += done as u64;
        }
        self.bytes.extend_from_slice(bytes.as_slice());
        self.next += bytes.len() as u64;
        if bytes.is_empty() {
            // The file is shorter than it was: there is nothing more to come.
            self.end = self.next;
        }
    }

    /// Memory in use.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// The record that [`Reader::next`] told of.
    pub(crate) fn record(&self, offset: u64, bytes: usize) -> RecordRef<'_> {
        RecordRef::checked_before(&self.held(offset)[..bytes])
    }

    /// Goes on to the next record.
    pub(crate) fn next(&mut self) -> Next {
        loop {
            let Some((end, next)) = self.within else {
                match self.enter() {
                    Some(next) => return next,
                    None => continue,
                }
            };
            if self.at >= end {
                self.within = None;
                self.at = next;
                self.end_frame();
                continue;
            }
            match self.measure(end) {
                Measure::Whole(bytes) => {
                    let offset = self.at;
                    if let Some(mut frame) = self.frame.take() {
                        frame.hasher.update(&self.held(offset)[..bytes]);
                        self.frame = Some(frame);
                    }
                    self.at += bytes as u64;
                    return Next::Record { offset, bytes };
                }
                Measure::NeedsBytes => return Next::NeedsBytes,
                // Where the next record begins is not known if the length is wrong; the next frame's start is.
                Measure::Damaged(bytes) => {
                    let next = bytes.map_or(end, |bytes| self.at + bytes as u64);
                    self.frame.iter_mut().for_each(|frame| frame.is_whole = false);
                    self.note_bad(self.at, next);
                    self.at = next;
                }
            }
        }
    }

    fn note_bad(&mut self, from: u64, to: u64) {
        self.damaged += 1;
        match self.bad.last_mut() {
            Some(last) if last.1 == from => last.1 = to,
            _ => self.bad.push((from, to)),
        }
    }

    fn end_frame(&mut self) {
        let Some(frame) = self.frame.take() else { return };
        // With all its records whole it is the header that is not.
        if frame.is_whole && frame.hasher.finalize() != frame.expected {
            self.note_bad(frame.start, frame.start + FRAME_HEADER_BYTES as u64);
        }
    }

    /// Enters the next frame or range; what to answer if there is none yet.
    fn enter(&mut self) -> Option<Next> {
        match &mut self.layout {
            Layout::Records { ranges } => {
                let Some((from, end)) = ranges.pop_front() else { return Some(Next::End) };
                self.at = from;
                self.within = Some((end, end));
                None
            }
            Layout::Frames { sequence } => {
                let sequence = *sequence;
                if self.at + FRAME_HEADER_BYTES as u64 > self.end {
                    return Some(Next::End);
                }
                if self.at + FRAME_HEADER_BYTES as u64 > self.next {
                    return Some(Next::NeedsBytes);
                }
                self.enter_frame(sequence);
                None
            }
        }
    }

    fn enter_frame(&mut self, sequence: u64) {
        let header = FrameHeader::peek(self.held(self.at)).ok().filter(|header| header.sequence == sequence);
        let Some(header) = header else {
            let block_end = self.at + BLOCK_BYTES as u64;
            self.note_bad(self.at, block_end);
            self.at = block_end;
            return;
        };
        if self.checks_frames {
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(&self.held(self.at)[CRC_START..FRAME_HEADER_BYTES]);
            self.frame = Some(FrameSum { start: self.at, expected: header.crc, hasher, is_whole: true });
        }
        let records = self.at + FRAME_HEADER_BYTES as u64;
        self.within = Some((records + u64::from(header.payload_bytes), self.at + header.total_bytes() as u64));
        self.at = records;
    }

    fn measure(&self, end: u64) -> Measure {
        let held = self.held(self.at);
        let left = usize::try_from(end - self.at).unwrap_or(usize::MAX);
        if held.len() < RECORD_HEADER_BYTES.min(left) {
            return Measure::NeedsBytes;
        }
        match peek_total_bytes(held) {
            Ok(bytes) if bytes > left => Measure::Damaged(None),
            Ok(bytes) if bytes > held.len() => Measure::NeedsBytes,
            Ok(bytes) if RecordRef::check(&held[..bytes]).is_ok() => Measure::Whole(bytes),
            Ok(bytes) => Measure::Damaged(Some(bytes)),
            Err(_) => Measure::Damaged(None),
        }
    }

    /// The bytes from `offset` on that are there.
    fn held(&self, offset: u64) -> &[u8] {
        let at = usize::try_from(offset - self.start).expect("what is held fits memory");
        self.bytes.as_slice().get(at..).unwrap_or_default()
    }
}

enum Measure {
    Whole(usize),
    NeedsBytes,
    /// And how long it is, if its lengths agree.
    Damaged(Option<usize>),
}
