//! What DYN.ADMIN tells of the cluster: members, ring, hints, what is in sync; and what operators want of it.
//!
//! Members and ring are the newest view of the node that is asked; hints and sync every core tells for itself.
//!
//! Invariant: shares are by weight alone: where zones leave less choice, they cannot all be kept.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use annulus_cluster::ids::NodeId;
use annulus_cluster::membership::{Announced, Endpoint, Role};
use annulus_cluster::node::MapChange;
use annulus_cluster::pair_facts::PairFact;
use annulus_cluster::route::Routes;
use annulus_engine::Disk;
use annulus_net::resp::{Protocol, writer};

use super::Fields;
use crate::cluster_view::{ClusterView, MemberView};
use crate::commands::Args;
use crate::commands::session::{Answer, CorePart, SessionCommand};
use crate::commands::table::Command;
use crate::core_facts::HintFact;

/// What a node has of the partitions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Share {
    /// Partitions that it owns.
    owned: u64,
    /// Partitions of which it is the first owner.
    first: u64,
}

/// Of every owner.
fn shares(view: &ClusterView, partitions: u32) -> BTreeMap<NodeId, Share> {
    let mut shares: BTreeMap<NodeId, Share> = BTreeMap::new();
    for partition in 0..u16::try_from(partitions).expect("at most 16384 partitions") {
        for (rank, owner) in view.routes.owners(partition).iter().enumerate() {
            let share = shares.entry(*owner).or_default();
            share.owned += 1;
            share.first += u64::from(rank == 0);
        }
    }
    shares
}

fn host_and_port(endpoint: &Endpoint) -> String {
    let Endpoint { host, port } = endpoint;
    match &**host {
        "" => format!("*:{port}"),
        host if host.contains(':') => format!("[{host}]:{port}"),
        host => format!("{host}:{port}"),
    }
}

/// `-` where nothing is known of it.
fn shown(member: &MemberView, show: impl FnOnce(&Announced) -> String) -> String {
    member.announced.as_ref().map_or_else(|| "-".to_owned(), show)
}

fn number(member: &MemberView, of: impl FnOnce(&Announced) -> u64) -> u64 {
    member.announced.as_ref().map_or(0, of)
}

/// The list of members within STATUS.
pub(super) fn write_members_status(context: &mut SessionCommand<'_>) {
    let node = context.node;
    let view = node.view.get();
    let shares = shares(&view, node.map.partitions());
    writer::array_header(context.out, view.members.len());
    for member in &view.members {
        let share = shares.get(&member.node).copied().unwrap_or_default();
        Fields::new(context.session.protocol)
            .text("node", member.node)
            .text("address", shown(member, |announced| host_and_port(&announced.peers)))
            .text("zone", member.zone.name())
            .text("role", member.role)
            .flag("up", member.is_up)
            .number("cores", number(member, |announced| announced.cores.into()))
            .number("protocol", number(member, |announced| announced.version.into()))
            .number("incarnation", number(member, |announced| announced.incarnation.into()))
            .number("partitions", share.owned)
            .signed("clock_skew_ms", node.skews.of(member.node))
            .write(context.out);
    }
}

/// MEMBERS: the map.
pub(super) fn write_members(context: &mut SessionCommand<'_>) {
    let view = context.node.view.get();
    writer::array_header(context.out, view.members.len());
    for member in &view.members {
        Fields::new(context.session.protocol)
            .text("node", member.node)
            .flag("self", member.node == view.own)
            .text("role", member.role)
            .flag("up", member.is_up)
            .number("weight", member.weight.get().into())
            .text("zone", member.zone.name())
            .text("peers", shown(member, |announced| host_and_port(&announced.peers)))
            .text("address", member.address.map_or_else(|| "-".to_owned(), |address| address.to_string()))
            .text("clients", shown(member, |announced| host_and_port(&announced.clients)))
            .number("cores", number(member, |announced| announced.cores.into()))
            .number("protocol", number(member, |announced| announced.version.into()))
            .number("incarnation", number(member, |announced| announced.incarnation.into()))
            .write(context.out);
    }
}

