//! Control planes in threads of one process, on sockets of 127.0.0.1, with cores that only carry messages.
//!
//! What depends on time is waited for, for as long as a slow machine may take; what must not happen is looked for after something
//! else has happened.

mod world;

use std::net::UdpSocket;
use std::time::Duration;

use annulus_cluster::membership::{Role, Zone};
use annulus_cluster::node::{MapChange, Refusal};
use annulus_object::Actor;

use super::{Fatal, ToControl};
use crate::core_inbox::CoreEvent;
use crate::node_meta;
use world::{Options, World};

const FOUNDERS: Options = Options { found: 3, ..Options::NONE };

/// Three nodes that have founded a cluster.
fn founded() -> World {
    let mut world = World::new();
    (0..3).for_each(|at| world.start(at, &FOUNDERS));
    world.until("three are Active everywhere", |world| {
        (0..3).all(|at| world.roles(at) == [Role::Active; 3] && world.node(at).view.get().has_owners())
    });
    world.until("founding is over", |world| (0..3).all(|at| world.node(at).founding().is_none()));
    world
}

#[test]
fn three_founders_become_a_cluster_and_a_fourth_joins_when_told() {
    let mut world = World::new();
    world.start(0, &FOUNDERS);
    world.start(1, &FOUNDERS);
    world.until("two have seen each other", |world| world.node(0).founding() == Some((2, 3)));
    assert!(!world.node(0).view.get().has_owners(), "nobody owns anything yet");
    assert_eq!(super::why_unowned(world.node(0)), "CLUSTERDOWN the cluster is not founded yet: 2 of 3 nodes seen");
    world.start(2, &FOUNDERS);
    world.until("three are Active", |world| (0..3).all(|at| world.roles(at) == [Role::Active; 3]));
    world.until("founding is over", |world| (0..3).all(|at| world.node(at).founding().is_none()));
    assert!((0..3).all(|at| world.node(at).view.get().copies == 3), "the first ring has all of them");
    world.until("one ring", |world| {
        let fingerprints: Vec<_> = (0..3).map(|at| world.fingerprint(at)).collect();
        fingerprints.iter().all(|fingerprint| *fingerprint == fingerprints[0])
    });
    assert!((0..3).all(|at| world.meta(at).cluster.founding == 0));
    // One that would found, too, is late.
    world.start(3, &FOUNDERS);
    world.until("the fourth is known", |world| (0..4).all(|at| world.roles(at).len() == 4));
    world.until("the fourth founds no more", |world| world.node(3).founding().is_none());
    assert_eq!(world.role(0, 3), Role::Joining);
    let joined = world.operate(1, 3, MapChange::Join);
    assert_eq!(joined, Ok(()));
    world.until("four are Active", |world| (0..4).all(|at| world.roles(at) == [Role::Active; 4]));
    let unknown = world.operate_on(1, annulus_cluster::ids::NodeId::new(77), MapChange::Join);
    assert_eq!(unknown, Err(Refusal::Unknown));
    assert!((0..4).all(|at| world.meta(at).cluster.has_others));
}

#[test]
fn a_node_without_seeds_is_a_cluster_of_one_that_others_join() {
    let mut world = World::new();
    world.start(0, &Options { seeds: &[], ..Options::NONE });
    world.until("it is Active", |world| world.node(0).view.get().has_owners());
    assert!(world.node(0).view.get().is_alone() && !world.meta(0).cluster.has_others);
    let zoned = Options { seeds: &[0], zone: Some("rack-2"), ..Options::NONE };
    world.start(1, &zoned);
    world.until("they have met", |world| (0..2).all(|at| world.roles(at).len() == 2));
    assert_eq!((world.role(0, 1), world.node(0).view.get().is_alone()), (Role::Joining, false));
    world.until("its zone is known", |world| {
        let view = world.node(0).view.get();
        view.member(world.id(1)).is_some_and(|member| member.zone == Zone::new("rack-2").unwrap())
    });
    assert!(world.meta(0).cluster.has_others);
}

#[test]
fn a_node_that_returns_finds_the_others_by_its_stored_map() {
    let mut world = founded();
    let (id, before) = (world.id(2), world.meta(2));
    world.stop(2);
    world.until("it is missed", |world| !world.is_up(0, id) && !world.is_up(1, id));
    assert_eq!(world.role(0, 2), Role::Active, "who does not answer is a member");
    world.start(2, &Options { seeds: &[], ..Options::NONE });
    let view = world.node(2).view.get();
    assert!(view.has_owners() && view.members.len() == 3, "the stored map is in force at once");
    world.until("it is heard", |world| world.is_up(0, id) && world.is_up(1, id) && world.is_up(2, world.id(0)));
    let after = world.meta(2);
    assert_eq!((after.node_id, after.incarnation), (before.node_id, before.incarnation));
    assert!(after.cluster.generation > before.cluster.generation);
}

