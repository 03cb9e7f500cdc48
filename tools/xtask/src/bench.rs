//! `cargo xtask bench`: whole comparisons of Annulus beside Redis and Valkey, on one machine, by one command.
//!
//! Servers share one CPU, the load generator has another; all on 127.0.0.1. Rounds are interleaved, and what counts are
//! ratios within a round: a machine that changes its mind between rounds changes both sides.
//!
//! Invariant: every process ends by its own id and every directory of data goes, whatever fails; what was measured before
//! a failure is stored and says that it is not complete.

mod cluster;
mod compaction;
mod copies;
mod counters;
mod exchange;
mod figures;
mod floor;
mod load;
mod machine;
mod node;
mod outage;
mod overwrite;
mod process;
mod restart;
mod results;
mod runner;
mod scrape;
mod server;
mod suite;
mod table;
mod torture;
mod verdict;
mod wire;

use crate::shell;
use machine::Machine;
use process::Scratch;
use results::{FORMAT, Results};
use runner::Context;
use server::Programs;
use std::path::{Path, PathBuf};
use std::time::Instant;
use suite::{Options, Part, SUITES, Suite};

const SECONDS: u32 = 4;
const SECONDS_QUICK: u32 = 1;
/// Of a turn with and of one without compaction.
const TURN_SECONDS: u32 = 60;
const TURN_SECONDS_QUICK: u32 = 5;
/// Of a run with and of one without an outage.
const OUTAGE_SECONDS: u32 = 24;
const OUTAGE_SECONDS_QUICK: u32 = 12;

#[derive(clap::Args)]
pub struct Arguments {
    /// Which comparisons; all when none is named
    #[arg(value_name = "SUITE", value_parser = clap::builder::PossibleValuesParser::new(SUITES.iter().map(|suite| suite.name)))]
    suites: Vec<String>,
    /// Interleaved rounds of every case
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Length of one run [default: 4, with --quick 1; of compaction 60 and 5, of outage 24 and 12]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: Option<u32>,
    /// Short runs, at most a million keys: for trying out, not for figures
    #[arg(long)]
    quick: bool,
    /// Size of the data of cold-reads
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=4096))]
    gib: u32,
    /// Data of the servers goes below this directory [default: the target directory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where the results are stored [default: bench in the target directory]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Use the release binaries as they are
    #[arg(long)]
    no_build: bool,
}

impl Arguments {
    fn options(&self) -> Options {
        let seconds = |long, quick| self.seconds.unwrap_or(if self.quick { quick } else { long });
        Options {
            rounds: self.rounds,
            seconds: seconds(SECONDS, SECONDS_QUICK),
            turn_seconds: seconds(TURN_SECONDS, TURN_SECONDS_QUICK),
            outage_seconds: seconds(OUTAGE_SECONDS, OUTAGE_SECONDS_QUICK),
            quick: self.quick,
            gib: self.gib,
        }
    }

    /// What makes a suite again; where data and results go does not matter to it, and is somebody's own.
    fn shown(&self, suite: &str) -> String {
        let Options { rounds, seconds, turn_seconds, outage_seconds, quick, gib } = self.options();
        let rest = match suite {
            "cold-reads" if !quick => format!(" --seconds {seconds} --gib {gib}"),
            "compaction" => format!(" --seconds {turn_seconds}"),
            "outage" => format!(" --seconds {outage_seconds}"),
            "exchange" => String::new(),
            _ => format!(" --seconds {seconds}"),
        };
        format!("cargo xtask bench {suite} --rounds {rounds}{rest}{}", if quick { " --quick" } else { "" })
    }

    fn is_wanted(&self, suite: &Suite) -> bool {
        self.suites.is_empty() || self.suites.iter().any(|name| name == suite.name)
    }
}

