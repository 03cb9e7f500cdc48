//! The path of a merge: an object that somebody has stamped, another node or this node's coordinator, joins what is stored.
//!
//! 1. versions: what is stored is known from memory. If it includes the object, nothing is written;
//! 2. values: where every live value of the result is the object's, there is no need for the stored one. Else that is taken
//!    from memory, or the merge waits for a read ([`Merge::NeedsRead`]);
//! 3. the result is one record, which goes the path of a write from its step 3 on.
//!
//! **What waits is not stored.** No command reads it and a crash loses it; so whoever gets [`Merge::NeedsRead`] reads the plan
//! and ends the merge with [`Engine::merge_with`], or, where the disk does not give the record, with [`Engine::abandon_merge`]
//! (and if it was this node's own stamp, the node takes another incarnation: rule S1). [`Engine::versions`] and every stamp
//! and write see it meanwhile, so nobody needs to hold the key. Merges of one key may end in any order: the result is the same.
//!
//! Invariant: a record's values belong to its dots; of one dot there is one value, so it does not matter which record gives it.

use std::rc::Rc;

use annulus_object::{Clock, Context, Dot, ObjectView, SiblingRef, encode_object};
use smallvec::SmallVec;

use crate::disk::Disk;
use crate::engine::{Engine, Key};
use crate::hot_log::Commit;
use crate::index::IndexHash;
use crate::read_path::Stored;
use crate::record::{self, Kind, RecordFields};
use crate::versions::Versions;
use crate::waiting_merges::WaitingMerge;
use crate::write_path::Counted;
use crate::{MergeTicket, ReadPlan, Record, Refusal};

/// What became of a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merge {
    /// What is stored includes the object.
    Done(Merged),
    /// The stored value must be read first; see the module.
    NeedsRead {
        /// Names the merge.
        ticket: MergeTicket,
        /// What to read.
        plan: ReadPlan,
    },
}

/// A merge that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merged {
    /// Whether anything was written.
    pub changed: bool,
    /// What makes the stored state durable, as far as a reply waits for that; `None` = nothing.
    pub after: Option<Commit>,
}

/// One try.
enum Tried {
    Done(Merged),
    NeedsRead(ReadPlan),
}

impl<D: Disk> Engine<D> {
    /// A new dot: above the clock, everything stamped before, and `above`. `None` while this node must not stamp: until it has
    /// another incarnation, when its store takes no writes, and when the clock has run out.
    pub fn stamp(&mut self, now_ms: u64, above: Clock) -> Option<Dot> {
        let is_able = !self.failures.awaits_incarnation && !self.failures.read_only;
        above.max(self.clock.last()).checked_next().filter(|_| is_able)?;
        Some(Dot::new(self.clock.stamp(now_ms, above), self.actor))
    }

    /// What there is of a key: the dots of its siblings and what was seen, from memory. Includes what is in flight, and what
    /// waits for a read before it is merged (rule S2). Two keys with the same 72 bits of hash are not told apart.
    pub fn versions(&self, key: &Key<'_>) -> Versions {
        let mut versions = self.stored_versions(key);
        self.waiting_merges.join(key.hash, &mut versions);
        if let Some(mark) = self.newest_mark() {
            versions.flush(mark);
        }
        versions
    }

    /// As [`Engine::versions`], without what waits.
    pub(crate) fn stored_versions(&self, key: &Key<'_>) -> Versions {
        let mut versions = match self.pending.get(key.hash) {
            Some(pending) => Versions::of_record(&pending.view()),
            None => {
                let entry = self.index.get(key.partition, IndexHash::of(key.hash));
                entry.map(|entry| self.versions_of_entry(key.partition, &entry)).unwrap_or_default()
            }
        };
        if let Some(mark) = self.newest_mark() {
            versions.flush(mark);
        }
        versions
    }

    /// The newest FLUSHALL, durable or under way.
    pub(crate) fn newest_mark(&self) -> Option<Clock> {
        let pending = self.pending_mark.map(|mark| mark.clock);
        pending.max(self.mark.map(|(clock, _)| clock))
    }

    /// Merges an object into what is stored of a key. Refusals change nothing. A tombstone is a version like any other; a merge
    /// is not bound by any number of siblings, only by the length of a record.
    pub fn merge(&mut self, key: &Key<'_>, object: &ObjectView<'_>, now_ms: u64) -> Result<Merge, Refusal> {
        match self.try_merge(key, object, None, now_ms)? {
            Tried::Done(merged) => Ok(Merge::Done(merged)),
            Tried::NeedsRead(_) if self.waiting_merges.len() >= self.config.limits.reads_max => {
                self.counts.stalls += 1;
                Err(Refusal::Stall)
            }
            Tried::NeedsRead(plan) => {
                self.counts.merge_reads += 1;
                let ticket = self.waiting_merges.next_ticket();
                self.waiting_merges.insert(ticket, WaitingMerge::new(key, object));
                Ok(Merge::NeedsRead { ticket, plan })
            }
        }
    }

