//! Small cases as a whole: every order in which disks and packets can come, each of which may also fail or get lost.

use std::collections::BTreeSet;

use annulus_cluster::effect::Failure;
use annulus_cluster::event::StoreFailure;
use annulus_cluster::ids::{Home, StoreToken};
use annulus_object::{Context, Object};

use crate::world::{PARTITION, Told, Wish, World, hash, node, values};

/// A walk through a tree of choices, and the next one after it.
#[derive(Default)]
pub struct Choices {
    path: Vec<(usize, usize)>,
    at: usize,
}

impl Choices {
    /// One of so many.
    pub fn choose(&mut self, options: usize) -> usize {
        if self.at == self.path.len() {
            self.path.push((0, options));
        }
        let (choice, of) = self.path[self.at];
        assert_eq!(of, options, "a walk is a function of its choices");
        self.at += 1;
        choice
    }

    /// Goes on to the next walk; false when there is none.
    fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((choice, options)) = self.path.pop() {
            if choice + 1 < options {
                self.path.push((choice + 1, options));
                return true;
            }
        }
        false
    }
}

/// Runs every walk; how many there were.
pub fn explore(mut run: impl FnMut(&mut Choices)) -> usize {
    let mut choices = Choices::default();
    let mut walks = 0;
    loop {
        run(&mut choices);
        walks += 1;
        if !choices.advance() {
            return walks;
        }
    }
}

#[derive(Clone, Copy)]
enum Move {
    Deliver(usize),
    Lose(usize),
    Store(usize, bool),
    Load(usize, bool),
}

/// Everything that can happen next at the coordinator, node 0. What happens elsewhere first comes first, as it changes nothing
/// else; it may fail as well. Packets of one link keep their order.
fn moves(world: &World, with_losses: bool) -> Vec<Move> {
    let mut moves = Vec::new();
    let mut links = BTreeSet::new();
    for (index, packet) in world.packets.iter().enumerate() {
        if links.insert((packet.from, packet.to)) {
            let pair = [Some(Move::Deliver(index)), with_losses.then_some(Move::Lose(index))];
            moves.push((packet.to, pair));
        }
    }
    for (index, node) in world.nodes.iter().enumerate() {
        if !node.store.writes.is_empty() {
            moves.push((index, [Some(Move::Store(index, true)), with_losses.then_some(Move::Store(index, false))]));
        }
        if !node.store.loads.is_empty() {
            moves.push((index, [Some(Move::Load(index, true)), with_losses.then_some(Move::Load(index, false))]));
        }
    }
    let elsewhere = moves.iter().position(|(at, _)| *at != 0);
    let chosen = elsewhere.map_or(&moves[..], |index| &moves[index..=index]);
    chosen.iter().flat_map(|(_, pair)| pair).flatten().copied().collect()
}

fn carry_out(world: &mut World, next: Move) {
    match next {
        Move::Deliver(index) => world.deliver(index),
        Move::Lose(index) => drop(world.packets.remove(index)),
        Move::Store(node, true) => world.finish_store(node, 0, Ok(())),
        Move::Store(node, false) => world.finish_store(node, 0, Err(StoreFailure::Unknown)),
        Move::Load(node, tells) => world.finish_load(node, 0, tells),
    }
}

/// Until nothing moves any more.
fn walk(world: &mut World, choices: &mut Choices, with_losses: bool, mut after: impl FnMut(&World)) {
    loop {
        let moves = moves(world, with_losses);
        if moves.is_empty() {
            return;
        }
        carry_out(world, moves[choices.choose(moves.len())]);
        after(world);
    }
}

/// The nodes that have the key durably, whatever for.
fn keepers(world: &World) -> usize {
    let has = |node: &crate::world::Node| node.store.durable.keys().any(|(other, _)| *other == hash(b"k"));
    world.nodes.iter().filter(|node| has(node)).count()
}

#[test]
fn a_put_of_three_copies_in_every_order_with_every_loss() {
    let (mut written, mut in_doubt) = (0, 0);
    let walks = explore(|choices| {
        let mut world = World::new(3);
        let put = world.put(0, b"k", &Wish { value: Some(b"v"), ..Wish::default() });
        let mut was_told = false;
        walk(&mut world, choices, true, |world| {
            if !was_told && let Some(told) = world.told.get(&put) {
                was_told = true;
                let has_w = keepers(world) >= 2;
                assert!(!matches!(told, Told::Written { .. }) || has_w, "acknowledged before two nodes had it");
            }
        });
        let is_written = matches!(world.told.get(&put), Some(Told::Written { .. }));
        world.wait_in_steps(1100, 110);
        match &world.told[&put] {
            Told::Written { .. } => written += 1,
            told => {
                assert!(!is_written);
                assert_eq!(*told, Told::Failed(Failure::InDoubt));
                in_doubt += 1;
            }
        }
        assert_eq!(world.nodes[0].shard.as_ref().unwrap().in_flight().0, 0);
        // What the coordinator could not place it hands over later.
        world.wait_in_steps(4000, 250);
        for index in 1..3 {
            let is_left = world.nodes[0].dirty.contains(&node(index));
            assert!(is_left || values(&world.owned(index, b"k")) == ["v"], "owner {index}");
        }
    });
    assert!(walks > 400 && written > 50 && in_doubt > 50, "{walks} walks, {written} written, {in_doubt} in doubt");
}

