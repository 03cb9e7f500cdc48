//! Damage in partition files: whatever bit is flipped, no key silently holds something else. It is
//! read as it was, reading it is an error, or the damage was named when the store opened.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]
#![allow(clippy::print_stdout, reason = "how much was tested shows with --nocapture")]

mod support;

use std::collections::BTreeMap;

use annulus_engine::disk::memory::MemoryDisk;
use annulus_engine::{Durability, ReadError};
use support::{Node, Random, tiny};

type Held = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

fn closed(disk: MemoryDisk, incarnation: u16) -> Node {
    let mut node = Node::closed(disk, Durability::Sync);
    node.limits = tiny();
    (node.limits.space_per_mille, node.limits.garbage_per_mille_min) = (1_000, 1);
    (node.hot_log_bytes, node.incarnation) = (40 << 10, incarnation);
    node
}

/// A store whose keys are mostly in partition files, at rest.
fn drained() -> (MemoryDisk, Held) {
    let mut node = closed(MemoryDisk::new(3), 1);
    node.open(1, None).unwrap();
    let mut random = Random(7);
    for step in 0..150u64 {
        let key = format!("key-{}", random.below(30)).into_bytes();
        let is_delete = random.one_in(6);
        node.write(&key, (!is_delete).then(|| (vec![step as u8 + 1; 100 + random.below(500) as usize], 0)));
        (0..4).for_each(|_| drop(node.turn(2)));
        node.now_ms += 20;
        node.tick();
    }
    node.settle_all();
    node.note_counts();
    assert!(node.told.drains > 3 && node.told.compactions > 3, "{:?}", node.told);
    let held = node.known_keys().into_iter().map(|key| (key.clone(), node.visible(&key))).collect();
    (node.disk.clone(), held)
}

#[derive(Debug, Default)]
struct Outcomes {
    unharmed: u64,
    rebuilt: u64,
    read_errors: u64,
    named: u64,
    refused: u64,
}

fn judge(disk: MemoryDisk, held: &Held, what: &str, outcomes: &mut Outcomes) {
    let mut node = closed(disk, 2);
    if node.open(1, None).is_err() {
        outcomes.refused += 1;
        return;
    }
    let report = node.cores[0].recovery().clone();
    let mut errors = 0u64;
    for (key, expected) in held {
        match node.read(key) {
            Ok(found) if found == *expected => {}
            Ok(found) => {
                let length = |value: &Option<Vec<u8>>| value.as_ref().map(Vec::len);
                let key = String::from_utf8_lossy(key);
                let (found, expected) = (length(&found), length(expected));
                assert!(
                    !report.corruption.is_empty(),
                    "{what}: {key} holds {found:?}, not {expected:?}, and nobody says so"
                );
            }
            Err(ReadError::Corrupt(_) | ReadError::Misplaced) => errors += 1,
            Err(error) => panic!("{what}: {error}"),
        }
    }
    node.check_trees();
    let counter = match (report.corruption.is_empty(), errors, report.rebuilt_runs) {
        (false, ..) => &mut outcomes.named,
        (true, 1.., _) => &mut outcomes.read_errors,
        (true, 0, 1..) => &mut outcomes.rebuilt,
        (true, 0, 0) => &mut outcomes.unharmed,
    };
    *counter += 1;
}

#[test]
fn every_flipped_byte() {
    let (disk, held) = drained();
    let mut outcomes = Outcomes::default();
    for path in disk.paths().iter().filter(|path| path.starts_with("partitions/")) {
        let bytes = disk.contents(path);
        // Every byte of headers, footers and trailers would take long; the stride meets every field of some of them.
        for at in (0..bytes.len()).step_by(7) {
            let copy = disk.copy(at as u64);
            copy.flip_bit(path, at, at as u32);
            judge(copy, &held, &format!("bit {at} of {path}"), &mut outcomes);
        }
    }
    println!("flipped: {outcomes:?}");
    assert!(outcomes.unharmed > 100 && outcomes.rebuilt > 20 && outcomes.read_errors > 100 && outcomes.named > 10);
}
