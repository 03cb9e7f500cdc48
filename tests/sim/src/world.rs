//! A cluster under virtual time: nodes with their cores, clocks and disks, a network, clients, and what goes wrong.
//!
//! One thread takes the next thing from the queues, lets the right core handle it, and carries out what that core wants. How
//! cores are driven is in `cores`, how nodes live and die in `machine`, what clients do in `clients`, what goes wrong in
//! `disasters`, and how it all becomes well again in `healing`.
//!
//! Invariant: a run is a function of its seed and its options. Nothing here reads a clock or iterates in an order of chance.

mod clients;
mod cores;
mod disasters;
mod healing;
mod machine;
mod refilling;
mod rot;

use std::collections::BTreeMap;
use std::rc::Rc;

use annulus_cluster::effect::Effects;
use annulus_cluster::ids::Home;
use annulus_cluster::store::Versions;
use annulus_object::{Context, Object};

use crate::agenda::Agenda;
use crate::checkers::{Checkers, Promise, Violation};
use crate::clock::{Instant, MILLISECOND};
use crate::faults::{Faults, Injected, Kind};
use crate::model::{KeyIndex, OpId};
use crate::network::{Network, Packet};
use crate::node::{Disk, Protocol};
use crate::options::Options;
use crate::report::{Report, Tally};
use crate::ring::Ring;
use crate::seeds::{Consumer, Random};
use crate::shape::Shape;
use crate::trace::Trace;
use crate::watched::Watched;
use crate::workload::{Client, Own};
use clients::Answered;
use machine::Machine;

/// The key of the keyed hash in every run.
pub(crate) const HASH_KEY: [u8; 16] = *b"simulated cluste";
/// How often a core is told that time has passed.
const TICK: Instant = 10 * MILLISECOND;
/// How often a node asks the others whether they are there.
const PROBE: Instant = 50 * MILLISECOND;

/// Something that happens at an instant.
#[derive(Debug)]
enum Happening {
    /// Time has passed for a core.
    Tick { node: usize, core: usize, life: u32 },
    /// Something of a core's disk ends.
    Disk { node: usize, core: usize, life: u32 },
    /// A packet that waited for its node.
    Packet(Packet),
    /// A node looks who answers.
    Probe { node: usize },
    /// A client goes on.
    Wake { client: usize },
    /// A request reaches its node.
    Request { op: OpId },
    /// An answer reaches its client.
    Answer { client: usize, op: OpId, answered: Box<Answered> },
    /// A client's connection broke.
    Lost { client: usize, op: OpId },
    /// A client has waited long enough.
    Overdue { client: usize, op: OpId },
    /// The next fault.
    Fault,
    /// A cut ends.
    Mend { links: Vec<(usize, usize)> },
    /// A disk is well again, if these were its last troubles.
    Mended { node: usize, trouble: u64 },
    /// A disk that rots is replaced, if it can be spared.
    Replace { node: usize },
    /// A process starts.
    Start { node: usize, life: u32 },
    /// A process that is to end looks whether it can.
    Stopping { node: usize, life: u32, since: Instant },
    /// A node tries to store a new incarnation.
    Incarnation { node: usize, life: u32 },
    /// A node learns that a connection is gone.
    Unreachable { node: usize, life: u32, peer: usize },
}

impl Happening {
    /// The node whose process handles it.
    fn process(&self) -> Option<usize> {
        match self {
            Happening::Tick { node, .. }
            | Happening::Disk { node, .. }
            | Happening::Probe { node }
            | Happening::Unreachable { node, .. } => Some(*node),
            Happening::Packet(packet) => Some(packet.to),
            _ => None,
        }
    }
}

/// A cluster, its clients and its enemies.
pub struct World<D: Disk, P> {
    shape: Shape,
    ring: Rc<Ring>,
    now: Instant,
    agenda: Agenda<Happening>,
    network: Network,
    machines: Vec<Machine<D, P>>,
    clients: Vec<Client>,
    faults: Faults,
    detector: Random,
    turns: Random,
    checkers: Checkers,
    trace: Trace,
    injected: Injected,
    tally: Tally,
    /// No more faults, and clients begin nothing any more.
    is_healing: bool,
    /// The last process that stands still at the end of the faults wakes up then.
    quiet_from: Instant,
    /// Of operations that have not reached their nodes: the context and the connection's own last dot, as nodes see them.
    requests: BTreeMap<OpId, (Option<Context>, Option<Own>)>,
    /// What the reads of the end have found.
    swept: BTreeMap<OpId, Object>,
    effects: Effects,
    before: Vec<(Home, Versions)>,
    /// What the core that is being driven had of keys when the event came, as far as it was looked up.
    at_event: BTreeMap<KeyIndex, Vec<(Home, Versions)>>,
    has_several_stores: bool,
    next_trouble: u64,
}

