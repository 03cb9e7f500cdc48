//! The network between nodes: packets that take their time, get lost, come twice or in another order, links that let nothing
//! through in one direction or both, that clog, or that are full.
//!
//! It carries bytes and never looks into them. Where a link is cut, what is sent either vanishes or is held back until the
//! cut is mended, as a connection that lives on would; then it comes at once or, if the connection broke, never.
//!
//! Invariant: what happens to a packet is a function of the seed, of the link's state, and of how many were sent before.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use crate::clock::{Instant, MILLISECOND};
use crate::seeds::Random;

/// Packets that a link takes before it refuses more.
pub const LINK_PACKETS_MAX: usize = 4096;
/// What is on its way when all links are healed arrives within this.
const HEALED_WITHIN: Instant = 50 * MILLISECOND;

/// One message on its way.
#[derive(Debug, Clone)]
pub struct Packet {
    /// The sending node, by its place in the world.
    pub from: usize,
    /// The node that it is for.
    pub to: usize,
    /// Names the core.
    pub partition: u16,
    /// The encoded message.
    pub bytes: Vec<u8>,
    /// Which client's operation caused it, for the story and the model: no node sees this.
    pub cause: Option<u32>,
    /// Which life of the sender sent it.
    pub from_life: u32,
    /// Which life of the receiver it was meant for.
    pub to_life: u32,
}

/// How bad a link is while it works, in thousandths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weather {
    /// Packets that vanish.
    pub loss: u64,
    /// Packets that come twice.
    pub duplicate: u64,
    /// Packets that others overtake.
    pub reorder: u64,
    /// Packets that take long.
    pub late: u64,
}

/// What was done to packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Given to the network.
    pub sent: u64,
    /// Arrived.
    pub delivered: u64,
    /// Vanished.
    pub lost: u64,
    /// Came once more.
    pub duplicated: u64,
    /// Overtaken.
    pub reordered: u64,
    /// Took long.
    pub late: u64,
    /// Vanished at a cut.
    pub cut: u64,
    /// Held back by a cut.
    pub held: u64,
    /// Held back by a clogged link.
    pub clogged: u64,
    /// Not taken by a full link.
    pub refused: u64,
}

/// How a link is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// What is sent vanishes.
    Drops,
    /// What is sent waits.
    Holds,
}

#[derive(Debug, Default)]
struct Link {
    weather: Weather,
    cut: Option<Cut>,
    held: VecDeque<Packet>,
    clogged_until: Instant,
    /// The latest packet that was not overtaken arrives then.
    last_due: Instant,
    in_flight: usize,
}

/// All links of all nodes.
#[derive(Debug)]
pub struct Network {
    links: Vec<Link>,
    nodes: usize,
    latency_min: Instant,
    latency_mean: Instant,
    late_mean: Instant,
    random: Random,
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    packets: BTreeMap<u64, Packet>,
    next_number: u64,
    counts: Counts,
    /// The most packets that any link held at once.
    deepest: usize,
}

impl Network {
    /// Links between `nodes` nodes; a packet takes at least `latency_min` and `latency_mean` more on average.
    #[must_use]
    pub fn new(nodes: usize, latency_min: Instant, latency_mean: Instant, random: Random) -> Self {
        Self {
            links: (0..nodes * nodes).map(|_| Link::default()).collect(),
            nodes,
            latency_min,
            latency_mean,
            late_mean: latency_mean * 100,
            random,
            due: BinaryHeap::new(),
            packets: BTreeMap::new(),
            next_number: 0,
            counts: Counts::default(),
            deepest: 0,
        }
    }

    /// Takes a packet; `false` when the link is full and it did not leave.
    pub fn send(&mut self, now: Instant, packet: Packet) -> bool {
        self.counts.sent += 1;
        let at = self.at(packet.from, packet.to);
        let link = &mut self.links[at];
        if link.in_flight + link.held.len() >= LINK_PACKETS_MAX {
            self.counts.refused += 1;
            return false;
        }
        match link.cut {
            Some(Cut::Drops) => self.counts.cut += 1,
            Some(Cut::Holds) => {
                self.counts.held += 1;
                link.held.push_back(packet);
            }
            None => self.route(now, packet),
        }
        self.deepest = self.deepest.max(self.links[at].in_flight + self.links[at].held.len());
        true
    }

    /// When the next packet arrives.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// The packet that arrives next.
    pub fn take(&mut self) -> Option<Packet> {
        let Reverse((_, number)) = self.due.pop()?;
        let packet = self.packets.remove(&number).expect("what is due is there");
        let at = self.at(packet.from, packet.to);
        self.links[at].in_flight -= 1;
        self.counts.delivered += 1;
        Some(packet)
    }

    /// Sets how bad a link is.
    pub fn set_weather(&mut self, from: usize, to: usize, weather: Weather) {
        let at = self.at(from, to);
        self.links[at].weather = weather;
    }

    /// Cuts a link in one direction.
    pub fn cut(&mut self, from: usize, to: usize, cut: Cut) {
        let at = self.at(from, to);
        self.links[at].cut = Some(cut);
    }

    /// Mends a link; what it held back comes now, or never if `breaks`.
    pub fn mend(&mut self, now: Instant, from: usize, to: usize, breaks: bool) {
        let at = self.at(from, to);
        self.links[at].cut = None;
        for packet in std::mem::take(&mut self.links[at].held) {
            if breaks {
                self.counts.cut += 1;
            } else {
                self.route(now, packet);
            }
        }
    }

    /// Nothing comes through a link before an instant; then everything does.
    pub fn clog(&mut self, from: usize, to: usize, until: Instant) {
        let at = self.at(from, to);
        self.links[at].clogged_until = self.links[at].clogged_until.max(until);
    }

