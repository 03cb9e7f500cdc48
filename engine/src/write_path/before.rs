//! What a write has to know of its key: whether it is there, what its stamp must be above, what its context must name.
//!
//! Nearly always the last is nothing: a stamp covers what its own actor stamped before, and everything up to its floor.
//!
//! Invariant (rule S2): what is in flight counts, and so does what waits for a read before it can be merged.

use annulus_object::{Clock, Context, Dot};

use super::is_expired;
use crate::disk::Disk;
use crate::engine::{Engine, Key};
use crate::index::{Entry, IndexHash};
use crate::record::{Kind, RecordRef};
use crate::trees::version_of;

/// What a write has to know of the key's state.
pub(crate) struct Before {
    /// What it counts for.
    pub(super) counted: Counted,
    /// A stamp is above it.
    pub(super) above: Clock,
    /// All that the state has seen, where a stamp's own actor and floor do not cover it.
    pub(super) seen: Option<Context>,
}

/// What a key counts for before a write.
pub(crate) struct Counted {
    /// Whether it has a value to be shown, as far as is known without its record.
    pub(super) existed: bool,
    /// Whether memory holds anything of it.
    pub(crate) known: bool,
    /// Whether [`Engine::keys`] counts it, by its latest sibling: also a value that has expired, until that is noted.
    pub(crate) counts: bool,
    /// What the index has, unless a pending write hides it.
    pub(crate) entry: Option<Entry>,
}

impl<D: Disk> Engine<D> {
    /// The key's state, as far as a write must know it.
    pub(super) fn before(&mut self, key: &Key<'_>, now_ms: u64) -> Before {
        let counted = self.counted(key, now_ms);
        let plain = match (self.pending.get(key.hash), &counted.entry) {
            (Some(pending), _) => self.plain_clock_of_record(&pending.view()),
            (None, Some(entry)) => self.plain_clock_of_entry(key.partition, entry),
            (None, None) => Some(Clock::ZERO),
        };
        if let Some(above) = plain.filter(|_| !self.waiting_merges.is_waiting(key.hash)) {
            return Before { counted, above, seen: None };
        }
        let seen = self.versions(key).context;
        Before { counted, above: seen.highest(), seen: Some(seen) }
    }

    /// The clock of a state of which a stamp's own actor and floor cover everything: nearly always. `None` of another one.
    #[inline]
    fn plain_clock_of_entry(&self, partition: u16, entry: &Entry) -> Option<Clock> {
        if entry.has_siblings() || self.extra_of(partition, entry).is_some_and(|extra| !extra.context.is_empty()) {
            return None;
        }
        let (actor, floor) = version_of(&self.actors, &self.side, partition, entry);
        self.is_covered(Dot::new(entry.clock, actor), floor).then_some(entry.clock)
    }

    fn plain_clock_of_record(&self, record: &RecordRef<'_>) -> Option<Clock> {
        let is_plain = record.kind() != Kind::Siblings && record.context_entries().next().is_none();
        (is_plain && self.is_covered(record.dot(), record.floor())).then_some(record.dot().clock)
    }

    /// Whether a stamp of now covers a version without saying so.
    #[inline]
    fn is_covered(&self, dot: Dot, floor: Clock) -> bool {
        floor <= self.floor && (dot.actor == self.actor || dot.clock <= self.floor)
    }

    /// What a key counts for. A value that has expired is noted to be, so that the count of keys changes once.
    pub(crate) fn counted(&mut self, key: &Key<'_>, now_ms: u64) -> Counted {
        if let Some(pending) = self.pending.get(key.hash) {
            let record = pending.view();
            let counts = !record.deletes() && !self.is_flushed(record.dot().clock);
            let existed = record.is_shown(now_ms) && !self.is_flushed(record.dot().clock);
            return Counted { existed, known: true, counts, entry: None };
        }
        let hash = IndexHash::of(key.hash);
        let Some(entry) = self.index.get(key.partition, hash) else {
            return Counted { existed: false, known: false, counts: false, entry: None };
        };
        if self.is_flushed(entry.clock) {
            return Counted { existed: false, known: true, counts: false, entry: Some(entry) };
        }
        let mut entry = Some(entry);
        let mut counts = entry.is_some_and(|entry| !entry.is_tombstone());
        if counts && entry.is_some_and(|entry| self.has_expired(key.partition, &entry, now_ms)) {
            self.expire(key.partition, hash);
            entry = self.index.get(key.partition, hash);
            counts = false;
        }
        // Of several siblings with values it is not known here that all have expired.
        let existed = counts || entry.is_some_and(|entry| self.has_sibling_with_value(key.partition, &entry));
        Counted { existed, known: entry.is_some(), counts, entry }
    }

    /// Whether a FLUSHALL, durable or under way, hides what was stamped at `clock`.
    #[inline]
    pub(crate) fn is_flushed(&self, clock: Clock) -> bool {
        self.pending_mark.is_some_and(|mark| clock <= mark.clock) || self.mark.is_some_and(|(mark, _)| clock <= mark)
    }

    #[inline]
    pub(crate) fn has_expired(&self, partition: u16, entry: &Entry, now_ms: u64) -> bool {
        self.expires_at(partition, entry).is_some_and(|at| is_expired(at, now_ms))
    }

    /// When the entry's value expires.
    #[inline]
    pub(crate) fn expires_at(&self, partition: u16, entry: &Entry) -> Option<u64> {
        self.extra_of(partition, entry).map(|extra| extra.expires_at_ms).filter(|at| *at > 0)
    }
}
