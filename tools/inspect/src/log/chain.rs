//! The frames of a core's instances, segment after segment, as the chain of their checksums connects them.
//!
//! The rules are those of the engine's recovery; here they report more and keep places instead of an index.
//!
//! Invariant: a record is kept only when its frame is whole, of its segment's present use, and not disregarded; or when records
//! of damaged frames were asked for and its own checksum is right.

use annulus::mesh::CoreMap;
use annulus_engine::frame::{FRAME_HEADER_BYTES, FrameError, FrameRef};
use annulus_engine::record::{Kind, RecordRef};
use annulus_engine::segment::SEGMENT_HEADER_BYTES;

use super::files::{Segment, Standing, whole_blocks};
use super::segment::Scanned;
use super::{CoreLog, Owner, Scope};
use crate::failure::Failure;
use crate::finding::{Findings, Site};
use crate::source::Source;
use crate::version::{Place, Version};
use crate::walk::walk;

/// A core's log while it is read.
pub struct Chain<'a> {
    pub segments: Vec<Segment>,
    pub log: CoreLog,
    /// What number the first of the segments has among all cores'.
    first: usize,
    scope: Scope,
    owner: Owner<'a>,
    map: Option<CoreMap>,
}

impl<'a> Chain<'a> {
    pub fn new(segments: Vec<Segment>, first: usize, scope: Scope, owner: Owner<'a>) -> Self {
        let map = owner.meta.map(|meta| CoreMap::new(meta.partitions, meta.cores));
        Self { segments, log: CoreLog::default(), first, scope, owner, map }
    }

    /// Reads both instances.
    pub fn read(&mut self, findings: &mut Findings) -> Result<(), Failure> {
        for instance in 0..2 {
            // They are in the order of their sequences.
            let of_instance = |segment: &Segment| segment.sequence > 0 && usize::from(segment.instance) == instance;
            let all: Vec<usize> = (0..self.segments.len()).filter(|at| of_instance(&self.segments[*at])).collect();
            self.log.instances[instance].sequences = all.iter().map(|at| self.segments[*at].sequence).collect();
            self.read_instance(instance, &all, findings)?;
        }
        Ok(())
    }

    fn read_instance(&mut self, instance: usize, all: &[usize], findings: &mut Findings) -> Result<(), Failure> {
        let tail = self.find_tail(all)?;
        self.log.instances[instance].tail = tail;
        let tail = tail.unwrap_or(0);
        self.check_tail(tail, all, findings);
        let mut before: Option<Scanned> = None;
        // The first segment without good frames behind `before`.
        let mut empty: Option<usize> = None;
        let begin = all.partition_point(|at| self.segments[*at].sequence < tail);
        for at in all[begin..].iter().copied() {
            let Some(scanned) = self.scan(at)? else { continue };
            self.log.instances[instance].is_torn = scanned.is_torn();
            if scanned.frames.is_empty() {
                empty.get_or_insert(at);
                continue;
            }
            self.segments[at].standing = Standing::Log;
            self.report_gaps(&scanned, findings);
            match before.take() {
                Some(mut earlier) => {
                    self.close(instance, &mut earlier, &scanned, empty.take(), findings);
                    self.take_records(instance, &earlier, findings);
                }
                // A segment that the log begins with has held a frame.
                None => {
                    if let Some(at) = empty.take().filter(|at| self.segments[*at].sequence == tail) {
                        self.report_missing(at, SEGMENT_HEADER_BYTES, findings);
                    }
                }
            }
            before = Some(scanned);
        }
        if let Some(last) = before {
            self.take_records(instance, &last, findings);
        }
        Ok(())
    }

    /// Where the log begins, as its newest frame says.
    fn find_tail(&self, all: &[usize]) -> Result<Option<u64>, Failure> {
        for at in all.iter().rev() {
            if let Some((_, header)) = self.scan(*at)?.and_then(|scanned| scanned.frames.last().copied()) {
                return Ok(Some(header.log_tail));
            }
        }
        Ok(None)
    }

    fn check_tail(&self, tail: u64, all: &[usize], findings: &mut Findings) {
        let is_there = all.iter().any(|at| self.segments[*at].sequence == tail);
        if let (Some(newest), false) = (all.last(), tail == 0 || is_there || self.owner.core.is_none()) {
            let directory = self.segments[*newest].path.parent().unwrap_or(&self.segments[*newest].path);
            let what = format!(
                "the oldest segment, sequence {tail}, is missing, or its header and all its frames are damaged"
            );
            findings.damage(Site::file(directory), what);
        }
    }

