//! Appends that are durable one by one: O_DIRECT|O_DSYNC writes at depth 1 into a file that was zeroed before. At the
//! file's end they go on at its front, which costs the same.

use super::direct_file;
use super::error::FloorError;
use super::meter::Meter;
use super::options::Options;
use super::report::Report;
use super::ring::{Completion, Ring};
use crate::random::Random;
use std::fs::File;
use std::time::Instant;

/// A small group commit, and a large one.
const SIZES: [usize; 2] = [4096, 65_536];

/// Measures both sizes.
pub fn run(options: &Options, report: &mut Report) -> Result<(), FloorError> {
    let file = direct_file::zeroed(&options.directory, options.append_bytes)?;
    for bytes in SIZES {
        let mut ring = Ring::new(1)?;
        let meter = of_size(&mut ring, &file, bytes, options)?;
        report.row("append", &[("bytes", bytes as u64), ("depth", 1)], &meter.figures(Instant::now()));
    }
    Ok(())
}

fn of_size(ring: &mut Ring, file: &File, bytes: usize, options: &Options) -> Result<Meter, FloorError> {
    let content = Random::new(9).bytes(bytes);
    ring.buffer(0).extend_from_slice(&content);
    let mut meter = Meter::start(options);
    let mut offset: u64 = 0;
    loop {
        ring.buffer(0).as_mut_slice()[..8].copy_from_slice(&offset.to_le_bytes());
        let started = Instant::now();
        ring.write(0, file, offset);
        ring.turn()?;
        match ring.next_completion() {
            Some(Completion::File { result: Ok(moved), .. }) if moved == bytes => {}
            Some(Completion::File { result: Err(error), .. }) => return Err(FloorError::at("appending")(error)),
            Some(_) => return Err(FloorError::Wrong("an append wrote a part of its bytes")),
            None => return Err(FloorError::Wrong("an append did not end in time")),
        }
        if !meter.ended(started, Instant::now()) {
            return Ok(meter);
        }
        offset += bytes as u64;
        if offset + bytes as u64 > options.append_bytes {
            offset = 0;
        }
    }
}
