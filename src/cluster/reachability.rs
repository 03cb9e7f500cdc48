//! Which peers requests go to: those that the failure detector hears, less those that this node itself got no answer from.
//!
//! The failure detector takes seconds, because it must not be wrong for the whole cluster. A node that gets no answer routes
//! around the peer at once, for itself alone, and probes it now and then until it answers:
//!
//! ```text
//!           refused once, or timed out several times in a row
//!   good ────────────────────────────────────────────────▶ avoided ──── wait is over ───▶ probed
//!    ▲ ▲                                                    │   ▲                           │ │
//!    │ └────────────────────── answered ────────────────────┘   └──── no answer in time ────┘ │
//!    └──────────────────────────────────── answered ──────────────────────────────────────────┘
//! ```
//!
//! Membership and other nodes never hear of it.
//!
//! Invariant: a peer that the detector does not hear has no state here; every peer that is avoided has exactly one instant at
//! which something happens next.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::ids::NodeId;
use crate::limits::ControlLimits;
use crate::random::Random;

/// What became of something that was sent to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered, whatever the answer.
    Answered,
    /// No answer in time.
    TimedOut,
    /// Surely nothing will come: the connection was refused, reset, or its queue is full.
    Refused,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Requests may go to the peer, or not any more.
    Reachable {
        /// The peer.
        node: NodeId,
        /// See above.
        up: bool,
    },
    /// Ask the peer over the reliable transport whether it answers.
    Probe {
        /// The peer.
        node: NodeId,
        /// To be repeated by the answer.
        number: u64,
    },
}

/// A peer that the detector hears.
#[derive(Debug)]
struct Peer {
    address: SocketAddr,
    /// In a row.
    timeouts: u8,
    avoided: Option<Avoided>,
    /// How often it was avoided without a good while between.
    rounds: u32,
    good_since_us: u64,
}

/// Nothing is sent to it but a probe.
#[derive(Debug)]
struct Avoided {
    /// Of the probe that is under way.
    probe: Option<u64>,
    /// End of the wait, or of the probe.
    next_us: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Reachability {
    limits: ControlLimits,
    peers: BTreeMap<NodeId, Peer>,
    /// Instants of the peers that are avoided.
    due: BTreeSet<(u64, NodeId)>,
    random: Random,
    probes: u64,
}

impl Reachability {
    /// Nobody is known.
    #[must_use]
    pub fn new(limits: &ControlLimits, random: Random) -> Self {
        Self { limits: limits.clone(), peers: BTreeMap::new(), due: BTreeSet::new(), random, probes: 0 }
    }

    /// Whether requests may go to the node.
    #[must_use]
    pub fn is_up(&self, node: NodeId) -> bool {
        self.peers.get(&node).is_some_and(|peer| peer.avoided.is_none())
    }

    /// Whether the failure detector hears the node.
    #[must_use]
    pub fn is_heard(&self, node: NodeId) -> bool {
        self.peers.contains_key(&node)
    }

    /// Where the failure detector hears the node.
    #[must_use]
    pub fn address(&self, node: NodeId) -> Option<SocketAddr> {
        self.peers.get(&node).map(|peer| peer.address)
    }

    /// When [`Reachability::on_tick`] has something to do.
    #[must_use]
    pub fn next_due_us(&self) -> Option<u64> {
        self.due.first().map(|&(due_us, _)| due_us)
    }

    /// The detector hears a node, for the first time, again, or another one under its name: nothing is held against it.
    pub fn on_heard(&mut self, now_us: u64, node: NodeId, address: SocketAddr, changes: &mut Vec<Change>) {
        let was_up = self.is_up(node);
        self.forget(node);
        let peer = Peer { address, timeouts: 0, avoided: None, rounds: 0, good_since_us: now_us };
        self.peers.insert(node, peer);
        if !was_up {
            changes.push(Change::Reachable { node, up: true });
        }
    }

