//! The clocks of a node: a wall clock that is wrong, jumps and drifts, and a steady one that only drifts.
//!
//! Invariant: the steady clock never goes backward while the node's process lives.

use annulus_cluster::event::Now;

/// Virtual time in microseconds since the run began: what no node can read.
pub type Instant = u64;

/// A second of virtual time.
pub const SECOND: Instant = 1_000_000;
/// A millisecond of virtual time.
pub const MILLISECOND: Instant = 1_000;

/// The wall clock's Unix milliseconds at the beginning of every run.
pub const START_UNIX_MS: u64 = 1_800_000_000_000;

/// The two clocks of one node.
#[derive(Debug, Clone)]
pub struct NodeClock {
    /// When rate or offset changed last.
    anchor: Instant,
    /// The wall clock then, in microseconds since the beginning.
    wall_us: i64,
    /// The steady clock then.
    steady_us: u64,
    /// How much too fast both run, in millionths.
    drift_ppm: i64,
}

impl NodeClock {
    /// Clocks that are right, except that the steady one began somewhere.
    #[must_use]
    pub fn new(steady_start_us: u64) -> Self {
        Self { anchor: 0, wall_us: 0, steady_us: steady_start_us, drift_ppm: 0 }
    }

    /// What the node reads at an instant, which is not before the last change.
    #[must_use]
    pub fn read(&self, instant: Instant) -> Now {
        let elapsed = self.elapsed(instant);
        let wall_us = self.wall_us + i64::try_from(elapsed).expect("a run is short");
        let unix_ms = i64::try_from(START_UNIX_MS).expect("a date") + wall_us.div_euclid(1000);
        Now { unix_ms: u64::try_from(unix_ms).expect("a date after 1970"), steady_us: self.steady_us + elapsed }
    }

    /// Sets the wall clock forward or back.
    pub fn jump(&mut self, instant: Instant, by_ms: i64) {
        self.rest(instant);
        self.wall_us += by_ms * 1000;
    }

    /// Lets both run too fast or too slow.
    pub fn drift(&mut self, instant: Instant, drift_ppm: i64) {
        assert!(drift_ppm.abs() < 500_000, "a clock goes forward");
        self.rest(instant);
        self.drift_ppm = drift_ppm;
    }

    /// The wall clock is right again, and runs so.
    pub fn correct(&mut self, instant: Instant) {
        self.rest(instant);
        self.drift_ppm = 0;
        self.wall_us = i64::try_from(instant).expect("a run is short");
    }

    /// By how much the wall clock is ahead of the truth, in milliseconds.
    #[must_use]
    pub fn error_ms(&self, instant: Instant) -> i64 {
        let wall_us = self.wall_us + i64::try_from(self.elapsed(instant)).expect("a run is short");
        (wall_us - i64::try_from(instant).expect("a run is short")) / 1000
    }

    fn elapsed(&self, instant: Instant) -> u64 {
        let true_us = i64::try_from(instant - self.anchor).expect("a run is short");
        let elapsed = true_us + true_us * self.drift_ppm / 1_000_000;
        u64::try_from(elapsed).expect("a clock goes forward")
    }

    fn rest(&mut self, instant: Instant) {
        let elapsed = self.elapsed(instant);
        self.wall_us += i64::try_from(elapsed).expect("a run is short");
        self.steady_us += elapsed;
        self.anchor = instant;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_move_only_the_wall_clock() {
        let mut clock = NodeClock::new(50);
        clock.jump(SECOND, -10_000);
        let now = clock.read(2 * SECOND);
        assert_eq!(now.unix_ms, START_UNIX_MS - 8_000);
        assert_eq!(now.steady_us, 50 + 2 * SECOND);
        assert_eq!(clock.error_ms(2 * SECOND), -10_000);
        clock.correct(3 * SECOND);
        assert_eq!(clock.error_ms(4 * SECOND), 0);
    }

    #[test]
    fn drift_is_gradual() {
        let mut clock = NodeClock::new(0);
        clock.drift(SECOND, 100_000);
        assert_eq!(clock.read(SECOND).unix_ms, START_UNIX_MS + 1000);
        assert_eq!(clock.read(2 * SECOND).unix_ms, START_UNIX_MS + 2100);
        assert_eq!(clock.read(2 * SECOND).steady_us, 2_100_000);
    }
}
