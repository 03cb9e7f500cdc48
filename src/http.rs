//! Health and metrics over HTTP/1.1, on a thread of its own: `/health/live`, `/health/ready`, `/metrics`. Nothing else, and
//! no keep-alive: every answer closes its connection.
//!
//! Written here rather than taken from a library so that everything is bounded: connections at once, bytes of a request, and
//! the time that a client may take for both directions together. It shares nothing with the cores but what they publish.
//!
//! Invariant: whatever clients do, at most [`CONNECTIONS_MAX`] threads exist, each for at most [`EXCHANGE_MAX`].

mod request;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::metrics::{self, Metric, NodeMetrics};
use crate::node::{Node, Phase};

/// Connections served at once; further ones are answered 503 and closed.
pub const CONNECTIONS_MAX: usize = 16;
/// Time that a client may take for request and answer together.
pub const EXCHANGE_MAX: Duration = Duration::from_secs(2);
/// A core that has not turned for so long makes the node not live.
pub const SILENCE_MAX_MS: u64 = 5000;

/// What the answers depend on.
pub trait Status: Send + Sync + 'static {
    /// Where the node stands.
    fn phase(&self) -> Phase;
    /// What the cores publish.
    fn metrics(&self) -> &Arc<NodeMetrics>;
    /// The share of its data that a loading node has read, 0 to 1.
    fn loaded_share(&self) -> f64;
}

/// The running thread. Dropping it stops it, too.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: &'static str,
    content_type: &'static str,
    body: String,
}

impl Status for Node {
    fn phase(&self) -> Phase {
        Node::phase(self)
    }

    fn metrics(&self) -> &Arc<NodeMetrics> {
        &self.metrics
    }

    fn loaded_share(&self) -> f64 {
        self.progress.share()
    }
}

/// Serves that node's health and metrics where its configuration says; `None` when it says nowhere. Errors: the address,
/// and the kernel's reason.
pub fn start(node: &Arc<Node>) -> io::Result<Option<HttpServer>> {
    let Some(address) = node.config.http else {
        return Ok(None);
    };
    let named = |error: io::Error| io::Error::new(error.kind(), format!("HTTP on {address}: {error}"));
    HttpServer::start(address, Arc::clone(node)).map(Some).map_err(named)
}

/// `Err` with the reason when a serving core has not turned for 5 s. Cores that load or close need not turn.
fn live(status: &dyn Status) -> Result<(), String> {
    if status.phase() != Phase::Ready {
        return Ok(());
    }
    let silent = status.metrics().silence_ms().enumerate().find(|(_, silence_ms)| *silence_ms >= SILENCE_MAX_MS);
    silent.map_or(Ok(()), |(core, silence_ms)| Err(format!("core {core} has not turned for {silence_ms} ms")))
}

/// `Err` with the reason when the node should get no clients, or cannot take writes.
fn ready(status: &dyn Status) -> Result<(), String> {
    match status.phase() {
        Phase::Loading => return Err(format!("loading: {} % done", (status.loaded_share() * 100.0).floor())),
        Phase::Draining => return Err("draining".to_owned()),
        Phase::Ready => live(status)?,
    }
    let read_only = status.metrics().cores().iter().position(|core| core.get(Metric::ReadOnly) > 0);
    read_only.map_or(Ok(()), |core| Err(format!("read-only: core {core} refuses writes")))
}

impl HttpServer {
    /// Binds and starts. Errors: the kernel's.
    pub fn start(address: SocketAddr, status: Arc<impl Status>) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("annulus-http".to_owned())
            .spawn(move || serve(&listener, &stopped, &*status))?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening and waits for the answers under way, at most [`EXCHANGE_MAX`].
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        let written = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        assert!(written.is_ok(), "a fresh event descriptor takes a 1");
        if thread.join().is_err() {
            tracing::error!("the HTTP thread panicked");
        }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.shut_down();
    }
}

