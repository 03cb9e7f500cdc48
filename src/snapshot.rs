//! A node's snapshot: one at a time, made of one part a core, and complete when every part is and `node.meta` is with them.
//!
//! ```text
//! client's core: taken? ──▶ every core: prepare ──▶ its engine's part ──▶ finish ──▶ reply
//!                                       (the first makes DIR)      (the last writes node.meta)
//! ```
//!
//! What it is not: it copies nothing of a core's data (`annulus_engine::snapshot` does), and restores nothing (`restore`).
//!
//! Invariant: `node.meta` is in the directory only when every core's part is complete there; it says that the node did not end
//! cleanly, so that whoever starts from it stamps as another actor.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use annulus_engine::SnapshotReport;
use annulus_engine::snapshot::manifest_name;

use crate::node::Node;
use crate::node_meta::{self, MetaFile, NodeMeta};

/// How a core's part ended.
pub type PartResult = Result<SnapshotReport, String>;

/// What a core wants done off its turns.
#[derive(Debug, Clone)]
pub enum Task {
    /// The directory is looked at and made.
    Prepare(PathBuf),
    /// The core's part has ended.
    Finish(PathBuf, PartResult),
}

/// What came of it.
#[derive(Debug, Clone)]
pub enum Done {
    /// Whether the core may begin its part.
    Prepared(Result<(), String>),
    /// What to answer for this core.
    Finished(PartResult),
}

#[derive(Debug, Default)]
struct State {
    /// What the first core that prepared has found.
    prepared: Option<Result<(), String>>,
    ended: u16,
    failed: bool,
}

/// Where the cores of a node meet for a snapshot.
pub struct Desk {
    node: Arc<Node>,
    meta: Arc<Mutex<(MetaFile, NodeMeta)>>,
    state: Mutex<State>,
}

impl Desk {
    /// For a node that serves.
    pub fn new(node: Arc<Node>, meta: Arc<Mutex<(MetaFile, NodeMeta)>>) -> Self {
        Self { node, meta, state: Mutex::default() }
    }

    /// Does what a core wants; may wait for the disk.
    pub fn run(&self, task: Task) -> Done {
        let mut state = self.state.lock().expect("a panic ends the process");
        match task {
            Task::Prepare(directory) => {
                let prepared = state.prepared.get_or_insert_with(|| {
                    prepare(&directory).map_err(|text| format!("{}: {text}", directory.display()))
                });
                Done::Prepared(prepared.clone())
            }
            Task::Finish(directory, mut part) => {
                state.ended += 1;
                state.failed |= part.is_err();
                if state.ended == self.node.map.cores() {
                    if !state.failed
                        && let Err(error) = self.write_meta(&directory)
                    {
                        part = Err(error.to_string());
                    }
                    *state = State::default();
                }
                Done::Finished(part)
            }
        }
    }

    fn write_meta(&self, directory: &Path) -> Result<(), node_meta::MetaError> {
        let mut meta = self.meta.lock().expect("a panic ends the process").1.clone();
        meta.clean = false;
        node_meta::write_new(directory, &meta)
    }
}

/// Makes the directory, or takes an empty one.
fn prepare(directory: &Path) -> Result<(), String> {
    match fs::read_dir(directory) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err("the directory is not empty: a snapshot needs one of its own".to_owned()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(directory).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    directory.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// Whether a directory holds a snapshot, or a part of one: its files may be another directory's, too.
pub fn is_snapshot(directory: &Path) -> bool {
    directory.join(manifest_name(0)).exists()
}

/// What to answer when a core's part failed.
pub fn failure(core: u16, directory: &Path, error: &str) -> String {
    let directory = directory.display();
    format!("ERR core {core} made no snapshot: {error}; what is in {directory} is none")
}

/// The path of a snapshot as it is asked for. Errors: what is wrong with it.
pub fn parse_directory(argument: &[u8]) -> Result<&Path, &'static str> {
    let text = std::str::from_utf8(argument).map_err(|_| "ERR the directory's name is no UTF-8")?;
    let has_blank = text.chars().any(char::is_control);
    let path = Path::new(text);
    match path.is_absolute() && !has_blank && path.file_name().is_some() {
        true => Ok(path),
        false => Err("ERR the directory is a path on the node's machine, from the root on"),
    }
}
