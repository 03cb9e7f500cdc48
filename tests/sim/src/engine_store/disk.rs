//! A node's disk under its engines.
//!
//! Invariant: nothing but rot damages what was reported as stored; an engine that finds damage where no bit was flipped is a
//! broken promise.

use std::cell::RefCell;
use std::future::Future;
use std::ops::Range;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use annulus::replica_store::ReplicaStore;
use annulus_engine::disk::memory::{MemoryDisk, block_on};
use annulus_engine::{Config, Disk as _, Durability, Engine, layout_directory};

use super::sizes::Sizes;
use super::{EngineStore, Shared};
use crate::node::{Disk, DiskCounts, Opening, Troubles};
use crate::seeds::Random;
use crate::store::core_of;
use crate::world::HASH_KEY;

/// Bits that flip at once, at most.
const FLIPS_MAX: u64 = 30;
/// After so many calls of the disk at most a start is interrupted.
const INTERRUPTED_CALLS_MAX: u64 = 400;
/// More than any run fills.
const AMPLE_BYTES: u64 = 1 << 40;

/// A disk that holds engines' files.
pub struct EngineDisk {
    disk: MemoryDisk,
    shared: Rc<RefCell<Shared>>,
    sizes: Sizes,
    partitions: u16,
    layout: u32,
    /// Cores of the layout, once there was one.
    cores: Option<u16>,
    is_rotten: bool,
}

impl EngineDisk {
    fn owned(&self, core: u16, cores: u16) -> Range<u16> {
        let first = |core| (0..self.partitions).find(|partition| core_of(*partition, self.partitions, cores) >= core);
        first(core).unwrap_or(self.partitions)..first(core + 1).unwrap_or(self.partitions)
    }

    fn config(&self, core: u16, opening: &Opening, migrate_from: Option<(u32, u16)>) -> Config {
        let of_cores = |cores: u16| (0..cores).map(|core| self.owned(core, cores)).collect();
        Config {
            core,
            cores: opening.cores,
            layout: self.layout,
            migrate_from: migrate_from.map(|(layout, cores)| (layout, of_cores(cores))),
            partitions: self.owned(core, opening.cores),
            hints_from: self.partitions,
            hash_key: HASH_KEY,
            cluster_id: [9; 16],
            actor: opening.actor,
            clock: opening.clock,
            durability: Durability::Sync,
            is_alone: false,
            hot_log_bytes: self.sizes.hot_log_bytes,
            hot_log_bytes_max: self.sizes.hot_log_bytes,
            cache_bytes: self.sizes.cache_bytes,
            memory_bytes: 64 << 20,
            limits: self.sizes.limits.clone(),
            now_unix_ms: opening.now.unix_ms,
            progress: Default::default(),
        }
    }

    fn open_core(&mut self, core: u16, opening: &Opening, migrate_from: Option<(u32, u16)>) -> EngineStore {
        let (disk, config) = (self.disk.for_core(core), self.config(core, opening, migrate_from));
        let engine = block_on(Engine::open(disk.clone(), config)).expect("a good disk opens");
        let corruption = &engine.recovery().corruption;
        assert!(corruption.is_empty() || self.is_rotten, "damage that nobody did: {corruption:?}");
        EngineStore::new(ReplicaStore::new(engine, Durability::Sync), disk, Rc::clone(&self.shared))
    }

    /// A start that a crash ends after some calls of the disk.
    fn interrupt(&mut self, opening: &Opening, migrate_from: Option<(u32, u16)>) {
        self.shared.borrow_mut().counts.interrupted += 1;
        let mut calls = self.shared.borrow_mut().random.below(INTERRUPTED_CALLS_MAX);
        self.disk.set_pauses(true);
        for core in 0..opening.cores {
            let (disk, config) = (self.disk.for_core(core), self.config(core, opening, migrate_from));
            let mut opened = pin!(Engine::open(disk, config));
            while opened.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() && calls > 0 {
                calls -= 1;
            }
            if calls == 0 {
                break;
            }
        }
        self.disk.set_pauses(false);
        self.end_abruptly();
    }

    /// The process alone is gone, or the machine has stopped.
    fn end_abruptly(&mut self) {
        if self.shared.borrow_mut().random.one_in(3) { self.disk.stop() } else { self.disk.crash() }
    }

