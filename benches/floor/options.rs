//! The command line, and the sizes of a run that follow from it.

use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Messages over loopback sockets.
    Echo,
    /// Durable appends.
    Append,
    /// Random reads.
    Reads,
    /// All of them.
    All,
}

impl Part {
    /// Whether `part` is asked for.
    pub fn includes(self, part: Part) -> bool {
        self == Part::All || self == part
    }
}

/// Measures what the raw machine does.
#[derive(Debug, Parser)]
#[command(name = "floor")]
pub struct Arguments {
    /// What to measure.
    #[arg(value_enum, default_value = "all")]
    pub part: Part,
    /// How long each measurement takes.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Where the files are made; it has to be on the disk in question.
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    directory: PathBuf,
    /// Size of the file that is read; appends use up to 256 MiB of it.
    #[arg(long, default_value_t = 1 << 30, value_parser = clap::value_parser!(u64).range(1 << 20..=1 << 40))]
    bytes: u64,
    /// Connections of the echo.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=4096))]
    connections: u32,
    /// One JSON object instead of lines.
    #[arg(long)]
    pub json: bool,
    /// Given by `cargo bench`; without it the run is a trial.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The sizes of a run.
#[derive(Debug)]
pub struct Options {
    /// Only to see whether it works.
    pub is_trial: bool,
    /// How long each measurement takes.
    pub duration: Duration,
    /// How long it runs before that unmeasured.
    pub warm_up: Duration,
    /// Where files are made.
    pub directory: PathBuf,
    /// Size of the file that is read.
    pub read_bytes: u64,
    /// Size of the file that is appended to.
    pub append_bytes: u64,
    /// Connections of the echo.
    pub connections: usize,
}

/// Appends begin again at the front of their file after so many bytes.
const APPEND_BYTES_MAX: u64 = 256 << 20;
/// File sizes are multiples of this: the largest write.
const UNIT_BYTES: u64 = 1 << 20;

impl Options {
    /// What the arguments ask for.
    pub fn new(arguments: &Arguments) -> Options {
        let is_trial = !arguments.bench;
        let bytes = if is_trial { UNIT_BYTES } else { arguments.bytes.next_multiple_of(UNIT_BYTES) };
        let duration = if is_trial { Duration::from_millis(5) } else { Duration::from_secs(arguments.seconds) };
        let connections = if is_trial { 4 } else { arguments.connections as usize };
        Options {
            is_trial,
            duration,
            warm_up: (duration / 10).min(Duration::from_secs(1)),
            directory: arguments.directory.clone(),
            read_bytes: bytes,
            append_bytes: bytes.min(APPEND_BYTES_MAX),
            connections,
        }
    }
}
