//! The frames of one instance, segment after segment, as the chain of their checksums connects them; and what is missing.
//!
//! Invariant: a frame that is merged is whole and of its segment's present use; damage to what was acknowledged is in the
//! report.

use super::Corruption;
use crate::Error;
use crate::buffer::AlignedBuffer;
use crate::disk::{Disk, File};
use crate::engine::Engine;
use crate::frame::{BLOCK_BYTES, FRAME_HEADER_BYTES, FrameRef};
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
    pub(super) async fn recover_instance(&mut self, files: Vec<(u16, SegmentHeader)>) -> Result<Tip, Error> {
        // The newest frame says where the log begins.
        let mut log_tail = 0;
        for (file, header) in files.iter().rev() {
            let scanned = self.scan_segment(*file, *header).await?;
            if let Some((offset, _)) = scanned.frames.last() {
                let frame = FrameRef::check_any(&scanned.bytes.as_slice()[*offset..]).expect("it was checked");
                log_tail = frame.header().log_tail;
                break;
            }
        }
        for (file, header) in &files {
            let segment = self.segments.get(*file);
            if header.sequence >= log_tail && segment.header_damaged {
                let what = "the segment's header is damaged; its frames were read";
                let path = segment.path.clone();
                self.recovery.corruption.push(Corruption { path, offset: 0, what });
            }
        }
        if log_tail > 0 && files.iter().all(|(_, header)| header.sequence != log_tail) {
            let path = self.config.directory();
            let what = "the oldest segment is missing, or its header and all its frames are damaged";
            self.recovery.corruption.push(Corruption { path, offset: 0, what });
        }
        let mut tip = Tip { log_tail, ..Tip::default() };
        let mut before: Option<Scanned> = None;
        for (file, header) in files {
            if header.sequence < log_tail {
                continue;
            }
            let scanned = self.scan_segment(file, header).await?;
            if let Some(mut before) = before.take() {
                self.close_chain(&mut before, &scanned, &tip);
                self.merge_segment(&before, &mut tip).await?;
            }
            before = Some(scanned);
        }
        if let Some(last) = before {
            if self.is_torn(&last) {
                self.recovery.torn_tails += 1;
            }
            self.merge_segment(&last, &mut tip).await?;
        }
        Ok(tip)
    }

    pub(super) async fn scan_segment(&mut self, file: u16, header: SegmentHeader) -> Result<Scanned, Error> {
        let segment = self.segments.get(file);
        let (path, handle, length) = (segment.path.clone(), segment.file.clone(), segment.bytes);
        let step = self.config.limits.recovery_read_bytes;
        let mut bytes = AlignedBuffer::with_capacity(usize::try_from(length).expect("segments fit memory"));
        while (bytes.len() as u64) < length {
            let part = handle.read_at(bytes.len() as u64, step).await;
            let part = part.map_err(|error| Error::Disk { path: path.clone(), error })?;
            if part.is_empty() {
                break;
            }
            bytes.extend_from_slice(part.as_slice());
        }
        // The last read may have brought a part of a block.
        bytes.resize(bytes.len().min(usize::try_from(length).expect("segments fit memory")));
        let mut scanned =
            Scanned { file, header, bytes, frames: Vec::new(), end: SEGMENT_HEADER_BYTES, previous_crc: None };
        self.find_frames(&mut scanned, &path);
        Ok(scanned)
    }

    /// Finds the good frames of a segment, and the damage between them.
    fn find_frames(&mut self, scanned: &mut Scanned, path: &str) {
        let bytes = scanned.bytes.as_slice();
        let mut offset = SEGMENT_HEADER_BYTES;
        let mut number = 0;
        let mut crc: Option<u32> = None;
        let mut bad_at: Option<usize> = None;
        while offset + FRAME_HEADER_BYTES <= bytes.len() {
            let frame = FrameRef::check_any(&bytes[offset..]).ok().filter(|frame| {
                let header = frame.header();
                let is_next = crc.is_none_or(|crc| header.previous_crc == crc) && header.number == number;
                header.sequence == scanned.header.sequence && header.number >= number && (is_next || bad_at.is_some())
            });
            let Some(frame) = frame else {
                bad_at.get_or_insert(offset);
                offset += BLOCK_BYTES;
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
            number = header.number + 1;
            crc = Some(header.crc);
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
        crate::frame::FrameHeader::peek(block).is_ok_and(|header| header.sequence == scanned.header.sequence)
    }

    /// Cuts a segment where the next one says that the log went on.
    fn close_chain(&mut self, before: &mut Scanned, next: &Scanned, tip: &Tip) {
        let Some(previous_crc) = next.previous_crc else { return };
        // A segment that holds no frame is one whose first write failed, if the log went on from the one before it.
        let never_began = match tip.ordinal {
            0 => before.header.sequence > tip.log_tail,
            _ => tip.crc == previous_crc,
        };
        if before.frames.last().is_some_and(|(_, crc)| *crc == previous_crc) {
            return;
        }
        if let Some(kept) = before.frames.iter().position(|(_, crc)| *crc == previous_crc) {
            self.recovery.disregarded_frames += (before.frames.len() - kept - 1) as u64;
            before.end = before.frames.get(kept + 1).map_or(before.end, |(offset, _)| *offset);
            before.frames.truncate(kept + 1);
        } else if before.previous_crc == Some(previous_crc) || (before.frames.is_empty() && never_began) {
            // The log went on from what came before this segment: its first write failed.
            self.recovery.disregarded_frames += before.frames.len() as u64;
            before.frames.clear();
            before.end = SEGMENT_HEADER_BYTES;
        } else {
            let path = self.segments.get(before.file).path.clone();
            let what = "frames are missing before the next segment";
            self.recovery.corruption.push(Corruption { path, offset: before.end as u64, what });
        }
    }
}
