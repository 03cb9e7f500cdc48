//! Random histories against a model: writes, deletes, FLUSHALL, expiry, reads from memory and disk, crashes, restarts with
//! other numbers of cores, failing calls. Acknowledged writes survive; of the others each may or may not; nothing is
//! invented; while the store runs it shows the newest write that has not failed.

#![allow(clippy::print_stdout, reason = "how much was tested shows with --nocapture")]

mod support;

use annulus_engine::Durability;
use annulus_engine::disk::memory::MemoryDisk;
use support::{Node, Random, State, Told};

struct Mix {
    steps: u64,
    keys: u64,
    faults: bool,
    crashes: bool,
    expiry: bool,
    flushes: bool,
}

fn value(random: &mut Random, step: u64) -> Vec<u8> {
    let bytes = match random.below(20) {
        0 => 1100 + random.below(20_000),
        1..=4 => random.below(900),
        _ => 8 + random.below(60),
    };
    let mut value = vec![step as u8; bytes as usize];
    let stamp = step.to_le_bytes();
    let prefix = stamp.len().min(value.len());
    value[..prefix].copy_from_slice(&stamp[..prefix]);
    value
}

fn run(seed: u64, mix: &Mix, durability: Durability) -> Told {
    let mut random = Random(seed);
    let disk = MemoryDisk::new(seed ^ 0x5eed);
    let mut node = Node::new(disk, 1 + random.below(3) as u16, durability);
    for step in 0..mix.steps {
        let key = format!("key-{}", random.below(mix.keys)).into_bytes();
        match random.below(100) {
            0..45 => {
                let expires_at_ms =
                    if mix.expiry && random.one_in(5) { node.now_ms + 1 + random.below(400) } else { 0 };
                let state: State = Some((value(&mut random, step), expires_at_ms));
                node.write(&key, state);
            }
            45..60 => node.write(&key, None),
            60..75 => node.check(&key),
            75..92 => drop(node.turn(random.below(4) as usize)),
            92..96 => {
                node.now_ms += random.below(60);
                node.tick();
            }
            96 if mix.flushes && random.one_in(4) => {
                let core = random.below(node.cores.len() as u64) as u16;
                node.flush_all(core);
            }
            97 if mix.faults && random.one_in(8) => {
                node.disk.fail_call(Some(node.disk.calls() + random.below(6)), false)
            }
            98 if mix.crashes && random.one_in(6) => {
                let cores = if random.one_in(3) { 1 + random.below(4) as u16 } else { node.cores.len() as u16 };
                node.disk.fail_call(None, false);
                node.restart(random.one_in(3), cores);
                // The disk was found healthy again.
                node.now_ms += 1000;
            }
            99 if random.one_in(4) => {
                node.disk.fail_call(None, false);
                node.settle_all();
                node.now_ms += 1;
                node.tick();
                node.check_trees();
                let expected = node.expected_keys();
                assert_eq!(node.counted_keys(), expected.len() as u64, "keys counted, seed {seed} step {step}");
                assert_eq!(node.scan_keys(3), expected, "keys scanned, seed {seed} step {step}");
            }
            _ => {}
        }
    }
    node.disk.fail_call(None, false);
    node.settle_all();
    for key in node.known_keys() {
        node.check(&key);
    }
    node.restart(false, 2);
    node.check_trees();
    for key in node.known_keys() {
        node.check(&key);
    }
    assert_eq!(node.told.corruption, 0, "no damage was injected, seed {seed}");
    node.note_counts();
    node.told
}

fn campaign(name: &str, mix: &Mix, durability: Durability, needs: impl Fn(&Told) -> bool) {
    let count: u64 = std::env::var("ANNULUS_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(40);
    let first: u64 = std::env::var("ANNULUS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut total = Told::default();
    for seed in first..first + count {
        let result = std::panic::catch_unwind(|| run(seed, mix, durability));
        let told = result
            .unwrap_or_else(|_| panic!("{name}: seed {seed} failed; ANNULUS_SEED={seed} ANNULUS_SEEDS=1 replays it"));
        total.add(&told);
    }
    println!("{name}: {total:?}");
    assert!(count < 40 || needs(&total), "{name} tested too little: {total:?}");
}

const BASE: Mix = Mix { steps: 3000, keys: 40, faults: false, crashes: false, expiry: false, flushes: false };

#[test]
fn plain() {
    campaign("plain", &BASE, Durability::Sync, |told| {
        told.acknowledged > 10_000
            && told.disk_reads > 1000
            && told.recycled > 100
            && told.drains > 100
            && told.compactions > 100
    });
}

#[test]
fn expiry() {
    let mix = Mix { expiry: true, ..BASE };
    campaign("expiry", &mix, Durability::Sync, |told| told.acknowledged > 10_000);
}

#[test]
fn crashes_and_restarts() {
    let mix = Mix { crashes: true, expiry: true, ..BASE };
    campaign("crashes", &mix, Durability::Sync, |told| {
        told.restarts > 100
            && told.migrations > 20
            && told.recycled > 50
            && told.drains > 100
            && told.compactions > 100
            && told.interrupted_runs > 3
            && told.reaped > 50
    });
}

#[test]
fn crashes_and_flushes() {
    let mix = Mix { crashes: true, flushes: true, ..BASE };
    campaign("flushes", &mix, Durability::Sync, |told| told.restarts > 100);
}

#[test]
fn everything_with_failing_calls() {
    let mix = Mix { crashes: true, flushes: true, expiry: true, faults: true, ..BASE };
    campaign("faults", &mix, Durability::Sync, |told| told.failed > 50 && told.restarts > 100);
}

/// A reply does not wait here, so what a crash must keep is what became durable before it.
#[test]
fn everything_with_interval_durability() {
    let mix = Mix { crashes: true, flushes: true, expiry: true, faults: true, ..BASE };
    campaign("interval", &mix, Durability::Interval { ms: 20 }, |told| {
        told.acknowledged > 10_000 && told.failed > 50 && told.restarts > 100 && told.recycled > 20
    });
}

#[test]
fn memory_only() {
    let mix = Mix { expiry: true, flushes: true, ..BASE };
    let seeds = 1..=10;
    for seed in seeds {
        run_memory(seed, &mix);
    }
}

fn run_memory(seed: u64, mix: &Mix) {
    let mut random = Random(seed);
    let mut node = Node::new(MemoryDisk::new(seed), 2, Durability::Memory);
    for step in 0..mix.steps {
        let key = format!("key-{}", random.below(mix.keys)).into_bytes();
        match random.below(100) {
            0..50 => {
                let expires_at_ms = if random.one_in(5) { node.now_ms + 1 + random.below(400) } else { 0 };
                node.write(&key, Some((value(&mut random, step), expires_at_ms)));
            }
            50..65 => node.write(&key, None),
            65..90 => node.check(&key),
            90..98 => {
                node.now_ms += random.below(60);
                node.tick();
                let expected = node.expected_keys();
                assert_eq!(node.counted_keys(), expected.len() as u64);
                assert_eq!(node.scan_keys(3), expected);
            }
            98 if random.one_in(4) => node.flush_all(random.below(2) as u16),
            _ => drop(node.turn(1)),
        }
    }
    assert!(node.disk.paths().is_empty(), "nothing is logged");
}
