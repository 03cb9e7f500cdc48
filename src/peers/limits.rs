//! Bounds of one core's links and of those who make them.

use std::time::Duration;

use annulus_net::limits::LinkLimits;

/// Bounds of one core's links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeersLimits {
    /// Of each link.
    pub link: LinkLimits,
    /// Connections to one core of a peer; with more the oldest goes. Two stand when both ends have dialled at once, and for a
    /// moment one more than that when a peer has come back and the end of its former life was not noticed yet.
    pub connections_max: usize,
    /// How long a peer that could not be reached is not dialled: at first, and at most, in microseconds.
    pub redial_us: (u64, u64),
    /// A dial of which nothing was heard for so long counts as failed, in microseconds. Far above what dialling may take: it is
    /// for the event that got lost because the core's inbox was full.
    pub dial_unheard_us: u64,
    /// A peer without a connection that nobody has needed for so long is forgotten, in microseconds.
    pub forget_us: u64,
    /// What one look at the clock counts at most, in microseconds: a process that was stopped does not take its peers for dead.
    pub attention_us: u64,
}

impl PeersLimits {
    /// What production uses.
    pub const PRODUCTION: Self = Self {
        link: LinkLimits::PRODUCTION,
        connections_max: 4,
        redial_us: (50_000, 2_000_000),
        dial_unheard_us: 15_000_000,
        forget_us: 600_000_000,
        attention_us: 250_000,
    };
}

impl Default for PeersLimits {
    fn default() -> Self {
        Self::PRODUCTION
    }
}

/// How long a connection may take to come about.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// How long a handshake may take, from the first byte to the last.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(2);
/// Handshakes that are under way with those who have dialled this node; more are turned away.
pub const HANDSHAKES_MAX: usize = 32;
/// Threads that dial. A node that vanished without a word takes one of them for [`CONNECT_WITHIN`] per core and try.
pub const DIALLERS_MAX: usize = 32;
/// Dials that wait for a thread.
pub const DIALS_WAITING_MAX: usize = 1024;
/// How long a thread that dials waits for the next dial before it goes.
pub const DIALLER_IDLE: Duration = Duration::from_secs(10);
/// Time before the next connection is accepted after that has failed.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// A stranger's refusal is logged once in this time, for each address and reason.
pub const REFUSAL_REMEMBERED_FOR: Duration = Duration::from_secs(60);
/// Refusals of strangers that are logged in that time.
pub const REFUSALS_REMEMBERED: usize = 64;
