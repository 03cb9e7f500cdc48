//! What can be wrong with `node.meta`, and what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::{FILE_NAME, FORMAT_VERSION};

/// Why `node.meta` cannot be used. None of them is repaired by starting anew in the same directory.
#[derive(Debug)]
pub enum MetaError {
    /// The file system failed.
    Io {
        /// What was being done.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The directory holds logs but no `node.meta`: without its hash key they cannot be read.
    Missing(PathBuf),
    /// The file has not the length it is written with.
    WrongSize {
        /// Its bytes.
        found: u64,
        /// The bytes it should have.
        expected: u64,
    },
    /// The file is not ours.
    Foreign,
    /// A later version of this program wrote it.
    NewerFormat {
        /// Its format version.
        found: u32,
    },
    /// No two copies agree.
    Damaged {
        /// Copies with a right checksum.
        valid: usize,
    },
    /// An earlier save failed: what is on the disk is uncertain until the next start.
    Poisoned,
    /// Every incarnation of the node was used.
    IncarnationsUsedUp,
    /// The system gives no random bytes.
    Random(String),
}

impl fmt::Display for MetaError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { action, path, error } => write!(formatter, "cannot {action} {}: {error}", path.display()),
            Self::Missing(directory) => write!(
                formatter,
                "{} holds logs but no {FILE_NAME}; restore that file from a backup, or use another data directory",
                directory.display()
            ),
            Self::WrongSize { found, expected } => {
                write!(formatter, "{FILE_NAME} has {found} bytes instead of {expected}; restore it from a backup")
            }
            Self::Foreign => {
                write!(formatter, "{FILE_NAME} was not written by this program; use another data directory")
            }
            Self::NewerFormat { found } => write!(
                formatter,
                "{FILE_NAME} has format {found}, this version knows up to {FORMAT_VERSION}; use the newer version"
            ),
            Self::Damaged { valid } => write!(
                formatter,
                "{FILE_NAME} is damaged: of its four copies {valid} are readable and no two agree; restore it from a backup"
            ),
            Self::Poisoned => write!(formatter, "an earlier save of {FILE_NAME} failed; restart the node"),
            Self::IncarnationsUsedUp => formatter.write_str(
                "every incarnation of this node was used: have it removed from the cluster, and start it with an empty directory",
            ),
            Self::Random(text) => write!(formatter, "the system gives no random bytes: {text}"),
        }
    }
}

impl std::error::Error for MetaError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}
