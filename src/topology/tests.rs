//! What clients are told: text for text of one cluster, and what holds of every other.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use annulus_net::resp::{Protocol, reader};

use super::*;
use crate::cluster_view::example::{member, view};
use crate::config::{Config, Environment, Sources};
use crate::core_inbox::PeerCore;
use crate::mesh::CoreMap;
use crate::metrics::NodeMetrics;

const REACHED: &str = "192.0.2.7";

/// Of a node with two cores.
fn style(map: &CoreMap) -> Style<'_> {
    let (announce, wanted) = (Announce::Core, Quorums::default());
    Style { cluster_id: &[9; 16], map, own_port: 7379, announce, own_host: None, wanted }
}

/// The topology of a view with 8 partitions, as a node with two cores tells it.
fn topology(view: &ClusterView) -> Topology {
    Topology::of(view, &style(&CoreMap::new(8, 2)))
}

/// Two cores each: 1 and 2 answer, 3 does not, 4 has not been let in.
fn small(own: u8) -> ClusterView {
    let members = [
        member(1, 2, Role::Active, true),
        member(2, 2, Role::Active, true),
        member(3, 2, Role::Active, false),
        member(4, 2, Role::Joining, true),
    ];
    view(own, 1, 8, 3, &members)
}

fn slots(topology: &Topology, protocol: Protocol) -> String {
    let mut out = Vec::new();
    topology.write_slots(&mut out, protocol, REACHED);
    String::from_utf8(out).unwrap().replace("\r\n", "\n")
}

fn shards(topology: &Topology) -> String {
    let mut out = Vec::new();
    topology.write_shards(&mut out, Protocol::Resp2, REACHED);
    String::from_utf8(out).unwrap().replace("\r\n", "\n")
}

fn nodes(topology: &Topology, core: u16) -> String {
    topology.nodes_for(&topology.nodes(REACHED), core)
}

#[test]
fn one_cluster_text_for_text() {
    let topology = topology(&small(1));
    let told = format!(
        "CLUSTER NODES\n{}\nCLUSTER INFO\n{}\nCLUSTER SLOTS\n{}\nCLUSTER SHARDS\n{}",
        nodes(&topology, 1),
        topology.info(1).replace("\r\n", "\n"),
        slots(&topology, Protocol::Resp2)
            .replace('\n', " ")
            .replace(" *3 :", "\n*3 :")
            .replace(" *4 :", "\n*4 :")
            .replace(" *4 $", "\n   *4 $"),
        shards(&topology).replace('\n', " ").replace(" *4 ", "\n*4 ").replace(" *14 ", "\n   *14 ")
    );
    assert_eq!(told, include_str!("told.txt"), "if it is meant, this is the new text:\n{told}");
}

#[test]
fn every_node_tells_the_same_but_for_itself() {
    // Every node announces a host, so how it was reached does not matter.
    let named = |own: u8| {
        let mut view = small(own);
        for member in &mut view.members {
            let host = format!("node-{}.example", member.node.raw());
            member.announced.as_mut().unwrap().clients.host = host.into();
        }
        view
    };
    let told_by = |own: u8| {
        let host = format!("node-{own}.example");
        Topology::of(&named(own), &Style { own_host: Some(&host), ..style(&CoreMap::new(8, 2)) })
    };
    let first = told_by(1);
    assert!(!first.needs_host());
    for own in [2, 4] {
        let other = told_by(own);
        assert_eq!((slots(&other, Protocol::Resp3), shards(&other)), (slots(&first, Protocol::Resp3), shards(&first)));
        let (told, expected) = (nodes(&other, 1), nodes(&first, 0));
        assert_ne!(told, expected);
        // Node 4 takes itself for joining as well, but does not tell so.
        let plain = |text: &str| text.replace("myself,", "").replace(",handshake", "");
        assert_eq!(plain(&told), plain(&expected));
        assert_eq!(told.matches("myself,").count(), 1);
        let own_line = told.lines().find(|line| line.contains("myself,")).unwrap();
        assert!(
            own_line.contains(&format!(" node-{own}.example:7381@17379,node-{own}.example myself,master -")),
            "{told}"
        );
        assert!(own_line.starts_with(other.id_of(1)));
    }
}

