//! What is true: every operation, every write that was ever stamped, what each had seen, and who has it.
//!
//! The nodes know dots and contexts; the model knows histories. Of each write it keeps two sets of earlier writes of
//! the key: what it *must* have seen (what its client was given, or what its coordinator held), and what it *may* have seen.
//! A state of a key is right when it has replaced everything that a live write must have seen, and nothing that none may
//! have seen. Deletes are writes.
//!
//! It is white-box where nothing else is exact: it learns of a write when its coordinator first stores it, together with
//! what that core had of the key just before.
//!
//! Invariant: `may` of a write is closed (it holds what its members hold), and `must` is part of `may`.

mod copies;
mod learn;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use annulus_cluster::effect::Failure;
use annulus_cluster::event::Quorum;
use annulus_object::{Context, Dot, Object};

use crate::bits::Bits;
use crate::clock::Instant;

pub use copies::Copies;
pub use learn::Storing;

/// An operation of a client, in the order in which they began.
pub type OpId = u32;
/// A key of the run.
pub type KeyIndex = u32;
/// A write of a key, in the order in which they were stamped.
pub type WriteIndex = u32;

/// What somebody has seen of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Surely.
    pub must: Bits,
    /// Possibly.
    pub may: Bits,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Reads.
    Get,
    /// Writes a value.
    Put,
    /// Deletes.
    Delete,
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has not.
    Open,
    /// Acknowledged.
    Written(WriteIndex),
    /// Read.
    Found,
    /// Refused, or in doubt.
    Failed(Failure),
    /// The connection broke, or the client waited long enough.
    Unknown,
}

/// An operation of a client.
#[derive(Debug, Clone)]
pub struct Op {
    /// Whose.
    pub client: usize,
    /// Of which key.
    pub key: KeyIndex,
    /// What it does.
    pub kind: Kind,
    /// What it writes: unique in the run.
    pub value: Vec<u8>,
    /// What its context says that it has seen; `None` is a blind write.
    pub context: Option<Rc<Seen>>,
    /// What the connection wrote to the key last.
    pub own_last: Option<WriteIndex>,
    /// Whether nothing stood beside that.
    pub own_is_alone: bool,
    /// Whether it may be executed more than once.
    pub is_repeatable: bool,
    /// Answers that it wants.
    pub quorum: Quorum,
    /// When it began.
    pub invoked: Instant,
    /// Its deadline, once it has reached its node.
    pub due: Option<Instant>,
    /// The node that it was sent to.
    pub node: usize,
    /// How it ended.
    pub outcome: Outcome,
    /// How many answers came.
    pub answers: u32,
    /// The writes that it became: one, if it was executed once.
    pub writes: Vec<WriteIndex>,
}

/// When a write was acknowledged, and for which quorum.
#[derive(Debug, Clone, Copy)]
pub struct Acknowledged {
    /// When the coordinator said so.
    pub at: Instant,
    /// What the client had asked for.
    pub quorum: Quorum,
}

/// A state has hidden a write that none of its live writes had seen.
#[derive(Debug, Clone)]
pub struct Unjust {
    /// Where.
    pub node: usize,
    /// When.
    pub at: Instant,
    /// The writes that were live there.
    pub live: Vec<WriteIndex>,
}

/// A write that was stamped.
#[derive(Debug, Clone)]
pub struct Write {
    /// Its name.
    pub dot: Dot,
    /// Whose; `None` for a delete that several operations may have made.
    pub op: Option<OpId>,
    /// Whether it deletes.
    pub is_tombstone: bool,
    /// Who stamped it.
    pub node: usize,
    /// When.
    pub at: Instant,
    /// What it had seen.
    pub seen: Seen,
    /// What its first object said that it replaces, as far as it may have seen that: see [`Model::replaced_by`].
    pub replaced: Bits,
    /// Whether and when it was acknowledged.
    pub acknowledged: Option<Acknowledged>,
    /// The first state that hid it without a reason.
    pub unjust: Option<Unjust>,
    /// Who has it on stable storage.
    pub copies: Copies,
}

