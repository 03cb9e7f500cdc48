//! Gathers what a run's footer will say while its records are copied.
//!
//! Entries gather in buckets by hash, so that sorting them never takes long at once.
//!
//! Invariant: every record that was noted is in the footer once.

use std::collections::BTreeMap;

use annulus_object::{Actor, Clock, Dot};

use super::{ENTRY_BYTES, FORMAT_PLAIN, FORMAT_SIBLINGS, FORMAT_VALUE_DOTS};
use crate::buffer::AlignedBuffer;
use crate::index::{
    ACTOR_IN_SIDE_TABLE, ActorTable, Entry, Flags, IndexHash, PackedEntry, Place, fast_range, size_class,
};
use crate::record::{Kind, RecordRef};

/// Beside the clock of a sibling's dot: it is a tombstone.
pub(super) const SIBLING_DELETES: u64 = 1 << 63;

/// What an entry has that does not fit into it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct OwnedExtra {
    expires_at_ms: u64,
    actor: Option<(Actor, Clock)>,
    context: Vec<(Actor, Clock)>,
    /// Of an entry of siblings.
    siblings: Option<Vec<(Dot, bool)>>,
}

/// The footer of a run that is being written.
pub struct FooterBuilder {
    buckets: Vec<Vec<PackedEntry>>,
    actors: ActorTable,
    extras: BTreeMap<IndexHash, OwnedExtra>,
    entries: u32,
    tombstones: u32,
    has_siblings: bool,
    has_value_dots: bool,
    clocks: Option<(Clock, Clock)>,
}

/// What of a footer goes into the trailer.
pub(crate) struct Encoded {
    pub(crate) format: u32,
    pub(crate) entries: u32,
    pub(crate) tombstones: u32,
    pub(crate) actors: u32,
    pub(crate) extra_bytes: u64,
    pub(crate) footer_bytes: usize,
    pub(crate) footer_crc: u32,
    pub(crate) clocks: (Clock, Clock),
}

impl FooterBuilder {
    /// An empty one; `expected` entries let it choose its buckets.
    pub fn new(expected: usize) -> Self {
        const BUCKET_ENTRIES: usize = 2048;
        Self {
            buckets: vec![Vec::new(); (expected / BUCKET_ENTRIES).max(1)],
            actors: ActorTable::new(),
            extras: BTreeMap::new(),
            entries: 0,
            tombstones: 0,
            has_siblings: false,
            has_value_dots: false,
            clocks: None,
        }
    }

    /// Notes a record that lies at `offset` of the file; marks have no place in a run (asserted).
    pub fn note(&mut self, record: &RecordRef<'_>, offset: u64) {
        assert!(record.kind() != Kind::Mark, "a mark is of a log, not of a partition");
        let (dot, floor) = (record.dot(), record.floor());
        let (actor_slot, actor) = match self.actors.intern(dot.actor, floor) {
            Ok(slot) => (slot, None),
            Err(_) => (ACTOR_IN_SIDE_TABLE, Some((dot.actor, floor))),
        };
        let context: Vec<_> = record.context_entries().collect();
        let has_siblings = record.kind() == Kind::Siblings;
        let siblings = || record.siblings().map(|sibling| (sibling.dot, sibling.value.is_none())).collect();
        let siblings = has_siblings.then(siblings);
        self.has_siblings |= has_siblings;
        self.has_value_dots |= record.has_value_dots();
        let extra = OwnedExtra { expires_at_ms: record.expires_at_ms(), actor, context, siblings };
        let mut flags = if record.deletes() { Flags::TOMBSTONE } else { Flags::NONE };
        if has_siblings {
            flags = flags.with(Flags::SIBLINGS);
        }
        let hash = IndexHash::of(record.hash());
        if extra != OwnedExtra::default() {
            flags = flags.with(Flags::EXTRA);
            self.extras.insert(hash, extra);
        }
        let place = Place::at(0, offset);
        let size_class = size_class(record.total_bytes());
        let entry = Entry { hash, clock: dot.clock, actor_slot, place, size_class, flags };
        let bucket = fast_range(hash.high, self.buckets.len());
        self.buckets[bucket].push(entry.pack());
        self.entries += 1;
        self.tombstones += u32::from(flags.contains(Flags::TOMBSTONE));
        let (min, max) = self.clocks.unwrap_or((dot.clock, dot.clock));
        self.clocks = Some((min.min(record.oldest_clock()), max.max(dot.clock)));
    }

