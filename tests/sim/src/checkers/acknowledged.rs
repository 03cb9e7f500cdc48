//! No acknowledged write is lost: as long as disks survive, some node has it, or something that replaces it, on stable
//! storage; and in the end every owner has.

use annulus_object::Object;

use super::{Promise, Violation};
use crate::model::{KeyIndex, Model, WriteIndex};

fn lost(model: &Model, key: KeyIndex, write: WriteIndex, how: &str) -> Violation {
    let text = format!("{} was acknowledged, and {how}", model.name(key, write));
    Violation::new(Promise::Kept, Some(key), text)
}

/// Each of these writes, if it was acknowledged, is still on some disk. Gives how many were looked at.
pub fn check_copies(model: &Model, key: KeyIndex, writes: impl Iterator<Item = WriteIndex>) -> Result<u64, Violation> {
    let mut compared = 0;
    for index in writes {
        let write = model.key(key).write(index);
        if write.acknowledged.is_some() {
            compared += 1;
            if write.copies.any() == 0 {
                return Err(lost(model, key, index, "no node has it on stable storage any more"));
            }
        }
    }
    Ok(compared)
}

/// In the end an owner has every acknowledged write of a key, or what replaced it. Gives how many were compared.
///
/// What replaced it need not say so: a connection's own last write counts as seen by its dot alone, and a node that has lost
/// its disk knows no more of it. What that one had replaced in its turn, the model knows.
pub fn check_owner(model: &Model, key: KeyIndex, node: usize, object: &Object) -> Result<u64, Violation> {
    let mut compared = 0;
    let seen = model.replaced_by(key, object);
    for (index, write) in model.key(key).all().filter(|(_, write)| write.acknowledged.is_some()) {
        compared += 1;
        if !object.context().covers(write.dot) && !seen.has(index) {
            let live = model.key(key).known(object.siblings().iter().map(|sibling| sibling.dot));
            let held = model.names(key, live);
            return Err(lost(model, key, index, &format!("in the end n{node} has never seen it; it holds {held}")));
        }
    }
    Ok(compared)
}
