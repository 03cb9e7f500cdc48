//! What is said of a node: by operators its role, weight and zone; by itself where it is reached and what it holds.
//!
//! Invariant: each value is one that a decoder accepts; none has two representations.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Bytes of a host's name or address.
pub const HOST_BYTES_MAX: usize = 255;
/// Bytes of a zone's name.
pub const ZONE_BYTES_MAX: usize = 16;
/// The heaviest node there is.
pub const WEIGHT_MAX: u16 = 10_000;

/// What a node is for. Only operators change it, or automation in their name; never a restart (rule S13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Known, and owns nothing until told.
    Joining,
    /// Owns its share of the partitions.
    Active,
    /// Shall own nothing any more; holds what it has until others have it.
    Leaving,
    /// Gone. It still counts for what it may have held until it is forgotten (rule S6).
    Removed,
}

impl Role {
    /// As in a message.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Joining => 1,
            Self::Active => 2,
            Self::Leaving => 3,
            Self::Removed => 4,
        }
    }

    /// The inverse; `None` for any other byte.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Joining),
            2 => Some(Self::Active),
            3 => Some(Self::Leaving),
            4 => Some(Self::Removed),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Joining => "joining",
            Self::Active => "active",
            Self::Leaving => "leaving",
            Self::Removed => "removed",
        })
    }
}

/// How much of the data a node takes, compared with others: 1 to [`WEIGHT_MAX`], 100 unless told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u16);

impl Weight {
    /// The weight; `None` outside of its range. A node that shall hold nothing is Leaving, not weightless.
    #[must_use]
    pub const fn new(weight: u16) -> Option<Self> {
        if weight > 0 && weight <= WEIGHT_MAX { Some(Self(weight)) } else { None }
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(100)
    }
}

/// What fails together: a rack, a room, an availability zone. Copies of a partition are spread over zones. Nodes without one share
/// the zone of the empty name.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zone([u8; ZONE_BYTES_MAX]);

impl Zone {
    /// The zone of that name: at most [`ZONE_BYTES_MAX`] printable ASCII characters without spaces, else `None`.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let mut bytes = [0; ZONE_BYTES_MAX];
        bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        name.bytes().all(|byte| byte.is_ascii_graphic()).then_some(Self(bytes))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        let length = self.0.iter().position(|byte| *byte == 0).unwrap_or(ZONE_BYTES_MAX);
        std::str::from_utf8(&self.0[..length]).expect("a zone's name is ASCII")
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "zone {:?}", self.name())
    }
}

/// Where something listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// A name or an address: at most [`HOST_BYTES_MAX`] printable ASCII characters without spaces.
    pub host: Box<str>,
    /// Never 0.
    pub port: u16,
}

impl Endpoint {
    /// The address, where the host is one and not a name, which somebody has to resolve.
    #[must_use]
    pub fn literal(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.host.parse().ok()?;
        Some(SocketAddr::new(ip, self.port))
    }

    fn is_valid(&self) -> bool {
        self.host.len() <= HOST_BYTES_MAX && self.host.bytes().all(|byte| byte.is_ascii_graphic()) && self.port > 0
    }
}

/// What a node holds, in short: who sees it change asks for the whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holdings {
    /// Partitions that it holds as an owner.
    pub active: u16,
    /// Partitions that it does not have whole yet.
    pub pending: u16,
    /// Partitions that it holds until others have them.
    pub draining: u16,
    /// Of the state of every partition: equal where nothing changed.
    pub digest: u64,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Announced {
    /// Where other nodes reach it.
    pub peers: Endpoint,
    /// Where clients reach it; an empty host stands for whatever address the client has used.
    pub clients: Endpoint,
    /// Its cores: core k listens for clients on `clients.port + 1 + k`.
    pub cores: u16,
    /// Under which it stamps now: see [`annulus_object::Actor`]. Never 0.
    pub incarnation: u16,
    /// The newest messages that it understands.
    pub version: u32,
    /// So many empty nodes, this one among them, are to found the cluster; 0: it does not found one.
    pub founding: u8,
    /// What it holds.
    pub holdings: Holdings,
}

impl Announced {
    /// Whether a decoder accepts it.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let is_reachable = self.peers.is_valid() && !self.peers.host.is_empty() && self.clients.is_valid();
        is_reachable && self.cores > 0 && self.incarnation > 0
    }
}
