//! `sim`: runs seeds of the simulated cluster and says what came of them.
//!
//! `--seed S` runs one and prints its trace hash; with `--seeds N` that many from S on; with `--story` what happened, as a
//! conversation. A failed seed's story is that of the key whose promise was broken. `--set` holds the set test. `--hunt` switches
//! deliberate bugs on, one at a time, and says which seed caught each (with the feature `mutations`); `--hunt --known` asks only
//! the seeds that did once. `--scale` measures the control plane instead.

#![allow(clippy::print_stdout, reason = "a program that tells")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use sim::campaign::campaign;
use sim::faults::Kinds;
use sim::shape::Work;
use sim::{Options, Report, StoreKind, scale};

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
    /// The set test: clients add so many elements to one set while the network splits, siblings taken together and dropped
    #[arg(long, num_args = 0..=1, default_missing_value = "2000")]
    set: Option<u32>,
    /// What nodes keep their objects in: plain (maps), engine, or both: as the seed says
    #[arg(long, default_value = "both", value_parser = ["plain", "engine", "both"])]
    store: String,
    /// Measures how the control plane grows with the cluster
    #[arg(long)]
    scale: bool,
    #[command(flatten)]
    scaled: ScaleArguments,
    /// Prints every failed seed at once
    #[arg(long)]
    verbose: bool,
    /// A deliberate bug to switch on
    #[cfg(feature = "mutations")]
    #[arg(long)]
    mutation: Option<String>,
    /// Switches every deliberate bug on, one at a time (or the one of `--mutation`), until a seed catches it
    #[cfg(feature = "mutations")]
    #[arg(long)]
    hunt: bool,
    /// With --hunt: each bug with the seed that caught it once, and no other
    #[cfg(feature = "mutations")]
    #[arg(long, requires = "hunt")]
    known: bool,
    /// With --hunt: the seeds that catch them become the known ones
    #[cfg(feature = "mutations")]
    #[arg(long, requires = "hunt", conflicts_with = "known")]
    remember: bool,
}

/// What `--scale` measures.
#[derive(Debug, clap::Args)]
struct ScaleArguments {
    /// With --scale: sizes of clusters, with commas
    #[arg(long, value_delimiter = ',', requires = "scale", default_values_t = scale::Options::default().sizes)]
    sizes: Vec<usize>,
    /// With --scale: datagrams lost of a million
    #[arg(long, requires = "scale", default_value_t = scale::Options::default().loss_per_million)]
    loss: u64,
    /// With --scale: paces as for a cluster of so many members, however many there are
    #[arg(long, requires = "scale")]
    paced_for: Option<usize>,
    /// With --scale: one node in a hundred stalls for this many seconds all the time
    #[arg(long, requires = "scale", default_value_t = 0)]
    stalls: u64,
    /// With --scale: where to draw it
    #[arg(long, requires = "scale")]
    svg: Option<PathBuf>,
}

