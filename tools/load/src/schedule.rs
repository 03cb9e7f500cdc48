//! When requests are due, whatever the replies do.
//!
//! Invariant: the instants are a function of seed, rate and kind; they never go back, and a late caller finds all that it has
//! missed.

use rand::Rng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, Exp1};

use crate::workload::Operation;

/// How the gaps between requests are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Arrivals {
    /// All the same.
    Constant,
    /// Exponential, as of many clients that know nothing of each other.
    Poisson,
}

/// The instants, nanoseconds on the steady clock.
#[derive(Debug)]
pub struct Schedule {
    arrivals: Arrivals,
    gap_ns: f64,
    next_ns: f64,
}

impl Schedule {
    /// `rate` requests a second from `start_ns` on; the first at a random part of a gap, so that threads do not march in
    /// step.
    pub fn new(arrivals: Arrivals, rate: f64, start_ns: u64, random: &mut StdRng) -> Self {
        assert!(rate > 0.0 && rate.is_finite(), "a rate is positive");
        let gap_ns = 1e9 / rate;
        Self { arrivals, gap_ns, next_ns: start_ns as f64 + gap_ns * random.random::<f64>() }
    }

    /// When the next request is due.
    pub fn next_ns(&self) -> u64 {
        // Exact to a microsecond for the first hundred days of the clock.
        self.next_ns as u64
    }

    /// Goes on to the one behind.
    pub fn advance(&mut self, random: &mut StdRng) {
        let factor: f64 = match self.arrivals {
            Arrivals::Constant => 1.0,
            Arrivals::Poisson => Exp1.sample(random),
        };
        self.next_ns += self.gap_ns * factor;
    }
}

/// Where requests come from.
#[derive(Debug)]
pub enum Source {
    /// Nothing new; what is under way ends.
    Nothing,
    /// Every key once, from `next` on, with so many under way.
    Each {
        /// The next key within the thread.
        next: u64,
        /// Behind the last.
        end: u64,
        /// What is done.
        operation: Operation,
        /// Under way at a time.
        window: usize,
    },
    /// The workload, when time says so.
    Scheduled(Schedule),
    /// The workload, with so many under way.
    Windowed(usize),
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn instants(arrivals: Arrivals, rate: f64, count: usize) -> Vec<u64> {
        let mut random = StdRng::seed_from_u64(7);
        let mut schedule = Schedule::new(arrivals, rate, 1_000_000, &mut random);
        let next = |_| {
            let at = schedule.next_ns();
            schedule.advance(&mut random);
            at
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn constant_gaps_are_constant_and_start_within_the_first() {
        let instants = instants(Arrivals::Constant, 1000.0, 100);
        assert!((1_000_000..2_000_000).contains(&instants[0]));
        assert!(instants.windows(2).all(|pair| pair[1].abs_diff(pair[0]).abs_diff(1_000_000) <= 1));
    }

    #[test]
    fn poisson_gaps_vary_and_keep_the_rate() {
        let instants = instants(Arrivals::Poisson, 1e6, 200_000);
        let elapsed = (instants[instants.len() - 1] - instants[0]) as f64;
        assert!((elapsed / 200_000.0 - 1000.0).abs() < 20.0, "{elapsed}");
        let short = instants.windows(2).filter(|pair| pair[1] - pair[0] < 100).count();
        assert!((15_000..23_000).contains(&short), "{short} of 200000 gaps are below a tenth of the mean");
    }
}
