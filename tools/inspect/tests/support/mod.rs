//! Data directories made by hand, byte for byte the same every time, and the tool run on them.
//!
//! Invariant: what is written is what a node would write, unless a test damages it afterwards.

#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use annulus::mesh::CoreMap;
use annulus::node_meta::{ClusterMeta, MetaFile, NodeMeta};
use annulus::slot;
use annulus_engine::frame::{self, FrameFields, frame_bytes};
use annulus_engine::record::{self, Kind, RecordFields};
use annulus_engine::sealed_run::{
    FooterBuilder, PartitionFileHeader, RUN_BLOCK_BYTES, Replayed, RunFields, Trailer, encode_ending,
};
use annulus_engine::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use annulus_engine::{AlignedBuffer, RecordRef, keyed_hash};
use annulus_object::{Actor, Clock, Context, Dot, Object, Sibling};
use serde_json::Value;

pub const PARTITIONS: u32 = 8;
pub const CORES: u16 = 2;
pub const LAYOUT: u32 = 3;
pub const NODE: u64 = 0x00c0_ffee_0001;
pub const CLUSTER: [u8; 16] = *b"a cluster's name";
pub const HASH_KEY: [u8; 16] = *b"a key for hashes";
pub const SEGMENT_BYTES: u64 = 32 << 10;
/// 2024-01-01T00:00:00Z.
pub const START_MS: u64 = 1_704_067_200_000;
/// In the year 2100.
pub const FAR_MS: u64 = 4_102_444_800_000;

/// So many seconds after the start.
pub fn at(second: u64) -> Clock {
    Clock::from_unix_ms(START_MS + second * 1000, 0)
}

pub fn dot(second: u64) -> Dot {
    Dot::new(at(second), Actor::new(NODE, 1))
}

/// The `n`-th key of a partition.
pub fn key(partition: u16, n: usize) -> Vec<u8> {
    let names = (0..).map(|number| format!("key-{number}").into_bytes());
    names.filter(|name| partition_of(name) == partition).nth(n).unwrap()
}

pub fn partition_of(key: &[u8]) -> u16 {
    slot::partition(slot::of_key(key), PARTITIONS)
}

pub fn hash_of(key: &[u8]) -> u128 {
    keyed_hash(&HASH_KEY, key)
}

