//! Objects that wait for a record from the disk before they can be merged.
//!
//! They are not stored yet, and nobody reads them; but their versions count for whoever asks what there is of a key, so that
//! no stamp overlooks one that this node has issued itself (rule S2).
//!
//! Invariant: what waits is in `by_key` under its key's hash, once.

use std::collections::{BTreeMap, HashMap};

use annulus_object::ObjectView;
use smallvec::SmallVec;

use crate::engine::Key;
use crate::keyed_hash::{BuildPassThrough, KeyedHash};
use crate::versions::Versions;

/// A merge that waits: for [`crate::Engine::merge_with`] or [`crate::Engine::abandon_merge`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MergeTicket(u64);

/// One of them.
pub(crate) struct WaitingMerge {
    key: Box<[u8]>,
    partition: u16,
    hash: u128,
    object: Box<[u8]>,
    versions: Versions,
}

impl WaitingMerge {
    pub(crate) fn new(key: &Key<'_>, object: &ObjectView<'_>) -> Self {
        let (bytes, partition, hash) = (key.bytes.into(), key.partition, key.hash);
        Self { key: bytes, partition, hash, object: object.bytes().into(), versions: Versions::of_object(object) }
    }

    pub(crate) fn key(&self) -> Key<'_> {
        Key { bytes: &self.key, partition: self.partition, hash: self.hash }
    }

    pub(crate) fn object(&self) -> ObjectView<'_> {
        ObjectView::checked_before(&self.object)
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.key.len() + self.object.len()
    }
}

/// All of a core.
#[derive(Default)]
pub(crate) struct WaitingMerges {
    merges: BTreeMap<MergeTicket, WaitingMerge>,
    by_key: HashMap<KeyedHash, SmallVec<[MergeTicket; 2]>, BuildPassThrough>,
    issued: u64,
    bytes: usize,
}

impl WaitingMerges {
    /// A ticket that was never used.
    pub(crate) fn next_ticket(&mut self) -> MergeTicket {
        self.issued += 1;
        MergeTicket(self.issued)
    }

    /// Keeps an object until its record comes.
    pub(crate) fn insert(&mut self, ticket: MergeTicket, waiting: WaitingMerge) {
        self.bytes += waiting.bytes();
        self.by_key.entry(KeyedHash::new(waiting.hash)).or_default().push(ticket);
        let old = self.merges.insert(ticket, waiting);
        assert!(old.is_none(), "a ticket is one merge's");
    }

    /// Takes one out. Panics when it does not wait any more.
    pub(crate) fn remove(&mut self, ticket: MergeTicket) -> WaitingMerge {
        let waiting = self.merges.remove(&ticket).expect("the ticket is of a merge that waits");
        self.bytes -= waiting.bytes();
        let key = KeyedHash::new(waiting.hash);
        let tickets = self.by_key.get_mut(&key).expect("what waits is found by its key");
        tickets.retain(|other| *other != ticket);
        if tickets.is_empty() {
            self.by_key.remove(&key);
        }
        waiting
    }

    /// Whether something waits for a key's record.
    #[inline]
    pub(crate) fn is_waiting(&self, hash: u128) -> bool {
        !self.by_key.is_empty() && self.by_key.contains_key(&KeyedHash::new(hash))
    }

    /// Joins the versions of everything that waits for a key's record.
    #[inline]
    pub(crate) fn join(&self, hash: u128, versions: &mut Versions) {
        if self.by_key.is_empty() {
            return;
        }
        for ticket in self.by_key.get(&KeyedHash::new(hash)).into_iter().flatten() {
            versions.merge(&self.merges[ticket].versions);
        }
    }

    /// The objects that wait for a key's record.
    pub(crate) fn objects(&self, hash: u128) -> impl Iterator<Item = ObjectView<'_>> {
        let tickets = if self.by_key.is_empty() { None } else { self.by_key.get(&KeyedHash::new(hash)) };
        tickets.into_iter().flatten().map(|ticket| self.merges[ticket].object())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.merges.len()
    }

    /// Memory in use.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}
