//! Handshakes with other nodes, from a node's start to its end: whom it asks as a newcomer, who may link with it, whom it dials.
//!
//! Invariant: nobody is linked before every core can be told of it, and nobody while the node loads or drains.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use annulus_cluster::ids::NodeId;
use annulus_net::handshake::{self, Gate, Keys};

use super::BootError;
use super::introduction::{Applicant, Introduced, KnownNode};
use crate::control;
use crate::core_inbox::CoreSender;
use crate::env::driver::now;
use crate::node::{Node, Phase};
use crate::node_meta::NodeMeta;
use crate::peers::acceptor::Acceptor;
use crate::peers::dialer::{self, Dialer};
use crate::peers::{HandshakeContext, HandshakeCounters, Offered};
use crate::secrets::ClusterSecrets;

/// Asks a node which cluster it is of, by a handshake.
pub(super) fn introducer(
    secrets: Option<&ClusterSecrets>,
) -> impl Fn(&Applicant, SocketAddr) -> Result<Introduced, String> {
    let keys = secrets.map(|secrets| Keys::new(secrets.handshake()));
    move |applicant, address| {
        let keys = keys.clone().ok_or("this node has no secret of a cluster")?;
        let offered = Offered::here();
        let identity = handshake::Identity {
            node: applicant.node.raw(),
            generation: 0,
            cluster_name: applicant.name_hash,
            cluster_id: [0; 16],
            partitions: applicant.partitions,
            copies: applicant.copies.into(),
            host: applicant.peers.host.to_string(),
            port: applicant.peers.port,
            versions: offered.versions,
            capabilities: offered.capabilities,
        };
        let context = HandshakeContext {
            identity,
            keys,
            hash_key: [0; 16],
            cores: 1,
            source: applicant.source,
            gate: Box::new(|| Gate::Loading),
            clock_ms: Box::new(|| now().unix_ms),
            counters: HandshakeCounters::default(),
        };
        let told = dialer::introduce(&context, address).map_err(|error| format!("{address} {error}"))?;
        let known = told.known.and_then(|known| {
            let node = NodeId::checked(known.node)?;
            let generation = u32::try_from(known.generation).ok()?;
            Some(KnownNode { node, incarnation: known.incarnation, generation })
        });
        let clock_ms = now().unix_ms.saturating_add_signed(told.skew_ms);
        Ok(Introduced { cluster_id: told.cluster_id, hash_key: told.hash_key, clock_ms, known })
    }
}

/// What links are made with, of a node of a cluster.
pub(super) struct Links {
    context: Arc<HandshakeContext>,
}

impl Links {
    /// `None` of a node without a cluster.
    pub(super) fn of(node: &Arc<Node>, meta: &NodeMeta, secrets: Option<&ClusterSecrets>) -> Option<Self> {
        let secrets = secrets?;
        let peers = control::announced(&node.config, meta.incarnation, meta.cores).peers;
        let offered = Offered::here();
        let identity = handshake::Identity {
            node: meta.node_id,
            generation: meta.cluster.generation.into(),
            cluster_name: meta.cluster.name_hash,
            cluster_id: meta.cluster_id,
            partitions: meta.partitions,
            copies: meta.cluster.copies.into(),
            host: peers.host.to_string(),
            port: peers.port,
            versions: offered.versions,
            capabilities: offered.capabilities,
        };
        let of_node = Arc::clone(node);
        let gate = move || match of_node.phase() {
            // Peers are taken when every core has recovered; what they send meanwhile waits until the cores serve, very soon.
            Phase::Loading | Phase::Ready => Gate::Open,
            Phase::Draining => Gate::Draining,
        };
        let context = HandshakeContext {
            identity,
            keys: Keys::new(secrets.handshake()),
            hash_key: meta.hash_key,
            cores: node.map.cores(),
            source: node.config.ports().peers().ip(),
            gate: Box::new(gate),
            clock_ms: Box::new(|| now().unix_ms),
            counters: HandshakeCounters::default(),
        };
        Some(Self { context: Arc::new(context) })
    }

    /// Links are made and taken from now on: every core has its inbox.
    pub(super) fn start(self, node: &Arc<Node>, listener: OwnedFd) -> Result<RunningLinks, BootError> {
        let inbox =
            |core: &std::sync::OnceLock<CoreSender>| core.get().expect("a core that has recovered has one").clone();
        let senders: Vec<CoreSender> = node.inboxes.iter().map(inbox).collect();
        let dialer = Dialer::new(Arc::clone(&self.context), senders.clone());
        assert!(node.dialer.set(dialer.clone()).is_ok(), "links begin once");
        let of_node = Arc::clone(node);
        let lookup = Arc::new(move |host: &str, port: u16| known_at(&of_node, host, port));
        let acceptor = Acceptor::start(TcpListener::from(listener), self.context, senders, lookup)
            .map_err(|error| BootError::System(format!("peers cannot be accepted: {error}")))?;
        Ok(RunningLinks { acceptor: Some(acceptor), dialer })
    }
}

/// Who of the cluster was at that place and does not answer: a newcomer from there is that node without its disk.
fn known_at(node: &Node, host: &str, port: u16) -> Option<handshake::KnownNode> {
    let view = node.view.get();
    let is_there = |peers: &annulus_cluster::membership::Endpoint| &*peers.host == host && peers.port == port;
    let mut gone = view.members.iter().filter(|member| member.node != view.own && !member.is_up);
    let member = gone.find(|member| member.announced.as_ref().is_some_and(|announced| is_there(&announced.peers)))?;
    let incarnation = member.announced.as_ref().map_or(0, |announced| announced.incarnation);
    // Should it have used greater ones than are known here, the cluster tells it so as soon as it is heard.
    Some(handshake::KnownNode { node: member.node.raw(), incarnation, generation: 0 })
}

/// The threads that make and take links; they end with it.
pub(super) struct RunningLinks {
    acceptor: Option<Acceptor>,
    dialer: Dialer,
}

impl Drop for RunningLinks {
    fn drop(&mut self) {
        self.dialer.end();
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.end();
        }
    }
}
