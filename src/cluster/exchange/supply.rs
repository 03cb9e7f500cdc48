//! Objects on their way to owners that lack some of them: read, and sent as repairs.
//!
//! Invariant: a repair carries a whole object that this node has (rule S3); no more wait than the limit says.

use std::collections::VecDeque;

use annulus_object::{Context, ObjectView, encode_object};

use super::budget::Budget;
use crate::event::Key;
use crate::ids::{Home, NodeId, PartitionId};
use crate::limits::Limits;
use crate::message::Message;
use crate::mutation::{Mutation, mutated};
use crate::slab::{Handle, Kind, Slab};
use crate::turn::Turn;

/// Reads of objects under way at a time.
const LOADS_MAX: usize = 16;

/// An object that a node lacks some of; known by the part of its key's hash that stores tell.
#[derive(Debug, Clone, Copy)]
struct Lacking {
    node: NodeId,
    partition: PartitionId,
    hash: u128,
}

/// Everything that waits to be sent.
pub(super) struct Supply {
    waiting: VecDeque<Lacking>,
    loads: Slab<Option<Lacking>>,
    budget: Budget,
}

impl Supply {
    pub(super) fn new(limits: &Limits) -> Self {
        let budget = Budget::new(limits.exchange_objects_per_second);
        Self { waiting: VecDeque::new(), loads: Slab::new(Kind::Supply, LOADS_MAX), budget }
    }

    /// Whether so many more may wait.
    pub(super) fn has_room(&self, limits: &Limits, count: usize) -> bool {
        self.waiting.len() + count <= limits.exchange_objects_waiting_max
    }

    /// Whether nothing waits and nothing is read.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.loads.len() == 0
    }

    /// A node lacks some of these objects.
    pub(super) fn add(
        &mut self,
        turn: &mut Turn<'_>,
        (node, partition): (NodeId, PartitionId),
        hashes: impl Iterator<Item = u128>,
    ) {
        for hash in hashes {
            if self.has_room(&turn.common.limits, 1) {
                self.waiting.push_back(Lacking { node, partition, hash });
            } else {
                turn.common.counters.exchange_objects_skipped += 1;
            }
        }
        self.go_on(turn);
    }

    /// Reads what may be read now.
    pub(super) fn go_on(&mut self, turn: &mut Turn<'_>) {
        while !self.waiting.is_empty() && self.budget.has_any(turn.now) {
            let Some(handle) = self.loads.claim() else { return };
            let lacking = self.waiting.pop_front().expect("one waits");
            *self.loads.get(handle).expect("claimed just now") = Some(lacking);
            self.budget.spend(1);
            let (partition, hash) = (lacking.partition, lacking.hash);
            turn.load(handle.token(0), Home::Owned(partition), &Key { bytes: &[], partition, hash });
        }
    }

    /// An object was read, and is sent.
    pub(super) fn on_loaded(
        &mut self,
        turn: &mut Turn<'_>,
        handle: Handle,
        (key, hash): (&[u8], u128),
        object: Option<&[u8]>,
    ) {
        let Some(Some(lacking)) = self.loads.get(handle).copied() else { return };
        self.loads.release(handle);
        match object {
            // Reaped meanwhile.
            Some([]) => {}
            Some(object) if is_left_out(object) => {}
            Some(object) => {
                let single = mutated(Mutation::ExchangeSendsSingleVersions).then(|| latest_alone(object));
                let object = single.as_deref().unwrap_or(object);
                let repair = Message::Repair { hash, key, object };
                let message = turn.write_message(lacking.partition, handle.request(), &repair);
                turn.send(lacking.node, lacking.partition, &message);
                turn.common.counters.exchange_objects_sent += 1;
                turn.note_pair((lacking.partition, lacking.node), |fact| {
                    fact.objects_sent += 1;
                    fact.bytes_sent += (key.len() + object.len()) as u64;
                });
            }
            None => turn.common.counters.exchange_objects_skipped += 1,
        }
        self.go_on(turn);
    }

    /// A node will not answer.
    pub(super) fn on_unreachable(&mut self, node: NodeId) {
        self.waiting.retain(|lacking| lacking.node != node);
    }
}

/// A deliberate bug: deletes are not sent.
fn is_left_out(object: &[u8]) -> bool {
    mutated(Mutation::ExchangeSkipsTombstones)
        && ObjectView::check(object).is_ok_and(|view| view.siblings().all(|sibling| sibling.value.is_none()))
}

/// A deliberate bug: the latest version, without what stands beside it and what was seen.
fn latest_alone(object: &[u8]) -> Vec<u8> {
    let view = ObjectView::check(object).expect("the store gives objects");
    let latest = view.latest();
    let mut context = Context::default();
    latest.iter().for_each(|sibling| context.insert(sibling.dot));
    let mut out = Vec::new();
    encode_object(&context, latest, &mut out);
    out
}
