//! Several nodes: their cores' loops, joined by links that a test may cut.
//!
//! A dial comes about at once; a buffer that a core hands to its ring arrives with the other core's next turn.

use std::collections::BTreeSet;
use std::sync::Arc;

use annulus_cluster::ids::NodeId;
use annulus_cluster::membership::{Membership, Role};
use annulus_cluster::ring::Ring;
use annulus_cluster::route_table::RouteTable;
use annulus_engine::disk::memory::MemoryDisk;
use annulus_object::Clock;

use super::{Cluster, LinkEnd, bulk, limits};
use crate::cluster_view::ClusterView;
use crate::control;
use crate::core_inbox::{CoreEvent, PeerCore};
use crate::peers::Connected;

/// Two ends of a link: node and index of each.
type Wire = [(usize, usize); 2];

struct Fleet {
    nodes: Vec<Cluster>,
    wires: Vec<Wire>,
    /// Nodes that nothing reaches, and that reach nobody.
    cut: BTreeSet<usize>,
    views: u64,
}

fn node_id(node: usize) -> NodeId {
    NodeId::new(node as u64 + 1)
}

impl Fleet {
    fn new(nodes: usize, cores: u16) -> Self {
        let open = |node: usize| {
            let disk = MemoryDisk::new(node as u64 + 1);
            Cluster::open_as(node as u64 + 1, false, (disk, limits()), cores, 1 << 20, 1)
        };
        let mut fleet =
            Self { nodes: (0..nodes).map(open).collect(), wires: Vec::new(), cut: BTreeSet::new(), views: 1 };
        fleet.publish();
        fleet
    }

    /// Tells every node of all others, and who answers.
    fn publish(&mut self) {
        self.views += 1;
        let mut map = Membership::default();
        for (at, cluster) in self.nodes.iter().enumerate() {
            let (node, clock) = (node_id(at), Clock::from_raw(7).unwrap());
            let mut announced = control::announced(&cluster.node.config, 1, cluster.cores.len() as u16);
            announced.peers.port += at as u16;
            map.announce(node, clock, announced).unwrap();
            map.set_role(node, clock, node, Role::Active).unwrap();
        }
        let ring = Ring::of(&map, 1024, 3);
        for (at, cluster) in self.nodes.iter().enumerate() {
            let reaches = |other: &usize| *other == at || !self.cut.contains(other) && !self.cut.contains(&at);
            let up: BTreeSet<NodeId> = (0..self.nodes.len()).filter(reaches).map(node_id).collect();
            let routes = Arc::new(RouteTable::new(node_id(at), &ring, &up));
            cluster.node.view.publish(ClusterView::of(self.views, node_id(at), &map, routes, &ring, |_| None));
        }
    }

    /// Cuts a node off; the others find out when they miss it.
    fn cut_off(&mut self, node: usize) {
        self.cut.insert(node);
        let wires = std::mem::take(&mut self.wires);
        let (gone, kept) = wires.into_iter().partition(|wire| wire.iter().any(|end| end.0 == node));
        self.wires = kept;
        let gone: Vec<Wire> = gone;
        for (node, link) in gone.into_iter().flatten() {
            let LinkEnd { core, connection, .. } = self.nodes[node].links[link];
            self.nodes[node].cores[core].shard.on_ended(connection, false);
        }
    }

    fn heal(&mut self) {
        self.cut.clear();
        self.publish();
    }

    /// Makes the connections that were asked for.
    fn dial(&mut self) -> bool {
        let mut any = false;
        for node in 0..self.nodes.len() {
            for (core, dial) in std::mem::take(&mut self.nodes[node].dials) {
                any = true;
                let other = dial.peer.node.raw() as usize - 1;
                if self.cut.contains(&node) || self.cut.contains(&other) {
                    let failed = CoreEvent::DialFailed { peer: dial.peer, why: "cut".to_owned(), is_refused: false };
                    self.nodes[node].cores[core].shard.on_core_event(failed);
                    continue;
                }
                let own = PeerCore { node: node_id(node), core: core as u16 };
                let near = self.link(node, core, dial.peer, true);
                let far = self.link(other, usize::from(dial.peer.core), own, false);
                self.wires.push([near, far]);
            }
        }
        any
    }

