//! How long to wait before trying again what has failed.
//!
//! Invariant: a wait is never longer than the longest, and never shorter than half the shortest.

/// Doubles with every failure in a row. Half of a wait is chance, so that many that failed together do not try together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    shortest_us: u64,
    longest_us: u64,
    next_us: u64,
}

impl Backoff {
    /// Waits between these two, in microseconds; the first is not 0 and not the longer one, asserted.
    pub const fn new(shortest_us: u64, longest_us: u64) -> Self {
        assert!(shortest_us > 0 && shortest_us <= longest_us);
        Self { shortest_us, longest_us, next_us: shortest_us }
    }

    /// It failed: how long to wait, by a random number.
    pub fn failed(&mut self, random: u64) -> u64 {
        let most = self.next_us;
        self.next_us = most.saturating_mul(2).min(self.longest_us);
        most - most / 2 + random % (most / 2 + 1)
    }

    /// It failed in a way that trying soon cannot mend: the longest wait, by a random number.
    pub fn failed_for_long(&mut self, random: u64) -> u64 {
        self.next_us = self.longest_us;
        self.failed(random)
    }

    /// It succeeded.
    pub fn succeeded(&mut self) {
        self.next_us = self.shortest_us;
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_after_success() {
        let mut backoff = Backoff::new(50, 2_000);
        let waits: Vec<u64> = (0..8).map(|_| backoff.failed(u64::MAX - 1)).collect();
        let bounds = [50, 100, 200, 400, 800, 1600, 2000, 2000];
        assert!(waits.iter().zip(bounds).all(|(wait, most)| (most / 2..=most).contains(wait)), "{waits:?}");
        backoff.succeeded();
        assert!((25..=50).contains(&backoff.failed(7)));
        assert!((1000..=2000).contains(&backoff.failed_for_long(7)));
        assert!((1000..=2000).contains(&backoff.failed(8)));
    }

    #[test]
    fn chance_reaches_both_ends() {
        let wait = |random| Backoff::new(50, 2_000).failed(random);
        let waits: Vec<u64> = (0..100).map(wait).collect();
        assert_eq!((waits.iter().min(), waits.iter().max()), (Some(&25), Some(&50)));
        let mut smallest = Backoff::new(1, 1);
        assert!((0..9).all(|random| smallest.failed(random) == 1));
    }
}
