//! The map as a lattice, its rules, and its bytes.

use super::*;
use crate::limits::CLOCK_LAST;
use proptest::prelude::*;

fn node(number: u64) -> NodeId {
    NodeId::new(number)
}

fn clock(tick: u64) -> Clock {
    Clock::from_raw(tick).unwrap()
}

fn announced(incarnation: u16) -> Announced {
    Announced {
        peers: Endpoint { host: "10.0.0.1".into(), port: 17_379 },
        clients: Endpoint { host: "".into(), port: 7_379 },
        cores: 4,
        incarnation,
        version: 1,
        // Some found, and some do not.
        founding: if incarnation == 3 { 5 } else { 0 },
        holdings: Holdings { active: 512, pending: 1, draining: 2, digest: 0xabcd },
    }
}

/// One write: which node, clock, author, field, value. Few of each, so that writes meet.
type Write = (u64, u64, u64, u8, u16);

fn any_writes() -> impl Strategy<Value = Vec<Write>> {
    prop::collection::vec((1..5u64, 0..6u64, 1..4u64, 0..6u8, 1..4u16), 0..12)
}

fn apply(map: &mut Membership, (at, tick, author, field, value): Write) -> bool {
    let (at, clock, author) = (node(at), clock(tick), node(author));
    let role = Role::from_byte(value as u8).unwrap();
    match field {
        0 => map.announce(at, clock, announced(value)),
        1 => map.set_role(at, clock, author, role),
        2 => map.set_weight(at, clock, author, Weight::new(value).unwrap()),
        3 => map.set_zone(at, clock, author, Zone::new(&format!("z{value}")).unwrap()),
        4 => map.intend_removal(at, clock, author),
        _ => map.forget(at, clock),
    }
    .unwrap()
}

fn map(writes: &[Write]) -> Membership {
    let mut map = Membership::default();
    for write in writes {
        apply(&mut map, *write);
    }
    map
}

/// Entries of `from` that are news to `to`.
fn news(from: &Membership, to: &Membership) -> Vec<(NodeId, Vec<u8>)> {
    let is_news = |(node, stamp): &(NodeId, EntryStamp)| stamp.is_news_to(to.stamp(*node));
    let entry = |(node, _)| {
        let mut bytes = Vec::new();
        from.encode_entry(node, &mut bytes);
        (node, bytes)
    };
    from.stamps().filter(is_news).map(entry).collect()
}

fn take(map: &mut Membership, entries: &[(NodeId, Vec<u8>)]) {
    for (node, bytes) in entries {
        map.merge_one(*node, &Entry::decode(*node, bytes).unwrap()).unwrap();
    }
}

fn merged(maps: &[&Membership]) -> Membership {
    let mut all = Membership::default();
    for map in maps {
        all.merge(map).unwrap();
    }
    all
}

fn encoded(map: &Membership) -> Vec<u8> {
    let mut bytes = Vec::new();
    map.encode(&mut bytes);
    bytes
}

fn check(bytes: &[u8]) -> Result<Membership, MapError> {
    UnverifiedMembership::new(bytes).check()
}

