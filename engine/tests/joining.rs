//! A store that was alone and is so no more: others may have versions of its keys, with clocks that are behind.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

mod support;

use annulus_engine::Durability;
use annulus_engine::disk::memory::MemoryDisk;
use annulus_object::{Actor, Clock, Context, Dot, Object, ObjectView, Sibling};
use support::{Node, partition_of};

/// Puts and deletes many keys; how many tombstones were forgotten meanwhile.
fn churn(node: &mut Node, rounds: std::ops::Range<u32>) -> u64 {
    let before = node.cores[0].statistics().counts.tombstones_reaped;
    for round in rounds {
        // Some keys live, the others are deleted a round later and never come back.
        for step in 0..4 {
            node.write(format!("live-{step}").as_bytes(), Some((vec![7; 900], 0)));
            node.write(format!("key-{round}-{step}").as_bytes(), Some((vec![step; 400], 0)));
            node.write(format!("key-{}-{step}", round - 1).as_bytes(), None);
            (0..3).for_each(|_| drop(node.turn(4)));
        }
        node.now_ms += 20;
        node.tick();
    }
    node.settle_all();
    node.cores[0].statistics().counts.tombstones_reaped - before
}

#[test]
fn tombstones_are_forgotten_only_as_long_as_the_store_is_alone() {
    let mut node = Node::closed(MemoryDisk::new(1), Durability::Sync);
    node.limits = support::tiny();
    node.open(1, None).unwrap();
    assert!(churn(&mut node, 1..300) > 0, "alone they go");
    node.cores[0].join_others();
    node.is_alone = false;
    // What was begun before may end.
    churn(&mut node, 300..310);
    assert_eq!(churn(&mut node, 310..600), 0, "they stay");
    let keys = node.known_keys();
    keys.iter().for_each(|key| node.check(key));
    node.restart(true, 1);
    assert_eq!(churn(&mut node, 600..700), 0, "after a restart, too");
    keys.iter().for_each(|key| node.check(key));
}

fn foreign(clock: Clock, value: &[u8]) -> Vec<u8> {
    let dot = Dot::new(clock, Actor::new(0xfeed, 1));
    let sibling = Sibling { dot, value: Some(value.to_vec()), expires_at_ms: 0, value_dot: None };
    let mut bytes = Vec::new();
    Object::single(sibling, Context::default()).encode(&mut bytes);
    bytes
}

/// A stamp of a store that is alone covers every clock up to its floor, whoever's; of one that is not it must not.
#[test]
fn a_stamp_covers_nothing_that_it_has_not_seen() {
    let mut node = Node::new(MemoryDisk::new(2), 1, Durability::Sync);
    node.write(b"old", Some((b"first".to_vec(), 0)));
    node.settle_all();
    let behind = node.cores[0].clock();
    node.restart(false, 1);
    node.cores[0].join_others();
    let now_ms = node.now_ms;
    let engine = &mut node.cores[0];
    let key = engine.key(b"new", partition_of(b"new"));
    engine.put(&key, b"ours", 0, now_ms).unwrap();
    // Somebody else has written the key meanwhile, with a clock that is below what this store began with.
    let theirs = foreign(behind, b"theirs");
    engine.merge(&key, &ObjectView::check(&theirs).unwrap(), now_ms).unwrap();
    assert_eq!(engine.versions(&key).siblings.len(), 2, "both writes live");
    // What the store had itself is replaced all the same, also what an earlier incarnation has stamped.
    let key = engine.key(b"old", partition_of(b"old"));
    engine.put(&key, b"second", 0, now_ms).unwrap();
    assert_eq!(engine.versions(&key).siblings.len(), 1);
}
