//! Owners that compare what they have: what each lacks it gets, whatever the trees look like, and healthy ones find nothing.
//!
//! Each case is a function of its limits, so that the deliberate bugs can be caught by the same ones.

use annulus_cluster::counters::Counters;
use annulus_cluster::ids::{Home, StoreToken};
use annulus_cluster::limits::Limits;
use annulus_object::{Actor, Clock, Context, Dot, Object};

use crate::world::{BEGIN_MS, PARTITION, Wish, World, hash, node, values};

mod any_stores;
mod failures;
#[cfg(feature = "mutations")]
mod mutations;

/// Everything soon: epochs of 64 ms, an exchange of every pair in 100.
pub fn limits() -> Limits {
    Limits {
        exchange_interval_us: 100_000,
        exchange_epoch_bits: 6,
        exchange_timeout_us: 200_000,
        exchange_keys_per_message: 2,
        ..Limits::default()
    }
}

/// Time for a cut to pass, and for every pair to be compared.
pub const ROUND_MS: u64 = 600;

/// A node has an object, as if it had been there always.
pub fn keep(world: &mut World, index: usize, key: &[u8], object: &Object) {
    let mut bytes = Vec::new();
    object.encode(&mut bytes);
    let store = &mut world.nodes[index].store;
    store.start_store(StoreToken(0), Home::Owned(PARTITION), hash(key), key, &bytes);
    world.settle();
}

pub fn counters(world: &World, index: usize) -> Counters {
    world.nodes[index].shard.as_ref().expect("it runs").counters()
}

/// A sum over all nodes.
pub fn sum(world: &World, count: impl Fn(&Counters) -> u64) -> u64 {
    (0..world.nodes.len()).map(|index| count(&counters(world, index))).sum()
}

/// Long before the world began.
pub fn dot(clock: u64, actor: u64) -> Dot {
    Dot::new(Clock::from_unix_ms(BEGIN_MS - 1_000_000 + clock, 0), Actor::new(actor, 1))
}

/// One version, old enough to be seen at every cut.
pub fn single(clock: u64, actor: u64, value: Option<&[u8]>) -> Object {
    let mut object = Object::default();
    object.write(dot(clock, actor), &Context::default(), value.map(<[u8]>::to_vec), 0);
    object
}

/// Each owner lacks something of the other two.
pub fn everybody_lacks_something() -> World {
    let mut world = World::with_limits(3, limits());
    keep(&mut world, 0, b"a", &single(10, 1, Some(b"a")));
    keep(&mut world, 1, b"b", &single(11, 2, Some(b"b")));
    keep(&mut world, 2, b"c", &single(12, 3, Some(b"c")));
    (0..3).for_each(|index| keep(&mut world, index, b"same", &single(13, 1, Some(b"same"))));
    world.wait(2 * ROUND_MS);
    world
}

/// Whether all owners have the same of these keys, and what.
pub fn agreed(world: &World, keys: &[&str]) -> Option<Vec<Vec<String>>> {
    let of = |index: usize| -> Vec<Object> { keys.iter().map(|key| world.owned(index, key.as_bytes())).collect() };
    let first = of(0);
    let owners = world.nodes.len().min(3);
    (1..owners).all(|index| of(index) == first).then(|| first.iter().map(values).collect())
}

/// One owner has not seen a delete.
pub fn a_missed_delete() -> World {
    let mut world = World::with_limits(3, limits());
    let mut object = single(10, 1, Some(b"v"));
    (0..3).for_each(|index| keep(&mut world, index, b"k", &object));
    let seen = object.context().clone();
    object.write(dot(20, 1), &seen, None, 0);
    (0..2).for_each(|index| keep(&mut world, index, b"k", &object));
    world.wait(ROUND_MS);
    world
}

/// Two siblings of one actor, of which an owner has none (pitfall 3).
pub fn two_siblings_of_one_actor() -> World {
    let mut world = World::with_limits(3, limits());
    let mut object = single(10, 2, Some(b"v"));
    object.write(dot(11, 2), &Context::default(), Some(b"w".to_vec()), 0);
    (0..2).for_each(|index| keep(&mut world, index, b"k", &object));
    world.wait(ROUND_MS);
    world
}

/// Forty keys in one leaf, two a message.
pub fn many_keys_in_a_leaf() -> (World, Vec<String>) {
    let mut world = World::with_limits(3, limits());
    (0..3).for_each(|index| world.nodes[index].store.set_leaf_bits(0));
    let keys: Vec<String> = (0..40).map(|number| format!("k{number}")).collect();
    for (number, key) in keys.iter().enumerate() {
        keep(&mut world, number % 2, key.as_bytes(), &single(10, 1, Some(key.as_bytes())));
    }
    world.wait(ROUND_MS);
    (world, keys)
}

