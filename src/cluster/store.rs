//! What the protocol looks up in the local store without waiting: versions, hints, stamps.
//!
//! The engine answers all of it from memory; values are read with [`crate::effect::Effect::Load`].
//!
//! Invariant: an answer includes every write whose [`crate::effect::Effect::Store`] was carried out, durable or not (rule S2).

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

    /// Whether the store takes writes of values now; deletes and merges of others it may take longer.
    fn takes_writes(&self) -> bool;

    /// Whether what this store confirms of a key is then on stable storage: what DW counts. Not so where the key's durability
    /// promises less.
    fn is_stable(&self, _key: &Key<'_>) -> bool {
        true
    }
}
