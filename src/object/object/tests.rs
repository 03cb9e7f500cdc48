//! The laws of the lattice, and what writes and deletes do to it.

use super::*;
use crate::Actor;
use crate::context::tests::any_context;
use proptest::prelude::*;

fn dot(clock: u64, actor: u64) -> Dot {
    Dot::new(Clock::from_raw(clock).unwrap(), Actor::from_raw(actor))
}

fn context_of(dots: &[Dot]) -> Context {
    Context::from_parts(Clock::ZERO, dots.iter().map(|dot| (dot.actor, dot.clock)))
}

/// The payload that belongs to a dot: tombstones, expiring, plain and touched values are all among them.
fn sibling(dot: Dot, variant: u8) -> Sibling {
    let seed = dot.clock.raw() * 7 + dot.actor.raw();
    let value = (!seed.is_multiple_of(4)).then(|| vec![seed as u8, variant]);
    let made = Clock::from_raw(dot.clock.raw() / 2).map(|clock| Dot::new(clock, Actor::from_raw(variant.into())));
    let is_touched = seed.is_multiple_of(5) && value.is_some();
    Sibling {
        dot,
        expires_at_ms: if seed.is_multiple_of(3) { seed } else { 0 },
        value,
        value_dot: made.filter(|made| is_touched && dot.may_touch(*made)),
    }
}

/// Any state at all, reachable or not: some covered dots are live, the others dead. `variants`
/// above one lets one dot carry different payloads, which only a fault can do.
pub(crate) fn any_object(variants: u8) -> impl Strategy<Value = Object> {
    let live = prop::collection::btree_map((1..9u64, 0..4u64), 0..variants, 0..5);
    (any_context(), live).prop_map(|(mut context, live)| {
        let dots = live.into_iter().map(|((clock, actor), variant)| (dot(clock, actor), variant));
        let siblings: Vec<Sibling> = dots.map(|(dot, variant)| sibling(dot, variant)).collect();
        for sibling in &siblings {
            context.insert(sibling.dot);
        }
        Object { siblings, context }
    })
}

fn merged(a: &Object, b: &Object) -> Object {
    let mut merged = a.clone();
    merged.merge(b.clone());
    merged
}

fn encoded(object: &Object) -> Vec<u8> {
    let mut bytes = Vec::new();
    object.encode(&mut bytes);
    assert_eq!(bytes.len(), object.encoded_bytes());
    bytes
}

fn values(object: &Object) -> Vec<&[u8]> {
    object.siblings().iter().map(|s| s.value.as_deref().unwrap_or(b"(dead)")).collect()
}

#[test]
fn a_write_replaces_what_it_saw_and_stands_beside_what_it_did_not() {
    let mut object = Object::default();
    object.write(dot(1, 0), &Context::default(), Some(b"a".to_vec()), 0);
    object.write(dot(2, 0), &Context::default(), Some(b"b".to_vec()), 0);
    assert_eq!(values(&object), [b"a", b"b"], "blind with an empty context: siblings");
    object.write(dot(3, 1), &context_of(&[dot(1, 0)]), Some(b"c".to_vec()), 0);
    assert_eq!(values(&object), [b"b", b"c"]);
    let seen = object.context().clone();
    object.write(dot(4, 0), &seen, None, 0);
    assert_eq!(values(&object), [b"(dead)"]);
    assert_eq!(object.latest().map(|s| s.dot), Some(dot(4, 0)));
    assert!(object.context().includes(&context_of(&[dot(4, 0), dot(3, 1)])));
}

#[test]
fn a_context_from_elsewhere_kills_versions_that_arrive_later() {
    let early = Object::single(sibling(dot(1, 0), 0), Context::default());
    let mut object = Object::default();
    object.write(dot(2, 1), &context_of(&[dot(1, 0)]), Some(b"new".to_vec()), 0);
    assert_eq!(object.compare(&early), Comparison::Newer);
    object.merge(early);
    assert_eq!(values(&object), [b"new"]);
}

