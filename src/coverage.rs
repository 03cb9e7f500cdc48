//! Which core of the cluster answers for a partition where one has to: for SCAN, KEYS, DBSIZE and RANDOMKEY, and as the primary
//! that cluster clients are told of.
//!
//! It is the first owner that answers; where none does, the first node that stands in. On the base port those commands cover
//! the cluster, on a core's port what that core answers for, so that clients which ask every endpoint can add up.
//!
//! SCAN goes through the partitions in the order of their numbers, whoever answers for them at the time: so a change of owners
//! on the way leaves no partition out. That makes neighbouring partitions jump from node to node; [`BaseScan`] follows them
//! for a while within one command.
//!
//! Invariant: one core answers for each partition, and every node with the same view names the same one.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use annulus_cluster::ids::{NodeId, PartitionId};
use annulus_cluster::membership::Announced;
use annulus_cluster::route::Routes;

use crate::cluster_view::{ClusterView, MemberView};
use crate::core_inbox::PeerCore;
use crate::limits;
use crate::mesh::CoreMap;

/// Low bits of a hash that a cursor does not carry, because the partition takes their place.
const DROPPED_BITS: u32 = 14;

/// What a node announces, if clients can be sent there: it has a port for every core, and no more cores than there are partitions.
pub fn reachable(member: &MemberView, partitions: u32) -> Option<&Announced> {
    let announced = member.announced.as_ref()?;
    let has_ports = announced.clients.port.checked_add(announced.cores).is_some();
    (has_ports && u32::from(announced.cores) <= partitions).then_some(announced)
}

/// The node that answers for a partition: see the module. This one always can, whatever the view says of it.
pub fn first_up(view: &ClusterView, partitions: u32, partition: PartitionId) -> NodeId {
    let routes = &view.routes;
    let is_reachable = |node: NodeId| view.member(node).is_some_and(|member| reachable(member, partitions).is_some());
    let answers = |node: &&NodeId| **node == view.own || (routes.is_up(**node) && is_reachable(**node));
    let mut candidates = routes.owners(partition).iter().chain(routes.fallbacks(partition));
    candidates.find(answers).copied().unwrap_or(view.own)
}

/// The core of that node; `map` is this node's.
pub fn first_up_core(view: &ClusterView, map: &CoreMap, partition: PartitionId) -> PeerCore {
    let node = first_up(view, map.partitions(), partition);
    let announced = view.member(node).filter(|_| node != view.own).and_then(|other| reachable(other, map.partitions()));
    let core = match announced {
        Some(announced) => CoreMap::core_among(partition, map.partitions(), announced.cores),
        None => map.core_of(partition),
    };
    PeerCore { node, core }
}

/// Who answers for every partition in one view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    of_partition: Box<[PeerCore]>,
    /// Each of them once, ascending.
    cores: Box<[PeerCore]>,
}

impl Coverage {
    /// In that view, of a node whose own cores have the partitions as `map` says.
    pub fn of(view: &ClusterView, map: &CoreMap) -> Self {
        let numbers =
            (0..map.partitions()).map(|partition| u16::try_from(partition).expect("at most 16384 partitions"));
        let of_partition: Box<[PeerCore]> = numbers.map(|partition| first_up_core(view, map, partition)).collect();
        let mut cores = of_partition.to_vec();
        cores.sort_unstable();
        cores.dedup();
        Self { of_partition, cores: cores.into() }
    }

    /// Who answers for a partition.
    pub fn core_of(&self, partition: PartitionId) -> PeerCore {
        self.of_partition[usize::from(partition)]
    }

    /// Whether it is that core: what of its keys a command has to leave out elsewhere.
    pub fn covers(&self, core: PeerCore, partition: PartitionId) -> bool {
        self.core_of(partition) == core
    }

    /// The partitions that a core answers for, ascending.
    pub fn partitions_of(&self, core: PeerCore) -> impl Iterator<Item = PartitionId> {
        (0..).zip(&self.of_partition).filter(move |(_, other)| **other == core).map(|(partition, _)| partition)
    }

    /// Every core that answers for something, ascending: who is asked by KEYS, DBSIZE and RANDOMKEY on the base port.
    pub fn cores(&self) -> &[PeerCore] {
        &self.cores
    }

    /// The first partition at or behind `from` that a core answers for: where a SCAN on that core's port goes on.
    pub fn next_of(&self, core: PeerCore, from: u32) -> Option<PartitionId> {
        let start = usize::try_from(from).expect("partitions are few").min(self.of_partition.len());
        let found = self.of_partition[start..].iter().position(|other| *other == core)?;
        Some(u16::try_from(start + found).expect("at most 16384 partitions"))
    }

    /// The first partition behind this one for which another core answers, or the number of partitions: how far one core can
    /// walk for a SCAN on the base port.
    pub fn run_end(&self, partition: PartitionId) -> u32 {
        let start = usize::from(partition);
        let run = self.of_partition[start..].iter().take_while(|core| **core == self.of_partition[start]).count();
        u32::try_from(start + run).expect("at most 16384 partitions")
    }

