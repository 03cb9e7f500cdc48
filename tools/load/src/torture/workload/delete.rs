//! Deletes, with a context and without, and values that come after.
//!
//! Each client has keys of its own, so that what a command without a context replaces follows from the connection alone: the
//! write before it. A key with a write in doubt is left behind, because the doubt would excuse whatever came after.

use std::collections::BTreeMap;

use rand::Rng;

use super::{Draft, Failure, Kind, Turn, writes_per_key};
use crate::torture::history::{Id, Key, Sibling, union, value};

/// Reads that are kept for the verdict.
const READS_MAX: usize = 2_000_000;

/// What one client knows.
#[derive(Debug, Default)]
pub struct Own {
    /// By slot: the generation, its writes, and the last one with its connection.
    keys: BTreeMap<u32, State>,
    /// What reads of registers showed, for the check that nobody invented it.
    pub reads: Vec<(Key, Id)>,
    /// Reads that showed bytes which none of us wrote there.
    pub foreign_reads: Vec<(Key, Vec<u8>)>,
    /// Reads that showed nothing or something.
    pub reads_made: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    generation: u32,
    writes: u64,
    last: Option<(u64, Id)>,
}

impl Own {
    /// Notes what a read showed.
    pub fn note_read(&mut self, key: Key, found: Vec<Sibling>) {
        self.reads_made += 1;
        for sibling in found {
            match sibling {
                Sibling::Ids(ids) if self.reads.len() < READS_MAX => self.reads.extend(ids.iter().map(|id| (key, *id))),
                Sibling::Ids(_) => {}
                Sibling::Foreign(bytes) if self.foreign_reads.len() < 100 => self.foreign_reads.push((key, bytes)),
                Sibling::Foreign(_) => {}
            }
        }
    }
}

pub fn attempt(turn: &mut Turn<'_>) -> Result<(), Failure> {
    let slots = turn.keys.slots();
    let slot = turn.client * slots + turn.random.random_range(0..slots);
    let mut state = *turn.own.keys.entry(slot).or_default();
    if state.writes >= writes_per_key(Kind::Delete) {
        state = State { generation: state.generation + 1, ..State::default() };
    }
    state.writes += 1;
    let key = Key { kind: Kind::Delete, slot, generation: state.generation };
    let result = change(turn, key, &mut state);
    if result.as_ref().is_err_and(|failure| !failure.is_refusal()) {
        state = State { generation: state.generation + 1, ..State::default() };
    }
    turn.own.keys.insert(slot, state);
    result
}

/// A SET, a DEL, or a read followed by a DYN.DEL of what it found.
fn change(turn: &mut Turn<'_>, key: Key, state: &mut State) -> Result<(), Failure> {
    let name = key.name(&turn.keys.run);
    let before = state.last.filter(|(connection, _)| *connection == turn.connection).map(|(_, id)| id);
    let blind = |id| Draft { key, id, seen: before.into_iter().collect(), is_blind: true };
    match turn.random.random_range(0..5) {
        0 => {
            turn.write(blind(None), &[b"DEL", &name])?;
            state.last = None;
        }
        1 => {
            let (context, siblings) = turn.versions(key)?;
            let draft = Draft { key, id: None, seen: union(&siblings).into_iter().collect(), is_blind: false };
            turn.write(draft, &[b"DYN.DEL", &name, b"CONTEXT", &context])?;
        }
        _ => {
            let id = turn.next_id();
            turn.write(blind(Some(id)), &[b"SET", &name, &value(key, &[id])])?;
            state.last = Some((turn.connection, id));
        }
    }
    Ok(())
}
