//! Who owns which slots, as CLUSTER SLOTS, SHARDS and NODES tell it: every core is announced as a node of its own, with its
//! own id and port, so that cluster clients send each key straight to its core.
//!
//! The replies follow from the node's table of partitions and the address that the client reached; nothing is kept.
//!
//! Invariant: every slot is covered exactly once, a core's slots are one range, and no wildcard address is ever given.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use annulus_net::resp::{Protocol, writer};

use crate::config::Announce;
use crate::node::Node;
use crate::slot::SLOTS;

/// How far the port for other nodes is from the base port.
const PEER_PORT_OFFSET: u16 = 10_000;

/// One announced node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    id: String,
    port: u16,
    first_slot: u16,
    last_slot: u16,
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    host: String,
    peer_port: u16,
    members: Vec<Member>,
}

/// The host that a client which reached `local` is told.
fn host_for(node: &Node, local: SocketAddr) -> String {
    if let Some(host) = &node.config.announce_host {
        return host.clone();
    }
    let usable = |ip: &IpAddr| !ip.is_unspecified();
    let reached = local.ip().to_canonical();
    let fallback = if reached.is_ipv4() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V6(Ipv6Addr::LOCALHOST) };
    let known = [reached, node.listen.ip().to_canonical()].into_iter().find(usable);
    known.unwrap_or(fallback).to_string()
}

/// Where a core is reached, as MOVED names it, for a client that reached `local`.
pub fn endpoint(node: &Node, local: SocketAddr, core: u16) -> String {
    format!("{}:{}", host_for(node, local), node.core_port(core))
}

impl Topology {
    /// What the node announces to a client that reached `local`.
    pub fn new(node: &Node, local: SocketAddr) -> Self {
        let slots_per_partition = u32::from(SLOTS) / node.map.partitions();
        let slot = |slot: u32| u16::try_from(slot).expect("below 16384");
        let of_core = |core: u16| {
            let partitions = node.map.owned(core);
            Member {
                id: node.core_id(core),
                port: node.core_port(core),
                first_slot: slot(partitions.start * slots_per_partition),
                last_slot: slot(partitions.end * slots_per_partition - 1),
            }
        };
        let members: Vec<Member> = match node.config.announce {
            Announce::Core => (0..node.map.cores()).map(of_core).collect(),
            Announce::Node | Announce::Off => {
                vec![Member { id: node.core_id(0), port: node.listen.port(), first_slot: 0, last_slot: SLOTS - 1 }]
            }
        };
        let topology = Self {
            host: host_for(node, local),
            peer_port: node.listen.port().saturating_add(PEER_PORT_OFFSET),
            members,
        };
        topology.assert_covering();
        topology
    }

    fn assert_covering(&self) {
        let mut next = 0;
        for member in &self.members {
            assert!(member.first_slot == next && member.last_slot >= next, "slots are covered once, in order");
            next = member.last_slot + 1;
        }
        assert_eq!(next, SLOTS, "every slot is covered");
    }

    /// Announced nodes.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// The announced node that `core` is part of.
    fn member_of(&self, core: u16) -> usize {
        usize::from(core).min(self.members.len() - 1)
    }

    /// The id under which `core` is announced.
    pub fn id_of(&self, core: u16) -> &str {
        &self.members[self.member_of(core)].id
    }

    /// The epoch of `core`'s slots; another for each announced node, as in Redis.
    pub fn epoch_of(&self, core: u16) -> usize {
        self.member_of(core) + 1
    }

    /// CLUSTER SLOTS.
    pub fn write_slots(&self, out: &mut Vec<u8>, protocol: Protocol) {
        writer::array_header(out, self.members.len());
        for member in &self.members {
            writer::array_header(out, 3);
            writer::integer(out, member.first_slot.into());
            writer::integer(out, member.last_slot.into());
            writer::array_header(out, 4);
            writer::bulk(out, self.host.as_bytes());
            writer::integer(out, member.port.into());
            writer::bulk(out, member.id.as_bytes());
            writer::map_header(out, protocol, 0);
        }
    }

