//! The optional fields between a record's header and its key: expiry, context entries, and the dot of a touched value.
//!
//! Each is `tag u16, zero u16, length u32, bytes, zeros up to a multiple of 8`; tags ascend. It is
//! not the record: lengths against the header are checked there.
//!
//! Invariant: a field is written only when it says something, so equal contents are equal bytes.

use super::{Kind, OPTIONAL_BYTES_MAX, RecordError, RecordFields, TAG_SKIPPABLE, array};
use annulus_object::{Actor, CONTEXT_ENTRIES_MAX, Clock, Dot};

pub(super) const TAG_EXPIRY: u16 = 1;
pub(super) const TAG_CONTEXT: u16 = 2;
/// Clock and actor. Whoever does not know it would show an old value for a newer one, so it may not be passed over.
pub(super) const TAG_VALUE_DOT: u16 = 3;
const FIELD_HEADER_BYTES: usize = 8;
const EXPIRY_FIELD_BYTES: usize = FIELD_HEADER_BYTES + 8;
const CONTEXT_ENTRY_BYTES: usize = 16;
const VALUE_DOT_FIELD_BYTES: usize = FIELD_HEADER_BYTES + 16;
const CONTEXT_FIELD_BYTES_MAX: usize = FIELD_HEADER_BYTES + CONTEXT_ENTRIES_MAX * CONTEXT_ENTRY_BYTES;

const _: () = assert!(EXPIRY_FIELD_BYTES + CONTEXT_FIELD_BYTES_MAX + VALUE_DOT_FIELD_BYTES <= OPTIONAL_BYTES_MAX);

pub(super) fn bytes(fields: &RecordFields<'_>) -> usize {
    let expiry = if fields.expires_at_ms == 0 { 0 } else { EXPIRY_FIELD_BYTES };
    let value_dot = if fields.value_dot.is_none() { 0 } else { VALUE_DOT_FIELD_BYTES };
    expiry + context_bytes(fields) + value_dot
}

fn context_bytes(fields: &RecordFields<'_>) -> usize {
    if fields.context.is_empty() {
        return 0;
    }
    match stored_entries(fields).count() {
        0 => 0,
        count => FIELD_HEADER_BYTES + count * CONTEXT_ENTRY_BYTES,
    }
}

/// The entries that are stored: what the dot implies is in the header already.
fn stored_entries<'a>(fields: &RecordFields<'a>) -> impl Iterator<Item = (Actor, Clock)> + use<'a> {
    let own = (fields.dot.actor, fields.dot.clock);
    let entries = fields.context.iter().copied();
    entries.filter(move |entry| !is_implied(*entry, own))
}

/// A dot covers the smaller clocks of its actor.
fn is_implied(entry: (Actor, Clock), own: (Actor, Clock)) -> bool {
    entry.0 == own.0 && entry.1 <= own.1
}

pub(super) fn encode(fields: &RecordFields<'_>, mut out: &mut [u8]) {
    if fields.expires_at_ms != 0 {
        let (field, rest) = out.split_at_mut(EXPIRY_FIELD_BYTES);
        field[..8].copy_from_slice(&field_header(TAG_EXPIRY, 8));
        field[8..].copy_from_slice(&fields.expires_at_ms.to_le_bytes());
        out = rest;
    }
    let (context, value_dot) = out.split_at_mut(context_bytes(fields));
    if let Some(made) = fields.value_dot {
        value_dot[..8].copy_from_slice(&field_header(TAG_VALUE_DOT, 16));
        value_dot[8..16].copy_from_slice(&made.clock.raw().to_le_bytes());
        value_dot[16..].copy_from_slice(&made.actor.raw().to_le_bytes());
    }
    if !context.is_empty() {
        let (head, entries) = context.split_at_mut(FIELD_HEADER_BYTES);
        head.copy_from_slice(&field_header(TAG_CONTEXT, entries.len()));
        let (slots, _) = entries.as_chunks_mut::<CONTEXT_ENTRY_BYTES>();
        let mut last = None;
        for (slot, (actor, clock)) in slots.iter_mut().zip(stored_entries(fields)) {
            assert!(last < Some(actor) && clock > fields.floor, "a context is in normal form");
            last = Some(actor);
            slot[..8].copy_from_slice(&actor.raw().to_le_bytes());
            slot[8..].copy_from_slice(&clock.raw().to_le_bytes());
        }
    }
}

