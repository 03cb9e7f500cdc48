//! A small seeded generator (SplitMix64): a test's choices are a function of its seed, which it prints.

/// One stream of chance.
pub struct Random(u64);

impl Random {
    /// A stream that is a function of `seed`.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The seed from `ANNULUS_SEED`, else one from the clock and this process.
    pub fn seed_from_environment() -> u64 {
        if let Ok(text) = std::env::var("ANNULUS_SEED") {
            return text.parse().expect("ANNULUS_SEED is a number");
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("the clock is past 1970");
        now.as_nanos() as u64 ^ (u64::from(std::process::id()) << 40)
    }

    /// 64 fresh bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "an empty range has no member");
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}
