//! Which story finds which deliberate bug of the map (`src/cluster/mutation.rs`, `Mutation::MAP`): each story ends as it should,
//! and does not with its bug. Run with `--features mutations`.

use super::stories::{self, Story};

/// Stories by name; with the feature, each finds the bug that [`caught`] names.
pub const STORIES: &[(&str, Story)] = &[
    ("what a node says", stories::what_a_node_says_does_not_undo_what_operators_say),
    ("restart", stories::a_restart_does_not_undo_a_removal),
    ("two removals", stories::two_removals_at_once_remove_one),
    ("carried out", stories::a_removal_that_was_carried_out_ends_another),
    ("same ring", stories::what_moves_no_data_is_the_same_ring),
    ("clock behind", stories::a_clock_that_is_behind_silences_nobody),
    ("forgotten", stories::what_was_forgotten_does_not_come_back_with_who_was_away),
    ("own entry", stories::the_map_says_of_a_node_what_it_says_itself),
    ("used incarnation", stories::a_used_incarnation_is_not_used_again),
];

#[cfg(feature = "mutations")]
mod found {
    use annulus_cluster::mutation::{Mutation, switch};

    use super::STORIES;

    /// The story that finds it.
    fn story_of(mutation: Mutation) -> &'static str {
        match mutation {
            Mutation::WholeEntryLastWriterWins => "what a node says",
            Mutation::IncarnationChangesRole => "restart",
            Mutation::RemovalWithoutIntent => "two removals",
            Mutation::RemovalIgnoresOthers => "carried out",
            Mutation::FingerprintOfMap => "same ring",
            Mutation::StampIgnoresMap => "clock behind",
            Mutation::ForgottenComesBack => "forgotten",
            Mutation::AnnouncedOnce => "own entry",
            Mutation::LostIncarnationUsed => "used incarnation",
            other => panic!("{other:?} is no bug of the map"),
        }
    }

    #[test]
    fn every_bug_of_the_map_is_found() {
        let mut missed = Vec::new();
        for mutation in Mutation::MAP {
            let wanted = story_of(*mutation);
            let (_, story) = STORIES.iter().find(|(name, _)| *name == wanted).expect("the story is told");
            let switched = switch(Some(*mutation));
            // An assertion that fails finds it as well.
            let is_right = std::panic::catch_unwind(story).unwrap_or(false);
            drop(switched);
            if is_right {
                missed.push(mutation.name());
            }
        }
        assert!(missed.is_empty(), "{missed:?}");
    }
}
