//! Small cases as a whole, of what is executed once: a write that another node passed on, and a delete that asks first, in every
//! order in which packets can come, each of which may also get lost or come twice.

use std::collections::BTreeSet;

use annulus_cluster::effect::Failure;
use annulus_cluster::event::StoreFailure;
use annulus_object::{Context, Dot};

use crate::orders::{Choices, explore};
use crate::world::{Told, Wish, World, values};

const HOUR_MS: i64 = 3_600_000;

#[derive(Clone, Copy)]
enum Move {
    Deliver(usize),
    Lose(usize),
    Double(usize),
    Store(usize),
    Read(usize),
}

/// What can happen next. Disks do their work at once: what they do late is tried elsewhere. Packets of a link keep their order,
/// except for doubles, which come at the end of everything.
fn moves(world: &World, mishaps: usize, with_doubles: bool) -> Vec<Move> {
    for (index, node) in world.nodes.iter().enumerate() {
        if !node.store.writes.is_empty() {
            return vec![Move::Store(index)];
        }
        if !node.store.loads.is_empty() {
            return vec![Move::Read(index)];
        }
    }
    let mut links = BTreeSet::new();
    let packets = world.packets.iter().enumerate();
    let firsts = packets.filter(|(_, packet)| links.insert((packet.from, packet.to))).map(|(index, _)| index);
    let all = |index| match mishaps {
        0 => vec![Move::Deliver(index)],
        _ if with_doubles => vec![Move::Deliver(index), Move::Lose(index), Move::Double(index)],
        _ => vec![Move::Deliver(index), Move::Lose(index)],
    };
    firsts.flat_map(all).collect()
}

fn walk(world: &mut World, choices: &mut Choices, (mut mishaps, with_doubles): (usize, bool)) {
    loop {
        let moves = moves(world, mishaps, with_doubles);
        if moves.is_empty() {
            return;
        }
        match moves[choices.choose(moves.len())] {
            Move::Deliver(index) => world.deliver(index),
            Move::Lose(index) => {
                mishaps -= 1;
                world.packets.remove(index);
            }
            Move::Double(index) => {
                mishaps -= 1;
                let double = world.packets[index].clone();
                world.packets.push_back(double);
                world.deliver(index);
            }
            Move::Store(index) => world.finish_store(index, 0, Ok::<(), StoreFailure>(())),
            Move::Read(index) => world.finish_load(index, 0, true),
        }
    }
}

/// Every dot that any owner has as a sibling of the key.
fn dots(world: &World) -> BTreeSet<Dot> {
    let objects = (0..3).map(|owner| world.owned(owner, b"k"));
    objects.flat_map(|object| object.siblings().iter().map(|sibling| sibling.dot).collect::<Vec<_>>()).collect()
}

#[test]
fn a_write_that_is_passed_on_is_executed_once_in_every_order() {
    // With clocks that are right, and with an owner an hour ahead.
    for (skew_ms, mishaps) in [(0, 2), (HOUR_MS, 1)] {
        let (mut written, mut in_doubt) = (0, 0);
        let walks = explore(|choices| {
            let mut world = World::new(4);
            world.nodes[0].skew_ms = skew_ms;
            let put = world.put(3, b"k", &Wish { value: Some(b"v"), ..Wish::default() });
            walk(&mut world, choices, (mishaps, true));
            world.wait_in_steps(1100, 110);
            assert!(dots(&world).len() <= 1, "executed more than once: {:?}", dots(&world));
            match &world.told[&put] {
                Told::Written { dot, .. } => {
                    written += 1;
                    assert_eq!(dots(&world), BTreeSet::from([*dot]));
                }
                told => {
                    in_doubt += 1;
                    assert_eq!(*told, Told::Failed(Failure::InDoubt));
                }
            }
            assert!((0..4).all(|index| world.nodes[index].shard.as_ref().unwrap().in_flight().0 == 0));
        });
        assert!(walks > 40 && written > 20 && in_doubt > 0, "{walks} walks, {written} written, {in_doubt} in doubt");
    }
}

#[test]
fn a_repeatable_write_that_is_passed_on_is_acknowledged_in_every_order() {
    let mut counts = [0; 3];
    let walks = explore(|choices| {
        let mut world = World::new(4);
        let context = Some(Context::default());
        let put = world.put(3, b"k", &Wish { value: Some(b"v"), context, is_repeatable: true, ..Wish::default() });
        walk(&mut world, choices, (2, true));
        world.wait_in_steps(1100, 110);
        let Told::Written { dot, .. } = world.told[&put] else { panic!("{:?}", world.told[&put]) };
        let there = dots(&world);
        assert!(there.contains(&dot), "{dot:?} was acknowledged: {there:?}");
        counts[there.len()] += 1;
        assert!((0..4).all(|index| world.nodes[index].shard.as_ref().unwrap().in_flight().0 == 0));
    });
    assert!(walks > 40 && counts[1] > counts[2] && counts[2] > 0, "executed once, and twice: {counts:?}");
}

#[test]
fn a_plain_delete_replaces_what_other_owners_have_in_every_order() {
    let (mut written, mut refused) = (0, 0);
    let walks = explore(|choices| {
        let mut world = World::new(3);
        // The owner that is to delete misses it.
        world.cuts.insert((1, 0));
        let put = world.put(1, b"k", &Wish { value: Some(b"v"), ..Wish::default() });
        world.settle();
        assert!(matches!(world.told[&put], Told::Written { .. }) && world.owned(0, b"k").is_empty());
        world.cuts.clear();
        let delete = world.put(0, b"k", &Wish::default());
        walk(&mut world, choices, (2, false));
        world.wait_in_steps(1100, 110);
        match &world.told[&delete] {
            Told::Written { .. } => {
                written += 1;
                world.wait_in_steps(8000, 250);
                let left: Vec<Vec<String>> = (0..3).map(|owner| values(&world.owned(owner, b"k"))).collect();
                assert!(!left.iter().flatten().any(|value| value == "v"), "what was deleted is there: {left:?}");
            }
            Told::Failed(Failure::NoReplicas) => {
                refused += 1;
                assert_eq!(values(&world.owned(1, b"k")), ["v"]);
            }
            told => assert_eq!(*told, Told::Failed(Failure::InDoubt)),
        }
    });
    assert!(walks > 200 && written > 100 && refused > 0, "{walks} walks, {written} deleted, {refused} refused");
}
