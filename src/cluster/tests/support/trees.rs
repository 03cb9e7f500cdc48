//! The hash trees of a store that is nothing but maps, worked out from all its keys whenever somebody asks.
//!
//! Invariant: the same rule of cuts as in production: a change belongs to the epoch of the newest version that it adds, or else
//! removes, and is kept in mind while that is one of the two before now's, now's, or the next.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use annulus_cluster::ids::PartitionId;
use annulus_cluster::store::Versions;
use annulus_object::{Dot, Object};

/// What is told of a hash.
const TOLD: u128 = !0 << 56;

#[derive(Debug)]
struct Change {
    partition: PartitionId,
    epoch: u64,
    hash: u128,
    new: Vec<Dot>,
    old: Vec<Dot>,
}

/// The siblings of a store's own keys, and what was changed lately.
#[derive(Debug)]
pub struct PlainTrees {
    leaf_bits: u32,
    items: BTreeMap<(PartitionId, u128), Vec<Dot>>,
    epoch: Option<(u64, u32)>,
    changes: Vec<Change>,
}

impl PlainTrees {
    /// Trees of 2^`leaf_bits` leaves.
    pub fn new(leaf_bits: u32) -> PlainTrees {
        PlainTrees { leaf_bits, items: BTreeMap::new(), epoch: None, changes: Vec::new() }
    }

    /// A key has these siblings now.
    pub fn set(&mut self, partition: PartitionId, hash: u128, object: Option<&Object>) {
        let hash = hash & TOLD;
        let siblings = object.into_iter().flat_map(|object| object.siblings());
        let new: Vec<Dot> = siblings.map(|sibling| sibling.dot).collect();
        let old = match new.is_empty() {
            true => self.items.remove(&(partition, hash)),
            false => self.items.insert((partition, hash), new.clone()),
        };
        let old = old.unwrap_or_default();
        let added = new.iter().filter(|dot| !old.contains(dot)).max();
        let removed = old.iter().filter(|dot| !new.contains(dot)).max();
        let (Some(newest), Some((now, bits))) = (added.or(removed), self.epoch) else { return };
        let epoch = newest.clock.unix_ms() >> bits;
        if epoch + 2 >= now && epoch <= now + 1 {
            self.changes.push(Change { partition, epoch, hash, new, old });
        }
    }

    /// Time has passed.
    pub fn open_epoch(&mut self, now: u64, bits: u32) {
        self.epoch = Some((now, bits));
        self.changes.retain(|change| change.epoch + 2 >= now && change.epoch <= now + 1);
    }

    pub fn leaf_bits(&self) -> u32 {
        self.leaf_bits
    }

    /// See [`annulus_cluster::store::Store::root_at`].
    pub fn root_at(&self, partition: PartitionId, cut: u64) -> u128 {
        let halves = [1, 2].map(|salt| self.sum(partition, cut, 0..=u128::MAX, salt));
        u128::from(halves[0]) << 64 | u128::from(halves[1])
    }

    /// See [`annulus_cluster::store::Store::sums_at`].
    pub fn sums_at(&self, partition: PartitionId, cut: u64, bits: u32, nodes: Range<u32>, out: &mut Vec<u64>) {
        assert!(bits <= self.leaf_bits, "there is such a level");
        for node in nodes {
            assert!(u64::from(node) < 1 << bits, "there is such a node");
            let width = u128::MAX.checked_shr(bits).expect("at most 16");
            let from = u128::from(node).checked_shl(128 - bits).unwrap_or_default();
            out.push(self.sum(partition, cut, from..=from | width, 3));
        }
    }

    fn sum(&self, partition: PartitionId, cut: u64, hashes: RangeInclusive<u128>, salt: u64) -> u64 {
        let of =
            |hash: u128, dots: &[Dot]| dots.iter().fold(0, |sum: u64, dot| sum.wrapping_add(item(hash, *dot, salt)));
        let items = self.items.range((partition, *hashes.start())..=(partition, *hashes.end()));
        let live = items.fold(0, |sum: u64, ((_, hash), dots)| sum.wrapping_add(of(*hash, dots)));
        let is_left_out =
            |change: &&Change| change.partition == partition && change.epoch > cut && hashes.contains(&change.hash);
        self.changes.iter().filter(is_left_out).fold(live, |sum, change| {
            sum.wrapping_sub(of(change.hash, &change.new)).wrapping_add(of(change.hash, &change.old))
        })
    }
}

/// What a version adds to a sum.
fn item(hash: u128, dot: Dot, salt: u64) -> u64 {
    let words = [salt, (hash >> 64) as u64, hash as u64, dot.clock.raw(), dot.actor.raw()];
    words.into_iter().fold(0, |mixed: u64, word| {
        let mixed = (mixed ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ mixed >> 32
    })
}

/// Shows `visit` the versions of objects, which are in the order of their hashes: see
/// [`annulus_cluster::store::Store::visit_versions`].
pub fn visit_versions<'a>(
    objects: impl Iterator<Item = (u128, &'a Object)>,
    max: usize,
    visit: &mut dyn FnMut(u128, &Versions),
) -> Option<u64> {
    let mut last = None;
    for (visited, (hash, object)) in objects.filter(|(_, object)| !object.is_empty()).enumerate() {
        let high = (hash >> 64) as u64;
        if visited >= max && last != Some(high) {
            return Some(high);
        }
        last = Some(high);
        let siblings = object.siblings().iter().map(|sibling| (sibling.dot, sibling.value.is_none()));
        visit(hash & TOLD, &Versions { siblings: siblings.collect(), context: object.context().clone() });
    }
    None
}

/// All hashes whose upper 64 bits are in a range.
pub fn whole_hashes(hashes: &RangeInclusive<u64>) -> RangeInclusive<u128> {
    u128::from(*hashes.start()) << 64..=u128::from(*hashes.end()) << 64 | u128::from(u64::MAX)
}

/// All hashes that are told as this one.
pub fn hashes_told_as(hash: u128) -> RangeInclusive<u128> {
    hash & TOLD..=hash | !TOLD
}
