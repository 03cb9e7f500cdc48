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
use crate::core_inbox::{Connected, CoreEvent, PeerCore};
use crate::metrics::Metric;
use crate::shard_loop::ShardLoop;

/// Two ends of a link: node and index of each.
type Wire = [(usize, usize); 2];

pub(super) struct Fleet {
    pub(super) nodes: Vec<Cluster>,
    wires: Vec<Wire>,
    /// Nodes that nothing reaches, and that reach nobody.
    cut: BTreeSet<usize>,
    /// Nodes whose links stand, and carry nothing.
    pub(super) silent: BTreeSet<usize>,
    views: u64,
}

pub(super) fn node_id(node: usize) -> NodeId {
    NodeId::new(node as u64 + 1)
}

impl Fleet {
    pub(super) fn new(nodes: usize, cores: u16) -> Self {
        let open = |node: usize| {
            let disk = MemoryDisk::new(node as u64 + 1);
            Cluster::open_as(node as u64 + 1, false, (disk, limits()), cores, 1 << 20, 1)
        };
        let mut fleet = Self {
            nodes: (0..nodes).map(open).collect(),
            wires: Vec::new(),
            cut: BTreeSet::new(),
            silent: BTreeSet::new(),
            views: 1,
        };
        fleet.publish();
        fleet
    }

    /// Tells every node of all others, and who answers.
    pub(super) fn publish(&mut self) {
        self.publish_as(Role::Active);
    }

