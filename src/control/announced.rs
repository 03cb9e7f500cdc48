//! What a node says of itself: where it is reached, with how many cores, under which incarnation.
//!
//! Invariant: of a node of a cluster no address is a wildcard.

use annulus_cluster::membership::{Announced, Endpoint, Holdings};

use crate::config::Config;
use crate::peers::Offered;

/// Of this node as it is configured, when it holds nothing yet. The host of clients is empty where each knows it better.
pub fn announced(config: &Config, incarnation: u16, cores: u16) -> Announced {
    let announced = config.cluster.as_ref().and_then(|cluster| cluster.peer_announce.clone());
    let listen = config.ports().peers();
    let host = |ip: std::net::IpAddr| config.announce_host.clone().unwrap_or_else(|| ip.to_string()).into();
    let is_known = config.announce_host.is_some() || !config.listen.ip().is_unspecified();
    Announced {
        peers: announced.unwrap_or_else(|| Endpoint { host: host(listen.ip()), port: listen.port() }),
        clients: Endpoint {
            host: if is_known { host(config.listen.ip()) } else { "".into() },
            port: config.listen.port(),
        },
        cores,
        incarnation,
        version: (*Offered::here().versions.end()).into(),
        founding: 0,
        holdings: Holdings::default(),
    }
}
