//! This core's links to cores of other nodes: frames in, frames out, and who cannot be reached.
//!
//! Invariant: what is sent to a peer leaves with this turn, or the protocol is told that it did not.

use annulus_cluster::event::Event;
use annulus_cluster::ids::NodeId;
use annulus_engine::Disk;
use annulus_net::ring::ConnectionId;
use std::net::SocketAddr;

use super::ShardLoop;
use annulus_cluster::message::partition_of;

use crate::control::ToControl;
use crate::core_inbox::{Connected, CoreEvent, PeerCore};
use crate::operation::NotDone;
use crate::peers::{Channel, Peers};

/// Nodes that a turn finds unreachable at most; the rest waits for the next.
const LOST_ROUNDS_MAX: usize = 64;

impl<D: Disk> ShardLoop<D> {
    /// A connection to another node's core stands, and this core's ring has it.
    pub fn on_peer_connected(&mut self, connection: ConnectionId, connected: Connected) {
        let now_us = self.now.steady_ns / 1000;
        let Connected { peer, skew_ms, .. } = connected;
        if self.node.skews.note(peer.node, skew_ms) {
            tracing::warn!(node = %peer.node, skew_ms, "the clocks of this node and another one are apart");
        }
        self.links().on_connected(connection, connected, now_us);
    }

    /// A thread that is no core has told this core something else.
    pub fn on_core_event(&mut self, event: CoreEvent) {
        match event {
            CoreEvent::PeerConnected { .. } => unreachable!("the driver takes its socket first"),
            CoreEvent::DialFailed { peer, why, is_refused } => {
                let now_us = self.now.steady_ns / 1000;
                self.links().on_dial_failed(peer, why, is_refused, now_us);
            }
            CoreEvent::SendControl { to, at, bytes } => self.send_control(to, at, &bytes),
            CoreEvent::Operated { token, result } => self.on_operated(token, result.map_err(NotDone::Refused)),
            CoreEvent::Adopt(actor) => self.store.engine_mut().adopt_incarnation(actor),
        }
    }

    /// Sends a peer's core a frame; if it surely does not leave, the node counts as lost at the end of the turn.
    pub(super) fn send_frame(&mut self, peer: PeerCore, address: Option<SocketAddr>, channel: Channel, bytes: &[u8]) {
        let now_us = self.now.steady_ns / 1000;
        // Who does not get it is told of by `next_lost`. A client's commands for one key keep their order, whatever their
        // lengths: of messages about data the lane is the partition.
        let lane = if channel == Channel::Data { partition_of(bytes).unwrap_or(0) } else { 0 };
        let _ = self.links().send_in_lane(peer, address, (channel, lane.into()), bytes, now_us);
    }

    /// Control planes speak through their nodes' first cores.
    fn send_control(&mut self, to: NodeId, at: Option<SocketAddr>, bytes: &[u8]) {
        let address = self.replication.view.member(to).and_then(|member| member.address).or(at);
        self.send_frame(PeerCore { node: to, core: 0 }, address, Channel::Control, bytes);
    }

    /// The links; out while frames are heard.
    pub(super) fn links(&mut self) -> &mut Peers {
        self.peers
            .as_mut()
            .expect("frames are heard one connection at a time, and lead to no sends before that is over")
    }

    /// Bytes came from a peer.
    pub(super) fn on_peer_bytes(&mut self, connection: ConnectionId, bytes: &[u8]) {
        let now_us = self.now.steady_ns / 1000;
        // Commands and replies lead to frames themselves, so they wait until all frames of these bytes were heard.
        let mut later: Vec<(PeerCore, Channel, Vec<u8>)> = Vec::new();
        // Taken out: what a frame leads to is sent when all frames of these bytes were heard.
        let mut peers = self.peers.take().expect("frames are heard one connection at a time");
        peers.on_received(connection, bytes, now_us, &mut |peer, channel, bytes| match channel {
            Channel::Data => self.tell(Event::Message { from: peer.node, bytes }),
            Channel::Control => self.tell_control(ToControl::Message { from: peer.node, bytes: bytes.to_vec() }),
            Channel::Command | Channel::Reply => later.push((peer, channel, bytes.to_vec())),
        });
        self.peers = Some(peers);
        for (peer, channel, bytes) in later {
            match channel {
                Channel::Command => self.on_peer_command(peer, &bytes),
                _ => self.on_peer_reply(peer, &bytes),
            }
        }
        self.unpublished = true;
        self.maybe_carry_out();
    }

    /// Whether a connection is a link to a peer; the others are clients.
    #[inline]
    pub(super) fn is_link(&self, connection: ConnectionId) -> bool {
        self.peers.as_ref().is_some_and(|peers| peers.owns(connection))
    }

    /// Has everything sent and answered that the turn has led to, and the protocol told of those who are not reached.
    pub(super) fn settle_protocol(&mut self) {
        self.carry_out_all();
        for _ in 0..LOST_ROUNDS_MAX {
            let Some(node) = self.links().next_lost() else { return };
            self.tell(Event::Unreachable { peer: node });
            self.tell_control(ToControl::Unreachable { peer: node });
            self.lose_asked(node);
            self.carry_out_all();
        }
    }

    /// What the links want of the ring.
    pub(super) fn flush_links(&mut self) {
        let peers = self.peers.as_mut().expect("frames are heard within a turn");
        while let Some((connection, buffer)) = peers.next_send() {
            self.outbox.sends.push((connection, buffer));
        }
        while let Some(connection) = peers.next_close() {
            self.outbox.closes.push(connection);
        }
        while let Some(dial) = peers.next_dial() {
            self.outbox.dials.push(dial);
        }
    }

    pub(super) fn tell_control(&mut self, what: ToControl) {
        if let Some(control) = &self.node.control {
            // It is far behind: what it misses it finds out by itself, later.
            let _ = control.send(what);
        }
    }
}
