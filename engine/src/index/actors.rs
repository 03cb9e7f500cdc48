//! Interned actors: twelve bits of an index entry stand for an actor and a context floor.
//!
//! A node that is alone stamps every dot of an incarnation with the same floor, so a core meets few
//! distinct pairs: one for each incarnation whose records are still there.
//!
//! What it is not: it never forgets a pair while the core runs; a start begins with an empty table.
//!
//! Invariant: a slot stands for the same pair for as long as the table lives.

use super::entry::ACTOR_SLOTS;
use annulus_object::{Actor, Clock};
use std::collections::HashMap;

/// The actor slot that says: actor and floor are in the side table.
pub const ACTOR_IN_SIDE_TABLE: u16 = ACTOR_SLOTS - 1;

/// The table has no slot left: the caller stores the pair in the side table, under
/// [`ACTOR_IN_SIDE_TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActorTableFull;

impl std::fmt::Display for ActorTableFull {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("no actor slot is left")
    }
}

impl std::error::Error for ActorTableFull {}

/// The pairs of actor and floor that index entries refer to.
#[derive(Default)]
pub struct ActorTable {
    pairs: Vec<(Actor, Clock)>,
    slots: HashMap<(Actor, Clock), u16, ahash::RandomState>,
    last: u16,
}

impl ActorTable {
    /// A table without pairs.
    #[must_use]
    pub fn new() -> ActorTable {
        ActorTable::default()
    }

    /// The slot of `actor` with the context floor `floor`, a new one if they were never met.
    /// Errors when all slots are taken.
    pub fn intern(&mut self, actor: Actor, floor: Clock) -> Result<u16, ActorTableFull> {
        let pair = (actor, floor);
        if self.pairs.get(usize::from(self.last)) == Some(&pair) {
            return Ok(self.last);
        }
        let slot = match self.slots.get(&pair) {
            Some(slot) => *slot,
            None => self.add(pair)?,
        };
        self.last = slot;
        Ok(slot)
    }

    /// The pair that `slot` stands for; `None` for [`ACTOR_IN_SIDE_TABLE`]. Panics for a slot that
    /// was never given out.
    #[must_use]
    pub fn resolve(&self, slot: u16) -> Option<(Actor, Clock)> {
        if slot == ACTOR_IN_SIDE_TABLE {
            return None;
        }
        Some(*self.pairs.get(usize::from(slot)).expect("the slot was given out by this table"))
    }

    /// How many pairs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    fn add(&mut self, pair: (Actor, Clock)) -> Result<u16, ActorTableFull> {
        let slot = u16::try_from(self.pairs.len()).expect("the table is bounded");
        if slot == ACTOR_IN_SIDE_TABLE {
            return Err(ActorTableFull);
        }
        self.pairs.push(pair);
        self.slots.insert(pair, slot);
        Ok(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_keep_their_slots_until_the_table_is_full() {
        let mut table = ActorTable::new();
        let pair = |n: u16| (Actor::new(u64::from(n / 2), n), Clock::from_raw(u64::from(n % 7)).unwrap());
        for n in 0..ACTOR_IN_SIDE_TABLE {
            let (actor, floor) = pair(n);
            assert_eq!(table.intern(actor, floor), Ok(n));
            assert_eq!(table.intern(actor, floor), Ok(n));
        }
        let (actor, floor) = pair(ACTOR_IN_SIDE_TABLE);
        assert_eq!(table.intern(actor, floor), Err(ActorTableFull));
        for n in 0..ACTOR_IN_SIDE_TABLE {
            let (actor, floor) = pair(n);
            assert_eq!(table.resolve(n), Some((actor, floor)));
            assert_eq!(table.intern(actor, floor), Ok(n));
        }
        assert_eq!(table.resolve(ACTOR_IN_SIDE_TABLE), None);
        assert_eq!(table.len(), usize::from(ACTOR_IN_SIDE_TABLE));
    }
}
