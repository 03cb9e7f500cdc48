//! Rules that random histories meet too rarely.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

mod support;

use annulus_engine::Durability;
use annulus_engine::disk::memory::{MemoryDisk, block_on};
use support::{Node, partition_of};

fn put(node: &mut Node, key: &str, bytes: usize) {
    node.write(key.as_bytes(), Some((vec![7; bytes], 0)));
}

#[test]
fn a_tombstone_outlives_a_slow_write_that_it_hides() {
    let mut node = Node::new(MemoryDisk::new(1), 1, Durability::Sync);
    // The large instance's first segment takes very long to prepare.
    node.holds_next_work = true;
    put(&mut node, "slow", 3000);
    node.turn(4);
    assert_eq!(node.held_work.len(), 1);
    node.write(b"slow", None);
    for _ in 0..60 {
        put(&mut node, "fill", 900);
        (0..4).for_each(|_| drop(node.turn(4)));
        node.now_ms += 20;
        node.tick();
    }
    let work = node.held_work.pop().unwrap();
    let now_ms = node.now_ms;
    node.cores[0].on_work_done(block_on(work.run()), now_ms);
    node.settle_all();
    node.check(b"slow");
    node.restart(false, 1);
    node.check(b"slow");
    node.check(b"fill");
}

#[test]
fn a_mark_that_fails_hides_nothing() {
    let disk = MemoryDisk::new(2);
    let mut node = Node::new(disk.clone(), 1, Durability::Sync);
    put(&mut node, "early", 10);
    node.turn(0);
    // The put is on its way; the mark goes into the next frame, which fails.
    node.flush_all(0);
    node.turn(1);
    assert_eq!((node.told.acknowledged, disk.in_flight()), (1, 1));
    disk.fail_call(Some(disk.calls()), false);
    node.turn(1);
    assert_eq!(node.told.failed, 1);
    node.check(b"early");
    assert_eq!((node.read(b"early").unwrap().is_some(), node.counted_keys()), (true, 1));
}

#[test]
fn a_damaged_header_costs_nothing_but_a_report() {
    let disk = MemoryDisk::new(3);
    let mut node = Node::new(disk.clone(), 1, Durability::Sync);
    for n in 0..5 {
        put(&mut node, &format!("key-{n}"), 50);
        node.settle_all();
    }
    for at in [0, 9, 12, 20, 40, 70] {
        let copy = disk.copy(at);
        copy.flip_bit("log-0001/core-00/small-00001.log", at as usize, 2);
        let mut damaged = Node::closed(copy, Durability::Sync);
        damaged.incarnation = 2;
        damaged.open(1, None).unwrap();
        assert_eq!((damaged.told.corruption, damaged.counted_keys()), (1, 5), "byte {at}");
    }
}

#[test]
fn stamps_go_on_above_everything_when_the_wall_clock_goes_back() {
    let mut node = Node::new(MemoryDisk::new(4), 1, Durability::Sync);
    let stamp = |node: &mut Node| {
        let now_ms = node.now_ms;
        let engine = &mut node.cores[0];
        let key = engine.key(b"key", partition_of(b"key"));
        engine.put(&key, b"value", 0, now_ms).unwrap().dot
    };
    let first = stamp(&mut node);
    node.settle_all();
    node.restart(false, 1);
    node.now_ms -= 3_600_000;
    let second = stamp(&mut node);
    assert!(second.clock > first.clock && second.actor != first.actor);
    // Also above what an earlier run may have stamped and lost: the ceiling.
    assert!(second.clock.unix_ms() >= first.clock.unix_ms() + 250);
}

#[test]
fn a_full_disk_refuses_values_and_takes_deletes() {
    let disk = MemoryDisk::new(5);
    let mut node = Node::new(disk.clone(), 1, Durability::Sync);
    // Six segments fit, below the water marks; a seventh does not.
    disk.set_total_bytes(212 << 10);
    for n in 0..400 {
        put(&mut node, &format!("key-{n}"), 900);
        (0..3).for_each(|_| drop(node.turn(2)));
        node.now_ms += 300;
        node.tick();
    }
    assert!(node.told.refusals > 100 && disk.injected().full > 0, "{:?}", node.told);
    assert_eq!((node.told.failed, node.told.read_only), (0, 0), "what was taken is kept: {:?}", node.told);
    let refusals = node.told.refusals;
    let kept = node.counted_keys();
    assert!(kept > 20);
    let keys = node.expected_keys();
    keys.iter().take(8).for_each(|key| node.write(key, None));
    node.settle_all();
    assert_eq!((node.told.refusals, node.counted_keys()), (refusals, kept - 8));
    node.restart(false, 1);
    assert_eq!(node.counted_keys(), kept - 8);
}

#[test]
fn keys_and_values_beyond_the_limits_are_refused_by_name() {
    let mut node = Node::new(MemoryDisk::new(6), 1, Durability::Sync);
    let now_ms = node.now_ms;
    let engine = &mut node.cores[0];
    let long = vec![1; 65_536];
    let key = engine.key(&long, 0);
    assert!(engine.put(&key, b"", 0, now_ms).is_err());
    let key = engine.key(b"key", 0);
    assert!(engine.put(&key, &vec![1; 100_000], 0, now_ms).is_err());
    assert!(engine.put(&key, &vec![1; (32 << 20) + 1], 0, now_ms).is_err());
}
