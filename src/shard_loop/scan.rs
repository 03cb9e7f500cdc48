//! SCAN, KEYS and RANDOMKEY on one core: walks over the index whose records are read in parallel batches, because keys are
//! not held in memory.
//!
//! A cursor is a partition and the upper bits of a key's hash, so it stays good whatever is written, and across restarts.
//!
//! In a cluster a walk passes over partitions that this core does not cover, but for the steps of a SCAN on the base port, which
//! are told where they end. A key is then shown if one of its siblings has a value.
//!
//! Invariant: a walk moves on by at least one hash prefix per step, so every cursor chain ends.

use std::rc::Rc;

use annulus_engine::{Disk, ReadPlan, Record, ScanEntry};
use annulus_net::resp::{Protocol, writer};

use super::dispatch::request_head;
use super::execute::{Fetched, Request};
use super::{Reading, ShardLoop};
use crate::commands::data::parse_integer;
use crate::commands::table::{Command, Row};
use crate::commands::{Args, scan_options};
use crate::coverage::{Position, hash_floor, round_up};
use crate::glob;
use crate::limits;
use crate::remote;
use crate::session::Session;
use crate::slot;
use crate::waiting::{Parked, ReplyTo};

/// One walk.
pub(super) struct Scan {
    kind: Kind,
    to: ReplyTo,
    protocol: Protocol,
    pattern: Option<Vec<u8>>,
    /// Only keys of this slot.
    slot: Option<u16>,
    /// False when a TYPE was asked for that no key has.
    any_type: bool,
    position: Position,
    /// The first partition that is not walked over any more on this core.
    end: u32,
    /// Only partitions that this core covers.
    covered_only: bool,
    /// A SCAN whose cursor is 0 when its end was reached, wherever that is.
    ends_walk: bool,
    /// Keys still to look at before the walk pauses.
    budget: usize,
    /// Partitions that one SCAN may still reach the end of.
    partitions_left: u32,
    /// RESP bulk strings found so far.
    found: Vec<u8>,
    found_count: usize,
    /// Reads of this step.
    records: Vec<Option<Rc<Record>>>,
    missing: usize,
    /// Steps of RANDOMKEY that hit nothing.
    attempts: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Scan,
    Keys,
    RandomKey,
    /// CLUSTER COUNTKEYSINSLOT.
    CountSlot,
    /// CLUSTER GETKEYSINSLOT, at most so many.
    SlotKeys(usize),
}

impl Scan {
    /// What it has found is as much as it may give at once.
    fn is_full(&self) -> bool {
        match self.kind {
            Kind::Scan => self.ends_walk && self.found.len() >= limits::SCAN_STEP_BYTES,
            // What is longer is refused.
            Kind::Keys | Kind::SlotKeys(_) => {
                matches!(self.to, ReplyTo::Peer { .. }) && self.found.len() > limits::REMOTE_REPLY_BYTES_MAX
            }
            Kind::RandomKey | Kind::CountSlot => false,
        }
    }

    /// Walks over the one partition of a slot.
    fn walk_slot(&mut self, kind: Kind, request: &Request<'_>) {
        self.kind = kind;
        self.covered_only = false;
        self.slot = Some(slot::parse(request.args[2]).expect("checked by the core that sent it"));
        self.position = Position { partition: u32::from(request.partition), hash: 0 };
        self.end = self.position.partition + 1;
    }
}

impl<D: Disk> ShardLoop<D> {
    /// SCAN: to the core of the partition that its cursor names.
    pub(super) fn route_cursor(&mut self, session: &mut Session, index: u32, row: &'static Row, args: Args<'_>) {
        let options = match scan_options::parse(args) {
            Ok(options) => options,
            Err(text) => return self.refuse(session, |out| writer::error(out, text)),
        };
        let Some(position) = Position::from_cursor(options.cursor, self.map.partitions()) else {
            return self.refuse(session, |out| writer::error(out, "ERR invalid cursor"));
        };
        if !self.replication.is_alone {
            return self.route_wide_scan(session, index, (row, args), position);
        }
        let mut partition = position.partition;
        let cores = self.covered_cores(session);
        if options.cursor == 0 {
            partition = self.map.owned(cores.start).start;
        }
        let partition = u16::try_from(partition).expect("partitions are at most 16384");
        let core = self.map.core_of(partition);
        let to = self.reserve(session, index);
        if core == self.core {
            self.local.push_back(Parked::new(row, session.reply_as(), to, partition, args));
        } else {
            self.send_request(core, to, request_head(session, partition), args);
        }
    }

