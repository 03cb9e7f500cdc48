//! The file itself: found it atomically, read it, save it in place in two halves.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::block::{self, BLOCK_BYTES, COPIES, FILE_BYTES};
use super::error::MetaError;
use super::{FILE_NAME, NodeMeta};

/// Written first and then renamed when a node is founded; a leftover is overwritten.
const FOUNDING_NAME: &str = "node.meta.founding";
/// Directories of the hot log begin so.
const LOG_PREFIX: &str = "log-";

/// The open file of a node that runs.
#[derive(Debug)]
pub struct MetaFile {
    file: File,
    path: PathBuf,
    /// Of the last save, or the largest seen.
    generation: u64,
    /// A save failed: what a later one would leave behind is unknown.
    is_poisoned: bool,
}

/// What `directory` says about the node, `None` when no node was founded there. For the preflight: changes nothing.
pub fn read(directory: &Path) -> Result<Option<NodeMeta>, MetaError> {
    let path = directory.join(FILE_NAME);
    match File::open(&path) {
        Ok(mut file) => Ok(Some(read_all(&mut file, &path)?.meta)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => refuse_orphans(directory).map(|()| None),
        Err(error) => Err(MetaError::Io { action: "open", path, error }),
    }
}

impl MetaFile {
    /// Opens the node in `directory`, or founds one there with what `found` gives. The flag says whether it was founded.
    /// The caller holds the directory's lock.
    pub fn open_or_found(
        directory: &Path,
        found: impl FnOnce() -> Result<NodeMeta, MetaError>,
    ) -> Result<(Self, NodeMeta, bool), MetaError> {
        let path = directory.join(FILE_NAME);
        let founded = !fs::exists(&path).map_err(|error| io_error("look for", &path, error))?;
        if founded {
            refuse_orphans(directory)?;
            write_new(directory, &found()?)?;
        }
        let mut file =
            OpenOptions::new().read(true).write(true).open(&path).map_err(|error| io_error("open", &path, error))?;
        let chosen = read_all(&mut file, &path)?;
        let file = Self { file, path, generation: chosen.generation_seen, is_poisoned: false };
        // Mended first: a save could otherwise overwrite the only two copies that agree. Synced in any case, since what was
        // read may be in the page cache only.
        file.write_copies(&chosen.block, &chosen.stale)?;
        sync_directory(directory).map_err(|error| io_error("sync", directory, error))?;
        Ok((file, chosen.meta, founded))
    }

    /// Makes `meta` what the next start finds; it is on stable storage when this returns. After an error the file still
    /// holds this or the previous content, and no further save is accepted.
    pub fn save(&mut self, meta: &NodeMeta) -> Result<(), MetaError> {
        if self.is_poisoned {
            return Err(MetaError::Poisoned);
        }
        self.is_poisoned = true;
        self.generation = self.generation.checked_add(1).expect("2^64 saves do not happen");
        let block = block::encode(meta, self.generation);
        for half in [[0, 1], [2, 3]] {
            self.write_copies(&block, &half)?;
        }
        self.is_poisoned = false;
        Ok(())
    }

    /// Writes those copies and syncs.
    fn write_copies(&self, block: &[u8], copies: &[usize]) -> Result<(), MetaError> {
        assert!(block.len() == BLOCK_BYTES && copies.iter().all(|copy| *copy < COPIES));
        for copy in copies {
            let written = self.file.write_all_at(block, (copy * BLOCK_BYTES) as u64);
            written.map_err(|error| io_error("write", &self.path, error))?;
        }
        self.file.sync_all().map_err(|error| io_error("sync", &self.path, error))
    }
}

/// Writes the file of a directory that has none. It is whole or absent: written beside, synced, renamed, and the directory
/// synced.
pub fn write_new(directory: &Path, meta: &NodeMeta) -> Result<(), MetaError> {
    let beside = directory.join(FOUNDING_NAME);
    let bytes = block::encode(meta, 1).repeat(COPIES);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&beside, directory.join(FILE_NAME))?;
        sync_directory(directory)
    };
    write().map_err(|error| io_error("write", &directory.join(FILE_NAME), error))
}

fn read_all(file: &mut File, path: &Path) -> Result<block::Chosen, MetaError> {
    let mut bytes = Vec::with_capacity(FILE_BYTES);
    // One byte more than there should be tells a file that is too long, however long.
    let read = file.take(FILE_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| io_error("read", path, error))?;
    block::choose(&bytes)
}

/// Logs without a `node.meta` belong to a node that is not known any more.
fn refuse_orphans(directory: &Path) -> Result<(), MetaError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error("list", directory, error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| io_error("list", directory, error))?;
        if entry.file_name().to_string_lossy().starts_with(LOG_PREFIX) {
            return Err(MetaError::Missing(directory.to_owned()));
        }
    }
    Ok(())
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn io_error(action: &'static str, path: &Path, error: io::Error) -> MetaError {
    MetaError::Io { action, path: path.to_owned(), error }
}
