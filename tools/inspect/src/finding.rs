//! What is wrong with the files, or worth knowing about them: where, and which keys it concerns.
//!
//! Invariant: every finding names a file; damage to records of a partition names it and, where that is known, the keys' hashes.

use std::fmt;
use std::path::Path;

use serde_json::{Value, json};

use crate::version::UNKNOWN_BITS;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Something that was acknowledged cannot be trusted or read.
    Damage,
    /// As a crash or an earlier version may leave it.
    Notice,
    /// A live node has written over it since it was found.
    Stale,
}

/// Where something is, or ought to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// The file or directory.
    pub path: String,
    /// Byte in the file.
    pub offset: Option<u64>,
    /// The partition whose keys it concerns.
    pub partition: Option<u16>,
    /// The smallest and the largest hash of those keys.
    pub hashes: Option<(u128, u128)>,
}

impl Site {
    /// A file as a whole.
    pub fn file(path: &Path) -> Self {
        Self { path: path.display().to_string(), ..Self::default() }
    }

    /// A byte of a file.
    pub fn at(path: &Path, offset: u64) -> Self {
        Self { offset: Some(offset), ..Self::file(path) }
    }

    /// With the partition.
    pub fn of(self, partition: u16) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// With the hashes of the keys, if there are any.
    pub fn keys(self, hashes: impl IntoIterator<Item = u128>) -> Self {
        let range = hashes.into_iter().fold(None, |range: Option<(u128, u128)>, hash| match range {
            None => Some((hash, hash)),
            Some((low, high)) => Some((low.min(hash), high.max(hash))),
        });
        Self { hashes: range, ..self }
    }
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub weight: Weight,
    /// Where.
    pub site: Site,
    /// What.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = if self.weight == Weight::Damage { "damage" } else { "notice" };
        write!(formatter, "{weight}: {}", self.site.path)?;
        if let Some(offset) = self.site.offset {
            write!(formatter, " at byte {offset}")?;
        }
        if let Some(partition) = self.site.partition {
            write!(formatter, ", partition {partition}")?;
        }
        match self.site.hashes {
            Some((low, high)) if low ^ high == UNKNOWN_BITS => write!(formatter, ", key hash {:018x}…", low >> 56)?,
            Some((low, high)) if low == high => write!(formatter, ", key hash {low:032x}")?,
            Some((low, high)) => write!(formatter, ", key hashes {low:032x} to {high:032x}")?,
            None => {}
        }
        write!(formatter, ": {}", self.what)
    }
}

/// All that were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Notes damage.
    pub fn damage(&mut self, site: Site, what: impl Into<String>) {
        self.add(Finding { weight: Weight::Damage, site, what: what.into() });
    }

    /// Notes something harmless.
    pub fn notice(&mut self, site: Site, what: impl Into<String>) {
        self.add(Finding { weight: Weight::Notice, site, what: what.into() });
    }

    /// Notes that a live node has gone on.
    pub fn stale(&mut self, site: Site) {
        let what = "the log has gone on since it was read, and the record with it; run this again".to_owned();
        self.add(Finding { weight: Weight::Stale, site, what });
    }

    /// Whether another look may find what was missed.
    pub fn has_stale(&self) -> bool {
        self.0.iter().any(|finding| finding.weight == Weight::Stale)
    }

    fn add(&mut self, finding: Finding) {
        // Two rules may meet the same thing.
        if !self.0.iter().rev().take(64).any(|earlier| *earlier == finding) {
            self.0.push(finding);
        }
    }

    /// Takes over what others found.
    pub fn extend(&mut self, others: Findings) {
        others.0.into_iter().for_each(|finding| self.add(finding));
    }

    /// All of them, in the order in which they were made.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }

    /// How many are damage.
    pub fn damaged(&self) -> usize {
        self.0.iter().filter(|finding| finding.weight == Weight::Damage).count()
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        let hex = |hash: u128| format!("{hash:032x}");
        let one = |finding: &Finding| {
            let Site { path, offset, partition, hashes } = &finding.site;
            json!({
                "damage": finding.weight == Weight::Damage,
                "path": path,
                "offset": offset,
                "partition": partition,
                "first_hash": hashes.map(|(low, _)| hex(low)),
                "last_hash": hashes.map(|(_, high)| hex(high)),
                "what": finding.what,
            })
        };
        self.0.iter().map(one).collect()
    }
}
