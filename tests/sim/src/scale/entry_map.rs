//! A membership map in which an entry's content follows from its node and version, so that a thousand maps of a thousand
//! entries fit in memory, while what goes over the wire has its real size.
//!
//! Invariant: an entry is either exactly what its version says, or refused.

use std::net::SocketAddr;

use annulus_cluster::ids::{Fingerprint, NodeId};
use annulus_cluster::shared_map::{BadEntry, EntryStamp, SharedMap};

/// Of an entry with four registers, two endpoints and what four cores hold.
pub const ENTRY_BYTES: usize = 144;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct EntryMap {
    /// Ascending by node.
    entries: Vec<(NodeId, u64)>,
    /// Sum of the entries' own.
    fingerprint: u64,
}

impl EntryMap {
    /// The entry of `node` gets this version, if that is a later one.
    pub fn set(&mut self, node: NodeId, version: u64) -> bool {
        match self.entries.binary_search_by_key(&node, |entry| entry.0) {
            Ok(at) if self.entries[at].1 >= version => return false,
            Ok(at) => {
                let before = std::mem::replace(&mut self.entries[at].1, version);
                self.fingerprint = self.fingerprint.wrapping_sub(mixed(node, before));
            }
            Err(at) => self.entries.insert(at, (node, version)),
        }
        self.fingerprint = self.fingerprint.wrapping_add(mixed(node, version));
        true
    }

    /// The version of an entry; 0 where there is none.
    pub fn version(&self, node: NodeId) -> u64 {
        self.entries.binary_search_by_key(&node, |entry| entry.0).map_or(0, |at| self.entries[at].1)
    }
}

/// Where the node of this number listens.
pub fn address(node: NodeId) -> SocketAddr {
    let [.., a, b] = node.raw().to_be_bytes();
    SocketAddr::new([10, 0, a, b].into(), 17_379)
}

/// The node that listens there.
pub fn node_at(address: SocketAddr) -> Option<NodeId> {
    match address {
        SocketAddr::V4(address) => {
            let [.., a, b] = address.ip().octets();
            NodeId::checked(u64::from(a) << 8 | u64::from(b))
        }
        SocketAddr::V6(_) => None,
    }
}

fn mixed(node: NodeId, version: u64) -> u64 {
    let word = (node.raw() << 32 ^ version).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (word ^ (word >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

impl SharedMap for EntryMap {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint(self.fingerprint)
    }

    fn stamp(&self, node: NodeId) -> Option<EntryStamp> {
        let version = self.version(node);
        (version > 0).then(|| EntryStamp { version, fingerprint: mixed(node, version) })
    }

    fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.entries.iter().map(|entry| entry.0)
    }

    fn contact(&self, node: NodeId) -> Option<SocketAddr> {
        (self.version(node) > 0).then(|| address(node))
    }

    fn encode_entry(&self, node: NodeId, bytes: &mut Vec<u8>) {
        let version = self.version(node);
        if version > 0 {
            bytes.extend_from_slice(&version.to_le_bytes());
            bytes.resize(bytes.len() + ENTRY_BYTES - 8, u8::try_from(node.raw() % 251).expect("below 251"));
        }
    }

    fn merge_entry(&mut self, node: NodeId, bytes: &[u8]) -> Result<bool, BadEntry> {
        let (version, content) = bytes.split_first_chunk::<8>().ok_or(BadEntry)?;
        let is_whole =
            content.len() == ENTRY_BYTES - 8 && content.iter().all(|byte| u64::from(*byte) == node.raw() % 251);
        if is_whole { Ok(self.set(node, u64::from_le_bytes(*version))) } else { Err(BadEntry) }
    }
}
