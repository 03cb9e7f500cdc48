//! Who owns what: the ring that production makes of members with weights and zones drawn by seed.
//!
//! Invariant: nodes are named by their place in the world here; node `i` has the id `i + 1`.

use annulus_cluster::ids::{NodeId, PartitionId};
use annulus_cluster::membership::{Weight, Zone};
use annulus_cluster::placement::Member;
use annulus_cluster::ring::Ring as Placed;
use annulus_object::Clock;

use crate::seeds::{Consumer, Random};

/// The ring of a run.
#[derive(Debug, Clone)]
pub struct Ring {
    placed: Placed,
    owners: Vec<Vec<usize>>,
}

impl Ring {
    /// The ring of a seed.
    #[must_use]
    pub fn new(seed: u64, partitions: u16, nodes: usize, owners: usize) -> Self {
        let mut random = Random::new(seed, Consumer::Placement, 0);
        let zones = random.between(1, 4);
        let mut member = |node| {
            let weight = Weight::new(*random.pick(&[50, 100, 100, 200])).expect("a weight");
            let zone = Zone::new(&format!("z{}", random.between(1, zones))).expect("a short name");
            Member { node: node_id(node), weight, zone }
        };
        let members: Vec<Member> = (0..nodes).map(&mut member).collect();
        let copies = u8::try_from(owners).expect("few copies");
        let placed = Placed::new(Clock::ZERO, &members, partitions, copies);
        let owners_of = |partition| placed.owners(partition).map(place_of).collect();
        let owners = (0..partitions).map(owners_of).collect();
        Self { placed, owners }
    }

    /// As production has it.
    #[must_use]
    pub fn placed(&self) -> &Placed {
        &self.placed
    }

    /// The owners, the best first.
    #[must_use]
    pub fn owners(&self, partition: PartitionId) -> &[usize] {
        &self.owners[usize::from(partition)]
    }

    /// The owners, one bit each.
    #[must_use]
    pub fn owner_bits(&self, partition: PartitionId) -> u64 {
        self.owners(partition).iter().fold(0, |bits, node| bits | 1 << node)
    }

    /// How many partitions there are.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.placed.partitions()
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
