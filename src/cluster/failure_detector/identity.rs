//! Who a member is to the failure detector.
//!
//! A node's number never changes. Its *generation* is a number that the node stores durably and raises whenever it starts; its
//! *session* begins at 0 with every generation and rises whenever the cluster took the node for dead while it was not. Neither
//! has anything to do with the incarnation under which data is stamped: being taken for dead loses no data.
//!
//! Invariant: of two identities of one node, at most one counts; generation, session and address decide, in this order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Buf, BufMut};

use crate::ids::NodeId;

/// A node's number is not known yet: whoever listens at the address.
const ANYBODY: u64 = 0;
const IPV4: u8 = 4;
const IPV6: u8 = 6;
/// Family, node, generation, session, port.
const FIXED_BYTES: usize = 1 + 6 + 4 + 2 + 2;

/// A member, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    node: u64,
    generation: u32,
    session: u16,
    address: SocketAddr,
}

impl Identity {
    /// The first session of a generation, which is not 0, asserted.
    #[must_use]
    pub fn new(node: NodeId, generation: u32, address: SocketAddr) -> Self {
        assert!(generation > 0, "generations are counted from 1");
        Self { node: node.raw(), generation, session: 0, address }
    }

    /// Whoever listens at an address: can be asked for members, and is none.
    pub(super) fn anybody(address: SocketAddr) -> Self {
        Self { node: ANYBODY, generation: 0, session: 0, address }
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        NodeId::checked(self.node).expect("only members are shown, and a member has a number")
    }

    /// How often it started.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// How often it was taken for dead since.
    #[must_use]
    pub const fn session(&self) -> u16 {
        self.session
    }

    /// Where datagrams reach it.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) const fn is_anybody(&self) -> bool {
        self.node == ANYBODY
    }

    /// The same node under a number that is known now.
    pub(super) const fn as_node(self, node: NodeId) -> Self {
        Self { node: node.raw(), ..self }
    }

    /// The next generation that a node starts after having learnt that `above` was used already.
    pub(super) const fn with_generation(self, generation: u32) -> Self {
        Self { generation, session: 0, ..self }
    }

    pub(super) fn encode(&self, mut out: impl BufMut) {
        let family = if self.address.is_ipv4() { IPV4 } else { IPV6 };
        out.put_u8(family);
        out.put_slice(&self.node.to_le_bytes()[..6]);
        out.put_u32_le(self.generation);
        out.put_u16_le(self.session);
        match self.address.ip() {
            IpAddr::V4(ip) => out.put_slice(&ip.octets()),
            IpAddr::V6(ip) => out.put_slice(&ip.octets()),
        }
        out.put_u16_le(self.address.port());
    }

    /// The bytes of [`Identity::encode`].
    pub(super) const fn encoded_bytes(&self) -> usize {
        FIXED_BYTES + if self.address.is_ipv4() { 4 } else { 16 }
    }

    /// `None` where the bytes are no identity.
    pub(super) fn decode(mut bytes: impl Buf) -> Option<Self> {
        let family = bytes.try_get_u8().ok()?;
        let mut node = [0; 8];
        bytes.try_copy_to_slice(&mut node[..6]).ok()?;
        let generation = bytes.try_get_u32_le().ok()?;
        let session = bytes.try_get_u16_le().ok()?;
        let ip: IpAddr = match family {
            IPV4 => {
                let mut octets = [0; 4];
                bytes.try_copy_to_slice(&mut octets).ok()?;
                Ipv4Addr::from(octets).into()
            }
            IPV6 => {
                let mut octets = [0; 16];
                bytes.try_copy_to_slice(&mut octets).ok()?;
                Ipv6Addr::from(octets).into()
            }
            _ => return None,
        };
        let port = bytes.try_get_u16_le().ok()?;
        let node = u64::from_le_bytes(node);
        // Nobody but "anybody" lacks a generation.
        let is_possible = (node == ANYBODY) == (generation == 0);
        is_possible.then(|| Self { node, generation, session, address: SocketAddr::new(ip, port) })
    }
}

impl foca::Identity for Identity {
    type Addr = u64;

    fn renew(&self) -> Option<Self> {
        self.session.checked_add(1).map(|session| Self { session, ..*self })
    }

    fn addr(&self) -> u64 {
        self.node
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self > adversary
    }
}

#[cfg(test)]
mod tests {
    use foca::Identity as _;

    use super::Identity;
    use crate::ids::NodeId;

    #[test]
    fn later_starts_win_whatever_the_session_and_the_address() {
        let node = NodeId::new(7);
        let first = Identity::new(node, 1, "10.0.0.1:17379".parse().unwrap());
        let renewed = first.renew().unwrap();
        let restarted = Identity::new(node, 2, "10.0.0.0:17379".parse().unwrap());
        assert!(renewed.win_addr_conflict(&first) && !first.win_addr_conflict(&renewed));
        assert!(restarted.win_addr_conflict(&renewed) && !renewed.win_addr_conflict(&restarted));
        let last = Identity { session: u16::MAX, ..first };
        assert_eq!(last.renew(), None, "a session that cannot rise asks for a new generation");
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        for address in ["1.2.3.4:5", "[2001:db8::7]:65535"] {
            let identity = Identity { session: 9, ..Identity::new(NodeId::new(3), 4, address.parse().unwrap()) };
            let mut bytes = Vec::new();
            identity.encode(&mut bytes);
            assert_eq!(bytes.len(), identity.encoded_bytes());
            assert!([19, 31].contains(&bytes.len()));
            assert_eq!(Identity::decode(&bytes[..]), Some(identity));
            assert!((0..bytes.len()).all(|end| Identity::decode(&bytes[..end]).is_none()));
            bytes[0] = 5;
            assert_eq!(Identity::decode(&bytes[..]), None);
        }
        let mut bytes = Vec::new();
        Identity::anybody("1.2.3.4:5".parse().unwrap()).encode(&mut bytes);
        assert!(Identity::decode(&bytes[..]).unwrap().is_anybody());
        bytes[1] = 1;
        assert_eq!(Identity::decode(&bytes[..]), None, "a node without a generation");
    }
}
