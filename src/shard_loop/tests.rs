//! Cores driven by hand, over a disk in memory: what clients send, when the disk and the other cores answer, and what must
//! come back. No socket, no clock, no thread; everything is a function of the test and its seed.
//!
//! [`Cluster`] stands for the driver and the ring: it keeps what they keep (one send in flight per client, an id reused only
//! after its close) and asserts it.

mod admin;
mod clients;
mod cluster;
mod disk_reads;
mod endings;
mod failures;
mod large;
mod nodes;
mod pipelines;
mod random;
mod support;
mod two_cores;
mod wide;

use std::sync::Arc;

use annulus_engine::disk::memory::{MemoryDisk, block_on};
use annulus_engine::{Config as EngineConfig, Durability, Engine, Limits};
use annulus_net::resp::reader;
use annulus_net::ring::ConnectionId;
use annulus_object::{Actor, Clock};

use super::{Life, Now, Progress, ShardLoop};
use crate::config::{Config, Environment, Sources};
use crate::mesh::{CoreMap, Mesh};
use crate::metrics::NodeMetrics;
use crate::node::{Node, Phase};
use crate::operation::Operation;
use crate::peers::DialRequest;

use support::{Random, bulk, encode, encode_command, key_of};

const START_MS: u64 = 1_800_000_000_000;
const NODE_ID: u64 = 77;
/// What one receive brings at most.
const RECEIVE_BYTES: usize = 16 << 10;

/// Small segments, so that a test's disk is small.
fn limits() -> Limits {
    Limits {
        segment_bytes_min: 256 << 10,
        segment_bytes_max: 256 << 10,
        large_segment_bytes_min: 1 << 20,
        small_record_bytes_max: 8 << 10,
        frame_bytes_max: 64 << 10,
        frame_bytes_eager: 4 << 10,
        waiting_bytes_max: 4 << 20,
        reads_max: 64,
        read_bytes_max: 64 << 10,
        recovery_read_bytes: 64 << 10,
        ..Limits::PRODUCTION
    }
}

/// One client and its socket.
struct Client {
    core: usize,
    connection: ConnectionId,
    /// Sent, not received yet.
    wire: Vec<u8>,
    /// Sends no more after `wire`.
    fin: bool,
    fin_seen: bool,
    /// Whether the core receives from it.
    receives: bool,
    /// Whether it reads what is sent to it.
    reads: bool,
    in_flight: Option<Vec<u8>>,
    output: Vec<u8>,
    closing: bool,
    closed: bool,
}

struct Core {
    shard: ShardLoop<MemoryDisk>,
    disk: MemoryDisk,
    free: Vec<usize>,
    next_connection: usize,
}

/// A connection to another node's core.
struct LinkEnd {
    core: usize,
    connection: ConnectionId,
    /// Handed to the ring.
    in_flight: Option<Vec<u8>>,
    closing: bool,
}

/// A node and its clients.
struct Cluster {
    node: Arc<Node>,
    links: Vec<LinkEnd>,
    /// Of which core, and what.
    dials: Vec<(usize, DialRequest)>,
    cores: Vec<Core>,
    clients: Vec<Client>,
    now: Now,
    incarnation: u16,
    /// Operations of the disk that end in a turn, at most.
    completions_max: usize,
    /// Bytes of each client that arrive in a turn, at most.
    bytes_max: usize,
    /// A new incarnation is given as soon as it is needed.
    gives_incarnations: bool,
    needs_incarnation: Vec<usize>,
    /// What operators want, by core.
    operations: Vec<(usize, Operation)>,
}

impl Cluster {
    fn new(cores: u16, cache_bytes: usize) -> Self {
        Self::open(MemoryDisk::new(1), cores, cache_bytes, limits(), 1)
    }

    fn open(disk: MemoryDisk, cores: u16, cache_bytes: usize, limits: Limits, incarnation: u16) -> Self {
        Self::open_as(NODE_ID, true, (disk, limits), cores, cache_bytes, incarnation)
    }

