//! Random reads: aligned blocks of 4 KiB, direct, with a fixed number in flight. Every block that comes back is looked at:
//! it has to be the one that was asked for.

use super::direct_file::{self, BLOCK_BYTES};
use super::error::FloorError;
use super::meter::Meter;
use super::options::Options;
use super::report::Report;
use super::ring::{Completion, Ring};
use crate::random::Random;
use std::fs::File;
use std::time::Instant;

const DEPTHS: [usize; 5] = [1, 4, 8, 16, 32];

/// Measures every depth.
pub fn run(options: &Options, report: &mut Report) -> Result<(), FloorError> {
    let file = direct_file::numbered(&options.directory, options.read_bytes)?;
    for depth in DEPTHS {
        let mut ring = Ring::new(depth)?;
        let meter = at_depth(&mut ring, &file, depth, options)?;
        let parameters = [("bytes", BLOCK_BYTES as u64), ("depth", depth as u64)];
        report.row("reads", &parameters, &meter.figures(Instant::now()));
    }
    Ok(())
}

/// What is in flight in one of the ring's slots.
#[derive(Clone, Copy)]
struct Reading {
    block: u64,
    started: Instant,
}

fn at_depth(ring: &mut Ring, file: &File, depth: usize, options: &Options) -> Result<Meter, FloorError> {
    let blocks = options.read_bytes / BLOCK_BYTES as u64;
    let mut random = Random::new(10 + depth as u64);
    let mut meter = Meter::start(options);
    let start = |ring: &mut Ring, slot: usize, random: &mut Random| {
        let reading = Reading { block: random.next() % blocks, started: Instant::now() };
        ring.read(slot, file, reading.block * BLOCK_BYTES as u64);
        reading
    };
    for slot in 0..depth {
        ring.buffer(slot).resize(BLOCK_BYTES);
    }
    let mut readings: Vec<Reading> = (0..depth).map(|slot| start(ring, slot, &mut random)).collect();
    loop {
        ring.turn()?;
        let now = Instant::now();
        let mut ended = 0;
        while let Some(completion) = ring.next_completion() {
            let Completion::File { slot, result } = completion else {
                unreachable!("only reads are in flight");
            };
            if result.map_err(FloorError::at("reading"))? != BLOCK_BYTES {
                return Err(FloorError::Wrong("a read moved a part of its bytes"));
            }
            if ring.buffer(slot).as_slice()[..8] != readings[slot].block.to_le_bytes() {
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
