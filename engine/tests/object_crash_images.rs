//! Every crash of short runs of a node among others: at each point of a recorded run the images are built that a crash there
//! may leave. Of each key the object is what was durable, merged with some of what was on its way; nothing else.
//!
//! `ANNULUS_SEEDS=200` makes more runs; `ANNULUS_SEED=n ANNULUS_SEEDS=1` replays one.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]
#![allow(clippy::print_stdout, reason = "how much was tested shows")]

mod support;

use annulus_engine::Durability;
use annulus_engine::disk::memory::{MemoryDisk, Replay};
use support::objects::{Met, Objects};
use support::{Node, Random, tiny};

const RUNS: u64 = 20;
const OPERATIONS: u64 = 60;
/// Images of one point.
const IMAGES_MAX: usize = 12;

#[derive(Debug, Default)]
struct Tally {
    met: Met,
    points: u64,
    images: u64,
    drains: u64,
    compactions: u64,
}

fn configure(node: &mut Node) {
    (node.is_alone, node.limits, node.work_steps) = (false, tiny(), Some(2));
    node.hot_log_bytes = 40 << 10;
    // Where there is so little, padding is most of it.
    (node.limits.space_per_mille, node.limits.garbage_per_mille_min) = (1_000, 1);
}

fn operate(objects: &mut Objects, random: &mut Random) {
    let key = format!("key-{}", random.below(6)).into_bytes();
    let bytes = match random.below(10) {
        0 => 1100 + random.below(6_000),
        1..5 => random.below(900),
        _ => random.below(60),
    };
    let value = (!random.one_in(6)).then(|| vec![bytes as u8; bytes as usize]);
    match random.below(20) {
        0..6 => objects.foreign_writes(random, &key, value, 0),
        6..8 => objects.foreign_learns(random, &key),
        8..15 => objects.foreign_sends(random, &key),
        15..18 => objects.coordinate(random, &key, value, 0),
        _ => objects.write(&key, value.map(|value| (value, 0))),
    }
    if !random.one_in(4) {
        (0..1 + random.below(3)).for_each(|_| objects.turn(random.below(3) as usize));
    }
    if random.one_in(3) {
        objects.node.now_ms += random.below(40);
        objects.tick();
    }
}

fn run(seed: u64, tally: &mut Tally) {
    let mut random = Random(seed ^ 0x0b1e);
    let disk = MemoryDisk::new(seed);
    disk.record();
    let mut node = Node::closed(disk, Durability::Sync);
    configure(&mut node);
    node.open(1, None).unwrap();
    let mut objects = Objects::new(node);
    objects.keeps_steps = true;
    (0..OPERATIONS).for_each(|_| operate(&mut objects, &mut random));
    objects.settle_all();
    objects.note_counts();
    objects.node.end();
    tally.met.add(&objects.met);
    tally.drains += objects.node.told.drains;
    tally.compactions += objects.node.told.compactions;
    let recording = objects.node.disk.take_recording();
    let mut replay = Replay::new(&recording);
    loop {
        tally.points += 1;
        for recipe in replay.recipes(IMAGES_MAX, &mut |end| random.below(end)) {
            tally.images += 1;
            let image = replay.build(&recipe, random.below(1 << 40));
            let mut node = Node::closed(image.disk, Durability::Sync);
            configure(&mut node);
            (node.incarnation, node.now_ms) = (2, objects.node.now_ms);
            let mut started = objects.after_crash(node, replay.point());
            started.start();
            (0..random.below(6)).for_each(|_| operate(&mut started, &mut random));
            started.restart(false, 1);
            tally.met.add(&started.met);
        }
        if !replay.advance() {
            return;
        }
    }
}

#[test]
fn whatever_a_crash_leaves_opens_with_all_objects() {
    let count: u64 = std::env::var("ANNULUS_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(RUNS);
    let first: u64 = std::env::var("ANNULUS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut tally = Tally::default();
    for seed in first..first + count {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(seed, &mut tally)));
        assert!(result.is_ok(), "seed {seed} failed; ANNULUS_SEED={seed} ANNULUS_SEEDS=1 replays it");
    }
    println!("{tally:?}");
    let met = &tally.met;
    let enough = tally.points > 500 && tally.images > 3000 && tally.drains > 10 && tally.compactions > 5;
    let siblings = met.siblings_written > 500 && met.recovered_siblings > 1000 && met.siblings_moved > 10;
    assert!(count < RUNS || (enough && siblings), "too little was met: {tally:?}");
}
