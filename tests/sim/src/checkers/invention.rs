//! Nothing is invented: every value that anybody stores or reads was written by a client to that key, under one dot, and a
//! write that was refused appears nowhere.

use annulus_cluster::effect::Failure;
use annulus_object::{Dot, Object};

use super::{Promise, Violation};
use crate::model::{KeyIndex, Kind, Model, OpId, WriteIndex};

fn invented(key: KeyIndex, text: String) -> Violation {
    Violation::new(Promise::NothingInvented, Some(key), text)
}

/// The writes of dots that somebody holds.
pub fn known(model: &Model, key: KeyIndex, dots: &[Dot], node: usize) -> Result<Vec<WriteIndex>, Violation> {
    let find = |dot: &Dot| {
        let found = model.key(key).find(*dot);
        found.ok_or_else(|| invented(key, format!("n{node} has {dot:?}, which no core has ever stored as its own")))
    };
    dots.iter().map(find).collect()
}

/// Each sibling has the value that its dot names. Gives how many were compared.
pub fn check_values(model: &Model, key: KeyIndex, object: &Object, who: &str) -> Result<u64, Violation> {
    for sibling in object.siblings() {
        let Some(index) = model.key(key).find(sibling.dot) else {
            return Err(invented(key, format!("{who} {:?}, which was never stamped", sibling.dot)));
        };
        let write = model.key(key).write(index);
        let right = match (&sibling.value, write.op) {
            (Some(value), Some(op)) => !write.is_tombstone && model.op(op).value == *value,
            (Some(_), None) => false,
            (None, _) => write.is_tombstone,
        };
        if !right {
            let name = model.name(key, index);
            return Err(invented(key, format!("{who} {name} with another value: {:x?}", sibling.value)));
        }
    }
    Ok(object.siblings().len() as u64)
}

/// The dot that a client is told is that of its own write.
pub fn check_written(model: &Model, op: OpId, dot: Dot) -> Result<WriteIndex, Violation> {
    let known = model.op(op);
    let Some(index) = model.key(known.key).find(dot) else {
        return Err(invented(known.key, format!("#{op} is told that it was written as {dot:?}, which nobody stored")));
    };
    let write = model.key(known.key).write(index);
    let is_own = match write.op {
        Some(own) => own == op,
        None => write.is_tombstone && known.kind == Kind::Delete,
    };
    if is_own {
        return Ok(index);
    }
    Err(invented(known.key, format!("#{op} is told the dot of another write, {}", model.name(known.key, index))))
}

/// What is refused has left nothing.
pub fn check_refused(model: &Model, op: OpId, failure: Failure) -> Result<(), Violation> {
    let known = model.op(op);
    if failure == Failure::InDoubt || known.writes.is_empty() {
        return Ok(());
    }
    Err(invented(known.key, format!("#{op} was stamped, and its client is told: {failure}")))
}
