//! The scrub: what is whole stays unsuspected, whatever happens meanwhile, and what is flipped is found and named.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

mod support;

use annulus_engine::disk::memory::MemoryDisk;
use annulus_engine::sealed_run::{FooterRef, Trailer};
use annulus_engine::{DamagedPlace, Durability, ScrubStatus, keyed_hash, parse_partition_name};
use support::{Node, Random, partition_of};

const BLOCK: usize = 4096;

fn turns(node: &mut Node, count: usize) {
    for _ in 0..count {
        node.turn(4);
        node.now_ms += 20;
        node.now_us += 20_000;
        node.tick();
    }
}

/// Some files of partitions, each with garbage in it, and some sealed segments.
fn filled(seed: u64) -> Node {
    let mut node = Node::closed(MemoryDisk::new(seed), Durability::Sync);
    // Every read goes to the disk.
    node.cache_bytes = 0;
    node.open(1, None).unwrap();
    let mut random = Random(seed);
    for step in 0..700u64 {
        let key = format!("key-{}", random.below(150)).into_bytes();
        let is_delete = random.one_in(9);
        let bytes = if random.one_in(12) { 3000 } else { 300 + random.below(600) as usize };
        node.write(&key, (!is_delete).then(|| (vec![step as u8; bytes], 0)));
        turns(&mut node, usize::from(step % 3 == 0));
    }
    node.settle_all();
    turns(&mut node, 200);
    let statistics = node.cores[0].statistics();
    assert!(statistics.counts.drains > 0 && statistics.partition_files >= 4, "{statistics:?}");
    node
}

fn scrub(node: &mut Node) -> ScrubStatus {
    let cycles = node.cores[0].scrub_status().cycles;
    node.cores[0].scrub_now();
    for _ in 0..3000 {
        turns(node, 1);
        let status = node.cores[0].scrub_status();
        if status.cycles > cycles && !status.is_hurried {
            return status;
        }
    }
    panic!("a scrub never ends");
}

fn partition_paths(node: &Node) -> Vec<(String, u16)> {
    let partition =
        |path: &str| parse_partition_name(path.strip_prefix("partitions/")?).map(|(partition, _)| partition);
    let paths = node.disk.paths().into_iter();
    paths.filter_map(|path| partition(&path).map(|partition| (path, partition))).collect()
}

/// The last run's trailer, and where its records are, with the upper halves of their hashes.
fn last_run(node: &Node, path: &str) -> (Trailer, Vec<(u64, u64)>) {
    let bytes = node.disk.contents(path);
    let at = bytes.len() - BLOCK;
    let trailer = Trailer::decode(&bytes[at..], at as u64).unwrap();
    let footer = FooterRef::check(&bytes[trailer.footer_start() as usize..], &trailer).unwrap();
    let entries = footer.iter().map(|found| (found.entry.place.offset(), found.entry.hash.high)).collect();
    (trailer, entries)
}

fn hash_of(key: &[u8]) -> u64 {
    (keyed_hash(&[7; 16], key) >> 64) as u64
}

/// Keys whose reads fail, by hash and partition.
fn unreadable(node: &mut Node) -> Vec<(u64, u16)> {
    let keys = node.known_keys();
    let failing = keys.into_iter().filter(|key| node.read(key).is_err());
    let mut failing: Vec<_> = failing.map(|key| (hash_of(&key), partition_of(&key))).collect();
    failing.sort_unstable();
    failing
}

fn only_place(status: &ScrubStatus) -> &DamagedPlace {
    assert_eq!((status.damage, status.places.len()), (1, 1), "{status:?}");
    &status.places[0]
}

#[test]
fn a_whole_store_is_read_completely_and_found_whole() {
    for seed in 0..3 {
        let mut node = filled(seed);
        let status = scrub(&mut node);
        assert_eq!((status.damage, status.last_cycle_bytes), (0, status.bytes_there), "{status:?}");
        let paths = partition_paths(&node);
        let in_files: usize = paths.iter().map(|(path, _)| node.disk.contents(path).len()).sum();
        assert_eq!(node.cores[0].statistics().partition_file_bytes, in_files as u64);
        assert!(status.bytes_there > in_files as u64, "sealed segments too");
        assert_eq!(scrub(&mut node).last_cycle_bytes, status.bytes_there, "and all of it again");
    }
}

