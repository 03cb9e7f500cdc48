//! The partition files of a core: for each partition a chain of sealed runs, in one file or several.
//!
//! Not here: how runs are made (`compaction`), and their format (`sealed_run`).
//!
//! Invariants: the runs of a partition have consecutive sequences, and the newest one is at the end of the newest file; the
//! class bytes of a partition are those of its runs' records and of the index entries that point at them.

use annulus_object::Clock;

use crate::index::{Place, class_bytes};
use crate::partitions::Partitions;
use crate::sealed_run::{RUN_BLOCK_BYTES, Trailer};
use crate::segments::share;

/// Directory of all partitions' files.
pub(crate) const DIRECTORY: &str = "partitions";

/// The path of a partition's file.
pub fn partition_path(partition: u16, number: u64) -> String {
    format!("{DIRECTORY}/p{partition:05}-{number:08}.part")
}

/// Partition and number of a partition file's name; `None` for other files.
pub fn parse_partition_name(name: &str) -> Option<(u16, u64)> {
    let (partition, number) = name.strip_prefix('p')?.strip_suffix(".part")?.split_once('-')?;
    let well_formed = partition.len() == 5 && number.len() >= 8;
    well_formed.then_some(())?;
    Some((partition.parse().ok()?, number.parse().ok()?))
}

/// The path of a file of hints: with the log of the core that keeps them, because they belong to it.
pub(crate) fn hints_path(log_directory: &str, partition: u16, target: u64, number: u64) -> String {
    format!("{log_directory}/h{partition:05}-{target:012x}-{number:08}.part")
}

/// Partition, target and number of the name of a file of hints; `None` for other files.
pub(crate) fn parse_hints_name(name: &str) -> Option<(u16, u64, u64)> {
    let (partition, rest) = name.strip_prefix('h')?.strip_suffix(".part")?.split_once('-')?;
    let (target, number) = rest.split_once('-')?;
    let well_formed = partition.len() == 5 && target.len() == 12 && number.len() >= 8;
    well_formed.then_some(())?;
    Some((partition.parse().ok()?, u64::from_str_radix(target, 16).ok()?, number.parse().ok()?))
}

/// An open file of a partition.
#[derive(Debug)]
pub(crate) struct PartitionFile<F> {
    pub(crate) file: F,
    pub(crate) path: String,
    pub(crate) number: u64,
    /// Id of the node that made it.
    pub(crate) node: u64,
    /// Where the newest run ends; what lies behind does not count.
    pub(crate) bytes: u64,
    /// Tells this file from another one that had the same place in the table.
    pub(crate) id: u64,
}

/// A run, and which file of the partition it is in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// As in a [`Place`].
    pub(crate) file: u16,
    pub(crate) trailer: Trailer,
    /// Size classes of its records, in bytes.
    pub(crate) classes: u64,
}

/// One partition's files.
#[derive(Debug)]
pub(crate) struct Set<F> {
    files: Vec<Option<PartitionFile<F>>>,
    runs: Vec<Run>,
    /// The number of the newest file that there ever was.
    newest_number: u64,
    /// The sequence of the newest run that there ever was.
    newest_sequence: u64,
    /// Size classes of the records, and of those that the index names, in bytes.
    class_bytes: (u64, u64),
    /// Bytes of all records.
    record_bytes: u64,
    /// Index entries that point here.
    live: u64,
    /// Damage was found: nothing of it is moved or removed.
    pub(crate) damaged: bool,
}

/// All partitions of a core.
#[derive(Debug)]
pub(crate) struct PartitionFiles<F> {
    partitions: Partitions,
    sets: Vec<Set<F>>,
    next_id: u64,
}

impl<F> Default for Set<F> {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            runs: Vec::new(),
            newest_number: 0,
            newest_sequence: 0,
            class_bytes: (0, 0),
            record_bytes: 0,
            live: 0,
            damaged: false,
        }
    }
}

impl<F> Set<F> {
    /// The file of a place. Panics when there is none.
    pub(crate) fn file(&self, file: u16) -> &PartitionFile<F> {
        self.get(file).expect("places name files that are there")
    }

    /// The file of a place, if it is still there.
    pub(crate) fn get(&self, file: u16) -> Option<&PartitionFile<F>> {
        self.files.get(usize::from(file - Place::LOG_FILES))?.as_ref()
    }

    /// The files, with the file numbers of their places.
    pub(crate) fn files(&self) -> impl Iterator<Item = (u16, &PartitionFile<F>)> {
        (Place::LOG_FILES..).zip(&self.files).filter_map(|(number, file)| Some((number, file.as_ref()?)))
    }

    /// The runs, oldest first.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The file that the newest run is in.
    pub(crate) fn newest_file(&self) -> Option<(u16, &PartitionFile<F>)> {
        let run = self.runs.last()?;
        Some((run.file, self.file(run.file)))
    }