#[test]
fn concurrent_writes_survive_a_merge_and_a_reader_of_both_replaces_both() {
    let a = Object::single(sibling(dot(5, 0), 0), Context::default());
    let b = Object::single(sibling(dot(6, 1), 0), Context::default());
    assert_eq!(a.compare(&b), Comparison::Concurrent);
    let mut both = merged(&a, &b);
    assert_eq!(both.siblings().len(), 2);
    let seen = both.context().clone();
    both.write(dot(7, 2), &seen, Some(b"x".to_vec()), 0);
    assert_eq!(values(&merged(&merged(&a, &both), &b)), [b"x"]);
}

fn shown_at(object: &Object, now_unix_ms: u64) -> Option<&[u8]> {
    crate::shown(object.siblings().iter().map(Sibling::borrowed), now_unix_ms).and_then(|sibling| sibling.value)
}

#[test]
fn a_touched_old_value_does_not_hide_a_newer_one() {
    let old = Object::single(Sibling { value: Some(b"old".to_vec()), ..sibling(dot(1, 1), 0) }, Context::default());
    let (mut here, mut there) = (old.clone(), old.clone());
    here.write(dot(5, 1), old.context(), Some(b"new".to_vec()), 0);
    assert!(there.touch(dot(6, 2), old.context(), 900, 0));
    let both = merged(&here, &there);
    assert_eq!(values(&both), [b"new", b"old"]);
    assert_eq!(both.latest().map(|s| (s.dot, s.value_dot)), Some((dot(6, 2), Some(dot(1, 1)))));
    assert_eq!(both.newest().map(|s| s.dot), Some(dot(5, 1)));
    assert_eq!(shown_at(&both, 0), Some(&b"new"[..]));
    // Another touch keeps the first value's dot, and one of both shows the newest.
    there.touch(dot(8, 3), &there.context().clone(), 0, 0);
    assert_eq!(there.latest().and_then(|s| s.value_dot), Some(dot(1, 1)));
    assert_eq!(shown_at(&merged(&there, &both), 0), Some(&b"new"[..]));
    let mut all = merged(&there, &both);
    all.touch(dot(9, 1), &all.context().clone(), 700, 0);
    assert_eq!((values(&all), all.latest().and_then(|s| s.value_dot)), (vec![&b"new"[..]], Some(dot(5, 1))));
}

#[test]
fn tombstones_and_what_has_expired_hide_nothing() {
    let value = |at, value: &[u8], expires_at_ms| {
        let sibling = Sibling { dot: dot(at, at), expires_at_ms, value: Some(value.to_vec()), value_dot: None };
        Object::single(sibling, Context::default())
    };
    let deleted = Sibling { dot: dot(9, 9), expires_at_ms: 0, value: None, value_dot: None };
    let all = merged(&merged(&value(1, b"a", 0), &value(2, b"b", 70)), &Object::single(deleted, Context::default()));
    assert_eq!([69, 70].map(|now| shown_at(&all, now)), [Some(&b"b"[..]), Some(&b"a"[..])]);
    let mut gone = merged(&value(2, b"b", 70), &Object::default());
    assert!(!gone.touch(dot(9, 1), &gone.context().clone(), 0, 70));
    assert_eq!(gone, value(2, b"b", 70), "nothing is shown, so nothing is touched");
}

#[test]
fn merging_does_not_limit_siblings() {
    let mut all = Object::default();
    for actor in 0..1_000 {
        all.merge(Object::single(sibling(dot(1, actor), 0), Context::default()));
    }
    assert_eq!(all.siblings().len(), 1_000);
}

#[test]
#[should_panic(expected = "a dot is issued once")]
fn a_dot_that_was_seen_is_not_written() {
    let mut object = Object::single(sibling(dot(5, 0), 0), Context::default());
    object.write(dot(4, 0), &Context::default(), None, 0);
}

