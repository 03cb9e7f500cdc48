//! What the plain store promises: visible at once, durable when it says so, and nothing more after a crash.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

use super::*;
use crate::seeds::Consumer;
use annulus_cluster::store::{Store, Targets};
use annulus_object::{Context, Sibling};

const KEY: Key<'static> = Key { bytes: b"k", partition: 3, hash: 99 };
const HOME: Home = Home::Owned(3);

fn opening(incarnation: u16) -> Opening {
    let now = Now { unix_ms: 1_800_000_000_000, steady_us: 0 };
    Opening { cores: 1, actor: Actor::new(1, incarnation), interrupted: None, clock: Clock::ZERO, now }
}

fn open(disk: &mut PlainDisk, incarnation: u16) -> PlainStore {
    disk.open(opening(incarnation)).pop().unwrap()
}

fn write(store: &mut PlainStore, token: u64) -> Dot {
    let dot = store.stamp(1_800_000_000_000, Clock::ZERO).unwrap();
    let sibling = Sibling { dot, expires_at_ms: 0, value: Some(vec![7]), value_dot: None };
    let mut bytes = Vec::new();
    Object::single(sibling, Context::default()).encode(&mut bytes);
    store.start_store(StoreToken(token), HOME, &KEY, &bytes, opening(1).now);
    dot
}

fn dots(store: &PlainStore) -> Vec<Dot> {
    let mut versions = Versions::default();
    store.versions(HOME, &KEY, &mut versions);
    versions.siblings.iter().map(|sibling| sibling.0).collect()
}

fn finish(store: &mut PlainStore) -> Vec<Done> {
    store.end_turn(0, opening(1).now);
    while let Some(due) = store.next_due() {
        store.advance(due, opening(1).now);
        store.end_turn(due, opening(1).now);
    }
    std::iter::from_fn(|| store.next_done()).collect()
}

#[test]
fn a_write_is_visible_at_once_and_durable_when_it_is_said_so() {
    let mut disk = PlainDisk::new(8, Random::new(1, Consumer::Disk, 0));
    let mut store = open(&mut disk, 1);
    let dot = write(&mut store, 1);
    assert_eq!(dots(&store), [dot]);
    assert_eq!(finish(&mut store), [Done::Stored { token: StoreToken(1), result: Ok(()) }]);
    write(&mut store, 2);
    disk.crash(vec![store]);
    let store = open(&mut disk, 2);
    assert_eq!(dots(&store), [dot], "what waited is gone, what was confirmed is there");
    assert_eq!(disk.counts().lost_in_crash, 1);
}

#[test]
fn a_write_in_flight_survives_a_crash_or_not() {
    let mut outcomes = [0; 2];
    for seed in 0..50 {
        let mut disk = PlainDisk::new(8, Random::new(seed, Consumer::Disk, 0));
        let mut store = open(&mut disk, 1);
        write(&mut store, 1);
        store.end_turn(0, opening(1).now);
        disk.crash(vec![store]);
        outcomes[dots(&open(&mut disk, 2)).len()] += 1;
    }
    assert!(outcomes[0] > 10 && outcomes[1] > 10, "{outcomes:?}");
}

#[test]
fn after_a_failed_write_nothing_is_stamped_until_there_is_a_new_actor() {
    let mut disk = PlainDisk::new(8, Random::new(1, Consumer::Disk, 0));
    let mut store = open(&mut disk, 1);
    disk.set_troubles(Troubles { fails_append: true, ..Troubles::NONE });
    write(&mut store, 1);
    let done = finish(&mut store);
    assert_eq!(done[0], Done::Stored { token: StoreToken(1), result: Err(StoreFailure::Unknown) });
    assert_eq!(done[1], Done::NeedIncarnation);
    assert_eq!(dots(&store), []);
    assert_eq!(store.stamp(0, Clock::ZERO), None);
    store.adopt(Actor::new(1, 2));
    assert_eq!(store.stamp(0, Clock::ZERO).unwrap().actor, Actor::new(1, 2));
}

#[test]
fn a_full_disk_refuses() {
    let mut disk = PlainDisk::new(8, Random::new(1, Consumer::Disk, 0));
    let mut store = open(&mut disk, 1);
    disk.set_troubles(Troubles { read_only: true, ..Troubles::NONE });
    write(&mut store, 1);
    assert!(!store.takes_writes());
    assert_eq!(dots(&store), []);
    assert_eq!(store.stamp(0, Clock::ZERO), None, "until the protocol knows of it");
    assert_eq!(finish(&mut store), [Done::Stored { token: StoreToken(1), result: Err(StoreFailure::Refused) }]);
    assert!(store.stamp(0, Clock::ZERO).is_some());
}

#[test]
fn hints_are_listed_by_target_and_forgotten() {
    let mut disk = PlainDisk::new(8, Random::new(1, Consumer::Disk, 0));
    let mut store = open(&mut disk, 1);
    let target = NodeId::new(5);
    let home = Home::Hinted { partition: 3, target };
    let dot = store.stamp(0, Clock::ZERO).unwrap();
    let mut bytes = Vec::new();
    Object::single(Sibling { dot, expires_at_ms: 0, value: None, value_dot: None }, Context::default())
        .encode(&mut bytes);
    store.start_store(StoreToken(1), home, &KEY, &bytes, opening(1).now);
    finish(&mut store);
    let mut found = Vec::new();
    store.hints(target, 0, 10, &mut |partition, hash, dot| found.push((partition, hash, dot)));
    assert_eq!(found, [(3, 99, dot)]);
    assert_eq!((store.hint_count(target), store.hint_count(NodeId::new(6))), (1, 0));
    let (mut targets, mut all) = (Targets::new(), Vec::new());
    store.hinted_for(&KEY, &mut targets);
    store.hint_targets(&mut |target| all.push(target));
    assert_eq!((targets.as_slice(), all.as_slice()), (&[target][..], &[target][..]));
    store.forget(home, &KEY, dot);
    assert_eq!(store.hint_count(target), 0);
    disk.crash(vec![store]);
    assert_eq!(open(&mut disk, 2).hint_count(target), 0);
}
