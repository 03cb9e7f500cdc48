//! What a core waits for other nodes with.
//!
//! Invariant: a token is never given twice, so a reply that comes too late is nobody's.

use std::collections::BTreeMap;

use annulus_cluster::ids::NodeId;

use super::Expected;
use crate::core_inbox::PeerCore;
use crate::limits;
use crate::waiting::ReplyTo;

/// One part of a command that was given to another node's core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    /// Who is to run it.
    pub peer: PeerCore,
    /// Who waits for it.
    pub to: ReplyTo,
    /// What its reply has to be.
    pub expected: Expected,
    /// Since when, on the steady clock in microseconds.
    pub since_us: u64,
    /// Until when.
    pub deadline_us: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Asked {
    given: BTreeMap<u64, Given>,
    last_token: u64,
}

impl Asked {
    /// Whether so many more parts can be waited for.
    pub fn has_room(&self, parts: usize) -> bool {
        self.given.len() + parts <= limits::REMOTE_ASKED_MAX
    }

    /// Notes what is waited for, of which there is room (asserted); the token for its reply.
    pub fn insert(&mut self, given: Given) -> u64 {
        assert!(self.has_room(1), "whoever asks looks whether there is room");
        self.last_token += 1;
        self.given.insert(self.last_token, given);
        self.last_token
    }

    /// That core has replied.
    pub fn replied(&mut self, peer: PeerCore, token: u64) -> Option<Given> {
        if self.given.get(&token)?.peer != peer {
            return None;
        }
        self.given.remove(&token)
    }

    /// One of those whose deadline has come.
    pub fn next_late(&mut self, now_us: u64) -> Option<Given> {
        self.take(|given| given.deadline_us <= now_us)
    }

    /// One of those that a node was given.
    pub fn next_of(&mut self, node: NodeId) -> Option<Given> {
        self.take(|given| given.peer.node == node)
    }

    fn take(&mut self, is_it: impl Fn(&Given) -> bool) -> Option<Given> {
        let token = *self.given.iter().find(|(_, given)| is_it(given))?.0;
        self.given.remove(&token)
    }

    /// Parts that are waited for.
    pub fn len(&self) -> usize {
        self.given.len()
    }

    /// True when none is.
    pub fn is_empty(&self) -> bool {
        self.given.is_empty()
    }
}
