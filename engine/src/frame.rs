//! One frame: the records of one group commit, taken whole or not at all.
//!
//! ```text
//!  0 magic u32 │ 4 crc u32 │ 8 sequence u64 │ 16 number u32 │ 20 payload_bytes u32
//! 24 previous_crc u32 │ 28 records u32 │ 32 clock_ceiling u64 │ 40 log_tail u64
//! 48 ordinal u64 │ 56 reserved u64 (zero)
//! 64 records, back to back │ padding up to a multiple of 4096
//! ```
//!
//! All numbers are little endian. The CRC-32 covers everything behind it up to the end of the
//! payload. The padding is written as zeros but says nothing and is never looked at: a frame whose
//! payload is whole is whole.
//!
//! What it is not: it reads and writes no file, and whether a bad frame is a torn tail or corruption
//! is decided by recovery, which sees what follows ([`classify_block`] helps).
//!
//! Invariant: a [`FrameRef`] that came from [`FrameRef::check`] is the expected frame, whole.

use crate::record::{RECORD_ALIGNMENT, RECORD_BYTES_MAX, RECORD_HEADER_BYTES, RecordError, RecordRef};
use annulus_object::Clock;
use bytemuck::{Pod, Zeroable};

/// Bytes of the fixed header.
pub const FRAME_HEADER_BYTES: usize = 64;
/// Frames start and end at multiples of this.
pub const BLOCK_BYTES: usize = 4096;
/// The longest payload: the longest record, alone.
pub const FRAME_PAYLOAD_BYTES_MAX: usize = RECORD_BYTES_MAX;

const MAGIC: u32 = u32::from_le_bytes(*b"AnFr");
/// What the checksum does not cover: magic and the checksum itself.
pub(crate) const CRC_START: usize = 8;

const _: () = assert!(size_of::<FrameHeader>() == FRAME_HEADER_BYTES);
const _: () = assert!(FRAME_HEADER_BYTES.is_multiple_of(RECORD_ALIGNMENT));
const _: () = assert!(BLOCK_BYTES.is_multiple_of(RECORD_ALIGNMENT));
const _: () = assert!(FRAME_PAYLOAD_BYTES_MAX < u32::MAX as usize);

/// The first 64 bytes of a frame, field by field as on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FrameHeader {
    /// Says that this is a frame.
    pub magic: u32,
    /// CRC-32 of everything behind this field up to the end of the payload.
    pub crc: u32,
    /// Sequence of the segment that the frame is in: what an earlier use left behind has another.
    pub sequence: u64,
    /// Number of the frame in its segment, from 0.
    pub number: u32,
    /// Bytes of records.
    pub payload_bytes: u32,
    /// Checksum of the frame before it in the same instance of the log, 0 for the very first.
    pub previous_crc: u32,
    /// How many records.
    pub records: u32,
    /// No stamp of the core is above it until a later frame says so.
    pub clock_ceiling: u64,
    /// Segments of this instance with a smaller sequence are not replayed.
    pub log_tail: u64,
    /// Number of the commit in its instance, ever increasing.
    pub ordinal: u64,
    /// Zero.
    pub reserved: u64,
}

/// What the writer of a frame decides; see [`FrameHeader`] for the meaning of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameFields {
    /// Sequence of the segment.
    pub sequence: u64,
    /// Number in the segment.
    pub number: u32,
    /// Bytes of records, a multiple of 16.
    pub payload_bytes: usize,
    /// Checksum of the frame before.
    pub previous_crc: u32,
    /// How many records; may be none.
    pub records: u32,
    /// Upper bound of the core's stamps.
    pub clock_ceiling: Clock,
    /// First sequence that is replayed.
    pub log_tail: u64,
    /// Number of the commit.
    pub ordinal: u64,
}

/// Which frame a reader expects at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameExpected {
    /// Sequence of the segment.
    pub sequence: u64,
    /// Number in the segment.
    pub number: u32,
    /// Checksum of the frame before; `None` where that is not known (the first frame of a replay).
    pub previous_crc: Option<u32>,
}

