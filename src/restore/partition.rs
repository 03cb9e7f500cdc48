//! One partition of a snapshot, added to what a stopped node has of it.
//!
//! What the snapshot holds of the partition, in its runs and in its log, is written as new runs behind those that are there;
//! the next start merges all of them as it always does. So a newer write wins, and a delete wins whose tombstone is still
//! there; what was deleted since the snapshot and whose tombstone is gone comes back, and so does what a FLUSHALL deleted whose
//! mark is gone.
//!
//! Invariant: a key has one record in the new runs, which says all that the snapshot has of it, and none that the snapshot's own
//! FLUSHALL deleted.

use std::fs;
use std::path::{Path, PathBuf};

use annulus_engine::record::Kind;
use annulus_engine::sealed_run::{PartitionFileHeader, Trailer};
use annulus_engine::{RecordRef, log_directory, parse_partition_name, partition_path};
use annulus_object::Clock;

use super::newest::{Newest, Taken, joined_record};
use super::records::{self, NewRun};
use super::source::Source;
use super::{PARTITIONS, RestoreError, at, sync_directory, target};
use crate::check::DataLock;
use crate::node_meta::{self, MetaFile, NodeMeta};

/// A new file is begun when one is so long.
const FILE_BYTES_MAX: u64 = 192 << 20;

/// Where a run of the snapshot is.
struct Run {
    path: PathBuf,
    trailer: Trailer,
}

/// What the snapshot has of a partition.
struct Wanted<'a> {
    partition: u16,
    runs: Vec<Run>,
    segments: Vec<(PathBuf, u64)>,
    /// Everything up to it was deleted.
    mark: Clock,
    source: &'a Source,
}

/// Adds a partition.
pub(super) fn restore(source: &Source, data: &Path, partition: u16) -> Result<String, RestoreError> {
    if !data.join(node_meta::FILE_NAME).exists() {
        let data = data.display();
        return Err(RestoreError::Target(format!(
            "{data} is no node's data directory: one partition is added to what is there"
        )));
    }
    let _lock = DataLock::acquire(data).map_err(target)?;
    let (mut file, mut meta, _) = MetaFile::open_or_found(data, || unreachable!("it is there")).map_err(target)?;
    check_node(source, &meta, partition)?;
    let wanted = Wanted::find(source, partition)?;
    let newest = wanted.newest()?;
    let present = Present::find(data, &meta, partition)?;
    // Before anything is there that could be stamped upon.
    meta.clean = false;
    file.save(&meta).map_err(target)?;
    let keys = newest.len();
    let written = wanted.write(data, &meta, &present, newest)?;
    sync_directory(&data.join(PARTITIONS))?;
    Ok(format!(
        "added {keys} records of partition {partition} in {written} new files to {}\nthe node takes a new incarnation when it starts",
        data.display()
    ))
}

fn check_node(source: &Source, meta: &NodeMeta, partition: u16) -> Result<(), RestoreError> {
    if (source.meta.cluster_id, source.meta.hash_key) != (meta.cluster_id, meta.hash_key) {
        return Err(target("the snapshot and the data directory are of different clusters"));
    }
    if u32::from(partition) >= meta.partitions || source.meta.partitions != meta.partitions {
        return Err(RestoreError::Target(format!("partitions are numbered from 0 to {}", meta.partitions - 1)));
    }
    Ok(())
}

impl<'a> Wanted<'a> {
    fn find(source: &'a Source, partition: u16) -> Result<Self, RestoreError> {
        let owner = source.manifests.iter().find(|manifest| manifest.partitions.contains(&partition));
        let manifest = owner.ok_or_else(|| target(format!("no core of the snapshot has partition {partition}")))?;
        let mut runs = Vec::new();
        for file in &manifest.files {
            let name = file.path.rsplit('/').next().and_then(parse_partition_name);
            if name.is_some_and(|(of, _)| of == partition) {
                let path = source.root.join(&file.path);
                let found = records::runs(&path, file.bytes, false)?;
                runs.extend(found.into_iter().map(|trailer| Run { path: path.clone(), trailer }));
            }
        }
        let replaced = runs.iter().map(|run| run.trailer.replaces_below).max().unwrap_or(0);
        runs.retain(|run| run.trailer.sequence >= replaced);
        let segments = &manifest.segments;
        let segments = segments.iter().map(|segment| (source.root.join(&segment.path), segment.written)).collect();
        let mut wanted = Self { partition, runs, segments, mark: Clock::ZERO, source };
        let mut mark = Clock::ZERO;
        wanted.each_logged(&mut |record| {
            if record.kind() == Kind::Mark {
                mark = mark.max(record.dot().clock);
            }
            Ok(())
        })?;
        wanted.mark = mark;
        Ok(wanted)
    }

