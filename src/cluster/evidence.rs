//! What a read has learned: which nodes have which versions of the key, and the objects that were read so far, merged.
//!
//! As long as all nodes have what this node had when the read began, comparing bytes is all there is to it. Versions become
//! values only where they differ.
//!
//! Invariant: `have` is what is known of `object`, which is the merge of what nodes really had.

use annulus_object::{ContextView, Dot, ObjectView};
use smallvec::SmallVec;

use crate::compose::shrink;
use crate::ids::NodeId;
use crate::mutation::{Mutation, mutated};
use crate::put::merge_into;
use crate::versions::{Versions, VersionsView, encode_of_object};

/// Nodes of one key; seldom more.
pub(crate) type Nodes = SmallVec<[NodeId; 8]>;

/// A node whose versions are not those that this node had when the read began.
#[derive(Debug)]
struct Witness {
    node: NodeId,
    versions: Versions,
    is_fetched: bool,
}

/// What is known.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// Encoded versions that this node had at the start, and who has just these.
    reference: Vec<u8>,
    same: Nodes,
    is_same_fetched: bool,
    others: SmallVec<[Witness; 2]>,
    /// What was read and fetched so far, merged; its encoded versions.
    object: Vec<u8>,
    have: Vec<u8>,
    /// Scratch.
    encoded: Vec<u8>,
}

impl Evidence {
    /// Begins with what this node's store says of the key.
    pub(crate) fn start(&mut self, versions: &Versions) {
        self.reference.clear();
        versions.encode(&mut self.reference);
        self.same.clear();
        self.is_same_fetched = false;
        self.others.clear();
        self.object.clear();
        self.look_at_object();
    }

    /// The merged object; empty where there is none.
    pub(crate) fn object(&self) -> &[u8] {
        &self.object
    }

    /// Whether what was read so far has seen the dot.
    pub(crate) fn covers(&self, dot: Dot) -> bool {
        covers(&self.have, dot)
    }

    /// Whether this node had seen it when the read began.
    pub(crate) fn began_with(&self, dot: Dot) -> bool {
        covers(&self.reference, dot)
    }

    /// A node has told its versions.
    pub(crate) fn see(&mut self, node: NodeId, versions: VersionsView<'_>) {
        let known = self.others.iter().position(|witness| witness.node == node);
        if (versions.bytes() == self.reference || self.is_taken_for_same(versions)) && known.is_none() {
            if !self.same.contains(&node) {
                self.same.push(node);
            }
            return;
        }
        self.same.retain(|same| *same != node);
        let index = known.unwrap_or_else(|| {
            self.others.push(Witness { node, versions: Versions::default(), is_fetched: false });
            self.others.len() - 1
        });
        versions.copy_to(&mut self.others[index].versions);
    }

    /// A deliberate bug: equal newest dots are taken for equal versions.
    fn is_taken_for_same(&self, versions: VersionsView<'_>) -> bool {
        let newest = |versions: &Versions| versions.siblings.last().map(|(dot, _)| *dot);
        let mut told = Versions::default();
        mutated(Mutation::ReadComparesHighestDot) && {
            versions.copy_to(&mut told);
            newest(&told) == newest(&versions_of(&self.reference))
        }
    }

    /// A node has given an object, empty where it has none; false when it does not decode.
    pub(crate) fn see_object(&mut self, node: NodeId, object: &[u8]) -> bool {
        if mutated(Mutation::ReadDoesNotMerge) {
            self.object.clear();
        }
        let mut encoded = std::mem::take(&mut self.encoded);
        encoded.clear();
        match ObjectView::check(object) {
            _ if object.is_empty() => Versions::default().encode(&mut encoded),
            Ok(view) => encode_of_object(view, &mut encoded),
            Err(_) => {}
        }
        let is_valid = VersionsView::check(&encoded).map(|versions| self.see(node, versions)).is_ok();
        self.encoded = encoded;
        is_valid && self.add(object)
    }

    /// Merges an object, whoever had it.
    pub(crate) fn add(&mut self, object: &[u8]) -> bool {
        let is_merged = merge_into(&mut self.object, object);
        self.look_at_object();
        is_merged
    }

    fn look_at_object(&mut self) {
        self.have.clear();
        if self.object.is_empty() {
            Versions::default().encode(&mut self.have);
        } else {
            encode_of_object(ObjectView::check(&self.object).expect("merged here"), &mut self.have);
        }
    }

