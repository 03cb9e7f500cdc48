//! Bytes and sockets: frames, never their meaning.
//!
//! * [`resp`]: the Redis protocol as bytes; [`limits`]: what a client may send.
//! * [`ring`]: the core's ring; sockets, hot-log writes, record reads, wake-ups from other cores.
//! * [`listener`]: listening sockets and socket options.
//! * [`probe`]: why this machine may refuse such a ring.

pub mod limits;
pub mod listener;
pub mod probe;
pub mod resp;
pub mod ring;
