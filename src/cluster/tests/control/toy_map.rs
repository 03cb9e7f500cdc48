//! A membership map of one register per node: the larger version wins, then the larger text.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use annulus_cluster::ids::{Fingerprint, NodeId};
use annulus_cluster::random::Random;
use annulus_cluster::shared_map::{BadEntry, EntryStamp, SharedMap};

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToyMap(pub BTreeMap<NodeId, (u64, String)>);

impl ToyMap {
    /// A new text under the next version.
    pub fn set(&mut self, node: NodeId, text: &str) {
        let entry = self.0.entry(node).or_default();
        *entry = (entry.0 + 1, text.to_owned());
    }
}

/// Where the node of this number listens.
pub fn address(node: NodeId) -> SocketAddr {
    let number = u16::try_from(node.raw() & 0xffff).unwrap();
    SocketAddr::new([10, 0, 0, 1].into(), number)
}

fn hash(node: NodeId, (version, text): &(u64, String)) -> u64 {
    text.bytes()
        .fold(Random::new(node.raw() ^ (version << 20)).draw(), |hash, byte| Random::new(hash ^ u64::from(byte)).draw())
}

impl SharedMap for ToyMap {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint(self.0.iter().fold(0, |sum: u64, (node, entry)| sum.wrapping_add(hash(*node, entry))))
    }

    fn stamp(&self, node: NodeId) -> Option<EntryStamp> {
        self.0.get(&node).map(|entry| EntryStamp { version: entry.0, fingerprint: hash(node, entry) })
    }

    fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.0.keys().copied()
    }

    fn contact(&self, node: NodeId) -> Option<SocketAddr> {
        self.0.get(&node).filter(|entry| entry.1 != "removed").map(|_| address(node))
    }

    fn encode_entry(&self, node: NodeId, bytes: &mut Vec<u8>) {
        if let Some((version, text)) = self.0.get(&node) {
            bytes.extend_from_slice(&version.to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
    }

    fn merge_entry(&mut self, node: NodeId, bytes: &[u8]) -> Result<bool, BadEntry> {
        let (version, text) = bytes.split_first_chunk::<8>().ok_or(BadEntry)?;
        let text = std::str::from_utf8(text).map_err(|_| BadEntry)?;
        let theirs = (u64::from_le_bytes(*version), text.to_owned());
        let is_newer = self.0.get(&node).is_none_or(|ours| *ours < theirs);
        if is_newer {
            self.0.insert(node, theirs);
        }
        Ok(is_newer)
    }
}
