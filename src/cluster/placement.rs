//! Who shall own what: a pure function of the members and of two numbers, so that nodes with equal maps have equal rings and nobody
//! has to decide (Strategy 3 of the Dynamo paper: fixed equal partitions, placed apart from partitioning).
//!
//! Weighted rendezvous hashing: each node has a score for each partition, and a partition goes to the best ones; when a node comes
//! or goes, little else changes. Two rules bend that:
//!
//! * The copies of a partition are in distinct zones; where there are fewer zones than copies, the zones take turns.
//! * No node holds more than 1.05 of its fair share. Partitions are seated in order, and a node that is full is passed over.
//!
//! It knows weights, zones and ids; not who answers, not what anybody holds, not how full a disk is. Whatever shall change the ring
//! has to change the map.
//!
//! Invariants: integers only; the order of the input does not matter; a partition has each node once at most; caps and zones are
//! always kept, because shares are cut so that they can be.

mod logarithm;
mod score;
mod seating;
mod share;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::ids::{NodeId, PartitionId};
use crate::membership::{Weight, Zone};
use score::Score;
use seating::Seating;
use share::Share;

/// The most partitions that a key space can have: one per slot.
pub const PARTITIONS_MAX: u16 = 16_384;
/// How many nodes are kept by rank for each partition, at most: owners first. Who needs more asks [`Placement::ranked`].
pub const RANKED_MAX: usize = 64;

/// A node that owns partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// Who.
    pub node: NodeId,
    /// How much of the data.
    pub weight: Weight,
    /// Where.
    pub zone: Zone,
}

/// What a node holds of all copies, and what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Thousandths of a copy that would be fair: by weight, as far as zones and distinct nodes allow.
    pub share_per_mille: u64,
    /// The most copies that it takes.
    pub cap: u32,
    /// Copies of partitions.
    pub copies: u32,
    /// Partitions of which it is the first owner.
    pub first: u32,
}

/// Owners and ranking of every partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    members: Vec<Member>,
    partitions: u16,
    copies: usize,
    /// Entries of a partition in the table.
    row: usize,
    /// Places of members: the owners of a partition by score, then others by score.
    table: Vec<u16>,
    loads: Vec<Load>,
}

/// A score and whose it is. Equal scores are told apart by the id, in whose order members are numbered.
type Scored = Reverse<(u64, u16)>;

/// Places `partitions` (a power of two, at most [`PARTITIONS_MAX`]) with `copies` each, or as many as there are members.
#[must_use]
pub fn place(members: &[Member], partitions: u16, copies: u8) -> Placement {
    assert!(partitions.is_power_of_two() && partitions <= PARTITIONS_MAX, "{partitions} partitions");
    assert!(copies > 0, "who wants no copy has no ring");
    let mut members = members.to_vec();
    members.sort_unstable();
    assert!(members.len() < usize::from(u16::MAX), "places of members fit 16 bits");
    assert!(members.is_sorted_by(|a, b| a.node < b.node), "a node is a member once");
    let copies = usize::from(copies).min(members.len());
    let row = members.len().min(RANKED_MAX.max(copies));
    let table = Vec::with_capacity(row * usize::from(partitions));
    let mut placement = Placement { members, partitions, copies, row, table, loads: Vec::new() };
    if copies > 0 {
        placement.seat_all();
    }
    placement
}

