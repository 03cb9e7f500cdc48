//! The frames of one instance, segment after segment, as the chain of their checksums connects them; and what is missing.
//!
//! Invariant: a frame that is merged is whole and of its segment's present use; damage to what was acknowledged is in the
//! report.

use super::Corruption;
use crate::Error;
use crate::buffer::AlignedBuffer;
use crate::disk::{Disk, File};
use crate::engine::Engine;
use crate::frame::{BLOCK_BYTES, FRAME_HEADER_BYTES, FrameHeader, FrameRef};
use crate::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};

/// A segment that was read.
pub(super) struct Scanned {
    pub(super) file: u16,
    pub(super) header: SegmentHeader,
    pub(super) bytes: AlignedBuffer,
    /// Offset and checksum of every good frame.
    pub(super) frames: Vec<(usize, u32)>,
    /// Where the good frames before the first bad one end.
    pub(super) end: usize,
    /// The first frame's idea of what came before.
    pub(super) previous_crc: Option<u32>,
}

/// The newest frame of an instance.
#[derive(Default)]
pub(super) struct Tip {
    pub(super) crc: u32,
    pub(super) ordinal: u64,
    pub(super) log_tail: u64,
}

impl<D: Disk> Engine<D> {
    /// Reads and merges the segments of one instance, given in the order of their sequences.
    pub(super) async fn recover_instance(
        &mut self,
        files: Vec<(u16, SegmentHeader)>,
        log_tail: u64,
    ) -> Result<Tip, Error> {
        self.report_damaged_files(&files, log_tail);
        let mut tip = Tip { log_tail, ..Tip::default() };
        let mut before: Option<Scanned> = None;
        // The first segment without good frames behind `before`.
        let mut empty: Option<(u16, u64)> = None;
        let mut is_torn = false;
        for (file, header) in files {
            if header.sequence < log_tail {
                self.config.progress.advance(self.segments.get(file).bytes);
                continue;
            }
            let scanned = self.scan_segment(file, header).await?;
            is_torn = self.is_torn(&scanned);
            if scanned.frames.is_empty() {
                self.scan_buffers.push(scanned.bytes);
                empty.get_or_insert((file, header.sequence));
                continue;
            }
            match (before.replace(scanned), before.as_ref()) {
                (Some(mut earlier), Some(next)) => {
                    self.close_chain(&mut earlier, next, empty.take());
                    self.merge_segment(&earlier, &mut tip).await?;
                    self.scan_buffers.push(earlier.bytes);
                }
                // A segment that the log begins with has held a frame.
                _ => {
                    if let Some((file, _)) = empty.take().filter(|(_, sequence)| *sequence == log_tail) {
                        self.report_missing(file, SEGMENT_HEADER_BYTES);
                    }
                }
            }
        }
        self.recovery.torn_tails += u64::from(is_torn);
        if let Some(last) = before {
            self.merge_segment(&last, &mut tip).await?;
            self.scan_buffers.push(last.bytes);
        }
        Ok(tip)
    }

    /// Where an instance of the log begins, as its newest frame says; `files` are its segments by sequence.
    pub(super) async fn find_log_tail(&mut self, files: &[(u16, SegmentHeader)]) -> Result<u64, Error> {
        for (file, header) in files.iter().rev() {
            // It is scanned again in its turn.
            self.config.progress.expect(self.segments.get(*file).bytes);
            let scanned = self.scan_segment(*file, *header).await?;
            if let Some((offset, _)) = scanned.frames.last() {
                let frame = FrameRef::check_any(&scanned.bytes.as_slice()[*offset..]).expect("it was checked");
                let log_tail = frame.header().log_tail;
                self.scan_buffers.push(scanned.bytes);
                return Ok(log_tail);
            }
            self.scan_buffers.push(scanned.bytes);
        }
        Ok(0)
    }

    /// Reports what is wrong with the files of the log, whatever their frames say.
    fn report_damaged_files(&mut self, files: &[(u16, SegmentHeader)], log_tail: u64) {
        for (file, header) in files.iter().filter(|(_, header)| header.sequence >= log_tail) {
            let segment = self.segments.get(*file);
            let (path, bytes) = (segment.path.clone(), segment.bytes);
            if segment.header_damaged {
                let what = "the segment's header is damaged; its frames were read";
                self.recovery.corruption.push(Corruption { path: path.clone(), offset: 0, what });
            }
            // It had its length before it was first written.
            if bytes < header.segment_bytes {
                let what = "the file is shorter than it was made";
                self.recovery.corruption.push(Corruption { path, offset: bytes, what });
            }
        }
        if log_tail > 0 && files.iter().all(|(_, header)| header.sequence != log_tail) {
            let path = self.config.directory();
            let what = "the oldest segment is missing, or its header and all its frames are damaged";
            self.recovery.corruption.push(Corruption { path, offset: 0, what });
        }
    }

    fn report_missing(&mut self, file: u16, offset: usize) {
        let path = self.segments.get(file).path.clone();
        let what = "frames are missing before the next segment";
        self.recovery.corruption.push(Corruption { path, offset: offset as u64, what });
    }

