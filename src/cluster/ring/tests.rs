//! Rings that must never change, fingerprints, moves.

use super::*;
use crate::membership::{Role, Weight, Zone};
use proptest::prelude::*;

fn node(number: u64) -> NodeId {
    NodeId::new(number)
}

/// Nodes 1 to `nodes`, over `zones` zones in turn, every fourth of double weight.
fn members(nodes: u64, zones: u64) -> Vec<Member> {
    let weight = |at| Weight::new(if at % 4 == 3 { 200 } else { 100 }).unwrap();
    let zone = |at: u64| Zone::new(if zones == 1 { "" } else { ["a", "b", "c", "d", "e", "f"][(at % zones) as usize] });
    (0..nodes).map(|at| Member { node: node(at + 1), weight: weight(at), zone: zone(at).unwrap() }).collect()
}

fn ring(members: &[Member], partitions: u16, copies: u8) -> Ring {
    Ring::new(Clock::ZERO, members, partitions, copies)
}

/// A node of another version that owns something else finds its keys elsewhere: whoever changes this table changes every cluster.
#[test]
fn the_ring_never_changes_silently() {
    let golden = [
        ((1, 1, 1024, 3), 0x824b_2be1_3863_7d29),
        ((3, 1, 1024, 3), 0xb6f7_479f_68f0_597f),
        ((5, 1, 1024, 3), 0x5a3f_fb93_1c44_ccc8),
        ((6, 3, 1024, 3), 0x453b_59bd_3926_fedb),
        ((7, 2, 64, 3), 0xd97c_8de9_e4f4_d5fd),
        ((13, 4, 1024, 3), 0xc109_ba93_7f29_8f07),
        ((30, 5, 4096, 3), 0xca67_0ab8_a5aa_2094),
        ((30, 6, 1024, 5), 0x85a4_c7aa_b96d_9372),
        ((100, 6, 16_384, 3), 0x5433_aa62_98d6_b4a4),
    ];
    let ours = golden.map(|(of, _)| {
        let (nodes, zones, partitions, copies) = of;
        (of, ring(&members(nodes, zones), partitions, copies).fingerprint().0)
    });
    assert_eq!(ours, golden, "{ours:#x?}");
}

/// The same in a form that can be read: eight partitions of five nodes.
#[test]
fn a_small_ring_is_this_one() {
    let ring = ring(&members(5, 1), 8, 3);
    let rows: Vec<String> = (0..8)
        .map(|partition| ring.owners(partition).map(|node| node.raw().to_string()).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(rows, ["1 2 3", "3 5 4", "4 3 5", "4 5 3", "4 5 1", "1 4 2", "3 2 1", "5 2 4"]);
}

#[test]
fn the_fingerprint_is_of_owners_and_nothing_else() {
    let base = ring(&members(6, 3), 256, 3);
    // Another epoch, or a wish for more copies than there are members, is not another table.
    assert_eq!(Ring::new(Clock::MAX, &members(6, 3), 256, 3).fingerprint(), base.fingerprint());
    assert_eq!(ring(&members(2, 1), 256, 3).fingerprint(), ring(&members(2, 1), 256, 2).fingerprint());
    for other in [ring(&members(7, 3), 256, 3), ring(&members(6, 2), 256, 3), ring(&members(6, 3), 256, 2)] {
        assert_ne!(other.fingerprint(), base.fingerprint());
    }
    assert_ne!(ring(&[], 256, 3).fingerprint(), Fingerprint::default());
}

#[test]
fn the_ring_is_of_active_members() {
    let mut map = Membership::default();
    let clock = |tick: u64| Clock::from_raw(tick).unwrap();
    for (number, role) in
        [(1, Role::Active), (2, Role::Joining), (3, Role::Leaving), (4, Role::Removed), (5, Role::Active)]
    {
        assert_eq!(map.set_role(node(number), clock(number), node(1), role), Ok(true));
    }
    let two = Ring::of(&map, 64, 3);
    assert_eq!((two.epoch(), two.copies(), two.wanted(), two.is_capped()), (clock(5), 2, 3, true));
    assert_eq!(
        two.loads().map(|(member, load)| (member.node, load.copies)).collect::<Vec<_>>(),
        [(node(1), 64), (node(5), 64)]
    );
    assert_eq!(
        (two.rank(9, node(3)), two.partitions_of(node(3)).count(), two.partitions_of(node(5)).count()),
        (None, 0, 64)
    );
    assert_eq!(map.set_role(node(2), clock(6), node(5), Role::Active), Ok(true));
    let three = Ring::of(&map, 64, 3);
    assert!(!three.is_capped());
    let moves = three.moves_from(&two);
    assert_eq!(moves.len(), 64);
    assert!(moves.iter().all(|step| step.from.is_none() && step.to == Some(node(2))));
    let back = two.moves_from(&three);
    assert!(back.iter().all(|step| step.from == Some(node(2)) && step.to.is_none()));
}

proptest! {
    /// Who follows the moves from one ring has the other.
    #[test]
    fn moves_lead_from_ring_to_ring(old in 0..12u64, new in 0..12u64, zones in 1..6u64, copies in 1..4u8) {
        let (old, new) = (ring(&members(old, zones), 32, copies), ring(&members(new, zones), 32, copies));
        let mut owners: Vec<Vec<NodeId>> = (0..32).map(|partition| old.owners(partition).collect()).collect();
        let moves = new.moves_from(&old);
        prop_assert!(moves.is_sorted_by_key(|step| step.partition));
        for step in moves {
            let owners = &mut owners[usize::from(step.partition)];
            prop_assert_ne!(step.from, step.to);
            owners.retain(|node| Some(*node) != step.from);
            owners.extend(step.to);
        }
        for (partition, mut owners) in (0..32).zip(owners) {
            let mut expected: Vec<NodeId> = new.owners(partition).collect();
            expected.sort_unstable();
            owners.sort_unstable();
            prop_assert_eq!(owners, expected);
        }
        prop_assert!(new.moves_from(&new).is_empty());
    }

    #[test]
    fn ranks_are_places_among_the_owners(nodes in 1..20u64, partition in 0..32u16) {
        let ring = ring(&members(nodes, 3), 32, 3);
        for (rank, owner) in ring.owners(partition).enumerate() {
            prop_assert_eq!(ring.rank(partition, owner), Some(rank));
            prop_assert!(ring.partitions_of(owner).any(|owned| owned == partition));
        }
    }
}