#[test]
fn every_flip_of_a_record_is_found_and_tells_what_is_lost() {
    let (mut counted, mut garbage) = (0, 0);
    for seed in 0..24 {
        let mut node = filled(seed % 2);
        let mut random = Random(seed + 77);
        let paths = partition_paths(&node);
        let (path, partition) = paths[random.below(paths.len() as u64) as usize].clone();
        let (_, entries) = last_run(&node, &path);
        let Some((offset, hash)) = entries.get(random.below(entries.len().max(1) as u64) as usize).copied() else {
            continue;
        };
        node.disk.flip_bit(&path, offset as usize + random.below(64) as usize, random.below(8) as u32);
        let status = scrub(&mut node);
        let place = only_place(&status).clone();
        assert_eq!((&place.path, place.offset, place.what), (&path, offset, "a record"));
        assert_eq!(place.partitions, Some((partition, partition)));
        let is_damaged = node.cores[0].partition_status(partition).damaged;
        if place.keys == 0 {
            garbage += 1;
            assert!(place.hashes.is_none() && !is_damaged);
        } else {
            counted += 1;
            assert!(is_damaged && (place.keys, place.hashes) == (1, Some((hash, hash))));
        }
        // A deleted key is not read.
        for (hash, of) in unreadable(&mut node) {
            assert_eq!((of, place.hashes), (partition, Some((hash, hash))));
        }
        let again = scrub(&mut node);
        assert_eq!(again.damage, 1, "one place, however often it is met");
    }
    assert!(counted > 3 && garbage > 3, "{counted} counted, {garbage} were garbage");
}

#[test]
fn flips_beside_the_records_are_found_and_cost_no_key() {
    for (part, what) in [(0, "the file's header"), (1, "a footer"), (2, "a trailer")] {
        for seed in 0..2 {
            let mut node = filled(seed);
            let (path, partition) = partition_paths(&node)[seed as usize].clone();
            let (trailer, _) = last_run(&node, &path);
            let offset = match part {
                0 => 100,
                1 => trailer.footer_start() + trailer.footer_bytes() / 2,
                _ => trailer.end() - 100,
            };
            node.disk.flip_bit(&path, offset as usize, 3);
            let status = scrub(&mut node);
            let place = only_place(&status);
            assert_eq!((&place.path, place.what, place.keys), (&path, what, 0));
            assert!((place.offset..place.offset + place.bytes).contains(&offset));
            assert_eq!(place.partitions, Some((partition, partition)));
            assert!(!node.cores[0].partition_status(partition).damaged, "a compaction writes it anew");
            assert!(unreadable(&mut node).is_empty());
        }
    }
}

#[test]
fn every_flip_of_a_sealed_segment_is_found() {
    let (mut found, mut lost) = (0, 0);
    for seed in 0..40 {
        let mut node = filled(seed % 2);
        let mut random = Random(seed);
        let segments: Vec<String> = node.disk.paths().into_iter().filter(|path| path.ends_with(".log")).collect();
        let path = &segments[random.below(segments.len() as u64) as usize];
        let offset = match seed % 4 {
            0 => random.below(4096),
            1 => 4096 + random.below(64),
            _ => 4096 + random.below(24 << 10),
        };
        node.disk.flip_bit(path, offset as usize, random.below(8) as u32);
        let status = scrub(&mut node);
        // Padding, a segment that is being written, or one that is let go of already.
        let Some(place) = status.places.first() else { continue };
        assert_eq!((status.damage, &place.path), (1, path));
        assert!((place.offset..place.offset + place.bytes).contains(&offset), "{place:?} {offset}");
        found += 1;
        lost += place.keys;
        assert_eq!(place.keys == 0, place.hashes.is_none());
    }
    assert!(found > 5 && lost > 0, "{found} found, {lost} keys");
}

