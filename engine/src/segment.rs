//! The first block of a segment: whose it is, which use of the file, and in which format.
//!
//! ```text
//!  0 magic [8] │ 8 crc u32 │ 12 format u32 │ 16 sequence u64 │ 24 layout u32 │ 28 core u16
//! 30 cores u16 │ 32 segment_bytes u64 │ 40 node u64 │ 48 cluster_id [16] │ 64 instance u8
//! 65 zeros up to 4096
//! ```
//!
//! All numbers are little endian. The CRC-32 covers everything behind it. Magic, checksum and format
//! keep their places in every format to come, so that an old build can tell a newer file from a
//! damaged one.
//!
//! What it is not: it opens no file and does not decide whether a segment is free.
//!
//! Invariant: the sequence is never used twice by a core, so header and frames of an earlier use of
//! the file are told from the present one's.

use crate::frame::BLOCK_BYTES;
use bytemuck::{Pod, Zeroable};

/// The format that this build writes, and the newest that it reads.
pub const SEGMENT_FORMAT: u32 = 1;
/// Bytes of the header: one block.
pub const SEGMENT_HEADER_BYTES: usize = BLOCK_BYTES;
/// How many instances of the log a core has: small records, large records.
pub const INSTANCES: u8 = 2;

const MAGIC: [u8; 8] = *b"Annulus\x01";
const CRC_START: usize = 12;
const FIELDS_BYTES: usize = size_of::<RawHeader>();

const _: () = assert!(FIELDS_BYTES == 72 && FIELDS_BYTES <= SEGMENT_HEADER_BYTES);

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct RawHeader {
    magic: [u8; 8],
    crc: u32,
    format: u32,
    sequence: u64,
    layout: u32,
    core: u16,
    cores: u16,
    segment_bytes: u64,
    node: u64,
    cluster_id: [u8; 16],
    instance: u8,
    zero: [u8; 7],
}

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Number of this use of the file, above all earlier ones of the core; never zero.
    pub sequence: u64,
    /// Layout that the file belongs to.
    pub layout: u32,
    /// Core that wrote it, below `cores`.
    pub core: u16,
    /// Cores of the node in that layout.
    pub cores: u16,
    /// Bytes of the file, a multiple of 4096.
    pub segment_bytes: u64,
    /// Id of the node, 48 bits.
    pub node: u64,
    /// Id of the cluster.
    pub cluster_id: [u8; 16],
    /// 0 = small records, 1 = large ones.
    pub instance: u8,
}

/// Why a block is not a segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// Only zeros: the file was never activated.
    #[error("the segment was never used")]
    Empty,
    /// Fewer bytes than a block.
    #[error("a segment header needs 4096 bytes, {available} are there")]
    Truncated {
        /// Bytes given.
        available: usize,
    },
    /// Something else than a segment of this store.
    #[error("this is not a segment of an Annulus log")]
    Foreign,
    /// Written by a newer version; this one leaves it alone.
    #[error("the segment has format {found}; this version reads up to {supported}")]
    Newer {
        /// As in the header.
        found: u32,
        /// The newest that is read.
        supported: u32,
    },
    /// A segment's header whose bytes are not those that were written.
    #[error("the segment's header is damaged")]
    Damaged,
}

impl SegmentHeader {
    /// Writes the header over the whole of `block`, 4096 bytes (asserted).
    pub fn encode(&self, block: &mut [u8]) {
        assert_eq!(block.len(), SEGMENT_HEADER_BYTES);
        assert!(self.is_possible(), "a header is written as it will be checked");
        let raw = RawHeader {
            magic: MAGIC,
            crc: 0,
            format: SEGMENT_FORMAT,
            sequence: self.sequence,
            layout: self.layout,
            core: self.core,
            cores: self.cores,
            segment_bytes: self.segment_bytes,
            node: self.node,
            cluster_id: self.cluster_id,
            instance: self.instance,
            zero: [0; 7],
        };
        block[..FIELDS_BYTES].copy_from_slice(bytemuck::bytes_of(&raw));
        block[FIELDS_BYTES..].fill(0);
        let crc = crc32fast::hash(&block[CRC_START..]);
        block[8..CRC_START].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads the header in the first 4096 bytes of `block` (more may follow).
    pub fn decode(block: &[u8]) -> Result<SegmentHeader, SegmentError> {
        let available = block.len();
        let Some(block) = block.get(..SEGMENT_HEADER_BYTES) else {
            return Err(SegmentError::Truncated { available });
        };
        let raw: RawHeader = bytemuck::pod_read_unaligned(&block[..FIELDS_BYTES]);
        let intact = raw.crc == crc32fast::hash(&block[CRC_START..]);
        if raw.magic != MAGIC {
            return Err(if intact {
                SegmentError::Damaged
            } else if block.iter().all(|byte| *byte == 0) {
                SegmentError::Empty
            } else {
                SegmentError::Foreign
            });
        }
        if !intact {
            return Err(SegmentError::Damaged);
        }
        if raw.format > SEGMENT_FORMAT {
            return Err(SegmentError::Newer { found: raw.format, supported: SEGMENT_FORMAT });
        }
        let header = SegmentHeader {
            sequence: raw.sequence,
            layout: raw.layout,
            core: raw.core,
            cores: raw.cores,
            segment_bytes: raw.segment_bytes,
            node: raw.node,
            cluster_id: raw.cluster_id,
            instance: raw.instance,
        };
        let rest_is_zero = raw.zero.iter().chain(&block[FIELDS_BYTES..]).all(|byte| *byte == 0);
        if raw.format == SEGMENT_FORMAT && rest_is_zero && header.is_possible() {
            Ok(header)
        } else {
            Err(SegmentError::Damaged)
        }
    }

    fn is_possible(&self) -> bool {
        self.sequence > 0
            && self.core < self.cores
            && self.instance < INSTANCES
            && self.node < 1 << 48
            && self.segment_bytes > 0
            && self.segment_bytes.is_multiple_of(BLOCK_BYTES as u64)
    }
}

#[cfg(test)]
mod tests;
