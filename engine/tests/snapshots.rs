//! Snapshots while writes, drains, compactions and failures go on: the copy that is made of one holds every write that was
//! acknowledged before it was begun, and nothing that was never written; what was interrupted or damaged is told from it.
//!
//! `ANNULUS_SEEDS=600` makes more runs; `ANNULUS_SEED=n ANNULUS_SEEDS=1` replays one.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]
#![allow(clippy::print_stdout, reason = "how much was tested shows")]

mod support;

use annulus_engine::disk::memory::{MemoryDisk, block_on};
use annulus_engine::snapshot::{Manifest, ManifestError, manifest_name};
use annulus_engine::{AlignedBuffer, Disk, Durability, File, OpenMode, SnapshotError, SnapshotReport, log_directory};
use support::{History, Node, Random, tiny};

const RUNS: u64 = 60;
const DIRECTORY: &str = "kept";

struct Run {
    random: Random,
    node: Node,
    keys: u64,
    values: u64,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut random = Random(seed ^ 0x5aab);
        let disk = MemoryDisk::new(seed);
        let mut node = Node::closed(disk, Durability::Sync);
        node.durability = if random.one_in(3) { Durability::Interval { ms: 20 } } else { Durability::Sync };
        node.limits = if random.one_in(3) { support::limits() } else { tiny() };
        node.work_steps = (!random.one_in(3)).then(|| 1 + random.below(3) as usize);
        node.hot_log_bytes = 40 << 10;
        (node.limits.space_per_mille, node.limits.garbage_per_mille_min) = (1_000, 1);
        let keys = 4 + random.below(30);
        Run { random, node, keys, values: 0 }
    }

    fn start(&mut self) {
        self.node.history = Some(History::default());
        self.node.open(1, None).unwrap();
    }

    fn operate(&mut self) {
        let key = format!("key-{}", self.random.below(self.keys)).into_bytes();
        match self.random.below(40) {
            0..30 => {
                let bytes =
                    if self.random.one_in(8) { 1100 + self.random.below(6_000) } else { self.random.below(700) };
                self.values += 1;
                let mut value = vec![self.values as u8; bytes.max(8) as usize];
                value[..8].copy_from_slice(&self.values.to_le_bytes());
                self.node.write(&key, Some((value, 0)));
            }
            30..38 => self.node.write(&key, None),
            38 => self.node.flush_all(0),
            _ => self.node.check(&key),
        }
        (0..self.random.below(3)).for_each(|_| drop(self.node.turn(self.random.below(3) as usize)));
        if self.random.one_in(2) {
            self.node.now_ms += self.random.below(30);
            self.node.tick();
        }
    }

    /// Begins a snapshot and goes on until it has ended; gives the points of the disk before and behind it.
    fn snapshot(&mut self) -> (usize, usize) {
        let before = self.node.disk.recorded();
        self.node.cores[0].begin_snapshot(DIRECTORY).unwrap();
        assert_eq!(self.node.cores[0].begin_snapshot("other"), Err(SnapshotError::Busy));
        for _ in 0..10_000 {
            if !self.node.snapshots.is_empty() {
                return (before, self.node.disk.recorded());
            }
            self.operate();
        }
        panic!("a snapshot never ends");
    }

    fn pinned(&self) -> u64 {
        self.node.cores[0].statistics().log_segments_pinned
    }
}

fn manifest_of(disk: &MemoryDisk) -> Result<Manifest, ManifestError> {
    let path = format!("{DIRECTORY}/{}", manifest_name(0));
    let bytes = if disk.paths().contains(&path) { disk.contents(&path) } else { Vec::new() };
    Manifest::parse(&bytes)
}

/// A disk with what the manifest names, and no more.
fn restored(disk: &MemoryDisk, manifest: &Manifest, seed: u64) -> MemoryDisk {
    let to = MemoryDisk::new(seed);
    let put = |path: &str, bytes: u64| {
        let contents = disk.contents(&format!("{DIRECTORY}/{path}"));
        assert!(contents.len() as u64 >= bytes, "{path} is shorter than {bytes}");
        let mut buffer = AlignedBuffer::default();
        buffer.extend_from_slice(&contents[..bytes as usize]);
        let file = block_on(to.open(path, OpenMode::Prepare)).unwrap();
        block_on(file.write_at(0, buffer, 0)).unwrap();
        block_on(file.sync()).unwrap();
    };
    manifest.files.iter().for_each(|file| put(&file.path, file.bytes));
    manifest.segments.iter().for_each(|segment| put(&segment.path, segment.bytes));
    for directory in ["partitions", &log_directory(1, 0)] {
        block_on(to.sync_directory(directory)).unwrap();
    }
    to
}

/// Opens what was restored and compares it with what it must and may hold.
fn judge(run: &Run, image: MemoryDisk, points: (usize, usize)) -> Node {
    let history = run.node.history.as_ref().unwrap();
    let mut node = Node::on_image(image, history, points, 0);
    (node.limits, node.hot_log_bytes) = (run.node.limits.clone(), run.node.hot_log_bytes);
    node.incarnation = run.node.incarnation + 1;
    node.open(1, None).unwrap();
    let report = node.cores[0].recovery();
    assert_eq!(
        (report.corruption.as_slice(), report.interrupted_runs),
        (&[][..], 0),
        "nothing is damaged or half done"
    );
    node.adopt_observed();
    let expected = node.expected_keys();
    assert_eq!(node.scan_keys(3), expected, "keys scanned");
    node
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    let first = number("ANNULUS_SEED").unwrap_or(1);
    first..first + number("ANNULUS_SEEDS").unwrap_or(RUNS)
}

