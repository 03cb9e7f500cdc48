//! A node's disk and stores that are nothing but maps: the honest reference that the protocol first runs against.
//!
//! Writes are grouped as in production: one write of the log in flight per core, everything that came meanwhile waits for the
//! next. A crash loses what waits and either keeps or loses the write in flight as a whole. A write that failed may be back
//! after a restart.
//!
//! Invariant: what is visible of a key is the merge of what the disk has and of every write under way (rule S2).

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use annulus_cluster::event::{Key, Now, StoreFailure};
use annulus_cluster::ids::{Home, NodeId, PartitionId, StoreToken};
use annulus_cluster::mutation::{Mutation, mutated};
use annulus_cluster::store::Versions;
use annulus_object::{Actor, Clock, Dot, HybridClock, Object};

use crate::clock::Instant;
use crate::node::{CoreStore, Disk, DiskCounts, Done, Opening, Troubles};
use crate::seeds::Random;

#[path = "../../../src/cluster/tests/support/trees.rs"]
mod trees;

mod lookup;

use trees::{PlainTrees, hashes_told_as};

/// Sorted by key first, so that all that a node has of a key lies together.
type Place = (u128, Home);

/// The least and the largest of all homes.
const FIRST_HOME: Home = Home::Owned(0);
const LAST_HOME: Home = Home::Hinted { partition: PartitionId::MAX, target: NodeId::new((1 << 48) - 1) };

/// How long a write of the log takes on a good disk, on average.
const APPEND_US: u64 = 150;
/// How long a read takes.
const READ_US: u64 = 80;

#[derive(Debug, Clone, Default)]
struct Kept {
    key: Vec<u8>,
    object: Object,
}

#[derive(Debug)]
struct State {
    objects: BTreeMap<Place, Kept>,
    /// Writes that failed, and yet are on the disk.
    ghosts: Vec<(Place, Kept)>,
    troubles: Troubles,
    counts: DiskCounts,
    random: Random,
}

impl State {
    fn keep(&mut self, place: Place, kept: Kept) {
        // Forgotten while it was under way.
        if kept.object.is_empty() {
            return;
        }
        let there = self.objects.entry(place).or_default();
        if mutated(Mutation::ReplaceInsteadOfMerge) {
            there.object = Object::default();
        }
        there.key = kept.key;
        there.object.merge(kept.object);
        if mutated(Mutation::TombstoneDropped) && is_deleted(&there.object) {
            self.objects.remove(&place);
        }
    }
}

fn is_deleted(object: &Object) -> bool {
    object.siblings().iter().all(|sibling| sibling.value.is_none())
}

/// A disk that holds objects.
#[derive(Debug)]
pub struct PlainDisk {
    partitions: u16,
    state: Rc<RefCell<State>>,
}

impl Disk for PlainDisk {
    type Core = PlainStore;
    // Maps do not.
    const ROTS: bool = false;

    fn new(partitions: u16, random: Random) -> Self {
        let state = State {
            objects: BTreeMap::new(),
            ghosts: Vec::new(),
            troubles: Troubles::NONE,
            counts: DiskCounts::default(),
            random,
        };
        Self { partitions, state: Rc::new(RefCell::new(state)) }
    }

    fn open(&mut self, opening: Opening) -> Vec<PlainStore> {
        let mut state = self.state.borrow_mut();
        if mutated(Mutation::HintLostAtRestart) {
            state.objects.retain(|place, _| matches!(place.1, Home::Owned(_)));
        }
        for (place, kept) in std::mem::take(&mut state.ghosts) {
            state.counts.ghosts += 1;
            state.keep(place, kept);
        }
        let highest = state.objects.values().map(|kept| kept.object.context().highest()).max();
        let clock = highest.unwrap_or(Clock::ZERO).max(opening.clock);
        let empty = |core| PlainStore {
            disk: Rc::clone(&self.state),
            core,
            partitions: self.partitions,
            cores: opening.cores,
            actor: Some(opening.actor),
            clock: HybridClock::new(clock),
            visible: BTreeMap::new(),
            // Nodes have trees of different sizes.
            trees: PlainTrees::new(
                [1, 6, 8][usize::from(opening.actor.node() % 3 == 1) + usize::from(opening.cores > 1)],
            ),
            hints: BTreeMap::new(),
            waiting: Vec::new(),
            writing: Vec::new(),
            written_at: 0,
            loads: VecDeque::new(),
            done: VecDeque::new(),
        };
        let mut cores: Vec<PlainStore> = (0..opening.cores).map(empty).collect();
        for (place, kept) in &state.objects {
            let core = core_of(place.1.partition(), self.partitions, opening.cores);
            cores[usize::from(core)].show(*place, kept.clone());
        }
        cores
    }

