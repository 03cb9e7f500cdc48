//! Everything that a core wants done, in order.
//!
//! Invariant: whoever drives the core carries out `Store` and `Load` in their order and before the next event goes in, so that
//! what the shard looks up then is what it has written (rule S2). Sends may wait.

use std::ops::Range;

use annulus_object::Dot;

use crate::ids::{ClientToken, Home, NodeId, StoreToken};

/// Bytes of an [`Effects`] list.
pub type Span = Range<u32>;

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The write is kept by as many nodes as asked: its dot, and the key's context after it.
    Written {
        /// The write's name.
        dot: Dot,
        /// Whether it replaced everything that its coordinator had of the key.
        is_alone: bool,
        /// The encoded context for the client's next write. Of a write that is alone all that is known of the key. Otherwise
        /// what the client sent: it has not read what stands beside its write, and an entry for its own dot would cover
        /// what the same actor stamped before; the dot travels beside it (see [`crate::token::Token`]).
        context: Span,
    },
    /// What is known of a key.
    Found {
        /// All siblings and their context.
        object: Span,
        /// How many have told of it.
        reach: Reach,
    },
    /// Refused or unknown.
    Failed(Failure),
}

/// How far a read that is answered has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// As many owners as R have answered, and what the client wrote last is among it.
    Owners,
    /// As many nodes, but some of them stand in for owners; or what the client wrote last was not found. It may be stale.
    Nodes,
    /// Fewer nodes than R have answered in time: this is what is known. Whoever relies on R must not use it.
    Fewer,
}

impl Reach {
    /// Whether something newer may have been acknowledged before the read began, although R and W overlap.
    #[must_use]
    pub const fn is_stale_possible(self) -> bool {
        !matches!(self, Self::Owners)
    }
}

/// Why a client is not served. Only [`Failure::InDoubt`] may have changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Too few nodes answer for W or R. Nothing was sent to any.
    #[error("too few nodes answer")]
    NoReplicas,
    /// Some nodes may have the write, but fewer said so in time than were asked for. It may survive.
    #[error("not enough nodes have confirmed the write in time; it may survive")]
    InDoubt,
    /// A read that too few nodes answered in time.
    #[error("too few nodes answered the read in time")]
    ReadTimeout,
    /// The key has as many siblings as a client may make: read it, and write with the context that was read.
    #[error("the key has too many siblings: read it and write with its context")]
    TooManySiblings,
    /// The value, or it and the siblings that would stay beside it, are more bytes than stores take.
    #[error("the value is too large, or the siblings that would stay beside it are")]
    TooLarge,
    /// The core has as much to do as it may.
    #[error("too much is under way")]
    Busy,
    /// This node cannot stamp now: it waits for an incarnation, or its store takes no writes.
    #[error("this node coordinates no writes now")]
    NotCoordinating,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send these bytes to a peer, at most once.
    Send {
        /// The peer.
        to: NodeId,
        /// The partition that the message is about: names the peer's core.
        partition: u16,
        /// One encoded message.
        message: Span,
    },
    /// Merge an object into the local store; [`crate::event::Event::Stored`] follows when it is durable, or has failed.
    Store {
        /// For the event.
        token: StoreToken,
        /// As owner or for another.
        home: Home,
        /// The key's bytes.
        key: Span,
        /// Its keyed hash.
        hash: u128,
        /// The encoded object.
        object: Span,
    },
    /// Read an object of the local store; [`crate::event::Event::Loaded`] follows.
    Load {
        /// For the event.
        token: StoreToken,
        /// As owner or for another.
        home: Home,
        /// The key's bytes; empty where only the name is known: of a hint, or in an exchange.
        key: Span,
        /// Its keyed hash, or the name that [`crate::store::Store::hints`] gave, or as much of the hash as
        /// [`crate::store::Store::visit_versions`] told.
        hash: u128,
    },
    /// Forget a hint: the target has it (rule S5, invariant I2). Nothing follows. What the store has of it, as
    /// [`crate::store::Store::versions`] tells when this is carried out, is exactly what was handed over.
    Forget {
        /// Where it is: always a hint.
        home: Home,
        /// The key's bytes.
        key: Span,
        /// Its keyed hash.
        hash: u128,
        /// The newest dot that was handed over: what was added since stays.
        dot: Dot,
    },
    /// Answer a client, once.
    Answer {
        /// Who.
        client: ClientToken,
        /// What.
        answer: Answer,
    },
    /// `node` lacks a write, and nobody keeps a hint of it: an exchange of the partition has to find it.
    Dirty {
        /// The key's partition.
        partition: u16,
        /// An owner.
        node: NodeId,
    },
    /// This node must take a new durable incarnation before it stamps again (rule S1).
    NeedIncarnation,
}

/// A reusable list of effects and the bytes that they speak of.
#[derive(Debug, Default)]
pub struct Effects {
    list: Vec<Effect>,
    bytes: Vec<u8>,
}

impl Effects {
    /// What is to be done, in order.
    #[must_use]
    pub fn list(&self) -> &[Effect] {
        &self.list
    }

    /// The bytes of a span of this list.
    #[must_use]
    pub fn bytes(&self, span: &Span) -> &[u8] {
        let (start, end) = (span.start as usize, span.end as usize);
        self.bytes.get(start..end).expect("a span is of the list that it came with")
    }

    /// Forgets everything; keeps the memory.
    pub fn clear(&mut self) {
        self.list.clear();
        self.bytes.clear();
    }

    /// Bytes that all effects speak of.
    #[must_use]
    pub fn byte_count(&self) -> usize {
        self.bytes.len()
    }

    /// Adds an effect.
    pub fn push(&mut self, effect: Effect) {
        self.list.push(effect);
    }

    /// Adds bytes, for effects that follow.
    pub fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let limit = "what one event makes fits 4 GiB";
        u32::try_from(start).expect(limit)..u32::try_from(self.bytes.len()).expect(limit)
    }
}
