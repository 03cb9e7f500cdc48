//! Who answers, how the walks of SCAN go on, and that nothing is left out or counted twice.

use std::collections::BTreeSet;

use annulus_cluster::membership::Role;

use super::*;
use crate::cluster_view::example::{member, view};

const Q: u16 = 64;

/// What a node with `cores` cores makes of a view.
fn coverage(view: &ClusterView, cores: u16) -> Coverage {
    Coverage::of(view, &CoreMap::new(Q.into(), cores))
}

fn node(number: u64) -> NodeId {
    NodeId::new(number)
}

/// Nodes 1 to 3 with one, two and three cores; those in `down` do not answer.
fn three(own: u8, down: &[u8]) -> ClusterView {
    let members: Vec<MemberView> =
        (1..=3).map(|number| member(number, number.into(), Role::Active, !down.contains(&number))).collect();
    view(own, 1, Q, 2, &members)
}

#[test]
fn cores_of_other_nodes_have_the_partitions_that_those_nodes_give_them() {
    for (partitions, cores) in [(1024, 1), (1024, 3), (1024, 16), (16_384, 5), (64, 64)] {
        let map = CoreMap::new(partitions, cores);
        for partition in 0..u16::try_from(partitions).unwrap() {
            assert_eq!(CoreMap::core_among(partition, partitions, cores), map.core_of(partition));
        }
    }
}

#[test]
fn every_node_names_the_same_core_and_each_partition_has_one() {
    for down in [&[][..], &[2]] {
        let expected = coverage(&three(1, down), 1);
        assert_eq!(coverage(&three(3, down), 3), expected);
        let mut seen = BTreeSet::new();
        for &core in expected.cores() {
            assert!(!down.contains(&u8::try_from(core.node.raw()).unwrap()), "{core:?} does not answer");
            for partition in expected.partitions_of(core) {
                assert!(expected.covers(core, partition) && seen.insert(partition));
            }
        }
        assert_eq!(seen.len(), usize::from(Q));
    }
}

#[test]
fn the_first_owner_that_answers_does() {
    let (all, without) = (three(1, &[]), three(1, &[2]));
    let (mut kept, mut taken_over) = (0, 0);
    for partition in 0..Q {
        let owners = all.routes.owners(partition);
        assert_eq!(first_up(&all, Q.into(), partition), owners[0]);
        let expected = if owners[0] == node(2) { owners[1] } else { owners[0] };
        assert_eq!(first_up(&without, Q.into(), partition), expected);
        *(if owners[0] == node(2) { &mut taken_over } else { &mut kept }) += 1;
    }
    assert!(kept > 0 && taken_over > 0);
    // Both owners of some are down: the third node stands in.
    let alone = three(1, &[2, 3]);
    assert!((0..Q).all(|partition| first_up(&alone, Q.into(), partition) == node(1)));
}

#[test]
fn who_cannot_be_reached_by_clients_is_passed_over() {
    let mut members: Vec<MemberView> = (1..=3).map(|number| member(number, 2, Role::Active, true)).collect();
    members[1].announced = None;
    members[2].announced.as_mut().unwrap().cores = u16::MAX;
    let strange = view(1, 1, Q, 2, &members);
    assert!((0..Q).all(|partition| first_up(&strange, Q.into(), partition) == node(1)));
    // Not even this node's own announcement is needed for its own keys.
    members[0].announced = None;
    let strange = view(1, 1, Q, 2, &members);
    assert_eq!(coverage(&strange, 2).core_of(Q - 1), PeerCore { node: node(1), core: 1 });
    members[2].announced.as_mut().unwrap().cores = 65;
    assert!(reachable(&members[2], 64).is_none(), "more cores than partitions");
    members[2].announced.as_mut().unwrap().cores = 64;
    assert!(reachable(&members[2], 64).is_some());
}

#[test]
fn cursors_are_positions() {
    for cursor in [1, 1 << 49, 63 << 50 | 77] {
        assert_eq!(Position::from_cursor(cursor, 64).unwrap().cursor(), cursor);
    }
    assert_eq!(Position::from_cursor(0, 64), Some(Position::at(0)));
    assert_eq!(Position::from_cursor(64 << 50, 64), None);
    assert_eq!(Position::at(16_383).cursor() >> 50, 16_383);
    assert_eq!(Position::from_cursor(u64::MAX, 16_384).unwrap().cursor(), u64::MAX);
}

/// All partitions of a core's own port, each once.
#[test]
fn a_walk_on_a_cores_port_sees_that_cores_partitions() {
    let coverage = coverage(&three(1, &[]), 1);
    for &core in coverage.cores() {
        let mut walked = Vec::new();
        let mut from = 0;
        while let Some(partition) = coverage.next_of(core, from) {
            walked.push(partition);
            from = u32::from(partition) + 1;
        }
        assert_eq!(walked, coverage.partitions_of(core).collect::<Vec<_>>());
    }
    assert_eq!(coverage.next_of(PeerCore { node: node(9), core: 0 }, 0), None);
    assert_eq!(coverage.next_of(coverage.core_of(0), 64), None);
}

/// Walks with the cursors of several commands, each core answering to the end of its run; the partitions in their order.
fn walk(coverages: &[Coverage], count: usize) -> (Vec<u32>, usize) {
    let (mut walked, mut cursor, mut commands) = (Vec::new(), 0, 0);
    loop {
        let coverage = &coverages[commands % coverages.len()];
        let mut scan = BaseScan::new(Position::from_cursor(cursor, Q.into()).unwrap(), count);
        commands += 1;
        loop {
            match scan.next(coverage) {
                ScanStep::Ask { core, from, end, count } => {
                    assert!(count > 0 && from.partition < end);
                    let partitions = from.partition..end;
                    assert!(partitions.clone().all(|p| coverage.covers(core, u16::try_from(p).unwrap())));
                    walked.extend(partitions);
                    scan.on_answer(Position::at(end), 1);
                }
                ScanStep::Done { cursor: 0 } => return (walked, commands),
                ScanStep::Done { cursor: next } => {
                    cursor = next;
                    break;
                }
            }
        }
    }
}

#[test]
fn a_walk_on_the_base_port_sees_every_partition_once_whoever_answers_meanwhile() {
    let everything: Vec<u32> = (0..Q.into()).collect();
    let (all, without) = (coverage(&three(1, &[]), 1), coverage(&three(1, &[2]), 1));
    assert_eq!(walk(std::slice::from_ref(&all), usize::MAX).0, everything);
    // The owners change between any two commands.
    let (walked, commands) = walk(&[all.clone(), without.clone()], 1);
    assert_eq!(walked, everything);
    assert!(commands > 10, "{commands}");
    // One command goes on until it has what it wanted, or has asked enough.
    let (_, commands) = walk(&[all], usize::MAX);
    assert!(commands <= 1 + usize::from(Q) / limits::SCAN_STEPS_MAX as usize, "{commands}");
}

#[test]
#[should_panic(expected = "every step moves on")]
fn a_step_that_stands_still_is_a_bug() {
    let mut scan = BaseScan::new(Position { partition: 3, hash: 7 << 14 }, 10);
    scan.on_answer(Position { partition: 3, hash: 7 << 14 }, 0);
}
