//! What a run is asked to be.

use annulus_cluster::mutation::Mutation;

use crate::faults::{Kind, Kinds};
use crate::shape::Work;

/// What nodes keep their objects in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// Maps: fast, and the reference.
    Plain,
    /// The production engine, on a disk in memory.
    Engine,
}

impl StoreKind {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            StoreKind::Plain => "plain",
            StoreKind::Engine => "engine",
        }
    }
}

/// Where the seed decides, one run in so many is over the engine.
const ENGINE_ONE_IN: u64 = 2;

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
    /// What the nodes keep their objects in; `None`: as the seed says.
    pub store: Option<StoreKind>,
}

impl Options {
    /// The kinds of faults of a run on disks that rot, or do not.
    #[must_use]
    pub fn kinds_on(&self, rots: bool) -> Kinds {
        if rots { self.kinds } else { self.kinds.without(Kind::Rot) }
    }

    /// What the nodes of a seed keep their objects in. Deliberate bugs are the protocol's, or the plain store's.
    #[must_use]
    pub fn store_of(&self, seed: u64) -> StoreKind {
        let is_real = self.mutation.is_none() && seed.is_multiple_of(ENGINE_ONE_IN);
        let chosen = if is_real { StoreKind::Engine } else { StoreKind::Plain };
        self.store.unwrap_or(chosen)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { kinds: Kinds::ALL, work: Work::Mixed, keeps_story: false, mutation: None, store: None }
    }
}
