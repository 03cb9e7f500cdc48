//! The `annulus` binary: parses the command line and calls what it asks for.

use std::io::Write;
use std::process::ExitCode;

use annulus::cli::{self, Invocation};

/// Many small buffers of like sizes come and go on every core; this allocator gives each thread its own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let invocation = match cli::parse() {
        Ok(invocation) => invocation,
        Err(refusal) => {
            if refusal.code == 0 {
                print(&refusal.text);
            } else {
                eprintln!("{}", refusal.text);
            }
            return ExitCode::from(refusal.code);
        }
    };
    match invocation {
        Invocation::Serve(config) => match annulus::boot::serve(*config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("annulus: {error}");
                ExitCode::from(error.exit_code())
            }
        },
        Invocation::Check(config) => {
            let report = annulus::check::run(&config, annulus::check::Ports::Probe);
            print(&report.to_string());
            ExitCode::from(if report.failed() { cli::EXIT_PREFLIGHT } else { 0 })
        }
        Invocation::Admin(question) => match annulus::admin::run(&question) {
            Ok(text) => {
                print(&text);
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("annulus: {error}");
                ExitCode::from(error.exit_code())
            }
        },
        Invocation::Restore(restore) => match annulus::restore::run(&restore) {
            Ok(text) => {
                print(&text);
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("annulus: {error}");
                ExitCode::from(cli::EXIT_FAILED)
            }
        },
        Invocation::Dev(request) => match annulus::dev::run(&request) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("annulus: {error}");
                ExitCode::from(error.exit_code())
            }
        },
        Invocation::Version => {
            print(&cli::version_text());
            ExitCode::SUCCESS
        }
        Invocation::Completions(shell) => {
            cli::write_completions(shell, &mut std::io::stdout().lock());
            ExitCode::SUCCESS
        }
    }
}

fn print(text: &str) {
    // A closed pipe is the reader's choice.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
