//! What is written into the map here: what operators want, and what this node says of itself.
//!
//! Whatever is written is stamped above everything in the map, so that it is in force wherever it arrives, however wrong the
//! wall clocks of those who wrote before.
//!
//! Invariant: what is written is told; nothing is written of a node that the map does not know, but of this one.

use std::net::SocketAddr;

use annulus_object::Clock;

use super::{ControlNode, NodeEffect, NodeEffects};
use crate::datagram::News;
use crate::ids::NodeId;
use crate::limits::CLOCK_LAST;
use crate::membership::{Announced, Membership, Role, TooManyMembers, Weight, Zone};
use crate::mutation::{Mutation, mutated};
use crate::placement::Member;

/// What an operator may want of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapChange {
    /// It shall own its share, whatever it was before.
    Join,
    /// It shall own nothing any more, and hand over what it has.
    Leave,
    /// It is gone, and others shall own what it had. An intent is published; [`NodeEffect::RemovalEnded`] follows.
    Remove,
    /// It was leaving and has handed everything over. Only the node itself knows.
    Retire,
    /// How much it takes.
    Weight(Weight),
    /// Where it is.
    Zone(Zone),
    /// It was removed, and what only it had is given up. Final: see [`crate::membership`].
    Forget,
}

/// Why the map was not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The map does not name it, or it was forgotten.
    #[error("no such node")]
    Unknown,
    /// It was removed already. To have it back, let it join.
    #[error("the node was removed")]
    Removed,
    /// Only a node that was removed is forgotten.
    #[error("the node has not been removed")]
    NotRemoved,
    /// Only a node that is leaving retires, and of its own accord.
    #[error("the node is not leaving, or another one")]
    NotLeaving,
    /// One at a time.
    #[error("the removal of node {0} is under way")]
    RemovalUnderWay(NodeId),
    /// The map has as many nodes as it may.
    #[error("{0}")]
    Full(#[from] TooManyMembers),
}

impl ControlNode {
    /// An operator wants something.
    pub(super) fn operate(&mut self, now_us: u64, node: NodeId, change: MapChange, effects: &mut NodeEffects) {
        let result = self.change(now_us, node, change, effects);
        effects.push(NodeEffect::Operated { node, result });
    }

    fn change(
        &mut self,
        now_us: u64,
        node: NodeId,
        change: MapChange,
        effects: &mut NodeEffects,
    ) -> Result<(), Refusal> {
        let own = self.own;
        let role = self.map.get(node).ok_or(Refusal::Unknown)?.role();
        let new_role = match change {
            MapChange::Join => Role::Active,
            MapChange::Leave if role != Role::Removed => Role::Leaving,
            MapChange::Retire if role == Role::Leaving && node == own => Role::Removed,
            MapChange::Retire => return Err(Refusal::NotLeaving),
            MapChange::Remove if role != Role::Removed && mutated(Mutation::RemovalWithoutIntent) => Role::Removed,
            MapChange::Remove if role != Role::Removed => return self.intend_removal(now_us, node, effects),
            MapChange::Leave | MapChange::Remove => return Err(Refusal::Removed),
            MapChange::Forget if role != Role::Removed => return Err(Refusal::NotRemoved),
            MapChange::Forget => return self.write(now_us, node, effects, |map, clock| map.forget(node, clock)),
            MapChange::Weight(weight) => {
                return self.write(now_us, node, effects, |map, clock| map.set_weight(node, clock, own, weight));
            }
            MapChange::Zone(zone) => {
                return self.write(now_us, node, effects, |map, clock| map.set_zone(node, clock, own, zone));
            }
        };
        self.write(now_us, node, effects, |map, clock| map.set_role(node, clock, own, new_role))
    }

    fn intend_removal(&mut self, now_us: u64, node: NodeId, effects: &mut NodeEffects) -> Result<(), Refusal> {
        if let Some((_, other)) = self.removals.lowest(now_us, &self.map) {
            return Err(Refusal::RemovalUnderWay(other));
        }
        let own = self.own;
        self.write(now_us, node, effects, |map, clock| map.intend_removal(node, clock, own))?;
        let stamp = self.map.get(node).and_then(|entry| entry.removal());
        self.removals.begin(now_us, node, stamp.expect("it was written above the role"));
        Ok(())
    }

    /// Removes a node whose time has come, unless another removal goes first.
    pub(super) fn end_removal(&mut self, now_us: u64, effects: &mut NodeEffects) {
        let Some((node, is_removed)) = self.removals.end(now_us, &self.map) else { return };
        let own = self.own;
        let is_removed = is_removed
            && self.write(now_us, node, effects, |map, clock| map.set_role(node, clock, own, Role::Removed)).is_ok();
        effects.push(NodeEffect::RemovalEnded { node, is_removed });
    }

    /// This node has something to say of itself, or says it for the first time.
    pub(super) fn announce(&mut self, now_us: u64, announced: &Announced, effects: &mut NodeEffects) {
        assert!(announced.is_valid(), "a node announces what others accept: {announced:?}");
        self.announced.clone_from(announced);
        self.look_at_own(now_us, effects);
    }

