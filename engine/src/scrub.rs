//! The scrub: reads everything that the core has on disk in time, so that rot is known before a client meets it.
//!
//! ```text
//! cycle: a partition, the next, …, the log → its files → walk (parts of a file) → bad bytes → judge (whose are they?) → place
//! ```
//!
//! One read is under way at a time, in the background; what it brings is checked in a turn. Where a cycle begins follows from
//! the time of the start, so that a node that restarts often does not read the same part again and again.
//!
//! What it is not: it mends nothing, and keeps nothing over a restart. A file that is compacted is left to the compaction,
//! which checks every record itself.
//!
//! Invariant: nothing is called damaged that was replaced, or written again, while it was read.

mod fetch;
mod findings;
mod judge;
mod pace;
mod walk;

use std::collections::VecDeque;

use self::findings::Findings;
use self::judge::Judging;
use self::pace::Pace;
use self::walk::{Target, Walk};
use crate::buffer::AlignedBuffer;
use crate::disk::Disk;
use crate::disk_level::DiskLevel;
use crate::engine::Engine;
use crate::work::Work;

pub(crate) use self::fetch::{Fetch, Fetched};
pub use self::findings::DamagedPlace;

/// A read that fails as a whole is tried so many times before its bytes count as lost.
const TRIES: u32 = 3;
/// Partitions without files that are passed over in one turn.
const SLOTS_PER_TURN: usize = 256;

/// The scrub of a core.
pub(crate) struct Scrub<F> {
    /// Chooses where cycles begin.
    seed: u64,
    /// How many of the partitions, and the log, this cycle has come to.
    slots: usize,
    queue: VecDeque<Target>,
    walk: Option<Walk<F>>,
    judging: Option<Judging>,
    busy: bool,
    pace: Pace,
    /// A cycle at full speed is wanted, or under way.
    is_wanted: bool,
    is_hurried: bool,
    tries: u32,
    not_before_us: u64,
    now_unix_ms: u64,
    began_unix_ms: Option<u64>,
    cycle_bytes: u64,
    last_cycle_bytes: u64,
    findings: Findings,
}

/// How the scrub of a core stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubStatus {
    /// Bytes looked at since the start.
    pub bytes: u64,
    /// Cycles ended since the start.
    pub cycles: u64,
    /// When the present one began, Unix milliseconds; 0 while there is nothing to read.
    pub cycle_began_unix_ms: u64,
    /// Bytes that it has looked at.
    pub cycle_bytes: u64,
    /// Bytes that the one before it looked at.
    pub last_cycle_bytes: u64,
    /// Bytes that are there: partitions' files and sealed segments of the log.
    pub bytes_there: u64,
    /// It was told to hurry.
    pub is_hurried: bool,
    /// Damaged places found since the start.
    pub damage: u64,
    /// The newest of them.
    pub places: Vec<DamagedPlace>,
}

impl<F: Clone> Scrub<F> {
    /// One that has done nothing.
    pub(crate) fn new(now_unix_ms: u64) -> Self {
        Self {
            // Multiplied, so that starts soon after each other lie far apart.
            seed: now_unix_ms.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32,
            slots: 0,
            queue: VecDeque::new(),
            walk: None,
            judging: None,
            busy: false,
            pace: Pace::default(),
            is_wanted: false,
            is_hurried: false,
            tries: 0,
            not_before_us: 0,
            now_unix_ms,
            began_unix_ms: None,
            cycle_bytes: 0,
            last_cycle_bytes: 0,
            findings: Findings::default(),
        }
    }

    /// Memory in use.
    pub(crate) fn memory_bytes(&self) -> usize {
        let judging = self.judging.as_ref().map_or(0, Judging::memory_bytes);
        judging + self.walk.as_ref().map_or(0, Walk::memory_bytes)
    }

    fn begin_cycle(&mut self) {
        (self.slots, self.walk, self.judging) = (0, None, None);
        self.queue.clear();
        (self.began_unix_ms, self.cycle_bytes) = (Some(self.now_unix_ms), 0);
        self.is_hurried = std::mem::take(&mut self.is_wanted);
    }
}

impl<D: Disk> Engine<D> {
    /// Begins to read everything at once and as fast as the disk gives it, whatever was under way.
    pub fn scrub_now(&mut self) {
        self.scrub.is_wanted = true;
    }

    /// How the scrub stands, and what it has found.
    pub fn scrub_status(&self) -> ScrubStatus {
        let scrub = &self.scrub;
        ScrubStatus {
            bytes: self.counts.scrub_bytes,
            cycles: self.counts.scrub_cycles,
            cycle_began_unix_ms: scrub.began_unix_ms.unwrap_or(0),
            cycle_bytes: scrub.cycle_bytes,
            last_cycle_bytes: scrub.last_cycle_bytes,
            bytes_there: self.scrub_bytes_there(),
            is_hurried: scrub.is_hurried || scrub.is_wanted,
            damage: self.counts.scrub_damage,
            places: scrub.findings.newest().cloned().collect(),
        }
    }

