//! The thread that drives a node's control plane ([`annulus_cluster::node::ControlNode`]): its clock, its datagrams, its disk.
//!
//! ```text
//!  datagrams ──▶ socket ─┐                      ┌─▶ datagrams
//!  cores ──▶ ControlSender ─▶ ControlNode ─▶ effects ─▶ map stored ─▶ view published, cores rung
//!  clock, names ─────────┘                      └─▶ core 0: messages for others' control planes
//! ```
//!
//! It works in turns: everything that has happened goes in, then the map is stored if it is another one, then whatever came of
//! that leaves. A turn takes so many events and no more, so that what it holds is bounded.
//!
//! What it is not: what decides. Who is a member, who answers and who owns what is the protocol's; here is only what a node
//! wants of its own accord, when it founds a cluster or is told its zone (`wishes`).
//!
//! Invariant: what the map says is stored before anything says it to others: datagrams, messages, cores, operators.

mod announced;
mod contest;
mod deliver;
mod founding;
mod inbox;
mod names;
mod status;
#[cfg(test)]
mod tests;
mod turn;
mod wishes;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use annulus_cluster::failure_detector::Identity;
use annulus_cluster::ids::NodeId;
use annulus_cluster::limits::ControlLimits;
use annulus_cluster::membership::{Announced, Membership};
use annulus_cluster::node::{ControlNode, NodeEffects, NodeSetup};
use annulus_cluster::ring::Ring;
use annulus_cluster::route_table::Routing;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::cluster_view::ClusterView;
use crate::env::driver;
use crate::node::{Node, Phase};
use crate::node_meta::SharedMeta;
use crate::secrets::ClusterSecrets;
use contest::Contest;
use deliver::Outgoing;
use names::Names;
use wishes::Wishes;

pub use announced::announced;
pub use founding::why_unowned;
pub use inbox::{ControlInbox, ControlSender, ToControl, channel};
pub use names::resolve;
pub use status::ControlCounts;

/// The longest sleep: what nobody wakes the thread for is looked at then.
const SLEEP_MAX: Duration = Duration::from_millis(500);
/// Between two tries to store the map, and to tell a core what its inbox had no room for.
const STORE_RETRY: Duration = Duration::from_secs(1);
const TELL_RETRY: Duration = Duration::from_millis(5);

/// What the control plane starts with.
pub struct ControlSetup {
    /// The node, which has the sending end of `inbox`.
    pub node: Arc<Node>,
    /// What datagrams are signed with.
    pub secrets: ClusterSecrets,
    /// `node.meta`; its generation was raised and stored for this start.
    pub meta: SharedMeta,
    /// Bound where peers send datagrams.
    pub socket: UdpSocket,
    /// Where others reach that socket.
    pub address: SocketAddr,
    /// What cores tell it.
    pub inbox: ControlInbox,
    /// The map that was stored.
    pub map: Membership,
    /// Sizes and paces.
    pub limits: ControlLimits,
    /// Called once when the node cannot go on as a member: it is to end.
    pub on_fatal: Box<dyn Fn(Fatal) + Send>,
}

/// Why a node cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// An operator had it forgotten.
    #[error(
        "an operator has removed this node from its cluster and had it forgotten: it can never be a member again under its \
         number. Start it with an empty directory to have it join as a new node"
    )]
    Forgotten,
    /// Another process has its number.
    #[error(
        "another process is this node, too: node {0} is said again and again to be another one. Was this data directory copied? \
         Keep one of both, and start the other with an empty directory"
    )]
    Twice(NodeId),
    /// It needs another incarnation, and can store none.
    #[error("this node needs a new incarnation and cannot store one: {0}")]
    Incarnation(String),
}

/// The running thread.
#[derive(Debug)]
pub struct ControlThread {
    thread: JoinHandle<()>,
    sender: ControlSender,
}

impl ControlThread {
    /// Tells the others that the node ends, and waits until they were told, two seconds at most.
    pub fn leave(self) {
        // Where it is full, the thread finds out by the node's phase.
        let _ = self.sender.send(ToControl::Leave);
        if self.thread.join().is_err() {
            tracing::error!("the control plane's thread panicked");
        }
    }
}

/// Starts the thread. The view of the stored map is published when this returns. Errors: the kernel's.
pub fn start(setup: ControlSetup) -> io::Result<ControlThread> {
    let sender = setup.node.control.clone().expect("a node with a control plane has its sender");
    let names = Names::start(sender.clone(), setup.socket.local_addr()?.is_ipv4())?;
    setup.socket.set_nonblocking(true)?;
    let mut control = Control::new(setup, names)?;
    control.publish();
    control.wishes.ask_names(&control.names);
    // A cluster of one owns everything when this returns.
    control.turn();
    let thread = std::thread::Builder::new().name("control".to_owned()).spawn(move || control.run())?;
    Ok(ControlThread { thread, sender })
}