proptest! {
    #[test]
    fn merging_is_a_join(a in any_writes(), b in any_writes(), c in any_writes()) {
        let (a, b, c) = (map(&a), map(&b), map(&c));
        prop_assert_eq!(merged(&[&a, &b]), merged(&[&b, &a]));
        prop_assert_eq!(merged(&[&merged(&[&a, &b]), &c]), merged(&[&a, &merged(&[&b, &c])]));
        let mut twice = merged(&[&a, &b]);
        let once = twice.clone();
        prop_assert_eq!(twice.merge(&b), Ok(false));
        prop_assert_eq!(&twice, &once);
        prop_assert_eq!(once.digest() == a.digest(), once == a);
        prop_assert_eq!(once.epoch(), a.epoch().max(b.epoch()));
    }

    /// The order in which news comes does not matter, nor whether it comes by writes or by maps.
    #[test]
    fn writes_may_come_in_any_order(writes in any_writes(), split: prop::sample::Index) {
        let forward = map(&writes);
        let backward: Vec<Write> = writes.iter().rev().copied().collect();
        prop_assert_eq!(&map(&backward), &forward);
        let (head, tail) = writes.split_at(split.index(writes.len() + 1));
        prop_assert_eq!(&merged(&[&map(tail), &map(head)]), &forward);
    }

    #[test]
    fn news_tells_whether_anything_changed(writes in any_writes(), last in any_writes()) {
        let mut map = map(&writes);
        for write in last {
            let before = map.clone();
            prop_assert_eq!(apply(&mut map, write), map != before);
        }
    }

    /// As gossip does: entries one by one, of those that are news by their stamps, until nothing is.
    #[test]
    fn entries_that_are_news_make_maps_equal(a in any_writes(), b in any_writes()) {
        let (mut a, mut b) = (map(&a), map(&b));
        let both = merged(&[&a, &b]);
        for _ in 0..3 {
            let (to_b, to_a) = (news(&a, &b), news(&b, &a));
            take(&mut b, &to_b);
            take(&mut a, &to_a);
        }
        prop_assert_eq!((&a, &b), (&both, &both));
        prop_assert!(news(&a, &b).is_empty());
    }

    /// The digest, which is kept up to date, is that of the content.
    #[test]
    fn digests_are_equal_where_maps_are(a in any_writes(), b in any_writes()) {
        let (a, b) = (map(&a), map(&b));
        prop_assert_eq!(a.digest() == b.digest(), a == b);
        prop_assert_eq!(check(&encoded(&a)).unwrap().digest(), a.digest());
        prop_assert!(a.stamps().all(|(node, stamp)| Some(stamp) == a.stamp(node)));
    }

    #[test]
    fn bytes_come_back_as_the_same_map(writes in any_writes(), cut: prop::sample::Index) {
        let map = map(&writes);
        let bytes = encoded(&map);
        prop_assert_eq!(check(&bytes), Ok(map));
        let cut = &bytes[..cut.index(bytes.len())];
        prop_assert_eq!(check(cut), Err(MapError::Truncated));
        prop_assert_eq!(check(&[&bytes[..], &[0]].concat()), Err(MapError::Trailing));
    }

    /// Whatever is accepted is what some map encodes to; nothing panics.
    #[test]
    fn damaged_bytes_are_refused_or_a_map(writes in any_writes(), at: prop::sample::Index, bit in 0..8u32) {
        let mut bytes = encoded(&map(&writes));
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(map) = check(&bytes) {
            prop_assert_eq!(encoded(&map), bytes);
        }
    }

    #[test]
    fn garbage_is_refused_or_a_map(mut bytes in prop::collection::vec(any::<u8>(), 0..200), is_close: bool) {
        if is_close && bytes.len() > 2 {
            bytes[..3].copy_from_slice(&[1, 1, 0]);
        }
        if let Ok(map) = check(&bytes) {
            prop_assert_eq!(encoded(&map), bytes);
        }
    }
}

/// What the node writes does not touch what operators write, and the other way round (rule S13).
#[test]
fn an_address_does_not_undo_a_removal() {
    let mut ours = Membership::default();
    assert_eq!(ours.announce(node(1), clock(1), announced(1)), Ok(true));
    assert_eq!(ours.set_role(node(1), clock(2), node(2), Role::Active), Ok(true));
    let mut theirs = ours.clone();
    assert_eq!(ours.set_role(node(1), clock(5), node(2), Role::Leaving), Ok(true));
    // Elsewhere the node announces a new incarnation later, and automation lowers its weight.
    assert_eq!(theirs.announce(node(1), clock(9), announced(7)), Ok(true));
    assert_eq!(theirs.set_weight(node(1), clock(8), node(3), Weight::new(90).unwrap()), Ok(true));
    assert_eq!(ours.merge(&theirs), Ok(true));
    let entry = ours.get(node(1)).unwrap();
    assert_eq!((entry.role(), entry.weight().get(), entry.announced().unwrap().incarnation), (Role::Leaving, 90, 7));
    assert_eq!((entry.role_at().unwrap().clock, entry.announced_at().unwrap().clock), (clock(5), clock(9)));
    assert!(ours.placed().is_empty());
}

/// Order by incarnation would let a restart undo a removal.
#[test]
fn an_incarnation_decides_nothing() {
    let mut map = map(&[(1, 1, 1, 1, 4)]);
    assert_eq!(map.get(node(1)).unwrap().role(), Role::Removed);
    assert_eq!(map.announce(node(1), clock(9), announced(3)), Ok(true));
    assert_eq!(map.get(node(1)).unwrap().role(), Role::Removed);
    // An older announcement with a larger incarnation is old.
    assert_eq!(map.announce(node(1), clock(8), announced(9)), Ok(true));
    let entry = map.get(node(1)).unwrap();
    assert_eq!((entry.announced().unwrap().incarnation, entry.incarnation_most()), (3, 9), "but it was used");
}

