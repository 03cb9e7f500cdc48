//! Another number of cores: what is this core's own in the logs of all old cores is written anew, byte for byte.
//!
//! Invariant: the old logs stay as they are; all that was moved is durable in the new log when this ends.

use std::ops::Range;

use annulus_object::Clock;

use super::partitions::tail_of;
use crate::Error;
use crate::config::{layout_directory, log_directory};
use crate::disk::{Disk, File};
use crate::engine::{Engine, Event};
use crate::frame::{FRAME_HEADER_BYTES, FrameRef};
use crate::hot_log::{LARGE, SMALL, Write};
use crate::index::{IndexHash, Place};
use crate::record::RecordRef;
use crate::segment::SegmentHeader;
use crate::segments::Use;

impl<D: Disk> Engine<D> {
    /// Reads every core's log of another layout, and writes what is this core's own into its own log.
    /// Gives the partitions whose files hold what a FLUSHALL of the old log deleted: that has to go before the old log does.
    pub(super) async fn migrate(&mut self, layout: u32, owned: &[Range<u16>]) -> Result<Vec<u16>, Error> {
        let cores = u16::try_from(owned.len()).expect("cores are counted in u16");
        let (mut logs, mut tails) = (Vec::new(), Vec::new());
        for core in 0..cores {
            let directory = log_directory(layout, core);
            let found = self.list_segments(&directory, (layout, core, cores), Use::Foreign).await?;
            tails.extend(self.find_tails((layout, core), &found).await?);
            logs.push(found);
        }
        self.recover_partitions(&tails).await?;
        let mut foreign = Vec::new();
        let mut flushed = Vec::new();
        for (core, found) in (0..cores).zip(logs) {
            // A mark deletes what its own core had; the log of another core goes on without it.
            let mark = self.mark.take();
            for instance in [SMALL, LARGE] {
                let files = found.iter().filter(|(_, header)| header.instance == instance).copied().collect();
                self.recover_instance(files, tail_of(&tails, core, instance)).await?;
            }
            if let Some((clock, _)) = self.mark.take() {
                let partitions = &owned[usize::from(core)];
                // What an old core had is of its partitions, in its log or in their files.
                let own = self.partitions.owned();
                self.drop_flushed(clock, partitions.clone().filter(|partition| own.contains(partition)));
                flushed.extend(self.flushed_sets(clock, partitions));
            }
            self.mark = mark;
            foreign.extend(found);
        }
        self.move_hints(layout, cores).await?;
        self.join_scattered(true).await?;
        self.write_anew(&foreign).await?;
        tracing::info!(core = self.config.core, from = %layout_directory(layout), moved = self.recovery.moved, "moved");
        for (file, _) in foreign {
            self.segments.remove(file);
        }
        Ok(flushed)
    }

    /// Partitions whose files hold what a mark of the old log hides; the mark goes with that log.
    fn flushed_sets(&self, clock: Clock, partitions: &Range<u16>) -> Vec<u16> {
        let sets = self.partition_files.iter().filter(|(partition, _)| partitions.contains(partition));
        let flushed = sets.filter(|(_, set)| set.min_clock().is_some_and(|min| min <= clock));
        flushed.map(|(partition, _)| partition).collect()
    }

    /// Compacts partitions before the store is used. Tombstones stay: the old log may be read again.
    pub(super) async fn purge(&mut self, partitions: Vec<u16>) -> Result<(), Error> {
        for partition in partitions {
            self.pacing.keeps_tombstones = true;
            self.begin_sets(vec![partition]);
            while self.compaction.is_some() {
                self.pacing.tokens = u64::MAX;
                self.continue_compaction();
                let Some(work) = self.work.pop_front() else { break };
                let done = work.run().await;
                self.on_work_done(done, self.config.now_unix_ms);
            }
            self.pacing.keeps_tombstones = false;
            if self.pacing.stopped || self.pacing.tidying || self.compaction.is_some() {
                return Err(Error::Purge(partition));
            }
        }
        Ok(())
    }

    async fn write_anew(&mut self, foreign: &[(u16, SegmentHeader)]) -> Result<(), Error> {
        for (file, header) in foreign {
            let written = self.segments.get(*file).written;
            if written == 0 {
                continue;
            }
            // It was scanned once already.
            self.config.progress.expect(self.segments.get(*file).bytes);
            let scanned = self.scan_segment(*file, *header).await?;
            for (offset, _) in scanned.frames.iter().filter(|(offset, _)| (*offset as u64) < written) {
                let frame = FrameRef::check_any(&scanned.bytes.as_slice()[*offset..]).expect("it was checked");
                for (at, record) in frame.records().map_while(Result::ok) {
                    let place = Place::at(*file, (offset + FRAME_HEADER_BYTES + at) as u64);
                    if !self.partitions.owned().contains(&record.partition()) {
                        continue;
                    }
                    let entry = self.index.get(record.partition(), IndexHash::of(record.hash()));
                    if entry.is_some_and(|entry| entry.place == place) {
                        self.copy_record(&record).await?;
                    }
                }
            }
        }
        self.flush_now(SMALL).await?;
        self.flush_now(LARGE).await
    }

    pub(super) async fn copy_record(&mut self, record: &RecordRef<'_>) -> Result<(), Error> {
        let bytes = record.total_bytes();
        let instance = if bytes <= self.config.limits.small_record_bytes_max { SMALL } else { LARGE };
        if !self.logs[usize::from(instance)].has_room(bytes, &self.config.limits) {
            self.flush_now(instance).await?;
        }
        // The copy takes the place of the record in the index, which must not look like a newer version.
        self.index.remove(record.partition(), IndexHash::of(record.hash()));
        let (_, place) = self.logs[usize::from(instance)].append(bytes, record.oldest_clock(), 0, &self.config.limits);
        place.copy_from_slice(record.bytes());
        self.recovery.moved += 1;
        Ok(())
    }

    /// Writes what waits in an instance, before any turn.
    pub(super) async fn flush_now(&mut self, instance: u8) -> Result<(), Error> {
        let number = usize::from(instance);
        while !self.logs[number].is_quiet() {
            let Write { file, offset, buffer, skip } = match self.next_write(number) {
                Ok(write) => write,
                Err(_) => {
                    self.prepare_now(instance).await?;
                    continue;
                }
            };
            let segment = self.segments.get(file);
            let (path, handle) = (segment.path.clone(), segment.file.clone());
            let buffer = handle.write_at(offset, buffer, skip).await.map_err(|error| Error::Disk { path, error })?;
            let written = self.logs[number].on_written(&mut self.segments);
            self.apply(number, &written, written.payload(&buffer));
            self.logs[number].recycle_buffer(buffer, &self.config.limits);
        }
        // Nothing of this is news to anybody.
        self.work.clear();
        self.preparing = [false; 2];
        self.pending_keys = 0;
        self.events.retain(|event| !matches!(event, Event::Durable(_)));
        Ok(())
    }
}