/// Why bytes are not the expected frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Fewer bytes than the frame takes.
    #[error("a frame needs {needed} bytes, {available} are there")]
    Truncated {
        /// Bytes of the frame, or of its header while that is incomplete.
        needed: usize,
        /// Bytes given.
        available: usize,
    },
    /// No frame begins here: never written, or not ours.
    #[error("no frame begins here")]
    Magic,
    /// The header's lengths and counts contradict each other or the limits.
    #[error("the frame's header is impossible")]
    Header,
    /// The bytes are not those that were written.
    #[error("the frame's checksum is {computed:08x}, not {stored:08x}")]
    Checksum {
        /// As in the header.
        stored: u32,
        /// As the bytes are.
        computed: u32,
    },
    /// A whole frame, but of another use of the segment or another place in it.
    #[error("frame {number} of segment sequence {sequence} is not the one expected here")]
    Other {
        /// Its sequence.
        sequence: u64,
        /// Its number.
        number: u32,
    },
    /// The right number, but it follows another frame than the one before it here.
    #[error("the frame follows one with checksum {found:08x}, not {expected:08x}")]
    Chain {
        /// As the frame says.
        found: u32,
        /// Of the frame before.
        expected: u32,
    },
    /// The frame is whole but a record in it is not: written by a fault or by a newer version.
    #[error("the record at byte {offset} of the payload: {error}")]
    Record {
        /// Offset in the payload.
        offset: usize,
        /// What is wrong.
        error: RecordError,
    },
}

/// Bytes on disk of a frame with this payload: a multiple of [`BLOCK_BYTES`].
#[must_use]
pub const fn frame_bytes(payload_bytes: usize) -> usize {
    (FRAME_HEADER_BYTES + payload_bytes).next_multiple_of(BLOCK_BYTES)
}

/// Completes a frame in place. `buffer` is [`frame_bytes`] long (asserted) and holds the payload
/// from byte 64 on; header and padding are written here. Returns the frame's checksum, to which the
/// next frame chains.
pub fn seal(buffer: &mut [u8], fields: &FrameFields) -> u32 {
    assert!(fields.payload_bytes <= FRAME_PAYLOAD_BYTES_MAX);
    assert!(fields.payload_bytes.is_multiple_of(RECORD_ALIGNMENT), "records are aligned");
    assert!(fields.log_tail <= fields.sequence, "the segment being written is replayed");
    assert_eq!(buffer.len(), frame_bytes(fields.payload_bytes));
    let mut header = FrameHeader {
        magic: MAGIC,
        crc: 0,
        sequence: fields.sequence,
        number: fields.number,
        payload_bytes: fields.payload_bytes as u32,
        previous_crc: fields.previous_crc,
        records: fields.records,
        clock_ceiling: fields.clock_ceiling.raw(),
        log_tail: fields.log_tail,
        ordinal: fields.ordinal,
        reserved: 0,
    };
    assert!(header.is_plausible(), "a frame is written as it will be checked");
    let end = FRAME_HEADER_BYTES + fields.payload_bytes;
    buffer[..FRAME_HEADER_BYTES].copy_from_slice(bytemuck::bytes_of(&header));
    buffer[end..].fill(0);
    header.crc = crc32fast::hash(&buffer[CRC_START..end]);
    buffer[4..CRC_START].copy_from_slice(&header.crc.to_le_bytes());
    header.crc
}

impl FrameHeader {
    /// The header at the start of `bytes`, if it is one that a writer could have written. Nothing
    /// vouches for it yet.
    pub fn peek(bytes: &[u8]) -> Result<FrameHeader, FrameError> {
        let Some(header) = bytes.first_chunk::<FRAME_HEADER_BYTES>() else {
            return Err(FrameError::Truncated { needed: FRAME_HEADER_BYTES, available: bytes.len() });
        };
        let header: FrameHeader = bytemuck::pod_read_unaligned(header);
        if header.magic != MAGIC {
            return Err(FrameError::Magic);
        }
        if header.is_plausible() { Ok(header) } else { Err(FrameError::Header) }
    }

    /// Bytes on disk of the whole frame: a multiple of [`BLOCK_BYTES`].
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        frame_bytes(self.payload_bytes as usize)
    }

    fn is_plausible(&self) -> bool {
        let payload_bytes = self.payload_bytes as usize;
        payload_bytes <= FRAME_PAYLOAD_BYTES_MAX
            && payload_bytes.is_multiple_of(RECORD_ALIGNMENT)
            && self.records as usize <= payload_bytes / RECORD_HEADER_BYTES
            && (self.records > 0) == (payload_bytes > 0)
            && self.log_tail <= self.sequence
            && Clock::from_raw(self.clock_ceiling).is_some()
            && self.reserved == 0
    }
}

/// Bytes on disk of the frame whose first 64 bytes (or more) are `prefix`: within the limits, but
/// still a guess.
pub fn peek_frame_bytes(prefix: &[u8]) -> Result<usize, FrameError> {
    FrameHeader::peek(prefix).map(|header| header.total_bytes())
}

