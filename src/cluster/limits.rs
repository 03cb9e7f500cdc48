//! Every size and count of the protocol.
//!
//! Invariant: [`Limits::assert_valid`] holds for those in use; tests pass smaller ones.

use annulus_object::Clock;

/// Requests of one kind that a core can have under way at all.
pub(crate) const SLOTS_MAX: usize = 1 << 20;
/// Copies of an object that anybody may ask for.
pub const COPIES_MAX: usize = 16;
/// No clock of a stamp is beyond this: 2150-01-01. What comes from outside with a later one is refused, so that stamps above
/// it never reach the end of the clock.
pub const CLOCK_LAST: Clock = Clock::from_unix_ms(5_680_281_600_000, 0);

/// Limits of one core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Requests that a core coordinates at once; more are refused with `Busy`.
    pub requests_max: usize,
    /// Bytes of keys and objects that requests under way hold; more are refused with `Busy`.
    pub request_bytes_max: usize,
    /// Bytes of a request's buffer that are kept for the next one.
    pub buffer_keep_bytes: usize,
    /// Reads and writes that a core does for others at once; more are refused, and asked of another.
    pub replica_operations_max: usize,
    /// Siblings at which a warning is counted.
    pub siblings_warn: usize,
    /// Siblings at which a client's write that would add one is refused. Never binds merges (rule S14).
    pub siblings_max: usize,
    /// Bytes of a message between nodes.
    pub message_bytes_max: usize,
    /// Bytes of messages that one event makes before the rest waits for the next.
    pub turn_bytes_max: usize,
    /// Hints of a core for one target; above, a write is marked for anti-entropy instead.
    pub hints_per_target_max: usize,
    /// Hints under way to one target.
    pub hints_in_flight_max: usize,
    /// Before a hint that its target has not acknowledged counts as not handed over, in microseconds.
    pub hint_timeout_us: u64,
    /// Between two attempts to hand hints to a target that does not take them: at first, and at most, in microseconds.
    pub hint_backoff_us: (u64, u64),
    /// Between two looks for targets that have hints, in microseconds.
    pub hint_scan_us: u64,
    /// Read repairs that a core sends in a second.
    pub read_repairs_per_second: u32,
    /// Before a request asks another node instead of one that has not answered, in microseconds.
    pub reroute_after_us: u64,
    /// How long a node that did not answer is not waited for, in microseconds.
    pub avoid_us: u64,
    /// Cores that forward commands here and are remembered, so that no command is carried out twice.
    pub forwarders_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_max: 4096,
            request_bytes_max: 256 << 20,
            buffer_keep_bytes: 64 << 10,
            replica_operations_max: 8192,
            siblings_warn: 16,
            siblings_max: 64,
            message_bytes_max: 64 << 20,
            turn_bytes_max: 256 << 20,
            hints_per_target_max: 1 << 20,
            hints_in_flight_max: 128,
            hint_timeout_us: 1_000_000,
            hint_backoff_us: (100_000, 10_000_000),
            hint_scan_us: 1_000_000,
            read_repairs_per_second: 100,
            reroute_after_us: 100_000,
            avoid_us: 1_000_000,
            forwarders_max: 4096,
        }
    }
}

impl Limits {
    /// Panics where limits contradict each other.
    pub fn assert_valid(&self) {
        assert!(self.requests_max > 0 && self.hints_in_flight_max > 0, "something must be possible");
        assert!(self.siblings_warn < self.siblings_max, "a warning comes before the refusal");
        assert!(self.replica_operations_max > 0 && self.forwarders_max > 0, "others are served");
        assert!(self.requests_max <= SLOTS_MAX && self.replica_operations_max <= SLOTS_MAX, "places have 20 bits");
        assert!(self.message_bytes_max <= 1 << 30, "a message fits a span");
        assert!(self.turn_bytes_max <= 1 << 30, "what one event makes fits a span, the last message included");
        assert!(self.hint_backoff_us.0 > 0 && self.hint_backoff_us.0 <= self.hint_backoff_us.1, "waiting grows");
        assert!(self.reroute_after_us > 0 && self.hint_timeout_us > 0, "time for an answer");
    }
}
