//! What a run is asked to be.

use annulus_cluster::mutation::Mutation;

use crate::faults::{Kind, Kinds};
use crate::shape::Work;

/// Options of a run: with the seed, all that it depends on.
#[derive(Debug, Clone)]
pub struct Options {
    /// Kinds of faults that it may have.
    pub kinds: Kinds,
    /// What clients do.
    pub work: Work,
    /// Whether the story is kept.
    pub keeps_story: bool,
    /// A deliberate bug.
    pub mutation: Option<Mutation>,
}

impl Default for Options {
    fn default() -> Self {
        // Stores that are maps do not rot.
        Self { kinds: Kinds::ALL.without(Kind::Rot), work: Work::Mixed, keeps_story: false, mutation: None }
    }
}
