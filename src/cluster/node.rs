//! The control plane of a node: who is there, who answers, and which map they share.
//!
//! It joins the failure detector, what this node itself sees of its peers, the map, and the gossip about it. One per node; the
//! cores hear of its results ([`NodeEffect::Liveness`], [`NodeEffect::RingChanged`]) as a [`crate::route_table::RouteTable`].
//!
//! ```text
//!  datagram ──▶ tag ──┬─▶ failure detector ──▶ up, down ──▶ reachability ──▶ liveness
//!                     ├─▶ news ──▶ gossip ──▶ pull                 ▲
//!                     └─▶ digest ──▶ gossip ──▶ compare            └── what the data plane observes
//!  message ──▶ members ──▶ failure detector;   entries ──▶ map ──▶ gossip, ring
//!  operators, announcements, removals ──▶ map
//! ```
//!
//! Invariant: the same events with the same seed give the same effects; bytes from outside change nothing before they are
//! checked.

mod changes;
mod effect;
mod event;
mod exchange;
mod introduction;
mod removals;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use annulus_object::{Clock, HybridClock};

use crate::datagram::{self, Datagram, Secrets};
use crate::event::Now;
use crate::failure_detector::{FailureDetector, Identity, Notice, Output};
use crate::gossip::Gossip;
use crate::ids::NodeId;
use crate::limits::ControlLimits;
use crate::membership::{Announced, Membership};
use crate::random::Random;
use crate::reachability::{Change, Outcome, Reachability};
use changes::Contact;
pub use changes::{MapChange, Refusal};
pub use effect::{NodeEffect, NodeEffects};
pub use event::NodeEvent;
use introduction::Introduction;
use removals::Removals;

/// Names that are to be resolved at once.
const NAMES_MAX: usize = 3;

/// What a control plane starts with.
#[derive(Debug, Clone)]
pub struct NodeSetup {
    /// Who this node is: its generation was stored before, and was never used.
    pub identity: Identity,
    /// What this node says of itself.
    pub announced: Announced,
    /// What the cluster's datagrams are signed with.
    pub secrets: Secrets,
    /// For everything that is left to chance. Differs from node to node.
    pub seed: u64,
    /// Sizes and paces.
    pub limits: ControlLimits,
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeCounts {
    /// Datagrams that were not taken: foreign, damaged, too many, or said again.
    pub refused_datagrams: u64,
    /// Messages that were not taken.
    pub refused_messages: u64,
    /// Entries of the map that were asked for.
    pub pulls: u64,
    /// Times that the whole map was compared.
    pub compares: u64,
    /// Entries that came and could not be read, or are too many.
    pub bad_entries: u64,
}

/// See the module.
pub struct ControlNode {
    own: NodeId,
    map: Membership,
    announced: Announced,
    /// What the map says of this node is something else, and is to be mended then.
    announce_us: Option<u64>,
    next_announce_us: u64,
    has_joined: bool,
    /// The greatest that this node has used and does not remember; 0 is none.
    lost_incarnation: u16,
    clock: HybridClock,
    /// Wall clock of the event that is being handled.
    unix_ms: u64,
    removals: Removals,
    /// The ring is to be made anew then.
    ring_us: Option<u64>,
    /// Somebody owned something when it was made last.
    has_owners: bool,
    /// What names were resolved to.
    addresses: BTreeMap<NodeId, SocketAddr>,
    limits: ControlLimits,
    secrets: Secrets,
    detector: FailureDetector,
    reachability: Reachability,
    gossip: Gossip,
    introduction: Introduction,
    random: Random,
    next_gossip_us: u64,
    /// While we tell that we go, until then at most.
    leaving_us: Option<u64>,
    counts: NodeCounts,
    /// Used again.
    output: Output,
    changes: Vec<Change>,
}

impl ControlNode {
    /// A node that has not begun to look for others, with the map that it has stored.
    #[must_use]
    pub fn new(setup: NodeSetup, map: Membership) -> Self {
        setup.limits.assert_valid();
        let mut random = Random::new(setup.seed);
        Self {
            own: setup.identity.node(),
            map,
            announced: setup.announced,
            announce_us: None,
            next_announce_us: 0,
            has_joined: false,
            lost_incarnation: 0,
            clock: HybridClock::new(Clock::ZERO),
            unix_ms: 0,
            removals: Removals::new(setup.limits.removal_wait_us, setup.limits.stall_us),
            ring_us: None,
            has_owners: false,
            addresses: BTreeMap::new(),
            detector: FailureDetector::new(setup.identity, &setup.limits, random.draw()),
            reachability: Reachability::new(&setup.limits, random.fork()),
            gossip: Gossip::new(&setup.limits, random.fork()),
            introduction: Introduction::new(),
            random,
            next_gossip_us: 0,
            leaving_us: None,
            counts: NodeCounts::default(),
            output: Output::default(),
            changes: Vec::new(),
            limits: setup.limits,
            secrets: setup.secrets,
        }
    }

    /// The membership map.
    pub const fn map(&self) -> &Membership {
        &self.map
    }

