//! A wall clock that is wrong, of one process: no part of the product, but a small C library that is loaded into the process before
//! libc and shifts what libc says the time is. It is compiled with `cc` where it is needed.
//!
//! Invariant: a library that cannot be compiled is a failure, never a clock that is right.

use super::node::Options;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/shifted_clock.c");

/// The library, compiled.
pub struct ShiftedClock {
    shared_object: PathBuf,
}

impl ShiftedClock {
    /// Compiles it into a directory.
    pub fn build(directory: &Path) -> Self {
        let shared_object = directory.join("libshifted_clock.so");
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&shared_object).arg(SOURCE);
        let output = command.output().expect("a C compiler is there, as `cc`");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { shared_object }
    }

    /// Starts a node so that its clock is that many milliseconds ahead; behind, if negative.
    pub fn shift(&self, options: Options, ahead_ms: i64) -> Options {
        let path = self.shared_object.to_str().expect("plain names");
        options.environment("LD_PRELOAD", path).environment("SHIFTED_CLOCK_MS", &ahead_ms.to_string())
    }
}
