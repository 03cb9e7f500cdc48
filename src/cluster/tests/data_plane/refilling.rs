//! A node whose disk was replaced: what it tells counts once it was compared with enough others, and not before (rule S11).
//!
//! Each case is a function, so that the deliberate bugs can be caught by the same ones.

use annulus_cluster::effect::Failure;
use annulus_cluster::event::Quorum;
use annulus_cluster::limits::Limits;
use annulus_object::Object;

use crate::exchanges::{ROUND_MS, counters, keep, limits, single};
use crate::world::{Told, Wish, World, values};

/// Time in which an owner that can be compared with all others is whole again.
const REFILL_MS: u64 = 2 * ROUND_MS;

/// Strict quorums: two of three owners have a write, and two of three are asked.
fn world(limits: Limits) -> World {
    let mut world = World::with_limits(3, limits);
    world.quorum = Quorum { n: 3, r: 2, w: 2, pr: 2, pw: 2, dw: 2 };
    world
}

/// A and B have a write that C lacks, B's disk is replaced, and B reaches C alone.
fn replaced_and_cut_off_from_the_last_copy() -> World {
    let mut world = world(limits());
    // What was changed before the first tick is not known.
    world.wait(ROUND_MS);
    world.cuts.extend([(0, 2), (1, 2)]);
    world.put(0, b"k", &Wish { value: Some(b"v"), ..Wish::default() });
    world.settle();
    world.cuts = [(0, 1), (1, 0), (0, 2), (2, 0)].into();
    world.replace_disk(1);
    world.set_up(0, false);
    world
}

fn answer(world: &mut World, at: usize) -> Told {
    let client = world.get(at, b"k", None);
    world.settle();
    world.wait(1100);
    world.told.remove(&client).expect("a command is answered")
}

/// A strict read at C of what only A has: it fails, or the write is missed.
fn strict_read_after(wait_ms: u64) -> Told {
    let mut world = replaced_and_cut_off_from_the_last_copy();
    world.wait(wait_ms);
    answer(&mut world, 2)
}

/// What B is told of as absent has failed, as it must: A does not answer.
fn is_refused(told: &Told) -> bool {
    matches!(told, Told::Failed(Failure::ReadTimeout | Failure::NoReplicas))
}

#[test]
fn an_owner_that_lost_its_disk_does_not_count() {
    assert!(is_refused(&strict_read_after(0)), "C and B would say that there is nothing");
}

#[test]
fn being_equal_with_one_of_two_others_is_not_enough() {
    assert!(is_refused(&strict_read_after(REFILL_MS)), "B was compared with C, and the write is on A");
}

#[test]
fn once_it_is_refilled_it_counts_again() {
    let mut world = replaced_and_cut_off_from_the_last_copy();
    assert!(!is_refilled(&world, 1));
    world.cuts.clear();
    world.set_up(0, true);
    world.wait(REFILL_MS);
    assert!(is_refilled(&world, 1));
    assert_eq!(counters(&world, 1).partitions_refilled, 1);
    let uncounted = counters(&world, 1).words_uncounted;
    world.cuts = [(0, 1), (1, 0), (0, 2), (2, 0)].into();
    world.set_up(0, false);
    for at in [1, 2] {
        let told = answer(&mut world, at);
        let Told::Found { object, is_stale_possible: false } = told else { panic!("{told:?}") };
        assert_eq!(values(&object), ["v"]);
    }
    assert_eq!(counters(&world, 1).words_uncounted, uncounted);
}

/// B's disk is replaced at once after a write on A and B, and its clock, an hour behind when it starts, is put right. What A has
/// of this epoch it leaves out of what it compares, as it does among healthy owners.
fn started_with_a_clock_that_is_behind() -> Object {
    let mut world = world(Limits { exchange_interval_us: 20_000, ..limits() });
    world.wait(ROUND_MS);
    world.cuts.extend([(0, 2), (1, 2), (2, 0)]);
    world.put(0, b"k", &Wish { value: Some(b"v"), ..Wish::default() });
    world.settle();
    world.nodes[1].skew_ms = -3_600_000;
    world.replace_disk(1);
    world.tick(1);
    world.settle();
    world.nodes[1].skew_ms = 0;
    world.cuts = [(0, 2), (2, 0)].into();
    // Until B counts, or the write may have come to it.
    for _ in 0..ROUND_MS {
        if is_refilled(&world, 1) {
            break;
        }
        world.tick(2);
        world.settle();
    }
    assert!(is_refilled(&world, 1), "both others answer");
    world.owned(1, b"k")
}

#[test]
fn a_clock_that_is_put_right_after_the_start_does_not_hide_what_was_written_before() {
    assert_eq!(values(&started_with_a_clock_that_is_behind()), ["v"]);
}

#[test]
fn what_only_it_owns_counts_at_once() {
    let mut world = World::with_limits(1, limits());
    world.quorum = Quorum { n: 1, r: 1, w: 1, pr: 1, pw: 1, dw: 1 };
    keep(&mut world, 0, b"k", &single(10, 1, Some(b"v")));
    world.replace_disk(0);
    assert!(is_refilled(&world, 0), "there is nobody to be compared with");
    assert!(matches!(answer(&mut world, 0), Told::Found { is_stale_possible: false, .. }));
}

fn is_refilled(world: &World, index: usize) -> bool {
    let node = &world.nodes[index];
    node.shard.as_ref().expect("it runs").is_refilled(&node.store, &node.ring)
}

#[cfg(feature = "mutations")]
mod mutations {
    use annulus_cluster::mutation::{Mutation, switch};

    use super::*;

    /// Whether a bug makes a strict read miss what was acknowledged before.
    fn misses(mutation: Mutation, wait_ms: u64) -> bool {
        let _on = switch(Some(mutation));
        matches!(strict_read_after(wait_ms), Told::Found { .. })
    }

    #[test]
    fn its_word_counts_at_once() {
        assert!(misses(Mutation::RefillingOwnerCounts, 0));
    }

    #[test]
    fn one_other_owner_is_enough() {
        assert!(misses(Mutation::RefilledByOne, REFILL_MS));
    }

    #[test]
    fn what_is_left_out_of_trees_does_not_matter() {
        let _on = switch(Some(Mutation::RefillIgnoresCut));
        assert_eq!(values(&started_with_a_clock_that_is_behind()), Vec::<String>::new());
    }
}
