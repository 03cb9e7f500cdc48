//! One step of a snapshot in the background: directories, links, a piece of a copy, the manifest.
//!
//! It decides nothing but whether a link is possible at all.
//!
//! Invariant: a step that has ended well leaves only durable bytes behind a name that a later step makes durable.

use super::SnapshotError;
use crate::buffer::AlignedBuffer;
use crate::disk::{Disk, DiskError, File, OpenMode};
use crate::frame::BLOCK_BYTES;

/// What to do.
pub(crate) enum Step<F> {
    /// Looks whether the core's part is not there yet, and makes its directories.
    Begin { directory: String, log_directory: String, manifest: String },
    /// Gives files a second name: what they are called, and what they shall be called too.
    Link(Vec<(String, String)>),
    /// Copies a piece of a file.
    Copy(Piece<F>),
    /// Makes the names durable, and then the manifest.
    End { directories: Vec<String>, manifest: String, text: String },
}

/// A piece of a file that is copied.
pub(crate) struct Piece<F> {
    pub(crate) from: F,
    /// `None`: it is made, at `path`.
    pub(crate) to: Option<F>,
    pub(crate) path: String,
    pub(crate) offset: u64,
    pub(crate) bytes: usize,
    /// The copy's length when it is the last piece: what is not copied is a hole.
    pub(crate) length: Option<u64>,
}

/// What a step has done.
pub(crate) enum Stepped<F> {
    Begun,
    /// Those of the links, by their number, that the file system does not make.
    Linked(Vec<usize>),
    Copied(F),
    Ended,
}

/// How a step ended, and of which snapshot it was.
pub(crate) struct StepDone<F> {
    pub(crate) id: u64,
    pub(crate) result: Result<Stepped<F>, SnapshotError>,
}

impl<F: File> Step<F> {
    /// Does it.
    pub(crate) async fn run<D: Disk<File = F>>(self, disk: &D) -> Result<Stepped<F>, SnapshotError> {
        match self {
            Step::Begin { directory, log_directory, manifest } => {
                begin(disk, &directory, &log_directory, &manifest).await.map(|()| Stepped::Begun)
            }
            Step::Link(links) => link(disk, links).await.map(Stepped::Linked),
            Step::Copy(piece) => {
                let path = piece.path.clone();
                copy(disk, piece).await.map(Stepped::Copied).map_err(|error| SnapshotError::Disk { path, error })
            }
            Step::End { directories, manifest, text } => {
                for path in directories {
                    disk.sync_directory(&path).await.map_err(|error| SnapshotError::Disk { path, error })?;
                }
                let written = write(disk, &manifest, text.as_bytes()).await;
                written.map_err(|error| SnapshotError::Disk { path: manifest, error })?;
                Ok(Stepped::Ended)
            }
        }
    }
}

async fn begin<D: Disk>(disk: &D, directory: &str, log_directory: &str, manifest: &str) -> Result<(), SnapshotError> {
    let at = |path: &str| {
        let path = path.to_owned();
        move |error| SnapshotError::Disk { path, error }
    };
    let names = disk.list(directory).await.map_err(at(directory))?;
    let logs = disk.list(log_directory).await.map_err(at(log_directory))?;
    let manifest_name = manifest.rsplit('/').next().unwrap_or(manifest);
    if names.iter().any(|name| name == manifest_name) || !logs.is_empty() {
        return Err(SnapshotError::NotEmpty(directory.to_owned()));
    }
    for path in [directory, &format!("{directory}/{}", crate::partition_files::DIRECTORY), log_directory] {
        disk.create_directory(path).await.map_err(at(path))?;
    }
    Ok(())
}

async fn link<D: Disk>(disk: &D, links: Vec<(String, String)>) -> Result<Vec<usize>, SnapshotError> {
    let mut impossible = Vec::new();
    for (number, (from, to)) in links.into_iter().enumerate() {
        match disk.link(&from, &to).await {
            Ok(()) => {}
            Err(error) if error.is_no_link() => impossible.push(number),
            Err(error) => return Err(SnapshotError::Disk { path: to, error }),
        }
    }
    Ok(impossible)
}

async fn copy<D: Disk>(disk: &D, piece: Piece<D::File>) -> Result<D::File, DiskError> {
    let Piece { from, to, path, offset, bytes, length } = piece;
    let to = match to {
        Some(to) => to,
        None => disk.open(&path, OpenMode::Prepare).await?,
    };
    let buffer = from.read_at(offset, bytes).await?;
    if buffer.len() < bytes {
        return Err(DiskError::Short { what: "read", bytes: buffer.len() as u64, expected: bytes as u64 });
    }
    to.write_at(offset, buffer, 0).await?;
    if let Some(length) = length {
        if offset + (bytes as u64) < length {
            let mut zeros = AlignedBuffer::default();
            zeros.resize_zeroed(BLOCK_BYTES);
            to.write_at(length - BLOCK_BYTES as u64, zeros, 0).await?;
        }
        to.sync().await?;
    }
    Ok(to)
}

/// Writes a whole file and makes it durable, its name included. A part of it is told from the whole by its last line.
async fn write<D: Disk>(disk: &D, path: &str, bytes: &[u8]) -> Result<(), DiskError> {
    let file = disk.open(path, OpenMode::Prepare).await?;
    let mut buffer = AlignedBuffer::with_capacity(bytes.len().next_multiple_of(BLOCK_BYTES));
    buffer.extend_from_slice(bytes);
    buffer.resize_zeroed(bytes.len().next_multiple_of(BLOCK_BYTES));
    file.write_at(0, buffer, 0).await?;
    file.truncate(bytes.len() as u64).await?;
    file.sync().await?;
    let (directory, _) = path.rsplit_once('/').unwrap_or(("", path));
    disk.sync_directory(directory).await
}
