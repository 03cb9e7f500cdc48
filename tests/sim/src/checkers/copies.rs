//! I1: when a write is acknowledged, W distinct nodes have it on stable storage, as owners or with a hint; PW of them are
//! owners. (Every store of the simulator is synchronous, so what a node has is durable and DW adds nothing to W.)

use super::{Promise, Violation};
use crate::model::{KeyIndex, Model, WriteIndex};

/// Checks a write that is being acknowledged. Gives how many copies were counted.
pub fn check(model: &Model, key: KeyIndex, write: WriteIndex, owners: u64) -> Result<u64, Violation> {
    let known = model.key(key).write(write);
    let Some(acknowledged) = known.acknowledged else { return Ok(0) };
    let quorum = acknowledged.quorum;
    let owned = (known.copies.owned | known.copies.wiped) & owners;
    let copies = owned | known.copies.hinted | known.copies.wiped;
    let (owned, copies) = (owned.count_ones(), copies.count_ones());
    let wanted = quorum.w.max(quorum.dw).max(quorum.pw);
    if copies >= u32::from(wanted) && owned >= u32::from(quorum.pw) {
        return Ok(u64::from(copies));
    }
    let name = model.name(key, write);
    let text = format!(
        "{name} is acknowledged for W={} DW={} PW={}, and {copies} nodes have it, {owned} of them owners",
        quorum.w, quorum.dw, quorum.pw
    );
    Err(Violation::new(Promise::Copies, Some(key), text))
}
