//! The project's own chores, run as `cargo xtask NAME`: ci, tidy, soak, clients, bench, placement.
//!
//! Not part of the product. A chore prints what it does and ends with a status other than 0 when anything failed.

#![allow(clippy::print_stdout, reason = "a command-line tool speaks on stdout")]

mod bench;
mod ci;
mod clients;
mod placement;
mod shell;
mod soak;
mod tidy;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own chores")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Everything that the server runs: format, lints, documentation, tidy, tests, kill rounds, clients
    Ci,
    /// What rustc and clippy do not check: who may name what, lengths, layout, links, licences
    Tidy,
    /// Kill rounds for a long time
    Soak(soak::Arguments),
    /// Unmodified clients of other languages against a release node with two cores, and against three of which one dies
    Clients(clients::Arguments),
    /// Annulus beside Redis and Valkey: throughput, CPU time per request, latencies, as ratios
    Bench(bench::Arguments),
    /// How evenly partitions are placed, beside the strategies of the Dynamo paper, and what moves when nodes join and leave
    Placement(placement::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.chore {
        Chore::Ci => ci::run(),
        Chore::Tidy => tidy::run(),
        Chore::Soak(arguments) => soak::run(&arguments),
        Chore::Clients(arguments) => clients::run(&arguments),
        Chore::Bench(arguments) => bench::run(&arguments),
        Chore::Placement(arguments) => placement::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}
