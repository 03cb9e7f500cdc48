//! Whole clusters of the production protocol under virtual time and seeded faults.
//!
//! * [`run`]: one run, a function of its seed and its [`Options`]; [`campaign`]: many, on all processors.
//! * [`world`]: nodes, cores, clients and what happens to them; [`network`], [`clock`], [`store`], [`engine_store`],
//!   [`faults`]: their parts.
//! * [`set`]: the test with one growing set; [`workload`]: what clients want; [`model`]: what is true; [`checkers`]: what
//!   must hold; [`report`]: what came of it.
//!
//! [`scale`] measures the control plane alone, with up to a thousand nodes.
//!
//! A run has two phases. In the first everything goes wrong that the seed has chosen, and promises of safety are checked at
//! every step. In the second nothing goes wrong any more, and the cluster has to become well again by itself.
//!
//! What it is not: no sockets, no kernel, no real disk, and no performance; processes that are killed are tested elsewhere.
#![forbid(unsafe_code)]

pub mod agenda;
pub mod bits;
pub mod campaign;
pub mod checkers;
pub mod clock;
pub mod engine_store;
pub mod faults;
#[cfg(feature = "mutations")]
pub mod hunt;
pub mod model;
pub mod network;
pub mod node;
pub mod options;
pub mod production;
pub mod report;
pub mod ring;
pub mod scale;
pub mod seeds;
pub mod set;
pub mod shape;
pub mod store;
pub mod trace;
pub mod watched;
pub mod workload;
pub mod world;

pub use options::{Options, StoreKind};
pub use report::{Report, Summary};

use checkers::{Promise, Violation};
use engine_store::EngineDisk;
use node::Disk;
use production::Production;
use store::PlainDisk;
use world::World;

/// Runs a seed. A panic on the way counts as a broken promise, where panics unwind.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Report {
    #[cfg(feature = "mutations")]
    let _switched = annulus_cluster::mutation::switch(options.mutation);
    match options.store_of(seed) {
        StoreKind::Plain => run_on::<PlainDisk>(seed, options),
        StoreKind::Engine => run_on::<EngineDisk>(seed, options),
    }
}

fn run_on<D: Disk>(seed: u64, options: &Options) -> Report {
    let mut world: World<D, Production> = World::new(seed, options);
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
    let violation = match ended {
        Ok(result) => result.err(),
        Err(panic) => Some(Violation::new(Promise::Assertions, None, panic_text(panic.as_ref()))),
    };
    world.report(seed, options, violation)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text").to_owned()
}
