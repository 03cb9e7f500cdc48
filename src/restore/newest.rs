//! What a snapshot's records say of each key of a partition, and which of them says it all.
//!
//! A record is a key's whole state: of two, the one counts that includes the other. Where neither does, what both say together
//! counts, and is written as one record.
//!
//! Invariant: the order in which records are noted makes no difference.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use annulus_engine::record::Kind;
use annulus_engine::{Key, RecordRef, Versions, object_record};
use annulus_object::{Clock, Dot, Object, ObjectView};

/// What a key's records say, by its hash.
#[derive(Debug, Default)]
pub(super) struct Newest {
    keys: HashMap<u128, State>,
}

/// Nearly every key has one version, whose writer had seen nothing but what its dot and a floor imply.
#[derive(Debug, PartialEq)]
enum State {
    Plain(Dot, Clock),
    /// One record says this.
    Whole(Box<Versions>),
    /// Several say it together.
    Parts(Box<Versions>),
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// All that there is of its key.
    Whole,
    /// A part of it.
    Part,
    /// An older one, or one that was taken before.
    Not,
}

impl State {
    fn of(record: &RecordRef<'_>) -> Self {
        if record.kind() != Kind::Siblings && record.context_entries().next().is_none() {
            return Self::Plain(record.dot(), record.floor());
        }
        Self::Whole(Box::new(Versions::of_record(record)))
    }

    fn versions(&self) -> Versions {
        match self {
            // Whether it deletes makes no difference to what includes what.
            Self::Plain(dot, floor) => {
                let mut context = annulus_object::Context::with_floor(*floor);
                context.insert(*dot);
                Versions { siblings: [(*dot, false)].into_iter().collect(), context }
            }
            Self::Whole(versions) | Self::Parts(versions) => (**versions).clone(),
        }
    }
}

impl Newest {
    /// Takes note of a record.
    pub(super) fn note(&mut self, record: &RecordRef<'_>) {
        let found = State::of(record);
        let mut known = match self.keys.entry(record.hash()) {
            Entry::Vacant(entry) => {
                entry.insert(found);
                return;
            }
            Entry::Occupied(known) => known,
        };
        let (ours, theirs) = (known.get().versions(), found.versions());
        match (ours.includes(&theirs), theirs.includes(&ours)) {
            (_, true) => drop(known.insert(found)),
            (true, false) => {}
            (false, false) => {
                let mut joined = ours;
                joined.merge(&theirs);
                known.insert(State::Parts(Box::new(joined)));
            }
        }
    }

    /// What a record is of what was noted; no record is the whole of a key twice.
    pub(super) fn take(&mut self, record: &RecordRef<'_>) -> Taken {
        match self.keys.entry(record.hash()) {
            Entry::Vacant(_) => Taken::Not,
            Entry::Occupied(known) if matches!(known.get(), State::Parts(_)) => Taken::Part,
            Entry::Occupied(known) if known.get().versions().includes(&State::of(record).versions()) => {
                let is_whole = State::of(record).versions().includes(&known.get().versions());
                if is_whole {
                    known.remove();
                }
                if is_whole { Taken::Whole } else { Taken::Not }
            }
            Entry::Occupied(_) => unreachable!("what was noted includes every record"),
        }
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether every key was taken whole.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.values().all(|state| matches!(state, State::Parts(_)))
    }
}

/// One record of all that several records of a key say; `None` where that is too long.
pub(super) fn joined_record(records: &[Vec<u8>]) -> Option<Vec<u8>> {
    let first = RecordRef::checked_before(&records[0]);
    let mut joined = Object::default();
    for record in records {
        joined.merge(RecordRef::checked_before(record).object().expect("a mark is of no key"));
    }
    let mut bytes = Vec::new();
    joined.encode(&mut bytes);
    let key = Key { bytes: first.key(), partition: first.partition(), hash: first.hash() };
    object_record(&key, &ObjectView::check(&bytes).expect("it was just encoded"))
}

#[cfg(test)]
mod tests {
    use annulus_object::{Actor, Context, Sibling};

    use super::*;

    fn record(dots: &[(u64, u64)], seen: &[(u64, u64)]) -> Vec<u8> {
        let dot = |(clock, actor): &(u64, u64)| Dot::new(Clock::from_raw(*clock).unwrap(), Actor::from_raw(*actor));
        let mut object = Object::default();
        for at in dots {
            let sibling = Sibling { dot: dot(at), expires_at_ms: 0, value: Some(vec![at.0 as u8]), value_dot: None };
            let mut context = Context::default();
            seen.iter().for_each(|at| context.insert(dot(at)));
            object.merge(Object::single(sibling, context));
        }
        let mut bytes = Vec::new();
        object.encode(&mut bytes);
        let key = Key { bytes: b"key", partition: 1, hash: 7 };
        object_record(&key, &ObjectView::check(&bytes).unwrap()).unwrap()
    }

    fn taken(records: &[&[u8]]) -> Vec<Taken> {
        let mut newest = Newest::default();
        records.iter().for_each(|record| newest.note(&RecordRef::check(record).unwrap()));
        assert_eq!(newest.len(), 1);
        let taken = records.iter().map(|record| newest.take(&RecordRef::check(record).unwrap())).collect();
        assert!(newest.is_empty());
        taken
    }

    #[test]
    fn the_record_that_says_it_all_is_taken_once() {
        let (old, new) = (record(&[(5, 1)], &[]), record(&[(6, 1)], &[]));
        assert_eq!(taken(&[&old, &new, &new]), [Taken::Not, Taken::Whole, Taken::Not]);
        assert_eq!(taken(&[&new, &old]), [Taken::Whole, Taken::Not]);
        // Both have the same newest dot; one has a sibling beside it.
        let both = record(&[(5, 2), (6, 1)], &[]);
        assert_eq!(taken(&[&new, &both]), [Taken::Not, Taken::Whole]);
        assert_eq!(taken(&[&both, &new]), [Taken::Whole, Taken::Not]);
        let after = record(&[(7, 2)], &[(6, 1)]);
        assert_eq!(taken(&[&after, &both]), [Taken::Whole, Taken::Not]);
    }

    #[test]
    fn parts_are_joined() {
        let (one, other) = (record(&[(5, 1)], &[]), record(&[(6, 2)], &[]));
        assert_eq!(taken(&[&one, &other]), [Taken::Part, Taken::Part]);
        let joined = joined_record(&[one.clone(), other.clone()]).unwrap();
        let record = RecordRef::check(&joined).unwrap();
        assert_eq!(record.siblings().map(|sibling| sibling.value.unwrap()[0]).collect::<Vec<_>>(), [5, 6]);
        assert_eq!(taken(&[&one, &joined, &other]), [Taken::Not, Taken::Whole, Taken::Not]);
    }
}