/// What the first bytes of a 4 KiB block look like to a reader that lost the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockClass {
    /// Only zeros: never written in this use of the segment.
    Zero,
    /// A plausible frame header: whether a frame stands behind it, [`FrameRef::check`] tells.
    Frame(FrameHeader),
    /// Neither: the inside of a frame, or damage.
    Other,
}

/// Classifies a block of a segment. A bad frame is a torn tail when no frame of the same sequence
/// with a larger number stands anywhere behind it, and corruption of acknowledged data when a whole
/// one does. A header alone is not proof: values may contain anything.
#[must_use]
pub fn classify_block(block: &[u8]) -> BlockClass {
    match FrameHeader::peek(block) {
        Ok(header) => BlockClass::Frame(header),
        Err(_) if block.iter().all(|byte| *byte == 0) => BlockClass::Zero,
        Err(_) => BlockClass::Other,
    }
}

/// A view of one whole frame.
#[derive(Clone, Copy, Debug)]
pub struct FrameRef<'a> {
    header: FrameHeader,
    payload: &'a [u8],
}

impl<'a> FrameRef<'a> {
    /// The frame at the start of `bytes` (more may follow) if it is whole, whichever it is.
    pub fn check_any(bytes: &'a [u8]) -> Result<FrameRef<'a>, FrameError> {
        let header = FrameHeader::peek(bytes)?;
        let end = FRAME_HEADER_BYTES + header.payload_bytes as usize;
        let Some(covered) = bytes.get(CRC_START..end) else {
            return Err(FrameError::Truncated { needed: header.total_bytes(), available: bytes.len() });
        };
        let computed = crc32fast::hash(covered);
        if computed != header.crc {
            return Err(FrameError::Checksum { stored: header.crc, computed });
        }
        Ok(FrameRef { header, payload: &bytes[FRAME_HEADER_BYTES..end] })
    }

    /// The frame at the start of `bytes` (more may follow) if it is whole and the expected one.
    pub fn check(bytes: &'a [u8], expected: &FrameExpected) -> Result<FrameRef<'a>, FrameError> {
        let frame = FrameRef::check_any(bytes)?;
        let header = frame.header;
        if (header.sequence, header.number) != (expected.sequence, expected.number) {
            return Err(FrameError::Other { sequence: header.sequence, number: header.number });
        }
        match expected.previous_crc {
            Some(expected) if expected != header.previous_crc => {
                Err(FrameError::Chain { found: header.previous_crc, expected })
            }
            _ => Ok(frame),
        }
    }

    /// The header's fields.
    #[must_use]
    pub fn header(&self) -> &FrameHeader {
        &self.header
    }

    /// Upper bound of the stamps of the core that wrote it.
    #[must_use]
    pub fn clock_ceiling(&self) -> Clock {
        Clock::from_raw(self.header.clock_ceiling).expect("the ceiling was checked")
    }

    /// Bytes on disk, padding included: where the next frame begins.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        self.header.total_bytes()
    }

    /// The records, back to back.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Each record with its offset in the payload (add [`FRAME_HEADER_BYTES`] for the frame). Their
    /// own checksums are not verified again: the frame's was. After an error nothing follows.
    #[must_use]
    pub fn records(&self) -> Records<'a> {
        Records { payload: self.payload, offset: 0, left: self.header.records, check: RecordRef::check_in_frame }
    }

    /// As [`FrameRef::records`], with every record's own checksum verified: for scrubbing and tools.
    #[must_use]
    pub fn records_checked(&self) -> Records<'a> {
        Records { check: RecordRef::check, ..self.records() }
    }
}

type CheckRecord<'a> = fn(&'a [u8]) -> Result<RecordRef<'a>, RecordError>;

/// Walks the records of a frame; see [`FrameRef::records`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    payload: &'a [u8],
    offset: usize,
    left: u32,
    check: CheckRecord<'a>,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(usize, RecordRef<'a>), FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.offset;
        if self.left == 0 {
            // The count and the payload end together.
            self.offset = self.payload.len();
            return (offset < self.payload.len()).then_some(Err(FrameError::Header));
        }
        match (self.check)(&self.payload[offset..]) {
            Ok(record) => {
                self.left -= 1;
                self.offset += record.total_bytes();
                Some(Ok((offset, record)))
            }
            Err(error) => {
                self.left = 0;
                self.offset = self.payload.len();
                Some(Err(FrameError::Record { offset, error }))
            }
        }
    }
}

#[cfg(test)]
mod tests;
