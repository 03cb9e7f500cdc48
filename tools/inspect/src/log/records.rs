//! What is kept of a log's records until their partition's turn comes: 32 bytes each.
//!
//! What writers had seen is the same for most records of a run of the node, so it is kept once; only siblings have their own.
//!
//! Invariant: what is taken out is what was put in.

use std::collections::{BTreeMap, HashMap};

use annulus_engine::index::IndexHash;
use annulus_engine::record::{Kind, RECORD_ALIGNMENT};
use annulus_object::{Actor, Clock, Dot};

use crate::version::{Place, Seen, Version};

/// One record.
#[derive(Clone, Copy, Debug)]
struct LogRecord {
    high: u64,
    /// Clock 56 bits, the low bits of the hash 8: as in the index.
    clock_and_low: u64,
    /// Actor and what it had seen, by number.
    stamp: u32,
    segment: u32,
    /// Offset in units of 16 bytes.
    block: u32,
    /// A length is a multiple of 16; the kind is in its low bits.
    bytes_and_kind: u32,
}

const _: () = assert!(size_of::<LogRecord>() == 32);

/// All records of a core's log.
#[derive(Debug, Default)]
pub struct Records {
    partitions: BTreeMap<u16, Vec<LogRecord>>,
    stamps: Vec<(Actor, Seen)>,
    numbers: HashMap<(Actor, Seen), u32>,
}

impl Records {
    /// Keeps a version of a partition, which lies in the log (asserted).
    pub fn add(&mut self, partition: u16, version: Version) {
        let Place::Log { segment, offset } = version.place else { panic!("the place is in the log") };
        let stamp = (version.dot.actor, version.seen);
        let number = match self.numbers.get(&stamp) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.stamps.len()).expect("fewer records than 2^32 fit in memory");
                self.stamps.push(stamp.clone());
                self.numbers.insert(stamp, number);
                number
            }
        };
        let record = LogRecord {
            high: version.hash.high,
            clock_and_low: version.dot.clock.raw() << 8 | u64::from(version.hash.low),
            stamp: number,
            segment,
            block: u32::try_from(offset / RECORD_ALIGNMENT as u64).expect("segments are far below 64 GiB"),
            bytes_and_kind: version.bytes | version.kind as u32,
        };
        self.partitions.entry(partition).or_default().push(record);
    }

    /// The partitions that have any.
    pub fn partitions(&self) -> impl Iterator<Item = u16> {
        self.partitions.keys().copied()
    }

    /// A partition's, in the order of the log.
    pub fn versions(&self, partition: u16) -> impl Iterator<Item = Version> {
        self.partitions.get(&partition).into_iter().flatten().map(|record| {
            let (actor, seen) = self.stamps[record.stamp as usize].clone();
            let clock = Clock::from_raw(record.clock_and_low >> 8).expect("56 bits are a clock");
            Version {
                hash: IndexHash { high: record.high, low: record.clock_and_low as u8 },
                dot: Dot::new(clock, actor),
                seen,
                kind: match record.bytes_and_kind & 15 {
                    2 => Kind::Tombstone,
                    3 => Kind::Siblings,
                    _ => Kind::Value,
                },
                place: Place::Log {
                    segment: record.segment,
                    offset: u64::from(record.block) * RECORD_ALIGNMENT as u64,
                },
                bytes: record.bytes_and_kind & !15,
            }
        })
    }
}
