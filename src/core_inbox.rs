//! What threads that are no cores tell a core: the control plane, and those that make and take connections of peers.
//!
//! Invariant: an inbox is bounded; who finds it full keeps what it has or gives it up, and never waits for the core.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};

use annulus_cluster::ids::NodeId;
use annulus_cluster::node::Refusal;
use annulus_net::ring::Bell;
use annulus_object::Actor;

/// What waits for a core at most; far more than a core takes in one turn.
const INBOX_MAX: usize = 4096;

/// A core of a node of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerCore {
    /// The node.
    pub node: NodeId,
    /// Its core.
    pub core: u16,
}

/// What is known of a connection when it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connected {
    /// The other end.
    pub peer: PeerCore,
    /// The newest version that both ends speak.
    pub version: u16,
    /// What both ends can do.
    pub capabilities: u64,
    /// This end has dialled.
    pub is_dialled: bool,
    /// How far the other node's clock is ahead of this one's, in milliseconds.
    pub skew_ms: i64,
}

/// One thing that a core is told.
#[derive(Debug)]
pub enum CoreEvent {
    /// A connection to another node's core stands: both have shown that they know the secret, and no byte of a frame was sent.
    PeerConnected {
        /// What is known of it.
        connected: Connected,
        /// The socket, non-blocking.
        socket: OwnedFd,
    },
    /// A connection that this core has asked for does not come about.
    DialFailed {
        /// The other end.
        peer: PeerCore,
        /// Why, for the log and for status.
        why: String,
        /// The other side is there, and refuses us: trying again soon is of no use.
        is_refused: bool,
    },
    /// The control plane has a message for a node's control plane; only core 0 is told.
    SendControl {
        /// Whom to.
        to: NodeId,
        /// Where it is, if the map does not say so.
        at: Option<SocketAddr>,
        /// One message.
        bytes: Vec<u8>,
    },
    /// What became of an operator's wish.
    Operated {
        /// From the wish.
        token: u64,
        /// Whether it is so now; of a removal, whether it was published.
        result: Result<(), Refusal>,
    },
    /// A new incarnation was stored, under which every core has to stamp from now on.
    Adopt(Actor),
}

/// The sending end; every thread has its own.
#[derive(Debug, Clone)]
pub struct CoreSender {
    sender: SyncSender<CoreEvent>,
    bell: Arc<Bell>,
}

impl CoreSender {
    /// Tells the core something and wakes it; gives it back when the inbox is full, or the core has ended.
    pub fn send(&self, event: CoreEvent) -> Result<(), CoreEvent> {
        match self.sender.try_send(event) {
            Ok(()) => {
                self.bell.ring();
                Ok(())
            }
            Err(TrySendError::Full(event) | TrySendError::Disconnected(event)) => Err(event),
        }
    }

    /// Wakes the core, which finds something elsewhere.
    pub fn ring(&self) {
        self.bell.ring();
    }
}

/// Where every core leaves the sending end of its inbox when it has a ring; by core.
pub type CoreSenders = Arc<[OnceLock<CoreSender>]>;

/// Places for the senders of so many cores.
pub fn senders(cores: u16) -> CoreSenders {
    (0..cores).map(|_| OnceLock::new()).collect()
}

/// The receiving end of one core.
#[derive(Debug)]
pub struct CoreInbox {
    receiver: Receiver<CoreEvent>,
}

impl CoreInbox {
    /// Both ends of a core whose ring watches the bell.
    pub fn new(bell: Bell) -> (CoreSender, Self) {
        let (sender, receiver) = sync_channel(INBOX_MAX);
        (CoreSender { sender, bell: Arc::new(bell) }, Self { receiver })
    }

    /// What comes next.
    pub fn next(&self) -> Option<CoreEvent> {
        self.receiver.try_recv().ok()
    }
}