    /// Goes on with a merge that waited, with the record that its plan has given. After a refusal it waits on: try again. The
    /// key's record may have become another one meanwhile; then that has to be read.
    pub fn merge_with(&mut self, ticket: MergeTicket, fetched: &Rc<Record>, now_ms: u64) -> Result<Merge, Refusal> {
        self.go_on(ticket, Some(fetched), now_ms)
    }

    /// Tries a merge that waited once more, as if it were new: its record was gone before it could be read.
    pub fn merge_again(&mut self, ticket: MergeTicket, now_ms: u64) -> Result<Merge, Refusal> {
        self.go_on(ticket, None, now_ms)
    }

    fn go_on(&mut self, ticket: MergeTicket, fetched: Option<&Rc<Record>>, now_ms: u64) -> Result<Merge, Refusal> {
        let waiting = self.waiting_merges.remove(ticket);
        let tried = self.try_merge(&waiting.key(), &waiting.object(), fetched, now_ms);
        if let Ok(Tried::Done(merged)) = tried {
            return Ok(Merge::Done(merged));
        }
        self.waiting_merges.insert(ticket, waiting);
        tried.map(|tried| match tried {
            Tried::Done(merged) => Merge::Done(merged),
            Tried::NeedsRead(plan) => Merge::NeedsRead { ticket, plan },
        })
    }

