//! Values that were just written are read from memory; what is read often stays there when the newest part of the log, which
//! is kept in memory, has moved on; and nothing old is ever shown.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

mod support;

use annulus_engine::Durability;
use annulus_engine::disk::memory::MemoryDisk;
use support::{Node, Random};

/// A store that keeps the newest 16 KiB of its log in memory, and 16 KiB of what is read.
fn node(seed: u64) -> Node {
    let mut node = Node::closed(MemoryDisk::new(seed), Durability::Sync);
    node.cache_bytes = 32 << 10;
    node.open(1, None).unwrap();
    node
}

fn put(node: &mut Node, key: &str, fill: u8) {
    node.write(key.as_bytes(), Some((vec![fill; 700], 0)));
    node.settle_all();
}

/// Whether reading a key, which must be right, took a read of the disk.
fn reads_disk(node: &mut Node, key: &str) -> bool {
    let before = node.told.disk_reads;
    node.check(key.as_bytes());
    node.told.disk_reads > before
}

#[test]
fn what_was_just_written_needs_no_disk() {
    let mut node = node(1);
    for n in 0..100 {
        let key = format!("key-{}", n % 7);
        put(&mut node, &key, n);
        assert!(!reads_disk(&mut node, &key), "write {n}");
    }
    assert!(node.cores[0].statistics().cache_hits >= 100);
}

#[test]
fn what_was_written_over_in_memory_comes_from_the_disk_once() {
    let mut node = node(2);
    (0..60).for_each(|n| put(&mut node, &format!("key-{n}"), n));
    // About twenty frames fit.
    assert!(reads_disk(&mut node, "key-0"));
    assert!(!reads_disk(&mut node, "key-0"), "what was read is cached");
    assert!(!reads_disk(&mut node, "key-59"));
    for n in 0..60 {
        reads_disk(&mut node, &format!("key-{n}"));
    }
}

#[test]
fn what_is_read_before_it_goes_stays() {
    let mut node = node(3);
    put(&mut node, "hot", 1);
    for n in 0..60 {
        put(&mut node, &format!("key-{n}"), n);
        assert!(!reads_disk(&mut node, "hot"), "after {n}");
    }
    // The cache has an older version now.
    put(&mut node, "hot", 2);
    assert!(!reads_disk(&mut node, "hot"));
    (0..60).for_each(|n| put(&mut node, &format!("other-{n}"), n));
    assert!(reads_disk(&mut node, "hot"), "the older version is not shown");
}

#[test]
fn a_segment_that_is_used_again_shows_nothing_old() {
    let mut node = node(4);
    let mut random = Random(4);
    for step in 0..600_u64 {
        let key = format!("key-{}", random.below(12));
        if random.one_in(6) {
            node.write(key.as_bytes(), None);
        } else {
            put(&mut node, &key, step as u8);
        }
        reads_disk(&mut node, &format!("key-{}", random.below(12)));
    }
    node.settle_all();
    node.known_keys().iter().for_each(|key| node.check(key));
    node.note_counts();
    assert!(node.told.recycled > 20 && node.told.disk_reads > 20, "{:?}", node.told);
}
