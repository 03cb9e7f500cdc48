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

/// See the module.
#[derive(Debug, Default)]
pub struct ClockSkews {
    skews_ms: Mutex<BTreeMap<NodeId, i64>>,
}

impl ClockSkews {
    /// A node's clock has been seen to be so many milliseconds ahead of this one's; behind it, if negative.
    pub fn note(&self, node: NodeId, skew_ms: i64) {
        let mut skews = self.skews_ms.lock().expect("a panic ends the process");
        if skews.len() >= NODES_MAX && !skews.contains_key(&node) {
            skews.pop_first();
        }
        skews.insert(node, skew_ms);
    }

    /// What was noted last; `None` for a node that was never connected.
    pub fn of(&self, node: NodeId) -> Option<i64> {
        self.skews_ms.lock().expect("a panic ends the process").get(&node).copied()
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
        (0..NODES_MAX + 5).for_each(|number| skews.note(node(number), 1));
        assert_eq!(skews.skews_ms.lock().unwrap().len(), NODES_MAX);
        assert_eq!(skews.of(node(NODES_MAX + 4)), Some(1));
    }
}
