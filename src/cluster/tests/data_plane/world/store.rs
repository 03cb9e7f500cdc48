//! A node's store: maps, with writes and reads that end when the test says so.
//!
//! Invariant: what is visible is the merge of what is durable and of every write under way (rule S2).

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Range, RangeInclusive};

use annulus_cluster::event::Key;
use annulus_cluster::ids::{Home, NodeId, PartitionId, StoreToken};
use annulus_cluster::store::{HintCursor, Store, Targets, Versions};
use annulus_object::{Actor, Clock, Dot, HybridClock, Object};

use super::PARTITION;
use crate::trees::{PlainTrees, hashes_told_as, visit_versions, whole_hashes};

/// The least and the largest of all homes.
const FIRST_HOME: Home = Home::Owned(0);
const LAST_HOME: Home = Home::Hinted { partition: PartitionId::MAX, target: NodeId::new((1 << 48) - 1) };

/// Where an object is: sorted by hash, so that all of a key lies together.
pub type Place = (u128, Home);

#[derive(Debug, Clone, Default)]
pub struct Kept {
    pub key: Vec<u8>,
    pub object: Object,
}

/// A write that is not durable yet.
#[derive(Debug, Clone)]
pub struct Write {
    pub token: StoreToken,
    pub place: Place,
    pub kept: Kept,
}

#[derive(Debug)]
pub struct ModelStore {
    pub durable: BTreeMap<Place, Kept>,
    visible: BTreeMap<Place, Kept>,
    trees: PlainTrees,
    pub writes: VecDeque<Write>,
    pub loads: VecDeque<(StoreToken, Place)>,
    pub actor: Option<Actor>,
    pub clock: HybridClock,
    pub takes_writes: bool,
    pub is_stable: bool,
}

/// The name of a hint: not the key's hash, but in the same order.
pub fn name_of(hash: u128) -> u128 {
    hash & !0xff | 0x5a
}

impl ModelStore {
    pub fn new(actor: Actor) -> ModelStore {
        ModelStore {
            durable: BTreeMap::new(),
            visible: BTreeMap::new(),
            trees: PlainTrees::new(6),
            writes: VecDeque::new(),
            loads: VecDeque::new(),
            actor: Some(actor),
            clock: HybridClock::new(Clock::ZERO),
            takes_writes: true,
            is_stable: true,
        }
    }

    fn keep(map: &mut BTreeMap<Place, Kept>, place: Place, kept: &Kept) {
        let there = map.entry(place).or_default();
        there.key.clone_from(&kept.key);
        there.object.merge(kept.object.clone());
    }

    /// A write begins: visible at once.
    pub fn start_store(&mut self, token: StoreToken, home: Home, hash: u128, key: &[u8], object: &[u8]) {
        let kept = Kept { key: key.to_vec(), object: Object::decode(object).expect("what is stored decodes") };
        self.clock.observe(kept.object.context().highest());
        Self::keep(&mut self.visible, (hash, home), &kept);
        self.follow((hash, home));
        self.writes.push_back(Write { token, place: (hash, home), kept });
    }

    /// A write ends.
    pub fn finish_store(&mut self, index: usize, is_stored: bool) -> StoreToken {
        let write = self.writes.remove(index).expect("it is under way");
        if is_stored {
            Self::keep(&mut self.durable, write.place, &write.kept);
        } else {
            self.look_again(write.place);
        }
        write.token
    }

    fn look_again(&mut self, place: Place) {
        self.visible.remove(&place);
        let open = self.writes.iter().filter(|write| write.place == place).map(|write| write.kept.clone());
        let all: Vec<Kept> = self.durable.get(&place).cloned().into_iter().chain(open).collect();
        all.iter().for_each(|kept| Self::keep(&mut self.visible, place, kept));
        self.follow(place);
    }

    /// The tree has of a key what is visible.
    fn follow(&mut self, (hash, home): Place) {
        if let Home::Owned(partition) = home {
            self.trees.set(partition, hash, self.visible.get(&(hash, home)).map(|kept| &kept.object));
        }
    }

    /// Trees of another number of leaves: 2^this.
    pub fn set_leaf_bits(&mut self, leaf_bits: u32) {
        self.trees = PlainTrees::new(leaf_bits);
        let places: Vec<Place> = self.visible.keys().copied().collect();
        places.into_iter().for_each(|place| self.follow(place));
    }

