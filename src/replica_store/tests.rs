//! The adapter alone, on a disk in memory whose operations end when a test says so.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

use annulus_cluster::ids::NodeId;
use annulus_cluster::store::{Store, Targets, Versions};
use annulus_engine::disk::memory::{MemoryDisk, block_on};
use annulus_engine::{Config, Limits, OperationId, keyed_hash};
use annulus_object::{Actor, Clock, Context, Sibling};

use super::*;

const START_MS: u64 = 1_800_000_000_000;
const HASH_KEY: [u8; 16] = [7; 16];
const PARTITION: u16 = 3;
const OWNED: Home = Home::Owned(PARTITION);
const TARGET: NodeId = NodeId::new(5);
const HINT: Home = Home::Hinted { partition: PARTITION, target: TARGET };

fn limits() -> Limits {
    Limits {
        segment_bytes_min: 32 << 10,
        segment_bytes_max: 32 << 10,
        large_segment_bytes_min: 64 << 10,
        small_record_bytes_max: 1 << 10,
        frame_bytes_max: 2 << 10,
        waiting_bytes_max: 64 << 10,
        waiting_frames_max: 2,
        reads_max: 2,
        recovery_read_bytes: 16 << 10,
        space_interval_ms: 1,
        ..Limits::PRODUCTION
    }
}

/// How a store ended, or a load: its key, the hash of that, and the object.
#[derive(Debug, PartialEq)]
enum Told {
    Stored(u64, Result<(), StoreFailure>),
    Loaded(u64, Vec<u8>, u128, Option<Object>),
    NeedIncarnation,
}

struct Bench {
    disk: MemoryDisk,
    store: ReplicaStore<MemoryDisk>,
    now: Now,
    bytes: LoadedBytes,
}

fn key(bytes: &[u8]) -> Key<'_> {
    Key { bytes, partition: PARTITION, hash: keyed_hash(&HASH_KEY, bytes) }
}

fn dot(clock: u64, node: u64) -> Dot {
    Dot::new(Clock::from_raw(clock).unwrap(), Actor::new(node, 1))
}

fn object(dot: Dot, value: &[u8]) -> Object {
    let sibling = Sibling { dot, expires_at_ms: 0, value: Some(value.to_vec()), value_dot: None };
    Object::single(sibling, Context::default())
}

fn joined(one: &Object, other: &Object) -> Object {
    let mut joined = one.clone();
    joined.merge(other.clone());
    joined
}

impl Bench {
    /// A store that keeps nothing in memory but what is not durable.
    fn new() -> Bench {
        let disk = MemoryDisk::new(1);
        let config = Config {
            core: 0,
            cores: 1,
            layout: 1,
            migrate_from: None,
            partitions: 0..8,
            hints_from: 8,
            hash_key: HASH_KEY,
            cluster_id: [9; 16],
            actor: Actor::new(77, 1),
            clock: Clock::ZERO,
            durability: Durability::Sync,
            is_alone: false,
            hot_log_bytes: 256 << 10,
            hot_log_bytes_max: 256 << 10,
            cache_bytes: 0,
            memory_bytes: 64 << 20,
            limits: limits(),
            now_unix_ms: START_MS,
            progress: Default::default(),
        };
        let engine = block_on(Engine::open(disk.clone(), config)).unwrap();
        let now = Now { unix_ms: START_MS, steady_us: 1 };
        let store = ReplicaStore::new(engine, Durability::Sync);
        Bench { disk, store, now, bytes: LoadedBytes::default() }
    }

    fn store(&mut self, token: u64, home: Home, name: &[u8], object: &Object) {
        let mut bytes = Vec::new();
        object.encode(&mut bytes);
        self.store.store(StoreToken(token), home, &key(name), &bytes, self.now);
    }

    fn turn(&mut self) {
        self.now.steady_us += 1000;
        self.now.unix_ms += 1;
        self.store.end_turn(self.now);
    }

    fn operations(&self) -> Vec<(OperationId, bool)> {
        let mut operations = Vec::new();
        self.disk.visit_operations(|id, writes| operations.push((id, writes)));
        operations
    }

    /// Ends what is in flight of a kind.
    fn end(&mut self, wants_writes: bool, fails: bool) {
        for (id, writes) in self.operations() {
            if writes == wants_writes {
                self.store.on_completion(self.disk.end(id, fails), self.now);
            }
        }
    }

    fn told(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        while let Some(ended) = self.store.next_ended(&mut self.bytes) {
            let event = ended.event(&self.bytes);
            told.push(match ended {
                Ended::Stored { token, result } => Told::Stored(token.0, result),
                Ended::Loaded { token, hash, is_told, .. } => {
                    let Some(annulus_cluster::event::Event::Loaded { key, object, .. }) = event else { panic!() };
                    let decode = |bytes: &[u8]| if bytes.is_empty() { Object::default() } else { decoded(bytes) };
                    assert_eq!(object.is_some(), is_told);
                    Told::Loaded(token.0, key.to_vec(), hash, object.map(decode))
                }
                Ended::NeedIncarnation => Told::NeedIncarnation,
                // Others may wait for a commit too.
                Ended::Engine(engine::Event::Durable(_) | engine::Event::Failed(_)) => continue,
                other => panic!("{other:?}"),
            });
        }
        told
    }

