//! Versions against the objects that they are of.

use annulus_object::{Comparison, Object, Sibling};
use proptest::prelude::*;

use super::*;

fn dot(clock: u64, actor: u64) -> Dot {
    Dot::new(Clock::from_raw(clock).unwrap(), Actor::from_raw(actor))
}

/// Any state: one dot always has the same payload.
fn any_object() -> impl Strategy<Value = Object> {
    let context = (0..6u64, prop::collection::btree_map(0..4u64, 1..9u64, 0..4));
    let live = prop::collection::btree_set((1..9u64, 0..4u64), 0..4);
    (context, live).prop_map(|((floor, entries), live)| {
        let entries =
            entries.into_iter().map(|(actor, clock)| (Actor::from_raw(actor), Clock::from_raw(clock).unwrap()));
        let context = Context::from_parts(Clock::from_raw(floor).unwrap(), entries);
        // Of an object without siblings too much is known for a write, but another one's context may say it.
        let mut bytes = Vec::new();
        let mut all = context.clone();
        let siblings: Vec<Sibling> = live
            .into_iter()
            .map(|(clock, actor)| {
                let value = (clock % 3 > 0).then(|| vec![clock as u8]);
                Sibling { dot: dot(clock, actor), expires_at_ms: 0, value, value_dot: None }
            })
            .collect();
        siblings.iter().for_each(|sibling| all.insert(sibling.dot));
        annulus_object::encode_object(&all, siblings.iter().map(Sibling::borrowed), &mut bytes);
        Object::decode(&bytes).unwrap()
    })
}

fn versions(object: &Object) -> Versions {
    let mut bytes = Vec::new();
    object.encode(&mut bytes);
    Versions::of_object(&ObjectView::check(&bytes).unwrap())
}

/// What [`relation_of_plain`] takes, if that says all of a state.
fn plain(object: &Object) -> Option<(Dot, Clock)> {
    let ([only], context) = (object.siblings(), object.context()) else { return None };
    let says_all = Context::from_parts(context.floor(), [(only.dot.actor, only.dot.clock)]) == *context;
    says_all.then_some((only.dot, context.floor()))
}

proptest! {
    #[test]
    fn merging_and_comparing_are_those_of_objects(a in any_object(), b in any_object()) {
        let (left, right) = (versions(&a), versions(&b));
        let relation = match a.compare(&b) {
            Comparison::Equal => Relation::Same,
            Comparison::Newer => Relation::Older,
            Comparison::Older => Relation::Newer,
            Comparison::Concurrent => Relation::Concurrent,
        };
        prop_assert_eq!(left.relation(&right), relation);
        if let (Some(a), Some(b)) = (plain(&a), plain(&b)) {
            prop_assert_eq!(relation_of_plain(a, b), relation);
        }
        let mut merged = left.clone();
        merged.merge(&right);
        let mut object = a.clone();
        object.merge(b.clone());
        prop_assert_eq!(&merged, &versions(&object));
        prop_assert_eq!(merged.latest().map(|(dot, _)| dot), object.latest().map(|sibling| sibling.dot));
        prop_assert_eq!(merged.is_empty(), object.is_empty());
    }

    #[test]
    fn a_flush_is_a_context_with_its_clock_as_the_floor(a in any_object(), mark in 0..10u64) {
        let mark = Clock::from_raw(mark).unwrap();
        let mut flushed = versions(&a);
        flushed.flush(mark);
        let mut merged = versions(&a);
        merged.merge(&Versions { siblings: SiblingDots::new(), context: Context::with_floor(mark) });
        prop_assert_eq!(flushed, merged);
    }
}

#[test]
fn plain_states_that_say_little_are_compared_too() {
    for (a, b) in [((5, 1), (6, 1)), ((5, 1), (6, 2)), ((5, 1), (5, 1))] {
        for (a_floor, b_floor) in [(0, 0), (0, 5), (5, 0), (4, 6), (7, 7)] {
            let floor = |raw| Clock::from_raw(raw).unwrap();
            let (a, b) = ((dot(a.0, a.1), floor(a_floor)), (dot(b.0, b.1), floor(b_floor)));
            let full = |(dot, floor)| Versions::single(dot, false, floor, &[]);
            assert_eq!(relation_of_plain(a, b), full(a).relation(&full(b)));
        }
    }
}