    fn scrub_bytes_there(&self) -> u64 {
        let sealed = self.logs.iter().flat_map(|log| &log.sealed);
        self.partition_files.bytes() + sealed.map(|file| self.segments.get(*file).written).sum::<u64>()
    }

    /// Refills what may be read, and goes on.
    pub(crate) fn pace_scrub(&mut self, now_unix_ms: u64) {
        self.scrub.now_unix_ms = now_unix_ms;
        let there = self.scrub_bytes_there();
        self.scrub.pace.refill(self.now_us, there, &self.config.limits);
        if self.scrub.is_wanted && !self.scrub.busy {
            self.scrub.begin_cycle();
        }
        if self.scrub.began_unix_ms.is_none() && there > 0 {
            self.scrub.begin_cycle();
        }
        self.continue_scrub();
    }

    /// Does what may be done now: looks through the index for what damage concerns, or begins a read.
    pub(crate) fn continue_scrub(&mut self) {
        if self.scrub.busy || self.scrub.began_unix_ms.is_none() || !self.may_scrub() {
            return;
        }
        if self.scrub.judging.is_some() {
            return self.continue_judging();
        }
        for _ in 0..SLOTS_PER_TURN {
            if self.scrub.walk.as_ref().is_some_and(|walk| !self.is_scrubbed(&walk.target)) {
                self.scrub.walk = None;
            }
            match &mut self.scrub.walk {
                Some(walk) => {
                    if let Some(bad) = walk.bad.pop_front() {
                        let partition = walk.target.partition;
                        let all = || self.partitions.all().collect();
                        let of = if walk.target.is_log() { all() } else { VecDeque::from([partition]) };
                        self.scrub.judging = Some(Judging::new(bad, of));
                        return self.continue_judging();
                    }
                    if let Some(fetch) = walk.wanted(self.config.limits.compaction_read_bytes) {
                        return self.fetch(fetch);
                    }
                    self.scrub.walk = None;
                }
                None => {
                    if !self.next_target() {
                        return;
                    }
                }
            }
        }
    }

    /// Whether a read may begin. One that was ordered, or that judges damage, waits only for a step of a compaction.
    fn may_scrub(&self) -> bool {
        let compacts = self.compaction.as_ref().is_some_and(|job| job.is_busy());
        if self.is_memory() || self.closing || compacts || self.now_us < self.scrub.not_before_us {
            return false;
        }
        let is_short = self.disk_state.is_full || self.disk_state.level >= DiskLevel::Hurry;
        let judges = self.scrub.judging.is_some() || self.scrub.walk.as_ref().is_some_and(|walk| !walk.bad.is_empty());
        self.scrub.is_hurried || judges || (self.scrub.pace.allows() && !is_short && !self.pacing.paused)
    }

    /// Whether a file still is what it was, and is not being compacted.
    fn is_scrubbed(&self, target: &Target) -> bool {
        let is_compacted = self.compaction.as_ref().is_some_and(|job| job.reads(target.partition, target.file));
        !is_compacted && self.file_use(target.partition, target.file) == Some(target.file_use)
    }

    /// Goes to the next file, or to the next partition; false at the end of a cycle.
    fn next_target(&mut self) -> bool {
        if let Some(target) = self.scrub.queue.pop_front() {
            if !self.is_scrubbed(&target) {
                return true;
            }
            self.scrub.walk = Some(if target.is_log() {
                Walk::of_segment(target, self.segments.get(target.file))
            } else {
                let set = self.partition_files.set(target.partition);
                Walk::of_file(target, set, set.file(target.file), self.config.cluster_id)
            });
            return true;
        }
        let partitions = self.partitions.len();
        if self.scrub.slots > partitions {
            self.end_cycle();
            return false;
        }
        let first = usize::try_from(self.scrub.seed).unwrap_or(0) % (partitions + 1);
        let slot = (first + self.scrub.slots) % (partitions + 1);
        self.scrub.slots += 1;
        self.scrub.queue = match self.partitions.all().nth(slot) {
            Some(partition) => {
                let files = self.partition_files.set(partition).files();
                files.map(|(file, of)| Target { partition, file, file_use: of.id }).collect()
            }
            None => {
                let partition = self.config.partitions.start;
                let sealed = self.logs.iter().flat_map(|log| &log.sealed).copied();
                sealed.map(|file| Target { partition, file, file_use: self.segments.get(file).sequence }).collect()
            }
        };
        true
    }