/// Healthy owners that are written to all the time, one of which gets everything a little later.
pub fn healthy_under_load() -> World {
    let mut world = World::with_limits(3, limits());
    // What was changed before the first tick is not known.
    world.wait(ROUND_MS);
    for step in 0..300_u64 {
        let key = format!("k{}", step % 5);
        let client = world.put(step as usize % 2, key.as_bytes(), &Wish { value: Some(b"v"), ..Wish::default() });
        // What goes to the third owner, or comes from it, waits up to 40 ms.
        while world.packets.iter().any(|packet| packet.to != 2) || !stores_rest(&world) {
            if let Some(index) = world.packets.iter().position(|packet| packet.to != 2) {
                world.deliver(index);
            }
            finish_stores(&mut world);
        }
        assert!(world.told.contains_key(&client), "two of three answer at once");
        world.tick(10);
        if step % 4 == 0 {
            world.settle();
        }
    }
    world
}

fn stores_rest(world: &World) -> bool {
    world.nodes.iter().all(|node| node.store.writes.is_empty() && node.store.loads.is_empty())
}

fn finish_stores(world: &mut World) {
    for index in 0..world.nodes.len() {
        while !world.nodes[index].store.writes.is_empty() {
            world.finish_store(index, 0, Ok(()));
        }
        while !world.nodes[index].store.loads.is_empty() {
            world.finish_load(index, 0, true);
        }
    }
}

/// An owner was down while a key was written, nobody was to keep hints, and regular exchanges are far away: the first round is
/// over, and this owner begins none.
pub fn a_copy_that_nobody_keeps() -> World {
    let limits = Limits { hints_per_target_max: 0, exchange_interval_us: 1 << 40, ..limits() };
    let mut world = World::with_limits(3, limits);
    world.wait(ROUND_MS);
    world.crash(0);
    world.set_up(0, false);
    world.put(1, b"k", &Wish { value: Some(b"v"), ..Wish::default() });
    world.settle();
    assert_eq!(world.nodes[1].dirty, [node(0)]);
    world.restart(0, false);
    world.set_up(0, true);
    world.wait(ROUND_MS);
    world
}

#[test]
fn each_owner_gets_what_it_lacks() {
    let world = everybody_lacks_something();
    let found = agreed(&world, &["a", "b", "c", "same"]).expect("all agree");
    assert_eq!(found, [["a"], ["b"], ["c"], ["same"]]);
    assert!(sum(&world, |counters| counters.exchanges_differing) >= 2);
    assert!(sum(&world, |counters| counters.exchanges_equal) > 0, "and later there is nothing to be found");
    assert_eq!(sum(&world, |counters| counters.exchanges_failed), 0);
    let (sent, received) = (
        sum(&world, |counters| counters.exchange_objects_sent),
        sum(&world, |counters| counters.exchange_objects_received),
    );
    assert_eq!(sent, received);
    assert!((6..=9).contains(&sent), "{sent} objects for six that were lacking");
    assert!(world.nodes.iter().all(|node| node.shard.as_ref().unwrap().has_no_repairs()));
}

#[test]
fn a_delete_is_a_version_like_any_other() {
    assert_eq!(agreed(&a_missed_delete(), &["k"]), Some(vec![vec!["(del)".to_owned()]]));
}

#[test]
fn siblings_travel_together() {
    assert_eq!(agreed(&two_siblings_of_one_actor(), &["k"]), Some(vec![vec!["v".to_owned(), "w".to_owned()]]));
}

#[test]
fn keys_beyond_the_first_message_are_compared_too() {
    let (world, keys) = many_keys_in_a_leaf();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    assert!(agreed(&world, &keys).is_some_and(|found| found.iter().all(|values| values.len() == 1)));
}

#[test]
fn healthy_owners_under_load_compare_equal() {
    let world = healthy_under_load();
    assert!(sum(&world, |counters| counters.exchanges_equal) > 30);
    assert_eq!(sum(&world, |counters| counters.exchanges_differing), 0);
    assert_eq!(sum(&world, |counters| counters.exchange_keys), 0);
}

#[test]
fn what_nobody_keeps_a_hint_of_is_compared_first() {
    let world = a_copy_that_nobody_keeps();
    assert_eq!(agreed(&world, &["k"]), Some(vec![vec!["v".to_owned()]]));
    assert_eq!(sum(&world, |counters| counters.exchanges), 3 + 1, "the first round, and this one");
    assert_eq!(counters(&world, 1).exchanges_of_dirty, 1);
}

#[test]
fn trees_of_different_sizes_are_compared_by_the_coarser() {
    for bits in [[0, 6, 8], [2, 12, 1], [16, 6, 7]] {
        let mut world = World::with_limits(3, limits());
        (0..3).for_each(|index| world.nodes[index].store.set_leaf_bits(bits[index]));
        for number in 0..12_u8 {
            keep(&mut world, usize::from(number % 3), &[b'a' + number], &single(10, 1, Some(&[b'0' + number])));
        }
        world.wait(2 * ROUND_MS);
        let keys: Vec<String> = (0..12).map(|number| char::from(b'a' + number).to_string()).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        assert!(agreed(&world, &keys).is_some(), "{bits:?}");
    }
}
