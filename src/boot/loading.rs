//! What clients are told while a node loads: a thread that accepts them before any core can, answers every command with how
//! far loading has come, and lets them go when the cores take over.
//!
//! What it is not: a server. No command is run, no password is looked at, nothing is counted; and it shares nothing with the
//! cores but the listening sockets, of which it has duplicates.
//!
//! ```text
//! bind ──▶ Loading::start ──▶ cores recover ──▶ Loading::stop ──▶ phase changes ──▶ cores accept
//! ```
//!
//! Invariant: either this thread accepts or the cores do, never both. What it accepted it has answered before it ends, as far
//! as the client reads; what it did not accept waits in the kernel for the cores.

mod answer;
mod client;
mod estimate;
#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use annulus_engine::Progress;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::limits::ACCEPT_RETRY;
use client::{Client, Next};
use estimate::Estimate;

/// Clients at once; further ones are refused.
const CLIENTS_MAX: usize = 256;
/// Clients of one port that are taken in before those that are there get their turn.
const ACCEPTS_PER_TURN: usize = 64;
/// How long clients that do not read may hold up the end of loading.
const END_PATIENCE: Duration = Duration::from_millis(100);
/// Time between two lines in the log.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// The running thread. Dropping it stops it, too.
pub(super) struct Loading {
    stop: Arc<OwnedFd>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Loading {
    /// Accepts on duplicates of these sockets from now on. Errors: the kernel's.
    pub fn start<'a>(listeners: impl IntoIterator<Item = &'a OwnedFd>, progress: &Arc<Progress>) -> io::Result<Self> {
        let duplicate = |listener: &OwnedFd| {
            let listener = TcpListener::from(listener.try_clone()?);
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listeners = listeners.into_iter().map(duplicate).collect::<io::Result<Vec<_>>>()?;
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let now = Instant::now();
        let server = Server {
            listeners,
            stop: Arc::clone(&stop),
            clients: Vec::new(),
            estimate: Estimate::new(Arc::clone(progress), now),
            accepts_from: now,
            next_line: now + LOG_EVERY,
        };
        let thread = thread::Builder::new().name("loading".to_owned()).spawn(move || server.run())?;
        Ok(Self { stop, thread: Mutex::new(Some(thread)) })
    }

    /// Ends it. When this returns, nothing is accepted any more and every client has been let go; also for whoever calls it
    /// while somebody else does.
    pub fn stop(&self) {
        let mut thread = self.thread.lock().expect("a panic ends the process");
        let Some(thread) = thread.take() else { return };
        let written = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        assert!(written.is_ok(), "a fresh event descriptor takes a 1");
        if thread.join().is_err() {
            tracing::error!("the thread that answers while loading panicked");
        }
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the thread has.
struct Server {
    listeners: Vec<TcpListener>,
    stop: Arc<OwnedFd>,
    clients: Vec<Client>,
    estimate: Estimate,
    /// Not before this: an attempt to accept has failed.
    accepts_from: Instant,
    next_line: Instant,
}

/// What has something to do.
#[derive(Default)]
struct Ready {
    stop: bool,
    listeners: Vec<usize>,
    clients: Vec<bool>,
}

impl Server {
    fn run(mut self) {
        loop {
            let ready = self.wait();
            if ready.stop {
                break;
            }
            self.serve(&ready.clients);
            ready.listeners.into_iter().for_each(|listener| self.accept(listener));
            self.log();
        }
        self.let_go();
        for listener in &self.listeners {
            // The duplicate shares this with the socket that the cores accept on, and they wait in their ring.
            if let Err(error) = listener.set_nonblocking(false) {
                tracing::warn!(%error, "a listening socket stays without waiting");
            }
        }
    }

    /// Waits until something can be done, at most until the next line of the log.
    fn wait(&self) -> Ready {
        let now = Instant::now();
        let listeners = if now < self.accepts_from { &[][..] } else { &self.listeners };
        let mut sources = vec![PollFd::new(&*self.stop, PollFlags::IN)];
        sources.extend(listeners.iter().map(|listener| PollFd::new(listener, PollFlags::IN)));
        sources.extend(self.clients.iter().map(|client| PollFd::new(client.stream(), client.interest())));
        let until = if listeners.is_empty() { self.next_line.min(self.accepts_from) } else { self.next_line };
        let timeout = Timespec::try_from(until.saturating_duration_since(now)).expect("a second at most");
        if poll(&mut sources, Some(&timeout)).is_err() {
            // Interrupted: the caller asks again.
            return Ready { clients: vec![false; self.clients.len()], ..Ready::default() };
        }
        let mut happened = sources.iter().map(|source| !source.revents().is_empty());
        Ready {
            stop: happened.next().expect("it was put in first"),
            listeners: happened
                .by_ref()
                .take(listeners.len())
                .enumerate()
                .filter(|(_, yes)| *yes)
                .map(|(at, _)| at)
                .collect(),
            clients: happened.collect(),
        }
    }

    /// Reads, answers and writes, where the kernel says that it can be done.
    fn serve(&mut self, ready: &[bool]) {
        let mut ready = ready.iter();
        let now = Instant::now();
        let Self { clients, estimate, .. } = self;
        clients.retain_mut(|client| {
            let is_ready = *ready.next().expect("one for each client");
            let next = if is_ready { client.turn(&estimate.at(now), now) } else { Next::Stay };
            next == Next::Stay && !client.is_overdue(now)
        });
    }

    fn accept(&mut self, listener: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            match self.listeners[listener].accept() {
                Ok((stream, _)) => self.admit(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // That client has gone; the next one may be there.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) => {
                    tracing::warn!(%error, "a client could not be accepted while loading");
                    // Without descriptors the next attempt would fail at once.
                    self.accepts_from = Instant::now() + ACCEPT_RETRY;
                    return;
                }
            }
        }
    }

    fn admit(&mut self, stream: TcpStream) {
        if self.clients.len() >= CLIENTS_MAX {
            return client::refuse(&stream);
        }
        match Client::new(stream) {
            Ok(client) => self.clients.push(client),
            Err(error) => tracing::debug!(%error, "a client went before it was taken in"),
        }
    }

    fn log(&mut self) {
        let now = Instant::now();
        if now >= self.next_line {
            self.next_line = now + LOG_EVERY;
            tracing::info!("{}", self.estimate.at(now).line());
        }
    }

    /// Answers what has arrived, and closes every connection once that is sent; only so long for those that do not read.
    fn let_go(&mut self) {
        let now = Instant::now();
        let deadline = now + END_PATIENCE;
        let last = self.estimate.at(now);
        self.clients.retain_mut(|client| client.turn(&last, now) == Next::Stay);
        self.clients.iter_mut().for_each(|client| client.leave(now));
        self.clients.retain(Client::has_output);
        while !self.clients.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).expect("less than a second");
            let mut sources: Vec<PollFd<'_>> =
                self.clients.iter().map(|client| PollFd::new(client.stream(), PollFlags::OUT)).collect();
            if left.is_zero() || poll(&mut sources, Some(&timeout)).is_ok_and(|ready| ready == 0) {
                tracing::debug!(clients = self.clients.len(), "clients that did not read were cut off");
                break;
            }
            self.clients.retain_mut(|client| client.flush() == Next::Stay && client.has_output());
        }
        self.clients.clear();
    }
}
