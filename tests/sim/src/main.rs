//! `sim`: runs seeds of the simulated cluster and says what came of them.
//!
//! `--seed S` runs one and prints its trace hash; with `--seeds N` that many from S on; with `--story` what happened, as a
//! conversation. A failed seed's story is that of the key whose promise was broken.

#![allow(clippy::print_stdout, reason = "a program that tells")]

use std::process::ExitCode;

use clap::Parser;
use sim::campaign::campaign;
use sim::faults::Kinds;
use sim::shape::Work;
use sim::{Options, Report};

/// Simulates clusters under seeded faults.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Arguments {
    /// The seed, or the first of several
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Tells what happened, as a conversation
    #[arg(long)]
    story: bool,
    /// Only these faults: the numbers of their kinds, with commas
    #[arg(long, value_delimiter = ',')]
    faults: Vec<u32>,
    /// Clients add so many elements to one set, and every acknowledged one must be there in the end
    #[arg(long)]
    set: Option<u32>,
    /// Prints every failed seed, and goes on
    #[arg(long)]
    keep_going: bool,
}

impl Arguments {
    fn options(&self) -> Options {
        let kinds = self.faults.iter().fold(0, |kinds, kind| kinds | 1 << kind);
        Options {
            kinds: if kinds == 0 { Kinds::ALL } else { Kinds(kinds) },
            work: self.set.map_or(Work::Mixed, |adds| Work::Set { adds }),
            keeps_story: self.story,
            ..Options::default()
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = arguments.options();
    if arguments.seeds == 1 { one(arguments.seed, &options) } else { many(&arguments, &options) }
}

fn one(seed: u64, options: &Options) -> ExitCode {
    let report = sim::run(seed, options);
    print!("{}", report.story);
    let mut summary = sim::Summary::default();
    summary.add(&report);
    print!("{}", summary.text());
    println!("trace hash: {:016x}", report.hash);
    conclude(&report)
}

fn conclude(report: &Report) -> ExitCode {
    match report.verdict() {
        None => ExitCode::SUCCESS,
        Some(why) => {
            println!("seed {} {why}\nrepeat: {}", report.seed, report.repeat());
            ExitCode::FAILURE
        }
    }
}

fn many(arguments: &Arguments, options: &Options) -> ExitCode {
    let begun = std::time::Instant::now();
    let summary = campaign(arguments.seed, arguments.seeds, options, |report| {
        if let (true, Some(why)) = (arguments.keep_going, report.verdict()) {
            println!("seed {}: {why}", report.seed);
        }
    });
    print!("{}", summary.text());
    println!("{} seeds in {:.1} s, hash of all: {:016x}", summary.runs, begun.elapsed().as_secs_f64(), summary.hash);
    let Some((seed, _)) = summary.failures.first() else { return ExitCode::SUCCESS };
    println!("{} of {} seeds failed; the first again, with its story:", summary.failures.len(), summary.runs);
    let report = sim::run(*seed, &Options { keeps_story: true, ..options.clone() });
    print!("{}", report.story);
    conclude(&report)
}
