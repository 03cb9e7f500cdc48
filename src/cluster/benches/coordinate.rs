//! What a coordinator costs: one put and one get of three copies, from the client's event to the last replica's answer,
//! messages written and read, everything outside of the protocol left out.
//!
//! `cargo bench -p annulus-cluster` measures; `cargo test` runs each once.

#[path = "../tests/support/coordinator.rs"]
mod coordinator;

use coordinator::Coordinator;
use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("coordinate");
    let mut coordinator = Coordinator::new();
    group.bench_function("put/n3", |bencher| bencher.iter(|| coordinator.put()));
    group.bench_function("get/n3", |bencher| bencher.iter(|| coordinator.get()));
    group.finish();
    assert!(coordinator.answered > 0 && coordinator.in_flight() == 0, "every command is answered and over");
    criterion.final_summary();
}