/// What a record says of its key.
#[derive(Clone, Debug)]
pub enum Says<'a> {
    Value(&'a [u8]),
    Expires(&'a [u8], u64),
    /// A value that an earlier write had made.
    Touched(&'a [u8], Dot),
    Tombstone,
    Siblings(&'a [&'a [u8]]),
}

/// A record of a node that stamps with a floor of one second.
pub fn record(key: &[u8], second: u64, says: &Says<'_>) -> Vec<u8> {
    record_with(key, dot(second), at(1), &[], says)
}

pub fn record_with(key: &[u8], dot: Dot, floor: Clock, context: &[(Actor, Clock)], says: &Says<'_>) -> Vec<u8> {
    let (kind, value, expires_at_ms) = match says {
        Says::Value(value) => (Kind::Value, value.to_vec(), 0),
        Says::Expires(value, at_ms) => (Kind::Value, value.to_vec(), *at_ms),
        Says::Touched(value, _) => (Kind::Value, value.to_vec(), 0),
        Says::Tombstone => (Kind::Tombstone, Vec::new(), 0),
        Says::Siblings(values) => (Kind::Siblings, siblings(dot, values), 0),
    };
    encode(&RecordFields {
        dot,
        hash: hash_of(key),
        partition: partition_of(key),
        partition_incarnation: 0,
        kind,
        floor,
        expires_at_ms,
        context,
        value_dot: if let Says::Touched(_, made) = says { Some(*made) } else { None },
        key,
        value: &value,
    })
}

fn siblings(newest: Dot, values: &[&[u8]]) -> Vec<u8> {
    let mut object = Object::default();
    for (n, value) in values.iter().enumerate() {
        let clock = Clock::from_raw(newest.clock.raw() - (values.len() - 1 - n) as u64).unwrap();
        let dot = Dot::new(clock, Actor::new(newest.actor.node() + n as u64 + 1 - values.len() as u64, 1));
        let sibling = Sibling { dot, expires_at_ms: 0, value: Some(value.to_vec()), value_dot: None };
        object.merge(Object::single(sibling, Context::default()));
    }
    let mut bytes = Vec::new();
    object.encode(&mut bytes);
    bytes
}

/// FLUSHALL at that second.
pub fn mark(second: u64) -> Vec<u8> {
    encode(&RecordFields {
        dot: dot(second),
        hash: 0,
        partition: 0,
        partition_incarnation: 0,
        kind: Kind::Mark,
        floor: Clock::ZERO,
        expires_at_ms: 0,
        context: &[],
        value_dot: None,
        key: b"",
        value: b"",
    })
}

fn encode(fields: &RecordFields<'_>) -> Vec<u8> {
    let mut bytes = vec![0; record::encoded_bytes(fields)];
    record::encode(fields, &mut bytes);
    bytes
}

/// A partition file while it grows.
pub struct PartFile {
    pub header: PartitionFileHeader,
    pub bytes: Vec<u8>,
}

impl PartFile {
    pub fn new(partition: u16, number: u64) -> Self {
        let header = PartitionFileHeader { cluster_id: CLUSTER, node: NODE, number, partition };
        let mut bytes = vec![0; RUN_BLOCK_BYTES];
        header.encode(&mut bytes);
        Self { header, bytes }
    }

    /// Appends a run.
    pub fn run(
        &mut self,
        sequence: u64,
        replaces_below: u64,
        drained: Option<Replayed>,
        records: &[Vec<u8>],
    ) -> Trailer {
        let run_start = self.bytes.len() as u64;
        let mut footer = FooterBuilder::new(records.len());
        for record in records {
            footer.note(&RecordRef::check(record).unwrap(), self.bytes.len() as u64);
            self.bytes.extend_from_slice(record);
        }
        let records_bytes = self.bytes.len() as u64 - run_start;
        let fields = RunFields { file: self.header, drained, run_start, records_bytes, sequence, replaces_below };
        let tail = self.bytes.split_off(self.bytes.len() - self.bytes.len() % RUN_BLOCK_BYTES);
        let mut ending = AlignedBuffer::default();
        ending.extend_from_slice(&tail);
        let trailer = encode_ending(&fields, &mut footer, &mut ending);
        self.bytes.extend_from_slice(ending.as_slice());
        trailer
    }

    pub fn name(&self) -> String {
        format!("p{:05}-{:08}.part", self.header.partition, self.header.number)
    }

    pub fn write(&self, root: &Path) -> PathBuf {
        let directory = root.join("partitions");
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join(self.name());
        fs::write(&path, &self.bytes).unwrap();
        path
    }
}

/// One instance of a core's log while it grows.
pub struct LogFile {
    core: u16,
    instance: u8,
    sequence: u64,
    number: u32,
    ordinal: u64,
    previous_crc: u32,
    pub log_tail: u64,
    bytes: Vec<u8>,
    used: usize,
    /// Where every frame of the segment begins.
    pub frames: Vec<usize>,
}

impl LogFile {
    pub fn new(core: u16, instance: u8, sequence: u64) -> Self {
        let mut log = Self {
            core,
            instance,
            sequence,
            number: 0,
            ordinal: 0,
            previous_crc: 0,
            log_tail: sequence,
            bytes: Vec::new(),
            used: 0,
            frames: Vec::new(),
        };
        log.next_segment(sequence);
        log
    }

    /// Goes on in another segment.
    pub fn next_segment(&mut self, sequence: u64) {
        let header = SegmentHeader {
            sequence,
            layout: LAYOUT,
            core: self.core,
            cores: CORES,
            segment_bytes: SEGMENT_BYTES,
            node: NODE,
            cluster_id: CLUSTER,
            instance: self.instance,
        };
        self.bytes = vec![0; usize::try_from(SEGMENT_BYTES).unwrap()];
        header.encode(&mut self.bytes[..SEGMENT_HEADER_BYTES]);
        (self.sequence, self.number, self.used) = (sequence, 0, SEGMENT_HEADER_BYTES);
        self.frames.clear();
    }

    /// Appends a frame; returns where it begins.
    pub fn frame(&mut self, records: &[Vec<u8>]) -> usize {
        let payload = records.concat();
        let mut frame = vec![0; frame_bytes(payload.len())];
        frame[64..64 + payload.len()].copy_from_slice(&payload);
        let fields = FrameFields {
            sequence: self.sequence,
            number: self.number,
            payload_bytes: payload.len(),
            previous_crc: self.previous_crc,
            records: u32::try_from(records.len()).unwrap(),
            clock_ceiling: at(100_000),
            log_tail: self.log_tail,
            ordinal: self.ordinal + 1,
        };
        self.previous_crc = frame::seal(&mut frame, &fields);
        (self.number, self.ordinal) = (self.number + 1, self.ordinal + 1);
        let start = self.used;
        self.used += frame.len();
        self.bytes[start..self.used].copy_from_slice(&frame);
        self.frames.push(start);
        start
    }

    /// Writes the segment as it is.
    pub fn write(&self, root: &Path, number: u32) -> PathBuf {
        let directory = root.join(format!("log-{LAYOUT:04}/core-{:02}", self.core));
        fs::create_dir_all(&directory).unwrap();
        let name = if self.instance == 0 { "small" } else { "large" };
        let path = directory.join(format!("{name}-{number:05}.log"));
        fs::write(&path, &self.bytes).unwrap();
        path
    }
}

/// A directory with a `node.meta`.
pub fn found(root: &Path) {
    found_with(root, HASH_KEY);
}

pub fn found_with(root: &Path, hash_key: [u8; 16]) {
    fs::create_dir_all(root).unwrap();
    let meta = NodeMeta {
        cluster_id: CLUSTER,
        hash_key,
        node_id: NODE,
        incarnation: 1,
        layout: LAYOUT,
        cores: CORES,
        partitions: PARTITIONS,
        clean: true,
        clock: at(100_000).raw(),
        durability: None,
        cluster: ClusterMeta::default(),
    };
    MetaFile::open_or_found(root, || Ok(meta)).unwrap();
}

pub fn core_of(partition: u16) -> u16 {
    CoreMap::new(PARTITIONS, CORES).core_of(partition)
}

/// The directory that most tests start from, and that is kept as a fixture: 2 cores, 8 partitions; what is in which is told in
/// the comments.
pub fn standard(root: &Path) {
    found(root);
    // Partition 0: a file of two runs, the first with a touched value, the second of which overwrites and deletes.
    let mut file = PartFile::new(0, 1);
    let mut first: Vec<_> =
        (0..20).map(|n| record(&key(0, n), 10 + n as u64, &Says::Value(value(n).as_bytes()))).collect();
    first[19] = record(&key(0, 19), 29, &Says::Touched(value(19).as_bytes(), dot(9)));
    file.run(1, 0, None, &first);
    let second = [
        record(&key(0, 0), 50, &Says::Value(b"overwritten")),
        record(&key(0, 1), 51, &Says::Tombstone),
        record(&key(0, 2), 52, &Says::Expires(b"for a while", FAR_MS)),
        record(&key(0, 3), 53, &Says::Siblings(&[b"one", b"two"])),
    ];
    file.run(2, 0, None, &second);
    file.write(root);
    // Partition 1: a compaction into file 2 replaced run 1, whose file is still there; a drained run follows, whose part of the
    // log is gone, and one whose part is not.
    let mut old = PartFile::new(1, 1);
    old.run(1, 0, None, &[record(&key(1, 0), 10, &Says::Value(b"replaced"))]);
    old.write(root);
    let mut new = PartFile::new(1, 2);
    new.run(2, 2, None, &[record(&key(1, 1), 20, &Says::Value(b"compacted"))]);
    let drained = |through| Some(Replayed { layout: LAYOUT, core: 0, instance: 0, through });
    new.run(3, 0, drained(4), &[record(&key(1, 2), 30, &Says::Value(b"drained"))]);
    new.run(4, 0, drained(5), &[record(&key(1, 3), 60, &Says::Value(b"in the log, too"))]);
    new.write(root);
    // Partition 5, of core 1: everything up to second 40 was flushed.
    let mut flushed = PartFile::new(5, 1);
    let of = |n: usize, second| record(&key(5, n), second, &Says::Value(b"before or after"));
    flushed.run(1, 0, None, &[of(0, 39), of(1, 41)]);
    flushed.write(root);
    write_logs(root);
}

fn write_logs(root: &Path) {
    // Core 0: the log begins with sequence 5; the segment before is free.
    let mut log = LogFile::new(0, 0, 4);
    log.frame(&[record(&key(1, 2), 30, &Says::Value(b"drained"))]);
    log.write(root, 1);
    log.log_tail = 5;
    log.next_segment(5);
    log.frame(&[record(&key(1, 3), 60, &Says::Value(b"in the log, too"))]);
    let both = [record(&key(0, 4), 61, &Says::Value(b"from the log")), record(&key(2, 0), 62, &Says::Value(b"alone"))];
    log.frame(&both);
    log.write(root, 2);
    log.next_segment(6);
    log.frame(&[record(&key(2, 1), 63, &Says::Tombstone)]);
    log.write(root, 3);
    let mut large = LogFile::new(0, 1, 7);
    large.frame(&[record(&key(3, 0), 64, &Says::Value(&[b'x'; 9000]))]);
    large.write(root, 4);
    // Core 1: FLUSHALL, and what came before and after it.
    let mut log = LogFile::new(1, 0, 1);
    log.frame(&[record(&key(6, 0), 38, &Says::Value(b"before"))]);
    log.frame(&[mark(40)]);
    log.frame(&[record(&key(6, 1), 42, &Says::Value(b"binary \x00\xff key holder"))]);
    log.write(root, 1);
}

/// The value of the `n`-th key of partition 0.
pub fn value(n: usize) -> String {
    format!("value {n} ").repeat(1 + n % 7)
}

/// What the tool answered.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub text: String,
    pub error: String,
}

impl Answer {
    /// The output, which is one JSON value.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The output as one JSON value a line.
    pub fn lines(&self) -> Vec<Value> {
        self.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.text, self.error);
        self
    }

    pub fn expect_text(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.text.contains(part), "{part:?} is not in:\n{}\n{}", self.text, self.error);
        }
        self
    }

    pub fn expect_error(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.error.contains(part), "{part:?} is not in:\n{}", self.error);
        }
        self
    }
}

/// Runs the tool.
pub fn inspect(arguments: &[&str]) -> Answer {
    inspect_in(".".as_ref(), arguments)
}

/// Runs the tool in a directory.
pub fn inspect_in(directory: &Path, arguments: &[&str]) -> Answer {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annulus-inspect"));
    let output = command.current_dir(directory).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Answer { code: output.status.code().unwrap_or(-1), text: text(output.stdout), error: text(output.stderr) }
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Flips a bit of a file.
pub fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1 << (at % 8);
    fs::write(path, bytes).unwrap();
}

/// Every file below a directory, with its contents, by relative path.
pub fn contents(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push((path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}
