//! Frames: taken whole or not at all.

use super::*;
use crate::record::{self, Kind, RecordFields};
use annulus_object::{Actor, Dot};
use proptest::prelude::*;

const EXPECTED: FrameExpected = FrameExpected { sequence: 9, number: 4, previous_crc: Some(0xdead_beef) };

fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let fields = RecordFields {
        dot: Dot::new(Clock::from_raw(1_000).unwrap(), Actor::new(7, 3)),
        hash: 5,
        partition: 1,
        partition_incarnation: 1,
        kind: Kind::Value,
        floor: Clock::ZERO,
        expires_at_ms: 0,
        context: &[],
        value_dot: None,
        key,
        value,
    };
    let mut bytes = vec![0; record::encoded_bytes(&fields)];
    record::encode(&fields, &mut bytes);
    bytes
}

fn frame_fields(payload_bytes: usize, records: u32) -> FrameFields {
    FrameFields {
        sequence: EXPECTED.sequence,
        number: EXPECTED.number,
        payload_bytes,
        previous_crc: 0xdead_beef,
        records,
        clock_ceiling: Clock::from_raw(77_000).unwrap(),
        log_tail: 3,
        ordinal: 1_234,
    }
}

/// A sealed frame of these records in space that was used before.
fn frame(records: &[Vec<u8>]) -> Vec<u8> {
    let payload = records.concat();
    let mut buffer = vec![0xaa; frame_bytes(payload.len())];
    buffer[FRAME_HEADER_BYTES..][..payload.len()].copy_from_slice(&payload);
    let crc = seal(&mut buffer, &frame_fields(payload.len(), records.len() as u32));
    assert_eq!(crc.to_le_bytes(), buffer[4..8]);
    buffer
}

fn three() -> Vec<Vec<u8>> {
    vec![record(b"a", b"1"), record(b"bb", &[7; 100]), record(b"", b"")]
}

#[test]
fn a_frame_gives_back_its_records_and_header() {
    let records = three();
    let bytes = frame(&records);
    assert_eq!(bytes.len(), BLOCK_BYTES);
    assert_eq!(peek_frame_bytes(&bytes[..64]), Ok(BLOCK_BYTES));
    let frame = FrameRef::check(&bytes, &EXPECTED).unwrap();
    assert_eq!(frame.total_bytes(), BLOCK_BYTES);
    assert_eq!((frame.header().log_tail, frame.header().ordinal), (3, 1_234));
    assert_eq!(frame.clock_ceiling().raw(), 77_000);
    for walk in [frame.records(), frame.records_checked()] {
        let found: Vec<_> = walk.map(Result::unwrap).collect();
        assert_eq!(found.len(), records.len());
        for ((offset, found), record) in found.into_iter().zip(&records) {
            assert_eq!(found.bytes(), record);
            assert_eq!(&frame.payload()[offset..offset + record.len()], record);
        }
    }
    let padding = &bytes[FRAME_HEADER_BYTES + frame.payload().len()..];
    assert!(padding.iter().all(|byte| *byte == 0));
}

#[test]
fn a_frame_without_records_carries_its_header() {
    let bytes = frame(&[]);
    let frame = FrameRef::check(&bytes, &EXPECTED).unwrap();
    assert_eq!(frame.records().count(), 0);
}

#[test]
fn every_flipped_bit_is_an_error() {
    let records = three();
    let bytes = frame(&records);
    let used = FRAME_HEADER_BYTES + records.concat().len();
    for bit in 0..used * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(FrameRef::check_any(&flipped).is_err(), "bit {bit}");
    }
    // The padding says nothing.
    for at in used..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        assert!(FrameRef::check(&flipped, &EXPECTED).is_ok(), "byte {at}");
    }
}

#[test]
fn every_truncation_of_header_or_payload_is_an_error() {
    let records = three();
    let bytes = frame(&records);
    let used = FRAME_HEADER_BYTES + records.concat().len();
    for end in 0..used {
        let needed = if end < FRAME_HEADER_BYTES { FRAME_HEADER_BYTES } else { BLOCK_BYTES };
        let error = FrameRef::check(&bytes[..end], &EXPECTED).unwrap_err();
        assert_eq!(error, FrameError::Truncated { needed, available: end });
    }
}

#[test]
fn a_torn_write_over_recycled_bytes_is_an_error_at_every_sector() {
    let old = frame(&[record(b"old", &[1; 9_000])]);
    let new = frame(&[record(b"new", &[2; 9_000])]);
    for sectors in 0..new.len() / 512 {
        let mut torn = old.clone();
        torn[..sectors * 512].copy_from_slice(&new[..sectors * 512]);
        let whole = torn[..9_200] == new[..9_200] || torn == old;
        assert_eq!(FrameRef::check_any(&torn).is_ok(), whole, "{sectors} sectors");
    }
}

