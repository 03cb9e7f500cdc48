//! Who may stamp: an actor that may have forgotten what it stamped never stamps again (rules S1 and S4).
//!
//! A context holds one clock per actor, so a new stamp of an actor says that its writer has seen all that this actor stamped
//! for the key before. That is true as long as this node has not forgotten any of it: an own write that its store did not
//! keep, or a hint that it stamped as a fallback and has handed over. From then on the actor is retired, and a new
//! incarnation asked for; until the store stamps with it, nothing is stamped.
//!
//! Invariant: a dot that [`Stamping::stamp`] yields is of an actor that remembers all its dots of that partition.

use std::collections::BTreeMap;

use annulus_object::{Actor, Clock, Context, Dot};

use crate::effect::{Effect, Effects};
use crate::ids::{NodeId, PartitionId};
use crate::mutation::{Mutation, mutated};
use crate::store::Store;

/// Why there is no stamp: this node must not stamp now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotNow;

/// Which actors stamp no more.
#[derive(Debug)]
pub(crate) struct Stamping {
    node: NodeId,
    /// The newest actor that must not stamp again, and all before it.
    retired: Option<Actor>,
    /// Per partition: the newest actor of which a stamp was forgotten.
    forgot: BTreeMap<PartitionId, Actor>,
    /// An actor of earlier lives: it may have forgotten stamps that it made as a fallback.
    earlier: Option<Actor>,
    /// The last attempt failed.
    is_blocked: bool,
    needed: u64,
}

impl Stamping {
    /// `earlier`: the actor, if this life goes on with one of an earlier life.
    pub(crate) fn new(node: NodeId, earlier: Option<Actor>) -> Self {
        Self { node, retired: None, forgot: BTreeMap::new(), earlier, is_blocked: false, needed: 0 }
    }

    /// A new dot above `above`, if this node may stamp for the partition now.
    pub(crate) fn stamp(
        &mut self,
        store: &mut dyn Store,
        (unix_ms, above): (u64, Clock),
        (partition, is_owner): (PartitionId, bool),
        effects: &mut Effects,
    ) -> Result<Dot, NotNow> {
        let dot = store.stamp(unix_ms, above);
        self.is_blocked = true;
        let dot = dot.ok_or(NotNow)?;
        assert!(dot.actor.node() == self.node.raw(), "the store stamps as this node");
        assert!(dot.clock > above, "a stamp is above what it saw");
        if self.retired.is_some_and(|retired| dot.actor <= retired) {
            return Err(NotNow);
        }
        let forgot = self.forgot.get(&partition).copied();
        let earlier = self.earlier.filter(|_| !is_owner && !mutated(Mutation::FallbackKeepsActor));
        if forgot.max(earlier).is_some_and(|forgetful| dot.actor <= forgetful) {
            self.retire(dot.actor, effects);
            return Err(NotNow);
        }
        self.is_blocked = false;
        Ok(dot)
    }

    /// Whether a stamp could be had now. Costs nothing while all is well.
    pub(crate) fn is_possible(
        &mut self,
        store: &mut dyn Store,
        unix_ms: u64,
        partition: PartitionId,
        effects: &mut Effects,
    ) -> bool {
        !self.is_blocked || self.stamp(store, (unix_ms, Clock::ZERO), (partition, true), effects).is_ok()
    }

    /// This actor never stamps again: a write of its own may be lost here while others have it.
    pub(crate) fn retire(&mut self, actor: Actor, effects: &mut Effects) {
        if self.retired.is_none_or(|retired| retired < actor) {
            self.retired = Some(actor);
            self.is_blocked = true;
            self.needed += 1;
            effects.push(Effect::NeedIncarnation);
        }
    }

    /// A hint with this context is forgotten, and no other copy of it is here.
    pub(crate) fn forget(&mut self, partition: PartitionId, context: &Context) {
        if mutated(Mutation::FallbackKeepsActor) {
            return;
        }
        let own = context.entries().iter().filter(|(actor, _)| actor.node() == self.node.raw());
        if let Some(actor) = own.map(|(actor, _)| *actor).max() {
            let forgot = self.forgot.entry(partition).or_insert(actor);
            *forgot = actor.max(*forgot);
        }
    }

    /// How often a new incarnation was asked for.
    pub(crate) fn needed(&self) -> u64 {
        self.needed
    }
}

#[cfg(test)]
mod tests {
    use std::ops::{Range, RangeInclusive};

    use super::*;
    use crate::event::Key;
    use crate::ids::Home;
    use crate::store::{HintCursor, Targets, Versions};

    struct Stamps(Actor, u64);

