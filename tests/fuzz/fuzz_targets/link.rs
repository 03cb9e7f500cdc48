//! Any frames on a link, with right checksums: never a panic, messages that do not depend on how the bytes were cut into pieces,
//! and no more held than the limits say. What the other link makes of the messages is what was sent.
#![no_main]

use annulus_net::limits::LinkLimits;
use annulus_net::link::{Link, LinkError};
use annulus_net::peer_frame::{CHANNELS_RESERVED, Label, write};
use libfuzzer_sys::fuzz_target;

const LIMITS: LinkLimits = LinkLimits {
    message_bytes_max: 600,
    chunk_bytes: 50,
    queue_bytes_max: 2000,
    queue_messages_max: 20,
    output_bytes: 200,
    streams_max: 3,
    stream_bytes_max: 1000,
    ..LinkLimits::PRODUCTION
};

type Messages = Vec<(u8, Vec<u8>)>;

fuzz_target!(|data: &[u8]| {
    let Some((&piece_bytes, data)) = data.split_first() else {
        return;
    };
    let piece_bytes = usize::from(piece_bytes) + 1;
    let bytes = frames(data);
    let (whole, error) = receive(&bytes, usize::MAX);
    assert_eq!((&whole, &error), (&receive(&bytes, piece_bytes).0, &receive(&bytes, piece_bytes).1));
    let mut link = Link::new(LIMITS, 0);
    let taken: Messages = whole.into_iter().filter(|(channel, message)| link.send(*channel, message).is_ok()).collect();
    let mut sent = Vec::new();
    while let Some(buffer) = link.take_output(0) {
        sent.extend_from_slice(&buffer);
        link.on_sent(buffer, 0);
    }
    let (mut again, error) = receive(&sent, piece_bytes);
    assert_eq!(error, None);
    // Short ones pass long ones.
    let mut taken = taken;
    taken.sort();
    again.sort();
    assert_eq!(again, taken);
});

/// Each frame: channel, flags, stream, length, and so many bytes.
fn frames(mut data: &[u8]) -> Vec<u8> {
    const CHANNELS: [u8; 8] = [0xf0, 0xf0, 0xf0, 0xf1, 0xf2, 0xff, 1, 2];
    let mut out = Vec::new();
    while let Some(([channel, flags, stream, bytes], rest)) = data.split_first_chunk() {
        let (payload, rest) = rest.split_at(usize::from(*bytes).min(rest.len()));
        let channel = CHANNELS[usize::from(*channel % 8)];
        let label = Label { channel, flags: flags % 3, stream: u32::from(stream % 5) };
        write(label, [payload, &[]], &mut out);
        data = rest;
    }
    out
}

fn receive(bytes: &[u8], piece_bytes: usize) -> (Messages, Option<LinkError>) {
    let mut link = Link::new(LIMITS, 0);
    let mut messages = Vec::new();
    for piece in bytes.chunks(piece_bytes) {
        let result = link.on_received(piece, 0, &mut |channel, message| {
            assert!(channel < CHANNELS_RESERVED);
            messages.push((channel, message.to_vec()));
        });
        if let Err(error) = result {
            return (messages, Some(error));
        }
        let _ = link.tick(0);
        if let Some(buffer) = link.take_output(0) {
            link.on_sent(buffer, 0);
        }
    }
    (messages, None)
}
