//! One slot's place: what MOVED says, and whether there is anything to say.
//!
//! Invariant: nobody is sent where it came from, or to a node that does not answer while an owner does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use annulus_cluster::membership::Announced;
use annulus_cluster::route::Routes;

use super::usable;
use crate::cluster_view::{ClusterView, MemberView};
use crate::config::Announce;
use crate::coverage::{first_up_core, reachable};
use crate::node::Node;
use crate::slot;

/// The host that a client which reached this node at `local` is told of it.
pub fn host_reached(node: &Node, local: SocketAddr) -> String {
    if let Some(host) = &node.config.announce_host {
        return host.clone();
    }
    let is_usable = |ip: &IpAddr| !ip.is_unspecified();
    let reached = local.ip().to_canonical();
    let fallback = if reached.is_ipv4() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V6(Ipv6Addr::LOCALHOST) };
    let known = [reached, node.listen.ip().to_canonical()].into_iter().find(is_usable);
    known.unwrap_or(fallback).to_string()
}

/// The host that clients are told of another node: what it announces for them, else where its peers find it. `None` where
/// neither can be used: then that by which this node was reached is as good as any.
pub(super) fn host_of(member: &MemberView, announced: &Announced) -> Option<String> {
    let address = member.address.map(|address| address.ip().to_canonical()).filter(|ip| !ip.is_unspecified());
    let told = usable(&announced.clients.host).or_else(|| usable(&announced.peers.host)).map(str::to_owned);
    told.or_else(|| address.map(|ip| ip.to_string()))
}

/// Whether a core of this node owns a slot: then it serves the slot's keys without having anybody moved.
pub fn is_owner(view: &ClusterView, node: &Node, slot: u16, core: u16) -> bool {
    let partition = slot::partition(slot, node.map.partitions());
    node.map.core_of(partition) == core && view.routes.owners(partition).contains(&view.own)
}

/// Where a client that asked this core for a key of a slot would better go, as `HOST:PORT`; `None` where it is right as it is,
/// and where cores are not announced. `local` is where the client reached this node.
pub fn advice(view: &ClusterView, node: &Node, local: SocketAddr, slot: u16, core: u16) -> Option<String> {
    if node.config.announce != Announce::Core || is_owner(view, node, slot, core) {
        return None;
    }
    let partitions = node.map.partitions();
    let target = first_up_core(view, &node.map, slot::partition(slot, partitions));
    if target.node == view.own {
        return (target.core != core).then(|| endpoint(node, local, target.core));
    }
    let member = view.member(target.node)?;
    let announced = reachable(member, partitions)?;
    let host = host_of(member, announced).unwrap_or_else(|| host_reached(node, local));
    Some(format!("{host}:{}", announced.clients.port + 1 + target.core))
}

/// Where a core of this node is reached, for a client that reached `local`.
pub fn endpoint(node: &Node, local: SocketAddr, core: u16) -> String {
    format!("{}:{}", host_reached(node, local), node.core_port(core))
}
