//! A fixed sequence of random numbers, the same in every run and on every machine. Not for anything secret.

/// Where every sequence begins.
pub const SEED: u64 = 0x616e_6e75_6c75_7300;

/// A fixed sequence of 64 random bits each (splitmix64).
pub struct Random(u64);

impl Random {
    /// The sequence of a stream; streams differ by a small number.
    pub fn new(stream: u64) -> Random {
        Random(SEED.wrapping_add(stream << 40))
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// So many random bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}
