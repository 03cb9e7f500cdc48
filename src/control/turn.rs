//! One turn: what has happened goes into the control plane, and what it wants is collected or done.
//!
//! Invariant: what a turn takes is bounded; what it leaves makes the next one come at once.

use std::io::ErrorKind;

use annulus_cluster::ids::NodeId;
use annulus_cluster::membership::Announced;
use annulus_cluster::node::{NodeEffect, NodeEvent};
use annulus_object::Actor;

use super::names::Wanted;
use super::{Control, Fatal, ToControl};
use crate::core_inbox::CoreEvent;
use crate::node_meta;

/// Datagrams of one turn.
const DATAGRAMS_MAX: usize = 256;
/// What cores have told, of one turn.
const TOLD_MAX: usize = 256;
/// Wishes of operators that wait for a core to hear what became of them; then no more are taken.
const ANSWERS_MAX: usize = 1024;
/// Bytes of a datagram that are read: more than one of ours has.
const DATAGRAM_BYTES_MAX: usize = 8 << 10;
/// So often within so long, and somebody else has this node's number.
const CONTESTED_MAX: usize = 4;
const CONTESTED_US: u64 = 60_000_000;

/// A core that waits for what becomes of an operator's wish.
type Asker = Option<(u16, u64)>;

/// What is to be done about an event's effects once they were looked through.
enum Next {
    Incarnation { above: u16 },
    Generation { above: u32 },
}

impl Control {
    /// See the module.
    pub(super) fn turn(&mut self) {
        self.take_datagrams();
        self.take_told();
        self.take_names();
        for peer in self.outgoing.take_unreachable() {
            self.event(NodeEvent::Unreachable { peer }, None);
        }
        if self.is_draining() && !self.is_leaving {
            self.is_leaving = true;
            self.event(NodeEvent::Leave, None);
        }
        self.event(NodeEvent::Tick, None);
        if !self.is_leaving {
            self.wish();
        }
        self.deliver();
        self.counts.node = self.control.counts();
        self.inbox.status().note(&self.counts);
    }

