//! One segment's bytes: the good frames of its present use, and the gaps between them.
//!
//! What it is not: whether a good frame counts is decided with the segment that comes after this one.
//!
//! Invariant: frames that are given out are whole, of the segment's use, and ascend.

use std::ops::Range;

use annulus_engine::frame::{BLOCK_BYTES, FRAME_HEADER_BYTES, FrameHeader, FrameRef};
use annulus_engine::segment::SEGMENT_HEADER_BYTES;

/// A segment that was read.
pub struct Scanned {
    /// Which, among the core's.
    pub segment: usize,
    /// The use.
    pub sequence: u64,
    /// The file's whole blocks.
    pub bytes: Vec<u8>,
    /// Every good frame.
    pub frames: Vec<(usize, FrameHeader)>,
    /// What lies before a good frame and is none.
    pub gaps: Vec<Range<usize>>,
    /// Where the good frames end.
    pub end: usize,
}

impl Scanned {
    /// Finds the frames.
    pub fn new(segment: usize, sequence: u64, bytes: Vec<u8>) -> Self {
        let mut scanned =
            Self { segment, sequence, bytes, frames: Vec::new(), gaps: Vec::new(), end: SEGMENT_HEADER_BYTES };
        scanned.find_frames();
        scanned
    }

    fn find_frames(&mut self) {
        let mut offset = SEGMENT_HEADER_BYTES;
        let mut bad_at: Option<usize> = None;
        while offset + FRAME_HEADER_BYTES <= self.bytes.len() {
            let last = self.frames.last().map(|(_, header)| *header);
            let frame = FrameRef::check_any(&self.bytes[offset..]).ok().filter(|frame| {
                let header = frame.header();
                let follows = if bad_at.is_some() { is_behind(header, last) } else { is_next(header, last) };
                header.sequence == self.sequence && follows
            });
            let Some(frame) = frame else {
                let is_first = bad_at.replace(bad_at.unwrap_or(offset)).is_none();
                let step = is_first.then(|| step_over(&self.bytes[offset..], self.sequence, last)).flatten();
                offset += step.unwrap_or(BLOCK_BYTES);
                continue;
            };
            self.gaps.extend(bad_at.take().map(|start| start..offset));
            self.frames.push((offset, *frame.header()));
            offset += frame.total_bytes();
            self.end = offset;
        }
    }

    /// What the first good frame follows.
    pub fn previous_crc(&self) -> Option<u32> {
        self.frames.first().map(|(_, header)| header.previous_crc)
    }

    /// Whether bytes of this use lie behind the last good frame.
    pub fn is_torn(&self) -> bool {
        let behind = &self.bytes[self.end.min(self.bytes.len())..];
        FrameHeader::peek(behind).is_ok_and(|header| header.sequence == self.sequence)
    }

    /// Keeps so many frames.
    pub fn truncate(&mut self, frames: usize) {
        if let Some((offset, _)) = self.frames.get(frames) {
            self.end = *offset;
            self.frames.truncate(frames);
            self.gaps.retain(|gap| gap.end <= self.end);
        }
    }
}

/// The use of a segment that its frames tell of: the sequence of the first whole one, reached from frame to frame. A whole
/// frame anywhere else proves nothing, for a value may be a copy of a log.
pub fn sequence_of_frames(bytes: &[u8]) -> Option<u64> {
    let (mut offset, mut sequence) = (SEGMENT_HEADER_BYTES, None);
    for number in 0.. {
        let frame = bytes.get(offset..)?;
        let header = FrameHeader::peek(frame).ok()?;
        if header.number != number || *sequence.get_or_insert(header.sequence) != header.sequence {
            return None;
        }
        if FrameRef::check_any(frame).is_ok() {
            return sequence;
        }
        offset += header.total_bytes();
    }
    None
}

fn number_after(last: Option<FrameHeader>) -> u32 {
    last.map_or(0, |last| last.number + 1)
}

/// The frame that was written next.
fn is_next(header: &FrameHeader, last: Option<FrameHeader>) -> bool {
    header.number == number_after(last) && last.is_none_or(|last| header.previous_crc == last.crc)
}

/// A frame that may have been written after `last` and one that is lost. What a core says of itself only grows, which tells its
/// frames from those of an older log that somebody has stored as a value.
fn is_behind(header: &FrameHeader, last: Option<FrameHeader>) -> bool {
    header.number > number_after(last)
        && last.is_none_or(|last| {
            let grows = header.ordinal > last.ordinal && header.clock_ceiling >= last.clock_ceiling;
            grows && header.log_tail >= last.log_tail
        })
}

/// The length of a bad frame, if a good one follows where its header says that it ends: what lies inside is not looked at.
fn step_over(bytes: &[u8], sequence: u64, last: Option<FrameHeader>) -> Option<usize> {
    let bad = FrameHeader::peek(bytes).ok().filter(|bad| bad.sequence == sequence && is_next(bad, last))?;
    let follower = FrameRef::check_any(bytes.get(bad.total_bytes()..)?).ok()?;
    let header = follower.header();
    (header.sequence == sequence && header.number == bad.number + 1).then(|| bad.total_bytes())
}
