//! What cores tell the control plane, and how it is woken.
//!
//! Invariant: the inbox is bounded, and nobody waits for it: who finds it full gets back what was to be told.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use annulus_cluster::ids::NodeId;
use annulus_cluster::membership::Holdings;
use annulus_cluster::node::MapChange;
use annulus_cluster::reachability::Outcome;
use rustix::event::{EventfdFlags, eventfd};

use super::status::{ControlCounts, ControlStatus};

/// What waits for the control plane at most.
const INBOX_MAX: usize = 4096;

/// One thing that the control plane is told.
#[derive(Debug)]
pub enum ToControl {
    /// A message has come from a node's control plane.
    Message {
        /// Of whom the connection is.
        from: NodeId,
        /// One message.
        bytes: Vec<u8>,
    },
    /// A message surely did not reach a peer, or the connection to it is gone.
    Unreachable {
        /// The peer.
        peer: NodeId,
    },
    /// What became of something that was asked of a peer.
    Observed {
        /// The peer.
        peer: NodeId,
        /// What became of it.
        outcome: Outcome,
    },
    /// An operator wants something; [`crate::core_inbox::CoreEvent::Operated`] answers.
    Operate {
        /// The core that is told what became of it.
        core: u16,
        /// To be repeated by the answer.
        token: u64,
        /// Which node is to be changed.
        node: NodeId,
        /// What is wanted of it.
        change: MapChange,
    },
    /// This node stamps under a new incarnation, which is stored.
    Incarnation(u16),
    /// This node holds something else.
    Holdings(Holdings),
    /// This node has everything again that it lost with its disk.
    Refilled,
    /// The node ends: the others are to be told.
    Leave,
}

/// The sending end; every thread has its own.
#[derive(Debug, Clone)]
pub struct ControlSender {
    sender: SyncSender<ToControl>,
    bell: Arc<OwnedFd>,
    status: Arc<ControlStatus>,
}

/// The receiving end.
#[derive(Debug)]
pub struct ControlInbox {
    receiver: Receiver<ToControl>,
    bell: Arc<OwnedFd>,
    status: Arc<ControlStatus>,
}

/// Both ends. Errors: the process has no descriptor left.
pub fn channel() -> io::Result<(ControlSender, ControlInbox)> {
    let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let (sender, receiver) = sync_channel(INBOX_MAX);
    let status = Arc::new(ControlStatus::default());
    let control = ControlSender { sender, bell: Arc::clone(&bell), status: Arc::clone(&status) };
    Ok((control, ControlInbox { receiver, bell, status }))
}

impl ControlSender {
    /// Tells the control plane something and wakes it; gives it back when the inbox is full, or the control plane has ended.
    pub fn send(&self, what: ToControl) -> Result<(), ToControl> {
        match self.sender.try_send(what) {
            Ok(()) => {
                self.ring();
                Ok(())
            }
            Err(TrySendError::Full(what) | TrySendError::Disconnected(what)) => Err(what),
        }
    }

    /// What the control plane has counted.
    pub fn counts(&self) -> ControlCounts {
        self.status.counts()
    }

    /// Wakes it, which finds something elsewhere.
    pub(super) fn ring(&self) {
        // It fails only when it was rung 2^64 times and never heard: the thread has gone.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }
}

impl ControlInbox {
    /// Where counts are shown.
    pub(super) fn status(&self) -> &ControlStatus {
        &self.status
    }

    /// What comes next.
    pub(super) fn next(&self) -> Option<ToControl> {
        self.receiver.try_recv().ok()
    }

    /// Readable when it was rung.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Lets it be rung anew. What was told before is found by [`ControlInbox::next`] after this.
    pub(super) fn still(&self) {
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_inbox_gives_back_what_it_was_told() {
        let (sender, inbox) = channel().unwrap();
        let mut told = 0;
        while sender.send(ToControl::Incarnation(told)).is_ok() {
            told += 1;
        }
        assert_eq!(usize::from(told), INBOX_MAX);
        assert!(matches!(sender.send(ToControl::Leave), Err(ToControl::Leave)));
        inbox.still();
        assert!(matches!(inbox.next(), Some(ToControl::Incarnation(0))));
        assert!(sender.send(ToControl::Leave).is_ok());
        drop(inbox);
        assert!(sender.send(ToControl::Leave).is_err());
    }
}
