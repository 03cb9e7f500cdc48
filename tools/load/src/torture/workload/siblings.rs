//! Several clients write to few keys without having seen each other; now and then one replaces what it has read by one value.

use rand::Rng;

use super::{Draft, Failure, Kind, Turn};
use crate::torture::history::{union, value};

/// One attempt in so many merges.
const MERGE_ONE_IN: u32 = 4;

pub fn attempt(turn: &mut Turn<'_>) -> Result<(), Failure> {
    let key = turn.keys.pick(Kind::Siblings, turn.random);
    let merges = turn.random.random_ratio(1, MERGE_ONE_IN);
    // An empty context has seen nothing.
    let (context, seen) = if merges {
        let (context, siblings) = turn.versions(key)?;
        (context, union(&siblings).into_iter().collect())
    } else {
        (Vec::new(), Vec::new())
    };
    let id = turn.next_id();
    let draft = Draft { key, id: Some(id), seen, is_blind: false };
    let bytes = value(key, &[id]);
    turn.write(draft, &[b"DYN.PUT", &key.name(&turn.keys.run), &bytes, b"CONTEXT", &context])?;
    Ok(())
}
