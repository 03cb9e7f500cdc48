//! What operators ask of the control plane by way of this core, and what this core tells of its part in the cluster.
//!
//! Invariant: at most [`limits::OPERATIONS_MAX`] wait, and each is answered once.

use annulus_cluster::ids::NodeId;
use annulus_cluster::node::MapChange;
use annulus_engine::Disk;
use annulus_net::resp::writer;

use super::ShardLoop;
use crate::core_facts::{CoreFacts, Direction, LinkFact, LinkTotals};
use crate::limits;
use crate::operation::{NotDone, Operation};
use crate::peers::{LinkState, LinkStatus};
use crate::session::Session;

impl<D: Disk> ShardLoop<D> {
    /// Passes on what an operator wants; the reply comes with [`ShardLoop::on_operated`], or says at once why not.
    pub(super) fn begin_operation(&mut self, session: &mut Session, index: u32, node: NodeId, change: MapChange) {
        if !self.node.has_control() {
            return self.refuse(session, |out| writer::error(out, &NotDone::NoCluster.to_string()));
        }
        if self.operations.len() >= limits::OPERATIONS_MAX {
            return self.refuse(session, |out| writer::error(out, &NotDone::Busy.to_string()));
        }
        tracing::info!(client = session.id, peer = %session.peer, %node, ?change, "a change of the cluster is wanted");
        let to = self.reserve(session, index);
        let token = u64::from(self.operations.insert(to));
        self.outbox.operations.push(Operation { token, node, change });
    }

    /// What became of an operation that the outbox named.
    pub fn on_operated(&mut self, token: u64, result: Result<(), NotDone>) {
        let number = u32::try_from(token).expect("tokens are numbers of operations");
        let to = self.operations.remove(number);
        let mut reply = Vec::new();
        match result {
            Ok(()) => writer::simple(&mut reply, "OK"),
            Err(why) => writer::error(&mut reply, &why.to_string()),
        }
        self.deliver(to, &reply);
    }

    /// What a command shows of this core's part in the cluster.
    pub(super) fn core_facts(&self) -> CoreFacts {
        CoreFacts::of(self.replication.shard(), &self.store, self.link_facts())
    }

    /// All links of this core.
    pub(super) fn link_totals(&self) -> LinkTotals {
        let peers = self.peers.as_ref().expect("figures are published when all frames of a connection were heard");
        let (counters, counts) = (peers.counters(), peers.totals());
        LinkTotals {
            open: peers.len() as u64,
            queued_bytes: peers.links().map(|link| link.queued_bytes as u64).sum(),
            frames_sent: counts.messages_out,
            frames_received: counts.messages_in,
            sent_bytes: counts.bytes_out,
            received_bytes: counts.bytes_in,
            dials: counters.dialled + counters.dials_failed,
            dial_failures: counters.dials_failed,
            broken: counters.ended,
            dropped: counters.unsent,
        }
    }

    fn link_facts(&self) -> Vec<LinkFact> {
        let peers = self.peers.as_ref().expect("commands run when all frames of a connection were heard");
        let now_us = self.now.steady_ns / 1000;
        peers.links().filter_map(|link| link_fact(&link, (self.now.unix_ms, now_us))).collect()
    }
}

/// A connection that stands; `None` of a peer that has none.
fn link_fact(link: &LinkStatus<'_>, (unix_ms, now_us): (u64, u64)) -> Option<LinkFact> {
    let LinkState::Connected { is_dialled, since_us, version, capabilities, .. } = link.state else { return None };
    let queued_bytes = link.queued_bytes as u64;
    Some(LinkFact {
        peer: link.peer,
        direction: if is_dialled { Direction::Dialled } else { Direction::Accepted },
        created_unix_ms: unix_ms.saturating_sub(now_us.saturating_sub(since_us) / 1000),
        version,
        capabilities,
        queued_bytes,
        buffer_bytes: queued_bytes,
    })
}
