//! Who owns what: for every partition all nodes in an order of preference, the first N of them its owners.
//!
//! Invariant: nodes are named by their place in the world here; node `i` has the id `i + 1`.

use annulus_cluster::ids::{NodeId, PartitionId};

use crate::seeds::{Consumer, Random};

/// Orders of preference.
#[derive(Debug, Clone)]
pub struct Ring {
    preference: Vec<Vec<usize>>,
    ids: Vec<Vec<NodeId>>,
    owners: usize,
}

impl Ring {
    /// The ring of a seed.
    #[must_use]
    pub fn new(seed: u64, partitions: u16, nodes: usize, owners: usize) -> Self {
        let mut random = Random::new(seed, Consumer::Placement, 0);
        let mut order = || {
            let mut order: Vec<usize> = (0..nodes).collect();
            random.shuffle(&mut order);
            order
        };
        let preference: Vec<Vec<usize>> = (0..partitions).map(|_| order()).collect();
        let ids = preference.iter().map(|order| order.iter().map(|node| node_id(*node)).collect()).collect();
        Self { preference, ids, owners: owners.min(nodes) }
    }

    /// All nodes, the best first.
    #[must_use]
    pub fn preference(&self, partition: PartitionId) -> &[usize] {
        &self.preference[usize::from(partition)]
    }

    /// The owners, the best first.
    #[must_use]
    pub fn owners(&self, partition: PartitionId) -> &[usize] {
        &self.preference(partition)[..self.owners]
    }

    /// The ids of the owners, the best first.
    #[must_use]
    pub fn owner_ids(&self, partition: PartitionId) -> &[NodeId] {
        &self.ids[usize::from(partition)][..self.owners]
    }

    /// The ids of all others, the best first.
    #[must_use]
    pub fn other_ids(&self, partition: PartitionId) -> &[NodeId] {
        &self.ids[usize::from(partition)][self.owners..]
    }

    /// The owners, one bit each.
    #[must_use]
    pub fn owner_bits(&self, partition: PartitionId) -> u64 {
        self.owners(partition).iter().fold(0, |bits, node| bits | 1 << node)
    }

    /// How many partitions there are.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        u16::try_from(self.preference.len()).expect("partitions are numbered in 16 bits")
    }
}

/// The id of a node.
#[must_use]
pub fn node_id(node: usize) -> NodeId {
    NodeId::new(node as u64 + 1)
}

/// The place of a node in the world.
#[must_use]
pub fn place_of(id: NodeId) -> usize {
    usize::try_from(id.raw() - 1).expect("a world is small")
}
