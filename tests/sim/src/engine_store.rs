//! The production engine as a core's store, through the same adapter as in production, on a disk in memory with virtual time.
//!
//! Every operation of the disk takes its time, and so does every step of the engine's background work, whose steps, log writes
//! and reads of several cores interleave. A crash keeps what has ended, tears what was in flight, and drops what was not
//! synced as it likes; see [`annulus_engine::disk::memory`].
//!
//! Invariant: what ends when, and how, is a function of the disk's stream of chance.

mod disk;
mod sizes;

pub use disk::EngineDisk;

use std::cell::RefCell;
use std::future::Future;
use std::ops::{Range, RangeInclusive};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use annulus::replica_store::{Ended, LoadedBytes, ReplicaStore};
use annulus_cluster::event::{Key, Now};
use annulus_cluster::ids::{Home, NodeId, PartitionId, StoreToken};
use annulus_cluster::store::{HintCursor, Store, Targets, Versions};
use annulus_engine::disk::memory::MemoryDisk;
use annulus_engine::{Event, ObjectFound, OperationId, ReadPlan, Record, WorkDone};
use annulus_object::{Actor, Clock, Dot, Object, ObjectView};

use crate::clock::{Instant, MILLISECOND};
use crate::node::{CoreStore, DiskCounts, Done, Troubles};
use crate::seeds::Random;

/// How long a write of the log takes on a good disk, on average.
const APPEND_US: u64 = 150;
/// How long a read takes.
const READ_US: u64 = 80;
/// And a step of background work.
const STEP_US: u64 = 60;
/// How often the engine looks after itself.
const TICK: Instant = 20 * MILLISECOND;
/// After so many of these what the engine has counted is added up.
const TICKS_PER_COUNT: u64 = 50;
/// What checkers read by; the adapter's own tokens are above.
const CHECK_TOKEN: u64 = 1;

/// What all cores of a node share.
#[derive(Debug)]
struct Shared {
    troubles: Troubles,
    counts: DiskCounts,
    random: Random,
}

/// An operation of the disk, or a step of background work, and when it ends.
struct Running {
    due: Instant,
    what: Task,
}

enum Task {
    Operation { id: OperationId, writes: bool },
    Work(Pin<Box<dyn Future<Output = WorkDone<MemoryDisk>>>>),
}

/// The store of one core.
pub struct EngineStore {
    store: ReplicaStore<MemoryDisk>,
    disk: MemoryDisk,
    shared: Rc<RefCell<Shared>>,
    running: Vec<Running>,
    next_tick: Instant,
    ticks: u64,
    bytes: LoadedBytes,
    /// Of the engine's counts, what the shared ones have already.
    counted: DiskCounts,
}

impl EngineStore {
    fn new(store: ReplicaStore<MemoryDisk>, disk: MemoryDisk, shared: Rc<RefCell<Shared>>) -> Self {
        let (running, bytes, counted) = (Vec::new(), LoadedBytes::default(), DiskCounts::default());
        Self { store, disk, shared, running, next_tick: 0, ticks: 0, bytes, counted }
    }

    /// Gives everything that has begun since the last call an end.
    fn take_up(&mut self, instant: Instant) {
        let Self { store, disk, shared, running, .. } = self;
        let Shared { troubles, random, .. } = &mut *shared.borrow_mut();
        disk.visit_operations(|id, writes| {
            let is_it = |other: &Running| matches!(other.what, Task::Operation { id: other, .. } if other == id);
            if !running.iter().any(is_it) {
                let (least, mean) = if writes { (APPEND_US / 3, APPEND_US) } else { (0, READ_US) };
                let due = instant + least + random.waiting(mean) * troubles.slowness;
                running.push(Running { due, what: Task::Operation { id, writes } });
            }
        });
        while let Some(work) = store.next_work() {
            let due = instant + random.waiting(STEP_US) * troubles.slowness;
            running.push(Running { due, what: Task::Work(Box::pin(work.run())) });
        }
    }

    fn end(&mut self, running: Running, instant: Instant, now: Now) {
        match running.what {
            Task::Operation { id, writes } => {
                let completion = self.disk.end(id, self.fails(writes));
                self.store.on_completion(completion, now);
            }
            Task::Work(work) => self.step(work, instant, now),
        }
    }

    fn fails(&self, writes: bool) -> bool {
        let Shared { troubles, counts, random } = &mut *self.shared.borrow_mut();
        let fails = match writes {
            true => std::mem::take(&mut troubles.fails_append),
            false => troubles.fails_reads && random.one_in(4),
        };
        *(if writes { &mut counts.failed_appends } else { &mut counts.failed_reads }) += u64::from(fails);
        fails
    }

