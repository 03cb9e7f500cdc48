//! One core's links to the cores of other nodes: which stand, what waits for them, which are to be made. It owns no socket: the
//! core's loop carries out what it asks for.
//!
//! ```text
//! send ──▶ Peers ── next_send ──▶ the ring          dials ──▶ dialer ──▶ CoreEvent::{PeerConnected, DialFailed} ──▶ Peers
//! on_received ──▶ Peers ──▶ deliver                 lost ───▶ the protocol: what went to that node may not be answered
//! ```
//!
//! A link joins one core of this node and one of another, and carries both directions; it does not matter who has dialled. What
//! is sent while a link is being made waits in it. Nobody is dialled without need: a link that has ended is made anew by the next
//! message.
//!
//! Invariants: at most one dial per peer is under way; of every message that may be lost its node is told of by
//! [`Peers::next_lost`] — one that was not taken, and those of a link that ended.

pub mod acceptor;
mod channel;
pub mod dialer;
mod handshaking;
pub mod limits;
mod offered;
mod outgoing;
mod peer;
mod refusal_log;
mod status;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;

use annulus_cluster::ids::NodeId;
use annulus_cluster::random::Random;
use annulus_net::link::{Link, LinkCounts, Standing};
use annulus_net::ring::ConnectionId;

use crate::core_inbox::{Connected, PeerCore};
use limits::PeersLimits;
use peer::Peer;

pub use channel::Channel;
pub use handshaking::{HandshakeContext, HandshakeCounters, HandshakeFailed};
pub use offered::Offered;
pub use outgoing::Unsent;
pub use status::{LinkState, LinkStatus, PeersCounters};

/// A connection that is wanted; for [`dialer::Dialer::dial`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DialRequest {
    /// The other end.
    pub peer: PeerCore,
    /// The peers' port of its node.
    pub address: SocketAddr,
}

/// A connection of the ring that is a link.
#[derive(Debug)]
struct Slot {
    facts: Connected,
    since_us: u64,
    /// `None` while the connection closes.
    link: Option<Link>,
    /// It is in `ready`.
    is_ready: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Peers {
    limits: PeersLimits,
    random: Random,
    /// The caller's clock when it last told, and how much of it counts.
    steady_us: u64,
    attended_us: u64,
    /// By the connection's index, which clients have as well: so most are empty, and small.
    slots: Vec<Option<Box<Slot>>>,
    /// Ascending by peer: few, and looked up for every message.
    peers: Vec<Peer>,
    /// Links that may have output.
    ready: VecDeque<ConnectionId>,
    closes: VecDeque<ConnectionId>,
    dials: VecDeque<DialRequest>,
    /// Each node once.
    lost: VecDeque<NodeId>,
    counters: PeersCounters,
    /// Of links that have ended.
    ended_counts: LinkCounts,
}

impl Peers {
    /// No link yet. `seed` is for the chance in back-offs: different ones for different cores and starts.
    pub fn new(limits: PeersLimits, seed: u64, now_us: u64) -> Self {
        Self {
            limits,
            random: Random::new(seed),
            steady_us: now_us,
            attended_us: 0,
            slots: Vec::new(),
            peers: Vec::new(),
            ready: VecDeque::new(),
            closes: VecDeque::new(),
            dials: VecDeque::new(),
            lost: VecDeque::new(),
            counters: PeersCounters::default(),
            ended_counts: LinkCounts::default(),
        }
    }

    /// A connection stands; from now on it is this table's until [`Peers::on_closed`].
    pub fn on_connected(&mut self, connection: ConnectionId, facts: Connected, now_us: u64) {
        self.look_at_clock(now_us);
        let at = self.find_or_add(facts.peer);
        let peer = &mut self.peers[at];
        let mut link = match peer.waiting.take() {
            Some(waiting) => *waiting,
            None => Link::new(self.limits.link, self.attended_us),
        };
        link.begin(self.attended_us);
        peer.connections.push(connection);
        let oldest = (peer.connections.len() > self.limits.connections_max).then(|| peer.connections[0]);
        if facts.is_dialled {
            peer.dial_succeeded();
            self.counters.dialled += 1;
        } else {
            self.counters.accepted += 1;
        }
        if self.slots.len() <= connection.index() {
            self.slots.resize_with(connection.index() + 1, || None);
        }
        let slot = &mut self.slots[connection.index()];
        assert!(slot.is_none(), "a connection's number is given again only after it has closed");
        *slot = Some(Box::new(Slot { facts, since_us: now_us, link: Some(link), is_ready: false }));
        self.make_ready(connection);
        if let Some(oldest) = oldest {
            self.end(oldest);
        }
    }

