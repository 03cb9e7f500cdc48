//! The mutation check: every deliberate bug is switched on by itself, and some seed has to break a promise.
//!
//! Invariant: what is found for a bug is its lowest seed, whatever the number of threads.

pub mod known;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use annulus_cluster::mutation::Mutation;

use crate::checkers::Violation;
use crate::{Options, run};

/// So many seeds are looked at for a bug, unless told otherwise.
pub const SEEDS: u64 = 1_500;

/// What became of a bug.
#[derive(Debug, Clone)]
pub struct Hunted {
    /// The bug.
    pub mutation: Mutation,
    /// The first seed that caught it, and what was broken.
    pub caught: Option<(u64, Violation)>,
    /// How many seeds it took, the catching one included.
    pub seeds: u64,
}

/// Looks for a bug in `count` seeds from `first` on.
#[must_use]
pub fn hunt(mutation: Mutation, first: u64, count: u64, options: &Options) -> Hunted {
    let options = Options { mutation: Some(mutation), ..options.clone() };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(first);
    let end = AtomicU64::new(first + count);
    let caught: Mutex<Option<(u64, Violation)>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end.load(Ordering::Relaxed) {
                        return;
                    }
                    let Some(violation) = run(seed, &options).violation else { continue };
                    // Lower seeds are still under way, higher ones are of no use.
                    end.fetch_min(seed, Ordering::Relaxed);
                    let mut caught = caught.lock().expect("a thread that panics ends the hunt");
                    if caught.as_ref().is_none_or(|(before, _)| seed < *before) {
                        *caught = Some((seed, violation));
                    }
                }
            });
        }
    });
    let caught = caught.into_inner().expect("all threads have ended");
    let seeds = caught.as_ref().map_or(count, |(seed, _)| seed - first + 1);
    Hunted { mutation, caught, seeds }
}

impl Hunted {
    /// A row of the table in the tests' README.
    #[must_use]
    pub fn row(&self) -> String {
        let (seed, promise) = match &self.caught {
            Some((seed, violation)) => (seed.to_string(), violation.promise.text()),
            None => ("none".to_owned(), "not caught"),
        };
        format!("| `{}` | {} | {seed} | {promise} |", self.mutation.name(), self.mutation.text().trim())
    }
}

/// The bug with a name.
#[must_use]
pub fn by_name(name: &str) -> Option<Mutation> {
    Mutation::ALL.iter().copied().find(|mutation| mutation.name() == name)
}
