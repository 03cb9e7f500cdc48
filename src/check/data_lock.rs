//! One process per data directory: an exclusive lock on `<data>/lock`, held as long as the process lives.
//!
//! The kernel releases it whatever way the process ends; the file itself stays and means nothing. What is written in it, the
//! holder's process id, is only for the message to who comes second.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Name of the file in the data directory.
const FILE_NAME: &str = "lock";

/// The lock, released when dropped.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

/// Why the lock cannot be had.
#[derive(Debug)]
pub enum LockError {
    /// Another process has it, with that id if it could be read.
    Held {
        /// The data directory.
        directory: PathBuf,
        /// The other process.
        holder: Option<u32>,
    },
    /// The file system failed or forbids it.
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl DataLock {
    /// Creates the directory if need be, readable by its owner alone, and takes the lock without waiting.
    pub fn acquire(directory: &Path) -> Result<Self, LockError> {
        let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        created.map_err(|error| LockError::Io { path: directory.to_owned(), error })?;
        let path = directory.join(FILE_NAME);
        let failed = |error: io::Error| LockError::Io { path: path.clone(), error };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(failed)?;
        lock(&mut file, FlockOperation::NonBlockingLockExclusive, directory, &path)?;
        file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(Self { _file: file })
    }

    /// Whether [`DataLock::acquire`] would get the lock now; changes nothing.
    pub fn probe(directory: &Path) -> Result<(), LockError> {
        let path = directory.join(FILE_NAME);
        let opened = File::open(&path);
        match opened {
            // Shared, so that checks do not disturb each other.
            Ok(mut file) => lock(&mut file, FlockOperation::NonBlockingLockShared, directory, &path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(LockError::Io { path, error }),
        }
    }
}

fn lock(file: &mut File, operation: FlockOperation, directory: &Path, path: &Path) -> Result<(), LockError> {
    match flock(&*file, operation) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(LockError::Held { directory: directory.to_owned(), holder: read_holder(file) }),
        Err(errno) => Err(LockError::Io { path: path.to_owned(), error: errno.into() }),
    }
}

fn read_holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

impl fmt::Display for LockError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { directory, holder: Some(holder) } => {
                write!(formatter, "{} is in use by process {holder}", directory.display())
            }
            Self::Held { directory, holder: None } => {
                write!(formatter, "{} is in use by another process", directory.display())
            }
            Self::Io { path, error } => write!(formatter, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for LockError {}