#[test]
fn ids_are_those_by_which_a_node_knows_itself() {
    let environment = Environment { affinity: vec![0, 1], memory_bytes: 1 << 30 };
    let config = Config::build(&Sources::none(), &environment).unwrap();
    let (map, listen) = (CoreMap::new(config.partitions, 2), config.listen);
    let node = Node::new(config, ([9; 16], 2, 1), "0".repeat(40), map, listen, 0, NodeMetrics::new(2));
    let topology = topology(&small(1));
    assert_eq!(topology.endpoints[3].id, node.core_id(1));
    let ids: BTreeSet<&str> = topology.endpoints.iter().map(|endpoint| &*endpoint.id).collect();
    assert_eq!(ids.len(), 8);
    assert_ne!(shard_id(&[9; 16], 2, 1), node.core_id(1));
}

/// As redis-cli and redis-benchmark read them: each slot on one line that is no replica's, one `myself`, hosts that can be used.
#[test]
fn lines_of_nodes_cover_every_slot_once() {
    for own in 1..=4 {
        for announce in [Announce::Core, Announce::Node] {
            let told = nodes(&Topology::of(&small(own), &Style { announce, ..style(&CoreMap::new(8, 2)) }), 1);
            let mut covered = vec![0; usize::from(SLOTS)];
            for line in told.lines() {
                let fields: Vec<&str> = line.split(' ').collect();
                assert!(fields[0].len() == 40 && fields[2].contains("master") && fields[3] == "-", "{line}");
                assert!(!fields[1].starts_with(':') && !fields[1].starts_with("0.0.0.0"), "{line}");
                assert_eq!(fields[7] == "connected", !line.contains("fail"), "{line}");
                assert!(fields.len() == 8 || fields[7] == "connected", "nobody is sent to who does not answer: {line}");
                for range in &fields[8..] {
                    let (first, last) = range.split_once('-').unwrap_or((range, range));
                    let slots = first.parse().unwrap()..=last.parse::<usize>().unwrap();
                    slots.for_each(|slot: usize| covered[slot] += 1);
                }
            }
            assert!(covered.iter().all(|count| *count == 1));
            assert_eq!(told.lines().count(), if announce == Announce::Core { 8 } else { 4 });
            assert_eq!(told.matches("myself").count(), 1);
        }
    }
}

/// As redis-py and node-redis read CLUSTER SLOTS: the role in which an endpoint is first named is taken for its only one.
#[test]
fn every_primary_is_named_as_one_before_it_is_a_replica() {
    let members = |count: u8| (1..=count).map(|number| member(number, 2, Role::Active, true)).collect::<Vec<_>>();
    for (nodes, partitions) in [(1, 8_u16), (2, 8), (3, 8), (3, 1024), (3, 16_384), (7, 1024)] {
        let map = CoreMap::new(partitions.into(), 2);
        let topology = Topology::of(&view(1, 1, partitions, 3, &members(nodes)), &style(&map));
        let primaries: BTreeSet<u32> = topology.ranges.iter().map(|range| range.owners[0]).collect();
        let told = replies::introduce(topology.told_ranges());
        let (mut named, mut first_as_primary) = (BTreeSet::new(), BTreeSet::new());
        let mut covered = vec![0; usize::from(SLOTS)];
        for range in &told {
            (range.first..=range.last).for_each(|slot| covered[usize::from(slot)] += 1);
            for (rank, place) in range.owners.iter().enumerate() {
                if named.insert(*place) && rank == 0 {
                    first_as_primary.insert(*place);
                }
            }
        }
        assert!(covered.iter().all(|count| *count == 1));
        assert_eq!(first_as_primary, primaries);
        // Replicas are missing of one slot for each primary, and of no other.
        let lone = told.iter().filter(|range| range.owners.len() < usize::from(nodes.min(3)));
        assert_eq!(lone.clone().count(), if nodes == 1 { 0 } else { primaries.len() });
        assert!(lone.clone().all(|range| range.first == range.last));
    }
}

#[test]
fn a_cluster_without_owners_is_covered_by_whoever_is_asked_and_has_failed() {
    let lone = view(1, 1, 8, 3, &[member(1, 2, Role::Joining, true)]);
    let told = topology(&lone);
    assert!(nodes(&told, 0).lines().all(|line| line.contains("master - 0 0") && line.ends_with(|c| c != 'd')));
    assert!(told.info(0).contains("cluster_state:fail\r\n"));
    let alone = view(1, 1, 8, 3, &[member(1, 2, Role::Active, true)]);
    let told = topology(&alone).info(1);
    assert!(told.contains("cluster_state:ok\r\n") && told.contains("cluster_slots_ok:16384\r\n"), "{told}");
}

