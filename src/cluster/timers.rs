//! Deadlines of requests, one for each place of a slab: a wheel that is moved by the time given.
//!
//! ```text
//! bucket = (due / TICK_US) mod 256      every bucket a list through the entries, oldest first
//! ```
//!
//! A deadline passes when the tick that holds it is over: up to 8 ms late, never early. Setting, clearing and passing one cost
//! the same however many there are; nothing is allocated but room for the places.
//!
//! Invariant: an entry is in exactly the list that its `list` names, or in none.

const TICK_US: u64 = 1 << 13;
const BUCKETS: u32 = 256;
/// The list of what is due whatever the time.
const AT_ONCE: u32 = BUCKETS;
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Entry {
    due_us: u64,
    list: u32,
    next: u32,
    previous: u32,
}

#[derive(Clone, Copy)]
struct List {
    first: u32,
    last: u32,
}

/// The deadlines.
pub(crate) struct Timers {
    entries: Vec<Entry>,
    lists: Vec<List>,
    /// The tick whose bucket is looked at next.
    tick: u64,
    /// Whether that has begun: the list is followed from `cursor` on.
    is_looking: bool,
    cursor: u32,
}

impl Timers {
    /// No deadlines.
    pub(crate) fn new() -> Self {
        let empty = List { first: NONE, last: NONE };
        Self { entries: Vec::new(), lists: vec![empty; BUCKETS as usize + 1], tick: 0, is_looking: false, cursor: NONE }
    }

    /// The place's deadline is `due_us` now; 0 is at once.
    pub(crate) fn set(&mut self, place: u32, due_us: u64) {
        if self.entries.len() <= place as usize {
            self.entries.resize(place as usize + 1, Entry { due_us: 0, list: NONE, next: NONE, previous: NONE });
        }
        self.clear(place);
        // Behind the cursor nothing would be found.
        let is_past = due_us / TICK_US < self.tick + u64::from(self.is_looking);
        let list = if is_past { AT_ONCE } else { (due_us / TICK_US % u64::from(BUCKETS)) as u32 };
        let last = self.lists[list as usize].last;
        self.entries[place as usize] = Entry { due_us, list, next: NONE, previous: last };
        match last {
            NONE => self.lists[list as usize].first = place,
            last => self.entries[last as usize].next = place,
        }
        self.lists[list as usize].last = place;
    }

    /// The place has no deadline any more.
    pub(crate) fn clear(&mut self, place: u32) {
        let Some(&entry) = self.entries.get(place as usize) else { return };
        if entry.list == NONE {
            return;
        }
        if self.cursor == place {
            self.cursor = entry.next;
        }
        let list = &mut self.lists[entry.list as usize];
        match entry.previous {
            NONE => list.first = entry.next,
            previous => self.entries[previous as usize].next = entry.next,
        }
        match entry.next {
            NONE => list.last = entry.previous,
            next => self.entries[next as usize].previous = entry.previous,
        }
        self.entries[place as usize].list = NONE;
    }

    /// A place whose deadline has passed, if there is one; it has none any more.
    pub(crate) fn pop_due(&mut self, now_us: u64) -> Option<u32> {
        let at_once = self.lists[AT_ONCE as usize].first;
        if at_once != NONE {
            self.clear(at_once);
            return Some(at_once);
        }
        let now = now_us / TICK_US;
        // After a long sleep every bucket is looked at once.
        if now > self.tick + u64::from(BUCKETS) {
            self.tick = now - u64::from(BUCKETS);
            self.is_looking = false;
        }
        while self.tick < now {
            if !self.is_looking {
                self.cursor = self.lists[(self.tick % u64::from(BUCKETS)) as usize].first;
                self.is_looking = true;
            }
            while self.cursor != NONE {
                let place = self.cursor;
                let entry = self.entries[place as usize];
                self.cursor = entry.next;
                if entry.due_us / TICK_US < now {
                    self.clear(place);
                    return Some(place);
                }
            }
            self.tick += 1;
            self.is_looking = false;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn passed(timers: &mut Timers, now_us: u64) -> Vec<u32> {
        std::iter::from_fn(|| timers.pop_due(now_us)).collect()
    }

    #[test]
    fn deadlines_pass_in_their_tick_and_once() {
        let mut timers = Timers::new();
        timers.set(0, 100_000);
        timers.set(1, 50_000);
        timers.set(2, 100_001);
        timers.set(3, 0);
        assert_eq!(passed(&mut timers, 40_000), [3]);
        assert_eq!(passed(&mut timers, 60_000), [1]);
        timers.clear(2);
        assert_eq!(passed(&mut timers, 99_000), []);
        assert_eq!(passed(&mut timers, 120_000), [0]);
        assert_eq!(passed(&mut timers, 10_000_000), []);
    }

    #[test]
    fn what_is_due_while_others_pass_is_not_forgotten() {
        let mut timers = Timers::new();
        timers.set(0, 20_000);
        timers.set(1, 20_000);
        assert_eq!(timers.pop_due(40_000), Some(0));
        timers.set(0, 20_000);
        assert_eq!(passed(&mut timers, 40_000), [0, 1]);
    }

    proptest! {
        #[test]
        fn the_wheel_agrees_with_a_map(
            steps in prop::collection::vec((0..20u32, 0..6_000_000u64, 0..900_000u64, any::<bool>()), 1..200),
        ) {
            let mut timers = Timers::new();
            let mut map: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = 0;
            for (place, ahead, passes, clears) in steps {
                if clears {
                    timers.clear(place);
                    map.remove(&place);
                } else {
                    timers.set(place, now + ahead);
                    map.insert(place, now + ahead);
                }
                now += passes;
                for place in passed(&mut timers, now) {
                    let due = map.remove(&place);
                    prop_assert!(due.is_some_and(|due| due <= now), "{place} passed too early");
                }
                let late = map.values().find(|due| **due + 2 * TICK_US <= now);
                prop_assert!(late.is_none(), "{late:?} should have passed by {now}");
            }
        }
    }
}
