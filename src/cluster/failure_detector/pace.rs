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
use crate::limits::ControlLimits;

/// Probes whose answers are still worth measuring, late ones too.
const PROBES: usize = 8;
/// Round trips that are remembered: of a minute.
const TRIPS: usize = 64;
/// The slowest of so many does not count: one lost moment is no slow network.
const TRIPS_PER_OUTLIER: usize = 32;

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    limits: ControlLimits,
    /// Bits of the number of members: one more than its logarithm.
    bits: u32,
    /// Until then we take ourselves for slow.
    stalled_until_us: u64,
    /// Probes that are under way: member, number, instant.
    probes: [Option<(Identity, u8, u64)>; PROBES],
    trips_us: [u64; TRIPS],
    /// How many were measured; the next one's place follows from it.
    trips: usize,
}

impl Pace {
    pub(super) fn new(limits: ControlLimits) -> Self {
        Self { limits, bits: 1, stalled_until_us: 0, probes: [None; PROBES], trips_us: [0; TRIPS], trips: 0 }
    }

    /// So many members count us in. True when anything changes with it.
    pub(super) fn on_size(&mut self, members: usize) -> bool {
        let bits = members.max(1).ilog2() + 1;
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
        (self.limits.announce_every_us / 32 * u64::from(self.bits) * 3).min(2 * self.limits.announce_every_us)
    }

    /// How long to wait before this timer.
    pub(super) fn delay_us(&self, timer: &Timer<Identity>, asked: Duration, now_us: u64) -> u64 {
        match timer {
            Timer::SendIndirectProbe { .. } => self.probe_wait_us(),
            Timer::ProbeRandomMember(_) => self.probe_period_us(),
            Timer::ChangeSuspectToDown { .. } => self.suspicion_us(now_us),
            _ => u64::try_from(asked.as_micros()).unwrap_or(u64::MAX / 2),
        }
    }

    /// How long a member may take to answer.
    pub(super) fn probe_wait_us(&self) -> u64 {
        (self.slow_trip_us() * 2).clamp(self.limits.probe_wait_us, self.limits.probe_wait_us_max)
    }

    /// How long after a member was asked it is judged, if others were asked too.
    pub(super) fn indirect_wait_us(&self) -> u64 {
        (self.limits.probe_period_us - self.limits.probe_wait_us).max(self.probe_wait_us())
    }

    /// Between two probes.
    pub(super) fn probe_period_us(&self) -> u64 {
        self.probe_wait_us() + self.indirect_wait_us()
    }

    /// How long a suspect may take to refute: twice as long while we may have missed it ourselves.
    pub(super) fn suspicion_us(&self, now_us: u64) -> u64 {
        let calm_us = self.calm_suspicion_us();
        if now_us < self.stalled_until_us { calm_us * 2 } else { calm_us }
    }

    /// The same while we do not stall: 4 periods in a small cluster, 12 among 1,000 nodes.
    pub(super) fn calm_suspicion_us(&self) -> u64 {
        self.probe_period_us() * u64::from(self.bits * 6).max(20) / 5
    }

    /// Our own timers were late.
    pub(super) fn on_stall(&mut self, now_us: u64) {
        self.stalled_until_us = now_us + self.limits.stall_memory_us;
    }

    /// A message leaves.
    pub(super) fn on_sent(&mut self, to: Identity, bytes: &[u8], now_us: u64) {
        if let Some(Glance { kind: Kind::Ping, probe, .. }) = Glance::at(bytes) {
            self.probes[usize::from(probe) % PROBES] = Some((to, probe, now_us));
        }
    }

    /// A message has come.
    pub(super) fn on_received(&mut self, glance: &Glance, now_us: u64) {
        if glance.kind != Kind::Ack {
            return;
        }
        let slot = &mut self.probes[usize::from(glance.probe) % PROBES];
        let Some((member, number, sent_us)) = *slot else { return };
        if (member, number) == (glance.sender, glance.probe) {
            *slot = None;
            self.trips_us[self.trips % TRIPS] = now_us.saturating_sub(sent_us);
            self.trips += 1;
        }
    }

