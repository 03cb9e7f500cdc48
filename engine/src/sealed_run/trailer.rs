//! The first block of a partition file, and the end of every run.
//!
//! ```text
//! header    0 magic [8] │ 8 crc u32 │ 12 format u32 │ 16 cluster_id [16] │ 32 node u64 │ 40 number u64 │ 48 partition u16
//! trailer   0 magic [8] │ 8 crc u32 │ 12 format u32 │ 16 cluster_id [16] │ 32 node u64 │ 40 number u64 │ 48 partition u16
//!          50 core u16 │ 52 layout u32 │ 56 instance u8, zeros │ 64 drained_through u64 │ 72 offset u64 │ 80 run_start u64
//!          88 records_bytes u64 │ 96 sequence u64 │ 104 replaces_below u64 │ 112 min_clock u64 │ 120 max_clock u64
//!         128 entries u32 │ 132 tombstones u32 │ 136 actors u32 │ 140 footer_crc u32 │ 144 extra_bytes u64
//! ```
//!
//! All numbers are little endian, and what is not named is zero. The header is a block, and its CRC-32 covers bytes 12 to 4095.
//! The trailer is the last 160 bytes of a block, and its CRC-32 covers its own bytes from 12 on. Magic, checksum and format keep their places in every format to come.
//!
//! Invariant: a trailer that was accepted lies where it says, and its lengths add up.

use annulus_object::Clock;
use bytemuck::{Pod, Zeroable};

use super::{ENTRY_BYTES, FORMAT_PLAIN, FORMAT_VALUE_DOTS, RUN_BLOCK_BYTES, RunError};

const HEADER_MAGIC: [u8; 8] = *b"AnnPart\x01";
const TRAILER_MAGIC: [u8; 8] = *b"AnnSeal\x01";
/// Of a segment of the log, whose header has its checksum at the same place.
const SEGMENT_MAGIC: [u8; 8] = *b"Annulus\x01";
const CRC_START: usize = 12;
const ACTOR_BYTES: u64 = 16;
const RAW_BYTES: usize = size_of::<RawTrailer>();
/// Bytes of a trailer.
pub const TRAILER_BYTES: usize = 160;
/// Where it begins in its block.
const TRAILER_AT: usize = RUN_BLOCK_BYTES - TRAILER_BYTES;

const _: () = assert!(RAW_BYTES == 152 && RAW_BYTES <= TRAILER_BYTES && TRAILER_AT.is_multiple_of(16));

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct RawTrailer {
    magic: [u8; 8],
    crc: u32,
    format: u32,
    cluster_id: [u8; 16],
    node: u64,
    number: u64,
    partition: u16,
    core: u16,
    layout: u32,
    instance: u8,
    zeros: [u8; 7],
    drained_through: u64,
    offset: u64,
    run_start: u64,
    records_bytes: u64,
    sequence: u64,
    replaces_below: u64,
    min_clock: u64,
    max_clock: u64,
    entries: u32,
    tombstones: u32,
    actors: u32,
    footer_crc: u32,
    extra_bytes: u64,
}

/// Whose a partition file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionFileHeader {
    /// Id of the cluster.
    pub cluster_id: [u8; 16],
    /// Id of the node, 48 bits.
    pub node: u64,
    /// Number of the file in its partition, from 1; never used twice.
    pub number: u64,
    /// The partition.
    pub partition: u16,
}

/// The part of a log that a run was drained from: while a crash would still replay it, the run says nothing new, and may not
/// be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Layout of the log.
    pub layout: u32,
    /// Core that wrote it.
    pub core: u16,
    /// Its instance.
    pub instance: u8,
    /// Sequence of the newest segment that was drained.
    pub through: u64,
}

