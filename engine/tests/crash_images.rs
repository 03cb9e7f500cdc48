//! Every crash of short runs: a run's changes to the disk are recorded, and at each point of the recording the images are
//! built that a crash there may leave. Each is opened: every acknowledged write is there, or a later one that had begun;
//! nothing was invented, nothing came back, nothing is reported as damaged. Some images are recorded themselves while they
//! are opened and written, and the crashes of that are gone through in the same way.
//!
//! `ANNULUS_SEEDS=200` makes more runs; `ANNULUS_SEED=n ANNULUS_SEEDS=1` replays one.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]
#![allow(clippy::print_stdout, reason = "how much was tested, and how it failed, shows")]

mod support;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use annulus_engine::disk::memory::{ImageKind, MemoryDisk, Recording, Replay};
use annulus_engine::{Counts, Durability, Limits};
use support::{History, Node, Random, State, tiny};

const RUNS: u64 = 40;
const OPERATIONS: u64 = 50;
/// Images of one point of a run, and of a run on an image.
const IMAGES_MAX: [usize; 2] = [16, 8];
/// One image in so many is recorded while it is opened.
const RECORDED: u64 = 50;

/// How a run differs from others.
struct Mix {
    keys: u64,
    limits: Limits,
    durability: Durability,
    work_steps: Option<usize>,
    kills: bool,
    /// Some values expire; otherwise the clock may be set back with a crash.
    expiry: bool,
}

impl Mix {
    fn new(random: &mut Random) -> Mix {
        Mix {
            keys: 2 + random.below(12),
            limits: if random.one_in(4) { support::limits() } else { tiny() },
            durability: if random.one_in(4) { Durability::Interval { ms: 20 } } else { Durability::Sync },
            work_steps: (!random.one_in(3)).then(|| 1 + random.below(3) as usize),
            kills: random.one_in(3),
            expiry: !random.one_in(4),
        }
    }

    fn configure(&self, node: &mut Node) {
        node.durability = self.durability;
        node.limits = self.limits.clone();
        node.work_steps = self.work_steps;
        node.hot_log_bytes = 40 << 10;
        // Where there is so little, padding is most of it.
        (node.limits.space_per_mille, node.limits.garbage_per_mille_min) = (1_000, 1);
    }
}

