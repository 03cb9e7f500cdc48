//! Relays that stand between the nodes of a local cluster and can be told to fail: cut one way or both, slow.
//!
//! A node announces one endpoint to all others, so whoever dials it dials the same address; yet a cut is between two nodes, and
//! may be of one direction. What tells dialler from dialler is the source address. So every node has a loopback address of its
//! own, which costs no privilege on Linux, and binds it whenever it dials or sends to another node:
//!
//! ```text
//! node i   listens for peers on A(i):R(i), dials from A(i); announces A(i):F(i), where its relay listens
//!
//!   node i ── TCP from A(i) ──▶ A(j):F(j) relay ──▶ A(j):R(j) node j      both directions of a stream are links of their own
//!   node i ── UDP from A(i):R(i) ──▶ A(j):F(j) ┄ sent on from A(i):F(i) ┄▶ A(j):R(j)
//! ```
//!
//! A datagram that is sent on comes from the endpoint that its sender announces, so an answer to where it came from passes the
//! relays again, the other way. A source that is no node's counts as outside: of it only what holds for the node that it calls.
//!
//! * **cut** on TCP holds bytes back, ends of streams included, as lost packets would; what is held arrives when the link is
//!   mended. Datagrams are dropped.
//! * **slow** delays bytes by once to twice the time, since a stream that waits does not read on; datagrams by the time.
//!
//! Invariant: a relay changes no byte and no order of a stream.

mod datagrams;
mod faults;
mod streams;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use faults::Faults;

/// How often a thread that waits looks whether it should end.
const LOOK: Duration = Duration::from_millis(50);

/// Where one node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayedNode {
    /// What it announces: the relay listens there, TCP and UDP.
    pub front: SocketAddr,
    /// Where it listens for peers itself. It dials from this address.
    pub real: SocketAddr,
}

/// The relays of all nodes; they end when it is dropped.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    nodes: Vec<RelayedNode>,
    faults: Faults,
    fronts: Vec<UdpSocket>,
    streams: AtomicUsize,
    stopped: AtomicBool,
}

impl Relay {
    /// Binds every front and begins. Errors name the address that cannot be bound.
    pub fn start(nodes: &[RelayedNode]) -> io::Result<Self> {
        let named = |address: SocketAddr| {
            move |error: io::Error| io::Error::new(error.kind(), format!("relay at {address}: {error}"))
        };
        let mut listeners = Vec::new();
        let mut fronts = Vec::new();
        for node in nodes {
            let listener = TcpListener::bind(node.front).map_err(named(node.front))?;
            listener.set_nonblocking(true)?;
            listeners.push(listener);
            let socket = UdpSocket::bind(node.front).map_err(named(node.front))?;
            socket.set_read_timeout(Some(LOOK))?;
            fronts.push(socket);
        }
        let shared = Arc::new(Shared {
            nodes: nodes.to_vec(),
            faults: Faults::none(nodes.len()),
            fronts,
            streams: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        // Dropped on an error, so that threads which were started end.
        let relay = Self { shared };
        for (number, listener) in listeners.into_iter().enumerate() {
            let shared = Arc::clone(&relay.shared);
            spawn(format!("relay-tcp-{number}"), move || streams::accept(&shared, &listener, number))?;
            let shared = Arc::clone(&relay.shared);
            spawn(format!("relay-udp-{number}"), move || datagrams::forward(&shared, number))?;
        }
        Ok(relay)
    }

    /// Cuts, or mends, what goes from one node to another.
    pub fn cut_link(&self, from: usize, to: usize, is_cut: bool) {
        self.shared.faults.cut_link(from, to, is_cut);
    }

    /// Cuts what goes out of a node, or into it, or both.
    pub fn cut_node(&self, node: usize, outwards: bool, inwards: bool) {
        self.shared.faults.cut_node(node, outwards, inwards);
    }

    /// Delays whatever goes out of a node or into it.
    pub fn slow_node(&self, node: usize, delay: Duration) {
        self.shared.faults.slow_node(node, delay);
    }

    /// Ends what [`Relay::cut_node`], [`Relay::slow_node`] and [`Relay::cut_link`] did to a node; cuts of other nodes stay.
    pub fn heal_node(&self, node: usize) {
        self.shared.faults.heal_node(node);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
    }
}

impl Shared {
    /// The node that has this address.
    fn node_of(&self, source: IpAddr) -> Option<usize> {
        self.nodes.iter().position(|node| node.real.ip() == source)
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Waits while nothing passes; false when the relay ends.
    fn wait_passage(&self, from: Option<usize>, to: Option<usize>) -> bool {
        while !self.is_stopped() {
            if self.faults.passes(from, to) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name).spawn(body).map(drop)
}