#[test]
fn an_unknown_node_joins_with_what_is_usual() {
    let mut map = Membership::default();
    assert_eq!(map.announce(node(1), clock(1), announced(1)), Ok(true));
    let entry = map.get(node(1)).unwrap();
    assert_eq!((entry.role(), entry.weight().get(), entry.zone().name()), (Role::Joining, 100, ""));
    assert!(map.placed().is_empty());
}

#[test]
fn a_map_is_bounded_and_refuses_as_a_whole() {
    let mut map = Membership::default();
    for number in 1..=MEMBERS_MAX as u64 {
        assert_eq!(map.set_role(node(number), clock(1), node(1), Role::Active), Ok(true));
    }
    assert_eq!(map.set_role(node(9999), clock(1), node(1), Role::Active), Err(TooManyMembers));
    assert_eq!(map.set_role(node(7), clock(2), node(1), Role::Leaving), Ok(true));
    let mut other = Membership::default();
    other.set_role(node(8), clock(3), node(1), Role::Leaving).unwrap();
    other.set_role(node(9999), clock(3), node(1), Role::Active).unwrap();
    let before = map.clone();
    assert_eq!(map.merge(&other), Err(TooManyMembers));
    assert_eq!(map, before);
    assert_eq!(check(&encoded(&map)), Ok(map));
}

#[test]
fn what_no_encoder_writes_is_refused() {
    let map = map(&[(1, 1, 1, 0, 1), (1, 2, 2, 1, 2), (2, 3, 2, 2, 3), (3, 4, 2, 3, 1)]);
    let bytes = encoded(&map);
    let with = |at: usize, new: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        check(&bytes)
    };
    // Format, count, id, flags, clock and author of the first register.
    assert_eq!(with(0, &[2]), Err(MapError::Format(2)));
    assert_eq!(with(3, &0u64.to_le_bytes()), Err(MapError::Node(0)));
    assert_eq!(with(3, &9u64.to_le_bytes()), Err(MapError::Author(node(9))));
    assert_eq!(with(11, &[0]), Err(MapError::Value(node(1))));
    assert_eq!(with(11, &[0x23]), Err(MapError::Value(node(1))));
    assert_eq!(with(12, &u64::MAX.to_le_bytes()), Err(MapError::Value(node(1))));
    assert_eq!(with(20, &2u64.to_le_bytes()), Err(MapError::Author(node(1))));
    assert_eq!(with(28, &[200]), Err(MapError::Truncated));
    assert_eq!(with(29, b" "), Err(MapError::Value(node(1))));
    let swapped = [&bytes[..3], &bytes[bytes.len() - 28..], &bytes[3..bytes.len() - 28]].concat();
    assert_eq!(check(&swapped), Err(MapError::Order));
}

/// Only founders say with how many; the rest is the bytes that it would be without.
#[test]
fn founders_say_so_in_one_byte_more() {
    let entry = |incarnation: u16, founding: u8| {
        let (mut map, mut bytes) = (Membership::default(), Vec::new());
        map.announce(node(1), clock(7), Announced { founding, ..announced(incarnation) }).unwrap();
        map.encode_entry(node(1), &mut bytes);
        bytes
    };
    let (plain, founder) = (entry(1, 0), entry(1, 5));
    assert_eq!((plain[0], founder[0], founder.last()), (1, 65, Some(&5)));
    assert_eq!(plain[1..], founder[1..founder.len() - 1]);
    let decoded = Entry::decode(node(1), &founder).unwrap();
    assert_eq!(decoded.announced().map(|announced| announced.founding), Some(5));
    let refused = |change: fn(&mut Vec<u8>)| {
        let mut bytes = founder.clone();
        change(&mut bytes);
        Entry::decode(node(1), &bytes).unwrap_err()
    };
    let impossible = MapError::Value(node(1));
    assert_eq!(refused(|bytes| *bytes.last_mut().unwrap() = 0), impossible);
    assert_eq!(refused(|bytes| bytes[0] = 64), impossible, "of what was not announced");
    assert_eq!(refused(|bytes| bytes[0] = 64 + 32), impossible, "of a tombstone");
    assert_eq!(refused(|bytes| bytes[0] = 65 + 128), impossible);
    assert_eq!(refused(|bytes| bytes.truncate(bytes.len() - 1)), MapError::Truncated);
    assert_eq!(refused(|bytes| bytes[0] = 1), MapError::Trailing);
}

