//! `dump`: records as text, partition by partition in the order of their hashes.

use std::io::Write;
use std::ops::RangeInclusive;
use std::path::Path;

use annulus_engine::RecordRef;
use annulus_engine::record::Kind;
use annulus_object::{Dot, SiblingRef};
use serde_json::{Value, json};

use super::{Verdict, dot_json, dot_text, tell};
use crate::arguments::FilterArguments;
use crate::failure::Failure;
use crate::finding::{Findings, Site};
use crate::state::{Fate, Partition};
use crate::store::{Store, record_of};
use crate::text;
use crate::version::Version;

/// Bytes of a value that are printed.
const VALUE_EXCERPT_BYTES: usize = 80;

/// Which records are wanted.
struct Filter {
    key: Option<Vec<u8>>,
    prefix: Vec<u8>,
    partition: Option<u16>,
    hashes: RangeInclusive<u128>,
}

impl Filter {
    fn new(arguments: &FilterArguments) -> Result<Self, Failure> {
        let bytes = |text: &Option<String>| text.as_deref().map(text::unescape).transpose();
        let range = |text: &Option<String>| text.as_deref().map(text::hash_range).transpose();
        let from = range(&arguments.from)?.map_or(0, |(low, _)| low);
        let to = range(&arguments.to)?.map_or(u128::MAX, |(_, high)| high);
        Ok(Self {
            key: bytes(&arguments.key)?,
            prefix: bytes(&arguments.prefix)?.unwrap_or_default(),
            partition: arguments.partition,
            hashes: from..=to,
        })
    }

    /// Whether a version may be wanted, as far as can be told without its record.
    fn may_accept(&self, version: &Version) -> bool {
        let [first, last] = version.hashes();
        first <= *self.hashes.end() && last >= *self.hashes.start()
    }

    fn accepts(&self, record: &RecordRef<'_>) -> bool {
        self.hashes.contains(&record.hash())
            && self.key.as_deref().is_none_or(|key| key == record.key())
            && record.key().starts_with(&self.prefix)
    }
}

/// Prints the records of a path.
pub fn run(
    path: &Path,
    arguments: &FilterArguments,
    all: bool,
    json: bool,
    out: &mut dyn Write,
) -> Result<Verdict, Failure> {
    let filter = Filter::new(arguments)?;
    let mut store = Store::open(path)?;
    let wanted = filter.key.as_deref().and_then(|key| Store::locate(store.meta(), key));
    let only = filter.partition.or(wanted.map(|wanted| wanted.partition));
    let mut findings = store.findings.clone();
    for number in store.partitions().into_iter().filter(|number| only.is_none_or(|only| only == *number)) {
        let partition = store.partition(number, all)?;
        let mut versions: Vec<(&Version, Fate)> =
            partition.current.iter().map(|version| (version, Fate::Current)).collect();
        versions.extend(partition.dead.iter().map(|(version, fate)| (version, *fate)));
        versions.sort_by_key(|(version, fate)| (version.hash, *fate, std::cmp::Reverse(version.dot)));
        for (version, fate) in versions.into_iter().filter(|(version, _)| filter.may_accept(version)) {
            dump_one(&store, &partition, (version, fate), &filter, json, out, &mut findings)?;
        }
        findings.extend(partition.findings);
    }
    Ok(tell(&findings))
}

fn dump_one(
    store: &Store,
    partition: &Partition,
    (version, fate): (&Version, Fate),
    filter: &Filter,
    json: bool,
    out: &mut dyn Write,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let site = partition.site_of(&store.log, version);
    let bytes = store.bytes_of(partition, version)?;
    match record_of(&bytes, partition.number, version) {
        Ok(record) if !filter.accepts(&record) => {}
        Ok(record) if json => writeln!(out, "{}", record_json(&site, &record, fate))?,
        Ok(record) => write_record(&site, &record, fate, VALUE_EXCERPT_BYTES, out)?,
        Err(error) => store.note_unreadable(partition, version, &error, findings),
    }
    Ok(())
}

