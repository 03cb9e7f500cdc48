//! What tests say to cores, and by chance.
//!
//! Invariant: everything is a function of its arguments.

use crate::mesh::CoreMap;
use crate::slot;

/// Commands separated by `;`, their arguments by blanks.
pub(super) fn encode(commands: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for command in commands.split(';').map(str::trim).filter(|command| !command.is_empty()) {
        let args: Vec<&str> = command.split_whitespace().collect();
        encode_command(&mut bytes, &args);
    }
    bytes
}

pub(super) fn encode_command(bytes: &mut Vec<u8>, args: &[&str]) {
    bytes.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n{arg}\r\n", arg.len()).as_bytes());
    }
}

/// The n-th key that a core of two owns.
pub(super) fn key_of(core: u16, number: usize) -> String {
    let map = CoreMap::new(1024, 2);
    let keys = (0..).map(|at| format!("key:{at}"));
    let mut own = keys.filter(|key| map.core_of(slot::partition(slot::of_key(key.as_bytes()), 1024)) == core);
    own.nth(number).unwrap()
}

pub(super) fn bulk(text: &str) -> String {
    format!("${}|{text}|", text.len())
}

/// A random stream (SplitMix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}
