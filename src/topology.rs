//! What cluster clients are told: every core of every node as a cluster node of its own, with its own id and port, and which of
//! them have which slots. So such clients send each key straight to a core that owns it.
//!
//! ```text
//!  ClusterView ──▶ Topology ──▶ replies: CLUSTER SLOTS, SHARDS, NODES, INFO      once for each view, kept in the cache
//!              └─▶ advice: one slot's primary, for MOVED
//! ```
//!
//! The primary of a slot is the first of its owners that answers, so that clients leave a node that does not; its replicas are
//! the other owners. A [`Topology`] follows from the view alone, so nodes with the same view tell the same, but for `myself`
//! and for the host of a node that announces none: it tells the host by which the client has reached it, others its address.
//!
//! Invariant: every slot is covered exactly once, neighbouring slots with the same owners are one range, and no wildcard address
//! is ever given.

mod advice;
mod cache;
mod replies;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::Hasher;
use std::net::IpAddr;
use std::ops::Range;

use annulus_cluster::ids::{Fingerprint, NodeId};
use annulus_cluster::membership::Role;
use annulus_cluster::route::Routes;
use siphasher::sip::SipHasher13;
use smallvec::SmallVec;

use crate::cluster_view::{ClusterView, MemberView};
use crate::config::Announce;
use crate::coverage::{self, reachable};
use crate::mesh::CoreMap;
use crate::node::{Node, PEERS_PORT_OFFSET};
use crate::quorums::Quorums;
use crate::slot::SLOTS;

pub use advice::{advice, endpoint, host_reached, is_owner};
pub use cache::{Reply, TopologyCache};

/// The 40 hexadecimal digits under which a core of any node is announced: stable as long as that node's data directory is.
pub fn core_id(cluster_id: &[u8; 16], node_id: u64, core: u16) -> String {
    let mut text = String::with_capacity(40);
    for part in 0..3_u64 {
        let mut hasher = SipHasher13::new_with_keys(node_id, part);
        hasher.write(cluster_id);
        hasher.write_u16(core);
        write!(text, "{:016x}", hasher.finish()).expect("writing to a string");
    }
    text.truncate(40);
    text
}

/// The same for the shard of which a core is the primary.
pub fn shard_id(cluster_id: &[u8; 16], node_id: u64, core: u16) -> String {
    let mut shard = *cluster_id;
    shard.iter_mut().for_each(|byte| *byte ^= 0xff);
    core_id(&shard, node_id, core)
}

/// What of a node's configuration decides how the cluster is told of.
#[derive(Debug, Clone, Copy)]
pub struct Style<'a> {
    /// Names cores, together with a node's id.
    pub cluster_id: &'a [u8; 16],
    /// The partitions of this node's cores.
    pub map: &'a CoreMap,
    /// This node's base port.
    pub own_port: u16,
    /// Cores, or nodes as one each.
    pub announce: Announce,
    /// The host to tell of this node; `None` for that by which a client reached it.
    pub own_host: Option<&'a str>,
    /// What commands ask for: with fewer nodes the cluster has failed.
    pub wanted: Quorums,
}

/// A core, or with `announce = "node"` a node, as clients know it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Endpoint {
    id: String,
    /// `None`: the host by which the client has reached this node.
    host: Option<String>,
    port: u16,
    bus_port: u16,
    is_up: bool,
    is_joining: bool,
}

/// Neighbouring slots with the same owners.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SlotRange {
    first: u16,
    last: u16,
    /// Places in the list of endpoints: the primary, then the other owners in the ring's order.
    owners: SmallVec<[u32; 4]>,
}

/// How many slots have owners that answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Health {
    /// Slots all of whose owners answer.
    whole: u16,
    /// Slots of whose owners some answer.
    partly: u16,
    /// Slots none of whose owners answers.
    none: u16,
    /// Every partition has an owner, and as many nodes answer as commands ask for.
    is_ok: bool,
}

/// One view as clients are told of it: see the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// By node, then by core.
    endpoints: Vec<Endpoint>,
    /// Which of them are this node's.
    own: Range<usize>,
    ranges: Vec<SlotRange>,
    health: Health,
    epoch: u64,
    fingerprint: Fingerprint,
}

impl Topology {
    /// The topology of a view.
    pub fn of(view: &ClusterView, style: &Style<'_>) -> Self {
        let mut topology = Self {
            endpoints: Vec::new(),
            own: 0..0,
            ranges: Vec::new(),
            health: Health::default(),
            epoch: view.epoch,
            fingerprint: view.routes.fingerprint(),
        };
        let mut places = BTreeMap::new();
        // This node is told of whatever the view says of it, and at its place among the others.
        let others = view.members.iter().filter(|member| member.node != view.own && member.role != Role::Removed);
        let mut nodes: Vec<(NodeId, Option<&MemberView>)> = others.map(|member| (member.node, Some(member))).collect();
        nodes.push((view.own, None));
        nodes.sort_unstable_by_key(|(node, _)| *node);
        for (node, other) in nodes {
            let start = topology.endpoints.len();
            match other {
                None => topology.add_own(node, style),
                Some(other) => topology.add_other(other, style),
            }
            places.insert(node, (start, topology.endpoints.len() - start));
            if node == view.own {
                topology.own = start..topology.endpoints.len();
            }
        }
        topology.add_ranges(view, style.map.partitions(), &places);
        topology.judge(view, style);
        topology.assert_covering();
        topology
    }

