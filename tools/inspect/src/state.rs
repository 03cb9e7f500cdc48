//! One partition as a start would see it: which runs count, and of every key which version.
//!
//! The rules, in this order:
//!
//! * Runs with a sequence below the largest `replaces_below` of the partition's runs do not count.
//! * The last runs, as long as they were drained from a part of the log which a crash would still replay, do not count: the log
//!   has their records.
//! * The sequences of the others are consecutive from that `replaces_below` on, or from 1; where one is missing, a run is lost.
//! * Versions at or below the mark (FLUSHALL) of the partition's core are deleted.
//! * Of two records of a key the one counts that includes the other, tombstones included. Where neither does both count, and a
//!   start joins them.
//!
//! What it is not: it reads no values, and takes a footer's word for records; `verify` compares the two.
//!
//! Invariant: the current versions are sorted by hash, the newest of a key first; none includes another of its key.

use std::collections::BTreeMap;
use std::ops::Range;

use annulus_engine::index::IndexHash;
use annulus_engine::merkle::{MerkleTree, leaves_for};
use annulus_engine::sealed_run::{TRAILER_BYTES, Trailer};
use annulus_object::Clock;

use crate::finding::{Findings, Site};
use crate::log::Log;
use crate::partition_file::{PartitionFile, Run};
use crate::run::RunRef;
use crate::version::{Place, Version, counting, joined};

/// What became of a version, or of a whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It counts.
    Current,
    /// A newer version of its key counts.
    Older,
    /// FLUSHALL deleted it.
    Flushed,
    /// It is in a run that later ones replace.
    Replaced,
    /// It is in a run whose records the log still has.
    Replayed,
}

impl Fate {
    /// For a listing.
    pub fn word(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Older => "older",
            Self::Flushed => "flushed",
            Self::Replaced => "replaced run",
            Self::Replayed => "run still in the log",
        }
    }
}

/// What the rules need to know besides the files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The newest FLUSHALL of the partition's core.
    pub mark: Option<Clock>,
    /// All of the partition's files are there, rather than one of them.
    pub is_whole: bool,
    /// What does not count is kept, too.
    pub keep_dead: bool,
}

/// Sums over a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Keys with a value, or several.
    pub keys: u64,
    /// Keys that are deleted.
    pub tombstones: u64,
    /// Bytes of current records in partition files.
    pub live_in_files: u64,
    /// Bytes of current records in the log.
    pub live_in_log: u64,
    /// Bytes of other records in partition files, and of appends that were cut off; not those that wait for their part of the
    /// log to go.
    pub dead: u64,
    /// The smallest and the largest clock of a current version.
    pub clocks: Option<(Clock, Clock)>,
}

/// A partition.
#[derive(Debug)]
pub struct Partition {
    /// Its number.
    pub number: u16,
    /// Its files, in the order of their numbers.
    pub files: Vec<PartitionFile>,
    /// What becomes of every run, file by file.
    pub fates: Vec<Vec<Fate>>,
    /// What counts: of nearly every key one version.
    pub current: Vec<Version>,
    /// What does not, when that was asked for.
    pub dead: Vec<(Version, Fate)>,
    /// What is wrong.
    pub findings: Findings,
}

impl Partition {
    /// Applies the rules.
    pub fn new(number: u16, files: Vec<PartitionFile>, log: &Log, options: Options) -> Self {
        let findings = Findings::default();
        let mut partition = Self { number, files, fates: Vec::new(), current: Vec::new(), dead: Vec::new(), findings };
        partition.fates = partition.judge_runs(log, options.is_whole);
        let Options { mark, keep_dead, .. } = options;
        let mut found = Findings::default();
        let mut versions: Vec<Version> = Vec::new();
        let mut keep = |version: Version, fate: Fate, dead: &mut Vec<(Version, Fate)>| match fate {
            Fate::Current => versions.push(version),
            _ if keep_dead => dead.push((version, fate)),
            _ => {}
        };
        let mut dead = Vec::new();
        let is_flushed = |version: &Version| mark.is_some_and(|mark| version.dot.clock <= mark);
        for run in partition.runs().filter(|run| keep_dead || partition.fate(run.at) == Fate::Current) {
            let fate = partition.fate(run.at);
            for version in run.versions(&mut found) {
                let flushed = fate == Fate::Current && is_flushed(&version);
                keep(version, if flushed { Fate::Flushed } else { fate }, &mut dead);
            }
        }
        for (version, flushed) in log.versions(number) {
            let fate = if flushed || is_flushed(&version) { Fate::Flushed } else { Fate::Current };
            keep(version, fate, &mut dead);
        }
        partition.findings.extend(found);
        partition.dead = dead;
        partition.merge(versions, log, keep_dead);
        partition
    }

