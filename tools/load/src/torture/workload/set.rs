//! Riak's set test: read all siblings, add one element to their union, write that with the context that was read. An element that
//! is added twice is there once, so these writes are repeatable; and what a read does not show stays beside what is written, so
//! that one owner's answer will do where fewer than R can be had.

use super::{Draft, Failure, Kind, Turn};
use crate::torture::history::{union, value};

pub fn attempt(turn: &mut Turn<'_>) -> Result<(), Failure> {
    let key = turn.keys.pick(Kind::Set, turn.random);
    let (context, siblings) = turn.versions_of_any(key)?;
    let id = turn.next_id();
    let mut elements = union(&siblings);
    elements.insert(id);
    let bytes = value(key, &elements);
    let draft = Draft { key, id: Some(id), seen: Vec::new(), is_blind: false };
    turn.write(draft, &[b"DYN.PUT", &key.name(&turn.keys.run), &bytes, b"CONTEXT", &context, b"REPEATABLE", b"yes"])?;
    Ok(())
}
