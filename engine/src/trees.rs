//! The Merkle trees of a core's partitions, kept in step with the index.
//!
//! Invariant: once a store is open, a partition's tree is the sum over the siblings of its index entries, tombstones included;
//! built anew from the index it is the same.

use annulus_object::{Actor, Clock, Dot};
use smallvec::{SmallVec, smallvec};

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
    /// False while a store opens: the trees are built when all is merged.
    follows: bool,
    bytes: usize,
}

impl Trees {
    /// Empty ones, which follow nothing yet.
    pub(crate) fn new(partitions: &Partitions) -> Self {
        let trees = partitions.all().map(|_| MerkleTree::new()).collect();
        Self { partitions: partitions.clone(), trees, follows: false, bytes: 0 }
    }

    /// One more, of hints.
    pub(crate) fn add_hints(&mut self) {
        self.partitions.add_hints().expect("whoever adds a partition has a number for it");
        self.trees.push(MerkleTree::new());
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.trees.len() * size_of::<MerkleTree>()
    }

    fn tree(&self, partition: u16) -> &MerkleTree {
        &self.trees[self.partitions.slot(partition)]
    }

    #[inline]
    fn change(&mut self, partition: u16, change: impl FnOnce(&mut MerkleTree)) {
        let tree = &mut self.trees[self.partitions.slot(partition)];
        let before = tree.bytes();
        change(tree);
        self.bytes = self.bytes + tree.bytes() - before;
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
        let Self { index, actors, side, trees, .. } = self;
        trees.change(partition, |tree| *tree = built(index, actors, side, partition));
    }

    /// The index has a version of a key, in place of another if there is an `old` one.
    #[inline]
    pub(crate) fn tree_took(&mut self, partition: u16, hash: IndexHash, new: Dot, old: Option<Dot>) {
        if !self.trees.follows || old == Some(new) {
            return;
        }
        self.trees.change(partition, |tree| {
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
        self.trees.change(partition, |tree| {
            match new.siblings {
                None => tree.add(hash, new.dot),
                Some(siblings) => siblings.iter().for_each(|(dot, _)| tree.add(hash, *dot)),
            }
            old_dots.into_iter().for_each(|dot| tree.remove(hash, dot));
        });
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
        self.trees.change(partition, |tree| dots.into_iter().for_each(|dot| tree.remove(entry.hash, dot)));
        self.fit_tree(partition);
    }

    fn fit_tree(&mut self, partition: u16) {
        let tree = self.trees.tree(partition);
        match tree.wants_leaves(self.index.len_in(partition)) {
            None => {}
            Some(fewer) if fewer < tree.leaf_count() => self.trees.change(partition, |tree| tree.coarsen(fewer)),
            Some(_) => self.rebuild_tree(partition),
        }
    }
}