    fn open_as(
        node_id: u64,
        is_alone: bool,
        (disk, limits): (MemoryDisk, Limits),
        cores: u16,
        cache_bytes: usize,
        incarnation: u16,
    ) -> Self {
        let environment = Environment { affinity: (0..usize::from(cores)).collect(), memory_bytes: 1 << 30 };
        let config = Config::build(&Sources::none(), &environment).unwrap();
        let map = CoreMap::new(config.partitions, cores);
        let listen = config.listen;
        let identity = ([9; 16], node_id, incarnation);
        let metrics = NodeMetrics::new(cores);
        let node = Arc::new(Node::new(config, identity, "0".repeat(40), map.clone(), listen, START_MS, metrics));
        let cores = Mesh::for_cores(cores).into_iter().map(|mesh| {
            let core = mesh.core();
            let owned = map.owned(core);
            let config = EngineConfig {
                core,
                cores: map.cores(),
                layout: 1,
                migrate_from: None,
                partitions: u16::try_from(owned.start).unwrap()..u16::try_from(owned.end).unwrap(),
                hints_from: if is_alone { u16::MAX } else { 1024 },
                hash_key: [7; 16],
                cluster_id: [9; 16],
                actor: Actor::new(node_id, incarnation),
                clock: Clock::ZERO,
                durability: Durability::Sync,
                is_alone,
                hot_log_bytes: 4 << 20,
                hot_log_bytes_max: 4 << 20,
                cache_bytes,
                memory_bytes: 256 << 20,
                limits: limits.clone(),
                now_unix_ms: START_MS,
                progress: Default::default(),
            };
            let disk = disk.for_core(core);
            let engine = block_on(Engine::open(disk.clone(), config)).unwrap();
            let life = Life {
                session: node_id << 32 | u64::from(incarnation) << 16 | u64::from(core),
                earlier_actor: None,
                is_refilling: false,
            };
            let shard = ShardLoop::new(Arc::clone(&node), engine, mesh, life, || 0);
            Core { shard, disk, free: Vec::new(), next_connection: 0 }
        });
        let cores = cores.collect();
        node.enter(Phase::Ready);
        Self {
            node,
            links: Vec::new(),
            dials: Vec::new(),
            cores,
            clients: Vec::new(),
            now: Now { unix_ms: START_MS, steady_ns: 1 },
            incarnation,
            completions_max: usize::MAX,
            bytes_max: 1 << 20,
            gives_incarnations: true,
            needs_incarnation: Vec::new(),
            operations: Vec::new(),
        }
    }

    /// The number of a new client of a core.
    fn connect(&mut self, core: usize) -> usize {
        assert!(self.cores[core].shard.may_connect(u16::try_from(core).unwrap()));
        let connection = self.new_connection(core);
        let place = &mut self.cores[core];
        let peer = format!("127.0.0.1:{}", 20_000 + self.clients.len()).parse().unwrap();
        place.shard.on_connected(connection, (peer, self.node.listen));
        self.clients.push(Client {
            core,
            connection,
            wire: Vec::new(),
            fin: false,
            fin_seen: false,
            receives: true,
            reads: true,
            in_flight: None,
            output: Vec::new(),
            closing: false,
            closed: false,
        });
        self.clients.len() - 1
    }

    fn new_connection(&mut self, core: usize) -> ConnectionId {
        let place = &mut self.cores[core];
        let index = place.free.pop().unwrap_or_else(|| {
            place.next_connection += 1;
            place.next_connection - 1
        });
        ConnectionId::from_index(index)
    }

    /// A client sends commands, separated by `;`, which arrive in the next turns.
    fn say(&mut self, client: usize, commands: &str) {
        self.clients[client].wire.extend_from_slice(&encode(commands));
    }

    /// Begins a turn of a core.
    fn begin(&mut self, core: usize) {
        self.now.unix_ms += 1;
        self.now.steady_ns += 1_000_000;
        self.cores[core].shard.begin_turn(self.now);
    }

    /// Lets one operation of a core's disk end; `false` when none is under way.
    fn complete(&mut self, core: usize) -> bool {
        let Core { shard, disk, .. } = &mut self.cores[core];
        let completion = disk.poll();
        completion.is_some_and(|completion| {
            shard.on_disk(completion);
            true
        })
    }

    /// What a client sent arrives, as far as the core receives it.
    fn arrive(&mut self, client: usize) -> bool {
        let at = &mut self.clients[client];
        if !at.receives || at.fin_seen || at.closed {
            return false;
        }
        let arrived: Vec<u8> = at.wire.drain(..self.bytes_max.min(at.wire.len())).collect();
        let shard = &mut self.cores[at.core].shard;
        arrived.chunks(RECEIVE_BYTES).for_each(|bytes| shard.on_received(at.connection, bytes));
        let ends = at.fin && at.wire.is_empty();
        if ends {
            at.fin_seen = true;
            shard.on_ended(at.connection, true);
        }
        ends || !arrived.is_empty()
    }

    /// What became of sends and closes.
    fn finish_socket_operations(&mut self, core: usize) -> bool {
        let Core { shard, free, .. } = &mut self.cores[core];
        let mut any = false;
        for client in self.clients.iter_mut().filter(|client| client.core == core && !client.closed) {
            if client.closing {
                client.closed = true;
                client.in_flight = None;
                free.push(client.connection.index());
                shard.on_closed(client.connection);
            } else if client.reads && client.in_flight.is_some() {
                let buffer = client.in_flight.take().unwrap();
                client.output.extend_from_slice(&buffer);
                shard.on_sent(client.connection, buffer, true);
            } else {
                continue;
            }
            any = true;
        }
        any
    }