    /// All links work, and well: what is on its way comes soon, in its order.
    pub fn heal(&mut self, now: Instant) {
        let latest = now + HEALED_WITHIN;
        let due = self.due.drain().map(|Reverse((due, number))| Reverse((due.min(latest), number)));
        self.due = due.collect();
        for from in 0..self.nodes {
            for to in 0..self.nodes {
                let at = self.at(from, to);
                self.links[at].weather = Weather::default();
                self.links[at].clogged_until = 0;
                self.links[at].last_due = self.links[at].last_due.min(latest);
                self.mend(now, from, to, false);
            }
        }
    }

    /// Whether a packet that is sent now would come soon, chance aside.
    #[must_use]
    pub fn passes(&self, now: Instant, from: usize, to: usize) -> bool {
        let link = &self.links[self.at(from, to)];
        link.cut.is_none() && link.clogged_until <= now
    }

    /// How long a message takes that is not lost.
    pub fn latency(&mut self) -> Instant {
        self.latency_min + self.random.waiting(self.latency_mean)
    }

    /// What was done to packets so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The most packets that any link held at once.
    #[must_use]
    pub fn deepest(&self) -> usize {
        self.deepest
    }

    fn at(&self, from: usize, to: usize) -> usize {
        assert!(from < self.nodes && to < self.nodes, "a link joins two nodes");
        from * self.nodes + to
    }

    fn route(&mut self, now: Instant, packet: Packet) {
        let at = self.at(packet.from, packet.to);
        let weather = self.links[at].weather;
        if self.random.per_mille(weather.loss) {
            self.counts.lost += 1;
            return;
        }
        if self.random.per_mille(weather.duplicate) {
            self.counts.duplicated += 1;
            // Sent twice by somebody who waited for a receipt, or doubled on the way.
            let long = if self.random.one_in(2) { self.random.waiting(self.late_mean) } else { 0 };
            let later = now + self.latency() + long;
            self.enqueue(later, at, packet.clone());
        }
        let mut due = now + self.latency();
        if self.random.per_mille(weather.late) {
            self.counts.late += 1;
            due += self.random.waiting(self.late_mean);
        }
        let link = &mut self.links[at];
        if link.clogged_until > due {
            self.counts.clogged += 1;
            due = link.clogged_until + 1;
        }
        if self.random.per_mille(weather.reorder) {
            self.counts.reordered += 1;
            due += self.random.waiting(self.late_mean);
        } else {
            let link = &mut self.links[at];
            due = due.max(link.last_due);
            link.last_due = due;
        }
        self.enqueue(due, at, packet);
    }

    fn enqueue(&mut self, due: Instant, at: usize, packet: Packet) {
        let number = self.next_number;
        self.next_number += 1;
        self.links[at].in_flight += 1;
        self.due.push(Reverse((due, number)));
        self.packets.insert(number, packet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::Consumer;

    fn network() -> Network {
        Network::new(3, 100, 500, Random::new(3, Consumer::Network, 0))
    }

    fn packet(byte: u8) -> Packet {
        Packet { from: 0, to: 1, partition: 0, bytes: vec![byte], cause: None, from_life: 1, to_life: 1 }
    }

    fn arrivals(network: &mut Network) -> Vec<u8> {
        std::iter::from_fn(|| network.take()).map(|packet| packet.bytes[0]).collect()
    }

    #[test]
    fn a_good_link_keeps_the_order() {
        let mut network = network();
        (0..100).for_each(|byte| assert!(network.send(u64::from(byte), packet(byte))));
        assert_eq!(arrivals(&mut network), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_bad_link_does_everything_that_it_may() {
        let mut network = network();
        network.set_weather(0, 1, Weather { loss: 200, duplicate: 200, reorder: 200, late: 200 });
        (0..200).for_each(|byte| assert!(network.send(u64::from(byte) * 100, packet(byte))));
        let came = arrivals(&mut network);
        let counts = network.counts();
        assert_eq!(came.len() as u64, 200 - counts.lost + counts.duplicated);
        assert!(counts.lost > 10 && counts.duplicated > 10 && counts.reordered > 10 && counts.late > 10, "{counts:?}");
        assert!(!came.is_sorted());
    }

    #[test]
    fn a_cut_is_one_way_and_keeps_or_drops() {
        let mut network = network();
        network.cut(0, 1, Cut::Holds);
        assert!(network.send(0, packet(1)));
        assert!(!network.passes(0, 0, 1) && network.passes(0, 1, 0));
        assert_eq!(network.next_due(), None);
        network.mend(5_000, 0, 1, false);
        assert!(network.next_due() >= Some(5_000));
        assert_eq!(arrivals(&mut network), [1]);
        network.cut(0, 1, Cut::Drops);
        assert!(network.send(6_000, packet(2)));
        network.heal(7_000);
        assert_eq!(arrivals(&mut network), [0; 0]);
    }

    #[test]
    fn a_full_link_refuses() {
        let mut network = network();
        network.cut(0, 1, Cut::Holds);
        (0..LINK_PACKETS_MAX).for_each(|_| assert!(network.send(0, packet(0))));
        assert!(!network.send(0, packet(1)));
        assert_eq!((network.counts().refused, network.deepest()), (1, LINK_PACKETS_MAX));
    }

    #[test]
    fn a_clogged_link_delivers_late_unless_it_is_healed() {
        let mut network = network();
        network.clog(0, 1, 1_000_000);
        assert!(network.send(0, packet(1)));
        assert_eq!(network.next_due(), Some(1_000_001));
        network.heal(200_000);
        assert!(network.send(200_000, packet(2)));
        assert_eq!(network.next_due(), Some(200_000 + HEALED_WITHIN));
        assert_eq!(arrivals(&mut network), [1, 2]);
    }
}
