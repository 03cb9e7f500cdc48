//! One core: events in, effects out.
//!
//! Whoever drives a core (production: `env::driver`) calls [`ShardLoop::begin_turn`], hands it everything that happened,
//! calls [`ShardLoop::end_turn`], and carries out what the [`Outbox`] says. The core itself never waits, reads no clock and
//! makes no system call.
//!
//! The path of a command: `input` (bytes → commands) → `dispatch` (which core, which parts) → `execute` (the key's core:
//! run, wait for disk or commit) → `deliver` (replies back to the client, the gather, or the other core).
//!
//! Invariant: within a client, replies are in command order and a command sees every earlier one; within a key, commands
//! run in the order in which they reached the key's core.

mod deliver;
mod dispatch;
mod execute;
mod input;
mod lifecycle;
mod links;
mod lookahead;
mod operations;
mod remote;
mod replicated;
mod replication;
mod scan;
mod snapshot;
#[cfg(test)]
mod tests;
mod wide;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use annulus_engine as engine;
use annulus_engine::{Completion, Disk, Engine, ReadPlan};
use annulus_net::resp::Parser;
use annulus_net::ring::ConnectionId;

use crate::commands::latency::Latency;
use crate::commands::slowlog::SlowLog;
use crate::config::{LogLevel, RuntimeConfig};
use crate::gather::Gather;
use crate::limits;
use crate::mesh::{CoreMap, Mesh};
use crate::metrics::{CoreCounts, Metric};
use crate::node::{Node, Phase};
use crate::operation::Operation;
use crate::peers::limits::PeersLimits;
use crate::peers::{DialRequest, Peers};
use crate::replica_store::ReplicaStore;
use crate::sessions::Sessions;
use crate::slab::Slab;
use crate::snapshot::Task;
use crate::waiting::{BusyKeys, CommitWaiters, Parked, ReplyTo};

use replication::Replication;

pub use lifecycle::Progress;
pub use replication::Life;

/// The time of a turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// Wall clock, Unix milliseconds.
    pub unix_ms: u64,
    /// Steady clock, nanoseconds from an arbitrary start.
    pub steady_ns: u64,
}

/// Where a core gets the steady clock from while it runs commands, to time each.
pub type SteadyClock = fn() -> u64;

/// What a turn wants done.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Buffers to send, at most one per connection.
    pub sends: Vec<(ConnectionId, Vec<u8>)>,
    /// Connections to receive from (`true`) or not, in this order.
    pub receives: Vec<(ConnectionId, bool)>,
    /// Connections to close.
    pub closes: Vec<ConnectionId>,
    /// Cores that got messages and may sleep.
    pub wakes: Vec<u16>,
    /// The node shall stop (SHUTDOWN).
    pub shutdown: bool,
    /// The engine waits for a new, durable incarnation.
    pub needs_incarnation: bool,
    /// Connections to other nodes' cores that are to be made.
    pub dials: Vec<DialRequest>,
    /// CONFIG SET changed what is logged.
    pub log_level: Option<LogLevel>,
    /// Changes of the cluster that operators want, for the control plane; each is answered by [`ShardLoop::on_operated`].
    pub operations: Vec<Operation>,
    /// What a snapshot wants done; its result comes back through [`ShardLoop::on_snapshot`].
    pub snapshot: Option<Task>,
}

/// A command that waits for a record.
enum Reading {
    /// To be run again with the record.
    Command {
        parked: Parked,
        /// The key that it holds.
        holds: Option<u128>,
    },
    /// One of the records of a scan.
    Scan { scan: u32, place: usize },
}

/// One core.
pub struct ShardLoop<D: Disk> {
    core: u16,
    node: Arc<Node>,
    map: CoreMap,
    runtime: RuntimeConfig,
    store: ReplicaStore<D>,
    replication: Replication,
    /// Links to cores of other nodes; out while frames are heard.
    peers: Option<Peers>,
    mesh: Mesh,
    sessions: Sessions,
    /// Sessions whose output may have to leave at the end of the turn.
    dirty: Vec<u32>,
    /// Sessions whose output waits a moment for replies that come behind it.
    held_sessions: Vec<u32>,
    /// Sessions that wait until the core or the mesh takes more.
    busy_sessions: Vec<u32>,
    /// Sessions that may go on.
    ready_sessions: Vec<u32>,
    commits: CommitWaiters,
    readings: Slab<Reading>,
    busy_keys: BusyKeys,
    gathers: Slab<Gather>,
    scans: Slab<scan::Scan>,
    /// SCANs over the cluster.
    walks: Slab<wide::Walk>,
    /// What other nodes' cores do for this one, and the other way round.
    remote: remote::Remote,
    /// The snapshot that this core has a part of.
    snapshot: Option<snapshot::Part>,
    /// Operators that wait for the control plane.
    operations: Slab<ReplyTo>,
    /// Parts of commands that this core runs itself, as soon as the client's session is back in its place.
    local: VecDeque<Parked>,
    /// Commands that found the engine's buffers full or the protocol without room, in order.
    stalled: VecDeque<Parked>,
    slowlog: SlowLog,
    latency: Latency,
    counts: CoreCounts,
    hits: u64,
    misses: u64,
    /// Something happened since the figures were published.
    unpublished: bool,
    steady_clock: SteadyClock,
    /// When the command that runs began.
    command_started_ns: u64,
    /// Reads of scans that found too many in flight.
    waiting_scan_reads: VecDeque<(u32, usize, ReadPlan)>,
    /// For what other cores send.
    mesh_parser: Parser,
    random: u64,
    now: Now,
    last_tick_ns: u64,
    last_slow_tick_ns: u64,
    drain: lifecycle::Drain,
    /// Emptied output buffers.
    buffers: Vec<Vec<u8>>,
    scratch: Vec<u8>,
    outbox: Outbox,
}

