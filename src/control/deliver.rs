//! The end of a turn: the map is stored, then what has come about leaves.
//!
//! Invariant: nothing that depends on the map leaves before it is stored. What cores are told waits until they have room; only
//! messages to other nodes do not, which are said to be unreachable then.

use std::collections::VecDeque;
use std::net::SocketAddr;

use annulus_cluster::ids::NodeId;

use super::{Control, STORE_RETRY, TELL_RETRY};
use crate::core_inbox::CoreEvent;
use crate::{members_file, node_meta};

/// What waits for the end of the turn.
#[derive(Debug)]
pub(super) struct Outgoing {
    datagrams: Vec<(SocketAddr, Vec<u8>)>,
    messages: Vec<(NodeId, Option<SocketAddr>, Vec<u8>)>,
    /// By core; some of it from earlier turns.
    told: VecDeque<(u16, CoreEvent)>,
    unreachable: Vec<NodeId>,
    is_map_stored: bool,
    is_view_old: bool,
    /// `node.meta` says that there are others.
    has_others: bool,
    /// Nothing is stored before that.
    store_from_us: u64,
}

impl Outgoing {
    /// Nothing yet. `has_others`: the stored map names other nodes.
    pub(super) fn new(has_others: bool) -> Self {
        Self {
            datagrams: Vec::new(),
            messages: Vec::new(),
            told: VecDeque::new(),
            unreachable: Vec::new(),
            is_map_stored: true,
            is_view_old: true,
            has_others,
            store_from_us: 0,
        }
    }

    pub(super) fn datagram(&mut self, to: SocketAddr, bytes: &[u8]) {
        self.datagrams.push((to, bytes.to_vec()));
    }

    pub(super) fn message(&mut self, to: NodeId, at: Option<SocketAddr>, bytes: &[u8]) {
        self.messages.push((to, at, bytes.to_vec()));
    }

    pub(super) fn tell(&mut self, core: u16, event: CoreEvent) {
        self.told.push_back((core, event));
    }

    /// The map is another one: it has to be stored, and the view with it.
    pub(super) fn map_changed(&mut self) {
        (self.is_map_stored, self.is_view_old) = (false, true);
    }

    pub(super) fn view_is_old(&mut self) {
        self.is_view_old = true;
    }

    /// Everybody can see the view of now.
    pub(super) fn view_is_new(&mut self) {
        self.is_view_old = false;
    }

    /// Whether others were ever members.
    pub(super) fn has_others(&self) -> bool {
        self.has_others
    }

    /// What cores have not been told yet.
    pub(super) fn answers(&self) -> usize {
        self.told.len()
    }

    /// Whom messages did not even leave for.
    pub(super) fn take_unreachable(&mut self) -> Vec<NodeId> {
        std::mem::take(&mut self.unreachable)
    }

    /// When a turn is due for what waits here.
    pub(super) fn next_due_us(&self, now_us: u64) -> Option<u64> {
        let retry_us = |wait: std::time::Duration| u64::try_from(wait.as_micros()).expect("a short while");
        let store_us = (!self.is_map_stored).then_some(self.store_from_us);
        let tell_us = (!self.told.is_empty()).then_some(now_us + retry_us(TELL_RETRY));
        let unreachable_us = (!self.unreachable.is_empty()).then_some(now_us);
        [store_us, tell_us, unreachable_us].into_iter().flatten().min()
    }
}

impl Control {
    /// See the module.
    pub(super) fn deliver(&mut self) {
        if !self.store() {
            // A datagram may be lost, and a message that does not leave is asked for again. Nobody is told what is not stored.
            self.outgoing.datagrams.clear();
            let lost = std::mem::take(&mut self.outgoing.messages);
            self.outgoing.unreachable.extend(lost.into_iter().map(|(to, ..)| to));
            return;
        }
        if self.outgoing.is_view_old {
            self.publish();
        }
        self.send();
        self.tell_cores();
    }

    /// Stores the map if it has changed; false while that fails.
    fn store(&mut self) -> bool {
        if self.outgoing.is_map_stored {
            return true;
        }
        let now_us = self.now().steady_us;
        if now_us < self.outgoing.store_from_us {
            return false;
        }
        let result = members_file::write(&self.node.config.data, self.control.map())
            .map_err(|error| error.to_string())
            .and_then(|()| self.store_others().map_err(|error| error.to_string()));
        match result {
            Ok(()) => self.outgoing.is_map_stored = true,
            Err(error) => {
                self.counts.failed_stores += 1;
                self.outgoing.store_from_us = now_us + u64::try_from(STORE_RETRY.as_micros()).expect("a short while");
                tracing::error!(error, "the membership map cannot be stored: this node is silent until it can");
            }
        }
        self.outgoing.is_map_stored
    }

    /// Once there are others, this node is never alone again: also where the map gets lost.
    fn store_others(&mut self) -> Result<(), node_meta::MetaError> {
        let own = self.own;
        if self.outgoing.has_others || self.control.map().stamps().all(|(node, _)| node == own) {
            return Ok(());
        }
        node_meta::save(&self.meta, |meta| meta.cluster.has_others = true)?;
        self.outgoing.has_others = true;
        Ok(())
    }

    fn send(&mut self) {
        for (to, bytes) in self.outgoing.datagrams.drain(..) {
            match self.socket.send_to(&bytes, to) {
                Ok(_) => self.counts.datagrams_out += 1,
                Err(error) => {
                    self.counts.datagrams_unsent += 1;
                    tracing::debug!(%to, %error, "a datagram was not sent");
                }
            }
        }
        let core = self.node.inboxes[0].get();
        for (to, at, bytes) in self.outgoing.messages.drain(..) {
            let is_told = core.is_some_and(|core| core.send(CoreEvent::SendControl { to, at, bytes }).is_ok());
            if !is_told {
                self.outgoing.unreachable.push(to);
            }
        }
    }

    /// Tells cores what waits for them, in order for each; what a core has no room for waits on.
    fn tell_cores(&mut self) {
        let mut full = Vec::new();
        for _ in 0..self.outgoing.told.len() {
            let (core, event) = self.outgoing.told.pop_front().expect("it was counted");
            let result = match self.node.inboxes[usize::from(core)].get() {
                Some(sender) if !full.contains(&core) => sender.send(event),
                _ => Err(event),
            };
            if let Err(event) = result {
                full.push(core);
                self.outgoing.told.push_back((core, event));
            }
        }
    }
}
