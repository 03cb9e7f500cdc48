//! Any bytes as frames between nodes: never a panic, frames that do not depend on how the bytes were cut into pieces, and that
//! are written again as they came.
#![no_main]

use annulus_net::peer_frame::{FrameDecoder, FrameError, HEADER_BYTES, Label, decode_one, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&piece_bytes, data)) = data.split_first() else {
        return;
    };
    let bytes = repaired(data);
    assert_eq!(decode(data, usize::MAX), decode(data, usize::from(piece_bytes) + 1));
    let (frames, error) = decode(&bytes, usize::from(piece_bytes) + 1);
    assert_eq!((&frames, error), (&decode(&bytes, usize::MAX).0, error));
    let mut again = Vec::new();
    for (label, payload) in &frames {
        let start = again.len();
        write(*label, [payload, &[]], &mut again);
        assert!(decode_one(&again[start..], payload.len()).is_ok());
    }
    assert!(bytes.starts_with(&again), "only what encoding writes is accepted");
});

type Frames = Vec<(Label, Vec<u8>)>;

fn decode(bytes: &[u8], piece_bytes: usize) -> (Frames, Option<FrameError>) {
    let mut decoder = FrameDecoder::new();
    let mut frames = Vec::new();
    for mut piece in bytes.chunks(piece_bytes) {
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(frame)) => frames.push((frame.label, frame.payload.to_vec())),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// The same bytes with right checksums, as far as frames follow each other; else hardly anything would get past them.
fn repaired(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    let mut at = 0;
    while let Some(header) = bytes.get(at..at + HEADER_BYTES) {
        let payload_bytes = u16::from_le_bytes([header[4], header[5]]) as usize;
        bytes[at + 6..at + 8].fill(0);
        let end = at + HEADER_BYTES + payload_bytes;
        let Some(frame) = bytes.get(at + 4..end) else { break };
        let crc = crc32fast::hash(frame);
        bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
        at = end;
    }
    bytes
}
