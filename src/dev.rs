//! `annulus dev`: a cluster of real processes of this binary on one machine, and failures by hand.
//!
//! ```text
//! annulus dev ──┬─ node-0 … node-N   children, each with a directory and a log; Ctrl-C ends them in order
//!               ├─ relay             every link between two nodes goes through it
//!               ├─ status            one thread per node asks it how it stands
//!               └─ control ◀──────── annulus dev kill|pause|cut|slow|heal N, annulus-load torture --faults
//! ```
//!
//! [`plan`] places the nodes, `supervisor` runs them, [`relay`] fails between them, `control` takes commands, `state` is
//! the file by which they are found.
//!
//! Invariant: only processes that this process started are ended, and none outlives it unless it is killed itself; those are
//! ended by the next one in the same directory.

pub mod command;
mod control;
pub mod plan;
mod process;
pub mod relay;
mod state;
mod status;
mod supervisor;

use std::path::{Path, PathBuf};

use command::Command;
use plan::Options;

/// Why there is no local cluster, or why it was not told.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// An option cannot be.
    #[error("{0}")]
    Usage(String),
    /// Another process has the directory.
    #[error("{0}")]
    Held(String),
    /// There is no local cluster to talk to.
    #[error("no `annulus dev` runs in {}; is --dir the one that it was started with?", .0.display())]
    NotRunning(PathBuf),
    /// Anything else, in words.
    #[error("{0}")]
    Failed(String),
}

impl DevError {
    /// The process' exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => crate::cli::EXIT_USAGE,
            _ => crate::cli::EXIT_FAILED,
        }
    }
}

/// What the user wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Run a local cluster until Ctrl-C.
    Run(Options),
    /// Tell a running one.
    Tell {
        /// Its directory.
        directory: PathBuf,
        /// What.
        command: Command,
    },
}

/// Does it; what it has to say goes to standard output on the way.
pub fn run(request: &Request) -> Result<(), DevError> {
    match request {
        Request::Run(options) => supervisor::run(options),
        Request::Tell { directory, command } => control::tell(directory, *command),
    }
}

fn failed(what: &Path, error: &std::io::Error) -> DevError {
    DevError::Failed(format!("{}: {error}", what.display()))
}
