//! A disk that is filled until values are refused for good, and emptied by deletes, over many sizes and orders: deletes are
//! taken, compaction goes on with the little space there is, and in the end values are taken again.
//!
//! `ANNULUS_SEEDS=600` runs more histories, `ANNULUS_SEED=n ANNULUS_SEEDS=1` replays one.
//!
//! Invariant: what a history needs is bounded in ticks, so that a store that waits for ever fails.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

mod support;

use annulus_engine::Durability;
use annulus_engine::disk::memory::MemoryDisk;
use support::{Node, PARTITIONS, Random, partition_of};

/// Ticks, 20 ms each, in which nothing is taken before a disk counts as full: looks at the disk are a second apart.
const FULL_TICKS: u32 = 150;
/// Ticks in which whatever has to happen happens.
const PATIENCE_TICKS: u32 = 3_000;

struct History {
    node: Node,
    random: Random,
    next: u32,
}

impl History {
    fn tick(&mut self) {
        (0..3).for_each(|_| drop(self.node.turn(4)));
        self.node.now_ms += 20;
        self.node.tick();
    }

    /// Whether a write is taken.
    fn write(&mut self, key: &[u8], value: Option<Vec<u8>>) -> bool {
        let refusals = self.node.told.refusals;
        self.node.write(key, value.map(|value| (value, 0)));
        self.node.told.refusals == refusals
    }

    fn put_next(&mut self) -> bool {
        let bytes = if self.random.one_in(60) { 2_000 } else { 100 + self.random.below(800) as usize };
        let key = format!("key-{:06}", self.next);
        self.next += 1;
        self.write(key.as_bytes(), Some(vec![self.next as u8; bytes]))
    }

    /// Writes new keys, in bursts, until none is taken for a long time.
    fn fill(&mut self) {
        let mut idle = 0;
        let burst = 1 + self.random.below(30);
        while idle < FULL_TICKS {
            let mut taken = 0;
            for _ in 0..burst {
                taken += u32::from(self.put_next());
            }
            idle = if taken > 0 { 0 } else { idle + 1 };
            self.tick();
        }
    }

    /// Deletes keys; those that are refused again and again, with time between.
    fn delete(&mut self, mut keys: Vec<Vec<u8>>, what: &str) {
        let all = keys.len();
        for _ in 0..PATIENCE_TICKS {
            let mut refused = Vec::new();
            for key in keys {
                if !refused.is_empty() || !self.write(&key, None) {
                    refused.push(key);
                }
            }
            keys = refused;
            if keys.is_empty() {
                return;
            }
            self.tick();
        }
        panic!("{what}: {} of {all} deletes are refused for ever\n{}", keys.len(), self.state());
    }

    fn state(&self) -> String {
        let core = &self.node.cores[0];
        let partitions: Vec<_> = (0..PARTITIONS).map(|partition| core.partition_status(partition)).collect();
        format!("{:#?}\n{partitions:?}\n{:?}", core.statistics(), self.node.disk.injected())
    }

    /// Most of the keys: the older or the newer ones, all but some here and there, all of some partitions, or all. In the
    /// order of their partitions: there are few here, and what is left of one has to fit into what the water mark keeps free.
    fn choose(&mut self) -> Vec<Vec<u8>> {
        let mut keys = self.node.expected_keys();
        let left = keys.len() / 8;
        match self.random.below(5) {
            0 => keys.truncate(keys.len() - left),
            1 => drop(keys.drain(..left)),
            2 => keys = keys.into_iter().enumerate().filter(|(at, _)| at % 8 > 0).map(|(_, key)| key).collect(),
            3 => keys.retain(|key| partition_of(key).is_multiple_of(2)),
            _ => {}
        }
        keys.sort_by_key(|key| partition_of(key));
        keys
    }
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let disk = MemoryDisk::new(seed);
    disk.set_total_bytes((4_000 + random.below(8_000)) << 10);
    let mut node = Node::closed(disk.clone(), Durability::Sync);
    // Blocks are a small part of the files, as they are in production.
    node.limits.partition_file_bytes_max = 1 << 20;
    node.open(1, None).unwrap();
    let mut history = History { node, random, next: 0 };
    for round in 0..3 {
        history.fill();
        let some: Vec<Vec<u8>> = history.node.expected_keys().into_iter().step_by(20).collect();
        history.delete(some, &format!("seed {seed}, round {round}, a few"));
        if history.random.one_in(3) {
            history.node.restart(false, 1);
        }
        let chosen = history.choose();
        history.delete(chosen, &format!("seed {seed}, round {round}, many"));
        let mut ticks = 0;
        while !history.put_next() {
            history.tick();
            ticks += 1;
            assert!(
                ticks < PATIENCE_TICKS,
                "seed {seed}, round {round}: values are refused for ever\n{}",
                history.state()
            );
        }
        assert_eq!(history.node.told.read_only, 0, "seed {seed}, round {round}: a full disk has not failed");
    }
    history.node.restart(false, 1);
    history.node.expected_keys().iter().for_each(|key| history.node.check(key));
    history.node.check_trees();
}

#[test]
fn deletes_make_room_again() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (first, count) = (number("ANNULUS_SEED").unwrap_or(0), number("ANNULUS_SEEDS").unwrap_or(6));
    (first..first + count).for_each(run);
}
