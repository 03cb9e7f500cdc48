//! Noticing that another process has this node's number: its data directory was copied, or it was given one that was in use.
//!
//! Others hear only the one with the greater generation. The other one is told again and again that it is dead, however often it
//! comes back in another session; it takes a greater generation, is heard, and finds that the map has an announcement of this
//! node that it never made. So does the first one after that, and so on: which happens to nobody who is alone, but once after
//! its disk was lost or put back.
//!
//! Invariant: a node that nobody else claims to be never gives up, however bad the network is.

/// Told so often within so long that it is dead, a node takes another generation.
const DEATHS_MAX: usize = 4;
const DEATHS_US: u64 = 8_000_000;
/// So many announcements of this node by somebody else within so long are too many.
const CLAIMS_MAX: usize = 2;
const CLAIMS_US: u64 = 600_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Contest {
    /// Generation and session at the last look.
    life: (u32, u16),
    deaths_us: Vec<u64>,
    claims_us: Vec<u64>,
}

impl Contest {
    /// A node of that generation begins.
    pub(super) fn new(generation: u32) -> Self {
        Self { life: (generation, 0), deaths_us: Vec::new(), claims_us: Vec::new() }
    }

    /// Looks at the generation and session under which this node is heard. True when it is to take another
    /// generation, because another session does not help.
    pub(super) fn is_deaf(&mut self, now_us: u64, life: (u32, u16)) -> bool {
        if life.0 != self.life.0 {
            self.deaths_us.clear();
        } else if life.1 != self.life.1 {
            self.deaths_us.retain(|at_us| now_us - at_us < DEATHS_US);
            self.deaths_us.push(now_us);
        }
        self.life = life;
        let is_deaf = self.deaths_us.len() >= DEATHS_MAX;
        if is_deaf {
            self.deaths_us.clear();
        }
        is_deaf
    }

    /// Somebody else has announced this node. True when that is too often for a disk that was put back.
    pub(super) fn is_claimed(&mut self, now_us: u64) -> bool {
        self.claims_us.retain(|at_us| now_us - at_us < CLAIMS_US);
        self.claims_us.push(now_us);
        self.claims_us.len() > CLAIMS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn who_is_told_again_and_again_that_it_is_dead_is_deaf() {
        let mut contest = Contest::new(1);
        // A bad network: taken for dead every four seconds, for an hour.
        assert!((1..900).all(|session| !contest.is_deaf(u64::from(session) * 4 * SECOND, (1, session))));
        let begin_us = 4000 * SECOND;
        let deaf: Vec<bool> =
            (0..5).map(|at| contest.is_deaf(begin_us + u64::from(at) * SECOND, (1, 900 + at))).collect();
        assert_eq!(deaf, [false, false, false, true, false]);
        let again = contest.is_deaf(begin_us + 6 * SECOND, (2, 0));
        assert!(!again && contest.deaths_us.is_empty(), "a new generation is a new beginning");
    }

    #[test]
    fn a_disk_may_be_put_back_now_and_then() {
        let mut contest = Contest::new(1);
        assert!((0..50).all(|hour| !contest.is_claimed(hour * 3600 * SECOND)));
        let begin_us = 51 * 3600 * SECOND;
        assert!(!contest.is_claimed(begin_us) && !contest.is_claimed(begin_us) && contest.is_claimed(begin_us));
    }
}