#[test]
fn too_few_that_answer_are_a_failed_cluster() {
    let state = |up: &[bool]| {
        let members: Vec<MemberView> = (1..).zip(up).map(|(number, up)| member(number, 1, Role::Active, *up)).collect();
        let told = topology(&view(1, 1, 8, 3, &members)).info(0);
        told.lines().find_map(|line| line.strip_prefix("cluster_state:")).unwrap().to_owned()
    };
    assert_eq!(state(&[true]), "ok");
    assert_eq!((state(&[true, true]), state(&[true, false])), ("ok".into(), "fail".into()));
    assert_eq!((state(&[true, true, false]), state(&[true, false, false])), ("ok".into(), "fail".into()));
    assert_eq!(state(&[true, true, false, false, false]), "ok");
}

#[test]
fn a_node_tells_of_itself_whatever_the_view_says() {
    let expected = topology(&small(1));
    let mut strange = small(1);
    strange.members[0].announced = None;
    assert_eq!(topology(&strange), expected);
    strange.members[0].role = Role::Removed;
    assert_eq!(topology(&strange), Topology { health: topology(&strange).health, ..expected.clone() });
    strange.members.remove(0);
    let told = nodes(&topology(&strange), 1);
    assert_eq!(told, nodes(&expected, 1));
    // Another that was removed, or that nobody can be sent to, is not told of, and its slots are others'.
    let mut strange = small(1);
    strange.members[1].role = Role::Removed;
    strange.members[2].announced = None;
    let told = topology(&strange);
    assert_eq!(told.endpoints.len(), 4);
    told.assert_covering();
}

#[test]
fn hosts_are_never_wildcards() {
    let mut strange = small(1);
    strange.members[1].announced.as_mut().unwrap().peers.host = "0.0.0.0".into();
    let told = nodes(&topology(&strange), 0);
    assert!(told.contains(" 10.0.0.2:7380@17379 "), "where the peers have found it: {told}");
    strange.members[1].address = None;
    let told = nodes(&topology(&strange), 0);
    assert!(!told.contains("0.0.0.0") && told.contains(&format!(" {REACHED}:7380@17379 master ")), "{told}");
    strange.members[1].announced.as_mut().unwrap().clients.host = "::".into();
    assert!(!nodes(&topology(&strange), 0).contains(" :::"));
}

#[test]
fn neighbouring_slots_with_the_same_owners_are_one_range() {
    let members: Vec<MemberView> = (1..=3).map(|number| member(number, 2, Role::Active, true)).collect();
    let topology = Topology::of(&view(1, 1, 1024, 3, &members), &style(&CoreMap::new(1024, 2)));
    assert!(topology.ranges.len() > 500 && topology.ranges.len() < 1024, "{}", topology.ranges.len());
    assert!(topology.ranges.windows(2).all(|two| two[0].owners != two[1].owners));
    // One shard for each order of owners, and for each core.
    assert!(shards(&topology).starts_with("*12\n"));
    let lone = Topology::of(&view(1, 1, 1024, 3, &members[..1]), &style(&CoreMap::new(1024, 2)));
    assert_eq!(lone.ranges.len(), 2);
    assert_eq!((lone.ranges[1].first, lone.ranges[1].last), (8192, 16_383));
}