#[test]
fn a_put_whose_owners_are_silent_goes_to_fallbacks_in_every_order() {
    for lost in 0..4 {
        let walks = explore(|choices| {
            let mut world = World::new(5);
            let put = world.put(0, b"k", &Wish { value: Some(b"v"), ..Wish::default() });
            world.packets.retain(|packet| lost >> (packet.to - 1) & 1 == 0);
            world.finish_store(0, 0, Ok(()));
            world.tick(120);
            let mut was_told = world.told.contains_key(&put);
            walk(&mut world, choices, false, |world| {
                if !was_told && world.told.contains_key(&put) {
                    was_told = true;
                    assert!(keepers(world) >= 2, "acknowledged before two nodes had it");
                }
            });
            assert!(matches!(world.told[&put], Told::Written { .. }));
            world.wait_in_steps(4000, 250);
            for index in 0..3 {
                assert_eq!(values(&world.owned(index, b"k")), ["v"], "owner {index}");
            }
            let hints = (0..5).map(|index| world.nodes[index].store.homes(hash(b"k")).len()).sum::<usize>();
            assert_eq!(hints, 3, "owners have it, and nobody a hint");
        });
        assert!(walks > 1, "{walks} walks");
    }
}

/// States of a key that an owner can have: nothing, v1, v2 which has seen v1, and w which has seen nothing.
fn states() -> [Object; 4] {
    let mut world = World::new(1);
    world.quorum = annulus_cluster::event::Quorum { n: 3, r: 1, w: 1, pr: 0, pw: 0, dw: 1 };
    let mut all = vec![Object::default()];
    for value in ["v1", "v2"] {
        world.put(0, b"k", &Wish { value: Some(value.as_bytes()), ..Wish::default() });
        world.settle();
        all.push(world.owned(0, b"k"));
    }
    let w = annulus_object::Sibling {
        dot: annulus_object::Dot::new(all[1].siblings()[0].dot.clock, annulus_object::Actor::new(9, 1)),
        expires_at_ms: 0,
        value: Some(b"w".to_vec()),
        value_dot: None,
    };
    all.push(Object::single(w, Context::default()));
    all.try_into().expect("four states")
}

fn give(world: &mut World, index: usize, object: &Object) {
    if !object.is_empty() {
        let mut bytes = Vec::new();
        object.encode(&mut bytes);
        let store = &mut world.nodes[index].store;
        store.start_store(StoreToken(0), Home::Owned(PARTITION), hash(b"k"), b"k", &bytes);
        store.finish_store(0, true);
    }
}

fn merged<'a>(objects: impl Iterator<Item = &'a Object>) -> Object {
    objects.fold(Object::default(), |mut all, object| {
        all.merge(object.clone());
        all
    })
}

#[test]
fn a_get_of_three_copies_in_every_order_with_every_loss() {
    let states = states();
    let (mut walks, mut stale) = (0, 0);
    // The two others are alike.
    let numbers = (0..64).filter(|number| number >> 2 & 3 <= number >> 4 & 3);
    for number in numbers {
        let of = |owner: usize| &states[number >> (2 * owner) & 3];
        walks += explore(|choices| {
            let mut world = World::new(3);
            (0..3).for_each(|index| give(&mut world, index, of(index)));
            let get = world.get(0, b"k", None);
            // Any three of them may get lost or fail.
            let mut losses = 0;
            loop {
                let moves = moves(&world, losses < 3);
                if moves.is_empty() {
                    break;
                }
                let next = moves[choices.choose(moves.len())];
                losses += usize::from(matches!(next, Move::Lose(_) | Move::Load(_, false) | Move::Store(_, false)));
                carry_out(&mut world, next);
            }
            world.wait_in_steps(1100, 110);
            match &world.told[&get] {
                Told::Found { object, is_stale_possible } => {
                    stale += usize::from(*is_stale_possible);
                    let r = if *is_stale_possible { 1 } else { 2 };
                    let is_union = |set: usize| merged((0..3).filter(|owner| set >> owner & 1 == 1).map(of)) == *object;
                    let sets = (0..8usize).filter(|set| set.count_ones() >= r);
                    assert!(sets.into_iter().any(is_union), "{:?} of no {r} owners", values(object));
                }
                told => {
                    assert_eq!(*told, Told::Failed(Failure::ReadTimeout));
                    assert!(losses > 0);
                }
            }
            if losses == 0 {
                let all = merged((0..3).map(of));
                (0..3).for_each(|index| assert_eq!(world.owned(index, b"k"), all, "owner {index} is repaired"));
            }
            assert_eq!(world.nodes[0].shard.as_ref().unwrap().in_flight().0, 0);
        });
    }
    assert!(walks > 10_000 && stale > 100, "{walks} walks, {stale} perhaps stale");
}
