//! Two links and what lies between them.

mod noise;

use super::*;

const MS: u64 = 1000;

/// Small enough for a test to come to every limit.
const SMALL: LinkLimits = LinkLimits {
    message_bytes_max: 1000,
    chunk_bytes: 100,
    queue_bytes_max: 1500,
    queue_messages_max: 20,
    output_bytes: 400,
    streams_max: 3,
    stream_bytes_max: 2000,
    ..LinkLimits::PRODUCTION
};

type Delivered = Vec<(u8, Vec<u8>)>;

fn link() -> Link {
    Link::new(SMALL, 0)
}

fn message(bytes: usize, fill: u8) -> Vec<u8> {
    vec![fill; bytes]
}

/// Takes the next buffer of `from` to `to`; false when there is none.
fn carry_one(from: &mut Link, to: &mut Link, delivered: &mut Delivered, now_us: u64) -> bool {
    let Some(buffer) = from.take_output(now_us) else {
        return false;
    };
    to.on_received(&buffer, now_us, &mut |channel, message| delivered.push((channel, message.to_vec()))).unwrap();
    from.on_sent(buffer, now_us);
    true
}

fn carry(from: &mut Link, to: &mut Link, now_us: u64) -> Delivered {
    let mut delivered = Vec::new();
    while carry_one(from, to, &mut delivered, now_us) {}
    delivered
}

#[test]
fn all_that_a_turn_has_sent_leaves_as_one_buffer() {
    let (mut a, mut b) = (link(), link());
    a.send(1, b"one").unwrap();
    a.send(2, b"").unwrap();
    a.send(1, b"three").unwrap();
    let buffer = a.take_output(0).unwrap();
    assert!(a.take_output(0).is_none() && !a.has_output(), "one buffer is away at a time");
    let mut delivered = Vec::new();
    b.on_received(&buffer, 0, &mut |channel, message| delivered.push((channel, message.to_vec()))).unwrap();
    assert_eq!(delivered, [(1, b"one".to_vec()), (2, Vec::new()), (1, b"three".to_vec())]);
    a.send(1, b"four").unwrap();
    assert!(a.take_output(0).is_none());
    a.on_sent(buffer, 0);
    assert_eq!(carry(&mut a, &mut b, 0), [(1, b"four".to_vec())]);
    assert_eq!((a.queued_bytes(), a.queued_messages()), (0, 0));
    let (out, arrived) = (a.counts(), b.counts());
    assert_eq!((out.messages_out, out.bytes_out), (4, arrived.bytes_in));
    assert_eq!(arrived.messages_in, 4);
}

#[test]
fn a_buffer_that_came_back_is_filled_again() {
    let (mut a, mut b) = (link(), link());
    for _ in 0..3 {
        a.send(1, &message(90, 1)).unwrap();
        carry(&mut a, &mut b, 0);
    }
    // Three rounds have shown both buffers: none is made after that.
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..10 {
        a.send(1, &message(90, 1)).unwrap();
        let buffer = a.take_output(0).unwrap();
        seen.insert(buffer.as_ptr());
        a.on_sent(buffer, 0);
    }
    assert!(seen.len() <= 2, "{}", seen.len());
}

#[test]
fn what_waits_is_bounded_and_the_longest_message_fits() {
    let mut a = link();
    assert_eq!(a.send(1, &message(1001, 0)), Err(SendError::TooLong { bytes: 1001, most: 1000 }));
    a.send(1, &message(1000, 0)).unwrap();
    a.send(1, &message(1000, 0)).unwrap();
    assert_eq!(a.send(1, b""), Err(SendError::Full));
    assert_eq!((a.queued_messages(), a.counts().messages_out), (2, 2));
    let mut b = link();
    assert_eq!(carry(&mut a, &mut b, 0).len(), 2);
    for _ in 0..20 {
        a.send(1, b"").unwrap();
    }
    assert_eq!(a.send(1, b""), Err(SendError::Full), "messages are counted as well");
}

#[test]
fn short_messages_pass_a_long_one() {
    let (mut a, mut b) = (link(), link());
    let long = message(950, 9);
    a.send(1, &long).unwrap();
    let mut delivered = Vec::new();
    for round in 0..5 {
        a.send(2, &[round]).unwrap();
        // Whatever was sent before, a short message waits for one chunk at most.
        assert!(carry_one(&mut a, &mut b, &mut delivered, 0) && carry_one(&mut a, &mut b, &mut delivered, 0));
        assert_eq!(delivered.last(), Some(&(2, vec![round])));
    }
    assert_eq!(carry(&mut a, &mut b, 0), [(1, long)]);
}

