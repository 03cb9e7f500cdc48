//! Rows for every set of nodes that answer, and when a table is made anew.

use annulus_object::Clock;

use super::*;
use crate::membership::{Role, Weight};
use crate::placement::Member;
use proptest::prelude::*;

fn node(number: u64) -> NodeId {
    NodeId::new(number)
}

fn zone(at: u64) -> Zone {
    Zone::new(&format!("z{at}")).unwrap()
}

fn ring(nodes: u64, zones: u64, partitions: u16, copies: u8) -> Ring {
    let member = |at: u64| Member { node: node(at + 1), weight: Weight::default(), zone: zone(at % zones) };
    Ring::new(Clock::ZERO, &(0..nodes).map(member).collect::<Vec<_>>(), partitions, copies)
}

fn zone_of(ring: &Ring, node: NodeId) -> Zone {
    ring.loads().find(|(member, _)| member.node == node).unwrap().0.zone
}

fn all(nodes: u64) -> BTreeSet<NodeId> {
    (1..=nodes).map(node).collect()
}

#[test]
fn owners_are_the_rings_and_the_own_node_can_always_stand_in() {
    let ring = ring(40, 5, 64, 3);
    let table = RouteTable::new(node(99), &ring, &all(40));
    for partition in 0..64 {
        assert!(table.owners(partition).iter().copied().eq(ring.owners(partition)));
        let fallbacks = table.fallbacks(partition);
        assert_eq!((fallbacks.len(), fallbacks.last()), (FALLBACKS_MAX + 1, Some(&node(99))));
        // Two zones have no owner: they come first.
        let zones: BTreeSet<Zone> = table.row(partition)[..5].iter().map(|node| zone_of(&ring, *node)).collect();
        assert_eq!(zones.len(), 5);
    }
    assert_eq!(table.fingerprint(), ring.fingerprint());
    assert!(table.is_up(node(99)) && table.is_up(node(40)) && !table.is_up(node(41)));
}

#[test]
fn a_fallback_comes_from_the_zone_of_the_missing_owner_if_the_others_are_taken() {
    let ring = ring(9, 3, 64, 3);
    for partition in 0..64 {
        for down in ring.owners(partition) {
            let mut up = all(9);
            up.remove(&down);
            let table = RouteTable::new(ring.owners(partition).find(|owner| *owner != down).unwrap(), &ring, &up);
            assert_eq!(zone_of(&ring, table.fallbacks(partition)[0]), zone_of(&ring, down));
            assert!(!table.fallbacks(partition).contains(&down) && table.owners(partition).contains(&down));
        }
    }
}

#[test]
fn where_a_zone_is_down_others_stand_in_for_it() {
    let ring = ring(9, 3, 64, 3);
    let up: BTreeSet<NodeId> = all(9).into_iter().filter(|node| zone_of(&ring, *node) != zone(1)).collect();
    let table = RouteTable::new(node(1), &ring, &up);
    for partition in 0..64 {
        assert_eq!(table.fallbacks(partition).len(), 4, "six nodes answer, of which two are owners");
    }
}

/// Of a large cluster not all are ranked beforehand; where nearly all of those are down, the rest stands in.
#[test]
fn a_minority_finds_those_who_are_left() {
    let ring = ring(300, 1, 8, 3);
    let up: BTreeSet<NodeId> = (1..=10).map(node).collect();
    let table = RouteTable::new(node(1), &ring, &up);
    for partition in 0..8 {
        let row: BTreeSet<NodeId> = table.row(partition).iter().copied().filter(|node| up.contains(node)).collect();
        assert!(row.len() >= 3, "one for each owner: {row:?}");
    }
}

fn map(nodes: u64) -> Membership {
    let mut map = Membership::default();
    for number in 1..=nodes {
        map.set_role(node(number), Clock::ZERO.next(), node(1), Role::Active).unwrap();
    }
    map
}

#[test]
fn a_table_is_made_anew_when_something_changed_and_only_then() {
    let mut routing = Routing::new(node(1), 64, 3);
    assert!(routing.table().owners(7).is_empty() && routing.table().fallbacks(7) == [node(1)]);
    let news = routing.on_effect(&NodeEffect::RingChanged, &map(2)).unwrap();
    assert_eq!((news.copies, news.wanted, news.moves.len()), (2, 3, 128), "capped by the number of members, and said");
    let before = routing.table().clone();
    assert!(before.owners(7).len() == 2 && !before.is_up(node(2)));
    assert!(Arc::ptr_eq(&before, routing.table()), "nothing has changed");
    assert_eq!(routing.on_effect(&NodeEffect::RingChanged, &map(2)), None);
    routing.on_effect(&NodeEffect::Liveness { node: node(2), up: false }, &map(2));
    assert!(Arc::ptr_eq(&before, routing.table()), "it was down before");
    routing.on_effect(&NodeEffect::Liveness { node: node(2), up: true }, &map(2));
    assert!(routing.table().is_up(node(2)) && !before.is_up(node(2)), "who has the old one sees no change");
    let news = routing.on_effect(&NodeEffect::RingChanged, &map(3)).unwrap();
    assert_eq!((news.copies, news.wanted), (3, 3));
    // What no owner table shows: another weight of everybody.
    let mut heavier = map(3);
    (1..=3).for_each(|number| {
        heavier.set_weight(node(number), Clock::ZERO.next(), node(1), Weight::new(200).unwrap()).unwrap();
    });
    assert_eq!(routing.on_effect(&NodeEffect::RingChanged, &heavier), None);
}

proptest! {
    /// No node twice; all owners, whoever answers; fallbacks answer.
    #[test]
    fn rows_are_sound(
        nodes in 1..12u64,
        zones in 1..5u64,
        copies in 1..5u8,
        up in prop::collection::btree_set(1..14u64, 0..14),
        own in 1..14u64,
    ) {
        let ring = ring(nodes, zones, 16, copies);
        let up: BTreeSet<NodeId> = up.into_iter().map(node).collect();
        let table = RouteTable::new(node(own), &ring, &up);
        for partition in 0..16 {
            let row = table.row(partition);
            prop_assert_eq!(row.iter().collect::<BTreeSet<_>>().len(), row.len());
            prop_assert!(table.owners(partition).iter().copied().eq(ring.owners(partition)));
            prop_assert!(table.fallbacks(partition).iter().all(|node| table.is_up(*node)));
            prop_assert!(row.contains(&node(own)));
            let answering = ring.loads().filter(|(member, _)| table.is_up(member.node)).count();
            let in_row = row.iter().filter(|node| table.is_up(**node)).count();
            prop_assert!(in_row >= answering.min(FALLBACKS_MAX));
        }
    }
}
