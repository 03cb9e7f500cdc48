//! What a node of this world says of itself: where it listens, and what it holds, which stands for how often it has spoken.
//!
//! Invariant: nodes are numbered below 65,536, and no two have the same address.

use std::net::SocketAddr;

use annulus_cluster::ids::NodeId;
use annulus_cluster::membership::{Announced, Endpoint, Holdings};

const PORT: u16 = 17_379;

/// Where the node of this number listens.
pub(super) fn address(node: NodeId) -> SocketAddr {
    let [.., a, b] = node.raw().to_be_bytes();
    SocketAddr::new([10, 0, a, b].into(), PORT)
}

/// The node that listens there.
pub(super) fn node_at(address: SocketAddr) -> Option<NodeId> {
    match address {
        SocketAddr::V4(address) => {
            let [.., a, b] = address.ip().octets();
            NodeId::checked(u64::from(a) << 8 | u64::from(b))
        }
        SocketAddr::V6(_) => None,
    }
}

/// What a node with four cores says of itself for the `version`th time.
pub(super) fn announced(node: NodeId, incarnation: u32, version: u64) -> Announced {
    let host = address(node).ip().to_string();
    Announced {
        peers: Endpoint { host: host.as_str().into(), port: PORT },
        clients: Endpoint { host: host.into(), port: 7_379 },
        cores: 4,
        incarnation: u16::try_from(incarnation).expect("few starts"),
        version: 1,
        founding: 0,
        holdings: Holdings { active: 3, pending: 0, draining: 0, digest: version },
    }
}
