//! What index, side table and memory store take of a record.
//!
//! Not here: which of two versions counts; whoever calls has decided that.
//!
//! Invariant: an entry has a row in the side table exactly when its `EXTRA` flag says so.

use annulus_object::{Actor, Clock, Context, Dot};

use crate::disk::Disk;
use crate::engine::{Engine, Key};
use crate::index::{ACTOR_IN_SIDE_TABLE, Entry, Flags, IndexHash, Place, size_class};
use crate::record::{self, Kind, RecordFields, RecordRef};
use crate::side_table::Extra;
use crate::trees::version_of;
use crate::versions::{Relation, SiblingDots, Versions, relation_of_plain};

/// What the index takes from a record, wherever that is.
pub(crate) struct FieldsView<'a> {
    pub(crate) hash: u128,
    /// Of siblings, the latest one's.
    pub(crate) dot: Dot,
    pub(crate) floor: Clock,
    pub(crate) expires_at_ms: u64,
    pub(crate) context: &'a [(Actor, Clock)],
    /// `None` of a single version.
    pub(crate) siblings: Option<&'a [(Dot, bool)]>,
    /// It deletes; of siblings, the latest does.
    pub(crate) is_tombstone: bool,
}

/// What of a record is in several pieces.
pub(crate) struct Pieces {
    context: Vec<(Actor, Clock)>,
    siblings: Option<SiblingDots>,
}

impl Pieces {
    pub(crate) fn of(record: &RecordRef<'_>) -> Self {
        let dots = || record.siblings().map(|sibling| (sibling.dot, sibling.value.is_none())).collect();
        Self { context: record.context_entries().collect(), siblings: (record.kind() == Kind::Siblings).then(dots) }
    }
}

impl<'a> FieldsView<'a> {
    pub(crate) fn of_record(record: &RecordRef<'_>, pieces: &'a Pieces) -> Self {
        Self {
            hash: record.hash(),
            dot: record.dot(),
            floor: record.floor(),
            expires_at_ms: record.expires_at_ms(),
            context: &pieces.context,
            siblings: pieces.siblings.as_deref(),
            is_tombstone: record.deletes(),
        }
    }

    /// Dot and floor, where they say everything that was seen.
    fn plain(&self) -> Option<(Dot, Clock)> {
        (self.siblings.is_none() && self.context.is_empty()).then_some((self.dot, self.floor))
    }

    /// The dots of its siblings.
    pub(crate) fn dots(&self) -> impl Iterator<Item = Dot> + use<'a> {
        let single = self.siblings.is_none().then_some(self.dot);
        single.into_iter().chain(self.siblings.unwrap_or_default().iter().map(|(dot, _)| *dot))
    }

    pub(crate) fn versions(&self) -> Versions {
        match self.siblings {
            None => Versions::single(self.dot, self.is_tombstone, self.floor, self.context),
            Some(siblings) => {
                let context = Context::from_parts(self.floor, self.context.iter().copied());
                Versions { siblings: siblings.into(), context }
            }
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
            let says_little = fields.kind == Kind::Value && fields.expires_at_ms == 0 && fields.context.is_empty();
            let is_plain = says_little && old.flags == Flags::NONE;
            if is_plain
                && self.actors.resolve(old.actor_slot) == Some((fields.dot.actor, fields.floor))
                && let Some(place) = self.store.overwrite(old.place.raw(), bytes)
            {
                record::encode_in_memory(fields, place);
                let clock = fields.dot.clock;
                let updated = self.index.update(key.partition, old.hash, |entry| entry.clock = clock);
                assert!(updated.is_some(), "the key is indexed");
                let before = Dot::new(old.clock, fields.dot.actor);
                self.tree_took(key.partition, old.hash, fields.dot, Some(before));
                return;
            }
        }
        let number = self.store.insert_with(bytes, |out| record::encode_in_memory(fields, out));
        let place = Place::from_raw(number);
        let stored = self.store.get(number).expect("it was just stored");
        let record = RecordRef::checked_before(stored);
        let pieces = if fields.context.is_empty() && fields.kind != Kind::Siblings {
            Pieces { context: Vec::new(), siblings: None }
        } else {
            Pieces::of(&record)
        };
        let view = FieldsView::of_record(&record, &pieces);
        if let (_, Some(old)) = self.enter(key.partition, &view, place, bytes) {
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
        let siblings = record.siblings.unwrap_or_default();
        let extra = Extra { expires_at_ms: record.expires_at_ms, actor, context: record.context, siblings };
        let mut flags = if record.is_tombstone { Flags::TOMBSTONE } else { Flags::NONE };
        if record.siblings.is_some() {
            flags = flags.with(Flags::SIBLINGS);
        }
        if !extra.is_empty() {
            flags = flags.with(Flags::EXTRA);
        }
        let entry = Entry { hash, clock: record.dot.clock, actor_slot, place, size_class: size_class(bytes), flags };
        let old = self.index.insert(partition, entry);
        if record.siblings.is_none() && !old.is_some_and(|old| old.has_siblings()) {
            let old_dot = old.map(|old| {
                let (actor, _) = version_of(&self.actors, &self.side, partition, &old);
                Dot::new(old.clock, actor)
            });
            self.tree_took(partition, hash, record.dot, old_dot);
        } else {
            self.tree_took_siblings(partition, record, old);
        }
        if !extra.is_empty() {
            self.side.set(partition, hash, extra);
        } else if old.is_some_and(|old| old.flags.contains(Flags::EXTRA)) {
            self.side.remove(partition, hash);
        }
        (entry, old)
    }

    /// What merging a record into an entry would do.
    pub(crate) fn relation(&self, partition: u16, old: &Entry, new: &FieldsView<'_>) -> Relation {
        if let Some(new) = new.plain().filter(|_| !old.has_siblings()) {
            let extra = self.extra_of(partition, old);
            if extra.is_none_or(|extra| extra.context.is_empty()) {
                let (actor, floor) = version_of(&self.actors, &self.side, partition, old);
                return relation_of_plain((Dot::new(old.clock, actor), floor), new);
            }
        }
        self.versions_of_entry(partition, old).relation(&new.versions())
    }

    /// What an entry's state is, without its values.
    pub(crate) fn versions_of_entry(&self, partition: u16, entry: &Entry) -> Versions {
        let extra = self.extra_of(partition, entry).unwrap_or_default();
        let (actor, floor) = version_of(&self.actors, &self.side, partition, entry);
        if entry.has_siblings() {
            let context = Context::from_parts(floor, extra.context.iter().copied());
            return Versions { siblings: extra.siblings.into(), context };
        }
        let deletes = entry.is_tombstone() && !entry.flags.contains(Flags::EXPIRED);
        Versions::single(Dot::new(entry.clock, actor), deletes, floor, extra.context)
    }

    /// What the side table has of an entry.
    #[inline]
    pub(crate) fn extra_of(&self, partition: u16, entry: &Entry) -> Option<Extra<'_>> {
        if !entry.flags.contains(Flags::EXTRA) {
            return None;
        }
        self.side.get(partition, entry.hash)
    }
}
