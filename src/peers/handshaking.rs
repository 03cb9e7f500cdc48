//! Handshakes over sockets: what both sides of one share, and frames read and written before a deadline.
//!
//! These run on threads that are no cores, and block.
//!
//! Invariant: a handshake reads its own frames and not a byte beyond them: what follows is the link's.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use annulus_net::handshake::{FRAME_BYTES_MAX, Gate, HandshakeError, Identity, Keys, refusal};
use annulus_net::peer_frame::{Frame, FrameError, HEADER_BYTES, announced_bytes, decode_one};

use super::refusal_log::RefusalLog;

/// Everything that handshakes of this node need; shared by those that dial and those that accept.
pub struct HandshakeContext {
    /// Who this node is.
    pub identity: Identity,
    /// Made from the cluster's secrets.
    pub keys: Keys,
    /// The key of the hash over keys, for newcomers; zeros while there is no cluster.
    pub hash_key: [u8; 16],
    /// Cores of this node.
    pub cores: u16,
    /// From which address others are dialled; any, if it is unspecified.
    pub source: IpAddr,
    /// Whether this node takes links now.
    pub gate: Box<dyn Fn() -> Gate + Send + Sync>,
    /// The wall clock in Unix milliseconds.
    pub clock_ms: Box<dyn Fn() -> u64 + Send + Sync>,
    /// What became of handshakes.
    pub counters: HandshakeCounters,
}

impl fmt::Debug for HandshakeContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The hash key stays out of logs: who knows it can make keys collide.
        let mut fields = formatter.debug_struct("HandshakeContext");
        fields.field("identity", &self.identity).field("keys", &self.keys).field("cores", &self.cores);
        fields.field("counters", &self.counters).finish_non_exhaustive()
    }
}

/// What became of a node's handshakes, both those that it dialled and those that it was asked for.
#[derive(Debug, Default)]
pub struct HandshakeCounters {
    /// Links that stand since.
    pub established: AtomicU64,
    /// Newcomers that were told which cluster this is.
    pub introduced: AtomicU64,
    /// This side has refused the other.
    pub refused: AtomicU64,
    /// The other side has refused this one.
    pub refused_by_peer: AtomicU64,
    /// The connection did not come about, or broke, or the other side took too long.
    pub failed: AtomicU64,
    /// Turned away unheard, because too many were under way.
    pub turned_away: AtomicU64,
    /// Established, and dropped because the core did not take it.
    pub not_taken: AtomicU64,
    log: RefusalLog,
}

impl HandshakeCounters {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_failure(&self, failed: &HandshakeFailed) {
        Self::count(match failed {
            HandshakeFailed::Refused(error) if error.is_by_peer => &self.refused_by_peer,
            HandshakeFailed::Refused(_) => &self.refused,
            _ => &self.failed,
        });
    }

    /// Whether a refusal is worth a line in the log.
    pub(super) fn may_log(&self, from: SocketAddr, why: &str) -> bool {
        self.log.is_news(from.ip(), why, Instant::now())
    }
}

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeFailed {
    /// Nobody is there.
    #[error("cannot be reached: {0}")]
    Unreachable(io::Error),
    /// One side will not have the other.
    #[error(transparent)]
    Refused(#[from] HandshakeError),
    /// The other side took too long.
    #[error("did not answer in time")]
    Late,
    /// The other side closed the connection.
    #[error("closed the connection during the handshake")]
    Ended,
    /// What came was no frame.
    #[error("did not send a frame: {0}")]
    Garbage(#[from] FrameError),
    /// The socket failed.
    #[error("{0}")]
    Socket(io::Error),
    /// The system gives no random bytes.
    #[error("no random bytes")]
    Random,
}

impl HandshakeFailed {
    /// The other side is there, and trying again soon does not help.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(error) if !error.code.is_passing())
    }
}

impl From<io::Error> for HandshakeFailed {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Late,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Ended,
            _ => Self::Socket(error),
        }
    }
}

/// Sixteen bytes that nobody has used before.
pub(super) fn nonce() -> Result<[u8; 16], HandshakeFailed> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| HandshakeFailed::Random)?;
    Ok(bytes)
}

/// A blocking socket with a deadline for all that is said on it.
#[derive(Debug)]
pub(super) struct Wire<'a> {
    stream: &'a TcpStream,
    deadline: Instant,
    /// The frame that was received last.
    received: Vec<u8>,
}

impl<'a> Wire<'a> {
    /// Errors: the socket's.
    pub(super) fn new(stream: &'a TcpStream, within: Duration) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, deadline: Instant::now() + within, received: Vec::new() })
    }

    pub(super) fn send(&mut self, frame: &[u8]) -> Result<(), HandshakeFailed> {
        // A handshake's frames fit the socket's buffer: this waits only for one who sends nothing but fills it.
        self.stream.set_write_timeout(Some(self.left()?))?;
        Ok((&mut &*self.stream).write_all(frame)?)
    }

    pub(super) fn receive(&mut self) -> Result<Frame<'_>, HandshakeFailed> {
        let mut header = [0; HEADER_BYTES];
        self.read_exact(&mut header)?;
        let payload_bytes = announced_bytes(&header, FRAME_BYTES_MAX)?;
        let mut frame = std::mem::take(&mut self.received);
        frame.clear();
        frame.extend_from_slice(&header);
        frame.resize(HEADER_BYTES + payload_bytes, 0);
        self.read_exact(&mut frame[HEADER_BYTES..])?;
        self.received = frame;
        Ok(decode_one(&self.received, FRAME_BYTES_MAX)?)
    }

    /// Tells the other side why it is refused, as far as it still listens.
    pub(super) fn tell(&mut self, failed: &HandshakeFailed) {
        let frame = match failed {
            HandshakeFailed::Refused(error) => refusal(error),
            HandshakeFailed::Garbage(error) => refusal(&HandshakeError::malformed(&error.to_string())),
            _ => None,
        };
        if let Some(frame) = frame {
            // Who does not listen is not told.
            let _ = self.send(&frame);
        }
    }

    /// A socket on which every single read may wait, and all together only until the deadline.
    fn read_exact(&self, mut into: &mut [u8]) -> Result<(), HandshakeFailed> {
        while !into.is_empty() {
            self.stream.set_read_timeout(Some(self.left()?))?;
            match (&mut &*self.stream).read(into) {
                Ok(0) => return Err(HandshakeFailed::Ended),
                Ok(bytes) => into = &mut into[bytes..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn left(&self) -> Result<Duration, HandshakeFailed> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(HandshakeFailed::Late) } else { Ok(left) }
    }
}

/// A socket that is to become a core's: it never waits, and has no time-outs of its own.
pub(super) fn hand_over(stream: TcpStream) -> Result<std::os::fd::OwnedFd, HandshakeFailed> {
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)?;
    stream.set_nonblocking(true)?;
    Ok(stream.into())
}
