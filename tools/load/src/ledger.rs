//! What a thread knows of the keys it writes: which write was acknowledged, which was sent.
//!
//! A key's requests all go over one connection, so its writes take effect in the order of their sequences; only a connection
//! that was lost leaves a doubt, because what was under way on it may take effect later, or never.
//!
//! Invariant: a finding is a fault of the store. Where a doubt is possible nothing is found.

use crate::content::{self, Wrong};

/// Findings that are kept as text.
const EXAMPLES_MAX: usize = 10;

#[derive(Debug, Clone, Copy, Default)]
struct KeyState {
    /// The last write that was sent; 0 before the first.
    sent: u32,
    /// The last write that was acknowledged.
    acknowledged: u32,
    /// The first write whose end is unknown; 0 without one.
    doubtful: u32,
}

/// The keys of one thread, by their number within the thread.
#[derive(Debug, Default)]
pub struct Ledger {
    keys: Vec<KeyState>,
    /// Reads whose value was checked.
    pub checked: u64,
    /// Values that were never written there.
    pub mismatches: u64,
    /// Reads that found less than was acknowledged.
    pub lost: u64,
    /// The first findings.
    pub examples: Vec<String>,
}

impl Ledger {
    fn state(&mut self, local: u64) -> &mut KeyState {
        let index = usize::try_from(local).expect("keys are counted in memory");
        if index >= self.keys.len() {
            self.keys.resize(index + 1, KeyState::default());
        }
        &mut self.keys[index]
    }

    /// The sequence of the next write of a key.
    pub fn start_write(&mut self, local: u64) -> u32 {
        let state = self.state(local);
        state.sent = state.sent.checked_add(1).expect("a key is written less than 4 billion times");
        state.sent
    }

    /// A write was acknowledged.
    pub fn finish_write(&mut self, local: u64, sequence: u32) {
        let state = self.state(local);
        assert!(sequence <= state.sent, "what was not sent is not acknowledged");
        state.acknowledged = state.acknowledged.max(sequence);
    }

    /// A write ended without an answer.
    pub fn doubt_write(&mut self, local: u64, sequence: u32) {
        let state = self.state(local);
        if state.doubtful == 0 || sequence < state.doubtful {
            state.doubtful = sequence;
        }
    }

    /// The write that a read sent now must find at least.
    pub fn start_read(&mut self, local: u64) -> u32 {
        let state = self.state(local);
        match state.doubtful {
            0 => state.acknowledged,
            doubtful => state.acknowledged.min(doubtful),
        }
    }

    /// Checks what a read found that had to find `at_least`; `key` is the key's number for everybody.
    pub fn finish_read(&mut self, local: u64, key: u64, at_least: u32, found: Option<&[u8]>) {
        self.checked += 1;
        let sent = self.state(local).sent;
        match found.map(|value| content::check(key, value)) {
            None if at_least == 0 => {}
            None => self.find_lost(key, format!("write {at_least} was acknowledged, nothing is there")),
            Some(Ok(sequence)) if sequence > sent => {
                self.find_mismatch(key, format!("write {sequence} was never sent, the last was {sent}"));
            }
            Some(Ok(sequence)) if sequence < at_least => {
                self.find_lost(key, format!("write {at_least} was acknowledged, write {sequence} is there"));
            }
            Some(Ok(_)) => {}
            Some(Err(wrong @ (Wrong::Short(_) | Wrong::Damaged | Wrong::Foreign(_)))) => {
                self.find_mismatch(key, wrong.to_string());
            }
        }
    }

    /// The number of keys that were written.
    pub fn len(&self) -> u64 {
        self.keys.len() as u64
    }

    fn find_lost(&mut self, key: u64, what: String) {
        self.lost += 1;
        self.note(key, &what);
    }

    fn find_mismatch(&mut self, key: u64, what: String) {
        self.mismatches += 1;
        self.note(key, &what);
    }

    fn note(&mut self, key: u64, what: &str) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(format!("key {key}: {what}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Content;
    use crate::reply::{Reply, parse};

    fn value(key: u64, sequence: u32) -> Vec<u8> {
        let content = Content::new("16".parse().unwrap(), "64".parse().unwrap());
        let mut bytes = Vec::new();
        content.value(key, sequence, 0, true, &mut bytes);
        let Reply::Bulk(value) = parse(&bytes).unwrap().unwrap().0 else { panic!("a value") };
        value.to_vec()
    }

    fn counts(ledger: &Ledger) -> (u64, u64, u64) {
        (ledger.checked, ledger.mismatches, ledger.lost)
    }

    #[test]
    fn only_what_cannot_be_is_found() {
        let mut ledger = Ledger::default();
        ledger.finish_read(3, 30, 0, None);
        let first = ledger.start_write(3);
        let at_least = ledger.start_read(3);
        ledger.finish_read(3, 30, at_least, None);
        ledger.finish_read(3, 30, at_least, Some(&value(30, first)));
        ledger.finish_write(3, first);
        let second = ledger.start_write(3);
        let at_least = ledger.start_read(3);
        ledger.finish_read(3, 30, at_least, Some(&value(30, first)));
        ledger.finish_read(3, 30, at_least, Some(&value(30, second)));
        assert_eq!(counts(&ledger), (5, 0, 0));
        ledger.finish_write(3, second);
        let at_least = ledger.start_read(3);
        ledger.finish_read(3, 30, at_least, Some(&value(30, first)));
        ledger.finish_read(3, 30, at_least, None);
        assert_eq!(counts(&ledger), (7, 0, 2));
        ledger.finish_read(3, 30, at_least, Some(&value(30, 9)));
        ledger.finish_read(3, 30, at_least, Some(&value(31, 2)));
        ledger.finish_read(3, 30, at_least, Some(b"x"));
        assert_eq!(counts(&ledger), (10, 3, 2));
        assert_eq!(ledger.examples.len(), 5);
    }

    #[test]
    fn a_lost_connection_leaves_a_doubt() {
        let mut ledger = Ledger::default();
        let first = ledger.start_write(0);
        ledger.finish_write(0, first);
        let second = ledger.start_write(0);
        ledger.doubt_write(0, second);
        let third = ledger.start_write(0);
        ledger.finish_write(0, third);
        let at_least = ledger.start_read(0);
        // The write in doubt may have come after the one that was acknowledged; the first cannot come back.
        ledger.finish_read(0, 0, at_least, Some(&value(0, second)));
        assert_eq!(counts(&ledger), (1, 0, 0));
        ledger.finish_read(0, 0, at_least, Some(&value(0, first)));
        assert_eq!(counts(&ledger), (2, 0, 1));
    }
}
