//! The cluster as this node sees it now: who is there, who owns what, who answers. The control plane makes a new one whenever
//! any of that changes; whoever serves clients looks at the newest.
//!
//! ```text
//!  control plane ──▶ publish ──▶ SharedView ──▶ every core, between two turns; HTTP; INFO
//! ```
//!
//! Invariant: a view is never changed after it was published, and a later view never has a smaller number.

#[cfg(test)]
pub(crate) mod example;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use annulus_cluster::ids::NodeId;
use annulus_cluster::membership::{Announced, Entry, Membership, Role, Weight, Zone};
use annulus_cluster::ring::Ring;
use annulus_cluster::route::Routes;
use annulus_cluster::route_table::RouteTable;
use annulus_object::Clock;

use crate::config::Config;
use crate::control;

/// One node of the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// Which.
    pub node: NodeId,
    /// What operators have made of it.
    pub role: Role,
    /// How much it takes, compared with others.
    pub weight: Weight,
    /// What it fails together with.
    pub zone: Zone,
    /// What it says of itself; `None` while only operators have spoken of it.
    pub announced: Option<Announced>,
    /// Where its peers' port is, once its name is resolved.
    pub address: Option<SocketAddr>,
    /// It answers. This node always does.
    pub is_up: bool,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct ClusterView {
    /// Grows with every view of this process; the first has 1.
    pub number: u64,
    /// This node.
    pub own: NodeId,
    /// Who owns what, and who stands in.
    pub routes: Arc<RouteTable>,
    /// Ascending by node, this one among them; forgotten ones are not.
    pub members: Vec<MemberView>,
    /// The largest clock of the map, raw: what the map's epoch is.
    pub epoch: u64,
    /// Copies of a key: as many as the ring has members for.
    pub copies: usize,
    /// Copies that are wanted (N).
    pub wanted: usize,
}

impl ClusterView {
    /// The member of that number.
    pub fn member(&self, node: NodeId) -> Option<&MemberView> {
        let at = self.members.binary_search_by_key(&node, |member| member.node).ok()?;
        self.members.get(at)
    }

    /// True when this node owns everything alone: nobody else has a copy, and nobody else can be asked.
    pub fn is_alone(&self) -> bool {
        self.members.iter().all(|member| member.node == self.own || member.role == Role::Removed)
    }

    /// True when there is an owner of every partition.
    pub fn has_owners(&self) -> bool {
        !self.routes.owners(0).is_empty()
    }

    /// Members that own something, or are to.
    pub fn active(&self) -> impl Iterator<Item = &MemberView> {
        self.members.iter().filter(|member| member.role == Role::Active)
    }
}

/// The view of a node without a cluster, or before its control plane has made one: it is Active and owns everything.
pub fn alone(config: &Config, node: u64, incarnation: u16, cores: u16) -> ClusterView {
    let own = NodeId::new(node);
    let mut map = Membership::default();
    let room = "an empty map takes a node";
    let first = Clock::from_raw(1).expect("a small number is a clock");
    map.set_role(own, first, own, Role::Active).expect(room);
    map.announce(own, first, control::announced(config, incarnation, cores)).expect(room);
    let partitions = u16::try_from(config.partitions).expect("validated: at most 16384 partitions");
    let ring = Ring::of(&map, partitions, config.quorums.copies);
    let routes = Arc::new(RouteTable::new(own, &ring, &BTreeSet::new()));
    ClusterView::of(1, own, &map, routes, &ring, |_| None)
}

impl ClusterView {
    /// The view of a map; `address` gives what names were resolved to.
    pub fn of(
        number: u64,
        own: NodeId,
        map: &Membership,
        routes: Arc<RouteTable>,
        ring: &Ring,
        address: impl Fn(NodeId) -> Option<SocketAddr>,
    ) -> Self {
        let member = |(node, entry): (NodeId, &Entry)| MemberView {
            node,
            role: entry.role(),
            weight: entry.weight(),
            zone: entry.zone(),
            address: entry.announced().and_then(|announced| announced.peers.literal()).or_else(|| address(node)),
            announced: entry.announced().cloned(),
            is_up: routes.is_up(node),
        };
        let (epoch, copies, wanted) = (map.epoch().raw(), ring.copies(), ring.wanted());
        let members = map.iter().map(member).collect();
        Self { number, own, routes, members, epoch, copies, wanted }
    }
}

/// Where the newest view is.
#[derive(Debug)]
pub struct SharedView {
    newest: Mutex<Arc<ClusterView>>,
    /// Of the newest view, so that looking whether there is a newer one costs a load.
    number: AtomicU64,
}

impl SharedView {
    /// The first view.
    pub fn new(view: ClusterView) -> Self {
        Self { number: AtomicU64::new(view.number), newest: Mutex::new(Arc::new(view)) }
    }

    /// The newest view.
    pub fn get(&self) -> Arc<ClusterView> {
        Arc::clone(&self.newest.lock().expect("a panic ends the process"))
    }

    /// The newest view, if it is newer than that number.
    #[inline]
    pub fn newer_than(&self, number: u64) -> Option<Arc<ClusterView>> {
        (self.number.load(Ordering::Acquire) > number).then(|| self.get())
    }

    /// Replaces the view by a newer one, asserted.
    pub fn publish(&self, view: ClusterView) {
        let number = view.number;
        let mut newest = self.newest.lock().expect("a panic ends the process");
        assert!(number > newest.number, "views are numbered in their order");
        *newest = Arc::new(view);
        self.number.store(number, Ordering::Release);
    }
}
