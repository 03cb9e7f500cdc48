//! The Merkle trees of a core's partitions, kept in step with the index, and what recent epochs have changed in them.
//!
//! A tree at a *cut* is the tree without what epochs behind the cut have changed: see [`crate::cuts`].
//!
//! Invariant: once a store is open, a partition's tree is the sum over the siblings of its index entries, tombstones included;
//! built anew from the index it is the same.

use annulus_object::{Actor, Clock, Dot};
use smallvec::{SmallVec, smallvec};

use crate::cuts::{Deltas, Epochs};
use crate::disk::Disk;
use crate::engine::Engine;
use crate::entries::FieldsView;
use crate::index::{ActorTable, Entry, Index, IndexHash};
use crate::merkle::{MerkleTree, leaves_for};
use crate::partitions::Partitions;
use crate::side_table::SideTable;

/// One tree for each partition of a core.
pub(crate) struct Trees {
    partitions: Partitions,
    trees: Vec<MerkleTree>,
    /// Of the core's own partitions.
    deltas: Vec<Deltas>,
    /// None while nobody compares anything.
    epochs: Option<Epochs>,
    /// False while a store opens: the trees are built when all is merged.
    follows: bool,
    bytes: usize,
}

impl Trees {
    /// Empty ones, which follow nothing yet.
    pub(crate) fn new(partitions: &Partitions) -> Self {
        let trees = partitions.all().map(|_| MerkleTree::new()).collect();
        let deltas = partitions.owned().map(|_| Deltas::default()).collect();
        Self { partitions: partitions.clone(), trees, deltas, epochs: None, follows: false, bytes: 0 }
    }

    /// One more, of hints.
    pub(crate) fn add_hints(&mut self) {
        self.partitions.add_hints().expect("whoever adds a partition has a number for it");
        self.trees.push(MerkleTree::new());
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.trees.len() * size_of::<MerkleTree>() + self.deltas.len() * size_of::<Deltas>()
    }

    pub(crate) fn tree(&self, partition: u16) -> &MerkleTree {
        &self.trees[self.partitions.slot(partition)]
    }

    /// What recent epochs have changed; of the core's own partitions (asserted).
    pub(crate) fn deltas(&self, partition: u16) -> &Deltas {
        &self.deltas[self.partitions.slot(partition)]
    }

    /// The time has come to these epochs: changes of open ones are kept, those of others forgotten.
    pub(crate) fn open(&mut self, epochs: Epochs) {
        if self.epochs == Some(epochs) {
            return;
        }
        let keeps = self.epochs.is_some_and(|before| before.are_as_long_as(epochs));
        self.epochs = Some(epochs);
        for deltas in &mut self.deltas {
            let before = deltas.bytes();
            deltas.retain(|epoch| keeps && epochs.are_open(epoch));
            self.bytes = self.bytes + deltas.bytes() - before;
        }
    }

    /// Changes a partition's tree by what a version with this clock has brought.
    #[inline]
    fn change(&mut self, partition: u16, clock: Clock, change: impl Fn(&mut MerkleTree)) {
        let slot = self.partitions.slot(partition);
        let tree = &mut self.trees[slot];
        let before = tree.bytes();
        change(tree);
        self.bytes = self.bytes + tree.bytes() - before;
        let (Some(epochs), Some(deltas)) = (self.epochs, self.deltas.get_mut(slot)) else { return };
        let epoch = epochs.of(clock);
        if epochs.are_open(epoch) {
            let before = deltas.bytes();
            change(deltas.of(epoch, tree.leaf_count()));
            self.bytes = self.bytes + deltas.bytes() - before;
        }
    }

    /// Replaces siblings of a key. The change belongs to the newest that it adds, or else to the newest that it removes: then
    /// a version that came and went leaves nothing at any cut.
    fn replace(&mut self, partition: u16, hash: IndexHash, new: &[Dot], old: &[Dot]) {
        let added = new.iter().filter(|dot| !old.contains(dot)).max();
        let Some(newest) = added.or_else(|| old.iter().filter(|dot| !new.contains(dot)).max()) else { return };
        self.change(partition, newest.clock, |tree| {
            new.iter().for_each(|dot| tree.add(hash, *dot));
            old.iter().for_each(|dot| tree.remove(hash, *dot));
        });
    }

    /// Another tree of the same items, with another number of leaves. Changes of open epochs stay as they are; where they have
    /// fewer leaves than the tree, the tree at their cuts has as many as they.
    fn refit(&mut self, partition: u16, tree: MerkleTree) {
        let slot = self.partitions.slot(partition);
        let (leaves, before) = (tree.leaf_count(), self.trees[slot].bytes());
        self.bytes = self.bytes + tree.bytes() - before;
        self.trees[slot] = tree;
        if let Some(deltas) = self.deltas.get_mut(slot) {
            let before = deltas.bytes();
            deltas.coarsen(leaves);
            self.bytes = self.bytes + deltas.bytes() - before;
        }
    }

