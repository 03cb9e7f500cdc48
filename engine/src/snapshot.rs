//! Snapshots: what a core's store holds at one moment, kept in a directory of its own while writes go on.
//!
//! ```text
//! Preparing → Waiting → (the cut) → Linking → Copying → Ending → Event::Snapshot
//! looks, mkdir  commits              partition  the log   names, manifest
//! ```
//!
//! Partition files are only ever appended to, so a second name for each (a hard link) and the length that counts are enough.
//! Segments of the log are written again when they are reused, so what they hold is copied. Where the file system makes no
//! link (the directory is on another one) the partition files are copied as well.
//!
//! What it is not: it is no backup of a node. Every core makes its part at a moment of its own, and whoever runs the cores
//! says when all parts are there. A snapshot is not opened where it lies, either: its files are the store's own.
//!
//! Invariants: while links are missing no compaction takes files away; a segment of the cut is pinned until it has been copied;
//! whatever way a snapshot ends, it leaves no pin behind.

mod cut;
mod manifest;
mod step;

use std::collections::VecDeque;

use crate::config::log_directory;
use crate::disk::{Disk, DiskError};
use crate::engine::{Engine, Event};
use crate::partition_files::DIRECTORY;
use crate::work::Work;

use self::cut::{Cut, CutFile, CutSegment};
use self::step::Piece;

pub use self::manifest::{MANIFEST_FORMAT, Manifest, ManifestError, ManifestFile, ManifestSegment, manifest_name};
pub(crate) use self::step::{Step, StepDone, Stepped};

/// Links that one step makes.
const LINKS_PER_STEP: usize = 64;

/// What a core's part of a snapshot is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SnapshotReport {
    /// Partition files.
    pub files: u64,
    /// Segments of the log.
    pub segments: u64,
    /// Bytes that count of the partition files that got a second name.
    pub linked_bytes: u64,
    /// Bytes that were copied.
    pub copied_bytes: u64,
}

/// Why there is no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// One at a time.
    #[error("a snapshot is under way")]
    Busy,
    /// With memory durability nothing is on disk.
    #[error("with memory durability nothing is on disk that could be kept")]
    Memory,
    /// The core's part is there already.
    #[error("{0} is not empty: a snapshot needs a directory of its own")]
    NotEmpty(String),
    /// It was given up.
    #[error("the node stops")]
    Stopped,
    /// The disk failed.
    #[error("{path}: {error}")]
    Disk {
        /// Which file or directory.
        path: String,
        /// What it says.
        error: DiskError,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Directories are made.
    Preparing,
    /// What was acknowledged before becomes durable.
    Waiting,
    /// Partition files get their second names.
    Linking,
    /// The log, and what could not be linked, is copied.
    Copying,
    /// Names and manifest become durable.
    Ending,
}

/// A file that is copied.
struct CopyJob<F> {
    from: F,
    to: Option<F>,
    path: String,
    next: u64,
    /// Bytes that are copied.
    bytes: u64,
    length: u64,
    /// The segment to let go of at its end.
    pinned: Option<u16>,
}

/// A snapshot that is being made.
pub(crate) struct Snapshot<F> {
    id: u64,
    directory: String,
    stage: Stage,
    /// For each instance of the log, the first commit that need not be in it.
    first_after: [u64; 2],
    /// Files that are not linked yet, and those whose links are being made.
    files: VecDeque<CutFile<F>>,
    linking: Vec<CutFile<F>>,
    copies: VecDeque<CopyJob<F>>,
    manifest: Manifest,
    report: SnapshotReport,
    /// A step is under way.
    busy: bool,
}