    /// The same, of members that all have one role.
    fn publish_as(&mut self, role: Role) {
        self.views += 1;
        let mut map = Membership::default();
        for (at, cluster) in self.nodes.iter().enumerate() {
            let (node, clock) = (node_id(at), Clock::from_raw(7).unwrap());
            let mut announced = control::announced(&cluster.node.config, 1, cluster.cores.len() as u16);
            announced.peers.port += at as u16;
            map.announce(node, clock, announced).unwrap();
            map.set_role(node, clock, node, role).unwrap();
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
    pub(super) fn cut_off(&mut self, node: usize) {
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

    pub(super) fn heal(&mut self) {
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
        let connected = Connected { peer, version: 1, capabilities: 0, is_dialled, skew_ms: 0 };
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
                if self.silent.contains(&from) || self.silent.contains(&to) {
                    self.nodes[from].cores[core].shard.on_sent(connection, buffer, true);
                    continue;
                }
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
    pub(super) fn turn(&mut self) -> bool {
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

    pub(super) fn settle(&mut self) {
        // Links ask their other ends now and then whether they are there, so many links are never all quiet.
        let (mut quiet, mut idle) = (0, 0);
        for _ in 0..100_000 {
            quiet = if self.turn() { 0 } else { quiet + 1 };
            let shards = self.nodes.iter().flat_map(|cluster| &cluster.cores).map(|core| &core.shard);
            let is_idle = |shard: &ShardLoop<MemoryDisk>| shard.replication.is_idle() && shard.remote.is_idle();
            let mut busy = shards.filter(|shard| !is_idle(shard));
            idle = if busy.next().is_some() { 0 } else { idle + 1 };
            if idle >= 200 || idle > 0 && quiet >= 50 {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    pub(super) fn ask(&mut self, (node, client): (usize, usize), commands: &str) -> Vec<String> {
        self.nodes[node].say(client, commands);
        self.settle();
        self.nodes[node].replies(client)
    }
}

#[test]
fn nobody_serves_keys_before_somebody_owns_them() {
    let mut fleet = Fleet::new(3, 1);
    fleet.publish_as(Role::Joining);
    let client = fleet.nodes[0].connect(0);
    for command in ["SET k v", "GET k", "DYN.GET k", "MSET a 1 b 2", "DBSIZE", "SCAN 0"] {
        let said = fleet.ask((0, client), command);
        assert!(said.len() == 1 && said[0].starts_with("-CLUSTERDOWN "), "{command}: {said:?}");
    }
    assert_eq!(fleet.ask((0, client), "PING"), ["+PONG|"]);
    fleet.publish();
    assert_eq!(fleet.ask((0, client), "GET k; SET k v; GET k"), ["$-1|", "+OK|", &bulk("v")]);
}

/// More keys than the protocol has room for: the rest of the command waits, and nobody is refused.
#[test]
fn a_command_on_more_keys_than_there_is_room_for_is_served() {
    for cores in [1, 2] {
        let mut fleet = Fleet::new(3, cores);
        let client = fleet.nodes[0].connect(0);
        let keys: Vec<String> = (0..40_000).map(|number| format!("k{number}")).collect();
        let pairs: Vec<String> = keys.iter().map(|key| format!("{key} v")).collect();
        assert_eq!(fleet.ask((0, client), &format!("MSET {}", pairs.join(" "))), ["+OK|"]);
        let found = fleet.ask((0, client), &format!("MGET {}", keys.join(" ")));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("*40000|") && found[0].matches("$1|v|").count() == 40_000, "{:.200}", found[0]);
        assert_eq!(fleet.ask((0, client), &format!("DEL {}; EXISTS k7", keys.join(" "))), [":40000|", ":0|"]);
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
    let kept = |fleet: &mut Fleet| {
        fleet.nodes.iter_mut().for_each(|node| node.cores[0].shard.publish_metrics());
        fleet.nodes.iter().map(|node| node.node.metrics.sum(Metric::HintsKept)).sum::<u64>()
    };
    assert_eq!(kept(&mut fleet), hints, "as many as INFO tells");
    fleet.heal();
    let other = fleet.nodes[2].connect(0);
    for _ in 0..20_000 {
        fleet.turn();
    }
    // What it has it was given behind its back.
    let keys = fleet.nodes[2].cores[0].shard.store.engine().keys();
    assert_eq!(keys, 61);
    assert_eq!(kept(&mut fleet), 0, "handed over");
    assert_eq!(fleet.ask((2, other), "GET key:3"), [bulk("3")]);
}

#[test]
fn what_needs_no_other_node_is_answered_at_once() {
    let mut fleet = Fleet::new(3, 1);
    let client = fleet.nodes[0].connect(0);
    let said =
        fleet.ask((0, client), "SET k v WHAT; EXPIRE k ten; GETSET k v; SET k v; GETRANGE k a 1; GET k; GETDEL k");
    assert_eq!(said[0], "-ERR syntax error|");
    assert_eq!(said[1], "-ERR value is not an integer or out of range|");
    assert!(said[2].starts_with("-ERR GETSET is not served by Annulus: replicas"), "{said:?}");
    assert_eq!(said[3..6], ["+OK|", "-ERR value is not an integer or out of range|", &bulk("v")]);
    assert!(said[6].contains("relaxed-commands"), "{said:?}");
}

#[test]
fn expiries_are_changed_by_what_was_read() {
    let mut fleet = Fleet::new(3, 1);
    let clients: Vec<usize> = (0..3).map(|node| fleet.nodes[node].connect(0)).collect();
    assert_eq!(fleet.ask((0, clients[0]), "SET k v; PEXPIRE k 5000000; SET k w KEEPTTL"), ["+OK|", ":1|", "+OK|"]);
    assert_eq!(fleet.ask((1, clients[1]), "GET k; PERSIST k; TTL k"), [&bulk("w"), ":1|", ":-1|"]);
    assert_eq!(fleet.ask((2, clients[2]), "TTL k; EXPIRE k -1; EXISTS k; PERSIST k"), [":-1|", ":1|", ":0|", ":0|"]);
}

/// The context in a reply to DYN.GET or DYN.PUT.
pub(super) fn context_in(reply: &str) -> String {
    let text = reply.split('|').find(|part| !part.starts_with(['*', '$', '-'])).expect("a context");
    text.to_owned()
}

#[test]
fn siblings_stay_until_a_context_that_has_seen_them_replaces_them() {
    let mut fleet = Fleet::new(3, 1);
    let clients: Vec<usize> = (0..3).map(|node| fleet.nodes[node].connect(0)).collect();
    let first = fleet.ask((0, clients[0]), "DYN.PUT k one");
    let second = fleet.ask((1, clients[1]), &format!("DYN.PUT k two CONTEXT {}", context_in(&first[0])));
    // It has seen the first only: what stands now is beside it.
    fleet.ask((2, clients[2]), &format!("DYN.PUT k three CONTEXT {}", context_in(&first[0])));
    let both = fleet.ask((0, clients[0]), "DYN.GET k");
    assert!(both[0].starts_with("*3|") && both[0].ends_with("|$5|three|$3|two|"), "{both:?}");
    assert_eq!(fleet.ask((0, clients[0]), "GET k"), [bulk("three")]);
    let third = fleet.ask((1, clients[1]), &format!("DYN.DEL k CONTEXT {}", context_in(&second[0])));
    let after = fleet.ask((0, clients[0]), "DYN.GET k R 3");
    assert!(after[0].starts_with("*2|") && after[0].ends_with("|$5|three|"), "{after:?}");
    assert_ne!(context_in(&third[0]), context_in(&second[0]));
    fleet.ask((1, clients[1]), &format!("DYN.PUT k all CONTEXT {}", context_in(&after[0])));
    let whole = fleet.ask((2, clients[2]), "DYN.GET k");
    assert!(whole[0].starts_with("*2|") && whole[0].ends_with("|$3|all|"), "{whole:?}");
    let refused = fleet.ask((0, clients[0]), &format!("DYN.PUT other x CONTEXT {}", context_in(&whole[0])));
    assert!(refused[0].starts_with("-ERR the context is damaged, or belongs to another key"), "{refused:?}");
}

#[test]
fn who_asks_for_it_gets_the_context_with_every_get_and_set() {
    for nodes in [1, 3] {
        let mut fleet = Fleet::new(nodes, 2);
        let client = fleet.nodes[0].connect(0);
        assert_eq!(fleet.ask((0, client), "SET k v; HELLO 3; DYN.CONSISTENCY ATTRIBUTES yes")[2], "+OK|");
        let said = fleet.ask((0, client), "GET k; SET k w; GET k; MGET k k; STRLEN k; DYN.GET k");
        let seen = context_in(&said[5]);
        let attribute = format!("|1|$7|context|${}|{seen}|", seen.len());
        assert!(said[0].ends_with("|$1|v|") && !said[0].starts_with(&attribute), "{said:?}");
        assert_eq!(said[1..3], [format!("{attribute}+OK|"), format!("{attribute}$1|w|")], "{nodes} nodes");
        assert_eq!(said[3..5], ["*2|$1|w|$1|w|", ":1|"]);
    }
}

#[test]
fn a_connection_never_makes_siblings_of_its_own_pipelined_writes() {
    let mut fleet = Fleet::new(3, 2);
    let client = fleet.nodes[0].connect(0);
    let writes: Vec<String> = (0..40).map(|number| format!("SET k {number}")).collect();
    assert!(fleet.ask((0, client), &writes.join("; ")).iter().all(|reply| reply == "+OK|"));
    let found = fleet.ask((0, client), "DYN.GET k R 3");
    assert!(found[0].starts_with("*2|") && found[0].ends_with("|$2|39|"), "{found:?}");
    assert_eq!(fleet.ask((0, client), "WAIT 5 0; DYN.CONSISTENCY W 3; WAIT 5 0"), [":1|", "+OK|", ":1|"]);
    let other = fleet.nodes[0].connect(0);
    assert_eq!(
        fleet.ask((0, other), "DYN.CONSISTENCY W 3; SET k v; WAIT 5 0; WAITAOF 1 5 0"),
        ["+OK|", "+OK|", ":2|", "*2|:1|:2|"]
    );
}

/// What one node touches while another writes anew, neither knowing of the other, and what is found when they meet again.
#[test]
fn touching_an_old_value_does_not_hide_a_newer_one() {
    for touch in ["EXPIRE k 5000", "PERSIST k", "GETEX k EX 5000"] {
        let mut fleet = Fleet::new(2, 1);
        let clients: Vec<usize> = (0..2).map(|node| fleet.nodes[node].connect(0)).collect();
        assert_eq!(fleet.ask((0, clients[0]), "SET k old EX 9000; DYN.CONSISTENCY R 1 W 1"), ["+OK|", "+OK|"]);
        assert_eq!(fleet.ask((1, clients[1]), "GET k; DYN.CONSISTENCY R 1 W 1"), [&bulk("old"), "+OK|"]);
        fleet.cut_off(1);
        fleet.publish();
        assert_eq!(fleet.ask((0, clients[0]), "SET k new"), ["+OK|"]);
        // The touch is the later write of the two, and so is one that follows it.
        fleet.nodes[1].now.unix_ms += 3_000;
        let said = fleet.ask((1, clients[1]), &format!("{touch}; EXPIRE k 4000; GET k"));
        assert!(said.len() == 3 && !said[0].starts_with('-') && said[1..] == [":1|", &bulk("old")], "{said:?}");
        fleet.heal();
        for _ in 0..20_000 {
            fleet.turn();
        }
        for (node, client) in clients.into_iter().enumerate() {
            let said = fleet.ask((node, client), "DYN.CONSISTENCY R 2 W 2; GET k; TTL k; DYN.GET k");
            assert_eq!(said[1..3], [&bulk("new"), ":-1|"], "{touch}, node {node}");
            assert!(
                said[3].starts_with("*3|") && said[3].ends_with("|$3|new|$3|old|"),
                "{touch}, node {node}: {said:?}"
            );
        }
        // Whoever touches what is shown has seen both.
        let client = fleet.nodes[0].connect(0);
        let said = fleet.ask((0, client), "EXPIRE k 100; GET k; TTL k; DYN.GET k");
        assert_eq!(said[..3], [":1|", &bulk("new"), ":100|"]);
        assert!(said[3].starts_with("*2|") && said[3].ends_with("|$3|new|"), "{said:?}");
    }
}
