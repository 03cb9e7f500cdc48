//! Trees at cuts: two stores that take the same writes at different times and in different orders.

use std::collections::BTreeMap;

use annulus_object::{Actor, Clock};
use proptest::prelude::*;

use super::*;

/// An epoch of these tests is 16 ms.
const BITS: u32 = 4;
const EPOCH_MS: u64 = 1 << BITS;

/// A write of a key: it replaces the key's earlier writes by the same actor, and no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Write {
    at_ms: u64,
    key: u64,
    actor: u64,
}

impl Write {
    fn dot(self) -> Dot {
        Dot::new(Clock::from_unix_ms(self.at_ms, 0), Actor::new(self.actor + 1, 1))
    }

    fn hash(self) -> IndexHash {
        IndexHash { high: self.key.wrapping_mul(0x9e37_79b9_7f4a_7c15), low: 0 }
    }
}

/// A store's trees, and what is there of each key.
struct Store {
    trees: Trees,
    siblings: BTreeMap<(u64, u64), Dot>,
}

impl Store {
    fn new() -> Store {
        let mut trees = Trees::new(&Partitions::new(0..1, 1));
        trees.follows = true;
        Store { trees, siblings: BTreeMap::new() }
    }

    fn dots(&self, key: u64) -> Vec<Dot> {
        let mut dots: Vec<Dot> = self.siblings.range((key, 0)..=(key, u64::MAX)).map(|(_, dot)| *dot).collect();
        dots.sort_unstable();
        dots
    }

    fn take(&mut self, now_ms: u64, write: Write) {
        self.trees.open(Epochs::new(now_ms >> BITS, BITS));
        let old = self.dots(write.key);
        let there = self.siblings.entry((write.key, write.actor)).or_insert_with(|| write.dot());
        *there = (*there).max(write.dot());
        let new = self.dots(write.key);
        self.trees.replace(0, write.hash(), &new, &old);
    }

    fn at(&self, cut: u64) -> (u128, Vec<u64>) {
        let tree = crate::cuts::TreeAtCut { tree: self.trees.tree(0), deltas: self.trees.deltas(0), cut };
        (tree.root(), (0..64).map(|node| tree.node(6, node)).collect())
    }

    /// The tree of what is there.
    fn recounted(&self) -> MerkleTree {
        let key_of = |key: u64| Write { at_ms: 1, key, actor: 0 }.hash();
        let items = self.siblings.iter().map(|((key, _), dot)| (key_of(*key), *dot));
        MerkleTree::build(self.trees.tree(0).leaf_count(), items)
    }
}

const BEGIN_MS: u64 = 1_800_000_000_000;

/// Writes over eight epochs, and for each how long it is on its way to either store: up to an epoch. One link keeps the order
/// of a key's writes.
fn writes() -> impl Strategy<Value = Vec<(Write, [u64; 2])>> {
    let write = (0..8 * EPOCH_MS, 0..12u64, 0..3u64, [0..EPOCH_MS, 0..EPOCH_MS]);
    prop::collection::vec(write, 1..120).prop_map(|writes| {
        let write = |(after, key, actor, late): (u64, u64, u64, [u64; 2])| {
            (Write { at_ms: BEGIN_MS + after, key, actor }, late)
        };
        let mut writes: Vec<_> = writes.into_iter().map(write).collect();
        writes.sort_unstable();
        writes.dedup_by_key(|(write, _)| *write);
        // What was written to a key later does not arrive earlier.
        let mut arrived: BTreeMap<(u64, u64, usize), u64> = BTreeMap::new();
        for (write, late) in &mut writes {
            for (store, late) in late.iter_mut().enumerate() {
                let last = arrived.entry((write.key, write.actor, store)).or_default();
                *last = (*last).max(write.at_ms + *late);
                *late = *last - write.at_ms;
            }
        }
        writes
    })
}

