//! Hot records of one core, within a given number of bytes.
//!
//! What it is: quick_cache's Clock-PRO, which resists scans, over whole encoded records, weighed by
//! what they really cost.
//!
//! What it is not: an authority. It may drop anything at any time, and does not know which version is
//! current: readers compare its clock with the index.
//!
//! Invariant: records, the cache's own structures and its memory of recently dropped keys together
//! stay within the capacity. What the allocator rounds is counted; what it cannot use again after the
//! sizes of records have changed altogether is not.

use crate::keyed_hash::{BuildPassThrough, KeyedHash};
use crate::memory_store::allocation_bytes;
use crate::record::RecordRef;
use quick_cache::unsync::{Cache as QuickCache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};
use std::rc::Rc;

/// What one cached record costs beyond its bytes, measured: 56 bytes of slab, and up to 12 of hash
/// table, more while that grows.
pub const CACHE_ENTRY_BYTES: usize = 80;

/// Counters in front of the bytes of an `Rc<[u8]>`.
const RC_HEADER_BYTES: usize = 2 * size_of::<usize>();
/// One in this many bytes of capacity is an item, for sizing the memory of dropped keys.
const BYTES_PER_ITEM: usize = 1024;
/// Weight of a small record, for sizing the cache's structures.
const RECORD_WEIGHT_USUAL: usize = 256;
/// Dropped keys remembered per item that fits.
const GHOSTS_PER_ITEM: f64 = 0.5;

type Records = QuickCache<KeyedHash, Rc<[u8]>, Weigh, BuildPassThrough>;

#[derive(Clone)]
struct Weigh;

impl Weighter<KeyedHash, Rc<[u8]>> for Weigh {
    #[inline]
    fn weight(&self, _: &KeyedHash, record: &Rc<[u8]>) -> u64 {
        record_weight(record.len()) as u64
    }
}

/// A byte-bounded cache of encoded records, by keyed hash.
pub struct Cache {
    /// `None` when the capacity is too small for anything: the cache is off.
    records: Option<Records>,
    capacity_bytes: usize,
    hits: u64,
    misses: u64,
}

impl Cache {
    /// A cache that takes at most `capacity_bytes` of memory; 0 switches it off.
    #[must_use]
    pub fn new(capacity_bytes: usize) -> Cache {
        Cache { records: Cache::build(capacity_bytes), capacity_bytes, hits: 0, misses: 0 }
    }

    /// The record of the key, if it is cached; counts as a hit or a miss.
    #[must_use]
    #[inline]
    pub fn get(&mut self, hash: u128) -> Option<&Rc<[u8]>> {
        let found = self.records.as_ref()?.get(&KeyedHash::new(hash));
        match found {
            Some(_) => self.hits += 1,
            None => self.misses += 1,
        }
        found
    }

    /// Caches a copy of `record`, unless it is cached already. Counts neither as a hit nor as a miss.
    pub fn keep(&mut self, hash: u128, record: &RecordRef<'_>) {
        let Some(records) = &mut self.records else { return };
        let cached = records.get(&KeyedHash::new(hash));
        if cached.is_none_or(|cached| RecordRef::checked_before(cached).dot() != record.dot()) {
            records.insert(KeyedHash::new(hash), Rc::from(record.bytes()));
        }
    }

    /// Caches `record` for the key in place of an older one. A record larger than the cache is not
    /// kept, and the older one goes all the same.
    #[inline]
    pub fn insert(&mut self, hash: u128, record: Rc<[u8]>) {
        if let Some(records) = &mut self.records {
            records.insert(KeyedHash::new(hash), record);
        }
    }

    /// Drops everything and frees the memory; the counters go on.
    pub fn clear(&mut self) {
        self.records = Cache::build(self.capacity_bytes);
    }