impl Placement {
    /// Those among whom partitions are placed, by id.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How many partitions there are.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.partitions
    }

    /// Owners of each partition: fewer than wanted where there are fewer members.
    #[must_use]
    pub fn copies(&self) -> usize {
        self.copies
    }

    /// The owners of a partition, best score first, as places in [`Placement::members`].
    #[must_use]
    pub fn owners(&self, partition: PartitionId) -> &[u16] {
        &self.stored(partition)[..self.copies]
    }

    /// The owners, and behind them the best of the others by score: all, or [`RANKED_MAX`].
    #[must_use]
    pub fn stored(&self, partition: PartitionId) -> &[u16] {
        assert!(partition < self.partitions, "partition {partition} of {}", self.partitions);
        let start = usize::from(partition) * self.row;
        &self.table[start..start + self.row]
    }

    /// Of each member, in their order.
    #[must_use]
    pub fn loads(&self) -> &[Load] {
        &self.loads
    }

    /// The owners, and behind them all others by score. Takes a score and a comparison or two per member.
    pub fn ranked(&self, partition: PartitionId, ranked: &mut Vec<u16>) {
        let owners = self.owners(partition);
        let mut scored: Vec<(u64, u16)> =
            (0..).zip(&self.members).map(|(at, m)| (self.score(m, partition), at)).collect();
        scored.sort_unstable();
        ranked.clear();
        ranked.extend(owners);
        ranked.extend(scored.iter().map(|(_, at)| *at).filter(|at| !owners.contains(at)));
    }

    fn score(&self, member: &Member, partition: PartitionId) -> u64 {
        Score::new(member.node, member.weight.get(), self.partitions).of(partition)
    }

    fn seat_all(&mut self) {
        let (partitions, copies) = (u32::from(self.partitions), u32::try_from(self.copies).expect("it was a byte"));
        let (zone_of, counts) = self.zones();
        let nodes: Vec<(u16, u16)> = self.members.iter().map(|m| m.weight.get()).zip(zone_of.iter().copied()).collect();
        let spreads = share::spreads(&counts, copies);
        let shares = share::shares(&nodes, &spreads, partitions, copies);
        let caps: Vec<u32> = shares.iter().map(|share| share.cap(partitions)).collect();
        let scores: Vec<Score> =
            self.members.iter().map(|m| Score::new(m.node, m.weight.get(), self.partitions)).collect();
        let mut seating = Seating::new(zone_of, &spreads, &caps, copies);
        let mut heap: BinaryHeap<Scored> = BinaryHeap::new();
        for partition in 0..self.partitions {
            let mut list = heap.into_vec();
            list.clear();
            list.extend((0..).zip(&scores).map(|(at, score)| Reverse((score.of(partition), at))));
            heap = BinaryHeap::from(list);
            seating.begin(partitions - u32::from(partition));
            self.seat_one(&mut seating, &mut heap);
        }
        let load =
            |(cap, share): (&u32, &Share)| Load { share_per_mille: share.per_mille(), cap: *cap, copies: 0, first: 0 };
        self.loads = caps.iter().zip(&shares).map(load).collect();
        for row in self.table.chunks_exact(self.row) {
            self.loads[usize::from(row[0])].first += 1;
            row[..self.copies].iter().for_each(|owner| self.loads[usize::from(*owner)].copies += 1);
        }
    }

    /// Fills one row: those that are seated, then others, both by score.
    fn seat_one(&mut self, seating: &mut Seating, heap: &mut BinaryHeap<Scored>) {
        let mut passed: Vec<u16> = Vec::new();
        while !seating.is_complete() {
            let Reverse((_, node)) = heap.pop().expect("what is still to come can be seated");
            if seating.take(node) {
                self.table.push(node);
            } else {
                passed.push(node);
            }
        }
        while self.copies + passed.len() < self.row {
            let Reverse((_, node)) = heap.pop().expect("every member has a score");
            passed.push(node);
        }
        passed.truncate(self.row - self.copies);
        self.table.append(&mut passed);
    }

    /// Number of the zone by member, and number of members by zone.
    fn zones(&self) -> (Vec<u16>, Vec<u32>) {
        let mut zones: Vec<Zone> = self.members.iter().map(|member| member.zone).collect();
        zones.sort_unstable();
        zones.dedup();
        let number = |member: &Member| zones.binary_search(&member.zone).expect("it is of these zones");
        let mut counts = vec![0; zones.len()];
        self.members.iter().for_each(|member| counts[number(member)] += 1);
        let number = |member| u16::try_from(number(member)).expect("not more zones than members");
        (self.members.iter().map(number).collect(), counts)
    }
}
