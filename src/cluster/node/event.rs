//! What a node's control plane is told.
//!
//! Invariant: an event borrows what it speaks of.

use std::net::SocketAddr;

use crate::ids::NodeId;
use crate::reachability::Outcome;

/// One thing that has happened.
#[derive(Debug, Clone, Copy)]
pub enum NodeEvent<'a> {
    /// A datagram has come. Those that have arrived go in before the time is told.
    Datagram(&'a [u8]),
    /// A message has come over the reliable transport.
    Message {
        /// Of whom the connection is.
        from: NodeId,
        /// One message.
        bytes: &'a [u8],
    },
    /// A message surely did not reach a peer, or the connection to it is gone.
    Unreachable {
        /// The peer.
        peer: NodeId,
    },
    /// The data plane got an answer from a peer, or none.
    Observed {
        /// The peer.
        peer: NodeId,
        /// What became of the request.
        outcome: Outcome,
    },
    /// Time has passed: at the latest when [`super::ControlNode::next_due_us`] says, or every 50 ms.
    Tick,
    /// Look for the cluster. The node's own entry is in the map already.
    Join {
        /// Where to ask. One's own address among them does no harm.
        seeds: &'a [SocketAddr],
    },
    /// Tell the others that this process ends. What becomes of the data is the map's matter.
    Leave,
    /// A greater generation was stored.
    Generation {
        /// It.
        generation: u32,
    },
}