    /// Who answers.
    pub const fn detector(&self) -> &FailureDetector {
        &self.detector
    }

    /// What has happened so far.
    pub const fn counts(&self) -> NodeCounts {
        self.counts
    }

    /// Whether requests may go to a node; to ourselves always.
    #[must_use]
    pub fn is_up(&self, node: NodeId) -> bool {
        node == self.own || self.reachability.is_up(node)
    }

    /// When [`NodeEvent::Tick`] has something to do, if nothing comes before.
    #[must_use]
    pub fn next_due_us(&self) -> Option<u64> {
        let gossip = self.has_gossip().then_some(self.next_gossip_us);
        let parts = [
            self.detector.next_due_us(),
            gossip,
            self.reachability.next_due_us(),
            self.introduction.next_due_us(),
            self.leaving_us,
            self.announce_us,
            self.removals.next_due_us(),
            self.ring_us,
        ];
        parts.into_iter().flatten().min()
    }

    /// Something has happened.
    pub fn on_event(&mut self, now: Now, event: NodeEvent<'_>, effects: &mut NodeEffects) {
        let now_us = now.steady_us;
        self.unix_ms = now.unix_ms;
        self.take(now_us, event, effects);
        self.maybe_announce(now_us, effects);
        self.maybe_change_ring(now_us, effects);
    }

    fn take(&mut self, now_us: u64, event: NodeEvent<'_>, effects: &mut NodeEffects) {
        match event {
            NodeEvent::Datagram(bytes) => self.on_datagram(now_us, bytes, effects),
            NodeEvent::Message { from, bytes } => self.on_message(now_us, from, bytes, effects),
            NodeEvent::Unreachable { peer } => {
                self.introduction.on_unreachable(peer);
                self.observe(now_us, peer, Outcome::Refused, effects);
            }
            NodeEvent::Observed { peer, outcome } => self.observe(now_us, peer, outcome, effects),
            NodeEvent::Tick => self.on_tick(now_us, effects),
            NodeEvent::Join { seeds } => {
                self.leaving_us = None;
                self.begin(now_us, seeds, effects);
                self.detect(now_us, effects, |detector, output| detector.join(now_us, seeds.to_vec(), output));
            }
            NodeEvent::Leave => self.on_leave(now_us, effects),
            NodeEvent::Announce(announced) => self.announce(now_us, announced, effects),
            NodeEvent::Operate { node, change } => self.operate(now_us, node, change, effects),
            NodeEvent::Resolved { node, address } => {
                if self.map.get(node).is_some() {
                    self.addresses.insert(node, address);
                }
            }
            NodeEvent::Generation { generation } => {
                self.detect(now_us, effects, |detector, output| detector.adopt_generation(now_us, generation, output));
            }
        }
    }

    /// The map is the one that was stored: what it says is news to whoever asks it here.
    fn begin(&mut self, now_us: u64, seeds: &[SocketAddr], effects: &mut NodeEffects) {
        if std::mem::replace(&mut self.has_joined, true) {
            return;
        }
        self.ring_us = Some(now_us);
        let nodes: Vec<NodeId> = self.map.iter().map(|(node, _)| node).collect();
        // Others may know what this node has forgotten of itself: it speaks after they have, if there are any.
        let own_address = self.detector.identity().address();
        if seeds.iter().any(|seed| *seed != own_address) || nodes.iter().any(|node| *node != self.own) {
            self.next_announce_us = now_us + self.limits.settle_us;
        }
        nodes.into_iter().for_each(|node| self.removals.note(now_us, node, &self.map));
        if self.map.get(self.own).is_some_and(|entry| entry.incarnation_most() > self.announced.incarnation) {
            self.on_own_lost(effects);
        }
        self.look_at_own(now_us, effects);
    }

    fn on_datagram(&mut self, now_us: u64, bytes: &[u8], effects: &mut NodeEffects) {
        let Ok(datagram) = Datagram::open(bytes, &self.secrets) else {
            self.counts.refused_datagrams += 1;
            return;
        };
        let part = datagram.detector;
        let sender = self.detect(now_us, effects, |detector, output| detector.on_datagram(now_us, part, output));
        match sender {
            Ok(sender) => self.on_news(now_us, sender, &datagram, effects),
            Err(_) => self.counts.refused_datagrams += 1,
        }
    }

    fn on_tick(&mut self, now_us: u64, effects: &mut NodeEffects) {
        self.detect(now_us, effects, |detector, output| detector.on_tick(now_us, output));
        if self.detector.is_knock_due(now_us) {
            let unheard = self.unheard(effects);
            self.detect(now_us, effects, |detector, output| detector.knock(now_us, &unheard, output));
        }
        self.end_removal(now_us, effects);
        if self.has_gossip() && now_us >= self.next_gossip_us {
            self.next_gossip_us = now_us + self.limits.gossip_every_us;
            self.detect(now_us, effects, |detector, output| detector.gossip(now_us, output));
        }
        self.maybe_introduce(now_us, effects);
        self.reach(effects, |reachability, changes| reachability.on_tick(now_us, changes));
        if let Some(until_us) = self.leaving_us
            && (now_us >= until_us || !self.has_gossip())
        {
            self.leaving_us = None;
            effects.push(NodeEffect::Left);
        }
    }

