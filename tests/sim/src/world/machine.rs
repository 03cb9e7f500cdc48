//! A node: its disk and what it keeps of itself there, its clocks, and the process that runs or does not.
//!
//! This is the part of production's boot that the protocol relies on: a start that does not follow a clean stop, and a failed
//! append, take a new incarnation, which is durable before anything is stamped with it (rule S1).
//!
//! Invariant: a life is one run of the process; whatever was meant for an earlier life finds out by its number.

use std::collections::BTreeMap;

use annulus_cluster::event::{Event, Key};
use annulus_cluster::ids::{Home, StoreToken};
use annulus_cluster::mutation::{Mutation, mutated};
use annulus_cluster::store::{Store, Versions};
use annulus_object::{Actor, Clock};

use super::disasters::Ambush;
use super::{Happening, PROBE, TICK, World};
use crate::bits::Bits;
use crate::checkers::Violation;
use crate::clock::{Instant, MILLISECOND, NodeClock};
use crate::faults::{Kind, Moment};
use crate::model::{KeyIndex, OpId};
use crate::node::{CoreStore, Disk, ExchangeCounts, Opening, Protocol, RefillCounts, Setup, Troubles};
use crate::report::Tally;
use crate::ring::node_id;
use crate::seeds::{Consumer, Random};
use crate::shape::Shape;
use crate::store::core_of;
use crate::watched::Watched;

/// How many probes in a row must fail before a peer counts as dead.
const PROBES_MISSED_MAX: u32 = 4;

/// A write of a core's store that is under way.
pub(super) struct Outstanding {
    /// As the protocol calls it; several may have the same.
    pub(super) token: StoreToken,
    pub(super) key: KeyIndex,
    pub(super) home: Home,
    /// What the node has once it is durable.
    pub(super) writes: Bits,
    pub(super) cause: Option<OpId>,
}

/// One core of a process that runs.
pub(super) struct Core<S, P> {
    pub(super) store: Watched<S>,
    pub(super) protocol: P,
    pub(super) stores: BTreeMap<StoreToken, Outstanding>,
    /// Reads under way: as the protocol calls them, and what led to them.
    pub(super) loads: BTreeMap<StoreToken, (StoreToken, Option<OpId>)>,
    /// What it was told that others have of a key.
    pub(super) heard: BTreeMap<KeyIndex, Bits>,
    /// It is an owner, and has left a copy of a partition's key to an exchange with another.
    pub(super) has_left_some: bool,
    /// What of its exchanges, and of its refilling, was counted.
    pub(super) exchanges: ExchangeCounts,
    refilling: RefillCounts,
    /// It has back what its node's lost disk had.
    pub(super) is_refilled: bool,
    /// The next name for the store.
    pub(super) next_token: u64,
    /// The earliest instant for which the disk has an entry in the agenda.
    pub(super) disk_due: Option<Instant>,
}

impl<S, P> Core<S, P> {
    /// A name for the store's next task.
    pub(super) fn name(&mut self) -> StoreToken {
        self.next_token += 1;
        StoreToken(self.next_token)
    }
}

impl<S: Store, P: Protocol<Watched<S>>> Core<S, P> {
    /// Adds to the tally what its protocol has counted since the last time.
    pub(super) fn count(&mut self, tally: &mut Tally) {
        let (exchanges, refilling) = (self.protocol.exchanges(), self.protocol.refilling());
        tally.exchanges.add(&exchanges, &std::mem::replace(&mut self.exchanges, exchanges));
        tally.refilling.add(&refilling, &std::mem::replace(&mut self.refilling, refilling));
    }
}

/// What a node keeps of itself, beside its stores.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meta {
    incarnation: u16,
    clock: Clock,
    is_clean: bool,
    /// Its disk was replaced, and it was not refilled since.
    pub(super) is_refilling: bool,
}

/// What a process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Down,
    Up,
    /// It takes no more requests.
    Stopping,
}

