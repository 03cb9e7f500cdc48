//! Where requests go: one address, or every node that a cluster announces, by slot.
//!
//! Invariant: every slot has an endpoint.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crc::{CRC_16_XMODEM, Crc, Table};

use crate::reply::{self, Reply};

const SLOTS: usize = 16_384;
/// For connecting and for the answer to what is asked before a run.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Of a reply to CLUSTER SLOTS.
const REPLY_BYTES_MAX: usize = 16 << 20;

static CRC16: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&CRC_16_XMODEM);

/// Why no load can be made.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The name is none.
    #[error("{endpoint:?} is no HOST:PORT that can be resolved: {error}")]
    Unresolved {
        /// As given.
        endpoint: String,
        /// The system's.
        error: io::Error,
    },
    /// Nobody answers there.
    #[error("no server answers at {address}: {error}")]
    Absent {
        /// Where.
        address: SocketAddr,
        /// The system's.
        error: io::Error,
    },
    /// It answers, but not with slots.
    #[error(
        "{address} is no cluster: CLUSTER SLOTS answered {answer:?}; leave --cluster away, or ask a node of a cluster"
    )]
    NoCluster {
        /// Where.
        address: SocketAddr,
        /// What it said, shortened.
        answer: String,
    },
}

/// The addresses, and which slot belongs to which.
#[derive(Debug, Clone)]
pub struct Endpoints {
    addresses: Vec<SocketAddr>,
    /// Empty for a single endpoint.
    of_slot: Vec<u16>,
}

impl Endpoints {
    /// One address for everything.
    pub fn single(endpoint: &str) -> Result<Self, EndpointError> {
        let address = resolve(endpoint)?;
        connect(address)?;
        Ok(Self { addresses: vec![address], of_slot: Vec::new() })
    }

    /// Asks a node of a cluster for the others.
    pub fn cluster(endpoint: &str) -> Result<Self, EndpointError> {
        let address = resolve(endpoint)?;
        let stream = connect(address)?;
        let answer = ask(stream, b"*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n")
            .map_err(|error| EndpointError::Absent { address, error })?;
        Self::from_slots(&answer, address).ok_or_else(|| EndpointError::NoCluster {
            address,
            answer: String::from_utf8_lossy(&answer[..answer.len().min(120)]).into_owned(),
        })
    }

    fn from_slots(answer: &[u8], asked: SocketAddr) -> Option<Self> {
        let mut addresses = Vec::new();
        let mut of_slot = vec![u16::MAX; SLOTS];
        let (Reply::Array(count, bytes), _) = reply::parse(answer).ok()?? else { return None };
        for range in reply::elements(count, bytes) {
            let Reply::Array(count, bytes) = range else { return None };
            let fields = reply::elements(count, bytes);
            let [Reply::Integer(first), Reply::Integer(last), Reply::Array(count, bytes), ..] = fields[..] else {
                return None;
            };
            let node = reply::elements(count, bytes);
            let [Reply::Bulk(host), Reply::Integer(port), ..] = node[..] else { return None };
            // An empty host means the one that was asked.
            let ip = if host.is_empty() { asked.ip() } else { str::from_utf8(host).ok()?.parse().ok()? };
            let address = SocketAddr::new(ip, u16::try_from(port).ok()?);
            let index = addresses.iter().position(|other| *other == address).unwrap_or_else(|| {
                addresses.push(address);
                addresses.len() - 1
            });
            let slots = usize::try_from(first).ok()?..=usize::try_from(last).ok()?;
            of_slot.get_mut(slots)?.fill(u16::try_from(index).ok()?);
        }
        of_slot.iter().all(|index| *index != u16::MAX).then_some(Self { addresses, of_slot })
    }

    /// Every address.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// True when keys belong to endpoints.
    pub fn is_cluster(&self) -> bool {
        !self.of_slot.is_empty()
    }

    /// The number of the endpoint of a key, which has no hash tag.
    pub fn of_key(&self, key: &[u8]) -> usize {
        if self.of_slot.is_empty() {
            return 0;
        }
        usize::from(self.of_slot[usize::from(CRC16.checksum(key)) % SLOTS])
    }
}

/// The first address of a name.
pub fn resolve(endpoint: &str) -> Result<SocketAddr, EndpointError> {
    let unresolved = |error| EndpointError::Unresolved { endpoint: endpoint.to_owned(), error };
    let mut addresses = endpoint.to_socket_addrs().map_err(unresolved)?;
    addresses.next().ok_or_else(|| unresolved(io::Error::other("the name has no address")))
}

/// Connects, with the options of a client that waits for every reply.
pub fn connect(address: SocketAddr) -> Result<TcpStream, EndpointError> {
    connect_within(address, PATIENCE).map_err(|error| EndpointError::Absent { address, error })
}

/// As [`connect`], within a time.
pub fn connect_within(address: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn ask(mut stream: TcpStream, question: &[u8]) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(question)?;
    let deadline = Instant::now() + PATIENCE;
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    loop {
        if let Some((_, length)) = reply::parse(&answer).map_err(io::Error::other)? {
            answer.truncate(length);
            return Ok(answer);
        }
        let bytes = stream.read(&mut part)?;
        if bytes == 0 || answer.len() > REPLY_BYTES_MAX || Instant::now() > deadline {
            return Err(io::Error::other("the answer did not come whole"));
        }
        answer.extend_from_slice(&part[..bytes]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: &str = "127.0.0.1:7000";

    fn parsed(answer: &str) -> Option<Endpoints> {
        Endpoints::from_slots(answer.replace(' ', "\r\n").as_bytes(), ASKED.parse().unwrap())
    }

    #[test]
    fn slots_are_spread_over_the_nodes_that_own_them() {
        let node = |host: &str, port: u16| format!("*2 ${} {host} :{port} ", host.len());
        let first = format!("*3 :0 :8191 {}", node("127.0.0.1", 7001));
        let second = format!("*3 :8192 :16383 {}", node("", 7002));
        let endpoints = parsed(&format!("*2 {first}{second}")).unwrap();
        assert_eq!(endpoints.addresses(), ["127.0.0.1:7001".parse().unwrap(), "127.0.0.1:7002".parse().unwrap()]);
        // Slots 12739 and 5061.
        assert_eq!((endpoints.of_key(b"123456789"), endpoints.of_key(b"bar")), (1, 0));
        assert!(parsed(&format!("*1 {first}")).is_none(), "some slots belong to nobody");
        assert!(parsed("-ERR\u{a0}no ").is_none());
    }

    #[test]
    fn who_is_not_there_is_named() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = Endpoints::single(&free.to_string()).unwrap_err().to_string();
        assert!(error.contains("no server answers") && error.contains(&free.to_string()), "{error}");
        assert!(Endpoints::single("nonsense").unwrap_err().to_string().contains("HOST:PORT"));
    }
}
