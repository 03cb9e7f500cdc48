//! `diff`: which keys two sides disagree about.
//!
//! Versions are compared by their dots and by what was seen; versions of one dot are the same unless a fault made them differ,
//! which `--values` looks for.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::{Verdict, dot_json, dot_text, tell};
use crate::commands::dump::kind_word;
use crate::failure::Failure;
use crate::finding::Findings;
use crate::state::Partition;
use crate::store::{Store, record_of};
use crate::text;
use crate::version::{Version, joined};

/// How to compare, and what to print.
pub struct Options {
    /// At most so many keys.
    pub max: usize,
    /// The contents, too.
    pub values: bool,
    /// For programs.
    pub json: bool,
}

/// How the two sides' versions of a key relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Same,
    OnlyA,
    OnlyB,
    OlderA,
    OlderB,
    Different,
}

impl Relation {
    const ALL: [Self; 6] = [Self::Same, Self::OnlyA, Self::OnlyB, Self::OlderA, Self::OlderB, Self::Different];

    fn words(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::OnlyA => "only in a",
            Self::OnlyB => "only in b",
            Self::OlderA => "older in a",
            Self::OlderB => "older in b",
            Self::Different => "different",
        }
    }
}

/// What counts of a key on either side, nearly always one version.
type Pair<'a> = (Option<&'a [Version]>, Option<&'a [Version]>);

/// Both sides, and what was found so far.
struct Comparison<'o> {
    a: Store,
    b: Store,
    options: &'o Options,
    counts: [u64; 6],
    shown: usize,
    lines: Vec<Value>,
    findings: Findings,
}

/// Compares two paths.
pub fn run(a: &Path, b: &Path, options: &Options, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let (a, b) = (Store::open(a)?, Store::open(b)?);
    if let (Some(one), Some(other)) = (a.meta(), b.meta())
        && (one.hash_key, one.partitions) != (other.hash_key, other.partitions)
    {
        let what = "the two are of different clusters: hashes and partitions of their keys cannot be compared";
        return Err(Failure::Usage(what.to_owned()));
    }
    let mut findings = a.findings.clone();
    findings.extend(b.findings.clone());
    let numbers: BTreeSet<u16> = a.partitions().into_iter().chain(b.partitions()).collect();
    let mut comparison = Comparison { a, b, options, counts: [0; 6], shown: 0, lines: Vec::new(), findings };
    for number in numbers {
        comparison.compare(number, out)?;
    }
    comparison.finish(out)
}

