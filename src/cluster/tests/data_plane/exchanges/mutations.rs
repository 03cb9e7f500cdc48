//! Deliberate bugs of exchanges, each caught by one of the narrow cases.

use annulus_cluster::mutation::{Mutation, switch};

use super::*;

/// Whether a case goes wrong with a bug, and only with it.
fn is_caught(mutation: Mutation, goes_wrong: impl Fn() -> bool) {
    assert!(!goes_wrong(), "it is right without the bug");
    let _on = switch(Some(mutation));
    assert!(goes_wrong(), "{} is not caught", mutation.name());
}

#[test]
fn deletes_that_are_left_out() {
    is_caught(Mutation::ExchangeSkipsTombstones, || agreed(&a_missed_delete(), &["k"]).is_none());
}

#[test]
fn versions_that_travel_alone() {
    // What arrives alone has seen what it leaves behind: the other sibling dies everywhere.
    is_caught(Mutation::ExchangeSendsSingleVersions, || {
        agreed(&two_siblings_of_one_actor(), &["k"]).is_none_or(|found| found[0].len() < 2)
    });
}

#[test]
fn repairs_in_one_direction() {
    is_caught(Mutation::ExchangeOneWay, || agreed(&everybody_lacks_something(), &["a", "b", "c"]).is_none());
}

#[test]
fn trees_of_the_moment() {
    is_caught(Mutation::ExchangeIgnoresCut, || sum(&healthy_under_load(), |counters| counters.exchanges_differing) > 0);
}

#[test]
fn the_first_keys_alone() {
    is_caught(Mutation::ExchangeFirstKeysOnly, || {
        let (world, keys) = many_keys_in_a_leaf();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        agreed(&world, &keys).is_none()
    });
}

#[test]
fn a_pair_that_is_forgotten() {
    is_caught(Mutation::DirtyForgotten, || agreed(&a_copy_that_nobody_keeps(), &["k"]).is_none());
}
