//! Who keeps what: the data plane's view of the ring, and the preference list that it makes of it for one request.
//!
//! Invariant: a preference list names no node twice.

use crate::ids::{Fingerprint, NodeId, PartitionId};

/// The ring and who answers, as the control plane sees them now. It changes between events only.
pub trait Routes {
    /// The owners of a partition in order: as many as its largest replication class has, fewer where there are fewer members.
    fn owners(&self, partition: PartitionId) -> &[NodeId];

    /// Every other node that may stand in for an owner, in order.
    fn fallbacks(&self, partition: PartitionId) -> &[NodeId];

    /// Whether a member answers, as far as the failure detector can tell.
    fn is_up(&self, node: NodeId) -> bool;

    /// What the ring is recognised by.
    fn fingerprint(&self) -> Fingerprint;
}

/// The order in which nodes are asked for one key: its `n` owners, then whoever may stand in for one of them.
#[derive(Clone, Copy)]
pub(crate) struct PreferenceList<'a> {
    pub(crate) owners: &'a [NodeId],
    /// Owners of larger replication classes: the first to stand in.
    others: &'a [NodeId],
    fallbacks: &'a [NodeId],
}

impl<'a> PreferenceList<'a> {
    /// For keys of which there are `n` copies.
    pub(crate) fn new(routes: &'a dyn Routes, partition: PartitionId, n: u8) -> Self {
        let owners = routes.owners(partition);
        let n = usize::from(n).clamp(1, crate::limits::COPIES_MAX).min(owners.len());
        let (owners, others) = owners.split_at(n);
        Self { owners, others, fallbacks: routes.fallbacks(partition) }
    }

    /// Who stands in, in order.
    pub(crate) fn fallback(&self, index: usize) -> Option<NodeId> {
        let behind = index.checked_sub(self.others.len());
        let node = behind.map_or(self.others.get(index), |index| self.fallbacks.get(index));
        node.copied()
    }

    /// All that stand in.
    pub(crate) fn fallbacks(&self) -> impl Iterator<Item = NodeId> + 'a {
        self.others.iter().chain(self.fallbacks).copied()
    }
}
