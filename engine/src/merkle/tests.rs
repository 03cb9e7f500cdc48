//! The laws of the tree: sums of sets, in any order and at any number of leaves.

use std::collections::BTreeMap;

use annulus_object::{Actor, Clock};
use proptest::prelude::*;

use super::*;

const LEAF_COUNTS: [usize; 6] = [64, 256, 1024, 4096, 16_384, 65_536];

type Items = Vec<(IndexHash, Dot)>;

fn dot(clock: u64, actor: u64) -> Dot {
    Dot::new(Clock::from_raw(clock).unwrap(), Actor::from_raw(actor))
}

/// Keys with few different clocks and actors, as a node has them.
fn items() -> impl Strategy<Value = Items> {
    let key = (prop_oneof![any::<u64>(), 0..200u64], 0..3u8);
    prop::collection::btree_map(key, (1..50u64, 0..3u64), 0..120).prop_map(|items: BTreeMap<_, _>| {
        let item = |((high, low), (clock, actor))| (IndexHash { high, low }, dot(clock, actor));
        items.into_iter().map(item).collect()
    })
}

fn leaf_count() -> impl Strategy<Value = usize> {
    prop::sample::select(&LEAF_COUNTS[..4])
}

proptest! {
    #[test]
    fn order_makes_no_difference((items, shuffled) in items().prop_flat_map(|items| {
        (Just(items.clone()), Just(items).prop_shuffle())
    }), leaves in leaf_count()) {
        prop_assert_eq!(MerkleTree::build(leaves, items), MerkleTree::build(leaves, shuffled));
    }

    #[test]
    fn what_is_removed_was_never_there(items in items(), others in items(), leaves in leaf_count()) {
        let mut tree = MerkleTree::build(leaves, items.iter().copied());
        others.iter().for_each(|(hash, dot)| tree.add(*hash, *dot));
        others.iter().rev().for_each(|(hash, dot)| tree.remove(*hash, *dot));
        prop_assert_eq!(&tree, &MerkleTree::build(leaves, items.iter().copied()));
        items.iter().for_each(|(hash, dot)| tree.remove(*hash, *dot));
        prop_assert_eq!(tree.root(), 0);
        prop_assert!(tree.leaves().iter().all(|leaf| *leaf == 0));
    }

    #[test]
    fn one_by_one_or_at_once(items in items()) {
        let mut tree = MerkleTree::new();
        items.iter().for_each(|(hash, dot)| tree.add(*hash, *dot));
        prop_assert_eq!(&tree, &MerkleTree::build(LEAVES_MIN, items));
    }

    #[test]
    fn a_finer_tree_folds_into_a_coarser_one(items in items(), finer in leaf_count(), coarser in leaf_count()) {
        prop_assume!(coarser <= finer);
        let mut tree = MerkleTree::build(finer, items.iter().copied());
        let coarse = MerkleTree::build(coarser, items);
        prop_assert_eq!(tree.root(), coarse.root());
        prop_assert_eq!(tree.level(coarser.ilog2()), coarse.leaves());
        prop_assert_eq!(tree.level(3), coarse.level(3));
        prop_assert_eq!(tree.level(0).len(), 1);
        tree.coarsen(coarser);
        prop_assert_eq!(tree, coarse);
    }

    #[test]
    fn different_sets_differ(items in items(), others in items()) {
        let (one, other) = (MerkleTree::build(64, items.clone()), MerkleTree::build(64, others.clone()));
        prop_assert_eq!(one.root() == other.root(), items == others);
        prop_assert_eq!(one.leaves() == other.leaves(), items == others);
    }
}

#[test]
fn every_bit_of_a_version_counts_in_every_sum() {
    let (hash, at) = (IndexHash { high: 77 << 40, low: 9 }, (123_456_789, 42 << 16 | 1));
    let item = item_of(hash, dot(at.0, at.1));
    let flipped = (0..64).map(|bit| item_of(IndexHash { high: hash.high ^ 1 << bit, ..hash }, dot(at.0, at.1)));
    let flipped = flipped.chain((0..8).map(|bit| item_of(IndexHash { low: 9 ^ 1 << bit, ..hash }, dot(at.0, at.1))));
    let flipped = flipped.chain((0..56).map(|bit| item_of(hash, dot(at.0 ^ 1 << bit, at.1))));
    let flipped: Vec<Item> = flipped.chain((0..64).map(|bit| item_of(hash, dot(at.0, at.1 ^ 1 << bit)))).collect();
    assert_eq!(flipped.len(), 192);
    for other in &flipped {
        let pairs = [(item.leaf, other.leaf), (item.root[0], other.root[0]), (item.root[1], other.root[1])];
        for (one, other) in pairs {
            let differ = (one ^ other).count_ones();
            assert!((10..=54).contains(&differ), "{differ} of 64 bits differ");
        }
    }
}

/// What is on disk and on the wire stays: a node of this version compares its sums with those of the next.
#[test]
fn the_sums_of_a_known_item() {
    let item = item_of(IndexHash { high: 0x0123_4567_89ab_cdef, low: 0x42 }, dot(1 << 40, 0x0007_0001));
    let known = Item { leaf: 0xc056_2fd2_4390_a5b0, root: [0xb5bc_e623_3133_4aab, 0xaf3c_7b7c_0c1d_dcc0] };
    assert_eq!(item, known, "{item:x?}");
}

#[test]
fn memory_follows_the_keys() {
    assert_eq!(MerkleTree::new().bytes(), 0);
    assert_eq!(MerkleTree::build(LEAVES_MIN, []).bytes(), 0);
    assert_eq!(MerkleTree::new().leaves(), MerkleTree::build(LEAVES_MIN, []).leaves());
    let mut leaves = LEAVES_MIN;
    let counts = (0..8_000_000).step_by(997).chain((0..8_000_000).rev().step_by(997));
    for keys in counts {
        let tree = MerkleTree::build(leaves, []);
        if let Some(wanted) = tree.wants_leaves(keys) {
            assert!(LEAF_COUNTS.contains(&wanted) && wanted != leaves && wanted == leaves_for(keys));
            assert_eq!(MerkleTree::build(wanted, []).wants_leaves(keys), None, "one step is enough");
            leaves = wanted;
        }
        let bytes = MerkleTree::build(leaves, []).bytes();
        assert!(bytes <= 512 || bytes <= keys / 2, "{bytes} bytes for {keys} keys");
        assert!(leaves == LEAVES_MAX || keys <= leaves * 96);
    }
    assert_eq!(leaves, LEAVES_MIN);
}

#[test]
fn the_number_of_leaves_does_not_flap() {
    for keys in (0..400_000).step_by(331) {
        let tree = MerkleTree::build(leaves_for(keys), []);
        assert_eq!(tree.wants_leaves(keys), None);
        let few = keys - keys / 10..keys + keys / 10;
        let changed = few.step_by(keys / 20 + 1).filter_map(|keys| tree.wants_leaves(keys));
        for wanted in changed {
            assert_eq!(MerkleTree::build(wanted, []).wants_leaves(keys), None, "back at {keys} keys nothing changes");
        }
    }
}
