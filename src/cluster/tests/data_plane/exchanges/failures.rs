//! Exchanges that cannot be carried out, or not at once.

use annulus_cluster::limits::Limits;
use annulus_cluster::message::{ExchangeMessage, ExchangeRefusal, Header, Message, Unverified};

use super::{ROUND_MS, agreed, counters, keep, limits, single, sum};
use crate::world::{World, node};

fn differing() -> World {
    let mut world = World::with_limits(2, limits());
    keep(&mut world, 0, b"k", &single(10, 1, Some(b"v")));
    world
}

#[test]
fn one_that_is_not_answered_fails_and_the_next_one_finds_it() {
    let mut world = differing();
    for _ in 0..60 {
        world.tick(20);
        world.packets.clear();
    }
    let failed = sum(&world, |counters| counters.exchanges_failed);
    assert!((2..=6).contains(&failed), "{failed} failed: each waits 200 ms");
    assert_eq!(world.owned(1, b"k").siblings().len(), 0);
    world.wait(ROUND_MS);
    assert_eq!(world.owned(1, b"k").siblings().len(), 1);
}

#[test]
fn a_node_that_goes_away_ends_its_exchanges_at_once() {
    let mut world = differing();
    while world.packets.is_empty() {
        world.tick(10);
    }
    let begun = (0..2).find(|index| world.nodes[*index].shard.as_ref().unwrap().exchanges_in_flight() == 1);
    let begun = begun.expect("one was begun");
    world.packets.clear();
    world.set_up(1 - begun, false);
    assert_eq!(world.nodes[begun].shard.as_ref().unwrap().exchanges_in_flight(), 0);
    assert_eq!(counters(&world, begun).exchanges_failed, 1);
    world.wait(ROUND_MS);
    assert_eq!(counters(&world, begun).exchanges, 1, "nothing is begun with a node that does not answer");
}

#[test]
fn nodes_with_other_rings_do_not_compare() {
    let mut world = differing();
    world.nodes[1].ring.fingerprint = 2;
    world.wait(ROUND_MS);
    assert!(sum(&world, |counters| counters.exchanges_failed) > 0);
    assert_eq!(sum(&world, |counters| counters.exchanges_differing), 0);
    world.nodes[1].ring.fingerprint = 1;
    world.wait(ROUND_MS);
    assert!(agreed(&world, &["k"]).is_some());
}

#[test]
fn a_node_that_owns_nothing_of_it_is_told_nothing() {
    let mut world = World::with_limits(4, limits());
    keep(&mut world, 0, b"k", &single(10, 1, Some(b"v")));
    let header = Header { partition: crate::world::PARTITION, fingerprint: world_fingerprint(), ..Header::default() };
    for question in [ExchangeMessage::RootRead { cut: 1, root: 0 }, ExchangeMessage::KeysRead { from: 0, to: u64::MAX }]
    {
        let mut bytes = Vec::new();
        Message::Exchange(question).encode(&header, &mut bytes);
        world.handle(0, annulus_cluster::event::Event::Message { from: node(3), bytes: &bytes });
        let packet = world.packets.pop_back().expect("an answer");
        let (_, answer) = Unverified::new(&packet.bytes).check(usize::MAX).unwrap();
        let Message::Exchange(ExchangeMessage::Refused { why, .. }) = answer else { panic!("{answer:?}") };
        assert_eq!(why, ExchangeRefusal::Ring);
    }
}

fn world_fingerprint() -> annulus_cluster::ids::Fingerprint {
    annulus_cluster::ids::Fingerprint(1)
}

#[test]
fn a_clock_that_is_behind_or_ahead_does_not_keep_owners_apart() {
    for (index, skew_ms) in [(0, -3_600_000), (0, 3_600_000), (1, -70), (1, 70)] {
        let mut world = World::with_limits(2, limits());
        world.nodes[index].skew_ms = skew_ms;
        keep(&mut world, 0, b"k", &single(10, 1, Some(b"v")));
        keep(&mut world, 1, b"l", &single(10, 2, Some(b"w")));
        world.wait(ROUND_MS);
        assert!(agreed(&world, &["k", "l"]).is_some(), "node {index} is off by {skew_ms} ms");
        assert_eq!(sum(&world, |counters| counters.exchanges_failed), 0);
    }
}

#[test]
fn a_copy_that_nobody_keeps_is_not_forgotten_when_the_first_exchange_fails() {
    let limits = Limits { hints_per_target_max: 0, exchange_interval_us: 1 << 40, ..limits() };
    let mut world = World::with_limits(3, limits);
    world.wait(ROUND_MS);
    world.crash(0);
    world.set_up(0, false);
    world.put(1, b"k", &crate::world::Wish { value: Some(b"v"), ..Default::default() });
    world.settle();
    world.restart(0, false);
    world.set_up(0, true);
    for _ in 0..30 {
        world.tick(20);
        world.packets.clear();
    }
    assert!(counters(&world, 1).exchanges_failed >= 1);
    world.wait(ROUND_MS);
    assert!(agreed(&world, &["k"]).is_some());
    assert!(world.nodes[1].shard.as_ref().unwrap().has_no_repairs());
}

#[test]
fn no_more_objects_are_sent_than_the_limit_says() {
    let limits = Limits { exchange_objects_per_second: 10, ..limits() };
    let mut world = World::with_limits(2, limits);
    let keys: Vec<String> = (0..60).map(|number| format!("k{number}")).collect();
    keys.iter().for_each(|key| keep(&mut world, 0, key.as_bytes(), &single(10, 1, Some(b"v"))));
    let sent = |world: &World| sum(world, |counters| counters.exchange_objects_sent);
    while sent(&world) == 0 {
        world.wait(20);
    }
    world.wait(1_000);
    let after_a_second = sent(&world);
    assert!(
        (15..=22).contains(&after_a_second),
        "{after_a_second} objects: a second's worth at once, and one second's"
    );
    world.wait(12_000);
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    assert!(agreed(&world, &keys).is_some());
}

#[test]
fn answers_that_come_twice_change_nothing() {
    let mut world = differing();
    keep(&mut world, 1, b"l", &single(10, 2, Some(b"w")));
    for _ in 0..60 {
        world.tick(20);
        while !world.packets.is_empty() {
            let packet = world.packets[0].clone();
            world.deliver(0);
            if world.steady_us % 3 != 1 {
                world.handle(
                    packet.to,
                    annulus_cluster::event::Event::Message { from: node(packet.from), bytes: &packet.bytes },
                );
            }
            super::finish_stores(&mut world);
        }
    }
    assert!(agreed(&world, &["k", "l"]).is_some());
    assert_eq!(sum(&world, |counters| counters.exchanges_failed), 0);
    assert!(sum(&world, |counters| counters.late_replies) > 0);
}
