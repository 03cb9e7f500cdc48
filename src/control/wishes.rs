//! What a node wants of its own accord: to be found by its seeds, to be in its zone, to found a cluster, or to be one alone.
//!
//! Invariant: a node asks for its own role only as a founder, or as the first and only node that its map ever knew.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use annulus_cluster::ids::NodeId;
use annulus_cluster::membership::{Announced, Role, Zone};
use annulus_cluster::node::{MapChange, NodeEvent};

use super::Control;
use super::founding::{self, Step};
use super::names::{Names, Wanted};
use crate::config::{ClusterConfig, Seed};
use crate::node_meta;

/// So long names of seeds are waited for before the node looks for the cluster without them.
const SEEDS_PATIENCE_US: u64 = 3_000_000;
/// Names of seeds are looked up again so often while nobody is heard.
const SEEDS_AGAIN_US: u64 = 5_000_000;
/// Between two lines of the log about a node that waits.
const LINE_US: u64 = 5_000_000;

/// A seed, and where it is.
#[derive(Debug)]
struct Sought {
    seed: Seed,
    is_named: bool,
    address: Option<SocketAddr>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Wishes {
    seeds: Vec<Sought>,
    /// They are others than the control plane knows.
    are_seeds_new: bool,
    has_joined: bool,
    begun_us: u64,
    asked_us: u64,
    zone: Option<Zone>,
    wants_alone: bool,
    has_said_joining: bool,
    next_line_us: u64,
    announced: Announced,
    /// Of members that are reached by a name.
    addresses: BTreeMap<NodeId, SocketAddr>,
}

impl Wishes {
    pub(super) fn new(cluster: &ClusterConfig, announced: Announced, now_us: u64) -> Self {
        let sought = |seed: &Seed| {
            let address = seed.host.parse().ok().map(|ip| SocketAddr::new(ip, seed.peer_port()));
            Sought { seed: seed.clone(), is_named: address.is_none(), address }
        };
        Self {
            seeds: cluster.seeds.iter().map(sought).collect(),
            are_seeds_new: true,
            has_joined: false,
            begun_us: now_us,
            asked_us: now_us,
            zone: cluster.zone,
            wants_alone: cluster.seeds.is_empty() && announced.founding == 0,
            has_said_joining: false,
            next_line_us: now_us + LINE_US,
            announced,
            addresses: BTreeMap::new(),
        }
    }

    /// Asks where seeds are that were given by name.
    pub(super) fn ask_names(&self, names: &Names) {
        for (at, sought) in self.seeds.iter().enumerate().filter(|(_, sought)| sought.is_named) {
            names.ask(Wanted::Seed(at), &sought.seed.host, sought.seed.peer_port());
        }
    }

    /// What became of that.
    pub(super) fn on_seed(&mut self, at: usize, answer: Result<SocketAddr, String>) {
        let sought = &mut self.seeds[at];
        match answer {
            Ok(address) => self.are_seeds_new |= sought.address.replace(address) != Some(address),
            Err(why) => tracing::warn!(seed = %sought.seed, why, "a seed's name has no address"),
        }
    }

    /// What this node says of itself.
    pub(super) fn announced(&self) -> &Announced {
        &self.announced
    }

    pub(super) fn set_announced(&mut self, announced: Announced) {
        self.announced = announced;
    }

    /// What a member's name was resolved to last.
    pub(super) fn address(&self, node: NodeId) -> Option<SocketAddr> {
        self.addresses.get(&node).copied()
    }

    pub(super) fn note_address(&mut self, node: NodeId, address: SocketAddr) {
        self.addresses.insert(node, address);
    }

    /// When a turn is due for what is wanted here.
    pub(super) fn next_due_us(&self) -> Option<u64> {
        (!self.has_joined).then_some(self.begun_us + SEEDS_PATIENCE_US)
    }
}

impl Control {
    /// See the module.
    pub(super) fn wish(&mut self) {
        let now_us = self.now().steady_us;
        self.seek(now_us);
        let own = self.own;
        let Some(entry) = self.control.map().get(own) else { return };
        let (role, is_new, zone) = (entry.role(), entry.role_at().is_none(), entry.zone());
        if let Some(wanted) = self.wishes.zone.take().filter(|wanted| *wanted != zone) {
            self.event(NodeEvent::Operate { node: own, change: MapChange::Zone(wanted) }, None);
        }
        let wanted = self.wishes.announced.founding;
        if wanted > 0 {
            return self.found(now_us, wanted);
        }
        let is_first = !self.outgoing.has_others() && self.control.map().stamps().count() == 1;
        if std::mem::take(&mut self.wishes.wants_alone) && is_new && is_first {
            tracing::info!("a cluster of one: others can join it");
            self.event(NodeEvent::Operate { node: own, change: MapChange::Join }, None);
        } else if role == Role::Joining && !std::mem::replace(&mut self.wishes.has_said_joining, true) {
            tracing::info!(node = %own, "joining: this node owns nothing until `annulus admin join {own}` makes it Active");
        }
    }

    /// Looks for the cluster where the seeds are.
    fn seek(&mut self, now_us: u64) {
        let wishes = &mut self.wishes;
        let is_complete = wishes.seeds.iter().all(|sought| sought.address.is_some());
        let is_late = now_us >= wishes.begun_us + SEEDS_PATIENCE_US;
        if wishes.are_seeds_new && (is_complete || is_late || wishes.has_joined) {
            (wishes.are_seeds_new, wishes.has_joined) = (false, true);
            let seeds: Vec<SocketAddr> = wishes.seeds.iter().filter_map(|sought| sought.address).collect();
            self.event(NodeEvent::Join { seeds: &seeds }, None);
        }
        if self.control.detector().member_count() == 0 && now_us >= self.wishes.asked_us + SEEDS_AGAIN_US {
            self.wishes.asked_us = now_us;
            self.wishes.ask_names(&self.names);
        }
    }

    /// Goes on with founding.
    fn found(&mut self, now_us: u64, wanted: u8) {
        let own = self.own;
        match founding::step(self.control.map(), own, wanted, |node| self.is_up(node)) {
            Step::Wait { seen } => {
                self.node.note_founding(Some((seen, wanted)));
                if now_us >= self.wishes.next_line_us {
                    self.wishes.next_line_us = now_us + LINE_US;
                    tracing::info!("founding: {seen} of {wanted} nodes seen");
                }
            }
            Step::Join => {
                tracing::info!("founding: all {wanted} nodes seen, this one is Active now");
                self.event(NodeEvent::Operate { node: own, change: MapChange::Join }, None);
            }
            Step::Done => self.end_founding("the cluster is founded"),
            Step::Late => self.end_founding("the cluster was founded without this node, which stays Joining"),
        }
    }

    fn end_founding(&mut self, what: &str) {
        if let Err(error) = node_meta::save(&self.meta, |meta| meta.cluster.founding = 0) {
            tracing::error!(%error, "that the cluster is founded cannot be stored");
            return;
        }
        tracing::info!("{what}");
        self.node.note_founding(None);
        self.announce(|announced| announced.founding = 0);
    }
}
