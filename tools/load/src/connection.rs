//! One connection of a thread: what is to be sent, what waits for its reply, what has arrived in part.
//!
//! Invariant: replies come in the order of the requests, so the reply at hand is of the oldest request that waits.

use std::collections::VecDeque;

use annulus_net::ring::ConnectionId;

use crate::reply::{self, Malformed, Reply};
use crate::workload::Operation;

/// A request that was sent.
#[derive(Debug, Clone, Copy)]
pub struct Outstanding {
    /// When it was due, steady clock.
    pub due_ns: u64,
    /// Its key, within the thread.
    pub local: u64,
    /// What it is a part of.
    pub operation: Operation,
    /// Which part.
    pub step: Step,
    /// Whether it is counted.
    pub measured: bool,
}

/// What was sent for an operation last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A GET, which must find at least this write.
    Get {
        /// 0 for anything.
        at_least: u32,
    },
    /// A SET.
    Set {
        /// Which write of the key.
        sequence: u32,
    },
    /// The WAIT behind a SET that was taken.
    Wait,
    /// The WAIT behind a SET that was refused: the operation is over, only its reply is to come.
    Refused,
}

/// One connection, or the place of one that was lost.
#[derive(Debug)]
pub struct Connection {
    /// `None` while it is lost.
    pub id: Option<ConnectionId>,
    /// Which endpoint it leads to.
    pub endpoint: usize,
    /// To be sent.
    pub out: Vec<u8>,
    /// A buffer is with the kernel.
    pub sending: bool,
    /// It is in the list of those that have something to send.
    pub dirty: bool,
    /// What waits for a reply, the oldest first.
    pub outstanding: VecDeque<Outstanding>,
    input: Vec<u8>,
}

impl Connection {
    /// One that is not there yet.
    pub fn new(endpoint: usize) -> Self {
        Self {
            id: None,
            endpoint,
            out: Vec::new(),
            sending: false,
            dirty: false,
            outstanding: VecDeque::new(),
            input: Vec::new(),
        }
    }

    /// Forgets what was under way, and gives it out.
    pub fn lose(&mut self) -> VecDeque<Outstanding> {
        self.id = None;
        self.out.clear();
        self.sending = false;
        self.input.clear();
        std::mem::take(&mut self.outstanding)
    }

    /// Takes bytes that arrived; calls `on_reply` for every whole reply. Parsed where they lie unless a part is kept.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        mut on_reply: impl FnMut(&mut Self, Outstanding, Reply<'_>),
    ) -> Result<(), Malformed> {
        let mut kept = std::mem::take(&mut self.input);
        if kept.is_empty() {
            let used = self.replies(bytes, &mut on_reply)?;
            kept.extend_from_slice(&bytes[used..]);
        } else {
            kept.extend_from_slice(bytes);
            let used = self.replies(&kept, &mut on_reply)?;
            kept.drain(..used);
        }
        self.input = kept;
        Ok(())
    }

    fn replies(
        &mut self,
        bytes: &[u8],
        on_reply: &mut impl FnMut(&mut Self, Outstanding, Reply<'_>),
    ) -> Result<usize, Malformed> {
        let mut used = 0;
        while let Some((reply, length)) = reply::parse(&bytes[used..])? {
            let oldest = self.outstanding.pop_front().ok_or(reply::UNASKED)?;
            on_reply(self, oldest, reply);
            used += length;
        }
        Ok(used)
    }
}