    /// One step of background work: up to the next call of the disk, which may fail.
    fn step(&mut self, mut work: Pin<Box<dyn Future<Output = WorkDone<MemoryDisk>>>>, instant: Instant, now: Now) {
        let (fails, pause) = {
            let Shared { troubles, random, .. } = &mut *self.shared.borrow_mut();
            (troubles.fails_reads && random.one_in(64), random.waiting(STEP_US) * troubles.slowness)
        };
        let before = self.disk.injected().failed_calls;
        self.disk.fail_call(fails.then(|| self.disk.calls()), false);
        let result = work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        self.disk.fail_call(None, false);
        self.shared.borrow_mut().counts.failed_reads += self.disk.injected().failed_calls - before;
        match result {
            Poll::Ready(done) => self.store.on_work_done(done, now),
            Poll::Pending => self.running.push(Running { due: instant + pause, what: Task::Work(work) }),
        }
    }

    /// What is kept up to date write by write is what is built anew.
    fn check_trees(&self) {
        let engine = self.store.engine();
        for partition in engine.partitions() {
            assert_eq!(
                engine.merkle_tree(partition).root(),
                engine.recount_merkle_tree(partition).root(),
                "{partition}"
            );
        }
    }

    /// Adds what the engine has counted since the last call to what the node counts.
    fn count(&mut self) {
        self.check_trees();
        let counts = self.store.engine().statistics().counts;
        let counted = DiskCounts {
            drains: counts.drains,
            compactions: counts.compactions,
            merge_reads: counts.merge_reads,
            stalls: counts.stalls,
            disk_reads: counts.disk_reads,
            scrubs: counts.scrub_cycles,
            refused: counts.refused_disk,
            rot_found: counts.scrub_damage + counts.compaction_damaged_records,
            ..DiskCounts::default()
        };
        let before = std::mem::replace(&mut self.counted, counted);
        let mut shared = self.shared.borrow_mut();
        let total = &mut shared.counts;
        total.drains += counted.drains - before.drains;
        total.compactions += counted.compactions - before.compactions;
        total.merge_reads += counted.merge_reads - before.merge_reads;
        total.stalls += counted.stalls - before.stalls;
        total.disk_reads += counted.disk_reads - before.disk_reads;
        total.scrubs += counted.scrubs - before.scrubs;
        total.refused += counted.refused - before.refused;
        total.rot_found += counted.rot_found - before.rot_found;
    }

    /// Reads a record at once, for a checker; `None` where it cannot be read.
    fn read_now(&mut self, plan: &ReadPlan) -> Option<Rc<Record>> {
        let engine = self.store.engine_mut();
        if !engine.start_read(plan, CHECK_TOKEN) {
            return None;
        }
        let now = Now::default();
        loop {
            let mut new = None;
            let running = &self.running;
            self.disk.visit_operations(|id, _| {
                let is_known = |other: &Running| matches!(other.what, Task::Operation { id: other, .. } if other == id);
                new = new.or(Some(id).filter(|_| !running.iter().any(is_known)));
            });
            let completion = self.disk.end(new?, false);
            self.store.engine_mut().on_completion(completion, now.unix_ms);
            match self.store.engine_mut().next_event() {
                Some(Event::Read { token: CHECK_TOKEN, result }) => return result.ok(),
                Some(other) => panic!("nothing else was going on: {other:?}"),
                None => {}
            }
        }
    }
}

impl Drop for EngineStore {
    fn drop(&mut self) {
        self.count();
    }
}

impl CoreStore for EngineStore {
    fn start_store(&mut self, token: StoreToken, home: Home, key: &Key<'_>, object: &[u8], now: Now) {
        self.store.store(token, home, key, object, now);
    }

    fn start_load(&mut self, token: StoreToken, home: Home, key: &Key<'_>, _now: Now) {
        self.store.load(token, home, key);
    }

    fn forget(&mut self, home: Home, key: &Key<'_>, dot: Dot) {
        self.store.forget(home, key, dot);
    }

    fn end_turn(&mut self, instant: Instant, now: Now) {
        if instant >= self.next_tick {
            self.next_tick = instant + TICK;
            self.store.tick(now);
            self.ticks += 1;
            if self.ticks.is_multiple_of(TICKS_PER_COUNT) {
                self.count();
            }
        }
        self.store.end_turn(now);
        self.take_up(instant);
    }

    fn next_due(&self) -> Option<Instant> {
        self.running.iter().map(|running| running.due).min()
    }

