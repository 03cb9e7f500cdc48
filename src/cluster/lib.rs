//! The Dynamo protocol of a node, as pure code: events in, effects out.
//!
//! It is driven by whoever has sockets and a disk (production: the shard loop; tests: the simulator, and a model of three
//! nodes in one function). It reads no clock, draws no random number, starts no thread, and iterates nothing in an order that
//! differs between two runs: the same events give the same effects.
//!
//! * Data plane, one per core: an [`event::Event`] goes into the shard, which answers with [`effect::Effects`].
//! * Control plane, one per node: who exists, who answers, who owns what.
//!
//! Rules S1 to S14 and invariants I1 to I8, which the comments name, are explained in the README of this directory.
#![forbid(unsafe_code)]

pub mod checked_bytes;
pub mod control_message;
pub mod datagram;
pub mod effect;
pub mod event;
pub mod failure_detector;
pub mod gossip;
pub mod ids;
pub mod limits;
pub mod node;
pub mod random;
pub mod reachability;
pub mod shared_map;
pub mod store;
