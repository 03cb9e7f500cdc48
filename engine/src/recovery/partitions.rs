//! The partition files of a core: which of their runs count, and what they say, merged into the index.
//!
//! Of a partition's runs those count that no later run replaces. The last ones do not if the log would still replay what they
//! were drained from: then the drain had not ended, they may not be whole, and the log has all that they say. What does not
//! count is cut off or removed before the store is used.
//!
//! Invariant: afterwards a partition's chain is exactly what is on disk.

use super::runs::{FoundFile, FoundRun, Owner, SEQUENCE_UNKNOWN, read_runs};
use super::{Corruption, RecoveryReport};
use crate::Error;
use crate::disk::{Disk, File};
use crate::engine::Engine;
use crate::entries::FieldsView;
use crate::hot_log::{LARGE, SMALL};
use crate::index::{Place, class_bytes};
use crate::join;
use crate::partition_files::{DIRECTORY, Run, parse_hints_name, parse_partition_name, partition_path};
use crate::sealed_run::Replayed;
use crate::segment::SegmentHeader;
use annulus_object::Dot;

/// Partitions whose files are read side by side.
const SIDE_BY_SIDE: usize = 16;
/// What a file counts for in the progress that is shown: how long its footers are is not known before.
const FILE_PROGRESS_BYTES: u64 = 256 << 10;

/// Where an instance of a core's log begins, and which segments are there.
pub(super) struct Tail {
    layout: u32,
    core: u16,
    instance: u8,
    pub(super) log_tail: u64,
    sequences: Vec<u64>,
}

/// Where an instance's log begins.
pub(super) fn tail_of(tails: &[Tail], core: u16, instance: u8) -> u64 {
    let tail = tails.iter().find(|tail| (tail.core, tail.instance) == (core, instance));
    tail.expect("every instance has a tail").log_tail
}

/// Whether a crash would still replay what a run was drained from.
fn is_replayed(tails: &[Tail], drained: Option<Replayed>) -> bool {
    drained.is_some_and(|drained| {
        let of = (drained.layout, drained.core, drained.instance);
        let tail = tails.iter().find(|tail| (tail.layout, tail.core, tail.instance) == of);
        tail.is_some_and(|tail| tail.log_tail <= drained.through && tail.sequences.contains(&drained.through))
    })
}

impl<D: Disk> Engine<D> {
    /// Where both instances of a core's log begin.
    pub(super) async fn find_tails(
        &mut self,
        (layout, core): (u32, u16),
        found: &[(u16, SegmentHeader)],
    ) -> Result<Vec<Tail>, Error> {
        let mut tails = Vec::new();
        for instance in [SMALL, LARGE] {
            let files: Vec<_> = found.iter().filter(|(_, header)| header.instance == instance).copied().collect();
            let log_tail = self.find_log_tail(&files).await?;
            let sequences = files.iter().map(|(_, header)| header.sequence).collect();
            tails.push(Tail { layout, core, instance, log_tail, sequences });
        }
        Ok(tails)
    }

