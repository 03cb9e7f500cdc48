//! Mends what a read found stale: owners that lack something get the merged object, as a write that nobody waits for.
//!
//! It is a help on the way, not a duty: above its rate, owners stay as they are and anti-entropy finds them. Fallbacks are
//! never repaired; what they have is a hint for somebody.
//!
//! Invariant: a repair carries the merge of objects that nodes really had, never single versions (rule S3).

use annulus_object::ObjectView;

use crate::event::Now;
use crate::ids::NodeId;
use crate::message::Message;
use crate::mutation::{Mutation, mutated};
use crate::slab::NOBODY;
use crate::turn::Turn;
use crate::{event::Key, ids::Home, ids::RequestId};

/// So many a second, and at most so many at once.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: u64,
    /// Millionths of a permit.
    saved: u64,
    last_us: u64,
}

const PERMIT: u64 = 1_000_000;

impl Rate {
    /// Begins with a second's worth.
    pub(crate) fn new(per_second: u32) -> Self {
        let per_second = u64::from(per_second);
        Self { per_second, saved: per_second * PERMIT, last_us: 0 }
    }

    /// Whether there is one more now.
    pub(crate) fn take(&mut self, now: Now) -> bool {
        let passed_us = now.steady_us.saturating_sub(self.last_us).min(PERMIT);
        self.last_us = self.last_us.max(now.steady_us);
        self.saved = (self.saved + passed_us * self.per_second).min(self.per_second * PERMIT);
        let has_one = self.saved >= PERMIT;
        if has_one {
            self.saved -= PERMIT;
        }
        has_one
    }
}

/// Sends the object to owners that lack some of it, this node among them.
pub(crate) fn repair(turn: &mut Turn<'_>, key: &Key<'_>, object: &[u8], stale: impl Iterator<Item = NodeId>) {
    let is_tombstone = || ObjectView::check(object).is_ok_and(|view| view.siblings().all(|one| one.value.is_none()));
    if mutated(Mutation::RepairSkipped) || (mutated(Mutation::RepairSkipsTombstones) && is_tombstone()) {
        return;
    }
    let mut message = None;
    for node in stale {
        if !turn.common.repairs.take(turn.now) {
            turn.common.counters.read_repairs_skipped += 1;
            continue;
        }
        turn.common.counters.read_repairs += 1;
        if node == turn.common.node {
            let key_span = turn.effects.write(|out| out.extend_from_slice(key.bytes));
            let object_span = turn.effects.write(|out| out.extend_from_slice(object));
            turn.store_object(NOBODY, Home::Owned(key.partition), key.hash, (key_span, object_span));
            continue;
        }
        let message = message.get_or_insert_with(|| {
            let repair = Message::Repair { hash: key.hash, key: key.bytes, object };
            turn.write_message(key.partition, RequestId(0), &repair)
        });
        turn.send(node, key.partition, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_gives_so_many_a_second_and_saves_no_more() {
        let mut rate = Rate::new(10);
        let at = |steady_us| Now { unix_ms: 0, steady_us };
        let taken = |rate: &mut Rate, now| (0..100).filter(|_| rate.take(now)).count();
        assert_eq!(taken(&mut rate, at(5_000_000)), 10);
        assert_eq!(taken(&mut rate, at(5_100_000)), 1);
        assert_eq!(taken(&mut rate, at(5_150_000)), 0);
        assert_eq!(taken(&mut rate, at(5_200_000)), 1);
        assert_eq!(taken(&mut rate, at(60_000_000)), 10);
        assert_eq!(taken(&mut rate, at(1_000_000)), 0, "a clock that goes back gives nothing");
    }
}