    fn crash(&mut self, cores: Vec<PlainStore>) {
        let mut state = self.state.borrow_mut();
        for core in cores {
            state.counts.lost_in_crash += core.waiting.len() as u64;
            // A frame is there as a whole or not at all.
            let survives = state.random.one_in(2);
            let counts = &mut state.counts;
            *(if survives { &mut counts.kept_in_crash } else { &mut counts.lost_in_crash }) +=
                core.writing.len() as u64;
            if survives {
                core.writing.into_iter().for_each(|write| state.keep(write.place, write.kept));
            }
        }
    }

    fn wipe(&mut self) {
        let mut state = self.state.borrow_mut();
        state.objects.clear();
        state.ghosts.clear();
    }

    fn set_troubles(&mut self, troubles: Troubles) {
        self.state.borrow_mut().troubles = troubles;
    }

    fn rot(&mut self) -> u64 {
        0
    }

    fn counts(&self) -> DiskCounts {
        self.state.borrow().counts
    }
}

/// Which core has one of so many partitions: each has a range of them.
#[must_use]
pub fn core_of(partition: PartitionId, partitions: u16, cores: u16) -> u16 {
    let core = u32::from(partition) * u32::from(cores) / u32::from(partitions);
    u16::try_from(core).expect("less than there are cores")
}

fn tell_versions(object: &Object, versions: &mut Versions) {
    let siblings = object.siblings().iter();
    versions.siblings.extend(siblings.map(|sibling| (sibling.dot, sibling.value.is_none())));
    versions.context.clone_from(object.context());
}

#[derive(Debug)]
struct Write {
    token: StoreToken,
    place: Place,
    kept: Kept,
}

#[derive(Debug)]
struct Reading {
    due: Instant,
    token: StoreToken,
    place: Place,
}

/// The store of one core.
#[derive(Debug)]
pub struct PlainStore {
    disk: Rc<RefCell<State>>,
    core: u16,
    partitions: u16,
    cores: u16,
    /// `None` until a new one is durable.
    actor: Option<Actor>,
    clock: HybridClock,
    visible: BTreeMap<Place, Kept>,
    trees: PlainTrees,
    hints: BTreeMap<(NodeId, u128), PartitionId>,
    waiting: Vec<Write>,
    writing: Vec<Write>,
    written_at: Instant,
    loads: VecDeque<Reading>,
    done: VecDeque<Done>,
}

impl PlainStore {
    fn show(&mut self, place: Place, kept: Kept) {
        if let Home::Hinted { partition, target } = place.1 {
            self.hints.insert((target, place.0), partition);
        }
        if !mutated(Mutation::StampIgnoresStored) {
            self.clock.observe(kept.object.context().highest());
        }
        let there = self.visible.entry(place).or_default();
        if mutated(Mutation::ReplaceInsteadOfMerge) {
            there.object = Object::default();
        }
        there.key = kept.key;
        there.object.merge(kept.object);
        self.follow(place);
    }

    /// The tree has of a key what is visible.
    fn follow(&mut self, (hash, home): Place) {
        if let Home::Owned(partition) = home {
            self.trees.set(partition, hash, self.visible.get(&(hash, home)).map(|kept| &kept.object));
        }
    }

    fn hide(&mut self, place: Place) {
        self.visible.remove(&place);
        self.follow(place);
        if let Home::Hinted { target, .. } = place.1 {
            self.hints.remove(&(target, place.0));
        }
    }

    /// After a failure: what the disk has, and what is still under way.
    fn look_again(&mut self, place: Place) {
        self.hide(place);
        let durable = self.disk.borrow().objects.get(&place).cloned();
        let open = self.waiting.iter().filter(|write| write.place == place).map(|write| write.kept.clone());
        let all: Vec<Kept> = durable.into_iter().chain(open).filter(|kept| !kept.object.is_empty()).collect();
        all.into_iter().for_each(|kept| self.show(place, kept));
    }

    /// The place of what may be known by a part of its hash only.
    fn find(&self, (hash, home): Place) -> Place {
        let hashes = hashes_told_as(hash);
        let mut found = self.visible.range((*hashes.start(), FIRST_HOME)..=(*hashes.end(), LAST_HOME));
        found.find(|(place, _)| place.1 == home).map_or((hash, home), |(place, _)| *place)
    }