    /// Reads the files of this core's partitions and merges what counts.
    pub(super) async fn recover_partitions(&mut self, tails: &[Tail]) -> Result<(), Error> {
        let disk = self.disk.clone();
        let files = self.list_partition_files().await?;
        let partitions: Vec<&[(u16, u64, String)]> = files.chunk_by(|a, b| a.0 == b.0).collect();
        let step = self.config.limits.recovery_read_bytes;
        self.config.progress.expect(files.len() as u64 * FILE_PROGRESS_BYTES);
        let (cluster_id, node) = (self.config.cluster_id, self.config.actor.node());
        let read = |batch: &[&[(u16, u64, String)]]| {
            let files = batch.iter().flat_map(|files| files.iter());
            let reading = files.map(|(partition, number, path)| {
                let owner = Owner { cluster_id, node, partition: *partition };
                read_runs(disk.clone(), path.clone(), *number, owner, step, |trailer| {
                    is_replayed(tails, trailer.drained)
                })
            });
            join::all(reading.collect())
        };
        // While one batch is merged the next one is read.
        let mut batches = partitions.chunks(SIDE_BY_SIDE);
        let mut batch = batches.next();
        let mut found = match batch {
            Some(first) => read(first).await,
            None => Vec::new(),
        };
        let mut kept = Vec::new();
        while let Some(merging) = batch {
            batch = batches.next();
            let reading = async {
                match batch {
                    Some(next) => read(next).await,
                    None => Vec::new(),
                }
            };
            let (next, merged) = join::both(reading, self.recover_batch(merging, found, &mut kept)).await;
            merged?;
            found = next;
        }
        // What was accepted is durable before it is served. One after the other that would take a second for each thousand.
        self.disk.sync_many(kept).await.map_err(|error| Error::Disk { path: DIRECTORY.to_owned(), error })
    }

    async fn recover_batch(
        &mut self,
        batch: &[&[(u16, u64, String)]],
        found: Vec<Result<FoundFile<D::File>, Error>>,
        kept: &mut Vec<D::File>,
    ) -> Result<(), Error> {
        let mut found = found.into_iter();
        for files in batch {
            self.config.progress.advance(files.len() as u64 * FILE_PROGRESS_BYTES);
            let of_partition: Result<Vec<_>, _> = found.by_ref().take(files.len()).collect();
            self.recover_partition(files[0].0, of_partition?, kept).await?;
            // What is read meanwhile goes on.
            join::pause().await;
        }
        Ok(())
    }

    /// Partition, number and path of every file of this core's partitions, in this order.
    async fn list_partition_files(&mut self) -> Result<Vec<(u16, u64, String)>, Error> {
        let names = self.list(DIRECTORY).await?;
        let mut files: Vec<(u16, u64, String)> = Vec::new();
        for (partition, number) in names.iter().filter_map(|name| parse_partition_name(name)) {
            if self.partitions.owned().contains(&partition) {
                files.push((partition, number, partition_path(partition, number)));
            }
        }
        let directory = self.config.directory();
        for name in self.list(&directory).await? {
            let Some((partition, target, number)) = parse_hints_name(&name) else { continue };
            let path = format!("{directory}/{name}");
            if !self.adopt_hints(partition, target) {
                return Err(Error::HintsOfTwo { partition, path });
            }
            files.push((partition, number, path));
        }
        files.sort_unstable();
        Ok(files)
    }

    pub(super) async fn list(&self, directory: &str) -> Result<Vec<String>, Error> {
        let names = self.disk.list(directory).await;
        names.map_err(|error| Error::Disk { path: directory.to_owned(), error })
    }

    async fn recover_partition(
        &mut self,
        partition: u16,
        mut files: Vec<FoundFile<D::File>>,
        kept: &mut Vec<D::File>,
    ) -> Result<(), Error> {
        let mut runs: Vec<(usize, FoundRun)> = Vec::new();
        for (number, file) in files.iter_mut().enumerate() {
            self.recovery.rebuilt_runs += file.rebuilt;
            self.recovery.interrupted_runs += file.interrupted;
            if !file.damage.is_empty() {
                self.partition_files.set_mut(partition).damaged = true;
            }
            self.recovery.corruption.append(&mut file.damage);
            runs.extend(file.runs.drain(..).map(|run| (number, run)));
        }
        runs.sort_by_key(|(file, run)| (run.trailer.sequence, *file));
        name_unknown(&mut runs);
        let replaced = runs.iter().map(|(_, run)| run.trailer.replaces_below).max().unwrap_or(0);
        runs.retain(|(_, run)| run.trailer.sequence >= replaced);
        report_gaps(&mut self.recovery, &files, &runs, replaced);
        let places = self.keep_files(partition, files, &runs, kept).await?;
        // Room for all at once: a table that grows run by run is laid out anew again and again, and searched while it is full.
        self.index.reserve(partition, runs.iter().map(|(_, run)| run.footer().len()).sum());
        for (file, run) in runs {
            let place_file = places[file].expect("a file with a run is kept");
            self.merge_run(partition, place_file, &run);
        }
        self.index.fit(partition);
        Ok(())
    }

