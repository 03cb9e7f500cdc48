//! Parts of commands on all keys, over the links: those that other nodes' cores run for this one, and those that this one runs
//! for them.
//!
//! ```text
//! a client's command ─ ask_peer ─▶ Command ─▶ on_peer_command: checked, run as this core's part
//! its part's reply  ◀─ on_peer_reply: checked ◀─ Reply ◀─ answer_peer
//! ```
//!
//! Invariant: whoever waits for a part gets it, or an error when its deadline has come or its node is lost.

use annulus_cluster::ids::NodeId;
use annulus_engine::Disk;
use annulus_net::resp::{Parser, writer};

use super::ShardLoop;
use super::execute::Request;
use crate::commands::Args;
use crate::commands::table::Command;
use crate::consistency::{Asker, Consistency};
use crate::core_inbox::PeerCore;
use crate::limits;
use crate::mesh::RequestFlags;
use crate::peers::Channel;
use crate::remote::{self, Asked, Expected, Given};
use crate::slab::Slab;
use crate::waiting::ReplyTo;

/// What this core has other nodes' cores do, and does for them.
pub(super) struct Remote {
    asked: Asked,
    /// Who asked, and by which token.
    served: Slab<(PeerCore, u64)>,
    parser: Parser,
    message: Vec<u8>,
}

impl Default for Remote {
    fn default() -> Self {
        Self { asked: Asked::default(), served: Slab::default(), parser: remote::parser(), message: Vec::new() }
    }
}

impl Remote {
    /// Whether so many more parts can be waited for.
    pub(super) fn has_room(&self, parts: usize) -> bool {
        self.asked.has_room(parts)
    }

    /// As if a core of another node had asked for a part that is at work on; for [`ShardLoop::answer_peer`].
    #[cfg(test)]
    pub(super) fn serve(&mut self, peer: PeerCore, token: u64) -> u32 {
        self.served.insert((peer, token))
    }

    /// Nothing is under way, neither for this node's clients nor for others.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.asked.is_empty() && self.served.is_empty()
    }
}

/// What a client is told when there is no room for the parts of its command.
pub(super) const BUSY: &str = "BUSY this core waits for as many answers of other nodes as it may: send it again later";

/// Whole partitions are looked through, which takes as long as it takes.
fn takes_long(command: Command) -> bool {
    matches!(command, Command::Keys | Command::ClusterCountKeysInSlot | Command::ClusterGetKeysInSlot)
}

fn expected_of(command: Command) -> Expected {
    match command {
        Command::DbSize | Command::ClusterCountKeysInSlot => Expected::Count,
        Command::Keys | Command::ClusterGetKeysInSlot => Expected::Keys,
        Command::RandomKey => Expected::Key,
        other => unreachable!("{other:?} has no part for other nodes, or it is a step of a SCAN"),
    }
}

impl<D: Disk> ShardLoop<D> {
    /// Gives a core of another node a part of a command; there is room for it (asserted).
    pub(super) fn ask_peer(
        &mut self,
        peer: PeerCore,
        (command, flags): (Command, RequestFlags),
        args: Args<'_>,
        to: ReplyTo,
    ) {
        self.ask_for(peer, (command, expected_of(command)), (flags, args), to);
    }