    /// Lets everything end well.
    fn settle(&mut self) -> Vec<Told> {
        let mut told = self.told();
        for _ in 0..50 {
            self.store.tick(self.now);
            self.turn();
            while let Some(work) = self.store.next_work() {
                self.store.on_work_done(block_on(work.run()), self.now);
            }
            self.end(true, false);
            self.end(false, false);
            told.append(&mut self.told());
        }
        assert!(self.store.is_idle());
        told
    }

    fn load(&mut self, token: u64, name: &[u8]) {
        self.store.load(StoreToken(token), OWNED, &key(name));
    }

    fn dots(&self, home: Home, name: &[u8]) -> Vec<Dot> {
        let mut versions = Versions::default();
        self.store.versions(home, &key(name), &mut versions);
        versions.siblings.iter().map(|sibling| sibling.0).collect()
    }

    fn stamps(&mut self) -> bool {
        self.store.stamp(self.now.unix_ms, Clock::ZERO).is_some()
    }
}

fn loaded(token: u64, name: &[u8], object: Object) -> Told {
    Told::Loaded(token, name.to_vec(), key(name).hash, Some(object))
}

#[test]
fn a_store_is_shown_at_once_and_told_when_it_is_durable() {
    let mut bench = Bench::new();
    let one = object(dot(9, 1), b"one");
    bench.store(1, OWNED, b"k", &one);
    assert_eq!(bench.dots(OWNED, b"k"), [dot(9, 1)]);
    bench.turn();
    bench.store(2, OWNED, b"k", &one);
    bench.load(3, b"k");
    assert_eq!(bench.told(), [loaded(3, b"k", one.clone())], "what is in flight is loaded, too");
    bench.end(true, false);
    assert_eq!(bench.told(), [Told::Stored(1, Ok(())), Told::Stored(2, Ok(()))]);
    bench.load(4, b"k");
    assert_eq!(bench.told(), [], "it has to be read");
    bench.end(false, false);
    assert_eq!(bench.told(), [loaded(4, b"k", one)]);
    bench.load(5, b"none");
    assert_eq!(bench.told(), [Told::Loaded(5, Vec::new(), key(b"none").hash, Some(Object::default()))]);
    assert!(bench.store.is_idle());
}

#[test]
fn from_a_failed_write_on_nothing_is_stamped_until_another_actor_does() {
    let mut bench = Bench::new();
    assert!(bench.stamps());
    bench.store(1, OWNED, b"k", &object(dot(9, 1), b"one"));
    bench.turn();
    bench.end(true, true);
    assert_eq!(bench.dots(OWNED, b"k"), []);
    assert!(!bench.stamps());
    assert_eq!(bench.told(), [Told::Stored(1, Err(StoreFailure::Unknown)), Told::NeedIncarnation]);
    assert!(!bench.stamps());
    bench.store.engine_mut().adopt_incarnation(Actor::new(77, 2));
    assert!(bench.stamps());
}

#[test]
fn what_waits_for_a_record_is_shown_and_loaded() {
    let mut bench = Bench::new();
    let (one, two) = (object(dot(9, 1), b"one"), object(dot(8, 2), b"two"));
    let both = joined(&one, &two);
    bench.store(1, OWNED, b"k", &one);
    bench.settle();
    bench.store(2, OWNED, b"k", &two);
    assert_eq!(bench.dots(OWNED, b"k"), [dot(8, 2), dot(9, 1)]);
    assert_eq!(bench.operations().len(), 1, "the value of the first is read");
    bench.load(3, b"k");
    assert_eq!(bench.settle(), [loaded(3, b"k", both.clone()), Told::Stored(2, Ok(()))]);
    bench.load(4, b"k");
    assert_eq!(bench.settle(), [loaded(4, b"k", both)]);
}

#[test]
fn a_load_sees_what_waits_though_it_reads_before_that_is_merged() {
    let mut bench = Bench::new();
    let (one, two) = (object(dot(9, 1), b"one"), object(dot(8, 2), b"two"));
    bench.store(1, OWNED, b"k", &one);
    bench.settle();
    bench.load(2, b"k");
    let reads = bench.operations();
    bench.store(3, OWNED, b"k", &two);
    let completion = bench.disk.end(reads[0].0, false);
    bench.store.on_completion(completion, bench.now);
    assert_eq!(bench.told(), [loaded(2, b"k", joined(&one, &two))]);
    assert_eq!(bench.settle(), [Told::Stored(3, Ok(()))]);
}