    /// A number for a new file.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.newest_number += 1;
        self.newest_number
    }

    /// The sequence of the next run.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.newest_sequence + 1
    }

    /// No number up to this one is given to a new file.
    pub(crate) fn note_number(&mut self, number: u64) {
        self.newest_number = self.newest_number.max(number);
    }

    /// The newest run is in place: it belongs to the chain from now on.
    pub(crate) fn push_run(&mut self, run: Run) {
        let Run { file, trailer, classes } = run;
        assert!(trailer.sequence > self.newest_sequence, "sequences only grow");
        self.newest_sequence = trailer.sequence;
        self.class_bytes.0 += classes;
        self.record_bytes += trailer.records_bytes;
        let slot = self.files[usize::from(file - Place::LOG_FILES)].as_mut().expect("a run is in a file");
        slot.bytes = slot.bytes.max(trailer.end());
        self.runs.push(run);
    }

    /// Takes out every run below `sequence`, and the files that hold no other; nothing may point at them.
    pub(crate) fn remove_below(&mut self, sequence: u64) -> Vec<PartitionFile<F>> {
        self.runs.retain(|run| run.trailer.sequence >= sequence);
        self.class_bytes.0 = self.runs.iter().map(|run| run.classes).sum();
        self.record_bytes = self.runs.iter().map(|run| run.trailer.records_bytes).sum();
        assert!(self.class_bytes.1 <= self.class_bytes.0, "nothing points at what was removed");
        let runs = &self.runs;
        let slots = (Place::LOG_FILES..).zip(&mut self.files);
        slots.filter(|(file, _)| runs.iter().all(|run| run.file != *file)).filter_map(|(_, slot)| slot.take()).collect()
    }

    /// An index entry points here from now on.
    pub(crate) fn gained(&mut self, class: u8) {
        self.live += 1;
        self.class_bytes.1 += class_bytes(class) as u64;
    }

    /// An index entry points here no more.
    pub(crate) fn lost(&mut self, class: u8) {
        assert!(self.live > 0, "an entry is counted once");
        self.live -= 1;
        self.class_bytes.1 -= class_bytes(class) as u64;
    }

    /// Index entries that point here.
    pub(crate) fn live(&self) -> u64 {
        self.live
    }

    /// Bytes of all files up to their newest runs' ends.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().flatten().map(|file| file.bytes).sum()
    }

    /// Bytes of all records.
    pub(crate) fn record_bytes(&self) -> u64 {
        self.record_bytes
    }

    /// About how many of them the index still names.
    pub(crate) fn live_bytes(&self) -> u64 {
        share(self.record_bytes(), self.class_bytes)
    }

    /// What a compaction would set free: records that do not count, and padding and trailers of all runs but one.
    pub(crate) fn garbage_bytes(&self) -> u64 {
        let blocks = 2 * RUN_BLOCK_BYTES as u64 * (self.runs.len() as u64).saturating_sub(1);
        self.record_bytes() - self.live_bytes() + blocks
    }

    /// The smallest clock of its records.
    pub(crate) fn min_clock(&self) -> Option<Clock> {
        self.runs.iter().filter(|run| run.trailer.entries > 0).map(|run| run.trailer.clocks.0).min()
    }

    /// Whether some file is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.iter().all(Option::is_none)
    }
}

impl<F> PartitionFiles<F> {
    /// None, for the partitions of a core.
    pub(crate) fn new(partitions: &Partitions) -> Self {
        let sets = partitions.all().map(|_| Set::default()).collect();
        Self { partitions: partitions.clone(), sets, next_id: 1 }
    }

    /// One more partition, of hints.
    pub(crate) fn add_hints(&mut self) {
        self.partitions.add_hints().expect("whoever adds a partition has a number for it");
        self.sets.push(Set::default());
    }

    /// A partition's files.
    pub(crate) fn set(&self, partition: u16) -> &Set<F> {
        self.sets.get(self.partitions.slot(partition)).expect("the partition is this core's")
    }

    /// A partition's files.
    pub(crate) fn set_mut(&mut self, partition: u16) -> &mut Set<F> {
        self.sets.get_mut(self.partitions.slot(partition)).expect("the partition is this core's")
    }

    /// All partitions.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, &Set<F>)> {
        self.partitions.all().zip(&self.sets)
    }

    /// Adds a file to a partition; its file number for places, `None` when no number is left.
    pub(crate) fn add_file(
        &mut self,
        partition: u16,
        file: F,
        path: String,
        (number, node): (u64, u64),
    ) -> Option<u16> {
        let id = self.next_id;
        self.next_id += 1;
        let set = self.set_mut(partition);
        let free = set.files.iter().position(Option::is_none).unwrap_or(set.files.len());
        let place =
            u16::try_from(free).ok()?.checked_add(Place::LOG_FILES).filter(|place| *place < Place::FILES_MAX)?;
        if free == set.files.len() {
            set.files.push(None);
        }
        set.note_number(number);
        set.files[free] = Some(PartitionFile { file, path, number, node, bytes: RUN_BLOCK_BYTES as u64, id });
        Some(place)
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.sets.iter().map(Set::bytes).sum()
    }

    /// About how many bytes of records the index still names.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.sets.iter().map(Set::live_bytes).sum()
    }
}
