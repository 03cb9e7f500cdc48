//! The Redis protocol: finding commands in what a client sent, and writing replies.

use super::fixture::{Digest, is_full, print_bytes};
use crate::random::Random;
use annulus_net::limits::Limits;
use annulus_net::resp::{OwnedArguments, Parsed, Parser, Protocol, writer};
use criterion::{Criterion, Throughput};
use std::hint::black_box;

/// As many bytes as one receive yields at most.
const RECEIVE_BYTES: usize = 16 * 1024;

/// All benchmarks of the protocol.
pub fn all(criterion: &mut Criterion) {
    parse(criterion);
    reply(criterion);
}

fn parse(criterion: &mut Criterion) {
    let mut random = Random::new(5);
    let set = command(&[b"SET", b"key:000000012345", &random.bytes(100)]);
    let keys = (0..16).map(|_| format!("key:{:012}", random.next() % 1_000_000));
    let pipeline: Vec<u8> = keys.flat_map(|key| command(&[b"GET", key.as_bytes()])).collect();
    let (bulk_bytes, bulk_name) = if is_full() { (1 << 20, "bulk_1MiB") } else { (64 << 10, "bulk_64KiB") };
    let bulk = command(&[b"SET", b"key:000000012345", &random.bytes(bulk_bytes)]);
    let cases = [
        ("set_100B".to_owned(), &set, set.len()),
        ("pipeline_16_gets".to_owned(), &pipeline, pipeline.len()),
        (bulk_name.to_owned(), &bulk, bulk.len()),
        // As it arrives: the parser is asked again after every receive.
        (format!("{bulk_name}_in_pieces"), &bulk, RECEIVE_BYTES),
    ];
    let mut group = criterion.benchmark_group("resp");
    for (name, input, piece_bytes) in cases {
        let mut parser = Parser::new(Limits::PRODUCTION);
        group.throughput(Throughput::Bytes(input.len() as u64));
        group.bench_function(format!("parse/{name}"), |bencher| {
            bencher.iter(|| {
                let mut bytes = 0;
                each_command(&mut parser, black_box(input), piece_bytes, |argument| bytes += argument.len());
                bytes
            });
        });
        let mut digest = Digest::default();
        each_command(&mut parser, input, piece_bytes, |argument| _ = digest.bytes(argument));
        digest.print(&format!("resp/parse/{name}"));
    }
    group.finish();
}

/// Shows the arguments of all commands of `input`, which arrives in pieces.
fn each_command(parser: &mut Parser, input: &[u8], piece_bytes: usize, mut show: impl FnMut(&[u8])) {
    let (mut start, mut arrived) = (0, piece_bytes.min(input.len()));
    while start < input.len() {
        let unread = &input[start..arrived];
        match parser.parse(unread, true).expect("the input is well-formed") {
            Parsed::Command { consumed } => {
                parser.arguments(unread).iter().for_each(&mut show);
                start += consumed;
            }
            Parsed::Nothing { consumed } => start += consumed,
            Parsed::Incomplete { .. } => {
                assert!(arrived < input.len(), "the last command is whole");
                arrived = (arrived + piece_bytes).min(input.len());
            }
        }
    }
}

fn reply(criterion: &mut Criterion) {
    let mut random = Random::new(6);
    let value = random.bytes(100);
    let values: Vec<Vec<u8>> = (0..100).map(|_| random.bytes(16)).collect();
    one_reply(criterion, "bulk_100B", |out| writer::bulk(out, black_box(&value)));
    one_reply(criterion, "integer", |out| writer::integer(out, black_box(1_234_567)));
    one_reply(criterion, "null", |out| writer::null(out, black_box(Protocol::Resp3)));
    one_reply(criterion, "16_bulks", |out| (0..16).for_each(|_| writer::bulk(out, black_box(&value))));
    one_reply(criterion, "array_of_100", |out| {
        writer::array_header(out, values.len());
        values.iter().for_each(|value| writer::bulk(out, black_box(value)));
    });
}

fn one_reply(criterion: &mut Criterion, name: &str, write: impl Fn(&mut Vec<u8>)) {
    let mut out = Vec::with_capacity(RECEIVE_BYTES);
    write(&mut out);
    print_bytes(&format!("resp/reply/{name}"), &out);
    let mut group = criterion.benchmark_group("resp");
    group.throughput(Throughput::Bytes(out.len() as u64));
    group.bench_function(format!("reply/{name}"), |bencher| {
        bencher.iter(|| {
            out.clear();
            write(&mut out);
            black_box(&out);
        });
    });
    group.finish();
}

fn command(arguments: &[&[u8]]) -> Vec<u8> {
    let arguments: OwnedArguments = arguments.iter().collect();
    let mut out = Vec::new();
    writer::command(&mut out, arguments.as_arguments());
    out
}