    fn advance(&mut self, instant: Instant, now: Now) {
        self.take_up(instant);
        while let Some(index) = self.running.iter().position(|running| running.due <= instant) {
            let running = self.running.remove(index);
            self.end(running, instant, now);
        }
        self.end_turn(instant, now);
    }

    fn has_done(&self) -> bool {
        self.store.has_ended()
    }

    fn next_done(&mut self) -> Option<Done> {
        loop {
            return Some(match self.store.next_ended(&mut self.bytes)? {
                Ended::Stored { token, result } => Done::Stored { token, result },
                Ended::Loaded { token, home, hash, is_told } => {
                    let key = self.bytes.key.clone();
                    let object = is_told.then(|| self.bytes.object.clone());
                    Done::Loaded { token, home, key, hash, object }
                }
                Ended::NeedIncarnation => Done::NeedIncarnation,
                Ended::ReadOnly => Done::ReadOnly,
                // Whoever waits for a commit here was told of his store.
                Ended::Engine(Event::Durable(_) | Event::Failed(_)) => continue,
                Ended::Engine(event) => panic!("nobody else asks the engine: {event:?}"),
            });
        }
    }

    fn adopt(&mut self, actor: Actor) {
        self.store.engine_mut().adopt_incarnation(actor);
    }

    fn clock(&self) -> Clock {
        self.store.engine().clock()
    }

    fn is_idle(&self) -> bool {
        self.store.is_idle() && self.store.engine().is_quiet()
    }

    fn object(&mut self, home: Home, key: &Key<'_>) -> Option<Object> {
        let owned = annulus_engine::Key { bytes: key.bytes, partition: key.partition, hash: key.hash };
        let mut fetched = None;
        loop {
            let mut bytes = Vec::new();
            let engine = self.store.engine_mut();
            let known = match home {
                Home::Owned(_) => owned,
                Home::Hinted { target, .. } => engine.hint_key(&owned, target.raw())?,
            };
            match engine.object_with(&known, fetched.as_ref(), &mut bytes) {
                ObjectFound::Absent { .. } => return None,
                ObjectFound::Here { .. } => {
                    let view = ObjectView::check(&bytes).expect("the engine gives objects");
                    return Some(Object::decode(view.bytes()).expect("it was just checked"));
                }
                ObjectFound::OnDisk(plan) => fetched = Some(self.read_now(&plan)?),
            }
        }
    }

    fn root(&self, partition: u16) -> Option<u128> {
        Some(self.store.engine().merkle_tree(partition).root())
    }
}

impl Store for EngineStore {
    fn versions(&self, home: Home, key: &Key<'_>, versions: &mut Versions) {
        self.store.versions(home, key, versions);
    }

    fn hinted_for(&self, key: &Key<'_>, targets: &mut Targets) {
        self.store.hinted_for(key, targets);
    }

    fn stamp(&mut self, unix_ms: u64, above: Clock) -> Option<Dot> {
        self.store.stamp(unix_ms, above)
    }

    fn hints(&self, target: NodeId, from: HintCursor, max: usize, visit: &mut dyn FnMut(PartitionId, u128, Dot)) {
        self.store.hints(target, from, max, visit);
    }

    fn hint_targets(&self, visit: &mut dyn FnMut(NodeId)) {
        self.store.hint_targets(visit);
    }

    fn hint_count(&self, target: NodeId) -> usize {
        self.store.hint_count(target)
    }

    fn partition_from(&self, from: PartitionId) -> Option<PartitionId> {
        self.store.partition_from(from)
    }

    fn open_epoch(&mut self, epoch: u64, bits: u32) {
        self.store.open_epoch(epoch, bits);
    }

    fn root_at(&self, partition: PartitionId, cut: u64) -> u128 {
        self.store.root_at(partition, cut)
    }

    fn leaf_bits_at(&self, partition: PartitionId, cut: u64) -> u32 {
        self.store.leaf_bits_at(partition, cut)
    }

    fn sums_at(&self, partition: PartitionId, cut: u64, bits: u32, nodes: Range<u32>, out: &mut Vec<u64>) {
        self.store.sums_at(partition, cut, bits, nodes, out);
    }

    fn visit_versions(
        &self,
        partition: PartitionId,
        hashes: RangeInclusive<u64>,
        max: usize,
        visit: &mut dyn FnMut(u128, &Versions),
    ) -> Option<u64> {
        self.store.visit_versions(partition, hashes, max, visit)
    }

    fn takes_writes(&self) -> bool {
        self.store.takes_writes()
    }

    fn is_stable(&self, key: &Key<'_>) -> bool {
        self.store.is_stable(key)
    }
}

#[cfg(test)]
mod tests;
