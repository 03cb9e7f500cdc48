//! Records: round trips, and that nothing but a whole, unchanged record is accepted.

use super::optional::{TAG_CONTEXT, TAG_EXPIRY};
use super::*;
use annulus_object::{Context, Object, Sibling};
use proptest::prelude::*;

fn clock(raw: u64) -> Clock {
    Clock::from_raw(raw).unwrap()
}

fn fields<'a>(key: &'a [u8], value: &'a [u8]) -> RecordFields<'a> {
    RecordFields {
        dot: Dot::new(clock(1_000), Actor::new(7, 3)),
        hash: 0x0123_4567_89ab_cdef_0011_2233_4455_6677,
        partition: 513,
        partition_incarnation: 2,
        kind: Kind::Value,
        floor: clock(10),
        expires_at_ms: 0,
        context: &[],
        value_dot: None,
        key,
        value,
    }
}

fn encoded(fields: &RecordFields<'_>) -> Vec<u8> {
    // Dirty space: every byte is written.
    let mut bytes = vec![0xaa; encoded_bytes(fields)];
    encode(fields, &mut bytes);
    bytes
}

/// Changes bytes and makes the checksum right again: what a fault before writing would leave.
fn with(bytes: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    change(&mut bytes);
    let crc = crc32fast::hash(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn full() -> Vec<u8> {
    let context = [(Actor::new(1, 1), clock(400)), (Actor::new(9, 1), clock(2_000))];
    encoded(&RecordFields { expires_at_ms: 1_900_000_000_000, context: &context, ..fields(b"key", b"value") })
}

#[test]
fn the_format_is_fixed() {
    let bytes = encoded(&fields(b"key", b"value"));
    assert_eq!(bytes.len(), 80);
    assert_eq!(bytes[4..8], 80u32.to_le_bytes());
    assert_eq!(bytes[8..16], 1_000u64.to_le_bytes());
    assert_eq!(bytes[16..24], (7u64 << 16 | 3).to_le_bytes());
    assert_eq!(bytes[24..40], fields(b"", b"").hash.to_le_bytes());
    assert_eq!(bytes[40..44], [1, 2, 2, 0]);
    assert_eq!(bytes[44..48], [3, 0, 1, 0]);
    assert_eq!(bytes[48..56], [5, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes[56..64], 10u64.to_le_bytes());
    assert_eq!(&bytes[64..], b"keyvalue\0\0\0\0\0\0\0\0");
    // CRC-32 as zlib computes it. Files of released versions must stay readable: it never changes.
    assert_eq!(bytes[..4], 0x23b8_e7adu32.to_le_bytes());
}

#[test]
fn what_the_dot_implies_is_not_stored() {
    let own = Actor::new(7, 3);
    let context = [(own, clock(1_000))];
    let plain = fields(b"key", b"value");
    let same = RecordFields { context: &context, ..plain };
    assert_eq!(encoded(&plain), encoded(&same));
    let older = [(own, clock(999))];
    assert_eq!(encoded(&plain), encoded(&RecordFields { context: &older, ..plain }));
    let newer = [(own, clock(1_001))];
    let bytes = encoded(&RecordFields { context: &newer, ..plain });
    let record = RecordRef::check(&bytes).unwrap();
    assert_eq!(record.context_entries().collect::<Vec<_>>(), newer);
    assert_eq!(record.context().entries(), newer);
}

#[test]
fn empty_keys_and_values_are_records() {
    let bytes = encoded(&fields(b"", b""));
    let record = RecordRef::check(&bytes).unwrap();
    assert_eq!((record.key(), record.value(0), bytes.len()), (&b""[..], &b""[..], 64));
}

#[test]
fn the_largest_record_fits_its_limits() {
    let context: Vec<(Actor, Clock)> =
        (0..CONTEXT_ENTRIES_MAX as u64).map(|node| (Actor::new(node, 9), clock(2_000))).collect();
    let (key, value) = (vec![1; KEY_BYTES_MAX], vec![2; VALUE_BYTES_MAX]);
    let bytes = encoded(&RecordFields { expires_at_ms: 1, context: &context, ..fields(&key, &value) });
    assert!(bytes.len() <= RECORD_BYTES_MAX);
    let record = RecordRef::check(&bytes).unwrap();
    assert_eq!(record.context_entries().count(), context.len());
    assert_eq!((record.key().len(), record.value(0).len()), (KEY_BYTES_MAX, VALUE_BYTES_MAX));
}

#[test]
fn objects_go_through_records() {
    let plain = fields(b"key", b"value");
    let bytes = encoded(&plain);
    let object = RecordRef::check(&bytes).unwrap().object().unwrap();
    let sibling = Sibling { dot: plain.dot, expires_at_ms: 0, value: Some(b"value".to_vec()), value_dot: None };
    assert_eq!(object, Object::single(sibling, Context::with_floor(clock(10))));

    let mut both = object.clone();
    let beside = Dot::new(clock(1_001), Actor::new(8, 1));
    both.write(beside, &Context::default(), None, 0);
    let mut value = Vec::new();
    both.encode(&mut value);
    let siblings = RecordFields { dot: beside, kind: Kind::Siblings, value: &value, ..plain };
    let higher = encoded(&RecordFields { floor: clock(500), ..siblings });
    let mut context = both.context().clone();
    context.raise_floor(clock(500));
    let record = RecordRef::check(&higher).unwrap();
    assert_eq!((record.context(), record.floor()), (context.clone(), clock(500)), "the floor counts of every record");
    assert_eq!(record.object().unwrap().context(), &context);
    let bytes = encoded(&siblings);
    let record = RecordRef::check(&bytes).unwrap();
    assert_eq!(record.object(), Some(both.clone()));
    assert_eq!((record.context(), record.floor()), (both.context().clone(), both.context().floor()));
    assert!(record.siblings().eq(both.siblings().iter().map(Sibling::borrowed)));
    assert!(record.deletes() && record.body() == value, "the latest deletes");
    assert_eq!((record.value(0), record.is_shown(0)), (&b"value"[..], true), "and hides nothing that it has not seen");
    let older = RecordFields { dot: plain.dot, ..siblings };
    assert_eq!(RecordRef::check(&encoded(&older)).map(|_| ()), Err(RecordError::Contents));
    let torn = RecordFields { value: &value[..value.len() - 1], ..siblings };
    let error = RecordError::Siblings(DecodeError::Truncated);
    assert_eq!(RecordRef::check(&encoded(&torn)).map(|_| ()), Err(error));

    let mark = RecordFields { kind: Kind::Mark, ..fields(b"", b"") };
    let bytes = encoded(&mark);
    assert_eq!(RecordRef::check(&bytes).unwrap().object(), None);
}

#[test]
fn a_record_of_siblings_shows_the_newest_that_lives_and_one_of_none_shows_nothing() {
    let plain = RecordFields { floor: Clock::ZERO, ..fields(b"key", b"") };
    let beside = Dot::new(clock(1_001), Actor::new(8, 1));
    let mut object = Object::default();
    object.write(plain.dot, &Context::default(), Some(b"older".to_vec()), 0);
    object.write(beside, &Context::default(), Some(b"newer".to_vec()), 77);
    let mut value = Vec::new();
    object.encode(&mut value);
    let bytes = encoded(&RecordFields { dot: beside, kind: Kind::Siblings, value: &value, ..plain });
    let record = RecordRef::check(&bytes).unwrap();
    assert_eq!((record.value(76), record.expires_at_ms(), record.deletes()), (&b"newer"[..], 77, false));
    assert_eq!((record.value(77), record.is_shown(77)), (&b"older"[..], true));

    let mut dead = Vec::new();
    annulus_object::encode_object(object.context(), [], &mut dead);
    let bytes = encoded(&RecordFields { dot: beside, kind: Kind::Siblings, value: &dead, ..plain });
    let record = RecordRef::check(&bytes).unwrap();
    assert_eq!((record.value(0), record.expires_at_ms(), record.deletes()), (&b""[..], 0, true));
    assert!(!record.is_shown(0));
    assert_eq!((record.siblings().count(), record.context()), (0, object.context().clone()));
}

#[test]
fn a_touched_value_is_as_new_as_the_write_that_made_it() {
    let made = Dot::new(clock(400), Actor::new(9, 1));
    let touched = RecordFields { value_dot: Some(made), expires_at_ms: 77, ..fields(b"key", b"old") };
    let bytes = encoded(&touched);
    let record = RecordRef::check(&bytes).unwrap();
    let object = record.object().unwrap();
    assert_eq!(object.latest().and_then(|sibling| sibling.value_dot), Some(made));
    assert_eq!(record.shown(0).map(|shown| (shown.made_by(), shown.dot)), Some((made, touched.dot)));
    assert!(record.has_value_dots() && record.is_shown(76) && !record.is_shown(77));
    assert!(!RecordRef::check(&encoded(&fields(b"key", b"old"))).unwrap().has_value_dots());

    let mut both = object.clone();
    both.merge(Object::single(
        Sibling {
            dot: Dot::new(clock(401), Actor::new(8, 1)),
            expires_at_ms: 0,
            value: Some(b"new".to_vec()),
            value_dot: None,
        },
        Context::default(),
    ));
    let mut value = Vec::new();
    both.encode(&mut value);
    let siblings = RecordFields { kind: Kind::Siblings, value: &value, ..fields(b"key", b"") };
    let bytes = encoded(&siblings);
    let record = RecordRef::check(&bytes).unwrap();
    assert!(record.has_value_dots() && record.dot() == touched.dot, "its own dot is the largest");
    assert_eq!(record.value(0), b"new");
    assert_eq!(record.object(), Some(both));
}

#[test]
fn a_value_dot_that_is_not_before_its_own_is_refused() {
    let made = Dot::new(clock(400), Actor::new(9, 1));
    let bytes = encoded(&RecordFields { value_dot: Some(made), ..fields(b"key", b"value") });
    let at = RECORD_HEADER_BYTES;
    assert_eq!(bytes[at], 3);
    let clock_is = |clock: u64| with(&bytes, |bytes| bytes[at + 8..at + 16].copy_from_slice(&clock.to_le_bytes()));
    for (clock, is_sound) in [(0, false), (1, true), (999, true), (1_000, false), (1 << 56, false)] {
        let bytes = clock_is(clock);
        let result = RecordRef::check(&bytes).map(|_| ());
        assert_eq!(result, if is_sound { Ok(()) } else { Err(RecordError::Field(3)) }, "{clock}");
    }
    let tombstone = with(&bytes, |bytes| {
        bytes[46] = Kind::Tombstone as u8;
        bytes[48..52].fill(0);
        // The value's bytes are padding of the same record then.
        bytes[at + 24 + 3..].fill(0);
    });
    assert_eq!(RecordRef::check(&tombstone).map(|_| ()), Err(RecordError::Field(3)));
}

#[test]
fn every_flipped_bit_is_an_error() {
    let bytes = full();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(RecordRef::check(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn every_truncation_is_an_error_and_what_follows_is_ignored() {
    let bytes = full();
    for end in 0..bytes.len() {
        let error = RecordRef::check(&bytes[..end]).unwrap_err();
        let needed = if end < 64 { 64 } else { bytes.len() };
        assert_eq!(error, RecordError::Truncated { needed, available: end });
    }
    let mut longer = bytes.clone();
    longer.extend_from_slice(&[0xff; 33]);
    let record = RecordRef::check(&longer).unwrap();
    assert_eq!((record.bytes(), record.total_bytes()), (&bytes[..], bytes.len()));
    assert_eq!(RecordRef::checked_before(&longer).bytes(), bytes);
}

#[test]
fn impossible_contents_are_refused_by_name() {
    let bytes = full();
    let check = |bytes: &[u8]| RecordRef::check(bytes).map(|_| ());
    let set = |at: usize, byte: u8| check(&with(&bytes, |bytes| bytes[at] = byte));
    assert_eq!(set(46, 9), Err(RecordError::Kind(9)));
    assert_eq!(set(47, 1), Err(RecordError::Flags(1)));
    assert_eq!(set(15, 1), Err(RecordError::Contents), "clock beyond 56 bits");
    assert_eq!(set(63, 1), Err(RecordError::Contents), "floor beyond 56 bits");
    assert_eq!(set(46, Kind::Tombstone as u8), Err(RecordError::Contents));
    let padding = with(&encoded(&fields(b"key", b"value")), |bytes| bytes[79] = 1);
    assert_eq!(check(&padding), Err(RecordError::Contents));
    assert_eq!(set(7, 0xff), Err(RecordError::Lengths));
    assert_eq!(set(48, 30), Err(RecordError::Lengths));
    assert_eq!(set(46, Kind::Siblings as u8), Err(RecordError::Field(TAG_EXPIRY)));
    let no_clock = with(&bytes, |bytes| bytes[8..16].fill(0));
    assert_eq!(check(&no_clock), Err(RecordError::Contents));
}

#[test]
fn fields_of_later_versions_are_passed_over_or_refused() {
    // The expiry field begins at 64, the context field at 80.
    let bytes = full();
    let check = |bytes: &[u8]| RecordRef::check(bytes).map(|record| record.value(0).to_vec());
    let tag = |at: usize, tag: u16| check(&with(&bytes, |bytes| bytes[at..at + 2].copy_from_slice(&tag.to_le_bytes())));
    assert_eq!(tag(80, 0x0042), Err(RecordError::UnknownField(0x42)));
    assert_eq!(tag(80, 0x0042 | TAG_SKIPPABLE), Ok(b"value".to_vec()));
    assert_eq!(tag(80, TAG_EXPIRY), Err(RecordError::Field(TAG_EXPIRY)), "twice");
    assert_eq!(tag(64, 0), Err(RecordError::Field(0)));
    let zero = with(&bytes, |bytes| bytes[66] = 1);
    assert_eq!(check(&zero), Err(RecordError::Lengths));
    let long = with(&bytes, |bytes| bytes[84..88].fill(0xff));
    assert_eq!(check(&long), Err(RecordError::Lengths));
    let never = with(&bytes, |bytes| bytes[72..80].fill(0));
    assert_eq!(check(&never), Err(RecordError::Field(TAG_EXPIRY)));
    let unordered = with(&bytes, |bytes| bytes[88 + 5] = 0xff);
    assert_eq!(check(&unordered), Err(RecordError::Field(TAG_CONTEXT)));
    let below_floor = with(&bytes, |bytes| bytes[96..104].fill(0));
    assert_eq!(check(&below_floor), Err(RecordError::Field(TAG_CONTEXT)));
}

proptest! {
    #[test]
    fn encoding_round_trips(
        raw in (1..1u64 << 56, any::<u64>(), any::<u128>(), any::<u16>(), any::<u16>()),
        floor in 0..1u64 << 56,
        expires_at_ms in prop_oneof![Just(0), any::<u64>()],
        actors in prop::collection::btree_map(any::<u64>(), 1..1u64 << 56, 0..5),
        key in prop::collection::vec(any::<u8>(), 0..300),
        value in prop::collection::vec(any::<u8>(), 0..600),
        tombstone in any::<bool>(),
        made in prop::option::of((1..1u64 << 56, any::<u64>())),
    ) {
        let (dot_clock, actor, hash, partition, partition_incarnation) = raw;
        let entries = actors.into_iter().map(|(a, c)| (Actor::from_raw(a), clock(c)));
        let context = Context::from_parts(clock(floor), entries);
        let dot = Dot::new(clock(dot_clock), Actor::from_raw(actor));
        let made = made.map(|(made, actor)| Dot::new(clock(made), Actor::from_raw(actor)));
        let fields = RecordFields {
            dot,
            hash,
            partition,
            partition_incarnation,
            kind: if tombstone { Kind::Tombstone } else { Kind::Value },
            floor: context.floor(),
            expires_at_ms: if tombstone { 0 } else { expires_at_ms },
            context: context.entries(),
            value_dot: made.filter(|made| !tombstone && dot.may_touch(*made)),
            key: &key,
            value: if tombstone { &[] } else { &value },
        };
        let bytes = encoded(&fields);
        prop_assert!(bytes.len().is_multiple_of(RECORD_ALIGNMENT));
        prop_assert_eq!(peek_total_bytes(&bytes[..64]), Ok(bytes.len()));
        let record = RecordRef::check(&bytes).unwrap();
        prop_assert_eq!(RecordRef::check_in_frame(&bytes).unwrap().bytes(), record.bytes());
        prop_assert_eq!(record.dot(), fields.dot);
        prop_assert_eq!(record.hash(), hash);
        prop_assert_eq!(record.partition(), partition);
        prop_assert_eq!(record.partition_incarnation(), partition_incarnation);
        prop_assert_eq!(record.kind(), fields.kind);
        prop_assert_eq!(record.key(), fields.key);
        prop_assert_eq!(record.value(0), fields.value);
        prop_assert_eq!(record.expires_at_ms(), fields.expires_at_ms);
        prop_assert_eq!(record.floor(), fields.floor);
        prop_assert_eq!(record.siblings().next().unwrap().value_dot, fields.value_dot);
        let mut seen = context.clone();
        seen.insert(fields.dot);
        prop_assert_eq!(record.context(), seen);
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = RecordRef::check(&bytes);
        // The same with right lengths and checksum, so that the later checks are reached.
        bytes.resize(bytes.len().next_multiple_of(16).max(64), 0);
        let total = bytes.len() as u32;
        bytes[4..8].copy_from_slice(&total.to_le_bytes());
        bytes[45..48].copy_from_slice(&[0, 1, 0]);
        bytes[44] %= 16;
        bytes[15] = 0;
        bytes[63] = 0;
        let optional = (total - 64) / 2;
        let key = u32::from(bytes[44]).min(total - 64 - optional);
        bytes[44] = key as u8;
        bytes[52..56].copy_from_slice(&optional.to_le_bytes());
        bytes[48..52].copy_from_slice(&(total - 64 - optional - key).to_le_bytes());
        let bytes = with(&bytes, |_| ());
        if let Ok(record) = RecordRef::check(&bytes) {
            let _ = (record.key(), record.expires_at_ms(), record.object());
        }
    }
}
