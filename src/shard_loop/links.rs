//! This core's links to cores of other nodes: frames in, frames out, and who cannot be reached.
//!
//! Invariant: what is sent to a peer leaves with this turn, or the protocol is told that it did not.

use annulus_cluster::event::Event;
use annulus_cluster::ids::NodeId;
use annulus_engine::Disk;
use annulus_net::ring::ConnectionId;
use std::net::SocketAddr;

use super::ShardLoop;
use crate::control::ToControl;
use crate::core_inbox::{CoreEvent, PeerCore};
use crate::peers::{Channel, Connected};

impl<D: Disk> ShardLoop<D> {
    /// A connection to another node's core stands, and this core's ring has it.
    pub fn on_peer_connected(&mut self, connection: ConnectionId, connected: Connected) {
        self.peers.on_connected(connection, connected, self.now.steady_ns / 1000);
    }

    /// A thread that is no core has told this core something else.
    pub fn on_core_event(&mut self, event: CoreEvent) {
        match event {
            CoreEvent::PeerConnected { .. } => unreachable!("the driver takes its socket first"),
            CoreEvent::DialFailed { peer, why, is_refused } => {
                self.peers.on_dial_failed(peer, why, is_refused, self.now.steady_ns / 1000);
            }
            CoreEvent::SendControl { to, at, bytes } => self.send_control(to, at, &bytes),
            CoreEvent::Operated { token, result } => self.on_operated(token, result),
            CoreEvent::Adopt(actor) => self.store.engine_mut().adopt_incarnation(actor),
        }
    }

    /// Sends a peer's core a frame; the protocol is told if it surely does not leave.
    pub(super) fn send_frame(&mut self, peer: PeerCore, address: Option<SocketAddr>, channel: Channel, bytes: &[u8]) {
        let now_us = self.now.steady_ns / 1000;
        if self.peers.send(peer, address, channel, bytes, now_us).is_err() {
            self.on_unsent(peer.node, channel);
        }
    }

    /// Control planes speak through their nodes' first cores.
    fn send_control(&mut self, to: NodeId, at: Option<SocketAddr>, bytes: &[u8]) {
        let address = self.replication.view.member(to).and_then(|member| member.address).or(at);
        self.send_frame(PeerCore { node: to, core: 0 }, address, Channel::Control, bytes);
    }

    fn on_unsent(&mut self, node: NodeId, channel: Channel) {
        match channel {
            Channel::Data => self.tell(Event::Unreachable { peer: node }),
            Channel::Control => self.tell_control(ToControl::Unreachable { peer: node }),
            Channel::Command | Channel::Reply => {}
        }
    }

    /// Bytes came from a peer.
    pub(super) fn on_peer_bytes(&mut self, connection: ConnectionId, bytes: &[u8]) {
        let now_us = self.now.steady_ns / 1000;
        // Taken out: what a frame leads to is sent when all frames of these bytes were heard.
        let mut peers = std::mem::take(&mut self.peers);
        peers.on_received(connection, bytes, now_us, &mut |peer, channel, bytes| match channel {
            Channel::Data => self.tell(Event::Message { from: peer.node, bytes }),
            Channel::Control => self.tell_control(ToControl::Message { from: peer.node, bytes: bytes.to_vec() }),
            Channel::Command => self.on_peer_command(peer, bytes),
            Channel::Reply => self.on_peer_reply(peer, bytes),
        });
        self.peers = peers;
        self.maybe_carry_out();
    }

    /// Ends a turn for the links: what was sent leaves, lost peers are told of.
    pub(super) fn end_turn_of_links(&mut self) {
        if self.peers.is_quiet() {
            return;
        }
        self.peers.on_turn(self.now.steady_ns / 1000, &mut self.outbox);
        while let Some(node) = self.peers.next_lost() {
            self.tell(Event::Unreachable { peer: node });
            self.tell_control(ToControl::Unreachable { peer: node });
        }
    }

    fn tell_control(&mut self, what: ToControl) {
        if let Some(control) = &self.node.control {
            // It is far behind: what it misses it finds out by itself, later.
            let _ = control.send(what);
        }
    }
}
