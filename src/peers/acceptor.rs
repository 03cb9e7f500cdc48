//! Accepting: one thread at the peers' port, and a short-lived one for each handshake.
//!
//! Invariant: at most [`limits::HANDSHAKES_MAX`] strangers are listened to at a time, none for longer than
//! [`limits::HANDSHAKE_WITHIN`]; what they do disturbs nobody else.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use annulus_cluster::ids::NodeId;
use annulus_net::handshake::{self, Accepted, HandshakeError, Introduction, KnownNode, RefusalCode};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::handshaking::{HandshakeContext, HandshakeCounters, HandshakeFailed, Wire, hand_over, nonce};
use super::limits;
use crate::core_inbox::{Connected, CoreEvent, CoreSender, PeerCore};

/// Says who of the cluster was at a host and port, and is not there any more: for a node that comes back with nothing.
pub type Lookup = dyn Fn(&str, u16) -> Option<KnownNode> + Send + Sync;

/// The thread at the peers' port.
#[derive(Debug)]
pub struct Acceptor {
    thread: JoinHandle<()>,
    /// Rung to end it.
    stop: Arc<OwnedFd>,
}

struct Shared {
    context: Arc<HandshakeContext>,
    senders: Vec<CoreSender>,
    lookup: Arc<Lookup>,
    under_way: AtomicUsize,
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").field("context", &self.context).finish_non_exhaustive()
    }
}

impl Acceptor {
    /// Accepts from now on. `senders` are those of the cores, in their order.
    ///
    /// Errors: no descriptor or thread is left.
    pub fn start(
        listener: TcpListener,
        context: Arc<HandshakeContext>,
        senders: Vec<CoreSender>,
        lookup: Arc<Lookup>,
    ) -> io::Result<Self> {
        assert_eq!(senders.len(), usize::from(context.cores), "every core is told of its connections");
        listener.set_nonblocking(true)?;
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let shared = Arc::new(Shared { context, senders, lookup, under_way: AtomicUsize::new(0) });
        let stopped = Arc::clone(&stop);
        let run = move || shared.run(&listener, &stopped);
        let thread = thread::Builder::new().name("peers-accept".to_owned()).spawn(run)?;
        Ok(Self { thread, stop })
    }

    /// Closes the port. Handshakes that are under way come to their end by themselves.
    pub fn end(self) {
        // It fails only when it was rung 2^64 times.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        let ended = self.thread.join();
        assert!(ended.is_ok(), "a panic ends the process");
    }
}

impl Shared {
    fn run(self: &Arc<Self>, listener: &TcpListener, stop: &OwnedFd) {
        loop {
            let mut watched =
                [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
            // Interrupted, it looks again.
            let _ = poll(&mut watched, None);
            if !watched[1].revents().is_empty() {
                return;
            }
            match listener.accept() {
                Ok((stream, from)) => self.receive(stream, from),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => {
                    tracing::warn!(%error, "a peer could not be accepted");
                    thread::sleep(limits::ACCEPT_RETRY);
                }
            }
        }
    }

    /// Listens to a stranger, on a thread of its own.
    fn receive(self: &Arc<Self>, stream: TcpStream, from: SocketAddr) {
        let is_over = self.under_way.fetch_add(1, Ordering::Relaxed) >= limits::HANDSHAKES_MAX;
        let shared = Arc::clone(self);
        let run = move || {
            shared.shake_hands(stream, from);
            shared.under_way.fetch_sub(1, Ordering::Relaxed);
        };
        if is_over || thread::Builder::new().name("handshake".to_owned()).spawn(run).is_err() {
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            HandshakeCounters::count(&self.context.counters.turned_away);
            if self.context.counters.may_log(from, "turned away") {
                tracing::warn!(%from, "a peer is turned away: too many handshakes are under way");
            }
        }
    }

    fn shake_hands(&self, stream: TcpStream, from: SocketAddr) {
        let Err(failed) = self.try_to(stream, from) else {
            return;
        };
        self.context.counters.count_failure(&failed);
        let why = failed.to_string();
        if self.context.counters.may_log(from, &why) {
            tracing::warn!(%from, why, "a peer is not let in");
        }
    }

    fn try_to(&self, stream: TcpStream, from: SocketAddr) -> Result<(), HandshakeFailed> {
        stream.set_nonblocking(false)?;
        let mut wire = Wire::new(&stream, limits::HANDSHAKE_WITHIN)?;
        let result = self.speak(&mut wire, from);
        if let Err(failed) = &result {
            wire.tell(failed);
        }
        match result? {
            None => Ok(()),
            Some(event) => self.hand_over(stream, event),
        }
    }

    /// The facts of a link; `None` when an introduction was all that was wanted.
    fn speak(&self, wire: &mut Wire<'_>, from: SocketAddr) -> Result<Option<handshake::Established>, HandshakeFailed> {
        let context = &*self.context;
        let (acceptor, challenge) = handshake::Acceptor::challenge(
            &context.identity,
            &context.keys,
            (context.cores, (context.gate)()),
            &wire.receive()?,
            nonce()?,
            (context.clock_ms)(),
        )?;
        wire.send(&challenge)?;
        match acceptor.check(&wire.receive()?)? {
            Accepted::Link { welcome, established } => {
                if NodeId::checked(established.node).is_none() {
                    return Err(HandshakeError::malformed("no node id").into());
                }
                wire.send(&welcome)?;
                Ok(Some(established))
            }
            Accepted::Introduction(newcomer) => {
                wire.send(&self.introduce(&newcomer))?;
                HandshakeCounters::count(&context.counters.introduced);
                let (host, port) = newcomer.place();
                tracing::info!(%from, host, port, "a newcomer was told which cluster this is");
                Ok(None)
            }
        }
    }

    fn introduce(&self, newcomer: &Introduction<'_>) -> Vec<u8> {
        let (host, port) = newcomer.place();
        let known = if host.is_empty() { None } else { (self.lookup)(host, port) };
        newcomer.welcome(self.context.hash_key, known)
    }

    fn hand_over(&self, stream: TcpStream, established: handshake::Established) -> Result<(), HandshakeFailed> {
        let handshake::Established { node, from_core, to_core, version, capabilities, skew_ms, .. } = established;
        let node = NodeId::checked(node).expect("checked before the welcome");
        let peer = PeerCore { node, core: from_core };
        let socket = hand_over(stream)?;
        let connected = Connected { peer, version, capabilities, is_dialled: false, skew_ms };
        let event = CoreEvent::PeerConnected { connected, socket };
        // The handshake has checked that the core is there.
        if self.senders[usize::from(to_core)].send(event).is_err() {
            HandshakeCounters::count(&self.context.counters.not_taken);
            return Err(HandshakeError::ours(RefusalCode::TooMany, "the core's inbox is full").into());
        }
        HandshakeCounters::count(&self.context.counters.established);
        tracing::info!(node = %peer.node, core = peer.core, to_core, version, skew_ms, "a peer has connected");
        Ok(())
    }
}
