//! What all benchmarks share: the size of the run, and the printed hash of a result.
//!
//! Invariant: nothing here depends on time, address or machine, so that equal code prints equal hashes.

use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::io::Write as _;
use std::sync::OnceLock;

/// Whether this run measures (`cargo bench`) and does not only try (`cargo test`).
pub fn is_full() -> bool {
    static IS_FULL: OnceLock<bool> = OnceLock::new();
    *IS_FULL.get_or_init(|| std::env::args().any(|argument| argument == "--bench"))
}

/// A hash over what a benchmark computed.
#[derive(Default)]
pub struct Digest(SipHasher13);

impl Digest {
    /// Takes bytes in, with their length.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Digest {
        self.0.write_u64(bytes.len() as u64);
        self.0.write(bytes);
        self
    }

    /// Takes a number in.
    pub fn number(&mut self, number: u64) -> &mut Digest {
        self.0.write_u64(number);
        self
    }

    /// Takes in whatever shows itself completely in its debug form.
    pub fn shown(&mut self, value: &impl std::fmt::Debug) -> &mut Digest {
        self.bytes(format!("{value:?}").as_bytes())
    }

    /// Prints the hash as the result of the benchmark `name`.
    pub fn print(&self, name: &str) {
        let mut out = std::io::stdout().lock();
        writeln!(out, "result {name} {:016x}", self.0.finish()).expect("stdout takes a line");
    }
}

/// Prints the hash of one byte string.
pub fn print_bytes(name: &str, bytes: &[u8]) {
    Digest::default().bytes(bytes).print(name);
}
