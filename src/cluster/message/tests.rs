//! Every message there and back, cut at every byte, with every byte changed, and noise.

use annulus_object::{Actor, Clock, Context, Object, ObjectView, Sibling};
use proptest::prelude::*;

use super::*;
use crate::versions::encode_of_object;

const BYTES_MAX: usize = 1 << 16;

fn dot(clock: u64, actor: u64) -> Dot {
    Dot::new(Clock::from_raw(clock).unwrap(), Actor::from_raw(actor))
}

fn object() -> Vec<u8> {
    let sibling = |dot: Dot, value: Option<&[u8]>| Sibling {
        dot,
        expires_at_ms: 7,
        value: value.map(<[u8]>::to_vec),
        value_dot: None,
    };
    let mut object = Object::single(sibling(dot(5, 9), Some(b"value")), Context::default());
    object.merge(Object::single(sibling(dot(6, 3), None), Context::default()));
    let mut bytes = Vec::new();
    object.encode(&mut bytes);
    bytes
}

fn versions() -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_of_object(ObjectView::check(&object()).unwrap(), &mut bytes);
    bytes
}

fn context() -> Vec<u8> {
    ObjectView::check(&object()).unwrap().context().bytes().to_vec()
}

/// Calls `visit` with one of every kind, with and without what is optional.
fn visit_all(visit: &mut dyn FnMut(Message<'_>)) {
    let (object, versions, context) = (object(), versions(), context());
    let (object, versions, context) = (&object[..], &versions[..], &context[..]);
    let quorum = Quorum { n: 3, r: 2, w: 1, pr: 4, pw: 5, dw: 6 };
    let (key, hash): (&[u8], u128) = (b"key", 1 << 100 | 77);
    for target in [None, Some(NodeId::new(3))] {
        visit(Message::Write { target, hash, remaining_us: 12, key, object });
    }
    visit(Message::Repair { hash, key: b"", object });
    for is_durable in [false, true] {
        visit(Message::WriteReply(WriteOutcome::Stored { is_durable }));
    }
    REFUSALS.into_iter().for_each(|refusal| visit(Message::WriteReply(WriteOutcome::Refused(refusal))));
    visit(Message::VersionRead { hash, key });
    visit(Message::ObjectRead { hash, key });
    for is_owner in [false, true] {
        visit(Message::VersionReply { is_owner, versions });
        for object in [None, Some(&[][..]), Some(object)] {
            visit(Message::ObjectReply { is_owner, object });
        }
    }
    for (value, context) in
        [(None, None), (Some(&b"v"[..]), None), (None, Some(context)), (Some(&b""[..]), Some(context))]
    {
        for own_last in [None, Some(dot(8, 8))] {
            let put = ForwardPut {
                number: 9,
                hash,
                key,
                value,
                expires_at_ms: 4,
                value_dot: value.and(own_last).map(|_| dot(2, 5)),
                context,
                own_last,
                own_is_alone: own_last.is_some() && value.is_none(),
                quorum,
                deadline_ms: 5,
            };
            visit(Message::ForwardPut(put));
            visit(Message::ForwardGet { hash, key, quorum, deadline_ms: 5, own_last });
        }
    }
    visit(Message::ForwardReply(ForwardOutcome::Written { dot: dot(6, 3), is_alone: true, context }));
    for object in [&[][..], object] {
        for reach in [Reach::Owners, Reach::Nodes, Reach::Fewer] {
            visit(Message::ForwardReply(ForwardOutcome::Found { reach, object }));
        }
    }
    FAILURES.into_iter().for_each(|failure| visit(Message::ForwardReply(ForwardOutcome::Failed(failure))));
    for why in NOT_CARRIED_OUT {
        visit(Message::ForwardReply(ForwardOutcome::NotCarriedOut(why)));
    }
    visit_exchanges(visit);
}

fn visit_exchanges(visit: &mut dyn FnMut(Message<'_>)) {
    let mut visit = |message: ExchangeMessage<'_>| visit(Message::Exchange(message));
    visit(ExchangeMessage::RootRead { cut: 5, root: 6 << 70 | 7 });
    visit(ExchangeMessage::Equal);
    visit(ExchangeMessage::Differs { leaf_bits: 16 });
    for why in [ExchangeRefusal::Ring, ExchangeRefusal::Behind, ExchangeRefusal::Leaves] {
        visit(ExchangeMessage::Refused { why, epoch: 9 });
    }
    let (mut nodes, mut hashes, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    write_nodes([3, 63].into_iter(), &mut nodes);
    let nodes = NodeList::written(&nodes);
    assert!(nodes.iter().eq([3, 63]));
    visit(ExchangeMessage::SumsRead { cut: 5, parent_bits: 6, bits: 12, nodes });
    visit(ExchangeMessage::SumsRead { cut: 5, parent_bits: 0, bits: 0, nodes: NodeList::written(&[0; 4]) });
    let sums = [1_u64.to_le_bytes(), u64::MAX.to_le_bytes()].concat();
    assert!(SumList::written(&sums).iter().eq([1, u64::MAX]));
    visit(ExchangeMessage::Sums(SumList::written(&sums)));
    visit(ExchangeMessage::KeysRead { from: 7, to: u64::MAX });
    let (first, second) = (1 << 64 | 3 << 56, 1 << 64 | 4 << 56);
    [first, second].into_iter().for_each(|hash| write_hash(hash, &mut hashes));
    assert!(HashList::written(&hashes).iter().eq([first, second]));
    visit(ExchangeMessage::Wanted(HashList::written(&hashes)));
    let mut known = crate::versions::Versions::default();
    crate::versions::VersionsView::check(&versions()).unwrap().copy_to(&mut known);
    [first, second].into_iter().for_each(|hash| write_key(hash, &known, &mut keys));
    let keys = KeyList::written(&keys);
    assert!(keys.iter().map(|(hash, _)| hash).eq([first, second]));
    for next in [None, Some(2)] {
        visit(ExchangeMessage::Keys { next, keys });
    }
    let dot = known.siblings[0].0;
    for deletes in [false, true] {
        let mut lone = crate::versions::Versions::default();
        lone.siblings.push((dot, deletes));
        lone.context.insert(dot);
        let mut keys = Vec::new();
        write_key(first, &lone, &mut keys);
        assert_eq!(keys.len(), 9 + 1 + 16, "the short form");
        assert!(KeyList::written(&keys).iter().eq([(first, ToldVersions::Lone(dot, deletes))]));
        visit(ExchangeMessage::Keys { next: None, keys: KeyList::written(&keys) });
    }
    visit(ExchangeMessage::Keys { next: None, keys: KeyList::written(&[]) });
}

const HEADER: Header = Header {
    partition: 1023,
    session: Session(0x1234_5678_9abc_def0),
    request: RequestId(42),
    fingerprint: Fingerprint(7),
    sent_ms: 1_800_000_000_000,
};

fn encoded(message: &Message<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&HEADER, &mut bytes);
    bytes
}

#[test]
fn every_message_comes_back_as_it_went_and_every_cut_is_an_error() {
    let mut count = 0;
    visit_all(&mut |message| {
        count += 1;
        let bytes = encoded(&message);
        assert_eq!(Unverified::new(&bytes).check(BYTES_MAX), Ok((HEADER, message)));
        for end in 0..bytes.len() {
            assert!(Unverified::new(&bytes[..end]).check(BYTES_MAX).is_err(), "{message:?} cut at {end}");
        }
        assert_eq!(Unverified::new(&bytes).check(bytes.len() - 1), Err(MessageError::Length));
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(Unverified::new(&longer).check(BYTES_MAX), Err(MessageError::Length));
    });
    assert!(count > 40);
}

#[test]
fn a_changed_byte_is_an_error_or_another_message() {
    visit_all(&mut |message| {
        let bytes = encoded(&message);
        for at in 0..bytes.len() {
            for flip in [1u8, 2, 0x10, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                if let Ok((header, other)) = Unverified::new(&changed).check(BYTES_MAX) {
                    let mut again = Vec::new();
                    other.encode(&header, &mut again);
                    assert_eq!(again, changed, "{message:?} changed at {at}");
                }
            }
        }
    });
}

#[test]
fn what_is_wrong_is_named() {
    let bytes = encoded(&Message::WriteReply(WriteOutcome::Stored { is_durable: true }));
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        Unverified::new(&bytes).check(BYTES_MAX).map(|_| ())
    };
    assert_eq!(with(0, 2), Err(MessageError::Version(2)));
    assert_eq!(with(1, 99), Err(MessageError::Kind(99)));
    assert_eq!(with(4, 0), Err(MessageError::Length));
    assert_eq!(with(43, 9), Err(MessageError::Field));
    assert_eq!(with(39, 0xff), Err(MessageError::Clock));
    let late = Sibling { dot: dot(Clock::MAX.raw(), 1), expires_at_ms: 0, value: None, value_dot: None };
    let mut object = Vec::new();
    Object::single(late, Context::default()).encode(&mut object);
    let bytes = encoded(&Message::Repair { hash: 1, key: b"k", object: &object });
    assert_eq!(Unverified::new(&bytes).check(BYTES_MAX), Err(MessageError::Clock));
}

proptest! {
    #[test]
    fn noise_is_refused_or_canonical(noise in prop::collection::vec(any::<u8>(), 0..200), kind in 0..12u8) {
        let mut noise = noise;
        let bytes = noise.len() as u32;
        if noise.len() >= HEADER_BYTES {
            noise[..2].copy_from_slice(&[VERSION, kind]);
            noise[4..8].copy_from_slice(&bytes.to_le_bytes());
            noise[38..44].fill(0);
        }
        if let Ok((header, message)) = Unverified::new(&noise).check(BYTES_MAX) {
            let mut again = Vec::new();
            message.encode(&header, &mut again);
            prop_assert_eq!(again, noise);
        }
    }
}