    /// Starts the walk of a command that is one; `false` when it is not.
    pub(super) fn start_scan_of(&mut self, request: &Request<'_>, to: ReplyTo) -> bool {
        let owned = self.map.owned(self.core);
        let start = Position { partition: owned.start, hash: 0 };
        let mut scan = Scan {
            kind: Kind::Keys,
            to,
            protocol: request.protocol,
            pattern: None,
            slot: None,
            any_type: true,
            position: start,
            end: owned.end,
            covered_only: !self.replication.is_alone,
            ends_walk: !self.replication.is_alone,
            budget: usize::MAX,
            partitions_left: limits::SCAN_PARTITIONS_MAX,
            found: Vec::new(),
            found_count: 0,
            records: Vec::new(),
            missing: 0,
            attempts: 0,
        };
        match request.row.command() {
            Some(Command::Scan) => {
                let options = scan_options::parse(request.args).expect("checked by the core that sent it");
                scan.kind = Kind::Scan;
                scan.pattern = options.pattern.map(<[u8]>::to_vec);
                scan.any_type = options.any_type;
                scan.budget = options.count;
                if options.cursor != 0 {
                    scan.position = Position::from_cursor(options.cursor, self.map.partitions())
                        .expect("checked by the core that sent it");
                }
                if let Some(end) = remote::step_end(request.partition) {
                    scan.position = Position::from_cursor(options.cursor, self.map.partitions())
                        .expect("checked by the core that sent it");
                    (scan.end, scan.covered_only, scan.ends_walk) = (end, false, true);
                }
            }
            Some(Command::Keys) => {
                scan.pattern = (request.args[1] != b"*").then(|| request.args[1].to_vec());
            }
            Some(Command::RandomKey) => scan.kind = Kind::RandomKey,
            Some(Command::ClusterCountKeysInSlot) => scan.walk_slot(Kind::CountSlot, request),
            Some(Command::ClusterGetKeysInSlot) => {
                let most = parse_integer(request.args[3]).and_then(|most| usize::try_from(most).ok());
                let Some(most) = most else {
                    let mut reply = Vec::new();
                    writer::error(&mut reply, "ERR Invalid number of keys");
                    self.deliver(to, &reply);
                    return true;
                };
                scan.walk_slot(Kind::SlotKeys(most), request);
            }
            _ => return false,
        }
        let scan = self.scans.insert(scan);
        self.step_scan(scan);
        true
    }

    /// Looks at the next keys, until records must be read or the walk is over.
    fn step_scan(&mut self, number: u32) {
        loop {
            let (entries, next) = self.next_entries(number);
            let Some(entries) = entries else {
                return self.finish_scan(number, next);
            };
            let scan = self.scans.get_mut(number);
            scan.records = vec![None; entries.len()];
            scan.missing = 0;
            if let Some(next) = next {
                scan.position = next;
            }
            for (place, entry) in entries.into_iter().enumerate() {
                match entry {
                    ScanEntry::InMemory(record) => self.scans.get_mut(number).records[place] = Some(record),
                    ScanEntry::OnDisk(plan) => self.read_for_scan(number, place, &plan),
                }
            }
            if self.scans.get_mut(number).missing > 0 {
                return;
            }
            self.take_scanned(number);
        }
    }

    /// The next batch of entries and where the walk stands after it; no entries when it is over or has done its share.
    fn next_entries(&mut self, number: u32) -> (Option<Vec<ScanEntry>>, Option<Position>) {
        let scan = self.scans.get_mut(number);
        if scan.kind == Kind::RandomKey {
            scan.attempts += 1;
            if scan.found_count > 0 || scan.attempts > 64 {
                return (None, None);
            }
            return (self.random_entry().map(|entry| vec![entry]), None);
        }
        if matches!(scan.kind, Kind::SlotKeys(most) if scan.found_count >= most) {
            return (None, None);
        }
        if scan.budget == 0 || scan.partitions_left == 0 || scan.is_full() {
            let position = scan.position;
            return (None, (position.partition < scan.end).then_some(position));
        }
        if scan.covered_only {
            let coverage = self.replication.coverage.as_ref().expect("who is not alone knows what it covers");
            let next = coverage.next(scan.position.partition).map_or(scan.end, u32::from);
            if next != scan.position.partition {
                scan.position = Position::at(next);
            }
        }
        let Position { partition, hash } = scan.position;
        if partition >= scan.end {
            return (None, None);
        }
        let most = scan.budget.min(limits::SCAN_READS_MAX);
        let batch = self.store.engine_mut().scan(
            u16::try_from(partition).expect("partitions are at most 16384"),
            hash,
            most,
            self.now.unix_ms,
        );
        scan.budget = scan.budget.saturating_sub(batch.entries.len());
        if scan.kind == Kind::Scan && batch.next.is_none() {
            // Partitions without keys cost little, but not nothing.
            scan.partitions_left -= 1;
        }
        // A cursor drops the low bits of the hash, so the walk goes on at a whole prefix, behind the last entry's.
        let next = match batch.next.and_then(|hash| round_up(hash, hash_floor(scan.position.hash))) {
            Some(hash) => Position { partition, hash },
            None => Position { partition: partition + 1, hash: 0 },
        };
        (Some(batch.entries), Some(next))
    }

