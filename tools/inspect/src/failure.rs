//! Why the tool could not do what it was asked, with what to do about it. Damage is no failure: finding it is the tool's work.

use std::io;
use std::path::{Path, PathBuf};

use annulus::node_meta::MetaError;

/// Nothing, or nothing trustworthy, can be said.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The file system failed.
    #[error("cannot {action} {}: {error}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A file of a live directory was removed, again and again.
    #[error("{} is gone: the node removes files faster than they can be read; run this again, or on a copy", .0.display())]
    Vanished(PathBuf),
    /// Not ours.
    #[error("{} is {what}; give a data directory, a partition file (*.part) or a segment (*.log)", path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// Of a later version.
    #[error(
        "{} has format {found}, and this version reads up to {supported}; use the annulus-inspect of the version that wrote it",
        path.display()
    )]
    Newer {
        /// Which.
        path: PathBuf,
        /// As it says.
        found: u32,
        /// The newest that is read.
        supported: u32,
    },
    /// Nothing is left of it.
    #[error(
        "{} has {available} bytes, and its header alone takes {needed}: nothing can be read; take it from a copy or a replica",
        path.display()
    )]
    Truncated {
        /// Which.
        path: PathBuf,
        /// Bytes of the header.
        needed: u64,
        /// Bytes of the file.
        available: u64,
    },
    /// `node.meta` cannot be used.
    #[error("{}: {error}", path.display())]
    Meta {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: MetaError,
    },
    /// What was asked makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The reader of the output went away, or the output is full.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// A failure of the file system. A file that is not there may be there after another listing.
    pub fn io(action: &'static str, path: &Path, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Vanished(path.to_owned()),
            _ => Self::Io { action, path: path.to_owned(), error },
        }
    }
}