impl<D: Disk> ShardLoop<D> {
    /// A core that serves what its engine has recovered.
    pub fn new(node: Arc<Node>, engine: Engine<D>, mesh: Mesh, life: Life, steady_clock: SteadyClock) -> Self {
        let core = mesh.core();
        let runtime = node.config.runtime.clone();
        let durability = engine.durability();
        let start = life.start(&node, engine.value_bytes_max());
        let replication = Replication::new(start, node.view.get(), (&node.map, core));
        let peers = Peers::new(PeersLimits::PRODUCTION, life.session, steady_clock() / 1000);
        let mut slowlog = SlowLog::new(core, node.map.cores());
        slowlog.set_entries_max(runtime.slowlog_entries_max as usize);
        Self {
            core,
            map: node.map.clone(),
            slowlog,
            latency: node.latency[usize::from(core)].clone(),
            node,
            runtime,
            store: ReplicaStore::new(engine, durability),
            replication,
            peers: Some(peers),
            mesh,
            sessions: Sessions::default(),
            dirty: Vec::new(),
            held_sessions: Vec::new(),
            busy_sessions: Vec::new(),
            ready_sessions: Vec::new(),
            commits: CommitWaiters::default(),
            readings: Slab::default(),
            busy_keys: BusyKeys::default(),
            gathers: Slab::default(),
            scans: Slab::default(),
            walks: Slab::default(),
            remote: remote::Remote::default(),
            snapshot: None,
            operations: Slab::default(),
            local: VecDeque::new(),
            stalled: VecDeque::new(),
            counts: CoreCounts::new(),
            unpublished: true,
            hits: 0,
            misses: 0,
            steady_clock,
            command_started_ns: 0,
            waiting_scan_reads: VecDeque::new(),
            mesh_parser: deliver::mesh_parser(),
            random: u64::from(core) + 1,
            now: Now::default(),
            last_tick_ns: 0,
            last_slow_tick_ns: 0,
            drain: lifecycle::Drain::No,
            buffers: Vec::new(),
            scratch: Vec::new(),
            outbox: Outbox::default(),
        }
    }

    /// Begins a turn.
    pub fn begin_turn(&mut self, now: Now) {
        assert!(now.steady_ns >= self.now.steady_ns, "the steady clock never goes back");
        self.now = now;
        self.counts.add(Metric::Turns, 1);
        self.follow_view();
    }

    /// Counts a client in that `core` shall serve; `false` when the node takes no more. Counted before it is handed over, so
    /// that the next one goes elsewhere.
    pub fn may_connect(&mut self, core: u16) -> bool {
        let taken = self.node.phase() == Phase::Ready && self.node.add_client(core, u64::from(self.runtime.maxclients));
        self.counts.add(if taken { Metric::ConnectionsAccepted } else { Metric::ConnectionsRefused }, 1);
        taken
    }

    /// A client that [`ShardLoop::may_connect`] let in has its connection.
    pub fn on_connected(&mut self, connection: ConnectionId, addresses: (SocketAddr, SocketAddr)) {
        self.connect(connection, addresses);
    }

    /// Bytes came from a client or a peer.
    pub fn on_received(&mut self, connection: ConnectionId, bytes: &[u8]) {
        if self.is_link(connection) {
            return self.on_peer_bytes(connection, bytes);
        }
        self.unpublished = true;
        let index = self.sessions.of(connection);
        self.counts.add(Metric::ReceivedBytes, bytes.len() as u64);
        self.run_input(index, bytes);
        self.maybe_carry_out();
    }

    /// A send has ended.
    pub fn on_sent(&mut self, connection: ConnectionId, buffer: Vec<u8>, sent: bool) {
        if self.is_link(connection) {
            let now_us = self.now.steady_ns / 1000;
            return self.links().on_sent(connection, buffer, sent, now_us);
        }
        self.recycle_buffer(buffer);
        let index = self.sessions.of(connection);
        self.finish_send(index, sent);
    }

