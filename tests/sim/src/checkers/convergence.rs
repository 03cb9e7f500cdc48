//! After healing all owners agree: the same versions, equal roots of their hash trees, no hints left anywhere, and every node
//! reads the same.
//!
//! What an owner has seen of versions that are gone may be more than what another has: it is in no tree, so no exchange finds
//! it. Should such a version still come from somewhere, the owner that takes it differs by it, and the exchange finds that.

use annulus_object::Object;

use super::{Promise, Violation};
use crate::model::{KeyIndex, Model};

fn disagree(key: Option<KeyIndex>, text: String) -> Violation {
    Violation::new(Promise::Convergence, key, text)
}

/// All owners have the same versions of a key. Gives how many were compared.
pub fn check_objects(model: &Model, key: KeyIndex, objects: &[(usize, Object)]) -> Result<u64, Violation> {
    let Some(((first, wanted), others)) = objects.split_first() else { return Ok(0) };
    let held = |object: &Object| {
        let live = model.key(key).known(object.siblings().iter().map(|sibling| sibling.dot));
        format!("{} (context {:?})", model.names(key, live), object.context())
    };
    match others.iter().find(|(_, object)| object.siblings() != wanted.siblings()) {
        None => Ok(others.len() as u64),
        Some((node, object)) => {
            let name = model.key_name(key);
            let text = format!("of {name} n{first} has {}, n{node} has {}", held(wanted), held(object));
            Err(disagree(Some(key), text))
        }
    }
}

/// All owners' trees of a partition have the same root. Gives how many were compared.
pub fn check_roots(partition: u16, roots: &[(usize, u128)]) -> Result<u64, Violation> {
    let Some(((first, wanted), others)) = roots.split_first() else { return Ok(0) };
    match others.iter().find(|(_, root)| root != wanted) {
        None => Ok(others.len() as u64),
        Some((node, root)) => Err(disagree(
            None,
            format!("the roots of partition {partition} differ: n{first} {wanted:x}, n{node} {root:x}"),
        )),
    }
}

/// Whether nobody's word counts for a key: every owner (whether it is being refilled, and what it has) has lost its disk, was not
/// refilled since, and has nothing of the key. "Not found" would be a guess then (rule S11), so a read of it fails.
#[must_use]
pub fn is_untold<'a>(mut owners: impl Iterator<Item = (bool, &'a Object)>) -> bool {
    owners.all(|(is_refilling, object)| is_refilling && object.siblings().is_empty())
}

/// A core that left a copy to an exchange has begun one because of it: its owners need not wait for their turn. Gives 1.
pub fn check_left(node: usize, core: u16, has_left_some: bool, begun: u64) -> Result<u64, Violation> {
    if !has_left_some || begun > 0 {
        return Ok(1);
    }
    let text = format!("core {core} of n{node} has left copies to an exchange, and has begun none because of them");
    Err(disagree(None, text))
}

/// Nobody keeps hints. Gives 1.
pub fn check_hints(node: usize, left: usize) -> Result<u64, Violation> {
    if left == 0 { Ok(1) } else { Err(disagree(None, format!("n{node} still keeps {left} hints"))) }
}
