//! What is written into a run is read again, and nothing else.

use annulus_object::{Actor, Clock, Dot};
use proptest::prelude::*;

use super::*;
use crate::buffer::AlignedBuffer;
use crate::index::IndexHash;
use crate::record::{self, Kind, RecordFields, RecordRef};

const FILE: PartitionFileHeader = PartitionFileHeader { cluster_id: [7; 16], node: 99, number: 3, partition: 12 };

fn clock(raw: u64) -> Clock {
    Clock::from_raw(raw).unwrap()
}

/// A whole run as bytes, from `start` on, of keys with different hashes, and its trailer.
fn run(start: u64, records: &[(u64, bool, u64, u8)]) -> (Vec<u8>, Trailer) {
    let mut builder = FooterBuilder::new(records.len());
    let mut bytes = AlignedBuffer::default();
    for (number, (hash, deletes, expires_at_ms, context)) in records.iter().enumerate() {
        let context: Vec<_> =
            (0..*context).map(|n| (Actor::new(u64::from(n), 1), clock(1_000_000 + u64::from(n)))).collect();
        let fields = RecordFields {
            dot: Dot::new(clock(10 + number as u64), Actor::new(500, number as u16 % 3)),
            hash: u128::from(*hash) << 64,
            partition: 12,
            partition_incarnation: 0,
            kind: if *deletes { Kind::Tombstone } else { Kind::Value },
            floor: clock(5),
            expires_at_ms: if *deletes { 0 } else { *expires_at_ms },
            context: &context,
            value_dot: None,
            key: b"key",
            value: if *deletes { b"" } else { b"some value" },
        };
        let mut record = vec![0; record::encoded_bytes(&fields)];
        record::encode(&fields, &mut record);
        builder.note(&RecordRef::check(&record).unwrap(), start + bytes.len() as u64);
        bytes.extend_from_slice(&record);
    }
    let records_bytes = bytes.len() as u64;
    let drained = Some(Replayed { layout: 4, core: 1, instance: 1, through: 88 });
    let fields = RunFields { file: FILE, drained, run_start: start, records_bytes, sequence: 9, replaces_below: 4 };
    let trailer = encode_ending(&fields, &mut builder, &mut bytes);
    (bytes.as_slice().to_vec(), trailer)
}

fn footer_of<'a>(bytes: &'a [u8], trailer: &Trailer) -> Result<FooterRef<'a>, RunError> {
    let from = usize::try_from(trailer.footer_start() - trailer.run_start).unwrap();
    FooterRef::check(&bytes[from..], trailer)
}

proptest! {
    #[test]
    fn what_is_noted_is_read_again(
        records in prop::collection::btree_map(any::<u64>(), (any::<bool>(), 0..3u64, 0..3u8), 0..200),
    ) {
        let records: Vec<_> = records.into_iter().rev().map(|(hash, (a, b, c))| (hash, a, b, c)).collect();
        let start = 8192;
        let (bytes, trailer) = run(start, &records);
        let decoded = Trailer::decode(&bytes[bytes.len() - RUN_BLOCK_BYTES..], start + (bytes.len() - RUN_BLOCK_BYTES) as u64);
        prop_assert_eq!(decoded, Ok(trailer));
        prop_assert_eq!(trailer.bytes(), bytes.len() as u64);
        let footer = footer_of(&bytes, &trailer).unwrap();
        prop_assert_eq!(footer.len(), records.len());
        for (found, (hash, deletes, expires, context)) in footer.iter().zip(records.iter().rev()) {
            prop_assert_eq!(found.entry.hash, IndexHash { high: *hash, low: 0 });
            let at = usize::try_from(found.entry.place.offset() - start).unwrap();
            let record = RecordRef::check(&bytes[at..]).unwrap();
            prop_assert_eq!(IndexHash::of(record.hash()), found.entry.hash);
            prop_assert_eq!((found.entry.clock, found.actor), (record.dot().clock, record.dot().actor));
            prop_assert_eq!(found.floor, clock(5));
            prop_assert_eq!(found.expires_at_ms, if *deletes { 0 } else { *expires });
            prop_assert_eq!(found.context.len(), usize::from(*context));
            prop_assert_eq!(found.entry.is_tombstone(), *deletes);
        }
    }
}

#[test]
fn every_flipped_bit_of_footer_and_trailer_is_noticed() {
    let (bytes, trailer) = run(4096, &[(1, false, 0, 0), (2, true, 0, 1), (3, false, 7, 2)]);
    let footer_at = usize::try_from(trailer.footer_start() - trailer.run_start).unwrap();
    let footer_end = footer_at + usize::try_from(trailer.footer_bytes()).unwrap();
    let trailer_at = bytes.len() - RUN_BLOCK_BYTES;
    for at in (footer_at..footer_end).chain(bytes.len() - TRAILER_BYTES..bytes.len()) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        let decoded = Trailer::decode(&bytes[trailer_at..], trailer.offset);
        let is_noticed = decoded.is_err() || footer_of(&bytes, &trailer).is_err();
        assert!(is_noticed, "byte {at}");
    }
}

#[test]
fn what_is_not_ours_is_named() {
    let (bytes, trailer) = run(4096, &[]);
    assert_eq!(trailer.clocks, (Clock::ZERO, Clock::ZERO));
    let block = &bytes[bytes.len() - RUN_BLOCK_BYTES..];
    let misplaced = RunError::Misplaced { written_for: trailer.offset, found_at: 0 };
    assert_eq!(Trailer::decode(block, 0), Err(misplaced));
    assert_eq!(PartitionFileHeader::decode(block), Err(RunError::Foreign));
    assert!(matches!(Trailer::decode(&block[1..], 0), Err(RunError::Truncated { .. })));
    let mut header = vec![0xff; RUN_BLOCK_BYTES];
    FILE.encode(&mut header);
    assert_eq!(PartitionFileHeader::decode(&header), Ok(FILE));
    header[100] = 1;
    assert_eq!(PartitionFileHeader::decode(&header), Err(RunError::Damaged));
    FILE.encode(&mut header);
    header[12] = 200;
    let crc = crc32fast::hash(&header[12..]);
    header[8..12].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(PartitionFileHeader::decode(&header), Err(RunError::Newer { found: 200, supported: FORMAT_VALUE_DOTS }));
}
