//! How far one exchange is: what of the tree still has to be looked at.
//!
//! Differing nodes are followed in the order of the hashes, down to the finest level that both sides have; neighbouring leaves
//! that differ make one range of keys, which is compared message by message.
//!
//! Invariant: what is left are disjoint nodes in ascending order, and at most three levels of [`NODES_MAX`] times 64.

use std::ops::RangeInclusive;

use super::answers::nodes_below;
use crate::ids::{NodeId, PartitionId};
use crate::message::STEP_BITS;
use crate::store::Versions;

/// Nodes whose children's sums are asked for in one message.
const NODES_MAX: usize = 8;

/// A node of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Node {
    bits: u32,
    number: u32,
}

/// What is asked for next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// The sums of a level below the nodes in `asked`.
    Sums { parent_bits: u32, bits: u32 },
    /// The keys of a range.
    Keys(RangeInclusive<u64>),
    /// Nothing: all has been compared.
    End,
}

/// One exchange.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// The other owner.
    pub(super) peer: Option<NodeId>,
    pub(super) partition: PartitionId,
    pub(super) cut: u64,
    /// It is known to differ.
    pub(super) is_dirty: bool,
    /// Another cut was tried before: the other side's clock is behind.
    pub(super) is_retried: bool,
    /// The trees differ.
    pub(super) differs: bool,
    /// It has something to ask, and may not yet.
    pub(super) waits: bool,
    leaf_bits: u32,
    /// Differing nodes that are still to be followed, the next one last.
    left: Vec<Node>,
    /// Whose children's sums were asked for, and their levels.
    pub(super) asked: Vec<u32>,
    pub(super) levels: (u32, u32),
    /// Keys that are still to be compared.
    pub(super) range: Option<RangeInclusive<u64>>,
}

impl Comparison {
    /// Begins anew; keeps the memory.
    pub(super) fn start(&mut self, (partition, peer): (PartitionId, NodeId), cut: u64, is_dirty: bool) {
        (self.peer, self.partition, self.cut, self.is_dirty) = (Some(peer), partition, cut, is_dirty);
        (self.is_retried, self.differs, self.waits, self.leaf_bits) = (false, false, false, 0);
        self.left.clear();
        self.asked.clear();
        self.range = None;
    }

    /// The trees differ; both have leaves of this level.
    pub(super) fn descend(&mut self, leaf_bits: u32) {
        (self.leaf_bits, self.differs) = (leaf_bits, true);
        self.left.clear();
        self.left.push(Node { bits: 0, number: 0 });
    }

    /// The next step; what it asks for is no longer left, but in `asked` or `range`.
    pub(super) fn next(&mut self) -> Next {
        if let Some(range) = &self.range {
            return Next::Keys(range.clone());
        }
        let Some(&first) = self.left.last() else { return Next::End };
        if first.bits == self.leaf_bits {
            return Next::Keys(self.next_range());
        }
        self.asked.clear();
        while let Some(node) = self.left.pop_if(|node| node.bits == first.bits && self.asked.len() < NODES_MAX) {
            self.asked.push(node.number);
        }
        let bits = (first.bits + STEP_BITS).min(self.leaf_bits);
        self.levels = (first.bits, bits);
        Next::Sums { parent_bits: first.bits, bits }
    }

    /// Takes the run of neighbouring leaves that comes next.
    fn next_range(&mut self) -> RangeInclusive<u64> {
        let first = self.left.pop().expect("a leaf is left");
        let mut last = first;
        while let Some(node) = self.left.pop_if(|node| node.bits == last.bits && node.number == last.number + 1) {
            last = node;
        }
        let range = *hashes_of(first).start()..=*hashes_of(last).end();
        self.range = Some(range.clone());
        range
    }

    /// The sums of both sides below the nodes that were asked for; what differs is left. False where they are not as many.
    pub(super) fn compare(&mut self, own: &[u64], others: impl ExactSizeIterator<Item = u64>) -> bool {
        let (parent_bits, bits) = self.levels;
        if others.len() != own.len() || self.asked.is_empty() {
            return false;
        }
        let nodes = self.asked.iter().flat_map(|node| nodes_below(*node, parent_bits, bits));
        let pairs = own.iter().zip(others).zip(nodes);
        let differing = pairs.filter(|((own, other), _)| **own != *other).map(|(_, number)| Node { bits, number });
        let before = self.left.len();
        self.left.extend(differing);
        self.left[before..].reverse();
        self.asked.clear();
        true
    }

