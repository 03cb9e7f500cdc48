//! This core's part of the replication protocol: events go in; what is to be stored, read and forgotten is carried out at once,
//! what is to be sent and answered at the end of the turn.
//!
//! ```text
//! command, message, completion, time ──▶ tell ──▶ Shard ──▶ effects ─┬─▶ store: at once, in their order (rule S2)
//!                                                                     └─▶ peers, clients: with the turn
//! ```
//!
//! Invariant: of every effect its store's part was carried out before the next event goes in, and all of it before the core
//! sleeps.

use std::net::SocketAddr;
use std::sync::Arc;

use annulus_cluster::counters::Counters;
use annulus_cluster::effect::{Answer, Effect, Effects};
use annulus_cluster::event::{Event, Key, Now};
use annulus_cluster::ids::{NodeId, Session};
use annulus_cluster::limits::Limits;
use annulus_cluster::membership::Role;
use annulus_cluster::shard::{Shard, Start};
use annulus_engine::Disk;
use annulus_object::Actor;

use super::ShardLoop;
use super::replicated::Replicated;
use crate::cluster_view::ClusterView;
use crate::control::ToControl;
use crate::core_inbox::PeerCore;
use crate::coverage::OwnCoverage;
use crate::limits;
use crate::mesh::CoreMap;
use crate::node::Node;
use crate::peers::Channel;
use crate::replica_store::{Ended, LoadedBytes};

/// Between two ticks of the protocol.
const TICK_US: u64 = 10_000;
/// Bytes of effects that wait for the end of a turn at most.
const EFFECT_BYTES_MAX: usize = 1 << 20;

/// This life of a core, as its peers tell it from others.
#[derive(Debug, Clone, Copy)]
pub struct Life {
    /// A number that no core of the cluster had before.
    pub session: u64,
    /// The actor, if this life goes on stamping by one of an earlier life.
    pub earlier_actor: Option<Actor>,
    /// The node lost its disk, and was not refilled since.
    pub is_refilling: bool,
}

impl Life {
    /// `object_bytes_max`: what this core's store takes, as those of the others.
    pub(super) fn start(self, node: &Node, object_bytes_max: usize) -> Start {
        let Self { session, earlier_actor, is_refilling } = self;
        let node = NodeId::new(node.node_id);
        let limits = Limits { object_bytes_max, ..Limits::default() };
        Start { node, session: Session(session), earlier_actor, is_refilling, limits }
    }
}

/// See the module.
pub(super) struct Replication {
    shard: Shard,
    /// The cluster as this core sees it.
    pub(super) view: Arc<ClusterView>,
    /// There is nobody else: commands run on the engine alone.
    pub(super) is_alone: bool,
    /// Somebody owns the partitions: else no command on keys is served.
    pub(super) has_owners: bool,
    /// Who answers for what in that view; `None` while there is nobody else.
    pub(super) coverage: Option<OwnCoverage>,
    effects: Effects,
    /// Of so many effects the store's part is done.
    carried: usize,
    /// The other list, to be used again.
    spare: Effects,
    loaded: LoadedBytes,
    /// Clients' commands that the protocol is at work on.
    pub(super) commands: Replicated,
    last_tick_us: u64,
    /// What the node's lost disk had of this core's partitions is back.
    is_refilled: bool,
}

impl Replication {
    /// Nothing under way.
    pub(super) fn new(start: Start, view: Arc<ClusterView>, (map, core): (&CoreMap, u16)) -> Self {
        let commands = Replicated::new(limits::REPLICATED_COMMANDS_MAX);
        Self {
            shard: Shard::new(start),
            is_alone: view.is_alone(),
            has_owners: view.has_owners(),
            coverage: (!view.is_alone()).then(|| OwnCoverage::of(&view, map, core)),
            view,
            effects: Effects::default(),
            carried: 0,
            spare: Effects::default(),
            loaded: LoadedBytes::default(),
            commands,
            last_tick_us: 0,
            is_refilled: false,
        }
    }

    /// The protocol.
    pub(super) fn shard(&self) -> &Shard {
        &self.shard
    }

