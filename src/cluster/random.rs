//! The random numbers of the protocol: a small generator, seeded by whoever drives it.
//!
//! It is xoshiro256++ with its state drawn from SplitMix64, written out here so that a seed means the same numbers on every
//! machine and after every update of a library. It is no source of secrets.
//!
//! Invariant: the same seed and the same calls give the same numbers.

use std::convert::Infallible;

use rand_core::TryRng;

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// The stream of a seed. Different seeds give unrelated streams.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut mixed = seed;
        let state = std::array::from_fn(|_| {
            mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let word = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        });
        Self { state }
    }

    /// A stream of its own for one consumer, so that what others draw does not change what it draws.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::new(self.draw())
    }

    /// 64 random bits.
    pub fn draw(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A number below `bound`, each about equally likely; `bound` is not 0, asserted.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below 0");
        let wide = u128::from(self.draw()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("the upper half of a product has 64 bits")
    }

    /// `value` and up to a quarter more or less, so that many nodes do not act in step.
    pub fn about(&mut self, value: u64) -> u64 {
        value - value / 4 + self.below(value / 2 + 1)
    }

    /// One of the items, or `None` of none.
    pub fn choose<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(items.len()).expect("a length has 64 bits");
        if count == 0 { None } else { items.get(usize::try_from(self.below(count)).expect("below a length")) }
    }
}

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::try_from(self.draw() >> 32).expect("the upper half has 32 bits"))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.draw())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.draw().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn a_seed_means_the_same_for_ever() {
        let mut random = Random::new(1);
        let first: Vec<u64> = (0..3).map(|_| random.draw()).collect();
        assert_eq!(first, [0xcfc5_d07f_6f03_c29b, 0xbf42_4132_963f_e08d, 0x19a3_7d57_57aa_f520]);
        assert_ne!(Random::new(2).draw(), first[0]);
        assert_ne!(Random::new(1).fork().draw(), first[0]);
    }

    #[test]
    fn numbers_stay_within_their_bounds_and_reach_them() {
        let mut random = Random::new(7);
        let drawn: Vec<u64> = (0..1000).map(|_| random.below(10)).collect();
        assert!((0..10).all(|number| drawn.contains(&number)) && drawn.iter().all(|&number| number < 10));
        let about: Vec<u64> = (0..1000).map(|_| random.about(1000)).collect();
        assert!(about.iter().all(|value| (750..=1250).contains(value)));
        assert!(about.iter().min() < Some(&760) && about.iter().max() > Some(&1240));
        assert_eq!(random.about(0), 0);
        assert_eq!(random.choose::<u8>(&[]), None);
        assert_eq!(random.choose(&[5]), Some(&5));
    }
}
