//! Placement over random clusters: nothing but the members counts, caps and zones are kept, little moves.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::membership::WEIGHT_MAX;
use proptest::prelude::*;

/// Ids as nodes draw them: 48 bits, scattered.
fn id(seed: u64, at: u64) -> NodeId {
    let number = (seed << 20 | at).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    NodeId::checked((number ^ number >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 16).unwrap()
}

fn member(node: NodeId, weight: u16, zone: u64) -> Member {
    Member { node, weight: Weight::new(weight).unwrap(), zone: Zone::new(&format!("z{zone}")).unwrap() }
}

/// Equal nodes, over the zones in turn.
fn equal_members(seed: u64, nodes: u64, zones: u64) -> Vec<Member> {
    (0..nodes).map(|at| member(id(seed, at), 100, at % zones)).collect()
}

fn any_members() -> impl Strategy<Value = Vec<Member>> {
    let weight = prop_oneof![Just(100u16), (1..4u16).prop_map(|times| times * 100), 1..=WEIGHT_MAX];
    (any::<u32>(), 1..8u64, prop::collection::vec((weight, 0..8u64), 0..30)).prop_map(|(seed, zones, nodes)| {
        let member = |(at, (weight, zone)): (u64, (u16, u64))| member(id(u64::from(seed), at), weight, zone % zones);
        (0..).zip(nodes).map(member).collect()
    })
}

/// How many copies of one partition each zone has if they go round the zones while zones have nodes: the least and the most.
fn fair_turns(members: &[Member], copies: usize) -> BTreeMap<Zone, (usize, usize)> {
    let mut nodes: BTreeMap<Zone, usize> = BTreeMap::new();
    members.iter().for_each(|member| *nodes.entry(member.zone).or_default() += 1);
    let mut turns: BTreeMap<Zone, (usize, usize)> = nodes.keys().map(|zone| (*zone, (0, 0))).collect();
    let mut left = copies;
    for turn in 1.. {
        let takers: Vec<Zone> = nodes.iter().filter(|(_, nodes)| **nodes >= turn).map(|(zone, _)| *zone).collect();
        if left == 0 || takers.is_empty() {
            break;
        }
        let all = takers.len() <= left;
        for zone in &takers {
            turns.insert(*zone, (if all { turn } else { turn - 1 }, turn));
        }
        left = left.saturating_sub(takers.len());
    }
    turns
}

fn owners(placement: &Placement, partition: PartitionId) -> Vec<NodeId> {
    placement.owners(partition).iter().map(|place| placement.members()[usize::from(*place)].node).collect()
}

/// Copies that are at another node than before.
fn moves(before: &Placement, after: &Placement) -> usize {
    let new = |partition| {
        let old = owners(before, partition);
        owners(after, partition).into_iter().filter(|node| !old.contains(node)).count()
    };
    (0..after.partitions()).map(new).sum()
}

fn share(placement: &Placement, node: NodeId) -> f64 {
    let place = placement.members().iter().position(|member| member.node == node).unwrap();
    placement.loads()[place].share_per_mille as f64 / 1000.0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn only_the_members_count(members in any_members(), bits in 0..11u32, copies in 1..6u8, seed: u64) {
        let placement = place(&members, 1 << bits, copies);
        let mut shuffled = members.clone();
        shuffled.sort_by_key(|member| member.node.raw().wrapping_mul(seed | 1));
        prop_assert_eq!(place(&shuffled, 1 << bits, copies), placement);
    }

    #[test]
    fn zones_and_caps_are_always_kept(members in any_members(), bits in 0..11u32, copies in 1..6u8) {
        let placement = place(&members, 1 << bits, copies);
        let copies = usize::from(copies).min(members.len());
        prop_assert_eq!(placement.copies(), copies);
        let turns = fair_turns(&members, copies);
        let mut loads = vec![0; members.len()];
        for partition in 0..1 << bits {
            let row = placement.owners(partition);
            prop_assert_eq!(row.iter().collect::<BTreeSet<_>>().len(), copies);
            for (zone, (least, most)) in &turns {
                let has = row.iter().filter(|place| placement.members()[usize::from(**place)].zone == *zone).count();
                prop_assert!((*least..=*most).contains(&has), "{has} in {zone:?} of {turns:?}");
            }
            row.iter().for_each(|place| loads[usize::from(*place)] += 1);
        }
        for (load, copies) in placement.loads().iter().zip(loads) {
            let fair = load.share_per_mille as f64 / 1000.0;
            prop_assert_eq!(load.copies, copies);
            prop_assert!(f64::from(copies) <= (1.05 * fair + 0.01).max(fair.floor() + 1.0), "{load:?}");
        }
        let first: u32 = placement.loads().iter().map(|load| load.first).sum();
        prop_assert_eq!(first, if members.is_empty() { 0 } else { 1 << bits });
    }

    #[test]
    fn rows_are_in_the_order_of_scores(members in any_members(), partition in 0..64u16, copies in 1..6u8) {
        let placement = place(&members, 64, copies);
        let score = |place: &u16| (placement.score(&placement.members()[usize::from(*place)], partition), *place);
        let (owners, others) = placement.stored(partition).split_at(placement.copies());
        prop_assert!(owners.is_sorted_by_key(score) && others.is_sorted_by_key(score));
        let mut ranked = Vec::new();
        placement.ranked(partition, &mut ranked);
        prop_assert_eq!(&ranked, placement.stored(partition));
    }
}

#[test]
fn nobody_owns_anything_where_nobody_is() {
    let placement = place(&[], 1024, 3);
    assert_eq!((placement.copies(), placement.members().len()), (0, 0));
    assert!(placement.owners(1023).is_empty() && placement.stored(0).is_empty());
}

#[test]
fn three_nodes_own_everything_and_two_what_they_can() {
    for (nodes, copies) in [(3, 3), (2, 2), (1, 1)] {
        let placement = place(&equal_members(1, nodes, 1), 1024, 3);
        assert_eq!(placement.copies(), copies);
        assert!(placement.loads().iter().all(|load| load.copies == 1024 && load.cap == 1024));
    }
}

#[test]
fn of_many_nodes_the_best_are_kept_and_the_rest_can_be_ranked() {
    let members = equal_members(5, 100, 5);
    let placement = place(&members, 64, 3);
    let mut ranked = Vec::new();
    for partition in 0..64 {
        placement.ranked(partition, &mut ranked);
        assert_eq!(ranked[..RANKED_MAX], *placement.stored(partition));
        assert_eq!(ranked.iter().collect::<BTreeSet<_>>().len(), 100);
    }
}

#[test]
fn loads_follow_weights() {
    let members: Vec<Member> =
        (0..24).map(|at| member(id(7, at), [100, 200, 400][at as usize % 3], at / 3 % 4)).collect();
    let placement = place(&members, 4096, 3);
    for (member, load) in placement.members().iter().zip(placement.loads()) {
        let fair = 4096.0 * 3.0 * f64::from(member.weight.get()) / 5600.0;
        assert!((load.share_per_mille as f64 / 1000.0 - fair).abs() < 0.01);
        let ratio = f64::from(load.copies) / fair;
        assert!((0.88..=1.05).contains(&ratio), "{member:?}: {ratio}");
    }
}

/// The paper's measure, mean load over the greatest, where it has S = 30 and N = 3.
#[test]
fn thirty_nodes_are_balanced() {
    for (partitions, zones) in [(1024, 1), (1024, 3), (1024, 5), (4096, 1), (4096, 3), (4096, 6), (16_384, 3)] {
        for seed in 0..4 {
            let placement = place(&equal_members(seed, 30, zones), partitions, 3);
            let most = placement.loads().iter().map(|load| load.copies).max().unwrap();
            let efficiency = f64::from(partitions) * 3.0 / 30.0 / f64::from(most);
            assert!(efficiency >= 0.95, "{partitions} partitions, {zones} zones: {efficiency}");
        }
    }
}

/// Of what has to move at least when a node joins or leaves: the mean of several clusters, and the worst.
#[test]
fn little_moves() {
    for (partitions, nodes, zones) in [(1024, 6, 3), (1024, 12, 3), (1024, 24, 6), (4096, 24, 6), (1024, 30, 1)] {
        for seed in 0..16 {
            let members = equal_members(seed, nodes, zones);
            let before = place(&members, partitions, 3);
            let mut joined = members.clone();
            joined.push(member(id(seed, 999), 100, nodes % zones));
            let after = place(&joined, partitions, 3);
            let joins = moves(&before, &after) as f64 / share(&after, id(seed, 999));
            let mut left = members.clone();
            let gone = left.remove((seed * 5 % nodes) as usize).node;
            let leaves = moves(&before, &place(&left, partitions, 3)) as f64 / share(&before, gone);
            let of = format!("{partitions} partitions, {nodes} nodes, {zones} zones, seed {seed}");
            assert!(joins < 1.3 && leaves < 1.3, "{of}: {joins} {leaves}");
        }
    }
}

#[test]
fn a_changed_weight_moves_what_it_says() {
    let members = equal_members(3, 12, 3);
    let before = place(&members, 1024, 3);
    let mut lighter = members.clone();
    lighter[4].weight = Weight::new(50).unwrap();
    let after = place(&lighter, 1024, 3);
    let ideal = share(&before, members[4].node) - share(&after, members[4].node);
    let ratio = moves(&before, &after) as f64 / ideal;
    assert!((0.8..1.3).contains(&ratio), "{ratio}");
}
