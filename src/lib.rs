//! Annulus: an always-writeable key-value store, one thread per core on io_uring, spoken to in the Redis protocol.
//!
//! ```text
//! client ── RESP ──▶ core k
//!                    env::driver   the core's ring: completions in, one system call per turn, effects out
//!                    shard_loop    input → dispatch → execute → deliver
//!                    commands      what each command does; the table says how it is routed
//!                    annulus_engine  the core's store
//!                    mesh          bounded queues to every other core of the node
//!                    peers         links to the cores of other nodes
//! ```
//!
//! * Start and end: [`boot`], [`check`], [`cli`], [`config`], [`node_meta`].
//! * One core: [`shard_loop`], with [`session`] (one client), [`replies`], [`waiting`], [`gather`], [`mesh`].
//! * A replica: [`replica_store`], the engine as the protocol sees it; [`cluster_view`], the cluster as a core sees it,
//!   [`quorums`], [`coverage`] (which core answers for a partition), and [`core_inbox`], what a core is told by threads that are
//!   none; [`peers`], its links to other nodes; [`remote`], what other nodes' cores run for a core; [`control`], the control
//!   plane's thread.
//! * What users see: [`commands`], [`topology`], [`http`], [`metrics`], [`logging`]; [`admin`] asks a running node.
//! * What operators see and do: [`core_facts`], [`clock_skews`], [`operation`].
//! * [`dev`]: a local cluster of real processes, to try failures by hand.
//! * What runs it: [`mod@env`]; nothing else names the executor or the ring.

pub mod admin;
pub mod boot;
pub mod check;
pub mod cli;
pub mod clock_skews;
pub mod cluster_view;
pub mod commands;
pub mod config;
pub mod consistency;
pub mod control;
pub mod core_facts;
pub mod core_inbox;
pub mod coverage;
pub mod dev;
pub mod env;
pub mod gather;
pub mod glob;
pub mod http;
pub mod limits;
pub mod logging;
pub mod members_file;
pub mod mesh;
pub mod metrics;
pub mod node;
pub mod node_meta;
pub mod operation;
pub mod own_writes;
pub mod peers;
pub mod quorums;
pub mod remote;
pub mod replica_store;
pub mod replies;
pub mod restore;
pub mod secrets;
pub mod session;
pub mod sessions;
pub mod shard_loop;
pub mod slab;
pub mod slot;
pub mod snapshot;
pub mod topology;
pub mod waiting;