/// Above the last clock nothing could be written any more.
#[test]
fn a_stamp_beyond_the_last_clock_is_refused() {
    let at = |clock: Clock| {
        let mut map = Membership::default();
        map.set_role(node(1), clock, node(1), Role::Active).unwrap();
        check(&encoded(&map)).map(|_| ())
    };
    assert_eq!(at(CLOCK_LAST), Ok(()));
    assert_eq!(at(CLOCK_LAST.next()), Err(MapError::Future(node(1))));
}

/// Forgotten is forgotten, whatever somebody who was away says, and whenever it was written.
#[test]
fn what_was_forgotten_does_not_come_back() {
    let mut ours = map(&[(1, 1, 1, 0, 1), (1, 2, 2, 1, 4), (2, 1, 2, 0, 1)]);
    let mut away = ours.clone();
    assert_eq!(away.announce(node(1), clock(9), announced(3)), Ok(true));
    assert_eq!(ours.forget(node(1), clock(5)), Ok(true));
    assert!(ours.is_forgotten(node(1)) && ours.get(node(1)).is_none() && ours.len() == 1);
    let before = ours.clone();
    assert_eq!(ours.merge(&away), Ok(true), "the tombstone is as late now as what it took the place of");
    assert!(ours.is_forgotten(node(1)) && ours != before);
    assert_eq!(ours.set_role(node(1), clock(8), node(2), Role::Active), Ok(false));
    assert_eq!(away.merge(&ours), Ok(true));
    assert_eq!(away, ours);
}

/// Tombstones are bounded: the oldest goes, on every node the same one.
#[test]
fn the_oldest_tombstone_goes_first() {
    let many = FORGOTTEN_MAX as u64 + 10;
    let (mut up, mut down) = (Membership::default(), Membership::default());
    for number in 1..=many {
        up.forget(node(number), clock(number)).unwrap();
        down.forget(node(many + 1 - number), clock(many + 1 - number)).unwrap();
    }
    assert_eq!(up, down);
    assert!(!up.is_forgotten(node(10)) && up.is_forgotten(node(11)) && up.is_empty());
    assert_eq!(up.forget(node(10), clock(10)), Ok(false), "older than all that there is room for");
    assert_eq!(up, down);
    assert_eq!(check(&encoded(&up)), Ok(up));
}

#[test]
fn fields_take_only_what_can_be_written_down() {
    assert!(Zone::new("sixteen-bytes-is").is_some() && Zone::new("seventeen-bytes-i").is_none());
    assert!(Zone::new("a b").is_none() && Zone::new("ü").is_none() && Zone::new("").is_some());
    assert!(Weight::new(0).is_none() && Weight::new(WEIGHT_MAX).is_some() && Weight::new(WEIGHT_MAX + 1).is_none());
    for role in [Role::Joining, Role::Active, Role::Leaving, Role::Removed] {
        assert_eq!(Role::from_byte(role.to_byte()), Some(role));
    }
    assert!(Role::from_byte(0).is_none() && Role::from_byte(5).is_none());
    let valid = announced(1);
    assert!(valid.is_valid());
    let without_host = Announced { peers: Endpoint { host: "".into(), port: 1 }, ..valid.clone() };
    let without_port = Announced { clients: Endpoint { host: "h".into(), port: 0 }, ..valid.clone() };
    assert!(!without_host.is_valid() && !without_port.is_valid() && !announced(0).is_valid());
    assert!(!Announced { cores: 0, ..valid }.is_valid());
}

/// A format that was written once is read for ever.
#[test]
fn the_first_format_is_this_one() {
    let writes = [(1, 1, 1, 0, 1), (1, 2, 2, 1, 2), (2, 3, 2, 2, 3), (3, 4, 2, 3, 1), (3, 5, 1, 4, 1), (4, 6, 1, 5, 1)];
    let map = map(&writes);
    let hex: String = encoded(&map).iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = concat!(
        "01",
        "0400",
        "0100000000000000",
        "03",
        "01000000000000000100000000000000",
        "0831302e302e302e31e343",
        "00d31c",
        "0400010001000000",
        "000201000200cdab0000000000000100",
        "0200000000000000020000000000000002",
        "0200000000000000",
        "04",
        "030000000000000002000000000000000300",
        "0300000000000000",
        "18",
        "04000000000000000200000000000000027a31",
        "05000000000000000100000000000000",
        "0400000000000000",
        "20",
        "0600000000000000",
    );
    assert_eq!(hex, expected);
}