#[test]
fn nothing_is_suspected_while_everything_moves() {
    let (mut scrubbed, mut drains, mut compactions) = (0, 0, 0);
    let seeds = std::env::var("ANNULUS_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(80u64);
    for seed in 0..seeds {
        let mut node = Node::closed(MemoryDisk::new(seed), Durability::Sync);
        let mut random = Random(seed);
        node.work_steps = Some(1 + random.below(4) as usize);
        node.limits.compaction_read_bytes = BLOCK << random.below(3);
        node.hot_log_bytes = 128 << 10;
        node.open(1, None).unwrap();
        for step in 0..900u64 {
            let key = format!("key-{}", random.below(120)).into_bytes();
            let is_delete = random.one_in(9);
            let bytes = if random.one_in(12) { 3000 } else { 300 + random.below(600) as usize };
            node.write(&key, (!is_delete).then(|| (vec![step as u8; bytes], 0)));
            if random.one_in(200) {
                node.flush_all(0);
            }
            if random.one_in(3) {
                if !node.cores[0].scrub_status().is_hurried {
                    node.cores[0].scrub_now();
                }
                let count = random.below(4) as usize;
                turns(&mut node, count);
            }
        }
        // One that is under way reads so little in a turn that a store would not be seen to come to rest.
        node.work_steps = None;
        scrub(&mut node);
        node.settle_all();
        let counts = node.cores[0].statistics().counts;
        assert_eq!((counts.scrub_damage, counts.compactions_failed), (0, 0), "seed {seed}");
        (scrubbed, drains) = (scrubbed + counts.scrub_bytes, drains + counts.drains);
        compactions += counts.compactions;
    }
    assert!(scrubbed > 1 << 20 && drains > 20 && compactions > 20, "{scrubbed} {drains} {compactions}");
}

#[test]
fn everything_is_read_once_in_a_cycle() {
    let mut node = filled(1);
    node.limits.scrub_cycle_s = 100;
    node.limits.compaction_read_bytes = BLOCK;
    node.kill_and_start();
    let there = node.cores[0].scrub_status().bytes_there;
    turns(&mut node, 50 * 50);
    let half = node.cores[0].scrub_status();
    assert!(half.cycles == 0 && (there / 4..there * 3 / 4).contains(&half.bytes), "{half:?}");
    turns(&mut node, 60 * 50);
    let whole = node.cores[0].scrub_status();
    assert!(whole.cycles == 1 && whole.cycle_bytes < there / 4 && whole.damage == 0, "{whole:?}");
    // While compaction is held back nothing is read, unless somebody says so.
    node.cores[0].let_compaction_run(false);
    turns(&mut node, 500);
    assert_eq!(node.cores[0].scrub_status().bytes, whole.bytes);
    assert_eq!(scrub(&mut node).cycles, 2);
    // Damage is judged at once, not at the pace of what is whole.
    node.cores[0].let_compaction_run(true);
    let (path, _) = partition_paths(&node)[0].clone();
    let (_, entries) = last_run(&node, &path);
    node.disk.flip_bit(&path, entries[0].0 as usize + 20, 1);
    turns(&mut node, 110 * 50);
    assert_eq!(only_place(&node.cores[0].scrub_status()).offset, entries[0].0);
}

#[test]
fn where_a_start_begins_depends_on_its_time() {
    let first_of = |later_ms: u64| {
        let mut node = filled(1);
        node.now_ms += later_ms;
        node.kill_and_start();
        let mut random = Random(0);
        for (path, _) in partition_paths(&node) {
            node.disk.flip_bit(&path, random.below(BLOCK as u64) as usize, 0);
        }
        scrub(&mut node).places[0].path.clone()
    };
    let first: std::collections::BTreeSet<String> = (0..6).map(|start| first_of(start * 1000)).collect();
    assert!(first.len() > 1 && first_of(3000) == first_of(3000), "{first:?}");
}
