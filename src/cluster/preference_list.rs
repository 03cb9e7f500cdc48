//! Who takes part in a request for a partition: its owners that answer (primaries), and for each that does not a node that stands in
//! (a fallback, which keeps a hint for it).
//!
//! Fallbacks are the next nodes by score. Those in a zone that no other node of the list is in come first, so that a split does not
//! put two counted copies into one zone as long as there is another.
//!
//! It is not the tally: it neither sends nor counts. Who answers, and who takes writes, is told by a predicate.
//!
//! Invariant: a node is on the list once, from when it is filled until it is filled anew, even if it was replaced: W counts
//! machines.

#[cfg(test)]
mod tests;

use smallvec::SmallVec;

use crate::ids::{NodeId, PartitionId};
use crate::membership::Zone;
use crate::ring::Ring;

/// A node of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub node: NodeId,
    /// The owner for which it stands in; `None` for an owner.
    pub target: Option<NodeId>,
    /// Another node took its place.
    pub replaced: bool,
    zone: Zone,
}

impl Candidate {
    /// Whether it is an owner.
    #[must_use]
    pub fn is_primary(&self) -> bool {
        self.target.is_none()
    }
}

/// The nodes for one request. Made once and filled again for each: it keeps its memory.
#[derive(Debug, Default)]
pub struct PreferenceList {
    candidates: SmallVec<[Candidate; 8]>,
    /// Owners without anybody who stands in.
    vacant: SmallVec<[NodeId; 4]>,
    ranked: Vec<u16>,
}

impl PreferenceList {
    /// Fills the list for a partition: primaries first, by score; then fallbacks, in the order of the owners they stand in for.
    pub fn fill(&mut self, ring: &Ring, partition: PartitionId, is_up: impl Fn(NodeId) -> bool) {
        self.candidates.clear();
        self.vacant.clear();
        for place in ring.placement().owners(partition) {
            let member = ring.member(*place);
            if is_up(member.node) {
                let primary = Candidate { node: member.node, target: None, replaced: false, zone: member.zone };
                self.candidates.push(primary);
            } else {
                self.vacant.push(member.node);
            }
        }
        let targets = std::mem::take(&mut self.vacant);
        for target in targets {
            if self.stand_in(ring, partition, target, &is_up).is_none() {
                self.vacant.push(target);
            }
        }
    }

    /// Everybody on the list, those included that were replaced.
    #[must_use]
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Owners that do not answer and for which nobody stands in: all others are down, or on the list.
    #[must_use]
    pub fn vacant(&self) -> &[NodeId] {
        &self.vacant
    }

    /// A node of the list does not answer after all: the next fallback takes its place, for the same owner. `None` if there is no
    /// other, or if it was replaced before.
    pub fn replace(
        &mut self,
        ring: &Ring,
        partition: PartitionId,
        node: NodeId,
        is_up: impl Fn(NodeId) -> bool,
    ) -> Option<Candidate> {
        let failed = self.candidates.iter_mut().find(|candidate| candidate.node == node && !candidate.replaced)?;
        failed.replaced = true;
        let target = failed.target.unwrap_or(node);
        let fallback = self.stand_in(ring, partition, target, &is_up);
        if fallback.is_none() {
            self.vacant.push(target);
        }
        fallback
    }

    fn stand_in(
        &mut self,
        ring: &Ring,
        partition: PartitionId,
        target: NodeId,
        is_up: &impl Fn(NodeId) -> bool,
    ) -> Option<Candidate> {
        let copies = ring.copies();
        let mut place = self.next(ring, &ring.placement().stored(partition)[copies..], is_up);
        if place.is_none() && ring.placement().stored(partition).len() < ring.placement().members().len() {
            // Rare: all of the best are down or taken. The rest is not kept, but can be ranked.
            let mut ranked = std::mem::take(&mut self.ranked);
            ring.placement().ranked(partition, &mut ranked);
            place = self.next(ring, &ranked[copies..], is_up);
            self.ranked = ranked;
        }
        let member = ring.member(place?);
        let fallback = Candidate { node: member.node, target: Some(target), replaced: false, zone: member.zone };
        self.candidates.push(fallback);
        Some(fallback)
    }

    /// The first of `places` that is up and not on the list, in a zone of its own if there is one.
    fn next(&self, ring: &Ring, places: &[u16], is_up: &impl Fn(NodeId) -> bool) -> Option<u16> {
        let is_free = |place: &u16| {
            let node = ring.member(*place).node;
            self.candidates.iter().all(|candidate| candidate.node != node) && is_up(node)
        };
        let is_zone_free = |place: &u16| {
            let zone = ring.member(*place).zone;
            self.candidates.iter().all(|candidate| candidate.replaced || candidate.zone != zone)
        };
        let mut second = None;
        for place in places.iter().filter(|place| is_free(place)) {
            if is_zone_free(place) {
                return Some(*place);
            }
            second = second.or(Some(*place));
        }
        second
    }
}