    /// Number of partitions.
    pub fn partitions(&self) -> u32 {
        u32::try_from(self.of_partition.len()).expect("at most 16384 partitions")
    }
}

/// What one core makes of who answers: its own part, and whom it asks for the rest.
#[derive(Debug, Clone)]
pub struct OwnCoverage {
    own: PeerCore,
    all: Arc<Coverage>,
}

impl OwnCoverage {
    /// Of the core with that number of the node whose view it is.
    pub fn of(view: &ClusterView, map: &CoreMap, core: u16) -> Self {
        Self { own: PeerCore { node: view.own, core }, all: Arc::new(Coverage::of(view, map)) }
    }

    /// The core whose part it is.
    pub fn own(&self) -> PeerCore {
        self.own
    }

    /// Who answers for everything.
    pub fn all(&self) -> &Arc<Coverage> {
        &self.all
    }

    /// Whether this core answers for a partition.
    pub fn covers(&self, partition: PartitionId) -> bool {
        self.all.covers(self.own, partition)
    }

    /// As [`Coverage::next_of`], of this core.
    pub fn next(&self, from: u32) -> Option<PartitionId> {
        self.all.next_of(self.own, from)
    }
}

/// Where a walk over all keys stands: what SCAN's cursor says. It names a partition of the cluster, not of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Below the number of partitions, or that number at the end.
    pub partition: u32,
    /// The first hash that is still to come; its lowest 14 bits are 0 in a cursor.
    pub hash: u64,
}

impl Position {
    /// What a client's cursor says; `None` where it names no partition.
    pub fn from_cursor(cursor: u64, partitions: u32) -> Option<Self> {
        let partition = u32::try_from(cursor >> (64 - DROPPED_BITS)).expect("14 bits");
        (partition < partitions).then_some(Self { partition, hash: cursor << DROPPED_BITS })
    }

    /// The cursor; 0 only at the very beginning, asserted to be of a partition that can be.
    pub fn cursor(self) -> u64 {
        assert!(self.partition < 1 << DROPPED_BITS, "the end is told as 0, not as a position");
        u64::from(self.partition) << (64 - DROPPED_BITS) | self.hash >> DROPPED_BITS
    }

    /// The partition's first.
    pub fn at(partition: u32) -> Self {
        Self { partition, hash: 0 }
    }
}

/// A hash without the bits that a cursor drops.
pub fn hash_floor(hash: u64) -> u64 {
    hash >> DROPPED_BITS << DROPPED_BITS
}

/// The first whole prefix at or above `hash`, but always one that is behind `from`; `None` past the last.
pub fn round_up(hash: u64, from: u64) -> Option<u64> {
    let floor = hash_floor(hash);
    let step = 1 << DROPPED_BITS;
    if floor > from { Some(floor) } else { from.checked_add(step) }
}

/// One SCAN on the base port: which core is asked next, and when the client is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseScan {
    position: Position,
    /// Keys that are still wanted.
    left: usize,
    /// Cores that may still be asked for this command.
    steps_left: u32,
}

/// What a SCAN on the base port does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanStep {
    /// This core is to walk from there on, at most to the end of what it answers for in a row, and looks at so many keys.
    Ask {
        /// Whom to ask.
        core: PeerCore,
        /// From where.
        from: Position,
        /// The first partition that is not its to walk any more.
        end: u32,
        /// Keys to look at.
        count: usize,
    },
    /// The client is answered with what was found, and this cursor.
    Done {
        /// 0 at the end.
        cursor: u64,
    },
}

impl BaseScan {
    /// A command that goes on at a position, and is to look at so many keys.
    pub fn new(position: Position, count: usize) -> Self {
        assert!(count > 0, "a SCAN looks at a key");
        Self { position, left: count, steps_left: limits::SCAN_STEPS_MAX }
    }

    /// What comes next. A client is answered early rather than late: when it has what it wanted, or when many cores were asked.
    pub fn next(&self, coverage: &Coverage) -> ScanStep {
        if self.position.partition >= coverage.partitions() {
            return ScanStep::Done { cursor: 0 };
        }
        if self.left == 0 || self.steps_left == 0 {
            return ScanStep::Done { cursor: self.position.cursor() };
        }
        let partition = u16::try_from(self.position.partition).expect("below the number of partitions");
        let (core, end) = (coverage.core_of(partition), coverage.run_end(partition));
        ScanStep::Ask { core, from: self.position, end, count: self.left.min(limits::SCAN_STEP_KEYS_MAX) }
    }

    /// The client is answered next: what was found is enough.
    pub fn stop(&mut self) {
        self.left = 0;
    }

    /// The core that was asked has come to a position, asserted not to be behind where it began, and has found so many keys.
    pub fn on_answer(&mut self, reached: Position, found: usize) {
        let is_further = (reached.partition, reached.hash) > (self.position.partition, self.position.hash);
        assert!(is_further, "every step moves on, or a chain of cursors has no end");
        self.position = reached;
        self.left = self.left.saturating_sub(found);
        self.steps_left -= 1;
    }
}
