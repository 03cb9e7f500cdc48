//! How far opening the stores of a node has come, in bytes of files: for whoever waits for it on another thread.
//!
//! What it is not: exact. Both numbers only grow, but they are read one after the other, and the total is what has been found
//! so far, so the share may step back when more is found.
//!
//! Invariant: what is opened without an error was counted once in each number, so in the end they are equal.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes to read and bytes read; one for all stores that open at the same time.
#[derive(Debug, Default)]
pub struct Progress {
    bytes_total: AtomicU64,
    bytes_done: AtomicU64,
}

impl Progress {
    /// So many bytes more have to be read.
    pub fn expect(&self, bytes: u64) {
        self.bytes_total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes of those are read, or turned out to hold nothing that is needed.
    pub fn advance(&self, bytes: u64) {
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that have to be read, as far as is known.
    pub fn bytes_total(&self) -> u64 {
        self.bytes_total.load(Ordering::Relaxed)
    }

    /// Bytes of those that are read. Another core's may be seen before they are in the total.
    pub fn bytes_done(&self) -> u64 {
        self.bytes_done.load(Ordering::Relaxed)
    }

    /// The share that is done, 0 to 1; 0 while nothing was found.
    pub fn share(&self) -> f64 {
        match (self.bytes_done(), self.bytes_total()) {
            (_, 0) => 0.0,
            (done, total) => done.min(total) as f64 / total as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;

    #[test]
    fn the_share_is_never_beyond_one() {
        let progress = Progress::default();
        assert_eq!(progress.share(), 0.0);
        progress.expect(400);
        progress.advance(100);
        assert_eq!((progress.bytes_total(), progress.bytes_done(), progress.share()), (400, 100, 0.25));
        progress.advance(400);
        assert_eq!((progress.bytes_done(), progress.share()), (500, 1.0));
    }
}