/// What the last block of a run says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Whose file it is in.
    pub file: PartitionFileHeader,
    /// What its footer says of siblings: see the module above.
    pub format: u32,
    /// Which part of a log it was drained from; `None` for a run that replaces others.
    pub drained: Option<Replayed>,
    /// Where the trailer's block lies in the file.
    pub offset: u64,
    /// Where the run's records begin.
    pub run_start: u64,
    /// Bytes of its records, without padding.
    pub records_bytes: u64,
    /// Number of the run in its partition: one more than the run sealed before it.
    pub sequence: u64,
    /// Runs with a smaller sequence do not count any more; 0 for none.
    pub replaces_below: u64,
    /// The smallest and the largest clock of its records; both zero without records.
    pub clocks: (Clock, Clock),
    /// Its records.
    pub entries: u32,
    /// Its records that delete.
    pub tombstones: u32,
    /// Actors in the footer.
    pub actors: u32,
    /// CRC-32 of the footer without its padding.
    pub footer_crc: u32,
    /// Bytes of the footer's extras.
    pub extra_bytes: u64,
}

impl PartitionFileHeader {
    /// Writes the header over the whole of `block`, 4096 bytes (asserted).
    pub fn encode(&self, block: &mut [u8]) {
        assert_eq!(block.len(), RUN_BLOCK_BYTES);
        encode(&self.raw(HEADER_MAGIC), block);
    }

    /// Reads a file's first block.
    pub fn decode(block: &[u8]) -> Result<Self, RunError> {
        let Some(block) = block.get(..RUN_BLOCK_BYTES) else {
            return Err(RunError::Truncated { needed: RUN_BLOCK_BYTES as u64, available: block.len() as u64 });
        };
        decode(block, HEADER_MAGIC).map(|raw| Self::of(&raw))
    }

    fn raw(&self, magic: [u8; 8]) -> RawTrailer {
        let mut raw: RawTrailer = Zeroable::zeroed();
        (raw.magic, raw.format) = (magic, FORMAT_PLAIN);
        (raw.cluster_id, raw.node) = (self.cluster_id, self.node);
        (raw.number, raw.partition) = (self.number, self.partition);
        raw
    }

    fn of(raw: &RawTrailer) -> Self {
        Self { cluster_id: raw.cluster_id, node: raw.node, number: raw.number, partition: raw.partition }
    }
}

impl Trailer {
    /// Where the footer begins.
    pub fn footer_start(&self) -> u64 {
        self.run_start + self.records_bytes
    }

    /// Bytes of the footer without padding.
    pub fn footer_bytes(&self) -> u64 {
        u64::from(self.entries) * ENTRY_BYTES as u64 + u64::from(self.actors) * ACTOR_BYTES + self.extra_bytes
    }

    /// Where the run ends: behind the trailer.
    pub fn end(&self) -> u64 {
        self.offset + RUN_BLOCK_BYTES as u64
    }

    /// Bytes of the file that the run takes, footer, padding and trailer included.
    pub fn bytes(&self) -> u64 {
        self.end() - self.run_start
    }

    /// Writes the trailer to the end of `block`, the last one of the run (4096 bytes, asserted).
    pub fn encode(&self, block: &mut [u8]) {
        assert_eq!(block.len(), RUN_BLOCK_BYTES);
        assert_eq!(self.check_lengths(), Ok(()), "a trailer is written as it will be checked");
        let mut raw = self.file.raw(TRAILER_MAGIC);
        raw.format = self.format;
        if let Some(drained) = self.drained {
            (raw.core, raw.layout, raw.instance) = (drained.core, drained.layout, drained.instance);
            raw.drained_through = drained.through;
        }
        (raw.offset, raw.run_start, raw.records_bytes) = (self.offset, self.run_start, self.records_bytes);
        (raw.sequence, raw.replaces_below) = (self.sequence, self.replaces_below);
        (raw.min_clock, raw.max_clock) = (self.clocks.0.raw(), self.clocks.1.raw());
        (raw.entries, raw.tombstones, raw.actors) = (self.entries, self.tombstones, self.actors);
        (raw.footer_crc, raw.extra_bytes) = (self.footer_crc, self.extra_bytes);
        encode(&raw, &mut block[TRAILER_AT..]);
    }

