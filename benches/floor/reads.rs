//! Random reads, direct, with a fixed number in flight: one block of 4 KiB each, or the one or two blocks in which a record
//! of 1 KiB lies that begins anywhere. Every block that comes back is looked at: it has to be the one that was asked for.

use super::direct_file::{self, BLOCK_BYTES};
use super::error::FloorError;
use super::meter::Meter;
use super::options::Options;
use super::report::Report;
use super::ring::{Completion, Ring};
use crate::random::Random;
use std::fs::File;
use std::time::Instant;

const BLOCK: u64 = BLOCK_BYTES as u64;
const DEPTHS: [usize; 5] = [1, 4, 8, 16, 32];
/// Of a node's record with a value of 1 KiB, and what its place is a multiple of.
const RECORD_BYTES: u64 = 1104;
const RECORD_ALIGN: u64 = 16;

/// What is wanted of one read, and where it may begin; whole blocks are read.
#[derive(Clone, Copy)]
struct Wanted {
    bytes: u64,
    align: u64,
}

/// Measures every depth, of both.
pub fn run(options: &Options, report: &mut Report) -> Result<(), FloorError> {
    let file = direct_file::numbered(&options.directory, options.read_bytes)?;
    let block = Wanted { bytes: BLOCK, align: BLOCK };
    let record = Wanted { bytes: RECORD_BYTES, align: RECORD_ALIGN };
    for (wanted, depth) in [block, record].into_iter().flat_map(|wanted| DEPTHS.map(|depth| (wanted, depth))) {
        let mut ring = Ring::new(depth)?;
        let meter = at_depth(&mut ring, &file, depth, wanted, options)?;
        let parameters = [("bytes", wanted.bytes), ("depth", depth as u64)];
        report.row("reads", &parameters, &meter.figures(Instant::now()));
    }
    Ok(())
}

/// What is in flight in one of the ring's slots.
#[derive(Clone, Copy)]
struct Reading {
    block: u64,
    blocks: u64,
    started: Instant,
}

impl Reading {
    /// Asks for the blocks around something wanted, wherever chance has it in a file of so many bytes.
    fn start(
        ring: &mut Ring,
        slot: usize,
        file: &File,
        wanted: Wanted,
        file_bytes: u64,
        random: &mut Random,
    ) -> Reading {
        let places = (file_bytes - wanted.bytes) / wanted.align + 1;
        let begin = random.next() % places * wanted.align;
        let block = begin / BLOCK;
        let blocks = (begin + wanted.bytes).div_ceil(BLOCK) - block;
        ring.buffer(slot).resize((blocks * BLOCK) as usize);
        ring.read(slot, file, block * BLOCK);
        Reading { block, blocks, started: Instant::now() }
    }

    /// Whether these are the blocks.
    fn is_in(&self, bytes: &[u8]) -> bool {
        bytes.chunks(BLOCK_BYTES).zip(self.block..).all(|(block, number)| block[..8] == number.to_le_bytes())
    }
}

fn at_depth(
    ring: &mut Ring,
    file: &File,
    depth: usize,
    wanted: Wanted,
    options: &Options,
) -> Result<Meter, FloorError> {
    let mut random = Random::new(10 + depth as u64);
    let mut meter = Meter::start(options);
    let start = |ring: &mut Ring, slot: usize, random: &mut Random| {
        Reading::start(ring, slot, file, wanted, options.read_bytes, random)
    };
    let mut readings: Vec<Reading> = (0..depth).map(|slot| start(ring, slot, &mut random)).collect();
    loop {
        ring.turn()?;
        let now = Instant::now();
        let mut ended = 0;
        while let Some(completion) = ring.next_completion() {
            let Completion::File { slot, result } = completion else {
                unreachable!("only reads are in flight");
            };
            if result.map_err(FloorError::at("reading"))? as u64 != readings[slot].blocks * BLOCK {
                return Err(FloorError::Wrong("a read moved a part of its bytes"));
            }
            if !readings[slot].is_in(ring.buffer(slot).as_slice()) {
                return Err(FloorError::Wrong("a read returned another block"));
            }
            ended += 1;
            if !meter.ended(readings[slot].started, now) {
                return Ok(meter);
            }
            readings[slot] = start(ring, slot, &mut random);
        }
        if ended == 0 {
            return Err(FloorError::Wrong("no read ended in time"));
        }
    }
}