    /// A round trip that hardly any is slower than; 0 while none is known.
    pub(super) fn slow_trip_us(&self) -> u64 {
        let known = self.trips.min(TRIPS);
        let mut trips_us = self.trips_us;
        let trips_us = &mut trips_us[..known];
        trips_us.sort_unstable_by(|a, b| b.cmp(a));
        trips_us.get(known / TRIPS_PER_OUTLIER).copied().unwrap_or(0)
    }
}

/// What a datagram has room for beside news of the map and its own header.
pub(super) fn detector_bytes_max(limits: &ControlLimits) -> usize {
    limits.datagram_bytes_max - limits.news_bytes - crate::datagram::HEADER_BYTES
}

#[cfg(test)]
mod tests {
    use super::{Glance, Identity, Kind, Pace, TRIPS};
    use crate::ids::NodeId;
    use crate::limits::ControlLimits;

    const SECOND: u64 = 1_000_000;

    fn member() -> Identity {
        Identity::new(NodeId::new(5), 1, "10.0.0.1:1".parse().unwrap())
    }

    fn trip(pace: &mut Pace, number: u8, us: u64) {
        pace.probes[usize::from(number) % super::PROBES] = Some((member(), number, 0));
        pace.on_received(&Glance { kind: Kind::Ack, probe: number, sender: member() }, us);
    }

    #[test]
    fn paces_grow_with_the_logarithm_of_the_cluster() {
        let mut pace = Pace::new(ControlLimits::default());
        let mut rows = Vec::new();
        for members in [1, 3, 10, 100, 1000] {
            pace.on_size(members);
            rows.push((members, pace.transmissions(), pace.suspicion_us(0) / 100_000, pace.announce_down_us() / SECOND));
        }
        // Members, transmissions, tenths of a second, seconds.
        assert_eq!(rows, [(1, 3, 40, 2), (3, 5, 40, 5), (10, 8, 48, 11), (100, 12, 84, 19), (1000, 17, 120, 28)]);
        assert!(!pace.on_size(1001) && pace.on_size(1024));
    }

    #[test]
    fn slow_networks_get_more_time_and_one_slow_answer_does_not_count() {
        let mut pace = Pace::new(ControlLimits::default());
        assert_eq!((pace.probe_wait_us(), pace.probe_period_us()), (SECOND / 2, SECOND));
        (0..40).for_each(|number| trip(&mut pace, number, 2_000));
        trip(&mut pace, 41, 2 * SECOND);
        assert_eq!((pace.slow_trip_us(), pace.probe_period_us()), (2_000, SECOND));
        (0..40).for_each(|number| trip(&mut pace, number, 600_000));
        assert_eq!((pace.probe_wait_us(), pace.probe_period_us()), (1_200_000, 2_400_000));
        (0..TRIPS).for_each(|number| trip(&mut pace, u8::try_from(number).unwrap(), 60 * SECOND));
        assert_eq!(pace.probe_period_us(), 6 * SECOND, "there is a limit");
    }

    #[test]
    fn only_the_answer_to_a_probe_is_measured() {
        let mut pace = Pace::new(ControlLimits::default());
        pace.probes[1] = Some((member(), 1, 100));
        for (kind, probe) in [(Kind::Ack, 9), (Kind::Ping, 1), (Kind::ForwardedAck, 1)] {
            pace.on_received(&Glance { kind, probe, sender: member() }, 200);
        }
        assert_eq!(pace.trips, 0);
        pace.on_received(&Glance { kind: Kind::Ack, probe: 1, sender: member() }, 300);
        pace.on_received(&Glance { kind: Kind::Ack, probe: 1, sender: member() }, 900);
        assert_eq!((pace.trips, pace.slow_trip_us()), (1, 200));
    }

    #[test]
    fn after_a_stall_suspects_have_twice_the_time() {
        let mut pace = Pace::new(ControlLimits::default());
        pace.on_size(3);
        pace.on_stall(10 * SECOND);
        assert_eq!(pace.suspicion_us(40 * SECOND - 1), 8 * SECOND);
        assert_eq!(pace.suspicion_us(40 * SECOND), 4 * SECOND);
    }
}