    impl Store for Stamps {
        fn versions(&self, _: Home, _: &Key<'_>, versions: &mut Versions) {
            versions.clear();
        }
        fn hinted_for(&self, _: &Key<'_>, targets: &mut Targets) {
            targets.clear();
        }
        fn stamp(&mut self, _: u64, above: Clock) -> Option<Dot> {
            self.1 = self.1.max(above.raw()) + 1;
            Some(Dot::new(Clock::from_raw(self.1)?, self.0))
        }
        fn hints(&self, _: NodeId, _: HintCursor, _: usize, _: &mut dyn FnMut(PartitionId, u128, Dot)) {}
        fn hint_targets(&self, _: &mut dyn FnMut(NodeId)) {}
        fn hint_count(&self, _: NodeId) -> usize {
            0
        }
        fn partition_from(&self, _: PartitionId) -> Option<PartitionId> {
            None
        }
        fn open_epoch(&mut self, _: u64, _: u32) {}
        fn root_at(&self, _: PartitionId, _: u64) -> u128 {
            0
        }
        fn leaf_bits_at(&self, _: PartitionId, _: u64) -> u32 {
            0
        }
        fn sums_at(&self, _: PartitionId, _: u64, _: u32, _: Range<u32>, _: &mut Vec<u64>) {}
        fn visit_versions(
            &self,
            _: PartitionId,
            _: RangeInclusive<u64>,
            _: usize,
            _: &mut dyn FnMut(u128, &Versions),
        ) -> Option<u64> {
            None
        }
        fn is_stable(&self, _: &Key<'_>) -> bool {
            true
        }
        fn takes_writes(&self) -> bool {
            true
        }
    }

    fn actor(incarnation: u16) -> Actor {
        Actor::new(5, incarnation)
    }

    fn stamps(stamping: &mut Stamping, incarnation: u16, partition: PartitionId, is_owner: bool) -> (bool, usize) {
        let mut effects = Effects::default();
        let mut store = Stamps(actor(incarnation), 10);
        let result = stamping.stamp(&mut store, (0, Clock::ZERO), (partition, is_owner), &mut effects);
        assert_eq!(stamping.is_possible(&mut store, 0, partition, &mut effects), result.is_ok() || is_owner);
        (result.is_ok(), effects.list().len())
    }

    #[test]
    fn a_retired_actor_never_stamps_again_and_its_successor_does() {
        let mut stamping = Stamping::new(NodeId::new(5), None);
        assert_eq!(stamps(&mut stamping, 2, 7, true), (true, 0));
        let mut effects = Effects::default();
        stamping.retire(actor(2), &mut effects);
        stamping.retire(actor(2), &mut effects);
        assert_eq!(effects.list(), [Effect::NeedIncarnation], "asked for once");
        let mut store = Stamps(actor(2), 10);
        assert!(!stamping.is_possible(&mut store, 0, 7, &mut effects));
        assert_eq!(stamping.stamp(&mut store, (0, Clock::ZERO), (7, true), &mut effects), Err(NotNow));
        assert_eq!(stamps(&mut stamping, 3, 7, true), (true, 0));
    }

    #[test]
    fn a_fallback_that_forgot_a_stamp_needs_a_new_actor_for_that_partition() {
        let mut stamping = Stamping::new(NodeId::new(5), None);
        let mut context = Context::default();
        context.insert(Dot::new(Clock::from_raw(9).unwrap(), Actor::new(6, 1)));
        stamping.forget(7, &context);
        assert_eq!(stamps(&mut stamping, 2, 7, false), (true, 0), "nothing of its own");
        context.insert(Dot::new(Clock::from_raw(8).unwrap(), actor(2)));
        stamping.forget(7, &context);
        assert_eq!(stamps(&mut stamping, 2, 8, false), (true, 0), "another partition");
        let mut effects = Effects::default();
        let mut store = Stamps(actor(2), 10);
        assert_eq!(stamping.stamp(&mut store, (0, Clock::ZERO), (7, false), &mut effects), Err(NotNow));
        assert_eq!((effects.list(), stamping.needed()), (&[Effect::NeedIncarnation][..], 1));
        assert_eq!(stamps(&mut stamping, 3, 7, false), (true, 0));
    }

    #[test]
    fn an_actor_of_an_earlier_life_stamps_as_owner_only() {
        let mut stamping = Stamping::new(NodeId::new(5), Some(actor(2)));
        assert_eq!(stamps(&mut stamping, 2, 7, true), (true, 0));
        let mut effects = Effects::default();
        let mut store = Stamps(actor(2), 10);
        assert_eq!(stamping.stamp(&mut store, (0, Clock::ZERO), (7, false), &mut effects), Err(NotNow));
        assert_eq!(effects.list(), [Effect::NeedIncarnation]);
    }
}
