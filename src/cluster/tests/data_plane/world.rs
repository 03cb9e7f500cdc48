//! A handful of nodes, moved by hand: every message really encoded, every write and read of a store ended when the test says
//! so, time standing still until it is moved.
//!
//! Invariant: between two calls every effect of every event was carried out, in its order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use annulus_cluster::effect::{Answer, Effect, Effects, Failure};
use annulus_cluster::event::{Event, Get, Key, Now, Put, Quorum, StoreFailure};
use annulus_cluster::ids::{ClientToken, Home, NodeId, PartitionId, Session};
use annulus_cluster::limits::Limits;
use annulus_cluster::shard::{Shard, Start};
use annulus_object::{Actor, Context, ContextView, Dot, Object};

pub mod ring;
pub mod store;

pub use ring::Ring;
use store::ModelStore;

/// The one partition that all keys are in.
pub const PARTITION: PartitionId = 7;
pub const START_MS: u64 = 1_800_000_000_000;
/// When the world begins.
const BEGIN_US: u64 = 5_000_000;
pub const BEGIN_MS: u64 = START_MS + BEGIN_US / 1000;
/// Between two exchanges, where there are to be none: longer than any test.
pub const NEVER_US: u64 = 1 << 40;
/// Of every command.
pub const DEADLINE_US: u64 = 1_000_000;

/// Nobody compares anything.
pub fn quiet_limits() -> Limits {
    Limits { exchange_interval_us: NEVER_US, exchange_epoch_bits: 31, ..Limits::default() }
}

pub fn node(index: usize) -> NodeId {
    NodeId::new(index as u64 + 1)
}

/// A node's place in the world.
pub fn place(node: NodeId) -> usize {
    node.raw() as usize - 1
}

/// A key's hash: its first bytes, so that they can be told in a debugger, behind one that spreads keys over a tree.
pub fn hash(key: &[u8]) -> u128 {
    let mixed = key.iter().fold(0x51_u8, |mixed, byte| (mixed ^ byte).wrapping_mul(0xa7).rotate_left(3));
    let bytes = key.iter().take(14).fold(u128::from(mixed) << 8 | 0x51, |hash, byte| hash << 8 | u128::from(*byte));
    bytes << (8 * (14 - key.len().min(14)))
}

pub fn key(bytes: &[u8]) -> Key<'_> {
    Key { bytes, partition: PARTITION, hash: hash(bytes) }
}

pub struct Node {
    /// `None` while its process does not run.
    pub shard: Option<Shard>,
    pub store: ModelStore,
    pub ring: Ring,
    pub incarnation: u16,
    pub sessions: u64,
    pub skew_ms: i64,
    pub incarnations_needed: usize,
    pub dirty: Vec<NodeId>,
    /// Its disk was replaced.
    pub is_refilling: bool,
}

#[derive(Debug, Clone)]
pub struct Packet {
    pub from: usize,
    pub to: usize,
    pub bytes: Vec<u8>,
}

/// What a client was told, with the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Written { dot: Dot, is_alone: bool, context: Context },
    Found { object: Object, is_stale_possible: bool },
    Failed(Failure),
}

/// What happens, for whoever listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Sent { from: usize, to: usize, bytes: Vec<u8> },
    Stores { node: usize, home: Home, key: Vec<u8>, object: Object },
    Forgets { node: usize, home: Home },
    Told { client: u64, told: Told },
    NeedsIncarnation { node: usize },
    Dirty { node: usize, target: NodeId },
}

pub struct World {
    pub nodes: Vec<Node>,
    pub packets: VecDeque<Packet>,
    /// From whom nothing comes to whom.
    pub cuts: BTreeSet<(usize, usize)>,
    pub steady_us: u64,
    pub told: BTreeMap<u64, Told>,
    pub heard: Vec<Heard>,
    pub quorum: Quorum,
    pub limits: Limits,
    next_client: u64,
    effects: Effects,
    /// Prints what happens.
    pub is_loud: bool,
    /// What happens, for scripts.
    pub story: Option<Vec<String>>,
}