    /// A client or a peer sends no more.
    pub fn on_ended(&mut self, connection: ConnectionId, orderly: bool) {
        if self.is_link(connection) {
            return self.links().on_ended(connection);
        }
        let index = self.sessions.of(connection);
        self.end_input(index, orderly);
    }

    /// A connection is closed for good; its id may come again.
    pub fn on_closed(&mut self, connection: ConnectionId) {
        if self.is_link(connection) {
            return self.links().on_closed(connection);
        }
        let index = self.sessions.disconnect(connection);
        self.node.remove_client(self.core);
        // Nobody reads what it waited to write, and nothing will unblock it.
        self.sessions.get_mut(index).abandon();
        self.busy_sessions.retain(|other| *other != index);
        self.maybe_forget(index);
    }

    /// A file operation of the engine has ended.
    pub fn on_disk(&mut self, completion: Completion) {
        self.store.on_completion(completion, self.protocol_now());
        self.take_ended();
    }

    /// Background work of the engine has ended.
    pub fn on_work_done(&mut self, done: annulus_engine::WorkDone<D>) {
        self.store.on_work_done(done, self.protocol_now());
        self.take_ended();
    }

    /// Background work that the engine wants done; its result comes back through [`ShardLoop::on_work_done`].
    pub fn next_work(&mut self) -> Option<annulus_engine::Work<D>> {
        self.store.next_work()
    }

    /// What the turn wants done, after [`ShardLoop::end_turn`].
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// The store, for whoever drives the core.
    pub fn engine(&mut self) -> &mut Engine<D> {
        self.store.engine_mut()
    }

    /// The queues to other cores, for whoever drives the core.
    pub fn mesh(&mut self) -> &mut Mesh {
        &mut self.mesh
    }

    /// Ends a turn: what was gathered leaves. What waits for the log is written in this turn unless `more_comes`: requests
    /// that have arrived already then join the same group commit.
    pub fn end_turn(&mut self, more_comes: bool) {
        self.maybe_tick();
        self.maybe_tick_protocol();
        self.run_local();
        self.retry_stalled();
        self.retry_scan_reads();
        self.take_ended();
        self.resume_sessions();
        self.settle_protocol();
        if !more_comes {
            self.store.end_turn(self.protocol_now());
        }
        // What needs no disk has ended already.
        self.take_ended();
        self.settle_protocol();
        self.flush_links();
        self.flush_sessions();
        let wakes = &mut self.outbox.wakes;
        if !self.mesh.flush(|core| wakes.push(core)) {
            self.counts.add(Metric::MeshWaits, 1);
        }
    }

    /// How long the core may sleep when nothing happens: until its next housekeeping.
    pub fn sleep_at_most(&self) -> Duration {
        if !self.mesh.is_flushed() || !self.ready_sessions.is_empty() || !self.local.is_empty() {
            return Duration::ZERO;
        }
        if !self.held_sessions.is_empty() {
            return limits::PARTIAL_REPLIES_HOLD;
        }
        let is_waiting = !self.stalled.is_empty() || !self.store.engine().is_quiet();
        if is_waiting || self.drain != lifecycle::Drain::No || !self.replication.is_idle() {
            return limits::TICK / 4;
        }
        if !self.replication.is_alone {
            return limits::TICK;
        }
        if self.unpublished { limits::TICK } else { limits::IDLE_SLEEP }
    }

    /// True when other cores' requests are taken: not while the engine's buffers are full, or the protocol has no room.
    pub fn takes_requests(&self) -> bool {
        self.stalled.is_empty()
    }

    /// Time between keep-alive probes of a client's socket.
    pub fn keepalive(&self) -> Option<Duration> {
        let seconds = u64::from(self.runtime.tcp_keepalive_s);
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }

    /// Counts a turn that took too long.
    pub fn count_stall(&mut self) {
        self.counts.add(Metric::Stalls, 1);
    }

    /// The next of a sequence of numbers that look random.
    fn next_random(&mut self) -> u64 {
        // SplitMix64: RANDOMKEY needs spread, not secrecy.
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random ^ self.now.steady_ns;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// The engine tells of a commit, or of what a command on this core has asked it for.
    fn on_engine_event(&mut self, event: engine::Event) {
        match event {
            engine::Event::Durable(commit) => self.release_durable(commit),
            engine::Event::Failed(commit) => self.fail_commit(commit),
            engine::Event::Read { token, result } => self.on_read(token, result),
            engine::Event::Snapshot(result) => self.end_snapshot(result.map_err(|error| error.to_string())),
            engine::Event::NeedIncarnation | engine::Event::ReadOnly => unreachable!("the store tells of these itself"),
        }
    }
}
