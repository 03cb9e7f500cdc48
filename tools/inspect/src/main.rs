//! `annulus-inspect`: looks into data directories and single files without a node, and never writes to them.
//!
//! ```text
//! listing ── which files ──▶ log, partition_file ──▶ state ──▶ commands
//!                            frames that count,      which of a key's versions counts
//!                            runs of a file
//! ```
//!
//! [`store`] opens a path and hands out partitions one at a time, each as a start of the node would see it. [`finding`] is what
//! is wrong with the files, [`failure`] why the tool could not do its work.

mod arguments;
mod commands;
mod failure;
mod finding;
mod listing;
mod log;
mod map;
mod partition_file;
mod run;
mod run_writer;
mod source;
mod state;
mod store;
mod text;
mod version;
mod walk;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};
use commands::Verdict;
use failure::Failure;

const EXIT_FAILED: u8 = 1;
const EXIT_FOUND: u8 = 2;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody may be reading.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { EXIT_FAILED } else { 0 });
        }
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let result = run(arguments.command, &mut out);
    let flushed = out.flush().map_err(Failure::Output);
    match result.and_then(|verdict| flushed.map(|()| verdict)) {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::Absent) => ExitCode::from(EXIT_FAILED),
        Ok(Verdict::Found) => ExitCode::from(EXIT_FOUND),
        // Whoever has read enough is not told.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "annulus-inspect: {failure}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn run(command: Command, out: &mut dyn Write) -> Result<Verdict, Failure> {
    match command {
        Command::Ls { path, json } => commands::ls::run(&path, json, out),
        Command::Dump { path, filter, all, json } => commands::dump::run(&path, &filter, all, json, out),
        Command::Get { path, key, raw, json } => commands::get::run(&path, &key, raw, json, out),
        Command::Verify { paths, json } => commands::verify::run(&paths, json, out),
        Command::Merkle { path, leaves, json } => commands::merkle::run(&path, leaves, json, out),
        Command::Diff { a, b, max, values, json } => {
            commands::diff::run(&a, &b, &commands::diff::Options { max, values, json }, out)
        }
        Command::Salvage { source, destination } => commands::salvage::run(&source, &destination, out),
        Command::Stats { path, json } => commands::stats::run(&path, json, out),
    }
}
