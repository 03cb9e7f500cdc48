//! What does not fit into an index entry: expiry instants, contexts with entries, siblings, actors beyond
//! the actor table.
//!
//! What it is: for each partition a hash-ordered table of 24-byte slots, as the index is, and one
//! queue of all expiry instants, so that what is due is found without looking at anything else.
//!
//! ```text
//! w0  hash high 64
//! w1  expiry in Unix ms 48 (0 = never) │ zero 7 │ filled 1 │ hash low 8
//! w2  number of the details in the slab, plus one (0 = none)
//! ```
//!
//! What it is not: it neither reads a clock nor removes what is due; and it does not check that the
//! index has an entry for what it holds.
//!
//! Invariant: the queue holds exactly the instants of the entries that have one: removing or
//! overwriting an instant takes the old one out at once.

use crate::index::{IndexHash, Slot, Table};
use crate::slab::Slab;
use annulus_object::{Actor, Clock, Dot};
use std::collections::BTreeSet;

use crate::partitions::Partitions;

#[cfg(test)]
mod tests;

/// The last instant the table can hold, in the year 10889; later ones are taken for it.
pub const EXPIRY_MS_MAX: u64 = (1 << 48) - 1;

/// What one queued instant costs in the tree, measured: 31 bytes when instants come in random
/// order, 35 when they ascend.
const QUEUE_ENTRY_BYTES: usize = 36;
const FILLED: u64 = 1 << 8;

/// What the side table knows of one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extra<'a> {
    /// When the value expires, in Unix milliseconds; 0 is never.
    pub expires_at_ms: u64,
    /// Actor and context floor, where the actor table had no slot for them.
    pub actor: Option<(Actor, Clock)>,
    /// Entries of the version's context.
    pub context: &'a [(Actor, Clock)],
    /// Where there is not one version: the dots of all siblings, ascending, and whether each deletes.
    pub siblings: &'a [(Dot, bool)],
}

impl Extra<'_> {
    /// Whether there is nothing to store.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Extra::default()
    }
}

struct Details {
    actor: Option<(Actor, Clock)>,
    context: Box<[(Actor, Clock)]>,
    siblings: Box<[(Dot, bool)]>,
}

impl Details {
    fn heap_bytes(&self) -> usize {
        size_of_val(&*self.context) + size_of_val(&*self.siblings)
    }
}

/// A key's hash, expiry instant and number of its details.
#[derive(Clone, Copy)]
struct Packed([u64; 3]);

impl Packed {
    fn new(hash: IndexHash, expires_at_ms: u64, details: Option<u64>) -> Packed {
        let number = details.map_or(0, |number| number + 1);
        Packed([hash.high, expires_at_ms.min(EXPIRY_MS_MAX) << 16 | FILLED | u64::from(hash.low), number])
    }

    fn expires_at_ms(self) -> u64 {
        self.0[1] >> 16
    }

    fn details(self) -> Option<u64> {
        self.0[2].checked_sub(1)
    }
}

impl Slot for Packed {
    const EMPTY: Packed = Packed([0; 3]);

    #[inline]
    fn is_empty(&self) -> bool {
        self.0[1] & FILLED == 0
    }

    #[inline]
    fn high(&self) -> u64 {
        self.0[0]
    }

    #[inline]
    fn low(&self) -> u8 {
        self.0[1] as u8
    }
}

/// One core's side table over its partitions. All methods panic for one that it does not have.
pub struct SideTable {
    partitions: Partitions,
    tables: Vec<Table<Packed>>,
    details: Slab<Details>,
    /// Instant and partition, then the hash's upper bits: entries that share all three share one.
    queue: BTreeSet<(u64, u64)>,
    len: usize,
    expiring: usize,
    slot_bytes: usize,
    heap_bytes: usize,
}

impl SideTable {
    /// An empty table over `partitions`.
    #[must_use]
    pub(crate) fn new(partitions: &Partitions) -> SideTable {
        SideTable {
            partitions: partitions.clone(),
            tables: partitions.all().map(Table::new).collect(),
            details: Slab::new(),
            queue: BTreeSet::new(),
            len: 0,
            expiring: 0,
            slot_bytes: 0,
            heap_bytes: 0,
        }
    }

    /// Covers one more partition, for hints.
    pub(crate) fn add_hints(&mut self) {
        let partition = self.partitions.add_hints().expect("whoever adds a partition has a number for it");
        self.tables.push(Table::new(partition));
    }