/// What a store did in the background: the sums are printed, and a set of runs in which one of them is zero fails.
fn background(counts: &Counts) -> [(&'static str, u64); 8] {
    [
        ("segments created", counts.segments_created),
        ("segments recycled", counts.segments_recycled),
        ("segments removed", counts.segments_removed),
        ("drains", counts.drains),
        ("compactions", counts.compactions),
        ("runs sealed", counts.runs_sealed),
        ("records moved", counts.records_moved),
        ("tombstones reaped", counts.tombstones_reaped),
    ]
}

/// How much was tested.
#[derive(Clone, Debug, Default)]
struct Tally {
    /// By kind, of runs and of runs on images.
    images: [[u64; ImageKind::ALL.len()]; 2],
    /// Anything else, by name; a set of runs in which one is zero fails.
    met: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn count(&mut self, name: &'static str, count: u64) {
        *self.met.entry(name).or_default() += count;
    }

    /// A run without some kind of image has shown nothing. Three changes at once, which it takes to mix, are not in every run.
    fn gate_kinds(&self, depth: usize) {
        for (kind, count) in ImageKind::ALL.iter().zip(self.images[depth]) {
            assert!(count > 0 || *kind == ImageKind::Mixed, "no image of kind {kind:?}, depth {depth}: {self:?}");
        }
    }

    fn gate(&self) {
        self.gate_kinds(1);
        assert!(self.images[0][ImageKind::Mixed as usize] > 0, "no mixed images: {self:?}");
        assert!(self.met.values().all(|count| *count > 0), "too little was met: {self:?}");
    }

    fn add(&mut self, other: &Tally) {
        for (sums, counts) in self.images.iter_mut().zip(other.images) {
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        other.met.iter().for_each(|(name, count)| self.count(name, *count));
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (images, of) in self.images.iter().zip(["runs", "runs on images"]) {
            write!(out, "images of {of}:")?;
            for (kind, count) in ImageKind::ALL.iter().zip(images) {
                write!(out, " {kind:?} {count},")?;
            }
            writeln!(out, " in all {}", images.iter().sum::<u64>())?;
        }
        let met: Vec<String> = self.met.iter().map(|(name, count)| format!("{name} {count}")).collect();
        write!(out, "{}", met.join(", "))
    }
}

struct Campaign {
    seed: u64,
    random: Random,
    mix: Mix,
    tally: Tally,
    /// No value is written twice.
    values: u64,
}

impl Campaign {
    fn value(&mut self, bytes: usize) -> Vec<u8> {
        self.values += 1;
        let mut value = vec![self.values as u8; bytes.max(8)];
        value[..8].copy_from_slice(&self.values.to_le_bytes());
        value
    }

    /// One operation, and perhaps a turn or some time.
    fn operate(&mut self, node: &mut Node) {
        let key = format!("key-{}", self.random.below(self.mix.keys)).into_bytes();
        match self.random.below(40) {
            0..27 => {
                let expires = self.mix.expiry && self.random.one_in(5);
                let bytes = match self.random.below(12) {
                    0 => 1100 + self.random.below(10_000),
                    1..7 => self.random.below(900),
                    _ => self.random.below(60),
                };
                let expires_at_ms = if expires { node.now_ms + 1 + self.random.below(200) } else { 0 };
                let state: State = Some((self.value(bytes as usize), expires_at_ms));
                node.write(&key, state);
            }
            27..36 => {
                node.write(&key, None);
            }
            36 => {
                node.flush_all(0);
            }
            _ => node.check(&key),
        }
        if !self.random.one_in(4) {
            (0..1 + self.random.below(3)).for_each(|_| drop(node.turn(self.random.below(3) as usize)));
        }
        if self.random.one_in(3) {
            node.now_ms += self.random.below(40);
            node.tick();
        }
    }

    fn run(&mut self) {
        let disk = MemoryDisk::new(self.seed);
        disk.record();
        let mut node = Node::closed(disk, Durability::Sync);
        self.mix.configure(&mut node);
        node.history = Some(History::default());
        node.open(1, None).unwrap();
        let mut kills = 0;
        for _ in 0..OPERATIONS {
            self.operate(&mut node);
            if self.mix.kills && self.random.one_in(15) {
                node.kill_and_start();
                kills += 1;
            }
        }
        node.settle_all();
        node.end();
        assert_eq!(node.told.corruption, 0, "no damage was done");
        self.tally.count("kills", kills);
        self.tally.count("acknowledged writes", node.told.acknowledged);
        node.counted.iter().flat_map(background).for_each(|(name, count)| self.tally.count(name, count));
        let (recording, history) = (node.disk.take_recording(), node.history.take().unwrap());
        self.crash_everywhere(&recording, &history, node.incarnation, 0);
    }

    /// Builds and judges the images of every point of a recording.
    fn crash_everywhere(&mut self, recording: &Recording, history: &History, incarnation: u16, depth: usize) {
        let mut replay = Replay::new(recording);
        loop {
            self.tally.count("points", 1);
            let recipes = replay.recipes(IMAGES_MAX[depth], &mut |end| self.random.below(end));
            for recipe in recipes {
                let image = replay.build(&recipe, self.random.below(1 << 40));
                self.tally.images[depth][recipe.kind as usize] += 1;
                self.tally.count("torn over old bytes", u64::from(image.shows_old_bytes));
                let number: u64 = self.tally.images.iter().flatten().sum();
                let point = replay.point();
                let later_ms = if self.random.one_in(4) { self.random.below(400) } else { 0 };
                let outcome = catch_unwind(AssertUnwindSafe(|| {
                    let mut node = Node::after_crash(image.disk, history, point, later_ms);
                    node.incarnation = incarnation + 1;
                    if !self.mix.expiry && self.random.one_in(2) {
                        node.now_ms -= 60_000;
                    }
                    self.mix.configure(&mut node);
                    self.judge(node, depth);
                }));
                if let Err(panic) = outcome {
                    println!("{}", history.story(recording, point));
                    println!("seed {}, image {number} at point {point}, depth {depth}: {recipe}\n", self.seed);
                    std::panic::resume_unwind(panic);
                }
            }
            if !replay.advance() {
                return;
            }
        }
    }

    /// Opens an image, twice, with a few writes in between.
    fn judge(&mut self, mut node: Node, depth: usize) {
        let is_recorded = depth == 0 && self.random.one_in(RECORDED);
        if is_recorded {
            node.disk.record();
        }
        start(&mut node);
        (0..self.random.below(6)).for_each(|_| self.operate(&mut node));
        node.end();
        if is_recorded {
            self.tally.count("runs on images", 1);
            let (recording, history) = (node.disk.take_recording(), node.history.take().unwrap());
            self.crash_everywhere(&recording, &history, node.incarnation, depth + 1);
        } else {
            node.disk.crash();
            node.incarnation += 1;
            start(&mut node);
        }
    }
}

/// Opens what a crash has left, and compares it with what may be there.
fn start(node: &mut Node) {
    node.open(1, None).unwrap();
    assert_eq!(node.cores[0].recovery().corruption, [], "no damage was done");
    node.adopt_observed();
    let expected = node.expected_keys();
    assert_eq!(node.counted_keys(), expected.len() as u64, "keys counted");
    assert_eq!(node.scan_keys(3), expected, "keys scanned");
}

#[test]
fn whatever_a_crash_leaves_opens_with_all_that_was_acknowledged() {
    let count: u64 = std::env::var("ANNULUS_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(RUNS);
    let first: u64 = std::env::var("ANNULUS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut total = Tally::default();
    for seed in first..first + count {
        let mut random = Random(seed ^ 0xc4a5);
        let mix = Mix::new(&mut random);
        let mut campaign = Campaign { seed, random, mix, tally: Tally::default(), values: 0 };
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            campaign.run();
            campaign.tally.gate_kinds(0);
        }));
        assert!(outcome.is_ok(), "seed {seed} failed; ANNULUS_SEED={seed} ANNULUS_SEEDS=1 replays it");
        total.add(&campaign.tally);
    }
    println!("{count} runs\n{total}");
    if count >= RUNS {
        total.gate();
    }
}
