//! Which pair of owners is compared next: every pair of every partition once in an interval, evenly over it.
//!
//! Of two owners one begins, by their ids and the partition's number, so that each begins about as many. Both sides are repaired
//! by it.
//!
//! Invariant: in a round every pair that this node begins comes up once.

use crate::ids::{NodeId, PartitionId};
use crate::replica::is_owner;
use crate::turn::Turn;

/// Pairs that are looked at in one event.
const LOOKS_MAX: usize = 256;

/// Where the round is.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    partition: PartitionId,
    owner: usize,
    /// Of this round so far.
    pairs: u64,
    /// `None` before the first.
    round_us: Option<u64>,
    next_us: u64,
    spacing_us: u64,
}

impl Schedule {
    /// A pair whose turn has come, with a node that answers.
    pub(super) fn next(&mut self, turn: &Turn<'_>) -> Option<(PartitionId, NodeId)> {
        if self.round_us.is_none() {
            // Cuts lag: before this nothing can be said about what was written since the start.
            let limits = &turn.common.limits;
            let lag_us = 1000 << (limits.exchange_epoch_bits + 2);
            let first_us = turn.now.steady_us + limits.exchange_interval_us.min(lag_us);
            (self.round_us, self.next_us) = (Some(first_us), first_us);
        }
        for _ in 0..LOOKS_MAX {
            if turn.now.steady_us < self.next_us {
                return None;
            }
            let Some(pair) = self.step(turn) else {
                self.end_round(turn);
                return None;
            };
            let (partition, node) = pair;
            if begins(turn, partition, node) {
                self.pairs += 1;
                self.next_us += self.spacing_us;
                if turn.is_usable(node) {
                    return Some(pair);
                }
            }
        }
        None
    }

    /// The next partition and owner, whoever that is; `None` at the end.
    fn step(&mut self, turn: &Turn<'_>) -> Option<(PartitionId, NodeId)> {
        loop {
            let partition = turn.store.partition_from(self.partition)?;
            if partition != self.partition {
                (self.partition, self.owner) = (partition, 0);
            }
            if let Some(owner) = turn.routes.owners(partition).get(self.owner) {
                self.owner += 1;
                return Some((partition, *owner));
            }
            (self.partition, self.owner) = (partition.checked_add(1)?, 0);
        }
    }

    fn end_round(&mut self, turn: &Turn<'_>) {
        let interval_us = turn.common.limits.exchange_interval_us;
        self.spacing_us = interval_us / self.pairs.max(1);
        let next_us = (self.round_us.unwrap_or_default() + interval_us).max(turn.now.steady_us);
        (self.round_us, self.next_us) = (Some(next_us), next_us);
        (self.partition, self.owner, self.pairs) = (0, 0, 0);
    }
}

/// Whether it is this node that begins the exchanges with another owner of a partition.
fn begins(turn: &Turn<'_>, partition: PartitionId, node: NodeId) -> bool {
    let own = turn.common.node;
    let first = if partition.is_multiple_of(2) { own < node } else { own > node };
    node != own && first && is_owner(turn, partition)
}
