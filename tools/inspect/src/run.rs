//! What one run holds: the versions that its footer names, or those of its records where the footer cannot be read.
//!
//! What it is not: whether the run counts, or its records are sound, is not asked here.
//!
//! Invariant: the versions lie within the run and do not overlap.

use std::ops::Range;

use annulus_engine::index::Flags;
use annulus_engine::record::{Kind, RECORD_HEADER_BYTES, RecordHeader, RecordRef};
use annulus_engine::sealed_run::{FooterEntry, FooterRef, RunError, TRAILER_BYTES, Trailer};
use annulus_object::{Actor, Clock, Dot};

use crate::finding::{Findings, Site};
use crate::partition_file::{PartitionFile, Run, to_usize};
use crate::version::{Place, Seen, Version};
use crate::walk::{Walked, walk};

/// A run in its file.
#[derive(Clone, Copy)]
pub struct RunRef<'a> {
    /// The file.
    pub file: &'a PartitionFile,
    /// The run.
    pub run: &'a Run,
    /// Which of the partition's files, and which of its runs.
    pub at: (u16, u16),
}

impl<'a> RunRef<'a> {
    /// The checked footer; `None` without a trailer that would tell where it is.
    pub fn footer(&self) -> Option<Result<FooterRef<'a>, RunError>> {
        let trailer = self.run.trailer.as_ref()?;
        Some(FooterRef::check(&self.file.bytes[to_usize(trailer.footer_start())..], trailer))
    }

    /// Where its records are: with a trailer exactly, without one somewhere in there.
    pub fn records(&self) -> Range<usize> {
        let Range { start, end } = self.run.range;
        let end = match &self.run.trailer {
            Some(trailer) => start + trailer.records_bytes,
            None => end - TRAILER_BYTES as u64,
        };
        to_usize(start)..to_usize(end)
    }

    /// Bytes of its records; where that is unknown, of the run.
    pub fn records_bytes(&self) -> u64 {
        let records = self.records();
        (records.end - records.start) as u64
    }

    /// Its versions, in no order. Footers and trailers that cannot be read are damage.
    pub fn versions(&self, findings: &mut Findings) -> Vec<Version> {
        match (self.footer(), &self.run.trailer) {
            (Some(Ok(footer)), Some(trailer)) => self.by_footer(&footer, trailer),
            (Some(Err(RunError::SiblingsUnknown)), Some(_)) => self.of_sound_records(&self.walk(), findings),
            (Some(Err(error)), Some(trailer)) => {
                let what = format!(
                    "the footer of run {} cannot be read ({error}); its records were read instead",
                    trailer.sequence
                );
                self.by_records(trailer.footer_start(), &what, findings)
            }
            _ => {
                let what = match self.run.range.end == self.file.bytes.len() as u64 {
                    false => "a trailer is damaged; the records before it were read without their footer",
                    true => {
                        "the last trailer is damaged; the records before it were read, but a node that starts here takes them for an append that was cut off, and drops them: salvage first"
                    }
                };
                self.by_records(self.run.range.end - TRAILER_BYTES as u64, what, findings)
            }
        }
    }

    fn by_footer(&self, footer: &FooterRef<'_>, trailer: &Trailer) -> Vec<Version> {
        // Records lie back to back: each ends where the next one begins.
        let mut starts: Vec<u64> = footer.iter().map(|found| found.entry.place.offset()).collect();
        starts.push(trailer.run_start + trailer.records_bytes);
        starts.sort_unstable();
        let version = |found: FooterEntry| {
            let start = found.entry.place.offset();
            let next = starts[starts.partition_point(|other| *other <= start)];
            Version {
                hash: found.entry.hash,
                dot: Dot::new(found.entry.clock, found.actor),
                kind: kind_of(found.entry.flags),
                place: self.place(start),
                bytes: u32::try_from(next - start).expect("a file that places can name is below 4 GiB"),
                seen: seen_by(found.floor, found.context, found.siblings),
            }
        };
        footer.iter().map(version).collect()
    }

    /// The sound records, and damage at `at` with the hashes of all keys that were found.
    fn by_records(&self, at: u64, what: &str, findings: &mut Findings) -> Vec<Version> {
        let walked = self.walk();
        let records = || walked.sound.iter().map(|at| RecordRef::checked_before(&self.file.bytes[*at..]));
        let site = self.site(at).keys(records().map(|record| record.hash()));
        findings.damage(site, what);
        self.of_sound_records(&walked, findings)
    }

    fn of_sound_records(&self, walked: &Walked, findings: &mut Findings) -> Vec<Version> {
        self.report_bad(walked, findings);
        let records = walked.sound.iter().map(|at| (RecordRef::checked_before(&self.file.bytes[*at..]), at));
        let versions = records.filter(|(record, _)| record.kind() != Kind::Mark);
        versions.map(|(record, at)| Version::of_record(&record, self.place(*at as u64))).collect()
    }

    /// The records, as far as they can be found one behind the other.
    pub fn walk(&self) -> Walked {
        let records = self.records();
        let bytes = &self.file.bytes[..records.end];
        let mut walked = walk(bytes, records, Some(self.file.identity.partition));
        // Without a trailer nobody knows where the records end: footers and other trailers are among what is no record.
        if self.run.trailer.is_none() {
            for bad in &mut walked.bad {
                bad.record = bad.record.or(Some(bad.range.start)).filter(|at| self.header_at(*at).is_some());
            }
            walked.bad.retain(|bad| bad.record.is_some());
        }
        walked
    }

    /// Every place at which a record was and none can be read.
    pub fn report_bad(&self, walked: &Walked, findings: &mut Findings) {
        for bad in &walked.bad {
            let start = bad.record.unwrap_or(bad.range.start);
            let hash = self.header_at(start).map(|header| u128::from_le_bytes(header.hash));
            let bytes = bad.range.end.saturating_sub(start);
            let what = format!("{bytes} bytes are no sound record of this partition; what they held is lost");
            findings.damage(self.site(start as u64).keys(hash), what);
        }
    }

    /// The header of a record that is damaged somewhere else, most likely.
    fn header_at(&self, at: usize) -> Option<RecordHeader> {
        let bytes = &self.file.bytes[at..];
        annulus_engine::record::peek_total_bytes(bytes).ok()?;
        let header: RecordHeader = bytemuck::pod_read_unaligned(&bytes[..RECORD_HEADER_BYTES]);
        (header.partition == self.file.identity.partition).then_some(header)
    }

    /// A byte of the file.
    pub fn site(&self, at: u64) -> Site {
        Site::at(&self.file.path, at).of(self.file.identity.partition)
    }

    fn place(&self, offset: u64) -> Place {
        Place::Run { file: self.at.0, run: self.at.1, offset }
    }
}

/// What a footer's entry says that its record's writer had seen.
pub fn seen_by(floor: Clock, context: Vec<(Actor, Clock)>, siblings: Option<Vec<(Dot, bool)>>) -> Seen {
    Seen { floor, context: context.into(), siblings: siblings.map(Into::into) }
}

/// What a footer's flags say of a record.
pub fn kind_of(flags: Flags) -> Kind {
    if flags.contains(Flags::SIBLINGS) {
        Kind::Siblings
    } else if flags.contains(Flags::TOMBSTONE) {
        Kind::Tombstone
    } else {
        Kind::Value
    }
}
