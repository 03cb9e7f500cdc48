//! One copy of `node.meta` and the choice among four: encode, decode, choose. Pure.

use bytemuck::{Pod, Zeroable};

use super::error::MetaError;
use super::{ClusterMeta, FORMAT_VERSION, NodeMeta};
use crate::config::Durability;

/// Bytes of one copy.
pub(super) const BLOCK_BYTES: usize = 4096;
/// Copies in the file.
pub(super) const COPIES: usize = 4;
/// Bytes of the file.
pub(super) const FILE_BYTES: usize = COPIES * BLOCK_BYTES;

const MAGIC: [u8; 8] = *b"ANNLMETA";
/// The CRC covers what comes after it.
const CRC_END: usize = 12;
/// Valid, equal copies that a generation needs to count.
const COPIES_NEEDED: usize = 2;

#[cfg(not(target_endian = "little"))]
compile_error!("files are little endian, and headers are read in place");

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Header {
    magic: [u8; 8],
    crc: u32,
    version: u32,
    generation: u64,
    cluster_id: [u8; 16],
    hash_key: [u8; 16],
    node_id: u64,
    clock: u64,
    layout: u32,
    partitions: u32,
    incarnation: u16,
    cores: u16,
    clean: u8,
    durability: u8,
    zero: [u8; 2],
    generation_of_node: u32,
    copies: u8,
    founding: u8,
    refilling: u8,
    others: u8,
    name_hash: [u8; 8],
}

const HEADER_BYTES: usize = size_of::<Header>();
const _: () = assert!(HEADER_BYTES == 104 && HEADER_BYTES <= BLOCK_BYTES);

/// What the file said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) meta: NodeMeta,
    /// Largest generation of any valid copy: the next save must be above it.
    pub(super) generation_seen: u64,
    /// The copy that counts, as it is in the file.
    pub(super) block: Vec<u8>,
    /// Copies that differ from it and must be replaced before anything else is saved: a save overwrites two copies, and
    /// two that count must be left while it does.
    pub(super) stale: Vec<usize>,
}

/// One copy.
pub(super) fn encode(meta: &NodeMeta, generation: u64) -> Vec<u8> {
    meta.assert_valid();
    let header = Header {
        magic: MAGIC,
        crc: 0,
        version: FORMAT_VERSION,
        generation,
        cluster_id: meta.cluster_id,
        hash_key: meta.hash_key,
        node_id: meta.node_id,
        clock: meta.clock,
        layout: meta.layout,
        partitions: meta.partitions,
        incarnation: meta.incarnation,
        cores: meta.cores,
        clean: meta.clean.into(),
        durability: durability_code(meta.durability),
        zero: [0; 2],
        generation_of_node: meta.cluster.generation,
        copies: meta.cluster.copies,
        founding: meta.cluster.founding,
        refilling: meta.cluster.is_refilling.into(),
        others: meta.cluster.has_others.into(),
        name_hash: meta.cluster.name_hash,
    };
    let mut block = vec![0; BLOCK_BYTES];
    block[..HEADER_BYTES].copy_from_slice(bytemuck::bytes_of(&header));
    let crc = crc32fast::hash(&block[CRC_END..]);
    block[8..CRC_END].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(decode(&header_of(&block).expect("just written")).as_ref(), Some(meta));
    block
}

/// Reads the whole file: the newest generation with enough equal, valid copies.
pub(super) fn choose(bytes: &[u8]) -> Result<Chosen, MetaError> {
    if bytes.len() != FILE_BYTES {
        return Err(MetaError::WrongSize { found: bytes.len() as u64, expected: FILE_BYTES as u64 });
    }
    let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
    assert!(rest.is_empty());
    let valid: Vec<(Header, &[u8; BLOCK_BYTES])> =
        blocks.iter().filter_map(|block| header_of(block).map(|header| (header, block))).collect();
    if valid.is_empty() && blocks.iter().all(|block| block[..8] != MAGIC) {
        return Err(MetaError::Foreign);
    }
    let counts = |(_, block): &&(Header, &[u8; BLOCK_BYTES])| {
        valid.iter().filter(|(_, other)| *other == *block).count() >= COPIES_NEEDED
    };
    let newest = valid.iter().filter(counts).max_by_key(|(header, _)| header.generation);
    let Some((newest, block)) = newest else {
        return Err(MetaError::Damaged { valid: valid.len() });
    };
    if newest.version > FORMAT_VERSION {
        return Err(MetaError::NewerFormat { found: newest.version });
    }
    let generation_seen = valid.iter().map(|(header, _)| header.generation).max().expect("one is valid");
    let stale: Vec<usize> = (0..COPIES).filter(|copy| blocks[*copy] != **block).collect();
    assert!(stale.len() <= COPIES - COPIES_NEEDED);
    let meta = decode(newest).ok_or(MetaError::Damaged { valid: 0 })?;
    Ok(Chosen { meta, generation_seen, block: block.to_vec(), stale })
}

/// The header of a copy whose magic and checksum are right.
fn header_of(block: &[u8]) -> Option<Header> {
    assert_eq!(block.len(), BLOCK_BYTES);
    let header: Header = bytemuck::pod_read_unaligned(&block[..HEADER_BYTES]);
    (header.magic == MAGIC && header.crc == crc32fast::hash(&block[CRC_END..])).then_some(header)
}

/// The content of a header of our format; `None` when it makes no sense.
fn decode(header: &Header) -> Option<NodeMeta> {
    let meta = NodeMeta {
        cluster_id: header.cluster_id,
        hash_key: header.hash_key,
        node_id: header.node_id,
        incarnation: header.incarnation,
        layout: header.layout,
        cores: header.cores,
        partitions: header.partitions,
        clean: header.clean == 1,
        clock: header.clock,
        durability: durability_from(header.durability)?,
        cluster: ClusterMeta {
            generation: header.generation_of_node,
            copies: header.copies,
            founding: header.founding,
            is_refilling: header.refilling == 1,
            has_others: header.others == 1,
            name_hash: header.name_hash,
        },
    };
    let has_flags = [header.clean, header.refilling, header.others].iter().all(|flag| *flag <= 1);
    let is_known = (1..=FORMAT_VERSION).contains(&header.version)
        && (header.version > 1 || meta.cluster == ClusterMeta::default());
    (is_known && has_flags && meta.is_valid()).then_some(meta)
}

fn durability_code(durability: Option<Durability>) -> u8 {
    match durability {
        None => 0,
        Some(Durability::Sync) => 1,
        Some(Durability::Interval) => 2,
        Some(Durability::Memory) => 3,
    }
}

fn durability_from(code: u8) -> Option<Option<Durability>> {
    match code {
        0 => Some(None),
        1 => Some(Some(Durability::Sync)),
        2 => Some(Some(Durability::Interval)),
        3 => Some(Some(Durability::Memory)),
        _ => None,
    }
}

/// For tests: a copy as a later version of this program might write it.
#[cfg(test)]
pub(super) fn encode_with_version(meta: &NodeMeta, generation: u64, version: u32) -> Vec<u8> {
    let mut block = encode(meta, generation);
    block[12..16].copy_from_slice(&version.to_le_bytes());
    let crc = crc32fast::hash(&block[CRC_END..]);
    block[8..CRC_END].copy_from_slice(&crc.to_le_bytes());
    block
}
