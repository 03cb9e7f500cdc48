//! Who wrote and when: actors, hybrid logical clocks, and the dots that they make.
//!
//! A [`Dot`] names one write. Its clock is milliseconds of wall time with a counter behind it, so
//! that clocks of different nodes can be compared for recency, and an actor is a node in one
//! incarnation, so that a node that may have forgotten a write never issues its dot again.
//!
//! It never reads a clock: the time is an argument.
//!
//! Invariant: a [`HybridClock`] only moves forward, whatever the wall clock does.

use std::fmt;

const CLOCK_BITS: u32 = 56;
const LOGICAL_BITS: u32 = 14;
const LOGICAL_MAX: u16 = (1 << LOGICAL_BITS) - 1;
const MS_MAX: u64 = (1 << (CLOCK_BITS - LOGICAL_BITS)) - 1;
const NODE_MAX: u64 = (1 << 48) - 1;
/// 2020-01-01T00:00:00Z in Unix milliseconds: where clocks begin.
const EPOCH_UNIX_MS: u64 = 1_577_836_800_000;

/// A node in one incarnation: 48 bits of node id, 16 bits of incarnation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor(u64);

impl Actor {
    /// The actor of `node` (below 2^48, asserted) in `incarnation`.
    #[must_use]
    pub const fn new(node: u64, incarnation: u16) -> Actor {
        assert!(node <= NODE_MAX, "a node id has 48 bits");
        Actor(node << 16 | incarnation as u64)
    }

    /// The node id, 48 bits.
    #[must_use]
    pub const fn node(self) -> u64 {
        self.0 >> 16
    }

    /// The incarnation of the node.
    #[must_use]
    pub const fn incarnation(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    /// Both, as stored and sent.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The inverse of [`Actor::raw`]; every number is an actor.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Actor {
        Actor(raw)
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:x}.{}", self.node(), self.incarnation())
    }
}

/// A hybrid logical clock in 56 bits: 42 bits of milliseconds since 2020-01-01T00:00Z, 14 bits of
/// counter. It lasts until the year 2159.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Clock(u64);

impl Clock {
    /// Before every stamp: no dot carries it.
    pub const ZERO: Clock = Clock(0);
    /// The last clock there is.
    pub const MAX: Clock = Clock((1 << CLOCK_BITS) - 1);

    /// The clock at `unix_ms`, clamped to what 42 bits since 2020 hold, with `logical` (below 2^14,
    /// asserted) behind it.
    #[must_use]
    pub const fn from_unix_ms(unix_ms: u64, logical: u16) -> Clock {
        assert!(logical <= LOGICAL_MAX, "the counter has 14 bits");
        let ms = unix_ms.saturating_sub(EPOCH_UNIX_MS);
        let ms = if ms > MS_MAX { MS_MAX } else { ms };
        Clock(ms << LOGICAL_BITS | logical as u64)
    }

    /// The wall-clock part, in Unix milliseconds.
    #[must_use]
    pub const fn unix_ms(self) -> u64 {
        (self.0 >> LOGICAL_BITS) + EPOCH_UNIX_MS
    }

    /// The counter part.
    #[must_use]
    pub const fn logical(self) -> u16 {
        (self.0 & LOGICAL_MAX as u64) as u16
    }

    /// The next larger clock; a full counter carries into the milliseconds. Panics at
    /// [`Clock::MAX`]: clocks that come from outside are bounded before they reach a stamp.
    #[must_use]
    pub const fn next(self) -> Clock {
        self.checked_next().expect("the clock has not run out")
    }

    /// The next larger clock, or `None` at [`Clock::MAX`].
    #[must_use]
    pub const fn checked_next(self) -> Option<Clock> {
        Clock::from_raw(self.0 + 1)
    }

    /// The 56 bits, as stored and sent.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The inverse of [`Clock::raw`]; `None` beyond 56 bits.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Option<Clock> {
        if raw <= Clock::MAX.0 { Some(Clock(raw)) } else { None }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0 >> LOGICAL_BITS;
        write!(formatter, "{ms}+{}", self.logical())
    }
}

/// The name of one write of one key. Ordered by clock, then actor: the larger dot is the newer
/// write as far as clocks can tell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// When it was stamped.
    pub clock: Clock,
    /// Who stamped it.
    pub actor: Actor,
}

impl Dot {
    /// The dot of `actor` at `clock`.
    #[must_use]
    pub const fn new(clock: Clock, actor: Actor) -> Dot {
        Dot { clock, actor }
    }