    /// What recent epochs have changed is not known any more.
    fn forget_deltas(&mut self, partition: u16) {
        if let Some(deltas) = self.deltas.get_mut(self.partitions.slot(partition)) {
            self.bytes -= deltas.bytes();
            *deltas = Deltas::default();
        }
    }
}

/// Actor and context floor of an entry's version.
#[inline]
pub(crate) fn version_of(actors: &ActorTable, side: &SideTable, partition: u16, entry: &Entry) -> (Actor, Clock) {
    actors.resolve(entry.actor_slot).unwrap_or_else(|| {
        let extra = side.get(partition, entry.hash);
        extra.and_then(|extra| extra.actor).expect("an actor without a slot is in the side table")
    })
}

/// The dots of an entry's siblings.
fn dots_of(actors: &ActorTable, side: &SideTable, partition: u16, entry: &Entry) -> SmallVec<[Dot; 2]> {
    if entry.has_siblings() {
        let extra = side.get(partition, entry.hash);
        return extra.map_or_else(SmallVec::new, |extra| extra.siblings.iter().map(|(dot, _)| *dot).collect());
    }
    smallvec![Dot::new(entry.clock, version_of(actors, side, partition, entry).0)]
}

fn built(index: &Index, actors: &ActorTable, side: &SideTable, partition: u16) -> MerkleTree {
    let mut tree = MerkleTree::build(leaves_for(index.len_in(partition)), []);
    index.scan(partition, 0, usize::MAX, |entry| {
        dots_of(actors, side, partition, &entry).into_iter().for_each(|dot| tree.add(entry.hash, dot));
    });
    tree
}

impl<D: Disk> Engine<D> {
    /// The tree of a partition.
    pub fn merkle_tree(&self, partition: u16) -> &MerkleTree {
        self.trees.tree(partition)
    }

    /// What [`Engine::merkle_tree`] must be equal to: built from the index.
    pub fn recount_merkle_tree(&self, partition: u16) -> MerkleTree {
        built(&self.index, &self.actors, &self.side, partition)
    }

    /// Builds all trees; from now on they follow the index.
    pub(crate) fn build_trees(&mut self) {
        self.trees.follows = true;
        self.partitions.all().for_each(|partition| self.rebuild_tree(partition));
    }

    /// Builds a partition's tree anew, after many of its entries have gone.
    pub(crate) fn rebuild_tree(&mut self, partition: u16) {
        if !self.trees.follows {
            return;
        }
        self.trees.forget_deltas(partition);
        self.trees.refit(partition, self.recount_merkle_tree(partition));
    }

    /// The index has a version of a key, in place of another if there is an `old` one.
    #[inline]
    pub(crate) fn tree_took(&mut self, partition: u16, hash: IndexHash, new: Dot, old: Option<Dot>) {
        if !self.trees.follows || old == Some(new) {
            return;
        }
        self.trees.change(partition, new.clock, |tree| {
            tree.add(hash, new);
            if let Some(old) = old {
                tree.remove(hash, old);
            }
        });
        if old.is_none() {
            self.fit_tree(partition);
        }
    }

    /// As [`Engine::tree_took`], where one of the two may have any number of siblings. To be told while the side table still
    /// has what belongs to the old entry.
    pub(crate) fn tree_took_siblings(&mut self, partition: u16, new: &FieldsView<'_>, old: Option<Entry>) {
        if !self.trees.follows {
            return;
        }
        let hash = IndexHash::of(new.hash);
        let old_dots = old.map(|old| dots_of(&self.actors, &self.side, partition, &old)).unwrap_or_default();
        let new_dots: SmallVec<[Dot; 2]> = new.dots().collect();
        self.trees.replace(partition, hash, &new_dots, &old_dots);
        if old.is_none() {
            self.fit_tree(partition);
        }
    }

    /// The index has an entry no more. To be told while the side table still has what belongs to it.
    pub(crate) fn tree_lost(&mut self, partition: u16, entry: &Entry) {
        if !self.trees.follows {
            return;
        }
        let dots = dots_of(&self.actors, &self.side, partition, entry);
        self.trees.replace(partition, entry.hash, &[], &dots);
        self.fit_tree(partition);
    }

    fn fit_tree(&mut self, partition: u16) {
        let tree = self.trees.tree(partition);
        match tree.wants_leaves(self.index.len_in(partition)) {
            None => {}
            Some(fewer) if fewer < tree.leaf_count() => {
                let mut tree = tree.clone();
                tree.coarsen(fewer);
                self.trees.refit(partition, tree);
            }
            Some(_) => self.trees.refit(partition, self.recount_merkle_tree(partition)),
        }
    }
}

#[cfg(test)]
mod tests;