/// A node.
pub(super) struct Machine<D: Disk, P> {
    pub(super) disk: D,
    pub(super) clock: NodeClock,
    pub(super) state: State,
    pub(super) life: u32,
    pub(super) cores: Vec<Core<D::Core, P>>,
    pub(super) cores_wanted: u16,
    /// Nothing runs before this instant.
    pub(super) paused_until: Instant,
    /// Everything takes so much longer, until then.
    pub(super) slow: (Instant, Instant),
    /// The latest instant at which it was up, awake and undisturbed from.
    pub(super) undisturbed_since: Instant,
    pub(super) trouble: u64,
    /// Bits of its disk have flipped: it is not to start on that disk again.
    pub(super) is_rotten: bool,
    pub(super) armed: Option<(Moment, Ambush, Instant)>,
    pub(super) meta_fails_until: Instant,
    /// Taken for dead on purpose, until then.
    pub(super) alarms: Vec<Instant>,
    pub(super) missed: Vec<u32>,
    pub(super) meta: Meta,
    /// Under which it stamps: of its meta data, where that could be stored.
    incarnation: u16,
    wants_incarnation: bool,
}

impl<D: Disk, P> Machine<D, P> {
    pub(super) fn new(seed: u64, node: usize, shape: &Shape) -> Self {
        let mut clock = Random::new(seed, Consumer::Clock, node as u64);
        Self {
            disk: D::new(shape.partitions, Random::new(seed, Consumer::Disk, node as u64)),
            clock: NodeClock::new(clock.below(1 << 40)),
            state: State::Down,
            life: 0,
            cores: Vec::new(),
            cores_wanted: shape.cores[node],
            paused_until: 0,
            slow: (0, 0),
            undisturbed_since: 0,
            trouble: 0,
            is_rotten: false,
            armed: None,
            meta_fails_until: 0,
            alarms: vec![0; shape.nodes],
            missed: vec![0; shape.nodes],
            meta: Meta { incarnation: 1, clock: Clock::ZERO, is_clean: true, is_refilling: false },
            incarnation: 1,
            wants_incarnation: false,
        }
    }

    /// When its process handles what is due now.
    pub(super) fn stands_still_until(&self, now: Instant) -> Instant {
        self.paused_until.max(now)
    }

    /// How long an event takes longer than usual.
    pub(super) fn slowness(&self, now: Instant) -> Instant {
        if self.slow.1 > now { self.slow.0 } else { 0 }
    }

    pub(super) fn is_up(&self) -> bool {
        self.state != State::Down
    }

    /// Whether its process may be ended now, to start again on the same disk.
    pub(super) fn may_end(&self) -> bool {
        self.is_up() && !self.is_rotten
    }

    pub(super) fn is_up_as(&self, life: u32) -> bool {
        self.is_up() && self.life == life
    }

    fn take_incarnation(&mut self) {
        self.meta.incarnation = self.meta.incarnation.checked_add(1).expect("a run has few incarnations");
    }

    fn actor(&self, node: usize) -> Actor {
        Actor::new(node_id(node).raw(), self.incarnation)
    }
}

impl<D: Disk, P: Protocol<Watched<D::Core>>> World<D, P> {
    /// Starts a process now.
    pub(super) fn start(&mut self, node: usize) {
        let (now, ring, limits) = (self.now, &self.ring, &self.shape.limits);
        let machine = &mut self.machines[node];
        assert_eq!(machine.state, State::Down, "a process starts once");
        machine.life += 1;
        machine.state = State::Up;
        // Another process: it neither stands still nor is slow.
        (machine.paused_until, machine.slow) = (0, (0, 0));
        machine.undisturbed_since = machine.undisturbed_since.max(now);
        machine.wants_incarnation = false;
        let (life, incarnation) = (machine.life, machine.meta.incarnation);
        let mut interrupted = None;
        if !machine.meta.is_clean && !mutated(Mutation::SameActorAfterCrash) {
            // Every attempt has its own.
            machine.take_incarnation();
            interrupted = Some(Actor::new(node_id(node).raw(), machine.meta.incarnation));
            machine.take_incarnation();
        }
        machine.incarnation = machine.meta.incarnation;
        if machine.meta_fails_until > now && !machine.meta.is_clean {
            // A deliberate bug.
            machine.meta.incarnation = incarnation;
        }
        machine.meta.is_clean = false;
        let earlier_actor = (machine.incarnation == incarnation && life > 1).then(|| machine.actor(node));
        let (cores, is_refilling) = (machine.cores_wanted, machine.meta.is_refilling);
        let (actor, clock) = (machine.actor(node), machine.meta.clock);
        let stores = machine.disk.open(Opening { cores, actor, interrupted, clock, now: machine.clock.read(now) });
        let protocol = |core| {
            let (ring, limits) = (ring.clone(), limits.clone());
            P::new(Setup { node: node_id(node), core, cores, ring, limits, life, earlier_actor, is_refilling })
        };
        let cores = stores.into_iter().zip(0..).map(|(store, core)| Core {
            store: Watched::new(store),
            protocol: protocol(core),
            stores: BTreeMap::new(),
            loads: BTreeMap::new(),
            heard: BTreeMap::new(),
            has_left_some: false,
            exchanges: ExchangeCounts::default(),
            refilling: RefillCounts::default(),
            is_refilled: false,
            next_token: 0,
            disk_due: None,
        });
        machine.cores = cores.collect();
        machine.missed.fill(0);
        for core in 0..machine.cores.len() {
            let first = now + TICK * (core as u64 + 1) / machine.cores.len() as u64;
            self.agenda.add(first, Happening::Tick { node, core, life });
        }
        let (incarnation, cores) = (self.machines[node].incarnation, self.machines[node].cores.len());
        self.trace.note(1, (node as u64) << 32 | u64::from(incarnation));
        self.tell(None, || format!("n{node} starts, incarnation {incarnation}, {cores} cores"));
        self.note_found(node);
    }

