//! Owners that are known to lack a write of which nobody keeps a hint: they are compared before all others.
//!
//! A pair is due once its write can be seen at the cut, which lags. It is forgotten when an exchange with it has come to an end;
//! one that fails brings it back. Beyond the limit, and where this node is no owner itself, the regular exchanges find what is
//! missing.
//!
//! Invariant: no pair is there twice.

use super::CUT_LAG;
use crate::event::Now;
use crate::ids::{NodeId, PartitionId};
use crate::limits::Limits;
use crate::mutation::{Mutation, mutated};

#[derive(Debug, Clone, Copy)]
struct Pair {
    partition: PartitionId,
    node: NodeId,
    /// From then on the write can be seen at the cut; on the steady clock, since the wall clock may be set back.
    not_before_us: u64,
}

/// The pairs, the longest known first.
#[derive(Debug, Default)]
pub(crate) struct DirtyPairs {
    pairs: Vec<Pair>,
}

impl DirtyPairs {
    /// A write that is stamped by now is not on that owner; false where there are too many already.
    pub(crate) fn note(&mut self, limits: &Limits, now: Now, (partition, node): (PartitionId, NodeId)) -> bool {
        if mutated(Mutation::DirtyForgotten) {
            return true;
        }
        // A stamp may be a little ahead of the clock.
        let not_before_us = now.steady_us + ((CUT_LAG + 1) << limits.exchange_epoch_bits) * 1000;
        self.add(limits, Pair { partition, node, not_before_us })
    }

    /// An exchange with it has failed.
    pub(super) fn bring_back(&mut self, limits: &Limits, now: Now, (partition, node): (PartitionId, NodeId)) -> bool {
        let not_before_us = now.steady_us + limits.exchange_timeout_us;
        self.add(limits, Pair { partition, node, not_before_us })
    }

    fn add(&mut self, limits: &Limits, new: Pair) -> bool {
        let pair = self.pairs.iter_mut().find(|pair| (pair.partition, pair.node) == (new.partition, new.node));
        if let Some(pair) = pair {
            pair.not_before_us = pair.not_before_us.max(new.not_before_us);
            return true;
        }
        let has_room = self.pairs.len() < limits.dirty_pairs_max;
        if has_room {
            self.pairs.push(new);
        }
        has_room
    }

    /// Takes the first pair that is due and that `may_begin`; forgets those that are not `worth` it.
    pub(super) fn take(
        &mut self,
        now: Now,
        worth: impl Fn(PartitionId, NodeId) -> bool,
        may_begin: impl Fn((PartitionId, NodeId)) -> bool,
    ) -> Option<(PartitionId, NodeId)> {
        self.pairs.retain(|pair| worth(pair.partition, pair.node));
        let is_due = |pair: &Pair| now.steady_us >= pair.not_before_us;
        let index = self.pairs.iter().position(|pair| is_due(pair) && may_begin((pair.partition, pair.node)))?;
        let pair = self.pairs.remove(index);
        Some((pair.partition, pair.node))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.pairs.len()
    }
}
