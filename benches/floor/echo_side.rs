//! One side of the echo: whatever arrives on a connection is sent back on it. Server and client differ only in who
//! connects, who sends first, and who ends it; the client also looks at every byte.
//!
//! Invariant: at most one send of a connection is in flight; what arrives meanwhile waits in the connection's `out`, which
//! holds no more than the messages that the client keeps under way.

use super::error::FloorError;
use super::meter::thread_cpu;
use super::ring::{Completion, Ring};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Bytes of a message.
pub const MESSAGE_BYTES: usize = 100;
/// Messages of one measurement at most.
const MESSAGES_MAX: u64 = 1 << 40;

/// When to measure, and when it has to be over.
#[derive(Clone, Copy)]
pub struct Window {
    /// The warm-up is over.
    pub from: Instant,
    /// The measurement is over.
    pub until: Instant,
    /// The client sends no more.
    pub stop: Instant,
    /// Who is not done by then has failed.
    pub give_up: Instant,
}

/// What a side did in the window.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Messages received.
    pub messages: f64,
    /// In this time.
    pub elapsed: Duration,
    /// With this much CPU time.
    pub cpu: Duration,
}

struct Peer {
    socket: OwnedFd,
    /// Received, and not handed to the ring yet.
    out: Vec<u8>,
    is_sending: bool,
    /// The other side has ended its stream.
    is_ended: bool,
    /// Bytes received.
    received: u64,
}

/// A side at work.
pub struct Side {
    ring: Ring,
    window: Window,
    peers: Vec<Peer>,
    /// Connections to come; the server listens for them.
    listener: Option<TcpListener>,
    expected: usize,
    ended: usize,
    received: u64,
    /// Messages over and over, of which any part of a stream is a part; the server does not look.
    pattern: Option<Vec<u8>>,
    /// The client has ended its streams.
    is_stopped: bool,
    /// Time, CPU time and bytes received: at the start, behind the warm-up, and at the end of the measurement.
    marks: Vec<Mark>,
}

type Mark = (Instant, Duration, u64);

impl Side {
    /// A server for `connections` clients.
    pub fn server(listener: TcpListener, connections: usize, window: Window) -> Result<Side, FloorError> {
        let mut side = Side::new(connections, window)?;
        side.ring.accept(&listener);
        side.listener = Some(listener);
        Ok(side)
    }

    /// A client that sends the first `pipeline` messages on each of the connected sockets.
    pub fn client(sockets: Vec<OwnedFd>, pipeline: usize, window: Window) -> Result<Side, FloorError> {
        let mut side = Side::new(sockets.len(), window)?;
        let message: Vec<u8> = (0..MESSAGE_BYTES).map(|index| (index * 7 + 3) as u8).collect();
        for socket in sockets {
            side.adopt(socket);
            let peer = side.peers.last_mut().expect("a peer was just adopted");
            peer.out = message.repeat(pipeline);
        }
        side.pattern = Some(message);
        Ok(side)
    }

    fn new(connections: usize, window: Window) -> Result<Side, FloorError> {
        let mut ring = Ring::new(connections)?;
        ring.provide_buffers()?;
        Ok(Side {
            ring,
            window,
            peers: Vec::with_capacity(connections),
            listener: None,
            expected: connections,
            ended: 0,
            received: 0,
            pattern: None,
            is_stopped: false,
            marks: vec![(Instant::now(), thread_cpu(), 0)],
        })
    }

    /// Echoes until every connection has ended.
    pub fn run(mut self) -> Result<Measured, FloorError> {
        while self.ended < self.expected {
            self.send_out();
            self.ring.turn()?;
            while let Some(completion) = self.ring.next_completion() {
                self.on_completion(completion)?;
            }
            let now = Instant::now();
            self.mark(now);
            if self.is_client() && !self.is_stopped && self.is_time_to_stop(now) {
                self.stop()?;
            }
            if now >= self.window.give_up {
                return Err(FloorError::Wrong("the other side of the echo did not end in time"));
            }
        }
        self.measured().ok_or(FloorError::Wrong("nothing was echoed"))
    }

    /// Between the marks, or, where a trial is too short for them, from start to end.
    fn measured(&self) -> Option<Measured> {
        let end = (Instant::now(), thread_cpu(), self.received);
        let (from, until) = match self.marks[..] {
            [_, from, until] if until.2 > from.2 => (from, until),
            _ => (self.marks[0], end),
        };
        let messages = (until.2 - from.2) as f64 / MESSAGE_BYTES as f64;
        (messages > 0.0).then_some(Measured { messages, elapsed: until.0 - from.0, cpu: until.1 - from.1 })
    }

    fn is_client(&self) -> bool {
        self.pattern.is_some()
    }

    fn is_time_to_stop(&self, now: Instant) -> bool {
        self.received > 0 && now >= self.window.stop || self.received / MESSAGE_BYTES as u64 >= MESSAGES_MAX
    }