/// A key of the run.
#[derive(Debug, Default)]
pub struct KeyModel {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its partition.
    pub partition: u16,
    /// Its keyed hash.
    pub hash: u128,
    /// All that was stamped.
    pub writes: Vec<Write>,
    by_dot: BTreeMap<Dot, WriteIndex>,
    deletes: Vec<OpId>,
}

impl KeyModel {
    /// The write of a dot.
    #[must_use]
    pub fn find(&self, dot: Dot) -> Option<WriteIndex> {
        self.by_dot.get(&dot).copied()
    }

    /// The write at an index.
    #[must_use]
    pub fn write(&self, index: WriteIndex) -> &Write {
        &self.writes[index as usize]
    }

    /// How many writes there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.writes.len()).expect("a run has fewer writes")
    }

    /// All writes, with their indexes.
    pub fn all(&self) -> impl Iterator<Item = (WriteIndex, &Write)> {
        (0..).zip(&self.writes)
    }

    /// The writes that a context covers.
    #[must_use]
    pub fn covered(&self, context: &Context) -> Bits {
        self.all().filter(|(_, write)| context.covers(write.dot)).map(|(index, _)| index).collect()
    }

    /// Everything that was seen by whoever has seen `writes`, themselves included.
    #[must_use]
    pub fn closure(&self, writes: impl IntoIterator<Item = WriteIndex>) -> Seen {
        let mut seen = Seen::default();
        for index in writes {
            let write = self.write(index);
            seen.must.add(&write.seen.must);
            seen.may.add(&write.seen.may);
            seen.must.insert(index);
            seen.may.insert(index);
        }
        seen
    }

    /// The known writes among dots.
    pub fn known<'a>(&'a self, dots: impl IntoIterator<Item = Dot> + 'a) -> impl Iterator<Item = WriteIndex> + 'a {
        dots.into_iter().filter_map(|dot| self.find(dot))
    }
}

/// What is true.
#[derive(Debug, Default)]
pub struct Model {
    /// No wall clock jumps or drifts in this run: deadlines hold to the millisecond.
    pub clocks_are_right: bool,
    ops: Vec<Op>,
    keys: Vec<KeyModel>,
    by_hash: BTreeMap<u128, KeyIndex>,
    /// Dots by partition: whichever key has one, no other key of the partition has it.
    by_partition: BTreeMap<(u16, Dot), KeyIndex>,
    /// Every stamp, with the node and core that made it.
    stamps: BTreeSet<(usize, u16, Dot)>,
}

impl Model {
    /// Adds a key.
    pub fn add_key(&mut self, bytes: Vec<u8>, partition: u16, hash: u128) -> KeyIndex {
        let index = KeyIndex::try_from(self.keys.len()).expect("a run has fewer keys");
        let before = self.by_hash.insert(hash, index);
        assert_eq!(before, None, "keys have different hashes");
        self.keys.push(KeyModel { bytes, partition, hash, ..KeyModel::default() });
        index
    }

    /// A client begins an operation. The value of a put begins with the operation's number.
    pub fn invoke(&mut self, op: Op) -> OpId {
        let id = self.next_op();
        if op.kind == Kind::Put {
            assert_eq!(op_of_value(&op.value), Some(id), "a value names its operation");
        }
        if op.kind == Kind::Delete {
            self.keys[op.key as usize].deletes.push(id);
        }
        self.ops.push(op);
        id
    }

    /// The number of the next operation.
    #[must_use]
    pub fn next_op(&self) -> OpId {
        OpId::try_from(self.ops.len()).expect("a run has fewer operations")
    }

    /// An operation.
    #[must_use]
    pub fn op(&self, id: OpId) -> &Op {
        &self.ops[id as usize]
    }

    /// An operation, to be changed.
    pub fn op_mut(&mut self, id: OpId) -> &mut Op {
        &mut self.ops[id as usize]
    }

    /// All operations.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// A key.
    #[must_use]
    pub fn key(&self, index: KeyIndex) -> &KeyModel {
        &self.keys[index as usize]
    }

    /// All keys.
    #[must_use]
    pub fn keys(&self) -> &[KeyModel] {
        &self.keys
    }

    /// The key with a hash.
    #[must_use]
    pub fn key_of(&self, hash: u128) -> Option<KeyIndex> {
        self.by_hash.get(&hash).copied()
    }

