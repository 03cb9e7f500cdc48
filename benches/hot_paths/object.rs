//! Objects: merging and comparing the states that replicas exchange, and their encoding.
//!
//! `single` is what nearly every key is: one version under a floor. `siblings` is what a conflict leaves: four versions and a
//! context of four actors on either side, two of the versions in common.

use super::fixture::{Digest, print_bytes};
use super::record::NOW_UNIX_MS;
use crate::random::Random;
use annulus_object::{Actor, Clock, Comparison, Context, Dot, Object, Sibling};
use criterion::{BatchSize, Criterion};
use std::hint::black_box;

/// All benchmarks of objects.
pub fn all(criterion: &mut Criterion) {
    let mut random = Random::new(4);
    let (older, newer) = single(&mut random);
    assert_eq!(newer.compare(&older), Comparison::Newer);
    pair(criterion, "single", &older, &newer);
    let (ours, theirs) = siblings(&mut random);
    assert_eq!(ours.compare(&theirs), Comparison::Concurrent);
    pair(criterion, "siblings", &ours, &theirs);
}

fn pair(criterion: &mut Criterion, name: &str, ours: &Object, theirs: &Object) {
    let mut group = criterion.benchmark_group("object");
    let merged = |(mut ours, theirs): (Object, Object)| {
        ours.merge(theirs);
        ours
    };
    group.bench_function(format!("merge/{name}"), |bencher| {
        bencher.iter_batched(|| (ours.clone(), theirs.clone()), merged, BatchSize::SmallInput);
    });
    let both = merged((ours.clone(), theirs.clone()));
    assert_eq!(both, merged((theirs.clone(), ours.clone())), "merging is commutative");
    Digest::default().shown(&both).print(&format!("object/merge/{name}"));

    group.bench_function(format!("compare/{name}"), |bencher| {
        bencher.iter(|| black_box(ours).compare(black_box(theirs)));
    });
    let comparisons = [ours.compare(theirs), theirs.compare(ours), ours.compare(ours), both.compare(ours)];
    Digest::default().shown(&comparisons).print(&format!("object/compare/{name}"));

    let mut out = Vec::with_capacity(both.encoded_bytes());
    group.bench_function(format!("encode/{name}"), |bencher| {
        bencher.iter(|| {
            out.clear();
            black_box(&both).encode(&mut out);
        });
    });
    out.clear();
    both.encode(&mut out);
    print_bytes(&format!("object/encode/{name}"), &out);

    group.bench_function(format!("decode/{name}"), |bencher| bencher.iter(|| Object::decode(black_box(&out))));
    let decoded = Object::decode(&out).expect("what was encoded is an object");
    Digest::default().shown(&decoded).print(&format!("object/decode/{name}"));
    group.finish();
}

/// A value, and the value that a writer wrote who had seen it.
fn single(random: &mut Random) -> (Object, Object) {
    let floor = Clock::from_unix_ms(NOW_UNIX_MS - 1000, 0);
    let first = Dot::new(Clock::from_unix_ms(NOW_UNIX_MS, 0), Actor::new(1, 1));
    let version = Sibling { dot: first, expires_at_ms: 0, value: Some(random.bytes(100)), value_dot: None };
    let older = Object::single(version, Context::with_floor(floor));
    let mut newer = older.clone();
    let second = Dot::new(Clock::from_unix_ms(NOW_UNIX_MS + 1, 0), Actor::new(2, 1));
    newer.write(second, older.context(), Some(random.bytes(100)), 0);
    (older, newer)
}

/// Two versions in common, and two more on either side by other actors.
fn siblings(random: &mut Random) -> (Object, Object) {
    let mut common = Object::default();
    write_blind(&mut common, random, 1..=2);
    let (mut ours, mut theirs) = (common.clone(), common);
    write_blind(&mut ours, random, 3..=4);
    write_blind(&mut theirs, random, 5..=6);
    assert_eq!((ours.siblings().len(), theirs.siblings().len()), (4, 4));
    (ours, theirs)
}

/// One write by each of the nodes, none of which has seen any other.
fn write_blind(object: &mut Object, random: &mut Random, nodes: std::ops::RangeInclusive<u64>) {
    for node in nodes {
        let dot = Dot::new(Clock::from_unix_ms(NOW_UNIX_MS + node, 0), Actor::new(node, 1));
        object.write(dot, &Context::default(), Some(random.bytes(100)), 0);
    }
}