    fn each_logged(
        &self,
        take: &mut impl FnMut(&RecordRef<'_>) -> Result<(), RestoreError>,
    ) -> Result<(), RestoreError> {
        for (path, written) in &self.segments {
            let scanned = records::of_segment(path, take)?;
            if scanned.is_none_or(|scanned| scanned.end < *written) {
                let what = "its frames are damaged; what can be read is restored with the whole snapshot".to_owned();
                return Err(RestoreError::Damaged { path: path.clone(), what });
            }
        }
        Ok(())
    }

    /// Every record of the partition that was not deleted by a FLUSHALL.
    fn each(&self, take: &mut impl FnMut(&RecordRef<'_>) -> Result<(), RestoreError>) -> Result<(), RestoreError> {
        let mut chosen = |record: &RecordRef<'_>| {
            let counts =
                record.kind() != Kind::Mark && record.partition() == self.partition && record.dot().clock > self.mark;
            if counts { take(record) } else { Ok(()) }
        };
        for run in &self.runs {
            records::of_run(&run.path, &run.trailer, &mut chosen)?;
        }
        self.each_logged(&mut chosen)
    }

    fn newest(&self) -> Result<Newest, RestoreError> {
        let mut newest = Newest::default();
        self.each(&mut |record| {
            newest.note(record);
            Ok(())
        })?;
        Ok(newest)
    }

    /// Writes the newest records; gives the number of files.
    fn write(&self, data: &Path, meta: &NodeMeta, present: &Present, newest: Newest) -> Result<u64, RestoreError> {
        let mut out = Runs { data, meta, present, partition: self.partition, files: 0, run: None };
        let (mut left, mut parts) = (newest, Vec::new());
        self.each(&mut |record| {
            // A record may lie in a run and in the log.
            match left.take(record) {
                Taken::Whole => out.append(record),
                Taken::Part => {
                    parts.push(record.bytes().to_vec());
                    Ok(())
                }
                Taken::Not => Ok(()),
            }
        })?;
        parts.sort_by_key(|part| RecordRef::checked_before(part).hash());
        let same = |one: &Vec<u8>, other: &Vec<u8>| {
            RecordRef::checked_before(one).hash() == RecordRef::checked_before(other).hash()
        };
        for records in parts.chunk_by(same) {
            let joined = joined_record(records).ok_or_else(|| target("the siblings of a key are too long together"))?;
            out.append(&RecordRef::checked_before(&joined))?;
        }
        assert!(left.is_empty(), "every record was found again in {}", self.source.root.display());
        out.finish()
    }
}

/// The new files while they are written.
struct Runs<'a> {
    data: &'a Path,
    meta: &'a NodeMeta,
    present: &'a Present,
    partition: u16,
    files: u64,
    run: Option<NewRun>,
}

impl Runs<'_> {
    fn append(&mut self, record: &RecordRef<'_>) -> Result<(), RestoreError> {
        if self.run.as_ref().is_some_and(|run| run.end >= FILE_BYTES_MAX)
            && let Some(full) = self.run.take()
        {
            full.seal(self.present.sequence + self.files)?;
        }
        let run = match &mut self.run {
            Some(run) => run,
            None => {
                self.files += 1;
                let number = self.present.number + self.files;
                let (cluster_id, node, partition) = (self.meta.cluster_id, self.meta.node_id, self.partition);
                let header = PartitionFileHeader { cluster_id, node, number, partition };
                self.run.insert(NewRun::create(self.data.join(partition_path(partition, number)), header)?)
            }
        };
        run.append(record)
    }

    fn finish(mut self) -> Result<u64, RestoreError> {
        if let Some(last) = self.run.take() {
            last.seal(self.present.sequence + self.files)?;
        }
        Ok(self.files)
    }
}

/// What the data directory has of the partition.
struct Present {
    /// The newest number of a file.
    number: u64,
    /// The sequence of the newest run that counts.
    sequence: u64,
}

impl Present {
    fn find(data: &Path, meta: &NodeMeta, partition: u16) -> Result<Self, RestoreError> {
        let tails = tails(data, meta)?;
        // As recovery judges: a run does not count while the log replays what it was drained from.
        let is_interrupted = |run: &Trailer| {
            run.drained.is_some_and(|drained| {
                let mut of_log = tails.iter().filter(|tail| {
                    (meta.layout, tail.core, tail.instance) == (drained.layout, drained.core, drained.instance)
                });
                of_log.any(|tail| tail.log_tail <= drained.through && tail.sequences.contains(&drained.through))
            })
        };
        let mut present = Self { number: 0, sequence: 0 };
        let directory = data.join(PARTITIONS);
        for entry in fs::read_dir(&directory).map_err(at(&directory))? {
            let entry = entry.map_err(at(&directory))?;
            let name = entry.file_name();
            let Some((of, number)) = name.to_str().and_then(parse_partition_name) else { continue };
            if of != partition {
                continue;
            }
            present.number = present.number.max(number);
            let bytes = entry.metadata().map_err(at(&entry.path()))?.len();
            let found = records::runs(&entry.path(), bytes, true)?;
            let newest = found.iter().find(|run| !is_interrupted(run));
            present.sequence = present.sequence.max(newest.map_or(0, |run| run.sequence));
        }
        Ok(present)
    }
}

/// Where an instance of a core's log begins.
struct Tail {
    core: u16,
    instance: u8,
    log_tail: u64,
    sequences: Vec<u64>,
}

fn tails(data: &Path, meta: &NodeMeta) -> Result<Vec<Tail>, RestoreError> {
    let mut tails = Vec::new();
    for core in 0..meta.cores {
        let directory = data.join(log_directory(meta.layout, core));
        let mut found = Vec::new();
        for entry in fs::read_dir(&directory).map_err(at(&directory))? {
            let path = entry.map_err(at(&directory))?.path();
            found.extend(records::of_segment(&path, &mut |_| Ok(()))?);
        }
        found.sort_by_key(|scanned| scanned.header.sequence);
        for instance in 0..annulus_engine::segment::INSTANCES {
            let of_instance = || found.iter().filter(|scanned| scanned.header.instance == instance);
            let log_tail = of_instance().rev().find_map(|scanned| scanned.log_tail).unwrap_or(0);
            let sequences = of_instance().map(|scanned| scanned.header.sequence).collect();
            tails.push(Tail { core, instance, log_tail, sequences });
        }
    }
    Ok(tails)
}
