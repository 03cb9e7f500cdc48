//! Records: writing one into place, and checking one that was read.

use super::fixture::{Digest, print_bytes};
use crate::random::Random;
use annulus_engine::RecordRef;
use annulus_engine::record::{Kind, RecordFields, encode, encoded_bytes};
use annulus_object::{Actor, Clock, Dot};
use criterion::{Criterion, Throughput};
use std::hint::black_box;

/// 2024-07-03, after which all clocks here lie.
pub const NOW_UNIX_MS: u64 = 1_720_000_000_000;

/// Owns what [`RecordFields`] borrows.
pub struct Input {
    dot: Dot,
    hash: u128,
    expires_at_ms: u64,
    context: Vec<(Actor, Clock)>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Input {
    /// A live value under a key of 16 bytes.
    pub fn plain(random: &mut Random, value_bytes: usize) -> Input {
        let logical = (random.next() & 0x3fff) as u16;
        Input {
            dot: Dot::new(Clock::from_unix_ms(NOW_UNIX_MS, logical), Actor::new(7, 1)),
            hash: u128::from(random.next()) << 64 | u128::from(random.next()),
            expires_at_ms: 0,
            context: Vec::new(),
            key: random.bytes(16),
            value: random.bytes(value_bytes),
        }
    }

    /// One that expires and whose writer had seen three other nodes' writes: both optional fields.
    fn with_options(random: &mut Random, value_bytes: usize) -> Input {
        let seen = (1..=3).map(|node| (Actor::new(node, 1), Clock::from_unix_ms(NOW_UNIX_MS - node, 0)));
        Input { expires_at_ms: NOW_UNIX_MS + 60_000, context: seen.collect(), ..Input::plain(random, value_bytes) }
    }

    /// The fields.
    pub fn fields(&self) -> RecordFields<'_> {
        RecordFields {
            dot: self.dot,
            hash: self.hash,
            partition: (self.hash >> 121) as u16,
            partition_incarnation: 1,
            kind: Kind::Value,
            floor: Clock::from_unix_ms(NOW_UNIX_MS - 3_600_000, 0),
            expires_at_ms: self.expires_at_ms,
            context: &self.context,
            value_dot: None,
            key: &self.key,
            value: &self.value,
        }
    }
}

/// All benchmarks of records.
pub fn all(criterion: &mut Criterion) {
    let mut random = Random::new(1);
    one(criterion, "100B", &Input::plain(&mut random, 100));
    one(criterion, "100B_options", &Input::with_options(&mut random, 100));
    one(criterion, "4KiB", &Input::plain(&mut random, 4096));
    one(criterion, "64KiB", &Input::plain(&mut random, 65_536));
}

fn one(criterion: &mut Criterion, size: &str, input: &Input) {
    let fields = input.fields();
    let mut out = vec![0; encoded_bytes(&fields)];
    let mut group = criterion.benchmark_group("record");
    group.throughput(Throughput::Bytes(out.len() as u64));
    group.bench_function(format!("encode/{size}"), |bencher| {
        bencher.iter(|| encode(black_box(&fields), &mut out));
    });
    encode(&fields, &mut out);
    print_bytes(&format!("record/encode/{size}"), &out);

    group.bench_function(format!("check/{size}"), |bencher| {
        bencher.iter(|| RecordRef::check(black_box(&out)).map(|record| record.hash()));
    });
    let record = RecordRef::check(&out).expect("what was encoded is a record");
    let mut digest = Digest::default();
    digest.bytes(record.key()).bytes(record.value(NOW_UNIX_MS)).shown(&record.dot()).shown(&record.context());
    digest.number(record.expires_at_ms()).number(record.hash() as u64).number((record.hash() >> 64) as u64);
    digest.print(&format!("record/check/{size}"));
    group.finish();
}