    /// Any key of this core, or of what it covers.
    fn random_entry(&mut self) -> Option<ScanEntry> {
        let (random, now_ms) = (self.next_random(), self.now.unix_ms);
        let engine = self.store.engine_mut();
        match &self.replication.coverage {
            None => engine.random_entry(random, now_ms),
            Some(coverage) => engine.random_entry_among(random, now_ms, |partition| coverage.covers(partition)),
        }
    }

    fn read_for_scan(&mut self, scan: u32, place: usize, plan: &ReadPlan) {
        let reading = self.readings.insert(Reading::Scan { scan, place });
        if self.store.engine_mut().start_read(plan, u64::from(reading)) {
            self.scans.get_mut(scan).missing += 1;
        } else {
            // More reads are in flight than the engine allows: the key is told of by a later scan only if it is asked again,
            // so the walk waits instead.
            self.readings.remove(reading);
            self.waiting_scan_reads.push_back((scan, place, plan.clone()));
            self.scans.get_mut(scan).missing += 1;
        }
    }

    /// Starts reads that found too many in flight.
    pub(super) fn retry_scan_reads(&mut self) {
        while let Some((scan, place, plan)) = self.waiting_scan_reads.pop_front() {
            let reading = self.readings.insert(Reading::Scan { scan, place });
            if !self.store.engine_mut().start_read(&plan, u64::from(reading)) {
                self.readings.remove(reading);
                self.waiting_scan_reads.push_front((scan, place, plan));
                return;
            }
        }
    }

    /// A record of a walk came from the disk.
    pub(super) fn on_scan_read(&mut self, number: u32, place: usize, result: Fetched) {
        let scan = self.scans.get_mut(number);
        match result {
            Ok(record) => scan.records[place] = Some(record),
            Err(error) => {
                tracing::warn!(core = self.core, %error, "a key was left out of a scan: its record cannot be read")
            }
        }
        scan.missing -= 1;
        if scan.missing == 0 {
            self.take_scanned(number);
            self.step_scan(number);
        }
    }

    fn take_scanned(&mut self, number: u32) {
        let now_ms = self.now.unix_ms;
        let scan = self.scans.get_mut(number);
        for record in std::mem::take(&mut scan.records).into_iter().flatten() {
            let matches = scan.pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, record.key()));
            let in_slot = scan.slot.is_none_or(|slot| slot == slot::of_key(record.key()));
            let is_full = matches!(scan.kind, Kind::SlotKeys(most) if scan.found_count >= most);
            if matches && in_slot && !is_full && scan.any_type && record.is_shown(now_ms) {
                if scan.kind != Kind::CountSlot {
                    writer::bulk(&mut scan.found, record.key());
                }
                scan.found_count += 1;
            }
        }
    }

    fn finish_scan(&mut self, number: u32, next: Option<Position>) {
        let scan = self.scans.remove(number);
        let mut reply = Vec::with_capacity(scan.found.len() + 64);
        match scan.kind {
            Kind::RandomKey if scan.found_count == 0 => writer::null(&mut reply, scan.protocol),
            Kind::RandomKey => reply.extend_from_slice(&scan.found),
            Kind::CountSlot => {
                writer::integer(&mut reply, i64::try_from(scan.found_count).expect("keys are counted in i64"));
            }
            Kind::Keys | Kind::SlotKeys(_) => {
                writer::array_header(&mut reply, scan.found_count);
                reply.extend_from_slice(&scan.found);
            }
            Kind::Scan => {
                let cursor = match next {
                    Some(next) => next.cursor(),
                    // Past the last partition of this core the walk goes on at the next core's first, or is over.
                    None if scan.end < self.map.partitions() && !self.is_over(&scan) => Position::at(scan.end).cursor(),
                    None => 0,
                };
                writer::array_header(&mut reply, 2);
                writer::bulk(&mut reply, cursor.to_string().as_bytes());
                writer::array_header(&mut reply, scan.found_count);
                reply.extend_from_slice(&scan.found);
            }
        }
        self.deliver(scan.to, &reply);
    }

    /// True when a walk that has come to its end is over although partitions are left: they are not this endpoint's.
    fn is_over(&mut self, scan: &Scan) -> bool {
        if scan.ends_walk {
            return true;
        }
        let ReplyTo::Session { session, .. } = scan.to else {
            return false;
        };
        self.sessions.get_mut(session).on_core_port && self.node.announces_cores()
    }
}
