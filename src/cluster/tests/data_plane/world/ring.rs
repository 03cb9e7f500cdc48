//! What a node of the world takes for the ring.
//!
//! Invariant: all partitions have the same owners and fallbacks.

use std::collections::BTreeSet;

use annulus_cluster::ids::{Fingerprint, NodeId, PartitionId};
use annulus_cluster::route::Routes;

/// One node's view of the ring.
#[derive(Debug, Clone)]
pub struct Ring {
    pub owners: Vec<NodeId>,
    pub fallbacks: Vec<NodeId>,
    pub down: BTreeSet<NodeId>,
    pub fingerprint: u64,
}

impl Routes for Ring {
    fn owners(&self, _: PartitionId) -> &[NodeId] {
        &self.owners
    }

    fn fallbacks(&self, _: PartitionId) -> &[NodeId] {
        &self.fallbacks
    }

    fn is_up(&self, node: NodeId) -> bool {
        !self.down.contains(&node)
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint(self.fingerprint)
    }
}
