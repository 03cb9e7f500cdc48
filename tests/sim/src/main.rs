//! `sim --scale`: how the control plane grows with the cluster.

#![allow(clippy::print_stdout, reason = "a program that tells")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use sim::scale;

/// Simulates clusters.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Arguments {
    /// The seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Measures how the control plane grows with the cluster
    #[arg(long)]
    scale: bool,
    /// Sizes of clusters, with commas
    #[arg(long, value_delimiter = ',', default_values_t = scale::Options::default().sizes)]
    sizes: Vec<usize>,
    /// Datagrams lost of a million
    #[arg(long, default_value_t = scale::Options::default().loss_per_million)]
    loss: u64,
    /// Paces as for a cluster of so many members, however many there are
    #[arg(long)]
    paced_for: Option<usize>,
    /// One node in a hundred stalls for this many seconds all the time
    #[arg(long, default_value_t = 0)]
    stalls: u64,
    /// Where to draw it
    #[arg(long)]
    svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.scale {
        println!("nothing to do");
        return ExitCode::FAILURE;
    }
    let options = scale::Options {
        seed: arguments.seed,
        sizes: arguments.sizes,
        loss_per_million: arguments.loss,
        paced_for: arguments.paced_for,
        stall_s: arguments.stalls,
        ..scale::Options::default()
    };
    let report = scale::run(&options);
    println!("{report}");
    if let Some(path) = &arguments.svg
        && let Err(error) = report.draw(path)
    {
        println!("{error}");
        return ExitCode::FAILURE;
    }
    if report.is_stable() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
