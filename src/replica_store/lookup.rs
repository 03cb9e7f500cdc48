//! What the protocol looks up without waiting.
//!
//! Invariant: what waits for room or for a record is part of every answer.

use std::ops::{Range, RangeInclusive};

use annulus_cluster::event::Key;
use annulus_cluster::ids::{Home, NodeId, PartitionId};
use annulus_cluster::store::{HintCursor, Store, Targets, Versions};
use annulus_engine::Disk;
use annulus_object::{Clock, Dot, ObjectView};

use super::{ReplicaStore, key_in};

impl<D: Disk> Store for ReplicaStore<D> {
    fn versions(&self, home: Home, key: &Key<'_>, versions: &mut Versions) {
        versions.clear();
        if let Some(key) = key_in(&self.engine, home, key) {
            let known = self.engine.versions(&key);
            (versions.siblings, versions.context) = (known.siblings, known.context);
        }
        for stalled in self.waiting.stalled_at(home, key.hash) {
            let mut one = Versions::default();
            one.copy_from_object(ObjectView::checked_before(&stalled.object));
            versions.merge(&one);
        }
    }

    fn hinted_for(&self, key: &Key<'_>, targets: &mut Targets) {
        targets.clear();
        let node = |target| NodeId::checked(target).expect("hints are kept for nodes");
        let owned = annulus_engine::Key { bytes: key.bytes, partition: key.partition, hash: key.hash };
        self.engine.hinted_for(&owned, |target| targets.push(node(target)));
        self.waiting.stalled_targets(key, |target| {
            if let Err(index) = targets.binary_search(&target) {
                targets.insert(index, target);
            }
        });
    }

    fn stamp(&mut self, unix_ms: u64, above: Clock) -> Option<Dot> {
        if self.ended.has_failures() { None } else { self.engine.stamp(unix_ms, above) }
    }

    fn hints(&self, target: NodeId, from: HintCursor, max: usize, visit: &mut dyn FnMut(PartitionId, u128, Dot)) {
        self.engine.hints(target.raw(), from, max, visit);
    }

    fn hint_targets(&self, visit: &mut dyn FnMut(NodeId)) {
        let targets = self.engine.hint_targets().filter_map(|(target, _)| NodeId::checked(target));
        targets.for_each(visit);
    }

    fn hint_count(&self, target: NodeId) -> usize {
        usize::try_from(self.engine.hint_count(target.raw())).expect("hints are in memory's index")
    }

    fn partition_from(&self, from: PartitionId) -> Option<PartitionId> {
        let owned = self.engine.partitions();
        Some(from.max(owned.start)).filter(|partition| owned.contains(partition))
    }

    fn open_epoch(&mut self, epoch: u64, bits: u32) {
        self.engine.open_epoch(epoch, bits);
    }

    fn root_at(&self, partition: PartitionId, cut: u64) -> u128 {
        self.engine.root_at(partition, cut)
    }

    fn leaf_bits_at(&self, partition: PartitionId, cut: u64) -> u32 {
        self.engine.leaf_bits_at(partition, cut)
    }

    fn sums_at(&self, partition: PartitionId, cut: u64, bits: u32, nodes: Range<u32>, out: &mut Vec<u64>) {
        self.engine.sums_at(partition, cut, bits, nodes.start as usize..nodes.end as usize, out);
    }

    fn visit_versions(
        &self,
        partition: PartitionId,
        hashes: RangeInclusive<u64>,
        max: usize,
        visit: &mut dyn FnMut(u128, &Versions),
    ) -> Option<u64> {
        let mut told = Versions::default();
        self.engine.visit_versions(partition, hashes, max, |hash, known| {
            told.siblings.clone_from(&known.siblings);
            told.context.clone_from(&known.context);
            visit(hash, &told);
        })
    }

    fn takes_writes(&self) -> bool {
        self.engine.takes_values() && !self.waiting.is_crowded()
    }

    fn is_stable(&self, _key: &Key<'_>) -> bool {
        self.is_stable
    }
}
