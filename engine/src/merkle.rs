//! One partition's hash tree, kept up to date key by key.
//!
//! ```text
//! item   of a sibling of a key: leaf sum 64, root sums 2 × 64, mixed from hash 72, clock 56 and actor 64
//! leaf   wrapping sum of the leaf sums of the keys whose hash begins with the leaf's number
//! level  2^bits sums, each of neighbouring leaves
//! root   wrapping sums of all root sums, 128 bits
//! ```
//!
//! Sums forget an item as easily as they take one in and do not care about order, so that no write ever walks the keys. They
//! also add up: a tree with more leaves folds into one with fewer, and the root is the same with any number of them.
//!
//! What it is not: it keeps no keys, so it neither knows how many there are nor whether what is removed was ever added; and
//! only who cannot choose hashes is kept from making two different sets look alike. The hash of a key is keyed, so the
//! constants of the mixes may be public.
//!
//! Invariant: leaves and root are the sums of the items that were added and not removed, whatever the order.

use annulus_object::Dot;

use crate::index::IndexHash;

/// The fewest leaves of a tree.
pub const LEAVES_MIN: usize = 64;
/// The most leaves of a tree.
pub const LEAVES_MAX: usize = 65_536;

/// Leaves grow and shrink by this factor.
const STEP: usize = 4;
/// Fewer keys a leaf than this, and there are too many leaves: half a byte a key.
const KEYS_PER_LEAF_MIN: usize = 16;
/// More keys a leaf than this, and there are too few. A step later 24 are left, so that a third of the keys must go before
/// the tree shrinks again; when it shrinks, it is to 64, and half as many must come before it grows.
const KEYS_PER_LEAF_MAX: usize = 96;

/// What an empty tree shows, without owning it.
static NO_LEAVES: [u64; LEAVES_MIN] = [0; LEAVES_MIN];

const _: () = assert!(LEAVES_MAX == LEAVES_MIN * STEP.pow(5));
const _: () = assert!(KEYS_PER_LEAF_MAX > KEYS_PER_LEAF_MIN * STEP);

/// What one version of a key adds to the sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// For its leaf.
    pub leaf: u64,
    /// For the root.
    pub root: [u64; 2],
}

/// The item of a key with a sibling of this dot; a tombstone is a sibling like any other.
#[must_use]
#[inline]
pub fn item_of(hash: IndexHash, dot: Dot) -> Item {
    let stamp = dot.clock.raw() << 8 | u64::from(hash.low);
    let actor = dot.actor.raw();
    // Two walks over all 192 bits, with different mixes in a different order: each of them is a permutation of any one word
    // while the others stay, and what collides in one does not in the other. The constants are digits of π.
    let first = murmur(hash.high ^ 0x243f_6a88_85a3_08d3);
    let first = murmur(first ^ stamp ^ 0x1319_8a2e_0370_7344);
    let first = murmur(first ^ actor ^ 0xa409_3822_299f_31d0);
    let second = stafford(actor ^ 0x082e_fa98_ec4e_6c89);
    let second = stafford(second ^ hash.high ^ 0x4528_21e6_38d0_1377);
    let second = stafford(second ^ stamp ^ 0xbe54_66cf_34e9_0c6c);
    Item { leaf: murmur(first.wrapping_add(second.rotate_left(32))), root: [first, second] }
}

