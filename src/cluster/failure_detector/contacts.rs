//! When to knock at whose door: at seeds while no member answers, and now and then at nodes that the map names and nobody hears.
//!
//! foca forgets whom it does not hear, and a node that was alone once stays alone. So does either side of a split that lasted
//! longer than that memory. Seeds, and the map, which outlives both, lead back.
//!
//! Invariant: at most [`DOORS_MAX`] datagrams at a time, and between two times never less than the least wait.

use std::net::SocketAddr;

use crate::limits::ControlLimits;
use crate::random::Random;

/// Doors to knock at in one go.
pub(super) const DOORS_MAX: usize = 3;

/// See the module.
#[derive(Debug)]
pub(super) struct Contacts {
    seeds: Vec<SocketAddr>,
    /// Tries since a member answered last.
    tries: u32,
    next_us: Option<u64>,
}

impl Contacts {
    /// Waits for [`Contacts::start`].
    pub(super) fn new() -> Self {
        Self { seeds: Vec::new(), tries: 0, next_us: None }
    }

    /// From now on, beginning at once.
    pub(super) fn start(&mut self, seeds: Vec<SocketAddr>, now_us: u64) {
        self.seeds = seeds;
        (self.tries, self.next_us) = (0, Some(now_us));
    }

    /// Never again until the next start.
    pub(super) fn stop(&mut self) {
        self.next_us = None;
    }

    /// No member answers any more: the first try comes at once, unless this was stopped.
    pub(super) fn retry(&mut self, now_us: u64) {
        if self.next_us.is_some() {
            (self.tries, self.next_us) = (0, Some(now_us));
        }
    }

    /// When the next try is due.
    pub(super) fn next_due_us(&self) -> Option<u64> {
        self.next_us
    }

    /// Whom to ask now, having known that it is due. `unheard` are addresses from the map of nodes that do not answer;
    /// `is_heard` tells of addresses where a member answers.
    pub(super) fn choose(
        &mut self,
        now_us: u64,
        is_connected: bool,
        unheard: &[SocketAddr],
        is_heard: impl Fn(SocketAddr) -> bool,
        limits: &ControlLimits,
        random: &mut Random,
    ) -> Vec<SocketAddr> {
        let wait_us = if is_connected {
            self.tries = 0;
            limits.contact_every_us
        } else {
            let wait_us =
                limits.seed_retry_us_min.saturating_mul(1 << self.tries.min(32)).min(limits.seed_retry_us_max);
            self.tries = self.tries.saturating_add(1);
            wait_us
        };
        self.next_us = Some(now_us + random.about(wait_us));
        let mut seeds: Vec<SocketAddr> = self.seeds.iter().copied().filter(|seed| !is_heard(*seed)).collect();
        let mut chosen = Vec::with_capacity(DOORS_MAX);
        // A node that is alone needs an answer soon; one that is not needs only somebody to try.
        while !seeds.is_empty() && chosen.len() + 1 < if is_connected { 2 } else { DOORS_MAX } {
            let count = u64::try_from(seeds.len()).expect("a length has 64 bits");
            chosen.push(seeds.swap_remove(usize::try_from(random.below(count)).expect("below a length")));
        }
        if let Some(address) = random.choose(unheard).filter(|address| !chosen.contains(address)) {
            chosen.push(*address);
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::{Contacts, DOORS_MAX};
    use crate::limits::ControlLimits;
    use crate::random::Random;

    fn address(number: u16) -> SocketAddr {
        SocketAddr::new([10, 0, 0, 1].into(), number)
    }

    #[test]
    fn a_lonely_node_asks_seeds_again_and_again_more_and_more_slowly() {
        let (limits, mut random) = (ControlLimits::default(), Random::new(1));
        let seeds: Vec<_> = (1..=5).map(address).collect();
        let mut contacts = Contacts::new();
        assert_eq!(contacts.next_due_us(), None);
        contacts.start(seeds.clone(), 1_000);
        let (mut waits_ms, mut asked) = (Vec::new(), Vec::new());
        for _ in 0..10 {
            let now_us = contacts.next_due_us().unwrap();
            let chosen = contacts.choose(now_us, false, &[address(99)], |_| false, &limits, &mut random);
            assert!(chosen.len() == DOORS_MAX && chosen[2] == address(99));
            asked.extend_from_slice(&chosen);
            waits_ms.push((contacts.next_due_us().unwrap() - now_us) / 1000);
        }
        for (index, wait_ms) in waits_ms.iter().enumerate() {
            let expected = (500u64 << index).min(30_000);
            assert!((expected * 3 / 4..=expected * 5 / 4).contains(wait_ms), "{waits_ms:?}");
        }
        assert!(seeds.iter().all(|seed| asked.contains(seed)), "every seed has its turn");
        contacts.retry(77);
        assert_eq!(contacts.next_due_us(), Some(77));
        contacts.stop();
        assert_eq!(contacts.next_due_us(), None);
    }

    #[test]
    fn a_connected_node_tries_those_that_nobody_hears_now_and_then() {
        let (limits, mut random) = (ControlLimits::default(), Random::new(2));
        let mut contacts = Contacts::new();
        contacts.start(vec![address(1), address(2)], 0);
        let chosen = contacts.choose(0, true, &[address(7)], |seed| seed == address(1), &limits, &mut random);
        assert_eq!(chosen, [address(2), address(7)]);
        assert!(contacts.next_due_us().unwrap() >= limits.contact_every_us * 3 / 4);
        assert_eq!(contacts.choose(0, true, &[], |_| true, &limits, &mut random), []);
    }
}
