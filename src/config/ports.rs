//! Which port is whose: P for every client, core k on P+1+k, HTTP on P+2000 unless told, peers on P+10000 unless told.
//!
//! Invariant: no two of them are the same, and all fit 16 bits.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::limits::ConfigLimits;

/// The ports of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    listen: SocketAddr,
    cores: u16,
    http: Option<SocketAddr>,
    /// Where peers connect; `None` of a node without a cluster.
    peers: Option<SocketAddr>,
}

/// Ports that cannot be: which key to change, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortConflict {
    pub(super) key: &'static str,
    pub(super) text: String,
}

impl Ports {
    /// Derives and checks the ports.
    pub(super) fn new(
        listen: SocketAddr,
        cores: u16,
        http: Option<SocketAddr>,
        peers: Option<SocketAddr>,
    ) -> Result<Self, PortConflict> {
        let base = listen.port();
        let conflict = |key, text| Err(PortConflict { key, text });
        if base == 0 || cores == 0 {
            return conflict("listen", "the base port and the number of cores must not be 0".to_owned());
        }
        if base.checked_add(ConfigLimits::PEER_PORT_OFFSET).is_none() {
            let last = u16::MAX - ConfigLimits::PEER_PORT_OFFSET;
            return conflict(
                "listen",
                format!("port {base} is too high: peers use {base}+10000, so the port must be at most {last}"),
            );
        }
        let ports = Self { listen, cores, http, peers };
        let last_core = ports.core(cores - 1).port();
        if let Some(peers) = peers.filter(|peers| (base..=last_core).contains(&peers.port())) {
            let text =
                format!("port {} is for clients: {base}, and {} to {last_core} for cores", peers.port(), base + 1);
            return conflict("peer-listen", text);
        }
        if let Some(http) = http {
            let taken = (base..=last_core).contains(&http.port()) || http.port() == ports.peers().port();
            if taken {
                let text = format!(
                    "port {} is used by the node itself: clients {base}, cores {} to {last_core}, peers {}",
                    http.port(),
                    base + 1,
                    ports.peers().port()
                );
                return conflict("http", text);
            }
        }
        Ok(ports)
    }

    /// Where every client may connect.
    pub fn base(&self) -> SocketAddr {
        self.listen
    }

    /// Where clients of one core's partitions connect.
    pub fn core(&self, core: u16) -> SocketAddr {
        assert!(core < self.cores);
        SocketAddr::new(self.listen.ip(), self.listen.port() + 1 + core)
    }

    /// Health and metrics.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http
    }

    /// Where other nodes connect, TCP and UDP: of a node without a cluster where they would.
    pub fn peers(&self) -> SocketAddr {
        let default = || SocketAddr::new(self.listen.ip(), self.listen.port() + ConfigLimits::PEER_PORT_OFFSET);
        self.peers.unwrap_or_else(default)
    }

    /// Every TCP address that is bound, with what it is for.
    pub fn bound(&self) -> Vec<(String, SocketAddr)> {
        let mut bound = vec![("clients".to_owned(), self.listen)];
        bound.extend((0..self.cores).map(|core| (format!("core {core}"), self.core(core))));
        bound.extend(self.http.map(|address| ("http".to_owned(), address)));
        bound.extend(self.peers.map(|address| ("peers".to_owned(), address)));
        bound
    }

    /// The UDP address that is bound, if one is.
    pub fn gossip(&self) -> Option<SocketAddr> {
        self.peers
    }
}

/// Loopback at the base port plus 2000.
pub(super) fn default_http(listen: SocketAddr) -> Result<SocketAddr, String> {
    let port = listen.port().checked_add(ConfigLimits::HTTP_PORT_OFFSET);
    let port = port.ok_or_else(|| format!("port {} is too high: HTTP uses it plus 2000", listen.port()))?;
    Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
}