    fn is_unanimous(&self) -> bool {
        self.others.is_empty() && self.have == self.reference
    }

    /// The nodes that have more than was read so far and are to be asked for it now; `None` when nothing is missing.
    pub(crate) fn missing(&mut self, own: NodeId) -> Option<Nodes> {
        if self.is_unanimous() {
            return None;
        }
        let have = versions_of(&self.have);
        let is_missing = |versions: &Versions| !have.includes(versions);
        let reference = versions_of(&self.reference);
        let same = self.same.iter().copied().find(|same| *same != own).filter(|_| is_missing(&reference));
        if same.is_none() && !self.others.iter().any(|witness| is_missing(&witness.versions)) {
            return None;
        }
        // What is asked of one need not be asked of another.
        let mut coming = have.clone();
        let asked = self.others.iter().filter(|witness| witness.is_fetched);
        asked.for_each(|witness| coming.merge(&witness.versions));
        let mut fetched = Nodes::new();
        if let Some(same) = same {
            if !self.is_same_fetched {
                self.is_same_fetched = true;
                fetched.push(same);
            }
            coming.merge(&reference);
        }
        for witness in self.others.iter_mut().filter(|witness| witness.node != own && !witness.is_fetched) {
            if !coming.includes(&witness.versions) {
                coming.merge(&witness.versions);
                witness.is_fetched = true;
                fetched.push(witness.node);
            }
        }
        Some(fetched)
    }

    /// A node to be asked for its object while the own disk does not tell; `None` while one is asked, or none has told.
    pub(crate) fn instead_of(&mut self, own: NodeId) -> Option<NodeId> {
        if self.is_same_fetched || self.others.iter().any(|witness| witness.is_fetched) {
            return None;
        }
        if let Some(same) = self.same.iter().copied().find(|same| *same != own) {
            self.is_same_fetched = true;
            return Some(same);
        }
        let witness = self.others.iter_mut().find(|witness| witness.node != own)?;
        witness.is_fetched = true;
        Some(witness.node)
    }

    /// Whether a node was asked for its object.
    pub(crate) fn is_fetched(&self, node: NodeId) -> bool {
        self.others.iter().any(|witness| witness.node == node && witness.is_fetched)
            || (self.is_same_fetched && self.same.contains(&node))
    }

    /// A node cannot give what it told of.
    pub(crate) fn lose(&mut self, node: NodeId) {
        self.same.retain(|same| *same != node);
        self.others.retain(|witness| witness.node != node);
        self.is_same_fetched = false;
    }

    /// Who told of something that did not come does not count any more: these nodes.
    pub(crate) fn lose_missing(&mut self) -> Nodes {
        let have = versions_of(&self.have);
        let is_missing = |versions: &Versions| !have.includes(versions);
        let others = self.others.iter().filter(|witness| is_missing(&witness.versions)).map(|witness| witness.node);
        let mut missing: Nodes = others.collect();
        if is_missing(&versions_of(&self.reference)) {
            missing.extend(self.same.iter().copied());
        }
        missing.iter().for_each(|node| self.lose(*node));
        missing
    }

    /// Those of the nodes that lack something of the object; none as long as something is missing from it.
    pub(crate) fn stale(&self, nodes: impl Iterator<Item = NodeId>) -> Nodes {
        if self.object.is_empty() || self.is_unanimous() {
            return Nodes::new();
        }
        let have = versions_of(&self.have);
        if self.others.iter().any(|witness| !have.includes(&witness.versions)) {
            return Nodes::new();
        }
        let are_same_stale = self.have != self.reference;
        let is_stale = |node: &NodeId| match self.others.iter().find(|witness| witness.node == *node) {
            Some(witness) => witness.versions != have,
            None => are_same_stale && self.same.contains(node),
        };
        nodes.filter(is_stale).collect()
    }

    /// The end: large buffers go back.
    pub(crate) fn shrink(&mut self, keep: usize) {
        shrink(&mut self.object, keep);
    }
}

fn covers(versions: &[u8], dot: Dot) -> bool {
    ContextView::check_prefix(versions).is_ok_and(|(context, _)| context.covers(dot))
}

fn versions_of(encoded: &[u8]) -> Versions {
    let mut versions = Versions::default();
    VersionsView::check(encoded).expect("encoded here").copy_to(&mut versions);
    versions
}
