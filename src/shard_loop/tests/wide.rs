//! Commands on all keys in a cluster: every key once, whoever is asked; clear errors while a node is missed; and bytes from other
//! nodes that are none of what they should be.

use std::collections::BTreeSet;

use annulus_net::resp::Protocol;

use super::nodes::{Fleet, context_in, node_id};
use super::{Random, bulk, encode};
use crate::core_inbox::PeerCore;
use crate::mesh::RequestFlags;
use crate::peers::Channel;
use crate::remote;
use crate::slot;

impl Fleet {
    /// A client of a core's own port.
    fn connect_to_core(&mut self, node: usize, core: usize) -> usize {
        let client = self.nodes[node].connect(core);
        let connection = self.nodes[node].clients[client].connection;
        let sessions = &mut self.nodes[node].cores[core].shard.sessions;
        let index = sessions.of(connection);
        sessions.get_mut(index).on_core_port = true;
        client
    }

    /// All that a chain of cursors shows, or the error that ends it; and the number of commands.
    fn scan(&mut self, at: (usize, usize), options: &str) -> (Result<Vec<String>, String>, usize) {
        let (mut found, mut cursor) = (Vec::new(), "0".to_owned());
        for commands in 1..5000 {
            let said = self.ask(at, &format!("SCAN {cursor} {options}")).remove(0);
            if said.starts_with('-') {
                return (Err(said), commands);
            }
            let (head, keys) = said.strip_prefix("*2|").unwrap().split_once("|*").unwrap();
            cursor = head.split_once('|').unwrap().1.to_owned();
            found.extend(texts(&format!("*{keys}")));
            if cursor == "0" {
                return (Ok(found), commands);
            }
        }
        panic!("a chain of cursors has no end");
    }

    fn send(&mut self, from: usize, to: usize, channel: Channel, bytes: &[u8]) {
        let view = self.nodes[from].node.view.get();
        let address = view.member(node_id(to)).and_then(|member| member.address);
        let peer = PeerCore { node: node_id(to), core: 0 };
        self.nodes[from].cores[0].shard.send_frame(peer, address, channel, bytes);
    }
}

/// The strings of a flat array.
fn texts(array: &str) -> Vec<String> {
    let parts: Vec<&str> = array.split('|').skip(1).filter(|part| !part.is_empty()).collect();
    parts.chunks(2).map(|pair| pair[1].to_owned()).collect()
}

fn sorted(mut keys: Vec<String>) -> Vec<String> {
    keys.sort();
    keys
}

/// A fleet with keys that were set at all of its nodes, some of which have gone again; the names of those that are there.
fn filled(nodes: usize, cores: u16) -> (Fleet, Vec<usize>, Vec<String>) {
    let mut fleet = Fleet::new(nodes, cores);
    let clients: Vec<usize> = (0..nodes).map(|node| fleet.nodes[node].connect(0)).collect();
    let mut keys = Vec::new();
    for number in 0..200 {
        let node = number % nodes;
        let commands = match number % 10 {
            8 => format!("SET key:{number} x; DEL key:{number}"),
            9 => format!("SET key:{number} x PX 5"),
            _ => format!("SET key:{number} x"),
        };
        if number % 10 < 8 {
            keys.push(format!("key:{number}"));
        }
        assert_eq!(fleet.ask((node, clients[node]), &commands)[0], "+OK|");
    }
    (fleet, clients, sorted(keys))
}

