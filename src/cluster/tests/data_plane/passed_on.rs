//! Writes that a node which is no owner passes on, to an owner that fails: who is asked next, and what the client is told.

use annulus_cluster::counters::Counters;
use annulus_cluster::effect::Failure;
use annulus_cluster::event::Event;
use annulus_object::Context;

use crate::world::{Told, Wish, World, node, values};

/// The node that the client asked, of four.
const ASKED: usize = 3;

fn repeatable() -> Wish<'static> {
    Wish { value: Some(b"v"), context: Some(Context::default()), is_repeatable: true, ..Wish::default() }
}

fn blind() -> Wish<'static> {
    Wish { value: Some(b"v"), ..Wish::default() }
}

fn counters(world: &World, index: usize) -> Counters {
    world.nodes[index].shard.as_ref().unwrap().counters()
}

/// The node whose dot the client was told.
fn coordinator(world: &World, put: u64) -> Option<u64> {
    match world.told.get(&put)? {
        Told::Written { dot, .. } => Some(dot.actor.node()),
        told => panic!("{told:?}"),
    }
}

#[test]
fn a_repeatable_write_goes_to_the_next_owner_when_the_first_is_gone() {
    let mut world = World::new(4);
    let put = world.put(ASKED, b"k", &repeatable());
    assert_eq!(world.packets.iter().map(|packet| packet.to).collect::<Vec<_>>(), [0]);
    world.packets.clear();
    world.handle(ASKED, Event::Unreachable { peer: node(0) });
    world.settle();
    assert_eq!(coordinator(&world, put), Some(node(1).raw()));
    assert_eq!((counters(&world, ASKED).forwards_again, counters(&world, ASKED).in_doubt), (1, 0));
    assert!((0..3).all(|owner| values(&world.owned(owner, b"k")) == ["v"]));
}

#[test]
fn others_do_not() {
    for wish in [blind(), Wish { is_repeatable: false, ..repeatable() }, Wish::default()] {
        let mut world = World::new(4);
        let put = world.put(ASKED, b"k", &wish);
        world.handle(ASKED, Event::Unreachable { peer: node(0) });
        assert_eq!(world.told[&put], Told::Failed(Failure::InDoubt));
        assert_eq!((counters(&world, ASKED).forwards_again, world.packets.len()), (0, 1), "nothing more was sent");
    }
}

#[test]
fn a_delete_with_a_context_is_repeatable() {
    let mut world = World::new(4);
    let put = world.put(ASKED, b"k", &Wish { context: Some(Context::default()), ..Wish::default() });
    world.handle(ASKED, Event::Unreachable { peer: node(0) });
    world.settle();
    assert!(matches!(world.told[&put], Told::Written { .. }), "{:?}", world.told[&put]);
    assert_eq!(counters(&world, ASKED).forwards_again, 1);
}

#[test]
fn a_silent_owner_has_half_of_the_time_and_does_nothing_after_it() {
    let mut world = World::new(4);
    let put = world.put(ASKED, b"k", &repeatable());
    let late = world.packets.pop_front().expect("it was passed on");
    world.wait(480);
    assert!(!world.told.contains_key(&put), "{:?}", world.told[&put]);
    world.wait(40);
    assert_eq!(coordinator(&world, put), Some(node(1).raw()));
    world.packets.push_back(late);
    world.settle();
    assert_eq!((counters(&world, 0).forwarded, counters(&world, 0).forwards_dropped), (0, 1), "it comes too late");
    assert!((0..3).all(|owner| values(&world.owned(owner, b"k")) == ["v"]));
}

#[test]
fn what_two_owners_have_carried_out_stands_beside_itself_until_it_is_replaced() {
    let mut world = World::new(4);
    // The answer is lost.
    world.cuts.insert((0, ASKED));
    let put = world.put(ASKED, b"k", &repeatable());
    world.settle();
    world.handle(ASKED, Event::Unreachable { peer: node(0) });
    world.settle();
    assert_eq!(coordinator(&world, put), Some(node(1).raw()));
    assert!((0..3).all(|owner| values(&world.owned(owner, b"k")) == ["v", "v"]));
    let Told::Written { context, .. } = world.told[&put].clone() else { panic!() };
    world.cuts.clear();
    world.put(1, b"k", &Wish { value: Some(b"w"), context: Some(context), ..Wish::default() });
    world.settle();
    let get = world.get(2, b"k", None);
    world.settle();
    let Told::Found { object, .. } = world.told[&get].clone() else { panic!() };
    let newest = object.siblings().iter().max_by_key(|sibling| sibling.dot);
    assert_eq!(newest.and_then(|sibling| sibling.value.as_deref()), Some(&b"w"[..]), "the newest is shown");
}

#[test]
fn an_owner_that_is_cut_off_from_the_others_is_followed_by_the_next() {
    for wish in [blind(), repeatable()] {
        let mut world = World::new(4);
        world.nodes[0].ring.down.extend([1, 2, 3].map(node));
        let put = world.put(ASKED, b"k", &wish);
        world.settle();
        assert_eq!(coordinator(&world, put), Some(node(1).raw()));
        let counters = [counters(&world, 0).no_replicas, counters(&world, ASKED).forwards_again];
        assert_eq!(counters, [1, 0], "nothing was sent, so nothing is done again");
    }
}

/// The last owner is gone, or has had its time, under two writes at once; or the second comes while the first waits to stamp.
#[test]
fn writes_that_come_back_together_are_stamped_one_after_the_other() {
    for how in ["gone", "silent", "silent, and no actor"] {
        let mut world = World::new(4);
        world.nodes[ASKED].ring.down.extend([1, 2].map(node));
        let first = world.put(ASKED, b"k", &repeatable());
        let actor = world.nodes[ASKED].store.actor.take_if(|_| how == "silent, and no actor");
        world.tick(if actor.is_some() { 15 } else { 0 });
        let puts = [first, world.put(ASKED, b"k", &repeatable())];
        world.packets.clear();
        match how {
            "gone" => world.handle(ASKED, Event::Unreachable { peer: node(0) }),
            _ => [100, 401].into_iter().for_each(|ms| world.tick(ms)),
        }
        if actor.is_some() {
            world.nodes[ASKED].store.actor = actor;
            world.tick(20);
        }
        for owner in [0, 1, 2] {
            world.set_up(owner, true);
        }
        world.wait(60);
        assert!(puts.iter().all(|put| coordinator(&world, *put) == Some(node(ASKED).raw())), "{how}: {:?}", world.told);
        world.wait(10_000);
        let found = (0..3).map(|owner| values(&world.owned(owner, b"k")));
        assert!(found.clone().all(|values| values == ["v", "v"]), "{how}: {:?}", found.collect::<Vec<_>>());
    }
}

#[test]
fn once_an_owner_may_have_carried_it_out_it_is_not_refused() {
    let mut world = World::new(4);
    let put = world.put(ASKED, b"k", &repeatable());
    world.packets.clear();
    world.nodes[ASKED].ring.down.extend([0, 1, 2].map(node));
    world.handle(ASKED, Event::Unreachable { peer: node(0) });
    world.tick(10);
    assert_eq!(world.told[&put], Told::Failed(Failure::InDoubt), "too few answer, and the first owner may have it");
}
