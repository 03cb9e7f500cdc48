//! What an operator wants of the map, on its way from the core of the operator's connection to the control plane, and back.
//!
//! ```text
//!  DYN.ADMIN JOIN ──▶ core: a token ──▶ Outbox ──▶ control plane ──▶ CoreEvent::Operated ──▶ core: the reply
//! ```
//!
//! Invariant: every operation is answered once, by its token.

use annulus_cluster::ids::NodeId;
use annulus_cluster::node::{MapChange, Refusal};

/// One change that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Comes back with the answer, to the same core.
    pub token: u64,
    /// Which node is to be changed.
    pub node: NodeId,
    /// How.
    pub change: MapChange,
}

/// Why a change was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// There is no control plane.
    #[error("ERR this node belongs to no cluster: start it with a cluster's name and secret")]
    NoCluster,
    /// Too many operations are under way, here or in the control plane.
    #[error("BUSY too many changes of the cluster are under way: try again")]
    Busy,
    /// The map does not allow it.
    #[error("ERR {0}")]
    Refused(#[from] Refusal),
}