proptest! {
    /// At every moment the two are equal at a cut that lags by two epochs, by sums and root; and each is what is there.
    #[test]
    fn at_a_cut_that_both_have_reached_they_are_equal(writes in writes()) {
        let mut stores = [Store::new(), Store::new()];
        for now_ms in BEGIN_MS..BEGIN_MS + 12 * EPOCH_MS {
            for (index, store) in stores.iter_mut().enumerate() {
                store.trees.open(Epochs::new(now_ms >> BITS, BITS));
                for (write, late) in &writes {
                    if write.at_ms + late[index] == now_ms {
                        store.take(now_ms, *write);
                    }
                }
            }
            let cut = (now_ms >> BITS) - 2;
            prop_assert_eq!(stores[0].at(cut), stores[1].at(cut), "at {}", now_ms - BEGIN_MS);
        }
        for store in &stores {
            prop_assert_eq!(store.trees.tree(0), &store.recounted());
            prop_assert!(store.trees.deltas(0).bytes() == 0, "old changes are forgotten");
            prop_assert_eq!(store.at(0).0, store.trees.tree(0).root());
        }
        prop_assert_eq!(stores[0].trees.tree(0), stores[1].trees.tree(0));
    }
}

fn write(at_ms: u64, key: u64) -> Write {
    Write { at_ms: BEGIN_MS + at_ms, key, actor: 0 }
}

#[test]
fn live_trees_of_healthy_stores_differ_and_trees_at_a_cut_do_not() {
    let mut stores = [Store::new(), Store::new()];
    let (mut live, mut at_cut) = (0, 0);
    for step in 0..200 {
        let now_ms = BEGIN_MS + step;
        stores[0].take(now_ms, write(step, step % 7));
        if step >= 5 {
            stores[1].take(now_ms, write(step - 5, (step - 5) % 7));
        }
        let cut = (now_ms >> BITS) - 2;
        live += u32::from(stores[0].trees.tree(0) != stores[1].trees.tree(0));
        at_cut += u32::from(stores[0].at(cut) != stores[1].at(cut));
    }
    assert_eq!((live, at_cut), (200, 0));
}

#[test]
fn what_is_late_or_impossibly_early_counts_at_every_cut() {
    let mut store = Store::new();
    let now_ms = 10 * EPOCH_MS;
    let cut = ((BEGIN_MS + now_ms) >> BITS) - 2;
    store.take(BEGIN_MS + now_ms, write(0, 1));
    store.take(BEGIN_MS + now_ms, write(now_ms + 3_600_000, 2));
    assert_eq!(store.at(cut).0, store.trees.tree(0).root());
    store.take(BEGIN_MS + now_ms, write(now_ms, 3));
    store.take(BEGIN_MS + now_ms, write(now_ms + EPOCH_MS, 4));
    assert_ne!(store.at(cut).0, store.trees.tree(0).root());
    assert_ne!(store.at(cut + 2).0, store.trees.tree(0).root());
    assert_eq!(store.at(cut + 3).0, store.trees.tree(0).root());
}

#[test]
fn what_came_and_went_leaves_nothing_at_any_cut_and_other_leaves_no_difference() {
    let mut store = Store::new();
    store.take(BEGIN_MS, write(0, 1));
    let before = store.at(u64::MAX);
    let (new, cut) = (write(EPOCH_MS, 2), BEGIN_MS >> BITS);
    store.trees.open(Epochs::new(cut + 1, BITS));
    store.trees.replace(0, new.hash(), &[new.dot()], &[]);
    assert_eq!(store.at(cut), before);
    store.trees.replace(0, new.hash(), &[], &[new.dot()]);
    assert_eq!((store.at(cut), store.at(u64::MAX)), (before.clone(), before.clone()));

    store.trees.replace(0, new.hash(), &[new.dot()], &[]);
    let items = [(write(0, 1).hash(), write(0, 1).dot()), (new.hash(), new.dot())];
    store.trees.refit(0, MerkleTree::build(256, items));
    assert_eq!(store.at(cut), before, "the changes have fewer leaves than the tree");
    store.trees.refit(0, MerkleTree::build(64, items));
    assert_eq!(store.at(cut), before);
    let counted = |store: &Store| store.trees.tree(0).bytes() + store.trees.deltas(0).bytes();
    assert_eq!(store.trees.bytes, counted(&store), "memory is counted");
    store.trees.open(Epochs::new(cut + 9, BITS));
    assert_eq!(store.trees.bytes, counted(&store), "and given back");
    store.trees.forget_deltas(0);
    assert_eq!(store.trees.bytes, store.trees.tree(0).bytes());
}
