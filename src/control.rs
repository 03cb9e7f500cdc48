//! The thread that drives a node's control plane ([`annulus_cluster::node::ControlNode`]): its clock, its datagrams, its disk.
//!
//! ```text
//!  datagrams ──▶ socket ─┐                      ┌─▶ datagrams
//!  cores ──▶ ControlSender ─▶ ControlNode ─▶ effects ─▶ map stored ─▶ view published, cores rung
//!  clock, names ─────────┘                      └─▶ core 0: messages for others' control planes
//! ```
//!
//! Invariant: what the map says is stored before any datagram of a later event says it to others.

mod announced;
mod inbox;

pub use announced::{PROTOCOL_VERSION, announced};
pub use inbox::{ControlInbox, ControlSender, ToControl, channel};
