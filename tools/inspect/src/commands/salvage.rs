//! `salvage`: what is sound and counts, in new partition files of a new directory.
//!
//! Every partition gets the current versions of its keys, tombstones included, in runs of its own; the log becomes partition
//! files, too. A key whose newest record is damaged is lost, rather than taken back to an older state that somebody replaced.
//!
//! Invariant: the source is only read; the destination verifies clean.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use annulus::node_meta;
use annulus_engine::{Key, RecordRef, object_record};
use annulus_object::{Object, ObjectView};

use super::{Verdict, tell};
use crate::failure::Failure;
use crate::finding::Findings;
use crate::listing::PARTITIONS;
use crate::log::Scope;
use crate::run_writer::{Owner, RunWriter};
use crate::state::Partition;
use crate::store::{Store, record_of};
use crate::version::Version;

/// What was copied, and what was not.
#[derive(Default)]
struct Counts {
    partitions: u64,
    keys: u64,
    tombstones: u64,
    bytes: u64,
    lost: u64,
}

/// Copies `source` into `destination`.
pub fn run(source: &Path, destination: &Path, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let mut store = Store::open_with(source, |_| Scope { rescue: true, ..Scope::default() })?;
    create(source, destination)?;
    let mut findings = store.findings.clone();
    if store.meta().is_some() {
        let (from, to) = (source.join(node_meta::FILE_NAME), destination.join(node_meta::FILE_NAME));
        fs::copy(&from, &to).map_err(|error| Failure::io("copy", &from, error))?;
        sync(&to)?;
    }
    let parts = destination.join(PARTITIONS);
    let mut counts = Counts::default();
    for number in store.partitions() {
        let mut partition = store.partition(number, false)?;
        findings.extend(std::mem::take(&mut partition.findings));
        copy(&store, &partition, &parts, &mut counts, &mut findings)?;
    }
    sync(&parts)?;
    sync(destination)?;
    for finding in findings.iter() {
        writeln!(out, "{finding}")?;
    }
    let Counts { partitions, keys, tombstones, bytes, lost } = counts;
    let bytes = crate::text::bytes(bytes);
    writeln!(out, "copied {keys} keys and {tombstones} tombstones of {partitions} partitions, {bytes}")?;
    if findings.damaged() > 0 {
        let plural = if lost == 1 { "" } else { "s" };
        writeln!(out, "known to be lost: {lost} key{plural}; what else the damage above held is lost, too")?;
        return Ok(Verdict::Found);
    }
    Ok(tell(&Findings::default()))
}

/// Makes the destination, which is new and lies outside of the source.
fn create(source: &Path, destination: &Path) -> Result<(), Failure> {
    let parent = destination.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(".".as_ref());
    let real = |path: &Path| path.canonicalize().map_err(|error| Failure::io("find", path, error));
    if real(parent)?.starts_with(real(source)?) {
        let what = format!("{} lies in the source, which is never written to", destination.display());
        return Err(Failure::Usage(what));
    }
    fs::create_dir(destination).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::Usage(format!("{} exists; name a directory that does not", destination.display()))
        }
        _ => Failure::io("make", destination, error),
    })?;
    let parts = destination.join(PARTITIONS);
    fs::create_dir(&parts).map_err(|error| Failure::io("make", &parts, error))
}

fn copy(
    store: &Store,
    partition: &Partition,
    parts: &Path,
    counts: &mut Counts,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let mut writer: Option<RunWriter> = None;
    for versions in partition.keys() {
        let Some(bytes) = whole_record(store, partition, versions, findings)? else {
            counts.lost += 1;
            continue;
        };
        let record = RecordRef::checked_before(&bytes);
        let writer = match &mut writer {
            Some(writer) => writer,
            None => writer.insert(RunWriter::new(parts, owner_of(store, partition))),
        };
        writer.write(&record)?;
        *(if record.deletes() { &mut counts.tombstones } else { &mut counts.keys }) += 1;
        counts.bytes += record.total_bytes() as u64;
    }
    if let Some(writer) = writer {
        counts.partitions += 1;
        writer.finish()?;
    }
    Ok(())
}

/// The record of a key: the one that counts, or what several say together. `None` if that cannot be had.
fn whole_record<'a>(
    store: &'a Store,
    partition: &'a Partition,
    versions: &[Version],
    findings: &mut Findings,
) -> Result<Option<Cow<'a, [u8]>>, Failure> {
    let mut whole: Option<(Cow<'_, [u8]>, Object)> = None;
    for version in versions {
        let bytes = store.bytes_of(partition, version)?;
        let object = match record_of(&bytes, partition.number, version) {
            Ok(_) if versions.len() == 1 => return Ok(Some(bytes)),
            Ok(record) => record.object().expect("a mark is of no key"),
            Err(error) => {
                let what = format!("{error}; the key is not in the copy");
                findings.damage(partition.site_of(&store.log, version), what);
                return Ok(None);
            }
        };
        match &mut whole {
            None => whole = Some((bytes, object)),
            Some((_, joined)) => joined.merge(object),
        }
    }
    let (first, joined) = whole.expect("a key has a version that counts");
    let record = RecordRef::checked_before(&first);
    let key = Key { bytes: record.key(), partition: record.partition(), hash: record.hash() };
    let mut encoded = Vec::new();
    joined.encode(&mut encoded);
    let object = ObjectView::check(&encoded).expect("it was just encoded");
    let record = object_record(&key, &object);
    if record.is_none() {
        let what = "the key's siblings are too long for one record; the key is not in the copy";
        findings.damage(partition.site_of(&store.log, &versions[0]), what);
    }
    Ok(record.map(Cow::Owned))
}

/// Whose the files are, from whatever says so.
fn owner_of(store: &Store, partition: &Partition) -> Owner {
    let from_files = partition.files.first().map(|file| (file.identity.cluster_id, file.identity.node));
    let from_log = store.log.segments.iter().find_map(|segment| segment.cluster_id.zip(segment.node));
    let from_meta = store.meta().map(|meta| (meta.cluster_id, meta.node_id));
    let (cluster_id, node) = from_meta.or(from_files).or(from_log).unwrap_or_default();
    Owner { cluster_id, node, partition: partition.number }
}

fn sync(path: &Path) -> Result<(), Failure> {
    let sync = File::open(path).and_then(|file| file.sync_all());
    sync.map_err(|error| Failure::io("sync", path, error))
}
