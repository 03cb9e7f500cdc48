//! A node of several cores over one disk in memory, and a model of what each key may hold.
//!
//! The model keeps, for every key, the last write that was acknowledged and all later ones. While the node runs, the newest
//! write that has not failed is what a reader must see; after a crash any of those kept may be.

#![allow(dead_code, reason = "each test uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

mod background;
mod history;
mod limits;
pub mod objects;
mod restart;
mod told;

pub use told::Told;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use annulus_engine::disk::memory::{MemoryDisk, block_on};
use annulus_engine::{
    Commit, Config, Counts, Durability, Engine, Error, Event, Found, Limits, ReadError, Record, Refusal, SnapshotError,
    SnapshotReport, Work,
};
use annulus_object::{Actor, Clock};
use background::Running;

pub use history::History;
#[allow(unused_imports, reason = "each test uses its own part")]
pub use limits::{limits, tiny};

pub const NODE: u64 = 77;
/// Trees are kept at cuts, in epochs of 64 ms.
pub const EPOCH_BITS: u32 = 6;
pub const PARTITIONS: u16 = 8;
pub const START_MS: u64 = 1_800_000_000_000;

/// A random stream (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What a write left: a value and when it expires, or nothing.
pub type State = Option<(Vec<u8>, u64)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open(u16, Commit),
    Durable,
    Failed,
}

#[derive(Clone, Debug)]
struct Write {
    state: State,
    fate: Fate,
    /// In the history.
    number: usize,
}

fn at(state: &State, now_ms: u64) -> Option<Vec<u8>> {
    let (value, expires_at_ms) = state.as_ref()?;
    (*expires_at_ms == 0 || *expires_at_ms > now_ms).then(|| value.clone())
}

pub struct Node {
    pub disk: MemoryDisk,
    pub cores: Vec<Engine<MemoryDisk>>,
    pub layout: u32,
    pub incarnation: u16,
    pub durability: Durability,
    /// No other node has versions of its keys.
    pub is_alone: bool,
    pub now_ms: u64,
    pub now_us: u64,
    pub told: Told,
    /// What the stores that have ended had counted.
    pub counted: Vec<Counts>,
    pub limits: Limits,
    pub cache_bytes: usize,
    pub hot_log_bytes: u64,
    pub works_per_turn: usize,
    /// The next piece of background work is kept back in `held_work`.
    pub holds_next_work: bool,
    pub held_work: Vec<Work<MemoryDisk>>,
    /// Background work makes at most so many steps a turn, a step ending where it waits for the disk; `None`: all at once.
    pub work_steps: Option<usize>,
    /// Of the writes, if they are noted.
    pub history: Option<History>,
    /// How commits have ended, by core, for whoever keeps a model of its own: in order, and whether well.
    pub commits: Vec<(u16, Commit, bool)>,
    /// How snapshots have ended.
    pub snapshots: Vec<Result<SnapshotReport, SnapshotError>>,
    running: Vec<Running>,
    clock: Clock,
    model: BTreeMap<Vec<u8>, Vec<Write>>,
    next_token: u64,
}

pub fn partition_of(key: &[u8]) -> u16 {
    key.iter().fold(0u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(u16::from(*byte))) % PARTITIONS
}

pub fn owned(core: u16, cores: u16) -> std::ops::Range<u16> {
    PARTITIONS * core / cores..PARTITIONS * (core + 1) / cores
}

impl Node {
    pub fn new(disk: MemoryDisk, cores: u16, durability: Durability) -> Node {
        let mut node = Node::closed(disk, durability);
        node.open(cores, None).unwrap();
        node
    }

    pub fn closed(disk: MemoryDisk, durability: Durability) -> Node {
        Node {
            disk,
            cores: Vec::new(),
            layout: 1,
            incarnation: 1,
            durability,
            is_alone: true,
            now_ms: START_MS,
            now_us: 1,
            told: Told::default(),
            counted: Vec::new(),
            limits: limits(),
            cache_bytes: 2 << 10,
            hot_log_bytes: 256 << 10,
            works_per_turn: 3,
            holds_next_work: false,
            held_work: Vec::new(),
            work_steps: None,
            history: None,
            commits: Vec::new(),
            snapshots: Vec::new(),
            running: Vec::new(),
            clock: Clock::ZERO,
            model: BTreeMap::new(),
            next_token: 0,
        }
    }

    pub fn config(&self, core: u16, cores: u16, migrate_from: Option<(u32, u16)>) -> Config {
        Config {
            core,
            cores,
            layout: self.layout,
            migrate_from: migrate_from
                .map(|(layout, cores)| (layout, (0..cores).map(|core| owned(core, cores)).collect())),
            partitions: owned(core, cores),
            hints_from: PARTITIONS,
            hash_key: [7; 16],
            cluster_id: [9; 16],
            actor: Actor::new(NODE, self.incarnation),
            clock: self.clock,
            durability: self.durability,
            is_alone: self.is_alone,
            hot_log_bytes: self.hot_log_bytes,
            hot_log_bytes_max: self.hot_log_bytes,
            cache_bytes: self.cache_bytes,
            memory_bytes: 64 << 20,
            limits: self.limits.clone(),
            now_unix_ms: self.now_ms,
            progress: Default::default(),
        }
    }