    fn add_own(&mut self, own: NodeId, style: &Style<'_>) {
        let port = style.own_port;
        self.add_cores(style, style.map.cores(), &|core| Endpoint {
            id: core_id(style.cluster_id, own.raw(), core),
            host: style.own_host.map(str::to_owned),
            port: style.port(port, core),
            bus_port: port.saturating_add(PEERS_PORT_OFFSET),
            is_up: true,
            is_joining: false,
        });
    }

    /// Nothing of a node that clients cannot be sent to.
    fn add_other(&mut self, member: &MemberView, style: &Style<'_>) {
        let Some(announced) = reachable(member, style.map.partitions()) else { return };
        let host = advice::host_of(member, announced);
        self.add_cores(style, announced.cores, &|core| Endpoint {
            id: core_id(style.cluster_id, member.node.raw(), core),
            host: host.clone(),
            port: style.port(announced.clients.port, core),
            bus_port: announced.peers.port,
            is_up: member.is_up,
            is_joining: member.role == Role::Joining,
        });
    }

    fn add_cores(&mut self, style: &Style<'_>, cores: u16, endpoint: &dyn Fn(u16) -> Endpoint) {
        let told = if style.announce == Announce::Core { cores } else { 1 };
        self.endpoints.extend((0..told).map(endpoint));
    }

    /// `places` says where the endpoints of each node begin and how many there are: one core each, or one for all.
    fn add_ranges(&mut self, view: &ClusterView, partitions: u32, places: &BTreeMap<NodeId, (usize, usize)>) {
        let width = u32::from(SLOTS) / partitions;
        let place = |node: NodeId, partition: u16| {
            let (start, count) = *places.get(&node).filter(|(_, count)| *count > 0)?;
            let core =
                CoreMap::core_among(partition, partitions, u16::try_from(count).expect("cores are counted in u16"));
            Some(u32::try_from(start + usize::from(core)).expect("a cluster has fewer cores than 2^32"))
        };
        for partition in 0..u16::try_from(partitions).expect("at most 16384 partitions") {
            let primary = coverage::first_up(view, partitions, partition);
            let others = view.routes.owners(partition).iter().copied().filter(|owner| *owner != primary);
            let owners: SmallVec<[u32; 4]> =
                std::iter::once(primary).chain(others).filter_map(|owner| place(owner, partition)).collect();
            let first = u32::from(partition) * width;
            let last = u16::try_from(first + width - 1).expect("below 16384");
            match self.ranges.last_mut() {
                Some(range) if range.owners == owners => range.last = last,
                _ => self.ranges.push(SlotRange { first: u16::try_from(first).expect("below 16384"), last, owners }),
            }
        }
    }

    fn judge(&mut self, view: &ClusterView, style: &Style<'_>) {
        let width = SLOTS / u16::try_from(style.map.partitions()).expect("at most 16384 partitions");
        for partition in 0..SLOTS / width {
            let owners = view.routes.owners(partition);
            let up = owners.iter().filter(|owner| view.routes.is_up(**owner)).count();
            let count = match up {
                0 => &mut self.health.none,
                up if up < owners.len() => &mut self.health.partly,
                _ => &mut self.health.whole,
            };
            *count += width;
        }
        let in_force = style.wanted.in_force(view);
        let up = view.active().filter(|member| view.routes.is_up(member.node)).count();
        let is_enough = up >= usize::from(in_force.read.max(in_force.write));
        self.health.is_ok = view.has_owners() && is_enough;
    }

    fn assert_covering(&self) {
        let mut next = 0;
        for range in &self.ranges {
            assert!(range.first == next && range.last >= next, "slots are covered once, in order");
            assert!(!range.owners.is_empty(), "every slot has somebody who answers");
            next = range.last + 1;
        }
        assert_eq!(next, SLOTS, "every slot is covered");
    }

    /// The endpoint that a core of this node is part of.
    fn own_place(&self, core: u16) -> usize {
        self.own.start + usize::from(core).min(self.own.len() - 1)
    }

    /// The id under which a core of this node is announced.
    pub fn id_of(&self, core: u16) -> &str {
        &self.endpoints[self.own_place(core)].id
    }

    /// The epoch of the slots of an endpoint; another for each, as in Redis.
    fn epoch_of(place: usize) -> usize {
        place + 1
    }

    /// Whether what is told depends on how the client has reached this node.
    fn needs_host(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.host.is_none())
    }
}

/// A host that can be given to clients: no wildcard, and not nothing.
fn usable(host: &str) -> Option<&str> {
    let is_wildcard = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    (!host.is_empty() && !is_wildcard).then_some(host)
}

impl<'a> Style<'a> {
    /// The port of a core of a node whose base port is given, or that of the whole node.
    fn port(&self, base: u16, core: u16) -> u16 {
        if self.announce == Announce::Core { base + 1 + core } else { base }
    }

    /// As a node is configured.
    pub fn of(node: &'a Node) -> Self {
        Self {
            cluster_id: &node.cluster_id,
            map: &node.map,
            own_port: node.listen.port(),
            announce: node.config.announce,
            own_host: node.config.announce_host.as_deref(),
            wanted: node.wanted,
        }
    }
}