    /// What the map says of this node has to be what it says itself.
    pub(super) fn look_at_own(&mut self, now_us: u64, effects: &mut NodeEffects) {
        self.announce_us = None;
        if self.map.is_forgotten(self.own) {
            effects.push(NodeEffect::Forgotten);
            return;
        }
        let known = self.map.get(self.own).and_then(|entry| entry.announced());
        let is_other = known != Some(&self.announced);
        let is_silenced = known.is_some() && mutated(Mutation::AnnouncedOnce);
        // Whatever else it says, it must not hide which incarnations were used.
        let is_new_actor = self.announced.incarnation > self.lost_incarnation;
        if is_other && is_new_actor && self.has_joined && !is_silenced {
            self.announce_us = Some(now_us.max(self.next_announce_us));
        }
    }

    /// Something that this node has announced comes from elsewhere. Whatever it announces is stored before it is told, so that
    /// its disk was lost or put back: the incarnations were used.
    pub(super) fn on_own_lost(&mut self, effects: &mut NodeEffects) {
        let above = self.map.get(self.own).map_or(0, |entry| entry.incarnation_most());
        if above >= self.announced.incarnation && !mutated(Mutation::LostIncarnationUsed) {
            self.lost_incarnation = above;
            effects.push(NodeEffect::NeedIncarnation { above });
        }
    }

    /// Says it, at most once a while, so that two nodes with one number do not contradict each other all the time.
    pub(super) fn maybe_announce(&mut self, now_us: u64, effects: &mut NodeEffects) {
        if self.announce_us.is_none_or(|due_us| due_us > now_us) {
            return;
        }
        (self.announce_us, self.next_announce_us) = (None, now_us + self.limits.announce_self_every_us);
        let (own, announced) = (self.own, self.announced.clone());
        let known = self.map.get(own).map_or(0, |entry| entry.incarnation_most());
        if mutated(Mutation::IncarnationChangesRole) && known > 0 && announced.incarnation > known {
            let _ = self.write(now_us, own, effects, |map, clock| map.set_role(own, clock, own, Role::Active));
        }
        if self.write(now_us, own, effects, |map, clock| map.announce(own, clock, announced)).is_err() {
            // Until somebody forgets nodes.
            self.announce_us = Some(self.next_announce_us);
        }
    }

    /// Writes something of a node under a new stamp, and tells others.
    fn write(
        &mut self,
        now_us: u64,
        node: NodeId,
        effects: &mut NodeEffects,
        write: impl FnOnce(&mut Membership, Clock) -> Result<bool, TooManyMembers>,
    ) -> Result<(), Refusal> {
        let above = if mutated(Mutation::StampIgnoresMap) { Clock::ZERO } else { self.map.epoch() };
        // A wall clock from beyond the end of time would make stamps that nobody accepts.
        let wall_ms = if self.unix_ms < CLOCK_LAST.unix_ms() { self.unix_ms } else { 0 };
        let clock = self.clock.stamp(wall_ms, above);
        let before = self.placed(node);
        if write(&mut self.map, clock)? {
            self.on_written(now_us, node, before, effects);
            self.on_map_changed(effects);
            let stamp = self.map.stamp(node).expect("it was written");
            self.gossip.tell(News { node, stamp });
        }
        Ok(())
    }

    pub(super) fn placed(&self, node: NodeId) -> Option<Member> {
        self.map.get(node).and_then(|entry| entry.placed(node))
    }

    /// An entry has changed, here or by merging; `before` is what was placed of it.
    pub(super) fn on_written(&mut self, now_us: u64, node: NodeId, before: Option<Member>, effects: &mut NodeEffects) {
        self.removals.note(now_us, node, &self.map);
        // It may be reached somewhere else now.
        self.addresses.remove(&node);
        if self.placed(node) != before {
            // Who has just begun has an old ring, or none.
            let is_settled = self.has_owners && !self.introduction.is_first();
            let wait_us = if is_settled { self.limits.ring_settle_us } else { 0 };
            self.ring_us.get_or_insert(now_us + wait_us);
        }
        if node == self.own {
            self.look_at_own(now_us, effects);
        }
    }

    /// Has the ring made anew where that is due.
    pub(super) fn maybe_change_ring(&mut self, now_us: u64, effects: &mut NodeEffects) {
        if self.ring_us.is_some_and(|due_us| due_us <= now_us) {
            self.ring_us = None;
            self.has_owners = self.map.iter().any(|(_, entry)| entry.role() == Role::Active);
            effects.push(NodeEffect::RingChanged);
        }
    }

    /// Where the control plane of a node may be found. A node that was removed is not looked for.
    pub(super) fn contact(&self, node: NodeId) -> Contact {
        let entry = self.map.get(node).filter(|entry| entry.role() != Role::Removed);
        let Some(announced) = entry.and_then(|entry| entry.announced()) else { return Contact::Nowhere };
        match announced.peers.literal() {
            Some(address) => Contact::At(address),
            None => Contact::Named(self.addresses.get(&node).copied()),
        }
    }
}

/// Where a node may be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contact {
    /// It is not to be looked for, or has not said where.
    Nowhere,
    /// There.
    At(SocketAddr),
    /// Under a name, which had this address when it was last resolved.
    Named(Option<SocketAddr>),
}
