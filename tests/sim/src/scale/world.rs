//! Control planes of many nodes in virtual time: a queue of what happens when, and a network that delays and loses.
//!
//! A datagram takes a quarter to a few milliseconds and may be lost. A message of the reliable transport takes two ways, or
//! 200 ms more where a loss has to be mended, and keeps its order; to a dead process it is refused. A node is woken exactly
//! when it wants to be.
//!
//! Invariant: what happens follows from the seed; what happens at one instant, from the order in which it came about.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

use annulus_cluster::datagram::Secrets;
use annulus_cluster::event::Now;
use annulus_cluster::failure_detector::Identity;
use annulus_cluster::ids::NodeId;
use annulus_cluster::limits::ControlLimits;
use annulus_cluster::membership::Membership;
use annulus_cluster::node::{ControlNode, MapChange, NodeEffect, NodeEffects, NodeEvent, NodeSetup};
use annulus_cluster::random::Random;

use super::Options;
use super::announced::{address, announced, node_at};

/// In front of each datagram's payload: IP and UDP.
pub const DATAGRAM_HEAD_BYTES: u64 = 28;
/// In front of each message: IP, TCP and the transport's frame.
pub const MESSAGE_HEAD_BYTES: u64 = 60;
/// The fastest way.
const WAY_US: u64 = 250;
/// What a lost packet costs the reliable transport.
const MEND_US: u64 = 200_000;
/// When the reliable transport gives up a peer that does not answer.
const CUT_US: u64 = 1_000_000;
/// The first nodes are everybody's seeds.
const SEEDS: usize = 3;
/// Wall clock of the beginning.
const BEGIN_MS: u64 = 1_800_000_000_000;

/// Something on its way to a node.
#[derive(Debug)]
enum Arrival {
    Datagram(Box<[u8]>),
    Message { from: NodeId, bytes: Box<[u8]> },
    Unreachable { peer: NodeId },
    Wake,
}

#[derive(Debug)]
struct Event {
    at_us: u64,
    sequence: u64,
    to: NodeId,
    arrival: Arrival,
}

/// The earliest is the greatest, as a heap wants it.
impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at_us, other.sequence).cmp(&(self.at_us, self.sequence))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Event {}

/// Bytes that a node has sent, heads included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Of datagrams.
    pub datagram_bytes: u64,
    /// Of messages.
    pub message_bytes: u64,
}

/// A node's place in the cluster.
struct Place {
    process: Option<ControlNode>,
    generation: u32,
    /// What it says that it holds.
    version: u64,
    wakes_us: u64,
    stalled_until_us: u64,
    /// Nodes that answer, as it sees it.
    ups: usize,
    /// An operator has spoken for it since it began.
    is_joined: bool,
    sent: Sent,
}

/// See the module.
pub struct World {
    /// Virtual time.
    pub now_us: u64,
    /// Events so far.
    pub events: u64,
    /// How often a node took another one for dead that ran, splits excepted.
    pub false_deaths: u64,
    /// Nodes up to this one and the others do not hear each other.
    pub split_at: Option<NodeId>,
    /// The sides of a split have met again, and are still to find out that nobody is dead.
    pub is_healing: bool,
    places: Vec<Place>,
    queue: BinaryHeap<Event>,
    sequence: u64,
    loss_per_million: u64,
    limits: ControlLimits,
    random: Random,
    network: Random,
    /// When the last message between two nodes arrives.
    last_message_us: BTreeMap<(NodeId, NodeId), u64>,
    /// The node whose death is being noticed, and when others noticed.
    watched: Option<(NodeId, Vec<u64>)>,
    effects: NodeEffects,
}

