//! What a node's control plane is told.
//!
//! Invariant: an event borrows what it speaks of.

use std::net::SocketAddr;

use super::MapChange;
use crate::ids::NodeId;
use crate::membership::Announced;
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
    /// Look for the cluster, and announce this node to it.
    Join {
        /// Where to ask. One's own address among them does no harm.
        seeds: &'a [SocketAddr],
    },
    /// Tell the others that this process ends. What becomes of the data is the map's matter.
    Leave,
    /// This node has something else to say of itself.
    Announce(&'a Announced),
    /// An operator, or automation in an operator's name, wants a node changed; [`super::NodeEffect::Operated`] answers.
    Operate {
        /// Which node; one may ask any other.
        node: NodeId,
        /// What is wanted.
        change: MapChange,
    },
    /// A node that is reached by a name has this address; see [`super::NodeEffect::Resolve`].
    Resolved {
        /// The node.
        node: NodeId,
        /// Where its control plane is.
        address: SocketAddr,
    },
    /// A greater generation was stored.
    Generation {
        /// It.
        generation: u32,
    },
}
