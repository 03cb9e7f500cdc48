//! Everything that a core is told.
//!
//! Invariant: an event borrows what it speaks of; whatever has to outlive it, the shard copies into a buffer that it reuses.

use annulus_object::{Context, Dot};

use crate::ids::{ClientToken, Home, NodeId, StoreToken};

/// The time of an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Wall clock in Unix milliseconds: for stamps and expiry only. It may jump.
    pub unix_ms: u64,
    /// Steady clock in microseconds from an arbitrary start: for deadlines.
    pub steady_us: u64,
}

/// A key, and where it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    /// As the client wrote it.
    pub bytes: &'a [u8],
    /// Its partition.
    pub partition: u16,
    /// The cluster's keyed hash of the bytes.
    pub hash: u128,
}

/// How many nodes have to answer. `0` in `pr`, `pw` and `dw` asks for nothing more than R and W do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quorum {
    /// Copies of an object.
    pub n: u8,
    /// Answers that a read waits for.
    pub r: u8,
    /// Nodes that have a write before it is acknowledged.
    pub w: u8,
    /// Owners among the R.
    pub pr: u8,
    /// Owners among the W.
    pub pw: u8,
    /// Nodes of the W that have it on stable storage.
    pub dw: u8,
}

/// What a client wants written.
#[derive(Debug, Clone, Copy)]
pub struct Put<'a> {
    /// Who gets the answer.
    pub client: ClientToken,
    /// The key.
    pub key: Key<'a>,
    /// `None` deletes.
    pub value: Option<&'a [u8]>,
    /// Unix milliseconds; 0 = never.
    pub expires_at_ms: u64,
    /// Of a write that only gives a value which was read another expiry: the write that made the value, which its context
    /// covers. See [`annulus_object::Sibling::value_dot`].
    pub value_dot: Option<Dot>,
    /// What the client had seen; `None` is a blind write, which replaces what the coordinator has.
    pub context: Option<&'a Context>,
    /// Of a blind write the dot that the same connection wrote to this key last (rule S9), of one with a context the own dot
    /// that came with that ([`crate::token::Token::own`]), and nothing else: it counts as seen.
    pub own_last: Option<Dot>,
    /// What [`crate::effect::Answer::Written`] said of `own_last`: nothing stood beside it, so whatever its actor stamped
    /// before it was replaced, and all of that counts as seen too.
    pub own_is_alone: bool,
    /// Whether more than one owner may carry it out, when the first does not say what became of it: at worst the value stands
    /// beside itself. Only of a write with a context (asserted): a blind one would replace what was written meanwhile (rule S8).
    /// A delete with a context always is.
    pub is_repeatable: bool,
    /// Answers to wait for.
    pub quorum: Quorum,
    /// On the steady clock; after it the client is told that the outcome is not known.
    pub deadline_us: u64,
}

/// What a client wants to read.
#[derive(Debug, Clone, Copy)]
pub struct Get<'a> {
    /// Who gets the answer.
    pub client: ClientToken,
    /// The key.
    pub key: Key<'a>,
    /// The dot that the same connection wrote to this key last: an answer that lacks it is not its own write.
    pub own_last: Option<Dot>,
    /// Answers to wait for.
    pub quorum: Quorum,
    /// On the steady clock.
    pub deadline_us: u64,
}

/// Why the local store did not take a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFailure {
    /// The disk is full, or memory, or the store takes no writes: it was not stored.
    Refused,
    /// It may or may not be stored. Whoever stamped it takes a new incarnation before the next stamp (rule S1).
    Unknown,
}

/// Everything that a core is told.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A client writes.
    Put(Put<'a>),
    /// A client reads.
    Get(Get<'a>),
    /// Bytes from a peer, as they came; checked when they are decoded.
    Message {
        /// Of whom the connection is.
        from: NodeId,
        /// One message.
        bytes: &'a [u8],
    },
    /// A message to a peer surely did not leave, or will not be answered: the connection is gone, or its queue is full.
    Unreachable {
        /// The peer.
        peer: NodeId,
    },
    /// A write that [`crate::effect::Effect::Store`] asked for has ended.
    Stored {
        /// From the effect.
        token: StoreToken,
        /// Whether it is stored as durably as the store promises.
        result: Result<(), StoreFailure>,
    },
    /// A read that [`crate::effect::Effect::Load`] asked for has ended.
    Loaded {
        /// From the effect.
        token: StoreToken,
        /// Where it was read.
        home: Home,
        /// The key's bytes, from the record where the effect had none; empty where there is no object.
        key: &'a [u8],
        /// The keyed hash of these bytes: of a hint that was known by its name only now. As in the effect where there are none.
        hash: u128,
        /// The encoded object; empty where there is none; `None` when the disk did not tell.
        object: Option<&'a [u8]>,
    },
    /// Time has passed; about every 10 ms.
    Tick,
    /// A member answers again, or does not any more, as far as the failure detector can tell.
    Liveness {
        /// The member.
        node: NodeId,
        /// Whether it answers.
        up: bool,
    },
}
