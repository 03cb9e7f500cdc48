//! Judging records as they are read, and writing what counts.
//!
//! Invariant: a record is copied exactly when the index points at it; a tombstone is left out only when nothing that it hides
//! could come back.

use annulus_object::Clock;

use super::input::Next;
use super::output::{Part, Target, Writer};
use super::step::{Step, WriteOp};
use super::{Compaction, Input, Reader};
use crate::buffer::AlignedBuffer;
use crate::disk::Disk;
use crate::engine::Engine;
use crate::index::{IndexHash, Place, class_bytes, size_class};
use crate::record::{self, Kind, RecordFields, RecordRef};
use crate::sealed_run::{PartitionFileHeader, RUN_BLOCK_BYTES, Replayed};

impl<D: Disk> Engine<D> {
    /// The next read, beside what writers have too much of.
    pub(super) fn read_step(&mut self, job: &mut Compaction<D::File>) -> Step<D::File> {
        let mut step = Step { writes: self.flush_writers(job), ..Step::default() };
        if let Some(reader) = job.readers.front() {
            let (offset, bytes) = reader.wanted(self.config.limits.compaction_read_bytes);
            if bytes > 0 {
                step.read = Some((reader.file.clone(), offset, bytes));
            }
            self.pacing.tokens = self.pacing.tokens.saturating_sub(bytes as u64);
            job.read_bytes += bytes as u64;
            self.counts.compaction_read_bytes += bytes as u64;
        }
        step
    }

    /// When writers hold more than the budget, the fullest give up what they have until half of it is left.
    fn flush_writers(&mut self, job: &mut Compaction<D::File>) -> Vec<WriteOp<D::File>> {
        let budget = self.config.limits.compaction_buffer_bytes;
        if job.buffered <= budget {
            return Vec::new();
        }
        let mut fullest: Vec<_> = job.writers.iter().map(|(part, writer)| (writer.buffer.len(), *part)).collect();
        fullest.sort_unstable_by(|a, b| b.cmp(a));
        let mut writes = Vec::new();
        for (_, part) in fullest {
            if job.buffered <= budget / 2 {
                break;
            }
            let writer = job.writers.get_mut(&part).expect("it was just listed");
            if let Some(write) = writer.take_blocks(part) {
                job.buffered -= write.buffer.len();
                self.note_written(job, write.buffer.len());
                writes.push(write);
            }
        }
        writes
    }

    pub(super) fn note_written(&mut self, job: &mut Compaction<D::File>, bytes: usize) {
        job.written_bytes += bytes as u64;
        self.counts.compaction_written_bytes += bytes as u64;
    }

    /// Takes what a read brought. Errors: what counts cannot be read.
    pub(super) fn take_records(
        &mut self,
        job: &mut Compaction<D::File>,
        bytes: AlignedBuffer,
    ) -> Result<(), (u16, &'static str)> {
        let hidden_from = self.hidden_from(job);
        let mut reader = job.readers.pop_front().expect("something was read");
        reader.push(&bytes);
        loop {
            match reader.next() {
                Next::Record { offset, bytes } => {
                    let partition = reader.record(offset, bytes).partition();
                    let taken = self.take_record(job, &reader, (offset, bytes), hidden_from);
                    taken.map_err(|what| (partition, what))?;
                }
                Next::NeedsBytes if reader.wanted(1).1 > 0 => {
                    job.readers.push_front(reader);
                    return Ok(());
                }
                Next::NeedsBytes | Next::End => break,
            }
        }
        self.counts.compaction_damaged_records += reader.damaged;
        if reader.damaged > 0 && matches!(job.input, Input::Sets { .. }) {
            return Err((reader.partition, "a record cannot be read"));
        }
        Ok(())
    }

    /// Tombstones below this clock hide nothing that a crash could bring back from the log.
    fn hidden_from(&self, job: &Compaction<D::File>) -> Clock {
        if self.pacing.keeps_tombstones {
            return Clock::ZERO;
        }
        let but: &[u16] = match &job.input {
            Input::Drain { segments, .. } => segments,
            Input::Sets { .. } => &[],
        };
        self.logs.iter().map(|log| log.min_clock(&self.segments, but)).min().expect("there are two instances")
    }

