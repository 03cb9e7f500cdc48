//! Many runs, on as many threads as there are processors; each run is on one thread and depends on its seed only.
//!
//! Invariant: what a campaign reports does not depend on the number of threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::report::Summary;
use crate::{Options, Report, run};

/// Runs `count` seeds from `first` on; `each` is told of every run, in the order in which they end.
pub fn campaign(first: u64, count: u64, options: &Options, each: impl Fn(&Report) + Sync) -> Summary {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(0);
    let summary = Mutex::new(Summary::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let report = run(first + number, options);
                    each(&report);
                    summary.lock().expect("a thread that panics ends the campaign").add(&report);
                }
            });
        }
    });
    let mut summary = summary.into_inner().expect("all threads have ended");
    summary.failures.sort();
    summary
}