    /// Removes the logs of all layouts but the one in force.
    fn remove_layouts_but(&self, layout: u32) {
        let good = "a good disk removes what is there";
        let kept = format!("{}/", layout_directory(layout));
        let paths = self.disk.paths();
        let others = paths.iter().filter(|path| path.starts_with("log-") && !path.starts_with(&kept));
        for path in others {
            block_on(self.disk.remove(path)).expect(good);
            let directory = path.rsplit_once('/').expect("logs are in directories").0;
            block_on(self.disk.sync_directory(directory)).expect(good);
        }
    }

    fn used_bytes(&self) -> u64 {
        self.disk.set_total_bytes(AMPLE_BYTES);
        AMPLE_BYTES - self.disk.space().expect("nothing fails here").available_bytes
    }

    /// Makes it as large as its troubles say.
    fn resize(&self) {
        let Troubles { no_writes, read_only, .. } = self.shared.borrow().troubles;
        let used = self.used_bytes();
        self.disk.set_total_bytes(match (no_writes, read_only) {
            (_, true) => used,
            (true, false) => used * 100 / 94,
            (false, false) => AMPLE_BYTES,
        });
    }
}

impl Disk for EngineDisk {
    type Core = EngineStore;
    const ROTS: bool = true;

    fn new(partitions: u16, mut random: Random) -> Self {
        let sizes = Sizes::draw(&mut random);
        let disk = MemoryDisk::new(random.bits());
        let shared = Shared { troubles: Troubles::NONE, counts: DiskCounts::default(), random };
        let shared = Rc::new(RefCell::new(shared));
        Self { disk, shared, sizes, partitions, layout: 1, cores: None, is_rotten: false }
    }

    fn open(&mut self, opening: Opening) -> Vec<EngineStore> {
        // A start on a disk that is full or fails is another test's.
        self.disk.set_total_bytes(AMPLE_BYTES);
        self.disk.set_pauses(false);
        let before = self.cores.replace(opening.cores);
        let migrate_from = before.filter(|before| *before != opening.cores).map(|before| (self.layout, before));
        self.remove_layouts_but(self.layout);
        let in_force = self.layout;
        self.layout += u32::from(migrate_from.is_some());
        let is_interrupted = before.is_some() && self.shared.borrow_mut().random.one_in(4);
        if let Some(actor) = opening.interrupted.filter(|_| is_interrupted) {
            self.interrupt(&Opening { actor, ..opening }, migrate_from);
            self.remove_layouts_but(in_force);
        }
        let cores = (0..opening.cores).map(|core| self.open_core(core, &opening, migrate_from)).collect();
        self.remove_layouts_but(self.layout);
        self.disk.set_pauses(true);
        self.resize();
        cores
    }

    fn crash(&mut self, cores: Vec<EngineStore>) {
        let mut shared = self.shared.borrow_mut();
        let pending = cores.iter().map(|core| core.store.engine().statistics().pending_writes);
        shared.counts.lost_in_crash += pending.sum::<u64>();
        drop(shared);
        drop(cores);
        self.end_abruptly();
    }

    fn wipe(&mut self) {
        self.disk = MemoryDisk::new(self.shared.borrow_mut().random.bits());
        (self.layout, self.cores, self.is_rotten) = (1, None, false);
    }

    fn set_troubles(&mut self, troubles: Troubles) {
        self.shared.borrow_mut().troubles = troubles;
        self.resize();
    }

    fn rot(&mut self) -> u64 {
        let random = &mut self.shared.borrow_mut().random;
        let paths: Vec<String> =
            self.disk.paths().into_iter().filter(|path| !self.disk.contents(path).is_empty()).collect();
        let mut flipped = 0;
        for _ in 0..if paths.is_empty() { 0 } else { random.between(1, FLIPS_MAX) } {
            let path = random.pick(&paths);
            let bytes = self.disk.contents(path);
            let offset = random.index(bytes.len());
            // Most of a file is zeros that nobody reads.
            let written = (offset..bytes.len()).chain(0..offset).find(|offset| bytes[*offset] != 0);
            if let Some(offset) = written {
                self.disk.flip_bit(path, offset, u32::try_from(random.below(8)).expect("a bit of a byte"));
                flipped += 1;
            }
        }
        self.is_rotten |= flipped > 0;
        flipped
    }

    fn counts(&self) -> DiskCounts {
        self.shared.borrow().counts
    }
}