    fn end_cycle(&mut self) {
        let scrub = &mut self.scrub;
        tracing::debug!(core = self.config.core, bytes = scrub.cycle_bytes, "everything on disk was read");
        // One in which everything was being compacted says nothing.
        self.counts.scrub_cycles += u64::from(scrub.cycle_bytes > 0 || scrub.is_hurried);
        scrub.last_cycle_bytes = scrub.cycle_bytes;
        (scrub.is_hurried, scrub.began_unix_ms) = (false, None);
    }

    fn fetch(&mut self, fetch: Fetch<D::File>) {
        self.scrub.busy = true;
        self.work.push_back(Work::scrub(self.disk.clone(), fetch));
    }

    /// A read has ended.
    pub(crate) fn on_scrubbed(&mut self, fetched: Fetched) {
        let Fetched { bytes, error } = fetched;
        let scrub = &mut self.scrub;
        scrub.busy = false;
        scrub.tries = if error.is_some() { scrub.tries + 1 } else { 0 };
        if let Some(error) = error.filter(|_| scrub.tries < TRIES) {
            tracing::warn!(core = self.config.core, %error, "the scrub cannot read; it tries again");
            scrub.not_before_us = self.now_us + self.config.limits.compaction_retry_us;
            return;
        }
        scrub.tries = 0;
        let Some(target) = scrub.walk.as_ref().map(|walk| walk.target) else { return };
        if !self.is_scrubbed(&target) {
            (self.scrub.walk, self.scrub.judging) = (None, None);
            return;
        }
        self.take_scrubbed(&bytes);
    }

    fn take_scrubbed(&mut self, bytes: &AlignedBuffer) {
        let scrub = &mut self.scrub;
        if let Some(judging) = &mut scrub.judging {
            return judging.judge(bytes.as_slice());
        }
        if let Some(walk) = &mut scrub.walk {
            let new = walk.push(bytes);
            scrub.cycle_bytes += new;
            self.counts.scrub_bytes += new;
            if !scrub.is_hurried {
                scrub.pace.spend(new, &self.config.limits);
            }
        }
    }

    fn continue_judging(&mut self) {
        let (Some(mut judging), Some(walk)) = (self.scrub.judging.take(), &self.scrub.walk) else { return };
        if !self.is_scrubbed(&walk.target) {
            // What was bad is there no more.
            self.scrub.walk = None;
            return;
        }
        if !judging.search(&self.index, &walk.target, self.config.limits.scrub_judge_entries) {
            self.scrub.judging = Some(judging);
            return;
        }
        if let Some((offset, bytes)) = judging.wanted(walk.end) {
            let fetch = Fetch { file: walk.file.clone(), offset, bytes };
            self.scrub.judging = Some(judging);
            return self.fetch(fetch);
        }
        self.report(judging);
    }

    /// Tells of damage, once a place.
    fn report(&mut self, judging: Judging) {
        let Some(walk) = &self.scrub.walk else { return };
        let (target, bad) = (walk.target, judging.bad);
        let lost = judging.lost(&self.index);
        let partitions = lost.iter().map(|suspect| suspect.partition);
        let hashes = lost.iter().map(|suspect| suspect.hash.high);
        let place = DamagedPlace {
            path: walk.path.clone(),
            offset: bad.from,
            bytes: bad.to - bad.from,
            what: bad.what,
            keys: lost.len() as u64,
            partitions: match target.is_log() {
                true => partitions.clone().min().zip(partitions.max()),
                false => Some((target.partition, target.partition)),
            },
            hashes: hashes.clone().min().zip(hashes.max()),
            found_unix_ms: self.scrub.now_unix_ms,
        };
        if !lost.is_empty() && target.is_log() {
            self.segments.get_mut(target.file).damaged = true;
        } else if !lost.is_empty() {
            self.partition_files.set_mut(target.partition).damaged = true;
        }
        if self.scrub.findings.note(target, &place) {
            self.counts.scrub_damage += 1;
            tell(self.config.core, &place);
        }
    }
}

fn tell(core: u16, place: &DamagedPlace) {
    let DamagedPlace { path, offset, bytes, what, keys, .. } = place;
    let (first_partition, last_partition) = place.partitions.unzip();
    let Some((first, last)) = place.hashes else {
        tracing::error!(core, file = %path, offset, bytes, what, first_partition, last_partition,
            "damage on the disk: nothing in it counts, and nothing is lost");
        return;
    };
    let (first_hash, last_hash) = (format!("{first:016x}"), format!("{last:016x}"));
    tracing::error!(core, file = %path, offset, bytes, what, keys, first_partition, last_partition, first_hash, last_hash,
        "damage on the disk: these keys cannot be read; what holds them is kept as it is");
}
