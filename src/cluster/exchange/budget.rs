//! So much of something a second: what an exchange may cost.
//!
//! What is spent is not known before it is done, so a budget may go below nothing, and then pays off before more is begun.
//!
//! Invariant: over any time, no more is spent than that time gives, besides a second's worth and what the last step cost.

use crate::event::Now;

/// Spent by whoever compares, here and for others.
#[derive(Debug)]
pub(super) struct Budget {
    per_second: i64,
    /// Millionths; below 0 is debt.
    saved: i64,
    last_us: u64,
}

const ONE: i64 = 1_000_000;

impl Budget {
    /// Begins with a second's worth.
    pub(super) fn new(per_second: u32) -> Self {
        let per_second = i64::from(per_second);
        Self { per_second, saved: per_second * ONE, last_us: 0 }
    }

    /// Whether something is left now.
    pub(super) fn has_any(&mut self, now: Now) -> bool {
        let passed_us = now.steady_us.saturating_sub(self.last_us).min(ONE.unsigned_abs()).cast_signed();
        self.last_us = self.last_us.max(now.steady_us);
        self.saved = (self.saved + passed_us * self.per_second).min(self.per_second * ONE);
        self.saved >= ONE
    }

    /// So much was done. Debt is paid off in ten seconds at most.
    pub(super) fn spend(&mut self, count: usize) {
        let count = i64::try_from(count).expect("a count is small").min(10 * self.per_second);
        self.saved = (self.saved - count * ONE).max(-10 * self.per_second * ONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_spent_comes_back_with_time() {
        let mut budget = Budget::new(10);
        let at = |steady_us| Now { unix_ms: 0, steady_us };
        assert!(budget.has_any(at(1_000_000)));
        budget.spend(30);
        assert!(!budget.has_any(at(2_000_000)) && !budget.has_any(at(3_000_000)));
        assert!(budget.has_any(at(3_100_000)), "a debt of twenty is paid in two seconds");
        budget.spend(usize::MAX >> 1);
        assert!(!budget.has_any(at(4_100_000)));
        assert!((5..=13).all(|second| !budget.has_any(at(second * 1_000_000))));
        assert!(budget.has_any(at(16_000_000)), "no debt is for ever");
        budget.spend(10);
        assert!(!budget.has_any(at(1_000_000)), "a clock that goes back gives nothing");
    }
}
