//! What a node's control plane says over the reliable transport: introductions, entries of the map, probes.
//!
//! Invariant: a question is answered from what is known now; nothing is remembered of who asked.

use super::{ControlNode, NodeEffect, NodeEffects};
use crate::control_message::{
    ControlMessage, Entries, Nodes, Stamps, Unchecked, write_ask_members, write_compare, write_entries, write_members,
    write_probe, write_probe_reply, write_pull,
};
use crate::datagram::{Datagram, News};
use crate::failure_detector::{FailureDetector, Identity};
use crate::ids::NodeId;
use crate::membership::{Entry, Membership, Role, Stamp};

impl ControlNode {
    /// A message has come.
    pub(super) fn on_message(&mut self, now_us: u64, from: NodeId, bytes: &[u8], effects: &mut NodeEffects) {
        let message = match Unchecked(bytes).check(&self.limits) {
            // Who has left answers nothing; nobody is to rely on it.
            Ok(_) if self.detector.has_left() => return,
            Ok(message) => message,
            Err(_) => {
                self.counts.refused_messages += 1;
                return;
            }
        };
        let was_answered = self.introduction.is_answered();
        match message {
            ControlMessage::AskMembers => {
                let detector = &self.detector;
                let bytes = effects.write(|out| write_members(out, |out| detector.write_members(out)));
                self.send(from, bytes, effects);
            }
            ControlMessage::Members(members) => {
                let before = self.detector.member_count();
                let result =
                    self.detect(now_us, effects, |detector, output| detector.on_members(now_us, members, output));
                let is_news = self.detector.member_count() > before;
                match result {
                    Ok(()) => {
                        let hears_all = || hears_all(&self.map, &self.detector);
                        self.introduction.on_members(now_us, from, is_news, hears_all);
                    }
                    Err(_) => self.counts.refused_messages += 1,
                }
            }
            ControlMessage::Compare(theirs) => self.on_compare(now_us, from, theirs, effects),
            ControlMessage::Pull(wanted) => self.on_pull(from, wanted, effects),
            ControlMessage::Entries { entries, answers_compare, is_last } => {
                let is_news = self.on_entries(now_us, entries, answers_compare, effects);
                if answers_compare {
                    let hears_all = || hears_all(&self.map, &self.detector);
                    self.introduction.on_map(now_us, from, (is_news, is_last), hears_all);
                }
            }
            ControlMessage::Probe(number) => {
                let bytes = effects.write(|out| write_probe_reply(out, number));
                self.send(from, bytes, effects);
            }
            ControlMessage::ProbeReply(number) => {
                self.reach(effects, |reachability, changes| reachability.on_probe_reply(now_us, from, number, changes));
            }
        }
        self.on_introduced(now_us, was_answered, effects);
    }

    /// What a datagram says of the sender's map.
    pub(super) fn on_news(
        &mut self,
        now_us: u64,
        sender: Identity,
        datagram: &Datagram<'_>,
        effects: &mut NodeEffects,
    ) {
        let mut wanted: Vec<NodeId> = Vec::new();
        for news in datagram.news() {
            if self.gossip.wants(now_us, news, self.map.stamp(news.node)) {
                wanted.push(news.node);
            }
        }
        if !wanted.is_empty() {
            wanted.sort_unstable();
            self.pull(sender.node(), wanted, effects);
        } else if self.gossip.on_digest(now_us, datagram.digest, self.map.digest()) {
            self.compare(now_us, sender.node(), effects);
        }
    }

    /// Asks a member for everything where that is due.
    pub(super) fn maybe_introduce(&mut self, now_us: u64, effects: &mut NodeEffects) {
        if self.introduction.next_due_us().is_none_or(|due_us| due_us > now_us) {
            return;
        }
        let (detector, random) = (&self.detector, &mut self.random);
        let any = || {
            let members: Vec<NodeId> = detector.members().map(|member| member.node()).collect();
            random.choose(&members).copied()
        };
        if let Some(whom) = self.introduction.begin(now_us, self.limits.answer_timeout_us, any) {
            let bytes = effects.write(write_ask_members);
            self.send(whom, bytes, effects);
            self.compare(now_us, whom, effects);
        }
    }

    /// Asks a peer whether it answers.
    pub(super) fn probe(&mut self, node: NodeId, number: u64, effects: &mut NodeEffects) {
        let bytes = effects.write(|out| write_probe(out, number));
        self.send(node, bytes, effects);
    }

    /// The map is another one.
    pub(super) fn on_map_changed(&mut self, effects: &mut NodeEffects) {
        self.gossip.on_map_changed();
        effects.push(NodeEffect::MapChanged);
    }

    fn compare(&mut self, now_us: u64, with: NodeId, effects: &mut NodeEffects) {
        self.counts.compares += 1;
        self.gossip.on_compare(now_us);
        let map = &self.map;
        let bytes = effects.write(|out| write_compare(out, stamps(map)));
        self.send(with, bytes, effects);
    }