    /// Shows `visit` the objects of a key that wait for a read before they can be merged: [`Engine::versions`] tells of them,
    /// [`Engine::object`] does not have them yet.
    pub fn waiting_objects(&self, key: &Key<'_>, visit: impl FnMut(ObjectView<'_>)) {
        self.waiting_merges.objects(key.hash).for_each(visit);
    }

    /// Gives up a merge that waited: it was not stored.
    pub fn abandon_merge(&mut self, ticket: MergeTicket) {
        drop(self.waiting_merges.remove(ticket));
    }

    fn try_merge(
        &mut self,
        key: &Key<'_>,
        object: &ObjectView<'_>,
        fetched: Option<&Rc<Record>>,
        now_ms: u64,
    ) -> Result<Tried, Refusal> {
        let incoming = Versions::of_object(object);
        let counted = self.counted(key, now_ms);
        let mut merged = self.stored_versions(key);
        if merged.includes(&incoming) {
            self.counts.merges_unchanged += 1;
            let after = self.open_commit(key).and_then(|commit| self.wait_for(commit));
            return Ok(Tried::Done(Merged { changed: false, after }));
        }
        merged.merge(&incoming);
        if self.is_settling(key.hash) {
            self.counts.stalls += 1;
            return Err(Refusal::Stall);
        }
        let frees = merged.siblings.iter().all(|(_, deletes)| *deletes);
        self.check_may_write(!counted.known, frees)?;
        if !merged.context.fits() {
            let max = self.config.limits.record_bytes_max();
            return Err(Refusal::TooLarge { bytes: merged.context.encoded_bytes(), max });
        }
        let has_all = merged.siblings.iter().all(|(dot, deletes)| *deletes || incoming.has(*dot));
        let joined = match has_all {
            true => None,
            false => match self.join_stored(key, &merged, object, fetched) {
                Ok(joined) => joined,
                Err(plan) => return Ok(Tried::NeedsRead(plan)),
            },
        };
        let source = joined.as_deref().map_or(*object, ObjectView::checked_before);
        // Where another key has the same hash its state is none of this one's.
        let merged = if has_all || joined.is_some() { merged } else { incoming };
        self.write_merged(key, &merged, &source, &counted).map(|after| {
            self.adopt_clocks(&merged, now_ms);
            self.counts.merges += 1;
            self.counts.siblings_written += u64::from(merged.siblings.len() > 1);
            Tried::Done(Merged { changed: true, after })
        })
    }

    /// An object of all live values of the result; `None` where the stored record is another key's.
    fn join_stored(
        &mut self,
        key: &Key<'_>,
        merged: &Versions,
        object: &ObjectView<'_>,
        fetched: Option<&Rc<Record>>,
    ) -> Result<Option<Vec<u8>>, ReadPlan> {
        let missing = |dot: &Dot| object.sibling(*dot).is_none();
        let live = merged.siblings.iter().filter(|(_, deletes)| !deletes).map(|(dot, _)| *dot);
        let wanted: SmallVec<[Dot; 2]> = live.filter(missing).collect();
        let core = self.config.core;
        let record = match self.stored_record((key.partition, key.hash), &wanted, fetched) {
            Stored::Here(record) => record,
            Stored::OnDisk(plan) => return Err(plan),
        };
        if record.key() != key.bytes {
            tracing::error!(core, partition = key.partition, "two keys share 72 bits of hash: one replaces the other");
            self.counts.hash_collisions += 1;
            return Ok(None);
        }
        let siblings: SmallVec<[SiblingRef<'_>; 4]> = merged
            .siblings
            .iter()
            .map(|(dot, deletes)| {
                let stored = || record.siblings().find(|sibling| sibling.dot == *dot);
                let found = object.sibling(*dot).or_else(stored).map(without_idle_expiry);
                assert!(*deletes || found.is_some(), "a record of the key has the values of all live dots");
                found.unwrap_or(SiblingRef::tombstone(*dot))
            })
            .collect();
        let mut joined = Vec::new();
        encode_object(&merged.context, siblings, &mut joined);
        Ok(Some(joined))
    }

    /// Writes a result, whose live values are all in `source`; gives what a reply waits for.
    fn write_merged(
        &mut self,
        key: &Key<'_>,
        merged: &Versions,
        source: &ObjectView<'_>,
        counted: &Counted,
    ) -> Result<Option<Commit>, Refusal> {
        let siblings: SmallVec<[SiblingRef<'_>; 4]> = merged
            .siblings
            .iter()
            .map(|(dot, _)| source.sibling(*dot).map_or_else(|| SiblingRef::tombstone(*dot), without_idle_expiry))
            .collect();
        let mut body = Vec::new();
        let fields = fields_of(key, &siblings, &merged.context, &mut body);
        let bytes = self.check_length(&fields)?;
        if self.is_memory() {
            let old = self.index.get(key.partition, IndexHash::of(key.hash));
            self.write_to_memory(key, &fields, bytes, old);
            return Ok(None);
        }
        let instance = self.instance_for(bytes)?;
        let commit = self.append(key, &fields, (bytes, instance), counted);
        Ok(self.wait_for(commit))
    }

    /// Takes note of what others have stamped: the next stamps are above it. But not of clocks far ahead: a node whose clock
    /// is wrong would make everybody's so. Where one of its versions is to be replaced, the stamp is put above that alone.
    fn adopt_clocks(&mut self, merged: &Versions, now_ms: u64) {
        let latest = Clock::from_unix_ms(now_ms.saturating_add(self.config.limits.clock_adopt_ms), 0);
        for (dot, _) in &merged.siblings {
            self.highest = self.highest.max(dot.clock);
            if dot.clock <= latest {
                self.clock.observe(dot.clock);
            }
        }
    }
}

/// What the record of some siblings and their context is made of; several are encoded into `body`.
pub(crate) fn fields_of<'a>(
    key: &Key<'a>,
    siblings: &[SiblingRef<'a>],
    context: &'a Context,
    body: &'a mut Vec<u8>,
) -> RecordFields<'a> {
    let fields = RecordFields {
        dot: siblings.last().map_or_else(|| highest_dot(context), |latest| latest.dot),
        hash: key.hash,
        partition: key.partition,
        partition_incarnation: 0,
        kind: Kind::Siblings,
        floor: context.floor(),
        expires_at_ms: 0,
        context: &[],
        value_dot: None,
        key: key.bytes,
        value: &[],
    };
    if let [only] = siblings {
        let kind = if only.value.is_some() { Kind::Value } else { Kind::Tombstone };
        let (expires_at_ms, value) = (only.expires_at_ms, only.value.unwrap_or_default());
        let (context, value_dot) = (context.entries(), only.value_dot);
        return RecordFields { kind, expires_at_ms, context, value_dot, value, ..fields };
    }
    encode_object(context, siblings.iter().copied(), body);
    RecordFields { value: body, ..fields }
}

/// The record of an object, as a store writes it; `None` where it is too long for one.
pub fn object_record(key: &Key<'_>, object: &ObjectView<'_>) -> Option<Vec<u8>> {
    let (context, mut body) = (object.context().to_context(), Vec::new());
    let siblings: Vec<SiblingRef<'_>> = object.siblings().map(without_idle_expiry).collect();
    let fields = fields_of(key, &siblings, &context, &mut body);
    if key.bytes.len() > record::KEY_BYTES_MAX || fields.value.len() > record::VALUE_BYTES_MAX {
        return None;
    }
    let mut bytes = vec![0; record::encoded_bytes(&fields)];
    record::encode(&fields, &mut bytes);
    Some(bytes)
}

/// What stands in for the latest dot where nothing is live.
pub(crate) fn highest_dot(context: &Context) -> Dot {
    let newest = context.entries().iter().map(|(actor, clock)| Dot::new(*clock, *actor)).max();
    newest.unwrap_or_else(|| Dot::new(context.floor(), annulus_object::Actor::from_raw(0)))
}

/// A tombstone does not expire, whatever it says.
pub(crate) fn without_idle_expiry(sibling: SiblingRef<'_>) -> SiblingRef<'_> {
    let expires_at_ms = if sibling.value.is_some() { sibling.expires_at_ms } else { 0 };
    SiblingRef { expires_at_ms, ..sibling }
}
