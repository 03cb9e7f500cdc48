//! One core of another node, as a core of this node deals with it: its connections, and the making of one.
//!
//! Invariant: messages wait for a dial only while one is under way, or in no link at all.

use annulus_net::backoff::Backoff;
use annulus_net::link::Link;
use annulus_net::ring::ConnectionId;
use smallvec::SmallVec;

use crate::core_inbox::PeerCore;

/// What a message for a peer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// It goes out on a connection that stands.
    Link(ConnectionId),
    /// It waits for the dial under way.
    Waiting,
    /// It is the reason to dial.
    Dial,
    /// It is not taken.
    BackingOff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dial {
    Idle,
    UnderWay { since_us: u64 },
    BackingOff { until_us: u64 },
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: PeerCore,
    /// Those that stand, the oldest first.
    pub(super) connections: SmallVec<[ConnectionId; 2]>,
    /// What waits for the dial under way; whichever connection comes first takes it.
    pub(super) waiting: Option<Box<Link>>,
    pub(super) last_refusal: Option<String>,
    /// When anybody last had a message for it, or it was heard of.
    pub(super) needed_us: u64,
    dial: Dial,
    backoff: Backoff,
}

impl Peer {
    pub(super) fn new(id: PeerCore, redial_us: (u64, u64), now_us: u64) -> Self {
        Self {
            id,
            connections: SmallVec::new(),
            waiting: None,
            last_refusal: None,
            needed_us: now_us,
            dial: Dial::Idle,
            backoff: Backoff::new(redial_us.0, redial_us.1),
        }
    }

    /// Messages stay with the oldest connection as long as it answers, so that they keep their order; the newest is the next
    /// best guess.
    pub(super) fn route(&self, now_us: u64, is_doubtful: impl Fn(&ConnectionId) -> bool) -> Route {
        if let Some(newest) = self.connections.last() {
            let sound = self.connections.iter().find(|connection| !is_doubtful(connection));
            return Route::Link(*sound.unwrap_or(newest));
        }
        match self.dial {
            Dial::UnderWay { .. } => Route::Waiting,
            Dial::BackingOff { until_us } if now_us < until_us => Route::BackingOff,
            Dial::Idle | Dial::BackingOff { .. } => Route::Dial,
        }
    }

    pub(super) fn begin_dial(&mut self, waiting: Box<Link>, now_us: u64) {
        assert!(!self.is_dialling(), "at most one dial per peer is under way");
        self.dial = Dial::UnderWay { since_us: now_us };
        self.waiting = Some(waiting);
    }

    pub(super) fn is_dialling(&self) -> bool {
        matches!(self.dial, Dial::UnderWay { .. })
    }

    /// Until when it is not dialled.
    pub(super) fn backing_off_until(&self, now_us: u64) -> Option<u64> {
        match self.dial {
            Dial::BackingOff { until_us } if now_us < until_us => Some(until_us),
            _ => None,
        }
    }

    pub(super) fn dial_succeeded(&mut self) {
        self.dial = Dial::Idle;
        self.backoff.succeeded();
        self.last_refusal = None;
    }

    /// True when messages that waited are lost.
    pub(super) fn dial_failed(&mut self, why: String, is_refused: bool, random: u64, now_us: u64) -> bool {
        let wait_us = if is_refused { self.backoff.failed_for_long(random) } else { self.backoff.failed(random) };
        self.dial = Dial::BackingOff { until_us: now_us.saturating_add(wait_us) };
        self.last_refusal = Some(why);
        self.waiting.take().is_some()
    }

    pub(super) fn is_dial_unheard(&self, now_us: u64, unheard_us: u64) -> bool {
        matches!(self.dial, Dial::UnderWay { since_us } if now_us.saturating_sub(since_us) >= unheard_us)
    }

    pub(super) fn is_forgettable(&self, now_us: u64, forget_us: u64) -> bool {
        let is_needed = now_us.saturating_sub(self.needed_us) < forget_us;
        self.connections.is_empty() && !self.is_dialling() && !is_needed
    }
}