    /// Bytes of memory in use, with what is set aside for remembering dropped keys.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let Some(records) = &self.records else {
            return 0;
        };
        records.weight() as usize + ghost_bytes(self.capacity_bytes)
    }

    /// The most that [`Cache::bytes`] may be.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.capacity_bytes
    }

    /// Calls of [`Cache::get`] that found a record.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits
    }

    /// Calls of [`Cache::get`] that found none, while the cache was on.
    #[must_use]
    pub fn misses(&self) -> u64 {
        self.misses
    }

    fn build(capacity_bytes: usize) -> Option<Records> {
        if capacity_bytes < BYTES_PER_ITEM {
            return None;
        }
        let options = OptionsBuilder::new()
            .shards(1)
            .estimated_items_capacity(capacity_bytes / BYTES_PER_ITEM)
            .ghost_allocation(GHOSTS_PER_ITEM)
            .weight_capacity((capacity_bytes - ghost_bytes(capacity_bytes)) as u64)
            .build()
            .expect("capacity and estimate are given");
        let hasher = BuildPassThrough::default();
        let mut records = QuickCache::with_options(options, Weigh, hasher, DefaultLifecycle::default());
        // Room from the start, so that nothing is moved while the cache fills: to rehash a million
        // entries would hold the core up. Memory that is not touched yet costs nothing.
        records.reserve(capacity_bytes / RECORD_WEIGHT_USUAL);
        Some(records)
    }
}

/// What a cached record of `bytes` counts as.
#[must_use]
#[inline]
pub fn record_weight(bytes: usize) -> usize {
    // Allocators ask for up to 7 bytes more for the alignment, and leave some of each page unused.
    let allocation = allocation_bytes(bytes + RC_HEADER_BYTES + 7);
    allocation + allocation / 16 + CACHE_ENTRY_BYTES
}

/// The share of the capacity that remembering dropped keys may take.
fn ghost_bytes(capacity_bytes: usize) -> usize {
    let ghosts = (capacity_bytes / BYTES_PER_ITEM) as f64 * GHOSTS_PER_ITEM;
    ghosts as usize * CACHE_ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn len(cache: &Cache) -> usize {
        cache.records.as_ref().map_or(0, QuickCache::len)
    }

    fn record(bytes: usize, fill: u8) -> Rc<[u8]> {
        vec![fill; bytes].into()
    }

    fn hash(n: u64) -> u128 {
        // Any spread will do for a table that takes hashes as they come.
        u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | u128::from(n) << 64
    }

    #[test]
    fn records_come_back_until_they_are_replaced() {
        let mut cache = Cache::new(1 << 20);
        cache.insert(hash(1), record(100, 1));
        cache.insert(hash(2), record(200, 2));
        cache.insert(hash(1), record(300, 3));
        assert_eq!(cache.get(hash(1)).map(|record| (record.len(), record[0])), Some((300, 3)));
        assert!(cache.get(hash(3)).is_none());
        assert_eq!((cache.hits(), cache.misses(), len(&cache)), (1, 1, 2));
        cache.clear();
        assert!(len(&cache) == 0 && cache.get(hash(1)).is_none());
    }

    #[test]
    fn bytes_stay_within_the_capacity() {
        for capacity in [2_000, 64 << 10, 1 << 20] {
            let mut cache = Cache::new(capacity);
            for n in 0..20_000 {
                cache.insert(hash(n), record(n as usize * 7 % 1500, 0));
                assert!(cache.bytes() <= capacity);
            }
            assert!(len(&cache) > 0);
            assert!(capacity < 64 << 10 || cache.bytes() > capacity / 10 * 9);
        }
    }

    #[test]
    fn a_record_larger_than_the_cache_only_removes_the_older_one() {
        let mut cache = Cache::new(64 << 10);
        cache.insert(hash(1), record(100, 1));
        cache.insert(hash(1), record(100 << 10, 1));
        assert!(cache.get(hash(1)).is_none() && len(&cache) == 0);
    }

    #[test]
    fn without_capacity_the_cache_is_off() {
        let mut cache = Cache::new(0);
        cache.insert(hash(1), record(1, 1));
        assert!(cache.get(hash(1)).is_none());
        assert_eq!((cache.bytes(), len(&cache), cache.hits(), cache.misses()), (0, 0, 0, 0));
        cache.clear();
    }
}
