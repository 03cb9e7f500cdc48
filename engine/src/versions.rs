//! What is known of a key without its values: the dots of its siblings, and what was seen.
//!
//! It is an object without payloads, and merges as objects do: of every dot the larger of unseen, live and dead counts.
//!
//! What it is not: it holds no value and no instant of expiry; a value that has expired is one that does not delete.
//!
//! Invariant: siblings ascend by dot, none twice; each is covered by the context.

use annulus_object::{Actor, Clock, Context, Dot, ObjectView};
use smallvec::SmallVec;

use crate::record::{Kind, RecordRef};

#[cfg(test)]
mod tests;

/// Dots of siblings, ascending, and whether each deletes.
pub type SiblingDots = SmallVec<[(Dot, bool); 2]>;

/// The versions of one key: see the module. The default has seen nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Dots of the siblings, ascending, and whether each deletes.
    pub siblings: SiblingDots,
    /// Everything that was seen; covers the siblings.
    pub context: Context,
}

/// What merging one state into another would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// Nothing: they are the same.
    Same,
    /// The other one's would be left.
    Newer,
    /// Nothing: ours includes it.
    Older,
    /// Each has seen something that the other has not.
    Concurrent,
}

impl Versions {
    /// Those of an encoded object.
    #[must_use]
    pub fn of_object(object: &ObjectView<'_>) -> Self {
        let siblings = object.siblings().map(|sibling| (sibling.dot, sibling.value.is_none()));
        Self { siblings: siblings.collect(), context: object.context().to_context() }
    }

    /// Those of a record; of a mark, none.
    #[must_use]
    pub fn of_record(record: &RecordRef<'_>) -> Self {
        if record.kind() == Kind::Mark {
            return Self::default();
        }
        let siblings = record.siblings().map(|sibling| (sibling.dot, sibling.value.is_none()));
        Self { siblings: siblings.collect(), context: record.context() }
    }

    /// One version, whose writer had seen a floor and some entries.
    pub(crate) fn single(dot: Dot, deletes: bool, floor: Clock, entries: &[(Actor, Clock)]) -> Self {
        let mut context = Context::from_parts(floor, entries.iter().copied());
        context.insert(dot);
        Self { siblings: SmallVec::from_slice(&[(dot, deletes)]), context }
    }

    /// Whether nothing was ever seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.siblings.is_empty() && self.context.is_empty()
    }

    /// The largest dot of a sibling.
    #[must_use]
    pub fn latest(&self) -> Option<(Dot, bool)> {
        self.siblings.last().copied()
    }

    /// Whether a sibling has this dot.
    #[must_use]
    pub fn has(&self, dot: Dot) -> bool {
        position(&self.siblings, dot).is_ok()
    }

    /// Joins the two.
    pub fn merge(&mut self, other: &Versions) {
        let mut merged = SiblingDots::with_capacity(self.siblings.len().max(other.siblings.len()));
        for (dot, deletes) in &self.siblings {
            match position(&other.siblings, *dot) {
                // One dot has one payload; should a fault break that, a value counts for more than none.
                Ok(index) => merged.push((*dot, *deletes && other.siblings[index].1)),
                Err(_) if !other.context.covers(*dot) => merged.push((*dot, *deletes)),
                Err(_) => {}
            }
        }
        let unseen = other.siblings.iter().filter(|(dot, _)| !self.context.covers(*dot));
        merged.extend(unseen.copied());
        merged.sort_unstable_by_key(|(dot, _)| *dot);
        self.siblings = merged;
        self.context.merge(&other.context);
    }

    /// Whether merging `other` into this would change nothing.
    #[must_use]
    pub fn includes(&self, other: &Versions) -> bool {
        let is_kept = |dot: Dot| other.has(dot) || !other.context.covers(dot);
        self.context.includes(&other.context) && self.siblings.iter().all(|(dot, _)| is_kept(*dot))
    }

    /// What merging `other` into this would do.
    pub(crate) fn relation(&self, other: &Versions) -> Relation {
        match (self.includes(other), other.includes(self)) {
            (true, true) => Relation::Same,
            (true, false) => Relation::Older,
            (false, true) => Relation::Newer,
            (false, false) => Relation::Concurrent,
        }
    }

    /// Everything at or below a FLUSHALL is dead.
    pub(crate) fn flush(&mut self, mark: Clock) {
        self.siblings.retain(|(dot, _)| dot.clock > mark);
        self.context.raise_floor(mark);
    }
}

fn position(siblings: &[(Dot, bool)], dot: Dot) -> Result<usize, usize> {
    siblings.binary_search_by_key(&dot, |(other, _)| *other)
}

/// As [`Versions::relation`], for two states of one version each that saw nothing but a floor and what their own dot implies.
pub(crate) fn relation_of_plain((old, old_floor): (Dot, Clock), (new, new_floor): (Dot, Clock)) -> Relation {
    let sees =
        |own: Dot, floor: Clock, dot: Dot| dot.clock <= floor || (dot.actor == own.actor && dot.clock <= own.clock);
    let includes = |(ours, our_floor): (Dot, Clock), (theirs, their_floor): (Dot, Clock)| {
        their_floor <= our_floor
            && sees(ours, our_floor, theirs)
            && (ours == theirs || !sees(theirs, their_floor, ours))
    };
    match (includes((old, old_floor), (new, new_floor)), includes((new, new_floor), (old, old_floor))) {
        (true, true) => Relation::Same,
        (true, false) => Relation::Older,
        (false, true) => Relation::Newer,
        (false, false) => Relation::Concurrent,
    }
}