    /// Reads the trailer at the end of the block at `offset` of a file.
    pub fn decode(block: &[u8], offset: u64) -> Result<Self, RunError> {
        let Some(block) = block.get(..RUN_BLOCK_BYTES) else {
            return Err(RunError::Truncated { needed: RUN_BLOCK_BYTES as u64, available: block.len() as u64 });
        };
        let raw = decode(&block[TRAILER_AT..], TRAILER_MAGIC)?;
        if raw.offset != offset {
            return Err(RunError::Misplaced { written_for: raw.offset, found_at: offset });
        }
        let clock = |raw| Clock::from_raw(raw).ok_or(RunError::Contents("a clock is out of range"));
        let drained = (raw.drained_through > 0).then_some(Replayed {
            layout: raw.layout,
            core: raw.core,
            instance: raw.instance,
            through: raw.drained_through,
        });
        let trailer = Self {
            file: PartitionFileHeader::of(&raw),
            format: raw.format,
            drained,
            offset: raw.offset,
            run_start: raw.run_start,
            records_bytes: raw.records_bytes,
            sequence: raw.sequence,
            replaces_below: raw.replaces_below,
            clocks: (clock(raw.min_clock)?, clock(raw.max_clock)?),
            entries: raw.entries,
            tombstones: raw.tombstones,
            actors: raw.actors,
            footer_crc: raw.footer_crc,
            extra_bytes: raw.extra_bytes,
        };
        trailer.check_lengths()?;
        Ok(trailer)
    }

    fn check_lengths(&self) -> Result<(), RunError> {
        let within = self.offset.is_multiple_of(RUN_BLOCK_BYTES as u64)
            && self.run_start.is_multiple_of(RUN_BLOCK_BYTES as u64)
            && self.run_start >= RUN_BLOCK_BYTES as u64
            && [self.offset, self.run_start, self.records_bytes, self.extra_bytes].iter().all(|bytes| *bytes < 1 << 40);
        let footer_end = self.footer_start() + self.footer_bytes();
        if !within || blocks(footer_end + TRAILER_BYTES as u64) != self.end() {
            return Err(RunError::Contents("its lengths do not add up"));
        }
        if self.sequence == 0 || self.replaces_below > self.sequence {
            return Err(RunError::Contents("a run follows what it replaces"));
        }
        if self.clocks.0 > self.clocks.1 || self.tombstones > self.entries {
            return Err(RunError::Contents("its counts contradict each other"));
        }
        Ok(())
    }
}

/// Rounds up to whole blocks.
pub(super) fn blocks(bytes: u64) -> u64 {
    bytes.next_multiple_of(RUN_BLOCK_BYTES as u64)
}

/// Writes `raw` over the whole of `out`.
fn encode(raw: &RawTrailer, out: &mut [u8]) {
    out[..RAW_BYTES].copy_from_slice(bytemuck::bytes_of(raw));
    out[RAW_BYTES..].fill(0);
    let crc = crc32fast::hash(&out[CRC_START..]);
    out[8..CRC_START].copy_from_slice(&crc.to_le_bytes());
}

fn decode(bytes: &[u8], magic: [u8; 8]) -> Result<RawTrailer, RunError> {
    let raw: RawTrailer = bytemuck::pod_read_unaligned(&bytes[..RAW_BYTES]);
    let is_whole = raw.crc == crc32fast::hash(&bytes[CRC_START..]);
    match (raw.magic == magic, is_whole) {
        (true, true) => {}
        (false, false) => return Err(RunError::Foreign),
        // One of the other kind has the other kind's magic; what has neither was ours before a bit of it changed.
        (false, true) if [HEADER_MAGIC, TRAILER_MAGIC, SEGMENT_MAGIC].contains(&raw.magic) => {
            return Err(RunError::Foreign);
        }
        _ => return Err(RunError::Damaged),
    }
    if raw.format > FORMAT_VALUE_DOTS {
        return Err(RunError::Newer { found: raw.format, supported: FORMAT_VALUE_DOTS });
    }
    Ok(raw)
}
