//! The slot of a key and the partition of a slot.
//!
//! A slot is CRC16 (XMODEM) of the key, or of its hash tag, modulo 16384, as in Redis Cluster.
//! Partitions are equal runs of neighbouring slots, and their number is a power of two.

use std::ops::Range;

use crc::{CRC_16_XMODEM, Crc, Table};

/// Number of slots.
pub const SLOTS: u16 = 16_384;

// Sixteen tables: sixteen bytes a step, in 8 KiB.
static CRC16: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&CRC_16_XMODEM);

/// The slot of a key, below [`SLOTS`].
#[inline]
pub fn of_key(key: &[u8]) -> u16 {
    CRC16.checksum(hash_tag(key)) % SLOTS
}

/// What decides a key's slot: the bytes between the first `{` and the first `}` after it; when there
/// are none, the whole key.
#[inline]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else {
        return key;
    };
    let rest = &key[open + 1..];
    match rest.iter().position(|&byte| byte == b'}') {
        None | Some(0) => key,
        Some(close) => &rest[..close],
    }
}

/// The partition of a slot, when there are so many.
///
/// # Panics
/// Unless the slot is below [`SLOTS`] and the number of partitions a power of two, at most [`SLOTS`].
#[inline]
pub const fn partition(slot: u16, partitions: u32) -> u16 {
    assert!(slot < SLOTS);
    slot >> shift(partitions)
}

/// The slots of a partition, when there are so many.
///
/// # Panics
/// As [`partition`], and unless the partition is below their number.
pub const fn slots_of(partition: u16, partitions: u32) -> Range<u16> {
    let shift = shift(partitions);
    assert!((partition as u32) < partitions);
    partition << shift..(partition + 1) << shift
}

/// A slot as a client writes it; the error is Redis' reply.
pub fn parse(text: &[u8]) -> Result<u16, &'static str> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = digits == b"0" && digits.len() == text.len() || matches!(digits, [b'1'..=b'9', ..]);
    let number = str::from_utf8(text).ok().filter(|_| canonical).and_then(|text| text.parse::<i64>().ok());
    let number = number.ok_or("ERR value is not an integer or out of range")?;
    u16::try_from(number).ok().filter(|slot| *slot < SLOTS).ok_or("ERR Invalid slot")
}

/// Slots per partition, as a power of two.
const fn shift(partitions: u32) -> u32 {
    assert!(partitions.is_power_of_two() && partitions <= SLOTS as u32);
    SLOTS.trailing_zeros() - partitions.trailing_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_slots() {
        assert_eq!(CRC16.checksum(b"123456789"), 0x31C3);
        assert_eq!(of_key(b"123456789"), 0x31C3 % SLOTS);
        assert_eq!(of_key(b"foo"), 12_182);
        assert_eq!(of_key(b"bar"), 5_061);
        assert_eq!(of_key(b""), 0);
    }

    #[test]
    fn hash_tags() {
        let tags: [(&[u8], &[u8]); 8] = [
            (b"{user1000}.following", b"user1000"),
            (b"a{b}c{d}", b"b"),
            (b"foo{}{bar}", b"foo{}{bar}"),
            (b"foo{{bar}}zap", b"{bar"),
            (b"foo{bar", b"foo{bar"),
            (b"foo}bar{baz}", b"baz"),
            (b"{}", b"{}"),
            (b"", b""),
        ];
        for (key, tag) in tags {
            assert_eq!(hash_tag(key), tag, "{}", key.escape_ascii());
            assert_eq!(of_key(key), of_key(tag));
        }
    }

    #[test]
    fn every_length_agrees_with_the_definition() {
        let key: Vec<u8> = (0..100u8).map(|byte| byte.wrapping_mul(37) & 0x3F).collect();
        for length in 0..key.len() {
            let mut crc = 0u16;
            for byte in &key[..length] {
                crc ^= u16::from(*byte) << 8;
                for _ in 0..8 {
                    crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
                }
            }
            assert_eq!(of_key(&key[..length]), crc % SLOTS, "{length}");
        }
    }

    #[test]
    fn partitions_tile_the_slots() {
        for partitions in (0..=14).map(|log2| 1u32 << log2) {
            let mut next = 0;
            for number in 0..u16::try_from(partitions).expect("at most 16384") {
                let slots = slots_of(number, partitions);
                assert_eq!(slots.start, next);
                assert!(slots.clone().all(|slot| partition(slot, partitions) == number));
                next = slots.end;
            }
            assert_eq!(next, SLOTS);
        }
    }

    #[test]
    fn slots_as_text() {
        assert_eq!(parse(b"0"), Ok(0));
        assert_eq!(parse(b"16383"), Ok(16_383));
        for text in ["16384", "-1", "65536", "9223372036854775807"] {
            assert_eq!(parse(text.as_bytes()), Err("ERR Invalid slot"), "{text}");
        }
        for text in ["", "x", "1x", " 1", "+1", "01", "-0", "-", "1.0", "9223372036854775808"] {
            assert_eq!(parse(text.as_bytes()), Err("ERR value is not an integer or out of range"), "{text}");
        }
    }
}