    /// What a process finds on its disk is a copy, also of what was not confirmed before it died.
    fn note_found(&mut self, node: usize) {
        for key in 0..self.checkers.model.keys().len() {
            let key = KeyIndex::try_from(key).expect("few keys");
            let known = self.checkers.model.key(key);
            let name = Key { bytes: &known.bytes, partition: known.partition, hash: known.hash };
            let cores = &self.machines[node].cores;
            let core = core_of(name.partition, self.ring.partitions(), cores.len() as u16);
            let (home, mut found) = (Home::Owned(name.partition), Versions::default());
            cores[usize::from(core)].store.inner.versions(home, &name, &mut found);
            if !found.is_empty() {
                let writes = known.covered(&found.context);
                self.checkers.on_durable(node, home, key, &writes);
            }
        }
    }

    pub(super) fn on_start(&mut self, node: usize, life: u32) {
        let machine = &self.machines[node];
        if machine.state != State::Down || machine.life != life {
            return;
        }
        // Without a durable incarnation nothing may start.
        let fails = machine.meta_fails_until > self.now && !machine.meta.is_clean;
        if fails && !mutated(Mutation::IncarnationNotDurable) {
            self.injected.add(Kind::FailedMeta, 1);
            let later = machine.meta_fails_until;
            self.agenda.add(later, Happening::Start { node, life });
            return;
        }
        self.start(node);
    }

    /// Kills a process.
    pub(super) fn crash(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        assert!(machine.is_up(), "what runs can be killed");
        machine.state = State::Down;
        machine.armed = None;
        let stores = std::mem::take(&mut machine.cores).into_iter().map(|core| core.store.inner).collect();
        machine.disk.crash(stores);
        self.trace.note(2, node as u64);
        self.tell(None, || format!("n{node} is killed"));
        self.break_connections(node);
    }

    /// Lets a process that is down start after a while.
    pub(super) fn restart_later(&mut self, node: usize, after: Instant, cores: Option<u16>) {
        let machine = &mut self.machines[node];
        if let Some(cores) = cores.filter(|cores| *cores != machine.cores_wanted) {
            machine.cores_wanted = cores;
            self.injected.add(Kind::Recore, 1);
        }
        let life = machine.life;
        self.agenda.add(self.now + after, Happening::Start { node, life });
    }

    /// A store takes nothing more: whoever looks after the node starts it again.
    pub(super) fn start_again(&mut self, node: usize) {
        if !self.machines[node].may_end() {
            // Its disk is replaced soon anyway.
            return;
        }
        self.tally.read_only += 1;
        self.tell(None, || format!("n{node} writes nothing more, and is started again"));
        self.crash(node);
        self.restart_later(node, 50 * MILLISECOND, None);
    }

    /// Lets a process end in order.
    pub(super) fn stop(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        machine.state = State::Stopping;
        let life = machine.life;
        self.tell(None, || format!("n{node} is told to stop"));
        self.agenda.add(self.now, Happening::Stopping { node, life, since: self.now });
    }

