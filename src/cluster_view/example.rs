//! Views for tests: as many nodes as a test wants, each at an address of its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use annulus_cluster::ids::NodeId;
use annulus_cluster::membership::{Announced, Endpoint, Holdings, Role, Weight, Zone};
use annulus_cluster::placement::Member;
use annulus_cluster::ring::Ring;
use annulus_cluster::route_table::RouteTable;
use annulus_object::Clock;

use super::{ClusterView, MemberView};

/// Node `number` at 10.0.0.`number`, whose clients' port is 7379; it announces no host for clients.
pub(crate) fn member(number: u8, cores: u16, role: Role, is_up: bool) -> MemberView {
    let host = format!("10.0.0.{number}");
    MemberView {
        node: NodeId::new(number.into()),
        role,
        weight: Weight::default(),
        zone: Zone::default(),
        announced: Some(Announced {
            peers: Endpoint { host: host.clone().into(), port: 17_379 },
            clients: Endpoint { host: "".into(), port: 7379 },
            cores,
            incarnation: 1,
            version: 1,
            founding: 0,
            holdings: Holdings::default(),
        }),
        address: Some(format!("{host}:17379").parse().expect("an address")),
        is_up,
    }
}

/// What the node `own` sees of these members.
pub(crate) fn view(own: u8, number: u64, partitions: u16, copies: u8, members: &[MemberView]) -> ClusterView {
    let own = NodeId::new(own.into());
    let active = members.iter().filter(|member| member.role == Role::Active);
    let placed: Vec<Member> =
        active.map(|member| Member { node: member.node, weight: member.weight, zone: member.zone }).collect();
    let ring = Ring::new(Clock::ZERO, &placed, partitions, copies);
    let up: BTreeSet<NodeId> = members.iter().filter(|member| member.is_up).map(|member| member.node).collect();
    ClusterView {
        number,
        own,
        routes: Arc::new(RouteTable::new(own, &ring, &up)),
        members: members.to_vec(),
        epoch: 1_000_000,
        copies: ring.copies(),
        wanted: copies.into(),
    }
}