    /// The key that a dot of a partition belongs to.
    #[must_use]
    pub fn key_of_dot(&self, partition: u16, dot: Dot) -> Option<KeyIndex> {
        self.by_partition.get(&(partition, dot)).copied()
    }

    pub(crate) fn write_mut(&mut self, key: KeyIndex, write: WriteIndex) -> &mut Write {
        &mut self.keys[key as usize].writes[write as usize]
    }

    /// What a client has seen who was given this object.
    #[must_use]
    pub fn seen_in(&self, key: KeyIndex, object: &Object) -> Seen {
        let key = self.key(key);
        key.closure(key.known(object.siblings().iter().map(|sibling| sibling.dot)))
    }

    /// The versions of an object, what these have replaced, what that had replaced, and so on.
    ///
    /// What a write has replaced is what it must have seen, and what [`Write::replaced`] says. The second is needed where the
    /// model cannot tell what must have been seen, as of a plain delete that heard of versions from owners which it need not
    /// have waited for. It loses no sight of a write that is lost: it is what the context of the write's own object said as it
    /// left its coordinator, with no other sibling that could have replaced it instead. Wherever that object came, those writes
    /// were hidden by it, and hiding what a write may not have seen is a violation by itself (`checkers::causality`).
    #[must_use]
    pub fn replaced_by(&self, key: KeyIndex, object: &Object) -> Bits {
        let known = self.key(key);
        let mut replaced = self.seen_in(key, object).must;
        loop {
            let mut more = known.closure(replaced.iter()).must;
            replaced.iter().for_each(|index| more.add(&known.write(index).replaced));
            if more == replaced {
                return replaced;
            }
            replaced = more;
        }
    }

    /// What a client has seen who was given the context that a write of its own has left.
    #[must_use]
    pub fn seen_after(&self, op: OpId, (write, is_alone): (WriteIndex, bool), context: &Context) -> Seen {
        let op = self.op(op);
        if !is_alone {
            // It is given back what it sent: it has not read what stands beside its write.
            return op.context.as_deref().cloned().unwrap_or_default();
        }
        let key = self.key(op.key);
        let must = key.closure([write]).must;
        let may = key.closure(key.covered(context).iter()).may;
        Seen { must, may }
    }

    /// How a write is called in stories: by its operation.
    #[must_use]
    pub fn name(&self, key: KeyIndex, write: WriteIndex) -> String {
        let write = self.key(key).write(write);
        let deletes = if write.is_tombstone { " (deletes)" } else { "" };
        match write.op {
            Some(op) => format!("#{op}{deletes}"),
            None => format!("{:?}{deletes}", write.dot),
        }
    }

    /// Several writes, as stories call them.
    #[must_use]
    pub fn names(&self, key: KeyIndex, writes: impl IntoIterator<Item = WriteIndex>) -> String {
        let names: Vec<String> = writes.into_iter().map(|write| self.name(key, write)).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    }

    /// A key's name in stories.
    #[must_use]
    pub fn key_name(&self, key: KeyIndex) -> String {
        String::from_utf8_lossy(&self.key(key).bytes).into_owned()
    }
}

/// Deletes carry no value; what they carry is an instant of expiry, which means nothing for them: this late, and as much later
/// as their operation's number says.
const DELETE_EXPIRES_MS: u64 = 1 << 41;

/// The instant of expiry of an operation's write.
#[must_use]
pub fn expires_at_ms(kind: Kind, op: OpId) -> u64 {
    if kind == Kind::Delete { DELETE_EXPIRES_MS + u64::from(op) } else { 0 }
}

/// The operation that a delete names.
#[must_use]
pub fn op_of_delete(expires_at_ms: u64) -> Option<OpId> {
    OpId::try_from(expires_at_ms.checked_sub(DELETE_EXPIRES_MS)?).ok()
}

/// The operation that a value names.
#[must_use]
pub fn op_of_value(value: &[u8]) -> Option<OpId> {
    value.first_chunk::<4>().map(|bytes| OpId::from_le_bytes(*bytes))
}

#[cfg(test)]
pub(crate) mod tests;
