//! `cargo xtask ci`: what the server runs on every change, in a clean clone, without asking anything.
//!
//! Every step runs even when an earlier one failed, so that one run shows all that is wrong; the last lines are the
//! test runners' own results, and the status is 0 only when every step's is.

use crate::{clients, shell, soak, tidy};
use std::time::{Duration, Instant};

/// Seeds of the simulator that every change runs, beside the known ones of deliberate bugs.
const SEEDS: &str = "2000";
/// Kill rounds of every change; `cargo xtask soak` does more.
const KILL_ROUNDS: &str = "50";

type Outcome = Result<Vec<String>, String>;

struct Step {
    name: &'static str,
    run: fn() -> Outcome,
}

const STEPS: &[Step] = &[
    Step { name: "format", run: format },
    Step { name: "tidy", run: || tidy::run().map(|()| Vec::new()) },
    Step { name: "clippy", run: clippy },
    Step { name: "documentation", run: documentation },
    Step { name: "fuzz targets", run: fuzz },
    Step { name: "release build", run: release },
    Step { name: "tests", run: tests },
    Step { name: "simulator", run: simulator },
    Step { name: "kill rounds", run: kills },
    Step { name: "clients", run: || clients::run_for_results(&clients::Arguments::default()) },
];

/// Runs every step, then prints a table of times and the test runners' lines.
pub fn run() -> Result<(), String> {
    let mut times: Vec<(&str, Duration, bool)> = Vec::new();
    let mut failures = Vec::new();
    let mut results = Vec::new();
    for step in STEPS {
        println!("\n==> {}", step.name);
        let started = Instant::now();
        let outcome = (step.run)();
        times.push((step.name, started.elapsed(), outcome.is_ok()));
        match outcome {
            Ok(lines) => results.extend(lines.into_iter().map(|line| (step.name, line))),
            Err(error) => {
                println!("step {} failed: {error}", step.name);
                failures.push(format!("{}: {error}", step.name));
            }
        }
    }
    println!("\n==> times");
    for (name, time, passed) in &times {
        println!("{:<16}{:>8.1} s  {}", name, time.as_secs_f64(), if *passed { "ok" } else { "FAILED" });
    }
    println!("{:<16}{:>8.1} s", "all", times.iter().map(|(_, time, _)| time.as_secs_f64()).sum::<f64>());
    println!("\n==> results");
    for (step, line) in &results {
        println!("{step}: {line}");
    }
    let failed = failures.len();
    println!(
        "test result: {}. {} steps passed; {failed} failed",
        if failed == 0 { "ok" } else { "FAILED" },
        times.len() - failed
    );
    if failed == 0 { Ok(()) } else { Err(failures.join("; ")) }
}

fn format() -> Outcome {
    shell::run(&mut shell::cargo(&["fmt", "--all", "--check"]))
}

fn clippy() -> Outcome {
    shell::run(&mut shell::cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    let bugs = ["-p", "annulus-cluster", "-p", "sim", "--features", "mutations"];
    shell::run(shell::cargo(&["clippy", "--all-targets", "--locked"]).args(bugs).args(["--", "-D", "warnings"]))
}

fn documentation() -> Outcome {
    let mut command = shell::cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
    shell::run(command.env("RUSTDOCFLAGS", "-D warnings"))
}

/// The fuzz targets are a workspace of their own, whose runtime needs a nightly compiler to link: they are formatted and
/// type-checked, and run by hand (tests/fuzz).
fn fuzz() -> Outcome {
    let manifest = shell::root().join("tests/fuzz/Cargo.toml");
    if !manifest.exists() {
        println!("there are none yet");
        return Ok(Vec::new());
    }
    let path = manifest.to_str().ok_or("the path of tests/fuzz is no text")?;
    shell::run(&mut shell::cargo(&["fmt", "--check", "--manifest-path", path]))?;
    let target = shell::target().join("fuzz");
    shell::run(shell::cargo(&["check", "--manifest-path", path]).env("CARGO_TARGET_DIR", target))
}

fn release() -> Outcome {
    shell::run(&mut shell::cargo(&soak::RELEASE))
}

/// The README's test command.
fn tests() -> Outcome {
    shell::run(&mut shell::cargo(&["test", "--workspace"]))
}

/// Seeds that must keep every promise, and bugs that must not: those that break one within a seed, and those that narrow
/// tests have to find.
fn simulator() -> Outcome {
    let narrow = ["test", "--locked", "-p", "annulus-cluster", "--features", "mutations", "--test", "control"];
    shell::run(shell::cargo(&narrow).args(["--test", "data_plane"]))?;
    let sim = ["run", "--locked", "--profile", "sim", "-p", "sim", "--features", "mutations", "--"];
    shell::run(shell::cargo(&sim).args(["--seeds", SEEDS]))?;
    shell::run(shell::cargo(&sim).args(["--hunt", "--known"]))
}

fn kills() -> Outcome {
    let release = shell::target().join("release");
    let mut command = shell::cargo(&["test", "--test", "engine_crash", "--", "--nocapture", "acknowledged_writes"]);
    command.env("ANNULUS_KILL_ROUNDS", KILL_ROUNDS).env("ANNULUS_BINARY", release.join("annulus"));
    shell::run(command.env("ANNULUS_INSPECT", release.join("annulus-inspect")))
}
