//! Random damage of every kind: the tool neither panics nor hangs, and whatever it salvages verifies clean.
//!
//! `ANNULUS_SEEDS=1000` tries more.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::*;
use tempfile::TempDir;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((word ^ word >> 31) % end.max(1) as u64).unwrap()
    }
}

fn spoil(random: &mut Random, path: &Path, others: &[PathBuf]) {
    let mut bytes = fs::read(path).unwrap();
    if bytes.is_empty() {
        return;
    }
    match random.below(8) {
        // Bits of what is not zero: most of a segment is.
        0..=3 => {
            let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
            for _ in 0..1 + random.below(5) {
                let at = used.get(random.below(used.len())).copied().unwrap_or(0);
                bytes[at] ^= 1 << random.below(8);
            }
        }
        4 => bytes.truncate(random.below(bytes.len())),
        5 => {
            let blocks = bytes.len() / 4096;
            let (from, to) = (random.below(blocks) * 4096, random.below(blocks) * 4096);
            let end = (from + 4096).min(bytes.len());
            let to = to.min(bytes.len() - (end - from));
            bytes.copy_within(from..end, to);
        }
        6 => {
            let at = random.below(bytes.len());
            let noise: Vec<u8> = (0..random.below(5000)).map(|_| random.below(256) as u8).collect();
            let end = (at + random.below(5000)).min(bytes.len());
            bytes.splice(at..end, noise);
        }
        _ => bytes = fs::read(&others[random.below(others.len())]).unwrap(),
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn whatever_is_in_the_files() {
    let seeds = std::env::var("ANNULUS_SEEDS").map_or(30, |seeds| seeds.parse::<u64>().unwrap());
    let sound = TempDir::new().unwrap();
    standard(sound.path());
    for seed in 0..seeds {
        let scratch = TempDir::new().unwrap();
        let (data, copy) = (scratch.path().join("data"), scratch.path().join("copy"));
        standard(&data);
        let files: Vec<PathBuf> = contents(&data).into_iter().map(|(path, _)| data.join(path)).collect();
        let mut random = Random(seed);
        for _ in 0..1 + random.below(4) {
            let file = random.below(files.len());
            spoil(&mut random, &files[file], &files);
        }
        let (path, other, copy) = (text(&data), text(sound.path()), text(&copy));
        for arguments in [
            &["verify", path][..],
            &["ls", path],
            &["dump", "--all", path],
            &["get", path, "key-10"],
            &["stats", path],
            &["diff", "--values", path, other],
            &["salvage", path, copy],
        ] {
            let answer = inspect(arguments);
            assert!((0..=2).contains(&answer.code), "seed {seed}, {arguments:?}: {}", answer.error);
            // Of a log alone, all of which is lost, nothing is left to verify.
            if arguments[0] == "salvage" && answer.code != 1 && !answer.text.contains("copied 0 keys and 0") {
                inspect(&["verify", copy]).expect(0);
            }
        }
    }
}
