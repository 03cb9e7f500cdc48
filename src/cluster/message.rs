//! What cores of different nodes say to each other.
//!
//! A message is a fixed header, a body that its kind lays out, a key, and a rest. All numbers are little endian. Whatever
//! carries messages frames and checksums them, and never delivers one to a later life of the receiver than that which it was
//! sent to.
//!
//! ```text
//!  0  version u8 │ kind u8 │ partition u16 │ bytes of the whole u32
//!  8  session of who asks u64
//! 16  request u64                             a reply repeats both
//! 24  fingerprint of the sender's ring u64
//! 32  the sender's hybrid clock, in Unix milliseconds u64
//! 40  bytes of the key u16 │ flags u8 │ detail u8
//! 44  body │ key │ rest
//! ```
//!
//! Bytes from a peer are [`Unverified`] until [`Unverified::check`] has looked at all of them.
//!
//! Invariant: what was checked needs no second check: objects, versions and contexts in it decode, and no clock in it is beyond
//! [`crate::limits::CLOCK_LAST`].

use annulus_object::{DecodeError, Dot};

use crate::effect::{Failure, Reach};
use crate::event::Quorum;
use crate::ids::{Fingerprint, NodeId, PartitionId, RequestId, Session};

mod decode;
mod encode;
mod exchange;
#[cfg(test)]
mod tests;

pub use decode::Unverified;
pub(crate) use encode::WRITE_KEY_AT;
pub use exchange::{ExchangeMessage, ExchangeRefusal, HashList, KeyList, NodeList, SumList, ToldVersions};
pub(crate) use exchange::{STEP_BITS, write_hash, write_key, write_nodes};

/// The format that this build speaks.
pub const VERSION: u8 = 1;
const HEADER_BYTES: usize = 44;

/// The partition that an encoded message is about; `None` where it is too short for one.
#[must_use]
pub fn partition_of(message: &[u8]) -> Option<PartitionId> {
    let bytes = message.get(2..4)?;
    Some(PartitionId::from_le_bytes(bytes.try_into().expect("two bytes")))
}

/// What every message begins with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Header {
    /// The partition that it is about; names the core on either side.
    pub partition: PartitionId,
    /// The life of the core that asks, or asked.
    pub session: Session,
    /// Its name for the request.
    pub request: RequestId,
    /// The sender's ring.
    pub fingerprint: Fingerprint,
    /// The sender's hybrid clock when it sent this, in Unix milliseconds.
    pub sent_ms: u64,
}

/// One message; what it borrows is checked where it came from [`Unverified::check`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Keep this: as owner, or for `target`.
    Write {
        /// For whom, when not for the receiver itself.
        target: Option<NodeId>,
        /// The key's keyed hash.
        hash: u128,
        /// Microseconds for which an answer is of use.
        remaining_us: u64,
        /// The key.
        key: &'a [u8],
        /// The encoded object: all siblings and the context (rule S3).
        object: &'a [u8],
    },
    /// Keep this as owner; nobody waits for an answer. One that an exchange sends names a request, one of a read none.
    Repair {
        /// The key's keyed hash.
        hash: u128,
        /// The key.
        key: &'a [u8],
        /// The encoded object.
        object: &'a [u8],
    },
    /// The end of a [`Message::Write`].
    WriteReply(WriteOutcome),
    /// Which versions of a key are there?
    VersionRead {
        /// The key's keyed hash.
        hash: u128,
        /// The key.
        key: &'a [u8],
    },
    /// The versions, without values.
    VersionReply {
        /// Whether the sender's ring names it an owner.
        is_owner: bool,
        /// Encoded [`crate::store::Versions`].
        versions: &'a [u8],
    },
    /// All of a key, values included.
    ObjectRead {
        /// The key's keyed hash.
        hash: u128,
        /// The key.
        key: &'a [u8],
    },
    /// The object.
    ObjectReply {
        /// Whether the sender's ring names it an owner.
        is_owner: bool,
        /// Encoded, empty where there is none; `None` when the disk did not tell.
        object: Option<&'a [u8]>,
    },
    /// A client's write, for an owner to coordinate.
    ForwardPut(ForwardPut<'a>),
    /// A client's read, for an owner to coordinate.
    ForwardGet {
        /// The key's keyed hash.
        hash: u128,
        /// The key.
        key: &'a [u8],
        /// Answers to wait for.
        quorum: Quorum,
        /// On the hybrid clock, in Unix milliseconds.
        deadline_ms: u64,
        /// See [`crate::event::Get::own_last`].
        own_last: Option<Dot>,
    },
    /// What became of a forwarded command.
    ForwardReply(ForwardOutcome<'a>),
    /// Two owners compare what they have.
    Exchange(ExchangeMessage<'a>),
}

/// A client's write on its way to an owner (rule S8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardPut<'a> {
    /// Ascends from one forward of the sending core to its next: the receiver carries out each once at most.
    pub number: u64,
    /// The key's keyed hash.
    pub hash: u128,
    /// The key.
    pub key: &'a [u8],
    /// `None` deletes.
    pub value: Option<&'a [u8]>,
    /// Unix milliseconds; 0 = never.
    pub expires_at_ms: u64,
    /// See [`crate::event::Put::value_dot`]; only of a value.
    pub value_dot: Option<Dot>,
    /// The encoded context; `None` is a blind write.
    pub context: Option<&'a [u8]>,
    /// See [`crate::event::Put::own_last`].
    pub own_last: Option<Dot>,
    /// See [`crate::event::Put::own_is_alone`].
    pub own_is_alone: bool,
    /// Answers to wait for.
    pub quorum: Quorum,
    /// On the hybrid clock, in Unix milliseconds; after it the write is not carried out any more.
    pub deadline_ms: u64,
}

/// The end of a write at a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Kept, as durably as the key's durability promises.
    Stored {
        /// On stable storage.
        is_durable: bool,
    },
    /// Not kept, or not known to be.
    Refused(Refusal),
}