    /// As [`ShardLoop::ask_peer`], where the command alone does not say what is expected.
    pub(super) fn ask_for(
        &mut self,
        peer: PeerCore,
        (command, expected): (Command, Expected),
        (flags, args): (RequestFlags, Args<'_>),
        to: ReplyTo,
    ) {
        let deadline = self.node.config.quorums.deadline;
        let within = if takes_long(command) { deadline.max(limits::REMOTE_KEYS_WITHIN) } else { deadline };
        let since_us = self.now.steady_ns / 1000;
        let deadline_us = since_us + u64::try_from(within.as_micros()).expect("checked: seconds");
        let token = self.remote.asked.insert(Given { peer, to, expected, since_us, deadline_us });
        let mut message = std::mem::take(&mut self.remote.message);
        message.clear();
        remote::encode_command(&mut message, token, flags, args);
        // If it does not leave, its node is lost with the end of the turn.
        self.send_to_core(peer, Channel::Command, &message);
        self.remote.message = message;
    }

    fn send_to_core(&mut self, peer: PeerCore, channel: Channel, message: &[u8]) {
        let address = self.replication.view.member(peer.node).and_then(|member| member.address);
        self.send_frame(peer, address, channel, message);
    }

    /// A core of another node has replied. Not to be called while frames are heard.
    pub(super) fn on_peer_reply(&mut self, peer: PeerCore, message: &[u8]) {
        let Some((token, reply)) = remote::decode_reply(message) else { return };
        // A reply that comes too late is nobody's.
        let Some(given) = self.remote.asked.replied(peer, token) else { return };
        if given.expected.accepts(reply) {
            return self.deliver(given.to, reply);
        }
        let PeerCore { node, core } = peer;
        tracing::warn!(%node, core, "a part of a command was answered with something else");
        self.deliver_error(
            given.to,
            &format!("ERR node {node} core {core} has answered with what is no answer to this command"),
        );
    }

    /// A core of another node wants a part of a command run. Not to be called while frames are heard.
    pub(super) fn on_peer_command(&mut self, peer: PeerCore, message: &[u8]) {
        let Some((token, flags, command)) = remote::decode_command(message) else { return };
        if self.remote.served.len() >= limits::REMOTE_SERVED_MAX {
            return self.refuse_peer(
                peer,
                token,
                "BUSY the core is at work for other nodes as much as it may: send it again later",
            );
        }
        let (owned, partitions) = (self.map.owned(self.core), self.map.partitions());
        let mut parser = std::mem::replace(&mut self.remote.parser, remote::parser());
        match remote::check(&mut parser, (flags, command), owned, partitions) {
            Ok(part) => {
                let to = ReplyTo::Peer { part: self.remote.served.insert((peer, token)) };
                let asker = Asker { client: 0, consistency: Consistency::default() };
                let (protocol, partition) = (flags.protocol(), flags.partition());
                self.start_timing();
                self.run_request(&Request { row: part.row, protocol, asker, partition, args: &part.args }, None, to);
            }
            Err(text) => self.refuse_peer(peer, token, text),
        }
        self.remote.parser = parser;
    }

    fn refuse_peer(&mut self, peer: PeerCore, token: u64, text: &str) {
        let mut error = Vec::new();
        writer::error(&mut error, text);
        self.send_reply(peer, token, &error);
    }

    /// A part that another node's core asked for is done.
    pub(super) fn answer_peer(&mut self, part: u32, reply: &[u8]) {
        let (peer, token) = self.remote.served.remove(part);
        let (bytes, most) = (reply.len(), limits::REMOTE_REPLY_BYTES_MAX);
        if bytes <= most {
            return self.send_reply(peer, token, reply);
        }
        let text = format!(
            "ERR one core's part of the reply has more than {most} bytes, the most that nodes send each other: use SCAN"
        );
        self.refuse_peer(peer, token, &text);
    }

    fn send_reply(&mut self, peer: PeerCore, token: u64, reply: &[u8]) {
        let mut message = Vec::with_capacity(reply.len() + 8);
        remote::encode_reply(&mut message, token, reply);
        // Whoever waits for it finds out by its deadline that it does not come.
        self.send_to_core(peer, Channel::Reply, &message);
    }

    /// What a node was sent may have been lost: whoever waits for it is told.
    pub(super) fn lose_asked(&mut self, node: NodeId) {
        while let Some(given) = self.remote.asked.next_of(node) {
            let core = given.peer.core;
            self.deliver_error(given.to, &format!("TRYAGAIN node {node} core {core} did not answer: the connection was lost, or none comes about; send it again"));
        }
    }

    /// Tells those whose deadline has come.
    pub(super) fn expire_asked(&mut self) {
        let now_us = self.now.steady_ns / 1000;
        while let Some(given) = self.remote.asked.next_late(now_us) {
            let PeerCore { node, core } = given.peer;
            let waited_ms = (now_us - given.since_us) / 1000;
            self.deliver_error(
                given.to,
                &format!("TRYAGAIN node {node} core {core} did not answer within {waited_ms} ms: send it again"),
            );
        }
    }

    pub(super) fn deliver_error(&mut self, to: ReplyTo, text: &str) {
        let mut error = Vec::new();
        writer::error(&mut error, text);
        self.deliver(to, &error);
    }
}
