//! What a client sees when nothing goes wrong, or one thing.

use annulus_cluster::effect::Failure;
use annulus_cluster::event::{Event, StoreFailure};
use annulus_cluster::limits::Limits;
use annulus_object::{Comparison, Context};

use crate::world::{Told, Wish, World, node, quiet_limits, values};

fn set(value: &str) -> Wish<'_> {
    Wish { value: Some(value.as_bytes()), ..Wish::default() }
}

fn found(world: &World, client: u64) -> Vec<String> {
    match &world.told[&client] {
        Told::Found { object, .. } => values(object),
        told => panic!("{told:?}"),
    }
}

#[test]
fn a_write_is_read_at_every_owner_and_through_every_other_node() {
    let mut world = World::new(5);
    let put = world.put(0, b"k", &set("v"));
    world.settle();
    assert!(matches!(world.told[&put], Told::Written { is_alone: true, .. }));
    for index in 0..5 {
        let get = world.get(index, b"k", None);
        world.settle();
        assert_eq!(found(&world, get), ["v"], "at node {index}");
    }
    let put = world.put(4, b"k", &set("w"));
    world.settle();
    assert!(matches!(world.told[&put], Told::Written { is_alone: true, .. }));
    for index in 0..3 {
        assert_eq!(values(&world.owned(index, b"k")), ["w"]);
    }
    assert!(world.nodes.iter().all(|node| node.shard.as_ref().unwrap().in_flight() == (0, 0, 0)));
}

#[test]
fn nothing_is_found_of_a_key_that_was_never_written_and_a_deleted_one_is_a_tombstone() {
    let mut world = World::new(3);
    let get = world.get(1, b"k", None);
    world.settle();
    assert_eq!(found(&world, get), Vec::<String>::new());
    world.put(0, b"k", &set("v"));
    world.settle();
    let del = world.put(2, b"k", &Wish::default());
    world.settle();
    assert!(matches!(world.told[&del], Told::Written { .. }));
    let get = world.get(1, b"k", None);
    world.settle();
    assert_eq!(found(&world, get), ["(del)"]);
}

/// Of three nodes one is silent and nobody else may keep its copies: what waits for it must not fill the places for new writes.
#[test]
fn writes_go_on_while_the_third_owner_is_silent() {
    let mut world = World::with_limits(3, Limits { requests_max: 16, ..quiet_limits() });
    world.cuts.extend([(0, 2), (2, 0)]);
    let keys: Vec<String> = (0..60).map(|number| format!("k{number}")).collect();
    for key in &keys {
        let put = world.put(0, key.as_bytes(), &set("v"));
        world.wait_in_steps(20, 20);
        assert!(matches!(world.told[&put], Told::Written { .. }), "{key}: {:?}", world.told[&put]);
    }
    assert!(
        world.nodes[0].shard.as_ref().unwrap().counters().hints_own >= 50,
        "for all but the last, which still wait"
    );
    world.cuts.clear();
    world.wait_in_steps(30_000, 20);
    for key in &keys {
        assert_eq!(values(&world.owned(2, key.as_bytes())), ["v"]);
    }
    assert!(world.nodes.iter().all(|node| node.shard.as_ref().unwrap().in_flight() == (0, 0, 0)));
}

#[test]
fn an_owner_that_is_down_gets_its_copy_from_a_fallback_when_it_is_back() {
    let mut world = World::new(5);
    world.crash(2);
    world.set_up(2, false);
    let put = world.put(0, b"k", &set("v"));
    world.settle();
    assert!(matches!(world.told[&put], Told::Written { .. }));
    assert_eq!(world.nodes[3].store.homes(crate::world::hash(b"k")).len(), 1, "a hint");
    world.restart(2, false);
    world.set_up(2, true);
    world.wait(2000);
    assert_eq!(values(&world.owned(2, b"k")), ["v"]);
    assert!(world.nodes[3].store.homes(crate::world::hash(b"k")).is_empty(), "forgotten once it is there");
}

#[test]
fn a_silent_owner_is_replaced_in_time_for_the_deadline() {
    let mut world = World::new(5);
    let put = world.put(0, b"k", &set("v"));
    world.packets.clear();
    world.tick(20);
    world.settle();
    assert!(!world.told.contains_key(&put));
    world.wait(200);
    assert!(matches!(world.told[&put], Told::Written { .. }), "fallbacks have it");
}

