//! What the protocol looks up in the local store without waiting: versions, hints, stamps.
//!
//! The engine answers all of it from memory; values are read with [`crate::effect::Effect::Load`].
//!
//! Invariant: an answer includes every write whose [`crate::effect::Effect::Store`] was carried out, durable or not (rule S2).

use std::ops::{Range, RangeInclusive};

use annulus_object::{Clock, Dot};
use smallvec::SmallVec;

use crate::event::Key;
use crate::ids::{Home, NodeId, PartitionId};

pub use crate::versions::{Versions, VersionsView};

/// For whom a key is kept.
pub type Targets = SmallVec<[NodeId; 4]>;

/// Name of a key in a list of hints, which are in the order of these: as the store likes, but where it is not the key's hash
/// [`crate::event::Event::Loaded`] tells that.
pub type HintCursor = u128;

/// The most leaves of a hash tree: 2^16.
pub const LEAF_BITS_MAX: u32 = 16;

/// The local store, as far as it answers at once.
pub trait Store {
    /// What this node has of a key there; overwrites `versions`.
    fn versions(&self, home: Home, key: &Key<'_>, versions: &mut Versions);

    /// The nodes for which this one keeps something of a key, ascending; overwrites `targets`. Includes nodes that have left.
    fn hinted_for(&self, key: &Key<'_>, targets: &mut Targets);

    /// A new dot above the clock, everything stamped before, and `above`; `None` while this node must not stamp (rule S1): at
    /// the latest from the moment at which a write that was carried out is not shown any more, because it has failed, until
    /// its [`crate::event::Event::Stored`] was handled.
    fn stamp(&mut self, unix_ms: u64, above: Clock) -> Option<Dot>;

    /// Keys that are kept for `target`, by name, from the first one at or behind `from`, at most `max`: the partition, the name
    /// and the newest dot of each. Their bytes come with [`crate::event::Event::Loaded`].
    fn hints(&self, target: NodeId, from: HintCursor, max: usize, visit: &mut dyn FnMut(PartitionId, u128, Dot));

    /// Every node for which something is kept, ascending; nodes that have left included.
    fn hint_targets(&self, visit: &mut dyn FnMut(NodeId));

    /// How many keys are kept for `target`.
    fn hint_count(&self, target: NodeId) -> usize;

    /// The first partition of this core's at or behind `from`, whether the ring names this node an owner of it or not.
    fn partition_from(&self, from: PartitionId) -> Option<PartitionId>;

    /// The wall clock has come to this epoch of 2^`bits` Unix milliseconds. From now on the store keeps in mind what writes
    /// stamped in the two epochs before, this one and the next have changed, for [`Store::root_at`]. Costs nothing while the
    /// epoch is the same.
    fn open_epoch(&mut self, epoch: u64, bits: u32);

    /// The root of the hash tree over what this node has of a partition as an owner, at a cut: without what versions of open
    /// epochs behind `cut` have changed. Two stores that have taken the same writes up to the cut, whenever these arrived, have
    /// the same root.
    fn root_at(&self, partition: PartitionId, cut: u64) -> u128;

    /// The tree at a cut has 2^this leaves: at most [`LEAF_BITS_MAX`]. Leaves, and the nodes of every level, are of equal ranges
    /// of the upper 64 bits of hashes.
    fn leaf_bits_at(&self, partition: PartitionId, cut: u64) -> u32;

    /// Appends the sums of some nodes of the level with 2^`bits` nodes, which the tree at the cut has.
    fn sums_at(&self, partition: PartitionId, cut: u64, bits: u32, nodes: Range<u32>, out: &mut Vec<u64>);

    /// Shows `visit` what this node has as an owner of keys whose hashes' upper 64 bits are in a range, as the tree has it, in
    /// the order of their hashes: at most `max`, but never only some of those with the same upper 64 bits. Told are the upper
    /// 72 bits of the hash, zeros follow: where [`crate::effect::Effect::Load`] comes without the key's bytes, that names it.
    /// Returns the upper 64 bits to go on at, `None` at the end of the range.
    fn visit_versions(
        &self,
        partition: PartitionId,
        hashes: RangeInclusive<u64>,
        max: usize,
        visit: &mut dyn FnMut(u128, &Versions),
    ) -> Option<u64>;

    /// Whether the store takes writes of values now; deletes and merges of others it may take longer.
    fn takes_writes(&self) -> bool;

    /// Whether what this store confirms of a key is then on stable storage: what DW counts. Not so where the key's durability
    /// promises less.
    fn is_stable(&self, key: &Key<'_>) -> bool;
}
