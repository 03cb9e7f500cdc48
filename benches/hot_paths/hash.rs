//! The keyed hash of a key, as a store computes it: through an engine without files, since the function is its own.

use super::fixture::Digest;
use super::record::NOW_UNIX_MS;
use crate::random::Random;
use annulus_engine::disk::memory::{MemoryDisk, block_on};
use annulus_engine::{Config, Durability, Engine, Limits};
use annulus_object::{Actor, Clock};
use criterion::{Criterion, Throughput};
use std::hint::black_box;

/// All benchmarks of the hash.
pub fn all(criterion: &mut Criterion) {
    let engine = engine();
    let mut random = Random::new(7);
    let mut group = criterion.benchmark_group("hash");
    for key_bytes in [16, 64, 1024] {
        let key = random.bytes(key_bytes);
        group.throughput(Throughput::Bytes(key_bytes as u64));
        group.bench_function(format!("key/{key_bytes}B"), |bencher| bencher.iter(|| engine.key(black_box(&key), 0)));
        let hash = engine.key(&key, 0).hash;
        Digest::default().bytes(&hash.to_le_bytes()).print(&format!("hash/key/{key_bytes}B"));
    }
    group.finish();
}

fn engine() -> Engine<MemoryDisk> {
    let config = Config {
        core: 0,
        cores: 1,
        layout: 0,
        migrate_from: None,
        partitions: 0..1,
        hints_from: u16::MAX,
        hash_key: *b"sixteen key byte",
        cluster_id: [0; 16],
        actor: Actor::new(7, 1),
        clock: Clock::ZERO,
        durability: Durability::Memory,
        is_alone: true,
        hot_log_bytes: 1 << 30,
        hot_log_bytes_max: 1 << 30,
        cache_bytes: 1 << 20,
        memory_bytes: 1 << 30,
        limits: Limits::PRODUCTION,
        now_unix_ms: NOW_UNIX_MS,
        progress: Default::default(),
    };
    block_on(Engine::open(MemoryDisk::new(0), config)).expect("an empty disk in memory opens")
}
