//! Keys and values as bytes. A value says which key it belongs to and which write it was, under a checksum, when it is to be
//! checked.
//!
//! ```text
//! key    "key:" number in 12 digits, then "-" and filling up to the size
//! value  key number (8, LE) | sequence (4, LE) | length (4, LE) | CRC-32 of those and the filling (4, LE) | filling
//! ```
//!
//! Invariant: a value that was changed in any byte, cut, or put under another key is recognised.

use crate::workload::{Sizes, mix};

/// Bytes of a value before its filling.
pub const VALUE_HEADER_BYTES: usize = 20;
/// Shortest key.
pub const KEY_BYTES_MIN: usize = 16;

/// What a value is filled with, so that a size costs one copy.
const FILLING_BYTES: usize = 4096;

/// Makes keys and values.
#[derive(Debug)]
pub struct Content {
    key_sizes: Sizes,
    value_sizes: Sizes,
    filling: Vec<u8>,
}

/// Why a value is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Too short for its header.
    #[error("{0} bytes are too short for a value of ours")]
    Short(usize),
    /// The checksum or the length does not match.
    #[error("the value is damaged")]
    Damaged,
    /// It belongs to another key.
    #[error("the value belongs to key {0}")]
    Foreign(u64),
}

impl Content {
    /// Of these sizes.
    pub fn new(key_sizes: Sizes, value_sizes: Sizes) -> Self {
        let filling =
            (0..FILLING_BYTES as u64).map(|at| b'a' + u8::try_from(mix(at) % 26).expect("a letter")).collect();
        Self { key_sizes, value_sizes, filling }
    }

    /// Appends a key, as an argument of a command.
    pub fn key(&self, number: u64, out: &mut Vec<u8>) {
        let size = self.key_sizes.pick(mix(number)).max(KEY_BYTES_MIN);
        head(b'$', size, out);
        let mut digits = *b"key:000000000000";
        let mut rest = number;
        for digit in digits[4..].iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).expect("a digit");
            rest /= 10;
        }
        assert_eq!(rest, 0, "a key's number has twelve digits");
        out.extend_from_slice(&digits);
        if size > KEY_BYTES_MIN {
            out.push(b'-');
            self.fill(size - KEY_BYTES_MIN - 1, out);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Appends a value, as an argument of a command; `checked` ones can be checked.
    pub fn value(&self, key: u64, sequence: u32, draw: u64, checked: bool, out: &mut Vec<u8>) {
        let size = self.value_sizes.pick(draw);
        head(b'$', size, out);
        if checked {
            assert!(size >= VALUE_HEADER_BYTES, "sizes were checked with the arguments");
            let start = out.len();
            out.extend_from_slice(&key.to_le_bytes());
            out.extend_from_slice(&sequence.to_le_bytes());
            out.extend_from_slice(&u32::try_from(size).expect("a value is below 4 GiB").to_le_bytes());
            out.extend_from_slice(&[0; 4]);
            self.fill(size - VALUE_HEADER_BYTES, out);
            let sum = checksum(&out[start..]);
            out[start + 16..start + VALUE_HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
        } else {
            self.fill(size, out);
        }
        out.extend_from_slice(b"\r\n");
    }

    fn fill(&self, mut bytes: usize, out: &mut Vec<u8>) {
        while bytes > 0 {
            let part = bytes.min(self.filling.len());
            out.extend_from_slice(&self.filling[..part]);
            bytes -= part;
        }
    }
}

/// The sequence of a value that was read under `key`.
pub fn check(key: u64, value: &[u8]) -> Result<u32, Wrong> {
    let Some((header, _)) = value.split_at_checked(VALUE_HEADER_BYTES) else { return Err(Wrong::Short(value.len())) };
    let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    if word(12) as usize != value.len() || word(16) != checksum(value) {
        return Err(Wrong::Damaged);
    }
    match u64::from_le_bytes(header[..8].try_into().expect("eight bytes")) {
        owner if owner == key => Ok(word(8)),
        owner => Err(Wrong::Foreign(owner)),
    }
}

fn checksum(value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&value[..16]);
    hasher.update(&value[VALUE_HEADER_BYTES..]);
    hasher.finalize()
}

/// Appends `*N` or `$N` and the end of the line.
pub fn head(kind: u8, number: usize, out: &mut Vec<u8>) {
    use std::io::Write as _;
    out.push(kind);
    match number {
        0..=9 => out.push(b'0' + u8::try_from(number).expect("a digit")),
        _ => write!(out, "{number}").expect("writing to memory"),
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::{Reply, parse};

    fn bulk(make: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        make(&mut bytes);
        match parse(&bytes).unwrap().unwrap() {
            (Reply::Bulk(value), length) if length == bytes.len() => value.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_have_their_number_and_size() {
        let content = Content::new("16".parse().unwrap(), "1".parse().unwrap());
        assert_eq!(bulk(|out| content.key(123, out)), b"key:000000000123");
        let content = Content::new("20-30".parse().unwrap(), "1".parse().unwrap());
        for number in 0..100 {
            let key = bulk(|out| content.key(number, out));
            assert!((20..=30).contains(&key.len()) && key.starts_with(format!("key:{number:012}-").as_bytes()));
            assert_eq!(key, bulk(|out| content.key(number, out)));
        }
    }

    #[test]
    fn every_damage_of_a_value_is_found() {
        let content = Content::new("16".parse().unwrap(), "20-5000".parse().unwrap());
        for draw in [0, 1, 77, 4980] {
            let value = bulk(|out| content.value(9, 41, draw, true, out));
            assert_eq!(check(9, &value), Ok(41));
            assert_eq!(check(8, &value), Err(Wrong::Foreign(9)));
            assert!(check(9, &value[..value.len() - 1]).is_err());
            for bit in (0..value.len() * 8).step_by(if value.len() > 100 { 97 } else { 1 }) {
                let mut damaged = value.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(check(9, &damaged).is_err(), "bit {bit}");
            }
        }
    }
}