/// What a client asks to be written.
#[derive(Debug, Clone, Default)]
pub struct Wish<'a> {
    pub value: Option<&'a [u8]>,
    pub value_dot: Option<Dot>,
    pub context: Option<Context>,
    pub own_last: Option<(Dot, bool)>,
    pub is_repeatable: bool,
}

impl World {
    /// `count` nodes, the first three of them owners.
    ///
    /// Nobody compares anything before the end of all days: tests of exchanges have limits of their own.
    pub fn new(count: usize) -> World {
        Self::with_limits(count, quiet_limits())
    }

    pub fn with_limits(count: usize, limits: Limits) -> World {
        let owners = count.min(3);
        let ring = Ring {
            owners: (0..owners).map(node).collect(),
            fallbacks: (owners..count).map(node).collect(),
            down: BTreeSet::new(),
            fingerprint: 1,
        };
        let mut world = World {
            nodes: Vec::new(),
            packets: VecDeque::new(),
            steady_us: BEGIN_US,
            told: BTreeMap::new(),
            heard: Vec::new(),
            quorum: Quorum { n: 3, r: 2, w: 2, pr: 0, pw: 0, dw: 2 },
            limits,
            next_client: 0,
            effects: Effects::default(),
            is_loud: std::env::var_os("ANNULUS_STORY").is_some(),
            cuts: BTreeSet::new(),
            story: None,
        };
        for index in 0..count {
            world.nodes.push(Node {
                shard: None,
                store: ModelStore::new(Actor::new(index as u64 + 1, 1)),
                ring: ring.clone(),
                incarnation: 1,
                sessions: 0,
                skew_ms: 0,
                incarnations_needed: 0,
                dirty: Vec::new(),
                is_refilling: false,
            });
            world.start(index, None);
        }
        world
    }

    pub fn now(&self, node: usize) -> Now {
        let unix_ms = (START_MS + self.steady_us / 1000).wrapping_add_signed(self.nodes[node].skew_ms);
        Now { unix_ms, steady_us: self.steady_us }
    }

    fn start(&mut self, index: usize, earlier_actor: Option<Actor>) {
        let node_id = node(index);
        let node = &mut self.nodes[index];
        node.sessions += 1;
        let session = Session((index as u64) << 32 | node.sessions);
        node.shard = Some(Shard::new(Start {
            node: node_id,
            session,
            earlier_actor,
            is_refilling: node.is_refilling,
            limits: self.limits.clone(),
        }));
    }

    /// Starts a node that does not run; as the actor that it was, or as a new one.
    pub fn restart(&mut self, index: usize, is_new_actor: bool) {
        assert!(self.nodes[index].shard.is_none(), "it does not run");
        if is_new_actor {
            self.renew(index);
        }
        let earlier = (!is_new_actor).then(|| self.nodes[index].store.actor).flatten();
        self.start(index, earlier);
    }

    /// Gives a node a new incarnation.
    pub fn renew(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.incarnation += 1;
        node.store.actor = Some(Actor::new(index as u64 + 1, node.incarnation));
    }

    /// Kills a node: what was not durable is lost, and so is what is on its way to it.
    pub fn crash(&mut self, index: usize) {
        self.nodes[index].shard = None;
        self.nodes[index].store.crash();
        self.packets.retain(|packet| packet.to != index);
    }

    /// Kills a node, replaces its disk by an empty one, and starts it again.
    pub fn replace_disk(&mut self, index: usize) {
        self.crash(index);
        self.nodes[index].store.wipe();
        self.nodes[index].is_refilling = true;
        self.restart(index, true);
    }