    /// Whether there is anything to tell and anybody to tell it to.
    fn has_gossip(&self) -> bool {
        let is_telling = self.detector.is_connected() || self.leaving_us.is_some();
        let backlog = self.detector.backlog() + self.gossip.backlog();
        is_telling && self.detector.member_count() > 0 && backlog > 0
    }

    fn on_leave(&mut self, now_us: u64, effects: &mut NodeEffects) {
        self.introduction.cancel();
        self.leaving_us = Some(now_us + self.limits.leave_us);
        self.detect(now_us, effects, |detector, output| detector.leave(now_us, output));
    }

    fn observe(&mut self, now_us: u64, peer: NodeId, outcome: Outcome, effects: &mut NodeEffects) {
        self.reach(effects, |reachability, changes| reachability.on_outcome(now_us, peer, outcome, changes));
    }

    /// Has the failure detector do something, and carries out what follows.
    fn detect<T>(
        &mut self,
        now_us: u64,
        effects: &mut NodeEffects,
        act: impl FnOnce(&mut FailureDetector, &mut Output) -> T,
    ) -> T {
        let mut output = std::mem::take(&mut self.output);
        let result = act(&mut self.detector, &mut output);
        self.carry_out(now_us, output, effects);
        result
    }

    /// What the failure detector has found out and wants sent. Takes its list back.
    fn carry_out(&mut self, now_us: u64, mut output: Output, effects: &mut NodeEffects) {
        for notice in output.notices() {
            self.on_notice(now_us, *notice, effects);
        }
        for sending in output.sendings() {
            let digest = self.map.digest();
            let mut budget = self.gossip.backlog();
            let (gossip, times) = (&mut self.gossip, self.detector.transmissions());
            let (part, most) = (output.bytes(&sending.bytes), self.limits.datagram_bytes_max);
            let news = || gossip.next_news(&mut budget, times);
            let bytes = effects.write(|out| datagram::write(part, digest, most, &self.secrets, news, out));
            effects.push(NodeEffect::Datagram { to: sending.to, bytes });
        }
        output.clear();
        self.output = output;
    }

    fn on_notice(&mut self, now_us: u64, notice: Notice, effects: &mut NodeEffects) {
        match notice {
            Notice::Up(member) => self.on_heard(now_us, member, effects),
            Notice::Down(member) => {
                self.reach(effects, |reachability, changes| reachability.on_unheard(member.node(), changes));
            }
            // One that was heard under its old name only; of the others `Up` tells.
            Notice::Replaced { after, .. } if self.reachability.is_heard(after.node()) => {
                self.on_heard(now_us, after, effects);
            }
            Notice::Replaced { .. } => {}
            // Whom a notice before this one wants to be asked comes first.
            Notice::Connected if self.introduction.next_due_us().is_some() => {}
            Notice::Connected => self.introduction.want(None),
            Notice::Alone => self.introduction.cancel(),
            Notice::Renewed { by } => self.introduction.want(Some(by.node()).filter(|by| *by != self.own)),
            Notice::Superseded { generation } => effects.push(NodeEffect::NeedGeneration { above: generation }),
        }
    }

    fn on_heard(&mut self, now_us: u64, member: Identity, effects: &mut NodeEffects) {
        let (node, address) = (member.node(), member.address());
        self.reach(effects, |reachability, changes| reachability.on_heard(now_us, node, address, changes));
    }

    /// Tells reachability something, and what follows from that.
    fn reach(&mut self, effects: &mut NodeEffects, tell: impl FnOnce(&mut Reachability, &mut Vec<Change>)) {
        let mut changes = std::mem::take(&mut self.changes);
        tell(&mut self.reachability, &mut changes);
        for change in changes.drain(..) {
            match change {
                Change::Reachable { node, up } => effects.push(NodeEffect::Liveness { node, up }),
                Change::Probe { node, number } => self.probe(node, number, effects),
            }
        }
        self.changes = changes;
    }

    /// Where those members might be found that the map names and the failure detector does not hear. Has a few names resolved,
    /// for the next time.
    fn unheard(&mut self, effects: &mut NodeEffects) -> Vec<SocketAddr> {
        let (mut addresses, mut named) = (Vec::new(), Vec::new());
        for (node, _) in self.map.iter().filter(|(node, _)| *node != self.own && !self.reachability.is_heard(*node)) {
            match self.contact(node) {
                Contact::Nowhere => {}
                Contact::At(address) => addresses.push(address),
                Contact::Named(address) => {
                    named.push(node);
                    addresses.extend(address);
                }
            }
        }
        for _ in 0..NAMES_MAX.min(named.len()) {
            let count = u64::try_from(named.len()).expect("a length has 64 bits");
            let at = usize::try_from(self.random.below(count)).expect("below a length");
            effects.push(NodeEffect::Resolve { node: named.swap_remove(at) });
        }
        addresses
    }
}
