//! Logs that were cut at every byte, with flipped bits, and disks whose n-th call fails, for every n; crashes after every
//! single completion. What comes back is a clean prefix of what was written, or the damage is named; and whatever was
//! acknowledged before a crash survives it.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]
#![allow(clippy::print_stdout, reason = "how much was tested shows with --nocapture")]

mod support;

use std::collections::BTreeMap;

use annulus_engine::Durability;
use annulus_engine::disk::memory::MemoryDisk;
use support::{Node, Random, tiny};

type Snapshot = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a log held after each of its commits.
struct Recorded {
    disk: MemoryDisk,
    snapshots: Vec<Snapshot>,
    incarnation: u16,
}

/// Writes one key after the other, each a commit of its own; with `recycles`, until files have been used several times.
fn record(recycles: bool) -> Recorded {
    let mut node = Node::closed(MemoryDisk::new(5), Durability::Sync);
    node.limits = tiny();
    node.open(1, None).unwrap();
    let mut random = Random(11);
    let mut snapshots = vec![Snapshot::new()];
    for step in 0..if recycles { 60u64 } else { 9 } {
        let key = format!("key-{}", random.below(4)).into_bytes();
        let is_delete = random.one_in(4);
        // One instance only: each of the two is cut back on its own.
        let bytes = if random.one_in(6) { 900 } else { 100 };
        node.write(&key, (!is_delete).then(|| (vec![step as u8 + 1; bytes], 0)));
        if recycles {
            node.settle_all();
        } else {
            (0..6).for_each(|_| drop(node.turn(2)));
        }
        let now = node.known_keys().into_iter().filter_map(|key| Some((key.clone(), node.visible(&key)?)));
        snapshots.push(now.collect());
    }
    node.note_counts();
    assert!(!recycles || node.told.recycled > 3, "files were used again: {:?}", node.told);
    Recorded { disk: node.disk.clone(), snapshots, incarnation: node.incarnation }
}

#[derive(Default, Debug)]
struct Outcomes {
    whole: u64,
    prefixes: u64,
    named: u64,
    refused: u64,
}

/// Opens a damaged copy: a prefix, or a name for the damage, and in no case anything that was not written.
fn judge(recorded: &Recorded, disk: MemoryDisk, what: &str, outcomes: &mut Outcomes) {
    let mut node = Node::closed(disk, Durability::Sync);
    node.limits = tiny();
    node.incarnation = recorded.incarnation + 1;
    if node.open(1, None).is_err() {
        outcomes.refused += 1;
        return;
    }
    let keys: Vec<Vec<u8>> = (0..4).map(|n| format!("key-{n}").into_bytes()).collect();
    let mut found = Snapshot::new();
    for key in &keys {
        if let Some(value) = node.read(key).unwrap() {
            found.insert(key.clone(), value);
        }
    }
    for (key, value) in &found {
        let written = recorded.snapshots.iter().any(|snapshot| snapshot.get(key) == Some(value));
        assert!(written, "{what}: {} holds what nobody wrote", String::from_utf8_lossy(key));
    }
    if node.told.corruption > 0 {
        outcomes.named += 1;
        return;
    }
    let prefix = recorded.snapshots.iter().rposition(|snapshot| *snapshot == found);
    let prefix = prefix.unwrap_or_else(|| panic!("{what}: neither a prefix nor named: {:?}", found.keys()));
    let counter = if prefix + 1 == recorded.snapshots.len() { &mut outcomes.whole } else { &mut outcomes.prefixes };
    *counter += 1;
    // The log goes on behind the damage.
    node.believe(b"key-0", found.remove(&b"key-0"[..]));
    node.write(b"key-0", Some((b"afterwards".to_vec(), 0)));
    node.settle_all();
    assert_eq!(node.read(b"key-0").unwrap().as_deref(), Some(&b"afterwards"[..]), "{what}");
    node.cores.clear();
    node.disk.crash();
    node.incarnation += 1;
    node.open(1, None).unwrap();
    assert_eq!(node.read(b"key-0").unwrap().as_deref(), Some(&b"afterwards"[..]), "{what}, after a crash");
}

/// Damages every file of a log from every byte on.
fn from_every_byte(recycles: bool, what: &str, damage: impl Fn(&MemoryDisk, &str, usize)) -> Outcomes {
    let recorded = record(recycles);
    let mut outcomes = Outcomes::default();
    for path in recorded.disk.paths() {
        let length = recorded.disk.contents(&path).len();
        // Every byte of a fresh log; around every block of a recycled one, where the same code meets old frames.
        for at in (0..length).filter(|at| !recycles || at % 512 < 2 || at % 4096 < 200) {
            let disk = recorded.disk.copy(at as u64);
            damage(&disk, &path, at);
            judge(&recorded, disk, &format!("{path} {what} at {at}, recycled {recycles}"), &mut outcomes);
        }
    }
    println!("{what}, recycled {recycles}: {outcomes:?}");
    outcomes
}