#[test]
fn decoding_refuses_what_encoding_never_writes() {
    let object = merged(
        &Object::single(sibling(dot(1, 0), 0), Context::default()),
        &Object::single(sibling(dot(3, 1), 0), Context::default()),
    );
    let bytes = encoded(&object);
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        Object::decode(&bytes).map(|_| ())
    };
    // format │ floor 8, count 4, two entries of 16 │ count 4 │ clock 8, actor 8, expiry 8, flags …
    let first = 1 + 12 + 32 + 4;
    assert_eq!(with(0, 3), Err(DecodeError::Format(3)));
    assert_eq!(with(0, 2), Err(DecodeError::Field), "no sibling has a value dot");
    assert_eq!(with(first, 9), Err(DecodeError::Uncovered));
    assert_eq!(with(first, 0), Err(DecodeError::Field));
    assert_eq!(with(first + 24, 4), Err(DecodeError::Field));
    assert_eq!(with(first + 24, 3), Err(DecodeError::Field), "a tombstone with a value dot");
    assert_eq!(with(first + 24, 1), Err(DecodeError::Field), "a tombstone with a value");
    assert_eq!(with(first - 1, 1), Err(DecodeError::Truncated));
    let touched = Sibling { value: Some(b"v".to_vec()), value_dot: Some(dot(4, 2)), ..sibling(dot(5, 0), 0) };
    let mut touched = encoded(&Object::single(touched, Context::default()));
    assert_eq!(touched[0], 2);
    let made_at = touched.len() - 1 - 16;
    for (at, byte) in [(0, 1), (made_at, 5), (made_at, 0)] {
        let before = std::mem::replace(&mut touched[at], byte);
        assert_eq!(Object::decode(&touched), Err(DecodeError::Field), "{byte} at {at}");
        touched[at] = before;
    }
    assert!(Object::decode(&touched).is_ok());
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(Object::decode(&longer), Err(DecodeError::Trailing));
}

