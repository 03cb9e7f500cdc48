//! What every core of a node knows: who the node is, where it listens, which core owns what, and where the newest view of the
//! cluster is.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use annulus_engine::Progress;
use annulus_object::Actor;

use crate::clock_skews::ClockSkews;
use crate::cluster_view::{self, SharedView};
use crate::commands::latency::Latency;
use crate::config::Announce;
use crate::config::Config;
use crate::control::ControlSender;
use crate::core_inbox::{self, CoreSenders};
use crate::mesh::CoreMap;
use crate::metrics::NodeMetrics;
use crate::peers::dialer::Dialer;
use crate::quorums::Quorums;
use crate::topology::TopologyCache;

/// How far the port for other nodes is from the base port.
pub const PEERS_PORT_OFFSET: u16 = 10_000;

/// Facts of this process, shared read-only by its cores; the few atomics are counters and the node's phase.
#[derive(Debug)]
pub struct Node {
    /// The configuration in force at start.
    pub config: Config,
    /// The cluster's id, random at founding.
    pub cluster_id: [u8; 16],
    /// This node's id: 48 bits, random at founding.
    pub node_id: u64,
    /// The newest incarnation that was taken.
    incarnation: AtomicU16,
    /// The actor that the cores stamp by from the start, when what recovery found calls for another than the stored one.
    replacement: OnceLock<Actor>,
    /// 40 hexadecimal digits, another for each start.
    pub run_id: String,
    /// Which core owns which partition.
    pub map: CoreMap,
    /// The base port's address.
    pub listen: SocketAddr,
    /// The same as clients are told of it.
    pub topologies: TopologyCache,
    /// How far other nodes' clocks are from this one's.
    pub skews: ClockSkews,
    /// What a command asks for where it says nothing else.
    pub wanted: Quorums,
    /// A control plane runs here, and carries out what operators want.
    has_control: AtomicBool,
    /// When the process began, Unix milliseconds.
    pub started_ms: u64,
    /// What the cores have counted.
    pub metrics: Arc<NodeMetrics>,
    /// Each core's times of its commands.
    pub latency: Box<[Latency]>,
    /// How far its cores have come in reading what the disk holds.
    pub progress: Arc<Progress>,
    /// The cluster as this node sees it now; of a node without one, itself alone.
    pub view: SharedView,
    /// Where the control plane is told things; `None` of a node without a cluster.
    pub control: Option<ControlSender>,
    /// Makes connections to other nodes; there once every core can be told of one.
    pub dialer: OnceLock<Dialer>,
    /// Where cores are told things; each core leaves its own there before it has recovered.
    pub inboxes: CoreSenders,
    /// It came back with an empty directory under the number that it had before, and has not been filled yet: that it does not
    /// have something says nothing.
    is_refilling: AtomicBool,
    /// Cores that have back what they had.
    refilled: AtomicU16,
    /// Founders that were seen, and how many are wanted; both 0 when it founds no cluster.
    founding: [AtomicU8; 2],
    phase: AtomicU8,
    next_client_id: AtomicU64,
    /// Clients of each core, for spreading those of the base port and for `maxclients`.
    clients: Box<[AtomicU64]>,
    /// Cores that have no client left; a core goes only when all have come so far, because their clients may need it.
    drained: Box<[AtomicBool]>,
    /// Cores whose part of a snapshot was not answered yet.
    snapshot_parts: AtomicU16,
}

/// Where a node stands between its start and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Reading what the disk holds.
    Loading = 0,
    /// Serving.
    Ready = 1,
    /// Asked to stop: clients are finished and let go.
    Draining = 2,
}

impl Phase {
    /// As users read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}

impl Node {
    /// A node that is loading.
    #[allow(clippy::too_many_arguments, reason = "one constructor of plain facts")]
    pub fn new(
        config: Config,
        (cluster_id, node_id, incarnation): ([u8; 16], u64, u16),
        run_id: String,
        map: CoreMap,
        listen: SocketAddr,
        started_ms: u64,
        metrics: Arc<NodeMetrics>,
    ) -> Self {
        assert_eq!(metrics.cores().len(), usize::from(map.cores()), "one set of counters per core");
        assert_eq!(run_id.len(), 40);
        let clients = (0..map.cores()).map(|_| AtomicU64::new(0)).collect();
        let latency = (0..map.cores()).map(|_| Latency::new()).collect();
        let drained = (0..map.cores()).map(|_| AtomicBool::new(false)).collect();
        let phase = AtomicU8::new(Phase::Loading as u8);
        let next_client_id = AtomicU64::new(1);
        let view = SharedView::new(cluster_view::alone(&config, node_id, incarnation, map.cores()));
        let wanted = Quorums::of(&config.quorums);
        Self {
            view,
            control: None,
            dialer: OnceLock::new(),
            inboxes: core_inbox::senders(map.cores()),
            is_refilling: AtomicBool::new(false),
            refilled: AtomicU16::new(0),
            founding: [AtomicU8::new(0), AtomicU8::new(0)],
            config,
            cluster_id,
            node_id,
            incarnation: AtomicU16::new(incarnation),
            replacement: OnceLock::new(),
            run_id,
            map,
            listen,
            topologies: TopologyCache::default(),
            skews: ClockSkews::default(),
            wanted,
            has_control: AtomicBool::new(false),
            started_ms,
            metrics,
            latency,
            progress: Arc::default(),
            phase,
            next_client_id,
            clients,
            drained,
            snapshot_parts: AtomicU16::new(0),
        }
    }