#[test]
fn long_messages_take_turns_and_no_more_begin_than_the_other_end_takes() {
    let (mut a, mut b) = (Link::new(LinkLimits { queue_bytes_max: 1 << 20, ..SMALL }, 0), link());
    let sizes = [900, 150, 1000, 300, 101, 1000];
    for (fill, bytes) in (0..).zip(sizes) {
        a.send(1, &message(bytes, fill)).unwrap();
    }
    // The receiver's limits are the smaller ones: it would refuse a fourth, or more than 2000 bytes.
    let delivered = carry(&mut a, &mut b, 0);
    let order: Vec<u8> = delivered.iter().map(|(_, message)| message[0]).collect();
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [0, 1, 2, 3, 4, 5]);
    assert_eq!(order[0], 1, "the shortest of the first is through first");
    assert!(delivered.iter().all(|(_, message)| message.len() == sizes[usize::from(message[0])]));
    assert_eq!(a.queued_bytes(), 0);
}

#[test]
fn messages_survive_being_cut_anywhere() {
    let mut a = link();
    let sent = [(1, message(3, 1)), (2, message(250, 2)), (3, message(100, 3)), (4, Vec::new())];
    sent.iter().for_each(|(channel, message)| a.send(*channel, message).unwrap());
    let mut bytes = Vec::new();
    while let Some(buffer) = a.take_output(0) {
        bytes.extend_from_slice(&buffer);
        a.on_sent(buffer, 0);
    }
    for piece_bytes in 1..bytes.len() {
        let mut b = link();
        let mut delivered = Vec::new();
        for piece in bytes.chunks(piece_bytes) {
            b.on_received(piece, 0, &mut |channel, message| delivered.push((channel, message.to_vec()))).unwrap();
        }
        delivered.sort();
        assert_eq!(delivered, sent, "pieces of {piece_bytes} bytes");
    }
}

fn chunk(flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write(Label { channel: CHANNEL_CHUNK, flags, stream }, [payload, &[]], &mut out);
    out
}

fn first(stream: u32, total: u32, channel: u8, part: &[u8]) -> Vec<u8> {
    let head = [&total.to_le_bytes()[..], &[channel, 0, 0, 0], part].concat();
    chunk(1, stream, &head)
}

fn receive(frames: &[Vec<u8>]) -> Result<usize, LinkError> {
    let mut b = link();
    let mut delivered = 0;
    b.on_received(&frames.concat(), 0, &mut |_, _| delivered += 1).map(|()| delivered)
}

#[test]
fn chunks_that_nobody_sends_end_the_link() {
    use StreamError::{Malformed, TooLong, TooMany, Twice, Unknown};
    let part = message(10, 7);
    assert_eq!(receive(&[first(5, 20, 1, &part), chunk(0, 5, &part)]), Ok(1));
    let refused = |frames: &[Vec<u8>], why: StreamError| assert_eq!(receive(frames), Err(LinkError::Stream(why)));
    refused(&[chunk(0, 5, &part)], Unknown);
    refused(&[first(5, 20, 1, &part), chunk(0, 6, &part)], Unknown);
    refused(&[first(5, 20, 1, &part), first(5, 20, 1, &part)], Twice);
    refused(&[first(5, 15, 1, &part), chunk(0, 5, &part)], Malformed);
    refused(&[first(5, 20, 1, &[])], Malformed);
    refused(&[first(5, 0, 1, &[])], Malformed);
    refused(&[first(5, 20, 1, &part), chunk(0, 5, &[])], Malformed);
    refused(&[first(5, 20, CHANNELS_RESERVED, &part)], Malformed);
    refused(&[chunk(1, 5, &[0; 7])], Malformed);
    refused(&[chunk(2, 5, &part)], Malformed);
    refused(&[first(5, 1001, 1, &part)], TooLong(1001));
    refused(&[first(1, 20, 1, &part), first(2, 20, 1, &part), first(3, 20, 1, &part), first(4, 20, 1, &part)], TooMany);
    refused(&[first(1, 1000, 1, &part), first(2, 1000, 1, &part), first(3, 20, 1, &part)], TooMany);
}

#[test]
fn frames_that_do_not_belong_on_a_link_end_it() {
    for (channel, flags, stream, payload) in [
        (crate::peer_frame::CHANNEL_HANDSHAKE, 0, 0, &b""[..]),
        (0xf3, 0, 0, b""),
        (1, 1, 0, b"marked"),
        (1, 0, 9, b"numbered"),
        (CHANNEL_QUESTION, 0, 0, b"words"),
        (CHANNEL_ANSWER, 1, 0, b""),
    ] {
        let mut frame = Vec::new();
        write(Label { channel, flags, stream }, [payload, &[]], &mut frame);
        assert_eq!(receive(&[frame]), Err(LinkError::Misplaced(channel)));
    }
}

