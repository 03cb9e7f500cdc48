//! The topology of the newest view and what was written of it, so that ten thousand clients which ask at once cost one making
//! and ten thousand copies.
//!
//! It is shared by a node's cores: what is under the lock is finding and keeping, never making. Two cores that ask first at the
//! same time may both make the same; one of them is kept.
//!
//! Invariant: what is kept is of one view; at most [`REPLIES_MAX`] replies are, whatever addresses clients reach.

use std::sync::{Arc, Mutex, MutexGuard};

use annulus_net::resp::{Protocol, writer};

use super::replies::NodesText;
use super::{Style, Topology};
use crate::cluster_view::ClusterView;

/// Replies that are kept: five kinds, for three hosts by which clients reach the node.
const REPLIES_MAX: usize = 15;

/// Which reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// CLUSTER SLOTS.
    Slots(Protocol),
    /// CLUSTER SHARDS.
    Shards(Protocol),
    /// CLUSTER NODES.
    Nodes,
}

#[derive(Debug, Clone)]
enum Written {
    Bytes(Arc<[u8]>),
    Nodes(Arc<NodesText>),
}

/// See the module.
#[derive(Debug, Default)]
pub struct TopologyCache {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// And of which view it is.
    topology: Option<(u64, Arc<Topology>)>,
    /// The one that was asked for last comes last.
    replies: Vec<(Reply, String, Written)>,
    /// Topologies and replies that were made.
    made: u64,
}

impl TopologyCache {
    /// The topology of that view.
    pub fn topology(&self, view: &ClusterView, style: &Style<'_>) -> Arc<Topology> {
        if let Some((_, topology)) = self.lock().topology.as_ref().filter(|(number, _)| *number == view.number) {
            return Arc::clone(topology);
        }
        let topology = Arc::new(Topology::of(view, style));
        let mut kept = self.lock();
        kept.made += 1;
        if kept.topology.as_ref().is_none_or(|(number, _)| *number < view.number) {
            kept.topology = Some((view.number, Arc::clone(&topology)));
            kept.replies.clear();
        }
        topology
    }

    /// Appends a reply about that view, for a client of `core` which has reached this node by `reached`.
    pub fn write(
        &self,
        (view, style): (&ClusterView, &Style<'_>),
        (reply, protocol): (Reply, Protocol),
        (reached, core): (&str, u16),
        out: &mut Vec<u8>,
    ) {
        let topology = self.topology(view, style);
        let host = if topology.needs_host() { reached } else { "" };
        let written = match self.find(view.number, reply, host) {
            Some(written) => written,
            None => self.make(view.number, &topology, reply, host),
        };
        match written {
            Written::Bytes(bytes) => out.extend_from_slice(&bytes),
            Written::Nodes(nodes) => {
                writer::verbatim(out, protocol, "txt", topology.nodes_for(&nodes, core).as_bytes());
            }
        }
    }

    /// Topologies and replies that were made since the start.
    pub fn made(&self) -> u64 {
        self.lock().made
    }

    fn find(&self, view: u64, reply: Reply, host: &str) -> Option<Written> {
        let mut kept = self.lock();
        kept.topology.as_ref().filter(|(number, _)| *number == view)?;
        let at = kept.replies.iter().rposition(|(other, of, _)| *other == reply && of == host)?;
        let found = kept.replies.remove(at);
        let written = found.2.clone();
        kept.replies.push(found);
        Some(written)
    }

    fn make(&self, view: u64, topology: &Topology, reply: Reply, host: &str) -> Written {
        let bytes = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = Vec::new();
            write(&mut bytes);
            Written::Bytes(bytes.into())
        };
        let written = match reply {
            Reply::Slots(protocol) => bytes(&|out| topology.write_slots(out, protocol, host)),
            Reply::Shards(protocol) => bytes(&|out| topology.write_shards(out, protocol, host)),
            Reply::Nodes => Written::Nodes(Arc::new(topology.nodes(host))),
        };
        let mut kept = self.lock();
        kept.made += 1;
        if kept.topology.as_ref().is_some_and(|(number, _)| *number == view) {
            if kept.replies.len() >= REPLIES_MAX {
                kept.replies.remove(0);
            }
            kept.replies.push((reply, host.to_owned(), written.clone()));
        }
        written
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("a panic ends the process")
    }
}