impl<D: Disk> Engine<D> {
    /// Begins to keep what the store holds in a directory, which is below the data directory or, with a path from the root on,
    /// anywhere. [`Event::Snapshot`] tells how it ended. What was acknowledged before this call is in it.
    pub fn begin_snapshot(&mut self, directory: &str) -> Result<(), SnapshotError> {
        if self.is_memory() {
            return Err(SnapshotError::Memory);
        }
        if self.closing {
            return Err(SnapshotError::Stopped);
        }
        if self.snapshot.is_some() {
            return Err(SnapshotError::Busy);
        }
        let config = &self.config;
        self.snapshots_begun += 1;
        let manifest = Manifest {
            core: config.core,
            cores: config.cores,
            layout: config.layout,
            partitions: config.partitions.clone(),
            node: self.identity.node,
            cluster_id: config.cluster_id,
            files: Vec::new(),
            segments: Vec::new(),
        };
        self.snapshot = Some(Box::new(Snapshot {
            id: self.snapshots_begun,
            directory: directory.to_owned(),
            stage: Stage::Preparing,
            first_after: [0, 1].map(|instance: usize| self.logs[instance].next_ordinal()),
            files: VecDeque::new(),
            linking: Vec::new(),
            copies: VecDeque::new(),
            manifest,
            report: SnapshotReport::default(),
            busy: false,
        }));
        tracing::info!(core = self.config.core, directory, "a snapshot begins");
        self.continue_snapshot();
        Ok(())
    }

    /// Gives a snapshot that is being made up.
    pub fn abandon_snapshot(&mut self) {
        if let Some(job) = self.snapshot.take() {
            self.end_snapshot(*job, Err(SnapshotError::Stopped));
        }
    }

    /// Whether files of partitions are about to get their second names, and must keep the first until then.
    pub(crate) fn snapshot_needs_files(&self) -> bool {
        self.snapshot.as_ref().is_some_and(|job| job.stage == Stage::Linking)
    }

    /// Does what can be done of the snapshot under way.
    pub(crate) fn continue_snapshot(&mut self) {
        let Some(mut job) = self.snapshot.take() else { return };
        let logs = &self.logs;
        let is_through = || logs.iter().zip(job.first_after).all(|(log, first)| log.is_durable_before(first));
        if job.busy || (job.stage == Stage::Waiting && !is_through()) {
            self.snapshot = Some(job);
            return;
        }
        if job.stage == Stage::Waiting {
            self.take_cut(&mut job);
            job.stage = Stage::Linking;
        }
        let step = self.next_snapshot_step(&mut job);
        job.busy = true;
        self.work.push_back(Work::snapshot(self.disk.clone(), job.id, step));
        self.snapshot = Some(job);
    }

    /// Decides what is in the snapshot.
    fn take_cut(&mut self, job: &mut Snapshot<D::File>) {
        let Cut { files, segments } = self.make_cut();
        for file in &files {
            let CutFile { path, bytes, sequence, .. } = file;
            job.manifest.files.push(ManifestFile { path: path.clone(), bytes: *bytes, sequence: *sequence });
        }
        job.files = files.into();
        for CutSegment { file, number, path, bytes, written, sequence } in segments {
            self.segments.get_mut(number).pins += 1;
            let to = format!("{}/{path}", job.directory);
            let (next, pinned) = (0, Some(number));
            job.copies.push_back(CopyJob {
                from: file,
                to: None,
                path: to,
                next,
                bytes: written,
                length: bytes,
                pinned,
            });
            job.manifest.segments.push(ManifestSegment { path, bytes, written, sequence });
        }
        job.report.files = job.files.len() as u64;
        job.report.segments = job.copies.len() as u64;
    }

