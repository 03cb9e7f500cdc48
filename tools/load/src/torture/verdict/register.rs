//! A register: the newest value is there in the end.
//!
//! A write that began after another was acknowledged is newer: on the same connection always, else when more time lies
//! between them than clocks are apart.
//!
//! Invariant: a write in doubt may take effect at any time, so finding it excuses everything.

use super::{Verdict, acknowledged, present};
use crate::torture::history::{Key, Outcome, Sibling, Write};

/// Judges one key; `found` is what a GET shows, so one value at most.
pub fn judge(key: Key, writes: &[Write], found: &[Sibling], skew_ns: u64, verdict: &mut Verdict) {
    let there = present(key, writes, found, verdict);
    let shown = there.keys().next().and_then(|id| writes.iter().find(|write| write.id == Some(*id)));
    for write in acknowledged(writes) {
        let what = match shown {
            None => "was written, and nothing of ours is there".to_owned(),
            Some(shown) if is_newer(write, shown, skew_ns) => {
                format!("was written after {}, which is there", shown.id.expect("a value that was read was written"))
            }
            Some(_) => continue,
        };
        verdict.find(|verdict| &mut verdict.lost, key, write.id, &what);
    }
}

fn is_newer(write: &Write, shown: &Write, skew_ns: u64) -> bool {
    let apart = if write.connection == shown.connection { 0 } else { skew_ns };
    shown.outcome == Outcome::Acknowledged
        && write.id != shown.id
        && write.began_ns >= shown.ended_ns.saturating_add(apart)
}
