//! What a core tells of comparing and of handing over, for whoever runs it: it agrees with what happened, on both sides.

use annulus_cluster::pair_facts::PairFact;
use annulus_object::Context;

use crate::exchanges::{ROUND_MS, counters, everybody_lacks_something, healthy_under_load, keep, limits, single};
use crate::world::{PARTITION, Wish, World, node};

fn facts(world: &World, index: usize) -> Vec<PairFact> {
    world.nodes[index].shard.as_ref().expect("it runs").pair_facts().copied().collect()
}

#[test]
fn both_owners_of_a_pair_know_since_when_it_is_in_sync() {
    let world = healthy_under_load();
    let now_ms = world.now(0).unix_ms;
    for index in 0..3 {
        let facts = facts(&world, index);
        let others: Vec<_> = (0..3).filter(|other| *other != index).map(node).collect();
        assert_eq!(facts.iter().map(|fact| fact.node).collect::<Vec<_>>(), others);
        for fact in facts {
            assert_eq!((fact.partition, fact.differing, fact.failed), (PARTITION, 0, 0));
            assert!(fact.in_sync_ms > now_ms - 2 * ROUND_MS && fact.in_sync_ms <= now_ms, "{fact:?} at {now_ms}");
        }
    }
}

#[test]
fn what_was_sent_and_received_agrees_with_the_counters() {
    let world = everybody_lacks_something();
    let (mut sent, mut received) = ((0, 0), (0, 0));
    for index in 0..3 {
        let facts = facts(&world, index);
        let sum = |of: fn(&PairFact) -> u64| facts.iter().map(of).sum::<u64>();
        let counters = counters(&world, index);
        assert_eq!(sum(|fact| fact.objects_sent), counters.exchange_objects_sent);
        assert_eq!(sum(|fact| fact.objects_received), counters.exchange_objects_received);
        assert_eq!(sum(|fact| fact.differing), counters.exchanges_differing);
        assert_eq!(sum(|fact| fact.failed), counters.exchanges_failed);
        assert!(facts.iter().all(|fact| fact.in_sync_ms > 0), "equal by now: {facts:?}");
        sent = (sent.0 + sum(|fact| fact.objects_sent), sent.1 + sum(|fact| fact.bytes_sent));
        received = (received.0 + sum(|fact| fact.objects_received), received.1 + sum(|fact| fact.bytes_received));
    }
    assert_eq!(sent, received);
    assert!(sent.0 >= 6 && sent.1 > sent.0);
}

#[test]
fn owners_that_differ_are_not_in_sync_and_neither_are_those_that_cannot_be_asked() {
    let mut world = World::with_limits(3, limits());
    keep(&mut world, 0, b"k", &single(10, 1, Some(b"v")));
    for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0)] {
        world.cuts.insert((from, to));
    }
    world.wait(2 * ROUND_MS);
    assert!(facts(&world, 0).iter().all(|fact| fact.in_sync_ms == 0));
    let failed: u64 = (0..3).flat_map(|index| facts(&world, index)).map(|fact| fact.failed).sum();
    assert!(failed > 0);
    let between = facts(&world, 1).into_iter().find(|fact| fact.node == node(2)).expect("they were compared");
    assert!(between.in_sync_ms > 0, "both lack it");
}

#[test]
fn a_target_is_told_of_while_hints_for_it_are_kept() {
    let mut world = World::with_limits(3, limits());
    world.set_up(2, false);
    for number in 0..20_u8 {
        let wish = Wish { value: Some(b"v"), context: Some(Context::default()), ..Wish::default() };
        world.put(0, &[b'a' + number], &wish);
        world.settle();
    }
    let targets = |world: &World| -> Vec<_> { world.nodes[0].shard.as_ref().unwrap().hint_targets().collect() };
    // Nothing arrives there although it is taken to be up.
    world.cuts.insert((0, 2));
    world.set_up(2, true);
    world.wait(3000);
    let [(target, 0, failures)] = targets(&world)[..] else { panic!("{:?}", targets(&world)) };
    assert!(target == node(2) && failures > 0 && failures == counters(&world, 0).hint_failures);
    world.cuts.clear();
    while counters(&world, 0).hints_handed_over == 0 {
        world.tick(20);
        while counters(&world, 0).hints_handed_over == 0 && world.step() {}
    }
    let handed_over = counters(&world, 0).hints_handed_over;
    assert_eq!(targets(&world)[0].1, handed_over);
    world.settle();
    world.wait(5000);
    assert_eq!((targets(&world).len(), counters(&world, 0).hints_handed_over), (0, 20), "none is kept any more");
}
