//! What this process offers the others when they connect: versions of the protocol, and what it can do beyond them.
//!
//! A build with debug assertions stands in for the next version where its environment says so: it offers one version and one
//! capability more, neither of which changes anything. So a test can roll real processes from this version to the next one, and
//! everything in which the two meet is tried before there is a next one. A release has no such switch: nobody shall find out by
//! a variable what happens when a node promises what it cannot do.
//!
//! Invariant: all handshakes of a process, and what the map says of it, offer the same.

use std::ops::RangeInclusive;

use annulus_net::handshake::VERSIONS;

/// What this build can do beyond the version that both ends speak, one bit each; none so far.
pub const CAPABILITIES: u64 = 0;
/// What only the next version can do: the last bit, which no version will mean anything by.
#[cfg(debug_assertions)]
const CAPABILITY_OF_NEXT: u64 = 1 << 63;
/// `1` in the environment makes a build with debug assertions the next version.
#[cfg(debug_assertions)]
const NEXT_VARIABLE: &str = "ANNULUS_NEXT_VERSION";

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Versions of the protocol between nodes.
    pub versions: RangeInclusive<u16>,
    /// One bit each.
    pub capabilities: u64,
}

impl Offered {
    /// By this process.
    pub fn here() -> Self {
        #[cfg(debug_assertions)]
        if std::env::var_os(NEXT_VARIABLE).is_some_and(|value| value == "1") {
            return Self::this_version().next();
        }
        Self::this_version()
    }

    fn this_version() -> Self {
        Self { versions: VERSIONS, capabilities: CAPABILITIES }
    }

    #[cfg(debug_assertions)]
    fn next(self) -> Self {
        let newest = self.versions.end().checked_add(1).expect("versions are few");
        Self { versions: *self.versions.start()..=newest, capabilities: self.capabilities | CAPABILITY_OF_NEXT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_version_offers_one_of_each_more() {
        let (now, next) = (Offered::this_version(), Offered::this_version().next());
        assert_eq!((now.versions.start(), *now.versions.end() + 1), (next.versions.start(), *next.versions.end()));
        assert_eq!((next.capabilities ^ now.capabilities).count_ones(), 1);
        assert_eq!(Offered::here(), now, "unless it is told otherwise");
    }
}
