//! Control planes in virtual time: a queue of what happens when, a network that can be cut, and nodes that stall or die.
//!
//! What happens at one instant happens in the order in which it came about. A node that stalls reads nothing and hears no time
//! until it runs again; what arrived meanwhile is read first, unless it was lost.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;

use annulus_cluster::datagram::Secrets;
use annulus_cluster::event::Now;
use annulus_cluster::failure_detector::Identity;
use annulus_cluster::ids::NodeId;
use annulus_cluster::limits::ControlLimits;
use annulus_cluster::membership::{Announced, Endpoint, Holdings, Membership, UnverifiedMembership};
use annulus_cluster::node::{ControlNode, MapChange, NodeEffect, NodeEffects, NodeEvent, NodeSetup};
use annulus_cluster::random::Random;
use annulus_cluster::ring::Ring;

const MS: u64 = 1_000;
/// Wall clock of the beginning.
const BEGIN_MS: u64 = 1_800_000_000_000;
const PARTITIONS: u16 = 64;

/// Where the node of this number listens.
pub fn address(node: NodeId) -> SocketAddr {
    let number = u16::try_from(node.raw() & 0xffff).unwrap();
    SocketAddr::new([10, 0, 0, 1].into(), number)
}

/// What a node says of itself in the incarnation.
pub fn announced(node: NodeId, incarnation: u16) -> Announced {
    Announced {
        peers: Endpoint { host: "10.0.0.1".into(), port: address(node).port() },
        clients: Endpoint { host: "".into(), port: 7379 },
        cores: 4,
        incarnation,
        version: 1,
        founding: 0,
        holdings: Holdings::default(),
    }
}

pub fn setup(node: NodeId, generation: u32, incarnation: u16, seed: u64) -> NodeSetup {
    NodeSetup {
        identity: Identity::new(node, generation, address(node)),
        announced: announced(node, incarnation),
        secrets: Secrets::new(&[[7; 16]]),
        seed,
        limits: ControlLimits::default(),
    }
}

/// Something on its way to a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Arrival {
    Datagram(Vec<u8>),
    Message { from: NodeId, bytes: Vec<u8> },
    Unreachable { peer: NodeId },
    Wake,
}

/// A process.
struct Process {
    control: ControlNode,
    /// What it says of itself.
    announced: Announced,
    /// The owner table that it made last.
    ring: u64,
    stalled_until_us: u64,
    /// What arrives while it stalls is lost.
    is_deaf: bool,
    wakes_us: u64,
}

/// What a node has stored.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    pub generation: u32,
    pub incarnation: u16,
    /// Where it is reached, if not where it always is.
    pub host: Option<String>,
    map: Vec<u8>,
}

/// See the module.
pub struct World {
    pub now_us: u64,
    /// Of a thousand datagrams.
    pub loss_per_mille: u64,
    processes: BTreeMap<NodeId, Process>,
    disks: BTreeMap<NodeId, Disk>,
    /// How far a node's wall clock is off.
    pub skews_ms: BTreeMap<NodeId, i64>,
    /// Names that are known.
    pub names: BTreeMap<NodeId, SocketAddr>,
    queue: BinaryHeap<Reverse<(u64, u64, NodeId, Arrival)>>,
    sequence: u64,
    /// From whom to whom nothing gets through.
    cuts: BTreeSet<(NodeId, NodeId)>,
    random: Random,
    /// What is worth telling.
    pub said: Vec<String>,
    /// Everything that was sent: datagrams, messages.
    pub sent: (Vec<Vec<u8>>, Vec<Vec<u8>>),
}

impl World {
    pub fn new() -> Self {
        Self {
            now_us: 0,
            loss_per_mille: 0,
            processes: BTreeMap::new(),
            disks: BTreeMap::new(),
            skews_ms: BTreeMap::new(),
            names: BTreeMap::new(),
            queue: BinaryHeap::new(),
            sequence: 0,
            cuts: BTreeSet::new(),
            random: Random::new(1),
            said: Vec::new(),
            sent: (Vec::new(), Vec::new()),
        }
    }

    fn say(&mut self, text: &str) {
        self.said.push(format!("{}.{:03} {text}", self.now_us / MS / MS, self.now_us / MS % 1000));
    }

    pub fn nodes(&self) -> Vec<NodeId> {
        self.processes.keys().copied().collect()
    }

    pub fn control(&self, node: NodeId) -> &ControlNode {
        &self.processes[&node].control
    }