    fn link(&mut self, node: usize, core: usize, peer: PeerCore, is_dialled: bool) -> (usize, usize) {
        let cluster = &mut self.nodes[node];
        let connection = cluster.new_connection(core);
        let connected = Connected { peer, capabilities: 0, is_dialled, skew_ms: 0 };
        cluster.cores[core].shard.on_peer_connected(connection, connected);
        cluster.links.push(LinkEnd { core, connection, in_flight: None, closing: false });
        (node, cluster.links.len() - 1)
    }

    /// What was sent over links arrives.
    fn carry(&mut self) -> bool {
        let mut any = false;
        for wire in self.wires.clone() {
            for ((from, from_link), (to, to_link)) in [(wire[0], wire[1]), (wire[1], wire[0])] {
                let end = &mut self.nodes[from].links[from_link];
                let (core, connection) = (end.core, end.connection);
                let Some(buffer) = end.in_flight.take() else { continue };
                any = true;
                let LinkEnd { core: far_core, connection: far, .. } = self.nodes[to].links[to_link];
                let shard = &mut self.nodes[to].cores[far_core].shard;
                buffer.chunks(super::RECEIVE_BYTES).for_each(|bytes| shard.on_received(far, bytes));
                self.nodes[from].cores[core].shard.on_sent(connection, buffer, true);
            }
        }
        any
    }

    fn close(&mut self) {
        for cluster in &mut self.nodes {
            for link in &mut cluster.links {
                if std::mem::take(&mut link.closing) {
                    cluster.cores[link.core].shard.on_closed(link.connection);
                }
            }
        }
    }

    /// A turn of every core of every node.
    fn turn(&mut self) -> bool {
        let mut any = self.carry();
        for cluster in &mut self.nodes {
            for core in 0..cluster.cores.len() {
                any |= cluster.turn(core);
            }
        }
        any |= self.dial();
        self.close();
        any
    }

    fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..100_000 {
            quiet = if self.turn() { 0 } else { quiet + 1 };
            let is_idle = |cluster: &Cluster| cluster.cores.iter().all(|core| core.shard.replication.is_idle());
            if quiet >= 50 && self.nodes.iter().all(is_idle) {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn ask(&mut self, (node, client): (usize, usize), commands: &str) -> Vec<String> {
        self.nodes[node].say(client, commands);
        self.settle();
        self.nodes[node].replies(client)
    }
}

#[test]
fn what_one_node_took_every_node_gives() {
    let mut fleet = Fleet::new(3, 2);
    let clients: Vec<usize> = (0..3).map(|node| fleet.nodes[node].connect(0)).collect();
    for number in 0..50 {
        let said =
            fleet.ask((number % 3, clients[number % 3]), &format!("SET key:{number} {number}; GET key:{number}"));
        assert_eq!(said, ["+OK|", &bulk(&number.to_string())]);
    }
    for (node, client) in clients.into_iter().enumerate() {
        for number in 0..50 {
            assert_eq!(fleet.ask((node, client), &format!("GET key:{number}")), [bulk(&number.to_string())]);
        }
        assert_eq!(
            fleet.ask((node, client), &format!("DEL gone:{node}; SET gone:{node} x; DEL gone:{node}; GET gone:{node}")),
            [":0|", "+OK|", ":1|", "$-1|"]
        );
    }
}

#[test]
fn writes_go_on_without_a_node_and_reach_it_when_it_is_back() {
    let mut fleet = Fleet::new(3, 1);
    let client = fleet.nodes[0].connect(0);
    assert_eq!(fleet.ask((0, client), "SET before 1"), ["+OK|"]);
    fleet.cut_off(2);
    for number in 0..30 {
        assert_eq!(fleet.ask((0, client), &format!("SET key:{number} {number}")), ["+OK|"], "key:{number}");
    }
    fleet.publish();
    for number in 30..60 {
        assert_eq!(fleet.ask((0, client), &format!("SET key:{number} {number}")), ["+OK|"], "key:{number}");
    }
    let hints: u64 = fleet.nodes.iter().map(|node| node.cores[0].shard.replication.counters().hints_own).sum();
    assert!(hints > 0, "somebody has kept hints");
    fleet.heal();
    let other = fleet.nodes[2].connect(0);
    for _ in 0..20_000 {
        fleet.turn();
    }
    // What it has it was given behind its back.
    let keys = fleet.nodes[2].cores[0].shard.store.engine().keys();
    assert_eq!(keys, 61);
    assert_eq!(fleet.ask((2, other), "GET key:3"), [bulk("3")]);
}
