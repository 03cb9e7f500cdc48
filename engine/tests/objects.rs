//! Random histories of a node among others against a model: objects of three foreign actors and of its own coordinator, with
//! siblings, contexts and tombstones, over drains, compactions, restarts, crashes, other numbers of cores and failing calls.
//!
//! `ANNULUS_SEEDS=600` runs more; `ANNULUS_SEED=n ANNULUS_SEEDS=1` replays one.

#![allow(clippy::print_stdout, reason = "how much was tested shows with --nocapture")]

mod support;

use annulus_engine::Durability;
use annulus_engine::disk::memory::MemoryDisk;
use support::objects::{Met, Objects};
use support::{Node, Random, Told};

struct Mix {
    steps: u64,
    keys: u64,
    crashes: bool,
    faults: bool,
    expiry: bool,
    hints: bool,
    durability: Durability,
}

/// Nodes that something is kept for.
const TARGETS: u8 = 3;

const BASE: Mix = Mix {
    steps: 2000,
    keys: 30,
    crashes: false,
    faults: false,
    expiry: false,
    hints: false,
    durability: Durability::Sync,
};

fn value(random: &mut Random, step: u64) -> Option<Vec<u8>> {
    if random.one_in(5) {
        return None;
    }
    let bytes = match random.below(20) {
        0 => 1100 + random.below(9_000),
        1..=4 => random.below(900),
        _ => 8 + random.below(60),
    };
    let mut value = vec![step as u8; bytes as usize];
    let stamp = step.to_le_bytes();
    let prefix = stamp.len().min(value.len());
    value[..prefix].copy_from_slice(&stamp[..prefix]);
    Some(value)
}

fn operate(objects: &mut Objects, random: &mut Random, mix: &Mix, step: u64) {
    let key = format!("key-{}", random.below(mix.keys)).into_bytes();
    let expires = mix.expiry && random.one_in(5);
    let expires_at_ms = if expires { objects.node.now_ms + 1 + random.below(400) } else { 0 };
    let target = 1 + random.below(u64::from(TARGETS)) as u8;
    if mix.hints && random.one_in(4) {
        return match random.below(8) {
            0..5 => objects.foreign_leaves(random, target, &key),
            5 => objects.check(&support::objects::hint(target, &key)),
            _ => objects.forget(target, &key),
        };
    }
    match random.below(100) {
        0..18 => {
            let value = value(random, step);
            objects.foreign_writes(random, &key, value, expires_at_ms);
        }
        18..28 => objects.foreign_learns(random, &key),
        28..50 => objects.foreign_sends(random, &key),
        50..58 => {
            let value = value(random, step);
            objects.coordinate(random, &key, value, expires_at_ms);
        }
        58..63 => objects.write(&key, value(random, step).map(|value| (value, expires_at_ms))),
        63..72 => objects.check(&key),
        72..92 => objects.turn(random.below(4) as usize),
        92..96 => {
            objects.node.now_ms += random.below(60);
            objects.tick();
        }
        96 if mix.faults && random.one_in(4) => {
            let calls = objects.node.disk.calls();
            objects.node.disk.fail_call(Some(calls + random.below(6)), false);
        }
        97 if mix.crashes && random.one_in(4) => {
            let cores = if random.one_in(3) { 1 + random.below(4) as u16 } else { objects.node.cores.len() as u16 };
            objects.node.disk.fail_call(None, false);
            objects.restart(random.one_in(3), cores);
            objects.node.now_ms += 1000;
        }
        98 if random.one_in(4) => {
            objects.node.disk.fail_call(None, false);
            objects.settle_all();
            objects.node.now_ms += 1;
            objects.tick();
            objects.check_sums();
            objects.check_hints(1..=TARGETS);
        }
        _ => {}
    }
}

fn run(seed: u64, mix: &Mix) -> (Met, Told) {
    let mut random = Random(seed);
    let mut node = Node::closed(MemoryDisk::new(seed ^ 0x0b1e), mix.durability);
    node.is_alone = false;
    node.open(1 + random.below(3) as u16, None).expect("an empty disk opens");
    let mut objects = Objects::new(node);
    for step in 0..mix.steps {
        operate(&mut objects, &mut random, mix, step);
    }
    objects.node.disk.fail_call(None, false);
    objects.settle_all();
    objects.known_keys().iter().for_each(|key| objects.check(key));
    if mix.durability != Durability::Memory {
        objects.restart(true, 2);
        objects.tick();
        objects.check_sums();
        objects.check_hints(1..=TARGETS);
        objects.known_keys().iter().for_each(|key| objects.check(key));
    }
    objects.note_counts();
    objects.node.note_counts();
    (objects.met, objects.node.told)
}

