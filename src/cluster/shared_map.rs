//! What the control plane needs of the membership map in order to spread it: entries that merge, and how to recognise them.
//!
//! Invariant, which every implementation keeps: merging an entry never makes it older ([`EntryStamp::is_news_to`]), and two
//! nodes that have merged the same entries have the same fingerprint, in whatever order they came.

use std::net::SocketAddr;

use crate::ids::{Fingerprint, NodeId};

/// What one entry of the map is recognised by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EntryStamp {
    /// Does not decrease when entries merge: the largest clock among the entry's registers.
    pub version: u64,
    /// Of the entry's content: tells apart entries whose largest clock is the same.
    pub fingerprint: u64,
}

impl EntryStamp {
    /// Whether an entry with this stamp may hold something that one with stamp `known` lacks. Both may hold something that the
    /// other lacks; then each is news to the other once their versions are equal, which merging one way brings about.
    #[must_use]
    pub fn is_news_to(self, known: Option<EntryStamp>) -> bool {
        match known {
            None => true,
            Some(known) if self.version == known.version => self.fingerprint != known.fingerprint,
            Some(known) => self.version > known.version,
        }
    }
}

/// Why bytes are not an entry. The map was not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no entry of the membership map")]
pub struct BadEntry;

/// A map from nodes to entries that merge.
pub trait SharedMap {
    /// Of everything in the map: equal maps have the same one, different maps hardly ever.
    fn fingerprint(&self) -> Fingerprint;

    /// What the entry of `node` is recognised by; `None` where there is none.
    fn stamp(&self, node: NodeId) -> Option<EntryStamp>;

    /// All nodes that have an entry, ascending, each once.
    fn nodes(&self) -> impl Iterator<Item = NodeId> + '_;

    /// Where a node's control plane may be found; `None` of nodes that are no members any more, or whose address is not known.
    fn contact(&self, node: NodeId) -> Option<SocketAddr>;

    /// Appends the entry of `node`, at most [`crate::limits::ControlLimits::entry_bytes_max`] bytes; nothing where there is none.
    fn encode_entry(&self, node: NodeId, bytes: &mut Vec<u8>);

    /// Merges an entry that came from outside. True when that changed something.
    ///
    /// # Errors
    ///
    /// [`BadEntry`] where the bytes are not the entry of `node`.
    fn merge_entry(&mut self, node: NodeId, bytes: &[u8]) -> Result<bool, BadEntry>;
}
