//! `annulus admin restore`: a snapshot becomes a data directory, or one of its partitions becomes part of one again.
//!
//! It works on directories that no node has open, and copies: nothing of the snapshot is changed or shared.
//!
//! What it is not: it is not made in an instant that a crash would respect. A whole restore that was interrupted leaves a
//! directory that no node takes; one of a partition can be done again.
//!
//! Invariant: the snapshot is looked through before anything is written, and the next start takes a new incarnation, because
//! acknowledged writes that came after the snapshot may be lost.

mod newest;
mod partition;
mod records;
mod source;

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use annulus_engine::log_directory;
use annulus_engine::snapshot::ManifestError;

use crate::check::DataLock;
use crate::node_meta;

use source::Source;

/// Directory of the partition files.
const PARTITIONS: &str = "partitions";

/// What to restore where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restore {
    /// The snapshot's directory.
    pub snapshot: PathBuf,
    /// The data directory.
    pub data: PathBuf,
    /// One partition, into the directory of a node that does not run; `None`: everything, into one that is empty or not there.
    pub partition: Option<u16>,
}

/// Why nothing was restored, or not everything.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is none, or it is not whole.
    #[error("{}: this is no complete snapshot: {what}", .path.display())]
    NoSnapshot {
        /// Where.
        path: PathBuf,
        /// What is missing or wrong.
        what: String,
    },
    /// A manifest cannot be used.
    #[error("{}: {error}", .path.display())]
    Manifest {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: ManifestError,
    },
    /// What is in a file is not what should be.
    #[error("{}: {what}", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The data directory cannot take it.
    #[error("{0}")]
    Target(String),
    /// The file system failed.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> RestoreError + '_ {
    move |error| RestoreError::Io { path: path.to_owned(), error }
}

fn target(error: impl std::fmt::Display) -> RestoreError {
    RestoreError::Target(error.to_string())
}

/// Restores, and gives what to print.
pub fn run(restore: &Restore) -> Result<String, RestoreError> {
    let source = Source::open(&restore.snapshot)?;
    match restore.partition {
        Some(partition) => partition::restore(&source, &restore.data, partition),
        None => restore_all(&source, &restore.data),
    }
}

fn restore_all(source: &Source, data: &Path) -> Result<String, RestoreError> {
    DataLock::probe(data).map_err(target)?;
    match fs::read_dir(data) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                let data = data.display();
                return Err(target(format!("{data} is not empty: a snapshot is restored into a directory of its own")));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(at(data)(error)),
    }
    let _lock = DataLock::acquire(data).map_err(target)?;
    let layout = source.meta.layout;
    // The log's directories first: with them and without `node.meta` no node starts here.
    let logs = (0..source.meta.cores).map(|core| data.join(log_directory(layout, core)));
    let directories: Vec<PathBuf> = logs.chain([data.join(PARTITIONS)]).collect();
    for directory in &directories {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(at(directory))?;
    }
    sync_directory(data)?;
    let (mut files, mut segments, mut bytes) = (0, 0, 0);
    for manifest in &source.manifests {
        for file in &manifest.files {
            copy(&source.root.join(&file.path), &data.join(&file.path), file.bytes, file.bytes)?;
            (files, bytes) = (files + 1, bytes + file.bytes);
        }
        for segment in &manifest.segments {
            copy(&source.root.join(&segment.path), &data.join(&segment.path), segment.written, segment.bytes)?;
            (segments, bytes) = (segments + 1, bytes + segment.bytes);
        }
    }
    for directory in &directories {
        sync_directory(directory)?;
        directory.parent().map_or(Ok(()), sync_directory)?;
    }
    let mut meta = source.meta.clone();
    meta.clean = false;
    node_meta::write_new(data, &meta).map_err(target)?;
    let cores = source.meta.cores;
    Ok(format!(
        "restored {files} partition files and {segments} segments of {cores} cores, {bytes} bytes, to {}\nthe node takes a new incarnation when it starts",
        data.display()
    ))
}

/// Copies the first `bytes` of a file and makes the copy `length` long, with zeros that are really written: the log writes into
/// them in place.
fn copy(from: &Path, to: &Path, bytes: u64, length: u64) -> Result<(), RestoreError> {
    let mut source = File::open(from).map_err(at(from))?.take(bytes);
    let mut target = File::options().write(true).create_new(true).open(to).map_err(at(to))?;
    let copied = io::copy(&mut source, &mut target).map_err(at(to))?;
    if copied < bytes {
        let what = format!("it has {copied} of {bytes} bytes");
        return Err(RestoreError::Damaged { path: from.to_owned(), what });
    }
    io::copy(&mut io::repeat(0).take(length - bytes), &mut target).map_err(at(to))?;
    target.flush().and_then(|()| target.sync_all()).map_err(at(to))
}

fn sync_directory(path: &Path) -> Result<(), RestoreError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(at(path))
}