/// A record as a few lines.
pub fn write_record(
    site: &Site,
    record: &RecordRef<'_>,
    fate: Fate,
    value_bytes: usize,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    writeln!(out, "\"{}\"", text::escape(record.key()))?;
    writeln!(out, "  partition {}, hash {:032x}, {}", record.partition(), record.hash(), fate.word())?;
    writeln!(out, "  {} bytes at byte {} of {}", record.total_bytes(), site.offset.unwrap_or(0), site.path)?;
    write_context(record, out)?;
    match record.kind() {
        Kind::Siblings => write_siblings(record, value_bytes, out),
        Kind::Tombstone => writeln!(out, "  deleted {}", dot_text(record.dot())),
        Kind::Value | Kind::Mark => {
            writeln!(out, "  written {}", dot_text(record.dot()))?;
            write_value_dot(record.siblings().next(), out)?;
            write_expiry(record.expires_at_ms(), out)?;
            writeln!(out, "  value {}", text::excerpt(record.body(), value_bytes))
        }
    }
}

/// What the writer had seen, as far as neither the floor nor the dot of a single version says it.
fn write_context(record: &RecordRef<'_>, out: &mut dyn Write) -> std::io::Result<()> {
    let entries: Vec<String> =
        record.context_entries().map(|(actor, clock)| dot_text(Dot::new(clock, actor))).collect();
    if entries.is_empty() { Ok(()) } else { writeln!(out, "  has seen {}", entries.join(", ")) }
}

/// Of a version that only gave a value another expiry: the write that made the value.
fn write_value_dot(version: Option<SiblingRef<'_>>, out: &mut dyn Write) -> std::io::Result<()> {
    match version.and_then(|version| version.value_dot) {
        Some(made) => writeln!(out, "  with the value of {}", dot_text(made)),
        None => Ok(()),
    }
}

fn write_expiry(expires_at_ms: u64, out: &mut dyn Write) -> std::io::Result<()> {
    match expires_at_ms {
        0 => Ok(()),
        at if at <= text::now_unix_ms() => writeln!(out, "  expired {}", text::time(at)),
        at => writeln!(out, "  expires {}", text::time(at)),
    }
}

fn write_siblings(record: &RecordRef<'_>, value_bytes: usize, out: &mut dyn Write) -> std::io::Result<()> {
    for sibling in record.siblings() {
        match sibling.value {
            None => writeln!(out, "  sibling deleted {}", dot_text(sibling.dot))?,
            Some(value) => {
                writeln!(out, "  sibling written {}", dot_text(sibling.dot))?;
                write_value_dot(Some(sibling), out)?;
                write_expiry(sibling.expires_at_ms, out)?;
                writeln!(out, "  value {}", text::excerpt(value, value_bytes))?;
            }
        }
    }
    Ok(())
}

/// A record for programs.
pub fn record_json(site: &Site, record: &RecordRef<'_>, fate: Fate) -> Value {
    let dot = record.dot();
    let mut value = json!({
        "key": text::escape(record.key()),
        "partition": record.partition(),
        "hash": format!("{:032x}", record.hash()),
        "fate": fate.word(),
        "kind": kind_word(record.kind()),
        "time_ms": dot.clock.unix_ms(),
        "dot": dot_json(dot),
        "floor": format!("{:014x}", record.header().floor),
        "bytes": record.total_bytes(),
        "path": site.path,
        "offset": site.offset,
    });
    match record.kind() {
        Kind::Tombstone | Kind::Mark => {}
        Kind::Value => {
            value["value"] = text::escape(record.body()).into();
            value["expires_at_ms"] = record.expires_at_ms().into();
            note_value_dot(record.siblings().next(), &mut value);
        }
        Kind::Siblings => {
            let one = |sibling: SiblingRef<'_>| {
                let mut value = json!({
                    "dot": dot_json(sibling.dot),
                    "expires_at_ms": sibling.expires_at_ms,
                    "value": sibling.value.map(text::escape),
                });
                note_value_dot(Some(sibling), &mut value);
                value
            };
            value["siblings"] = record.siblings().map(one).collect();
        }
    }
    let entries: Vec<Value> =
        record.context_entries().map(|(actor, clock)| dot_json(Dot::new(clock, actor)).into()).collect();
    if !entries.is_empty() {
        value["has_seen"] = entries.into();
    }
    value
}

fn note_value_dot(version: Option<SiblingRef<'_>>, value: &mut Value) {
    if let Some(made) = version.and_then(|version| version.value_dot) {
        value["value_dot"] = dot_json(made).into();
    }
}

/// What a record says about its key.
pub fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Value => "value",
        Kind::Tombstone => "tombstone",
        Kind::Siblings => "siblings",
        Kind::Mark => "mark",
    }
}
