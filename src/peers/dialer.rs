//! Dialling: threads that make connections for cores, as many as there are dials, within bounds.
//!
//! Invariant: every dial that was taken ends in one event for its core, unless that core's inbox is full.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use annulus_cluster::ids::NodeId;
use annulus_net::handshake::{Dialled, Dialler, Established, HandshakeError, Introduced, Wish};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};

use super::DialRequest;
use super::handshaking::{HandshakeContext, HandshakeCounters, HandshakeFailed, Wire, hand_over, nonce};
use super::limits;
use crate::core_inbox::{Connected, CoreEvent, CoreSender, PeerCore};

/// Too many dials wait already, or there is no thread for them: the dial has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many dials wait")]
pub struct TooManyDials;

/// Dials for the cores of a node; clones share their threads.
#[derive(Debug, Clone)]
pub struct Dialer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    context: Arc<HandshakeContext>,
    senders: Vec<CoreSender>,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(u16, DialRequest)>,
    threads: usize,
    idle: usize,
    is_ending: bool,
}

impl Dialer {
    /// No thread yet. `senders` are those of the cores, in their order.
    pub fn new(context: Arc<HandshakeContext>, senders: Vec<CoreSender>) -> Self {
        let shared = Shared { context, senders, state: Mutex::default(), wake: Condvar::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Makes a connection for a core, which is told of it by an event. Does not wait.
    ///
    /// Errors: [`TooManyDials`]; the core gets no event.
    pub fn dial(&self, core: u16, request: DialRequest) -> Result<(), TooManyDials> {
        let mut state = self.shared.state();
        if state.is_ending || state.waiting.len() >= limits::DIALS_WAITING_MAX {
            return Err(TooManyDials);
        }
        let needs_thread = state.idle <= state.waiting.len() && state.threads < limits::DIALLERS_MAX;
        if needs_thread {
            let shared = Arc::clone(&self.shared);
            match thread::Builder::new().name("dial".to_owned()).spawn(move || shared.run()) {
                Ok(_) => state.threads += 1,
                Err(_) if state.threads > 0 => {}
                Err(_) => return Err(TooManyDials),
            }
        }
        state.waiting.push_back((core, request));
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Takes no more dials; its threads go when they have done those that they are at.
    pub fn end(&self) {
        let mut state = self.shared.state();
        state.is_ending = true;
        state.waiting.clear();
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a panic ends the process")
    }

    /// One thread.
    fn run(&self) {
        while let Some((core, request)) = self.next() {
            self.dial(core, request);
        }
    }

    /// The next dial; `None` when this thread is to go.
    fn next(&self) -> Option<(u16, DialRequest)> {
        let mut state = self.state();
        let mut is_over = false;
        loop {
            if let Some(next) = state.waiting.pop_front() {
                return Some(next);
            }
            if state.is_ending || is_over {
                state.threads -= 1;
                return None;
            }
            state.idle += 1;
            let waited = self.wake.wait_timeout(state, limits::DIALLER_IDLE).expect("a panic ends the process");
            state = waited.0;
            state.idle -= 1;
            is_over = waited.1.timed_out();
        }
    }

    fn dial(&self, core: u16, request: DialRequest) {
        let DialRequest { peer, address } = request;
        let event = match connect(&self.context, core, request) {
            Ok((socket, established)) => {
                HandshakeCounters::count(&self.context.counters.established);
                let Established { version, capabilities, skew_ms, .. } = established;
                tracing::info!(node = %peer.node, core = peer.core, %address, version, skew_ms, "a peer is connected");
                let connected = Connected { peer, version, capabilities, is_dialled: true, skew_ms };
                CoreEvent::PeerConnected { connected, socket }
            }
            Err(failed) => {
                self.context.counters.count_failure(&failed);
                // The core says so in the log when that is news to it.
                tracing::debug!(node = %peer.node, core = peer.core, %address, why = %failed, "a peer is not connected");
                CoreEvent::DialFailed { peer, why: failed.to_string(), is_refused: failed.is_refused() }
            }
        };
        if self.senders[usize::from(core)].send(event).is_err() {
            HandshakeCounters::count(&self.context.counters.not_taken);
        }
    }
}

/// One connection: made, and both sides sure of each other.
fn connect(
    context: &HandshakeContext,
    core: u16,
    request: DialRequest,
) -> Result<(OwnedFd, Established), HandshakeFailed> {
    let PeerCore { node, core: to_core } = request.peer;
    let wish = Wish::Link { node: node.raw(), from_core: core, to_core };
    let (stream, dialled) = shake_hands(context, request.address, wish)?;
    match dialled {
        Dialled::Link(established) => Ok((hand_over(stream)?, established)),
        Dialled::Introduced(_) => unreachable!("a wish for a link ends in one, or in an error"),
    }
}

/// Asks a node which cluster it belongs to; for one that has none yet. Waits, at most three seconds.
///
/// Errors: why it did not tell.
pub fn introduce(context: &HandshakeContext, address: SocketAddr) -> Result<Introduced, HandshakeFailed> {
    match shake_hands(context, address, Wish::Introduction) {
        Ok((_, Dialled::Introduced(introduced))) if NodeId::checked(introduced.node).is_some() => Ok(introduced),
        Ok(_) => Err(HandshakeError::malformed("no introduction").into()),
        Err(failed) => {
            context.counters.count_failure(&failed);
            Err(failed)
        }
    }
}

fn shake_hands(
    context: &HandshakeContext,
    address: SocketAddr,
    wish: Wish,
) -> Result<(TcpStream, Dialled), HandshakeFailed> {
    let stream = connect_from(context.source, address).map_err(HandshakeFailed::Unreachable)?;
    let mut wire = Wire::new(&stream, limits::HANDSHAKE_WITHIN)?;
    let result = speak(context, wish, &mut wire);
    if let Err(failed) = &result {
        wire.tell(failed);
    }
    result.map(|dialled| (stream, dialled))
}

/// A connection from one address to another, in time. Where something stands between nodes, it tells them by their addresses.
fn connect_from(source: IpAddr, address: SocketAddr) -> io::Result<TcpStream> {
    if source.is_unspecified() || source.is_ipv4() != address.is_ipv4() {
        return TcpStream::connect_timeout(&address, limits::CONNECT_WITHIN);
    }
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
    net::bind(&socket, &SocketAddr::new(source, 0))?;
    match net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let timeout = Timespec::try_from(limits::CONNECT_WITHIN).expect("a second");
    if poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&timeout))? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    net::sockopt::socket_error(&socket)??;
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn speak(context: &HandshakeContext, wish: Wish, wire: &mut Wire<'_>) -> Result<Dialled, HandshakeFailed> {
    let clock_ms = &context.clock_ms;
    let (dialler, hello) = Dialler::hello(&context.identity, &context.keys, wish, nonce()?, clock_ms());
    wire.send(&hello)?;
    let (proven, proof) = dialler.prove(&wire.receive()?, clock_ms())?;
    wire.send(&proof)?;
    Ok(proven.finish(&wire.receive()?)?)
}
