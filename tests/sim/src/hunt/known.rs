//! The seeds that caught each deliberate bug once, so that every change can ask whether they still do, without a hunt.
//!
//! `known_seeds.txt` beside the crate's manifest has a bug and its seed on every line; `--hunt --remember` writes it. A change of
//! the protocol or of the simulator makes other runs of the seeds: then a hunt finds new ones.
//!
//! Invariant: a seed counts only if the same run without the bug keeps every promise.

use std::fmt::Write as _;
use std::path::PathBuf;

use annulus_cluster::mutation::Mutation;

use super::{Hunted, by_name, hunt};
use crate::{Options, run};

const KNOWN: &str = include_str!("../../known_seeds.txt");

/// Why a bug is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// The file has no line for it.
    #[error("no seed is known for {0}")]
    NoSeed(&'static str),
    /// The seed does not catch it any more.
    #[error("seed {1} does not catch {0} any more")]
    NotCaught(&'static str, u64),
    /// The seed fails without the bug.
    #[error("seed {1} breaks a promise without {0} too")]
    NotByTheBug(&'static str, u64),
}

/// The seed of a bug.
#[must_use]
pub fn seed_of(mutation: Mutation) -> Option<u64> {
    let lines = KNOWN.lines().filter_map(|line| line.split_once(' '));
    let mut found = lines.filter(|(name, _)| by_name(name) == Some(mutation));
    found.next().and_then(|(_, seed)| seed.parse().ok())
}

/// Runs a bug with its seed.
pub fn replay(mutation: Mutation, options: &Options) -> Result<Hunted, Unknown> {
    let name = mutation.name();
    let seed = seed_of(mutation).ok_or(Unknown::NoSeed(name))?;
    let hunted = hunt(mutation, seed, 1, options);
    if hunted.caught.is_none() {
        return Err(Unknown::NotCaught(name, seed));
    }
    let clean = run(seed, &Options { mutation: None, ..options.clone() });
    if clean.violation.is_some() { Err(Unknown::NotByTheBug(name, seed)) } else { Ok(hunted) }
}

/// Writes what a hunt of all bugs has found over the file; needs the sources.
pub fn remember(hunted: &[Hunted]) -> std::io::Result<PathBuf> {
    let mut text = String::new();
    for (mutation, seed) in hunted.iter().filter_map(|it| Some((it.mutation, it.caught.as_ref()?.0))) {
        writeln!(text, "{} {seed}", mutation.name()).expect("a string takes everything");
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("known_seeds.txt");
    std::fs::write(&path, text)?;
    Ok(path)
}
