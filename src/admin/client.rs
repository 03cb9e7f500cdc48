//! One blocking connection to a node: a command out, its reply in.
//!
//! Invariant: a command is sent only when the reply to the one before has been read.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use annulus_net::resp::{reader, writer};

use super::AdminError;
use super::value::Value;

/// How long connecting may take, for each address of the host.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long the node may be silent before it has answered.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);
/// And when it does something that takes as long as its disk needs to copy the log.
const LONG_PATIENCE: Duration = Duration::from_secs(6 * 3600);
/// Bytes of one reply at most.
const REPLY_BYTES_MAX: usize = 64 << 20;

/// A connection.
pub(super) struct Client {
    endpoint: String,
    stream: TcpStream,
    patience: Duration,
    received: Vec<u8>,
}

impl Client {
    /// Connects to `HOST:PORT`, by whichever of the host's addresses answers.
    pub fn connect(endpoint: &str) -> Result<Self, AdminError> {
        let stream = connect(endpoint);
        let stream = stream.map_err(|error| AdminError::Connect { endpoint: endpoint.to_owned(), error })?;
        Ok(Self { endpoint: endpoint.to_owned(), stream, patience: ANSWER_PATIENCE, received: Vec::new() })
    }

    /// Lets what is asked next take long.
    pub fn be_patient(&mut self) -> Result<(), AdminError> {
        self.patience = LONG_PATIENCE;
        self.stream.set_read_timeout(Some(self.patience)).map_err(|error| self.broken(error))
    }

    /// Sends a command and gives its reply; an error reply is an error.
    pub fn ask(&mut self, arguments: &[&[u8]]) -> Result<Value, AdminError> {
        let mut command = Vec::new();
        writer::array_header(&mut command, arguments.len());
        arguments.iter().for_each(|argument| writer::bulk(&mut command, argument));
        self.stream.write_all(&command).map_err(|error| self.broken(error))?;
        let reply = self.read_reply()?;
        let Some(text) = reader::read_error(&reply) else {
            return Ok(Value::read(&reply));
        };
        let text = String::from_utf8_lossy(text).into_owned();
        let wants_password = text.starts_with("NOAUTH") || text.starts_with("WRONGPASS");
        Err(if wants_password { AdminError::Password(text) } else { AdminError::Refused(text) })
    }

    fn read_reply(&mut self) -> Result<Vec<u8>, AdminError> {
        let mut bytes = vec![0; 64 << 10];
        loop {
            let end = reader::reply_end(&self.received, REPLY_BYTES_MAX);
            let end = end.map_err(|error| AdminError::Protocol { endpoint: self.endpoint.clone(), error })?;
            if let Some(end) = end {
                return Ok(self.received.drain(..end).collect());
            }
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(self.broken(io::Error::other("it closed the connection"))),
                Ok(count) => self.received.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken(error)),
            }
        }
    }

    fn broken(&self, error: io::Error) -> AdminError {
        let error = match error.kind() {
            ErrorKind::WouldBlock => io::Error::other(format!("nothing came for {} s", self.patience.as_secs())),
            _ => error,
        };
        AdminError::Exchange { endpoint: self.endpoint.clone(), error }
    }
}

fn connect(endpoint: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the host has no address");
    for address in endpoint.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
                stream.set_write_timeout(Some(ANSWER_PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