    /// A process begins with the map that it has stored, in a new generation and incarnation.
    pub fn start(&mut self, node: NodeId, seeds: &[NodeId]) {
        let disk = self.disks.entry(node).or_default();
        disk.generation += 1;
        disk.incarnation += 1;
        let map = match disk.map.is_empty() {
            true => Membership::default(),
            false => UnverifiedMembership::new(&disk.map).check().unwrap(),
        };
        let mut setup = setup(node, disk.generation, disk.incarnation, self.random.draw());
        if let Some(host) = &disk.host {
            setup.announced.peers.host = host.as_str().into();
        }
        let announced = setup.announced.clone();
        let control = ControlNode::new(setup, map);
        let process = Process { control, announced, ring: 0, stalled_until_us: 0, is_deaf: false, wakes_us: u64::MAX };
        assert!(self.processes.insert(node, process).is_none(), "started once");
        let seeds: Vec<_> = seeds.iter().map(|seed| address(*seed)).collect();
        self.event(node, NodeEvent::Join { seeds: &seeds });
    }

    /// What is on a node's disk, to be changed or put back.
    pub fn disk(&mut self, node: NodeId) -> &mut Disk {
        self.disks.get_mut(&node).unwrap()
    }

    pub fn kill(&mut self, node: NodeId) {
        self.processes.remove(&node).expect("it runs");
    }

