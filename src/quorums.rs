//! N, R, W and DW: as they are wanted, and as they are in force among the members that there are.
//!
//! Invariant: what is in force is at least 1 and at most the number of copies; who answers does not matter to it.

use crate::cluster_view::ClusterView;
use crate::config::QuorumConfig;

/// Numbers of copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorums {
    /// N: copies of a key.
    pub copies: u8,
    /// R: copies that answer a read.
    pub read: u8,
    /// W: copies that acknowledge a write.
    pub write: u8,
    /// DW: of these, copies on stable storage.
    pub durable: u8,
}

impl Default for Quorums {
    fn default() -> Self {
        Self { copies: 3, read: 2, write: 2, durable: 2 }
    }
}

impl Quorums {
    /// As a node is configured.
    #[must_use]
    pub fn of(config: &QuorumConfig) -> Self {
        Self { copies: config.copies, read: config.read, write: config.write, durable: config.durable }
    }

    /// What of these is in force: no more than there are copies.
    #[must_use]
    pub fn in_force(self, view: &ClusterView) -> Self {
        let copies = u8::try_from(view.copies).unwrap_or(u8::MAX).max(1);
        let cap = |wanted: u8| wanted.clamp(1, copies);
        Self { copies, read: cap(self.read), write: cap(self.write), durable: self.durable.min(copies) }
    }
}
