//! Starting one core: its thread, its executor, its ring, recovery, and then the driver until the node has drained; the one
//! place that starts executors.
//!
//! Invariant: a core serves only after every core has recovered and their clocks are stored.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use annulus_engine as engine;
use annulus_net::ring::{Ring, RingLimits};
use annulus_object::{Actor, Clock};
use glommio::{LocalExecutorBuilder, Placement};

use super::identity::take_incarnation;
use super::{Report, Start};
use crate::config::Durability;
use crate::core_inbox::CoreInbox;
use crate::env::background::Background;
use crate::env::disk::RingDisk;
use crate::env::driver::{BASE_LISTENER, CORE_LISTENER, Doorbells, Driver, Ended, now, steady_ns};
use crate::env::pulse::Gate;
use crate::logging::panics;
use crate::mesh::{CoreMap, Doorbell, Mesh};
use crate::node::Phase;
use crate::shard_loop::{Life, ShardLoop};

/// Memory of an executor's own I/O buffers: its files are off the hot path.
const EXECUTOR_IO_BYTES: usize = 1 << 20;
/// Entries of each of an executor's own rings.
const EXECUTOR_RING_ENTRIES: usize = 64;
/// How often a core that has recovered looks whether the others have.
const LOADING_POLL: Duration = Duration::from_millis(1);

/// Asks the system for what every executor needs, while the process has one thread.
pub(super) fn prepare_process() {
    glommio::early_init();
}

/// What one core is started with.
pub(super) struct CoreStart {
    pub start: Start,
    pub mesh: Mesh,
    pub doorbells: Doorbells,
    pub listener: OwnedFd,
    pub base: Option<OwnedFd>,
    pub gate: Gate,
}

impl CoreStart {
    /// The core's thread, from its start to its end.
    pub fn run(self) {
        let core = self.mesh.core();
        let sender = self.start.sender.clone();
        panics::enter_core(core);
        // Before the executor exists: it may sleep beside its very first task.
        self.gate.attach();
        let config = &self.start.node.config;
        let executor = LocalExecutorBuilder::new(Placement::Fixed(config.cores[usize::from(core)]))
            .name(&format!("core-{core}"))
            .preempt_timer(config.preempt_timer)
            .io_memory(EXECUTOR_IO_BYTES)
            .ring_depth(EXECUTOR_RING_ENTRIES)
            .make();
        let result = match executor {
            Ok(executor) => executor.run(self.serve()),
            Err(error) => Err(format!("its executor does not start: {error}")),
        };
        // Nobody listens any more when another core failed first.
        let _ = sender.send(Report::Ended { core, result });
    }

    async fn serve(self) -> Result<Ended, String> {
        let Self { start, mesh, doorbells, listener, base, gate } = self;
        let core = mesh.core();
        let mut ring =
            Ring::new(&RingLimits::PRODUCTION).map_err(|error| format!("its ring cannot be made: {error}"))?;
        let doorbell = doorbells[usize::from(core)].set(Doorbell::new(ring.address()));
        assert!(doorbell.is_ok(), "a core starts once");
        let bell = ring.bell().map_err(|error| format!("its bell cannot be made: {error}"))?;
        let (inbox_sender, inbox) = CoreInbox::new(bell);
        assert!(start.node.inboxes[usize::from(core)].set(inbox_sender).is_ok(), "a core starts once");
        let disk = RingDisk::new(&start.node.config.data);
        let mut engine =
            engine::Engine::open(disk.clone(), engine_config(&start, core)).await.map_err(|error| error.to_string())?;
        log_recovery(core, &engine);
        let clock = engine.clock();
        let damaged = !engine.recovery().corruption.is_empty();
        start
            .sender
            .send(Report::Recovered { core, clock, damaged })
            .map_err(|_| "another core failed to start".to_owned())?;
        while start.node.phase() == Phase::Loading {
            glommio::timer::sleep(LOADING_POLL).await;
        }
        if let Some(actor) = start.node.replacement_actor() {
            engine.adopt_incarnation(actor);
        }
        let is_refilling = start.node.is_refilling();
        let life = Life { session: session()?, earlier_actor: Some(engine.actor()), is_refilling };
        let shard = ShardLoop::new(Arc::clone(&start.node), engine, mesh, life, steady_ns);
        let background = Background::new(gate, take_incarnation(&start.meta_file), Arc::clone(&start.snapshots));
        if start.node.config.background_load {
            tracing::warn!(core, "a synthetic background task runs, as background-load wants");
            background.start_synthetic();
        }
        let mut driver =
            Driver::new(Arc::clone(&start.node), ring, disk, shard, (doorbells, inbox), background, start.log);
        driver.listen(CORE_LISTENER, listener);
        if let Some(base) = base {
            driver.listen(BASE_LISTENER, base);
        }
        driver.run().await.map_err(|error| format!("its ring failed: {error}"))
    }
}

/// A number that no core of a cluster ever had, but by an accident of 64 bits.
fn session() -> Result<u64, String> {
    getrandom::u64().map_err(|error| format!("no random bytes: {error}"))
}

fn engine_config(start: &Start, core: u16) -> engine::Config {
    let config = &start.node.config;
    let cores = u64::from(start.node.map.cores());
    let bytes = |bytes: u64| usize::try_from(bytes / cores).expect("memory is addressable");
    let partition = |number: u32| u16::try_from(number).expect("at most 16384 partitions");
    let range = |owned: std::ops::Range<u32>| partition(owned.start)..partition(owned.end);
    engine::Config {
        core,
        cores: start.node.map.cores(),
        layout: start.meta.layout,
        migrate_from: start.migrate_from.map(|(layout, cores)| {
            let before = CoreMap::new(start.node.map.partitions(), cores);
            (layout, (0..cores).map(|core| range(before.owned(core))).collect())
        }),
        partitions: range(start.node.map.owned(core)),
        hints_from: partition(start.node.map.partitions()),
        hash_key: start.meta.hash_key,
        cluster_id: start.meta.cluster_id,
        actor: Actor::new(start.meta.node_id, start.meta.incarnation),
        clock: Clock::from_raw(start.meta.clock).unwrap_or(Clock::ZERO),
        durability: match config.durability {
            Durability::Sync => engine::Durability::Sync,
            Durability::Interval => engine::Durability::Interval {
                ms: u32::try_from(config.interval.as_millis()).expect("at most a second"),
            },
            Durability::Memory => engine::Durability::Memory,
        },
        is_alone: start.is_alone,
        hot_log_bytes: config.hot_log_bytes_per_core(0),
        hot_log_bytes_max: config.hot_log_bytes_per_core(u64::MAX),
        cache_bytes: bytes(config.cache_bytes),
        memory_bytes: bytes(config.memory_limit_bytes),
        limits: engine::Limits::PRODUCTION,
        now_unix_ms: now().unix_ms,
        progress: Arc::clone(&start.node.progress),
    }
}

fn log_recovery(core: u16, engine: &engine::Engine<RingDisk>) {
    let report = engine.recovery();
    let (records, segments) = (report.records, report.segments);
    let (runs, interrupted_runs) = (report.runs, report.interrupted_runs);
    tracing::info!(core, keys = engine.keys(), records, segments, runs, interrupted_runs, "recovered");
    for corruption in &report.corruption {
        tracing::error!(core, %corruption, "acknowledged data is damaged; what it held is missing");
    }
}
