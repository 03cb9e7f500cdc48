//! Opening a store: everything the log holds is merged, in whatever order it lies there.
//!
//! A segment is read whole, frame by frame. Where a frame is bad the next good one of the same use is looked for: if there
//! is one, acknowledged data was damaged and is reported; if not, it is the torn end of the last write. A segment whose end
//! the next one does not chain to is either cut where the chain says that the log went on (the frames behind were never
//! acknowledged), or has lost frames, which is reported.
//!
//! What was accepted is synced before it is served, and the log goes on in a new segment. When the number of cores has
//! changed, each core reads every core's old log, keeps what is its own, and writes it anew. Where several records say one
//! key's state, they are joined into one (`scattered`).
//!
//! Invariant: what is in the index afterwards is the merge of all valid records, and every place in it can be read.

mod chain;
mod files;
mod hints;
mod merge;
mod migrate;
mod partitions;
mod progress;
mod runs;
mod scattered;

use std::collections::VecDeque;

use crate::config::Config;
use crate::disk::{Disk, DiskError};
use crate::engine::Engine;
use crate::hot_log::{LARGE, SMALL};
use crate::partition_files;
use crate::segments::Use;
use crate::{Error, work};

use self::partitions::tail_of;

pub(crate) use hints::MovedHint;
pub use progress::Progress;
pub(crate) use scattered::Scattered;

/// Every incarnation of the node has sequences of its own.
const INCARNATION_SHIFT: u32 = 32;

/// What recovery met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Segments with data.
    pub segments: u64,
    /// Frames that were accepted.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Sealed runs of partition files that count.
    pub runs: u64,
    /// Records that they tell of.
    pub run_records: u64,
    /// Runs that were rebuilt from their records, because footer or trailer were damaged.
    pub rebuilt_runs: u64,
    /// Runs that a crash had interrupted; the log still has their records.
    pub interrupted_runs: u64,
    /// Keys that were found to have siblings.
    pub siblings: u64,
    /// Keys whose state several records said, none of which included the others: it was written anew as one.
    pub joined: u64,
    /// Records of this core that were written anew because the number of cores has changed.
    pub moved: u64,
    /// Segments that end in a torn write.
    pub torn_tails: u64,
    /// Frames that were never acknowledged and are left out.
    pub disregarded_frames: u64,
    /// Damage to acknowledged data, by segment.
    pub corruption: Vec<Corruption>,
}

/// Damage to acknowledged data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {what} at byte {offset}")]
pub struct Corruption {
    /// Which file.
    pub path: String,
    /// Where.
    pub offset: u64,
    /// What is wrong.
    pub what: &'static str,
}

impl<D: Disk> Engine<D> {
    /// Opens a core's store.
    pub async fn open(disk: D, config: Config) -> Result<Self, Error> {
        let mut engine = Self::empty(disk, config);
        if engine.is_memory() {
            engine.build_trees();
            return Ok(engine);
        }
        let directory = engine.config.directory();
        let disk = engine.disk.clone();
        for path in [directory.as_str(), partition_files::DIRECTORY] {
            disk.create_directory(path).await.map_err(|error| Error::Disk { path: path.to_owned(), error })?;
        }
        let flushed = match engine.config.migrate_from.clone() {
            None => engine.recover_own(&directory).await.map(|()| Vec::new())?,
            Some((layout, cores)) => engine.migrate(layout, &cores).await?,
        };
        engine.scan_buffers = Vec::new();
        engine.finish_recovery();
        engine.join_scattered(false).await?;
        engine.purge(flushed).await?;
        engine.prepare_first().await?;
        Ok(engine)
    }

    async fn recover_own(&mut self, directory: &str) -> Result<(), Error> {
        let (core, cores, layout) = (self.config.core, self.config.cores, self.config.layout);
        let found = self.list_segments(directory, (layout, core, cores), Use::Sealed).await?;
        let tails = self.find_tails((layout, core), &found).await?;
        self.recover_partitions(&tails).await?;
        for instance in [SMALL, LARGE] {
            let files: Vec<_> = found.iter().filter(|(_, header)| header.instance == instance).copied().collect();
            let tip = self.recover_instance(files, tail_of(&tails, core, instance)).await?;
            let log_tail = tip.log_tail;
            let mut sealed: Vec<u16> = Vec::new();
            let mut spares = VecDeque::new();
            for (file, header) in &found {
                if header.instance != instance {
                    continue;
                }
                if header.sequence >= log_tail && self.segments.get(*file).written > 0 {
                    sealed.push(*file);
                } else {
                    spares.push_back(*file);
                }
            }
            sealed.sort_by_key(|file| self.segments.get(*file).sequence);
            let log_tail = sealed.first().map_or(log_tail, |file| self.segments.get(*file).sequence.max(log_tail));
            let log = &mut self.logs[usize::from(instance)];
            log.continue_after(sealed.into(), tip.crc, tip.ordinal, log_tail);
            self.reuse(instance, spares).await?;
        }
        let newest = found.iter().map(|(_, header)| header.sequence).max().unwrap_or(0);
        // A use whose very first write was torn may have left a frame, but no header to tell of it. After any end that could
        // leave one there is another incarnation, so that its sequence is not used again either.
        let first = u64::from(self.config.actor.incarnation()) << INCARNATION_SHIFT;
        self.sequence = self.sequence.max(newest).max(first);
        Ok(())
    }

    /// The first segment of small records, so that the first write waits for nothing.
    async fn prepare_first(&mut self) -> Result<(), Error> {
        if !self.logs[usize::from(SMALL)].spares.is_empty() {
            return Ok(());
        }
        match self.prepare_now(SMALL).await {
            // What is there can be read all the same; writes are refused until there is room.
            Err(Error::Disk { error: DiskError::Full, path }) => {
                tracing::error!(core = self.config.core, segment = %path, "the disk is full: writes are refused");
                self.disk_state.is_full = true;
                Ok(())
            }
            result => result,
        }
    }

    async fn prepare_now(&mut self, instance: u8) -> Result<(), Error> {
        let path = self.next_segment_path(usize::from(instance));
        let bytes = self.config.segment_bytes(instance);
        let disk = self.disk.clone();
        let prepared = work::prepare(&disk, &path, bytes).await;
        let file = prepared.map_err(|error| {
            let (work::PrepareError::Disk(error) | work::PrepareError::Sync(error)) = error;
            Error::Disk { path: path.clone(), error }
        })?;
        self.add_spare(instance, path, bytes, file);
        Ok(())
    }
}
