//! Frames at every split, cut and damage.

use proptest::prelude::*;

use super::*;

fn framed(label: Label, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write(label, [payload, &[]], &mut out);
    out
}

/// What a decoder finds when the bytes come in pieces of that length.
fn decode(bytes: &[u8], piece_bytes: usize) -> (Vec<(Label, Vec<u8>)>, Option<FrameError>) {
    let mut decoder = FrameDecoder::new();
    let mut frames = Vec::new();
    for mut piece in bytes.chunks(piece_bytes.max(1)) {
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(frame)) => frames.push((frame.label, frame.payload.to_vec())),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        assert!(piece.is_empty(), "with no frame left nothing is left");
        assert!(decoder.unfinished_bytes() < HEADER_BYTES + PAYLOAD_BYTES_MAX);
    }
    (frames, None)
}

#[test]
fn what_is_written_is_read_however_it_is_cut() {
    let frames = [
        (Label::message(1), b"first".to_vec()),
        (Label { channel: CHANNEL_CHUNK, flags: FLAG_FIRST, stream: 77 }, vec![7; 3000]),
        (Label::message(9), Vec::new()),
        (Label { channel: CHANNEL_QUESTION, flags: 0, stream: u32::MAX }, Vec::new()),
    ];
    let bytes: Vec<u8> = frames.iter().flat_map(|(label, payload)| framed(*label, payload)).collect();
    for piece_bytes in (1..40).chain([1000, 2999, bytes.len() - 1, bytes.len()]) {
        assert_eq!(decode(&bytes, piece_bytes), (frames.to_vec(), None), "pieces of {piece_bytes} bytes");
    }
}

#[test]
fn a_frame_that_came_whole_is_lent_and_not_copied() {
    let bytes = framed(Label::message(1), b"payload");
    let mut decoder = FrameDecoder::new();
    let mut rest = &bytes[..];
    let frame = decoder.next(&mut rest).unwrap().unwrap();
    assert!(std::ptr::eq(frame.payload, &raw const bytes[HEADER_BYTES..]));
}

#[test]
fn no_flipped_bit_passes() {
    let bytes = framed(Label { channel: 3, flags: 0, stream: 5 }, b"some payload");
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // A length that has become larger is waited for, in vain.
        let (frames, error) = decode(&flipped, usize::MAX);
        assert!(frames.is_empty(), "bit {bit}");
        let is_longer = (4..8).contains(&(bit / 8)) && error.is_none();
        assert!(error.is_some() || is_longer, "bit {bit}");
        assert!(decode_one(&flipped, PAYLOAD_BYTES_MAX).is_err());
    }
}

#[test]
fn a_frame_is_not_cut_short() {
    let bytes = framed(Label::message(1), b"payload");
    for end in 0..bytes.len() {
        assert_eq!(decode(&bytes[..end], usize::MAX), (Vec::new(), None));
        assert_eq!(decode_one(&bytes[..end], PAYLOAD_BYTES_MAX), Err(FrameError::Malformed));
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(decode_one(&longer, PAYLOAD_BYTES_MAX), Err(FrameError::Malformed));
}

#[test]
fn nothing_is_kept_for_a_length_that_may_not_be() {
    let mut bytes = framed(Label::message(1), b"payload");
    bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut decoder = FrameDecoder::new();
    let mut rest = &bytes[..HEADER_BYTES];
    let error = decoder.next(&mut rest).unwrap_err();
    assert_eq!(error, FrameError::TooLong { bytes: u32::MAX as usize, most: PAYLOAD_BYTES_MAX });
    assert_eq!(decoder.unfinished.capacity(), 0);
    let longest = framed(Label::message(1), &vec![1; PAYLOAD_BYTES_MAX]);
    assert_eq!(decode(&longest, 4096).0.len(), 1);
}

#[test]
fn a_long_frame_does_not_keep_its_memory() {
    let bytes = framed(Label::message(1), &vec![1; PAYLOAD_BYTES_MAX]);
    let mut decoder = FrameDecoder::new();
    for mut piece in bytes.chunks(16 << 10) {
        while decoder.next(&mut piece).unwrap().is_some() {}
    }
    assert!(decoder.unfinished.capacity() <= FrameDecoder::KEEP_BYTES);
}

proptest! {
    #[test]
    fn noise_never_panics_and_does_not_depend_on_cuts(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        payload in prop::collection::vec(any::<u8>(), 0..40),
        piece_bytes in 1_usize..50,
    ) {
        // A right frame first, so that noise comes in every state.
        let mut bytes = [framed(Label::message(2), &payload), bytes].concat();
        prop_assert_eq!(decode(&bytes, bytes.len()), decode(&bytes, piece_bytes));
        // With a length that may be, the rest of the decoder is reached.
        let at = HEADER_BYTES + payload.len();
        if bytes.len() >= at + HEADER_BYTES {
            bytes[at + 5..at + 8].fill(0);
            prop_assert_eq!(decode(&bytes, bytes.len()), decode(&bytes, piece_bytes));
        }
    }
}
