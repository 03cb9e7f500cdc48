//! The frames of a log while they are in memory: waiting, on their way.
//!
//! Invariant: in a frame's buffer the header of a segment has its room first, then the frame lies as on disk.

use annulus_object::Clock;

use crate::buffer::AlignedBuffer;
use crate::frame::FRAME_HEADER_BYTES;
use crate::segment::SEGMENT_HEADER_BYTES;

/// Room at the start of every frame's buffer for a segment's header, so that activating a segment is part of the first
/// frame's write.
pub(super) const HEADROOM: usize = SEGMENT_HEADER_BYTES;

/// Where the records begin in a frame's buffer.
pub(super) const PAYLOAD_START: usize = HEADROOM + FRAME_HEADER_BYTES;

/// One group commit of one instance of a core's log. Ordered within an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commit {
    /// Which instance.
    pub instance: u8,
    /// Its number, ever increasing while the process runs.
    pub ordinal: u64,
}

/// Records that will be written together.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) ordinal: u64,
    pub(crate) buffer: AlignedBuffer,
    pub(crate) records: u32,
    pub(super) began_us: u64,
    /// The smallest clock of its records.
    pub(super) min_clock: Clock,
}

impl Waiting {
    pub(super) fn payload_bytes(&self) -> usize {
        self.buffer.len() - PAYLOAD_START
    }

    /// The records.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.buffer.as_slice()[PAYLOAD_START..]
    }
}

/// A frame on its way to the disk.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) ordinal: u64,
    pub(crate) records: u32,
    pub(crate) payload_bytes: usize,
    /// Which segment.
    pub(crate) file: u16,
    /// Where the frame begins in it.
    pub(crate) frame_offset: u64,
    pub(crate) log_tail: u64,
    pub(super) crc: u32,
    /// The smallest clock of its records.
    pub(super) min_clock: Clock,
}

impl InFlight {
    /// The records in the buffer that came back.
    pub(crate) fn payload<'a>(&self, buffer: &'a AlignedBuffer) -> &'a [u8] {
        &buffer.as_slice()[PAYLOAD_START..PAYLOAD_START + self.payload_bytes]
    }

    /// Where the payload begins in the segment.
    pub(crate) fn payload_offset(&self) -> u64 {
        self.frame_offset + FRAME_HEADER_BYTES as u64
    }
}

/// What to write next.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) file: u16,
    pub(crate) offset: u64,
    pub(crate) buffer: AlignedBuffer,
    pub(crate) skip: usize,
}

/// Why nothing can be written now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    /// A write is in flight, or nothing waits.
    Nothing,
    /// A segment is needed first.
    NoSegment,
}