    /// What is stored for the key.
    #[must_use]
    #[inline]
    pub fn get(&self, partition: u16, hash: IndexHash) -> Option<Extra<'_>> {
        let slot = self.table(partition).get(hash)?;
        let mut extra = Extra { expires_at_ms: slot.expires_at_ms(), ..Extra::default() };
        if let Some(number) = slot.details() {
            let details = self.details.get(number).expect("details live as long as their slot");
            extra.actor = details.actor;
            extra.context = &details.context;
            extra.siblings = &details.siblings;
        }
        Some(extra)
    }

    /// Stores `extra` for the key in place of whatever was there; an empty one just removes that.
    /// Instants beyond [`EXPIRY_MS_MAX`] are taken for it.
    pub fn set(&mut self, partition: u16, hash: IndexHash, extra: Extra<'_>) {
        if extra.is_empty() {
            self.remove(partition, hash);
            return;
        }
        let has_details = extra.actor.is_some() || !extra.context.is_empty() || !extra.siblings.is_empty();
        let details = has_details.then(|| {
            let (context, siblings) = (extra.context.into(), extra.siblings.into());
            let details = Details { actor: extra.actor, context, siblings };
            self.heap_bytes += details.heap_bytes();
            self.details.insert(details)
        });
        let slot = Packed::new(hash, extra.expires_at_ms, details);
        let old = self.change_table(partition, |table| table.insert(slot));
        self.len += usize::from(old.is_none());
        let old_expiry = old.map_or(0, Packed::expires_at_ms);
        if old_expiry != slot.expires_at_ms() {
            self.unqueue(partition, hash, old_expiry);
            self.queue(partition, hash, slot.expires_at_ms());
        }
        self.drop_details(old);
    }

    /// Removes what is stored for the key; whether there was anything.
    pub fn remove(&mut self, partition: u16, hash: IndexHash) -> bool {
        let Some(old) = self.change_table(partition, |table| table.remove(hash)) else {
            return false;
        };
        self.len -= 1;
        self.unqueue(partition, hash, old.expires_at_ms());
        self.drop_details(Some(old));
        true
    }

    /// Appends to `due` the keys whose instant is at or before `now_ms`, earliest first: at most
    /// `max`, but never only some of those that share an instant and the hash's upper bits. Nothing
    /// is removed: what the caller leaves is found again. Costs O(result).
    pub fn due(&self, now_ms: u64, max: usize, due: &mut Vec<(u16, IndexHash)>) {
        let end = due.len() + max;
        for &(instant, high) in &self.queue {
            let (expires_at_ms, partition) = (instant >> 16, instant as u16);
            if expires_at_ms > now_ms || due.len() >= end {
                return;
            }
            let before = due.len();
            due.extend(self.sharing(partition, high, expires_at_ms).map(|slot| (partition, slot.hash())));
            assert!(due.len() > before, "a queued instant has an entry");
        }
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.tables.iter_mut().for_each(Table::clear);
        self.details.clear();
        self.queue.clear();
        (self.len, self.expiring, self.slot_bytes, self.heap_bytes) = (0, 0, 0, 0);
    }

    /// Keys that have an expiry instant.
    #[must_use]
    pub fn expiring(&self) -> usize {
        self.expiring
    }

    /// Bytes of memory in use; the queue's share is an upper estimate.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let tables = self.tables.capacity() * size_of::<Table<Packed>>();
        let queue = self.queue.len() * QUEUE_ENTRY_BYTES;
        tables + self.slot_bytes + self.details.bytes() + self.heap_bytes + queue
    }

    /// Entries of `partition` with these upper bits and this instant: one, as good as always.
    fn sharing(&self, partition: u16, high: u64, expires_at_ms: u64) -> impl Iterator<Item = &Packed> {
        let run = self.table(partition).iter_from(high).take_while(move |slot| slot.high() == high);
        run.filter(move |slot| slot.expires_at_ms() == expires_at_ms)
    }

    fn queue(&mut self, partition: u16, hash: IndexHash, expires_at_ms: u64) {
        if expires_at_ms != 0 {
            self.queue.insert((expires_at_ms << 16 | u64::from(partition), hash.high));
            self.expiring += 1;
        }
    }

    /// Takes the instant of an entry that no longer has it out of the queue.
    fn unqueue(&mut self, partition: u16, hash: IndexHash, expires_at_ms: u64) {
        if expires_at_ms == 0 {
            return;
        }
        self.expiring -= 1;
        if self.sharing(partition, hash.high, expires_at_ms).next().is_none() {
            let removed = self.queue.remove(&(expires_at_ms << 16 | u64::from(partition), hash.high));
            assert!(removed, "every instant is queued");
        }
    }

    fn drop_details(&mut self, slot: Option<Packed>) {
        if let Some(number) = slot.and_then(Packed::details) {
            let details = self.details.remove(number).expect("details live as long as their slot");
            self.heap_bytes -= details.heap_bytes();
        }
    }

    fn change_table<R>(&mut self, partition: u16, change: impl FnOnce(&mut Table<Packed>) -> R) -> R {
        let table = self.tables.get_mut(self.partitions.slot(partition)).expect("the partition is this core's");
        let bytes = table.bytes();
        let result = change(table);
        self.slot_bytes = self.slot_bytes + table.bytes() - bytes;
        result
    }

    #[inline]
    fn table(&self, partition: u16) -> &Table<Packed> {
        self.tables.get(self.partitions.slot(partition)).expect("the partition is this core's")
    }
}
