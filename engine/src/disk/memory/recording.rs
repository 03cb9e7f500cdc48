//! Every change to a disk in memory, in order: what crash images are made of.
//!
//! What it is not: it says nothing of what a crash leaves (`crash_image` does), and it knows of no failures: a write that a
//! test lets fail stays one whose end nobody saw.
//!
//! Invariant: the changes, applied in order to what the recording began with, give what the disk shows.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::MemoryDisk;

/// Number of a file, whatever its names are.
pub type FileId = u64;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Bytes are on their way into a file; those of a write that began and whose end is still open are in flight.
    Write {
        /// Which file.
        file: FileId,
        /// From which byte on.
        offset: usize,
        /// What is written.
        bytes: Rc<[u8]>,
        /// It is durable when it has [`Change::Ended`]; otherwise with the next [`Change::Synced`] of its file.
        durable_at_end: bool,
    },
    /// A write that is durable at its end has ended.
    Ended {
        /// The number of the change that began it.
        write: usize,
    },
    /// A file was cut to this length, or made longer by zeros.
    Cut {
        /// Which file.
        file: FileId,
        /// Its length from now on.
        bytes: usize,
    },
    /// What was written to a file before is durable.
    Synced {
        /// Which file.
        file: FileId,
    },
    /// A file has this name from now on: it was created, or linked.
    Named {
        /// The name.
        path: String,
        /// Which file.
        file: FileId,
    },
    /// A name is gone.
    Removed {
        /// The name.
        path: String,
    },
    /// The names in a directory are durable.
    SyncedDirectory {
        /// Which one.
        path: String,
    },
    /// The process ended and the machine went on: writes in flight have reached their files, and are durable with the next
    /// sync of those.
    Stopped,
}

/// What a disk holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) names: BTreeMap<String, FileId>,
    pub(super) files: BTreeMap<FileId, Vec<u8>>,
}

/// What a disk held, all of it durable, and every change since.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    pub(super) before: Holding,
    changes: Vec<Change>,
}

impl Recording {
    pub(super) fn new(before: Holding) -> Recording {
        Recording { before, changes: Vec::new() }
    }

    pub(super) fn push(&mut self, change: Change) -> usize {
        self.changes.push(change);
        self.changes.len() - 1
    }

    /// The changes, in order.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// A change in words.
    #[must_use]
    pub fn describe(&self, number: usize) -> String {
        match &self.changes[number] {
            Change::Write { file, offset, bytes, durable_at_end } => {
                let how = if *durable_at_end { "" } else { ", unsynced" };
                format!("write {} at {offset} of {}{how}", bytes.len(), self.name_of(*file))
            }
            Change::Ended { write } => format!("end of change {write}"),
            Change::Cut { file, bytes } => format!("cut {} to {bytes}", self.name_of(*file)),
            Change::Synced { file } => format!("sync {}", self.name_of(*file)),
            Change::Named { path, file } => format!("name file {file} {path}"),
            Change::Removed { path } => format!("remove {path}"),
            Change::SyncedDirectory { path } => format!("sync directory {path}"),
            Change::Stopped => "the process ends".to_owned(),
        }
    }

    /// Any name that the file ever had.
    fn name_of(&self, wanted: FileId) -> &str {
        let named = self.changes.iter().find_map(|change| match change {
            Change::Named { path, file } if *file == wanted => Some(path),
            _ => None,
        });
        let before = self.before.names.iter().find_map(|(path, file)| (*file == wanted).then_some(path));
        named.or(before).map_or("a file without a name", String::as_str)
    }
}

impl Change {
    /// The file whose contents it changes.
    pub(super) fn file(&self) -> Option<FileId> {
        match self {
            Change::Write { file, .. } | Change::Cut { file, .. } => Some(*file),
            _ => None,
        }
    }

    /// The name that it changes.
    pub(super) fn path(&self) -> Option<&str> {
        match self {
            Change::Named { path, .. } | Change::Removed { path } => Some(path),
            _ => None,
        }
    }
}

impl MemoryDisk {
    /// A disk with the same files, all durable, and another seed.
    #[must_use]
    pub fn copy(&self, seed: u64) -> MemoryDisk {
        MemoryDisk::with(&self.holding(), seed)
    }

    pub(super) fn with(holding: &Holding, seed: u64) -> MemoryDisk {
        let disk = MemoryDisk::new(seed);
        let mut guard = disk.state.borrow_mut();
        let state = &mut *guard;
        let mut files = BTreeMap::new();
        for (name, id) in &holding.names {
            let bytes = || holding.files.get(id).cloned().unwrap_or_default();
            let file = files.entry(*id).or_insert_with(|| state.new_file(bytes()));
            state.names.insert(name.clone(), Rc::clone(file));
        }
        state.durable_names.clone_from(&state.names);
        drop(guard);
        disk
    }

    fn holding(&self) -> Holding {
        let state = self.state.borrow();
        let mut holding = Holding::default();
        for (name, file) in &state.names {
            let file = file.borrow();
            holding.names.insert(name.clone(), file.id);
            holding.files.entry(file.id).or_insert_with(|| file.bytes.clone());
        }
        holding
    }

    /// Records every change from now on. What is there now counts as durable.
    pub fn record(&self) {
        let before = self.holding();
        let mut state = self.state.borrow_mut();
        assert!(state.operations.is_empty(), "an operation in flight would be missing");
        state.recording = Some(Recording::new(before));
    }

    /// How many changes were recorded.
    #[must_use]
    pub fn recorded(&self) -> usize {
        self.state.borrow().recording.as_ref().map_or(0, |recording| recording.changes.len())
    }

    /// What was recorded; nothing more is.
    #[must_use]
    pub fn take_recording(&self) -> Recording {
        self.state.borrow_mut().recording.take().unwrap_or_default()
    }

    /// The process ends, and the machine goes on: writes in flight reach their files, and nothing is lost. Open files are no
    /// longer of use.
    pub fn stop(&self) {
        let mut state = self.state.borrow_mut();
        let failed = state.injected.failed_calls > 0 && state.recording.is_some();
        assert!(!failed, "how much a failed write has brought into its file was not recorded");
        for operation in std::mem::take(&mut state.operations) {
            if let Some(from) = operation.write_from {
                let bytes = &operation.buffer.as_slice()[from..];
                operation.file.borrow_mut().write(operation.offset, bytes, false);
            }
        }
        state.note(Change::Stopped);
    }
}