    /// Ends a turn of a core and does what it says; `true` when it said something.
    fn end(&mut self, core: usize) -> bool {
        let shard = &mut self.cores[core].shard;
        shard.end_turn(false);
        let outbox = std::mem::take(shard.outbox());
        let mut any = !outbox.sends.is_empty() || !outbox.closes.is_empty() || !outbox.wakes.is_empty();
        let find = |clients: &mut Vec<Client>, connection: ConnectionId| {
            let is = |client: &Client| client.core == core && client.connection == connection && !client.closed;
            clients.iter().position(is).expect("a connection that is open")
        };
        any |= !outbox.dials.is_empty();
        self.dials.extend(outbox.dials.into_iter().map(|dial| (core, dial)));
        for (connection, buffer) in outbox.sends {
            if let Some(link) = self.links.iter_mut().find(|link| (link.core, link.connection) == (core, connection)) {
                assert!(link.in_flight.replace(buffer).is_none(), "one send of a link is in flight");
                continue;
            }
            let client = find(&mut self.clients, connection);
            let client = &mut self.clients[client];
            assert!(client.in_flight.is_none() && !client.closing && !buffer.is_empty());
            client.in_flight = Some(buffer);
        }
        for (connection, receives) in outbox.receives {
            let client = find(&mut self.clients, connection);
            self.clients[client].receives = receives;
        }
        for connection in outbox.closes {
            if let Some(link) = self.links.iter_mut().find(|link| (link.core, link.connection) == (core, connection)) {
                link.closing = true;
                continue;
            }
            let client = find(&mut self.clients, connection);
            assert!(!std::mem::replace(&mut self.clients[client].closing, true), "a connection is closed once");
        }
        self.operations.extend(outbox.operations.into_iter().map(|operation| (core, operation)));
        if outbox.shutdown {
            self.node.enter(Phase::Draining);
        }
        if outbox.needs_incarnation {
            self.needs_incarnation.push(core);
        }
        while let Some(work) = self.cores[core].shard.next_work() {
            let done = block_on(work.run());
            self.cores[core].shard.on_work_done(done);
            any = true;
        }
        any
    }

    /// Gives the cores that need it a new incarnation.
    fn give_incarnations(&mut self) {
        for core in std::mem::take(&mut self.needs_incarnation) {
            self.incarnation += 1;
            self.cores[core].shard.engine().adopt_incarnation(Actor::new(self.node.node_id, self.incarnation));
        }
    }

    /// A whole turn of a core; `true` when something happened.
    fn turn(&mut self, core: usize) -> bool {
        self.begin(core);
        let mut any = self.finish_socket_operations(core);
        for client in 0..self.clients.len() {
            any |= self.clients[client].core == core && self.arrive(client);
        }
        if self.gives_incarnations {
            self.give_incarnations();
        }
        for _ in 0..self.completions_max {
            if !self.complete(core) {
                break;
            }
            any = true;
        }
        let shard = &mut self.cores[core].shard;
        any |= !shard.mesh().is_quiet();
        shard.on_mesh(|_| panic!("no client is handed over here"));
        any | self.end(core)
    }

    /// So many turns of a core.
    fn turns(&mut self, core: usize, count: usize) {
        for _ in 0..count {
            self.turn(core);
        }
    }

    /// Turns until nothing happens any more, housekeeping included.
    fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..200_000 {
            let any = (0..self.cores.len()).fold(false, |any, core| any | self.turn(core));
            quiet = if any { 0 } else { quiet + 1 };
            let waits = self.cores.iter().any(|core| !core.shard.commits.is_empty() || !core.shard.stalled.is_empty());
            // What failed in the background is tried again after a second.
            if quiet >= if waits { 3000 } else { 50 } {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// Stops the node; every core must end.
    fn drain(&mut self) {
        self.node.enter(Phase::Draining);
        for _ in 0..10_000 {
            (0..self.cores.len()).for_each(|core| self.turns(core, 1));
            if self.cores.iter().all(|core| core.shard.progress() == Progress::Ended) {
                return;
            }
        }
        let left: Vec<usize> = self.cores.iter().map(|core| core.shard.sessions.len()).collect();
        panic!("the drain never ends; sessions left: {left:?}");
    }

    /// A client's replies since the last call, line ends shown as `|`; all of them must be whole.
    fn replies(&mut self, client: usize) -> Vec<String> {
        let output = std::mem::take(&mut self.clients[client].output);
        let mut rest = &output[..];
        let mut replies = Vec::new();
        while !rest.is_empty() {
            let end = reader::reply_end(rest, 1 << 30).unwrap().expect("a whole reply");
            replies.push(String::from_utf8_lossy(&rest[..end]).replace("\r\n", "|"));
            rest = &rest[end..];
        }
        replies
    }

    /// Says, settles, and gives the replies.
    fn ask(&mut self, client: usize, commands: &str) -> Vec<String> {
        self.say(client, commands);
        self.settle();
        self.replies(client)
    }

    fn expect(&mut self, client: usize, commands: &str, replies: &[&str]) {
        assert_eq!(self.ask(client, commands), replies, "{commands}");
    }

    fn in_flight(&self) -> usize {
        self.cores[0].disk.in_flight()
    }
}
