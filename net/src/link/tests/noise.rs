//! Whatever comes on a link: never a panic, never more held than the limits say.

use proptest::prelude::*;

use super::super::*;
use super::SMALL;
use crate::peer_frame::HEADER_BYTES;

/// A frame as no honest sender may write it, with a right checksum.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let channel = prop_oneof![Just(CHANNEL_CHUNK), Just(CHANNEL_QUESTION), Just(CHANNEL_ANSWER), any::<u8>()];
    let payload = prop::collection::vec(any::<u8>(), 0..60);
    let head = prop_oneof![Just(None), (0_u32..1200, 0_u8..4).prop_map(Some)];
    (channel, 0_u8..3, 0_u32..4, payload, head).prop_map(|(channel, flags, stream, payload, head)| {
        let head = head.map_or(Vec::new(), |(total, channel)| [&total.to_le_bytes()[..], &[channel, 0, 0, 0]].concat());
        let mut out = Vec::new();
        write(Label { channel, flags, stream }, [&head, &payload], &mut out);
        out
    })
}

proptest! {
    #[test]
    fn any_frames_and_noise_end_in_messages_or_in_an_error(
        frames in prop::collection::vec(any_frame(), 0..12),
        noise in prop::collection::vec(any::<u8>(), 0..HEADER_BYTES * 2),
        piece_bytes in 1_usize..200,
    ) {
        let bytes = [frames.concat(), noise].concat();
        let mut link = Link::new(SMALL, 0);
        let mut delivered = 0;
        for piece in bytes.chunks(piece_bytes) {
            let result = link.on_received(piece, 0, &mut |channel, message| {
                assert!(channel < CHANNELS_RESERVED && message.len() <= crate::peer_frame::PAYLOAD_BYTES_MAX);
                delivered += 1;
            });
            prop_assert!(link.streams.announced_bytes() <= SMALL.stream_bytes_max);
            if result.is_err() {
                return Ok(());
            }
        }
        prop_assert_eq!(link.counts().messages_in, delivered);
    }

    #[test]
    fn every_message_arrives_once_whatever_its_length(
        sizes in prop::collection::vec(prop_oneof![0_usize..99, 99_usize..300, 900_usize..1001], 0..20),
        piece_bytes in 1_usize..500,
    ) {
        let (mut a, mut b) = (Link::new(SMALL, 0), Link::new(SMALL, 0));
        let (mut sent, mut delivered) = (Vec::new(), Vec::new());
        for (number, bytes) in (0_u8..).zip(sizes) {
            let message = [vec![number], vec![0; bytes.saturating_sub(1)]].concat();
            while a.send(number % 5, &message).is_err() {
                let buffer = a.take_output(0).expect("a full queue has output");
                for piece in buffer.chunks(piece_bytes) {
                    b.on_received(piece, 0, &mut |channel, message| delivered.push((channel, message.to_vec()))).unwrap();
                }
                a.on_sent(buffer, 0);
            }
            sent.push((number % 5, message));
        }
        delivered.extend(super::carry(&mut a, &mut b, 0));
        delivered.sort_by_key(|(_, message)| message[0]);
        prop_assert_eq!(sent, delivered);
        prop_assert_eq!((a.queued_bytes(), a.queued_messages(), b.streams.announced_bytes()), (0, 0, 0));
    }
}
