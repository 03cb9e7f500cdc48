//! Segment headers: what is ours and whole, and the name of everything else.

use super::*;
use proptest::prelude::*;

fn header() -> SegmentHeader {
    SegmentHeader {
        sequence: 42,
        layout: 3,
        core: 1,
        cores: 2,
        segment_bytes: 64 << 20,
        node: 0x1234_5678_9abc,
        cluster_id: *b"sixteen bytes id",
        instance: 1,
    }
}

fn encoded(header: &SegmentHeader) -> Vec<u8> {
    let mut block = vec![0xaa; SEGMENT_HEADER_BYTES];
    header.encode(&mut block);
    block
}

/// Changes bytes and makes the checksum right again.
fn with(change: impl FnOnce(&mut [u8])) -> Result<SegmentHeader, SegmentError> {
    let mut block = encoded(&header());
    change(&mut block);
    let crc = crc32fast::hash(&block[CRC_START..]);
    block[8..12].copy_from_slice(&crc.to_le_bytes());
    SegmentHeader::decode(&block)
}

#[test]
fn every_flipped_bit_is_an_error() {
    let block = encoded(&header());
    for bit in 0..block.len() * 8 {
        let mut flipped = block.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // The block is ours, whichever bit it is.
        assert_eq!(SegmentHeader::decode(&flipped), Err(SegmentError::Damaged), "bit {bit}");
    }
}

#[test]
fn every_truncation_is_an_error() {
    let block = encoded(&header());
    for available in 0..block.len() {
        let error = SegmentError::Truncated { available };
        assert_eq!(SegmentHeader::decode(&block[..available]), Err(error));
    }
}

#[test]
fn foreign_empty_newer_and_impossible_headers_are_told_apart() {
    assert_eq!(SegmentHeader::decode(&[0; 4096]), Err(SegmentError::Empty));
    assert_eq!(SegmentHeader::decode(&[7; 4096]), Err(SegmentError::Foreign));
    let newer = with(|block| {
        block[12] = 2;
        block[100] = 9;
    });
    assert_eq!(newer, Err(SegmentError::Newer { found: 2, supported: 1 }));
    assert_eq!(with(|block| block[12] = 0), Err(SegmentError::Damaged));
    assert_eq!(with(|block| block[100] = 1), Err(SegmentError::Damaged));
    assert_eq!(with(|block| block[28] = 2), Err(SegmentError::Damaged), "core beyond cores");
    assert_eq!(with(|block| block[64] = 2), Err(SegmentError::Damaged), "instance");
    assert_eq!(with(|block| block[16] = 0), Err(SegmentError::Damaged), "sequence zero");
    assert_eq!(with(|_| ()), Ok(header()));
}

proptest! {
    #[test]
    fn encoding_round_trips(
        sequence in 1..u64::MAX, layout in any::<u32>(), core in 0..u16::MAX, more in 1..9u16,
        blocks in 1..1u64 << 40, node in 0..1u64 << 48, cluster_id in any::<[u8; 16]>(),
        instance in 0..INSTANCES,
    ) {
        let header = SegmentHeader {
            sequence,
            layout,
            core,
            cores: core.saturating_add(more),
            segment_bytes: blocks * 4096,
            node,
            cluster_id,
            instance,
        };
        prop_assert_eq!(SegmentHeader::decode(&encoded(&header)), Ok(header));
    }

    #[test]
    fn arbitrary_blocks_never_panic(start in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut block = [0; SEGMENT_HEADER_BYTES];
        block[..start.len()].copy_from_slice(&start);
        prop_assert!(SegmentHeader::decode(&block).is_err());
    }
}
