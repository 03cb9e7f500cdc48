//! How long members take to answer a probe, as measured.
//!
//! Of each member the fastest of its last few answers counts: that is the way there and back, whereas the slower ones say that
//! one of us was busy for a moment. A member that was never measured is taken to be as far away as the others usually are.
//!
//! Invariant: bounded by the number of members and of probes under way.

use std::collections::BTreeMap;

use super::codec::{Glance, Kind};
use super::identity::Identity;
use crate::ids::NodeId;

/// Probes whose answers are still worth measuring, late ones too.
const PROBES: usize = 8;
/// Answers of one member that are remembered.
const ANSWERS: usize = 4;
/// Answers of anybody that are remembered, for members that were never measured.
const USUAL: usize = 15;

/// A ring of the last answers, in microseconds; unknown ones are `None`.
type Last<const N: usize> = ([Option<u32>; N], usize);

/// See the module.
#[derive(Debug)]
pub(super) struct RoundTrips {
    members: BTreeMap<NodeId, Last<ANSWERS>>,
    members_max: usize,
    usual: Last<USUAL>,
    /// Member, number, instant.
    probes: [Option<(Identity, u8, u64)>; PROBES],
}

impl RoundTrips {
    pub(super) fn new(members_max: usize) -> Self {
        Self { members: BTreeMap::new(), members_max, usual: ([None; USUAL], 0), probes: [None; PROBES] }
    }

    /// A probe leaves.
    pub(super) fn on_probe(&mut self, to: Identity, number: u8, now_us: u64) {
        self.probes[usize::from(number) % PROBES] = Some((to, number, now_us));
    }

    /// A message has come.
    pub(super) fn on_received(&mut self, glance: &Glance, now_us: u64) {
        if glance.kind != Kind::Ack {
            return;
        }
        let slot = &mut self.probes[usize::from(glance.probe) % PROBES];
        let Some((member, number, sent_us)) = *slot else { return };
        if (member, number) != (glance.sender, glance.probe) {
            return;
        }
        *slot = None;
        let trip_us = u32::try_from(now_us.saturating_sub(sent_us)).unwrap_or(u32::MAX);
        remember(&mut self.usual, trip_us);
        let node = member.node();
        if self.members.len() >= self.members_max && !self.members.contains_key(&node) {
            // Members come and go, and nobody says who went for good.
            self.members.clear();
        }
        remember(self.members.entry(node).or_insert(([None; ANSWERS], 0)), trip_us);
    }

    /// How far away a member is; 0 while nothing is known.
    pub(super) fn trip_us(&self, node: NodeId) -> u64 {
        let fastest = self.members.get(&node).and_then(|last| last.0.iter().flatten().min().copied());
        fastest.map_or_else(|| self.usual_us(), u64::from)
    }

    /// The median of what anybody took lately.
    pub(super) fn usual_us(&self) -> u64 {
        let mut known: Vec<u32> = self.usual.0.iter().flatten().copied().collect();
        known.sort_unstable();
        known.get(known.len() / 2).copied().map_or(0, u64::from)
    }
}

fn remember<const N: usize>(last: &mut Last<N>, trip_us: u32) {
    last.0[last.1 % N] = Some(trip_us);
    last.1 = (last.1 + 1) % N;
}

#[cfg(test)]
mod tests {
    use super::{Glance, Identity, Kind, RoundTrips};
    use crate::ids::NodeId;

    fn member(number: u64) -> Identity {
        Identity::new(NodeId::new(number), 1, "10.0.0.1:1".parse().unwrap())
    }

    fn trip(trips: &mut RoundTrips, number: u64, us: u64) {
        trips.on_probe(member(number), 3, 1000);
        trips.on_received(&Glance { kind: Kind::Ack, probe: 3, sender: member(number) }, 1000 + us);
    }

    #[test]
    fn the_fastest_of_a_members_last_answers_counts() {
        let mut trips = RoundTrips::new(10);
        assert_eq!(trips.trip_us(NodeId::new(1)), 0);
        for us in [300, 200, 4_500_000, 4_000_000] {
            trip(&mut trips, 1, us);
        }
        assert_eq!(trips.trip_us(NodeId::new(1)), 200, "it stalled, and is as near as before");
        for us in [900_000, 800_000, 850_000, 870_000] {
            trip(&mut trips, 1, us);
        }
        assert_eq!(trips.trip_us(NodeId::new(1)), 800_000, "it has moved");
        (0..20).for_each(|_| trip(&mut trips, 2, 70_000));
        assert_eq!(trips.trip_us(NodeId::new(3)), 70_000, "as far away as the others usually are");
    }

    #[test]
    fn only_the_answer_to_a_probe_is_measured() {
        let mut trips = RoundTrips::new(10);
        trips.on_probe(member(5), 1, 100);
        for (kind, probe, sender) in
            [(Kind::Ack, 9, 5), (Kind::Ping, 1, 5), (Kind::ForwardedAck, 1, 5), (Kind::Ack, 1, 6)]
        {
            trips.on_received(&Glance { kind, probe, sender: member(sender) }, 200);
        }
        assert_eq!(trips.usual_us(), 0);
        trips.on_received(&Glance { kind: Kind::Ack, probe: 1, sender: member(5) }, 300);
        trips.on_received(&Glance { kind: Kind::Ack, probe: 1, sender: member(5) }, 900);
        assert_eq!((trips.usual_us(), trips.trip_us(NodeId::new(5))), (200, 200));
    }

    #[test]
    fn members_are_limited() {
        let mut trips = RoundTrips::new(10);
        for number in 1..100 {
            trip(&mut trips, number, number);
            assert!(trips.members.len() <= 10 && trips.trip_us(NodeId::new(number)) == number);
        }
    }
}
