//! A message on its way out: which link it takes, or that one has to be made for it.
//!
//! Invariant: a message is taken as a whole or not at all; when it is not, its node is noted as lost.

use std::net::SocketAddr;

use annulus_net::link::{Link, SendError};
use annulus_net::ring::ConnectionId;

use super::peer::Route;
use super::{Channel, DialRequest, Peers, link_of};
use crate::core_inbox::PeerCore;

/// Why a message was not taken: nothing of it will be sent. Its node is told of by [`Peers::next_lost`] as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    /// Too much waits for the peer, or the message is longer than messages may be.
    #[error(transparent)]
    Link(#[from] SendError),
    /// It could not be reached a moment ago, and is not tried again yet.
    #[error("the peer could not be reached")]
    BackingOff,
    /// No connection stands, and it is not known where the node is.
    #[error("the peer's address is not known")]
    NoAddress,
}

impl Peers {
    /// Sends a message to a core of another node, over a connection that stands or is made for it; `address` is where to dial.
    /// The bytes are copied. `now_us` is the steady clock in microseconds, here and everywhere.
    ///
    /// Messages of up to 64 KiB keep their order as long as the connection stands; longer ones are overtaken by what comes after
    /// them: see [`Peers::send_in_lane`].
    ///
    /// Errors: see [`Unsent`].
    pub fn send(
        &mut self,
        peer: PeerCore,
        address: Option<SocketAddr>,
        channel: Channel,
        bytes: &[u8],
        now_us: u64,
    ) -> Result<(), Unsent> {
        self.look_at_clock(now_us);
        self.send_now(peer, address, (channel, None), bytes)
    }

    /// The same for a message whose order matters: those of one lane, of whatever length, arrive in the order of their sending as
    /// long as the connection stands. A partition makes a good lane.
    ///
    /// Errors: see [`Unsent`].
    pub fn send_in_lane(
        &mut self,
        peer: PeerCore,
        address: Option<SocketAddr>,
        (channel, lane): (Channel, u32),
        bytes: &[u8],
        now_us: u64,
    ) -> Result<(), Unsent> {
        self.look_at_clock(now_us);
        self.send_now(peer, address, (channel, Some(lane)), bytes)
    }

    fn send_now(
        &mut self,
        peer: PeerCore,
        address: Option<SocketAddr>,
        way: (Channel, Option<u32>),
        bytes: &[u8],
    ) -> Result<(), Unsent> {
        let sent = self.try_send(peer, address, way, bytes);
        if sent.is_err() {
            self.counters.unsent += 1;
            self.note_lost(peer.node);
        }
        sent
    }

    fn try_send(
        &mut self,
        id: PeerCore,
        address: Option<SocketAddr>,
        way: (Channel, Option<u32>),
        bytes: &[u8],
    ) -> Result<(), Unsent> {
        let at = self.find_or_add(id);
        let peer = &mut self.peers[at];
        peer.needed_us = self.steady_us;
        let slots = &self.slots;
        let is_doubtful = |connection: &ConnectionId| link_of(slots, *connection).is_none_or(Link::is_doubtful);
        match peer.route(self.steady_us, is_doubtful) {
            Route::Link(connection) => {
                let link = self.link_mut(connection).expect("a peer's connections are those that stand");
                push(link, way, bytes)?;
                self.make_ready(connection);
            }
            Route::Waiting => {
                let link = peer.waiting.get_or_insert_with(|| Box::new(Link::new(self.limits.link, self.attended_us)));
                push(link, way, bytes)?;
            }
            Route::Dial => {
                let address = address.ok_or(Unsent::NoAddress)?;
                let mut link = Box::new(Link::new(self.limits.link, self.attended_us));
                push(&mut link, way, bytes)?;
                peer.begin_dial(link, self.steady_us);
                self.dials.push_back(DialRequest { peer: id, address });
            }
            Route::BackingOff => return Err(Unsent::BackingOff),
        }
        Ok(())
    }
}

fn push(link: &mut Link, (channel, lane): (Channel, Option<u32>), bytes: &[u8]) -> Result<(), SendError> {
    match lane {
        Some(lane) => link.send_in_lane(channel.number(), lane, bytes),
        None => link.send(channel.number(), bytes),
    }
}
