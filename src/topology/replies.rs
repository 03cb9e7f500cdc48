//! A topology as CLUSTER SLOTS, SHARDS, NODES and INFO tell it.
//!
//! SLOTS and SHARDS name endpoints by their places only while they are written; NODES has one line each, in which the asked
//! core's own is marked last of all, so that one text serves every core of a node.
//!
//! Invariant: the same topology and the same host give the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use annulus_net::resp::{Protocol, writer};
use smallvec::SmallVec;

use super::{Endpoint, Health, SlotRange, Topology};
use crate::slot::SLOTS;

/// What is put before the flags of the line of whoever is asked.
const MYSELF: &str = "myself,";

/// The lines of CLUSTER NODES, and where [`MYSELF`] goes for each core of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodesText {
    text: String,
    marks: Vec<usize>,
}

impl NodesText {
    /// As the core at that place among this node's endpoints tells it.
    pub(super) fn for_own(&self, place: usize) -> String {
        let mark = self.marks[place];
        let mut text = String::with_capacity(self.text.len() + MYSELF.len());
        text.push_str(&self.text[..mark]);
        text.push_str(MYSELF);
        text.push_str(&self.text[mark..]);
        text
    }
}

impl Topology {
    fn endpoint(&self, place: u32) -> &Endpoint {
        &self.endpoints[place as usize]
    }

    /// The ranges without the owners that do not answer; ranges that differed only in those are one.
    pub(super) fn told_ranges(&self) -> Vec<SlotRange> {
        let mut told: Vec<SlotRange> = Vec::with_capacity(self.ranges.len());
        for SlotRange { first, last, owners } in &self.ranges {
            let (primary, others) = owners.split_first().expect("every slot has somebody who answers");
            let others = others.iter().filter(|place| self.endpoint(**place).is_up);
            let owners: SmallVec<[u32; 4]> = std::iter::once(primary).chain(others).copied().collect();
            match told.last_mut() {
                Some(range) if range.owners == owners => range.last = *last,
                _ => told.push(SlotRange { first: *first, last: *last, owners }),
            }
        }
        told
    }

    /// CLUSTER SLOTS: of the owners, the primary and those others that answer; every primary is introduced as one.
    pub(super) fn write_slots(&self, out: &mut Vec<u8>, protocol: Protocol, reached: &str) {
        let ranges = introduce(self.told_ranges());
        writer::array_header(out, ranges.len());
        for SlotRange { first, last, owners } in ranges {
            writer::array_header(out, 2 + owners.len());
            writer::integer(out, first.into());
            writer::integer(out, last.into());
            for place in owners {
                let endpoint = self.endpoint(place);
                writer::array_header(out, 4);
                writer::bulk(out, endpoint.host(reached).as_bytes());
                writer::integer(out, endpoint.port.into());
                writer::bulk(out, endpoint.id.as_bytes());
                writer::map_header(out, protocol, 0);
            }
        }
    }

    /// CLUSTER SHARDS: slots with the same owners are one shard. Owners that do not answer are told of, as failed.
    pub(super) fn write_shards(&self, out: &mut Vec<u8>, protocol: Protocol, reached: &str) {
        let mut shards: Vec<(&[u32], Vec<&SlotRange>)> = Vec::new();
        let mut places: BTreeMap<&[u32], usize> = BTreeMap::new();
        for range in &self.ranges {
            let at = *places.entry(&range.owners).or_insert_with(|| {
                shards.push((&range.owners, Vec::new()));
                shards.len() - 1
            });
            shards[at].1.push(range);
        }
        writer::array_header(out, shards.len());
        for (owners, ranges) in shards {
            writer::map_header(out, protocol, 2);
            writer::bulk(out, b"slots");
            writer::array_header(out, 2 * ranges.len());
            for range in ranges {
                writer::integer(out, range.first.into());
                writer::integer(out, range.last.into());
            }
            writer::bulk(out, b"nodes");
            writer::array_header(out, owners.len());
            for (rank, place) in owners.iter().enumerate() {
                let role = if rank == 0 { "master" } else { "replica" };
                self.endpoint(*place).write_in_shard(out, protocol, role, reached);
            }
        }
    }

    /// The lines of CLUSTER NODES: every endpoint is a master, of the slots whose primary it is.
    pub(super) fn nodes(&self, reached: &str) -> NodesText {
        let mut slots: Vec<SmallVec<[(u16, u16); 2]>> = vec![SmallVec::new(); self.endpoints.len()];
        for range in &self.ranges {
            let slots = &mut slots[range.owners[0] as usize];
            match slots.last_mut() {
                Some((_, last)) if *last + 1 == range.first => *last = range.last,
                _ => slots.push((range.first, range.last)),
            }
        }
        let mut text = String::with_capacity(self.endpoints.len() * 128);
        let mut marks = Vec::with_capacity(self.own.len());
        for (place, (endpoint, slots)) in self.endpoints.iter().zip(&slots).enumerate() {
            let mark = endpoint.write_line(&mut text, Self::epoch_of(place), slots, reached);
            if self.own.contains(&place) {
                marks.push(mark);
            }
        }
        NodesText { text, marks }
    }

