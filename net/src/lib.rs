//! Bytes and sockets: frames, never their meaning.
//!
//! * [`resp`]: the Redis protocol as bytes; [`limits`]: what a client may send.
//! * [`ring`]: the core's ring; sockets, hot-log writes, record reads, wake-ups from other cores.
//! * [`peer_frame`], [`link`]: bytes between nodes; [`handshake`]: what comes before them; [`backoff`]: when to try again.
//! * [`listener`]: listening sockets and socket options.
//! * [`probe`]: why this machine may refuse such a ring.

pub mod backoff;
pub mod handshake;
pub mod limits;
pub mod link;
pub mod listener;
pub mod peer_frame;
pub mod probe;
pub mod resp;
pub mod ring;