impl World {
    /// Nobody runs.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let mut random = Random::new(options.seed);
        let mut limits = ControlLimits::default();
        if let Some(members) = options.paced_for {
            limits.paced_members_max = members;
        }
        Self {
            now_us: 0,
            events: 0,
            false_deaths: 0,
            split_at: None,
            is_healing: false,
            places: Vec::new(),
            queue: BinaryHeap::new(),
            sequence: 0,
            loss_per_million: options.loss_per_million,
            limits,
            network: random.fork(),
            random,
            last_message_us: BTreeMap::new(),
            watched: None,
            effects: NodeEffects::default(),
        }
    }

    fn place(&mut self, node: NodeId) -> &mut Place {
        &mut self.places[index(node)]
    }

    /// A node that has never been there begins.
    pub fn add(&mut self) -> NodeId {
        let number = u64::try_from(self.places.len()).expect("a length has 64 bits") + 1;
        self.places.push(Place {
            process: None,
            generation: 0,
            version: 0,
            wakes_us: u64::MAX,
            stalled_until_us: 0,
            ups: 0,
            is_joined: false,
            sent: Sent::default(),
        });
        let node = NodeId::new(number);
        self.start(node);
        node
    }

    /// A node begins, with an empty map. As soon as it has announced itself an operator lets it join.
    pub fn start(&mut self, node: NodeId) {
        let (seed, secrets, limits) = (self.random.draw(), Secrets::new(&[[7; 16]]), self.limits.clone());
        let place = self.place(node);
        place.generation += 1;
        place.version += 1;
        (place.ups, place.wakes_us, place.is_joined) = (0, u64::MAX, false);
        let identity = Identity::new(node, place.generation, address(node));
        let announced = announced(node, place.generation, place.version);
        let setup = NodeSetup { identity, announced, secrets, seed, limits };
        place.process = Some(ControlNode::new(setup, Membership::default()));
        let seeds: Vec<_> = (1..=SEEDS).map(|seed| address(NodeId::new(seed as u64))).collect();
        self.event(node, NodeEvent::Join { seeds: &seeds });
    }

    /// A process ends without a word; others are watched noticing it.
    pub fn kill(&mut self, node: NodeId) {
        self.place(node).process = None;
        self.watched = Some((node, Vec::new()));
    }

    /// When others noticed the last death, ascending.
    #[must_use]
    pub fn noticed_us(&self) -> &[u64] {
        self.watched.as_ref().map_or(&[], |(_, noticed)| noticed)
    }

    /// A node says something else of itself.
    pub fn change(&mut self, node: NodeId) {
        let place = self.place(node);
        place.version += 1;
        let announced = announced(node, place.generation, place.version);
        self.event(node, NodeEvent::Announce(&announced));
    }

    /// A node does not run for a while; what arrives waits.
    pub fn stall(&mut self, node: NodeId, us: u64) {
        self.place(node).stalled_until_us = self.now_us + us;
    }

    /// Nodes that run.
    #[must_use]
    pub fn running(&self) -> Vec<NodeId> {
        let runs = self.places.iter().enumerate().filter(|(_, place)| place.process.is_some());
        runs.map(|(index, _)| NodeId::new(index as u64 + 1)).collect()
    }

    /// One of the nodes that run, by chance.
    pub fn anybody(&mut self) -> NodeId {
        let running = self.running();
        *self.random.choose(&running).expect("somebody runs")
    }

    /// True so many times of a million.
    pub fn chance(&mut self, per_million: u64) -> bool {
        self.random.below(1_000_000) < per_million
    }

    /// What each node that runs has sent.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        self.places.iter().filter(|place| place.process.is_some()).map(|place| place.sent).collect()
    }

    /// What all nodes together have done.
    #[must_use]
    pub fn renewals(&self) -> u64 {
        let processes = self.places.iter().filter_map(|place| place.process.as_ref());
        processes.map(|process| process.detector().counts().renewals).sum()
    }

    /// Whether foca was driven as it wants to be, everywhere.
    #[must_use]
    pub fn is_faultless(&self) -> bool {
        let mut processes = self.places.iter().filter_map(|place| place.process.as_ref());
        processes.all(|process| process.detector().counts().faults == 0 && process.counts().bad_entries == 0)
    }

    /// Whether every node that runs takes every other for up.
    #[must_use]
    pub fn do_all_hear_all(&self) -> bool {
        let running = self.places.iter().filter(|place| place.process.is_some()).count();
        self.places.iter().all(|place| place.process.is_none() || place.ups == running - 1)
    }

    /// Whether all maps are the same, and say of every node what it says itself.
    #[must_use]
    pub fn do_maps_agree(&self) -> bool {
        let mut maps = self.places.iter().filter_map(|place| place.process.as_ref()).map(ControlNode::map);
        let Some(first) = maps.next() else { return true };
        let says = |(index, place): (usize, &Place)| {
            let entry = first.get(NodeId::new(index as u64 + 1)).and_then(|entry| entry.announced());
            entry.is_some_and(|announced| announced.holdings.digest == place.version)
        };
        maps.all(|map| map.digest() == first.digest()) && self.places.iter().enumerate().all(says)
    }

    /// Until that instant.
    pub fn run_until(&mut self, until_us: u64) {
        while self.queue.peek().is_some_and(|event| event.at_us <= until_us) {
            let event = self.queue.pop().expect("it was there");
            self.now_us = event.at_us;
            self.arrive(event.to, event.arrival);
        }
        self.now_us = until_us;
    }

    fn arrive(&mut self, to: NodeId, arrival: Arrival) {
        let now_us = self.now_us;
        let place = self.place(to);
        if place.process.is_none() {
            return;
        }
        if place.stalled_until_us > now_us {
            // The time is heard after what has arrived.
            let is_wake = matches!(arrival, Arrival::Wake);
            let at_us = place.stalled_until_us + u64::from(is_wake);
            if is_wake {
                place.wakes_us = at_us;
            }
            return self.later(at_us, to, arrival);
        }
        match arrival {
            Arrival::Datagram(bytes) => self.event(to, NodeEvent::Datagram(&bytes)),
            Arrival::Message { from, bytes } => self.event(to, NodeEvent::Message { from, bytes: &bytes }),
            Arrival::Unreachable { peer } => self.event(to, NodeEvent::Unreachable { peer }),
            Arrival::Wake if place.wakes_us == now_us => {
                place.wakes_us = u64::MAX;
                self.event(to, NodeEvent::Tick);
            }
            Arrival::Wake => {}
        }
    }

    fn event(&mut self, node: NodeId, event: NodeEvent<'_>) {
        self.events += 1;
        let mut effects = std::mem::take(&mut self.effects);
        let now = Now { unix_ms: BEGIN_MS + self.now_us / 1000, steady_us: self.now_us };
        let process = self.place(node).process.as_mut().expect("events are for nodes that run");
        process.on_event(now, event, &mut effects);
        let has_spoken = !self.place(node).is_joined && self.is_announced(node);
        self.carry_out(node, effects);
        if has_spoken {
            self.place(node).is_joined = true;
            self.event(node, NodeEvent::Operate { node, change: MapChange::Join });
        }
    }

    fn is_announced(&self, node: NodeId) -> bool {
        let process = self.places[index(node)].process.as_ref();
        process.is_some_and(|process| process.map().get(node).is_some())
    }

    /// Takes its list back.
    fn carry_out(&mut self, node: NodeId, mut effects: NodeEffects) {
        for effect in effects.list() {
            match effect {
                NodeEffect::Datagram { to, bytes } => self.send_datagram(node, *to, effects.bytes(bytes)),
                NodeEffect::Message { to, bytes, .. } => self.send_message(node, *to, effects.bytes(bytes)),
                NodeEffect::Liveness { node: peer, up } => self.on_liveness(node, *peer, *up),
                NodeEffect::NeedGeneration { above } => panic!("{node:?} was told of its generation {above}"),
                NodeEffect::Forgotten | NodeEffect::Resolve { .. } => panic!("{node:?}: {effect:?}"),
                NodeEffect::Operated { node: of, result: Err(error) } => panic!("{of:?}: {error}"),
                _ => {}
            }
        }
        effects.clear();
        self.effects = effects;
        let now_us = self.now_us;
        let place = self.place(node);
        let due_us = place.process.as_ref().and_then(ControlNode::next_due_us).map(|due_us| due_us.max(now_us));
        if let Some(due_us) = due_us.filter(|due_us| *due_us < place.wakes_us) {
            place.wakes_us = due_us;
            self.later(due_us, node, Arrival::Wake);
        }
    }

    fn on_liveness(&mut self, node: NodeId, peer: NodeId, up: bool) {
        let now_us = self.now_us;
        let place = self.place(node);
        place.ups = if up { place.ups + 1 } else { place.ups - 1 };
        if up {
            return;
        }
        let is_split = self.split_at.is_some() || self.is_healing;
        if self.places[index(peer)].process.is_some() && !is_split {
            self.false_deaths += 1;
        }
        if let Some((watched, noticed)) = &mut self.watched
            && *watched == peer
        {
            noticed.push(now_us);
        }
    }

    fn send_datagram(&mut self, from: NodeId, to: std::net::SocketAddr, bytes: &[u8]) {
        self.place(from).sent.datagram_bytes += DATAGRAM_HEAD_BYTES + bytes.len() as u64;
        let Some(to) = node_at(to) else { return };
        if index(to) < self.places.len() && !self.is_cut(from, to) && !self.is_lost() {
            let at_us = self.now_us + self.way_us();
            self.later(at_us, to, Arrival::Datagram(bytes.into()));
        }
    }

    fn send_message(&mut self, from: NodeId, to: NodeId, bytes: &[u8]) {
        self.place(from).sent.message_bytes += MESSAGE_HEAD_BYTES + bytes.len() as u64;
        let ways_us = self.way_us() + self.way_us();
        if self.is_cut(from, to) {
            return self.later(self.now_us + CUT_US, from, Arrival::Unreachable { peer: to });
        }
        if self.place(to).process.is_none() {
            return self.later(self.now_us + ways_us, from, Arrival::Unreachable { peer: to });
        }
        let mend_us = if self.is_lost() { MEND_US } else { 0 };
        let last_us = self.last_message_us.entry((from, to)).or_default();
        let at_us = (self.now_us + ways_us + mend_us).max(*last_us);
        *last_us = at_us;
        self.later(at_us, to, Arrival::Message { from, bytes: bytes.into() });
    }

    fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.split_at.is_some_and(|last| (from <= last) != (to <= last))
    }

    fn is_lost(&mut self) -> bool {
        self.network.below(1_000_000) < self.loss_per_million
    }

    /// Mostly fast; one in a hundred takes ten times as long.
    fn way_us(&mut self) -> u64 {
        let slow = if self.network.below(100) == 0 { 10 } else { 1 };
        (WAY_US + self.network.below(2 * WAY_US)) * slow
    }

    fn later(&mut self, at_us: u64, to: NodeId, arrival: Arrival) {
        self.sequence += 1;
        self.queue.push(Event { at_us, sequence: self.sequence, to, arrival });
    }
}

fn index(node: NodeId) -> usize {
    usize::try_from(node.raw() - 1).expect("nodes are counted from 1")
}