/// RING: the whole, and each node's share.
pub(super) fn write_ring(context: &mut SessionCommand<'_>) {
    let (node, protocol) = (context.node, context.session.protocol);
    let (view, partitions) = (node.view.get(), node.map.partitions());
    let mut zones: Vec<_> = view.active().map(|member| member.zone).collect();
    zones.sort_unstable();
    zones.dedup();
    writer::map_header(context.out, protocol, 2);
    writer::bulk(context.out, b"ring");
    Fields::new(protocol)
        .number("map_epoch", view.epoch)
        .text("fingerprint", format_args!("{:016x}", view.routes.fingerprint().0))
        .number("partitions", partitions.into())
        .number("copies", view.copies as u64)
        .number("copies_wanted", view.wanted as u64)
        .flag("too_few_members", view.copies < view.wanted)
        .number("members", view.active().count() as u64)
        .number("zones", zones.len() as u64)
        .write(context.out);
    writer::bulk(context.out, b"nodes");
    let shares = shares(&view, partitions);
    let weights: u64 = view.active().map(|member| u64::from(member.weight.get())).sum();
    let copies = u64::from(partitions) * if view.has_owners() { view.copies as u64 } else { 0 };
    let is_shown = |member: &&MemberView| member.role == Role::Active || shares.contains_key(&member.node);
    let nodes: Vec<&MemberView> = view.members.iter().filter(is_shown).collect();
    writer::array_header(context.out, nodes.len());
    for member in nodes {
        let share = shares.get(&member.node).copied().unwrap_or_default();
        let weight = if member.role == Role::Active { u64::from(member.weight.get()) } else { 0 };
        // Nobody holds more than one copy of a partition.
        let fair = (copies * weight / weights.max(1)).min(partitions.into());
        Fields::new(protocol)
            .text("node", member.node)
            .flag("up", member.is_up)
            .text("zone", member.zone.name())
            .number("weight", member.weight.get().into())
            .number("partitions", share.owned)
            .number("first_owner", share.first)
            .number("fair_share", fair)
            .number("percent_of_fair", share.owned * 100 / fair.max(1))
            .write(context.out);
    }
}

/// JOIN and LEAVE: of the node that is named, or of this one.
pub(super) fn operate(command: Command, context: &mut SessionCommand<'_>, args: Args<'_>) -> Answer {
    let change = if command == Command::DynAdminJoin { MapChange::Join } else { MapChange::Leave };
    let view = context.node.view.get();
    let node = match &args[2..] {
        [] => Ok(view.own),
        [name] => find(&view, &String::from_utf8_lossy(name)),
        _ => Err("ERR name one node, by its id or its address".to_owned()),
    };
    match node {
        Ok(node) => Answer::Operate(node, change),
        Err(text) => {
            writer::error(context.out, &text);
            Answer::Done
        }
    }
}

