//! What happens when, apart from packets: a queue over virtual time.
//!
//! Invariant: of two things at one instant the one that was entered first happens first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::Instant;

struct Entry<T> {
    at: Instant,
    number: u64,
    what: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// Things to happen.
pub struct Agenda<T> {
    entries: BinaryHeap<Reverse<Entry<T>>>,
    next_number: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { entries: BinaryHeap::new(), next_number: 0 }
    }
}

impl<T> Agenda<T> {
    /// Enters something.
    pub fn add(&mut self, at: Instant, what: T) {
        let number = self.next_number;
        self.next_number += 1;
        self.entries.push(Reverse(Entry { at, number, what }));
    }

    /// When the next thing happens.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.entries.peek().map(|Reverse(entry)| entry.at)
    }

    /// The next thing.
    pub fn take(&mut self) -> Option<(Instant, T)> {
        self.entries.pop().map(|Reverse(entry)| (entry.at, entry.what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_by_time_then_by_entry() {
        let mut agenda = Agenda::default();
        for (at, what) in [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b')] {
            agenda.add(at, what);
        }
        let all: String = std::iter::from_fn(|| agenda.take()).map(|(_, what)| what).collect();
        assert_eq!(all, "abcd");
    }
}
