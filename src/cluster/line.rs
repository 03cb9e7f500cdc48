//! Commands that wait for an earlier write of their key to be stamped.
//!
//! Most writes are stamped when they come. A plain delete asks other owners first, and a write beside siblings reads their
//! values: until then whatever else comes for the key waits in line, so that a client's commands take effect in their order.
//!
//! What a stamped write asks of the store, the store shows from the next event on only. So a line moves up by one write an
//! event, never by two: the second stamp would not see the first (rule S2).
//!
//! Invariant: at most one write of a key is on its way to its stamp; who waits for it goes on in the order of arrival.

use std::collections::VecDeque;

use crate::slab::Handle;

/// The lines of a core. Few writes are ever on their way at a time, so they are looked for one by one.
#[derive(Debug, Default)]
pub(crate) struct Line {
    ahead: Vec<(u128, Handle)>,
    waiting: VecDeque<(u128, Handle)>,
    /// Keys whose line moves up with the next event.
    moving: VecDeque<u128>,
}

impl Line {
    /// Whether a command for the key has to wait.
    pub(crate) fn is_taken(&self, hash: u128) -> bool {
        self.ahead.iter().any(|(other, _)| *other == hash) || self.moving.contains(&hash)
    }

    /// A write is on its way, if it was not before.
    pub(crate) fn enter(&mut self, hash: u128, write: Handle) {
        let ahead = self.ahead.iter().find(|(other, _)| *other == hash);
        match ahead {
            Some((_, other)) => assert!(*other == write, "one write of a key at a time"),
            None => self.ahead.push((hash, write)),
        }
    }

    /// A command waits.
    pub(crate) fn wait(&mut self, hash: u128, command: Handle) {
        self.waiting.push_back((hash, command));
    }

    /// A write is stamped, or a command has ended.
    pub(crate) fn leave(&mut self, hash: u128, command: Handle) {
        if let Some(index) = self.ahead.iter().position(|(_, other)| *other == command) {
            self.ahead.swap_remove(index);
            if self.waiting.iter().any(|(other, _)| *other == hash) {
                self.hold(hash);
            }
        } else {
            self.waiting.retain(|(_, other)| *other != command);
        }
    }

    /// Nothing more of the key before the next event, unless a write is on its way, which is then waited for.
    pub(crate) fn hold(&mut self, hash: u128) {
        if !self.is_taken(hash) {
            self.moving.push_back(hash);
        }
    }

    /// How many lines are to move up: those of earlier events come first.
    pub(crate) fn moving(&self) -> usize {
        self.moving.len()
    }

    /// The key of the line that is to move up first.
    pub(crate) fn take_moving(&mut self) -> Option<u128> {
        self.moving.pop_front()
    }

    /// The command that goes on next.
    pub(crate) fn next(&mut self, hash: u128) -> Option<Handle> {
        let index = self.waiting.iter().position(|(other, _)| *other == hash)?;
        self.waiting.remove(index).map(|(_, command)| command)
    }

    /// Whether nothing waits and nothing is waited for.
    pub(crate) fn is_empty(&self) -> bool {
        self.ahead.is_empty() && self.waiting.is_empty() && self.moving.is_empty()
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
        assert!(line.is_taken(1) && !line.is_taken(2));
        line.enter(2, other);
        line.leave(1, first);
        assert!(line.is_taken(1), "until the next event");
        assert_eq!((line.moving(), line.take_moving(), line.take_moving()), (1, Some(1), None));
        assert_eq!(line.next(1), Some(second));
        line.enter(1, second);
        line.leave(1, third);
        line.leave(1, second);
        line.leave(2, other);
        assert!(line.is_empty(), "the third gave up");
    }
}
