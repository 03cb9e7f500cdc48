//! What the tests that start real processes share: nodes, a RESP client of our own, directories, chance.
//!
//! Not a mock and not a library: nothing here knows the server's code, only its command line, its ports and
//! the bytes it sends. The relays between nodes are those of `annulus dev`, which no node knows of. Processes are ended by the id of the child that was started here, never by name.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]

pub mod cluster;
pub mod conversation;
pub mod directory;
pub mod figures;
pub mod inspect;
pub mod ledger;
pub mod mirror;
pub mod node;
pub mod random;
pub mod resp;
pub mod shifted_clock;
pub mod tool;
pub mod torture;
pub mod writers;

use std::time::{Duration, Instant};

/// How long anything that has no reason to fail may take before the test gives up, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Polls `condition` until it holds; panics with `what` when it has not within `PATIENCE`.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "gave up waiting: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The processors that this process may run on.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}
