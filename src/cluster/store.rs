//! What the protocol looks up in the local store without waiting: versions, hints, stamps.
//!
//! The engine answers all of it from memory; values are read with [`crate::effect::Effect::Load`].
//!
//! Invariant: an answer includes every write whose [`crate::effect::Effect::Store`] was carried out, durable or not (rule S2).

use annulus_object::{Clock, Context, Dot};
use smallvec::SmallVec;

use crate::event::Key;
use crate::ids::{Home, NodeId, PartitionId};

/// What is known of an object without its values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    /// Dots of the siblings, ascending, and whether each deletes.
    pub siblings: SmallVec<[(Dot, bool); 2]>,
    /// Everything that was seen; covers the siblings.
    pub context: Context,
}

impl Versions {
    /// Whether nothing was ever seen of the key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.siblings.is_empty() && self.context.is_empty()
    }
}

/// Name of a key in a list of hints: its keyed hash.
pub type HintCursor = u128;

/// The local store, as far as it answers at once.
pub trait Store {
    /// What this node has of a key there; overwrites `versions`.
    fn versions(&self, home: Home, key: &Key<'_>, versions: &mut Versions);

    /// A new dot above the clock, everything stamped before, and `above`; `None` while this node must not stamp (rule S1).
    fn stamp(&mut self, unix_ms: u64, above: Clock) -> Option<Dot>;

    /// Keys that are kept for `target`, by hash, from the first one at or behind `from`, at most `max`: the partition, the hash
    /// and the newest dot of each. Their bytes come with [`crate::event::Event::Loaded`].
    fn hints(&self, target: NodeId, from: HintCursor, max: usize, visit: &mut dyn FnMut(PartitionId, u128, Dot));

    /// How many keys are kept for `target`.
    fn hint_count(&self, target: NodeId) -> usize;

    /// Whether the store takes writes of values now; deletes and merges of others it may take longer.
    fn takes_writes(&self) -> bool;
}
