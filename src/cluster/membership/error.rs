//! Why a map is refused.
//!
//! Invariant: whatever is refused has changed nothing.

use crate::ids::NodeId;
use crate::limits::MEMBERS_MAX;

/// The map has as many nodes as it may. Nothing was changed; somebody has to forget nodes that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cluster has at most {MEMBERS_MAX} nodes, removed ones included")]
pub struct TooManyMembers;

/// Why received bytes are not a map. Nothing was changed; whoever sent them is at fault, or its clock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// The bytes end before what they announce.
    #[error("the bytes end too early")]
    Truncated,
    /// Bytes follow the end.
    #[error("bytes follow the end")]
    Trailing,
    /// The first byte names a format that this build does not know.
    #[error("unknown format {0}")]
    Format(u8),
    /// More nodes, or tombstones, than there may be.
    #[error("more than {MEMBERS_MAX} nodes, or too many tombstones")]
    TooManyMembers,
    /// A number that is no node's.
    #[error("{0} is no node id")]
    Node(u64),
    /// Nodes out of order, or one twice.
    #[error("nodes are not in order")]
    Order,
    /// A register of this node has a value that no encoder writes.
    #[error("an impossible value of node {0}")]
    Value(NodeId),
    /// This node's announcement was written by another.
    #[error("node {0} is announced by another")]
    Author(NodeId),
    /// A register of this node was written so late that nothing could be written above it.
    #[error("a stamp of node {0} is beyond the last clock")]
    Future(NodeId),
}
