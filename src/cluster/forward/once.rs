//! Commands of other nodes' clients that have come already: a network that delivers one twice does not have it carried out
//! twice (rule S8).
//!
//! The numbers of a core's forwards ascend. Of each core that forwards here the newest number is remembered, and which of
//! those shortly before it have come; what is older still is taken for one that has.
//!
//! Invariant: [`Once::is_new`] says so of a number of a session once.

use crate::ids::Session;

const WORDS: usize = 16;
/// How far behind the newest a number may come and still be told from its double.
const WINDOW: u64 = WORDS as u64 * 64;

#[derive(Debug)]
struct Window {
    session: Session,
    newest: u64,
    seen: [u64; WORDS],
    used: u64,
}

/// What has come.
#[derive(Debug)]
pub(crate) struct Once {
    /// Sorted by session.
    windows: Vec<Window>,
    max: usize,
    uses: u64,
}

impl Once {
    /// Remembers so many cores; beyond, the one that was not heard of for longest is forgotten.
    pub(crate) fn new(max: usize) -> Self {
        Self { windows: Vec::new(), max, uses: 0 }
    }

    /// Whether the number comes for the first time.
    pub(crate) fn is_new(&mut self, session: Session, number: u64) -> bool {
        self.uses += 1;
        let index = match self.windows.binary_search_by_key(&session, |window| window.session) {
            Ok(index) => index,
            Err(_) => self.add(session),
        };
        let window = &mut self.windows[index];
        window.used = self.uses;
        let bit = |number: u64| ((number % WINDOW / 64) as usize, 1u64 << (number % 64));
        if number > window.newest {
            let first = window.newest.max(number.saturating_sub(WINDOW)) + 1;
            for passed in first..=number {
                let (word, mask) = bit(passed);
                window.seen[word] &= !mask;
            }
            window.newest = number;
        } else if window.newest - number >= WINDOW {
            return false;
        }
        let (word, mask) = bit(number);
        let is_new = window.seen[word] & mask == 0;
        window.seen[word] |= mask;
        is_new
    }

    fn add(&mut self, session: Session) -> usize {
        if self.windows.len() == self.max {
            let oldest = self.windows.iter().enumerate().min_by_key(|(_, window)| window.used);
            let (index, _) = oldest.expect("some are remembered");
            self.windows.remove(index);
        }
        let index = self.windows.partition_point(|window| window.session < session);
        self.windows.insert(index, Window { session, newest: 0, seen: [0; WORDS], used: 0 });
        index
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_number_is_new_once(steps in prop::collection::vec((0..3u64, 0..40u64, 0..30u64), 1..300)) {
            let mut once = Once::new(4);
            let mut came = BTreeSet::new();
            let mut newest = [0u64; 3];
            for (session, ahead, behind) in steps {
                let newest = &mut newest[session as usize];
                let number = (*newest + ahead).saturating_sub(behind).max(1);
                *newest = number.max(*newest);
                prop_assert_eq!(once.is_new(Session(session), number), came.insert((session, number)));
            }
        }
    }

    #[test]
    fn what_is_too_old_is_not_new_and_the_oldest_core_is_forgotten() {
        let mut once = Once::new(2);
        assert!(once.is_new(Session(7), WINDOW + 5));
        assert!(!once.is_new(Session(7), 5));
        assert!(once.is_new(Session(7), 6) && !once.is_new(Session(7), 6));
        assert!(once.is_new(Session(7), 10 * WINDOW) && once.is_new(Session(7), 9 * WINDOW + 1));
        assert!(once.is_new(Session(3), 1));
        assert!(once.is_new(Session(5), 1), "session 7 is forgotten");
        assert_eq!(once.windows.iter().map(|window| window.session.0).collect::<Vec<_>>(), [3, 5]);
    }
}
