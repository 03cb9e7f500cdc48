//! Riak's set test: every element whose addition was acknowledged is in the union of the siblings.
//!
//! Invariant: nothing ever takes an element out, so nothing excuses one that is not there.

use super::{Verdict, acknowledged, present};
use crate::torture::history::{Key, Sibling, Write};

/// Judges one set.
pub fn judge(key: Key, writes: &[Write], found: &[Sibling], verdict: &mut Verdict) {
    let there = present(key, writes, found, verdict);
    for sibling in found {
        let mut ids = sibling.ids().to_vec();
        ids.sort_unstable();
        for twice in ids.windows(2).filter(|pair| pair[0] == pair[1]) {
            verdict.find(|verdict| &mut verdict.duplicated, key, Some(twice[0]), "stands twice in one value");
        }
    }
    for write in acknowledged(writes) {
        let id = write.id.expect("nothing is deleted from a set");
        if !there.contains_key(&id) {
            verdict.find(|verdict| &mut verdict.lost, key, Some(id), "was added, and is in no sibling");
        }
    }
}
