//! What this node has of a key, wherever it keeps it: as an owner, and as hints for others.
//!
//! Stamps, reads and replies look at all of it: a fallback that ignored its own hints would issue a dot whose actor seems to
//! have seen what only the hints hold (rule S4), and an owner may still have hints from before it became one.
//!
//! Invariant: `homes` hold among them every sibling of `versions`.

use smallvec::SmallVec;

use crate::event::Key;
use crate::ids::Home;
use crate::mutation::{Mutation, mutated};
use crate::store::{Store, Targets, Versions};

/// What was found; reused from key to key.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Of all homes together.
    pub(crate) versions: Versions,
    /// Where the objects are that have these versions.
    pub(crate) homes: SmallVec<[Home; 2]>,
    one: Versions,
    targets: Targets,
}

impl Held {
    /// Looks a key up.
    pub(crate) fn look_up(&mut self, store: &dyn Store, key: &Key<'_>) {
        self.homes.clear();
        let owned = Home::Owned(key.partition);
        store.versions(owned, key, &mut self.versions);
        if !self.versions.is_empty() {
            self.homes.push(owned);
        }
        store.hinted_for(key, &mut self.targets);
        if mutated(Mutation::FallbackIgnoresOwnHints) {
            self.targets.clear();
        }
        for &target in &self.targets {
            let home = Home::Hinted { partition: key.partition, target };
            store.versions(home, key, &mut self.one);
            if !self.versions.includes(&self.one) {
                self.versions.merge(&self.one);
                self.homes.push(home);
            }
        }
    }
}
