//! Strict quorums read the latest acknowledged write: where owners alone count, and those that acknowledged a write and those
//! that are asked must have one in common (PR + PW > N), an answer holds or has replaced every write that was acknowledged
//! before the read began.
//!
//! It is promised for stable rings, and a node that has lost its disk counts for nothing until it is refilled (rule S11); writes
//! that lost more than one of their copies are left out.

use annulus_object::Object;

use super::{Promise, Violation};
use crate::model::{Model, OpId};

/// Checks what a read has found. Gives how many writes were compared.
pub fn check(model: &Model, op: OpId, object: &Object) -> Result<u64, Violation> {
    let known = model.op(op);
    let settled = model.settled_before(known.key, known.invoked, known.quorum.pr, known.quorum.n);
    let mut compared = 0;
    for index in settled.must.iter() {
        compared += 1;
        let write = model.key(known.key).write(index);
        if !object.context().covers(write.dot) {
            let name = model.name(known.key, index);
            let text =
                format!("#{op} asks {} owners and misses {name}, which was acknowledged before", known.quorum.pr);
            return Err(Violation::new(Promise::StrictReads, Some(known.key), text));
        }
    }
    Ok(compared)
}