    /// The newest incarnation that was taken.
    pub fn incarnation(&self) -> u16 {
        self.incarnation.load(Ordering::Relaxed)
    }

    /// Notes that a newer incarnation was stored.
    pub fn note_incarnation(&self, actor: Actor) {
        self.incarnation.store(actor.incarnation(), Ordering::Relaxed);
    }

    /// Lets every core stamp by another actor from its first write on.
    pub fn replace_actor(&self, actor: Actor) {
        self.note_incarnation(actor);
        self.replacement.set(actor).expect("the actor is replaced once, before the node is ready");
    }

    /// The actor to stamp by instead of the one that the core was opened with.
    pub fn replacement_actor(&self) -> Option<Actor> {
        self.replacement.get().copied()
    }

    /// True while that this node does not have something says nothing: it lost its disk, and was not filled since.
    pub fn is_refilling(&self) -> bool {
        self.is_refilling.load(Ordering::Acquire)
    }

    /// Notes that one more core has back what it had; true when all have. Each core says so once.
    pub fn core_is_refilled(&self) -> bool {
        let before = self.refilled.fetch_add(1, Ordering::AcqRel);
        assert!(before < self.map.cores(), "a core is refilled once");
        before + 1 == self.map.cores()
    }

    /// Notes whether the node is being filled; whoever ends that has it stored first.
    pub fn note_refilling(&self, is_refilling: bool) {
        self.is_refilling.store(is_refilling, Ordering::Release);
    }

    /// Founders that were seen, itself included, and how many are wanted; `None` of a node that founds no cluster.
    pub fn founding(&self) -> Option<(u8, u8)> {
        let [seen, wanted] = [0, 1].map(|at| self.founding[at].load(Ordering::Relaxed));
        (wanted > 0).then_some((seen, wanted))
    }

    /// Notes how far founding has come.
    pub fn note_founding(&self, founding: Option<(u8, u8)>) {
        let (seen, wanted) = founding.unwrap_or((0, 0));
        self.founding[0].store(seen, Ordering::Relaxed);
        self.founding[1].store(wanted, Ordering::Relaxed);
    }

    /// Notes that there is a control plane from now on.
    pub fn note_control(&self) {
        self.has_control.store(true, Ordering::Release);
    }

    /// True when there is one: without, nobody can join.
    pub fn has_control(&self) -> bool {
        self.has_control.load(Ordering::Acquire)
    }

    /// Where the node stands.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Loading,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// Goes on to a phase, unless the node is further already: one that is asked to stop while it loads never gets ready.
    pub fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }

    /// An id for a client, unique in this process.
    pub fn next_client_id(&self) -> u64 {
        self.next_client_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts a client of a core in; `false`, and not counted, when the node has `max` already.
    pub fn add_client(&self, core: u16, max: u64) -> bool {
        self.clients[usize::from(core)].fetch_add(1, Ordering::Relaxed);
        if self.clients() > max {
            self.remove_client(core);
            return false;
        }
        true
    }

    /// Counts a client of a core out.
    pub fn remove_client(&self, core: u16) {
        let before = self.clients[usize::from(core)].fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "a client was counted in");
    }

    /// Clients of the node.
    pub fn clients(&self) -> u64 {
        self.clients.iter().map(|clients| clients.load(Ordering::Relaxed)).sum()
    }

    /// The core with the fewest clients.
    pub fn least_busy_core(&self) -> u16 {
        let clients = |core: &usize| self.clients[*core].load(Ordering::Relaxed);
        let core = (0..self.clients.len()).min_by_key(clients).expect("a node has a core");
        u16::try_from(core).expect("cores are counted in u16")
    }

    /// Notes that a core has no client left; true when that holds for every core.
    pub fn core_has_drained(&self, core: u16) -> bool {
        self.drained[usize::from(core)].store(true, Ordering::Release);
        self.drained.iter().all(|drained| drained.load(Ordering::Acquire))
    }

    /// Notes that a snapshot is under way, with a part of every core; `false` when there was one already.
    pub fn begin_snapshot(&self) -> bool {
        let parts = self.map.cores();
        self.snapshot_parts.compare_exchange(0, parts, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Notes that a core's part has ended: with the last one the snapshot has.
    pub fn end_snapshot_part(&self) {
        let before = self.snapshot_parts.fetch_sub(1, Ordering::AcqRel);
        assert!(before > 0, "a part ends once");
    }

    /// True when cluster clients are told of every core.
    pub fn announces_cores(&self) -> bool {
        self.config.announce == Announce::Core
    }

    /// The port of a core.
    pub fn core_port(&self, core: u16) -> u16 {
        self.listen.port().checked_add(1 + core).expect("checked with the configuration")
    }

    /// The 40 hexadecimal digits under which a core of this node is announced: see [`crate::topology::core_id`].
    pub fn core_id(&self, core: u16) -> String {
        crate::topology::core_id(&self.cluster_id, self.node_id, core)
    }
}