    /// CLUSTER SHARDS.
    pub fn write_shards(&self, out: &mut Vec<u8>, protocol: Protocol) {
        writer::array_header(out, self.members.len());
        for member in &self.members {
            writer::map_header(out, protocol, 2);
            writer::bulk(out, b"slots");
            writer::array_header(out, 2);
            writer::integer(out, member.first_slot.into());
            writer::integer(out, member.last_slot.into());
            writer::bulk(out, b"nodes");
            writer::array_header(out, 1);
            self.write_shard_node(out, protocol, member);
        }
    }

    fn write_shard_node(&self, out: &mut Vec<u8>, protocol: Protocol, member: &Member) {
        let text = |out: &mut Vec<u8>, name: &str, value: &str| {
            writer::bulk(out, name.as_bytes());
            writer::bulk(out, value.as_bytes());
        };
        let number = |out: &mut Vec<u8>, name: &str, value: i64| {
            writer::bulk(out, name.as_bytes());
            writer::integer(out, value);
        };
        writer::map_header(out, protocol, 7);
        text(out, "id", &member.id);
        number(out, "port", member.port.into());
        text(out, "ip", &self.host);
        text(out, "endpoint", &self.host);
        text(out, "role", "master");
        number(out, "replication-offset", 0);
        text(out, "health", "online");
    }

    /// The lines of CLUSTER NODES, as seen from `core`.
    pub fn nodes(&self, core: u16) -> String {
        let mut text = String::with_capacity(self.members.len() * 128);
        let hostname = if self.host.parse::<IpAddr>().is_ok() { String::new() } else { format!(",{}", self.host) };
        for (number, member) in self.members.iter().enumerate() {
            let flags = if number == self.member_of(core) { "myself,master" } else { "master" };
            let Member { id, port, first_slot, last_slot } = member;
            let (host, peer_port, epoch) = (&self.host, self.peer_port, number + 1);
            write!(text, "{id} {host}:{port}@{peer_port}{hostname} {flags} - 0 0 {epoch} connected {first_slot}")
                .expect("writing to a string");
            if last_slot > first_slot {
                write!(text, "-{last_slot}").expect("writing to a string");
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(ranges: &[(u16, u16)]) -> Topology {
        let member = |(number, range): (usize, &(u16, u16))| Member {
            id: number.to_string().repeat(40),
            port: 7380 + u16::try_from(number).unwrap(),
            first_slot: range.0,
            last_slot: range.1,
        };
        let members = ranges.iter().enumerate().map(member).collect();
        Topology { host: "10.0.0.1".to_owned(), peer_port: 17379, members }
    }

    #[test]
    fn nodes_have_one_myself_and_all_slots() {
        let topology = topology(&[(0, 0), (1, 16383)]);
        topology.assert_covering();
        let expected = format!(
            "{} 10.0.0.1:7380@17379 master - 0 0 1 connected 0\n{} 10.0.0.1:7381@17379 myself,master - 0 0 2 connected \
             1-16383\n",
            "0".repeat(40),
            "1".repeat(40)
        );
        assert_eq!(topology.nodes(1), expected);
    }

    #[test]
    fn names_are_given_as_hostnames_too() {
        let mut topology = topology(&[(0, 16383)]);
        topology.host = "node.example".to_owned();
        assert!(topology.nodes(5).contains(" node.example:7380@17379,node.example myself,master "));
        assert_eq!((topology.size(), topology.epoch_of(5)), (1, 1));
    }

    #[test]
    fn slots_and_shards() {
        let topology = topology(&[(0, 16383)]);
        let mut out = Vec::new();
        topology.write_slots(&mut out, Protocol::Resp2);
        let id = "0".repeat(40);
        let expected = format!("*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$8\r\n10.0.0.1\r\n:7380\r\n$40\r\n{id}\r\n*0\r\n");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let mut out = Vec::new();
        topology.write_shards(&mut out, Protocol::Resp3);
        assert!(
            out.starts_with(
                b"*1\r\n%2\r\n$5\r\nslots\r\n*2\r\n:0\r\n:16383\r\n$5\r\nnodes\r\n*1\r\n%7\r\n$2\r\nid\r\n"
            )
        );
        let end = annulus_net::resp::reader::reply_end(&out, 1 << 20);
        assert_eq!(end, Ok(Some(out.len())));
    }

    #[test]
    #[should_panic(expected = "covered once")]
    fn a_gap_is_a_bug() {
        topology(&[(0, 10), (12, 16383)]).assert_covering();
    }
}