    /// Every node's failure detector says so.
    pub fn set_up(&mut self, index: usize, is_up: bool) {
        for other in 0..self.nodes.len() {
            let down = &mut self.nodes[other].ring.down;
            let is_news = if is_up { down.remove(&node(index)) } else { down.insert(node(index)) };
            if is_news && other != index {
                self.handle(other, Event::Liveness { node: node(index), up: is_up });
            }
        }
    }

    pub fn put(&mut self, index: usize, key_bytes: &[u8], wish: &Wish<'_>) -> u64 {
        self.next_client += 1;
        let client = self.next_client;
        let put = Put {
            client: ClientToken(client),
            key: key(key_bytes),
            value: wish.value,
            expires_at_ms: 0,
            value_dot: wish.value_dot,
            context: wish.context.as_ref(),
            own_last: wish.own_last.map(|own| own.0),
            own_is_alone: wish.own_last.is_some_and(|own| own.1),
            is_repeatable: wish.is_repeatable,
            quorum: self.quorum,
            deadline_us: self.steady_us + DEADLINE_US,
        };
        self.handle(index, Event::Put(put));
        client
    }

    pub fn get(&mut self, index: usize, key_bytes: &[u8], own_last: Option<Dot>) -> u64 {
        self.next_client += 1;
        let client = self.next_client;
        let get = Get {
            client: ClientToken(client),
            key: key(key_bytes),
            own_last,
            quorum: self.quorum,
            deadline_us: self.steady_us + DEADLINE_US,
        };
        self.handle(index, Event::Get(get));
        client
    }

    /// The number of the next client's command.
    pub fn next_client(&self) -> u64 {
        self.next_client + 1
    }

    pub fn tick(&mut self, ms: u64) {
        self.steady_us += ms * 1000;
        for index in 0..self.nodes.len() {
            self.handle(index, Event::Tick);
        }
    }

    /// Time passes in small steps, and everything that moves arrives.
    pub fn wait(&mut self, ms: u64) {
        self.wait_in_steps(ms, 20);
    }

    /// The same in steps of so many milliseconds.
    pub fn wait_in_steps(&mut self, ms: u64, step_ms: u64) {
        for _ in 0..ms.div_ceil(step_ms) {
            self.tick(step_ms);
            self.settle();
        }
    }

    /// Delivers the packet at `index`.
    pub fn deliver(&mut self, index: usize) {
        let packet = self.packets.remove(index).expect("it is on its way");
        self.handle(packet.to, Event::Message { from: node(packet.from), bytes: &packet.bytes });
    }

    /// Ends a write of a node's store.
    pub fn finish_store(&mut self, index: usize, write: usize, result: Result<(), StoreFailure>) {
        let token = self.nodes[index].store.finish_store(write, result.is_ok());
        self.handle(index, Event::Stored { token, result });
    }

    /// Ends a read of a node's store.
    pub fn finish_load(&mut self, index: usize, load: usize, tells: bool) {
        let (token, (hash, home), kept) = self.nodes[index].store.finish_load(load);
        let mut object = Vec::new();
        if !kept.object.is_empty() {
            kept.object.encode(&mut object);
        }
        self.handle(index, Event::Loaded { token, home, key: &kept.key, hash, object: tells.then_some(&object) });
    }

    /// Until nothing moves any more: everything arrives, in the order in which it was sent.
    pub fn settle(&mut self) {
        while self.step() {}
    }

    /// Every disk ends what it was asked for, and one packet arrives; false when nothing moved.
    pub fn step(&mut self) -> bool {
        let mut has_moved = false;
        for index in 0..self.nodes.len() {
            while !self.nodes[index].store.writes.is_empty() {
                self.finish_store(index, 0, Ok(()));
                has_moved = true;
            }
            while !self.nodes[index].store.loads.is_empty() {
                self.finish_load(index, 0, true);
                has_moved = true;
            }
        }
        if !self.packets.is_empty() {
            self.deliver(0);
            has_moved = true;
        }
        has_moved
    }