#[test]
fn a_merge_whose_record_cannot_be_read_is_refused_and_shown_no_more() {
    let mut bench = Bench::new();
    bench.store(1, OWNED, b"k", &object(dot(9, 1), b"one"));
    bench.settle();
    bench.store(2, OWNED, b"k", &object(dot(8, 2), b"two"));
    bench.load(3, b"k");
    bench.end(false, true);
    assert_eq!(bench.dots(OWNED, b"k"), [dot(9, 1)]);
    assert!(!bench.stamps(), "not before it is told");
    let told = bench.told();
    let unread = Told::Loaded(3, Vec::new(), key(b"k").hash, None);
    assert_eq!(told, [Told::Stored(2, Err(StoreFailure::Refused)), unread]);
    assert!(bench.stamps() && bench.store.is_idle());
}

#[test]
fn what_finds_no_room_waits_is_shown_and_is_stored_later() {
    let mut bench = Bench::new();
    let value = [b'v'; 900];
    let names: Vec<Vec<u8>> = (0..40_u8).map(|number| vec![b'k', number]).collect();
    for (name, number) in names.iter().zip(1..) {
        let home = if number % 2 == 0 { HINT } else { OWNED };
        bench.store(number, home, name, &object(dot(number, 1), &value));
        assert_eq!(bench.dots(home, name), [dot(number, 1)]);
        let mut targets = Targets::new();
        bench.store.hinted_for(&key(name), &mut targets);
        assert_eq!(targets.as_slice(), if home == HINT { &[TARGET][..] } else { &[] });
    }
    assert!(bench.store.engine().statistics().counts.stalls > 0, "some had to wait");
    let newest = names.last().unwrap();
    assert!(!bench.store.forget(HINT, &key(newest), dot(40, 1)), "what is on its way is not forgotten");
    let told = bench.settle();
    assert_eq!(told.len(), 40);
    assert!(told.iter().all(|told| matches!(told, Told::Stored(_, Ok(())))), "{told:?}");
    assert_eq!(bench.store.hint_count(TARGET), 20);
}

#[test]
fn what_waits_too_long_for_room_is_refused() {
    let mut bench = Bench::new();
    let value = [b'v'; 900];
    for number in 1..40 {
        bench.store(number, OWNED, &[number as u8], &object(dot(number, 1), &value));
    }
    bench.now.steady_us += 2_000_000;
    bench.store.tick(bench.now);
    bench.turn();
    let refused = bench.told();
    assert!(refused.iter().all(|told| matches!(told, Told::Stored(_, Err(StoreFailure::Refused)))), "{refused:?}");
    assert!(!refused.is_empty());
    assert_eq!(bench.dots(OWNED, &[39]), []);
    let rest = bench.settle();
    assert!(rest.iter().all(|told| matches!(told, Told::Stored(_, Ok(())))), "{rest:?}");
    assert_eq!(refused.len() + rest.len(), 39);
}

#[test]
fn a_hint_is_listed_by_a_name_that_loads_its_key_and_the_hash_of_that() {
    let mut bench = Bench::new();
    let hint = object(dot(9, 1), b"kept");
    bench.store(1, HINT, b"k", &hint);
    bench.settle();
    let mut listed = Vec::new();
    bench.store.hints(TARGET, 0, 10, &mut |partition, name, dot| listed.push((partition, name, dot)));
    let [(PARTITION, name, newest)] = listed[..] else { panic!("{listed:?}") };
    assert!(newest == dot(9, 1) && name != key(b"k").hash, "the test is about names that are no hashes");
    bench.store.load(StoreToken(2), HINT, &Key { bytes: &[], partition: PARTITION, hash: name });
    assert_eq!(bench.settle(), [loaded(2, b"k", hint)]);
    assert!(bench.store.forget(HINT, &key(b"k"), dot(9, 1)));
    assert_eq!((bench.store.hint_count(TARGET), bench.dots(HINT, b"k")), (0, Vec::new()));
    bench.store.load(StoreToken(3), HINT, &Key { bytes: &[], partition: PARTITION, hash: name });
    assert_eq!(bench.told(), [Told::Loaded(3, Vec::new(), name, Some(Object::default()))]);
}

#[test]
fn a_full_disk_refuses_and_nothing_of_it_is_shown() {
    let mut bench = Bench::new();
    assert!(bench.store.takes_writes());
    bench.disk.set_total_bytes(1);
    bench.now.unix_ms += 1000;
    bench.store.tick(bench.now);
    assert!(!bench.store.takes_writes());
    bench.store(1, OWNED, b"k", &object(dot(9, 1), b"one"));
    assert!(bench.dots(OWNED, b"k").is_empty() && !bench.stamps());
    assert_eq!(bench.told(), [Told::Stored(1, Err(StoreFailure::Refused))]);
    assert!(bench.stamps(), "nothing of its own was lost that anybody has seen");
}