/// Lets time pass for both, and carries what they say; how many buffers that were.
fn idle(a: &mut Link, b: &mut Link, now_us: &mut u64, for_us: u64) -> usize {
    let end = *now_us + for_us;
    let mut buffers = 0;
    while *now_us < end {
        *now_us += 20 * MS;
        assert_ne!(a.tick(*now_us), Standing::Dead);
        assert_ne!(b.tick(*now_us), Standing::Dead);
        let mut none = Vec::new();
        loop {
            let carried =
                usize::from(carry_one(a, b, &mut none, *now_us)) + usize::from(carry_one(b, a, &mut none, *now_us));
            buffers += carried;
            if carried == 0 {
                break;
            }
        }
        assert!(none.is_empty());
    }
    buffers
}

#[test]
fn idle_ends_question_each_other_now_and_then_and_stay_alive() {
    let (mut a, mut b) = (link(), link());
    let mut now_us = 0;
    let buffers = idle(&mut a, &mut b, &mut now_us, 60_000 * MS);
    assert!((60..=130).contains(&buffers), "a question and an answer a second: {buffers}");
}

#[test]
fn an_answer_that_is_owed_is_asked_for_early() {
    let (mut a, mut b) = (link(), link());
    a.send(1, b"a question of the protocol's").unwrap();
    carry(&mut a, &mut b, 0);
    assert_eq!((a.tick(249 * MS), a.has_output()), (Standing::Alive, false));
    assert_eq!((a.tick(250 * MS), a.has_output()), (Standing::Doubtful, true));
    carry(&mut a, &mut b, 250 * MS);
    assert!(a.is_doubtful());
    assert_eq!((a.tick(600 * MS), a.has_output()), (Standing::Doubtful, false), "it is asked once");
    carry(&mut b, &mut a, 610 * MS);
    assert!(!a.is_doubtful());
    assert_eq!(a.tick(1000 * MS), Standing::Alive);
}

#[test]
fn who_does_not_answer_is_dead_after_a_second_and_an_idle_one_after_two() {
    let (mut a, mut b) = (link(), link());
    a.send(1, b"hello").unwrap();
    carry(&mut a, &mut b, 100 * MS);
    let when = |link: &mut Link, from: u64| {
        (from..).step_by(10).find(|ms| {
            let standing = link.tick(ms * MS);
            if let Some(lost) = link.take_output(ms * MS) {
                link.on_sent(lost, ms * MS);
            }
            standing == Standing::Dead
        })
    };
    assert_eq!(when(&mut a, 100), Some(1100));
    assert_eq!(when(&mut link(), 0), Some(2000));
}

#[test]
fn whoever_takes_bytes_slowly_is_alive_and_who_takes_none_is_not() {
    let mut a = Link::new(LinkLimits { queue_bytes_max: 1 << 20, queue_messages_max: 1 << 20, ..SMALL }, 0);
    for _ in 0..100 {
        a.send(1, &message(100, 0)).unwrap();
    }
    // Every buffer takes 500 ms to be sent: the other end has room for it then.
    let mut buffer = a.take_output(0).unwrap();
    for round in 1..12 {
        let now_us = round * 500 * MS;
        assert_ne!(a.tick(now_us), Standing::Dead, "at {now_us}");
        a.on_sent(buffer, now_us);
        buffer = a.take_output(now_us).unwrap();
    }
    assert_eq!(a.tick(7000 * MS), Standing::Dead);
    // Those that are sent at once show nothing: the kernel takes bytes for a node that is gone.
    let mut a = link();
    for ms in (0..1000).step_by(100) {
        assert_ne!(a.tick(ms * MS), Standing::Dead);
        a.send(1, b"into the void").unwrap();
        let buffer = a.take_output(ms * MS).unwrap();
        a.on_sent(buffer, ms * MS);
    }
    assert_eq!(a.tick(1000 * MS), Standing::Dead);
}

#[test]
fn what_waited_for_the_connection_does_not_make_it_look_dead() {
    let (mut a, mut b) = (link(), link());
    a.send(1, b"waits").unwrap();
    a.begin(10_000 * MS);
    assert_eq!(a.tick(10_000 * MS), Standing::Alive);
    assert_eq!(carry(&mut a, &mut b, 10_000 * MS).len(), 1);
}

#[test]
fn a_question_waits_for_one_buffer_and_not_for_the_queue() {
    let mut a = Link::new(LinkLimits { queue_bytes_max: 1 << 20, queue_messages_max: 1 << 20, ..SMALL }, 0);
    for _ in 0..100 {
        a.send(1, &message(100, 0)).unwrap();
    }
    let away = a.take_output(0).unwrap();
    a.tick(300 * MS);
    a.on_sent(away, 300 * MS);
    let next = a.take_output(300 * MS).unwrap();
    let mut b = link();
    b.on_received(&next, 300 * MS, &mut |_, _| ()).unwrap();
    assert!(b.has_output(), "the question came with it");
    assert!(a.queued_messages() > 50);
}
