//! Every size and count of the protocol.
//!
//! Invariant: [`Limits::assert_valid`] holds for those in use; tests pass smaller ones.

/// Nodes in the map of the cluster, removed ones included until they are forgotten. Bounds what a map takes in memory and in a
/// message: at most 3 MiB.
pub const MEMBERS_MAX: usize = 4_096;

/// Limits of one core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Requests that a core coordinates at once; more are refused with `Busy`.
    pub requests_max: usize,
    /// Siblings at which a warning is counted.
    pub siblings_warn: usize,
    /// Siblings at which a client's write that would add one is refused. Never binds merges (rule S14).
    pub siblings_max: usize,
    /// Bytes of a message between nodes.
    pub message_bytes_max: usize,
    /// Hints of a core for one target; above, a write is marked for anti-entropy instead.
    pub hints_per_target_max: usize,
    /// Hints under way to one target.
    pub hints_in_flight_max: usize,
    /// Read repairs that a core sends in a second.
    pub read_repairs_per_second: u32,
    /// Before a request asks another node instead of one that has not answered, in microseconds.
    pub reroute_after_us: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_max: 4096,
            siblings_warn: 16,
            siblings_max: 64,
            message_bytes_max: 64 << 20,
            hints_per_target_max: 1 << 20,
            hints_in_flight_max: 128,
            read_repairs_per_second: 100,
            reroute_after_us: 100_000,
        }
    }
}

impl Limits {
    /// Panics where limits contradict each other.
    pub fn assert_valid(&self) {
        assert!(self.requests_max > 0 && self.hints_in_flight_max > 0, "something must be possible");
        assert!(self.siblings_warn < self.siblings_max, "a warning comes before the refusal");
        assert!(self.message_bytes_max <= 1 << 30, "a message fits a span");
    }
}
