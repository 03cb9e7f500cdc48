//! `verify`: every checksum, and every rule of the formats; also of what does not count any more.
//!
//! Invariant: a path of which nothing was said is one from which a node starts without losing anything.

use std::io::Write;
use std::path::PathBuf;

use annulus_engine::RecordRef;
use annulus_engine::index::{IndexHash, size_class};
use annulus_engine::sealed_run::{FooterEntry, FooterRef, RunError, Trailer};
use annulus_object::Dot;
use serde_json::json;

use super::Verdict;
use crate::failure::Failure;
use crate::finding::Findings;
use crate::log::Scope;
use crate::partition_file::to_usize;
use crate::run::{RunRef, kind_of, seen_by};
use crate::state::{Fate, Partition};
use crate::store::Store;
use crate::version::{Place, Seen, hashes_of};

/// What was looked at.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    partitions: u64,
    files: u64,
    runs: u64,
    records: u64,
    segments: u64,
    frames: u64,
    log_records: u64,
}

/// Verifies every path.
pub fn run(paths: &[PathBuf], json: bool, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let mut verdict = Verdict::Fine;
    for path in paths {
        let mut store = Store::open_with(path, |_| Scope { checked: true, ..Scope::default() })?;
        let mut findings = store.findings.clone();
        let counts = verify(&mut store, &mut findings)?;
        if findings.damaged() > 0 {
            verdict = Verdict::Found;
        }
        if json {
            let all = json!({
                "path": path.display().to_string(),
                "partitions": counts.partitions,
                "files": counts.files,
                "runs": counts.runs,
                "records": counts.records,
                "segments": counts.segments,
                "frames": counts.frames,
                "log_records": counts.log_records,
                "damage": findings.damaged(),
                "findings": findings.to_json(),
            });
            writeln!(out, "{all}")?;
            continue;
        }
        for finding in findings.iter() {
            writeln!(out, "{finding}")?;
        }
        let result = match findings.damaged() {
            0 => "sound".to_owned(),
            damaged => format!("{damaged} damaged"),
        };
        writeln!(
            out,
            "{}: {result}; {} partitions, {} files, {} runs, {} records; {} segments, {} frames, {} records",
            path.display(),
            counts.partitions,
            counts.files,
            counts.runs,
            counts.records,
            counts.segments,
            counts.frames,
            counts.log_records
        )?;
    }
    Ok(verdict)
}

fn verify(store: &mut Store, findings: &mut Findings) -> Result<Counts, Failure> {
    let mut counts = Counts { segments: store.log.segments.len() as u64, ..Counts::default() };
    for instance in store.log.cores.values().flat_map(|core| &core.instances) {
        counts.frames += instance.frames;
        counts.log_records += instance.records;
    }
    for number in store.partitions() {
        let mut partition = store.partition(number, false)?;
        findings.extend(std::mem::take(&mut partition.findings));
        counts.partitions += 1;
        counts.files += partition.files.len() as u64;
        for run in partition.runs() {
            counts.runs += 1;
            counts.records += verify_run(&partition, run, findings);
        }
    }
    Ok(counts)
}

/// Compares a run's records with its footer; returns how many are sound.
fn verify_run(partition: &Partition, run: RunRef<'_>, findings: &mut Findings) -> u64 {
    let is_known = partition.fate(run.at) == Fate::Current;
    match (&run.run.trailer, run.footer()) {
        (Some(trailer), Some(Ok(footer))) => verify_footer(partition, run, (trailer, &footer), findings),
        // What counts was read without its footer before, and reported.
        _ if is_known => run.walk().sound.len() as u64,
        (Some(_), Some(Err(RunError::SiblingsUnknown))) => run.walk().sound.len() as u64,
        (Some(trailer), Some(Err(error))) => {
            let what = format!("the footer of run {} cannot be read: {error}", trailer.sequence);
            findings.damage(run.site(trailer.footer_start()), what);
            let walked = run.walk();
            run.report_bad(&walked, findings);
            walked.sound.len() as u64
        }
        _ => {
            let walked = run.walk();
            run.report_bad(&walked, findings);
            walked.sound.len() as u64
        }
    }
}

fn verify_footer(
    partition: &Partition,
    run: RunRef<'_>,
    (trailer, footer): (&Trailer, &FooterRef<'_>),
    findings: &mut Findings,
) -> u64 {
    let mut sound = 0;
    let mut places: Vec<(u64, u64)> = Vec::with_capacity(footer.len());
    let (mut tombstones, mut clocks) = (0, None);
    for found in footer.iter() {
        let offset = found.entry.place.offset();
        let clock = found.entry.clock;
        let (low, high) = clocks.unwrap_or((clock, clock));
        let oldest = found.siblings.iter().flatten().next().map_or(clock, |(dot, _)| dot.clock);
        clocks = Some((low.min(oldest), high.max(clock)));
        tombstones += u32::from(found.entry.is_tombstone());
        let site = || run.site(offset).keys(hashes_of(found.entry.hash));
        match RecordRef::check(&run.file.bytes[to_usize(offset)..run.records().end]) {
            Err(error) => {
                let place = Place::Run { file: run.at.0, run: run.at.1, offset };
                let what = match partition.current_of(found.entry.hash).iter().any(|version| version.place == place) {
                    true => "the key's current state is lost",
                    false => "nothing is lost, as it does not count any more",
                };
                findings.damage(site(), format!("{error}; {what}"));
            }
            Ok(record) => {
                sound += 1;
                places.push((offset, record.total_bytes() as u64));
                if let Some(what) = difference(run, &found, &record) {
                    findings.damage(site(), format!("the footer says another {what} than the record"));
                }
            }
        }
    }
    if tombstones != trailer.tombstones || clocks.unwrap_or_default() != trailer.clocks {
        findings.damage(run.site(trailer.offset), "the trailer counts otherwise than the footer");
    }
    if sound == footer.len() as u64 {
        check_tiling(run, trailer, places, findings);
    }
    sound
}

/// What a footer says otherwise than the record that it points at.
fn difference(run: RunRef<'_>, found: &FooterEntry, record: &RecordRef<'_>) -> Option<&'static str> {
    let seen = seen_by(found.floor, found.context.clone(), found.siblings.clone());
    let checks = [
        (record.partition() == run.file.identity.partition, "partition"),
        (IndexHash::of(record.hash()) == found.entry.hash, "key"),
        (record.dot() == Dot::new(found.entry.clock, found.actor), "dot"),
        (record.kind() == kind_of(found.entry.flags), "kind"),
        (Seen::of_record(record) == seen, "context, or other siblings,"),
        (record.expires_at_ms() == found.expires_at_ms, "expiry"),
        (size_class(record.total_bytes()) == found.entry.size_class, "size"),
    ];
    checks.into_iter().find(|(holds, _)| !holds).map(|(_, what)| what)
}

/// Records lie back to back and fill what the trailer gives them.
fn check_tiling(run: RunRef<'_>, trailer: &Trailer, mut places: Vec<(u64, u64)>, findings: &mut Findings) {
    places.sort_unstable();
    let mut end = trailer.run_start;
    for (offset, bytes) in places {
        if offset != end {
            findings.damage(run.site(end.min(offset)), "bytes of the run are in no record, or in two");
        }
        end = offset + bytes;
    }
    if end != trailer.run_start + trailer.records_bytes {
        findings.damage(run.site(end), "bytes of the run are in no record, or in two");
    }
}