    /// A read begins; of a hint that is known by its name, and of an own key that is known by a part of its hash, the key is
    /// found now.
    pub fn start_load(&mut self, token: StoreToken, home: Home, hash: u128, key: &[u8]) {
        let is_it = |place: &&Place| match home {
            Home::Owned(_) => place.1 == home && hashes_told_as(hash).contains(&place.0),
            Home::Hinted { .. } => place.1 == home && name_of(place.0) == hash,
        };
        let place = self.visible.keys().find(is_it).filter(|_| key.is_empty()).copied();
        self.loads.push_back((token, place.unwrap_or((hash, home))));
    }

    pub fn finish_load(&mut self, index: usize) -> (StoreToken, Place, Kept) {
        let (token, place) = self.loads.remove(index).expect("it is under way");
        (token, place, self.visible.get(&place).cloned().unwrap_or_default())
    }

    pub fn forget(&mut self, home: Home, hash: u128, dot: Dot) {
        let place = (hash, home);
        let latest = self.visible.get(&place).and_then(|kept| kept.object.latest()).map(|sibling| sibling.dot);
        assert_eq!(latest, Some(dot), "what is forgotten is what was handed over");
        self.visible.remove(&place);
        self.durable.remove(&place);
        // What is under way would bring it back.
        self.writes.iter_mut().filter(|write| write.place == place).for_each(|write| write.kept = Kept::default());
    }

    /// The process is gone, and with it what was not durable.
    pub fn crash(&mut self) {
        self.writes.clear();
        self.loads.clear();
        self.visible = self.durable.clone();
        self.visible.retain(|_, kept| !kept.object.is_empty());
        self.set_leaf_bits(self.trees.leaf_bits());
        self.durable.retain(|_, kept| !kept.object.is_empty());
    }

    pub fn wipe(&mut self) {
        self.durable.clear();
        self.crash();
    }

    /// The object there, as commands see it.
    pub fn object(&self, home: Home, hash: u128) -> Option<&Object> {
        self.visible.get(&(hash, home)).map(|kept| &kept.object).filter(|object| !object.is_empty())
    }

    /// All homes of a key.
    pub fn homes(&self, hash: u128) -> Vec<(Home, Object)> {
        let of_key = self.visible.iter().filter(|((other, _), kept)| *other == hash && !kept.object.is_empty());
        of_key.map(|((_, home), kept)| (*home, kept.object.clone())).collect()
    }

    fn hinted(&self) -> impl Iterator<Item = (NodeId, u128, PartitionId, &Object)> {
        self.visible.iter().filter_map(|((hash, home), kept)| match home {
            Home::Hinted { partition, target } if !kept.object.is_empty() => {
                Some((*target, *hash, *partition, &kept.object))
            }
            _ => None,
        })
    }
}

impl Store for ModelStore {
    fn versions(&self, home: Home, key: &Key<'_>, versions: &mut Versions) {
        versions.clear();
        if let Some(object) = self.object(home, key.hash) {
            let siblings = object.siblings().iter();
            versions.siblings.extend(siblings.map(|sibling| (sibling.dot, sibling.value.is_none())));
            versions.context.clone_from(object.context());
        }
    }

    fn hinted_for(&self, key: &Key<'_>, targets: &mut Targets) {
        targets.clear();
        targets.extend(self.hinted().filter(|hint| hint.1 == key.hash).map(|hint| hint.0));
        targets.sort_unstable();
    }

    fn stamp(&mut self, unix_ms: u64, above: Clock) -> Option<Dot> {
        let actor = self.actor?;
        Some(Dot::new(self.clock.stamp(unix_ms, above), actor))
    }

    fn hints(&self, target: NodeId, from: HintCursor, max: usize, visit: &mut dyn FnMut(PartitionId, u128, Dot)) {
        let of_target = self.hinted().filter(|hint| hint.0 == target && name_of(hint.1) >= from);
        for (_, hash, partition, object) in of_target.take(max) {
            visit(partition, name_of(hash), object.latest().expect("a hint has a sibling").dot);
        }
    }

    fn hint_targets(&self, visit: &mut dyn FnMut(NodeId)) {
        let mut targets: Vec<NodeId> = self.hinted().map(|hint| hint.0).collect();
        targets.sort_unstable();
        targets.dedup();
        targets.into_iter().for_each(visit);
    }

    fn hint_count(&self, target: NodeId) -> usize {
        self.hinted().filter(|hint| hint.0 == target).count()
    }

    fn partition_from(&self, from: PartitionId) -> Option<PartitionId> {
        (from <= PARTITION).then_some(PARTITION)
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

    fn takes_writes(&self) -> bool {
        self.takes_writes
    }

    fn is_stable(&self, _key: &Key<'_>) -> bool {
        self.is_stable
    }
}
