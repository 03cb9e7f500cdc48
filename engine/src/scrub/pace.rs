//! How fast the scrub goes: everything once in a cycle's time.
//!
//! Invariant: what is read in a long time is what the rate allows, but for the last step.

use crate::limits::Limits;

/// What may be read.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// In bytes times a cycle's microseconds, so that a small store's bytes an hour are counted exactly. A step is a debt.
    credit: i128,
    refilled_us: u64,
}

impl Pace {
    /// Time has gone on; so many bytes are there in all.
    pub(super) fn refill(&mut self, now_us: u64, bytes: u64, limits: &Limits) {
        let elapsed = now_us.saturating_sub(self.refilled_us);
        self.refilled_us = now_us;
        let rate = i128::from(bytes).min(i128::from(limits.scrub_rate_max) * i128::from(limits.scrub_cycle_s));
        // What could not be used, because something else went first, is not made up for at once.
        let most = limits.compaction_read_bytes as i128 * cycle_us(limits);
        self.credit = (self.credit + rate * i128::from(elapsed)).min(most);
    }

    /// Whether a step may begin.
    pub(super) fn allows(&self) -> bool {
        self.credit >= 0
    }

    /// So many bytes were read.
    pub(super) fn spend(&mut self, bytes: u64, limits: &Limits) {
        self.credit -= i128::from(bytes) * cycle_us(limits);
    }
}

fn cycle_us(limits: &Limits) -> i128 {
    i128::from(limits.scrub_cycle_s) * 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that are read in so many seconds of a store of `bytes`.
    fn read_in(seconds: u64, bytes: u64, limits: &Limits) -> u64 {
        let (mut pace, mut read) = (Pace::default(), 0);
        let step = limits.compaction_read_bytes as u64;
        for tick in 1..=seconds * 50 {
            pace.refill(tick * 20_000, bytes, limits);
            while pace.allows() {
                pace.spend(step, limits);
                read += step;
            }
        }
        read
    }

    #[test]
    fn everything_once_in_a_cycle_and_never_too_fast() {
        let limits = Limits { scrub_cycle_s: 100, scrub_rate_max: 1 << 20, ..Limits::PRODUCTION };
        let step = limits.compaction_read_bytes as u64;
        for bytes in [1 << 20, 50 << 20, 100 << 20] {
            assert!((bytes..=bytes + step).contains(&read_in(100, bytes, &limits)), "{bytes}");
        }
        assert!(read_in(100, 1 << 40, &limits) <= (100 << 20) + step);
    }

    #[test]
    fn a_small_store_is_read_slowly_but_read() {
        let limits = Limits::PRODUCTION;
        let mut pace = Pace::default();
        pace.spend(limits.compaction_read_bytes as u64, &limits);
        // A quarter of a mebibyte of one: a quarter of a cycle.
        let quarter_us = limits.scrub_cycle_s * 250_000;
        pace.refill(quarter_us - 1_000_000, 1 << 20, &limits);
        assert!(!pace.allows());
        pace.refill(quarter_us + 1_000_000, 1 << 20, &limits);
        assert!(pace.allows());
    }
}
