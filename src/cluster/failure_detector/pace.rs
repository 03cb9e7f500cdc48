//! How long the failure detector waits for what, by the size of the cluster, the round trips that were measured, and whether
//! we stalled ourselves.
//!
//! News has to reach everybody, and a suspect has to hear of the suspicion and be heard: both take a number of rounds that
//! grows with the logarithm of the cluster. So do the number of times that news is passed on, and the time to refute.
//!
//! foca does not allow its probe times to change; but it is we who keep its timers, so a timer's length is decided here when
//! foca asks for it, whatever its own configuration says.
//!
//! Invariant: a probe waits for its answer at least as long for others' answers as for the member's own.

use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use foca::{Config, PeriodicParams, Timer};

use super::codec::{Glance, Kind};
use super::identity::Identity;
use super::round_trips::RoundTrips;
use crate::ids::NodeId;
use crate::limits::ControlLimits;

/// A member that is so many times slower than it was measured is asked for through others.
const TRIPS_PER_WAIT: u64 = 3;

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    limits: ControlLimits,
    /// Bits of the number of members: one more than its logarithm.
    bits: u32,
    /// Until then we take ourselves for slow.
    stalled_until_us: u64,
    trips: RoundTrips,
    /// Who was probed last: the next probe waits for the end of this one.
    probed: Option<NodeId>,
}

impl Pace {
    pub(super) fn new(limits: ControlLimits) -> Self {
        let trips = RoundTrips::new(limits.members_max);
        Self { limits, bits: 1, stalled_until_us: 0, trips, probed: None }
    }

    /// So many members count us in. True when anything changes with it.
    pub(super) fn on_size(&mut self, members: usize) -> bool {
        let bits = members.clamp(1, self.limits.paced_members_max).ilog2() + 1;
        std::mem::replace(&mut self.bits, bits) != bits
    }

    /// foca's configuration for the present size. Times that [`Pace::delay_us`] decides have a value that is valid only.
    pub(super) fn config(&self) -> Config {
        let count = |count: usize| NonZeroUsize::new(count).expect("not 0");
        let every = |us: u64, members: usize| PeriodicParams {
            frequency: Duration::from_micros(us),
            num_members: count(members),
        };
        let limits = &self.limits;
        Config {
            probe_period: Duration::from_micros(limits.probe_period_us),
            probe_rtt: Duration::from_micros(limits.probe_wait_us),
            num_indirect_probes: count(usize::from(limits.indirect_probes)),
            max_transmissions: NonZeroU8::new(self.transmissions()).expect("not 0"),
            suspect_to_down_after: Duration::from_micros(limits.probe_period_us),
            remove_down_after: Some(Duration::from_micros(limits.forget_down_us)),
            max_packet_size: count(detector_bytes_max(limits)),
            notify_down_members: true,
            periodic_announce: Some(every(limits.announce_every_us, 1)),
            periodic_announce_to_down_members: Some(every(self.announce_down_us(), 1)),
            // Ours to decide, because news of the map goes out with it.
            periodic_gossip: None,
        }
    }

    /// How often one node passes a piece of news on.
    pub(super) fn transmissions(&self) -> u8 {
        u8::try_from(2 + self.bits * 3 / 2).expect("a logarithm is small")
    }

    /// Small clusters heal at once; of a large one somebody tries all the time.
    fn announce_down_us(&self) -> u64 {
        self.limits.announce_every_us / 32 * u64::from(self.bits)
    }

    /// How long to wait before this timer.
    pub(super) fn delay_us(&self, timer: &Timer<Identity>, asked: Duration, now_us: u64) -> u64 {
        match timer {
            Timer::SendIndirectProbe { probed_id, .. } => self.probe_wait_us(Some(probed_id.node())),
            Timer::ProbeRandomMember(_) => self.probe_period_us(self.probed),
            Timer::ChangeSuspectToDown { member_id, .. } => self.suspicion_us(Some(member_id.node()), now_us),
            _ => u64::try_from(asked.as_micros()).unwrap_or(u64::MAX / 2),
        }
    }

    /// How long a member, or any, may take to answer.
    fn probe_wait_us(&self, node: Option<NodeId>) -> u64 {
        let trip_us = node.map_or_else(|| self.trips.usual_us(), |node| self.trips.trip_us(node));
        (trip_us * TRIPS_PER_WAIT).clamp(self.limits.probe_wait_us, self.limits.probe_wait_us_max)
    }

    /// How long after others were asked for the member that was probed last it is judged.
    pub(super) fn indirect_wait_us(&self) -> u64 {
        self.indirect_wait_of_us(self.probed)
    }

    fn indirect_wait_of_us(&self, node: Option<NodeId>) -> u64 {
        (self.limits.probe_period_us - self.limits.probe_wait_us).max(self.probe_wait_us(node))
    }

