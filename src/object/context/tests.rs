//! Contexts against the sets that they denote, element by element over a small universe.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const ACTORS: u64 = 7;
const CLOCKS: u64 = 9;

fn dot(clock: u64, actor: u64) -> Dot {
    Dot::new(Clock::from_raw(clock).unwrap(), Actor::from_raw(actor))
}

fn universe() -> impl Iterator<Item = Dot> {
    (0..ACTORS).flat_map(|actor| (1..CLOCKS).map(move |clock| dot(clock, actor)))
}

fn members(context: &Context) -> BTreeSet<Dot> {
    universe().filter(|dot| context.covers(*dot)).collect()
}

pub(crate) fn any_context() -> impl Strategy<Value = Context> {
    let entries = prop::collection::vec((0..ACTORS, 1..CLOCKS), 0..9);
    (0..4u64, entries).prop_map(|(floor, entries)| {
        let entries =
            entries.into_iter().map(|(actor, clock)| (Actor::from_raw(actor), Clock::from_raw(clock).unwrap()));
        Context::from_parts(Clock::from_raw(floor).unwrap(), entries)
    })
}

fn is_normal(context: &Context) -> bool {
    context.entries().is_sorted_by(|a, b| a.0 < b.0) && context.entries().iter().all(|entry| entry.1 > context.floor())
}

fn encoded(context: &Context) -> Vec<u8> {
    let mut bytes = Vec::new();
    context.encode(&mut bytes);
    assert_eq!(bytes.len(), context.encoded_bytes());
    bytes
}

#[test]
fn the_empty_context_covers_no_dot() {
    let empty = Context::default();
    assert!(empty.is_empty());
    assert!(members(&empty).is_empty());
    assert_eq!(empty.highest(), Clock::ZERO);
}

#[test]
fn a_floor_covers_every_actor() {
    let context = Context::with_floor(Clock::from_raw(3).unwrap());
    assert!(!context.is_empty());
    assert!(context.covers(dot(3, 77)) && !context.covers(dot(4, 77)));
}

#[test]
fn decoding_refuses_what_encoding_never_writes() {
    let context = Context::from_parts(Clock::from_raw(2).unwrap(), [(Actor::from_raw(1), Clock::from_raw(5).unwrap())]);
    let bytes = encoded(&context);
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        Context::decode(&bytes)
    };
    assert_eq!(with(7, 1), Err(DecodeError::ClockRange));
    assert_eq!(with(20, 2), Err(DecodeError::Order), "at the floor");
    assert_eq!(with(8, 2), Err(DecodeError::Truncated));
    assert_eq!(with(10, 1), Err(DecodeError::TooManyEntries));
    let mut twice = bytes.clone();
    twice[8] = 2;
    twice.extend_from_slice(&bytes[HEADER_BYTES..]);
    assert_eq!(Context::decode(&twice), Err(DecodeError::Order));
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(Context::decode(&longer), Err(DecodeError::Trailing));
}

proptest! {
    #[test]
    fn equal_sets_are_equal_values(a in any_context(), b in any_context()) {
        prop_assert!(is_normal(&a));
        // The universe is finite: floors differ visibly since every actor's clocks go beyond them.
        let padded = |context: &Context| (members(context), context.covers(dot(1, 99)),
            context.covers(dot(2, 99)), context.covers(dot(3, 99)));
        prop_assert_eq!(padded(&a) == padded(&b), a == b);
    }

    #[test]
    fn merge_is_union(a in any_context(), b in any_context()) {
        let mut merged = a.clone();
        merged.merge(&b);
        let union: BTreeSet<Dot> = members(&a).union(&members(&b)).copied().collect();
        prop_assert_eq!(members(&merged), union);
        prop_assert!(is_normal(&merged));
        prop_assert!(merged.includes(&a) && merged.includes(&b));
        let mut swapped = b.clone();
        swapped.merge(&a);
        prop_assert_eq!(merged, swapped);
    }

    #[test]
    fn insert_adds_the_dot_and_what_its_actor_did_before(
        context in any_context(), clock in 1..CLOCKS, actor in 0..ACTORS,
    ) {
        let mut grown = context.clone();
        grown.insert(dot(clock, actor));
        let mut expected = members(&context);
        expected.extend((1..=clock).map(|clock| dot(clock, actor)));
        prop_assert_eq!(members(&grown), expected);
        prop_assert!(is_normal(&grown));
    }

    #[test]
    fn raising_the_floor_adds_everything_below(context in any_context(), floor in 0..CLOCKS) {
        let mut raised = context.clone();
        raised.raise_floor(Clock::from_raw(floor).unwrap());
        let mut expected = members(&context);
        expected.extend(universe().filter(|dot| dot.clock.raw() <= floor));
        prop_assert_eq!(members(&raised), expected);
        prop_assert!(is_normal(&raised));
    }

    #[test]
    fn inclusion_is_subset(a in any_context(), b in any_context()) {
        let subset = members(&b).is_subset(&members(&a)) && b.floor() <= a.floor();
        prop_assert_eq!(a.includes(&b), subset);
        let highest = members(&a).last().map_or(Clock::ZERO, |dot| dot.clock);
        prop_assert_eq!(a.highest(), highest);
    }

    #[test]
    fn encoding_round_trips(context in any_context()) {
        let bytes = encoded(&context);
        prop_assert_eq!(Context::decode(&bytes), Ok(context));
        for end in 0..bytes.len() {
            prop_assert!(Context::decode(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn arbitrary_bytes_decode_canonically_or_fail(
        bytes in prop::collection::vec(prop_oneof![3 => Just(0u8), 1 => any::<u8>()], 0..80),
    ) {
        if let Ok(context) = Context::decode(&bytes) {
            prop_assert_eq!(encoded(&context), bytes);
        }
    }
}