#[test]
fn cut_at_every_byte() {
    for recycles in [false, true] {
        let outcomes = from_every_byte(recycles, "cut", |disk, path, at| disk.cut(path, at));
        assert!(outcomes.named > 1000, "a file that became shorter is named: {outcomes:?}");
    }
}

#[test]
fn blank_from_every_byte() {
    for recycles in [false, true] {
        let outcomes = from_every_byte(recycles, "blank", |disk, path, at| disk.blank(path, at));
        assert!(outcomes.prefixes > 1000 || outcomes.named > 100, "{outcomes:?}");
    }
}

#[test]
fn flipped_bits() {
    for recycles in [false, true] {
        let recorded = record(recycles);
        let mut outcomes = Outcomes::default();
        let mut random = Random(3);
        let paths = recorded.disk.paths();
        for _ in 0..6000 {
            let path = &paths[random.below(paths.len() as u64) as usize];
            let disk = recorded.disk.copy(random.below(1 << 40));
            let at = random.below(disk.contents(path).len() as u64) as usize;
            // Headers are small: half of the flips go there.
            let at = if random.one_in(2) { at } else { at & !4095 | at & 127 };
            disk.flip_bit(path, at, random.below(8) as u32);
            judge(&recorded, disk, &format!("{path} flipped at {at}, recycled {recycles}"), &mut outcomes);
        }
        println!("flipped, recycled {recycles}: {outcomes:?}");
        assert!(outcomes.named > 100 && outcomes.whole > 100, "{outcomes:?}");
    }
}

/// A fixed history of some dozen writes with a restart in the middle.
fn history(node: &mut Node, seed: u64, steps: u64) {
    let mut random = Random(seed);
    for step in 0..steps {
        let key = format!("key-{}", random.below(6)).into_bytes();
        let bytes = if random.one_in(6) { 1500 } else { 300 };
        let is_delete = random.one_in(4);
        node.write(&key, (!is_delete).then(|| (vec![step as u8; bytes], 0)));
        node.turn(1);
        node.now_ms += 7;
        node.tick();
    }
}

#[test]
fn the_nth_call_fails_for_every_n() {
    let (mut injected, mut refused_to_open, mut read_only) = (0, 0, 0);
    for and_later in [false, true] {
        for n in 0..2000 {
            let disk = MemoryDisk::new(n);
            disk.fail_call(Some(n), and_later);
            let mut node = Node::closed(disk.clone(), Durability::Sync);
            node.limits = tiny();
            if node.open(1, None).is_err() {
                refused_to_open += 1;
                assert!(disk.injected().failed_calls > 0, "only a failing disk keeps a store from opening");
                disk.fail_call(None, false);
                disk.crash();
                node.open(1, None).unwrap();
            }
            history(&mut node, 77, 60);
            let calls = disk.calls();
            disk.fail_call(None, false);
            node.restart(false, 1);
            history(&mut node, 78, 10);
            node.settle_all();
            node.known_keys().iter().for_each(|key| node.check(key));
            assert_eq!(node.told.corruption, 0, "call {n}");
            injected += disk.injected().failed_calls;
            read_only += node.told.read_only;
            if calls < n {
                assert!(n > 100, "the history makes calls");
                break;
            }
        }
    }
    println!("failed calls {injected}, refused to open {refused_to_open}, read-only {read_only}");
    assert!(injected > 200 && refused_to_open > 3 && read_only > 3);
}

#[test]
fn a_crash_after_every_completion() {
    let (mut acknowledged, mut torn) = (0, 0);
    for seed in 0..4 {
        for crash_at in 0..120 {
            let disk = MemoryDisk::new(seed * 1000 + crash_at);
            let mut node = Node::closed(disk.clone(), Durability::Sync);
            node.limits = tiny();
            node.open(1, None).unwrap();
            history(&mut node, seed, crash_at);
            node.restart(false, 1);
            history(&mut node, seed + 100, 12);
            node.restart(false, 1 + (crash_at % 3) as u16);
            assert_eq!(node.told.corruption, 0);
            acknowledged += node.told.acknowledged;
            torn += disk.injected().torn_writes;
        }
    }
    println!("acknowledged {acknowledged}, torn writes {torn}");
    assert!(acknowledged > 5000 && torn > 50);
}
