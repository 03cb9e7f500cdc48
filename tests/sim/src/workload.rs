//! What clients do: weighted operations over few hot and many cold keys, with and without contexts, in sessions that remember
//! what they wrote; sets that grow by an element at a time.
//!
//! A client does one thing after another. It keeps the contexts that it was given, and uses them at once, later, or never. An
//! operation whose end it does not learn it may do again, as a new one.
//!
//! Invariant: every put has a value that no other has; it begins with the operation's number.

use std::collections::BTreeMap;
use std::rc::Rc;

use annulus_cluster::event::Quorum;
use annulus_object::{Context, Dot};

use crate::model::{KeyIndex, Kind, OpId, Seen, WriteIndex};
use crate::seeds::{Consumer, Random};
use crate::shape::{Shape, Work};

/// What a client may choose; the order is that of [`Shape::weights`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Reads.
    Get,
    /// Writes without a context.
    BlindPut,
    /// Writes with the context that it was given last.
    Put,
    /// Writes with a context that it was given some time ago.
    StalePut,
    /// Writes with a context that says that nothing was seen.
    EmptyPut,
    /// Deletes without a context.
    BlindDelete,
    /// Deletes with the context that it was given last.
    Delete,
    /// Reads, and writes at once with what it was given.
    ReadModifyWrite,
}

const CHOICES: [Choice; 8] = [
    Choice::Get,
    Choice::BlindPut,
    Choice::Put,
    Choice::StalePut,
    Choice::EmptyPut,
    Choice::BlindDelete,
    Choice::Delete,
    Choice::ReadModifyWrite,
];

/// A context as a client holds it.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// What nodes see.
    pub context: Context,
    /// What it means.
    pub seen: Rc<Seen>,
    /// The client's own write that left it, where others stood beside that: it goes with the context, and is all of the
    /// connection's writes that a write with this context counts as seen.
    pub own: Option<Own>,
}

/// What a connection wrote to a key last.
#[derive(Debug, Clone, Copy)]
pub struct Own {
    /// As the model calls it.
    pub write: WriteIndex,
    /// As nodes call it.
    pub dot: Dot,
    /// Whether nothing stood beside it.
    pub is_alone: bool,
}

/// An operation that a client wants.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Of which key.
    pub key: KeyIndex,
    /// What.
    pub kind: Kind,
    /// What to write behind the operation's number.
    pub content: Vec<u8>,
    /// With which context; `None` is blind.
    pub context: Option<Held>,
    /// What the connection wrote to the key last or, with a context, the own write that goes with that.
    pub own_last: Option<Own>,
    /// Answers that it wants.
    pub quorum: Quorum,
}

/// A client.
#[derive(Debug)]
pub struct Client {
    /// The node that it is connected to.
    pub node: usize,
    /// What it waits for.
    pub waits_for: Option<OpId>,
    random: Random,
    /// Contexts by key: the newest, and an older one.
    contexts: BTreeMap<KeyIndex, (Held, Held)>,
    own_last: BTreeMap<KeyIndex, Own>,
    /// What follows the read that is under way, or failed.
    next: Option<(KeyIndex, Kind, Vec<u8>)>,
    /// Elements still to be added, and those of the set as it was read.
    adds_left: u32,
    read: Vec<OpId>,
}

impl Client {
    /// A client, connected to some node.
    #[must_use]
    pub fn new(seed: u64, index: usize, shape: &Shape) -> Self {
        let mut random = Random::new(seed, Consumer::Workload, index as u64);
        let node = random.index(shape.nodes);
        let adds_left = match shape.work {
            Work::Mixed => 0,
            Work::Set { adds, .. } => adds / u32::try_from(shape.clients).expect("few clients"),
        };
        Self {
            node,
            waits_for: None,
            random,
            contexts: BTreeMap::new(),
            own_last: BTreeMap::new(),
            next: None,
            adds_left,
            read: Vec::new(),
        }
    }

    /// How long it pauses before its next operation.
    pub fn pause(&mut self, shape: &Shape) -> u64 {
        self.random.waiting(shape.think) + 1
    }

    /// Whether it has done all that it wants to do.
    #[must_use]
    pub fn is_done(&self, shape: &Shape) -> bool {
        matches!(shape.work, Work::Set { .. }) && self.adds_left == 0
    }

