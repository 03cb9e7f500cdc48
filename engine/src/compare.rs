//! What an exchange with another owner looks up: a partition's tree at a cut, the versions of its keys in the order of their
//! hashes, and objects by what the index knows of their hash.
//!
//! All of it is of what is durable: what is still under way is compared when it has become so.
//!
//! Invariant: versions are told of exactly the keys that the tree is the sum of.

use std::ops::{Range, RangeInclusive};
use std::rc::Rc;

use crate::Record;
use crate::cuts::{Epochs, TreeAtCut};
use crate::disk::Disk;
use crate::engine::Engine;
use crate::index::IndexHash;
use crate::read_path::ObjectFound;
use crate::versions::Versions;

/// Bits of a key's hash that the index does not know.
const UNKNOWN_BITS: u32 = 56;

impl<D: Disk> Engine<D> {
    /// The clock has come to an epoch of 2^`bits` milliseconds (Unix time): from now on trees are kept for cuts of the last two
    /// epochs, this one and the next. Costs nothing while the epoch is the same; never called, no changes are kept.
    pub fn open_epoch(&mut self, epoch: u64, bits: u32) {
        self.trees.open(Epochs::new(epoch, bits));
    }

    /// The partitions that this core has, hints aside.
    pub fn partitions(&self) -> Range<u16> {
        self.partitions.owned()
    }

    fn tree_at(&self, partition: u16, cut: u64) -> TreeAtCut<'_> {
        TreeAtCut { tree: self.trees.tree(partition), deltas: self.trees.deltas(partition), cut }
    }

    /// The root of a partition's tree at a cut: the last epoch that counts.
    pub fn root_at(&self, partition: u16, cut: u64) -> u128 {
        self.tree_at(partition, cut).root()
    }

    /// The tree at a cut has 2^this leaves: 6 to 16.
    pub fn leaf_bits_at(&self, partition: u16, cut: u64) -> u32 {
        self.tree_at(partition, cut).leaf_bits()
    }

    /// Appends the sums of some nodes of the level with 2^`bits` nodes, at most [`Engine::leaf_bits_at`] (asserted).
    pub fn sums_at(&self, partition: u16, cut: u64, bits: u32, nodes: Range<usize>, out: &mut Vec<u64>) {
        let tree = self.tree_at(partition, cut);
        out.extend(nodes.map(|node| tree.node(bits, node)));
    }

    /// Shows `visit` the keys of a partition, the upper 64 bits of whose hashes are in a range, in the order of their hashes:
    /// at most `max`, but never only some of those that share these bits. Of the hash the upper 72 bits are told, zeros follow.
    /// Returns the upper bits to go on at, `None` at the end.
    pub fn visit_versions(
        &self,
        partition: u16,
        hashes: RangeInclusive<u64>,
        max: usize,
        mut visit: impl FnMut(u128, &Versions),
    ) -> Option<u64> {
        let mark = self.newest_mark();
        let next = self.index.scan(partition, *hashes.start(), max, |entry| {
            if entry.hash.high > *hashes.end() || self.is_flushed(entry.clock) {
                return;
            }
            let mut versions = self.versions_of_entry(partition, &entry);
            mark.into_iter().for_each(|mark| versions.flush(mark));
            let hash = u128::from(entry.hash.high) << 64 | u128::from(entry.hash.low) << UNKNOWN_BITS;
            visit(hash, &versions);
        });
        next.filter(|next| next <= hashes.end())
    }

    /// Appends the bytes and the encoded object of a key of which the index's part of the hash is known, the upper 72 bits;
    /// `fetched` as for [`Engine::object_with`]. Gives what is durable.
    pub fn object_in_index(
        &mut self,
        partition: u16,
        hash: u128,
        fetched: Option<&Rc<Record>>,
        (key_out, object_out): (&mut Vec<u8>, &mut Vec<u8>),
    ) -> ObjectFound {
        let entry = self.index.get(partition, IndexHash::of(hash));
        let Some(entry) = entry.filter(|entry| !self.is_flushed(entry.clock)) else {
            return ObjectFound::Absent { after: None };
        };
        let mut versions = self.versions_of_entry(partition, &entry);
        self.newest_mark().into_iter().for_each(|mark| versions.flush(mark));
        self.object_of_entry((partition, &entry), &versions, fetched, (key_out, object_out))
    }
}
