//! What makes a node one of a cluster: the cluster's name and secret, where others are, and how many copies of a key there are.
//!
//! **Seeds** are written as clients see them, HOST:P with the P of the other node's `listen`: the one address of a node that
//! its operator knows by heart, and the same that everything else on the command line means. Its peers are found at P+10000. A
//! node that was given another `peer-listen` port is named as that port minus 10000; so any can be named, and `peer-listen` is
//! above 10000.
//!
//! Invariant: a `ClusterConfig` that exists has a name and a file with the secret, and can be reached by an address that is no
//! wildcard; no quorum is larger than the copies.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use annulus_cluster::limits::COPIES_MAX;
use annulus_cluster::membership::{Endpoint, Zone};

use super::limits::ConfigLimits as Limits;
use super::source::{ConfigError, Raw, Sources};
use super::{Durability, parse};

/// Which cluster, and how it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Its name: 1 to 64 printable ASCII characters.
    pub name: String,
    /// Holds one secret or two, see [`crate::secrets`].
    pub secret_file: PathBuf,
    /// Other nodes, any of which tells of all.
    pub seeds: Vec<Seed>,
    /// So many empty nodes found the cluster together.
    pub found: Option<u8>,
    /// What this node fails together with; `None`: whatever the map says.
    pub zone: Option<Zone>,
    /// Where other nodes connect, TCP and UDP. Links to others are dialled from its address.
    pub peer_listen: SocketAddr,
    /// Under which address others reach that, where something stands between: a translated address, a proxy.
    pub peer_announce: Option<Endpoint>,
}

/// Another node, as its clients reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// Name or address.
    pub host: String,
    /// The port of all clients (P); at most 55,535.
    pub port: u16,
}

/// How many copies there are of a key, and how many of them have to answer, unless a request says otherwise. What is in force is
/// capped by the number of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuorumConfig {
    /// N, the same on every node.
    pub copies: u8,
    /// R: so many tell of a read.
    pub read: u8,
    /// W: so many have a write.
    pub write: u8,
    /// DW: so many of them on stable storage.
    pub durable: u8,
    /// After this a request is answered in any case.
    pub deadline: Duration,
}

impl ClusterConfig {
    /// `None` when no cluster was named.
    pub(super) fn build(sources: &Sources, listen: SocketAddr) -> Result<Option<Self>, ConfigError> {
        let name = sources.get("cluster", name)?;
        let secret_file = sources.get("secret-file", parse::path)?;
        let seeds = sources.get("seeds", seeds)?;
        let found = sources.get("found", found)?;
        let zone = sources.get("zone", zone)?;
        let peer_listen = sources.get("peer-listen", parse::address)?;
        let peer_announce = sources.get("peer-announce", endpoint)?;
        let Some(name) = name else {
            let given = [
                ("secret-file", secret_file.is_some()),
                ("seeds", seeds.is_some()),
                ("found", found.is_some()),
                ("zone", zone.is_some()),
                ("peer-listen", peer_listen.is_some()),
                ("peer-announce", peer_announce.is_some()),
            ];
            return match given.iter().find(|(_, is_given)| *is_given) {
                Some((key, _)) => Err(sources.error(key, "it is of a cluster: name that with `cluster`")),
                None => Ok(None),
            };
        };
        let Some(secret_file) = secret_file else {
            let text = "a cluster has a secret: write at least 16 random bytes into a file that only this user can read \
                        (`openssl rand -hex 32 > FILE; chmod 600 FILE`), the same on every node, and name it with `secret-file`";
            return Err(sources.error("cluster", text));
        };
        let peer_listen = match peer_listen {
            Some(given) if given.port() <= Limits::PEER_PORT_OFFSET => {
                let text =
                    format!("port {} is not above 10000: seeds name a peer by its port minus 10000", given.port());
                return Err(sources.error("peer-listen", text));
            }
            Some(given) => given,
            None => {
                let port = listen.port().checked_add(Limits::PEER_PORT_OFFSET).ok_or_else(|| {
                    let text = format!("port {} is too high: peers use it plus 10000", listen.port());
                    sources.error("listen", text)
                })?;
                SocketAddr::new(listen.ip(), port)
            }
        };
        let seeds = seeds.unwrap_or_default();
        Ok(Some(Self { name, secret_file, seeds, found, zone, peer_listen, peer_announce }))
    }

    /// Checks that other nodes can be told where this one is.
    pub(super) fn validate_host(&self, announce_host: Option<&str>) -> Result<(), String> {
        let is_told = announce_host.is_some() || self.peer_announce.is_some();
        if !is_told && self.peer_listen.ip().is_unspecified() {
            let text = format!(
                "{} is every address of this machine, and other nodes must be told one: set `announce-host`, or give \
                 `listen` or `peer-listen` one address",
                self.peer_listen
            );
            return Err(text);
        }
        Ok(())
    }
}

impl Seed {
    /// Where it listens for peers.
    pub fn peer_port(&self) -> u16 {
        self.port + Limits::PEER_PORT_OFFSET
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(formatter, "[{host}]:{port}") } else { write!(formatter, "{host}:{port}") }
    }
}