    /// What the protocol has done so far.
    pub(super) fn counters(&self) -> Counters {
        self.shard.counters()
    }

    /// Nothing is under way, for clients or for others.
    pub(super) fn is_idle(&self) -> bool {
        self.shard.in_flight() == (0, 0, 0) && self.effects.list().is_empty()
    }

    /// Whether the protocol takes on a client's command; if not, it waits.
    pub(super) fn has_room(&self) -> bool {
        self.commands.has_room() && self.shard.has_room()
    }

    /// Where a node's part of a partition is, and at which address; `None` for a node that nobody has described.
    fn place_of(&self, node: NodeId, partition: u16, partitions: u32) -> Option<(PeerCore, Option<SocketAddr>)> {
        let member = self.view.member(node)?;
        let cores = member.announced.as_ref()?.cores;
        Some((PeerCore { node, core: CoreMap::core_among(partition, partitions, cores) }, member.address))
    }
}

impl<D: Disk> ShardLoop<D> {
    /// Who answers for what, of a node that is not alone (asserted).
    pub(super) fn coverage(&self) -> &OwnCoverage {
        self.replication.coverage.as_ref().expect("a node that is not alone knows who answers")
    }

    /// The turn's time as the protocol wants it.
    pub(super) fn protocol_now(&self) -> Now {
        Now { unix_ms: self.now.unix_ms, steady_us: self.now.steady_ns / 1000 }
    }

    /// Tells the protocol something.
    pub(super) fn tell(&mut self, event: Event<'_>) {
        let now = self.protocol_now();
        let Replication { shard, view, effects, .. } = &mut self.replication;
        shard.handle(now, event, &mut self.store, &*view.routes, effects);
        self.carry_out_stores(now);
    }

    /// The store's part of the effects that are new.
    fn carry_out_stores(&mut self, now: Now) {
        let Replication { effects, carried, .. } = &mut self.replication;
        let store = &mut self.store;
        for effect in &effects.list()[*carried..] {
            match effect {
                Effect::Store { token, home, key, hash, object } => {
                    let key = Key { bytes: effects.bytes(key), partition: home.partition(), hash: *hash };
                    store.store(*token, *home, &key, effects.bytes(object), now);
                }
                Effect::Load { token, home, key, hash } => {
                    let key = Key { bytes: effects.bytes(key), partition: home.partition(), hash: *hash };
                    store.load(*token, *home, &key);
                }
                Effect::Forget { home, key, hash, dot } => {
                    let key = Key { bytes: effects.bytes(key), partition: home.partition(), hash: *hash };
                    // One that is not gone is handed over again.
                    store.forget(*home, &key, *dot);
                }
                Effect::Send { .. } | Effect::Answer { .. } | Effect::Dirty { .. } | Effect::NeedIncarnation => {}
            }
        }
        *carried = effects.list().len();
    }

    /// What the store has finished: for the protocol, and for commands that run on the engine alone.
    pub(super) fn take_ended(&mut self) {
        let now = self.protocol_now();
        self.store.take_events(now);
        let mut bytes = std::mem::take(&mut self.replication.loaded);
        while let Some(ended) = self.store.next_ended(&mut bytes) {
            if let Some(event) = ended.event(&bytes) {
                self.tell(event);
                continue;
            }
            match ended {
                Ended::Engine(event) => self.on_engine_event(event),
                Ended::NeedIncarnation => self.outbox.needs_incarnation = true,
                Ended::ReadOnly => tracing::error!(core = self.core, "this core is read-only: its disk fails to write"),
                Ended::Stored { .. } | Ended::Loaded { .. } => unreachable!("the protocol was told"),
            }
        }
        self.replication.loaded = bytes;
    }