    pub fn open(&mut self, cores: u16, migrate_from: Option<(u32, u16)>) -> Result<(), Error> {
        assert!(self.cores.is_empty());
        for core in 0..cores {
            let config = self.config(core, cores, migrate_from);
            let progress = Arc::clone(&config.progress);
            let engine = block_on(Engine::open(self.disk.for_core(core), config))?;
            assert_eq!(
                progress.bytes_done(),
                progress.bytes_total(),
                "everything that was found was counted as read once"
            );
            self.told.corruption += engine.recovery().corruption.len() as u64;
            self.told.interrupted_runs += engine.recovery().interrupted_runs;
            self.cores.push(engine);
        }
        self.told.restarts += 1;
        Ok(())
    }

    pub fn core_of(&self, key: &[u8]) -> u16 {
        let partition = partition_of(key);
        let cores = self.cores.len() as u16;
        (0..cores).find(|core| owned(*core, cores).contains(&partition)).unwrap()
    }

    /// Writes, unless the store refuses; a stalled write is tried again after some turns.
    pub fn write(&mut self, key: &[u8], state: State) {
        let core = self.core_of(key);
        for _ in 0..1000 {
            let now_ms = self.now_ms;
            let visible = self.visible(key);
            let engine = &mut self.cores[usize::from(core)];
            let known = engine.key(key, partition_of(key));
            let result = match &state {
                Some((value, expires_at_ms)) => engine.put(&known, value, *expires_at_ms, now_ms).map(Some),
                None => engine.delete(&known, now_ms),
            };
            match result {
                Ok(Some(written)) => {
                    assert_eq!(written.existed, visible.is_some(), "of {}", String::from_utf8_lossy(key));
                    let open = written.after.or_else(|| engine.open_commit(&known));
                    let fate = open.map_or(Fate::Durable, |commit| Fate::Open(core, commit));
                    self.push(key, state, fate);
                    return;
                }
                Ok(None) => {
                    assert_eq!(visible, None, "a delete found nothing of {}", String::from_utf8_lossy(key));
                    return;
                }
                Err(Refusal::Stall) => {
                    self.told.stalls += 1;
                    self.turn(3);
                    self.now_ms += 10;
                    self.tick();
                }
                Err(_) => {
                    self.told.refusals += 1;
                    return;
                }
            }
        }
        panic!("a write stalls for ever");
    }

    /// Deletes everything of a core.
    pub fn flush_all(&mut self, core: u16) {
        let now_ms = self.now_ms;
        let Ok(written) = self.cores[usize::from(core)].flush_all(now_ms) else {
            self.told.stalls += 1;
            return;
        };
        let engine = &self.cores[usize::from(core)];
        // No key has this name, so only the mark decides what it holds.
        let none = engine.key(b"none", owned(core, self.cores.len() as u16).start);
        let open = written.after.or_else(|| engine.open_commit(&none));
        let fate = open.map_or(Fate::Durable, |commit| Fate::Open(core, commit));
        let keys: Vec<Vec<u8>> = self.model.keys().filter(|key| self.core_of(key) == core).cloned().collect();
        keys.iter().for_each(|key| self.push(key, None, fate));
    }

    fn push(&mut self, key: &[u8], state: State, fate: Fate) {
        let point = self.disk.recorded();
        let number = self.history.as_mut().map_or(0, |history| history.began(key, &state, point, self.now_ms));
        self.model.entry(key.to_vec()).or_default().push(Write { state, fate, number });
        if fate == Fate::Durable {
            self.trim();
        }
    }

    /// What a reader must see.
    pub fn visible(&self, key: &[u8]) -> Option<Vec<u8>> {
        let writes = self.model.get(key)?;
        let newest = writes.iter().rev().find(|write| write.fate != Fate::Failed)?;
        at(&newest.state, self.now_ms)
    }

    /// Reads through memory or disk.
    pub fn read(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let core = self.core_of(key);
        let mut fetched: Option<Rc<Record>> = None;
        for _ in 0..100 {
            let (now_ms, token) = (self.now_ms, self.next_token);
            let engine = &mut self.cores[usize::from(core)];
            let known = engine.key(key, partition_of(key));
            let plan = match engine.find_with(&known, now_ms, fetched.as_ref()) {
                Found::Absent { .. } => return Ok(None),
                Found::Here { record, .. } => return Ok(Some(record.value(now_ms).to_vec())),
                Found::OnDisk(plan) => plan,
            };
            if engine.start_read(&plan, token) {
                self.next_token += 1;
                self.told.disk_reads += 1;
                fetched = Some(self.finish_read(token)?);
            }
        }
        panic!("a read never ends");
    }

    fn finish_read(&mut self, token: u64) -> Result<Rc<Record>, ReadError> {
        for _ in 0..1000 {
            if let Some(result) = self.turn(1).into_iter().find(|(ended, _)| *ended == token) {
                return result.1;
            }
        }
        panic!("a read is lost");
    }