/// Three nodes, and nobody else may keep a copy: the connections to both others break at once, and come back.
#[test]
fn copies_that_were_lost_with_their_connections_are_sent_again() {
    let mut world = World::new(3);
    let put = world.put(0, b"k", &set("v"));
    world.packets.clear();
    for other in [1, 2] {
        world.handle(0, Event::Unreachable { peer: node(other) });
    }
    assert!(!world.told.contains_key(&put), "both are up: {:?}", world.told.get(&put));
    world.wait_in_steps(200, 20);
    assert!(matches!(world.told[&put], Told::Written { .. }), "{:?}", world.told[&put]);
    assert!((1..3).all(|index| values(&world.owned(index, b"k")) == ["v"]));
    let counters = world.nodes[0].shard.as_ref().unwrap().counters();
    assert_eq!((counters.copies_again, counters.in_doubt), (2, 0), "each once");
}

/// As before, but they do not come back: it is tried at intervals until the deadline, or until both count as down.
#[test]
fn copies_are_not_sent_again_for_ever() {
    for is_noticed in [false, true] {
        let mut world = World::new(3);
        world.cuts.extend([(0, 1), (0, 2)]);
        let put = world.put(0, b"k", &set("v"));
        for _ in 0..15 {
            for other in [1, 2] {
                world.handle(0, Event::Unreachable { peer: node(other) });
            }
            world.tick(20);
        }
        let sent = world.nodes[0].shard.as_ref().unwrap().counters().copies_again;
        assert!((2..=6).contains(&sent), "{sent} in 300 ms");
        assert!(!world.told.contains_key(&put));
        if is_noticed {
            world.set_up(1, false);
            world.set_up(2, false);
        } else {
            world.wait_in_steps(1000, 20);
        }
        assert_eq!(world.told[&put], Told::Failed(Failure::InDoubt));
        world.wait_in_steps(2000, 20);
        assert_eq!(world.nodes[0].shard.as_ref().unwrap().in_flight().0, 0, "nothing is left of it");
    }
}

#[test]
fn too_few_nodes_are_told_before_anything_is_sent_and_doubt_after() {
    let mut world = World::new(3);
    world.set_up(1, false);
    world.set_up(2, false);
    let put = world.put(0, b"k", &set("v"));
    assert_eq!(world.told[&put], Told::Failed(Failure::NoReplicas));
    assert!(world.packets.is_empty() && world.nodes[0].store.writes.is_empty());
    world.set_up(1, true);
    let put = world.put(0, b"k", &set("v"));
    world.packets.clear();
    world.wait(1200);
    assert_eq!(world.told[&put], Told::Failed(Failure::InDoubt));
    assert_eq!(world.nodes[0].store.homes(crate::world::hash(b"k")).len(), 3, "its own copy and two hints");
}

#[test]
fn a_context_decides_what_is_replaced() {
    let mut world = World::new(3);
    let context = Some(Context::default());
    let first = world.put(0, b"k", &Wish { value: Some(b"a"), context: context.clone(), ..Wish::default() });
    world.settle();
    let Told::Written { context: seen_a, is_alone: true, .. } = world.told[&first].clone() else { panic!() };
    let second = world.put(1, b"k", &Wish { value: Some(b"b"), context, ..Wish::default() });
    world.settle();
    assert!(matches!(world.told[&second], Told::Written { is_alone: false, .. }));
    world.put(2, b"k", &Wish { value: Some(b"c"), context: Some(seen_a), ..Wish::default() });
    world.settle();
    let get = world.get(0, b"k", None);
    world.settle();
    assert_eq!(found(&world, get), ["b", "c"]);
    let all = world.owned(0, b"k");
    assert!((1..3).all(|index| world.owned(index, b"k").compare(&all) == Comparison::Equal));
}

#[test]
fn a_failed_own_copy_asks_for_an_incarnation_and_stops_stamping_until_it_has_one() {
    let mut world = World::new(3);
    world.put(0, b"k", &set("v1"));
    world.finish_store(0, 0, Err(StoreFailure::Unknown));
    assert_eq!(world.nodes[0].incarnations_needed, 1);
    world.settle();
    // Other owners are there: the write goes to one of them.
    let put = world.put(0, b"k", &set("v2"));
    world.settle();
    let Told::Written { dot, .. } = world.told[&put] else { panic!("{:?}", world.told[&put]) };
    assert_eq!(dot.actor.node(), node(1).raw());
    world.renew(0);
    let put = world.put(0, b"k", &set("v3"));
    world.settle();
    let Told::Written { dot, .. } = world.told[&put] else { panic!("{:?}", world.told[&put]) };
    assert_eq!((dot.actor.node(), dot.actor.incarnation()), (node(0).raw(), 2));
}