    /// The detector does not hear it any more.
    pub fn on_unheard(&mut self, node: NodeId, changes: &mut Vec<Change>) {
        let was_up = self.is_up(node);
        self.forget(node);
        if was_up {
            changes.push(Change::Reachable { node, up: false });
        }
    }

    /// Something that was sent to the node came to an end.
    pub fn on_outcome(&mut self, now_us: u64, node: NodeId, outcome: Outcome, changes: &mut Vec<Change>) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        match outcome {
            Outcome::Answered => {
                peer.timeouts = 0;
                if let Some(avoided) = peer.avoided.take() {
                    peer.good_since_us = now_us;
                    self.due.remove(&(avoided.next_us, node));
                    changes.push(Change::Reachable { node, up: true });
                }
            }
            Outcome::TimedOut => {
                peer.timeouts = peer.timeouts.saturating_add(1);
                if peer.timeouts >= self.limits.timeouts_max {
                    self.avoid(now_us, node, changes);
                }
            }
            Outcome::Refused => self.avoid(now_us, node, changes),
        }
    }

    /// The answer to a probe: another's, or an old one's, is no news.
    pub fn on_probe_reply(&mut self, now_us: u64, node: NodeId, number: u64, changes: &mut Vec<Change>) {
        let avoided = self.peers.get(&node).and_then(|peer| peer.avoided.as_ref());
        if avoided.is_some_and(|avoided| avoided.probe == Some(number)) {
            self.on_outcome(now_us, node, Outcome::Answered, changes);
        }
    }

    /// Time has passed.
    pub fn on_tick(&mut self, now_us: u64, changes: &mut Vec<Change>) {
        while let Some(&(due_us, node)) = self.due.first()
            && due_us <= now_us
        {
            self.due.pop_first();
            let peer = self.peers.get_mut(&node).expect("what is due is of a peer");
            let avoided = peer.avoided.as_mut().expect("what is due is avoided");
            if avoided.probe.take().is_some() {
                peer.rounds += 1;
                avoided.next_us = now_us + wait_us(peer.rounds, &self.limits, &mut self.random);
            } else {
                self.probes += 1;
                avoided.probe = Some(self.probes);
                avoided.next_us = now_us + self.limits.answer_timeout_us;
                changes.push(Change::Probe { node, number: self.probes });
            }
            self.due.insert((avoided.next_us, node));
        }
    }

    /// Unless it is avoided already.
    fn avoid(&mut self, now_us: u64, node: NodeId, changes: &mut Vec<Change>) {
        let peer = self.peers.get_mut(&node).expect("the caller has looked it up");
        if let Some(avoided) = &peer.avoided {
            // A probe that was refused is answered: no.
            if avoided.probe.is_some() {
                self.due.remove(&(avoided.next_us, node));
                peer.rounds += 1;
                let next_us = now_us + wait_us(peer.rounds, &self.limits, &mut self.random);
                peer.avoided = Some(Avoided { probe: None, next_us });
                self.due.insert((next_us, node));
            }
            return;
        }
        let was_good = now_us.saturating_sub(peer.good_since_us) >= self.limits.avoid_us_max;
        peer.rounds = if was_good { 0 } else { peer.rounds + 1 };
        peer.timeouts = 0;
        let next_us = now_us + wait_us(peer.rounds, &self.limits, &mut self.random);
        peer.avoided = Some(Avoided { probe: None, next_us });
        self.due.insert((next_us, node));
        changes.push(Change::Reachable { node, up: false });
    }

    fn forget(&mut self, node: NodeId) {
        if let Some(Peer { avoided: Some(avoided), .. }) = self.peers.remove(&node) {
            self.due.remove(&(avoided.next_us, node));
        }
    }
}

/// Doubles with every round.
fn wait_us(rounds: u32, limits: &ControlLimits, random: &mut Random) -> u64 {
    random.about(limits.avoid_us_min.saturating_mul(1 << rounds.min(32)).min(limits.avoid_us_max))
}

#[cfg(test)]
mod tests;
