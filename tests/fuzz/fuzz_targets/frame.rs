//! Any bytes as a frame, as a block of a segment and as a segment's header: never a panic, and the
//! records of a frame lie inside it, in order. Checksums are repaired first, else nothing would get
//! past them.
#![no_main]

use annulus_engine::frame::{BlockClass, FRAME_HEADER_BYTES, FrameHeader, FrameRef, classify_block};
use annulus_engine::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = FrameRef::check_any(data);
    check_segment(data);
    let Ok(header) = FrameHeader::peek(data) else {
        assert!(!matches!(classify_block(data), BlockClass::Frame(_)));
        return;
    };
    assert_eq!(classify_block(data), BlockClass::Frame(header));
    let end = FRAME_HEADER_BYTES + header.payload_bytes as usize;
    if data.len() < end {
        assert!(FrameRef::check_any(data).is_err(), "a frame is not cut short");
        return;
    }
    let mut bytes = data.to_vec();
    let crc = crc32fast::hash(&bytes[8..end]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    let frame = FrameRef::check_any(&bytes).expect("the header is plausible and the checksum right");
    let mut next = 0;
    for (offset, record) in frame.records().map_while(Result::ok) {
        assert_eq!(offset, next, "records are back to back");
        next = offset + record.total_bytes();
        assert_eq!(record.bytes(), &frame.payload()[offset..next]);
    }
    let _ = frame.records_checked().count();
});

fn check_segment(data: &[u8]) {
    let mut block = [0; SEGMENT_HEADER_BYTES];
    let bytes = data.len().min(block.len());
    block[..bytes].copy_from_slice(&data[..bytes]);
    let crc = crc32fast::hash(&block[12..]);
    block[8..12].copy_from_slice(&crc.to_le_bytes());
    if let Ok(header) = SegmentHeader::decode(&block) {
        let mut again = [0xaa; SEGMENT_HEADER_BYTES];
        header.encode(&mut again);
        assert_eq!(again, block, "only what encoding writes is accepted");
    }
}