    /// All runs, in the order of the files.
    pub fn runs(&self) -> impl Iterator<Item = RunRef<'_>> {
        self.files.iter().enumerate().flat_map(|(number, file)| {
            let number = u16::try_from(number).expect("a partition has few files");
            file.runs.iter().enumerate().map(move |(run_number, run)| {
                let run_number = u16::try_from(run_number).expect("a file has at most 2^16 blocks");
                RunRef { file, run, at: (number, run_number) }
            })
        })
    }

    /// What becomes of a run.
    pub fn fate(&self, (file, run): (u16, u16)) -> Fate {
        self.fates[usize::from(file)][usize::from(run)]
    }

    fn judge_runs(&mut self, log: &Log, is_whole: bool) -> Vec<Vec<Fate>> {
        let trailers = || self.files.iter().flat_map(|file| &file.runs).filter_map(|run| run.trailer.as_ref());
        let replaces_below = trailers().map(|trailer| trailer.replaces_below).max().unwrap_or(0);
        let mut newest: Vec<&Trailer> = trailers().collect();
        newest.sort_by_key(|trailer| std::cmp::Reverse(trailer.sequence));
        let is_replayed = |trailer: &&&Trailer| trailer.drained.is_some_and(|drained| log.replays(&drained));
        let replayed_from = newest.iter().take_while(is_replayed).last().map_or(u64::MAX, |trailer| trailer.sequence);
        let mut findings = Findings::default();
        if is_whole {
            self.check_sequences(replaces_below..replayed_from, &mut findings);
        }
        let fate_of = |sequence: u64| match sequence {
            sequence if sequence < replaces_below => Fate::Replaced,
            sequence if sequence >= replayed_from => Fate::Replayed,
            _ => Fate::Current,
        };
        let mut fates = Vec::new();
        for file in &self.files {
            let fate = |(at, run): (usize, &Run)| match (&run.trailer, next_trailer(file, at)) {
                (Some(trailer), _) => fate_of(trailer.sequence),
                // Its sequence is below that of the next run in the file.
                (None, Some(next)) if next.sequence <= replaces_below => {
                    let site = Site::at(&file.path, run.range.end - TRAILER_BYTES as u64).of(self.number);
                    findings.damage(site, "a trailer is damaged, of a run that other runs replace");
                    Fate::Replaced
                }
                (None, _) => Fate::Current,
            };
            fates.push(file.runs.iter().enumerate().map(fate).collect());
        }
        self.findings.extend(findings);
        fates
    }

    /// Reports runs that are missing or there twice among those that count.
    fn check_sequences(&self, counting: Range<u64>, findings: &mut Findings) {
        let mut sequences: BTreeMap<u64, &PartitionFile> = BTreeMap::new();
        let mut unknown: Vec<(u64, u64)> = Vec::new();
        for file in &self.files {
            let mut before = 0;
            for (at, run) in file.runs.iter().enumerate() {
                let Some(trailer) = &run.trailer else {
                    unknown.push((before, next_trailer(file, at).map_or(u64::MAX, |trailer| trailer.sequence)));
                    continue;
                };
                let site = || Site::at(&file.path, trailer.offset).of(self.number);
                if let Some(other) = sequences.insert(trailer.sequence, file) {
                    findings.damage(site(), format!("run {} is in {}, too", trailer.sequence, other.path.display()));
                }
                if trailer.sequence < before {
                    findings.damage(site(), format!("run {} comes behind run {before}", trailer.sequence));
                }
                before = trailer.sequence;
            }
        }
        let mut expected = counting.start.max(1);
        for (sequence, file) in sequences.range(counting) {
            for missing in expected..*sequence {
                // A run whose trailer is damaged was reported, and may be this one.
                if !unknown.iter().any(|(before, after)| *before < missing && missing < *after) {
                    let what = format!("run {missing} of the partition is missing; what it held is lost");
                    findings.damage(Site::file(&file.path).of(self.number), what);
                }
            }
            expected = sequence + 1;
        }
    }

    /// Of every key the version that counts.
    fn merge(&mut self, mut versions: Vec<Version>, log: &Log, keep_dead: bool) {
        versions.sort_by_key(|version| version.hash);
        let mut rest = versions.as_slice();
        while let Some(first) = rest.first() {
            let (same, others) = rest.split_at(rest.partition_point(|version| version.hash == first.hash));
            let chosen = counting(same);
            if chosen.len() > 1 {
                let site = self.site_of(log, &same[chosen[0]]);
                let what =
                    format!("{} records say parts of the key's state; a node that starts joins them", chosen.len());
                self.findings.notice(site, what);
            }
            self.current.extend(chosen.iter().map(|at| same[*at].clone()));
            if keep_dead {
                let older = same.iter().enumerate().filter(|(at, _)| !chosen.contains(at));
                self.dead.extend(older.map(|(_, version)| (version.clone(), Fate::Older)));
            }
            rest = others;
        }
    }

    /// Where a version's record lies.
    pub fn site_of(&self, log: &Log, version: &Version) -> Site {
        let site = match version.place {
            Place::Run { file, offset, .. } => Site::at(&self.files[usize::from(file)].path, offset),
            Place::Log { segment, offset } => Site::at(&log.segments[segment as usize].path, offset),
        };
        site.of(self.number).keys(version.hashes())
    }

    /// What counts of a key.
    pub fn current_of(&self, hash: IndexHash) -> &[Version] {
        let from = self.current.partition_point(|version| version.hash < hash);
        let of_key = self.current[from..].partition_point(|version| version.hash == hash);
        &self.current[from..from + of_key]
    }

    /// What counts, key by key.
    pub fn keys(&self) -> impl Iterator<Item = &[Version]> {
        self.current.chunk_by(|one, other| one.hash == other.hash)
    }

    /// The hash tree over what counts.
    pub fn tree(&self) -> MerkleTree {
        let mut tree = MerkleTree::build(leaves_for(self.keys().count()), []);
        for versions in self.keys() {
            joined(versions).siblings.iter().for_each(|(dot, _)| tree.add(versions[0].hash, *dot));
        }
        tree
    }

    /// Sums.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for versions in self.keys() {
            let latest = joined(versions).latest();
            *(if latest.is_none_or(|(_, deletes)| deletes) { &mut totals.tombstones } else { &mut totals.keys }) += 1;
        }
        for version in &self.current {
            let clock = version.dot.clock;
            let (low, high) = totals.clocks.unwrap_or((clock, clock));
            totals.clocks = Some((low.min(clock), high.max(clock)));
            let in_log = matches!(version.place, Place::Log { .. });
            *(if in_log { &mut totals.live_in_log } else { &mut totals.live_in_files }) += u64::from(version.bytes);
        }
        let waits = |run: &RunRef<'_>| self.fate(run.at) == Fate::Replayed;
        let records: u64 = self.runs().filter(|run| !waits(run)).map(|run| run.records_bytes()).sum();
        let behind: u64 = self.files.iter().map(PartitionFile::behind).sum();
        totals.dead = (records + behind).saturating_sub(totals.live_in_files);
        totals
    }
}

/// The first trailer in a file behind one of its runs.
fn next_trailer(file: &PartitionFile, at: usize) -> Option<&Trailer> {
    file.runs[at + 1..].iter().find_map(|run| run.trailer.as_ref())
}
