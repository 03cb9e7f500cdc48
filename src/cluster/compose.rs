//! From a client's write to the object that is sent: what it replaces, what stays beside it, its dot and its context.
//!
//! ```text
//! seen     = the request's context, or all that this node holds (a blind write), and the client's own last dot (S9)
//! stays    = siblings here that are not seen
//! stamp    > own clock, everything here, everything seen                                                      (S2)
//! object   = stays + the new version;   context = everything here + seen + the new dot                   (S2, S3)
//! ```
//!
//! What stays is sent with its value, which is read first: the new dot's entry in the context covers all that this actor
//! stamped before, so a sibling that were left out would be dead wherever the object arrives (rule S3).
//!
//! Invariant: the object includes everything that this node had of the key when it was stamped.

use annulus_object::{CONTEXT_ENTRIES_MAX, Clock, Context, Dot, ObjectView, SiblingRef, encode_object};
use smallvec::SmallVec;

use crate::event::Key;
use crate::limits::CLOCK_LAST;
use crate::mutation::{Mutation, mutated};
use crate::stamping::NotNow;
use crate::turn::Turn;

/// A client's write, borrowed from wherever it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteRef<'a> {
    pub(crate) key: Key<'a>,
    /// `None` deletes.
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) expires_at_ms: u64,
    /// The write that made the value, if that is an earlier one.
    pub(crate) value_dot: Option<Dot>,
    /// `None` is a blind write.
    pub(crate) context: Option<&'a Context>,
    pub(crate) own: Option<Dot>,
    pub(crate) own_is_alone: bool,
}

/// A write that has to outlive its event, in buffers that are used again.
#[derive(Debug, Default)]
pub(crate) struct SavedWrite {
    partition: u16,
    hash: u128,
    key: Vec<u8>,
    value: Vec<u8>,
    is_delete: bool,
    expires_at_ms: u64,
    value_dot: Option<Dot>,
    is_blind: bool,
    context: Context,
    own: Option<Dot>,
    own_is_alone: bool,
}

impl SavedWrite {
    pub(crate) fn save(&mut self, write: &WriteRef<'_>) {
        let copy = |to: &mut Vec<u8>, from: &[u8]| {
            to.clear();
            to.extend_from_slice(from);
        };
        (self.partition, self.hash) = (write.key.partition, write.key.hash);
        copy(&mut self.key, write.key.bytes);
        copy(&mut self.value, write.value.unwrap_or_default());
        self.is_delete = write.value.is_none();
        (self.expires_at_ms, self.value_dot) = (write.expires_at_ms, write.value_dot);
        self.is_blind = write.context.is_none();
        match write.context {
            Some(context) => self.context.clone_from(context),
            None => self.context.clear(),
        }
        (self.own, self.own_is_alone) = (write.own, write.own_is_alone);
    }

    pub(crate) fn borrowed(&self) -> WriteRef<'_> {
        WriteRef {
            key: Key { bytes: &self.key, partition: self.partition, hash: self.hash },
            value: (!self.is_delete).then_some(&self.value),
            expires_at_ms: self.expires_at_ms,
            value_dot: self.value_dot,
            context: (!self.is_blind).then_some(&self.context),
            own: self.own,
            own_is_alone: self.own_is_alone,
        }
    }

    /// What the client had seen, as it said.
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Gives large buffers back.
    pub(crate) fn shrink(&mut self, keep: usize) {
        shrink(&mut self.value, keep);
    }
}

/// Gives a buffer back that is larger than most.
pub(crate) fn shrink(buffer: &mut Vec<u8>, keep: usize) {
    if buffer.capacity() > keep {
        *buffer = Vec::new();
    }
}

/// A write that was stamped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Composed {
    pub(crate) dot: Dot,
    /// Nothing stands beside it.
    pub(crate) is_alone: bool,
}

/// Why a write was not stamped. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// What stays has to be read first; `Common::held` names where it is.
    NeedValues,
    /// This node must not stamp now.
    NotNow,
    /// The client would add a sibling where there are as many as it may make.
    TooManySiblings,
    /// It is more than stores take, alone or with what stays beside it.
    TooLarge,
}