#[test]
fn who_forgot_its_incarnations_takes_one_above() {
    let mut world = founded();
    (0..4).for_each(|_| {
        let actor = world.take_incarnation(1);
        world.tell(1, ToControl::Incarnation(actor.incarnation()));
    });
    let id = world.id(1);
    world.until("the others have heard", |world| world.incarnation(0, id) == 5 && world.incarnation(2, id) == 5);
    world.stop(1);
    // Its disk is put back: everything is as it was at founding.
    world.put_back(1);
    world.start(1, &Options::NONE);
    world.until("it has learnt", |world| world.incarnation(0, id) == 6);
    let adopted = world.adopted(1);
    assert_eq!(adopted, [Actor::new(id.raw(), 6)]);
    assert_eq!((world.meta(1).incarnation, world.node(1).incarnation()), (6, 6));
    assert!(world.fatal(1).is_none());
}

#[test]
fn strangers_and_garbage_are_counted_and_change_nothing() {
    let mut world = founded();
    world.start(3, &Options { secret: b"another secret of a cluster", ..Options::NONE });
    world.start(4, &Options { name: "another-name", ..Options::NONE });
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let before = world.node(0).view.get();
    for length in [0, 1, 23, 24, 100, 1400, 60_000] {
        socket.send_to(&vec![0x5a; length], world.address(0)).unwrap();
    }
    world.until("all are counted", |world| world.refused(0) >= 7 + 2);
    let after = world.node(0).view.get();
    assert_eq!((after.members.len(), after.routes.clone()), (3, before.routes.clone()));
    assert!(world.roles(3).len() <= 1 && world.roles(4).len() <= 1, "nor are strangers told anything");
}

#[test]
fn of_two_processes_with_one_number_one_ends_and_the_others_do_not_notice() {
    let mut world = founded();
    world.copy_directory(2, 5);
    world.start(5, &Options::NONE);
    assert_eq!(world.id(2), world.id(5));
    world.until("one of both gives up", |world| world.fatal(2).is_some() || world.fatal(5).is_some());
    let (ended, stays) = if world.fatal(5).is_some() { (5, 2) } else { (2, 5) };
    assert_eq!(world.fatal(ended), Some(Fatal::Twice(world.id(2))));
    let id = world.id(2);
    world.until("the other one is heard", |world| {
        world.is_up(0, id) && world.is_up(1, id) && world.is_up(stays, world.id(0))
    });
    assert!(world.fatal(stays).is_none());
    assert_eq!(world.roles(0), [Role::Active; 3]);
}

#[test]
fn what_cannot_be_stored_is_told_to_nobody() {
    let mut world = World::new();
    world.start(0, &Options { seeds: &[], ..Options::NONE });
    world.until("it is Active", |world| world.node(0).view.get().has_owners());
    world.hide_directory(0);
    let number = world.node(0).view.get().number;
    world.wish(0, 0, MapChange::Leave);
    world.until("storing has failed", |world| world.counts(0).failed_stores > 0);
    assert_eq!((world.node(0).view.get().number, world.answer(0)), (number, None));
    world.bring_directory_back(0);
    world.until("it is stored", |world| world.role(0, 0) == Role::Leaving);
    world.until("the operator hears of it", |world| world.answer(0) == Some(Ok(())));
}

#[test]
fn a_node_that_was_forgotten_ends() {
    let mut world = founded();
    let id = world.id(2);
    // Waiting a minute for a removal is for the simulator: it leaves, and retires itself.
    assert_eq!(world.operate(0, 2, MapChange::Leave), Ok(()));
    world.until("it knows", |world| world.role(2, 2) == Role::Leaving);
    assert_eq!(world.operate(2, 2, MapChange::Retire), Ok(()));
    world.until("the others know", |world| world.role(0, 2) == Role::Removed);
    assert_eq!(world.operate_on(0, id, MapChange::Forget), Ok(()));
    world.until("it ends", |world| world.fatal(2) == Some(Fatal::Forgotten));
    world.until("two are left", |world| (0..2).all(|at| world.roles(at) == [Role::Active; 2]));
}

#[test]
fn filling_ends_when_it_is_stored() {
    let mut world = World::new();
    world.start(0, &Options { seeds: &[], ..Options::NONE });
    node_meta::save(&world.shared_meta(0), |meta| meta.cluster.is_refilling = true).unwrap();
    world.node(0).note_refilling(true);
    world.tell(0, ToControl::Refilled);
    world.until("it counts again", |world| !world.node(0).is_refilling());
    assert!(!world.meta(0).cluster.is_refilling);
}

/// Cores that do not look at their inboxes lose no answer.
#[test]
fn a_full_inbox_loses_no_answer() {
    let mut world = World::new();
    world.start(0, &Options { seeds: &[], ..Options::NONE });
    world.until("it is Active", |world| world.node(0).view.get().has_owners());
    world.pause_cores();
    let mut filled = 0;
    let sender = world.node(0).inboxes[0].get().unwrap().clone();
    while sender.send(CoreEvent::Operated { token: u64::MAX, result: Ok(()) }).is_ok() {
        filled += 1;
    }
    assert!(filled > 1000);
    world.wish(0, 0, MapChange::Leave);
    std::thread::sleep(Duration::from_millis(50));
    world.resume_cores();
    world.until("the answer has come", |world| world.answer(0) == Some(Ok(())));
}
