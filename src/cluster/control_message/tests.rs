//! What is written is read; what is cut, changed or out of order is refused.

use super::{
    BadMessage, ControlMessage, Unchecked, write_ask_members, write_compare, write_entries, write_members, write_probe,
    write_probe_reply, write_pull,
};
use crate::datagram::News;
use crate::ids::NodeId;
use crate::limits::{ControlLimits, FORGOTTEN_MAX};
use crate::membership::EntryStamp;

fn limits() -> ControlLimits {
    ControlLimits { entry_bytes_max: 100, message_bytes_max: 400, members_max: 20, ..ControlLimits::default() }
}

fn nodes(numbers: impl IntoIterator<Item = u64>) -> Vec<NodeId> {
    numbers.into_iter().map(NodeId::new).collect()
}

fn news(number: u64) -> News {
    News { node: NodeId::new(number), stamp: EntryStamp { version: number * 3, digest: number << 40 } }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    // Messages are appended to what is there.
    let mut out = vec![7; 3];
    write(&mut out);
    out.split_off(3)
}

/// Entry of node n: n bytes.
fn entries(numbers: impl IntoIterator<Item = u64>, answers_compare: bool) -> (Vec<u8>, Vec<NodeId>) {
    let mut rest = nodes(numbers).into_iter().peekable();
    let entry =
        |node: NodeId, out: &mut Vec<u8>| out.extend(std::iter::repeat_n(9, usize::try_from(node.raw()).unwrap()));
    let bytes = written(|out| {
        write_entries(
            out,
            answers_compare,
            &mut rest,
            |node, out| {
                if node.raw() != 13 {
                    entry(node, out)
                }
            },
            &limits(),
        );
    });
    (bytes, rest.collect())
}

fn samples() -> Vec<Vec<u8>> {
    vec![
        written(write_ask_members),
        written(|out| write_members(out, |out| out.extend_from_slice(b"members"))),
        written(|out| write_compare(out, [news(1), news(5), news(9)].into_iter())),
        written(|out| write_pull(out, nodes([2, 3]).into_iter())),
        entries([3, 4], true).0,
        written(|out| write_probe(out, u64::MAX)),
        written(|out| write_probe_reply(out, 5)),
    ]
}

#[test]
fn what_is_written_is_read() {
    let mut seen = Vec::new();
    for bytes in samples() {
        seen.push(match Unchecked(&bytes).check(&limits()).unwrap() {
            ControlMessage::AskMembers => "ask".into(),
            ControlMessage::Members(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            ControlMessage::Compare(stamps) => format!("{}", stamps.iter().eq([news(1), news(5), news(9)])),
            ControlMessage::Pull(wanted) => format!("{:?}", wanted.iter().collect::<Vec<_>>()),
            ControlMessage::Entries { entries, answers_compare, is_last } => {
                let sizes: Vec<_> = entries.iter().map(|(node, bytes)| (node, bytes.len())).collect();
                format!("{sizes:?} {answers_compare} {is_last}")
            }
            ControlMessage::Probe(number) => format!("probe {number:x}"),
            ControlMessage::ProbeReply(number) => format!("reply {number}"),
        });
    }
    let expected =
        ["ask", "members", "true", "[n2, n3]", "[(n3, 3), (n4, 4)] true true", "probe ffffffffffffffff", "reply 5"];
    assert_eq!(seen, expected);
}

#[test]
fn entries_that_do_not_fit_are_left_for_the_next_message() {
    let (bytes, rest) = entries(80..90, false);
    assert_eq!(rest, nodes(84..90), "four times 90 bytes are within 400, if each may have 100");
    let message = Unchecked(&bytes).check(&limits()).unwrap();
    assert!(matches!(message, ControlMessage::Entries { answers_compare: false, is_last: false, .. }));
    // An entry that is not there takes no place.
    let (bytes, rest) = entries([13], false);
    assert_eq!((bytes.len(), rest), (super::HEADER_BYTES, vec![]));
    let message = Unchecked(&bytes).check(&limits()).unwrap();
    assert!(matches!(message, ControlMessage::Entries { is_last: true, .. }));
}

#[test]
fn no_message_is_read_that_is_cut_or_has_more() {
    for (kind, mut bytes) in samples().into_iter().enumerate() {
        for end in 0..bytes.len() {
            assert!(Unchecked(&bytes[..end]).check(&limits()).is_err(), "kind {kind}, {end} bytes");
        }
        bytes.push(0);
        assert!(Unchecked(&bytes).check(&limits()).is_err(), "kind {kind}");
        // The length agrees, but the body is none.
        bytes[4] += 1;
        assert!(kind == 1 || Unchecked(&bytes).check(&limits()).is_err(), "kind {kind}");
    }
}

#[test]
fn no_byte_can_be_changed_into_a_panic() {
    for bytes in samples() {
        for at in 0..bytes.len() {
            for value in [0, 1, 2, 3, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                match Unchecked(&changed).check(&limits()) {
                    Ok(ControlMessage::Compare(stamps)) => assert!(stamps.iter().count() <= 3),
                    Ok(ControlMessage::Pull(wanted)) => assert!(wanted.iter().count() <= 2),
                    Ok(ControlMessage::Entries { entries, .. }) => assert!(entries.iter().count() <= 2),
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn what_no_encoder_writes_is_refused() {
    let check = |bytes: &[u8]| Unchecked(bytes).check(&limits()).map(|_| ()).unwrap_err();
    let twice = written(|out| write_pull(out, nodes([3, 3]).into_iter()));
    assert_eq!(check(&twice), BadMessage::Malformed);
    let falling = written(|out| write_compare(out, [news(5), news(1)].into_iter()));
    assert_eq!(check(&falling), BadMessage::Malformed);
    let many = written(|out| write_pull(out, nodes(1..=21 + FORGOTTEN_MAX as u64).into_iter()));
    assert_eq!(check(&many), BadMessage::Malformed);
    assert_eq!(check(&[1, 99, 0, 0, 0, 0, 0, 0]), BadMessage::Kind(99));
    assert_eq!(check(&[2, 1, 0, 0, 0, 0, 0, 0]), BadMessage::Format(2));
    assert_eq!(check(&[1, 1, 1, 0, 0, 0, 0, 0]), BadMessage::Malformed, "a flag that the kind does not have");
    assert_eq!(check(&vec![1; 80_000]), BadMessage::TooLong);
    let mut long = entries([50], false).0;
    long[super::HEADER_BYTES + 6] = 101;
    long.resize(super::HEADER_BYTES + 10 + 101, 0);
    long[4] = 111;
    assert_eq!(check(&long), BadMessage::Malformed, "an entry beyond the limit");
}