    fn pull(&mut self, from: NodeId, wanted: Vec<NodeId>, effects: &mut NodeEffects) {
        self.counts.pulls += u64::try_from(wanted.len()).expect("a length has 64 bits");
        let bytes = effects.write(|out| write_pull(out, wanted.into_iter()));
        self.send(from, bytes, effects);
    }

    /// Sends what they lack, and asks for what we lack.
    fn on_compare(&mut self, now_us: u64, from: NodeId, theirs: Stamps<'_>, effects: &mut NodeEffects) {
        let mut lacked: Vec<NodeId> = Vec::new();
        let mut wanted: Vec<NodeId> = Vec::new();
        let mut ours = stamps(&self.map).peekable();
        for their in theirs.iter() {
            while let Some(our) = ours.next_if(|our| our.node < their.node) {
                lacked.push(our.node);
            }
            let our = ours.next_if(|our| our.node == their.node).map(|our| our.stamp);
            if our.is_some_and(|our| our.is_news_to(Some(their.stamp))) {
                lacked.push(their.node);
            }
            if self.gossip.wants(now_us, their, our) {
                wanted.push(their.node);
            }
        }
        lacked.extend(ours.map(|our| our.node));
        self.send_entries(from, true, lacked, effects);
        if !wanted.is_empty() {
            self.pull(from, wanted, effects);
        }
    }

    fn on_pull(&mut self, from: NodeId, wanted: Nodes<'_>, effects: &mut NodeEffects) {
        self.send_entries(from, false, wanted.iter().collect(), effects);
    }

    /// At least one message, so that who compares knows that it was answered.
    fn send_entries(&mut self, to: NodeId, answers_compare: bool, nodes: Vec<NodeId>, effects: &mut NodeEffects) {
        let mut nodes = nodes.into_iter().peekable();
        loop {
            let (map, limits) = (&self.map, &self.limits);
            let entry = |node: NodeId, out: &mut Vec<u8>| map.encode_entry(node, out);
            let bytes = effects.write(|out| write_entries(out, answers_compare, &mut nodes, entry, limits));
            self.send(to, bytes, effects);
            if nodes.peek().is_none() {
                break;
            }
        }
    }

    /// Merges entries. True when that changed the map.
    fn on_entries(
        &mut self,
        now_us: u64,
        entries: Entries<'_>,
        answers_compare: bool,
        effects: &mut NodeEffects,
    ) -> bool {
        let mut changed: Vec<NodeId> = Vec::new();
        for (node, bytes) in entries.iter() {
            self.gossip.on_entry(node);
            let (before, said_at) = (self.placed(node), self.said_at(node));
            let entry = Entry::decode(node, bytes).ok();
            match entry.map(|entry| self.map.merge_one(node, &entry)) {
                Some(Ok(false)) => {}
                Some(Ok(true)) => {
                    if node == self.own && self.said_at(node) != said_at {
                        self.on_own_lost(effects);
                    }
                    self.on_written(now_us, node, before, effects);
                    changed.push(node);
                }
                Some(Err(_)) | None => self.counts.bad_entries += 1,
            }
        }
        // What a node learns when it comes, the others know: telling them again would be a flood.
        let is_known_to_others = answers_compare && self.introduction.is_first();
        let is_told = !answers_compare || self.gossip.on_compared(now_us, changed.len());
        if is_told && !is_known_to_others {
            for node in &changed {
                let stamp = self.map.stamp(*node).expect("an entry that was merged is there");
                self.gossip.tell(News { node: *node, stamp });
            }
        }
        if !changed.is_empty() {
            self.on_map_changed(effects);
        }
        !changed.is_empty()
    }

    /// When a node has said something of itself last, and the greatest incarnation that it had.
    fn said_at(&self, node: NodeId) -> Option<(Option<Stamp>, u16)> {
        self.map.get(node).map(|entry| (entry.announced_at(), entry.incarnation_most()))
    }

    /// A member may have told all that it knows: what this node has said before is among that, and it may speak now.
    fn on_introduced(&mut self, now_us: u64, was_answered: bool, effects: &mut NodeEffects) {
        if !was_answered && self.introduction.is_answered() {
            self.next_announce_us = now_us;
            self.look_at_own(now_us, effects);
        }
    }

    fn send(&self, to: NodeId, bytes: crate::effect::Span, effects: &mut NodeEffects) {
        effects.push(NodeEffect::Message { to, at: self.reachability.address(to), bytes });
    }
}

/// Whether as many members answer as the map has, those that were removed not counted.
fn hears_all(map: &Membership, detector: &FailureDetector) -> bool {
    let members = map.iter().filter(|(_, entry)| entry.role() != Role::Removed).count();
    detector.member_count() + 1 >= members
}

/// What a map has, ascending by node.
fn stamps(map: &Membership) -> impl Iterator<Item = News> {
    map.stamps().map(|(node, stamp)| News { node, stamp })
}
