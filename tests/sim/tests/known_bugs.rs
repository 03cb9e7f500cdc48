//! Every deliberate bug is still caught by the seed that caught it once: `cargo test -p sim --features mutations --release`.

#![cfg(feature = "mutations")]

use annulus_cluster::mutation::Mutation;
use sim::Options;
use sim::hunt::known;

#[test]
fn every_known_seed_still_catches_its_bug() {
    // Assertions that a bug breaks are what is looked for.
    std::panic::set_hook(Box::new(|_| {}));
    let unknown: Vec<String> = Mutation::ALL
        .iter()
        .filter_map(|mutation| known::replay(*mutation, &Options::default()).err())
        .map(|unknown| unknown.to_string())
        .collect();
    drop(std::panic::take_hook());
    assert_eq!(
        unknown,
        Vec::<String>::new(),
        "hunt again: cargo run --profile sim -p sim --features mutations -- --hunt --remember"
    );
}