    fn next_snapshot_step(&self, job: &mut Snapshot<D::File>) -> Step<D::File> {
        let (core, layout) = (self.config.core, self.config.layout);
        let manifest = format!("{}/{}", job.directory, manifest_name(core));
        let log_directory = format!("{}/{}", job.directory, log_directory(layout, core));
        if job.stage == Stage::Preparing {
            return Step::Begin { directory: job.directory.clone(), log_directory, manifest };
        }
        if job.stage == Stage::Linking && !job.files.is_empty() {
            let count = job.files.len().min(LINKS_PER_STEP);
            job.linking = job.files.drain(..count).collect();
            let links = job.linking.iter().map(|file| (file.path.clone(), format!("{}/{}", job.directory, file.path)));
            return Step::Link(links.collect());
        }
        if let Some(copy) = job.copies.front_mut() {
            job.stage = Stage::Copying;
            let bytes = (copy.bytes - copy.next).min(self.config.limits.compaction_read_bytes as u64);
            let piece = Piece {
                from: copy.from.clone(),
                to: copy.to.clone(),
                path: copy.path.clone(),
                offset: copy.next,
                bytes: usize::try_from(bytes).expect("a piece fits memory"),
                length: (copy.next + bytes == copy.bytes).then_some(copy.length),
            };
            copy.next += bytes;
            return Step::Copy(piece);
        }
        job.stage = Stage::Ending;
        let below = |name: &str| format!("{}/{name}", job.directory);
        let layout = below(&crate::config::layout_directory(layout));
        let directories = vec![below(DIRECTORY), log_directory, layout, job.directory.clone()];
        Step::End { directories, manifest, text: job.manifest.encode() }
    }

    /// A step has ended.
    pub(crate) fn on_snapshot_step(&mut self, done: StepDone<D::File>) {
        // What an abandoned snapshot still had under way is of no interest.
        let Some(mut job) = self.snapshot.take_if(|job| job.id == done.id) else { return };
        job.busy = false;
        match done.result {
            Err(error) => return self.end_snapshot(*job, Err(error)),
            Ok(Stepped::Begun) => job.stage = Stage::Waiting,
            Ok(Stepped::Linked(impossible)) => self.after_links(&mut job, &impossible),
            Ok(Stepped::Copied(file)) => self.after_copy(&mut job, file),
            Ok(Stepped::Ended) => {
                let report = job.report;
                return self.end_snapshot(*job, Ok(report));
            }
        }
        self.snapshot = Some(job);
        self.continue_snapshot();
    }

    fn after_links(&mut self, job: &mut Snapshot<D::File>, impossible: &[usize]) {
        for (number, file) in std::mem::take(&mut job.linking).into_iter().enumerate() {
            if !impossible.contains(&number) {
                job.report.linked_bytes += file.bytes;
                continue;
            }
            // The open file stays readable when its name goes.
            let CutFile { file, path, bytes, .. } = file;
            let path = format!("{}/{path}", job.directory);
            let copy = CopyJob { from: file, to: None, path, next: 0, bytes, length: bytes, pinned: None };
            job.copies.push_back(copy);
        }
    }

    fn after_copy(&mut self, job: &mut Snapshot<D::File>, file: D::File) {
        let copy = job.copies.front_mut().expect("a piece is of the first copy");
        copy.to = Some(file);
        if copy.next < copy.bytes {
            return;
        }
        let copy = job.copies.pop_front().expect("it is there");
        job.report.copied_bytes += copy.bytes;
        self.unpin(&copy);
    }

    fn unpin(&mut self, copy: &CopyJob<D::File>) {
        if let Some(number) = copy.pinned {
            self.segments.get_mut(number).pins -= 1;
        }
    }

    fn end_snapshot(&mut self, job: Snapshot<D::File>, result: Result<SnapshotReport, SnapshotError>) {
        job.copies.iter().for_each(|copy| self.unpin(copy));
        let (core, directory) = (self.config.core, &job.directory);
        match &result {
            Ok(SnapshotReport { files, segments, linked_bytes, copied_bytes }) => {
                tracing::info!(core, directory, files, segments, linked_bytes, copied_bytes, "a snapshot is complete");
            }
            Err(error) => tracing::error!(core, directory, %error, "a snapshot has failed; what is there is of no use"),
        }
        self.events.push_back(Event::Snapshot(result));
    }
}