    /// Hands a node an event, and carries out what it asks for.
    pub fn handle(&mut self, index: usize, event: Event<'_>) {
        let now = self.now(index);
        let node = &mut self.nodes[index];
        let Some(shard) = node.shard.as_mut() else { return };
        let mut effects = std::mem::take(&mut self.effects);
        effects.clear();
        shard.handle(now, event, &mut node.store, &node.ring, &mut effects);
        effects.list().iter().for_each(|effect| self.carry_out(index, effect, &effects));
        self.effects = effects;
    }

    fn carry_out(&mut self, index: usize, effect: &Effect, effects: &Effects) {
        if self.is_loud || self.story.is_some() {
            let line = crate::story::line(index, effect, effects);
            if self.is_loud {
                eprintln!("{line}");
            }
            self.story.iter_mut().for_each(|story| story.push(line.clone()));
        }
        let store = &mut self.nodes[index].store;
        match effect {
            Effect::Send { to, partition, message } => {
                assert_eq!(*partition, PARTITION);
                let packet = Packet { from: index, to: place(*to), bytes: effects.bytes(message).to_vec() };
                self.heard.push(Heard::Sent { from: index, to: packet.to, bytes: packet.bytes.clone() });
                // What is sent over a cut, or to a node that does not run, is lost.
                if self.nodes[packet.to].shard.is_some() && !self.cuts.contains(&(index, packet.to)) {
                    self.packets.push_back(packet);
                }
            }
            Effect::Store { token, home, key, hash, object } => {
                let bytes = effects.bytes(object);
                store.start_store(*token, *home, *hash, effects.bytes(key), bytes);
                let object = Object::decode(bytes).expect("what is stored decodes");
                let key = effects.bytes(key).to_vec();
                self.heard.push(Heard::Stores { node: index, home: *home, key, object });
            }
            Effect::Load { token, home, key, hash } => store.start_load(*token, *home, *hash, effects.bytes(key)),
            Effect::Forget { home, hash, dot, .. } => {
                store.forget(*home, *hash, *dot);
                self.heard.push(Heard::Forgets { node: index, home: *home });
            }
            Effect::Answer { client, answer } => {
                let told = match answer {
                    Answer::Written { dot, is_alone, context } => {
                        let context = ContextView::check(effects.bytes(context)).expect("a context").to_context();
                        Told::Written { dot: *dot, is_alone: *is_alone, context }
                    }
                    Answer::Found { object, reach } => {
                        let bytes = effects.bytes(object);
                        let object = if bytes.is_empty() { Ok(Object::default()) } else { Object::decode(bytes) };
                        Told::Found { object: object.expect("an object"), is_stale_possible: reach.is_stale_possible() }
                    }
                    Answer::Failed(failure) => Told::Failed(*failure),
                };
                let before = self.told.insert(client.0, told.clone());
                assert!(before.is_none(), "client {} is answered twice: {before:?}, {told:?}", client.0);
                self.heard.push(Heard::Told { client: client.0, told });
            }
            Effect::Dirty { node: target, .. } => {
                self.nodes[index].dirty.push(*target);
                self.heard.push(Heard::Dirty { node: index, target: *target });
            }
            Effect::NeedIncarnation => {
                self.nodes[index].incarnations_needed += 1;
                self.heard.push(Heard::NeedsIncarnation { node: index });
            }
        }
    }

    /// The object that a node has as an owner.
    pub fn owned(&self, index: usize, key_bytes: &[u8]) -> Object {
        let object = self.nodes[index].store.object(Home::Owned(PARTITION), hash(key_bytes));
        object.cloned().unwrap_or_default()
    }
}

/// The live values of an object, tombstones as `(del)`.
pub fn values(object: &Object) -> Vec<String> {
    let value = |value: &Option<Vec<u8>>| match value {
        Some(value) => String::from_utf8_lossy(value).into_owned(),
        None => "(del)".to_owned(),
    };
    object.siblings().iter().map(|sibling| value(&sibling.value)).collect()
}
