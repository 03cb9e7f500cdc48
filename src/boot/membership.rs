//! The part of starting and ending that is of a cluster: its secrets, its sockets, its stored map, the control plane's thread.
//!
//! Invariant: the control plane begins when the node has recovered, so that whom others hear of can serve; its first view is
//! published before any core serves.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use annulus_cluster::ids::NodeId;
use annulus_cluster::limits::ControlLimits;
use annulus_cluster::membership::Membership;

use super::loading::Loading;
use super::{BootError, leave_loading};
use crate::config::{ClusterConfig, Config};
use crate::control::{self, ControlInbox, ControlSetup, ControlThread, Fatal};
use crate::members_file::{self, MembersError};
use crate::node::{Node, Phase};
use crate::node_meta::{NodeMeta, SharedMeta};
use crate::secrets::ClusterSecrets;

/// How long the own `announce-host` may have no address.
const NAME_PATIENCE: Duration = Duration::from_secs(10);
const NAME_RETRY: Duration = Duration::from_millis(200);
/// How long a member that is back may wait for the others to answer before it serves, and how often it looks. Those that answer
/// do so within a round trip or two; whom it answers itself meanwhile waits for it, so it must not take long.
const HEARING_PATIENCE: Duration = Duration::from_millis(100);
const HEARING_LOOK: Duration = Duration::from_millis(1);

/// Where peers come: bound before the node knows who it is.
pub(super) struct PeerSockets {
    /// Takes connections.
    pub listener: OwnedFd,
    /// Takes datagrams.
    pub gossip: UdpSocket,
}

/// What the control plane is started with, but for what only the running node has.
pub(super) struct Member {
    pub secrets: ClusterSecrets,
    pub gossip: UdpSocket,
    pub inbox: ControlInbox,
    pub map: Membership,
    /// Where others reach this node's peers' port.
    pub address: SocketAddr,
}

/// The cluster's secrets, of a node that is in one.
pub(super) fn secrets(config: &Config) -> Result<Option<ClusterSecrets>, BootError> {
    let read = |cluster: &ClusterConfig| ClusterSecrets::read(&cluster.secret_file, &cluster.name);
    let secrets = config.cluster.as_ref().map(read).transpose();
    secrets.map_err(|error| BootError::Secret(error.to_string()))
}

/// The map that was stored. One that cannot be read is set aside: the seeds know.
pub(super) fn stored_map(config: &Config) -> Result<Membership, BootError> {
    match members_file::read(&config.data) {
        Ok(map) => Ok(map.unwrap_or_default()),
        Err(error @ (MembersError::Io { .. } | MembersError::Newer { .. })) => Err(BootError::Data(error.to_string())),
        Err(error) => {
            tracing::warn!(%error, "the stored membership map cannot be used: it is set aside, and the seeds are asked");
            let aside = members_file::set_aside(&config.data);
            aside.map_err(|error| BootError::Data(format!("{}: {error}", config.data.display())))?;
            Ok(Membership::default())
        }
    }
}

/// Whether the engine may count on it that nobody else has versions of its keys, or will.
pub(super) fn is_alone(meta: &NodeMeta, map: &Membership) -> bool {
    let own = NodeId::new(meta.node_id);
    !meta.cluster.has_others && meta.cluster.founding == 0 && map.stamps().all(|(node, _)| node == own)
}

/// Where others reach this node: its own address, or that of `peer-announce` or `announce-host`, which is looked up here as
/// they do.
pub(super) fn own_address(config: &Config, cluster: &ClusterConfig) -> Result<SocketAddr, BootError> {
    let listen = cluster.peer_listen;
    let announced = cluster.peer_announce.as_ref().map(|to| (&*to.host, to.port));
    let host = config.announce_host.as_deref().map(|host| (host, listen.port()));
    let Some((host, port)) = announced.or(host) else { return Ok(listen) };
    let deadline = Instant::now() + NAME_PATIENCE;
    loop {
        match control::resolve(host, port, listen.is_ipv4()) {
            Ok(address) => return Ok(address),
            Err(why) if Instant::now() >= deadline => {
                let text = format!("announce-host: {why}; other nodes could not reach this one under it");
                return Err(BootError::System(text));
            }
            Err(_) => std::thread::sleep(NAME_RETRY),
        }
    }
}

/// The control plane of a node that has recovered.
pub(super) struct Running {
    thread: ControlThread,
    fatal: Arc<OnceLock<Fatal>>,
}

impl Running {
    /// Starts it. A node that cannot be a member any more is told to drain.
    pub(super) fn start(
        member: Member,
        node: &Arc<Node>,
        meta: &SharedMeta,
        loading: &Arc<Loading>,
    ) -> Result<Self, BootError> {
        let fatal = Arc::new(OnceLock::new());
        let (noted, of_node, of_loading) = (Arc::clone(&fatal), Arc::clone(node), Arc::clone(loading));
        let on_fatal = Box::new(move |fatal: Fatal| {
            // The first one says it.
            let _ = noted.set(fatal);
            leave_loading(&of_node, &of_loading, Phase::Draining);
        });
        let Member { secrets, gossip, inbox, map, address } = member;
        let setup = ControlSetup {
            node: Arc::clone(node),
            secrets,
            meta: Arc::clone(meta),
            socket: gossip,
            address,
            inbox,
            map,
            limits: ControlLimits::default(),
            on_fatal,
        };
        let thread = control::start(setup)
            .map_err(|error| BootError::System(format!("the control plane does not start: {error}")))?;
        Ok(Self { thread, fatal })
    }

    /// Waits until every other member answers, for a while at most: a client that came before would be told that there are too
    /// few.
    pub(super) fn wait_heard(&self, node: &Node) {
        let deadline = Instant::now() + HEARING_PATIENCE;
        let silent = || node.view.get().active().filter(|member| !member.is_up).count();
        while silent() > 0 && node.phase() == Phase::Loading {
            if Instant::now() >= deadline {
                tracing::warn!(silent = silent(), "the node serves, although not every member answers");
                return;
            }
            std::thread::sleep(HEARING_LOOK);
        }
    }

    /// Tells the others that the node goes. Errors: it could not go on as a member.
    pub(super) fn end(self) -> Result<(), BootError> {
        self.thread.leave();
        self.fatal.get().map_or(Ok(()), |fatal| Err(BootError::NoMember(fatal.clone())))
    }
}

#[cfg(test)]
mod tests {
    use annulus_cluster::membership::Role;
    use annulus_object::Clock;

    use super::*;

    #[test]
    fn whoever_had_others_is_never_alone_again() {
        let mut meta = NodeMeta::found(1, 16).unwrap();
        let mut map = Membership::default();
        assert!(is_alone(&meta, &map));
        let (own, clock) = (NodeId::new(meta.node_id), Clock::from_raw(5).unwrap());
        map.set_role(own, clock, own, Role::Active).unwrap();
        assert!(is_alone(&meta, &map));
        meta.cluster.founding = 2;
        assert!(!is_alone(&meta, &map));
        meta.cluster.founding = 0;
        // A tombstone of another counts too.
        map.forget(NodeId::new(own.raw() ^ 1), clock).unwrap();
        assert!(!is_alone(&meta, &map));
        meta.cluster.has_others = true;
        assert!(!is_alone(&meta, &Membership::default()), "also where the map got lost");
    }
}
