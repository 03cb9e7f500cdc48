//! Names of nodes, partitions, requests.
//!
//! Invariant: none of them is ever 0 where 0 would mean "none".

use std::fmt;

/// A member of the cluster: 48 bits, never 0; the same number as in [`annulus_object::Actor::node`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u64);

impl NodeId {
    /// The node with this number: below 2^48 and not 0, asserted.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        assert!(number > 0 && number < 1 << 48, "a node id has 48 bits and is not 0");
        Self(number)
    }

    /// The same from bytes that nobody has vouched for.
    #[must_use]
    pub const fn checked(number: u64) -> Option<Self> {
        if number > 0 && number < 1 << 48 { Some(Self(number)) } else { None }
    }

    /// Its number.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "n{:x}", self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:012x}", self.0)
    }
}

/// One of the Q slices of the key space: below Q.
pub type PartitionId = u16;

/// A request that a core coordinates, unique for the life of that core. Travels in messages and comes back in replies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One life of one core: no core of the cluster ever had the same before. It goes with every request and comes back in the
/// reply, so that an answer to what a core asked before it was restarted is never taken for one to what it asks now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session(pub u64);

/// Who asked, in the terms of whoever drives the core; carried back unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientToken(pub u64);

/// A write or read of the local store that is under way; carried back unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreToken(pub u64);

/// What a ring is recognised by: nodes with the same fingerprint own the same (rule S13).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

/// Where a replica keeps an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Home {
    /// As an owner.
    Owned(PartitionId),
    /// For another node, until that has it (rule S5).
    Hinted {
        /// The key's partition.
        partition: PartitionId,
        /// The owner that did not answer.
        target: NodeId,
    },
}

impl Home {
    /// The key's partition.
    #[must_use]
    pub const fn partition(self) -> PartitionId {
        match self {
            Self::Owned(partition) | Self::Hinted { partition, .. } => partition,
        }
    }
}