    /// A dial came to nothing. With `is_refused` the other side is there and will not have us: the next try is a long way off.
    pub fn on_dial_failed(&mut self, peer: PeerCore, why: String, is_refused: bool, now_us: u64) {
        self.look_at_clock(now_us);
        self.counters.dials_failed += 1;
        self.counters.dials_refused += u64::from(is_refused);
        let at = self.find_or_add(peer);
        // It is tried again and again: only what is new is worth a line.
        if self.peers[at].last_refusal.as_deref() != Some(&why) {
            tracing::warn!(node = %peer.node, core = peer.core, why, "a peer is not connected");
        }
        let random = self.random.draw();
        if self.peers[at].dial_failed(why, is_refused, random, now_us) {
            self.note_lost(peer.node);
        }
    }

    /// Whether a connection of the ring is one of these links; others are clients.
    #[inline]
    pub fn owns(&self, connection: ConnectionId) -> bool {
        matches!(self.slots.get(connection.index()), Some(Some(_)))
    }

    /// Bytes came on a link; each message that is whole now is delivered.
    pub fn on_received(
        &mut self,
        connection: ConnectionId,
        bytes: &[u8],
        now_us: u64,
        deliver: &mut dyn FnMut(PeerCore, Channel, &[u8]),
    ) {
        self.look_at_clock(now_us);
        let attended_us = self.attended_us;
        let Some(Slot { facts, link: Some(link), .. }) = self.slots[connection.index()].as_deref_mut() else {
            return;
        };
        let peer = facts.peer;
        let mut unknown = None;
        let result = link.on_received(bytes, attended_us, &mut |number, message| match Channel::from_number(number) {
            Some(channel) => deliver(peer, channel, message),
            None => unknown = Some(number),
        });
        let bad = match (result, unknown) {
            (Err(error), _) => error.to_string(),
            (Ok(()), Some(number)) => format!("a message on a channel that is not known ({number})"),
            (Ok(()), None) => return self.make_ready(connection),
        };
        tracing::warn!(node = %peer.node, core = peer.core, why = bad, "a peer's connection is ended");
        self.counters.bad += 1;
        self.end(connection);
    }

    /// A buffer of [`Peers::next_send`] comes back; `is_ok` when all of it was sent.
    pub fn on_sent(&mut self, connection: ConnectionId, buffer: Vec<u8>, is_ok: bool, now_us: u64) {
        self.look_at_clock(now_us);
        let attended_us = self.attended_us;
        let Some(link) = self.link_mut(connection) else {
            return;
        };
        if is_ok {
            link.on_sent(buffer, attended_us);
            self.make_ready(connection);
        } else {
            self.end(connection);
        }
    }

    /// The other end sends no more, or receiving failed: half a link is of no use.
    pub fn on_ended(&mut self, connection: ConnectionId) {
        self.end(connection);
    }

    /// A connection of [`Peers::next_close`] has closed; its number may be given again.
    pub fn on_closed(&mut self, connection: ConnectionId) {
        self.detach(connection);
        self.slots[connection.index()] = None;
    }

    /// Looks after the links; to be called every few dozen milliseconds.
    pub fn tick(&mut self, now_us: u64) {
        self.look_at_clock(now_us);
        let attended_us = self.attended_us;
        for index in 0..self.slots.len() {
            let Some(Slot { facts, link: Some(link), .. }) = self.slots[index].as_deref_mut() else {
                continue;
            };
            let connection = ConnectionId::from_index(index);
            if link.tick(attended_us) == Standing::Dead {
                tracing::warn!(node = %facts.peer.node, core = facts.peer.core, "a peer does not answer any more");
                self.counters.dead += 1;
                self.end(connection);
            } else {
                self.make_ready(connection);
            }
        }
        for at in 0..self.peers.len() {
            if self.peers[at].is_dial_unheard(now_us, self.limits.dial_unheard_us) {
                let peer = self.peers[at].id;
                self.on_dial_failed(peer, "nothing was heard of the dial".to_owned(), false, now_us);
            }
        }
        let forget_us = self.limits.forget_us;
        self.peers.retain(|peer| !peer.is_forgettable(now_us, forget_us));
    }