    /// Nothing gets from one to the other.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cuts.insert((from, to));
    }

    pub fn mend(&mut self) {
        self.cuts.clear();
    }

    pub fn stall(&mut self, node: NodeId, us: u64, is_deaf: bool) {
        let process = self.processes.get_mut(&node).unwrap();
        (process.stalled_until_us, process.is_deaf) = (self.now_us + us, is_deaf);
    }

    /// An operator at `at` wants a node changed.
    pub fn operate(&mut self, at: NodeId, node: NodeId, change: MapChange) {
        self.event(at, NodeEvent::Operate { node, change });
    }

    /// A node holds something else.
    pub fn hold(&mut self, node: NodeId, digest: u64) {
        let mut announced = self.processes[&node].announced.clone();
        announced.holdings.digest = digest;
        self.announce(node, announced);
    }

    pub fn announce(&mut self, node: NodeId, announced: Announced) {
        self.processes.get_mut(&node).unwrap().announced = announced.clone();
        self.event(node, NodeEvent::Announce(&announced));
    }

    pub fn event(&mut self, node: NodeId, event: NodeEvent<'_>) {
        let mut effects = NodeEffects::default();
        let skew_ms = self.skews_ms.get(&node).copied().unwrap_or_default();
        let unix_ms = (BEGIN_MS + self.now_us / MS).saturating_add_signed(skew_ms);
        let process = self.processes.get_mut(&node).unwrap();
        process.control.on_event(Now { unix_ms, steady_us: self.now_us }, event, &mut effects);
        self.carry_out(node, &effects);
    }

    pub fn run_until(&mut self, until_us: u64) {
        while let Some(Reverse((at_us, ..))) = self.queue.peek()
            && *at_us <= until_us
        {
            let Reverse((at_us, _, node, arrival)) = self.queue.pop().unwrap();
            self.now_us = at_us;
            self.arrive(node, arrival);
        }
        self.now_us = until_us;
    }

    fn arrive(&mut self, node: NodeId, arrival: Arrival) {
        let now_us = self.now_us;
        let Some(process) = self.processes.get_mut(&node) else { return };
        if process.stalled_until_us > now_us {
            // The time is heard after what has arrived.
            let at_us = process.stalled_until_us + u64::from(arrival == Arrival::Wake);
            if arrival == Arrival::Wake {
                process.wakes_us = at_us;
            }
            if !process.is_deaf || arrival == Arrival::Wake {
                self.later(at_us - now_us, node, arrival);
            }
            return;
        }
        match arrival {
            Arrival::Datagram(bytes) => self.event(node, NodeEvent::Datagram(&bytes)),
            Arrival::Message { from, bytes } => self.event(node, NodeEvent::Message { from, bytes: &bytes }),
            Arrival::Unreachable { peer } => self.event(node, NodeEvent::Unreachable { peer }),
            Arrival::Wake if process.wakes_us == now_us => {
                process.wakes_us = u64::MAX;
                self.event(node, NodeEvent::Tick);
            }
            Arrival::Wake => {}
        }
    }

    fn later(&mut self, delay_us: u64, node: NodeId, arrival: Arrival) {
        self.sequence += 1;
        self.queue.push(Reverse((self.now_us + delay_us, self.sequence, node, arrival)));
    }

    fn carry_out(&mut self, node: NodeId, effects: &NodeEffects) {
        for effect in effects.list() {
            match effect {
                NodeEffect::Datagram { to, bytes } => {
                    let to = NodeId::new(u64::from(to.port()));
                    self.sent.0.push(effects.bytes(bytes).to_vec());
                    let is_lost = self.random.below(1000) < self.loss_per_mille || self.cuts.contains(&(node, to));
                    if !is_lost {
                        self.later(MS, to, Arrival::Datagram(effects.bytes(bytes).to_vec()));
                    }
                }
                NodeEffect::Message { to, bytes, .. } => self.send(node, *to, effects.bytes(bytes).to_vec()),
                NodeEffect::MapChanged => {
                    let disk = self.disks.get_mut(&node).unwrap();
                    disk.map.clear();
                    self.processes[&node].control.map().encode(&mut disk.map);
                }
                NodeEffect::RingChanged => self.on_ring(node),
                NodeEffect::Operated { result: Ok(()), .. } => {}
                NodeEffect::Operated { node: of, result: Err(error) } => {
                    self.say(&format!("{node:?}: {of:?} is not changed: {error}"));
                }
                NodeEffect::RemovalEnded { node: of, is_removed } => {
                    let what = if *is_removed { "is removed" } else { "is not removed" };
                    self.say(&format!("{node:?}: {of:?} {what}"));
                }
                NodeEffect::Resolve { node: of } => {
                    if let Some(address) = self.names.get(of).copied() {
                        self.event(node, NodeEvent::Resolved { node: *of, address });
                    }
                }
                NodeEffect::NeedIncarnation { above } => {
                    self.say(&format!("{node:?}: needs an incarnation above {above}"));
                    let incarnation = above + 1;
                    self.disk(node).incarnation = incarnation;
                    let announced = Announced { incarnation, ..self.processes[&node].announced.clone() };
                    self.announce(node, announced);
                }
                NodeEffect::Forgotten => self.say(&format!("{node:?}: was forgotten")),
                NodeEffect::Liveness { node: peer, up } => {
                    self.say(&format!("{node:?}: {peer:?} is {}", if *up { "up" } else { "down" }));
                }
                NodeEffect::NeedGeneration { above } => {
                    self.say(&format!("{node:?}: needs a generation above {above}"));
                    let disk = self.disk(node);
                    disk.generation = disk.generation.max(above + 1);
                    let generation = disk.generation;
                    self.event(node, NodeEvent::Generation { generation });
                }
                NodeEffect::Left => self.say(&format!("{node:?}: left")),
            }
        }
        self.schedule(node);
    }

    /// Tells the owners' number of a new owner table.
    fn on_ring(&mut self, node: NodeId) {
        let process = self.processes.get_mut(&node).unwrap();
        let ring = Ring::of(process.control.map(), PARTITIONS, 3);
        let before = std::mem::replace(&mut process.ring, ring.fingerprint().0);
        if before != process.ring && ring.copies() > 0 {
            let members: Vec<String> = ring.loads().map(|load| format!("{:?}", load.0.node)).collect();
            let capped =
                if ring.is_capped() { format!(", {} instead of 3 times", ring.copies()) } else { String::new() };
            self.say(&format!("{node:?}: ring of {}{capped}", members.join(" ")));
        }
    }

    /// The reliable transport: a connection that is refused fails at once, one that is cut after a while.
    fn send(&mut self, from: NodeId, to: NodeId, bytes: Vec<u8>) {
        self.sent.1.push(bytes.clone());
        let is_cut = self.cuts.contains(&(from, to)) || self.cuts.contains(&(to, from));
        if is_cut {
            self.later(1000 * MS, from, Arrival::Unreachable { peer: to });
        } else if self.processes.contains_key(&to) {
            self.later(2 * MS, to, Arrival::Message { from, bytes });
        } else {
            self.later(MS, from, Arrival::Unreachable { peer: to });
        }
    }

    fn schedule(&mut self, node: NodeId) {
        let process = self.processes.get_mut(&node).unwrap();
        if let Some(due_us) = process.control.next_due_us() {
            let due_us = due_us.max(self.now_us);
            if due_us < process.wakes_us {
                process.wakes_us = due_us;
                let delay_us = due_us - self.now_us;
                self.later(delay_us, node, Arrival::Wake);
            }
        }
    }

    /// Nodes whose maps are the same, in groups.
    pub fn maps(&self) -> Vec<Vec<NodeId>> {
        let mut groups: BTreeMap<u64, Vec<NodeId>> = BTreeMap::new();
        for (node, process) in &self.processes {
            groups.entry(process.control.map().digest().0).or_default().push(*node);
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort();
        groups
    }
}
