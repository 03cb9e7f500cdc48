//! A command's row from its name in any case, without allocation.
//!
//! A name is packed into three words, lower case, zeros behind it and its length in the last byte;
//! an open-addressing table built at compile time is probed linearly and compares words. A name of
//! more than 23 bytes is no command.

use super::{ROWS, Row};

/// Twice as many as there are commands, so that most names are found at the first probe.
const SLOTS: usize = 512;
const NAME_BYTES_MAX: usize = 23;

type Packed = [u64; 3];

#[derive(Clone, Copy)]
struct Slot {
    name: Packed,
    row: Option<&'static Row>,
}

static TABLE: [Slot; SLOTS] = build();

/// The row of a command; subcommands are found in their containers.
#[inline]
pub fn lookup(name: &[u8]) -> Option<&'static Row> {
    let packed = pack(name)?;
    let mut at = home(packed);
    loop {
        let slot = &TABLE[at % SLOTS];
        let row = slot.row?;
        if slot.name == packed {
            return Some(row);
        }
        at += 1;
    }
}

#[inline]
fn pack(name: &[u8]) -> Option<Packed> {
    let length = name.len();
    let mut words = [0; 3];
    if length <= 8 {
        words[0] = match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
            // The two halves overlap; the shared bytes are equal, so that OR joins them.
            (Some(head), Some(tail)) => {
                let tail = u64::from(u32::from_le_bytes(*tail)) << (8 * (length - 4));
                u64::from(u32::from_le_bytes(*head)) | tail
            }
            _ => name.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
        };
        words[0] = lower(words[0]);
    } else if length <= NAME_BYTES_MAX {
        let mut bytes = [0; 24];
        bytes[..length].copy_from_slice(name);
        for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = lower(u64::from_le_bytes(*chunk));
        }
    } else {
        return None;
    }
    words[2] |= (length as u64) << 56;
    Some(words)
}

/// The same for the table's own names, which are lower case, at compile time.
const fn pack_constant(name: &[u8]) -> Packed {
    assert!(!name.is_empty() && name.len() <= NAME_BYTES_MAX);
    let mut words = [0; 3];
    let mut at = 0;
    while at < name.len() {
        assert!(!name[at].is_ascii_uppercase());
        words[at / 8] |= (name[at] as u64) << (8 * (at % 8));
        at += 1;
    }
    words[2] |= (name.len() as u64) << 56;
    words
}

/// ASCII capitals among eight bytes made small; all other bytes stay.
const fn lower(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low = word & (0x7F * ONES);
    let from_a = low + (0x80 - b'A' as u64) * ONES;
    let above_z = low + (0x7F - b'Z' as u64) * ONES;
    let capitals = (from_a ^ above_z) & !word & (0x80 * ONES);
    word | capitals >> 2
}

const fn home(name: Packed) -> usize {
    let mixed = name[0] ^ name[1].rotate_left(23) ^ name[2].rotate_left(41);
    (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 55) as usize % SLOTS
}

const fn build() -> [Slot; SLOTS] {
    let mut table = [Slot { name: [0; 3], row: None }; SLOTS];
    let mut file = 0;
    let mut count = 0;
    while file < ROWS.len() {
        let mut number = 0;
        while number < ROWS[file].len() {
            let row = &ROWS[file][number];
            let name = pack_constant(row.name.as_bytes());
            let mut at = home(name);
            while table[at].row.is_some() {
                at = (at + 1) % SLOTS;
            }
            table[at] = Slot { name, row: Some(row) };
            number += 1;
            count += 1;
        }
        file += 1;
    }
    // Leaves free slots, at which a search ends.
    assert!(count <= SLOTS * 5 / 8);
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table::all;

    #[test]
    fn packing_agrees_for_every_length_and_case() {
        let letters = b"zyx_wv-utsrqponmlkjihgf";
        for length in 1..=NAME_BYTES_MAX {
            let name = &letters[..length];
            assert_eq!(pack(name), Some(pack_constant(name)));
            assert_eq!(pack(&name.to_ascii_uppercase()), Some(pack_constant(name)));
        }
        assert_eq!(pack(&[b'a'; NAME_BYTES_MAX + 1]), None);
    }

    #[test]
    fn lower_changes_capitals_only() {
        for byte in 0..=u8::MAX {
            let word = u64::from_le_bytes([byte, b'A', byte, 0xC1, byte, b'z', byte, b'[']);
            let expected = word.to_le_bytes().map(|byte| byte.to_ascii_lowercase());
            assert_eq!(lower(word).to_le_bytes(), expected);
        }
    }

    #[test]
    fn most_names_are_at_home() {
        let at_home = |row: &&Row| {
            let name = pack_constant(row.name.as_bytes());
            TABLE[home(name)].name == name
        };
        let found = all().filter(at_home).count();
        assert!(found * 3 >= all().count() * 2, "{found}");
        for name in ["get", "set", "del", "mget"] {
            assert!(at_home(&lookup(name.as_bytes()).expect(name)), "{name}");
        }
    }
}