impl Comparison<'_> {
    fn compare(&mut self, number: u16, out: &mut dyn Write) -> Result<(), Failure> {
        let a = self.a.partition(number, false)?;
        let b = self.b.partition(number, false)?;
        self.findings.extend(a.findings.clone());
        self.findings.extend(b.findings.clone());
        let (mut left, mut right) = (a.keys().peekable(), b.keys().peekable());
        loop {
            let pair: Pair<'_> = match (left.peek(), right.peek()) {
                (None, None) => break,
                (Some(_), None) => (left.next(), None),
                (None, Some(_)) => (None, right.next()),
                (Some(one), Some(other)) => match one[0].hash.cmp(&other[0].hash) {
                    Ordering::Less => (left.next(), None),
                    Ordering::Greater => (None, right.next()),
                    Ordering::Equal => (left.next(), right.next()),
                },
            };
            let relation = self.relation(&a, &b, pair)?;
            self.counts[relation as usize] += 1;
            if relation != Relation::Same && self.shown < self.options.max {
                self.shown += 1;
                self.show(&a, &b, pair, relation, out)?;
            }
        }
        Ok(())
    }

    fn relation(&self, a: &Partition, b: &Partition, pair: Pair<'_>) -> Result<Relation, Failure> {
        let (one, other) = match pair {
            (Some(one), Some(other)) => (one, other),
            (Some(_), None) => return Ok(Relation::OnlyA),
            _ => return Ok(Relation::OnlyB),
        };
        let (ours, theirs) = (joined(one), joined(other));
        // Of what is no more, one side may remember less.
        if !ours.siblings.iter().map(|(dot, _)| dot).eq(theirs.siblings.iter().map(|(dot, _)| dot)) {
            return Ok(match (ours.includes(&theirs), theirs.includes(&ours)) {
                (true, false) => Relation::OlderB,
                (false, true) => Relation::OlderA,
                _ => Relation::Different,
            });
        }
        let ([one], [other]) = (one, other) else { return Ok(Relation::Same) };
        if one.kind != other.kind {
            return Ok(Relation::Different);
        }
        if !self.options.values {
            return Ok(Relation::Same);
        }
        let (left, right) = (self.a.bytes_of(a, one)?, self.b.bytes_of(b, other)?);
        let (left, right) = (record_of(&left, a.number, one), record_of(&right, b.number, other));
        Ok(match (left, right) {
            (Ok(left), Ok(right)) if left.key() == right.key() && left.siblings().eq(right.siblings()) => {
                Relation::Same
            }
            _ => Relation::Different,
        })
    }

    fn show(
        &mut self,
        a: &Partition,
        b: &Partition,
        pair: Pair<'_>,
        relation: Relation,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        let key = match pair {
            (Some(versions), _) => self.key_of(&self.a, a, &versions[0])?,
            (_, Some(versions)) => self.key_of(&self.b, b, &versions[0])?,
            (None, None) => None,
        };
        // The first 72 bits, which are all that the index knows.
        let hash = pair.0.or(pair.1).map_or(0, |versions| versions[0].hashes()[0] >> 56);
        if self.options.json {
            let side =
                |versions: &[Version]| json!({ "dot": dot_json(versions[0].dot), "kind": kind_word(versions[0].kind) });
            self.lines.push(json!({
                "relation": relation.words(),
                "partition": a.number,
                "hash": format!("{hash:018x}"),
                "key": key.as_deref().map(text::escape),
                "a": pair.0.map(side),
                "b": pair.1.map(side),
            }));
            return Ok(());
        }
        let key =
            key.map_or_else(|| "a key that cannot be read".to_owned(), |key| text::excerpt(&key, 200).into_owned());
        writeln!(out, "{}: {key}, partition {}, hash {hash:018x}…", relation.words(), a.number)?;
        for (side, versions) in [("a", pair.0), ("b", pair.1)] {
            for (dot, deletes) in versions.into_iter().flat_map(|versions| joined(versions).siblings) {
                let verb = if deletes { "deleted" } else { "written" };
                writeln!(out, "  {side}: {verb} {}", dot_text(dot))?;
            }
        }
        Ok(())
    }

    fn key_of(&self, store: &Store, partition: &Partition, version: &Version) -> Result<Option<Vec<u8>>, Failure> {
        let bytes = store.bytes_of(partition, version)?;
        Ok(record_of(&bytes, partition.number, version).ok().map(|record| record.key().to_vec()))
    }

    fn finish(self, out: &mut dyn Write) -> Result<Verdict, Failure> {
        let counts = || Relation::ALL.iter().zip(self.counts);
        if self.options.json {
            let counts: serde_json::Map<String, Value> =
                counts().map(|(relation, count)| (relation.words().replace(' ', "_"), count.into())).collect();
            let all = json!({ "counts": counts, "keys": self.lines, "findings": self.findings.to_json() });
            writeln!(out, "{all}")?;
        } else {
            let words = counts().map(|(relation, count)| format!("{count} {}", relation.words()));
            writeln!(out, "{}", words.collect::<Vec<_>>().join(", "))?;
        }
        let differ = self.counts[1..].iter().any(|count| *count > 0);
        let verdict = tell(&self.findings);
        Ok(if differ { Verdict::Found } else { verdict })
    }
}