/// Stamps a write and puts its object into `object`. `seen` is what was learned of other owners (rule S7), `loaded` what was
/// read of this node's homes.
pub(crate) fn compose(
    turn: &mut Turn<'_>,
    write: &WriteRef<'_>,
    (seen, loaded): (&Context, Option<ObjectView<'_>>),
    is_owner: bool,
    object: &mut Vec<u8>,
) -> Result<Composed, Obstacle> {
    let nothing = Context::default();
    let write = &mutate(*write, &nothing);
    let common = &mut *turn.common;
    if !common.limits.takes_value(write.value) {
        return Err(Obstacle::TooLarge);
    }
    common.held.look_up(&*turn.store, &write.key);
    let versions = &mut common.held.versions;
    if mutated(Mutation::BlindContextLiveOnly) && write.context.is_none() {
        versions.context =
            Context::from_parts(Clock::ZERO, versions.siblings.iter().map(|(dot, _)| (dot.actor, dot.clock)));
    }
    let stays = staying(&versions.siblings, write);
    let adds_one = stays.len() == versions.siblings.len();
    if adds_one && stays.len() >= common.limits.siblings_max {
        return Err(Obstacle::TooManySiblings);
    }
    let is_loaded = |dot: &Dot| loaded.is_some_and(|object| object.siblings().any(|sibling| sibling.dot == *dot));
    if !stays.iter().all(is_loaded) {
        return Err(Obstacle::NeedValues);
    }
    let context = &mut versions.context;
    let above = see(context, write, seen);
    if context.entries().len() >= CONTEXT_ENTRIES_MAX {
        return Err(Obstacle::TooManySiblings);
    }
    let (at, place) = ((turn.now.unix_ms, above), (write.key.partition, is_owner));
    let stamped = common.stamping.stamp(turn.store, at, place, turn.effects);
    let dot = stamped.map_err(|NotNow| Obstacle::NotNow)?;
    if mutated(Mutation::ContextNotOnWire) {
        *context = Context::from_parts(Clock::ZERO, stays.iter().map(|dot| (dot.actor, dot.clock)));
    }
    context.insert(dot);
    // A stamp is above what was seen, and so above the write that made a value which was touched.
    let value_dot = write.value_dot.filter(|made| write.value.is_some() && dot.may_touch(*made));
    let new = SiblingRef { dot, expires_at_ms: write.expires_at_ms, value: write.value, value_dot };
    let kept = loaded
        .into_iter()
        .flat_map(ObjectView::siblings)
        .filter(|sibling| stays.contains(&sibling.dot) && !mutated(Mutation::SingleVersionOnWire));
    object.clear();
    encode_object(context, kept.chain([new]), object);
    if !stays.is_empty() && object.len() > common.limits.object_bytes_max {
        return Err(Obstacle::TooLarge);
    }
    common.counters.siblings_warned += u64::from(stays.len() >= common.limits.siblings_warn);
    Ok(Composed { dot, is_alone: stays.is_empty() })
}

/// The write, unless a deliberate bug makes another of it.
fn mutate<'a>(mut write: WriteRef<'a>, nothing: &'a Context) -> WriteRef<'a> {
    if mutated(Mutation::OwnLastIgnored) {
        write.own = None;
    }
    match write.context {
        None if mutated(Mutation::BlindContextEmpty) => write.context = Some(nothing),
        Some(_) if mutated(Mutation::ContextIgnored) => write.context = Some(nothing),
        Some(_) if mutated(Mutation::ContextTakenAsBlind) => write.context = None,
        _ => {}
    }
    write
}

/// The siblings that the write leaves beside itself.
fn staying(siblings: &[(Dot, bool)], write: &WriteRef<'_>) -> SmallVec<[Dot; 4]> {
    let Some(context) = write.context else { return SmallVec::new() };
    let is_own = |dot: Dot| {
        let before_own = |own: Dot| write.own_is_alone && own.actor == dot.actor && own.clock >= dot.clock;
        write.own.is_some_and(|own| own == dot || before_own(own))
    };
    siblings.iter().map(|(dot, _)| *dot).filter(|dot| !context.covers(*dot) && !is_own(*dot)).collect()
}

/// Makes everything that counts as seen part of what this node knows; the clock that the stamp must be above.
fn see(context: &mut Context, write: &WriteRef<'_>, seen: &Context) -> Clock {
    let stored = context.highest();
    context.merge(seen);
    let sent = write.context.map_or(Clock::ZERO, Context::highest);
    if let Some(sent) = write.context {
        context.merge(sent);
    }
    let own = write.own.map_or(Clock::ZERO, |own| own.clock);
    let above = if mutated(Mutation::StampIgnoresContext) {
        stored.max(own)
    } else if mutated(Mutation::StampIgnoresStored) {
        sent.max(own)
    } else if mutated(Mutation::OwnLastNotInStamp) {
        context.highest()
    } else {
        context.highest().max(own)
    };
    write.own.filter(|_| write.own_is_alone).into_iter().for_each(|own| context.insert(own));
    assert!(above <= CLOCK_LAST, "clocks from outside are checked where they are decoded");
    above
}
