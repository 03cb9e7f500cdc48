//! Every size and count of the protocol.
//!
//! Invariant: [`Limits::assert_valid`] holds for those in use; tests pass smaller ones.

use annulus_object::Clock;

/// Nodes in the map of the cluster, removed ones included until they are forgotten. Bounds what a map takes in memory and in a
/// message: at most 3 MiB.
pub const MEMBERS_MAX: usize = 4_096;
/// Tombstones of forgotten nodes in the map.
pub const FORGOTTEN_MAX: usize = 1_024;
/// Requests of one kind that a core can have under way at all.
pub(crate) const SLOTS_MAX: usize = 1 << 20;
/// What a message has beside a value or several siblings, generously: a key, a context, and the message's own.
const OBJECT_OVERHEAD_MAX: usize = 256 << 10;
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
    /// Bytes of a value, or of several siblings with their context, that stores take. A client's write of more is refused before
    /// anything is sent: owners that cannot store it would leave it in doubt.
    pub object_bytes_max: usize,
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
    /// Every pair of owners compares a partition once in this time, in microseconds.
    pub exchange_interval_us: u64,
    /// Exchanges that a core has begun and not ended.
    pub exchanges_max: usize,
    /// Before an exchange whose other side does not answer is given up, in microseconds.
    pub exchange_timeout_us: u64,
    /// Trees are compared as of epochs of 2^this milliseconds; the same on all nodes.
    pub exchange_epoch_bits: u32,
    /// Keys of one message between owners that compare.
    pub exchange_keys_per_message: usize,
    /// Sums of trees that a core compares in a second, or tells others.
    pub exchange_sums_per_second: u32,
    /// Keys that a core compares in a second, or tells others the versions of.
    pub exchange_keys_per_second: u32,
    /// Objects that a core sends owners that lack them, in a second.
    pub exchange_objects_per_second: u32,
    /// Objects that wait to be sent; more are left to the next exchange.
    pub exchange_objects_waiting_max: usize,
    /// Pairs of partition and owner that are known to differ; more are left to the regular exchanges.
    pub dirty_pairs_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A third of a second of what a core takes on, for the time until a node that stopped counts as down.
            requests_max: 32_768,
            request_bytes_max: 256 << 20,
            buffer_keep_bytes: 4 << 10,
            replica_operations_max: 32_768,
            siblings_warn: 16,
            siblings_max: 64,
            object_bytes_max: 32 << 20,
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
            exchange_interval_us: 60_000_000,
            exchanges_max: 2,
            exchange_timeout_us: 2_000_000,
            exchange_epoch_bits: 12,
            exchange_keys_per_message: 512,
            exchange_sums_per_second: 1 << 20,
            exchange_keys_per_second: 200_000,
            exchange_objects_per_second: 2_000,
            exchange_objects_waiting_max: 4_096,
            dirty_pairs_max: 1024,
        }
    }
}

impl Limits {
    /// Whether stores take a value of this length.
    pub(crate) fn takes_value(&self, value: Option<&[u8]>) -> bool {
        value.is_none_or(|value| value.len() <= self.object_bytes_max)
    }

    /// Panics where limits contradict each other.
    pub fn assert_valid(&self) {
        assert!(self.requests_max > 0 && self.hints_in_flight_max > 0, "something must be possible");
        assert!(self.siblings_warn < self.siblings_max, "a warning comes before the refusal");
        assert!(self.replica_operations_max > 0 && self.forwarders_max > 0, "others are served");
        assert!(self.requests_max <= SLOTS_MAX && self.replica_operations_max <= SLOTS_MAX, "places have 20 bits");
        assert!(self.message_bytes_max <= 1 << 30, "a message fits a span");
        assert!(self.object_bytes_max + OBJECT_OVERHEAD_MAX <= self.message_bytes_max, "what is stored can travel");
        assert!(self.turn_bytes_max <= 1 << 30, "what one event makes fits a span, the last message included");
        assert!(self.hint_backoff_us.0 > 0 && self.hint_backoff_us.0 <= self.hint_backoff_us.1, "waiting grows");
        assert!(self.reroute_after_us > 0 && self.hint_timeout_us > 0, "time for an answer");
        assert!(self.exchange_interval_us > 0 && self.exchange_timeout_us > 0, "time for an exchange");
        assert!((1..=64).contains(&self.exchanges_max) && self.dirty_pairs_max > 0, "owners are compared");
        assert!(self.exchange_epoch_bits < 32, "an epoch is short");
        assert!(self.exchange_keys_per_message > 0, "a message tells of a key");
        assert!(
            self.exchange_objects_waiting_max >= 2 * self.exchange_keys_per_message,
            "what a message tells of can be sent"
        );
        let rates = [self.exchange_sums_per_second, self.exchange_keys_per_second, self.exchange_objects_per_second];
        assert!(rates.iter().all(|rate| *rate > 0), "an exchange goes on");
    }
}

