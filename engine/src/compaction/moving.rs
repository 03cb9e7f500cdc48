//! The end of a compaction: its runs join the chains, the index moves over to them, and what was read goes.
//!
//! Invariant: an entry moves only if it still is the one whose record was copied.

use annulus_object::{Clock, Dot};

use super::output::{Sealed, Writer};
use super::step::{Step, StepDone};
use super::{Compaction, Input};
use crate::disk::Disk;
use crate::engine::Engine;
use crate::hot_log::SMALL;
use crate::index::{Flags, Place};
use crate::partition_files::Run;
use crate::record::{self, Kind, RecordFields};
use crate::work::Work;

impl<D: Disk> Engine<D> {
    /// Makes all that was written durable.
    pub(super) fn sync_step(&mut self, job: &mut Compaction<D::File>) -> Step<D::File> {
        let names_changed = job.writers.values().any(|writer| writer.is_new);
        let names_in = if names_changed { self.partition_directories() } else { Vec::new() };
        let syncs = job.writers.values().map(|writer| writer.file.clone().expect("what was written is open")).collect();
        Step { syncs, names_in, ..Step::default() }
    }

    /// Writes trailers that were kept back. The last one of a partition makes its old files go, so the others come first.
    pub(super) fn trailer_step(&mut self, job: &mut Compaction<D::File>) -> Step<D::File> {
        let replaces = |writer: &Writer<D::File>| writer.trailer.is_some_and(|trailer| trailer.replaces_below > 0);
        let only_others = job.writers.values().any(|writer| !writer.has_trailer && !replaces(writer));
        let mut step = Step::default();
        for (part, writer) in job.writers.iter_mut().filter(|(_, writer)| !writer.has_trailer) {
            if only_others && replaces(writer) {
                continue;
            }
            step.syncs.push(writer.file.clone().expect("what was written is open"));
            step.writes.push(writer.take_trailer(*part));
        }
        step
    }

    /// Adds the runs, which are durable, to their partitions' chains.
    pub(super) fn adopt_runs(&mut self, job: &mut Compaction<D::File>) {
        for ((partition, _), mut writer) in std::mem::take(&mut job.writers) {
            let place_file = writer.place_file.or_else(|| {
                // A file of this compaction may hold the run before this one.
                let file = writer.file.clone().expect("what was written is open");
                let header = writer.header;
                self.partition_files.add_file(partition, file, writer.path.clone(), (header.number, header.node))
            });
            let place_file = place_file.expect("the number of files was looked at before one was begun");
            let trailer = writer.trailer.take().expect("it is sealed");
            self.partition_files.set_mut(partition).push_run(Run {
                file: place_file,
                trailer,
                classes: writer.classes,
            });
            let entries = writer.footer.iter().collect();
            job.sealed.push_back(Sealed { partition, place_file, entries, next: 0 });
        }
    }

    /// Lets the index point at the new runs, some entries at a time.
    pub(super) fn move_step(&mut self, job: &mut Compaction<D::File>) -> Step<D::File> {
        let mut left = self.config.limits.compaction_move_entries;
        while let Some(mut sealed) = job.sealed.pop_front() {
            let end = sealed.entries.len().min(sealed.next + left);
            for at in sealed.next..end {
                self.move_entry(job, &sealed, at);
            }
            left -= end - sealed.next;
            sealed.next = end;
            if sealed.next < sealed.entries.len() {
                job.sealed.push_front(sealed);
                break;
            }
        }
        Step::default()
    }

    fn move_entry(&mut self, job: &Compaction<D::File>, sealed: &Sealed, at: usize) {
        let (moved, partition) = (sealed.entries[at], sealed.partition);
        let Some(entry) = self.index.get(partition, moved.hash) else { return };
        if entry.clock != moved.clock
            || !job.reads(partition, entry.place.file)
            || entry.place.file == sealed.place_file
        {
            return;
        }
        self.lost(partition, &entry);
        let place = Place { file: sealed.place_file, block: moved.place.block };
        let entry = self.index.update(partition, moved.hash, |entry| entry.place = place).expect("it is there");
        self.gained(partition, &entry);
        self.counts.records_moved += 1;
        self.counts.siblings_moved += u64::from(entry.has_siblings());
    }

