//! Plain SET and GET of values that are written once.

use std::time::Instant;

use rand::Rng;

use super::{Attempt, Draft, Failure, Kind, Turn, shown};
use crate::torture::history::value;

pub fn attempt(turn: &mut Turn<'_>) -> Result<(), Failure> {
    let key = turn.keys.pick(Kind::Register, turn.random);
    if turn.random.random_bool(0.5) {
        turn.doing = Attempt::Read;
        let found = shown(turn.conversation, key, &turn.keys.run, Instant::now() + turn.patience)?;
        turn.own.note_read(key, found);
        return Ok(());
    }
    let id = turn.next_id();
    let draft = Draft { key, id: Some(id), seen: Vec::new(), is_blind: true };
    turn.write(draft, &[b"SET", &key.name(&turn.keys.run), &value(key, &[id])])?;
    Ok(())
}