#[test]
fn another_frame_than_the_expected_one_is_told_apart() {
    let bytes = frame(&three());
    let other = Err(FrameError::Other { sequence: 9, number: 4 });
    let check = |expected: FrameExpected| FrameRef::check(&bytes, &expected).map(|_| ());
    assert_eq!(check(FrameExpected { number: 5, ..EXPECTED }), other);
    assert_eq!(check(FrameExpected { sequence: 10, ..EXPECTED }), other);
    assert_eq!(check(FrameExpected { previous_crc: None, ..EXPECTED }), Ok(()));
    let chain = FrameError::Chain { found: 0xdead_beef, expected: 1 };
    assert_eq!(check(FrameExpected { previous_crc: Some(1), ..EXPECTED }), Err(chain));
}

#[test]
fn implausible_headers_are_refused_before_anything_is_read() {
    let bytes = frame(&three());
    let set = |at: usize, value: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        peek_frame_bytes(&bytes)
    };
    assert_eq!(set(0, b"x"), Err(FrameError::Magic));
    assert_eq!(set(20, &u32::MAX.to_le_bytes()), Err(FrameError::Header));
    assert_eq!(set(20, &8u32.to_le_bytes()), Err(FrameError::Header));
    assert_eq!(set(28, &0u32.to_le_bytes()), Err(FrameError::Header));
    assert_eq!(set(28, &1_000u32.to_le_bytes()), Err(FrameError::Header));
    assert_eq!(set(39, &[1]), Err(FrameError::Header));
    assert_eq!(set(40, &10u64.to_le_bytes()), Err(FrameError::Header));
    assert_eq!(set(63, &[1]), Err(FrameError::Header));
}

#[test]
fn blocks_are_classified() {
    let bytes = frame(&[record(b"key", &[3; 9_000])]);
    let BlockClass::Frame(header) = classify_block(&bytes[..BLOCK_BYTES]) else {
        panic!("a frame begins here");
    };
    assert_eq!((header.sequence, header.number), (9, 4));
    assert_eq!(header.total_bytes(), bytes.len());
    assert_eq!(classify_block(&bytes[BLOCK_BYTES..2 * BLOCK_BYTES]), BlockClass::Other);
    assert_eq!(classify_block(&[0; BLOCK_BYTES]), BlockClass::Zero);
}

#[test]
fn a_frame_whose_count_or_records_are_wrong_says_so() {
    let records = three();
    let payload = records.concat();
    let sealed = |payload: &[u8], count: u32| {
        let mut buffer = vec![0; frame_bytes(payload.len())];
        buffer[FRAME_HEADER_BYTES..][..payload.len()].copy_from_slice(payload);
        seal(&mut buffer, &frame_fields(payload.len(), count));
        let frame = FrameRef::check(&buffer, &EXPECTED).unwrap();
        frame.records_checked().last().unwrap().map(|(offset, _)| offset)
    };
    assert_eq!(sealed(&payload, 2), Err(FrameError::Header));
    let mut damaged = payload.clone();
    damaged[records[0].len() + 70] ^= 1;
    assert!(matches!(sealed(&damaged, 3), Err(FrameError::Record { offset: 80, error: RecordError::Checksum { .. } })));
    assert!(matches!(sealed(&payload[..payload.len() - 64], 3), Err(FrameError::Record { .. })));
}

proptest! {
    #[test]
    fn frames_round_trip(
        contents in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..40), 0..5_000usize), 0..12,
        ),
        cut in any::<prop::sample::Index>(),
    ) {
        let records: Vec<Vec<u8>> =
            contents.iter().map(|(key, bytes)| record(key, &vec![0x5a; *bytes])).collect();
        let bytes = frame(&records);
        let frame = FrameRef::check(&bytes, &EXPECTED).unwrap();
        let found: Vec<Vec<u8>> =
            frame.records_checked().map(|found| found.unwrap().1.bytes().to_vec()).collect();
        prop_assert_eq!(found, records);
        let used = FRAME_HEADER_BYTES + frame.payload().len();
        prop_assert!(FrameRef::check(&bytes[..cut.index(used)], &EXPECTED).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        payload in prop::collection::vec(any::<u8>(), 0..300),
        count in 0..4u32,
    ) {
        let _ = (FrameRef::check_any(&bytes).map(|_| ()), classify_block(&bytes));
        // A valid frame around garbage.
        let bytes = payload.len() / 16 * 16;
        let count = count.clamp(u32::from(bytes > 0), (bytes / RECORD_HEADER_BYTES) as u32 + 1);
        if (count > 0) == (bytes > 0) && count as usize * RECORD_HEADER_BYTES <= bytes {
            let mut buffer = vec![0; frame_bytes(bytes)];
            buffer[FRAME_HEADER_BYTES..][..bytes].copy_from_slice(&payload[..bytes]);
            seal(&mut buffer, &frame_fields(bytes, count));
            let frame = FrameRef::check(&buffer, &EXPECTED).unwrap();
            prop_assert!(frame.records().count() <= count as usize + 1);
        }
    }
}
