//! What moves when a node joins or leaves.
//!
//! Invariant: the ideal is the fair share of the node that comes or goes, by weight and zones.

use std::collections::BTreeSet;

use annulus_cluster::ids::NodeId;
use annulus_cluster::placement::Member;
use annulus_cluster::ring::Ring;

use super::ours;

/// Weights of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    Equal,
    /// Every third node has twice the weight of the others.
    Mixed,
}

/// Partitions, nodes, zones, weights; and whether moves are promised to stay within bounds: they are for equal nodes, as many in each
/// zone, with about a hundred partitions for each and 4096 for clusters of more than 24 nodes.
pub const CASES: [(u16, u64, u64, Weights, bool); 15] = [
    (1024, 5, 1, Weights::Equal, true),
    (1024, 6, 3, Weights::Equal, true),
    (1024, 12, 3, Weights::Equal, true),
    (1024, 24, 6, Weights::Equal, true),
    (4096, 24, 6, Weights::Equal, true),
    (1024, 30, 1, Weights::Equal, true),
    (1024, 30, 3, Weights::Equal, true),
    (4096, 30, 3, Weights::Equal, true),
    (4096, 30, 5, Weights::Equal, true),
    (16_384, 100, 5, Weights::Equal, true),
    (4096, 100, 5, Weights::Equal, false),
    (4096, 13, 4, Weights::Equal, false),
    (4096, 11, 2, Weights::Equal, false),
    (4096, 24, 3, Weights::Mixed, false),
    (4096, 30, 1, Weights::Mixed, false),
];

/// Over several clusters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    pub mean: f64,
    pub worst: f64,
}

/// One case.
#[derive(Debug, Clone, PartialEq)]
pub struct Changes {
    pub join: Ratio,
    pub leave: Ratio,
    /// Of any node in any of the rings.
    pub load: f64,
    /// Partitions with copies in fewer zones than there could be.
    pub violations: usize,
}

impl Weights {
    pub fn name(self) -> &'static str {
        match self {
            Weights::Equal => "equal",
            Weights::Mixed => "1 and 2",
        }
    }

    fn of(self, at: u64) -> u16 {
        if self == Weights::Mixed && at.is_multiple_of(3) { 200 } else { 100 }
    }
}

impl Ratio {
    fn of(ratios: &[f64]) -> Ratio {
        let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
        Ratio { mean, worst: ratios.iter().copied().fold(0.0, f64::max) }
    }
}

impl Changes {
    /// In each of `seeds` clusters one node joins, and then another one of those before leaves instead.
    pub fn measure(partitions: u16, nodes: u64, zones: u64, weights: Weights, copies: u8, seeds: u64) -> Changes {
        let (mut joins, mut leaves, mut load, mut violations) = (Vec::new(), Vec::new(), 0.0, 0);
        for seed in 0..seeds {
            let members = ours::members(seed, nodes, zones, |at| weights.of(at));
            let before = ours::ring(&members, partitions, copies);
            let newcomer = ours::member(seed, nodes, zones, weights.of(nodes));
            let joined = ours::ring(&[&members[..], &[newcomer]].concat(), partitions, copies);
            joins.push(moved(&before, &joined) / share(&joined, newcomer.node));
            let mut rest = members.clone();
            let leaver = rest.remove((seed * 7 % nodes) as usize);
            let left = ours::ring(&rest, partitions, copies);
            leaves.push(moved(&before, &left) / share(&before, leaver.node));
            for ring in [&before, &joined, &left] {
                load = greatest_load(ring).max(load);
                violations += zone_violations(ring);
            }
        }
        Changes { join: Ratio::of(&joins), leave: Ratio::of(&leaves), load, violations }
    }
}

fn moved(before: &Ring, after: &Ring) -> f64 {
    after.moves_from(before).iter().filter(|step| step.to.is_some()).count() as f64
}

fn share(ring: &Ring, node: NodeId) -> f64 {
    let (_, load) = ring.loads().find(|(member, _)| member.node == node).expect("the node is a member");
    load.share_per_mille as f64 / 1000.0
}

fn greatest_load(ring: &Ring) -> f64 {
    let loads = ring.loads().map(|(_, load)| f64::from(load.copies) * 1000.0 / load.share_per_mille as f64);
    loads.fold(0.0, f64::max)
}

fn zone_violations(ring: &Ring) -> usize {
    let zones: BTreeSet<_> = ring.loads().map(|(member, _)| member.zone).collect();
    let members: Vec<Member> = ring.loads().map(|(member, _)| *member).collect();
    let zone = |node| members[members.partition_point(|member| member.node < node)].zone;
    let possible = zones.len().min(ring.copies());
    let has = |partition| ring.owners(partition).map(zone).collect::<BTreeSet<_>>().len();
    (0..ring.partitions()).filter(|partition| has(*partition) < possible).count()
}