#[test]
fn what_is_restored_is_what_was_acknowledged() {
    let (mut sums, mut drains, mut compactions) = (SnapshotReport::default(), 0, 0);
    for seed in seeds() {
        let mut run = Run::new(seed);
        run.node.disk.record();
        run.start();
        (0..run.random.below(150)).for_each(|_| run.operate());
        if seed.is_multiple_of(4) {
            run.node.disk.refuse_links();
        }
        let before = run.node.cores[0].statistics().counts;
        let points = run.snapshot();
        let after = run.node.cores[0].statistics().counts;
        drains += after.drains - before.drains;
        compactions += after.compactions - before.compactions;
        let report = run.node.snapshots.pop().unwrap().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(run.pinned(), 0, "seed {seed}");
        // What comes later is not in it.
        (0..run.random.below(100)).for_each(|_| run.operate());
        run.node.settle_all();
        let manifest = manifest_of(&run.node.disk).unwrap();
        assert_eq!(report.files, manifest.files.len() as u64);
        assert!(!seed.is_multiple_of(4) || report.linked_bytes == 0);
        let image = restored(&run.node.disk, &manifest, seed);
        judge(&run, image, points);
        sums.files += report.files;
        sums.segments += report.segments;
        sums.linked_bytes += report.linked_bytes;
        sums.copied_bytes += report.copied_bytes;
    }
    println!("{sums:?}, meanwhile {drains} drains and {compactions} compactions");
    if seeds().count() as u64 >= RUNS {
        assert!(sums.linked_bytes > 0 && sums.copied_bytes > 0 && drains > 0 && compactions > 0);
    }
}

#[test]
fn a_crash_leaves_a_whole_snapshot_or_none() {
    let (mut whole, mut refused) = (0, 0);
    for seed in seeds() {
        let mut run = Run::new(seed);
        run.start();
        (0..100).for_each(|_| run.operate());
        run.node.cores[0].begin_snapshot(DIRECTORY).unwrap();
        (0..run.random.below(40)).for_each(|_| run.operate());
        let has_ended = !run.node.snapshots.is_empty();
        run.node.abandon_work();
        run.node.disk.crash();
        match manifest_of(&run.node.disk) {
            Ok(manifest) => {
                whole += 1;
                let image = restored(&run.node.disk, &manifest, seed);
                // Points say nothing without a recording: only that it opens is looked at.
                let mut node = Node::closed(image, Durability::Sync);
                (node.limits, node.hot_log_bytes) = (run.node.limits.clone(), run.node.hot_log_bytes);
                node.incarnation = run.node.incarnation + 1;
                node.open(1, None).unwrap();
                assert_eq!(node.cores[0].recovery().corruption, [], "seed {seed}");
            }
            Err(error) => {
                assert!(!has_ended, "seed {seed}: {error}");
                refused += 1;
            }
        }
    }
    println!("{whole} whole snapshots, {refused} that are none");
    assert!(seeds().count() < RUNS as usize || (whole > 0 && refused > 0));
}

#[test]
fn a_snapshot_that_fails_leaves_no_pins() {
    for what in ["a name that is taken", "a part that is there", "a store that closes"] {
        let mut run = Run::new(7);
        run.start();
        (0..200).for_each(|_| run.operate());
        let disk = run.node.disk.clone();
        let take = |path: &str| drop(block_on(disk.open(path, OpenMode::Prepare)).unwrap());
        let partition_files: Vec<String> = disk.paths().into_iter().filter(|path| path.ends_with(".part")).collect();
        match what {
            "a name that is taken" => {
                partition_files.iter().for_each(|path| take(&format!("{DIRECTORY}/{path}")));
            }
            "a part that is there" => take(&format!("{DIRECTORY}/{}", manifest_name(0))),
            _ => {}
        }
        run.node.work_steps = Some(1);
        run.node.cores[0].begin_snapshot(DIRECTORY).unwrap();
        let mut pinned = 0;
        for _ in 0..1000 {
            run.operate();
            pinned = pinned.max(run.pinned());
            if what == "a store that closes" && run.pinned() > 0 {
                run.node.cores[0].abandon_snapshot();
                run.operate();
            }
            if !run.node.snapshots.is_empty() {
                break;
            }
        }
        let error = run.node.snapshots.pop().expect("it has ended").unwrap_err();
        assert_eq!(run.pinned(), 0, "{what}");
        let text = error.to_string();
        match what {
            "a name that is taken" => assert!(pinned > 0 && text.contains("exists already"), "{text}"),
            "a part that is there" => assert_eq!(error, SnapshotError::NotEmpty(DIRECTORY.to_owned())),
            _ => assert!(pinned > 0 && error == SnapshotError::Stopped, "{text}"),
        }
        assert!(manifest_of(&run.node.disk).is_err());
        // Another one can be made.
        run.node.cores[0].begin_snapshot("another").unwrap();
        (0..600).for_each(|_| run.operate());
        assert!(run.node.snapshots.pop().expect("it has ended").is_ok(), "{what}");
        run.node.settle_all();
    }
}
