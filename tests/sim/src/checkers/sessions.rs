//! A session reads its writes: an answer holds, or has replaced, what the same connection wrote to the key last.

use annulus_object::Object;

use super::{Promise, Violation};
use crate::model::{Model, OpId};

/// Checks what a read has found. Gives how many writes were compared.
pub fn check(model: &Model, op: OpId, object: &Object) -> Result<u64, Violation> {
    let known = model.op(op);
    let Some(own) = known.own_last else { return Ok(0) };
    if object.context().covers(model.key(known.key).write(own).dot) {
        return Ok(1);
    }
    let text = format!("#{op} reads without {}, which its own connection wrote", model.name(known.key, own));
    Err(Violation::new(Promise::Sessions, Some(known.key), text))
}
