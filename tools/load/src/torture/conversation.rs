//! One blocking connection to a node: a command out, its answer in, within a time.
//!
//! Invariant: a conversation that has failed is not used again, because an answer that comes late would be taken for that of
//! the next command.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::content::head;
use crate::endpoints::connect_within;
use crate::reply::{self, Reply};

/// Bytes of one answer at most.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Errors that say that nothing was done. Whatever else a node answers leaves a doubt.
const REFUSALS: [&str; 11] = [
    "BUSY",
    "CLUSTERDOWN",
    "ERR",
    "LOADING",
    "MOVED",
    "NOAUTH",
    "NOREPLICAS",
    "OOM",
    "TOOMANYSIBLINGS",
    "TRYAGAIN",
    "WRONGTYPE",
];

/// A connection.
#[derive(Debug)]
pub struct Conversation {
    stream: TcpStream,
    received: Vec<u8>,
}

/// What a node said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// `+OK` and its like.
    Status,
    /// A number.
    Integer(i64),
    /// A value.
    Bulk(Vec<u8>),
    /// No value.
    Null,
    /// An array of values; what is no value in it is left out.
    Values(Vec<Vec<u8>>),
}

/// Why there is no answer that says "done".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing was done; the first word says why.
    #[error("{0}")]
    Refused(String),
    /// It may have been done; the first word says why.
    #[error("{0}")]
    InDoubt(String),
    /// No answer in time. The conversation is over.
    #[error("timeout")]
    Timeout,
    /// The connection broke. The conversation is over.
    #[error("disconnected")]
    Disconnected,
    /// No node takes a connection.
    #[error("not-connected")]
    NotConnected,
    /// Bytes that are no answer. The conversation is over.
    #[error("malformed")]
    Malformed,
}

impl Failure {
    /// True when the connection must be left.
    pub fn ends_conversation(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::InDoubt(_))
    }

    /// True when nothing can have been done.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::NotConnected)
    }

    fn of_error(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let code = text.split_whitespace().next().unwrap_or("?").to_owned();
        if REFUSALS.contains(&code.as_str()) { Self::Refused(code) } else { Self::InDoubt(code) }
    }

    fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Timeout,
            _ => Self::Disconnected,
        }
    }
}

impl Conversation {
    /// Connects within a time.
    pub fn open(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        Ok(Self { stream: connect_within(address, patience)?, received: Vec::new() })
    }

    /// Sends a command and waits for its answer until `deadline`.
    pub fn ask(&mut self, arguments: &[&[u8]], deadline: Instant) -> Result<Answer, Failure> {
        let mut command = Vec::new();
        head(b'*', arguments.len(), &mut command);
        for argument in arguments {
            head(b'$', argument.len(), &mut command);
            command.extend_from_slice(argument);
            command.extend_from_slice(b"\r\n");
        }
        let left = Self::left(deadline)?;
        let sent = self.stream.set_write_timeout(Some(left)).and_then(|()| self.stream.write_all(&command));
        sent.map_err(|error| Failure::of_io(&error))?;
        loop {
            if let Some((reply, length)) = reply::parse(&self.received).map_err(|_| Failure::Malformed)? {
                let answer = Answer::of(reply);
                self.received.drain(..length);
                return answer;
            }
            self.receive(deadline)?;
        }
    }

    fn receive(&mut self, deadline: Instant) -> Result<(), Failure> {
        if self.received.len() > ANSWER_BYTES_MAX {
            return Err(Failure::Malformed);
        }
        let left = Self::left(deadline)?;
        let mut part = [0; 64 << 10];
        let read = self.stream.set_read_timeout(Some(left)).and_then(|()| self.stream.read(&mut part));
        match read {
            Ok(0) => Err(Failure::Disconnected),
            Ok(count) => {
                self.received.extend_from_slice(&part[..count]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(Failure::of_io(&error)),
        }
    }

    fn left(deadline: Instant) -> Result<Duration, Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(Failure::Timeout) } else { Ok(left) }
    }
}

impl Answer {
    fn of(reply: Reply<'_>) -> Result<Self, Failure> {
        Ok(match reply {
            Reply::Status(_) => Self::Status,
            Reply::Error(text) => return Err(Failure::of_error(text)),
            Reply::Integer(number) => Self::Integer(number),
            Reply::Bulk(bytes) => Self::Bulk(bytes.to_vec()),
            Reply::Null => Self::Null,
            Reply::Array(count, bytes) => {
                let value = |reply: &Reply<'_>| match reply {
                    Reply::Bulk(bytes) | Reply::Status(bytes) => Some(bytes.to_vec()),
                    _ => None,
                };
                Self::Values(reply::elements(count, bytes).iter().filter_map(value).collect())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A server that says these bytes to everybody.
    fn says(bytes: &'static [u8]) -> Conversation {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let conversation = Conversation::open(listener.local_addr().unwrap(), Duration::from_secs(5)).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 100]);
            stream.write_all(bytes).unwrap();
            std::thread::sleep(Duration::from_millis(300));
        });
        conversation
    }

    fn answer(bytes: &'static [u8]) -> Result<Answer, Failure> {
        says(bytes).ask(&[b"PING"], Instant::now() + Duration::from_millis(100))
    }

    #[test]
    fn answers_and_what_is_none() {
        assert_eq!(answer(b"+OK\r\n"), Ok(Answer::Status));
        assert_eq!(answer(b"*2\r\n$1\r\nc\r\n$1\r\nv\r\n"), Ok(Answer::Values(vec![b"c".to_vec(), b"v".to_vec()])));
        assert_eq!(answer(b"-NOREPLICAS only 1\r\n"), Err(Failure::Refused("NOREPLICAS".into())));
        assert_eq!(answer(b"-INDOUBT 1 of 2\r\n"), Err(Failure::InDoubt("INDOUBT".into())));
        assert_eq!(answer(b"-MISCONF disk\r\n"), Err(Failure::InDoubt("MISCONF".into())), "unless known, a doubt");
        assert_eq!(answer(b"$5\r\nab"), Err(Failure::Timeout));
        assert_eq!(answer(b"nonsense\r\n"), Err(Failure::Malformed));
        assert!(!Failure::Timeout.is_refusal() && Failure::Timeout.ends_conversation());
        assert!(Failure::NotConnected.is_refusal());
    }

    #[test]
    fn a_server_that_hangs_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut conversation = Conversation::open(listener.local_addr().unwrap(), Duration::from_secs(5)).unwrap();
        drop(listener.accept().unwrap());
        let failure = conversation.ask(&[b"PING"], Instant::now() + Duration::from_secs(5)).unwrap_err();
        assert_eq!(failure, Failure::Disconnected);
    }
}