    /// Lets the input go; `None` while something else has to happen first.
    pub(super) fn release_step(&mut self, job: &mut Compaction<D::File>) -> Option<Step<D::File>> {
        self.drop_tombstones(job);
        match &job.input {
            Input::Drain { instance, segments, through } => {
                let (instance, segments, through) = (usize::from(*instance), segments.clone(), *through);
                if !self.release_mark(job, &segments) {
                    return None;
                }
                if segments.iter().any(|file| self.segments.get(*file).live > 0) {
                    return Some(self.keep_drained(&segments));
                }
                segments.iter().for_each(|file| self.segments.get_mut(*file).held = false);
                self.counts.drains += 1;
                self.counts.segments_drained += segments.len() as u64;
                self.advance_tail(instance);
                let log = &mut self.logs[instance];
                log.drained_through = through;
                if log.is_quiet() && !self.failures.read_only {
                    // Nobody may write for long; the segments are wanted before.
                    log.append_empty(self.now_us);
                }
                Some(Step::default())
            }
            Input::Sets { partitions } => {
                self.counts.compactions += partitions.len() as u64;
                let mut step = Step { names_in: self.partition_directories(), ..Step::default() };
                for partition in partitions {
                    let set = self.partition_files.set_mut(*partition);
                    let first = set.runs().last().expect("it was just written").trailer.replaces_below;
                    step.removes.extend(set.remove_below(first).into_iter().map(|file| file.path));
                }
                Some(step)
            }
        }
    }

    /// Something that counts could not be read: the log keeps all that was drained.
    fn keep_drained(&mut self, segments: &[u16]) -> Step<D::File> {
        self.counts.compactions_failed += 1;
        self.pacing.stopped = true;
        for file in segments {
            let segment = self.segments.get(*file);
            let (path, live) = (&segment.path, segment.live);
            tracing::error!(core = self.config.core, segment = %path, live,
                "damage in the log: records of it cannot be read; it is kept, and nothing is compacted any more");
        }
        Step::default()
    }

    /// Removes the tombstones that were left out from the index.
    fn drop_tombstones(&mut self, job: &mut Compaction<D::File>) {
        for (partition, hash, clock) in std::mem::take(&mut job.dropped) {
            let entry = self.index.get(partition, hash);
            let Some(entry) = entry.filter(|entry| entry.clock == clock && job.reads(partition, entry.place.file))
            else {
                continue;
            };
            self.index.remove(partition, hash);
            self.lost(partition, &entry);
            self.tree_lost(partition, &entry);
            if entry.flags.contains(Flags::EXTRA) {
                self.side.remove(partition, hash);
            }
            self.counts.tombstones_reaped += 1;
        }
    }

    /// Whether no FLUSHALL mark keeps the segments: it goes with them when it hides nothing any more, and otherwise is written
    /// anew at the log's end first.
    fn release_mark(&mut self, job: &mut Compaction<D::File>, segments: &[u16]) -> bool {
        let Some((clock, file)) = self.mark.filter(|(_, file)| segments.contains(file)) else {
            return true;
        };
        let in_log = self.logs.iter().map(|log| log.min_clock(&self.segments, segments)).min();
        let in_files = self.partition_files.iter().filter_map(|(_, set)| set.min_clock()).min();
        if in_log.is_none_or(|min| min > clock) && in_files.is_none_or(|min| min > clock) {
            self.segments.lost_mark(file);
            self.mark = None;
            return true;
        }
        if !job.mark_carried {
            job.mark_carried = self.carry_mark(clock);
        }
        false
    }

    /// Writes the mark anew at the log's end; whether there was room.
    fn carry_mark(&mut self, clock: Clock) -> bool {
        let fields = RecordFields {
            dot: Dot::new(clock, self.actor),
            hash: 0,
            partition: self.config.partitions.start,
            partition_incarnation: 0,
            kind: Kind::Mark,
            floor: self.floor,
            expires_at_ms: 0,
            context: &[],
            value_dot: None,
            key: &[],
            value: &[],
        };
        let bytes = record::encoded_bytes(&fields);
        let log = &mut self.logs[usize::from(SMALL)];
        if self.failures.read_only || self.failures.awaits_incarnation || !log.has_room(bytes, &self.config.limits) {
            return false;
        }
        let (_, place) = log.append(bytes, clock, self.now_us, &self.config.limits);
        record::encode(&fields, place);
        true
    }

    /// What an abandoned compaction wrote goes.
    pub(super) fn tidy_up(&mut self, job: Compaction<D::File>) {
        let mut step = Step { names_in: self.partition_directories(), ..Step::default() };
        for ((partition, _), writer) in job.writers {
            match (writer.place_file, writer.file) {
                (Some(place_file), Some(file)) => {
                    let bytes = self.partition_files.set(partition).file(place_file).bytes;
                    step.truncates.push((file.clone(), bytes));
                    step.syncs.push(file);
                }
                (None, _) => step.removes.push(writer.path),
                (Some(_), None) => unreachable!("a file of the set is open"),
            }
        }
        if let Input::Drain { segments, .. } = &job.input {
            segments.iter().for_each(|file| self.segments.get_mut(*file).held = false);
        }
        self.pacing.tidying = true;
        self.work.push_back(Work::compact(self.disk.clone(), step));
    }

    pub(super) fn on_tidied(&mut self, done: StepDone<D::File>) {
        self.pacing.tidying = false;
        if let Err(error) = done.result {
            tracing::error!(core = self.config.core, %error,
                "what an abandoned compaction wrote stays: nothing is compacted until the next start");
            self.pacing.stopped = true;
        }
    }
}