    /// `None` for a file that a live node has removed.
    fn scan(&self, at: usize) -> Result<Option<Scanned>, Failure> {
        let segment = &self.segments[at];
        let bytes = Source::open(&segment.path).and_then(|source| whole_blocks(&source));
        match bytes {
            Ok(bytes) => Ok(Some(Scanned::new(at, segment.sequence, bytes))),
            Err(Failure::Vanished(_)) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn report_gaps(&self, scanned: &Scanned, findings: &mut Findings) {
        for gap in &scanned.gaps {
            let walked = walk(&scanned.bytes, gap.start + FRAME_HEADER_BYTES..gap.end, None);
            let hashes = walked.sound.iter().map(|at| RecordRef::checked_before(&scanned.bytes[*at..]).hash());
            let what = format!(
                "a damaged frame of {} bytes lies before good ones: what was acknowledged in it is lost to a start; {} of its records are sound",
                gap.len(),
                walked.sound.len()
            );
            findings.damage(Site::at(&self.segments[scanned.segment].path, gap.start as u64).keys(hashes), what);
        }
    }

    fn report_missing(&self, at: usize, offset: usize, findings: &mut Findings) {
        let site = Site::at(&self.segments[at].path, offset as u64);
        findings.damage(site, "frames are missing between here and the next segment");
    }

    /// Cuts a segment where the next one that holds frames says that the log went on; `empty` lies between them.
    fn close(
        &mut self,
        instance: usize,
        before: &mut Scanned,
        next: &Scanned,
        empty: Option<usize>,
        findings: &mut Findings,
    ) {
        let previous_crc = next.previous_crc();
        let kept = before.frames.iter().position(|(_, header)| Some(header.crc) == previous_crc).map(|at| at + 1);
        // The log may have gone on from what came before this segment: its first write failed.
        let kept = kept.or((before.previous_crc() == previous_crc).then_some(0));
        match (kept, empty) {
            (Some(kept), _) => {
                self.log.instances[instance].disregarded += (before.frames.len() - kept) as u64;
                before.truncate(kept);
            }
            (None, Some(empty)) => self.report_missing(empty, SEGMENT_HEADER_BYTES, findings),
            (None, None) => self.report_missing(before.segment, before.end, findings),
        }
    }

    fn take_records(&mut self, instance: usize, scanned: &Scanned, findings: &mut Findings) {
        let mut records = 0;
        for (offset, _) in &scanned.frames {
            let frame = FrameRef::check_any(&scanned.bytes[*offset..]).expect("it was checked");
            let walk = if self.scope.checked { frame.records_checked() } else { frame.records() };
            for record in walk {
                match record {
                    Ok((at, record)) => {
                        records += 1;
                        self.take(scanned.segment, offset + FRAME_HEADER_BYTES + at, &record, findings);
                    }
                    Err(FrameError::Record { offset: at, error }) => {
                        let at = (offset + FRAME_HEADER_BYTES + at) as u64;
                        let what = format!("{error}, in a whole frame; a node will not start with it");
                        findings.damage(Site::at(&self.segments[scanned.segment].path, at), what);
                    }
                    Err(error) => {
                        let site = Site::at(&self.segments[scanned.segment].path, *offset as u64);
                        findings.damage(site, error.to_string());
                    }
                }
            }
        }
        if self.scope.rescue {
            for gap in &scanned.gaps {
                for at in walk(&scanned.bytes, gap.start + FRAME_HEADER_BYTES..gap.end, None).sound {
                    self.take(scanned.segment, at, &RecordRef::checked_before(&scanned.bytes[at..]), findings);
                }
            }
        }
        let segment = &mut self.segments[scanned.segment];
        (segment.frames, segment.records, segment.used) = (scanned.frames.len() as u64, records, scanned.end as u64);
        let counts = &mut self.log.instances[instance];
        counts.frames += segment.frames;
        counts.records += records;
    }

    fn take(&mut self, segment: usize, offset: usize, record: &RecordRef<'_>, findings: &mut Findings) {
        if record.kind() == Kind::Mark {
            self.log.mark = self.log.mark.max(Some(record.dot().clock));
            return;
        }
        let partition = record.partition();
        let core = self.segments[segment].core;
        let is_own = self
            .map
            .as_ref()
            .is_none_or(|map| u32::from(partition) < map.partitions() && map.core_of(partition) == core);
        if !is_own {
            let site = Site::at(&self.segments[segment].path, offset as u64).of(partition).keys([record.hash()]);
            findings.damage(site, format!("core {core} logs a record of a partition that is not its own"));
            return;
        }
        let segment = u32::try_from(self.first + segment).expect("fewer segments than 2^32");
        self.log.records.add(partition, Version::of_record(record, Place::Log { segment, offset: offset as u64 }));
    }
}
