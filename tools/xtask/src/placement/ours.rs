//! Rings of made-up clusters, by the function that a node uses.
//!
//! Invariant: the same seed gives the same cluster.

use annulus_cluster::ids::NodeId;
use annulus_cluster::membership::{Announced, Endpoint, Holdings, Membership, Role, Weight, Zone};
use annulus_cluster::placement::Member;
use annulus_cluster::ring::Ring;
use annulus_object::Clock;

use super::strategies::Point;

/// Ids as nodes draw them.
fn id(seed: u64, at: u64) -> NodeId {
    let number = (seed << 20 | at).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    NodeId::checked(number >> 16).expect("no seed draws 0")
}

/// Node `at` of a cluster.
pub fn member(seed: u64, at: u64, zones: u64, weight: u16) -> Member {
    let zone = Zone::new(&format!("zone-{}", at % zones)).expect("a short name");
    Member { node: id(seed, at), weight: Weight::new(weight).expect("a weight in range"), zone }
}

/// Nodes over the zones in turn.
pub fn members(seed: u64, nodes: u64, zones: u64, weight: impl Fn(u64) -> u16) -> Vec<Member> {
    (0..nodes).map(|at| member(seed, at, zones, weight(at))).collect()
}

pub fn ring(members: &[Member], partitions: u16, copies: u8) -> Ring {
    Ring::new(Clock::ZERO, members, partitions, copies)
}

/// Mean load over the greatest of clusters of equal nodes, beside the bytes of a map that says all there is to say of each.
pub fn efficiency(nodes: u64, zones: u64, partitions: u16, copies: u8, seeds: u64) -> Point {
    let one = |seed| {
        let members = members(seed, nodes, zones, |_| 100);
        let ring = ring(&members, partitions, copies);
        let greatest = ring.loads().map(|(_, load)| load.copies).max().expect("a cluster has nodes");
        f64::from(partitions) * ring.copies() as f64 / nodes as f64 / f64::from(greatest)
    };
    let efficiencies: Vec<f64> = (0..seeds).map(one).collect();
    let bytes = map_bytes(&members(0, nodes, zones, |_| 100));
    Point::of(format!("Q = {partitions}"), bytes as f64 / 8.0, &efficiencies)
}

fn map_bytes(members: &[Member]) -> usize {
    let mut map = Membership::default();
    let clock = Clock::ZERO.next();
    for Member { node, weight, zone } in members {
        let endpoint = |port| Endpoint { host: "node-00.example.net".into(), port };
        let announced = Announced {
            peers: endpoint(17_379),
            clients: endpoint(7_379),
            cores: 8,
            incarnation: 1,
            version: 1,
            founding: 0,
            holdings: Holdings::default(),
        };
        let fits = "a cluster of this tool is small";
        map.announce(*node, clock, announced).expect(fits);
        map.set_role(*node, clock, *node, Role::Active).expect(fits);
        map.set_weight(*node, clock, *node, *weight).expect(fits);
        map.set_zone(*node, clock, *node, *zone).expect(fits);
    }
    let mut bytes = Vec::new();
    map.encode(&mut bytes);
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_grows_with_nodes_only() {
        let bytes = |nodes| efficiency(nodes, 3, 64, 3, 1).units;
        assert_eq!(bytes(60) - bytes(30), bytes(90) - bytes(60));
        assert_eq!(efficiency(30, 3, 1024, 3, 1).units, bytes(30));
    }
}