impl QuorumConfig {
    pub(super) fn build(sources: &Sources, durability: Durability) -> Result<Self, ConfigError> {
        let copies_max = u8::try_from(COPIES_MAX).expect("few copies");
        let within = |key: &'static str, low: u8, high: u8, high_is: &str| -> Result<Option<u8>, ConfigError> {
            sources.get(key, |raw| {
                let count = parse::count(raw)?;
                let fits = u8::try_from(count).ok().filter(|count| (low..=high).contains(count));
                fits.ok_or_else(|| format!("{count} is outside {low} to {high}, {high_is}"))
            })
        };
        let copies = within("copies", 1, copies_max, "the most copies there can be")?.unwrap_or(Limits::COPIES);
        let majority = copies / 2 + 1;
        let read = within("read-quorum", 1, copies, "the number of copies")?.unwrap_or(majority);
        let write = within("write-quorum", 1, copies, "the number of copies")?.unwrap_or(majority);
        // Without `sync` a reply promises nothing of the disk on one node either.
        let default = if durability == Durability::Sync { write } else { 0 };
        let durable = within("durable-quorum", 0, copies, "the number of copies")?.unwrap_or(default);
        let deadline = sources.get("deadline", parse::duration)?.unwrap_or(Limits::DEADLINE);
        if !(Limits::DEADLINE_MIN..=Limits::DEADLINE_MAX).contains(&deadline) {
            let text = format!("{deadline:?} is outside {:?} to {:?}", Limits::DEADLINE_MIN, Limits::DEADLINE_MAX);
            return Err(sources.error("deadline", text));
        }
        if durability == Durability::Memory && durable > 0 {
            let text =
                "with memory durability nothing is ever on stable storage: leave it out, or choose sync or interval";
            return Err(sources.error("durable-quorum", text));
        }
        Ok(Self { copies, read, write, durable, deadline })
    }
}

impl QuorumConfig {
    /// What is in force where there are so many copies: as many as there are members for, never by who answers.
    pub fn capped(self, copies: usize) -> Self {
        let copies = u8::try_from(copies).unwrap_or(u8::MAX).min(self.copies);
        let of = |count: u8| count.min(copies);
        Self { copies, read: of(self.read), write: of(self.write), durable: of(self.durable), ..self }
    }
}

fn name(raw: &Raw) -> Result<String, String> {
    let text = raw.text()?;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.is_empty() || text.len() > Limits::CLUSTER_NAME_BYTES_MAX || !is_plain {
        let most = Limits::CLUSTER_NAME_BYTES_MAX;
        return Err(format!("`{text}` is no name: 1 to {most} printable ASCII characters without spaces"));
    }
    Ok(text)
}

fn seeds(raw: &Raw) -> Result<Vec<Seed>, String> {
    let text = raw.text()?;
    let seeds = text.split(',').map(|part| seed(part.trim())).collect::<Result<Vec<_>, _>>()?;
    let most = Limits::SEEDS_MAX;
    if seeds.len() > most { Err(format!("{} seeds are more than {most}", seeds.len())) } else { Ok(seeds) }
}

fn seed(text: &str) -> Result<Seed, String> {
    let refusal = |why: &str| format!("`{text}` is not HOST:PORT of a node's clients, for example db1:7379{why}");
    let (host, port) = text.rsplit_once(':').ok_or_else(|| refusal(""))?;
    let port: u16 = port.parse().map_err(|_| refusal(": the port is a number from 1 to 55535"))?;
    if port == 0 || port.checked_add(Limits::PEER_PORT_OFFSET).is_none() {
        return Err(refusal(": its peers are at the port plus 10000, so the port is from 1 to 55535"));
    }
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host = parse::host(&Raw::Text(host.to_owned())).map_err(|why| refusal(&format!(": {why}")))?;
    Ok(Seed { host, port })
}

fn endpoint(raw: &Raw) -> Result<Endpoint, String> {
    let text = raw.text()?;
    let refusal = |why: &str| format!("`{text}` is not HOST:PORT under which other nodes reach this one{why}");
    let (host, port) = text.rsplit_once(':').ok_or_else(|| refusal(""))?;
    let port: u16 =
        port.parse().ok().filter(|port| *port > 0).ok_or_else(|| refusal(": the port is from 1 to 65535"))?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host = parse::host(&Raw::Text(host.to_owned())).map_err(|why| refusal(&format!(": {why}")))?;
    Ok(Endpoint { host: host.into(), port })
}

fn found(raw: &Raw) -> Result<u8, String> {
    let count = parse::count(raw)?;
    match u8::try_from(count) {
        Ok(0) => Err("0 nodes found nothing: give how many empty nodes become the cluster, 1 or more".to_owned()),
        Ok(count) if count <= Limits::FOUNDERS_MAX => Ok(count),
        _ => Err(format!("{count} is more than {}: found it with fewer, others can join", Limits::FOUNDERS_MAX)),
    }
}

fn zone(raw: &Raw) -> Result<Zone, String> {
    let text = raw.text()?;
    let zone = Zone::new(&text).filter(|_| !text.is_empty());
    zone.ok_or_else(|| format!("`{text}` is no zone: 1 to 16 printable ASCII characters without spaces"))
}
