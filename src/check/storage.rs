//! Tests of the data directory: its lock, whether it can be written, direct I/O, its format, space.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use super::data_lock::{DataLock, LockError};
use super::{Finding, Ports};
use crate::config::{Config, Durability};
use crate::node_meta::{self, MetaError};

/// Unit of direct I/O.
const BLOCK_BYTES: usize = 4096;

const GIB: u64 = 1 << 30;

#[repr(C, align(4096))]
struct Block([u8; BLOCK_BYTES]);

/// Size of a file system, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Space {
    pub(super) total: u64,
    /// For this user.
    pub(super) available: u64,
}

pub(super) fn findings(config: &Config, ports: Ports) -> Vec<Finding> {
    let mut findings = Vec::new();
    if ports == Ports::Probe {
        findings.push(lock(DataLock::probe(&config.data)));
    }
    // What is not there yet will be created in the nearest directory that is.
    let Some(directory) = nearest_directory(&config.data) else {
        let text = format!("no part of {} is a directory", config.data.display());
        findings.push(Finding::fail("data directory", text, "choose another with --data"));
        return findings;
    };
    findings.push(writable(config, &directory));
    let meta = node_meta::read(&config.data);
    let is_new = matches!(meta, Ok(None));
    findings.push(format(meta));
    let space = statvfs(&directory).map(|answer| Space {
        total: answer.f_blocks.saturating_mul(answer.f_frsize),
        available: answer.f_bavail.saturating_mul(answer.f_frsize),
    });
    findings.push(match space {
        Ok(space) => disk_space(space, needed_bytes(config, is_new)),
        Err(errno) => Finding::warn("disk space", format!("unknown: {errno}"), "see `df` for the data directory"),
    });
    findings
}

fn lock(result: Result<(), LockError>) -> Finding {
    let name = "lock";
    match result {
        Ok(()) => Finding::ok(name, "no other process uses the data directory"),
        Err(error @ LockError::Held { .. }) => {
            Finding::fail(name, error.to_string(), "stop that process, or choose another directory with --data")
        }
        Err(error) => Finding::fail(name, error.to_string(), "give this user the rights to the data directory"),
    }
}

/// Writes and reads back one block the way the log does, in a file that is removed again.
fn writable(config: &Config, directory: &Path) -> Finding {
    let name = "data directory";
    let path = directory.join(format!(".annulus-check-{}", std::process::id()));
    let (plain, direct) = (try_block(&path, 0), try_block(&path, libc::O_DIRECT | libc::O_DSYNC));
    // Whatever happened, nothing stays; if it was never created there is nothing to say.
    let _ = fs::remove_file(&path);
    let shown = directory.display();
    match (plain, direct) {
        (Ok(()), Ok(())) => Finding::ok(name, format!("{shown} can be written with direct I/O")),
        (Err(error), _) => {
            let remedy = match error.kind() {
                io::ErrorKind::PermissionDenied => "give this user write access to it, or choose another with --data",
                io::ErrorKind::ReadOnlyFilesystem => "remount the file system writeable, or choose another with --data",
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free space or raise the quota, or choose another with --data"
                }
                _ => "see the kernel log, or choose another directory with --data",
            };
            Finding::fail(name, format!("{shown} cannot be written: {error}"), remedy)
        }
        (Ok(()), Err(error)) => {
            let text = format!("the file system of {shown} cannot do direct I/O (O_DIRECT): {error}");
            let remedy = "use a directory on ext4 or XFS with --data";
            match config.durability {
                Durability::Memory => Finding::warn(name, text, format!("{remedy} before choosing another durability")),
                Durability::Sync | Durability::Interval => Finding::fail(name, text, remedy),
            }
        }
    }
}

fn try_block(path: &Path, flags: i32) -> io::Result<()> {
    let mut block = Box::new(Block([0x5a; BLOCK_BYTES]));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).custom_flags(flags).mode(0o600);
    let file = options.open(path)?;
    let written = file.write_at(&block.0, 0)?;
    if written != BLOCK_BYTES {
        return Err(io::ErrorKind::StorageFull.into());
    }
    block.0.fill(0);
    let read = file.read_at(&mut block.0, 0)?;
    match read == BLOCK_BYTES && block.0 == [0x5a; BLOCK_BYTES] {
        true => Ok(()),
        false => Err(io::Error::other("what was written is not what is read")),
    }
}

fn format(meta: Result<Option<node_meta::NodeMeta>, MetaError>) -> Finding {
    let name = "format";
    match meta {
        Ok(Some(meta)) => {
            let ended = if meta.clean { "cleanly" } else { "uncleanly" };
            let text = format!("node {:012x} with {} partitions, closed {ended}", meta.node_id, meta.partitions);
            Finding::ok(name, text)
        }
        Ok(None) => Finding::ok(name, "a new node"),
        Err(error @ MetaError::NewerFormat { .. }) => {
            Finding::fail(name, error.to_string(), "install that version, or choose another directory with --data")
        }
        Err(error) => {
            Finding::fail(name, error.to_string(), "restore node.meta from a backup, or choose another with --data")
        }
    }
}

/// What a new node writes before it serves: one segment of each core's log, and as much again to begin with.
fn needed_bytes(config: &Config, is_new: bool) -> u64 {
    let is_logged = config.durability != Durability::Memory;
    if is_new && is_logged { config.hot_log_bytes_per_core(0) / 4 * config.cores.len() as u64 } else { 0 }
}

/// A mark counts when both the share and the bytes say so: a large disk that is 93 % full still has room.
pub(super) fn disk_space(space: Space, needed: u64) -> Finding {
    let name = "disk space";
    let used = space.total.saturating_sub(space.available);
    let percent = used.saturating_mul(100).checked_div(space.total).unwrap_or(0);
    let free = format!("{} MiB free, {percent} % used", space.available >> 20);
    let remedy = "free space, or choose a directory on a larger disk with --data";
    let beyond = |mark_percent: u64, mark_free: u64| percent >= mark_percent && space.available < mark_free;
    if space.available < needed {
        return Finding::fail(name, format!("{free}: a new node needs {} MiB to begin with", needed >> 20), remedy);
    }
    match () {
        () if beyond(96, 2 * GIB) => {
            Finding::warn(name, format!("{free}: nearly full, the node will be read-only"), remedy)
        }
        () if beyond(92, 5 * GIB) => {
            Finding::warn(name, format!("{free}: nearly full, new writes will be refused"), remedy)
        }
        () if beyond(85, 10 * GIB) => Finding::warn(name, format!("{free}: becoming full"), remedy),
        () => Finding::ok(name, free),
    }
}

fn nearest_directory(path: &Path) -> Option<PathBuf> {
    for candidate in path.ancestors() {
        match fs::metadata(candidate) {
            Ok(metadata) => return metadata.is_dir().then(|| candidate.to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Unreadable parents show when writing to them fails.
            Err(_) => return Some(candidate.to_owned()),
        }
    }
    None
}
