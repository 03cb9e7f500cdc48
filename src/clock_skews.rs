//! How far the clocks of other nodes are from this node's, as they were when a connection to them began: for whoever runs the
//! cluster. Nothing is decided by it.
//!
//! Invariant: at most `NODES_MAX` nodes are kept in mind.

use std::collections::BTreeMap;
use std::sync::Mutex;

use annulus_cluster::ids::NodeId;
use annulus_cluster::limits::MEMBERS_MAX;

/// As many as a map can name.
const NODES_MAX: usize = MEMBERS_MAX;
/// From here on clocks count as apart, and the log says so: more than a network adds to what is measured, and far more than
/// clocks differ by that are kept in time. Milliseconds.
pub const APART_MS: u64 = 500;

/// See the module.
#[derive(Debug, Default)]
pub struct ClockSkews {
    skews_ms: Mutex<BTreeMap<NodeId, i64>>,
}

impl ClockSkews {
    /// A node's clock has been seen to be so many milliseconds ahead of this one's; behind it, if negative. True when that is
    /// [`APART_MS`] or more, and was not when it was noted before: worth a line in the log.
    pub fn note(&self, node: NodeId, skew_ms: i64) -> bool {
        let mut skews = self.skews_ms.lock().expect("a panic ends the process");
        if skews.len() >= NODES_MAX && !skews.contains_key(&node) {
            skews.pop_first();
        }
        let is_apart = |skew_ms: i64| skew_ms.unsigned_abs() >= APART_MS;
        let before = skews.insert(node, skew_ms);
        is_apart(skew_ms) && !before.is_some_and(is_apart)
    }

    /// What was noted last; `None` for a node that was never connected.
    pub fn of(&self, node: NodeId) -> Option<i64> {
        self.skews_ms.lock().expect("a panic ends the process").get(&node).copied()
    }

    /// By how much the clock that is farthest from this one is off, ahead or behind, in milliseconds; of those that `counts`
    /// names.
    pub fn farthest_ms(&self, counts: impl Fn(NodeId) -> bool) -> u64 {
        let skews = self.skews_ms.lock().expect("a panic ends the process");
        let of_those = skews.iter().filter(|(node, _)| counts(**node));
        of_those.map(|(_, skew_ms)| skew_ms.unsigned_abs()).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_counts_and_they_are_bounded() {
        let skews = ClockSkews::default();
        let node = |number: usize| NodeId::new(number as u64 + 1);
        assert_eq!(skews.of(node(0)), None);
        skews.note(node(1), 7);
        skews.note(node(1), -120_000);
        assert_eq!(skews.of(node(1)), Some(-120_000));
        for number in 0..NODES_MAX + 5 {
            skews.note(node(number), 1);
        }
        assert_eq!(skews.skews_ms.lock().unwrap().len(), NODES_MAX);
        assert_eq!(skews.of(node(NODES_MAX + 4)), Some(1));
    }

    #[test]
    fn clocks_that_come_apart_are_news_once() {
        let skews = ClockSkews::default();
        let (near, far) = (NodeId::new(1), NodeId::new(2));
        assert!(!skews.note(near, APART_MS as i64 - 1) && !skews.note(near, 1 - APART_MS as i64));
        assert!(skews.note(far, -300_000) && !skews.note(far, -300_001) && !skews.note(far, 300_000));
        assert!(!skews.note(far, 0) && skews.note(far, APART_MS as i64));
        assert_eq!((skews.farthest_ms(|_| true), skews.farthest_ms(|node| node == near)), (APART_MS, APART_MS - 1));
        assert_eq!(skews.farthest_ms(|_| false), 0);
    }
}