    pub(super) fn on_stopping(&mut self, node: usize, life: u32, since: Instant) -> Result<(), Violation> {
        let machine = &mut self.machines[node];
        if machine.state != State::Stopping || machine.life != life {
            return Ok(());
        }
        let is_idle = machine.cores.iter().all(|core| core.store.inner.is_idle());
        if !is_idle && self.now < since + 200 * MILLISECOND {
            self.agenda.add(self.now + MILLISECOND, Happening::Stopping { node, life, since });
            return Ok(());
        }
        let may_have_lost = machine.wants_incarnation;
        let clock = machine.cores.iter().map(|core| core.store.inner.clock()).max().unwrap_or(Clock::ZERO);
        self.crash(node);
        let machine = &mut self.machines[node];
        if is_idle && !may_have_lost {
            machine.meta.is_clean = true;
            machine.meta.clock = machine.meta.clock.max(clock);
            self.injected.add(Kind::Stop, 1);
            self.tell(None, || format!("n{node} has stopped in order"));
        }
        Ok(())
    }

    /// The disk is replaced; the node is down.
    pub(super) fn wipe(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        assert_eq!(machine.state, State::Down, "disks are replaced in machines that are off");
        machine.disk.wipe();
        machine.is_rotten = false;
        machine.meta.clock = Clock::ZERO;
        machine.meta.is_refilling = true;
        machine.meta.is_clean = mutated(Mutation::SameActorAfterWipe);
        self.checkers.model.note_wiped(node);
        self.tell(None, || format!("n{node} gets an empty disk"));
    }

    /// A node wants to stamp as somebody else (rule S1).
    pub(super) fn want_incarnation(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        if std::mem::replace(&mut machine.wants_incarnation, true) {
            return;
        }
        let life = machine.life;
        self.agenda.add(self.now + MILLISECOND, Happening::Incarnation { node, life });
    }

    pub(super) fn on_incarnation(&mut self, node: usize, life: u32) {
        let now = self.now;
        let machine = &mut self.machines[node];
        if !machine.is_up_as(life) {
            return;
        }
        if machine.meta_fails_until > now {
            self.injected.add(Kind::FailedMeta, 1);
            self.agenda.add(now + 50 * MILLISECOND, Happening::Incarnation { node, life });
            return;
        }
        machine.wants_incarnation = false;
        if !mutated(Mutation::SameActorAfterFailedAppend) {
            machine.take_incarnation();
        }
        machine.incarnation = machine.meta.incarnation;
        let actor = machine.actor(node);
        machine.cores.iter_mut().for_each(|core| core.store.inner.adopt(actor));
        self.tally.incarnations += 1;
        self.tell(None, || format!("n{node} stamps as {actor:?} from now on"));
    }

    /// A node looks who answers, and tells its cores of changes.
    pub(super) fn on_probe(&mut self, node: usize) -> Result<(), Violation> {
        self.agenda.add(self.now + PROBE, Happening::Probe { node });
        if !self.machines[node].is_up() {
            return Ok(());
        }
        for peer in (0..self.machines.len()).filter(|peer| *peer != node) {
            let answers = self.answers(node, peer);
            let missed = &mut self.machines[node].missed[peer];
            let before = *missed >= PROBES_MISSED_MAX;
            *missed = if answers { 0 } else { *missed + 1 };
            let after = *missed >= PROBES_MISSED_MAX;
            if before != after {
                let text = if after { "takes" } else { "does not take" };
                self.tell(None, || format!("n{node} {text} n{peer} for dead"));
                self.drive_all(node, Event::Liveness { node: node_id(peer), up: !after })?;
            }
        }
        Ok(())
    }

    fn answers(&mut self, node: usize, peer: usize) -> bool {
        let (now, other) = (self.now, &self.machines[peer]);
        let is_there = other.is_up() && other.paused_until <= now && other.slowness(now) < PROBE;
        let passes = self.network.passes(now, node, peer) && self.network.passes(now, peer, node);
        let forced = self.machines[node].alarms[peer] > now;
        if forced && is_there && passes {
            self.injected.add(Kind::FalseAlarm, 1);
        }
        is_there && passes && !forced && !self.detector.one_in(50)
    }

    /// A disk gets troubles, or none.
    pub(super) fn trouble(&mut self, node: usize, troubles: Troubles) -> u64 {
        self.next_trouble += 1;
        let machine = &mut self.machines[node];
        machine.trouble = self.next_trouble;
        machine.disk.set_troubles(troubles);
        self.next_trouble
    }
}