/// Accepts until told to stop; returns when every connection is done.
fn serve(listener: &TcpListener, stop: &OwnedFd, status: &dyn Status) {
    let active = AtomicUsize::new(0);
    thread::scope(|scope| {
        while wait(listener, stop) {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => {
                    tracing::warn!("HTTP cannot accept: {error}");
                    // Out of descriptors, most likely: the connection is still there, so do not spin.
                    thread::sleep(Duration::from_millis(100));
                    continue;
                }
            };
            if active.load(Ordering::Acquire) >= CONNECTIONS_MAX {
                refuse(stream);
                continue;
            }
            active.fetch_add(1, Ordering::AcqRel);
            let exchange = || {
                exchange(stream, status);
                active.fetch_sub(1, Ordering::AcqRel);
            };
            let spawned = thread::Builder::new().name("annulus-http-client".to_owned()).spawn_scoped(scope, exchange);
            if let Err(error) = spawned {
                active.fetch_sub(1, Ordering::AcqRel);
                tracing::warn!("HTTP has no thread for a client: {error}");
            }
        }
    });
}

/// Waits for a connection; false when told to stop.
fn wait(listener: &TcpListener, stop: &OwnedFd) -> bool {
    let mut descriptors = [PollFd::new(listener, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
    match poll(&mut descriptors, None) {
        Ok(_) => !descriptors[1].revents().contains(PollFlags::IN),
        // Interrupted: accepting finds nothing, and the caller asks again.
        Err(_) => true,
    }
}

fn refuse(stream: TcpStream) {
    let busy = Answer::text("503 Service Unavailable", "too many connections");
    // Without waiting: a new socket has room for it, and who gets no answer learns the same from the closing.
    let _ = stream.set_nonblocking(true).and_then(|()| (&stream).write_all(&busy.encode(false)));
}

/// One request, one answer. A client that breaks off gets nothing, and nobody needs to know.
fn exchange(stream: TcpStream, status: &dyn Status) {
    let deadline = Instant::now() + EXCHANGE_MAX;
    if stream.set_nonblocking(false).is_err() {
        return;
    }
    let (answer, is_head) = match request::read(&stream, deadline) {
        Ok(head) => (answer(&head, status), head.method == "HEAD"),
        Err(request::ReadError::Gone) => return,
        Err(request::ReadError::Malformed) => (Answer::text("400 Bad Request", "malformed request"), false),
        Err(request::ReadError::TooLarge) => {
            (Answer::text("431 Request Header Fields Too Large", "request too large"), false)
        }
        Err(request::ReadError::Late) => (Answer::text("408 Request Timeout", "request took too long"), false),
    };
    let _ = request::write(&stream, &answer.encode(is_head), deadline.max(Instant::now() + Duration::from_millis(100)));
}

fn answer(head: &request::Head, status: &dyn Status) -> Answer {
    let from = |result: Result<(), String>| match result {
        Ok(()) => Answer::text("200 OK", "ok"),
        Err(reason) => Answer::text("503 Service Unavailable", &reason),
    };
    let known = ["/health/live", "/health/ready", "/metrics"];
    if !known.contains(&head.path.as_str()) {
        return Answer::text("404 Not Found", "there are /health/live, /health/ready and /metrics");
    }
    if head.method != "GET" && head.method != "HEAD" {
        return Answer::text("405 Method Not Allowed", "only GET and HEAD");
    }
    match head.path.as_str() {
        "/health/live" => from(live(status)),
        "/health/ready" => from(ready(status)),
        _ => Answer { status: "200 OK", content_type: metrics::CONTENT_TYPE, body: metrics::render(status.metrics()) },
    }
}

impl Answer {
    fn text(status: &'static str, body: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: format!("{body}\n") }
    }

    /// The bytes to send; without the body for HEAD.
    fn encode(&self, is_head: bool) -> Vec<u8> {
        let allow = if self.status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n",
            self.status,
            self.content_type,
            self.body.len()
        );
        let mut bytes = head.into_bytes();
        if !is_head {
            bytes.extend_from_slice(self.body.as_bytes());
        }
        bytes
    }
}
