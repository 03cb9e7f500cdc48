//! Riak's set test: read all siblings, add one element to their union, write that with the context that was read.

use super::{Draft, Failure, Kind, Turn};
use crate::torture::history::{union, value};

pub fn attempt(turn: &mut Turn<'_>) -> Result<(), Failure> {
    let key = turn.keys.pick(Kind::Set, turn.random);
    let (context, siblings) = turn.versions(key)?;
    let id = turn.next_id();
    let mut elements = union(&siblings);
    elements.insert(id);
    let bytes = value(key, &elements);
    let draft = Draft { key, id: Some(id), seen: Vec::new(), is_blind: false };
    turn.write(draft, &[b"DYN.PUT", &key.name(&turn.keys.run), &bytes, b"CONTEXT", &context])?;
    Ok(())
}
