//! What the control plane has counted, for whoever shows it.
//!
//! Invariant: only the control thread writes; a reader may see one count older than another.

use std::sync::atomic::{AtomicU64, Ordering};

use annulus_cluster::node::NodeCounts;

/// See the module.
#[derive(Debug, Default)]
pub struct ControlStatus {
    datagrams_in: AtomicU64,
    datagrams_out: AtomicU64,
    datagrams_unsent: AtomicU64,
    refused_datagrams: AtomicU64,
    refused_messages: AtomicU64,
    pulls: AtomicU64,
    compares: AtomicU64,
    bad_entries: AtomicU64,
    failed_stores: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ControlCounts {
    /// Datagrams that came.
    pub datagrams_in: u64,
    /// Datagrams that went.
    pub datagrams_out: u64,
    /// Datagrams that the system did not take.
    pub datagrams_unsent: u64,
    /// Times that the map could not be stored.
    pub failed_stores: u64,
    /// What the protocol has counted.
    pub node: NodeCounts,
}

impl ControlStatus {
    /// The counts of now.
    pub fn counts(&self) -> ControlCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ControlCounts {
            datagrams_in: read(&self.datagrams_in),
            datagrams_out: read(&self.datagrams_out),
            datagrams_unsent: read(&self.datagrams_unsent),
            failed_stores: read(&self.failed_stores),
            node: NodeCounts {
                refused_datagrams: read(&self.refused_datagrams),
                refused_messages: read(&self.refused_messages),
                pulls: read(&self.pulls),
                compares: read(&self.compares),
                bad_entries: read(&self.bad_entries),
            },
        }
    }

    pub(super) fn note(&self, counts: &ControlCounts) {
        let write = |count: &AtomicU64, value: u64| count.store(value, Ordering::Relaxed);
        write(&self.datagrams_in, counts.datagrams_in);
        write(&self.datagrams_out, counts.datagrams_out);
        write(&self.datagrams_unsent, counts.datagrams_unsent);
        write(&self.failed_stores, counts.failed_stores);
        write(&self.refused_datagrams, counts.node.refused_datagrams);
        write(&self.refused_messages, counts.node.refused_messages);
        write(&self.pulls, counts.node.pulls);
        write(&self.compares, counts.node.compares);
        write(&self.bad_entries, counts.node.bad_entries);
    }
}
