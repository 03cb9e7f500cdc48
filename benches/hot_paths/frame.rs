//! Frames: building one from the records of a group commit, and checking one as recovery does.

use super::fixture::{Digest, print_bytes};
use super::record::{Input, NOW_UNIX_MS};
use crate::random::Random;
use annulus_engine::AlignedBuffer;
use annulus_engine::frame::{FRAME_HEADER_BYTES, FrameExpected, FrameFields, FrameRef, frame_bytes, seal};
use annulus_engine::record::{encode, encoded_bytes};
use annulus_object::Clock;
use criterion::{Criterion, Throughput};
use std::hint::black_box;

const SEQUENCE: u64 = 12;
const NUMBER: u32 = 345;
const PREVIOUS_CRC: u32 = 0x89ab_cdef;

/// All benchmarks of frames: a lone write, and a commit of many.
pub fn all(criterion: &mut Criterion) {
    for records in [1, 32, 256] {
        let mut random = Random::new(2);
        let inputs: Vec<Input> = (0..records).map(|_| Input::plain(&mut random, 100)).collect();
        some(criterion, &inputs);
    }
}

fn some(criterion: &mut Criterion, inputs: &[Input]) {
    let payload_bytes = inputs.iter().map(|input| encoded_bytes(&input.fields())).sum();
    let mut buffer = AlignedBuffer::default();
    buffer.resize(frame_bytes(payload_bytes));
    let mut group = criterion.benchmark_group("frame");
    group.throughput(Throughput::Elements(inputs.len() as u64));
    let name = format!("build/{}_records", inputs.len());
    group.bench_function(&name, |bencher| {
        bencher.iter(|| build(black_box(inputs), payload_bytes, buffer.as_mut_slice()));
    });
    build(inputs, payload_bytes, buffer.as_mut_slice());
    print_bytes(&format!("frame/{name}"), buffer.as_slice());

    let name = format!("check/{}_records", inputs.len());
    group.bench_function(&name, |bencher| bencher.iter(|| check(black_box(buffer.as_slice()))));
    let (hashes, clocks) = check(buffer.as_slice());
    Digest::default().number(hashes).number(clocks).print(&format!("frame/{name}"));
    group.finish();
}

/// Encodes the records into place and completes the frame around them; its checksum.
fn build(inputs: &[Input], payload_bytes: usize, buffer: &mut [u8]) -> u32 {
    let mut rest = &mut buffer[FRAME_HEADER_BYTES..];
    for input in inputs {
        let fields = input.fields();
        let (place, behind) = rest.split_at_mut(encoded_bytes(&fields));
        encode(&fields, place);
        rest = behind;
    }
    let fields = FrameFields {
        sequence: SEQUENCE,
        number: NUMBER,
        payload_bytes,
        previous_crc: PREVIOUS_CRC,
        records: inputs.len() as u32,
        clock_ceiling: Clock::from_unix_ms(NOW_UNIX_MS + 1000, 0),
        log_tail: SEQUENCE - 3,
        ordinal: 6789,
    };
    seal(buffer, &fields)
}

/// Checks the frame and walks its records; something of each, folded.
fn check(bytes: &[u8]) -> (u64, u64) {
    let expected = FrameExpected { sequence: SEQUENCE, number: NUMBER, previous_crc: Some(PREVIOUS_CRC) };
    let frame = FrameRef::check(bytes, &expected).expect("what was sealed is the expected frame");
    frame.records().fold((0, 0), |(hashes, clocks), record| {
        let (offset, record) = record.expect("the records are whole");
        let folded = (record.hash() as u64).rotate_left(offset as u32 % 64);
        (hashes ^ folded, clocks ^ record.dot().clock.raw().rotate_left(offset as u32 % 64))
    })
}