/// Why a replica did not keep a write. Whoever asked finds another node for the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The store did not take it, or cannot tell.
    Store,
    /// It keeps as many hints for that target as it may.
    Hints,
    /// Its ring is another, and does not name it an owner.
    NotOwner,
    /// It has as much to do as it may.
    Busy,
}

/// What became of a forwarded command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardOutcome<'a> {
    /// See [`crate::effect::Answer::Written`].
    Written {
        /// The write's name.
        dot: Dot,
        /// Whether nothing stands beside it.
        is_alone: bool,
        /// The encoded context for the client's next write.
        context: &'a [u8],
    },
    /// See [`crate::effect::Answer::Found`].
    Found {
        /// How many have told of it.
        reach: Reach,
        /// The encoded object; empty where there is none.
        object: &'a [u8],
    },
    /// The client is told so.
    Failed(Failure),
    /// Not carried out, and never will be: another node may be asked.
    NotCarriedOut(NotCarriedOut),
}

/// Why a node that was asked to coordinate a command surely has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotCarriedOut {
    /// Its ring is another, and does not name it an owner.
    NotOwner,
    /// It waits for an incarnation, or its store takes no writes.
    NotCoordinating,
    /// By its clock the deadline had passed.
    Expired,
}

/// Why bytes are not a message. They are dropped, and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The bytes end before what they announce.
    #[error("the message ends too early")]
    Truncated,
    /// The announced length is not that of the bytes, or above the limit.
    #[error("the message has another length than it says, or is too long")]
    Length,
    /// A format of another build.
    #[error("unknown version {0}")]
    Version(u8),
    /// A kind of another build.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// A flag, number or node id that no encoder writes.
    #[error("a field has an impossible value")]
    Field,
    /// A clock beyond every clock that a cluster can have.
    #[error("a clock is impossibly late")]
    Clock,
    /// An object, a context or versions that do not decode.
    #[error("what it carries does not decode: {0}")]
    Content(DecodeError),
}

impl From<DecodeError> for MessageError {
    fn from(error: DecodeError) -> Self {
        Self::Content(error)
    }
}

/// The kinds, as numbered on the wire.
mod kind {
    pub(super) const WRITE: u8 = 1;
    pub(super) const REPAIR: u8 = 2;
    pub(super) const WRITE_REPLY: u8 = 3;
    pub(super) const VERSION_READ: u8 = 4;
    pub(super) const VERSION_REPLY: u8 = 5;
    pub(super) const OBJECT_READ: u8 = 6;
    pub(super) const OBJECT_REPLY: u8 = 7;
    pub(super) const FORWARD_PUT: u8 = 8;
    pub(super) const FORWARD_GET: u8 = 9;
    pub(super) const FORWARD_REPLY: u8 = 10;
}

/// Bits of the flags; each kind uses some.
mod flag {
    pub(super) const IS_OWNER: u8 = 1;
    pub(super) const IS_PRESENT: u8 = 2;
    pub(super) const IS_DURABLE: u8 = 1;
    pub(super) const HAS_VALUE: u8 = 1;
    pub(super) const HAS_CONTEXT: u8 = 2;
    pub(super) const HAS_OWN: u8 = 4;
    pub(super) const OWN_IS_ALONE: u8 = 8;
    pub(super) const HAS_VALUE_DOT: u8 = 16;
    pub(super) const IS_ALONE: u8 = 1;
    /// Of the nodes that have told of a read some stand in for owners, or they are fewer than R. Never both.
    pub(super) const REACH_NODES: u8 = 1;
    pub(super) const REACH_FEWER: u8 = 2;
}

/// Numbers of the detail, the same on both ways.
const REFUSALS: [Refusal; 4] = [Refusal::Store, Refusal::Hints, Refusal::NotOwner, Refusal::Busy];
const FAILURES: [Failure; 7] = [
    Failure::NoReplicas,
    Failure::InDoubt,
    Failure::ReadTimeout,
    Failure::TooManySiblings,
    Failure::Busy,
    Failure::NotCoordinating,
    Failure::TooLarge,
];
const NOT_CARRIED_OUT: [NotCarriedOut; 3] =
    [NotCarriedOut::NotOwner, NotCarriedOut::NotCoordinating, NotCarriedOut::Expired];
/// The detail of a forward's reply: what it is, failures from `FAILED` on, the rest from `NOT` on.
mod outcome {
    pub(super) const WRITTEN: u8 = 1;
    pub(super) const FOUND: u8 = 2;
    pub(super) const FAILED: u8 = 16;
    pub(super) const NOT: u8 = 32;
}