    pub fn check(&mut self, key: &[u8]) {
        let expected = self.visible(key);
        let found = match self.read(key) {
            Ok(found) => found,
            // A call that a test lets fail.
            Err(ReadError::Disk(_)) => return self.told.failed_reads += 1,
            Err(error) => panic!("{} cannot be read: {error}", String::from_utf8_lossy(key)),
        };
        assert_eq!(found, expected, "of {} at {}", String::from_utf8_lossy(key), self.now_ms);
    }

    /// One turn of every core: work is done, up to `completions` operations end.
    pub fn turn(&mut self, completions: usize) -> Vec<(u64, Result<Rc<Record>, ReadError>)> {
        self.now_us += 1000;
        let mut reads = Vec::new();
        // The cores share the disk, so operations are told apart by letting one core at a time have any.
        for core in 0..self.cores.len() {
            self.cores[core].end_turn(self.now_us);
            for _ in 0..completions {
                let Some(completion) = self.disk.for_core(core as u16).poll() else {
                    break;
                };
                self.cores[core].on_completion(completion, self.now_ms);
                self.take_events(core, &mut reads);
            }
            self.run_work(core);
            self.take_events(core, &mut reads);
        }
        reads
    }

    fn take_events(&mut self, core: usize, reads: &mut Vec<(u64, Result<Rc<Record>, ReadError>)>) {
        while let Some(event) = self.cores[core].next_event() {
            match event {
                Event::Durable(commit) => {
                    self.commits.push((core as u16, commit, true));
                    self.settle(core as u16, |open| open.instance == commit.instance && open <= commit, Fate::Durable)
                }
                Event::Failed(commit) => {
                    self.commits.push((core as u16, commit, false));
                    self.settle(core as u16, |open| open == commit, Fate::Failed);
                }
                Event::Read { token, result } => reads.push((token, result)),
                Event::NeedIncarnation => {
                    self.incarnation += 1;
                    self.cores[core].adopt_incarnation(Actor::new(NODE, self.incarnation));
                }
                Event::ReadOnly => self.told.read_only += 1,
                Event::Snapshot(result) => self.snapshots.push(result),
            }
        }
    }

    fn settle(&mut self, core: u16, is_of: impl Fn(Commit) -> bool, fate: Fate) {
        let point = self.disk.recorded();
        for write in self.model.values_mut().flatten() {
            if matches!(write.fate, Fate::Open(of, commit) if of == core && is_of(commit)) {
                write.fate = fate;
                let counter = if fate == Fate::Durable { &mut self.told.acknowledged } else { &mut self.told.failed };
                *counter += 1;
                if let (Some(history), Fate::Durable) = (&mut self.history, fate) {
                    history.acknowledged(write.number, point);
                }
            }
        }
        self.trim();
    }

    /// Forgets what an acknowledged write has replaced.
    fn trim(&mut self) {
        for writes in self.model.values_mut() {
            if let Some(last) = writes.iter().rposition(|write| write.fate == Fate::Durable) {
                writes.drain(..last);
            }
        }
    }

    /// Lets everything become durable.
    pub fn settle_all(&mut self) {
        for _ in 0..2_000 {
            self.turn(8);
            self.now_ms += 20;
            self.tick();
            let is_idle = self.disk.in_flight() == 0 && self.running.is_empty();
            if is_idle && self.cores.iter().all(|core| core.statistics().pending_commits == 0) {
                return;
            }
        }
        panic!("the store never comes to rest");
    }

    /// Every Merkle tree is what its index makes it.
    pub fn check_trees(&self) {
        let cores = self.cores.len() as u16;
        for (core, engine) in (0..cores).zip(&self.cores) {
            for partition in owned(core, cores) {
                assert_eq!(
                    *engine.merkle_tree(partition),
                    engine.recount_merkle_tree(partition),
                    "partition {partition}"
                );
                assert_eq!(engine.root_at(partition, u64::MAX), engine.merkle_tree(partition).root());
            }
        }
    }

    pub fn tick(&mut self) {
        let (now_ms, point) = (self.now_ms, self.disk.recorded());
        self.history.iter_mut().for_each(|history| history.time_is(now_ms, point));
        self.cores.iter_mut().for_each(|core| {
            core.tick(now_ms);
            core.open_epoch(now_ms >> EPOCH_BITS, EPOCH_BITS);
        });
    }

    /// Takes what a key was found to hold for certain.
    pub fn believe(&mut self, key: &[u8], found: Option<Vec<u8>>) {
        let write = Write { state: found.map(|value| (value, 0)), fate: Fate::Durable, number: 0 };
        self.model.insert(key.to_vec(), vec![write]);
    }

    /// The keys that are there, sorted.
    pub fn expected_keys(&self) -> Vec<Vec<u8>> {
        self.model.keys().filter(|key| self.visible(key).is_some()).cloned().collect()
    }

    pub fn counted_keys(&self) -> u64 {
        self.cores.iter().map(Engine::keys).sum()
    }

    pub fn known_keys(&self) -> Vec<Vec<u8>> {
        self.model.keys().cloned().collect()
    }
}
