//! Which pair of owners is compared next: every pair of every partition once in an interval, evenly over it.
//!
//! Of two owners one begins, by their ids and the partition's number, so that each begins about as many. Both sides are repaired
//! by it. A round goes through all partitions with their first two owners, then with the first and the third, and so on: whoever
//! lacks something is compared with one owner well before the next, and seldom sent the same objects by both.
//!
//! Invariant: in a round every pair that this node begins comes up once.

use crate::ids::{NodeId, PartitionId};
use crate::turn::Turn;

/// Pairs that are looked at in one event.
const LOOKS_MAX: usize = 256;

/// Where the round is.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// Partitions below this have been looked at with these two owners of theirs.
    partition: u32,
    owners: (usize, usize),
    /// Some partition has one more owner.
    has_more_owners: bool,
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
            (self.round_us, self.next_us, self.owners) = (Some(first_us), first_us, (0, 1));
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

    /// The next partition, and the other one of two owners of which this node is one; `None` at the end.
    fn step(&mut self, turn: &Turn<'_>) -> Option<(PartitionId, NodeId)> {
        loop {
            let from = PartitionId::try_from(self.partition).ok();
            let Some(partition) = from.and_then(|from| turn.store.partition_from(from)) else {
                self.next_owners()?;
                continue;
            };
            self.partition = u32::from(partition) + 1;
            let owners = turn.routes.owners(partition);
            let (first, second) = self.owners;
            self.has_more_owners |= owners.len() > second + 1;
            match (owners.get(first), owners.get(second)) {
                (Some(first), Some(second)) if *first == turn.common.node => return Some((partition, *second)),
                (Some(first), Some(second)) if *second == turn.common.node => return Some((partition, *first)),
                _ => {}
            }
        }
    }

    /// All partitions again with another two of their owners; `None` where there are no others.
    fn next_owners(&mut self) -> Option<()> {
        let (first, second) = self.owners;
        self.partition = 0;
        if first + 1 < second {
            self.owners = (first + 1, second);
        } else {
            std::mem::take(&mut self.has_more_owners).then_some(())?;
            self.owners = (0, second + 1);
        }
        Some(())
    }

    fn end_round(&mut self, turn: &Turn<'_>) {
        let interval_us = turn.common.limits.exchange_interval_us;
        self.spacing_us = interval_us / self.pairs.max(1);
        let next_us = (self.round_us.unwrap_or_default() + interval_us).max(turn.now.steady_us);
        (self.round_us, self.next_us) = (Some(next_us), next_us);
        (self.partition, self.owners, self.has_more_owners, self.pairs) = (0, (0, 1), false, 0);
    }
}

/// Whether it is this node that begins the exchanges with another owner of a partition.
fn begins(turn: &Turn<'_>, partition: PartitionId, node: NodeId) -> bool {
    let own = turn.common.node;
    if partition.is_multiple_of(2) { own < node } else { own > node }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_two_of_the_owners_have_a_turn_of_their_own() {
        for owners in 2..6 {
            let mut schedule = Schedule { owners: (0, 1), ..Schedule::default() };
            let mut turns = vec![schedule.owners];
            loop {
                // What the partitions say that are passed meanwhile.
                schedule.has_more_owners |= owners > schedule.owners.1 + 1;
                if schedule.next_owners().is_none() {
                    break;
                }
                turns.push(schedule.owners);
            }
            let all = (1..owners).flat_map(|second| (0..second).map(move |first| (first, second)));
            assert_eq!(turns, all.collect::<Vec<_>>());
        }
    }
}
