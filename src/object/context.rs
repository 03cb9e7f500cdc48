//! What a writer had seen: a set of dots of one key, kept as a floor and one clock per actor.
//!
//! A context denotes `{d : d.clock <= floor} ∪ {d : d.clock <= entries[d.actor]}`. One clock per
//! actor is enough because an actor's object includes all that it stamped before for the key. The
//! floor stands for everything that was settled before some instant; a node that is alone stamps
//! with a floor and needs no entries at all.
//!
//! Invariant (normal form): entries are sorted by actor, one per actor, each above the floor. Equal
//! sets are therefore equal values with equal encodings.

use crate::{Actor, Clock, ContextView, DecodeError, Dot};
use smallvec::SmallVec;

/// The most entries that a decoder accepts. Merging is not limited; who merges contexts from
/// outside asks [`Context::fits`] before encoding the result.
pub const CONTEXT_ENTRIES_MAX: usize = 4_095;

const HEADER_BYTES: usize = 8 + 4;
const ENTRY_BYTES: usize = 8 + 8;
/// A merge of no more entries than this puts them in one by one, which needs no new list.
const INSERTED_ENTRIES_MAX: usize = 4;

/// A set of dots: see the module. The default is the empty set.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct Context {
    floor: Clock,
    entries: SmallVec<[(Actor, Clock); 2]>,
}

/// By hand for `clone_from`, which allocates only where the old value had less room.
impl Clone for Context {
    fn clone(&self) -> Context {
        Context { floor: self.floor, entries: self.entries.clone() }
    }

    fn clone_from(&mut self, source: &Context) {
        self.floor = source.floor;
        self.entries.clone_from(&source.entries);
    }
}

impl Context {
    /// All dots with a clock at or below `floor`.
    #[must_use]
    pub fn with_floor(floor: Clock) -> Context {
        Context { floor, entries: SmallVec::new() }
    }

    /// The union of a floor and of everything up to each of `entries`, in any order.
    #[must_use]
    pub fn from_parts(floor: Clock, entries: impl IntoIterator<Item = (Actor, Clock)>) -> Context {
        let mut context = Context::with_floor(floor);
        for (actor, clock) in entries {
            context.insert(Dot::new(clock, actor));
        }
        context
    }

    /// The clock up to which everything is covered, whoever stamped it.
    #[must_use]
    pub fn floor(&self) -> Clock {
        self.floor
    }

    /// What is covered above the floor: sorted by actor, one clock per actor.
    #[must_use]
    pub fn entries(&self) -> &[(Actor, Clock)] {
        &self.entries
    }

    /// Whether nothing is covered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.floor == Clock::ZERO && self.entries.is_empty()
    }

    /// Whether the encoding would be accepted by a decoder.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.entries.len() <= CONTEXT_ENTRIES_MAX
    }

    /// Whether `dot` is in the set.
    #[must_use]
    pub fn covers(&self, dot: Dot) -> bool {
        dot.clock <= self.floor || self.position(dot.actor).is_ok_and(|index| dot.clock <= self.entries[index].1)
    }

    /// Whether every dot of `other` is in the set.
    #[must_use]
    pub fn includes(&self, other: &Context) -> bool {
        other.floor <= self.floor && other.entries.iter().all(|&(actor, clock)| self.covers(Dot::new(clock, actor)))
    }

    /// The largest clock in the set ([`Clock::ZERO`] if it is empty): a stamp that replaces what
    /// was seen must be above it.
    #[must_use]
    pub fn highest(&self) -> Clock {
        let clocks = self.entries.iter().map(|&(_, clock)| clock);
        clocks.fold(self.floor, Clock::max)
    }

    /// Adds `dot` and every smaller clock of its actor.
    pub fn insert(&mut self, dot: Dot) {
        if dot.clock <= self.floor {
            return;
        }
        match self.position(dot.actor) {
            Ok(index) => {
                let clock = &mut self.entries[index].1;
                *clock = dot.clock.max(*clock);
            }
            Err(index) => self.entries.insert(index, (dot.actor, dot.clock)),
        }
    }

    /// Adds every dot with a clock at or below `floor`.
    pub fn raise_floor(&mut self, floor: Clock) {
        if floor > self.floor {
            self.floor = floor;
            self.entries.retain(|&mut (_, clock)| clock > floor);
        }
    }

    /// Adds every dot of `other`: set union.
    pub fn merge(&mut self, other: &Context) {
        self.raise_floor(other.floor);
        if other.entries.is_empty() {
            return;
        }
        if self.entries.is_empty() {
            let floor = self.floor;
            let above = other.entries.iter().filter(|(_, clock)| *clock > floor);
            self.entries.extend(above.copied());
            return;
        }
        if other.entries.len() <= INSERTED_ENTRIES_MAX {
            for &(actor, clock) in &other.entries {
                self.insert(Dot::new(clock, actor));
            }
            return;
        }
        let ours = std::mem::take(&mut self.entries);
        self.entries = union(&ours, &other.entries, self.floor);
    }

    /// How many bytes [`Context::encode`] appends.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        HEADER_BYTES + ENTRY_BYTES * self.entries.len()
    }

    /// Appends floor, count and entries, all little endian. Asserts [`Context::fits`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        assert!(self.fits(), "who merges checks the number of entries");
        out.reserve(self.encoded_bytes());
        out.extend_from_slice(&self.floor.raw().to_le_bytes());
        out.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
        for (actor, clock) in &self.entries {
            out.extend_from_slice(&actor.raw().to_le_bytes());
            out.extend_from_slice(&clock.raw().to_le_bytes());
        }
    }

    /// Reads a context that fills `bytes`. Only the normal form is accepted.
    pub fn decode(bytes: &[u8]) -> Result<Context, DecodeError> {
        ContextView::check(bytes).map(ContextView::to_context)
    }

    /// From what is in normal form.
    pub(crate) fn from_normal(floor: Clock, entries: impl ExactSizeIterator<Item = (Actor, Clock)>) -> Context {
        let mut list = SmallVec::with_capacity(entries.len());
        list.extend(entries);
        Context { floor, entries: list }
    }

    /// Becomes the empty set; keeps the memory.
    pub fn clear(&mut self) {
        self.floor = Clock::ZERO;
        self.entries.clear();
    }

    fn position(&self, actor: Actor) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&actor, |entry| entry.0)
    }
}

/// Merges two lists sorted by actor, keeping the larger clock of each and nothing at or below `floor`.
fn union(mut ours: &[(Actor, Clock)], mut theirs: &[(Actor, Clock)], floor: Clock) -> SmallVec<[(Actor, Clock); 2]> {
    let mut merged = SmallVec::with_capacity(ours.len().max(theirs.len()));
    loop {
        let (actor, clock) = match (ours.split_first(), theirs.split_first()) {
            (Some((our, our_rest)), Some((their, their_rest))) if our.0 == their.0 => {
                (ours, theirs) = (our_rest, their_rest);
                (our.0, our.1.max(their.1))
            }
            (Some((our, rest)), their) if their.is_none_or(|(their, _)| our.0 < their.0) => {
                ours = rest;
                *our
            }
            (_, Some((their, rest))) => {
                theirs = rest;
                *their
            }
            _ => return merged,
        };
        if clock > floor {
            merged.push((actor, clock));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
