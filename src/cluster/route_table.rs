//! The ring and who answers as one table, which a node's cores share: what the data plane asks as [`Routes`].
//!
//! A [`RouteTable`] is never changed. [`Routing`], beside the control plane, makes the next one when the ring or who answers has
//! changed, and every core gets a reference to it between two events.
//!
//! ```text
//!  RingChanged ──▶ Ring ──┐
//!                         ├──▶ Routing ──▶ Arc<RouteTable> ──▶ every core
//!  Liveness ──────────────┘
//! ```
//!
//! Who stands in for an owner: nodes that answer, by score; first those in zones of which nobody else of the list is, so that
//! a split does not put two counted copies into one zone as long as there is another. This node comes last, wherever it is not
//! among them: it can always keep a hint itself.
//!
//! Invariant: a partition's row names no node twice; its owners are the ring's, in the ring's order, whether they answer or not.

use std::collections::BTreeSet;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::ids::{Fingerprint, NodeId, PartitionId};
use crate::membership::{Membership, Zone};
use crate::node::NodeEffect;
use crate::ring::{Move, Ring};
use crate::route::Routes;

/// How many nodes stand in for the owners of a partition at most, beside this one.
pub const FALLBACKS_MAX: usize = 16;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTable {
    own: NodeId,
    fingerprint: Fingerprint,
    copies: usize,
    /// The rows, one behind the other: owners, then fallbacks.
    nodes: Vec<NodeId>,
    /// Where each row ends.
    ends: Vec<u32>,
    /// Nodes that answer, ascending, whether they own anything or not.
    up: Vec<NodeId>,
}

impl RouteTable {
    /// The table of the node `own`, of those others that are `up`.
    #[must_use]
    pub fn new(own: NodeId, ring: &Ring, up: &BTreeSet<NodeId>) -> Self {
        let partitions = usize::from(ring.partitions());
        let mut table = Self {
            own,
            fingerprint: ring.fingerprint(),
            copies: ring.copies(),
            nodes: Vec::with_capacity(partitions * (ring.copies() + FALLBACKS_MAX.min(up.len() + 1))),
            ends: Vec::with_capacity(partitions),
            up: up.iter().copied().filter(|node| *node != own).collect(),
        };
        // By place in the ring.
        let is_up: Vec<bool> = ring.loads().map(|(member, _)| table.is_up(member.node)).collect();
        let mut ranked = Vec::new();
        for partition in 0..ring.partitions() {
            table.add_row(ring, partition, &is_up, &mut ranked);
        }
        table
    }

    fn add_row(&mut self, ring: &Ring, partition: PartitionId, is_up: &[bool], ranked: &mut Vec<u16>) {
        let start = self.nodes.len();
        self.nodes.extend(ring.owners(partition));
        let placement = ring.placement();
        let mut places = &placement.stored(partition)[self.copies..];
        let enough = self.copies.min(places.len());
        let answers = |place: &&u16| is_up[usize::from(**place)];
        if places.iter().filter(answers).count() < enough && places.len() + self.copies < placement.members().len() {
            // Rare: nearly all of the best are down. The rest is not kept, but can be ranked.
            placement.ranked(partition, ranked);
            places = &ranked[self.copies..];
        }
        let owners = placement.owners(partition).iter().filter(answers);
        let mut taken: SmallVec<[Zone; 8]> = owners.map(|place| ring.member(*place).zone).collect();
        let mut others: SmallVec<[NodeId; FALLBACKS_MAX]> = SmallVec::new();
        for member in places.iter().filter(answers).take(FALLBACKS_MAX).map(|place| ring.member(*place)) {
            if taken.contains(&member.zone) {
                others.push(member.node);
            } else {
                taken.push(member.zone);
                self.nodes.push(member.node);
            }
        }
        self.nodes.extend(others);
        if !self.nodes[start..].contains(&self.own) {
            self.nodes.push(self.own);
        }
        self.ends.push(u32::try_from(self.nodes.len()).expect("at most 2^14 rows of a few dozen nodes"));
    }

    fn row(&self, partition: PartitionId) -> &[NodeId] {
        let at = usize::from(partition);
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.nodes[start as usize..self.ends[at] as usize]
    }
}

impl Routes for RouteTable {
    fn owners(&self, partition: PartitionId) -> &[NodeId] {
        &self.row(partition)[..self.copies]
    }

    fn fallbacks(&self, partition: PartitionId) -> &[NodeId] {
        &self.row(partition)[self.copies..]
    }

    fn is_up(&self, node: NodeId) -> bool {
        node == self.own || self.up.binary_search(&node).is_ok()
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// What a new ring means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingNews {
    /// Copies that have another owner now.
    pub moves: Vec<Move>,
    /// Owners of each partition.
    pub copies: usize,
    /// Owners that were wanted; where that is more, there are too few members, and whoever counts copies is to say so.
    pub wanted: usize,
}

/// Makes tables: see the module.
#[derive(Debug)]
pub struct Routing {
    own: NodeId,
    ring: Ring,
    up: BTreeSet<NodeId>,
    table: Arc<RouteTable>,
    is_stale: bool,
}

impl Routing {
    /// Nobody owns anything yet. `partitions` is a power of two; `copies` are those of the largest replication class.
    #[must_use]
    pub fn new(own: NodeId, partitions: u16, copies: u8) -> Self {
        let ring = Ring::of(&Membership::default(), partitions, copies);
        let table = Arc::new(RouteTable::new(own, &ring, &BTreeSet::new()));
        Self { own, ring, up: BTreeSet::new(), table, is_stale: false }
    }

    /// The ring of now.
    #[must_use]
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Takes note of what the control plane has found out; `map` is its map. Says what a new ring means, where there is one:
    /// maps that say different things of nodes may well have the same owners.
    pub fn on_effect(&mut self, effect: &NodeEffect, map: &Membership) -> Option<RingNews> {
        match effect {
            NodeEffect::RingChanged => {
                let copies = u8::try_from(self.ring.wanted()).expect("it was a byte");
                return self.on_ring(Ring::of(map, self.ring.partitions(), copies));
            }
            NodeEffect::Liveness { node, up: true } => self.is_stale |= self.up.insert(*node),
            NodeEffect::Liveness { node, up: false } => self.is_stale |= self.up.remove(node),
            _ => {}
        }
        None
    }

    /// The same, for a ring that was made elsewhere: one of a thousand nodes takes long enough to be made off a core's loop.
    pub fn on_ring(&mut self, ring: Ring) -> Option<RingNews> {
        let is_same = ring.fingerprint() == self.ring.fingerprint();
        // Zones that have other names, or weights that move nothing, change who stands in at most.
        self.is_stale |= !is_same || ring.loads().map(|load| load.0).ne(self.ring.loads().map(|load| load.0));
        let old = std::mem::replace(&mut self.ring, ring);
        let ring = &self.ring;
        (!is_same).then(|| RingNews { moves: ring.moves_from(&old), copies: ring.copies(), wanted: ring.wanted() })
    }

    /// The table of now, made anew if anything has changed: to be called when all effects of an event were told.
    pub fn table(&mut self) -> &Arc<RouteTable> {
        if std::mem::take(&mut self.is_stale) {
            self.table = Arc::new(RouteTable::new(self.own, &self.ring, &self.up));
        }
        &self.table
    }
}

#[cfg(test)]
mod tests;