#[test]
fn every_key_is_shown_once_on_every_base_port() {
    let (mut fleet, clients, keys) = filled(4, 2);
    for at in clients.into_iter().enumerate() {
        for options in ["COUNT 7", "COUNT 1000000", "MATCH key:* TYPE string"] {
            let (found, commands) = fleet.scan(at, options);
            assert_eq!(sorted(found.unwrap()), keys, "{options}");
            assert!(commands > 10, "one command asks a few cores");
        }
        assert_eq!(fleet.scan(at, "TYPE list COUNT 100").0, Ok(Vec::new()));
        let some: Vec<String> = keys.iter().filter(|key| key.starts_with("key:11")).cloned().collect();
        assert_eq!(sorted(fleet.scan(at, "MATCH key:11*").0.unwrap()), some);
        let said = fleet.ask(at, "KEYS *; KEYS key:11*; KEYS nothing; SCAN x; SCAN 18446744073709551615");
        assert_eq!(sorted(texts(&said[0])), keys);
        assert_eq!(sorted(texts(&said[1])), some);
        assert_eq!(said[2..], ["*0|", "-ERR invalid cursor|", "-ERR invalid cursor|"]);
        // Expired keys are counted until somebody removes them, as on a node alone.
        let counted: usize = fleet.ask(at, "DBSIZE")[0][1..4].parse().unwrap();
        assert!((keys.len()..=keys.len() + 20).contains(&counted), "{counted}");
    }
}

#[test]
fn what_the_cores_ports_show_adds_up() {
    let (mut fleet, clients, keys) = filled(4, 2);
    let whole = fleet.ask((0, clients[0]), "DBSIZE");
    clients.iter().enumerate().for_each(|(node, client)| assert_eq!(fleet.ask((node, *client), "DBSIZE"), whole));
    let (mut scanned, mut listed, mut counted, mut picked) = (Vec::new(), Vec::new(), 0, 0);
    for (node, core) in (0..4).flat_map(|node| [(node, 0), (node, 1)]) {
        let at = (node, fleet.connect_to_core(node, core));
        let own = fleet.scan(at, "COUNT 5").0.unwrap();
        let said = fleet.ask(at, "KEYS *; DBSIZE; RANDOMKEY");
        assert_eq!(sorted(texts(&said[0])), sorted(own.clone()));
        picked += usize::from(own.iter().any(|key| bulk(key) == said[2]));
        scanned.extend(own);
        listed.extend(texts(&said[0]));
        counted += said[1].trim_matches(&[':', '|'][..]).parse::<usize>().unwrap();
    }
    assert_eq!((sorted(scanned), sorted(listed)), (keys.clone(), keys));
    assert_eq!((format!(":{counted}|"), picked), (whole[0].clone(), 8));
}

#[test]
fn random_keys_and_slots_are_found_wherever_they_are() {
    let (mut fleet, clients, keys) = filled(4, 1);
    let mut seen = BTreeSet::new();
    for _ in 0..40 {
        let said = fleet.ask((0, clients[0]), "RANDOMKEY; RANDOMKEY; RANDOMKEY");
        seen.extend(said.iter().map(|key| texts(&format!("*1|{key}")).remove(0)));
    }
    assert!(seen.iter().all(|key| keys.contains(key)));
    let coverage = fleet.nodes[0].cores[0].shard.coverage().clone();
    let of = |key: &String| coverage.all().core_of(slot::partition(slot::of_key(key.as_bytes()), 1024)).node;
    assert_eq!(seen.iter().map(of).collect::<BTreeSet<_>>().len(), 4, "of every node");
    for key in keys.iter().take(40) {
        let slot = slot::of_key(key.as_bytes());
        let commands =
            format!("CLUSTER COUNTKEYSINSLOT {slot}; CLUSTER GETKEYSINSLOT {slot} 10; CLUSTER GETKEYSINSLOT {slot} x");
        for (node, client) in clients.iter().enumerate() {
            let said = fleet.ask((node, *client), &commands);
            let own: Vec<String> = keys.iter().filter(|key| slot::of_key(key.as_bytes()) == slot).cloned().collect();
            assert_eq!(said[0], format!(":{}|", own.len()));
            assert_eq!(sorted(texts(&said[1])), own);
            assert_eq!(said[2], "-ERR Invalid number of keys|");
        }
    }
    for command in ["FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC"] {
        let said = fleet.ask((1, clients[1]), command);
        assert!(said[0].starts_with("-ERR FLUSHALL is not served in a cluster of several nodes: "), "{said:?}");
    }
    assert_eq!(sorted(texts(&fleet.ask((2, clients[2]), "KEYS *")[0])), keys);
}

