//! A key's 128-bit keyed hash as a key of hash tables.
//!
//! The hash is already keyed and uniform: nobody outside can choose keys that collide, and hashing it
//! again would only cost time. What it is not: fit for anything but keyed hashes.

use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A keyed hash; aligned to 8 bytes, not 16, so that tables of it waste nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyedHash([u64; 2]);

impl KeyedHash {
    #[inline]
    pub(crate) fn new(hash: u128) -> KeyedHash {
        KeyedHash([hash as u64, (hash >> 64) as u64])
    }

    #[inline]
    pub(crate) fn get(self) -> u128 {
        u128::from(self.0[1]) << 64 | u128::from(self.0[0])
    }
}

impl Hash for KeyedHash {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Of a hint's name either half alone says little.
        state.write_u64(self.0[0] ^ self.0[1]);
    }
}

/// A hasher whose hash is the number written to it.
#[derive(Clone, Copy, Default)]
pub(crate) struct PassThrough(u64);

/// Builds [`PassThrough`] hashers.
pub(crate) type BuildPassThrough = BuildHasherDefault<PassThrough>;

impl Hasher for PassThrough {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only keyed hashes are hashed with this");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_survives_and_hashes_to_both_its_halves() {
        let hash = 0x0123_4567_89ab_cdef_1122_3344_5566_7788_u128;
        let keyed = KeyedHash::new(hash);
        assert_eq!(keyed.get(), hash);
        let mut hasher = PassThrough::default();
        keyed.hash(&mut hasher);
        assert_eq!(hasher.finish(), hash as u64 ^ (hash >> 64) as u64);
    }
}