/// Builds, runs every wanted suite, stores.
pub fn run(arguments: &Arguments) -> Result<(), String> {
    if !arguments.no_build {
        let options = ["build", "--release", "--locked", "--package", "annulus", "--package", "annulus-load"];
        shell::run(&mut shell::cargo(&options))?;
        let has_floor = |part: &Part| matches!(part, Part::Floor { .. });
        let wanted = || SUITES.iter().filter(|suite| arguments.is_wanted(suite));
        if wanted().any(|suite| (suite.parts)(&arguments.options()).iter().any(has_floor)) {
            floor::build()?;
        }
    }
    let release = shell::target().join("release");
    let cpus = machine::cpus();
    let programs = Programs::find(release.join("annulus"), release.join("annulus-load"), &cpus)?;
    let data = absolute(arguments.data.clone().unwrap_or_else(shell::target))?;
    let out = absolute(arguments.out.clone().unwrap_or_else(|| shell::target().join("bench")))?;
    std::fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    let scratch = Scratch::create(&data, "bench-data")?;
    let (started, options) = (Instant::now(), arguments.options());
    let context = Context { programs: &programs, options: &options, scratch: scratch.path() };
    let mut failures = Vec::new();
    for suite in SUITES.iter().filter(|suite| arguments.is_wanted(suite)) {
        let results = run_suite(&context, suite, arguments);
        store(&results, &out)?;
        println!("\n{}", table::markdown(&results));
        if let Some(failure) = results.failure {
            println!("FAILED {}: {failure}", suite.name);
            failures.push(suite.name);
        }
    }
    println!("{:.1} minutes; results are in {}", started.elapsed().as_secs_f64() / 60.0, out.display());
    if failures.is_empty() { Ok(()) } else { Err(format!("not complete: {}", failures.join(", "))) }
}

/// Cargo's directory may be relative, and the servers' is another.
fn absolute(path: PathBuf) -> Result<PathBuf, String> {
    std::path::absolute(&path).map_err(|error| format!("{}: {error}", path.display()))
}

/// All parts of one; ends at the first that fails.
fn run_suite(context: &Context, suite: &Suite, arguments: &Arguments) -> Results {
    println!("\n=== {} ===", suite.name);
    let options = context.options;
    let parts = (suite.parts)(options);
    let paces = || parts.iter().map(|part| part.pace(options));
    let mut results = Results {
        format: FORMAT,
        suite: suite.name.into(),
        about: suite.about.into(),
        command: arguments.shown(suite.name),
        rounds: if paces().any(|(has_rounds, _)| has_rounds) { options.rounds } else { 1 },
        seconds: paces().filter_map(|(_, seconds)| seconds).max().unwrap_or(0),
        machine: Machine::here(context.programs, context.scratch),
        tables: Vec::new(),
        floor: Vec::new(),
        notes: Vec::new(),
        verdict: Vec::new(),
        failure: None,
    };
    for part in parts {
        let (table, ended) = match part {
            Part::Loads(block) => runner::run(context, &block),
            Part::Restart { keys, rounds } => restart::run(context, keys, rounds),
            Part::Overwrite(plan) => overwrite::run(context, &plan),
            Part::Compaction(plan) => compaction::run(context, &plan),
            Part::Outage(plan) => outage::run(context, &plan),
            Part::Exchange(plan) => exchange::run(context, &plan),
            Part::Floor { part, bytes } => {
                let ended = floor::run(context, part, bytes);
                match ended.and_then(|rows| runner::remove(context.scratch).map(|()| rows)) {
                    Ok(rows) => results.floor.extend(rows),
                    Err(why) => results.notes.push(format!("The raw machine was not measured: {why}")),
                }
                continue;
            }
        };
        results.tables.push(table);
        if let Err(error) = ended {
            results.failure = Some(error);
            break;
        }
    }
    results.verdict = (suite.verdict)(&results);
    results
}

fn store(results: &Results, out: &Path) -> Result<(), String> {
    let json = serde_json::to_string_pretty(results).map_err(|error| format!("results: {error}"))?;
    for (ending, text) in [("json", json), ("md", table::markdown(results))] {
        let path = out.join(format!("{}.{ending}", results.suite));
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn suites_are_chosen_by_name_and_the_command_can_be_repeated() {
        let parse = |words: &[&str]| Line::try_parse_from([&["bench"], words].concat()).map(|line| line.arguments);
        let two = parse(&["memory", "floor", "--quick", "--data", "somewhere"]).unwrap();
        let wanted: Vec<&str> = SUITES.iter().filter(|suite| two.is_wanted(suite)).map(|suite| suite.name).collect();
        assert_eq!(wanted, ["memory", "floor"]);
        assert_eq!(two.shown("memory"), "cargo xtask bench memory --rounds 3 --seconds 1 --quick");
        assert!(parse(&["cold-reads", "--gib", "2"]).unwrap().shown("cold-reads").ends_with("--seconds 4 --gib 2"));
        assert!(two.shown("outage").ends_with("--rounds 3 --seconds 12 --quick"));
        assert!(parse(&["exchange"]).unwrap().shown("exchange").ends_with("exchange --rounds 3"));
        assert!(SUITES.iter().all(|suite| parse(&[]).unwrap().is_wanted(suite)));
        assert!(parse(&["no-such"]).is_err() && parse(&["--rounds", "0"]).is_err());
    }
}
