//! Chance: one stream of it for every consumer, all of them functions of the run's seed.
//!
//! Each consumer draws from a stream of its own, so that one more draw in the network changes no client's choices. Only whole
//! numbers are computed, so that every machine draws the same.
//!
//! Invariant: consumers keep their numbers; new ones are added at the end, else saved seeds would show other runs.

/// Who draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Consumer {
    /// How many nodes, cores, clients and keys there are, and which limits they have.
    Shape = 1,
    /// What becomes of packets.
    Network = 2,
    /// Which faults, when and to whom.
    Faults = 3,
    /// A client's operations; one stream per client.
    Workload = 4,
    /// A node's clocks; one stream per node.
    Clock = 5,
    /// A node's disk; one stream per node.
    Disk = 6,
    /// Who takes whom for dead.
    Detector = 7,
    /// Who owns what.
    Placement = 8,
    /// How long a core takes for what it does.
    Turns = 9,
}

/// A stream of chance (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream of the `index`-th consumer of a kind.
    #[must_use]
    pub fn new(seed: u64, consumer: Consumer, index: u64) -> Self {
        let mut mixed = Random(seed);
        let first = mixed.bits() ^ (consumer as u64).wrapping_mul(0xd6e8_feb8_6659_fd93);
        let mut mixed = Random(first);
        Random(mixed.bits() ^ index.wrapping_mul(0xa076_1d64_78bd_642f))
    }

    /// 64 fresh bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number in `0..bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "an empty range has no member");
        u64::try_from((u128::from(self.bits()) * u128::from(bound)) >> 64).expect("the upper half of a product")
    }

    /// An index of a list of `length`.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a length")
    }

    /// A number in `least..=most`.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        assert!(least <= most, "a range has a beginning before its end");
        least + self.below(most - least + 1)
    }

    /// True in `share` of 1000 cases.
    pub fn per_mille(&mut self, share: u64) -> bool {
        self.below(1000) < share
    }

    /// True in one of `n` cases.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of a list.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.index(list.len())]
    }

    /// An index of `weights`, each as likely as its weight.
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let mut left = self.below(total);
        for (index, weight) in weights.iter().enumerate() {
            match left.checked_sub(u64::from(*weight)) {
                Some(rest) => left = rest,
                None => return index,
            }
        }
        unreachable!("a number below the sum falls on a weight")
    }

    /// Puts a list in any order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for index in (1..list.len()).rev() {
            list.swap(index, self.index(index + 1));
        }
    }

    /// Nearly exponential with this mean: a waiting time. Its logarithm is piecewise linear, in whole numbers.
    pub fn waiting(&mut self, mean: u64) -> u64 {
        const LN_2: u128 = 45_426;
        let bits = self.bits() | 1;
        let zeros = bits.leading_zeros();
        // The 16 bits behind the leading one.
        let fraction = (bits << zeros << 1) >> 48;
        let log = (u128::from(zeros) << 16) + (65_536 - u128::from(fraction));
        u64::try_from((u128::from(mean) * log * LN_2) >> 32).unwrap_or(u64::MAX)
    }
}

/// Scrambles 64 bits.
#[must_use]
pub const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_and_repeat() {
        let first = |consumer, index| Random::new(7, consumer, index).bits();
        assert_eq!(first(Consumer::Network, 0), first(Consumer::Network, 0));
        assert_ne!(first(Consumer::Network, 0), first(Consumer::Faults, 0));
        assert_ne!(first(Consumer::Disk, 0), first(Consumer::Disk, 1));
    }

    #[test]
    fn a_waiting_time_has_its_mean() {
        let mut random = Random::new(1, Consumer::Shape, 0);
        let sum: u64 = (0..100_000).map(|_| random.waiting(1000)).sum();
        assert!((950..1100).contains(&(sum / 100_000)), "{}", sum / 100_000);
    }

    #[test]
    fn weights_are_shares() {
        let mut random = Random::new(1, Consumer::Shape, 0);
        let mut counts = [0; 3];
        (0..10_000).for_each(|_| counts[random.weighted(&[1, 0, 3])] += 1);
        assert!(counts[1] == 0 && counts[0] > 2_200 && counts[2] > 7_200, "{counts:?}");
    }
}
