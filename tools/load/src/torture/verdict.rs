//! What became of the writes of one key: a function of what clients did and of what is there in the end.
//!
//! [`set`] judges by elements, [`versions`] by what each write had seen (siblings and deletes), [`register`] by time.
//!
//! Invariant: a finding is a fault of the store. Where a write in doubt could explain what is there, nothing is found.

mod register;
mod set;
#[cfg(test)]
mod tests;
mod versions;

use std::collections::BTreeMap;

use serde::Serialize;

use super::history::{Id, Key, Kind, Outcome, Sibling, Write};

/// Findings that are kept as text.
const EXAMPLES_MAX: usize = 20;

/// Counts of writes, and of what should not be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Keys that were compared.
    pub keys: u64,
    /// Writes and deletes that the store promised to keep.
    pub acknowledged: u64,
    /// Those of them that are in force, or were rightly replaced.
    pub survived: u64,
    /// Those that are gone although nothing replaced them, or replaced by something older.
    pub lost: u64,
    /// Values that are there although a later write, acknowledged, had seen them or came behind them.
    pub resurrected: u64,
    /// Values that stand there twice.
    pub duplicated: u64,
    /// Values that nobody wrote there, or that the store had refused.
    pub invented: u64,
    /// Keys of which nodes still say different things, or nothing.
    pub diverged: u64,
    /// The first findings.
    pub examples: Vec<String>,
}

impl Verdict {
    /// Whether the store kept its promises, as far as was compared.
    pub fn is_clean(&self) -> bool {
        self.lost + self.resurrected + self.duplicated + self.invented + self.diverged == 0
    }

    /// Adds another key's.
    pub fn absorb(&mut self, other: Self) {
        self.keys += other.keys;
        self.acknowledged += other.acknowledged;
        self.survived += other.survived;
        self.lost += other.lost;
        self.resurrected += other.resurrected;
        self.duplicated += other.duplicated;
        self.invented += other.invented;
        self.diverged += other.diverged;
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES_MAX);
    }

    /// Of a key that nodes do not agree on.
    pub fn of_diverged(key: Key, writes: &[Write], why: &str) -> Self {
        let acknowledged = acknowledged(writes).count() as u64;
        let examples = vec![format!("{}/{}/{}: {why}", key.kind.name(), key.slot, key.generation)];
        Self { keys: 1, acknowledged, diverged: 1, examples, ..Self::default() }
    }

    fn note(&mut self, what: String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(what);
        }
    }

    /// Counts a finding about a write.
    fn find(&mut self, count: fn(&mut Self) -> &mut u64, key: Key, id: Option<Id>, what: &str) {
        *count(self) += 1;
        let id = id.map_or_else(|| "a delete".to_owned(), |id| id.to_string());
        self.note(format!("{}/{}/{} {id}: {what}", key.kind.name(), key.slot, key.generation));
    }
}

/// Judges a key by all its writes and by the siblings that every node shows in the end. `skew_ns` is by how much the nodes'
/// clocks may be apart.
pub fn judge(key: Key, writes: &[Write], found: &[Sibling], skew_ns: u64) -> Verdict {
    let mut verdict = Verdict { keys: 1, acknowledged: acknowledged(writes).count() as u64, ..Verdict::default() };
    match key.kind {
        Kind::Set => set::judge(key, writes, found, &mut verdict),
        Kind::Siblings | Kind::Delete => versions::judge(key, writes, found, &mut verdict),
        Kind::Register => register::judge(key, writes, found, skew_ns, &mut verdict),
    }
    verdict.survived = verdict.acknowledged.saturating_sub(verdict.lost);
    verdict
}

fn acknowledged(writes: &[Write]) -> impl Iterator<Item = &Write> {
    writes.iter().filter(|write| write.outcome == Outcome::Acknowledged)
}

/// Finds bytes of nobody, and values that were refused or never sent; gives how often each other value is there.
fn present(key: Key, writes: &[Write], found: &[Sibling], verdict: &mut Verdict) -> BTreeMap<Id, u64> {
    let mut counts = BTreeMap::new();
    for sibling in found {
        if let Sibling::Foreign(bytes) = sibling {
            let what = format!("bytes that nobody wrote: {}", bytes.escape_ascii());
            verdict.find(|verdict| &mut verdict.invented, key, None, &what);
        }
        sibling.ids().iter().for_each(|id| *counts.entry(*id).or_insert(0) += 1);
    }
    counts.retain(|id, _| {
        let write = writes.iter().find(|write| write.id == Some(*id));
        let what = match write.map(|write| write.outcome) {
            None => "was never written there",
            Some(Outcome::Refused) => "was refused, and is there",
            Some(_) => return true,
        };
        verdict.find(|verdict| &mut verdict.invented, key, Some(*id), what);
        false
    });
    counts
}
