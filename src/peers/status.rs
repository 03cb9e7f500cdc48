//! What a core's links are doing, for those who look: `CLUSTER LINKS`, `INFO`, the metrics.

use annulus_net::link::{Link, LinkCounts};

use super::peer::Peer;
use super::{Peers, Slot, link_of};
use crate::core_inbox::PeerCore;

/// How it stands with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// A connection stands.
    Connected {
        /// This end has dialled.
        is_dialled: bool,
        /// Since when, on the steady clock, in microseconds.
        since_us: u64,
        /// The other end was asked whether it is there, and has not answered yet.
        is_doubtful: bool,
        /// The newest version that both ends speak.
        version: u16,
        /// What both ends can do.
        capabilities: u64,
        /// How far the other node's clock was ahead of this one's when they connected, in milliseconds.
        skew_ms: i64,
    },
    /// A connection is being made.
    Dialling,
    /// None came about; none is tried before then, on the steady clock, in microseconds.
    BackingOff {
        /// Then.
        until_us: u64,
    },
    /// None stands, and nobody has needed one since.
    Idle,
}

/// One connection, or a peer that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkStatus<'a> {
    /// The other end.
    pub peer: PeerCore,
    /// How it stands.
    pub state: LinkState,
    /// Bytes that wait to be sent.
    pub queued_bytes: usize,
    /// Messages that wait to be sent.
    pub queued_messages: usize,
    /// What went through.
    pub counts: LinkCounts,
    /// Why the last connection was refused or did not come about; forgotten when one stands that this end has dialled.
    pub last_refusal: Option<&'a str>,
}

/// What a core has counted since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeersCounters {
    /// Connections that this end has dialled.
    pub dialled: u64,
    /// Connections that others have dialled.
    pub accepted: u64,
    /// Dials that came to nothing, refused ones included.
    pub dials_failed: u64,
    /// Dials that the other end refused.
    pub dials_refused: u64,
    /// Connections that ended, for whatever reason.
    pub ended: u64,
    /// Of these, those whose other end did not answer.
    pub dead: u64,
    /// Of these, those on which something came that no peer sends.
    pub bad: u64,
    /// Messages that were not taken, for want of a connection or of room.
    pub unsent: u64,
}

impl Peers {
    /// What was counted.
    pub fn counters(&self) -> PeersCounters {
        self.counters
    }

    /// What went through all links since the start.
    pub fn totals(&self) -> LinkCounts {
        let links = self.slots.iter().flatten().filter_map(|slot| slot.link.as_ref());
        links.fold(self.ended_counts, |total, link| sum(total, link.counts()))
    }

    /// Links that stand.
    pub fn len(&self) -> usize {
        self.slots.iter().flatten().filter(|slot| slot.link.is_some()).count()
    }

    /// No link stands.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nothing waits to be sent.
    pub fn is_flushed(&self) -> bool {
        let is_flushed = |link: &Link| link.queued_messages() == 0;
        self.slots.iter().flatten().filter_map(|slot| slot.link.as_ref()).all(is_flushed)
            && self.peers.iter().all(|peer| peer.waiting.is_none())
    }

    /// Every link that stands, and every peer that has none; ascending by peer.
    pub fn links(&self) -> impl Iterator<Item = LinkStatus<'_>> {
        self.peers.iter().flat_map(|peer| {
            let standing = peer.connections.iter().filter_map(|connection| {
                let slot = self.slots.get(connection.index())?.as_ref()?;
                Some(status(peer, slot, link_of(&self.slots, *connection)?))
            });
            let other = peer.connections.is_empty().then(|| self.status_without_link(peer));
            standing.chain(other)
        })
    }

    fn status_without_link<'a>(&self, peer: &'a Peer) -> LinkStatus<'a> {
        let state = match peer.backing_off_until(self.steady_us) {
            Some(until_us) => LinkState::BackingOff { until_us },
            None if peer.is_dialling() => LinkState::Dialling,
            None => LinkState::Idle,
        };
        let (queued_bytes, queued_messages) =
            peer.waiting.as_ref().map_or((0, 0), |link| (link.queued_bytes(), link.queued_messages()));
        LinkStatus {
            peer: peer.id,
            state,
            queued_bytes,
            queued_messages,
            counts: LinkCounts::default(),
            last_refusal: peer.last_refusal.as_deref(),
        }
    }
}

fn status<'a>(peer: &'a Peer, slot: &Slot, link: &Link) -> LinkStatus<'a> {
    LinkStatus {
        peer: peer.id,
        state: LinkState::Connected {
            is_dialled: slot.facts.is_dialled,
            since_us: slot.since_us,
            is_doubtful: link.is_doubtful(),
            version: slot.facts.version,
            capabilities: slot.facts.capabilities,
            skew_ms: slot.facts.skew_ms,
        },
        queued_bytes: link.queued_bytes(),
        queued_messages: link.queued_messages(),
        counts: link.counts(),
        last_refusal: peer.last_refusal.as_deref(),
    }
}

pub(super) fn sum(a: LinkCounts, b: LinkCounts) -> LinkCounts {
    LinkCounts {
        bytes_in: a.bytes_in + b.bytes_in,
        bytes_out: a.bytes_out + b.bytes_out,
        messages_in: a.messages_in + b.messages_in,
        messages_out: a.messages_out + b.messages_out,
    }
}
