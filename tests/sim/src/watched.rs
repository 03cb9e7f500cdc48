//! A core's store as its protocol sees it, with a note of every stamp.

use std::ops::{Range, RangeInclusive};

use annulus_cluster::event::Key;
use annulus_cluster::ids::{Home, NodeId, PartitionId};
use annulus_cluster::store::{HintCursor, Store, Targets, Versions};
use annulus_object::{Clock, Dot};

/// A store, and the stamps that it gave since anybody looked.
#[derive(Debug)]
pub struct Watched<S> {
    /// The store itself.
    pub inner: S,
    stamps: Vec<Dot>,
}

impl<S> Watched<S> {
    /// Watches a store.
    pub fn new(inner: S) -> Self {
        Self { inner, stamps: Vec::new() }
    }

    /// The stamps since the last call.
    pub fn take_stamps(&mut self) -> Vec<Dot> {
        std::mem::take(&mut self.stamps)
    }
}

impl<S: Store> Store for Watched<S> {
    fn versions(&self, home: Home, key: &Key<'_>, versions: &mut Versions) {
        self.inner.versions(home, key, versions);
    }

    fn hinted_for(&self, key: &Key<'_>, targets: &mut Targets) {
        self.inner.hinted_for(key, targets);
    }

    fn hint_targets(&self, visit: &mut dyn FnMut(NodeId)) {
        self.inner.hint_targets(visit);
    }

    fn is_stable(&self, key: &Key<'_>) -> bool {
        self.inner.is_stable(key)
    }

    fn stamp(&mut self, unix_ms: u64, above: Clock) -> Option<Dot> {
        let dot = self.inner.stamp(unix_ms, above);
        self.stamps.extend(dot);
        dot
    }

    fn hints(&self, target: NodeId, from: HintCursor, max: usize, visit: &mut dyn FnMut(PartitionId, u128, Dot)) {
        self.inner.hints(target, from, max, visit);
    }

    fn hint_count(&self, target: NodeId) -> usize {
        self.inner.hint_count(target)
    }

    fn partition_from(&self, from: PartitionId) -> Option<PartitionId> {
        self.inner.partition_from(from)
    }

    fn open_epoch(&mut self, epoch: u64, bits: u32) {
        self.inner.open_epoch(epoch, bits);
    }

    fn root_at(&self, partition: PartitionId, cut: u64) -> u128 {
        self.inner.root_at(partition, cut)
    }

    fn leaf_bits_at(&self, partition: PartitionId, cut: u64) -> u32 {
        self.inner.leaf_bits_at(partition, cut)
    }

    fn sums_at(&self, partition: PartitionId, cut: u64, bits: u32, nodes: Range<u32>, out: &mut Vec<u64>) {
        self.inner.sums_at(partition, cut, bits, nodes, out);
    }

    fn visit_versions(
        &self,
        partition: PartitionId,
        hashes: RangeInclusive<u64>,
        max: usize,
        visit: &mut dyn FnMut(u128, &Versions),
    ) -> Option<u64> {
        self.inner.visit_versions(partition, hashes, max, visit)
    }

    fn takes_writes(&self) -> bool {
        self.inner.takes_writes()
    }
}
