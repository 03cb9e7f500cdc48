//! Rules that random histories meet too rarely.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

mod support;

use annulus_engine::Durability;
use annulus_engine::disk::memory::{MemoryDisk, block_on};
use annulus_engine::frame::{self, FrameFields};
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
    // Some segments fit beside what compaction keeps for itself.
    disk.set_total_bytes(320 << 10);
    for n in 0..400 {
        put(&mut node, &format!("key-{n}"), 900);
        (0..3).for_each(|_| drop(node.turn(2)));
        node.now_ms += 300;
        node.tick();
    }
    // The disk was never asked for what it does not have.
    assert!(node.told.refusals > 100 && disk.injected().full == 0, "{:?}", node.told);
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
    // A start on a full disk has a segment in reserve, too.
    let refusals = node.told.refusals;
    keys.iter().skip(8).take(4).for_each(|key| node.write(key, None));
    node.settle_all();
    assert_eq!((node.told.refusals, node.counted_keys()), (refusals, kept - 12));
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

#[test]
fn a_file_that_became_shorter_is_reported() {
    let disk = MemoryDisk::new(7);
    let mut node = Node::new(disk.clone(), 1, Durability::Sync);
    put(&mut node, "key", 50);
    node.settle_all();
    // Behind all frames, so nothing else tells.
    let path = "log-0001/core-00/small-00001.log";
    disk.cut(path, 16 << 10);
    let mut damaged = Node::closed(disk, Durability::Sync);
    damaged.incarnation = 2;
    damaged.open(1, None).unwrap();
    let corruption = &damaged.cores[0].recovery().corruption;
    assert_eq!((corruption.len(), corruption[0].path.as_str(), corruption[0].offset), (1, path, 16 << 10));
    assert_eq!(damaged.counted_keys(), 1);
}

/// Writes one frame, which fails.
fn fail_a_write(node: &mut Node, key: &str) {
    put(node, key, 50);
    (0..2).for_each(|_| drop(node.turn(0)));
    assert_eq!(node.disk.in_flight(), 1);
    node.disk.fail_call(Some(node.disk.calls()), false);
    node.turn(1);
}

#[test]
fn a_failed_frame_and_a_torn_activation_are_no_damage() {
    let mut left_out = 0;
    for seed in 0..200 {
        let mut node = Node::new(MemoryDisk::new(seed), 1, Durability::Sync);
        put(&mut node, "kept", 50);
        node.settle_all();
        fail_a_write(&mut node, "failed");
        // Long enough ago for a second failure not to end writing.
        node.now_ms += 3_600_000;
        fail_a_write(&mut node, "torn");
        assert_eq!((node.told.failed, node.told.read_only), (2, 0));
        put(&mut node, "later", 50);
        node.settle_all();
        node.cores.clear();
        node.disk.crash();
        node.incarnation += 1;
        node.open(1, None).unwrap();
        assert_eq!(node.told.corruption, 0, "seed {seed}: {:?}", node.cores[0].recovery());
        for (key, is_there) in [("kept", true), ("failed", false), ("torn", false), ("later", true)] {
            assert_eq!(node.read(key.as_bytes()).unwrap().is_some(), is_there, "{key}, seed {seed}");
        }
        left_out += node.cores[0].recovery().disregarded_frames;
    }
    assert!(left_out > 10, "some failed frames were whole: {left_out}");
}

#[test]
fn a_stored_copy_of_a_log_is_not_taken_for_the_log() {
    let disk = MemoryDisk::new(8);
    let mut node = Node::new(disk.clone(), 1, Durability::Sync);
    // The value's second part begins a block, and is a whole frame of a later use.
    let mut copy = vec![0; 4096];
    let fields = FrameFields {
        sequence: 99,
        number: 0,
        payload_bytes: 0,
        previous_crc: 0,
        records: 0,
        clock_ceiling: annulus_object::Clock::ZERO,
        log_tail: 1,
        ordinal: 1,
    };
    frame::seal(&mut copy, &fields);
    let mut value = vec![7; 4096 - 64 - 64 - 3];
    value.extend_from_slice(&copy);
    node.write(b"key", Some((value.clone(), 0)));
    node.settle_all();
    let path = disk.paths().into_iter().find(|path| path.contains("large")).unwrap();
    assert_eq!(disk.contents(&path)[8192..8192 + 4096], copy, "the frame lies at a block's start");
    for (flips, keys) in [(&[20][..], 1), (&[20, 5000][..], 0)] {
        let copy = disk.copy(1);
        flips.iter().for_each(|at| copy.flip_bit(&path, *at, 2));
        let mut damaged = Node::closed(copy, Durability::Sync);
        damaged.incarnation = 2;
        damaged.open(1, None).unwrap();
        assert_eq!((damaged.told.corruption, damaged.counted_keys()), (1, keys), "{flips:?}");
        let expected = (keys == 1).then(|| value.clone());
        assert_eq!(damaged.read(b"key").unwrap(), expected);
    }
}
