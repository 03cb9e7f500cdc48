//! What the disk under the engines promises: what was confirmed is there after every end, start and number of cores.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

use annulus_object::{Context, Sibling};

use super::*;
use crate::node::{Disk, Opening};
use crate::seeds::Consumer;
use crate::store::core_of;

const PARTITIONS: u16 = 8;
const START_MS: u64 = 1_800_000_000_000;

/// A node's disk and cores, and the time.
struct Node {
    disk: EngineDisk,
    cores: Vec<EngineStore>,
    incarnation: u16,
    instant: Instant,
}

fn name(number: u64) -> Vec<u8> {
    format!("key{number}").into_bytes()
}

fn key(bytes: &[u8]) -> Key<'_> {
    let hash = annulus_engine::keyed_hash(&crate::world::HASH_KEY, bytes);
    Key { bytes, partition: (hash % u128::from(PARTITIONS)) as u16, hash }
}

impl Node {
    fn new(seed: u64, cores: u16) -> Node {
        let disk = EngineDisk::new(PARTITIONS, Random::new(seed, Consumer::Disk, 0));
        let mut node = Node { disk, cores: Vec::new(), incarnation: 0, instant: 0 };
        node.start(cores);
        node
    }

    fn now(&self) -> Now {
        Now { unix_ms: START_MS + self.instant / 1000, steady_us: self.instant }
    }

    fn start(&mut self, cores: u16) {
        self.incarnation += 2;
        let [interrupted, actor] = [self.incarnation - 1, self.incarnation].map(|number| Actor::new(1, number));
        let now = self.now();
        let opening = Opening { cores, actor, interrupted: Some(interrupted), clock: Clock::ZERO, now };
        self.cores = self.disk.open(opening);
    }

    fn crash(&mut self, cores: u16) {
        self.disk.crash(std::mem::take(&mut self.cores));
        self.start(cores);
    }

    fn core(&mut self, partition: u16) -> &mut EngineStore {
        let cores = self.cores.len() as u16;
        &mut self.cores[usize::from(core_of(partition, PARTITIONS, cores))]
    }

    /// Writes a value that says who wrote it.
    fn write(&mut self, number: u64) -> Dot {
        let (bytes, now) = (name(number), self.now());
        let key = key(&bytes);
        let core = self.core(key.partition);
        let dot = core.stamp(now.unix_ms, Clock::ZERO).unwrap();
        let sibling = Sibling { dot, expires_at_ms: 0, value: Some(vec![number as u8; 300]), value_dot: None };
        let mut encoded = Vec::new();
        Object::single(sibling, Context::default()).encode(&mut encoded);
        core.start_store(StoreToken(number), Home::Owned(key.partition), &key, &encoded, now);
        dot
    }

    /// Lets time pass until nothing is due soon; what was stored and what failed.
    fn run(&mut self, for_us: Instant) -> (Vec<u64>, Vec<u64>) {
        let end = self.instant + for_us;
        let (mut stored, mut failed) = (Vec::new(), Vec::new());
        while self.instant < end {
            let now = self.now();
            for core in &mut self.cores {
                core.advance(self.instant, now);
                while let Some(done) = core.next_done() {
                    match done {
                        Done::Stored { token, result } => {
                            (if result.is_ok() { &mut stored } else { &mut failed }).push(token.0)
                        }
                        Done::NeedIncarnation => core.adopt(Actor::new(1, self.incarnation + 1)),
                        other => panic!("{other:?}"),
                    }
                }
            }
            self.instant += 50;
        }
        (stored, failed)
    }

    fn dots(&mut self, number: u64) -> Vec<Dot> {
        let bytes = name(number);
        let key = key(&bytes);
        let object = self.core(key.partition).object(Home::Owned(key.partition), &key);
        object.unwrap_or_default().siblings().iter().map(|sibling| sibling.dot).collect()
    }
}

#[test]
fn what_is_confirmed_survives_crashes_and_other_numbers_of_cores() {
    let (mut lost, mut kept, mut interrupted) = (0, 0, 0);
    for seed in 0..10 {
        let mut node = Node::new(seed, 1);
        let mut confirmed = Vec::new();
        let mut next = 0;
        for cores in [1, 3, 3, 2, 4, 1] {
            let dots: Vec<(u64, Dot)> = (next..next + 30).map(|number| (number, node.write(number))).collect();
            next += 30;
            let (stored, failed) = node.run(150);
            assert!(failed.is_empty());
            confirmed.extend(dots.iter().filter(|(number, _)| stored.contains(number)).copied());
            node.crash(cores);
            for (number, dot) in &confirmed {
                assert_eq!(node.dots(*number), [*dot], "key {number} of seed {seed} with {cores} cores");
            }
            for (number, _) in dots.iter().filter(|(number, _)| !stored.contains(number)) {
                *(if node.dots(*number).is_empty() { &mut lost } else { &mut kept }) += 1;
            }
        }
        interrupted += node.disk.counts().interrupted;
    }
    assert!(lost > 20 && kept > 20 && interrupted > 5, "lost {lost}, kept {kept}, {interrupted} starts interrupted");
}

#[test]
fn background_work_goes_on_and_reads_go_to_the_disk() {
    let mut node = Node::new(3, 2);
    for number in 0..3000 {
        node.write(number % 200);
        node.run(300);
    }
    node.run(2_000_000);
    node.cores.iter_mut().for_each(EngineStore::count);
    let counts = node.disk.counts();
    assert!(counts.drains > 10 && counts.compactions > 10 && counts.scrubs > 0, "{counts:?}");
}

#[test]
fn a_failed_write_a_full_disk_and_flipped_bits_have_their_effects() {
    let mut node = Node::new(5, 1);
    node.disk.set_troubles(Troubles { fails_append: true, ..Troubles::NONE });
    node.write(1);
    assert_eq!(node.run(2000), (vec![], vec![1]));
    assert_eq!((node.dots(1), node.disk.counts().failed_appends), (vec![], 1));
    node.disk.set_troubles(Troubles { no_writes: true, ..Troubles::NONE });
    node.run(200_000);
    node.write(2);
    assert_eq!(node.run(2000), (vec![], vec![2]));
    node.disk.set_troubles(Troubles::NONE);
    node.run(200_000);
    let dots: Vec<Dot> = (10..200).map(|number| node.write(number)).collect();
    node.run(3_000_000);
    assert!(node.disk.rot() > 0);
    node.run(3_000_000);
    let found: Vec<bool> = (10..200).zip(dots).map(|(number, dot)| node.dots(number) == [dot]).collect();
    assert!(found.iter().filter(|found| **found).count() > 100, "most is whole");
}