    /// Cuts off, or removes, what does not count; gives the kept files' numbers in places, and the files, to be synced.
    async fn keep_files(
        &mut self,
        partition: u16,
        files: Vec<FoundFile<D::File>>,
        runs: &[(usize, FoundRun)],
        kept: &mut Vec<D::File>,
    ) -> Result<Vec<Option<u16>>, Error> {
        let mut places = Vec::new();
        let mut removed = false;
        for (number, found) in files.into_iter().enumerate() {
            let FoundFile { file, path, number: file_number, node, bytes, .. } = found;
            let at = |error| Error::Disk { path: path.clone(), error };
            self.partition_files.set_mut(partition).note_number(file_number);
            let end = runs.iter().filter(|(file, _)| *file == number).map(|(_, run)| run.trailer.end()).max();
            let Some(end) = end else {
                self.disk.remove(&path).await.map_err(at)?;
                removed = true;
                places.push(None);
                continue;
            };
            if bytes > end {
                file.truncate(end).await.map_err(at)?;
            }
            kept.push(file.clone());
            let place = self.partition_files.add_file(partition, file, path.clone(), (file_number, node));
            places.push(Some(place.ok_or(Error::TooManyPartitionFiles(partition))?));
        }
        if removed {
            let is_hints = self.partitions.is_hints(partition);
            let directory = if is_hints { self.config.directory() } else { DIRECTORY.to_owned() };
            let synced = self.disk.sync_directory(&directory).await;
            synced.map_err(|error| Error::Disk { path: directory, error })?;
        }
        Ok(places)
    }

    /// Merges what a run says into the index.
    fn merge_run(&mut self, partition: u16, place_file: u16, run: &FoundRun) {
        let footer = run.footer();
        let mut classes = 0;
        for found in footer.iter() {
            let entry = found.entry;
            let view = FieldsView {
                hash: u128::from(entry.hash.high) << 64 | u128::from(entry.hash.low) << 56,
                dot: Dot::new(entry.clock, found.actor),
                floor: found.floor,
                expires_at_ms: found.expires_at_ms,
                context: &found.context,
                siblings: found.siblings.as_deref(),
                is_tombstone: entry.is_tombstone(),
            };
            let bytes = class_bytes(entry.size_class);
            classes += bytes as u64;
            let place = Place { file: place_file, block: entry.place.block };
            self.merge_version(partition, &view, place, bytes);
        }
        self.recovery.runs += 1;
        self.recovery.run_records += footer.len() as u64;
        self.partition_files.set_mut(partition).push_run(Run { file: place_file, trailer: run.trailer, classes });
    }
}

/// Gives the runs whose sequence is unknown those behind the newest one that is known.
fn name_unknown(runs: &mut [(usize, FoundRun)]) {
    let mut newest = 0;
    for (_, run) in runs {
        if run.trailer.sequence == SEQUENCE_UNKNOWN {
            run.trailer.sequence = newest + 1;
        }
        newest = run.trailer.sequence;
    }
}

/// Reports runs that should be there and are not.
fn report_gaps<F>(report: &mut RecoveryReport, files: &[FoundFile<F>], runs: &[(usize, FoundRun)], replaced: u64) {
    let mut expected = replaced.max(1);
    for (file, run) in runs {
        let trailer = &run.trailer;
        if trailer.sequence != expected {
            let what = "a run before this one is missing, or there twice";
            report.corruption.push(Corruption { path: files[*file].path.clone(), offset: trailer.run_start, what });
        }
        expected = trailer.sequence + 1;
    }
}
