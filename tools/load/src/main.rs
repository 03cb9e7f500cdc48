//! `annulus-load`: makes load over the Redis protocol, and says what came of it.
//!
//! By default requests leave when they are due, whatever the replies do (open loop), and latency counts from then: a server
//! that stalls cannot hide it. `--closed` sends the next request when a reply has come, which finds the highest throughput.
//!
//! `torture` is about what is kept rather than about speed: see [`torture`].
//!
//! [`mod@run`] owns the threads, [`worker`] one of them with its sockets, [`load`] what it sends and what it makes of replies.

#![allow(clippy::cast_precision_loss, reason = "counts become figures to read")]

mod arguments;
mod compare;
mod connection;
mod content;
mod endpoints;
mod ledger;
mod load;
mod reply;
mod report;
mod run;
mod schedule;
mod settings;
mod sweep;
mod tally;
mod torture;
mod worker;
mod workload;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Chore, RunArguments};
use endpoints::Endpoints;
use report::Report;

/// The values were not what was written.
const EXIT_VERIFICATION: u8 = 3;
/// No request was answered, or the load could not be made at all.
const EXIT_FAILED: u8 = 1;

fn main() -> ExitCode {
    let result = match Arguments::parse().chore {
        Chore::Run(arguments) => run(&arguments),
        Chore::Torture(options) => torture::run(&options),
        Chore::Compare { a, b } => {
            compare::run(&a, &b, &mut std::io::stdout().lock()).map(|()| ExitCode::SUCCESS).map_err(Into::into)
        }
    };
    result.unwrap_or_else(|error| {
        // Nobody may be reading.
        let _ = writeln!(std::io::stderr(), "annulus-load: {error}");
        ExitCode::from(EXIT_FAILED)
    })
}

fn run(arguments: &RunArguments) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let settings = arguments.settings()?;
    let endpoints = match arguments.cluster {
        true => Endpoints::cluster(&arguments.endpoint)?,
        false => Endpoints::single(&arguments.endpoint)?,
    };
    let mut report = match arguments.slo {
        None => run::run(&settings, &endpoints, arguments.quiet)?,
        Some(slo) => {
            let slo_us = slo.as_secs_f64() * 1e6;
            let mut preloaded = false;
            let (steps, mut report) = sweep::search(arguments.first_rate(), slo_us, |rate| {
                let settings = arguments.at_rate(&settings, rate, !std::mem::replace(&mut preloaded, true));
                run::run(&settings, &endpoints, arguments.quiet)
            })?;
            report.sweep = steps;
            report.slo_us = Some(slo_us);
            report
        }
    };
    report.endpoint.clone_from(&arguments.endpoint);
    report.workload = arguments.workload_name();
    write_report(arguments, &report)?;
    let verified = report.verification.as_ref().is_none_or(|found| found.mismatches == 0 && found.lost == 0);
    Ok(match (verified, report.replies) {
        (false, _) => ExitCode::from(EXIT_VERIFICATION),
        (true, 0) => ExitCode::from(EXIT_FAILED),
        (true, _) => ExitCode::SUCCESS,
    })
}

fn write_report(arguments: &RunArguments, report: &Report) -> Result<(), Box<dyn std::error::Error>> {
    let named =
        |path: &std::path::Path, error: std::io::Error| format!("{} cannot be written: {error}", path.display());
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(report)?).map_err(|error| named(path, error))?;
    }
    if let Some(path) = &arguments.html {
        std::fs::write(path, report::page::render(report)?).map_err(|error| named(path, error))?;
    }
    report::text::write(report, &mut std::io::stdout().lock())?;
    Ok(())
}