/// The member that an operator means: by its id in hexadecimal digits, or by an address at which clients or peers reach it.
fn find(view: &ClusterView, name: &str) -> Result<NodeId, String> {
    let id = Some(name).filter(|name| name.len() <= 12 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if let Some(id) = id.and_then(|id| u64::from_str_radix(id, 16).ok()).and_then(NodeId::checked)
        && view.member(id).is_some()
    {
        return Ok(id);
    }
    let mut found = view.members.iter().filter(|member| is_at(member, name));
    match (found.next(), found.next()) {
        (Some(member), None) => Ok(member.node),
        (Some(one), Some(other)) => {
            Err(format!("ERR {name} is the address of {} and of {}: give the id", one.node, other.node))
        }
        (None, _) => Err(format!("ERR no node {name} is known here: DYN.ADMIN MEMBERS lists ids and addresses")),
    }
}

fn is_at(member: &MemberView, name: &str) -> bool {
    let is_resolved = member.address.is_some_and(|address| address.to_string() == name);
    let is_announced = member.announced.as_ref().is_some_and(|announced| {
        let Announced { peers, clients, .. } = announced;
        // Who announces no host for clients is reached by them where peers reach it.
        let host = if clients.host.is_empty() { &peers.host } else { &clients.host };
        let of_clients = Endpoint { host: host.clone(), port: clients.port };
        host_and_port(peers) == name || host_and_port(&of_clients) == name
    });
    is_resolved || is_announced
}

/// One core's part of HINTS.
pub(super) fn hints<D: Disk>(part: &mut CorePart<'_, D>) {
    write_hints(part.core, part.protocol, &part.facts.hints, part.out);
}

fn write_hints(core: u16, protocol: Protocol, hints: &[HintFact], out: &mut Vec<u8>) {
    writer::array_header(out, hints.len());
    for hint in hints {
        Fields::new(protocol)
            .number("core", core.into())
            .text("target", hint.target)
            .number("hints", hint.count)
            .number("file_bytes", hint.file_bytes)
            .signed("oldest_unix_ms", hint.oldest_unix_ms.and_then(|ms| i64::try_from(ms).ok()))
            .number("handed_over", hint.handed_over)
            .number("failures", hint.failures)
            .write(out);
    }
}

/// One core's part of SYNC: every other owner of the wanted partitions of this core, of those that this node owns.
pub(super) fn sync<D: Disk>(part: &mut CorePart<'_, D>, wanted: &RangeInclusive<u32>) {
    let view = part.node.view.get();
    let owned = part.node.map.owned(part.core);
    let partitions = owned.start.max(*wanted.start())..owned.end.min(wanted.end() + 1);
    let partitions = partitions.map(|partition| u16::try_from(partition).expect("at most 16384 partitions"));
    let others = |partition: u16| {
        let owners = view.routes.owners(partition);
        let others: &[NodeId] = if owners.contains(&view.own) { owners } else { &[] };
        others.iter().filter(|owner| **owner != view.own).map(move |owner| (partition, *owner))
    };
    let pairs: Vec<(u16, NodeId)> = partitions.flat_map(others).collect();
    write_pairs((part.core, part.now_ms), part.protocol, (&pairs, &part.facts.pairs), part.out);
}

/// `facts` are by partition and node; of a pair without one nothing was compared yet.
fn write_pairs(
    (core, now_ms): (u16, u64),
    protocol: Protocol,
    (pairs, facts): (&[(u16, NodeId)], &[PairFact]),
    out: &mut Vec<u8>,
) {
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    writer::array_header(out, pairs.len());
    for (partition, node) in pairs {
        let place = facts.binary_search_by_key(&(*partition, *node), |fact| (fact.partition, fact.node));
        let fact = place.ok().map(|place| &facts[place]);
        let of = |value: fn(&PairFact) -> u64| fact.map_or(0, value);
        let in_sync_ms = fact.map(|fact| fact.in_sync_ms).filter(|ms| *ms > 0);
        Fields::new(protocol)
            .number("partition", (*partition).into())
            .number("core", core.into())
            .text("node", node)
            .signed("in_sync_unix_ms", in_sync_ms.map(signed))
            .signed("seconds_ago", in_sync_ms.map(|ms| signed(now_ms.saturating_sub(ms) / 1000)))
            .number("exchanges", of(|fact| fact.exchanges))
            .number("differing", of(|fact| fact.differing))
            .number("failed", of(|fact| fact.failed))
            .number("objects_sent", of(|fact| fact.objects_sent))
            .number("bytes_sent", of(|fact| fact.bytes_sent))
            .number("objects_received", of(|fact| fact.objects_received))
            .number("bytes_received", of(|fact| fact.bytes_received))
            .write(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster_view::example;

    fn text(out: Vec<u8>) -> String {
        String::from_utf8(out).unwrap().replace("\r\n", "|")
    }

    #[test]
    fn nodes_are_found_by_id_and_by_every_address() {
        let mut members: Vec<MemberView> =
            [1, 2, 0xab].into_iter().map(|number| example::member(number, 1, Role::Active, true)).collect();
        members[1].announced.as_mut().unwrap().clients.host = "db2.example".into();
        let view = example::view(1, 1, 8, 3, &members);
        let id = |number| Ok(NodeId::new(number));
        for (name, expected) in [
            ("1", id(1)),
            ("0000000000ab", id(0xab)),
            ("AB", id(0xab)),
            ("10.0.0.2:17379", id(2)),
            ("db2.example:7379", id(2)),
            ("10.0.0.171:7379", id(0xab)),
        ] {
            assert_eq!(find(&view, name), expected, "{name}");
        }
        for name in ["", "3", "10.0.0.2", "10.0.0.2:7379", "db2.example", "0", "1000000000000"] {
            let text = find(&view, name).unwrap_err();
            assert_eq!(text, format!("ERR no node {name} is known here: DYN.ADMIN MEMBERS lists ids and addresses"));
        }
        members[1].announced = members[0].announced.clone();
        members[1].address = None;
        let twice = find(&example::view(1, 1, 8, 3, &members), "10.0.0.1:7379").unwrap_err();
        assert_eq!(twice, "ERR 10.0.0.1:7379 is the address of 000000000001 and of 000000000002: give the id");
    }

    #[test]
    fn shares_add_up() {
        let members: Vec<MemberView> =
            (1..=4).map(|number| example::member(number, 1, Role::Active, number != 2)).collect();
        let view = example::view(1, 1, 64, 3, &members);
        let shares = shares(&view, 64);
        assert_eq!(shares.values().map(|share| share.owned).sum::<u64>(), 64 * 3);
        assert_eq!(shares.values().map(|share| share.first).sum::<u64>(), 64);
        assert!(shares.values().all(|share| (40..=51).contains(&share.owned)), "{shares:?}");
    }

    #[test]
    fn hints_and_pairs_as_rows() {
        let target = NodeId::new(0xab);
        let mut hint =
            HintFact { target, count: 3, file_bytes: 0, oldest_unix_ms: Some(77), handed_over: 4, failures: 5 };
        let mut out = Vec::new();
        write_hints(2, Protocol::Resp2, &[hint], &mut out);
        let expected = "*1|*14|$4|core|:2|$6|target|$12|0000000000ab|$5|hints|:3|$10|file_bytes|:0|$14|oldest_unix_ms|:77|\
                        $11|handed_over|:4|$8|failures|:5|";
        assert_eq!(text(out), expected);
        hint.oldest_unix_ms = None;
        let mut out = Vec::new();
        write_hints(2, Protocol::Resp3, &[hint], &mut out);
        assert!(text(out).contains("|$14|oldest_unix_ms|_|"));
        let fact = PairFact {
            partition: 7,
            node: target,
            in_sync_ms: 4000,
            exchanges: 1,
            differing: 2,
            failed: 3,
            objects_sent: 4,
            bytes_sent: 5,
            objects_received: 6,
            bytes_received: 7,
        };
        let mut out = Vec::new();
        let pairs = [(7, target), (8, target)];
        write_pairs((1, 9999), Protocol::Resp2, (&pairs, &[fact]), &mut out);
        let told = text(out);
        let expected = "*2|*24|$9|partition|:7|$4|core|:1|$4|node|$12|0000000000ab|$15|in_sync_unix_ms|:4000|\
                        $11|seconds_ago|:5|$9|exchanges|:1|$9|differing|:2|$6|failed|:3|$12|objects_sent|:4|\
                        $10|bytes_sent|:5|$16|objects_received|:6|$14|bytes_received|:7|*24|$9|partition|:8|";
        assert!(told.starts_with(expected), "{told}");
        assert!(told.contains("|$15|in_sync_unix_ms|$-1|$11|seconds_ago|$-1|$9|exchanges|:0|"), "{told}");
    }
}