    /// CLUSTER NODES as a core of this node tells it.
    pub(super) fn nodes_for(&self, nodes: &NodesText, core: u16) -> String {
        nodes.for_own(self.own_place(core) - self.own.start)
    }

    /// The text of CLUSTER INFO, as a core of this node tells it.
    pub fn info(&self, core: u16) -> String {
        let Health { whole, partly, none, is_ok } = self.health;
        let known = self.endpoints.len();
        let mut primaries: Vec<u32> = self.ranges.iter().map(|range| range.owners[0]).collect();
        primaries.sort_unstable();
        primaries.dedup();
        let lines = [
            ("cluster_enabled", "1".to_owned()),
            ("cluster_state", if is_ok { "ok" } else { "fail" }.to_owned()),
            ("cluster_slots_assigned", SLOTS.to_string()),
            ("cluster_slots_ok", whole.to_string()),
            ("cluster_slots_pfail", partly.to_string()),
            ("cluster_slots_fail", none.to_string()),
            ("cluster_known_nodes", known.to_string()),
            ("cluster_size", primaries.len().to_string()),
            // Never below an endpoint's own.
            ("cluster_current_epoch", self.epoch.max(known as u64).to_string()),
            ("cluster_my_epoch", Self::epoch_of(self.own_place(core)).to_string()),
            ("cluster_map_epoch", self.epoch.to_string()),
            ("cluster_ring_fingerprint", format!("{:016x}", self.fingerprint.0)),
            ("cluster_stats_messages_sent", "0".to_owned()),
            ("cluster_stats_messages_received", "0".to_owned()),
            ("total_cluster_links_buffer_limit_exceeded", "0".to_owned()),
        ];
        lines.iter().fold(String::new(), |mut text, (name, value)| {
            write!(text, "{name}:{value}\r\n").expect("writing to a string");
            text
        })
    }
}

/// The same slots, first one of each primary without its replicas.
///
/// Here every core is the primary of some slots and a replica of others. Some clients take the role in which they first hear of
/// an endpoint for its only one, and send SCAN, DBSIZE or KEYS to primaries alone: so none is named as a replica before it was
/// named as a primary.
pub(super) fn introduce(ranges: Vec<SlotRange>) -> Vec<SlotRange> {
    if ranges.iter().all(|range| range.owners.len() == 1) {
        return ranges;
    }
    let mut known = BTreeSet::new();
    let (mut introductions, mut rest) = (Vec::new(), Vec::with_capacity(ranges.len()));
    for mut range in ranges {
        let (slot, primary) = (range.first, range.owners[0]);
        if known.insert(primary) {
            introductions.push(SlotRange { first: slot, last: slot, owners: SmallVec::from_slice(&[primary]) });
            if slot == range.last {
                continue;
            }
            range.first += 1;
        }
        rest.push(range);
    }
    introductions.append(&mut rest);
    introductions
}

impl Endpoint {
    fn host<'a>(&'a self, reached: &'a str) -> &'a str {
        self.host.as_deref().unwrap_or(reached)
    }

    fn write_in_shard(&self, out: &mut Vec<u8>, protocol: Protocol, role: &str, reached: &str) {
        let text = |out: &mut Vec<u8>, name: &str, value: &str| {
            writer::bulk(out, name.as_bytes());
            writer::bulk(out, value.as_bytes());
        };
        let number = |out: &mut Vec<u8>, name: &str, value: i64| {
            writer::bulk(out, name.as_bytes());
            writer::integer(out, value);
        };
        writer::map_header(out, protocol, 7);
        text(out, "id", &self.id);
        number(out, "port", self.port.into());
        text(out, "ip", self.host(reached));
        text(out, "endpoint", self.host(reached));
        text(out, "role", role);
        number(out, "replication-offset", 0);
        text(out, "health", if self.is_up { "online" } else { "fail" });
    }

    /// One line of CLUSTER NODES; where its flags begin.
    fn write_line(&self, text: &mut String, epoch: usize, slots: &[(u16, u16)], reached: &str) -> usize {
        let Self { id, port, bus_port, is_up, is_joining, .. } = self;
        let host = self.host(reached);
        let hostname = if host.parse::<IpAddr>().is_ok() { String::new() } else { format!(",{host}") };
        write!(text, "{id} {host}:{port}@{bus_port}{hostname} ").expect("writing to a string");
        let mark = text.len();
        let handshake = if *is_joining { ",handshake" } else { "" };
        let (fail, link) = if *is_up { ("", "connected") } else { (",fail?", "disconnected") };
        write!(text, "master{fail}{handshake} - 0 0 {epoch} {link}").expect("writing to a string");
        for (first, last) in slots {
            write!(text, " {first}").expect("writing to a string");
            if last > first {
                write!(text, "-{last}").expect("writing to a string");
            }
        }
        text.push('\n');
        mark
    }
}