#[test]
fn a_key_is_shown_as_long_as_a_sibling_of_it_has_a_value() {
    let mut fleet = Fleet::new(3, 1);
    let at = (0, fleet.nodes[0].connect(0));
    let first = context_in(&fleet.ask(at, "DYN.PUT k one")[0]);
    fleet.ask(at, &format!("DYN.PUT k two CONTEXT {first}"));
    // It has seen the first only, so its tombstone stands beside the second, and is the newest.
    fleet.ask(at, &format!("DYN.DEL k CONTEXT {first}"));
    let other = (1, fleet.nodes[1].connect(0));
    for at in [at, other] {
        assert_eq!(fleet.ask(at, "GET k; KEYS *"), [bulk("two"), "*1|$1|k|".to_owned()]);
        assert_eq!(fleet.scan(at, "").0, Ok(vec!["k".to_owned()]));
    }
    let last = context_in(&fleet.ask(at, "DYN.GET k R 3")[0]);
    fleet.ask(at, &format!("DYN.DEL k CONTEXT {last}"));
    assert_eq!(fleet.ask(other, "GET k; KEYS *; DBSIZE; RANDOMKEY"), ["$-1|", "*0|", ":0|", "$-1|"]);
    assert_eq!(fleet.scan(other, "").0, Ok(Vec::new()));
}

#[test]
fn a_node_that_is_missed_is_named_until_others_cover_what_it_did() {
    let (mut fleet, clients, keys) = filled(3, 2);
    fleet.cut_off(2);
    let at = (0, clients[0]);
    let said = fleet.ask(at, "DBSIZE; KEYS *; RANDOMKEY; SET after x; GET after");
    for reply in &said[..3] {
        assert!(reply.starts_with(&format!("-TRYAGAIN node {} core ", node_id(2))), "{reply}");
    }
    assert_eq!(said[3..], ["+OK|", &bulk("x")]);
    let error = fleet.scan(at, "COUNT 10").0.unwrap_err();
    assert!(error.starts_with("-TRYAGAIN node "), "{error}");
    // On a core's port nobody else is asked.
    let own = fleet.connect_to_core(0, 1);
    assert!(fleet.ask((0, own), "DBSIZE")[0].starts_with(':'));
    fleet.publish();
    let all = sorted(keys.into_iter().chain(["after".to_owned()]).collect());
    for (node, client) in clients.into_iter().enumerate().take(2) {
        assert_eq!(sorted(fleet.scan((node, client), "COUNT 10").0.unwrap()), all);
        assert_eq!(sorted(texts(&fleet.ask((node, client), "KEYS *")[0])), all);
    }
}

#[test]
fn a_node_that_says_nothing_keeps_nobody_waiting_for_long() {
    let (mut fleet, clients, keys) = filled(3, 1);
    let at = (0, clients[0]);
    fleet.silent.insert(2);
    for command in ["DBSIZE", "RANDOMKEY", "SCAN 0 COUNT 100000", "KEYS *"] {
        let before_ns = fleet.nodes[0].now.steady_ns;
        fleet.nodes[0].say(clients[0], command);
        let mut said = Vec::new();
        while said.is_empty() {
            fleet.turn();
            said = fleet.nodes[0].replies(clients[0]);
            assert!(fleet.nodes[0].now.steady_ns - before_ns < 6_000_000_000, "{command}");
        }
        assert!(said[0].starts_with("-TRYAGAIN node "), "{command}: {said:?}");
    }
    fleet.silent.clear();
    for _ in 0..4000 {
        fleet.turn();
    }
    assert_eq!(sorted(texts(&fleet.ask(at, "KEYS *")[0])), keys);
}