impl<D: Disk, P: Protocol<Watched<D::Core>>> World<D, P> {
    /// The world of a seed.
    #[must_use]
    pub fn new(seed: u64, options: &Options) -> Self {
        let shape = Shape::of(seed, options.work);
        let ring = Rc::new(Ring::new(seed, shape.partitions, shape.nodes, usize::from(shape.quorum.n)));
        let (least, mean) = shape.latency;
        let network = Network::new(shape.nodes, least, mean, Random::new(seed, Consumer::Network, 0));
        let machines = (0..shape.nodes).map(|node| Machine::new(seed, node, &shape)).collect();
        let mut world = Self {
            ring,
            now: 0,
            agenda: Agenda::default(),
            network,
            machines,
            clients: (0..shape.clients).map(|client| Client::new(seed, client, &shape)).collect(),
            faults: Faults::new(seed, shape.nodes, options.kinds_on(D::ROTS)),
            detector: Random::new(seed, Consumer::Detector, 0),
            turns: Random::new(seed, Consumer::Turns, 0),
            checkers: Checkers::default(),
            trace: Trace::new(options.keeps_story),
            injected: Injected::default(),
            tally: Tally::default(),
            is_healing: false,
            quiet_from: 0,
            requests: BTreeMap::new(),
            swept: BTreeMap::new(),
            effects: Effects::default(),
            before: Vec::new(),
            at_event: BTreeMap::new(),
            has_several_stores: false,
            next_trouble: 0,
            shape,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.add_keys();
        let (nodes, kinds) = (self.shape.nodes, self.faults.kinds());
        self.checkers.model.clocks_are_right = !kinds.has(Kind::Jump) && !kinds.has(Kind::Drift);
        self.trace.tell(0, None, || format!("{nodes} nodes; faults of this run: {}", kinds.names()));
        for node in 0..nodes {
            self.start(node);
            self.agenda.add(PROBE + node as u64, Happening::Probe { node });
        }
        for client in 0..self.shape.clients {
            let pause = self.clients[client].pause(&self.shape);
            self.agenda.add(pause, Happening::Wake { client });
        }
        let gap = self.fault_gap();
        self.agenda.add(gap, Happening::Fault);
    }

    /// Lets everything happen that is due by an instant.
    fn run_until(&mut self, end: Instant) -> Result<(), Violation> {
        loop {
            let packet = self.network.next_due().unwrap_or(Instant::MAX);
            let other = self.agenda.next_due().unwrap_or(Instant::MAX);
            let due = packet.min(other);
            if due > end {
                self.now = end;
                return Ok(());
            }
            assert!(due >= self.now, "time goes forward");
            self.now = due;
            self.tally.events += 1;
            let happening = if packet <= other {
                Happening::Packet(self.network.take().expect("a packet is due"))
            } else {
                self.agenda.take().expect("something is due").1
            };
            self.happen(happening)?;
        }
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        if let Some(node) = happening.process() {
            let until = self.machines[node].stands_still_until(self.now);
            if until > self.now {
                self.agenda.add(until, happening);
                return Ok(());
            }
        }
        match happening {
            Happening::Tick { node, core, life } => self.on_tick(node, core, life),
            Happening::Disk { node, core, life } => self.on_disk(node, core, life),
            Happening::Packet(packet) => self.on_packet(packet),
            Happening::Probe { node } => self.on_probe(node),
            Happening::Unreachable { node, life, peer } => self.on_unreachable(node, life, peer),
            Happening::Wake { client } => {
                self.on_wake(client);
                Ok(())
            }
            Happening::Request { op } => self.on_request(op),
            Happening::Answer { client, op, answered } => {
                self.on_answered(client, op, *answered);
                Ok(())
            }
            Happening::Lost { client, op } => {
                self.on_lost(client, op);
                Ok(())
            }
            Happening::Overdue { client, op } => self.on_overdue(client, op),
            Happening::Fault => self.on_fault(),
            Happening::Mend { links } => {
                self.on_mend(&links);
                Ok(())
            }
            Happening::Mended { node, trouble } => {
                self.on_mended(node, trouble);
                Ok(())
            }
            Happening::Replace { node } => {
                self.on_replace(node);
                Ok(())
            }
            Happening::Start { node, life } => {
                self.on_start(node, life);
                Ok(())
            }
            Happening::Stopping { node, life, since } => self.on_stopping(node, life, since),
            Happening::Incarnation { node, life } => {
                self.on_incarnation(node, life);
                Ok(())
            }
        }
    }

    /// What became of the run.
    #[must_use]
    pub fn report(mut self, seed: u64, options: &Options, violation: Option<Violation>) -> Report {
        self.count_injected();
        self.tally.link_depth_max = self.network.deepest() as u64;
        self.checkers.compared.add(Promise::Assertions, self.tally.events);
        let of = violation.as_ref().and_then(|violation| violation.key);
        Report {
            seed,
            store: (options.store_of(seed), options.store.is_some()),
            hash: self.trace.hash(),
            injected: self.injected,
            tally: self.tally,
            compared: self.checkers.compared,
            story: self.trace.story(of),
            violation,
        }
    }

    /// What happened in the run that was not counted when it did.
    fn count_injected(&mut self) {
        let network = self.network.counts();
        let mut disks = crate::node::DiskCounts::default();
        for counts in self.machines.iter().map(|machine| machine.disk.counts()) {
            disks.add(&counts);
        }
        self.injected.add(Kind::Loss, network.lost);
        self.injected.add(Kind::Duplicate, network.duplicated);
        self.injected.add(Kind::Reorder, network.reordered);
        self.injected.add(Kind::Late, network.late);
        self.injected.add(Kind::Clog, network.clogged);
        self.injected.add(Kind::FailedAppend, disks.failed_appends);
        self.injected.add(Kind::FailedRead, disks.failed_reads);
        self.tally.packets = network.sent;
        self.tally.lost_in_crash = disks.lost_in_crash;
        self.tally.ghosts = disks.ghosts;
        self.tally.disks = disks;
    }

    /// Tells the story of something that concerns a key or all.
    fn tell(&mut self, key: Option<u32>, text: impl FnOnce() -> String) {
        self.trace.tell(self.now, key, text);
    }
}