proptest! {
    #[test]
    fn merge_is_commutative_associative_idempotent(
        a in any_object(1), b in any_object(1), c in any_object(1),
    ) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(&merged(&a, &a), &a);
        let ab = merged(&a, &b);
        prop_assert_eq!(&merged(&ab, &b), &ab);
        prop_assert_eq!(&merged(&a, &Object::default()), &a);
    }

    #[test]
    fn the_laws_hold_even_when_a_fault_gave_one_dot_two_payloads(
        a in any_object(3), b in any_object(3), c in any_object(3),
    ) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(&merged(&a, &a), &a);
    }

    #[test]
    fn each_dot_takes_its_larger_state(a in any_object(1), b in any_object(1)) {
        let state = |object: &Object, dot: Dot| match object.context.covers(dot) {
            false => 0,
            true if object.siblings.iter().any(|s| s.dot == dot) => 1,
            true => 2,
        };
        let both = merged(&a, &b);
        for (clock, actor) in (1..10).flat_map(|clock| (0..5).map(move |actor| (clock, actor))) {
            let dot = dot(clock, actor);
            prop_assert_eq!(state(&both, dot), state(&a, dot).max(state(&b, dot)));
        }
    }

    #[test]
    fn comparing_says_what_merging_would_do(a in any_object(2), b in any_object(2)) {
        let both = merged(&a, &b);
        let expected = match (both == a, both == b) {
            (true, true) => Comparison::Equal,
            (true, false) => Comparison::Newer,
            (false, true) => Comparison::Older,
            (false, false) => Comparison::Concurrent,
        };
        prop_assert_eq!(a.compare(&b), expected);
        prop_assert_eq!(a == b, expected == Comparison::Equal);
    }

    #[test]
    fn which_value_is_shown_is_the_same_in_whatever_order_states_were_merged(
        a in any_object(1), b in any_object(1), c in any_object(1), now in 0..80u64,
    ) {
        let forward = merged(&merged(&a, &b), &c);
        let backward = merged(&c, &merged(&b, &a));
        prop_assert_eq!(shown_at(&forward, now), shown_at(&backward, now));
        let newest = forward.siblings().iter().filter(|s| s.borrowed().is_live(now)).map(|s| s.borrowed().newness()).max();
        let shown = crate::shown(forward.siblings().iter().rev().map(Sibling::borrowed), now);
        prop_assert_eq!(shown.map(|sibling| sibling.newness()), newest);
    }

    #[test]
    fn a_touch_changes_neither_what_is_shown_nor_how_new_it_is(
        object in any_object(1), actor in 0..5u64, other in any_object(1), now in 0..20u64,
    ) {
        let mut touched = object.clone();
        let new = dot(object.context.highest().next().raw(), actor);
        touched.touch(new, object.context(), 0, now);
        let shown = |object: &Object| {
            crate::shown(object.siblings().iter().map(Sibling::borrowed), now).map(|s| (s.made_by(), s.value.map(<[u8]>::to_vec)))
        };
        prop_assert_eq!(shown(&touched), shown(&object));
        let expected = if shown(&object).is_some() { Comparison::Newer } else { Comparison::Equal };
        prop_assert_eq!(touched.compare(&object), expected);
        // Beside what the touch has not seen, the newest of what was written is shown.
        if let (Some(ours), Some(theirs)) = (shown(&touched), shown(&other)) {
            let unseen = other.siblings().iter().all(|s| !touched.context().covers(s.dot));
            if unseen && !other.context().covers(new) {
                prop_assert_eq!(shown(&merged(&touched, &other)).map(|(made, _)| made), Some(ours.0.max(theirs.0)));
            }
        }
    }

    #[test]
    fn a_write_is_above_the_state_that_it_changed(
        object in any_object(1), context in any_context(), actor in 0..5u64,
    ) {
        let mut written = object.clone();
        let above = object.context.highest().max(context.highest());
        let new = dot(above.next().raw(), actor);
        written.write(new, &context, Some(b"v".to_vec()), 0);
        prop_assert_eq!(written.compare(&object), Comparison::Newer);
        prop_assert_eq!(written.latest().map(|s| s.dot), Some(new));
        prop_assert_eq!(written.newest().map(|s| s.dot), Some(new));
        for sibling in written.siblings().iter().filter(|s| s.dot != new) {
            prop_assert!(object.siblings.contains(sibling) && !context.covers(sibling.dot));
        }
    }

    #[test]
    fn replicas_that_exchange_in_any_order_converge(
        writes in prop::collection::vec((0..3usize, 0..3usize, any::<bool>()), 1..24),
    ) {
        // Three replicas write and pull from each other at random; in the end all merge.
        let mut replicas = vec![Object::default(); 3];
        for (index, (at, from, blind)) in writes.into_iter().enumerate() {
            if at == from {
                let dot = dot(index as u64 + 1, at as u64);
                let context =
                    if blind { Context::default() } else { replicas[at].context().clone() };
                replicas[at].write(dot, &context, Some(vec![index as u8]), 0);
            } else {
                let state = replicas[from].clone();
                replicas[at].merge(state);
            }
        }
        let forward = replicas.iter().fold(Object::default(), |all, one| merged(&all, one));
        let backward = replicas.iter().rev().fold(Object::default(), |all, one| merged(&all, one));
        prop_assert_eq!(&forward, &backward);
        for replica in &replicas {
            let comparison = replica.compare(&forward);
            prop_assert!(matches!(comparison, Comparison::Older | Comparison::Equal));
        }
    }

    #[test]
    fn encoding_round_trips_and_every_cut_is_an_error(object in any_object(2)) {
        let bytes = encoded(&object);
        prop_assert_eq!(Object::decode(&bytes), Ok(object));
        for end in 0..bytes.len() {
            prop_assert!(Object::decode(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn damaged_bytes_decode_canonically_or_fail(
        object in any_object(1), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        noise in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut bytes = encoded(&object);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        for bytes in [bytes, noise] {
            if let Ok(decoded) = Object::decode(&bytes) {
                prop_assert_eq!(encoded(&decoded), bytes);
            }
        }
    }
}
