//! A core's store as its protocol sees it, with a note of every stamp.

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

    fn takes_writes(&self) -> bool {
        self.inner.takes_writes()
    }
}