    /// Whether this write may have given a value that `made` had made another expiry: it has seen that one, so it is later.
    #[must_use]
    pub fn may_touch(self, made: Dot) -> bool {
        Clock::ZERO < made.clock && made.clock < self.clock
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}@{:?}", self.clock, self.actor)
    }
}

/// Issues clocks that only ever grow, near the wall clock where that is possible.
#[derive(Clone, Debug)]
pub struct HybridClock {
    last: Clock,
}

impl HybridClock {
    /// A clock whose stamps are all above `at_least`.
    #[must_use]
    pub const fn new(at_least: Clock) -> HybridClock {
        HybridClock { last: at_least }
    }

    /// The largest clock that was issued or observed.
    #[must_use]
    pub const fn last(&self) -> Clock {
        self.last
    }

    /// A new clock: above every earlier one, above `above`, and at least the wall clock
    /// `now_unix_ms`. A wall clock that stands still or goes backward costs nothing but distance
    /// from it. Panics when the clock has run out (year 2159, or an unchecked `above`).
    pub fn stamp(&mut self, now_unix_ms: u64, above: Clock) -> Clock {
        let floor = self.last.max(above);
        let stamp = Clock::from_unix_ms(now_unix_ms, 0).max(floor.next());
        assert!(stamp > self.last && stamp > above);
        self.last = stamp;
        stamp
    }

    /// Takes note of a clock that another actor issued: later stamps are above it.
    pub fn observe(&mut self, clock: Clock) {
        self.last = self.last.max(clock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000_000;

    #[test]
    fn parts_round_trip() {
        let actor = Actor::new(NODE_MAX, 0xbeef);
        assert_eq!((actor.node(), actor.incarnation()), (NODE_MAX, 0xbeef));
        assert_eq!(Actor::from_raw(actor.raw()), actor);
        let clock = Clock::from_unix_ms(NOW, 77);
        assert_eq!((clock.unix_ms(), clock.logical()), (NOW, 77));
        assert_eq!(Clock::from_raw(clock.raw()), Some(clock));
        assert_eq!(Clock::from_raw(Clock::MAX.raw() + 1), None);
    }

    #[test]
    fn times_outside_the_range_are_clamped() {
        assert_eq!(Clock::from_unix_ms(0, 0), Clock::ZERO);
        assert_eq!(Clock::from_unix_ms(u64::MAX, LOGICAL_MAX), Clock::MAX);
    }

    #[test]
    fn a_full_counter_carries_into_the_milliseconds() {
        let full = Clock::from_unix_ms(NOW, LOGICAL_MAX);
        assert_eq!(full.next(), Clock::from_unix_ms(NOW + 1, 0));
        assert_eq!(Clock::MAX.checked_next(), None);
    }

    #[test]
    fn one_millisecond_may_hold_more_stamps_than_the_counter() {
        let mut clock = HybridClock::new(Clock::ZERO);
        let mut last = Clock::ZERO;
        for _ in 0..40_000 {
            let stamp = clock.stamp(NOW, Clock::ZERO);
            assert!(stamp > last);
            last = stamp;
        }
        assert_eq!(last.unix_ms(), NOW + 2);
    }

    proptest! {
        #[test]
        fn stamps_only_grow(
            start in 0..=1u64 << 50,
            steps in prop::collection::vec((0..u64::MAX, 0..=1u64 << 50, any::<bool>()), 1..60),
        ) {
            let mut clock = HybridClock::new(Clock::from_raw(start).unwrap());
            for (wall, other, observe) in steps {
                // Any wall clock below the end of time: forward, backward, before 2020.
                let wall = wall % (EPOCH_UNIX_MS + (1 << 41));
                let other = Clock::from_raw(other).unwrap();
                let before = clock.last();
                if observe {
                    clock.observe(other);
                    prop_assert_eq!(clock.last(), before.max(other));
                } else {
                    let stamp = clock.stamp(wall, other);
                    prop_assert!(stamp > before && stamp > other);
                    prop_assert!(stamp >= Clock::from_unix_ms(wall, 0));
                    prop_assert_eq!(clock.last(), stamp);
                }
            }
        }

        #[test]
        fn dots_order_by_clock_then_actor(a in any::<(u32, u64)>(), b in any::<(u32, u64)>()) {
            let dot = |(clock, actor): (u32, u64)| {
                Dot::new(Clock::from_raw(clock.into()).unwrap(), Actor::from_raw(actor))
            };
            prop_assert_eq!(dot(a).cmp(&dot(b)), a.cmp(&b));
        }
    }
}
