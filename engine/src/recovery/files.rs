//! The segments that a directory holds: opened, and told whose they are.
//!
//! Invariant: every file that may hold an acknowledged frame is among the segments afterwards, or opening has failed.

use std::collections::VecDeque;

use crate::Error;
use crate::buffer::AlignedBuffer;
use crate::disk::{Disk, DiskError, File, OpenMode};
use crate::engine::Engine;
use crate::frame::{BLOCK_BYTES, FrameRef};
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
            let block = file.read_at(0, SEGMENT_HEADER_BYTES).await.map_err(at(&path))?;
            let mut header_damaged = false;
            let header = match SegmentHeader::decode(block.as_slice()) {
                Ok(header) => header,
                Err(SegmentError::Newer { .. }) => {
                    let error = SegmentHeader::decode(block.as_slice()).expect_err("it is newer");
                    return Err(Error::Segment { path, error });
                }
                Err(_) => {
                    let instance = if name.starts_with("small") { SMALL } else { LARGE };
                    let Some(sequence) = self.newest_sequence(&file, bytes).await.map_err(at(&path))? else {
                        // Never activated: no frame was ever whole in it.
                        if state == Use::Sealed {
                            self.discard(&path).await;
                        }
                        continue;
                    };
                    header_damaged = true;
                    self.header_from_frames(owner, instance, sequence, bytes)
                }
            };
            let (layout, core, cores) = owner;
            if (header.layout, header.core, header.cores, header.cluster_id)
                != (layout, core, cores, self.config.cluster_id)
            {
                return Err(Error::Segment { path, error: SegmentError::Foreign });
            }
            let segment = Segment {
                file,
                path,
                bytes,
                sequence: header.sequence,
                closed_at: 0,
                written: 0,
                live: 0,
                live_tombstones: 0,
                pins: 0,
                state,
                tombstones: Vec::new(),
                has_mark: false,
                resident: crate::resident::Blocks::default(),
                header_damaged,
            };
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

    /// The newest use of a segment that its whole frames tell of.
    async fn newest_sequence(&self, file: &D::File, bytes: u64) -> Result<Option<u64>, DiskError> {
        let mut all = AlignedBuffer::with_capacity(usize::try_from(bytes).expect("segments fit memory"));
        while (all.len() as u64) < bytes {
            let part = file.read_at(all.len() as u64, self.config.limits.recovery_read_bytes).await?;
            if part.is_empty() {
                break;
            }
            all.extend_from_slice(part.as_slice());
        }
        let blocks = (SEGMENT_HEADER_BYTES..all.len()).step_by(BLOCK_BYTES);
        let frames = blocks.filter_map(|offset| FrameRef::check_any(&all.as_slice()[offset..]).ok());
        Ok(frames.map(|frame| frame.header().sequence).max())
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
