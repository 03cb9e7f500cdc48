//! What a node's control plane wants done, in a list that is used again.
//!
//! Invariant: spans are of the bytes that came with them; the order is that in which things came about.

use std::net::SocketAddr;

use crate::effect::Span;
use crate::ids::NodeId;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeEffect {
    /// Send a datagram; it may be lost.
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// Which bytes.
        bytes: Span,
    },
    /// Send a message over the reliable transport; [`super::NodeEvent::Unreachable`] follows where it surely did not leave.
    Message {
        /// Whom to.
        to: NodeId,
        /// Where the failure detector hears it; `None` where it does not, and only a connection that is there can be used.
        at: Option<SocketAddr>,
        /// Which bytes.
        bytes: Span,
    },
    /// The membership map is another one: store it, and compute the ring again.
    MapChanged,
    /// Requests may go to a node, or not any more: for every core's [`crate::event::Event::Liveness`].
    Liveness {
        /// The node.
        node: NodeId,
        /// See above.
        up: bool,
    },
    /// Nobody hears us under this generation: store a greater one than `above`, then [`super::NodeEvent::Generation`].
    NeedGeneration {
        /// The greatest that is known to have been used.
        above: u32,
    },
    /// After [`super::NodeEvent::Leave`]: everybody who could be told was told.
    Left,
}

/// See the module.
#[derive(Debug, Default)]
pub struct NodeEffects {
    list: Vec<NodeEffect>,
    bytes: Vec<u8>,
}

impl NodeEffects {
    /// What is to be done, in order.
    #[must_use]
    pub fn list(&self) -> &[NodeEffect] {
        &self.list
    }

    /// The bytes of a span of this list.
    #[must_use]
    pub fn bytes(&self, span: &Span) -> &[u8] {
        self.bytes.get(span.start as usize..span.end as usize).expect("a span is of the list that it came with")
    }

    /// Forgets everything; keeps the memory.
    pub fn clear(&mut self) {
        self.list.clear();
        self.bytes.clear();
    }

    pub(super) fn push(&mut self, effect: NodeEffect) {
        self.list.push(effect);
    }

    pub(super) fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let limit = "what one event makes fits 4 GiB";
        let start = u32::try_from(self.bytes.len()).expect(limit);
        write(&mut self.bytes);
        start..u32::try_from(self.bytes.len()).expect(limit)
    }
}