    fn mark(&mut self, now: Instant) {
        let due = [self.window.from, self.window.until];
        if due.get(self.marks.len() - 1).is_some_and(|due| now >= *due) {
            self.marks.push((now, thread_cpu(), self.received));
        }
    }

    fn adopt(&mut self, socket: OwnedFd) {
        let slot = self.peers.len();
        self.ring.receive(slot, &socket);
        self.peers.push(Peer { socket, out: Vec::new(), is_sending: false, is_ended: false, received: 0 });
    }

    fn on_completion(&mut self, completion: Completion) -> Result<(), FloorError> {
        match completion {
            Completion::Accepted(socket) => {
                let socket = socket.map_err(FloorError::at("accepting a connection"))?;
                rustix::net::sockopt::set_tcp_nodelay(&socket, true)
                    .map_err(|errno| FloorError::at("setting up a connection")(errno.into()))?;
                if self.peers.len() == self.expected {
                    return Err(FloorError::Wrong("a stranger connected to the echo"));
                }
                self.adopt(socket);
            }
            Completion::Received { slot, result, more } => self.on_received(slot, result, more)?,
            Completion::Sent { slot, result } => {
                let is_over = self.is_stopped || self.peers[slot].is_ended;
                match result.or_else(none_if_full) {
                    Ok(sent) => self.on_sent(slot, sent),
                    Err(_) if is_over => self.peers[slot].is_sending = false,
                    Err(error) => return Err(FloorError::at("sending")(error)),
                }
            }
            Completion::File { .. } => unreachable!("there are only sockets"),
        }
        Ok(())
    }

    fn on_received(
        &mut self,
        slot: usize,
        result: std::io::Result<Option<(u16, usize)>>,
        more: bool,
    ) -> Result<(), FloorError> {
        let peer = &mut self.peers[slot];
        match result {
            Ok(Some((buffer, bytes))) if bytes > 0 => {
                let arrived = self.ring.received(buffer, bytes);
                if let Some(pattern) = &self.pattern
                    && !continues(pattern, peer.received, arrived)
                {
                    return Err(FloorError::Wrong("the echo returned other bytes than were sent"));
                }
                peer.out.extend_from_slice(arrived);
                peer.received += bytes as u64;
                self.received += bytes as u64;
                self.ring.give_back(buffer);
            }
            Ok(buffer) => {
                if let Some((buffer, _)) = buffer {
                    self.ring.give_back(buffer);
                }
                peer.is_ended = true;
                self.ended += 1;
                // The server ends its stream too, which tells the client; if it is gone already, so much the better.
                let _ = rustix::net::shutdown(&peer.socket, rustix::net::Shutdown::Write);
            }
            // Every buffer was taken: those that came with this turn are given back by its end.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
            Err(error) => return Err(FloorError::at("receiving")(error)),
        }
        if !more && !peer.is_ended {
            self.ring.receive(slot, &peer.socket);
        }
        Ok(())
    }

    /// Attempts to send all that waits on connections without a send.
    fn send_out(&mut self) {
        for (slot, peer) in self.peers.iter_mut().enumerate() {
            if peer.out.is_empty() || peer.is_sending || peer.is_ended || self.is_stopped {
                continue;
            }
            let buffer = self.ring.buffer(slot);
            buffer.clear();
            buffer.extend_from_slice(&peer.out);
            peer.out.clear();
            self.ring.attempt_send(slot, &peer.socket);
            peer.is_sending = true;
        }
    }

    /// What the socket did not take at once is sent as it does.
    fn on_sent(&mut self, slot: usize, sent: usize) {
        let buffer = self.ring.buffer(slot);
        let rest = buffer.as_slice()[sent..].to_vec();
        buffer.clear();
        buffer.extend_from_slice(&rest);
        let is_done = rest.is_empty();
        let peer = &mut self.peers[slot];
        peer.is_sending = !is_done;
        if !is_done {
            self.ring.send(slot, &peer.socket);
        }
    }

    /// The client ends its streams; the server follows.
    fn stop(&mut self) -> Result<(), FloorError> {
        self.is_stopped = true;
        for peer in self.peers.iter().filter(|peer| !peer.is_ended) {
            rustix::net::shutdown(&peer.socket, rustix::net::Shutdown::Write)
                .map_err(|errno| FloorError::at("ending a connection")(errno.into()))?;
        }
        Ok(())
    }
}

/// A full socket has taken nothing.
fn none_if_full(error: std::io::Error) -> std::io::Result<usize> {
    if error.kind() == std::io::ErrorKind::WouldBlock { Ok(0) } else { Err(error) }
}

/// Whether `bytes` are what comes at `position` of a stream that repeats `pattern`.
fn continues(pattern: &[u8], position: u64, bytes: &[u8]) -> bool {
    let start = (position % pattern.len() as u64) as usize;
    let (head, rest) = bytes.split_at(bytes.len().min(pattern.len() - start));
    head == &pattern[start..start + head.len()]
        && rest.chunks(pattern.len()).all(|chunk| chunk == &pattern[..chunk.len()])
}
