//! Some hundred seeds in every `cargo test`, and the promise that makes seeds worth anything: the same one is the same run.

use sim::campaign::campaign;
use sim::{Options, run};

#[test]
fn two_hundred_seeds_keep_every_promise() {
    let summary = campaign(1, 200, &Options::default(), |_| {});
    println!("{}", summary.text());
    assert_eq!(summary.failures, [], "repeat one with: cargo run -p sim -- --seed S --story");
    assert_eq!(summary.gates(&Options::default()), Ok(()));
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 1..6 {
        let (first, second) = (run(seed, &Options::default()), run(seed, &Options::default()));
        assert_eq!(first.hash, second.hash, "seed {seed}");
        let told = run(seed, &Options { keeps_story: true, ..Options::default() });
        assert_eq!(first.hash, told.hash, "telling changes nothing, seed {seed}");
        assert!(!told.story.is_empty() && first.story.is_empty());
    }
    assert_ne!(run(1, &Options::default()).hash, run(2, &Options::default()).hash);
}

/// In seed 4522 every node has lost its disk, with writes that nobody acknowledged: until the nodes are refilled nobody can say
/// that there is nothing.
#[test]
fn a_cluster_that_has_lost_every_disk_can_be_read_again() {
    assert_eq!(run(4522, &Options::default()).verdict(), None);
}

#[test]
fn a_campaign_does_not_depend_on_its_threads() {
    let campaign = |_| campaign(300, 8, &Options::default(), |_| {}).hash;
    assert_eq!(campaign(0), campaign(1));
}

#[test]
fn a_set_that_grows_through_splits_loses_nothing_and_last_writer_wins_does() {
    let [union, newest] = sim::set::compare(1, 1, 300, sim::set::SPLITS);
    let (union, newest) = (&union.reports[0], &newest.reports[0]);
    assert_eq!((union.verdict(), newest.verdict()), (None, None));
    assert_eq!((union.tally.set_added, union.tally.set_lost), (300, 0));
    assert!(union.tally.conflicts > 0 && newest.tally.set_lost > 0, "splits make siblings, and dropping them costs");
}