    /// A node is no member any more: its links end, and it is dialled no more until somebody sends to it.
    pub fn forget(&mut self, node: NodeId) {
        let is_of = |slot: &Slot| slot.facts.peer.node == node;
        for index in 0..self.slots.len() {
            if self.slots[index].as_deref().is_some_and(is_of) {
                self.end(ConnectionId::from_index(index));
            }
        }
        self.peers.retain(|peer| peer.id.node != node);
    }

    /// This node ends: so do all links.
    pub fn close_all(&mut self) {
        for index in 0..self.slots.len() {
            self.end(ConnectionId::from_index(index));
        }
    }

    /// The next buffer to send; it comes back by [`Peers::on_sent`].
    pub fn next_send(&mut self) -> Option<(ConnectionId, Vec<u8>)> {
        let attended_us = self.attended_us;
        while let Some(connection) = self.ready.pop_front() {
            if let Some(slot) = &mut self.slots[connection.index()] {
                slot.is_ready = false;
            }
            if let Some(buffer) = self.link_mut(connection).and_then(|link| link.take_output(attended_us)) {
                return Some((connection, buffer));
            }
        }
        None
    }

    /// The next connection to close.
    pub fn next_close(&mut self) -> Option<ConnectionId> {
        self.closes.pop_front()
    }

    /// The next connection to make.
    pub fn next_dial(&mut self) -> Option<DialRequest> {
        self.dials.pop_front()
    }

    /// The next node to which a message may have been lost: [`annulus_cluster::event::Event::Unreachable`].
    pub fn next_lost(&mut self) -> Option<NodeId> {
        self.lost.pop_front()
    }

    fn look_at_clock(&mut self, now_us: u64) {
        let passed_us = now_us.saturating_sub(self.steady_us).min(self.limits.attention_us);
        self.attended_us += passed_us;
        self.steady_us = self.steady_us.max(now_us);
    }

    fn find_or_add(&mut self, id: PeerCore) -> usize {
        match self.peers.binary_search_by_key(&id, |peer| peer.id) {
            Ok(at) => at,
            Err(at) => {
                self.peers.insert(at, Peer::new(id, self.limits.redial_us, self.steady_us));
                at
            }
        }
    }

    fn link_mut(&mut self, connection: ConnectionId) -> Option<&mut Link> {
        self.slots.get_mut(connection.index())?.as_mut()?.link.as_mut()
    }

    /// Notes that a link may have output.
    fn make_ready(&mut self, connection: ConnectionId) {
        if let Some(slot) = &mut self.slots[connection.index()]
            && !slot.is_ready
            && slot.link.as_ref().is_some_and(Link::has_output)
        {
            slot.is_ready = true;
            self.ready.push_back(connection);
        }
    }

    fn note_lost(&mut self, node: NodeId) {
        if !self.lost.contains(&node) {
            self.lost.push_back(node);
        }
    }

    /// Ends a link and has its connection closed.
    fn end(&mut self, connection: ConnectionId) {
        if self.detach(connection) {
            self.closes.push_back(connection);
        }
    }

    /// Takes a link out of use, and what it held with it; false when it was out of use.
    fn detach(&mut self, connection: ConnectionId) -> bool {
        let Some(slot) = self.slots.get_mut(connection.index()).and_then(Option::as_mut) else {
            return false;
        };
        let Some(link) = slot.link.take() else {
            return false;
        };
        let id = slot.facts.peer;
        self.ended_counts = status::sum(self.ended_counts, link.counts());
        self.counters.ended += 1;
        if let Ok(at) = self.peers.binary_search_by_key(&id, |peer| peer.id) {
            self.peers[at].connections.retain(|other| *other != connection);
        }
        self.note_lost(id.node);
        true
    }
}

fn link_of(slots: &[Option<Box<Slot>>], connection: ConnectionId) -> Option<&Link> {
    slots.get(connection.index())?.as_ref()?.link.as_ref()
}
