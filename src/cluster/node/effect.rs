//! What a node's control plane wants done, in a list that is used again.
//!
//! Invariant: spans are of the bytes that came with them; the order is that in which things came about.

use std::net::SocketAddr;

use super::Refusal;
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
    /// The membership map is another one: store it before datagrams of later events leave.
    MapChanged,
    /// The map says something else of who owns partitions than it did at the last of these: make the ring anew, see
    /// [`crate::route_table::Routing`]. Changes are collected for a while; the first ones of a process are not.
    RingChanged,
    /// What became of a [`super::NodeEvent::Operate`], at once.
    Operated {
        /// Which node was to be changed.
        node: NodeId,
        /// Whether the map says so now; for [`super::MapChange::Remove`], whether the intent was published.
        result: Result<(), Refusal>,
    },
    /// What became of a removal that was published here.
    RemovalEnded {
        /// Which node was to be removed.
        node: NodeId,
        /// It is; else another removal was faster or lower, or the node's role has changed meanwhile: ask again.
        is_removed: bool,
    },
    /// Find the address of the name by which a node is reached, then [`super::NodeEvent::Resolved`].
    Resolve {
        /// The node.
        node: NodeId,
    },
    /// The cluster knows of an announcement of this node that it does not remember itself, so that its disk was lost or put back:
    /// take an incarnation above this one before stamping anything (rule S1), then [`super::NodeEvent::Announce`].
    NeedIncarnation {
        /// The greatest that is known to have been used.
        above: u16,
    },
    /// An operator has had this node forgotten: it is no member, and never can be again under its number.
    Forgotten,
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