    fn take_record(
        &mut self,
        job: &mut Compaction<D::File>,
        reader: &Reader<D::File>,
        (offset, bytes): (u64, usize),
        hidden_from: Clock,
    ) -> Result<(), &'static str> {
        let record = reader.record(offset, bytes);
        if record.kind() == Kind::Mark {
            return Ok(());
        }
        let (partition, hash) = (record.partition(), IndexHash::of(record.hash()));
        if !self.partitions.contains(partition) {
            return Err("a record of another core's partition");
        }
        let place = Place::at(reader.place_file, offset);
        let Some(entry) = self.index.get(partition, hash).filter(|entry| entry.place == place) else {
            return Ok(());
        };
        // Where others may have older versions, nothing that hides them is forgotten.
        if !entry.is_only_tombstone() || !self.config.is_alone {
            return self.copy(job, &record);
        }
        // A drain leaves older runs of the partition, and what they hold, where they are.
        let hides_run = matches!(job.input, Input::Drain { .. })
            && self.partition_files.set(partition).min_clock().is_some_and(|min| min <= entry.clock);
        if entry.clock < hidden_from && !hides_run {
            job.dropped.push((partition, hash, entry.clock));
            return Ok(());
        }
        if record.kind() == Kind::Tombstone {
            return self.copy(job, &record);
        }
        self.copy_as_tombstone(job, &record)
    }

    /// An expired value goes on as the tombstone that it is: its bytes are needed no more.
    fn copy_as_tombstone(&mut self, job: &mut Compaction<D::File>, record: &RecordRef<'_>) -> Result<(), &'static str> {
        let context: Vec<_> = record.context_entries().collect();
        let fields = RecordFields {
            dot: record.dot(),
            hash: record.hash(),
            partition: record.partition(),
            partition_incarnation: record.partition_incarnation(),
            kind: Kind::Tombstone,
            floor: record.floor(),
            expires_at_ms: 0,
            context: &context,
            value_dot: None,
            key: record.key(),
            value: &[],
        };
        let mut bytes = vec![0; record::encoded_bytes(&fields)];
        record::encode(&fields, &mut bytes);
        self.copy(job, &RecordRef::checked_before(&bytes))
    }

    fn copy(&mut self, job: &mut Compaction<D::File>, record: &RecordRef<'_>) -> Result<(), &'static str> {
        let partition = record.partition();
        let last = job.writers.range((partition, 0)..=(partition, u16::MAX)).next_back().map(|(part, _)| part.1);
        let limit = self.config.limits.partition_file_bytes_max;
        let fits = last.is_some_and(|part| {
            let writer = &job.writers[&(partition, part)];
            writer.end() < limit && writer.has_room(record.total_bytes())
        });
        let part = match (fits, last) {
            (true, Some(part)) => part,
            (_, last) => {
                let part = last.map_or(0, |part| part + 1);
                let target = self.target(job, partition, part > 0).ok_or("a partition has as many files as it can")?;
                let writer = Writer::new(target, self.index.len_in(partition));
                job.buffered += writer.buffer.len();
                job.writers.insert((partition, part), writer);
                part
            }
        };
        let writer = job.writers.get_mut(&(partition, part)).expect("it is there");
        writer.append(record, class_bytes(size_class(record.total_bytes())));
        job.buffered += record.total_bytes();
        Ok(())
    }

    /// Where a partition's next run goes: a drain's to the end of the newest file, while that is not too long.
    pub(super) fn target(
        &mut self,
        job: &Compaction<D::File>,
        partition: u16,
        is_second: bool,
    ) -> Option<Target<D::File>> {
        let limit = self.config.limits.partition_file_bytes_max;
        let (cluster_id, node) = (self.config.cluster_id, self.actor.node());
        let set = self.partition_files.set_mut(partition);
        let appends = matches!(job.input, Input::Drain { .. }) && !is_second && !set.damaged;
        if let Some((place_file, newest)) = set.newest_file().filter(|(_, newest)| appends && newest.bytes < limit) {
            let header = PartitionFileHeader { cluster_id, node: newest.node, number: newest.number, partition };
            let (file, path, end) = (Some(newest.file.clone()), newest.path.clone(), newest.bytes);
            return Some(Target { header, file, path, place_file: Some(place_file), end });
        }
        if set.files().count() >= usize::from(Place::FILES_MAX - Place::LOG_FILES) - 1 {
            return None;
        }
        let number = set.next_number();
        let header = PartitionFileHeader { cluster_id, node, number, partition };
        let path = self.partition_file_path(partition, number);
        Some(Target { header, file: None, path, place_file: None, end: RUN_BLOCK_BYTES as u64 })
    }

    /// Ends runs, and writes what is left of them: some at a time.
    pub(super) fn seal_step(&mut self, job: &mut Compaction<D::File>) -> Step<D::File> {
        let mut step = Step::default();
        let mut bytes = 0;
        if let Input::Sets { partitions } = job.input.clone() {
            for partition in partitions
                .into_iter()
                .filter(|partition| !job.writers.contains_key(&(*partition, 0)))
                .collect::<Vec<_>>()
            {
                // Nothing of it counts any more: an empty run says so, lest a part of what goes comes back.
                let target = self.target(job, partition, false).expect("a set that goes leaves room for a file");
                let writer = Writer::new(target, 0);
                job.buffered += writer.buffer.len();
                job.writers.insert((partition, 0), writer);
            }
        }
        let unsealed: Vec<Part> =
            job.writers.iter().filter(|(_, writer)| !writer.is_sealed).map(|(part, _)| *part).collect();
        for part in unsealed {
            if bytes > self.config.limits.compaction_seal_bytes {
                break;
            }
            let (sequence, replaces_below, drained) = self.run_identity(job, part);
            let writer = job.writers.get_mut(&part).expect("it was just listed");
            job.buffered -= writer.buffer.len();
            writer.seal(sequence, replaces_below, drained);
            let write = writer.take_blocks(part).expect("a footer, or a trailer, ends with a whole block");
            assert!(writer.buffer.is_empty(), "a sealed run ends with a whole block");
            bytes += write.buffer.len();
            self.counts.runs_sealed += 1;
            self.note_written(job, write.buffer.len());
            step.writes.push(write);
        }
        step
    }

    fn run_identity(&self, job: &Compaction<D::File>, (partition, number): Part) -> (u64, u64, Option<Replayed>) {
        let first = self.partition_files.set(partition).next_sequence();
        let sequence = first + u64::from(number);
        match &job.input {
            Input::Drain { instance, through, .. } => {
                let (layout, core) = (self.config.layout, self.config.core);
                (sequence, 0, Some(Replayed { layout, core, instance: *instance, through: *through }))
            }
            Input::Sets { .. } => {
                let is_last = !job.writers.contains_key(&(partition, number + 1));
                (sequence, if is_last { first } else { 0 }, None)
            }
        }
    }
}
