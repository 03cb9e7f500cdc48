//! What travels, what is taken for a reply, and what is waited for.

use annulus_cluster::ids::NodeId;
use annulus_net::resp::Protocol;

use super::*;
use crate::core_inbox::PeerCore;
use crate::waiting::ReplyTo;

#[test]
fn messages_are_read_as_they_were_written() {
    for (protocol, partition) in
        [(Protocol::Resp2, 0), (Protocol::Resp3, step_until(16_384)), (Protocol::Resp3, 16_383)]
    {
        let mut bytes = Vec::new();
        let flags = RequestFlags::new(protocol, partition);
        encode_command(&mut bytes, u64::MAX, flags, &[b"KEYS", b"*"]);
        assert_eq!(decode_command(&bytes), Some((u64::MAX, flags, &b"*2\r\n$4\r\nKEYS\r\n$1\r\n*\r\n"[..])));
        assert!((0..12).all(|end| decode_command(&bytes[..end]).is_none()));
        bytes[11] = 1;
        assert_eq!(decode_command(&bytes), None, "bits that mean nothing");
    }
    assert_eq!(
        (step_end(step_until(16_384)), step_end(step_until(1)), step_end(16_383)),
        (Some(16_384), Some(1), None)
    );
    let mut bytes = Vec::new();
    encode_reply(&mut bytes, 5, b":1\r\n");
    assert_eq!(decode_reply(&bytes), Some((5, &b":1\r\n"[..])));
    assert_eq!(decode_reply(&bytes[..7]), None);
}

#[test]
fn a_reply_is_whole_and_of_its_kind() {
    let step = Expected::Step { from: Position::at(3), end: 5 };
    let late = format!("*2\r\n$16\r\n{}\r\n*0\r\n", Position { partition: 4, hash: 1 << 20 }.cursor());
    let early = format!("*2\r\n$16\r\n{}\r\n*0\r\n", Position::at(3).cursor());
    let beyond = format!("*2\r\n$16\r\n{}\r\n*0\r\n", Position::at(5).cursor());
    let cases: [(Expected, &[&str], &[&str]); 4] = [
        (Expected::Count, &[":0\r\n", ":12\r\n"], &[":-1\r\n", "$1\r\n1\r\n", ":1\r\n:2\r\n", "", ":1", "*0\r\n"]),
        (
            Expected::Keys,
            &["*0\r\n", "*1\r\n$1\r\na\r\n"],
            &["*1\r\n", "*1\r\n:1\r\n", "*1\r\n$-1\r\n", "*-1\r\n", "~0\r\n"],
        ),
        (Expected::Key, &["$-1\r\n", "_\r\n", "$1\r\na\r\n"], &["*0\r\n", "+a\r\n", "$1\r\na\r\nb", "$2\r\na\r\n"]),
        (
            step,
            &["*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n", &late],
            &[
                "*2\r\n$1\r\nx\r\n*0\r\n",
                "*1\r\n$1\r\n0\r\n",
                "*2\r\n$1\r\n0\r\n*1\r\n:1\r\n",
                "*2\r\n:0\r\n*0\r\n",
                &early,
                &beyond,
            ],
        ),
    ];
    for (expected, right, wrong) in cases {
        assert!(right.iter().all(|reply| expected.accepts(reply.as_bytes())), "{expected:?}");
        assert!(expected.accepts(b"-BUSY later\r\n") && !expected.accepts(b"-BUSY later"));
        for reply in wrong {
            assert!(!expected.accepts(reply.as_bytes()), "{expected:?} {reply:?}");
        }
    }
    let found = read_step(b"*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$2\r\nbc\r\n", Position::at(3), 5).unwrap();
    assert_eq!(found, StepReply { reached: Position::at(5), found: 2, keys: b"$1\r\na\r\n$2\r\nbc\r\n" });
}

#[test]
fn each_part_that_is_waited_for_ends_once() {
    let peer = |node, core| PeerCore { node: NodeId::new(node), core };
    let given =
        |peer, deadline_us| Given { peer, to: ReplyTo::Nobody, expected: Expected::Count, since_us: 0, deadline_us };
    let mut asked = Asked::default();
    let tokens: Vec<u64> = (1..=4).map(|node| asked.insert(given(peer(node, 0), node * 10))).collect();
    // Only by whom it was given.
    assert_eq!(asked.replied(peer(2, 0), tokens[0]), None);
    assert_eq!(asked.replied(peer(1, 1), tokens[0]), None);
    assert!(asked.replied(peer(1, 0), tokens[0]).is_some() && asked.replied(peer(1, 0), tokens[0]).is_none());
    assert_eq!(asked.next_late(19), None);
    assert_eq!(asked.next_late(20).map(|given| given.peer), Some(peer(2, 0)));
    assert!(asked.next_of(NodeId::new(3)).is_some() && asked.next_of(NodeId::new(3)).is_none());
    assert_eq!((asked.len(), asked.is_empty()), (1, false));
    assert!(asked.insert(given(peer(1, 0), 1)) > tokens[3], "no token is given twice");
    assert!(
        asked.has_room(crate::limits::REMOTE_ASKED_MAX - 2) && !asked.has_room(crate::limits::REMOTE_ASKED_MAX - 1)
    );
}