/// Limits and paces of the control plane. Times are in microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlLimits {
    /// Bytes of a datagram: what passes through a network without fragments.
    pub datagram_bytes_max: usize,
    /// Of these, kept for news about the map.
    pub news_bytes: usize,
    /// Members, those that are gone and not forgotten yet among them.
    pub members_max: usize,
    /// Paces grow with the logarithm of the cluster up to so many members. Smaller than the cluster it makes news faster and
    /// judgement rash; simulations do that.
    pub paced_members_max: usize,
    /// Bytes of one encoded entry of the map.
    pub entry_bytes_max: usize,
    /// Bytes of a message with entries; more entries make more messages.
    pub message_bytes_max: usize,
    /// Between two probes of a member, in a network whose round trips are short.
    pub probe_period_us: u64,
    /// How long a probe is waited for before others are asked to probe, at least and at most; between them, measured round
    /// trips decide.
    pub probe_wait_us: u64,
    /// See `probe_wait_us`.
    pub probe_wait_us_max: u64,
    /// Members that are asked to probe one that did not answer; also members that one round of gossip goes to.
    pub indirect_probes: u8,
    /// Between two rounds of gossip, while there is any.
    pub gossip_every_us: u64,
    /// Between two questions to a member for members.
    pub announce_every_us: u64,
    /// Timers that are later than this say that we stalled.
    pub stall_us: u64,
    /// How long after a stall members get twice the time to refute a suspicion.
    pub stall_memory_us: u64,
    /// After this long a member that is down is forgotten.
    pub forget_down_us: u64,
    /// Between two tries to reach a seed while no member answers: the first time and at most.
    pub seed_retry_us_min: u64,
    /// See `seed_retry_us_min`.
    pub seed_retry_us_max: u64,
    /// Between two tries to reach a node that the map names and that nobody hears, while members answer.
    pub contact_every_us: u64,
    /// A question over the reliable transport counts as lost after this.
    pub answer_timeout_us: u64,
    /// Maps that differ are compared once ours has not changed for this long: gossip needs some time.
    pub settle_us: u64,
    /// Between two comparisons of maps at least.
    pub compare_every_us: u64,
    /// The same while comparing does not help.
    pub compare_every_us_max: u64,
    /// Timeouts in a row after which a peer is routed around. A refusal is enough alone.
    pub timeouts_max: u8,
    /// How long a peer is routed around before it is probed: the first time and at most.
    pub avoid_us_min: u64,
    /// See `avoid_us_min`.
    pub avoid_us_max: u64,
    /// How long a leaving node tells others at most.
    pub leave_us: u64,
    /// Between two announcements of what this node says of itself.
    pub announce_self_every_us: u64,
    /// Before a removal that was published is carried out: others have heard of it by then, and it of theirs.
    pub removal_wait_us: u64,
    /// How long changes of the map are collected before the ring is made anew, so that data is not moved twice.
    pub ring_settle_us: u64,
}

impl Default for ControlLimits {
    fn default() -> Self {
        const MS: u64 = 1_000;
        const SECOND: u64 = 1_000 * MS;
        Self {
            datagram_bytes_max: 1_400,
            news_bytes: 176,
            members_max: MEMBERS_MAX,
            paced_members_max: MEMBERS_MAX,
            entry_bytes_max: 1 << 10,
            message_bytes_max: 256 << 10,
            probe_period_us: SECOND,
            probe_wait_us: 500 * MS,
            probe_wait_us_max: 3 * SECOND,
            indirect_probes: 3,
            gossip_every_us: 200 * MS,
            announce_every_us: 30 * SECOND,
            stall_us: 500 * MS,
            stall_memory_us: 30 * SECOND,
            forget_down_us: 24 * 60 * 60 * SECOND,
            seed_retry_us_min: 500 * MS,
            seed_retry_us_max: 30 * SECOND,
            contact_every_us: 30 * SECOND,
            answer_timeout_us: 2 * SECOND,
            settle_us: 5 * SECOND,
            compare_every_us: 10 * SECOND,
            compare_every_us_max: 300 * SECOND,
            timeouts_max: 3,
            avoid_us_min: 250 * MS,
            avoid_us_max: 10 * SECOND,
            leave_us: 2 * SECOND,
            announce_self_every_us: SECOND,
            removal_wait_us: 60 * SECOND,
            ring_settle_us: 10 * SECOND,
        }
    }
}

impl ControlLimits {
    /// Entries of a map, tombstones included.
    pub(crate) const fn entries_max(&self) -> usize {
        self.members_max + FORGOTTEN_MAX
    }

    /// Panics where limits contradict each other.
    pub fn assert_valid(&self) {
        assert!(self.news_bytes + 512 <= self.datagram_bytes_max, "a datagram has room for the failure detector");
        assert!(self.datagram_bytes_max <= usize::from(u16::MAX), "a datagram's parts have lengths of two bytes");
        assert!(self.entry_bytes_max < self.message_bytes_max, "a message has room for an entry");
        assert!(self.message_bytes_max <= 1 << 30, "a message fits a span");
        assert!(self.members_max <= usize::from(u16::MAX), "members can be counted in a datagram");
        assert!(self.paced_members_max > 0, "there is always one member");
        assert!(0 < self.probe_wait_us && self.probe_wait_us < self.probe_period_us, "a probe ends within its period");
        assert!(self.probe_wait_us <= self.probe_wait_us_max, "a range");
        assert!(self.indirect_probes > 0 && self.timeouts_max > 0, "something must be possible");
        assert!(self.gossip_every_us > 0 && self.compare_every_us > 0, "rounds take time");
        assert!(self.stall_us < self.probe_period_us, "a stall is noticed within a period");
        assert!(0 < self.seed_retry_us_min && self.seed_retry_us_min <= self.seed_retry_us_max, "a range");
        assert!(0 < self.avoid_us_min && self.avoid_us_min <= self.avoid_us_max, "a range");
        assert!(self.compare_every_us <= self.compare_every_us_max, "a range");
    }
}
