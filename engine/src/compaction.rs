//! Compaction: records that still count go from where they lie into sealed runs, and what they came from goes.
//!
//! One routine for two inputs: the oldest segments of the log (a *drain*), which gives each partition of theirs one more run,
//! and the whole set of a partition's files, which becomes one run that replaces all others.
//!
//! ```text
//! Reading → Sealing → Syncing → (a set: Trailers) → Moving → Releasing → Removing
//!           footers                                index    segments    files
//! ```
//!
//! Each stage is a row of steps; a step is I/O in the background (`step`), and what it brings is worked on in a turn
//! ([`Engine::on_work_done`]), a bounded amount at a time. One compaction runs at a time, and the next begins only when what
//! the last one let go of would also stay away after a crash: so only a partition's newest runs can be what a crash left
//! half-done, and they say which segments they were drained from.
//!
//! Invariants: a record is moved verbatim, with its checksum verified; the index points to a run only when all of it is on
//! stable storage; the input goes only when the index points to nothing in it.

mod input;
mod moving;
mod output;
mod shortage;
mod start;
mod step;
mod take;

use std::collections::{BTreeMap, VecDeque};

use annulus_object::Clock;

use crate::compaction_policy as policy;
use crate::compaction_policy::CommitLatency;
use crate::disk::{Disk, DiskError};
use crate::engine::Engine;
use crate::index::IndexHash;
use crate::work::Work;

pub(crate) use self::input::{Layout, Next, Reader};
pub(crate) use self::output::{Part, Writer};
pub(crate) use self::step::{Step, StepDone, StepError};

/// What is compacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// The oldest segments of an instance of the log.
    Drain { instance: u8, segments: Vec<u16>, through: u64 },
    /// All files of each of some partitions.
    Sets { partitions: Vec<u16> },
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Records are read, judged and copied.
    Reading,
    /// Records that are left, footers, and a drain's trailers are written.
    Sealing,
    /// All that was written becomes durable.
    Syncing,
    /// A set's trailer, which makes everything before it go, is written and becomes durable.
    Trailers,
    /// The index moves over.
    Moving,
    /// What was read is let go of.
    Releasing,
    /// Files that were replaced are removed.
    Removing,
}

/// One compaction.
pub(crate) struct Compaction<F> {
    pub(crate) input: Input,
    stage: Stage,
    readers: VecDeque<Reader<F>>,
    writers: BTreeMap<Part, Writer<F>>,
    /// Writers that are sealed and wait for the index to move over.
    sealed: VecDeque<output::Sealed>,
    /// Tombstones that nothing needs any more.
    dropped: Vec<(u16, IndexHash, Clock)>,
    /// Bytes that writers hold.
    buffered: usize,
    /// A mark of the input was written anew.
    mark_carried: bool,
    /// A step is under way.
    busy: bool,
    pub(crate) read_bytes: u64,
    pub(crate) written_bytes: u64,
    began_us: u64,
}

/// How fast compaction may go, and what it waits for.
#[derive(Debug, Default)]
pub(crate) struct Pacing {
    /// Bytes that may be read before the next tick.
    pub(crate) tokens: u64,
    pub(crate) refilled_us: u64,
    pub(crate) latency: CommitLatency,
    /// When the log writes in flight began, by instance.
    pub(crate) write_began_us: [u64; 2],
    /// Bytes written to the log at the last refill, and the rate since, in bytes a second.
    pub(crate) log_bytes: u64,
    pub(crate) ingest: u64,
    /// Log writes are that far apart at least, because compaction is behind.
    pub(crate) write_delay_us: u64,
    /// Live bytes at the last tick.
    pub(crate) live_bytes: u64,
    /// Bytes of partitions' files that may be compacted before the next drain.
    pub(crate) owed_bytes: u64,
    /// When the last log write of each instance began: where both wait, neither goes first each time.
    pub(crate) log_write_us: [u64; 2],
    /// After a failure nothing is begun before this time.
    pub(crate) not_before_us: u64,
    /// Nothing is compacted any more until the next start.
    pub(crate) stopped: bool,
    /// No tombstone goes, whatever else says that it may.
    pub(crate) keeps_tombstones: bool,
    /// An abandoned compaction is being tidied up.
    pub(crate) tidying: bool,
    /// Held back by whoever runs the node, to measure without it.
    pub(crate) paused: bool,
}

impl<F> Compaction<F> {
    /// Memory in use.
    pub(crate) fn memory_bytes(&self) -> usize {
        let footers: usize = self.writers.values().map(|writer| writer.footer.memory_bytes()).sum();
        let sealed: usize = self.sealed.iter().map(output::Sealed::memory_bytes).sum();
        self.buffered + footers + sealed + self.readers.front().map_or(0, Reader::memory_bytes)
    }

    /// Whether a step is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Whether a place's file is part of what is compacted.
    pub(crate) fn reads(&self, partition: u16, file: u16) -> bool {
        match &self.input {
            Input::Drain { segments, .. } => segments.contains(&file),
            Input::Sets { partitions } => partitions.contains(&partition) && file >= crate::index::Place::LOG_FILES,
        }
    }
}

