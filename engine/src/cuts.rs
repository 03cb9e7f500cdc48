//! What recent epochs have changed in a partition's tree, so that two owners can compare at a cut that both have reached.
//!
//! An *epoch* is a stretch of 2^bits milliseconds of the stamps' clocks; a *cut* is the last epoch that counts. Two owners under
//! load never have the same tree at the same moment; but at a cut that lags the clock by an epoch or two both have everything
//! that was stamped before it, and what was stamped since is taken off again:
//!
//! ```text
//! tree at cut c = tree − changes of open epochs above c
//! open epochs   = two before that of now │ now's │ the next one, for whoever's clock is a little ahead
//! ```
//!
//! A change belongs to the epoch of the newest version that it adds, whenever it arrives. One of an epoch that is not open
//! counts at every cut: what comes late must be seen, and so must what an impossible clock has stamped.
//!
//! What it is not: exact. Where one owner took two writes of a key one after the other, and another only the second, they
//! differ at the cuts between the two; and after a start nothing is known of what was open. Both look like differences for a
//! few epochs, and cost a comparison of some keys.
//!
//! Invariant: a delta has as many leaves as its partition's tree, or fewer.

use annulus_object::Clock;

use crate::merkle::MerkleTree;

/// Epochs before that of now whose changes are kept.
const EPOCHS_BEHIND: u64 = 2;
/// Epochs ahead of now whose changes are kept.
const EPOCHS_AHEAD: u64 = 1;

/// The epoch that the clock has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epochs {
    now: u64,
    bits: u32,
}

impl Epochs {
    /// Epochs of 2^`bits` milliseconds, `bits` below 32 (asserted), of which `now` is the current one.
    pub(crate) fn new(now: u64, bits: u32) -> Self {
        assert!(bits < 32, "an epoch is short");
        Self { now, bits }
    }

    /// The epoch of a stamp.
    #[inline]
    pub(crate) fn of(self, clock: Clock) -> u64 {
        clock.unix_ms() >> self.bits
    }

    /// Whether changes of an epoch are kept.
    #[inline]
    pub(crate) fn are_open(self, epoch: u64) -> bool {
        epoch + EPOCHS_BEHIND >= self.now && epoch <= self.now + EPOCHS_AHEAD
    }

    /// Whether numbers mean the same in both.
    pub(crate) fn are_as_long_as(self, other: Epochs) -> bool {
        self.bits == other.bits
    }
}

/// What open epochs have changed in one tree: sums, as the tree's own.
#[derive(Debug, Default)]
pub(crate) struct Deltas {
    open: Vec<(u64, MerkleTree)>,
}

impl Deltas {
    /// The changes of an epoch; none at first, in as many leaves as the tree has.
    #[inline]
    pub(crate) fn of(&mut self, epoch: u64, leaf_count: usize) -> &mut MerkleTree {
        let index = self.open.iter().position(|(open, _)| *open == epoch);
        let index = index.unwrap_or_else(|| {
            self.open.push((epoch, MerkleTree::build(leaf_count, [])));
            self.open.len() - 1
        });
        &mut self.open[index].1
    }

    /// Forgets the changes of epochs that `keep` refuses.
    pub(crate) fn retain(&mut self, keep: impl Fn(u64) -> bool) {
        self.open.retain(|(epoch, _)| keep(*epoch));
        if self.open.is_empty() {
            self.open = Vec::new();
        }
    }

    /// Folds those that have more leaves than `leaf_count`.
    pub(crate) fn coarsen(&mut self, leaf_count: usize) {
        let finer = self.open.iter_mut().filter(|(_, delta)| delta.leaf_count() > leaf_count);
        finer.for_each(|(_, delta)| delta.coarsen(leaf_count));
    }

    /// Bytes of memory.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        let deltas: usize = self.open.iter().map(|(_, delta)| delta.bytes()).sum();
        deltas + self.open.capacity() * size_of::<(u64, MerkleTree)>()
    }

    /// What does not count at a cut.
    fn above(&self, cut: u64) -> impl Iterator<Item = &MerkleTree> {
        self.open.iter().filter(move |(epoch, _)| *epoch > cut).map(|(_, delta)| delta)
    }
}

/// A tree as it is at a cut.
pub(crate) struct TreeAtCut<'a> {
    pub(crate) tree: &'a MerkleTree,
    pub(crate) deltas: &'a Deltas,
    pub(crate) cut: u64,
}

impl TreeAtCut<'_> {
    /// See [`MerkleTree::root`].
    pub(crate) fn root(&self) -> u128 {
        // Either half is a sum by itself.
        let halves = |root: u128| [(root >> 64) as u64, root as u64];
        let mut sums = halves(self.tree.root());
        for delta in self.deltas.above(self.cut) {
            for (sum, less) in sums.iter_mut().zip(halves(delta.root())) {
                *sum = sum.wrapping_sub(less);
            }
        }
        u128::from(sums[0]) << 64 | u128::from(sums[1])
    }

    /// Of the finest level that all of it has.
    pub(crate) fn leaf_bits(&self) -> u32 {
        let trees = self.deltas.above(self.cut).chain(std::iter::once(self.tree));
        trees.map(|tree| tree.leaf_count().ilog2()).min().expect("there is a tree")
    }

    /// See [`MerkleTree::node`].
    pub(crate) fn node(&self, bits: u32, node: usize) -> u64 {
        let less = self.deltas.above(self.cut).map(|delta| delta.node(bits, node));
        less.fold(self.tree.node(bits, node), u64::wrapping_sub)
    }
}
