//! What the protocol looks up in the plain store without waiting.
//!
//! Invariant: what is under way is part of every answer.

use std::ops::{Range, RangeInclusive};

use annulus_cluster::event::Key;
use annulus_cluster::ids::{Home, NodeId, PartitionId};
use annulus_cluster::mutation::{Mutation, mutated};
use annulus_cluster::store::{HintCursor, Store, Targets, Versions};
use annulus_object::{Clock, Dot};

use super::trees::{visit_versions, whole_hashes};
use super::{FIRST_HOME, LAST_HOME, PlainStore, core_of, tell_versions};
use crate::node::Done;

impl Store for PlainStore {
    fn versions(&self, home: Home, key: &Key<'_>, versions: &mut Versions) {
        *versions = Versions::default();
        let place = (key.hash, home);
        if mutated(Mutation::StampIgnoresInFlight) {
            let state = self.disk.borrow();
            return state.objects.get(&place).into_iter().for_each(|kept| tell_versions(&kept.object, versions));
        }
        self.visible.get(&place).into_iter().for_each(|kept| tell_versions(&kept.object, versions));
    }

    fn hinted_for(&self, key: &Key<'_>, targets: &mut Targets) {
        targets.clear();
        let places = self.visible.range((key.hash, FIRST_HOME)..=(key.hash, LAST_HOME));
        targets.extend(places.filter_map(|(place, _)| match place.1 {
            Home::Hinted { target, .. } => Some(target),
            Home::Owned(_) => None,
        }));
        targets.sort_unstable();
    }

    fn hint_targets(&self, visit: &mut dyn FnMut(NodeId)) {
        let mut next = NodeId::new(1);
        while let Some((&(target, _), _)) = self.hints.range((next, 0)..).next() {
            visit(target);
            next = NodeId::new(target.raw() + 1);
        }
    }

    fn stamp(&mut self, unix_ms: u64, above: Clock) -> Option<Dot> {
        // A write that is not shown any more, and of which the protocol does not know so yet.
        let has_failed = |done: &Done| matches!(done, Done::Stored { result: Err(_), .. });
        let actor = self.actor.filter(|_| !self.done.iter().any(has_failed))?;
        Some(Dot::new(self.clock.stamp(unix_ms, above), actor))
    }

    fn hints(&self, target: NodeId, from: HintCursor, max: usize, visit: &mut dyn FnMut(PartitionId, u128, Dot)) {
        for (&(_, hash), &partition) in self.hints.range((target, from)..=(target, u128::MAX)).take(max) {
            let kept = &self.visible[&(hash, Home::Hinted { partition, target })];
            let latest = kept.object.latest().expect("a hint has a sibling");
            visit(partition, hash, latest.dot);
        }
    }

    fn hint_count(&self, target: NodeId) -> usize {
        self.hints.range((target, 0)..=(target, u128::MAX)).count()
    }

    fn partition_from(&self, from: PartitionId) -> Option<PartitionId> {
        (from..self.partitions).find(|partition| core_of(*partition, self.partitions, self.cores) == self.core)
    }

    fn open_epoch(&mut self, epoch: u64, bits: u32) {
        self.trees.open_epoch(epoch, bits);
    }

    fn root_at(&self, partition: PartitionId, cut: u64) -> u128 {
        self.trees.root_at(partition, cut)
    }

    fn leaf_bits_at(&self, _: PartitionId, _: u64) -> u32 {
        self.trees.leaf_bits()
    }

    fn sums_at(&self, partition: PartitionId, cut: u64, bits: u32, nodes: Range<u32>, out: &mut Vec<u64>) {
        self.trees.sums_at(partition, cut, bits, nodes, out);
    }

    fn visit_versions(
        &self,
        partition: PartitionId,
        hashes: RangeInclusive<u64>,
        max: usize,
        visit: &mut dyn FnMut(u128, &Versions),
    ) -> Option<u64> {
        let whole = whole_hashes(&hashes);
        let kept = self.visible.range((*whole.start(), FIRST_HOME)..=(*whole.end(), LAST_HOME));
        let owned = kept.filter(|(place, _)| place.1 == Home::Owned(partition));
        visit_versions(owned.map(|(place, kept)| (place.0, &kept.object)), max, visit)
    }

    fn is_stable(&self, _: &Key<'_>) -> bool {
        true
    }

    fn takes_writes(&self) -> bool {
        let troubles = self.disk.borrow().troubles;
        !troubles.no_writes && !troubles.read_only
    }
}