impl ScaleArguments {
    fn run(self, seed: u64) -> ExitCode {
        let options = scale::Options {
            seed,
            sizes: self.sizes,
            loss_per_million: self.loss,
            paced_for: self.paced_for,
            stall_s: self.stalls,
            ..scale::Options::default()
        };
        let report = scale::run(&options);
        println!("{report}");
        if let Some(path) = &self.svg
            && let Err(error) = report.draw(path)
        {
            println!("{error}");
            return ExitCode::FAILURE;
        }
        if report.is_stable() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl Arguments {
    fn options(&self) -> Options {
        let kinds = self.faults.iter().fold(0, |kinds, kind| kinds | 1 << kind);
        Options {
            kinds: if kinds == 0 { Options::default().kinds } else { Kinds(kinds) },
            work: Work::Mixed,
            keeps_story: self.story,
            store: [StoreKind::Plain, StoreKind::Engine].into_iter().find(|kind| kind.name() == self.store),
            #[cfg(feature = "mutations")]
            mutation: self.mutation.as_deref().map(|name| sim::hunt::by_name(name).expect("a deliberate bug's name")),
            #[cfg(not(feature = "mutations"))]
            mutation: None,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.scale {
        return arguments.scaled.run(arguments.seed);
    }
    let options = arguments.options();
    #[cfg(feature = "mutations")]
    if arguments.hunt {
        return hunt(&arguments, &options);
    }
    if let Some(adds) = arguments.set {
        return set(&arguments, adds);
    }
    if arguments.seeds == 1 { one(arguments.seed, &options) } else { many(&arguments, &options) }
}

fn set(arguments: &Arguments, adds: u32) -> ExitCode {
    let kinds = if arguments.faults.is_empty() { sim::set::SPLITS } else { arguments.options().kinds };
    let rows = sim::set::compare(arguments.seed, arguments.seeds, adds, kinds);
    print!("{}", sim::set::table(&rows));
    let broken = rows.iter().flat_map(|row| &row.reports).find_map(|report| Some((report.seed, report.verdict()?)));
    let is_complete = rows.iter().flat_map(|row| &row.reports).all(|report| report.tally.set_added == u64::from(adds));
    if let Some((seed, why)) = &broken {
        println!("seed {seed}: {why}");
    } else if !is_complete {
        println!("not all could be added in time");
    }
    if broken.is_none() && is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
    if cfg!(panic = "abort") {
        println!("in this build a panic ends everything; with --profile sim it is a finding with a seed");
    }
    let begun = std::time::Instant::now();
    let summary = campaign(arguments.seed, arguments.seeds, options, |report| {
        if let (true, Some(why)) = (arguments.verbose, report.verdict()) {
            println!("seed {}: {why}", report.seed);
        }
    });
    print!("{}", summary.text());
    println!("{} seeds in {:.1} s, hash of all: {:016x}", summary.runs, begun.elapsed().as_secs_f64(), summary.hash);
    if let Some((seed, _)) = summary.failures.first() {
        println!("{} of {} seeds failed; the first again, with its story:", summary.failures.len(), summary.runs);
        let report = sim::run(*seed, &Options { keeps_story: true, ..options.clone() });
        print!("{}", report.story);
        return conclude(&report);
    }
    match summary.gates(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(gate) => {
            println!("the campaign proves nothing: {gate}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(feature = "mutations")]
fn hunt(arguments: &Arguments, options: &Options) -> ExitCode {
    use annulus_cluster::mutation::Mutation;
    use sim::hunt::known;
    if cfg!(panic = "abort") {
        println!("in this build a panic ends everything: hunt with --profile sim instead of --release");
        return ExitCode::FAILURE;
    }
    // Assertions that a bug breaks are what is looked for.
    std::panic::set_hook(Box::new(|_| {}));
    let begun = std::time::Instant::now();
    let seeds = if arguments.seeds == 1 { sim::hunt::SEEDS } else { arguments.seeds };
    let all = Mutation::ALL.iter().copied();
    let wanted: Vec<Mutation> = all.filter(|mutation| options.mutation.is_none_or(|only| only == *mutation)).collect();
    println!("| bug | what is wrong then | seed | broken |\n|---|---|---|---|");
    let mut caught = Vec::new();
    for mutation in &wanted {
        let hunted = if arguments.known {
            known::replay(*mutation, options).map_err(|unknown| println!("{unknown}"))
        } else {
            Ok(sim::hunt::hunt(*mutation, arguments.seed, seeds, options))
        };
        let Ok(hunted) = hunted else { continue };
        println!("{}", hunted.row());
        caught.extend(hunted.caught.is_some().then_some(hunted));
    }
    let within = if arguments.known { "by their known seeds".to_owned() } else { format!("within {seeds} seeds") };
    let spent = begun.elapsed().as_secs_f64();
    println!("{} of {} bugs were caught {within}, in {spent:.1} s", caught.len(), wanted.len());
    let is_complete = caught.len() == wanted.len();
    if arguments.remember && is_complete && options.mutation.is_none() {
        match known::remember(&caught) {
            Ok(path) => println!("remembered in {}", path.display()),
            Err(error) => println!("not remembered: {error}"),
        }
    }
    if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
