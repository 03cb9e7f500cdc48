//! Stories of the membership map, short enough to be checked in a line, each of which a deliberate bug breaks: see `bugs`.

use annulus_cluster::ids::NodeId;
use annulus_cluster::membership::{Announced, Membership, Role, Weight, Zone};
use annulus_cluster::node::MapChange;
use annulus_cluster::ring::Ring;

use super::world::World;

const SECOND: u64 = 1_000_000;

fn node(number: u64) -> NodeId {
    NodeId::new(number)
}

impl World {
    fn run_s(&mut self, seconds: u64) {
        self.run_until(self.now_us + seconds * SECOND);
    }

    fn map(&self, at: u64) -> &Membership {
        self.control(node(at)).map()
    }

    fn role(&self, at: u64, of: u64) -> Option<Role> {
        self.map(at).get(node(of)).map(|entry| entry.role())
    }

    fn operate_at(&mut self, at: u64, of: u64, change: MapChange) {
        self.operate(node(at), node(of), change);
    }

    /// Whether all maps are one.
    fn agrees(&self) -> bool {
        self.maps().len() == 1
    }
}

/// So many nodes that own their share.
fn cluster(nodes: u64) -> World {
    let mut world = World::new();
    (1..=nodes).for_each(|number| world.start(node(number), &[node(1)]));
    world.run_s(5);
    (1..=nodes).for_each(|number| world.operate_at(1, number, MapChange::Join));
    world.run_s(15);
    world
}

fn removed(world: &World, at: u64) -> usize {
    world.map(at).iter().filter(|(_, entry)| entry.role() == Role::Removed).count()
}

/// A story; true when it ends as it should.
pub type Story = fn() -> bool;

/// A node changes what it says of itself on one side of a split, while an operator has it leave on the other side, and another one
/// gives it a weight.
pub fn what_a_node_says_does_not_undo_what_operators_say() -> bool {
    let mut world = cluster(4);
    for (left, right) in [(1, 3), (1, 4), (2, 3), (2, 4)] {
        world.cut(node(left), node(right));
        world.cut(node(right), node(left));
    }
    world.run_s(20);
    world.operate_at(1, 4, MapChange::Leave);
    world.operate_at(3, 4, MapChange::Weight(Weight::new(50).unwrap()));
    world.run_s(1);
    world.hold(node(4), 9);
    world.run_s(1);
    world.mend();
    world.run_s(60);
    let entry = world.map(2).get(node(4)).unwrap();
    let holds = entry.announced().unwrap().holdings.digest;
    world.agrees() && (entry.role(), entry.weight().get(), holds) == (Role::Leaving, 50, 9)
}

/// A removed node starts again, in a new generation and a new incarnation.
pub fn a_restart_does_not_undo_a_removal() -> bool {
    let mut world = cluster(3);
    world.kill(node(3));
    world.operate_at(1, 3, MapChange::Remove);
    world.run_s(70);
    world.start(node(3), &[node(1)]);
    world.run_s(20);
    let entry = world.map(2).get(node(3)).unwrap();
    let incarnation = entry.announced().unwrap().incarnation;
    world.agrees() && (entry.role(), incarnation) == (Role::Removed, 2)
}

/// Two operators remove different nodes before they can have heard of each other.
pub fn two_removals_at_once_remove_one() -> bool {
    let mut world = cluster(5);
    world.operate_at(1, 4, MapChange::Remove);
    world.operate_at(2, 5, MapChange::Remove);
    world.run_s(80);
    world.agrees() && removed(&world, 3) == 1
}

/// The second operator does not hear of the first one's removal until that was carried out; its own is the lower one, by a clock
/// that is behind.
pub fn a_removal_that_was_carried_out_ends_another() -> bool {
    let mut world = cluster(5);
    world.skews_ms.insert(node(1), 600_000);
    for other in [1, 3, 4, 5] {
        world.cut(node(2), node(other));
        world.cut(node(other), node(2));
    }
    world.run_s(20);
    world.operate_at(1, 4, MapChange::Remove);
    world.run_s(45);
    world.operate_at(2, 5, MapChange::Remove);
    world.run_s(20);
    world.mend();
    world.run_s(80);
    world.agrees() && removed(&world, 3) == 1
}

/// What nodes say of themselves, and zones that have other names, move no data.
pub fn what_moves_no_data_is_the_same_ring() -> bool {
    let mut world = cluster(3);
    let ring = |world: &World| Ring::of(world.map(2), 64, 3).fingerprint();
    let before = ring(&world);
    world.hold(node(3), 9);
    world.operate_at(1, 3, MapChange::Zone(Zone::new("b").unwrap()));
    world.run_s(15);
    world.agrees() && ring(&world) == before
}

/// An operator speaks at a node whose clock is an hour behind.
pub fn a_clock_that_is_behind_silences_nobody() -> bool {
    let mut world = cluster(3);
    world.operate_at(1, 3, MapChange::Leave);
    world.run_s(3);
    world.kill(node(2));
    world.skews_ms.insert(node(2), -3_600_000);
    world.start(node(2), &[node(1)]);
    world.run_s(3);
    world.operate_at(2, 3, MapChange::Join);
    world.run_s(3);
    world.agrees() && world.role(1, 3) == Some(Role::Active)
}

/// A node is away with an old map in which a forgotten one is Active, and has written to that entry since.
pub fn what_was_forgotten_does_not_come_back_with_who_was_away() -> bool {
    let mut world = cluster(4);
    for other in 1..4 {
        world.cut(node(4), node(other));
        world.cut(node(other), node(4));
    }
    world.run_s(20);
    world.kill(node(3));
    world.operate_at(1, 3, MapChange::Remove);
    world.run_s(80);
    world.operate_at(1, 3, MapChange::Forget);
    world.run_s(5);
    world.operate_at(4, 3, MapChange::Weight(Weight::new(50).unwrap()));
    world.mend();
    world.run_s(60);
    world.agrees() && [1, 2, 4].iter().all(|at| world.map(*at).is_forgotten(node(3)))
}

/// A node that has lost its disk hears from the others what it said before, and says what it says now.
pub fn the_map_says_of_a_node_what_it_says_itself() -> bool {
    let mut world = cluster(3);
    world.hold(node(3), 9);
    world.run_s(5);
    world.kill(node(3));
    *world.disk(node(3)) = super::world::Disk::default();
    world.start(node(3), &[node(1)]);
    world.run_s(10);
    let Announced { holdings, incarnation, .. } = world.map(1).get(node(3)).unwrap().announced().unwrap();
    world.agrees() && (holdings.digest, *incarnation) == (0, 2)
}

/// A node's disk is put back, and it meets the others only after it has spoken.
pub fn a_used_incarnation_is_not_used_again() -> bool {
    let mut world = cluster(3);
    let saved = world.disk(node(3)).clone();
    for _ in 0..3 {
        world.kill(node(3));
        world.start(node(3), &[node(1)]);
        world.run_s(5);
    }
    world.kill(node(3));
    *world.disk(node(3)) = saved;
    [1, 2].iter().for_each(|other| {
        world.cut(node(3), node(*other));
        world.cut(node(*other), node(3));
    });
    world.start(node(3), &[node(1)]);
    world.run_s(20);
    let alone = world.map(3).get(node(3)).unwrap().announced().unwrap().incarnation;
    world.mend();
    world.run_s(60);
    let met = world.map(1).get(node(3)).unwrap().announced().unwrap().incarnation;
    world.agrees() && (alone, met) == (2, 5)
}

#[test]
fn stories() {
    let mut failed = Vec::new();
    for (name, story) in super::bugs::STORIES {
        if !story() {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}