#[test]
fn advice_is_to_go_to_a_core_that_owns_the_slot() {
    let environment = Environment { affinity: vec![0, 1], memory_bytes: 1 << 30 };
    let sources = Sources::none();
    let config = Config::build(&sources, &environment).unwrap();
    let (map, listen) = (CoreMap::new(config.partitions, 2), config.listen);
    let node = Node::new(config, ([9; 16], 1, 1), "0".repeat(40), map, listen, 0, NodeMetrics::new(2));
    let local: SocketAddr = "192.0.2.7:7380".parse().unwrap();
    // Alone: to the other core, and never to where one is.
    let lone = node.view.get();
    assert_eq!(advice(&lone, &node, local, 0, 0), None);
    assert_eq!(advice(&lone, &node, local, 0, 1).as_deref(), Some("192.0.2.7:7380"));
    assert_eq!(advice(&lone, &node, local, 16_383, 0).as_deref(), Some("192.0.2.7:7381"));
    let members: Vec<MemberView> = (1..=3).map(|number| member(number, 2, Role::Active, number != 3)).collect();
    let three = view(1, 2, 1024, 2, &members);
    let mut elsewhere = 0;
    for slot in (0..SLOTS).step_by(16) {
        for core in 0..2 {
            let told = advice(&three, &node, local, slot, core);
            assert_eq!(told.is_none(), is_owner(&three, &node, slot, core) || told.is_none());
            let Some(told) = told else { continue };
            let PeerCore { node: target, core: target_core } = coverage::first_up_core(&three, &node.map, slot / 16);
            let host = if target.raw() == 1 { REACHED } else { "10.0.0.2" };
            assert_eq!(told, format!("{host}:{}", 7380 + target_core));
            elsewhere += u32::from(target.raw() == 2);
            assert!(!told.starts_with("10.0.0.3"), "it does not answer");
        }
    }
    assert!(elsewhere > 100, "{elsewhere}");
}

#[test]
fn what_is_kept_is_of_one_view_and_bounded() {
    let cache = TopologyCache::default();
    let map = CoreMap::new(8, 2);
    let (first, style) = (small(1), style(&map));
    let ask = |view: &ClusterView, reached: &str, core| {
        let mut out = Vec::new();
        cache.write((view, &style), (Reply::Nodes, Protocol::Resp2), (reached, core), &mut out);
        String::from_utf8(out).unwrap()
    };
    let told = ask(&first, REACHED, 0);
    assert_ne!(ask(&first, REACHED, 1), told, "each core says that it is itself");
    assert_eq!((ask(&first, REACHED, 0), cache.made()), (told.clone(), 2));
    assert!(ask(&first, "192.0.2.8", 0).contains("192.0.2.8:7380"));
    assert_eq!(cache.made(), 3);
    (0..100).for_each(|number| assert!(ask(&first, &format!("192.0.2.{number}"), 0).len() > 100));
    let lines = |text: &str| text.split_once("\r\n").unwrap().1.to_owned();
    assert_eq!(lines(&ask(&first, "192.0.2.99", 0)), lines(&told).replace(REACHED, "192.0.2.99"));
    let mut next = first.clone();
    next.number = 2;
    next.epoch += 1;
    let made = cache.made();
    ask(&next, REACHED, 0);
    assert_eq!(cache.made(), made + 2, "another view, another topology");
    // Who still has the old view is answered from that, and what is kept stays the newest's.
    ask(&first, REACHED, 0);
    let made = cache.made();
    ask(&next, REACHED, 0);
    assert_eq!(cache.made(), made);
}

#[test]
fn ten_thousand_clients_of_a_large_cluster_cost_one_making() {
    let members: Vec<MemberView> = (1..=100).map(|number| member(number, 16, Role::Active, number != 50)).collect();
    let large = Arc::new(view(1, 1, 1024, 3, &members));
    let map = CoreMap::new(1024, 16);
    let (cache, style) = (TopologyCache::default(), style(&map));
    let start = Instant::now();
    cache.topology(&large, &style);
    eprintln!("100 nodes, 16 cores each, 1024 partitions: the topology is made in {:?}", start.elapsed());
    for (name, reply, protocol) in [
        ("SLOTS", Reply::Slots(Protocol::Resp2), Protocol::Resp2),
        ("SHARDS", Reply::Shards(Protocol::Resp3), Protocol::Resp3),
        ("NODES", Reply::Nodes, Protocol::Resp2),
    ] {
        let mut out = Vec::new();
        let mut ask = |core| {
            out.clear();
            cache.write((&large, &style), (reply, protocol), (REACHED, core), &mut out);
            out.len()
        };
        let start = Instant::now();
        let bytes = ask(0);
        let first = start.elapsed();
        let made = cache.made();
        let start = Instant::now();
        let asked: usize = (0..10_000).map(|number| ask(number % 16)).filter(|length| *length == bytes).count();
        eprintln!("{name}: {bytes} bytes, written in {first:?}, then {:?} each", start.elapsed() / 10_000);
        assert_eq!((asked, cache.made()), (10_000, made));
        assert_eq!(reader::reply_end(&out, 64 << 20), Ok(Some(bytes)));
    }
    assert_eq!(cache.made(), 4);
}
