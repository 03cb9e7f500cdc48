//! `cargo xtask soak`: kill rounds against the release binary, once or for as long as asked, with a new seed each time.
//!
//! Stops at the first failure and prints the seed; the failing directory is kept under `target/tmp`.
//!
//! Invariant: a run is whole; the time is looked at only between two.

use crate::shell;
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub struct Arguments {
    /// Kill rounds of one run
    #[arg(long, default_value_t = 200)]
    kills: u32,
    /// At least this long: runs follow each other until the minutes are over; one run unless told
    #[arg(long, default_value_t = 0)]
    minutes: u64,
    /// The first run's seed; later ones count up
    #[arg(long)]
    seed: Option<u64>,
}

/// What kill rounds need: the node, and the tool that reads its files.
pub const RELEASE: [&str; 7] =
    ["build", "--release", "--locked", "--package", "annulus", "--package", "annulus-inspect"];

/// Runs until the time is over.
pub fn run(arguments: &Arguments) -> Result<(), String> {
    shell::run(&mut shell::cargo(&RELEASE))?;
    let release = shell::target().join("release");
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("the clock is past 1970");
    let first = arguments.seed.unwrap_or(clock.as_secs());
    let (started, length) = (Instant::now(), Duration::from_secs(arguments.minutes * 60));
    let mut rounds = 0;
    for seed in first.. {
        let mut command = shell::cargo(&["test", "--test", "engine_crash", "--", "--nocapture", "acknowledged_writes"]);
        command.env("ANNULUS_KILL_ROUNDS", arguments.kills.to_string()).env("ANNULUS_KILL_LOOKS", "all");
        command.env("ANNULUS_SEED", seed.to_string()).env("ANNULUS_BINARY", release.join("annulus"));
        command.env("ANNULUS_INSPECT", release.join("annulus-inspect"));
        shell::run(&mut command).map_err(|error| format!("after {rounds} rounds, seed {seed}: {error}"))?;
        rounds += arguments.kills;
        println!("{rounds} kill rounds in {:.0} s", started.elapsed().as_secs_f64());
        if started.elapsed() >= length {
            break;
        }
    }
    Ok(())
}
