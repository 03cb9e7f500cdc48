//! What index, side table and memory store take of a record.
//!
//! Not here: which of two versions counts; whoever calls has decided that.
//!
//! Invariant: an entry has a row in the side table exactly when its `EXTRA` flag says so.

use annulus_object::{Clock, Dot};

use crate::disk::Disk;
use crate::engine::{Engine, Key};
use crate::index::{ACTOR_IN_SIDE_TABLE, Entry, Flags, IndexHash, Place, size_class};
use crate::record::{self, Kind, RecordFields, RecordRef};
use crate::side_table::Extra;
use crate::trees::version_of;

/// What the index takes from a record, wherever that is.
pub(crate) struct FieldsView<'a> {
    pub(crate) hash: u128,
    pub(crate) dot: Dot,
    pub(crate) floor: Clock,
    pub(crate) expires_at_ms: u64,
    pub(crate) context: &'a [(annulus_object::Actor, Clock)],
    pub(crate) is_tombstone: bool,
}

impl<'a> FieldsView<'a> {
    fn of(fields: &RecordFields<'a>) -> Self {
        Self {
            hash: fields.hash,
            dot: fields.dot,
            floor: fields.floor,
            expires_at_ms: fields.expires_at_ms,
            context: fields.context,
            is_tombstone: fields.kind == Kind::Tombstone,
        }
    }

    pub(crate) fn of_record(record: &RecordRef<'_>, context: &'a [(annulus_object::Actor, Clock)]) -> Self {
        Self {
            hash: record.hash(),
            dot: record.dot(),
            floor: record.floor(),
            expires_at_ms: record.expires_at_ms(),
            context,
            is_tombstone: record.kind() == Kind::Tombstone,
        }
    }
}

impl<D: Disk> Engine<D> {
    pub(crate) fn write_to_memory(
        &mut self,
        key: &Key<'_>,
        fields: &RecordFields<'_>,
        bytes: usize,
        old: Option<Entry>,
    ) {
        if let Some(old) = old {
            let is_plain = fields.expires_at_ms == 0 && old.flags == Flags::NONE;
            if is_plain
                && self.actors.resolve(old.actor_slot) == Some((self.actor, self.floor))
                && let Some(place) = self.store.overwrite(old.place.raw(), bytes)
            {
                record::encode_in_memory(fields, place);
                let clock = fields.dot.clock;
                let updated = self.index.update(key.partition, old.hash, |entry| entry.clock = clock);
                assert!(updated.is_some(), "the key is indexed");
                let before = Dot::new(old.clock, self.actor);
                self.tree_took(key.partition, old.hash, fields.dot, Some(before));
                return;
            }
        }
        let number = self.store.insert_with(bytes, |out| record::encode_in_memory(fields, out));
        let place = Place::from_raw(number);
        if let (_, Some(old)) = self.enter(key.partition, &FieldsView::of(fields), place, bytes) {
            self.store.remove(old.place.raw());
        }
    }

    /// Drops what memory holds for an entry that left the index.
    pub(crate) fn forget_in_memory(&mut self, partition: u16, entry: &Entry) {
        self.tree_lost(partition, entry);
        self.store.remove(entry.place.raw());
        if entry.flags.contains(Flags::EXTRA) {
            self.side.remove(partition, entry.hash);
        }
    }

    /// Makes a record the key's newest in index and side table; gives its entry and what it replaced.
    pub(crate) fn enter(
        &mut self,
        partition: u16,
        record: &FieldsView<'_>,
        place: Place,
        bytes: usize,
    ) -> (Entry, Option<Entry>) {
        let hash = IndexHash::of(record.hash);
        let (actor_slot, actor) = match self.actors.intern(record.dot.actor, record.floor) {
            Ok(slot) => (slot, None),
            Err(_) => (ACTOR_IN_SIDE_TABLE, Some((record.dot.actor, record.floor))),
        };
        let extra = Extra { expires_at_ms: record.expires_at_ms, actor, context: record.context };
        let mut flags = if record.is_tombstone { Flags::TOMBSTONE } else { Flags::NONE };
        if !extra.is_empty() {
            flags = flags.with(Flags::EXTRA);
        }
        let entry = Entry { hash, clock: record.dot.clock, actor_slot, place, size_class: size_class(bytes), flags };
        let old = self.index.insert(partition, entry);
        let old_dot = old.map(|old| {
            let (actor, _) = version_of(&self.actors, &self.side, partition, &old);
            Dot::new(old.clock, actor)
        });
        self.tree_took(partition, hash, record.dot, old_dot);
        if !extra.is_empty() {
            self.side.set(partition, hash, extra);
        } else if old.is_some_and(|old| old.flags.contains(Flags::EXTRA)) {
            self.side.remove(partition, hash);
        }
        (entry, old)
    }
}
