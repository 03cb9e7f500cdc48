//! The index: filling it, looking keys up, replacing entries, emptying it.
//!
//! Keys are visited in another order than they were inserted, so that at a million keys a look-up misses the caches as it
//! does in a node (which asks for the memory some commands ahead; here nothing is asked for ahead).

use super::fixture::{Digest, is_full};
use super::record::NOW_UNIX_MS;
use crate::random::Random;
use annulus_engine::index::{Entry, Flags, Index, IndexHash, Place};
use annulus_object::Clock;
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, SamplingMode, Throughput};
use std::hint::black_box;
use std::time::Duration;

/// The share of one of two cores in a node's partitions.
const PARTITIONS: u16 = 512;

type Located = (u16, Entry);

/// All benchmarks of the index.
pub fn all(criterion: &mut Criterion) {
    let counts: &[(usize, &str)] = if is_full() { &[(100_000, "100k"), (1_000_000, "1M")] } else { &[(1_000, "1k")] };
    for &(count, name) in counts {
        let mut group = criterion.benchmark_group("index");
        of_size(&mut group, count, name);
        group.finish();
    }
}

fn of_size(group: &mut BenchmarkGroup<'_, WallTime>, count: usize, name: &str) {
    let mut random = Random::new(3);
    let entries: Vec<Located> = (0..count).map(|_| located(&mut random)).collect();
    let absent: Vec<Located> = (0..count).map(|_| located(&mut random)).collect();
    let mut shuffled = entries.clone();
    for last in (1..count).rev() {
        shuffled.swap(last, (random.next() % (last as u64 + 1)) as usize);
    }
    let mut index = filled(&entries);

    single(group, &format!("get/{name}"), &shuffled, |(partition, entry)| index.get(partition, entry.hash));
    single(group, &format!("get_absent/{name}"), &absent, |(partition, entry)| index.get(partition, entry.hash));
    single(group, &format!("replace/{name}"), &shuffled, |(partition, entry)| index.insert(partition, entry));
    assert_eq!(index.len(), count, "replacing adds nothing");
    drop(index);

    // A whole filling or emptying at a time: single steps change what is measured.
    group.throughput(Throughput::Elements(count as u64)).sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    group.bench_function(format!("insert/{name}"), |bencher| {
        bencher.iter_with_large_drop(|| filled(black_box(&entries)));
    });
    let index = filled(&entries);
    let mut digest = Digest::default();
    for partition in 0..PARTITIONS {
        let end = index.scan(partition, 0, usize::MAX, |entry| _ = digest.shown(&entry));
        assert_eq!(end, None, "a scan without a limit ends");
    }
    digest.number(index.len() as u64).number(index.bytes() as u64).print(&format!("index/insert/{name}"));

    group.bench_function(format!("remove/{name}"), |bencher| {
        bencher.iter_batched(|| filled(&entries), |index| emptied(index, &shuffled), BatchSize::PerIteration);
    });
    let (index, removed) = emptied(index, &shuffled);
    assert!(index.is_empty(), "every key was removed");
    Digest::default().number(removed).number(index.bytes() as u64).print(&format!("index/remove/{name}"));
}

/// Measures one step per key, key after key; the hash is over one round of answers.
fn single(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    keys: &[Located],
    mut step: impl FnMut(Located) -> Option<Entry>,
) {
    let mut digest = Digest::default();
    for key in keys {
        digest.shown(&step(*key));
    }
    let mut at = 0;
    group.throughput(Throughput::Elements(1)).bench_function(name, |bencher| {
        bencher.iter(|| {
            at = if at + 1 < keys.len() { at + 1 } else { 0 };
            step(black_box(keys[at]))
        });
    });
    digest.print(&format!("index/{name}"));
}

fn located(random: &mut Random) -> Located {
    let hash = u128::from(random.next()) << 64 | u128::from(random.next());
    let more = random.next();
    let entry = Entry {
        hash: IndexHash::of(hash),
        clock: Clock::from_unix_ms(NOW_UNIX_MS + more % 10_000, 0),
        actor_slot: 1,
        place: Place::from_raw(more % Place::RAW_END),
        size_class: 1,
        flags: Flags::NONE,
    };
    // Of the bits that the index does not keep, as a partition is no part of an entry's identity.
    ((hash as u16) % PARTITIONS, entry)
}

fn filled(entries: &[Located]) -> Index {
    let mut index = Index::new(0..PARTITIONS);
    for &(partition, entry) in entries {
        index.insert(partition, entry);
    }
    index
}

/// Removes the keys; the index, and the removed places added up.
fn emptied(mut index: Index, keys: &[Located]) -> (Index, u64) {
    let places = keys.iter().filter_map(|&(partition, entry)| index.remove(partition, entry.hash));
    let sum = places.map(|entry| entry.place.raw()).sum();
    (index, sum)
}
