//! `sync` means what it says: the log's descriptors carry O_DSYNC and O_DIRECT, as the kernel reports them.
//!
//! `kill -9` cannot show this, since the page cache survives a process. Not a test of the disk: whether a
//! device keeps what it confirmed is its maker's promise.

mod support;

use std::path::PathBuf;
use support::directory::Directory;
use support::node::{Node, Options};

const O_WRITE_MODES: u32 = 0o3;
const O_DSYNC: u32 = 0o10_000;
const O_DIRECT: u32 = 0o40_000;

/// The process's open files below its data directory, with their flags from `/proc/PID/fdinfo`.
fn open_files(node: &Node, directory: &Directory) -> Vec<(PathBuf, u32)> {
    let process = PathBuf::from(format!("/proc/{}", node.id()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(process.join("fd")).expect("our own child") {
        let entry = entry.expect("our own child");
        let Ok(path) = std::fs::read_link(entry.path()) else {
            continue;
        };
        let Ok(information) = std::fs::read_to_string(process.join("fdinfo").join(entry.file_name())) else {
            continue;
        };
        let flags = information.lines().find_map(|line| line.strip_prefix("flags:")).expect("fdinfo has flags");
        if path.starts_with(directory.path()) {
            files.push((path, u32::from_str_radix(flags.trim(), 8).expect("flags are octal")));
        }
    }
    files
}

fn is_log(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}

#[test]
fn sync_writes_through_o_dsync_and_o_direct() {
    let directory = Directory::new("durability");
    let node = Options::new(directory.path()).start();
    let mut client = node.client();
    for number in 0..200 {
        client.words(&format!("SET key-{number} value")).expect_ok();
    }
    let files = open_files(&node, &directory);
    let logs: Vec<_> = files.iter().filter(|(path, _)| is_log(path)).collect();
    let synchronous = |flags: u32| flags & O_WRITE_MODES != 0 && flags & O_DSYNC != 0 && flags & O_DIRECT != 0;
    for core in 0..node.cores {
        let directory = format!("core-{core:02}");
        let found = logs.iter().any(|(path, flags)| {
            path.parent().and_then(|parent| parent.file_name()).is_some_and(|name| name == directory.as_str())
                && synchronous(*flags)
        });
        assert!(found, "core {core} has no log file open with O_DSYNC|O_DIRECT: {files:?}");
    }
    for (path, flags) in logs {
        assert!(flags & O_DIRECT != 0, "{} goes through the page cache ({flags:o})", path.display());
    }
}

#[test]
fn memory_keeps_no_log() {
    let directory = Directory::new("durability-memory");
    let node = Options::new(directory.path()).durability("memory").start();
    node.client().words("SET a b").expect_ok();
    let files = open_files(&node, &directory);
    assert!(!files.iter().any(|(path, _)| is_log(path)), "{files:?}");
}
