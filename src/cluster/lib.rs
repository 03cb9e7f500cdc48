//! The Dynamo protocol of a node, as pure code: events in, effects out.
//!
//! It is driven by whoever has sockets and a disk (production: the shard loop; tests: the simulator, and a model of three
//! nodes in one function). It reads no clock, draws no random number, starts no thread, and iterates nothing in an order that
//! differs between two runs: the same events give the same effects.
//!
//! * Data plane, one per core: an [`event::Event`] goes into the [`shard::Shard`], which answers with [`effect::Effects`].
//!   `put`, `get` and `forward` are clients' commands, `replica` what other coordinators ask, `hints` what is kept for others,
//!   `exchange` compares owners.
//!   [`quorum`] counts; `compose` stamps; `copies` finds nodes that keep what was stamped; [`message`] is what nodes say.
//!   [`token`] is what clients hold of a key's past.
//! * Control plane, one per node: a [`node::NodeEvent`] goes into the [`node::ControlNode`], which knows who exists
//!   ([`membership`]), who answers ([`failure_detector`], [`reachability`]) and has it told ([`gossip`]). [`ring`] says who owns what
//!   then; the data plane sees all that as [`route::Routes`], made by [`route_table`].
//!
//! Rules S1 to S14 and invariants I1 to I8, which the comments name, are explained in the README of this directory.
#![forbid(unsafe_code)]

pub mod checked_bytes;
mod compose;
pub mod control_message;
mod copies;
pub mod counters;
pub mod datagram;
pub mod effect;
pub mod event;
mod evidence;
mod exchange;
pub mod failure_detector;
mod forward;
mod get;
pub mod gossip;
mod held;
mod hints;
pub mod ids;
pub mod limits;
mod line;
pub mod membership;
pub mod message;
pub mod mutation;
pub mod node;
pub mod pair_facts;
pub mod placement;
mod put;
pub mod quorum;
pub mod random;
pub mod reachability;
mod read_repair;
mod refill;
mod replica;
mod requests;
pub mod ring;
pub mod route;
pub mod route_table;
pub mod shard;
mod slab;
mod stamping;
pub mod store;
mod timers;
pub mod token;
mod turn;
mod versions;