    /// Entries so far.
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// Memory in use.
    pub fn memory_bytes(&self) -> usize {
        let entries: usize = self.buckets.iter().map(|bucket| bucket.capacity() * ENTRY_BYTES).sum();
        entries + self.extras.len() * (size_of::<(IndexHash, OwnedExtra)>() + 32)
    }

    /// The entries, in the order of their hashes; for whoever moves the index over to them.
    pub(crate) fn sort(&mut self) {
        for bucket in &mut self.buckets {
            bucket.sort_unstable_by_key(PackedEntry::sort_key);
        }
    }

    /// All entries; sorted after [`FooterBuilder::sort`].
    pub(crate) fn iter(&self) -> impl Iterator<Item = Entry> {
        self.buckets.iter().flatten().map(|entry| entry.unpack())
    }

    /// Appends the footer.
    pub(crate) fn encode(&mut self, out: &mut AlignedBuffer) -> Encoded {
        self.sort();
        let start = out.len();
        for entry in self.buckets.iter().flatten() {
            out.extend_from_slice(&entry.to_bytes());
        }
        let actors = u16::try_from(self.actors.len()).expect("the actor table is bounded");
        for slot in 0..actors {
            let (actor, floor) = self.actors.resolve(slot).expect("every slot below the length is given out");
            out.extend_from_slice(&actor.raw().to_le_bytes());
            out.extend_from_slice(&floor.raw().to_le_bytes());
        }
        let extras_start = out.len();
        for extra in self.extras.values() {
            encode_extra(extra, out);
        }
        Encoded {
            format: match (self.has_siblings, self.has_value_dots) {
                (_, true) => FORMAT_VALUE_DOTS,
                (true, false) => FORMAT_SIBLINGS,
                (false, false) => FORMAT_PLAIN,
            },
            entries: self.entries,
            tombstones: self.tombstones,
            actors: u32::from(actors),
            extra_bytes: (out.len() - extras_start) as u64,
            footer_bytes: out.len() - start,
            footer_crc: crc32fast::hash(&out.as_slice()[start..]),
            clocks: self.clocks.unwrap_or_default(),
        }
    }
}

fn encode_extra(extra: &OwnedExtra, out: &mut AlignedBuffer) {
    let (actor, floor) = extra.actor.unwrap_or((Actor::from_raw(0), Clock::ZERO));
    out.extend_from_slice(&extra.expires_at_ms.to_le_bytes());
    out.extend_from_slice(&actor.raw().to_le_bytes());
    out.extend_from_slice(&floor.raw().to_le_bytes());
    out.extend_from_slice(&u32::from(extra.actor.is_some()).to_le_bytes());
    let context = u32::try_from(extra.context.len()).expect("contexts are bounded");
    out.extend_from_slice(&context.to_le_bytes());
    for (actor, clock) in &extra.context {
        out.extend_from_slice(&actor.raw().to_le_bytes());
        out.extend_from_slice(&clock.raw().to_le_bytes());
    }
    if let Some(siblings) = &extra.siblings {
        let count = u64::try_from(siblings.len()).expect("siblings are countable");
        out.extend_from_slice(&count.to_le_bytes());
        for (dot, deletes) in siblings {
            let clock = dot.clock.raw() | if *deletes { SIBLING_DELETES } else { 0 };
            out.extend_from_slice(&dot.actor.raw().to_le_bytes());
            out.extend_from_slice(&clock.to_le_bytes());
        }
    }
}
