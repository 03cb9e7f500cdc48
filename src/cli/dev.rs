//! The command line of `annulus dev`.
//!
//! Invariant: flags that start a cluster and commands to a running one never mix.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::dev::Request;
use crate::dev::command::{Command, Direction};
use crate::dev::plan::Options;

/// Where a local cluster is kept unless told.
const DIRECTORY: &str = "./annulus-dev";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct DevFlags {
    #[command(subcommand)]
    told: Option<Told>,
    /// How many nodes; node i listens on 127.0.0.1, base port plus 100·i
    #[arg(long, value_name = "N", default_value_t = 3)]
    nodes: u16,
    /// Where data, logs and the secret are kept; a cluster that was there before goes on
    #[arg(long, value_name = "DIR", default_value = DIRECTORY)]
    dir: PathBuf,
    /// Port of node 0's clients
    #[arg(long, value_name = "P", default_value_t = 7379)]
    base_port: u16,
    /// Cores of each node
    #[arg(long, value_name = "N", default_value_t = 1)]
    cores: u16,
    /// Nodes talk without relays between them: faster, and nothing can be cut
    #[arg(long)]
    direct: bool,
    /// Flags of `annulus serve` for every node, behind --
    #[arg(last = true, value_name = "FLAG")]
    flags: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Told {
    /// End a node with SIGKILL; heal starts it again
    Kill(Which),
    /// Stop a node with SIGSTOP; heal lets it go on
    Pause(Which),
    /// Cut the links of a node to all others
    Cut {
        #[command(flatten)]
        which: Which,
        /// Which way nothing passes
        #[arg(long, value_enum, default_value = "both")]
        way: Direction,
    },
    /// Delay whatever a node sends to others or gets from them
    Slow {
        #[command(flatten)]
        which: Which,
        /// By how much
        #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(..=60_000))]
        ms: u64,
    },
    /// Undo whatever was done to a node
    Heal(Which),
}

#[derive(Debug, Args)]
struct Which {
    /// The node, from 0
    #[arg(value_name = "N")]
    node: usize,
    /// Where the cluster was started
    #[arg(long, value_name = "DIR", default_value = DIRECTORY)]
    dir: PathBuf,
}

impl DevFlags {
    /// What is wanted.
    pub(super) fn request(self) -> Request {
        let Self { told, nodes, dir, base_port, cores, direct, flags } = self;
        let Some(told) = told else {
            let options = Options { nodes, directory: dir, base_port, cores, is_direct: direct, flags };
            return Request::Run(options);
        };
        let (which, command) = match told {
            Told::Kill(which) => (which, Command::Kill as fn(usize) -> Command),
            Told::Pause(which) => (which, Command::Pause as fn(usize) -> Command),
            Told::Heal(which) => (which, Command::Heal as fn(usize) -> Command),
            Told::Cut { which, way } => return tell(which.dir, Command::Cut(which.node, way)),
            Told::Slow { which, ms } => {
                return tell(which.dir, Command::Slow(which.node, Duration::from_millis(ms)));
            }
        };
        tell(which.dir, command(which.node))
    }
}

fn tell(directory: PathBuf, command: Command) -> Request {
    Request::Tell { directory, command }
}

#[cfg(test)]
mod tests {
    use super::super::{Invocation, parse_from};
    use super::*;
    use std::ffi::OsString;

    fn request(line: &str) -> Result<Request, String> {
        let no_machine = || Err("nothing of the machine is asked".to_owned());
        match parse_from(line.split_whitespace().map(OsString::from), no_machine) {
            Ok(Invocation::Dev(request)) => Ok(request),
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => Err(refusal.text),
        }
    }

    #[test]
    fn a_cluster_is_run_or_told() {
        let Ok(Request::Run(options)) = request("annulus dev") else { panic!("run") };
        assert_eq!((options.nodes, options.base_port, options.cores, options.is_direct), (3, 7379, 1, false));
        let line = "annulus dev --nodes 5 --dir /d --base-port 9000 --cores 2 --direct -- --durability memory";
        let Ok(Request::Run(options)) = request(line) else { panic!("run") };
        assert_eq!((options.nodes, options.flags), (5, vec!["--durability".to_owned(), "memory".to_owned()]));
        let told = |line: &str| match request(line) {
            Ok(Request::Tell { directory, command }) => format!("{} {command}", directory.display()),
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(told("annulus dev kill 2"), "./annulus-dev kill 2");
        assert_eq!(told("annulus dev pause 0 --dir /d"), "/d pause 0");
        assert_eq!(told("annulus dev cut 1 --way out"), "./annulus-dev cut 1 out");
        assert_eq!(told("annulus dev slow 1 --ms 20"), "./annulus-dev slow 1 20");
        assert_eq!(told("annulus dev heal 1"), "./annulus-dev heal 1");
        for line in ["annulus dev kill", "annulus dev kill x", "annulus dev --nodes 3 kill 1", "annulus dev burn 1"] {
            assert!(request(line).is_err(), "{line}");
        }
    }
}
