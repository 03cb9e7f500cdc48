//! The index against a map, its order, and its memory per key.

use super::*;
use annulus_object::Clock;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A fixed sequence of 64 random bits each (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

fn entry(hash: IndexHash, clock: u64, flags: Flags) -> Entry {
    Entry {
        hash,
        clock: Clock::from_raw(clock).unwrap(),
        actor_slot: (clock % u64::from(ACTOR_SLOTS)) as u16,
        place: Place::from_raw(clock % Place::RAW_END),
        size_class: clock as u8,
        flags,
    }
}

fn hash_of(random: u64) -> IndexHash {
    IndexHash { high: Random(random).next(), low: random as u8 }
}

impl Index {
    fn check(&self, truth: &BTreeMap<(u16, IndexHash), Entry>) {
        let mut bytes = self.tables.capacity() * size_of::<PartitionTable>();
        for (of, partition) in self.tables.iter().zip(self.partitions.all()) {
            of.table.check();
            bytes += of.table.bytes();
            let mut seen = Vec::new();
            assert_eq!(self.scan(partition, 0, usize::MAX, |entry| seen.push(entry)), None);
            let low = (partition, IndexHash { high: 0, low: 0 });
            let high = (partition, IndexHash { high: u64::MAX, low: u8::MAX });
            assert!(truth.range(low..=high).map(|(_, entry)| entry).eq(&seen));
            assert_eq!(self.len_in(partition), seen.len());
            assert_eq!(self.live_in(partition), seen.iter().filter(|entry| !entry.is_tombstone()).count());
        }
        let tombstones = truth.values().filter(|entry| entry.is_tombstone()).count();
        assert_eq!((self.len(), self.tombstones()), (truth.len(), tombstones));
        assert_eq!(self.live(), truth.len() - tombstones);
        assert_eq!(self.bytes(), bytes);
    }
}

/// One random change, made to the index and to the map; `spread` squeezes the hashes together.
fn change(index: &mut Index, truth: &mut BTreeMap<(u16, IndexHash), Entry>, random: &mut Random, keys: u64, grow: u64) {
    let partitions = index.partitions();
    let key = random.next() % keys;
    let partition = partitions.start + (key % partitions.len() as u64) as u16;
    let hash = hash_of(key);
    let tombstone = if random.next().is_multiple_of(5) { Flags::TOMBSTONE } else { Flags::NONE };
    let fresh = entry(hash, (random.next() >> 8).max(1), tombstone.with(Flags::EXTRA));
    match random.next() % 10 {
        choice if choice < grow => {
            assert_eq!(index.insert(partition, fresh), truth.insert((partition, hash), fresh));
        }
        9 => {
            let updated = index.update(partition, hash, |entry| *entry = fresh);
            let expected = truth.get_mut(&(partition, hash)).map(|entry| {
                *entry = fresh;
                fresh
            });
            assert_eq!(updated, expected);
        }
        _ => assert_eq!(index.remove(partition, hash), truth.remove(&(partition, hash))),
    }
    assert_eq!(index.get(partition, hash), truth.get(&(partition, hash)).copied());
}

#[test]
fn long_histories_agree_with_a_map() {
    for seed in 0..6 {
        let mut random = Random(seed);
        let mut index = Index::new(7..10);
        let mut truth = BTreeMap::new();
        for phase in 0..20 {
            let grow = [8, 5, 2, 6][phase % 4];
            let keys = [20_000, 300, 20_000, 9][phase / 5];
            for _ in 0..5_000 {
                change(&mut index, &mut truth, &mut random, keys, grow);
            }
            index.check(&truth);
        }
        for (partition, hash) in truth.keys().copied().collect::<Vec<_>>() {
            assert!(index.remove(partition, hash).is_some());
        }
        index.check(&BTreeMap::new());
        assert_eq!(index.slot_bytes, 0);
    }
}

proptest! {
    /// Hashes that no keyed hash would yield: close together, at both ends, equal upper halves.
    #[test]
    fn uneven_hashes_agree_with_a_map(
        operations in prop::collection::vec((0..4u8, prop_oneof![0..20u64, u64::MAX - 20..=u64::MAX, any::<u64>()], 0..3u8), 1..400),
    ) {
        let mut index = Index::new(0..1);
        let mut truth = BTreeMap::new();
        for (clock, (operation, high, low)) in (1..).zip(operations) {
            let hash = IndexHash { high, low };
            if operation == 0 {
                prop_assert_eq!(index.remove(0, hash), truth.remove(&(0, hash)));
            } else {
                let entry = entry(hash, clock, Flags::NONE);
                prop_assert_eq!(index.insert(0, entry), truth.insert((0, hash), entry));
            }
        }
        index.check(&truth);
        prop_assert!(index.slot_bytes <= SLOT_BYTES * (4 * truth.len() + 420));
    }

    #[test]
    fn packing_is_exact(
        high: u64, low: u8, clock in 1..=Clock::MAX.raw(), actor_slot in 0..ACTOR_SLOTS,
        place in 0..Place::RAW_END, size_class: u8, flags in 0..64u8,
    ) {
        let entry = Entry {
            hash: IndexHash { high, low },
            clock: Clock::from_raw(clock).unwrap(),
            actor_slot,
            place: Place::from_raw(place),
            size_class,
            flags: Flags::from_bits(flags),
        };
        let packed = entry.pack();
        prop_assert_eq!(packed.unpack(), entry);
        prop_assert_eq!(packed.is_tombstone(), entry.is_tombstone());
        prop_assert!(!packed.is_empty());
        prop_assert_eq!(Place::from_raw(place).raw(), place);
        prop_assert_eq!(Place::at(entry.place.file, entry.place.offset()), entry.place);
    }

    #[test]
    fn a_size_class_covers_and_wastes_little(bytes in 0..=class_bytes(u8::MAX)) {
        let covered = class_bytes(size_class(bytes));
        prop_assert!(covered >= bytes);
        prop_assert!(covered < bytes + bytes / 16 + SIZE_CLASS_UNIT_BYTES);
    }
}

#[test]
fn size_classes_are_their_own() {
    for class in 0..=u8::MAX {
        assert_eq!(size_class(class_bytes(class)), class);
        assert!(class == 0 || class_bytes(class - 1) < class_bytes(class));
    }
    assert_eq!((size_class(0), size_class(1), size_class(256), size_class(257)), (0, 1, 1, 2));
}

#[test]
fn the_identity_is_the_top_of_the_hash() {
    let hash = IndexHash::of(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
    assert_eq!(hash, IndexHash { high: 0x0011_2233_4455_6677, low: 0x88 });
}

#[test]
fn a_scan_sees_what_stays_exactly_once_while_the_table_changes() {
    let mut random = Random(1);
    let mut index = Index::new(0..1);
    for key in 0..3_000 {
        index.insert(0, entry(hash_of(key), 1, Flags::NONE));
    }
    let (mut seen, mut from, mut rounds) = (BTreeMap::new(), Some(0), 0u64);
    while let Some(start) = from {
        from = index.scan(0, start, 10, |entry| *seen.entry(entry.hash).or_insert(0) += 1);
        rounds += 1;
        for step in 0..40 {
            // First the table grows, then all but the keys below 1000 go.
            let key = 3_000 + rounds * 40 + step;
            index.insert(0, entry(hash_of(key), 1, Flags::NONE));
            if rounds > 150 {
                for _ in 0..2 {
                    index.remove(0, hash_of(1_000 + random.next() % key));
                }
            }
        }
    }
    assert!((0..1_000).all(|key| seen[&hash_of(key)] == 1));
    assert!(seen.values().all(|times| *times == 1));
    assert!(rounds > 200, "{rounds}");
}

#[test]
fn a_scan_does_not_split_equal_upper_bits() {
    let mut index = Index::new(0..1);
    for low in 0..5 {
        index.insert(0, entry(IndexHash { high: 7, low }, 1, Flags::NONE));
    }
    index.insert(0, entry(IndexHash { high: u64::MAX, low: 0 }, 1, Flags::NONE));
    let mut seen = 0;
    assert_eq!(index.scan(0, 0, 2, |_| seen += 1), Some(u64::MAX));
    assert_eq!(seen, 5);
    assert_eq!(index.scan(0, u64::MAX, 2, |_| seen += 1), None);
    assert_eq!(seen, 6);
}

#[test]
fn random_entries_are_live_and_from_everywhere() {
    let mut index = Index::new(3..6);
    assert_eq!(index.random(1), None);
    for key in 0..300u64 {
        let flags = if key.is_multiple_of(2) { Flags::TOMBSTONE } else { Flags::NONE };
        index.insert(3 + (key % 3) as u16, entry(hash_of(key), key + 1, flags));
    }
    let mut random = Random(2);
    let mut seen = BTreeMap::new();
    for _ in 0..20_000 {
        let (partition, entry) = index.random(random.next()).unwrap();
        assert!(!entry.is_tombstone() && index.get(partition, entry.hash) == Some(entry));
        *seen.entry(entry.hash).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 150);
    let mut among = BTreeMap::new();
    for _ in 0..20_000 {
        let (partition, entry) = index.random_among(random.next(), |partition| partition != 4).unwrap();
        assert!(partition != 4 && !entry.is_tombstone());
        *among.entry(entry.hash).or_insert(0) += 1;
    }
    assert_eq!(among.len(), 100);
    assert_eq!(index.random_among(1, |_| false), None);
}

#[test]
fn retain_and_clear_leave_what_they_should() {
    let mut index = Index::new(0..4);
    let mut truth = BTreeMap::new();
    for key in 0..4_000 {
        let entry = entry(hash_of(key), key + 1, if key % 3 == 0 { Flags::TOMBSTONE } else { Flags::NONE });
        index.insert((key % 4) as u16, entry);
        truth.insert(((key % 4) as u16, entry.hash), entry);
    }
    let removed = index.retain(1, |entry| entry.clock.raw() > 3_000);
    truth.retain(|(partition, _), entry| *partition != 1 || entry.clock.raw() > 3_000);
    assert_eq!(removed, 4_000 - truth.len());
    index.check(&truth);
    index.clear_partition(2);
    truth.retain(|(partition, _), _| *partition != 2);
    index.check(&truth);
    index.clear();
    index.check(&BTreeMap::new());
    assert_eq!(index.slot_bytes, 0);
}

/// Fills, then empties an index of 1024 partitions, and returns the most bytes per key that it had
/// at any multiple of `step` from `from` on.
fn bytes_per_key_max(from: u64, step: u64, to: u64) -> f64 {
    let mut index = Index::new(0..1024);
    let mut worst = 0.0f64;
    let partition = |key: u64| (Random(!key).next() % 1024) as u16;
    let mut look = |index: &Index, keys: u64, what: &str| {
        if keys >= from && keys.is_multiple_of(step) {
            let per_key = index.bytes() as f64 / keys as f64;
            println!("{keys} keys, {what}: {per_key:.2} bytes per key");
            worst = worst.max(per_key);
        }
    };
    for key in 0..to {
        index.insert(partition(key), entry(hash_of(key), key + 1, Flags::NONE));
        look(&index, key + 1, "growing");
    }
    for key in (from..to).rev() {
        index.remove(partition(key), hash_of(key));
        look(&index, key, "shrinking");
    }
    worst
}

#[test]
fn a_key_costs_at_most_33_bytes_at_any_count() {
    let worst = bytes_per_key_max(1_000_000, 50_000, 1_600_000);
    assert!(worst <= 33.0, "{worst}");
}

#[test]
#[ignore = "large: run by hand in release"]
fn a_key_costs_at_most_33_bytes_among_many() {
    let worst = bytes_per_key_max(8_000_000, 500_000, 12_000_000);
    assert!(worst <= 33.0, "{worst}");
}
