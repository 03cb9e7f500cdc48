//! The Dynamo protocol of a node, as pure code: events in, effects out.
//!
//! It is driven by whoever has sockets and a disk (production: the shard loop; tests: the simulator, and a model of three
//! nodes in one function). It reads no clock, draws no random number, starts no thread, and iterates nothing in an order that
//! differs between two runs: the same events give the same effects.
//!
//! * Data plane, one per core: an [`event::Event`] goes into the [`shard::Shard`], which answers with [`effect::Effects`].
//!   `put`, `get` and `forward` are clients' commands, `replica` what other coordinators ask, `hints` what is kept for others.
//!   [`quorum`] counts; `compose` stamps; `copies` finds nodes that keep what was stamped; [`message`] is what nodes say.
//!   [`token`] is what clients hold of a key's past.
//! * Control plane, one per node: who exists, who answers, who owns what. The data plane sees it as [`route::Routes`].
//!
//! Rules S1 to S14 and invariants I1 to I8, which the comments name, are explained in the README of this directory.
#![forbid(unsafe_code)]

mod compose;
mod copies;
pub mod counters;
pub mod effect;
pub mod event;
mod evidence;
mod forward;
mod get;
mod held;
mod hints;
pub mod ids;
pub mod limits;
pub mod membership;
pub mod placement;
pub mod preference_list;
pub mod ring;
mod line;
pub mod message;
pub mod mutation;
mod put;
pub mod quorum;
mod read_repair;
mod replica;
mod requests;
pub mod route;
pub mod shard;
mod slab;
mod stamping;
pub mod store;
mod timers;
pub mod token;
mod turn;
mod versions;
