//! Lists for every set of nodes that answer.

use std::collections::BTreeSet;

use annulus_object::Clock;

use super::*;
use crate::membership::Weight;
use crate::placement::Member;
use proptest::prelude::*;

fn ring(nodes: u64, zones: u64, copies: u8) -> Ring {
    let zone = |at: u64| Zone::new(&format!("z{}", at % zones)).unwrap();
    let member = |at: u64| Member { node: NodeId::new(at + 1), weight: Weight::default(), zone: zone(at) };
    Ring::new(Clock::ZERO, &(0..nodes).map(member).collect::<Vec<_>>(), 64, copies)
}

fn zone_of(ring: &Ring, node: NodeId) -> Zone {
    ring.loads().find(|(member, _)| member.node == node).unwrap().0.zone
}

fn fill(ring: &Ring, partition: PartitionId, is_up: impl Fn(NodeId) -> bool) -> PreferenceList {
    let mut list = PreferenceList::default();
    list.fill(ring, partition, is_up);
    list
}

#[test]
fn while_all_answer_the_list_is_the_owners() {
    let ring = ring(9, 3, 3);
    for partition in 0..64 {
        let list = fill(&ring, partition, |_| true);
        assert!(list.candidates().iter().all(Candidate::is_primary) && list.vacant().is_empty());
        assert!(list.candidates().iter().map(|candidate| candidate.node).eq(ring.owners(partition)));
    }
}

#[test]
fn a_fallback_comes_from_the_zone_of_the_missing_owner_if_the_others_are_taken() {
    let ring = ring(9, 3, 3);
    for partition in 0..64 {
        for down in ring.owners(partition) {
            let list = fill(&ring, partition, |node| node != down);
            let fallback = list.candidates()[2];
            assert_eq!(fallback.target, Some(down));
            assert_eq!(zone_of(&ring, fallback.node), zone_of(&ring, down));
        }
    }
}

#[test]
fn where_a_zone_is_down_its_fallbacks_come_from_others() {
    let ring = ring(9, 3, 3);
    let dark = Zone::new("z1").unwrap();
    for partition in 0..64 {
        let list = fill(&ring, partition, |node| zone_of(&ring, node) != dark);
        assert_eq!(list.candidates().len(), 3);
        assert_eq!(zone_of(&ring, list.candidates()[2].target.unwrap()), dark);
    }
}

#[test]
fn a_node_that_fails_meanwhile_is_replaced_until_nobody_is_left() {
    let ring = ring(5, 1, 3);
    let mut list = fill(&ring, 7, |_| true);
    let owners: Vec<NodeId> = ring.owners(7).collect();
    let first = list.replace(&ring, 7, owners[0], |_| true).unwrap();
    assert_eq!(first.target, Some(owners[0]));
    assert_eq!(list.replace(&ring, 7, owners[0], |_| true), None, "only once");
    // The fallback fails in turn: the next one stands in for the same owner.
    let second = list.replace(&ring, 7, first.node, |_| true).unwrap();
    assert_eq!(second.target, Some(owners[0]));
    assert_eq!(list.replace(&ring, 7, second.node, |_| true), None, "all five are on the list");
    assert_eq!(list.vacant(), [owners[0]]);
    let nodes: BTreeSet<u64> = list.candidates().iter().map(|candidate| candidate.node.raw()).collect();
    assert_eq!(nodes.len(), 5);
    assert_eq!(list.replace(&ring, 7, NodeId::new(77), |_| true), None, "not on the list");
}

#[test]
fn fallbacks_are_found_behind_those_that_are_kept_by_rank() {
    let ring = ring(200, 1, 3);
    let last = NodeId::new(200);
    for partition in 0..64 {
        let list = fill(&ring, partition, |node| node == last);
        assert!(list.candidates().iter().map(|candidate| candidate.node).eq([last]));
        assert_eq!(list.vacant().len(), 2);
    }
}

proptest! {
    #[test]
    fn a_list_is_as_long_as_nodes_that_answer_allow(
        nodes in 1..12u64,
        zones in 1..5u64,
        copies in 1..5u8,
        up: u64,
        partition in 0..64u16,
    ) {
        let ring = ring(nodes, zones, copies);
        let is_up = |node: NodeId| up >> node.raw() & 1 == 1;
        let list = fill(&ring, partition, is_up);
        let healthy: Vec<NodeId> = (1..=nodes).map(NodeId::new).filter(|node| is_up(*node)).collect();
        let listed: BTreeSet<NodeId> = list.candidates().iter().map(|candidate| candidate.node).collect();
        prop_assert_eq!(listed.len(), list.candidates().len(), "a node once");
        prop_assert_eq!(listed.len(), healthy.len().min(ring.copies()));
        prop_assert!(listed.iter().all(|node| is_up(*node)));
        prop_assert_eq!(list.vacant().len(), ring.copies() - listed.len());
        for candidate in list.candidates() {
            prop_assert_eq!(candidate.is_primary(), ring.rank(partition, candidate.node).is_some());
            prop_assert!(candidate.target.is_none_or(|target| !is_up(target) && ring.rank(partition, target).is_some()));
        }
        let targets: BTreeSet<Option<NodeId>> = list.candidates().iter().map(|candidate| candidate.target).collect();
        let fallbacks = list.candidates().iter().filter(|candidate| !candidate.is_primary()).count();
        prop_assert_eq!(targets.iter().flatten().count(), fallbacks, "one stand-in for each owner");
        // As many zones as those that answer can give, unless owners share one already.
        let spread = |nodes: &mut dyn Iterator<Item = NodeId>| nodes.map(|node| zone_of(&ring, node)).collect::<BTreeSet<_>>().len();
        let primaries = list.candidates().len() - fallbacks;
        let own = spread(&mut list.candidates().iter().filter(|candidate| candidate.is_primary()).map(|candidate| candidate.node));
        let possible = spread(&mut healthy.iter().copied());
        let all = spread(&mut listed.iter().copied());
        prop_assert_eq!(all, possible.min(own + listed.len() - primaries));
    }
}
