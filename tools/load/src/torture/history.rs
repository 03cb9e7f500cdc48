//! What clients did to the keys: every write, what it had seen, when it was under way, and how it ended.
//!
//! Invariant: an identifier is given out once, so a value that is read names the one write that made it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// The end of a write that may still take effect.
pub const NEVER: u64 = u64::MAX;

/// A promise that is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Kind {
    /// Riak's set test: read all siblings, add an element to their union, write it with the context
    Set,
    /// Writes that have seen nothing, and now and then one that replaces all siblings
    Siblings,
    /// SET and GET of values that are written once
    Register,
    /// DEL and DYN.DEL, and values that come after
    Delete,
}

impl Kind {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Set, Self::Siblings, Self::Register, Self::Delete];

    /// As reports and keys name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Siblings => "siblings",
            Self::Register => "register",
            Self::Delete => "delete",
        }
    }
}

/// One key. After some writes the next generation takes its place: only the end of a key is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Which promise is tried at it.
    pub kind: Kind,
    /// Which of the keys that are in use at a time.
    pub slot: u32,
    /// How many keys had this slot before.
    pub generation: u32,
}

impl Key {
    /// Its name in the store; `run` keeps runs apart.
    pub fn name(self, run: &str) -> Vec<u8> {
        format!("torture:{run}:{}:{}:{}", self.kind.name(), self.slot, self.generation).into_bytes()
    }
}

/// Which write of which client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The client's number.
    pub client: u32,
    /// Counts the client's writes, from 1.
    pub number: u32,
}

impl fmt::Display for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.client, self.number)
    }
}

impl FromStr for Id {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (client, number) = text.split_once('.').unwrap_or((text, ""));
        Ok(Self { client: client.parse()?, number: number.parse()? })
    }
}

/// One sibling as it was read: the identifiers in it, or bytes that none of us wrote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sibling {
    /// In the order in which they stand.
    Ids(Vec<Id>),
    /// Cut, damaged, or somebody else's.
    Foreign(Vec<u8>),
}

impl Sibling {
    /// Reads a value of `key`.
    pub fn read(key: Key, value: &[u8]) -> Self {
        let foreign = || Self::Foreign(value[..value.len().min(80)].to_vec());
        let Ok(text) = str::from_utf8(value) else { return foreign() };
        let Some(ids) = text.strip_prefix(&prefix(key)) else { return foreign() };
        let ids: Result<Vec<Id>, _> = ids.split_whitespace().map(str::parse).collect();
        ids.map_or_else(|_| foreign(), Self::Ids)
    }

    /// The identifiers; none in foreign bytes.
    pub fn ids(&self) -> &[Id] {
        match self {
            Self::Ids(ids) => ids,
            Self::Foreign(_) => &[],
        }
    }
}

/// The value that holds `ids`; it names its key, so that it is recognised under another one.
pub fn value<'a>(key: Key, ids: impl IntoIterator<Item = &'a Id>) -> Vec<u8> {
    let mut text = prefix(key);
    ids.into_iter().for_each(|id| text.push_str(&format!(" {id}")));
    text.into_bytes()
}

fn prefix(key: Key) -> String {
    format!("{}/{}/{}:", key.kind.name(), key.slot, key.generation)
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The store promised to keep it.
    Acknowledged,
    /// The store said that nothing was done.
    Refused,
    /// Nobody knows: no answer came, or one that says so.
    InDoubt,
}

/// One write or delete of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// What it put there; `None` for a delete.
    pub id: Option<Id>,
    /// What it is bound to replace: what its context had seen, or the write before it on the same connection.
    pub seen: Vec<Id>,
    /// Without a context: it may replace whatever its coordinator held, beside `seen`.
    pub is_blind: bool,
    /// Its connection, which no other client has and none had before.
    pub connection: u64,
    /// When it left, nanoseconds since the run began.
    pub began_ns: u64,
    /// When its answer came; [`NEVER`] for a write in doubt.
    pub ended_ns: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// Every write by key.
#[derive(Debug, Default)]
pub struct History {
    writes: BTreeMap<Key, Vec<Write>>,
}

impl History {
    /// Adds a write.
    pub fn push(&mut self, key: Key, write: Write) {
        assert_eq!(write.ended_ns == NEVER, write.outcome == Outcome::InDoubt, "only a doubt has no end");
        self.writes.entry(key).or_default().push(write);
    }

    /// Adds what another client did.
    pub fn absorb(&mut self, other: Self) {
        for (key, writes) in other.writes {
            self.writes.entry(key).or_default().extend(writes);
        }
    }

    /// Every key that was written, or may have been.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.writes.keys().copied()
    }

    /// The writes of a key, those of a client in their order.
    pub fn of(&self, key: Key) -> &[Write] {
        self.writes.get(&key).map_or(&[], Vec::as_slice)
    }
}

/// Identifiers in several siblings, each once.
pub fn union(siblings: &[Sibling]) -> BTreeSet<Id> {
    siblings.iter().flat_map(Sibling::ids).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_name_their_key_and_their_writes() {
        let key = Key { kind: Kind::Set, slot: 3, generation: 1 };
        let ids = [Id { client: 1, number: 2 }, Id { client: 0, number: 77 }];
        let bytes = value(key, &ids);
        assert_eq!(bytes, b"set/3/1: 1.2 0.77");
        assert_eq!(Sibling::read(key, &bytes), Sibling::Ids(ids.to_vec()));
        assert_eq!(Sibling::read(key, &value(key, &[])), Sibling::Ids(Vec::new()));
        let other = Key { generation: 2, ..key };
        for (key, bytes) in
            [(other, &bytes[..]), (key, b"set/3/1: 1.x"), (key, b"set/3/1: 12"), (key, b"\xff"), (key, b"")]
        {
            assert!(matches!(Sibling::read(key, bytes), Sibling::Foreign(_)), "{}", bytes.escape_ascii());
        }
    }
}
