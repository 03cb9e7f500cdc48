//! I2: a node forgets a hint only when its target, or an owner that replaced the target, has it on stable storage; and the
//! hand-over leaves an acknowledged write on as many nodes as its client had asked for.

use annulus_cluster::ids::Home;
use annulus_cluster::store::Versions;

use super::{Promise, Violation};
use crate::bits::Bits;
use crate::model::{KeyIndex, Model, WriteIndex};

/// A node has forgotten `gone` of a key and has `left` now; any of `targets` should have it. Gives how many were compared.
pub fn forget(
    model: &mut Model,
    node: usize,
    key: KeyIndex,
    targets: u64,
    (gone, left): (&Versions, &[(Home, Versions)]),
) -> Result<u64, Violation> {
    let known = model.key(key);
    let live: Vec<WriteIndex> = known.known(gone.siblings.iter().map(|sibling| sibling.0)).collect();
    for &index in &live {
        // It may have confirmed, and its disk been replaced since.
        let copies = known.write(index).copies;
        if (copies.owned | copies.wiped) & targets == 0 {
            let name = model.name(key, index);
            let text = format!("n{node} forgets its hint of {name}, which the target does not have");
            return Err(Violation::new(Promise::Hints, Some(key), text));
        }
    }
    let mut kept = Bits::default();
    for (_, versions) in left.iter().filter(|(home, _)| matches!(home, Home::Hinted { .. })) {
        kept.add(&known.covered(&versions.context));
    }
    model.note_forgotten(node, key, &kept);
    for &index in &live {
        check_count(model, node, key, index)?;
    }
    Ok(live.len() as u64)
}

fn check_count(model: &Model, node: usize, key: KeyIndex, index: WriteIndex) -> Result<(), Violation> {
    let write = model.key(key).write(index);
    let Some(acknowledged) = write.acknowledged else { return Ok(()) };
    let copies = (write.copies.any() | write.copies.wiped).count_ones();
    if copies >= u32::from(acknowledged.quorum.w) {
        return Ok(());
    }
    let name = model.name(key, index);
    let text = format!(
        "{name} was acknowledged for W={}; n{node} has handed its hint over to a node that was counted as well, and now {copies} have it",
        acknowledged.quorum.w
    );
    Err(Violation::new(Promise::Hints, Some(key), text))
}
