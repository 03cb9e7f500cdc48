//! Commands that wait for an earlier write of their key to be stamped.
//!
//! Most writes are stamped when they come. A plain delete asks other owners first, and a write beside siblings reads their
//! values: until then whatever else comes for the key waits in line, so that a client's commands take effect in their order.
//!
//! Invariant: at most one write of a key is on its way to its stamp; who waits for it goes on in the order of arrival.

use std::collections::VecDeque;

use crate::slab::Handle;

/// The lines of a core. Few writes are ever on their way at a time, so they are looked for one by one.
#[derive(Debug, Default)]
pub(crate) struct Line {
    ahead: Vec<(u128, Handle)>,
    waiting: VecDeque<(u128, Handle)>,
}

impl Line {
    /// Whether a write of the key is on its way.
    pub(crate) fn is_taken(&self, hash: u128) -> bool {
        self.ahead.iter().any(|(other, _)| *other == hash)
    }

    /// A write is on its way.
    pub(crate) fn enter(&mut self, hash: u128, write: Handle) {
        assert!(!self.is_taken(hash), "one write of a key at a time");
        self.ahead.push((hash, write));
    }

    /// A command waits.
    pub(crate) fn wait(&mut self, hash: u128, command: Handle) {
        self.waiting.push_back((hash, command));
    }

    /// A write is stamped, or a command has ended; true when others may go on.
    pub(crate) fn leave(&mut self, hash: u128, command: Handle) -> bool {
        if let Some(index) = self.ahead.iter().position(|(_, other)| *other == command) {
            self.ahead.swap_remove(index);
            return self.waiting.iter().any(|(other, _)| *other == hash);
        }
        self.waiting.retain(|(_, other)| *other != command);
        false
    }

    /// The command that goes on next, if the key's line is free.
    pub(crate) fn next(&mut self, hash: u128) -> Option<Handle> {
        if self.is_taken(hash) {
            return None;
        }
        let index = self.waiting.iter().position(|(other, _)| *other == hash)?;
        self.waiting.remove(index).map(|(_, command)| command)
    }

    /// Whether nothing waits and nothing is waited for.
    pub(crate) fn is_empty(&self) -> bool {
        self.ahead.is_empty() && self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::{Kind, Slab};

    #[test]
    fn commands_of_a_key_go_on_in_their_order() {
        let mut slab: Slab<()> = Slab::new(Kind::Put, 8);
        let mut handle = || slab.claim().unwrap();
        let (first, second, third, other) = (handle(), handle(), handle(), handle());
        let mut line = Line::default();
        line.enter(1, first);
        line.wait(1, second);
        line.wait(1, third);
        assert!(!line.is_taken(2) && line.next(1).is_none());
        line.enter(2, other);
        assert!(line.leave(1, first));
        assert_eq!(line.next(1), Some(second));
        line.enter(1, second);
        assert!(!line.leave(1, third), "it gave up");
        assert!(!line.leave(1, second) && !line.leave(2, other));
        assert!(line.is_empty());
    }
}
