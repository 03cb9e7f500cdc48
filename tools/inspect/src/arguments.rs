//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Reads Annulus data directories and single files, live or copied, and never writes to them
#[derive(Debug, Parser)]
#[command(
    name = "annulus-inspect",
    version,
    after_help = "Exit codes: 0 all is well; 1 it could not be done, or `get` found no value; 2 damage or differences were found.\n\
                  Keys are printed, and given, with \\xNN for what is not printable and \\\\ for a backslash."
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List partitions and the log: files, keys, live and dead bytes, times, hash tree roots
    Ls {
        /// A data directory, a directory of partition files, or a file
        path: PathBuf,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print records
    Dump {
        /// A data directory, a directory of partition files, or a file
        path: PathBuf,
        /// Which
        #[command(flatten)]
        filter: FilterArguments,
        /// Those that do not count any more, too
        #[arg(long)]
        all: bool,
        /// One JSON object a line, with whole values
        #[arg(long)]
        json: bool,
    },
    /// Print a key's current record: where it lies, who wrote it and when, and its value
    Get {
        /// A data directory, a directory of partition files, or a file
        path: PathBuf,
        /// The key
        key: String,
        /// Only the value's bytes
        #[arg(long)]
        raw: bool,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Check every checksum and every rule of the formats
    Verify {
        /// Data directories, directories of partition files, or files
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// As one JSON object a path, one a line
        #[arg(long)]
        json: bool,
    },
    /// Print the root of every partition's hash tree
    Merkle {
        /// A data directory, a directory of partition files, or a file
        path: PathBuf,
        /// The leaves of this partition
        #[arg(long, value_name = "PARTITION")]
        leaves: Option<u16>,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Compare what counts on two sides: data directories, or copies of one partition
    Diff {
        /// One side
        a: PathBuf,
        /// The other
        b: PathBuf,
        /// Print at most so many keys
        #[arg(long, default_value_t = 100)]
        max: usize,
        /// Compare the contents of versions that have the same dot, too
        #[arg(long)]
        values: bool,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Copy what is sound into new files
    Salvage {
        /// A data directory, a directory of partition files, or a file
        source: PathBuf,
        /// A directory that does not exist yet
        destination: PathBuf,
    },
    /// Print histograms of sizes and ages
    Stats {
        /// A data directory, a directory of partition files, or a file
        path: PathBuf,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Which records to print.
#[derive(Debug, Default, Args)]
pub struct FilterArguments {
    /// Only this key
    #[arg(long, conflicts_with = "prefix")]
    pub key: Option<String>,
    /// Only keys that begin so
    #[arg(long)]
    pub prefix: Option<String>,
    /// Only this partition
    #[arg(long)]
    pub partition: Option<u16>,
    /// Only hashes from this one on: up to 32 hexadecimal digits, the first ones suffice
    #[arg(long, value_name = "HASH")]
    pub from: Option<String>,
    /// Only hashes up to this one, and those that begin with it
    #[arg(long, value_name = "HASH")]
    pub to: Option<String>,
}