    fn finish_write(&mut self) {
        let writes = std::mem::take(&mut self.writing);
        let mut state = self.disk.borrow_mut();
        let failed = std::mem::take(&mut state.troubles.fails_append);
        if !failed {
            for write in writes {
                if mutated(Mutation::TombstoneDropped) && is_deleted(&write.kept.object) {
                    self.visible.remove(&write.place);
                }
                state.keep(write.place, write.kept);
                self.done.push_back(Done::Stored { token: write.token, result: Ok(()) });
            }
            return;
        }
        state.counts.failed_appends += 1;
        let haunts = state.random.one_in(2);
        if haunts {
            state.ghosts.extend(writes.iter().map(|write| (write.place, write.kept.clone())));
        }
        drop(state);
        self.actor = None;
        for write in &writes {
            self.look_again(write.place);
            self.done.push_back(Done::Stored { token: write.token, result: Err(StoreFailure::Unknown) });
        }
        self.done.push_back(Done::NeedIncarnation);
    }

    fn finish_load(&mut self, place: Place, token: StoreToken) {
        let mut state = self.disk.borrow_mut();
        if state.troubles.fails_reads && state.random.one_in(4) {
            state.counts.failed_reads += 1;
            self.done.push_back(Done::Loaded { token, home: place.1, key: Vec::new(), object: None, hash: place.0 });
            return;
        }
        let mut object = Vec::new();
        let there = self.visible.get(&place);
        if let Some(kept) = there {
            kept.object.encode(&mut object);
        }
        let key = there.map(|kept| kept.key.clone()).unwrap_or_default();
        self.done.push_back(Done::Loaded { token, home: place.1, key, object: Some(object), hash: place.0 });
    }
}

impl CoreStore for PlainStore {
    fn start_store(&mut self, token: StoreToken, home: Home, key: &Key<'_>, object: &[u8], _now: Now) {
        let is_own = core_of(home.partition(), self.partitions, self.cores) == self.core;
        assert!(is_own || mutated(Mutation::AnyCoreStamps), "a core stores its own partitions");
        let mut state = self.disk.borrow_mut();
        if state.troubles.read_only {
            state.counts.refused += 1;
            drop(state);
            self.done.push_back(Done::Stored { token, result: Err(StoreFailure::Refused) });
            return;
        }
        drop(state);
        let object = Object::decode(object).expect("the protocol stores what it has encoded or checked");
        let kept = Kept { key: key.bytes.to_vec(), object };
        let place = (key.hash, home);
        self.waiting.push(Write { token, place, kept: kept.clone() });
        self.show(place, kept);
    }

    fn start_load(&mut self, token: StoreToken, home: Home, key: &Key<'_>, _now: Now) {
        // Its time comes with the end of the turn.
        let place = if key.bytes.is_empty() { self.find((key.hash, home)) } else { (key.hash, home) };
        self.loads.push_back(Reading { due: Instant::MAX, token, place });
    }

    fn forget(&mut self, home: Home, key: &Key<'_>, _dot: Dot) {
        let place = (key.hash, home);
        self.hide(place);
        self.disk.borrow_mut().objects.remove(&place);
        // What is under way would bring it back.
        for write in self.waiting.iter_mut().chain(&mut self.writing).filter(|write| write.place == place) {
            write.kept.object = Object::default();
        }
    }

    fn end_turn(&mut self, instant: Instant, _now: Now) {
        let mut state = self.disk.borrow_mut();
        let slowness = state.troubles.slowness;
        for load in self.loads.iter_mut().filter(|load| load.due == Instant::MAX) {
            load.due = instant + state.random.waiting(READ_US) * slowness;
        }
        if self.writing.is_empty() && !self.waiting.is_empty() {
            self.writing = std::mem::take(&mut self.waiting);
            self.written_at = instant + APPEND_US / 3 + state.random.waiting(APPEND_US) * slowness;
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let write = (!self.writing.is_empty()).then_some(self.written_at);
        let loads = self.loads.iter().map(|load| load.due);
        loads.chain(write).min()
    }

    fn advance(&mut self, instant: Instant, _now: Now) {
        if !self.writing.is_empty() && self.written_at <= instant {
            self.finish_write();
        }
        while let Some(index) = self.loads.iter().position(|load| load.due <= instant) {
            let load = self.loads.remove(index).expect("it was found there");
            self.finish_load(load.place, load.token);
        }
    }

    fn has_done(&self) -> bool {
        !self.done.is_empty()
    }

    fn next_done(&mut self) -> Option<Done> {
        self.done.pop_front()
    }

    fn adopt(&mut self, actor: Actor) {
        self.actor = Some(actor);
    }

    fn clock(&self) -> Clock {
        self.clock.last()
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.writing.is_empty() && self.loads.is_empty() && self.done.is_empty()
    }

    fn object(&mut self, home: Home, key: &Key<'_>) -> Option<Object> {
        self.visible.get(&(key.hash, home)).map(|kept| kept.object.clone())
    }

    fn root(&self, partition: u16) -> Option<u128> {
        Some(self.trees.root_at(partition, u64::MAX))
    }
}

#[cfg(test)]
mod tests;
