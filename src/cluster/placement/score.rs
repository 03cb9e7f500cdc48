//! How much a node wants a partition: the score of weighted rendezvous hashing, smaller is better.
//!
//! `-ln(u) / weight`, where u is a fraction between 0 and 1 drawn by node and partition; of several nodes each has the least score
//! as often as its share of the weight says. The draws of one node over all partitions are not independent: their
//! upper bits are a permutation of the partitions, so that each node draws evenly. That takes away about half of the
//! deviation from the mean load that independent draws have, so that fewer nodes meet their cap, and less moves when one
//! joins or leaves.
//!
//! Invariant: a score depends on the node's id and weight, the partition and their number, and on nothing else.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::logarithm::negative_ln;
use crate::ids::{NodeId, PartitionId};

/// "annulus: " and "placement"; a different key is a different ring.
const KEY: (u64, u64) = (0x616e_6e75_6c75_733a, 0x706c_6163_656d_656e);
const ROUNDS: usize = 4;

/// One node's draws.
#[derive(Debug, Clone)]
pub(crate) struct Score {
    weight: u64,
    /// How many bits a partition's number has.
    bits: u32,
    /// For each round of the permutation what is added and what is multiplied with.
    rounds: [(u64, u64); ROUNDS],
    /// For the bits below the permutation.
    below: u64,
}

impl Score {
    /// The draws of `node` over `partitions`, a power of two.
    pub(crate) fn new(node: NodeId, weight: u16, partitions: u16) -> Self {
        assert!(partitions.is_power_of_two() && weight > 0);
        let mut hasher = SipHasher13::new_with_keys(KEY.0, KEY.1);
        hasher.write(&node.raw().to_le_bytes());
        let hash = hasher.finish128();
        let keys: [u64; ROUNDS] = std::array::from_fn(|round| mix(hash.h1.wrapping_add(round as u64)));
        Self {
            weight: u64::from(weight),
            bits: partitions.trailing_zeros(),
            rounds: keys.map(|key| (key, key >> 32 | 1)),
            below: hash.h2,
        }
    }

    /// The score of a partition.
    pub(crate) fn of(&self, partition: PartitionId) -> u64 {
        negative_ln(self.draw(partition)) / self.weight
    }

    /// The fraction u in 64 bits: on top the permuted partition, below it bits that break ties.
    fn draw(&self, partition: PartitionId) -> u64 {
        let below = mix(self.below.wrapping_add(u64::from(partition).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        if self.bits == 0 {
            return below;
        }
        self.permuted(partition) << (64 - self.bits) | below >> self.bits
    }

    /// A permutation of the partitions: each step can be undone, the sum, the product with an odd number and the fold alike.
    fn permuted(&self, partition: PartitionId) -> u64 {
        let mask = (1 << self.bits) - 1;
        let fold = self.bits.div_ceil(2);
        let step = |number: u64, &(add, times): &(u64, u64)| {
            let number = number.wrapping_add(add).wrapping_mul(times) & mask;
            number ^ number >> fold
        };
        self.rounds.iter().fold(u64::from(partition), step)
    }
}

/// Spreads every bit over all: the finaliser of splitmix64.
fn mix(mut number: u64) -> u64 {
    number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_draws_evenly() {
        for bits in 0..=14 {
            for node in [1, 2, 0xffff_ffff_ffff] {
                let score = Score::new(NodeId::new(node), 1, 1 << bits);
                let mut seen = vec![false; 1 << bits];
                for partition in 0..1u16 << bits {
                    let stratum = if bits == 0 { 0 } else { score.draw(partition) >> (64 - bits) };
                    assert!(!std::mem::replace(&mut seen[stratum as usize], true), "{bits} bits, node {node}");
                }
            }
        }
    }

    /// Of two nodes with weights 1 and 3 the second has the better score three times out of four; and any two nodes' draws are
    /// as good as independent.
    #[test]
    fn nodes_draw_independently_and_by_weight() {
        let (mut wins, mut product, mut trials) = (0u32, 0.0, 0u32);
        for pair in 0..200 {
            let light = Score::new(NodeId::new(2 * pair + 1), 100, 1024);
            let heavy = Score::new(NodeId::new(2 * pair + 2), 300, 1024);
            for partition in 0..1024 {
                wins += u32::from(heavy.of(partition) < light.of(partition));
                let centred = |score: &Score| score.draw(partition) as f64 / 2f64.powi(64) - 0.5;
                product += centred(&light) * centred(&heavy);
                trials += 1;
            }
        }
        let share = f64::from(wins) / f64::from(trials);
        assert!((share - 0.75).abs() < 0.003, "{share}");
        let correlation = 12.0 * product / f64::from(trials);
        assert!(correlation.abs() < 0.01, "{correlation}");
    }
}