    /// From the probe of a member to the next probe.
    fn probe_period_us(&self, node: Option<NodeId>) -> u64 {
        self.probe_wait_us(node) + self.indirect_wait_of_us(node)
    }

    /// How long a suspect may take to refute: twice as long while we may have missed it ourselves.
    fn suspicion_us(&self, node: Option<NodeId>, now_us: u64) -> u64 {
        let factor = if now_us < self.stalled_until_us { 2 } else { 1 };
        factor * self.probe_period_us(node) * u64::from(self.bits * 6).max(20) / 5
    }

    /// The same for any member while we do not stall: 4 periods in a small cluster, 12 among 1,000 nodes.
    pub(super) fn calm_suspicion_us(&self) -> u64 {
        self.suspicion_us(None, u64::MAX)
    }

    /// Our own timers were late.
    pub(super) fn on_stall(&mut self, now_us: u64) {
        self.stalled_until_us = now_us + self.limits.stall_memory_us;
    }

    /// A message leaves.
    pub(super) fn on_sent(&mut self, to: Identity, bytes: &[u8], now_us: u64) {
        if let Some(Glance { kind: Kind::Ping, probe, .. }) = Glance::at(bytes) {
            self.trips.on_probe(to, probe, now_us);
            self.probed = Some(to.node());
        }
    }

    /// A message has come.
    pub(super) fn on_received(&mut self, glance: &Glance, now_us: u64) {
        self.trips.on_received(glance, now_us);
    }
}

/// What a datagram has room for beside news of the map and its own header.
pub(super) fn detector_bytes_max(limits: &ControlLimits) -> usize {
    limits.datagram_bytes_max - limits.news_bytes - crate::datagram::HEADER_BYTES
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use foca::Timer;

    use super::{Glance, Identity, Kind, Pace};
    use crate::ids::NodeId;
    use crate::limits::ControlLimits;

    const SECOND: u64 = 1_000_000;

    fn member(number: u64) -> Identity {
        Identity::new(NodeId::new(number), 1, "10.0.0.1:1".parse().unwrap())
    }

    /// Direct wait, period and suspicion, as foca's timers get them when a member is probed.
    fn waits(pace: &mut Pace, number: u64, now_us: u64) -> [u64; 3] {
        pace.probed = Some(NodeId::new(number));
        let (probed_id, member_id) = (member(number), member(number));
        [
            Timer::SendIndirectProbe { probed_id, token: 0 },
            Timer::ProbeRandomMember(0),
            Timer::ChangeSuspectToDown { member_id, incarnation: 0, token: 0 },
        ]
        .map(|timer| pace.delay_us(&timer, Duration::ZERO, now_us))
    }

    #[test]
    fn paces_grow_with_the_logarithm_of_the_cluster() {
        let mut pace = Pace::new(ControlLimits::default());
        let mut rows = Vec::new();
        for members in [1, 3, 10, 100, 1000] {
            pace.on_size(members);
            rows.push((
                members,
                pace.transmissions(),
                pace.calm_suspicion_us() / 100_000,
                pace.announce_down_us() / SECOND,
            ));
        }
        // Members, transmissions, tenths of a second, seconds.
        assert_eq!(rows, [(1, 3, 40, 0), (3, 5, 40, 1), (10, 8, 48, 3), (100, 12, 84, 6), (1000, 17, 120, 9)]);
        assert!(!pace.on_size(1001) && pace.on_size(1024));
    }

    #[test]
    fn a_member_that_is_far_away_gets_more_time_and_others_do_not() {
        let mut pace = Pace::new(ControlLimits::default());
        for (number, us) in [(1, 2_000), (1, 2_000), (2, 600_000), (2, 2 * SECOND), (1, 3_000), (3, 60 * SECOND)] {
            pace.trips.on_probe(member(number), 1, 0);
            pace.on_received(&Glance { kind: Kind::Ack, probe: 1, sender: member(number) }, us);
        }
        assert_eq!(waits(&mut pace, 1, 0), [SECOND / 2, SECOND, 4 * SECOND]);
        assert_eq!(waits(&mut pace, 2, 0), [1_800_000, 3_600_000, 14_400_000]);
        assert_eq!(waits(&mut pace, 3, 0), [3 * SECOND, 6 * SECOND, 24 * SECOND], "there is a limit");
    }

    #[test]
    fn after_a_stall_suspects_have_twice_the_time() {
        let mut pace = Pace::new(ControlLimits::default());
        pace.on_stall(10 * SECOND);
        assert_eq!(waits(&mut pace, 1, 40 * SECOND - 1)[2], 8 * SECOND);
        assert_eq!(waits(&mut pace, 1, 40 * SECOND)[2], 4 * SECOND);
    }
}
