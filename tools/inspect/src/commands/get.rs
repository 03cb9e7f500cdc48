//! `get`: the record of one key that counts.

use std::io::Write;
use std::path::Path;

use annulus::mesh::CoreMap;
use annulus_engine::record::Kind;
use annulus_engine::{RecordRef, index::IndexHash};

use super::{Verdict, tell};
use crate::commands::dump::{record_json, write_record};
use crate::failure::Failure;
use crate::finding::Findings;
use crate::log::Scope;
use crate::state::{Fate, Partition};
use crate::store::{Store, Wanted, record_of};
use crate::text;
use crate::version::Version;

/// How often a record is looked for in a log that goes on.
const TRIES: usize = 5;

/// Prints a key's record.
pub fn run(path: &Path, key: &str, raw: bool, json: bool, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let key = text::unescape(key)?;
    for _ in 1..TRIES {
        if let (verdict, true) = look(path, &key, (raw, json), out)? {
            return Ok(verdict);
        }
    }
    look(path, &key, (raw, json), out).map(|(verdict, _)| verdict)
}

/// One look; `false` when the record was not found where it ought to be in the log, so that another look is due.
fn look(path: &Path, key: &[u8], form: (bool, bool), out: &mut dyn Write) -> Result<(Verdict, bool), Failure> {
    let mut store = Store::open_with(path, |listing| {
        // The other cores' logs say nothing of the key.
        let map = listing.meta.as_ref().map(|meta| CoreMap::new(meta.partitions, meta.cores));
        let wanted = Store::locate(listing.meta.as_ref(), key);
        Scope { core: map.zip(wanted).map(|(map, wanted)| map.core_of(wanted.partition)), ..Scope::default() }
    })?;
    let wanted = Store::locate(store.meta(), key);
    let mut findings = store.findings.clone();
    for number in store.partitions() {
        if wanted.is_some_and(|wanted| wanted.partition != number) {
            continue;
        }
        let partition = store.partition(number, false)?;
        findings.extend(partition.findings.clone());
        let found = find(&store, &partition, wanted, key, &mut findings)?;
        let Some((version, bytes)) = found else { continue };
        let verdict = tell(&findings);
        let record = record_of(&bytes, number, &version).expect("it was checked when it was found");
        let is_value = print(&store, &partition, &version, &record, form, out)?;
        return Ok((if is_value || verdict == Verdict::Found { verdict } else { Verdict::Absent }, true));
    }
    if findings.has_stale() {
        return Ok((Verdict::Absent, false));
    }
    let verdict = tell(&findings);
    // Nobody may be reading.
    let _ = writeln!(std::io::stderr(), "annulus-inspect: there is no record of {}", text::excerpt(key, 200));
    Ok((if verdict == Verdict::Found { verdict } else { Verdict::Absent }, true))
}

/// The key's record that counts, by its hash, or by looking at all of them.
fn find(
    store: &Store,
    partition: &Partition,
    wanted: Option<Wanted>,
    key: &[u8],
    findings: &mut Findings,
) -> Result<Option<(Version, Vec<u8>)>, Failure> {
    let candidates = match wanted {
        None => partition.current.as_slice(),
        Some(wanted) => partition.current_of(IndexHash::of(wanted.hash)),
    };
    for version in candidates {
        let bytes = store.bytes_of(partition, version)?;
        match record_of(&bytes, partition.number, version) {
            Ok(record) if record.key() == key => return Ok(Some((version.clone(), bytes.into_owned()))),
            Ok(_) => {}
            Err(error) => store.note_unreadable(partition, version, &error, findings),
        }
    }
    Ok(None)
}

/// Whether it has a value that has not expired.
fn print(
    store: &Store,
    partition: &Partition,
    version: &Version,
    record: &RecordRef<'_>,
    (raw, json): (bool, bool),
    out: &mut dyn Write,
) -> Result<bool, Failure> {
    let site = partition.site_of(&store.log, version);
    if raw {
        if record.kind() == Kind::Siblings {
            let what = "the key has several values: --raw writes one; leave it out, or use --json";
            return Err(Failure::Usage(what.to_owned()));
        }
        out.write_all(record.body())?;
    } else if json {
        writeln!(out, "{}", record_json(&site, record, Fate::Current))?;
    } else {
        write_record(&site, record, Fate::Current, usize::MAX, out)?;
    }
    Ok(record.is_shown(text::now_unix_ms()))
}