fn campaign(name: &str, mix: &Mix, needs: impl Fn(&Met, &Told) -> bool) {
    let count: u64 = std::env::var("ANNULUS_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(30);
    let first: u64 = std::env::var("ANNULUS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let (mut met, mut told) = (Met::default(), Told::default());
    for seed in first..first + count {
        let result = std::panic::catch_unwind(|| run(seed, mix));
        let (one, other) = result
            .unwrap_or_else(|_| panic!("{name}: seed {seed} failed; ANNULUS_SEED={seed} ANNULUS_SEEDS=1 replays it"));
        met.add(&one);
        told.add(&other);
    }
    println!("{name}: {met:?}\n{told:?}");
    assert!(count < 30 || needs(&met, &told), "{name} tested too little: {met:?} {told:?}");
}

/// Siblings were made, read, drained and compacted.
fn is_enough(met: &Met, told: &Told) -> bool {
    let made = met.merges > 3000 && met.unchanged > 500 && met.stamps > 500 && met.siblings_written > 500;
    let lived = met.siblings_max >= 3 && met.siblings_moved > 100 && met.waited > 100 && met.objects_read > 100;
    made && lived
        && met.newer_shown > 20
        && met.puts > 100
        && met.deletes > 10
        && told.drains > 50
        && told.compactions > 50
}

#[test]
fn plain() {
    campaign("plain", &BASE, is_enough);
}

#[test]
fn expiry() {
    campaign("expiry", &Mix { expiry: true, ..BASE }, is_enough);
}

#[test]
fn crashes_and_restarts() {
    let mix = Mix { crashes: true, expiry: true, ..BASE };
    campaign("crashes", &mix, |met, told| {
        is_enough(met, told) && met.recovered_siblings > 100 && told.restarts > 50 && told.migrations > 10
    });
}

#[test]
fn everything_with_failing_calls() {
    let mix = Mix { crashes: true, expiry: true, faults: true, ..BASE };
    campaign("faults", &mix, |met, told| {
        is_enough(met, told)
            && met.recovered_siblings > 100
            && met.failed > 20
            && met.tried_again > 5
            && told.restarts > 50
    });
}

#[test]
fn hints() {
    let mix = Mix { crashes: true, expiry: true, faults: true, hints: true, keys: 12, ..BASE };
    campaign("hints", &mix, |met, told| {
        let enough = met.hints > 1000 && met.forgotten > 100 && met.hints_listed > 300;
        is_enough(met, told) && enough && told.migrations > 10
    });
}

#[test]
fn everything_with_interval_durability() {
    let durability = Durability::Interval { ms: 20 };
    let mix = Mix { steps: 5000, crashes: true, expiry: true, faults: true, durability, ..BASE };
    // Frames are longer then, so that there is less to drain.
    campaign("interval", &mix, |met, told| {
        met.merges > 3000 && met.siblings_written > 500 && told.restarts > 50 && told.drains > 3 && met.failed > 20
    });
}

/// A write that has failed may be there all the same; what was written since without it does not include it.
#[test]
fn what_was_called_lost_and_is_there_becomes_a_sibling() {
    let mut met = Met::default();
    for seed in 0..200 {
        let mut random = Random(seed);
        let mut node = Node::closed(MemoryDisk::new(seed), Durability::Sync);
        (node.is_alone, node.limits) = (false, support::tiny());
        node.open(1, None).expect("an empty disk opens");
        let mut objects = Objects::new(node);
        objects.write(b"key", Some((b"before".to_vec(), 0)));
        objects.settle_all();
        // A large record, in a frame of its own, behind which the instance writes nothing more.
        let long = if random.one_in(2) { Some(vec![1; 2000]) } else { Some(vec![2; 3000]) };
        objects.foreign_writes(&mut random, b"key", long, 0);
        for _ in 0..20 {
            objects.foreign_sends(&mut random, b"key");
        }
        objects.turn(0);
        while objects.node.disk.in_flight() == 0 {
            objects.turn(0);
        }
        objects.node.disk.fail_call(Some(objects.node.disk.calls()), false);
        objects.turn(1);
        objects.node.disk.fail_call(None, false);
        objects.coordinate(&mut random, b"key", Some(b"after".to_vec()), 0);
        // No time passes: soon the instance would go on in another segment, which tells that the write was given up.
        (0..5).for_each(|_| objects.turn(1));
        objects.restart(false, 1 + (seed % 2) as u16);
        objects.check(b"key");
        // Once more: what was joined stays.
        objects.restart(false, 1);
        objects.check(b"key");
        met.add(&objects.met);
    }
    println!("{met:?}");
    assert!(met.failed > 150 && met.joined > 10 && met.joined < 150, "{met:?}");
}

#[test]
fn memory_only() {
    let mix = Mix { expiry: true, hints: true, durability: Durability::Memory, ..BASE };
    campaign("memory", &mix, |met, _| met.merges > 3000 && met.siblings_written > 500 && met.forgotten > 100);
}