/// The finaliser of MurmurHash3.
#[inline]
const fn murmur(mut word: u64) -> u64 {
    word = (word ^ word >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    word = (word ^ word >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ word >> 33
}

/// Stafford's thirteenth variant of it, as in SplitMix64.
#[inline]
const fn stafford(mut word: u64) -> u64 {
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// The tree of one partition. Equal trees have equal sums in as many leaves.
#[derive(Clone, Default)]
pub struct MerkleTree {
    /// None until the first item.
    leaves: Box<[u64]>,
    root: [u64; 2],
}

impl MerkleTree {
    /// An empty one; it owns no memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree of `leaf_count` leaves (one of 64, 256, 1024, 4096, 16384, 65536; asserted) over all keys of a partition.
    #[must_use]
    pub fn build(leaf_count: usize, items: impl IntoIterator<Item = (IndexHash, Dot)>) -> Self {
        assert!(is_leaf_count(leaf_count), "leaves are a power of four");
        // The fewest leaves come with the first item.
        let leaves = if leaf_count == LEAVES_MIN { Box::default() } else { vec![0; leaf_count].into() };
        let mut tree = Self { leaves, root: [0; 2] };
        items.into_iter().for_each(|(hash, dot)| tree.add(hash, dot));
        tree
    }

    /// Takes in a key's version.
    #[inline]
    pub fn add(&mut self, hash: IndexHash, dot: Dot) {
        self.change(hash, item_of(hash, dot), u64::wrapping_add);
    }

    /// Forgets a key's version that was added before.
    #[inline]
    pub fn remove(&mut self, hash: IndexHash, dot: Dot) {
        self.change(hash, item_of(hash, dot), u64::wrapping_sub);
    }

    #[inline]
    fn change(&mut self, hash: IndexHash, item: Item, change: impl Fn(u64, u64) -> u64) {
        if self.leaves.is_empty() {
            self.leaves = vec![0; LEAVES_MIN].into();
        }
        let leaf = &mut self.leaves[leaf_of(hash, self.leaves.len())];
        *leaf = change(*leaf, item.leaf);
        for (sum, addend) in self.root.iter_mut().zip(item.root) {
            *sum = change(*sum, addend);
        }
    }

    /// Tells one set of versions from another, whatever the number of leaves; 0 for none.
    #[must_use]
    pub fn root(&self) -> u128 {
        u128::from(self.root[0]) << 64 | u128::from(self.root[1])
    }

    /// The sums of all leaves, in the order of the hashes.
    #[must_use]
    pub fn leaves(&self) -> &[u64] {
        if self.leaves.is_empty() { &NO_LEAVES } else { &self.leaves }
    }

    /// Number of leaves.
    #[must_use]
    pub fn leaf_count(&self) -> usize {
        self.leaves().len()
    }

    /// The leaves of a tree with 2^`bits` of them, at most as many as this one has (asserted).
    #[must_use]
    pub fn level(&self, bits: u32) -> Vec<u64> {
        let leaves = self.leaves();
        assert!(bits <= leaves.len().ilog2(), "a tree folds into coarser ones only");
        let folded = leaves.chunks_exact(leaves.len() >> bits);
        folded.map(|finer| finer.iter().fold(0, |sum: u64, leaf| sum.wrapping_add(*leaf))).collect()
    }

    /// The sum of one node of the level with 2^`bits` of them: see [`MerkleTree::level`].
    #[must_use]
    pub fn node(&self, bits: u32, node: usize) -> u64 {
        let leaves = self.leaves();
        assert!(bits <= leaves.len().ilog2(), "a tree folds into coarser ones only");
        let width = leaves.len() >> bits;
        leaves[node * width..(node + 1) * width].iter().fold(0, |sum: u64, leaf| sum.wrapping_add(*leaf))
    }

    /// Folds the tree into one with fewer leaves, without the keys; `leaf_count` as for [`MerkleTree::build`].
    pub fn coarsen(&mut self, leaf_count: usize) {
        assert!(is_leaf_count(leaf_count), "leaves are a power of four");
        self.leaves = self.level(leaf_count.ilog2()).into();
    }

    /// Bytes of memory besides the tree itself.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.leaves)
    }

    /// How many leaves would fit `keys` keys better, when there are far too few or too many: fewer are had from
    /// [`MerkleTree::coarsen`], more only from [`MerkleTree::build`].
    #[must_use]
    pub fn wants_leaves(&self, keys: usize) -> Option<usize> {
        let leaves = self.leaf_count();
        let too_many = leaves > LEAVES_MIN && keys < leaves * KEYS_PER_LEAF_MIN;
        let too_few = leaves < LEAVES_MAX && keys > leaves * KEYS_PER_LEAF_MAX;
        (too_many || too_few).then(|| leaves_for(keys))
    }
}

impl PartialEq for MerkleTree {
    fn eq(&self, other: &Self) -> bool {
        self.root == other.root && self.leaves() == other.leaves()
    }
}

impl Eq for MerkleTree {}

impl std::fmt::Debug for MerkleTree {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "MerkleTree({:032x} in {} leaves)", self.root(), self.leaf_count())
    }
}

/// How many leaves a new tree of so many keys has: 16 to 64 keys each, within the limits.
#[must_use]
pub fn leaves_for(keys: usize) -> usize {
    let mut leaves = LEAVES_MIN;
    while leaves < LEAVES_MAX && leaves * STEP * KEYS_PER_LEAF_MIN <= keys {
        leaves *= STEP;
    }
    leaves
}

/// The leaf that a key belongs to: the top bits of its hash.
#[must_use]
#[inline]
pub fn leaf_of(hash: IndexHash, leaf_count: usize) -> usize {
    (hash.high >> (u64::BITS - leaf_count.ilog2())) as usize
}

fn is_leaf_count(leaf_count: usize) -> bool {
    (LEAVES_MIN..=LEAVES_MAX).contains(&leaf_count)
        && leaf_count.is_power_of_two()
        && leaf_count.ilog2().is_multiple_of(STEP.ilog2())
}

#[cfg(test)]
mod tests;
