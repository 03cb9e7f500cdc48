//! Siblings and deletes, by what each write had seen.
//!
//! A value may go only when a write that took effect, or may have, had seen it; a write without a context may have seen
//! whatever was there before it ended. A value must go when a write that was acknowledged had seen it.
//!
//! Invariant: a write that was refused took no effect, and so excuses nothing.

use super::{Verdict, acknowledged, present};
use crate::torture::history::{Id, Key, Outcome, Sibling, Write};

/// Judges one key.
pub fn judge(key: Key, writes: &[Write], found: &[Sibling], verdict: &mut Verdict) {
    let there = present(key, writes, found, verdict);
    for (id, count) in &there {
        if *count > 1 {
            verdict.find(|verdict| &mut verdict.duplicated, key, Some(*id), "is there twice");
        }
        if let Some(by) = acknowledged(writes).find(|write| write.seen.contains(id)) {
            let what = match by.id {
                Some(by) => format!("is there, although {by} replaced it"),
                None => "is there, although it was deleted".to_owned(),
            };
            verdict.find(|verdict| &mut verdict.resurrected, key, Some(*id), &what);
        }
    }
    for write in acknowledged(writes) {
        let Some(id) = write.id else { continue };
        if !there.contains_key(&id) && !writes.iter().any(|other| may_replace(other, id, write)) {
            verdict.find(|verdict| &mut verdict.lost, key, Some(id), "is gone, and nothing had seen it");
        }
    }
}

/// Whether `other` can be why `write` is not there.
fn may_replace(other: &Write, id: Id, write: &Write) -> bool {
    other.outcome != Outcome::Refused
        && other.id != Some(id)
        && (other.seen.contains(&id) || (other.is_blind && other.ended_ns >= write.began_ns))
}
