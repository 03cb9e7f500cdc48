//! What a connection wrote to a key last: its next commands for that key count it as seen (rule S9), so that a client's own
//! writes never become siblings.
//!
//! The newest entries are kept, so many that a client's pipeline finds its own; whoever has lost one makes a sibling at worst.
//!
//! ```text
//!  hash of (client, key) ──▶ head of a chain ──▶ entry ──▶ entry           entries also form one list, oldest to newest
//! ```
//!
//! Invariant: every entry is in one chain and in the list; nothing is allocated once there are as many as there may be.

use annulus_object::Dot;

/// Entries of one core: 1 MiB.
const ENTRIES_MAX: usize = 16_384;
const NONE: u32 = u32::MAX;

struct Entry {
    client: u64,
    hash: u128,
    dot: Dot,
    is_alone: bool,
    /// The next of the chain.
    next: u32,
    older: u32,
    newer: u32,
}

/// See the module.
pub struct OwnWrites {
    entries_max: usize,
    entries: Vec<Entry>,
    /// A power of two of them; none before the first entry.
    heads: Vec<u32>,
    oldest: u32,
    newest: u32,
}

impl Default for OwnWrites {
    fn default() -> Self {
        Self::with_entries(ENTRIES_MAX)
    }
}

impl OwnWrites {
    /// Keeps at most so many entries, at least one (asserted).
    pub fn with_entries(entries_max: usize) -> Self {
        assert!((1..NONE as usize).contains(&entries_max), "an entry has a number");
        Self { entries_max, entries: Vec::new(), heads: Vec::new(), oldest: NONE, newest: NONE }
    }

    /// What the client wrote last to the key with this hash, and whether it then stood alone.
    #[inline]
    pub fn get(&self, client: u64, hash: u128) -> Option<(Dot, bool)> {
        if self.entries.is_empty() {
            return None;
        }
        let entry = &self.entries[self.find(client, hash)? as usize];
        Some((entry.dot, entry.is_alone))
    }

    /// Notes a write that was answered. Answers of one client for one key come in the order of their dots; should one come
    /// late, the newer stays.
    pub fn insert(&mut self, client: u64, hash: u128, dot: Dot, is_alone: bool) {
        if self.heads.is_empty() {
            self.heads = vec![NONE; self.entries_max.next_power_of_two()];
            self.entries.reserve_exact(self.entries_max);
        }
        if let Some(number) = self.find(client, hash) {
            let entry = &mut self.entries[number as usize];
            if entry.dot < dot {
                (entry.dot, entry.is_alone) = (dot, is_alone);
            }
            self.leave_list(number);
            return self.append(number);
        }
        let head = self.head_of(client, hash);
        let entry = Entry { client, hash, dot, is_alone, next: NONE, older: NONE, newer: NONE };
        let number = if self.entries.len() < self.entries_max {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).expect("bounded at the start")
        } else {
            let oldest = self.oldest;
            self.leave_list(oldest);
            self.leave_chain(oldest);
            self.entries[oldest as usize] = entry;
            oldest
        };
        self.entries[number as usize].next = std::mem::replace(&mut self.heads[head], number);
        self.append(number);
    }

    /// The chain of a key. Its hash is keyed, so nobody makes long chains; the client is spread by a multiplication.
    #[inline]
    fn head_of(&self, client: u64, hash: u128) -> usize {
        let mixed = hash as u64 ^ client.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32);
        mixed as usize & (self.heads.len() - 1)
    }

    fn find(&self, client: u64, hash: u128) -> Option<u32> {
        let mut number = self.heads[self.head_of(client, hash)];
        while number != NONE {
            let entry = &self.entries[number as usize];
            if entry.client == client && entry.hash == hash {
                return Some(number);
            }
            number = entry.next;
        }
        None
    }

    fn leave_chain(&mut self, number: u32) {
        let Entry { client, hash, next, .. } = self.entries[number as usize];
        let head = self.head_of(client, hash);
        if self.heads[head] == number {
            self.heads[head] = next;
            return;
        }
        let mut before = self.heads[head];
        while self.entries[before as usize].next != number {
            before = self.entries[before as usize].next;
        }
        self.entries[before as usize].next = next;
    }

    fn leave_list(&mut self, number: u32) {
        let Entry { older, newer, .. } = self.entries[number as usize];
        match older {
            NONE => self.oldest = newer,
            older => self.entries[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.entries[newer as usize].older = older,
        }
    }

    /// Makes an entry that is not in the list the newest.
    fn append(&mut self, number: u32) {
        let before = std::mem::replace(&mut self.newest, number);
        let entry = &mut self.entries[number as usize];
        (entry.older, entry.newer) = (before, NONE);
        match before {
            NONE => self.oldest = number,
            before => self.entries[before as usize].newer = number,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use annulus_object::{Actor, Clock};
    use proptest::prelude::*;

    use super::*;

    fn dot(clock: u64) -> Dot {
        Dot::new(Clock::from_raw(clock).unwrap(), Actor::from_raw(1))
    }

    #[test]
    fn a_connection_finds_its_own_write_and_no_others() {
        let mut writes = OwnWrites::default();
        assert_eq!(writes.get(1, 7), None);
        writes.insert(1, 7, dot(5), true);
        assert_eq!(writes.get(1, 7), Some((dot(5), true)));
        assert_eq!((writes.get(2, 7), writes.get(1, 8)), (None, None));
        writes.insert(1, 7, dot(6), false);
        writes.insert(1, 7, dot(4), true);
        assert_eq!(writes.get(1, 7), Some((dot(6), false)));
    }

    #[test]
    fn it_takes_no_more_memory_than_it_may() {
        let mut writes = OwnWrites::default();
        for clock in 1..=3 * ENTRIES_MAX as u64 {
            writes.insert(clock, u128::from(clock), dot(clock), true);
        }
        assert_eq!((writes.entries.len(), writes.entries.capacity()), (ENTRIES_MAX, ENTRIES_MAX));
        assert!(size_of::<Entry>() * ENTRIES_MAX <= 2 << 20);
        let last = 3 * ENTRIES_MAX as u64;
        assert!(writes.get(last, u128::from(last)).is_some());
        assert!(writes.get(1, 1).is_none());
    }

    proptest! {
        #[test]
        fn the_newest_are_kept(
            entries_max in 1..9usize, asked in prop::collection::vec((0..4u64, 0..4u128, any::<bool>()), 1..200),
        ) {
            let mut writes = OwnWrites::with_entries(entries_max);
            let mut model: VecDeque<(u64, u128, Dot, bool)> = VecDeque::new();
            for (clock, (client, hash, is_alone)) in (1..).zip(asked) {
                writes.insert(client, hash, dot(clock), is_alone);
                model.retain(|entry| (entry.0, entry.1) != (client, hash));
                model.push_back((client, hash, dot(clock), is_alone));
                if model.len() > entries_max {
                    model.pop_front();
                }
                for (client, hash) in (0..4).flat_map(|client| (0..4).map(move |hash| (client, hash))) {
                    let expected = model.iter().find(|entry| (entry.0, entry.1) == (client, hash));
                    prop_assert_eq!(writes.get(client, hash), expected.map(|entry| (entry.2, entry.3)));
                }
            }
        }
    }
}