    /// Keys up to `end` have been compared.
    pub(super) fn pass(&mut self, end: u64) {
        let range = self.range.take().expect("keys were asked for");
        self.range = end.checked_add(1).filter(|next| next <= range.end()).map(|next| next..=*range.end());
    }

    /// The rest of the range is left out.
    pub(super) fn skip_range(&mut self) {
        self.range = None;
    }
}

/// The upper 64 bits of hashes below a node.
fn hashes_of(node: Node) -> RangeInclusive<u64> {
    if node.bits == 0 {
        return 0..=u64::MAX;
    }
    let from = u64::from(node.number) << (u64::BITS - node.bits);
    from..=from | u64::MAX >> node.bits
}

/// Which of the two sides lacks something of a key; each is what is known there, or nothing.
pub(super) fn lacks(own: &Versions, other: &Versions) -> (bool, bool) {
    (!own.includes(other), !other.includes(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(leaf_bits: u32) -> Comparison {
        let mut comparison = Comparison::default();
        comparison.start((7, NodeId::new(2)), 5, false);
        comparison.descend(leaf_bits);
        comparison
    }

    /// Follows the tree in which exactly these leaves differ; the ranges of keys that come of it.
    fn ranges(leaf_bits: u32, differing: &[u32]) -> Vec<RangeInclusive<u64>> {
        let mut comparison = started(leaf_bits);
        let mut ranges = Vec::new();
        loop {
            match comparison.next() {
                Next::Sums { parent_bits, bits } => {
                    let nodes: Vec<u32> =
                        comparison.asked.iter().flat_map(|node| nodes_below(*node, parent_bits, bits)).collect();
                    let differs = |node: &u32| differing.iter().any(|leaf| leaf >> (leaf_bits - bits) == *node);
                    let own: Vec<u64> = nodes.iter().map(|_| 7).collect();
                    let others: Vec<u64> = nodes.iter().map(|node| 7 + u64::from(differs(node))).collect();
                    assert!(comparison.compare(&own, others.into_iter()));
                    assert!(comparison.left.len() <= 3 * NODES_MAX * 64);
                }
                Next::Keys(range) => {
                    comparison.pass(*range.end());
                    ranges.push(range);
                }
                Next::End => return ranges,
            }
        }
    }

    #[test]
    fn neighbouring_leaves_are_one_range_and_all_are_found_in_order() {
        let leaf = |bits: u32, leaf: u64| (leaf << (64 - bits), leaf << (64 - bits) | u64::MAX >> bits);
        assert_eq!(ranges(6, &[3]), [leaf(6, 3).0..=leaf(6, 3).1]);
        assert_eq!(ranges(8, &[3, 4, 5, 200]), [leaf(8, 3).0..=leaf(8, 5).1, leaf(8, 200).0..=leaf(8, 200).1]);
        assert_eq!(ranges(16, &[0, 65_535]), [0..=leaf(16, 0).1, leaf(16, 65_535).0..=u64::MAX]);
        assert_eq!(ranges(0, &[0]), [0..=u64::MAX]);
        let all: Vec<u32> = (0..4096).collect();
        let found = ranges(12, &all);
        assert_eq!((*found[0].start(), *found[found.len() - 1].end()), (0, u64::MAX));
        assert!(found.windows(2).all(|two| two[0].end() + 1 == *two[1].start()), "nothing is left out");
        assert_eq!(ranges(14, &[]), []);
    }

    #[test]
    fn a_range_is_passed_piece_by_piece() {
        let mut comparison = started(0);
        assert_eq!(comparison.next(), Next::Keys(0..=u64::MAX));
        comparison.pass(99);
        assert_eq!(comparison.next(), Next::Keys(100..=u64::MAX));
        comparison.pass(u64::MAX);
        assert_eq!(comparison.next(), Next::End);
        assert!(!comparison.compare(&[1], [2].into_iter()), "nothing was asked for");
    }
}
