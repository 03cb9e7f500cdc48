//! Crashes at one exact point, each once found by `crash_images.rs` or closely beside one.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

mod support;

use annulus_engine::Durability;
use annulus_engine::disk::memory::{Change, ImageKind, MemoryDisk, Recipe, Recording, Replay, block_on};
use support::{Node, tiny};

const KEY: &[u8] = b"key";

/// A store on a disk whose changes are recorded.
fn recorded(disk: MemoryDisk, incarnation: u16) -> Node {
    disk.record();
    let mut node = Node::closed(disk, Durability::Sync);
    (node.limits, node.incarnation) = (tiny(), incarnation);
    node.open(1, None).unwrap();
    node
}

/// The key is written, and the machine crashes before the write ends.
fn crash_while_writing(mut node: Node, value: &[u8]) -> Recording {
    node.write(KEY, Some((value.to_vec(), 0)));
    node.turn(0);
    assert_eq!(node.disk.in_flight(), 1);
    node.end();
    node.disk.take_recording()
}

/// After a crash that has torn the last change, which began a use of a segment: a block of header and one of a frame.
fn torn(recording: &Recording, kind: ImageKind, sectors: usize) -> MemoryDisk {
    let subject = recording.changes().len() - 1;
    assert!(
        matches!(&recording.changes()[subject], Change::Write { offset: 0, bytes, .. } if bytes.len() == 8192),
        "{}",
        recording.describe(subject)
    );
    let recipe = Recipe { kind, subject, sectors, others: 1, keeps_length: false };
    Replay::new(recording).to_end().build(&recipe, 1).disk
}

#[test]
fn a_first_write_without_its_header_is_a_torn_write() {
    let recording = crash_while_writing(recorded(MemoryDisk::new(1), 1), b"lost");
    let node = recorded(torn(&recording, ImageKind::LastSectors, 8), 2);
    assert_eq!(node.cores[0].recovery().corruption, []);
}

#[test]
fn a_write_that_one_crash_has_lost_does_not_come_back_with_the_next() {
    let mut node = recorded(MemoryDisk::new(1), 1);
    // Until the active segment is full and the next is one that was used before.
    for _ in 0..16 {
        node.write(KEY, Some((b"kept".to_vec(), 0)));
        node.settle_all();
    }
    node.note_counts();
    assert!(node.told.recycled > 0);
    let first = crash_while_writing(node, b"lost");
    let image = torn(&first, ImageKind::LastSectors, 8);
    let mut node = recorded(image, 2);
    assert_eq!(node.read(KEY).unwrap().as_deref(), Some(&b"kept"[..]));
    node.believe(KEY, Some(b"kept".to_vec()));
    let second = crash_while_writing(node, b"lost, too");
    let mut node = recorded(torn(&second, ImageKind::FirstSectors, 8), 3);
    assert_eq!(node.read(KEY).unwrap().as_deref(), Some(&b"kept"[..]));
}

#[test]
fn a_tombstone_outlives_a_slow_write_that_has_arrived() {
    let mut node = Node::closed(MemoryDisk::new(1), Durability::Sync);
    node.limits = tiny();
    node.open(1, None).unwrap();
    let fill = |node: &mut Node| {
        node.write(b"fill", Some((vec![2; 900], 0)));
        (0..3).for_each(|_| drop(node.turn(1)));
    };
    // The large instance's first segment takes long to prepare.
    node.holds_next_work = true;
    node.write(KEY, Some((vec![1; 3000], 0)));
    (0..3).for_each(|_| drop(node.turn(1)));
    node.write(KEY, None);
    // The tombstone's segment is full, and another is in use before the large one is begun.
    (0..5).for_each(|_| fill(&mut node));
    let prepared = block_on(node.held_work.pop().unwrap().run());
    let now_ms = node.now_ms;
    node.cores[0].on_work_done(prepared, now_ms);
    // Frames that say where the log begins now.
    for _ in 0..2 {
        node.settle_all();
        fill(&mut node);
    }
    node.check(KEY);
    node.restart(true, 1);
}