    fn take_datagrams(&mut self) {
        let mut bytes = [0; DATAGRAM_BYTES_MAX];
        for _ in 0..DATAGRAMS_MAX {
            match self.socket.recv(&mut bytes) {
                Ok(length) => {
                    self.counts.datagrams_in += 1;
                    self.event(NodeEvent::Datagram(&bytes[..length]), None);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // What an earlier datagram met: nobody listened where it went.
                Err(_) => {}
            }
        }
    }

    fn take_told(&mut self) {
        self.inbox.still();
        for _ in 0..TOLD_MAX {
            if self.outgoing.answers() >= ANSWERS_MAX {
                return;
            }
            let Some(told) = self.inbox.next() else { return };
            match told {
                ToControl::Message { from, bytes } => self.event(NodeEvent::Message { from, bytes: &bytes }, None),
                ToControl::Unreachable { peer } => self.event(NodeEvent::Unreachable { peer }, None),
                ToControl::Observed { peer, outcome } => self.event(NodeEvent::Observed { peer, outcome }, None),
                ToControl::Operate { core, token, node, change } => {
                    self.event(NodeEvent::Operate { node, change }, Some((core, token)));
                }
                ToControl::Incarnation(incarnation) => self.announce(|announced| announced.incarnation = incarnation),
                ToControl::Holdings(holdings) => self.announce(|announced| announced.holdings = holdings),
                ToControl::Refilled => self.end_refilling(),
                ToControl::Leave if self.is_leaving => {}
                ToControl::Leave => {
                    self.is_leaving = true;
                    self.event(NodeEvent::Leave, None);
                }
            }
        }
        // There may be more.
        self.node.control.as_ref().expect("it was there at the start").ring();
    }

    fn take_names(&mut self) {
        while let Some((wanted, answer)) = self.names.next() {
            match (wanted, answer) {
                (Wanted::Node(node), Ok(address)) => {
                    self.wishes.note_address(node, address);
                    self.outgoing.view_is_old();
                    self.event(NodeEvent::Resolved { node, address }, None);
                }
                (Wanted::Seed(at), answer) => self.wishes.on_seed(at, answer),
                (Wanted::Node(node), Err(why)) => tracing::debug!(%node, why, "a member's name has no address"),
            }
        }
    }

    /// This node has something else to say of itself.
    pub(super) fn announce(&mut self, change: impl FnOnce(&mut Announced)) {
        let mut announced = self.wishes.announced().clone();
        change(&mut announced);
        self.event(NodeEvent::Announce(&announced), None);
        self.wishes.set_announced(announced);
    }

    fn end_refilling(&mut self) {
        match node_meta::save(&self.meta, |meta| meta.cluster.is_refilling = false) {
            Ok(()) => self.node.note_refilling(false),
            Err(error) => tracing::error!(%error, "that this node was filled cannot be stored"),
        }
    }

    /// Something has happened: tells the control plane, and takes what it wants done.
    pub(super) fn event(&mut self, event: NodeEvent<'_>, asker: Asker) {
        if self.is_over {
            return;
        }
        let (now, mut effects) = (self.now(), std::mem::take(&mut self.effects));
        self.control.on_event(now, event, &mut effects);
        let mut next = Vec::new();
        for effect in effects.list() {
            match effect {
                NodeEffect::Datagram { to, bytes } => self.outgoing.datagram(*to, effects.bytes(bytes)),
                NodeEffect::Message { to, at, bytes } => {
                    self.outgoing.message(*to, *at, effects.bytes(bytes));
                }
                NodeEffect::NeedIncarnation { above } => next.push(Next::Incarnation { above: *above }),
                NodeEffect::NeedGeneration { above } => next.push(Next::Generation { above: *above }),
                other => self.carry_out(other, asker),
            }
        }
        effects.clear();
        self.effects = effects;
        for next in next {
            match next {
                Next::Incarnation { above } => self.take_incarnation(above),
                Next::Generation { above } => self.take_generation(above),
            }
        }
    }

    fn carry_out(&mut self, effect: &NodeEffect, asker: Asker) {
        match effect {
            NodeEffect::MapChanged => self.outgoing.map_changed(),
            NodeEffect::RingChanged | NodeEffect::Liveness { .. } => {
                if let NodeEffect::Liveness { node, up } = effect {
                    tracing::info!(%node, up, "a member answers, or does not");
                }
                if let Some(news) = self.routing.on_effect(effect, self.control.map()) {
                    let (moves, copies, wanted) = (news.moves.len(), news.copies, news.wanted);
                    tracing::info!(moves, copies, wanted, "the ring has changed");
                }
                self.outgoing.view_is_old();
            }
            NodeEffect::Operated { node, result } => match (asker, result) {
                (Some((core, token)), result) => {
                    self.outgoing.tell(core, CoreEvent::Operated { token, result: *result });
                }
                (None, Err(refusal)) => tracing::warn!(%node, %refusal, "the map was not changed"),
                (None, Ok(())) => {}
            },
            NodeEffect::RemovalEnded { node, is_removed: true } => tracing::info!(%node, "removed from the cluster"),
            NodeEffect::RemovalEnded { node, .. } => {
                tracing::warn!(%node, "not removed: another removal was first, or its role has changed; ask again");
            }
            NodeEffect::Resolve { node } => {
                let entry = self.control.map().get(*node);
                if let Some(announced) = entry.and_then(|entry| entry.announced()) {
                    self.names.ask(Wanted::Node(*node), &announced.peers.host, announced.peers.port);
                }
            }
            NodeEffect::Forgotten => self.fail(Fatal::Forgotten),
            NodeEffect::Left => self.is_over = true,
            NodeEffect::Datagram { .. }
            | NodeEffect::Message { .. }
            | NodeEffect::NeedIncarnation { .. }
            | NodeEffect::NeedGeneration { .. } => unreachable!("taken before"),
        }
    }

    /// The cluster remembers a greater incarnation of this node than it does itself (rule S1).
    fn take_incarnation(&mut self, above: u16) {
        if self.is_contested() {
            return self.fail(Fatal::Twice(self.own));
        }
        let taken = {
            let mut guard = self.meta.lock().expect("a panic ends the process");
            let (file, meta) = &mut *guard;
            let taken = meta.take_incarnation_above(above).and_then(|()| file.save(meta));
            taken.map(|()| Actor::new(meta.node_id, meta.incarnation))
        };
        let actor = match taken {
            Ok(actor) if actor.node() == self.own.raw() => actor,
            Ok(_) => return self.fail(Fatal::Incarnation("every one was used".to_owned())),
            Err(error) => return self.fail(Fatal::Incarnation(error.to_string())),
        };
        tracing::warn!(
            above,
            incarnation = actor.incarnation(),
            "the cluster remembers a later incarnation of this node: its disk was lost or put back"
        );
        self.node.note_incarnation(actor);
        for core in 0..self.node.map.cores() {
            self.outgoing.tell(core, CoreEvent::Adopt(actor));
        }
        self.announce(|announced| announced.incarnation = actor.incarnation());
    }

    /// Nobody hears this node under its generation.
    fn take_generation(&mut self, above: u32) {
        if self.is_contested() {
            return self.fail(Fatal::Twice(self.own));
        }
        let mut generation = 0;
        let saved = node_meta::save(&self.meta, |meta| {
            meta.cluster.generation = meta.cluster.generation.max(above);
            meta.take_generation();
            generation = meta.cluster.generation;
        });
        match saved {
            Ok(()) => {
                tracing::info!(generation, "a new generation: the cluster remembers a later one of this node");
                self.event(NodeEvent::Generation { generation }, None);
            }
            Err(error) => tracing::error!(%error, "a new generation cannot be stored; nobody hears this node"),
        }
    }

    /// Notes that this node was said to be another one; true when that happens again and again.
    fn is_contested(&mut self) -> bool {
        let now_us = self.now().steady_us;
        self.contested_us.retain(|at_us| now_us - at_us < CONTESTED_US);
        self.contested_us.push(now_us);
        self.contested_us.len() > CONTESTED_MAX
    }

    /// Whether requests may go to a node.
    pub(super) fn is_up(&self, node: NodeId) -> bool {
        self.control.is_up(node)
    }
}