impl<D: Disk> Engine<D> {
    /// Does what can be done of the compaction under way, as far as its pace allows.
    pub(crate) fn continue_compaction(&mut self) {
        let Some(mut job) = self.compaction.take() else { return };
        let takes_files = job.stage == Stage::Releasing && matches!(job.input, Input::Sets { .. });
        if takes_files && self.snapshot_needs_files() {
            self.compaction = Some(job);
            return;
        }
        if job.busy || self.pacing.paused || (self.pacing.tokens == 0 && job.stage == Stage::Reading) {
            self.compaction = Some(job);
            return;
        }
        let step = match job.stage {
            Stage::Reading => Some(self.read_step(&mut job)),
            Stage::Sealing => Some(self.seal_step(&mut job)),
            Stage::Syncing => Some(self.sync_step(&mut job)),
            Stage::Trailers => Some(self.trailer_step(&mut job)),
            Stage::Moving => Some(self.move_step(&mut job)),
            Stage::Releasing => self.release_step(&mut job).inspect(|_| job.stage = Stage::Removing),
            Stage::Removing => None,
        };
        if let Some(step) = step {
            job.busy = true;
            self.work.push_back(Work::compact(self.disk.clone(), step));
        }
        self.compaction = Some(job);
    }

    /// A step has ended.
    pub(crate) fn on_step_done(&mut self, done: StepDone<D::File>) {
        let Some(mut job) = self.compaction.take() else {
            // What an abandoned compaction leaves behind is tidied up by steps whose end nobody waits for.
            return self.on_tidied(done);
        };
        job.busy = false;
        for (part, file) in done.opened {
            let writer = job.writers.get_mut(&part).expect("a file is opened for a writer");
            writer.file = Some(file);
        }
        if let Err(error) = done.result {
            return self.abandon(*job, &error);
        }
        if let Some(bytes) = done.read
            && let Err(what) = self.take_records(&mut job, bytes)
        {
            return self.quarantine(*job, what);
        }
        let is_over = self.advance_stage(&mut job);
        if is_over {
            self.finish_compaction(&job);
        } else {
            self.compaction = Some(job);
            self.continue_compaction();
        }
    }

    /// Goes to the next stage when the present one is through; whether that was the last.
    fn advance_stage(&mut self, job: &mut Compaction<D::File>) -> bool {
        let is_set = matches!(job.input, Input::Sets { .. });
        job.stage = match job.stage {
            Stage::Reading if job.readers.is_empty() => Stage::Sealing,
            Stage::Sealing if job.writers.values().all(|writer| writer.is_sealed) => Stage::Syncing,
            Stage::Syncing if is_set => Stage::Trailers,
            Stage::Trailers if job.writers.values().any(|writer| !writer.has_trailer) => Stage::Trailers,
            Stage::Syncing | Stage::Trailers => {
                self.adopt_runs(job);
                Stage::Moving
            }
            Stage::Moving if job.sealed.is_empty() => Stage::Releasing,
            Stage::Removing => return true,
            stage => stage,
        };
        false
    }

    /// Gives a compaction up: everything stays as it was.
    fn abandon(&mut self, job: Compaction<D::File>, error: &StepError) {
        tracing::error!(core = self.config.core, what = %job.input, %error, "a compaction is given up; nothing is lost");
        self.counts.compactions_failed += 1;
        self.pacing.not_before_us = self.now_us + self.config.limits.compaction_retry_us;
        if matches!(error, StepError::Disk(DiskError::Full)) {
            self.disk_state.is_full = true;
            // Draining makes no room before it is through; compacting partitions may, so that comes first.
            self.pacing.owed_bytes = self.pacing.owed_bytes.max(job.read_bytes * policy::SETS_PER_DRAIN).max(1);
        }
        if matches!(error, StepError::Sync(_)) {
            // What the disk says of durability cannot be believed any more.
            self.pacing.stopped = true;
            return self.become_read_only();
        }
        if job.stage >= Stage::Moving {
            // All is durable, only removing failed; the next start removes what is left.
            self.pacing.stopped = true;
            return;
        }
        self.tidy_up(job);
    }

    /// Gives a compaction up because a record that counts cannot be read: its files stay as they are.
    fn quarantine(&mut self, job: Compaction<D::File>, (partition, what): (u16, &'static str)) {
        self.counts.compactions_failed += 1;
        match job.input {
            Input::Sets { .. } => {
                self.partition_files.set_mut(partition).damaged = true;
                tracing::error!(
                    core = self.config.core,
                    partition,
                    what,
                    "damage in a partition's files: they are kept as they are and not compacted any more"
                );
            }
            Input::Drain { ref segments, .. } => {
                self.pacing.stopped = true;
                tracing::error!(
                    core = self.config.core,
                    ?segments,
                    what,
                    "damage in the log: its segments are kept, and nothing is compacted any more"
                );
            }
        }
        self.tidy_up(job);
    }
}

impl std::fmt::Display for Input {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Input::Drain { instance: 0, segments, .. } => {
                write!(formatter, "{} segments of small records", segments.len())
            }
            Input::Drain { segments, .. } => write!(formatter, "{} segments of large records", segments.len()),
            Input::Sets { partitions } => write!(formatter, "{} partitions from {}", partitions.len(), partitions[0]),
        }
    }
}
