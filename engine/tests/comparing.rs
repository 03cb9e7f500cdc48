//! What an exchange with another owner looks up: the same histories as objects have, at every step what is durable.

mod support;

use std::collections::BTreeMap;
use std::rc::Rc;

use annulus_engine::disk::memory::MemoryDisk;
use annulus_engine::{Durability, Engine, ObjectFound, ReadError, Record, Versions, index::IndexHash};
use annulus_object::Object;
use support::objects::{Objects, versions_of};
use support::{EPOCH_BITS, Node, PARTITIONS, Random, owned, partition_of};

/// What an exchange tells of a hash.
const TOLD: u128 = !0 << 56;

/// All keys of a partition, so many at a time.
fn told(engine: &Engine<MemoryDisk>, partition: u16, max: usize) -> BTreeMap<u128, Versions> {
    let (mut told, mut next) = (BTreeMap::new(), Some(0));
    while let Some(from) = next {
        next = engine.visit_versions(partition, from..=u64::MAX, max, |hash, versions| {
            assert!(told.insert(hash, versions.clone()).is_none(), "a key is told once");
        });
    }
    told
}

/// The object of a key that is known by what was told of its hash.
fn object(objects: &mut Objects, core: usize, partition: u16, hash: u128) -> (Vec<u8>, Object) {
    let mut fetched: Option<Rc<Record>> = None;
    for _ in 0..10 {
        let (mut key, mut bytes) = (Vec::new(), Vec::new());
        let engine = &mut objects.node.cores[core];
        match engine.object_in_index(partition, hash, fetched.as_ref(), (&mut key, &mut bytes)) {
            ObjectFound::Absent { .. } => return (key, Object::default()),
            ObjectFound::Here { .. } => return (key, Object::decode(&bytes).expect("an object")),
            ObjectFound::OnDisk(plan) => {
                fetched = match objects.fetch(core, &plan) {
                    Err(ReadError::Gone) => None,
                    result => Some(result.expect("a good disk")),
                };
            }
        }
    }
    panic!("{hash:x} is never read");
}

/// Everything is durable: what is told is what is there.
fn check(objects: &mut Objects) -> usize {
    let keys: Vec<Vec<u8>> = objects.known_keys().into_iter().filter(|key| key.first() != Some(&0)).collect();
    let cores = objects.node.cores.len() as u16;
    let mut compared = 0;
    for partition in 0..PARTITIONS {
        let core = (0..cores).find(|core| owned(*core, cores).contains(&partition)).expect("a core has it");
        let mut expected = BTreeMap::new();
        for key in keys.iter().filter(|key| partition_of(key) == partition) {
            let known = objects.node.cores[usize::from(core)].key(key, partition);
            let visible = objects.visible(key);
            if !visible.is_empty() {
                expected.insert(known.hash & TOLD, (key.clone(), visible));
            }
        }
        let engine = &objects.node.cores[usize::from(core)];
        for max in [1, 7, usize::MAX] {
            let versions = expected.iter().map(|(hash, (_, object))| (*hash, versions_of(object)));
            assert_eq!(told(engine, partition, max), versions.collect(), "partition {partition}, {max} at a time");
        }
        compared += expected.len();
        for (hash, (key, visible)) in expected {
            assert_eq!(object(objects, usize::from(core), partition, hash), (key, visible));
            let engine = &objects.node.cores[usize::from(core)];
            assert_eq!(told_in(engine, partition, hash), vec![hash], "a range of one");
        }
        check_tree(&objects.node.cores[usize::from(core)], partition);
    }
    compared
}

fn told_in(engine: &Engine<MemoryDisk>, partition: u16, hash: u128) -> Vec<u128> {
    let (high, mut hashes) = (IndexHash::of(hash).high, Vec::new());
    assert_eq!(engine.visit_versions(partition, high..=high, 1, |hash, _| hashes.push(hash)), None);
    hashes
}

/// Sums of a level are those of the tree, and when all epochs have passed, at every cut.
fn check_tree(engine: &Engine<MemoryDisk>, partition: u16) {
    let tree = engine.merkle_tree(partition);
    for bits in [0, 3, engine.leaf_bits_at(partition, u64::MAX)] {
        let mut sums = Vec::new();
        engine.sums_at(partition, u64::MAX, bits, 0..1 << bits, &mut sums);
        assert_eq!(sums, tree.level(bits));
    }
}

fn run(seed: u64, durability: Durability) -> usize {
    let mut random = Random(seed);
    let mut node = Node::closed(MemoryDisk::new(seed ^ 0x0b1e), durability);
    node.is_alone = false;
    node.open(1 + random.below(2) as u16, None).expect("an empty disk opens");
    let mut objects = Objects::new(node);
    let mut compared = 0;
    for step in 0..1200_u64 {
        let key = format!("key-{}", random.below(25)).into_bytes();
        let value = (!random.one_in(5)).then(|| vec![step as u8; 8 + random.below(900) as usize]);
        match random.below(100) {
            0..25 => objects.foreign_writes(&mut random, &key, value, 0),
            25..40 => objects.foreign_learns(&mut random, &key),
            40..70 => objects.foreign_sends(&mut random, &key),
            70..80 => objects.coordinate(&mut random, &key, value, 0),
            80..95 => objects.turn(random.below(4) as usize),
            95..98 => {
                objects.node.now_ms += random.below(60);
                objects.tick();
            }
            _ if random.one_in(4) => {
                objects.settle_all();
                compared += check(&mut objects);
            }
            _ => {}
        }
    }
    objects.settle_all();
    compared += check(&mut objects);
    // No epoch is open any more: every cut is now.
    objects.node.now_ms += 8 << EPOCH_BITS;
    objects.tick();
    for engine in &objects.node.cores {
        for partition in engine.partitions() {
            assert_eq!(engine.root_at(partition, 0), engine.merkle_tree(partition).root());
        }
    }
    compared
}

#[test]
fn what_is_told_is_what_is_there() {
    let compared: usize = (0..20).map(|seed| run(seed, Durability::Sync)).sum();
    assert!(compared > 1000, "{compared} keys were compared");
}

#[test]
fn and_so_in_memory() {
    (0..5).for_each(|seed| assert!(run(seed, Durability::Memory) > 0));
}
