//! What operators ask of the control plane by way of this core, and what this core tells of its part in the cluster.
//!
//! Invariant: at most [`limits::OPERATIONS_MAX`] wait, and each is answered once.

use annulus_cluster::ids::NodeId;
use annulus_cluster::node::MapChange;
use annulus_engine::Disk;
use annulus_net::resp::writer;

use super::ShardLoop;
use crate::commands::table::Command;
use crate::core_facts::CoreFacts;
use crate::limits;
use crate::operation::{NotDone, Operation};
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

    /// What a command shows of this core's part in the cluster. A core that runs no protocol has nothing to tell.
    pub(super) fn core_facts(&self, _: Command) -> CoreFacts {
        CoreFacts::default()
    }
}