    /// The next operation.
    pub fn choose(&mut self, shape: &Shape) -> Wanted {
        if let Work::Set { .. } = shape.work {
            return self.choose_add(shape);
        }
        if let Some((key, kind, content)) = self.next.take() {
            let context = self.contexts.get(&key).map(|(newest, _)| newest.clone());
            return self.wanted(shape, key, kind, content, context);
        }
        let key = self.choose_key(shape);
        let known = self.contexts.get(&key);
        let newest = known.map(|(newest, _)| newest.clone());
        let older = known.map(|(_, older)| older.clone());
        let nothing = Some(Held::default());
        let content = self.content(shape);
        let (kind, content, context) = match CHOICES[self.random.weighted(&shape.weights)] {
            Choice::Get => (Kind::Get, Vec::new(), None),
            Choice::BlindPut => (Kind::Put, content, None),
            Choice::Put => (Kind::Put, content, newest),
            Choice::StalePut => (Kind::Put, content, older),
            Choice::EmptyPut => (Kind::Put, content, nothing),
            Choice::BlindDelete => (Kind::Delete, Vec::new(), None),
            Choice::Delete => (Kind::Delete, Vec::new(), newest),
            Choice::ReadModifyWrite => {
                let deletes = self.random.one_in(4);
                let kind = if deletes { Kind::Delete } else { Kind::Put };
                self.next = Some((key, kind, if deletes { Vec::new() } else { content }));
                (Kind::Get, Vec::new(), None)
            }
        };
        self.wanted(shape, key, kind, content, context)
    }

    /// Read the set, then write it with one element more.
    fn choose_add(&mut self, shape: &Shape) -> Wanted {
        if self.next.take().is_none() {
            self.next = Some((0, Kind::Put, Vec::new()));
            return self.wanted(shape, 0, Kind::Get, Vec::new(), None);
        }
        let content = self.read.iter().flat_map(|element| element.to_le_bytes()).collect();
        let context = self.contexts.get(&0).map(|(newest, _)| newest.clone());
        self.wanted(shape, 0, Kind::Put, content, context.or_else(|| Some(Held::default())))
    }

    fn wanted(&mut self, shape: &Shape, key: KeyIndex, kind: Kind, content: Vec<u8>, context: Option<Held>) -> Wanted {
        let quorum = shape.draw_quorum(&mut self.random);
        let own_last = match &context {
            Some(held) => held.own,
            None => self.own_last.get(&key).copied(),
        };
        Wanted { key, kind, content, context, own_last, quorum }
    }

    fn choose_key(&mut self, shape: &Shape) -> KeyIndex {
        if self.random.per_mille(shape.hot_share) {
            return u32::try_from(self.random.below(shape.hot_keys.into())).expect("below the number of keys");
        }
        shape.hot_keys + u32::try_from(self.random.below(shape.cold_keys.into())).expect("below the number of keys")
    }

    fn content(&mut self, shape: &Shape) -> Vec<u8> {
        let bytes = usize::try_from(self.random.below(shape.value_bytes_max + 1)).expect("values are short");
        vec![b'.'; bytes]
    }

    /// It was given a context, and the elements of the values that came with it.
    pub fn learn(&mut self, key: KeyIndex, held: Held, elements: Vec<OpId>) {
        self.read = elements;
        let replaces_older = self.random.one_in(3);
        match self.contexts.get_mut(&key) {
            None => {
                self.contexts.insert(key, (held.clone(), held));
            }
            Some((newest, older)) => {
                let before = std::mem::replace(newest, held);
                if replaces_older {
                    *older = before;
                }
            }
        }
    }

    /// What its connection wrote was acknowledged.
    pub fn wrote(&mut self, key: KeyIndex, own: Own) {
        self.adds_left = self.adds_left.saturating_sub(1);
        self.own_last.insert(key, own);
    }

    /// An operation failed, or nobody knows: what was to follow does not, or the same is tried again.
    pub fn failed(&mut self, key: KeyIndex, kind: Kind, content: Vec<u8>, work: Work) {
        self.next = None;
        let is_set = work != Work::Mixed;
        // An element that was not surely added is not counted as one.
        if !is_set && kind != Kind::Get && self.random.one_in(2) {
            self.next = Some((key, kind, content));
        }
    }

    /// Connects to another node: a new session.
    pub fn reconnect(&mut self, nodes: usize) {
        self.own_last.clear();
        self.node = self.random.index(nodes);
    }
}
