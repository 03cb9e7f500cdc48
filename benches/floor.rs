//! What the raw machine does, so that the node's figures can be set beside it: an echo server on a ring, appends that are
//! durable one by one, and random reads; on the `io-uring` crate directly, with SINGLE_ISSUER and DEFER_TASKRUN.
//!
//! `cargo bench --bench floor -- [echo|append|reads|all] [--seconds N] [--directory DIR] [--bytes N] [--json]`; without
//! `--bench`, as under `cargo test`, every part runs for a few milliseconds on a file of 1 MiB.
//!
//! What it is not: no node, no protocol, no executor, and no criterion: one long run says more of a disk than many short
//! ones. It listens on 127.0.0.1 only, and its files have no name any more while they are used.

#[path = "support/random.rs"]
mod random;

mod floor {
    pub mod append;
    pub mod direct_file;
    pub mod echo;
    pub mod echo_side;
    pub mod error;
    pub mod meter;
    pub mod options;
    pub mod reads;
    pub mod report;
    pub mod ring;
}

use clap::Parser;
use floor::error::FloorError;
use floor::options::{Arguments, Options, Part};
use floor::report::Report;
use floor::{append, echo, reads};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options::new(&arguments);
    let mut report = Report::new(arguments.json);
    for (part, run) in [
        (Part::Echo, echo::run as fn(&Options, &mut Report) -> Result<(), FloorError>),
        (Part::Append, append::run),
        (Part::Reads, reads::run),
    ] {
        if !arguments.part.includes(part) {
            continue;
        }
        match run(&options, &mut report) {
            Ok(()) => {}
            // A test of this program on a machine that cannot do it says so; a measurement fails.
            Err(error) if options.is_trial && error.is_refusal() => report.note(&format!("{part:?} skipped: {error}")),
            Err(error) => {
                eprintln!("floor: {part:?}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    report.finish();
    ExitCode::SUCCESS
}