/// A command as another node would send it.
fn message(token: u64, partition: u16, command: &str) -> Vec<u8> {
    let args: Vec<&[u8]> = command.split_whitespace().map(str::as_bytes).collect();
    let mut bytes = Vec::new();
    remote::encode_command(&mut bytes, token, RequestFlags::new(Protocol::Resp2, partition), &args);
    bytes
}

#[test]
fn noise_between_nodes_harms_nobody() {
    let (mut fleet, clients, keys) = filled(2, 2);
    let whole = message(7, remote::step_until(3), "SCAN 0 COUNT 10 MATCH key:*");
    let mut random = Random(11);
    for channel in [Channel::Command, Channel::Reply] {
        for end in 0..=whole.len() {
            fleet.send(0, 1, channel, &whole[..end]);
        }
        for _ in 0..300 {
            let mut bytes = whole.clone();
            (0..=random.below(4)).for_each(|_| {
                let at = random.below(bytes.len());
                bytes[at] = random.below(256) as u8;
            });
            fleet.send(0, 1, channel, &bytes);
            let garbage: Vec<u8> = (0..random.below(60)).map(|_| random.below(256) as u8).collect();
            fleet.send(0, 1, channel, &garbage);
        }
        fleet.settle();
    }
    let forbidden =
        ["SET k v", "FLUSHALL", "DEL key:1", "SHUTDOWN", "CONFIG SET maxclients 1", "DEBUG x", "GET key:1", "SCAN 0"];
    for command in forbidden.into_iter().chain(["SCAN 0 COUNT 0", "SCAN", "KEYS", "CLUSTER COUNTKEYSINSLOT 99999"]) {
        fleet.send(0, 1, Channel::Command, &message(7, remote::step_until(3), command));
        fleet.send(0, 1, Channel::Command, &message(7, u16::MAX, command));
        fleet.send(0, 1, Channel::Command, &message(7, 0, command));
    }
    fleet.send(0, 1, Channel::Command, &[&[0; 12][..], b"PING\r\n"].concat());
    fleet.send(0, 1, Channel::Command, &[&[0; 12][..], &encode("DBSIZE; DBSIZE")].concat());
    fleet.settle();
    for at in clients.into_iter().enumerate() {
        assert_eq!(sorted(fleet.scan(at, "COUNT 50").0.unwrap()), keys);
    }
}

#[test]
fn a_reply_that_is_none_is_told_as_an_error_and_the_right_one_then_counts_for_nothing() {
    let (mut fleet, clients, keys) = filled(2, 1);
    let mut token = 0;
    for (command, wrong) in [
        ("DBSIZE", "+OK\r\n"),
        ("DBSIZE", ":-1\r\n"),
        ("DBSIZE", ":1\r\n:2\r\n"),
        ("KEYS *", "*1\r\n:1\r\n"),
        ("KEYS *", "*2\r\n$1\r\na\r\n"),
        ("RANDOMKEY", "*0\r\n"),
        ("RANDOMKEY", ""),
    ] {
        token += 1;
        fleet.nodes[0].say(clients[0], command);
        fleet.nodes[0].turn(0);
        // Nobody's, or nobody else's.
        fleet.send(1, 0, Channel::Reply, &[&999u64.to_le_bytes()[..], wrong.as_bytes()].concat());
        fleet.send(1, 0, Channel::Reply, &[&u64::to_le_bytes(token)[..], wrong.as_bytes()].concat());
        fleet.settle();
        let said = fleet.nodes[0].replies(clients[0]);
        assert_eq!(said.len(), 1, "{command} {wrong:?}");
        assert!(
            said[0].starts_with("-ERR node ") && said[0].contains("no answer to this command"),
            "{command} {wrong:?}: {said:?}"
        );
    }
    assert_eq!(sorted(texts(&fleet.ask((0, clients[0]), "KEYS *")[0])), keys);
}
