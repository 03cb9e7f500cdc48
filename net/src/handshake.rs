//! What two nodes say to each other before a link stands: that they belong together, and that both know the secret, which is never
//! sent.
//!
//! ```text
//! dialler                                              acceptor
//!   Hello      who I am, whom I want, nonce      ──▶
//!              ◀──   Challenge   who I am, what we both speak, nonce, proofs under my secrets
//!   Proof      under the secret that we share    ──▶
//!              ◀──   Welcome     a proof of its own; to one that has no cluster yet, also which one this is
//!   Refused, in either direction, instead of any of them
//! ```
//!
//! A proof is a BLAKE3 keyed hash of everything that was said so far, behind what it is for: it can be neither replayed, for both
//! nonces are in it, nor turned round, for each side's begins differently. Every side proves before it is told anything but who
//! the other is.
//!
//! Nothing here reads a clock, a random source or a socket: time and nonces come in, frames go out.
//!
//! Invariant: who comes to [`Established`] has seen a proof, over all that both sides said, by somebody who knows a secret of its
//! own.

mod acceptor;
mod codec;
mod dialler;
mod error;
mod proof;
#[cfg(test)]
mod tests;
use std::ops::RangeInclusive;

pub use acceptor::{Accepted, Acceptor, Gate, Introduction, refusal};
pub use codec::FRAME_BYTES_MAX;
pub use dialler::{Dialled, Dialler, Proven};
pub use error::{HandshakeError, RefusalCode};
pub use proof::Keys;

/// Bytes of a host's name at most.
pub const HOST_BYTES_MAX: usize = 255;
/// The protocol versions that this build speaks.
pub const VERSIONS: RangeInclusive<u16> = 1..=1;

/// What a node says of itself, and what the other side has to agree with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Which node: never 0.
    pub node: u64,
    /// Which life of its identity: the larger one is the newer.
    pub generation: u64,
    /// Hash of the cluster's name.
    pub cluster_name: [u8; 8],
    /// Which cluster; zeros while it has none.
    pub cluster_id: [u8; 16],
    /// Slices of the key space.
    pub partitions: u32,
    /// Copies of a key that are wanted.
    pub copies: u16,
    /// Where others reach its peers' port: at most [`HOST_BYTES_MAX`] printable characters; empty when it is not known.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The versions that it speaks.
    pub versions: RangeInclusive<u16>,
    /// What it can do, one bit each.
    pub capabilities: u64,
}

/// What a dialler wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// A link between two cores.
    Link {
        /// The node that is expected there.
        node: u64,
        /// The dialler's core.
        from_core: u16,
        /// The other's.
        to_core: u16,
    },
    /// To be told which cluster this is. The connection ends after it.
    Introduction,
}

/// What both sides know when a handshake has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Established {
    /// The other node.
    pub node: u64,
    /// Which life of it.
    pub generation: u64,
    /// The dialler's core.
    pub from_core: u16,
    /// The acceptor's core.
    pub to_core: u16,
    /// The newest version that both speak.
    pub version: u16,
    /// What both can do.
    pub capabilities: u64,
    /// How far the other's clock is ahead, in milliseconds; off by as much as the network takes.
    pub skew_ms: i64,
}

/// What a node that has no cluster yet is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Introduced {
    /// Which cluster.
    pub cluster_id: [u8; 16],
    /// The key of the hash over keys.
    pub hash_key: [u8; 16],
    /// The node that told it.
    pub node: u64,
    /// How far its clock is ahead of this side's, in milliseconds.
    pub skew_ms: i64,
    /// Who had been at the very place where the newcomer is, and does not answer any more.
    pub known: Option<KnownNode>,
}

/// A node that a newcomer may be the return of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownNode {
    /// Its number.
    pub node: u64,
    /// The greatest incarnation that anybody knows of.
    pub incarnation: u16,
    /// The greatest generation that anybody knows of.
    pub generation: u64,
}

/// The newest version of both ranges.
fn common_version(a: &RangeInclusive<u16>, b: &RangeInclusive<u16>) -> Option<u16> {
    let newest = *a.end().min(b.end());
    (newest >= *a.start().max(b.start())).then_some(newest)
}
