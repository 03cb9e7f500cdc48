//! What the hot path computes, one noun at a time: records, frames, the index, objects, the Redis protocol, the keyed hash.
//!
//! `cargo bench --bench hot_paths [-- FILTER]` measures; `cargo test` runs every benchmark once on a small setup. Each
//! benchmark prints a hash of what it computed, `result <name> <hash>`: a change of the hash is a change of behaviour, not
//! of speed. Where the small setup is another input, the name of the benchmark is another too.
//!
//! What it is not: no sockets, no files, no executor; `floor` measures what the machine does, `annulus-load` the node.

#[path = "support/random.rs"]
mod random;

mod hot_paths {
    pub mod fixture;
    pub mod frame;
    pub mod hash;
    pub mod index;
    pub mod object;
    pub mod record;
    pub mod resp;
}

use criterion::Criterion;
use hot_paths::{frame, hash, index, object, record, resp};

/// The allocator of the node, since merging and decoding allocate.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for all in [record::all, frame::all, index::all, object::all, resp::all, hash::all] {
        all(&mut criterion);
    }
    criterion.final_summary();
}
