//! The segments that a directory holds: opened, and told whose they are.
//!
//! Invariant: every file that may hold an acknowledged frame is among the segments afterwards, or opening has failed.

use std::collections::VecDeque;

use super::Corruption;
use crate::Error;
use crate::buffer::AlignedBuffer;
use crate::disk::{Disk, DiskError, File, OpenMode};
use crate::engine::Engine;
use crate::frame::{BLOCK_BYTES, FrameHeader, FrameRef};
use crate::hot_log::{LARGE, SMALL};
use crate::segment::{SEGMENT_HEADER_BYTES, SegmentError, SegmentHeader};
use crate::segments::{Segment, Use};

impl<D: Disk> Engine<D> {
    /// Opens every segment of a directory; those that hold nothing become spare later.
    pub(super) async fn list_segments(
        &mut self,
        directory: &str,
        owner: (u32, u16, u16),
        state: Use,
    ) -> Result<Vec<(u16, SegmentHeader)>, Error> {
        let disk = self.disk.clone();
        let at = |path: &str| {
            let path = path.to_owned();
            move |error| Error::Disk { path, error }
        };
        let mut found = Vec::new();
        for name in disk.list(directory).await.map_err(at(directory))? {
            let Some(number) = segment_number(&name) else { continue };
            let path = format!("{directory}/{name}");
            if state == Use::Sealed {
                self.next_segment_number = self.next_segment_number.max(number);
            }
            // A segment of this log is written again when it is reused: it must be open for that from the start.
            let mode = if state == Use::Sealed { OpenMode::Log } else { OpenMode::Read };
            let file = disk.open(&path, mode).await.map_err(at(&path))?;
            // What a cut file has beyond whole blocks cannot be read directly, and was no whole frame.
            let bytes = file.size().await.map_err(at(&path))? & !(BLOCK_BYTES as u64 - 1);
            let Some((header, header_damaged)) = self.identify(&file, (&name, &path), bytes, owner).await? else {
                // Never activated, or unreadable and reported: such a file stays for whoever looks into it.
                let is_reported = self.recovery.corruption.last().is_some_and(|last| last.path == path);
                if state == Use::Sealed && !is_reported {
                    self.discard(&path).await;
                }
                continue;
            };
            let (layout, core, cores) = owner;
            if (header.layout, header.core, header.cores, header.cluster_id)
                != (layout, core, cores, self.config.cluster_id)
            {
                return Err(Error::Segment { path, error: SegmentError::Foreign });
            }
            self.config.progress.expect(bytes);
            let mut segment = Segment::new(file, path, bytes, state);
            (segment.sequence, segment.header_damaged) = (header.sequence, header_damaged);
            let count = self.segments.len();
            let file = self.segments.add(segment).ok_or(Error::TooManySegments(count + 1))?;
            found.push((file, header));
        }
        found.sort_by_key(|(_, header)| header.sequence);
        Ok(found)
    }

    fn header_from_frames(&self, owner: (u32, u16, u16), instance: u8, sequence: u64, bytes: u64) -> SegmentHeader {
        let (layout, core, cores) = owner;
        SegmentHeader {
            sequence,
            layout,
            core,
            cores,
            segment_bytes: bytes,
            node: self.identity.node,
            cluster_id: self.config.cluster_id,
            instance,
        }
    }

    /// Which use of which log a file is in, and whether only its frames tell; `None` when it holds no frame.
    async fn identify(
        &mut self,
        file: &D::File,
        (name, path): (&str, &str),
        bytes: u64,
        owner: (u32, u16, u16),
    ) -> Result<Option<(SegmentHeader, bool)>, Error> {
        let at = |error| Error::Disk { path: path.to_owned(), error };
        let block = file.read_at(0, SEGMENT_HEADER_BYTES).await.map_err(at)?;
        let error = match SegmentHeader::decode(block.as_slice()) {
            Ok(header) => return Ok(Some((header, false))),
            Err(error @ SegmentError::Newer { .. }) => return Err(Error::Segment { path: path.to_owned(), error }),
            Err(error) => error,
        };
        let instance = if name.starts_with("small") { SMALL } else { LARGE };
        // Zeros before a frame that nothing follows are the torn first write of a use: nobody was told of it.
        let found = self.sequence_of_frames(file, bytes).await.map_err(at)?;
        let found = found.filter(|(_, is_followed)| *is_followed || error != SegmentError::Empty);
        if let Some((sequence, _)) = found {
            return Ok(Some((self.header_from_frames(owner, instance, sequence, bytes), true)));
        }
        // A preparation that was cut off leaves zeros, or nothing.
        if !matches!(error, SegmentError::Empty | SegmentError::Truncated { .. }) {
            let what = "neither the segment's header nor its first frame can be read";
            self.recovery.corruption.push(Corruption { path: path.to_owned(), offset: 0, what });
        }
        Ok(None)
    }

    /// The use of a segment that its frames tell of: the sequence of the first whole one, reached from frame to frame, and
    /// whether it is not the only one. A whole frame anywhere else proves nothing, for a value may be a copy of a log.
    async fn sequence_of_frames(&self, file: &D::File, bytes: u64) -> Result<Option<(u64, bool)>, DiskError> {
        let mut all = AlignedBuffer::with_capacity(usize::try_from(bytes).expect("segments fit memory"));
        while (all.len() as u64) < bytes {
            let part = file.read_at(all.len() as u64, self.config.limits.recovery_read_bytes).await?;
            if part.is_empty() {
                break;
            }
            all.extend_from_slice(part.as_slice());
        }
        let (mut offset, mut sequence) = (SEGMENT_HEADER_BYTES, None);
        for number in 0.. {
            let Some(frame) = all.as_slice().get(offset..) else { break };
            let Ok(header) = FrameHeader::peek(frame) else { break };
            if header.number != number || *sequence.get_or_insert(header.sequence) != header.sequence {
                break;
            }
            offset += header.total_bytes();
            if FrameRef::check_any(frame).is_ok() {
                let next = all.as_slice().get(offset..).and_then(|next| FrameHeader::peek(next).ok());
                let is_followed = number > 0 || next.is_some_and(|next| Some(next.sequence) == sequence);
                return Ok(sequence.map(|sequence| (sequence, is_followed)));
            }
        }
        Ok(None)
    }

    pub(super) async fn discard(&self, path: &str) {
        if let Err(error) = self.disk.remove(path).await {
            tracing::warn!(core = self.config.core, segment = %path, %error, "an empty segment stays");
        }
    }

    /// Reopens segments that hold nothing for reuse, and removes those beyond what is kept.
    pub(super) async fn reuse(&mut self, instance: u8, files: VecDeque<u16>) -> Result<(), Error> {
        for file in files {
            let path = self.segments.get(file).path.clone();
            let right_size = self.segments.get(file).bytes == self.config.segment_bytes(instance);
            let log = &mut self.logs[usize::from(instance)];
            if right_size && log.spares.len() < self.config.limits.spare_segments {
                let segment = self.segments.get_mut(file);
                segment.state = Use::Spare;
                segment.sequence = 0;
                self.logs[usize::from(instance)].spares.push_back(file);
            } else {
                self.segments.remove(file);
                self.discard(&path).await;
            }
        }
        Ok(())
    }
}

/// The number in a segment's file name; `None` for other files.
fn segment_number(name: &str) -> Option<u32> {
    let stem = name.strip_suffix(".log")?;
    let number = stem.strip_prefix("small-").or_else(|| stem.strip_prefix("large-"))?;
    number.parse().ok()
}