    /// Looks whether the cluster has changed, and tells the protocol who answers now.
    pub(super) fn follow_view(&mut self) {
        let Some(view) = self.node.view.newer_than(self.replication.view.number) else { return };
        let before = std::mem::replace(&mut self.replication.view, view);
        let view = Arc::clone(&self.replication.view);
        if self.replication.is_alone && !view.is_alone() {
            self.store.engine_mut().join_others();
            self.replication.is_alone = false;
        }
        self.replication.has_owners = view.has_owners();
        if !self.replication.is_alone {
            self.replication.coverage = Some(OwnCoverage::of(&view, &self.map, self.core));
        }
        let was_up = |node| before.member(node).is_some_and(|member| member.is_up);
        for member in view.members.iter().filter(|member| member.node != view.own) {
            if member.is_up != was_up(member.node) {
                self.tell(Event::Liveness { node: member.node, up: member.is_up });
                if !member.is_up {
                    self.lose_asked(member.node);
                }
            }
        }
        for member in before.members.iter().filter(|member| member.role != Role::Removed) {
            let now = view.member(member.node);
            if now.is_none() && member.is_up {
                self.tell(Event::Liveness { node: member.node, up: false });
                self.lose_asked(member.node);
            }
            if now.is_none_or(|now| now.role == Role::Removed) {
                self.links().forget(member.node);
            }
        }
    }

    /// Tells the control plane when this was the last core of a node that lost its disk to have everything back.
    pub(super) fn maybe_end_refilling(&mut self) {
        if !self.node.is_refilling() || self.replication.is_refilled {
            return;
        }
        let Replication { shard, view, is_refilled, .. } = &mut self.replication;
        *is_refilled = view.has_owners() && shard.is_refilled(&self.store, &*view.routes);
        if *is_refilled {
            tracing::info!(core = self.core, "this core has back what the node's lost disk had");
            if self.node.core_is_refilled() {
                self.tell_control(ToControl::Refilled);
            }
        }
    }

    /// Lets time pass for the protocol.
    pub(super) fn maybe_tick_protocol(&mut self) {
        let now_us = self.now.steady_ns / 1000;
        let has_work = !self.replication.is_alone || !self.replication.is_idle();
        if has_work && now_us - self.replication.last_tick_us >= TICK_US {
            self.replication.last_tick_us = now_us;
            self.tell(Event::Tick);
            self.expire_asked();
        }
    }

    /// Carries out what gathers when that has become much. Not to be called while a session is taken out.
    pub(super) fn maybe_carry_out(&mut self) {
        if self.replication.effects.byte_count() > EFFECT_BYTES_MAX {
            self.carry_out_all();
        }
    }

    /// Sends and answers. Not to be called while a session is taken out.
    pub(super) fn carry_out_all(&mut self) {
        while !self.replication.effects.list().is_empty() {
            let Replication { effects, spare, carried, .. } = &mut self.replication;
            assert_eq!(*carried, effects.list().len(), "the store's part is carried out at once");
            *carried = 0;
            // Answers let commands go on, which wants more done.
            std::mem::swap(effects, spare);
            let mut done = std::mem::take(spare);
            for effect in done.list() {
                match effect {
                    Effect::Send { to, partition, message } => self.send_to_peer(*to, *partition, done.bytes(message)),
                    Effect::Answer { client, answer } => self.on_answer(*client, answer, &done),
                    Effect::NeedIncarnation => self.outbox.needs_incarnation = true,
                    // The protocol itself keeps in mind what an exchange has to mend.
                    Effect::Dirty { .. } => {}
                    Effect::Store { .. } | Effect::Load { .. } | Effect::Forget { .. } => {}
                }
            }
            done.clear();
            self.replication.spare = done;
        }
    }

    fn send_to_peer(&mut self, to: NodeId, partition: u16, message: &[u8]) {
        let Some((peer, address)) = self.replication.place_of(to, partition, self.map.partitions()) else {
            return self.tell(Event::Unreachable { peer: to });
        };
        self.send_frame(peer, address, Channel::Data, message);
    }
}

/// What a client is told, and the bytes that it speaks of.
pub(super) fn answer_bytes<'a>(answer: &Answer, effects: &'a Effects) -> &'a [u8] {
    match answer {
        Answer::Written { context, .. } => effects.bytes(context),
        Answer::Found { object, .. } => effects.bytes(object),
        Answer::Failed(_) => &[],
    }
}