    pub(super) async fn scan_segment(&mut self, file: u16, header: SegmentHeader) -> Result<Scanned, Error> {
        let segment = self.segments.get(file);
        let (path, handle, length) = (segment.path.clone(), segment.file.clone(), segment.bytes);
        let step = self.config.limits.recovery_read_bytes;
        // Memory that is written for the first time costs as much as reading it: segments take turns with the same.
        let whole = usize::try_from(length).expect("segments fit memory");
        let mut bytes = self.scan_buffers.pop().unwrap_or_else(|| AlignedBuffer::with_capacity(whole));
        bytes.clear();
        while (bytes.len() as u64) < length {
            let part = handle.read_at(bytes.len() as u64, step).await;
            let part = part.map_err(|error| Error::Disk { path: path.clone(), error })?;
            if part.is_empty() {
                break;
            }
            bytes.extend_from_slice(part.as_slice());
        }
        // The last read may have brought a part of a block.
        bytes.resize(bytes.len().min(whole));
        let mut scanned =
            Scanned { file, header, bytes, frames: Vec::new(), end: SEGMENT_HEADER_BYTES, previous_crc: None };
        self.find_frames(&mut scanned, &path);
        self.config.progress.advance(length);
        Ok(scanned)
    }

    /// Finds the good frames of a segment, and the damage between them.
    fn find_frames(&mut self, scanned: &mut Scanned, path: &str) {
        let bytes = scanned.bytes.as_slice();
        let mut offset = SEGMENT_HEADER_BYTES;
        let mut last: Option<FrameHeader> = None;
        let mut bad_at: Option<usize> = None;
        while offset + FRAME_HEADER_BYTES <= bytes.len() {
            let frame = FrameRef::check_any(&bytes[offset..]).ok().filter(|frame| {
                let header = frame.header();
                let follows = if bad_at.is_some() { is_behind(header, last) } else { is_next(header, last) };
                header.sequence == scanned.header.sequence && follows
            });
            let Some(frame) = frame else {
                let is_first = bad_at.replace(bad_at.unwrap_or(offset)).is_none();
                let step = is_first.then(|| step_over(&bytes[offset..], scanned.header.sequence, last)).flatten();
                offset += step.unwrap_or(BLOCK_BYTES);
                continue;
            };
            if let Some(bad_at) = bad_at.take() {
                let corruption = Corruption {
                    path: path.to_owned(),
                    offset: bad_at as u64,
                    what: "a damaged frame lies before good ones",
                };
                if !self.recovery.corruption.contains(&corruption) {
                    self.recovery.corruption.push(corruption);
                }
            }
            let header = frame.header();
            if scanned.frames.is_empty() {
                scanned.previous_crc = Some(header.previous_crc);
            }
            scanned.frames.push((offset, header.crc));
            last = Some(*header);
            offset += frame.total_bytes();
            scanned.end = offset;
        }
    }

    /// True when bytes of this use lie behind the last good frame.
    fn is_torn(&self, scanned: &Scanned) -> bool {
        let behind = &scanned.bytes.as_slice()[scanned.end.min(scanned.bytes.len())..];
        let Some(block) = behind.get(..FRAME_HEADER_BYTES) else {
            return false;
        };
        FrameHeader::peek(block).is_ok_and(|header| header.sequence == scanned.header.sequence)
    }

    /// Cuts a segment where the next one that holds frames says that the log went on; `empty` lies between them.
    fn close_chain(&mut self, before: &mut Scanned, next: &Scanned, empty: Option<(u16, u64)>) {
        let previous_crc = next.previous_crc.expect("the next segment holds a frame");
        if let Some(kept) = before.frames.iter().position(|(_, crc)| *crc == previous_crc) {
            self.recovery.disregarded_frames += (before.frames.len() - kept - 1) as u64;
            before.end = before.frames.get(kept + 1).map_or(before.end, |(offset, _)| *offset);
            before.frames.truncate(kept + 1);
        } else if before.previous_crc == Some(previous_crc) {
            // The log went on from what came before this segment: its first write failed.
            self.recovery.disregarded_frames += before.frames.len() as u64;
            before.frames.clear();
            before.end = SEGMENT_HEADER_BYTES;
        } else if let Some((file, _)) = empty {
            self.report_missing(file, SEGMENT_HEADER_BYTES);
        } else {
            self.report_missing(before.file, before.end);
        }
    }
}

/// The number of the frame that comes behind `last`.
fn number_after(last: Option<FrameHeader>) -> u32 {
    last.map_or(0, |last| last.number + 1)
}

/// True for the frame that was written next.
fn is_next(header: &FrameHeader, last: Option<FrameHeader>) -> bool {
    header.number == number_after(last) && last.is_none_or(|last| header.previous_crc == last.crc)
}

/// True for a frame that may have been written after `last` and one that is lost. What a core says of itself only grows, which
/// tells its frames from those of an older log that somebody has stored as a value.
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