fn field_header(tag: u16, bytes: usize) -> [u8; 8] {
    (u64::from(tag) | (bytes as u64) << 32).to_le_bytes()
}

/// Whether the optional fields `bytes` may stand in a record of this kind, floor and dot.
pub(super) fn check(bytes: &[u8], kind: Kind, floor: Clock, own: (Actor, Clock)) -> Result<(), RecordError> {
    let mut last_tag = 0;
    for field in (Fields { rest: bytes }) {
        let (tag, bytes) = field?;
        if tag <= last_tag {
            return Err(RecordError::Field(tag));
        }
        last_tag = tag;
        match tag {
            TAG_EXPIRY if kind == Kind::Value && bytes.len() == 8 && bytes != [0; 8] => {}
            TAG_CONTEXT if matches!(kind, Kind::Value | Kind::Tombstone) => {
                check_context(bytes, floor, own)?;
            }
            TAG_VALUE_DOT if kind == Kind::Value => check_value_dot(bytes, own)?,
            TAG_EXPIRY | TAG_CONTEXT | TAG_VALUE_DOT => return Err(RecordError::Field(tag)),
            _ if tag & TAG_SKIPPABLE != 0 => {}
            _ => return Err(RecordError::UnknownField(tag)),
        }
    }
    Ok(())
}

/// Walks the optional fields: `(tag, bytes)`, or an error as the last item.
pub(super) struct Fields<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u16, &'a [u8]), RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = split_field(self.rest);
        self.rest = field.map_or(&[], |(_, _, rest)| rest);
        Some(field.map(|(tag, bytes, _)| (tag, bytes)).ok_or(RecordError::Lengths))
    }
}

/// Tag, contents, and what follows the field; `None` if it does not fit or is not padded with zeros.
fn split_field(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<FIELD_HEADER_BYTES>()?;
    let header = u64::from_le_bytes(*header);
    let (tag, zero, length) = (header as u16, (header >> 16) as u16, (header >> 32) as usize);
    let (padded, rest) = rest.split_at_checked(length.next_multiple_of(8))?;
    let (contents, padding) = padded.split_at(length);
    (zero == 0 && padding.iter().all(|byte| *byte == 0)).then_some((tag, contents, rest))
}

fn check_context(bytes: &[u8], floor: Clock, own: (Actor, Clock)) -> Result<(), RecordError> {
    let error = RecordError::Field(TAG_CONTEXT);
    let (chunks, rest) = bytes.as_chunks::<CONTEXT_ENTRY_BYTES>();
    if chunks.is_empty() || !rest.is_empty() || chunks.len() > CONTEXT_ENTRIES_MAX {
        return Err(error);
    }
    let mut last = None;
    for chunk in chunks {
        let actor = Actor::from_raw(u64::from_le_bytes(array(chunk, 0)));
        let clock = Clock::from_raw(u64::from_le_bytes(array(chunk, 8))).ok_or(error)?;
        if last >= Some(actor) || clock <= floor || is_implied((actor, clock), own) {
            return Err(error);
        }
        last = Some(actor);
    }
    Ok(())
}

fn check_value_dot(bytes: &[u8], (actor, clock): (Actor, Clock)) -> Result<(), RecordError> {
    let error = RecordError::Field(TAG_VALUE_DOT);
    let is_sound = bytes.len() == 16 && Clock::from_raw(u64::from_le_bytes(array(bytes, 0))).is_some();
    if is_sound && Dot::new(clock, actor).may_touch(value_dot(bytes)) { Ok(()) } else { Err(error) }
}

/// What a checked value dot's field says.
pub(super) fn value_dot(bytes: &[u8]) -> Dot {
    Dot::new(clock(u64::from_le_bytes(array(bytes, 0))), Actor::from_raw(u64::from_le_bytes(array(bytes, 8))))
}

/// The entries in a checked context field.
pub(super) fn entries(bytes: &[u8]) -> impl Iterator<Item = (Actor, Clock)> {
    let (chunks, _) = bytes.as_chunks::<CONTEXT_ENTRY_BYTES>();
    chunks.iter().map(|chunk| {
        let actor = Actor::from_raw(u64::from_le_bytes(array(chunk, 0)));
        (actor, clock(u64::from_le_bytes(array(chunk, 8))))
    })
}

pub(super) fn clock(raw: u64) -> Clock {
    Clock::from_raw(raw).expect("clocks were checked")
}