/// See the module.
struct Control {
    node: Arc<Node>,
    own: NodeId,
    meta: SharedMeta,
    socket: UdpSocket,
    inbox: ControlInbox,
    names: Names,
    control: ControlNode,
    routing: Routing,
    wishes: Wishes,
    effects: NodeEffects,
    outgoing: Outgoing,
    counts: ControlCounts,
    contest: Contest,
    on_fatal: Box<dyn Fn(Fatal) + Send>,
    is_leaving: bool,
    /// Everybody who could be told that the node goes was told, or it cannot go on.
    is_over: bool,
}

impl Control {
    fn new(setup: ControlSetup, names: Names) -> io::Result<Self> {
        let ControlSetup { node, secrets, meta, socket, address, inbox, map, limits, on_fatal } = setup;
        let own = NodeId::new(node.node_id);
        let (generation, founding) = {
            let guard = meta.lock().expect("a panic ends the process");
            (guard.1.cluster.generation, guard.1.cluster.founding)
        };
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
        let config = &node.config;
        let announced = Announced { founding, ..announced(config, node.incarnation(), node.map.cores()) };
        let has_others = map.stamps().any(|(other, _)| other != own);
        let identity = Identity::new(own, generation, address);
        let node_setup = NodeSetup {
            identity,
            announced: announced.clone(),
            secrets: secrets.gossip(),
            seed: u64::from_le_bytes(seed),
            limits,
        };
        let partitions = u16::try_from(node.map.partitions()).expect("at most 16384 partitions");
        let mut routing = Routing::new(own, partitions, config.quorums.copies);
        if founding == 0 {
            routing.on_ring(Ring::of(&map, partitions, config.quorums.copies));
        }
        let cluster = config.cluster.as_ref().expect("a node with a control plane has a cluster");
        let wishes = Wishes::new(cluster, announced, driver::now().steady_ns / 1000);
        node.note_founding((founding > 0).then_some((0, founding)));
        Ok(Self {
            own,
            meta,
            socket,
            inbox,
            names,
            control: ControlNode::new(node_setup, map),
            routing,
            wishes,
            effects: NodeEffects::default(),
            outgoing: Outgoing::new(has_others),
            counts: ControlCounts::default(),
            contest: Contest::new(generation),
            on_fatal,
            is_leaving: false,
            is_over: false,
            node,
        })
    }

    fn run(mut self) {
        while !self.is_over {
            self.turn();
            if !self.is_over {
                self.wait();
            }
        }
    }

    /// Sleeps until something happens.
    fn wait(&self) {
        let now_us = self.now().steady_us;
        let due_us = [self.control.next_due_us(), self.wishes.next_due_us(), self.outgoing.next_due_us(now_us)];
        let wait_us = due_us.into_iter().flatten().min().map_or(u64::MAX, |due_us| due_us.saturating_sub(now_us));
        let wait = SLEEP_MAX.min(Duration::from_micros(wait_us));
        let timeout = Timespec::try_from(wait).expect("half a second");
        let mut sources =
            [PollFd::new(&self.socket, PollFlags::IN), PollFd::from_borrowed_fd(self.inbox.bell(), PollFlags::IN)];
        // Interrupted, or not: the turn looks.
        let _ = poll(&mut sources, Some(&timeout));
    }

    fn now(&self) -> annulus_cluster::event::Now {
        let now = driver::now();
        annulus_cluster::event::Now { unix_ms: now.unix_ms, steady_us: now.steady_ns / 1000 }
    }

    fn is_draining(&self) -> bool {
        self.node.phase() == Phase::Draining
    }

    /// Publishes the view of now, and rings the cores.
    fn publish(&mut self) {
        let number = self.node.view.get().number + 1;
        let routes = Arc::clone(self.routing.table());
        let heard = |node| self.control.detector().members().find(|member| member.node() == node);
        let address = |node| heard(node).map(|member| member.address()).or_else(|| self.wishes.address(node));
        let view = ClusterView::of(number, self.own, self.control.map(), routes, self.routing.ring(), address);
        self.outgoing.view_is_new();
        self.node.view.publish(view);
        self.node.inboxes.iter().filter_map(|sender| sender.get()).for_each(|sender| sender.ring());
    }

    fn fail(&mut self, fatal: Fatal) {
        if !self.is_over {
            tracing::error!("{fatal}");
            (self.on_fatal)(fatal);
            self.is_over = true;
        }
    }
}
