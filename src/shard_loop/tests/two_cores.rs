//! Commands whose keys lie on two cores: parts, walks over all keys, and queues that are full.

use std::collections::BTreeSet;

use super::*;
use crate::limits;
use crate::metrics::Metric;

/// Every key that SCAN finds, from the first cursor to the end.
fn scan(cluster: &mut Cluster, client: usize, options: &str) -> BTreeSet<String> {
    let (mut cursor, mut found) = ("0".to_owned(), BTreeSet::new());
    for _ in 0..10_000 {
        let replies = cluster.ask(client, &format!("SCAN {cursor} {options}"));
        let lines: Vec<&str> = replies[0].split('|').collect();
        assert_eq!(lines[0], "*2", "{replies:?}");
        cursor = lines[2].to_owned();
        found.extend(lines[4..].iter().skip(1).step_by(2).filter(|key| !key.is_empty()).map(ToString::to_string));
        if cursor == "0" {
            return found;
        }
    }
    panic!("the walk never ends");
}

/// Two cores with keys on both, half of them still in memory when there is a cache.
fn filled(cache_bytes: usize, keys: usize) -> (Cluster, usize, BTreeSet<String>) {
    let mut cluster = Cluster::new(2, cache_bytes);
    let client = cluster.connect(0);
    let names: BTreeSet<String> = (0..keys).map(|at| format!("{}:{at}", if at % 3 == 0 { "a" } else { "b" })).collect();
    let commands: String = names.iter().map(|name| format!("SET {name} v;")).collect();
    assert_eq!(cluster.ask(client, &commands).len(), keys);
    (cluster, client, names)
}

#[test]
fn commands_on_several_keys() {
    let mut cluster = Cluster::new(2, 0);
    let clients = [cluster.connect(0), cluster.connect(1)];
    let [a, b, c, d] = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(core, number)| key_of(core, number));
    for client in clients {
        let commands = format!(
            "MSET {a} 1 {c} 2 {b} 3 {d} 4; MGET {d} {a} none {c} {b} {a}; EXISTS {a} {c} {c} none; SET {c} x; GET {c}; \
             GET {a}; DEL {a} {c} none {a}; MGET {a} {b} {c} {d}; UNLINK {b} {d}; DBSIZE"
        );
        cluster.expect(
            client,
            &commands,
            &[
                "+OK|",
                "*6|$1|4|$1|1|$-1|$1|2|$1|3|$1|1|",
                ":3|",
                "+OK|",
                "$1|x|",
                "$1|1|",
                ":2|",
                "*4|$-1|$1|3|$-1|$1|4|",
                ":2|",
                ":0|",
            ],
        );
        let replies =
            cluster.ask(client, &format!("MSET {a} 1 {c}; MSET {a} 9 {a} 8 {c} 7 {c} 6; MGET {a} {c}; DEL {a} {c}"));
        assert!(replies[0].starts_with("-ERR wrong number of arguments"), "{replies:?}");
        assert_eq!(replies[1..], ["+OK|", "*2|$1|8|$1|6|", ":2|"]);
    }
}

/// What INFO says of commands that came to the wrong place.
fn forwarded(cluster: &mut Cluster, client: usize) -> [u64; 3] {
    let told = cluster.ask(client, "INFO stats").remove(0);
    ["forwarded_requests:", "forwarded_to_cores:", "forwarded_to_nodes:"].map(|name| {
        let line = told.split('|').find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} in {told}"))
    })
}

#[test]
fn commands_on_keys_of_another_core_are_counted_once() {
    let mut cluster = Cluster::new(2, 0);
    let client = cluster.connect(0);
    let [a, b, c, d] = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(core, number)| key_of(core, number));
    // Nothing of this belongs elsewhere, or could have been sent to anybody better.
    cluster
        .ask(client, &format!("SET {a} 1; GET {a}; MSET {a} 1 {b} 2; DEL {a} {b}; DYN.GET {a}; DBSIZE; SCAN 0; PING"));
    assert_eq!(forwarded(&mut cluster, client), [0, 0, 0]);
    cluster.ask(client, &format!("SET {c} 1; GET {c}; DYN.GET {d}; MSET {a} 1 {c} 2 {d} 3; MGET {c} {d}"));
    assert_eq!(forwarded(&mut cluster, client), [5, 5, 0]);
}

#[test]
fn replies_of_two_cores_keep_the_clients_order() {
    let mut cluster = Cluster::new(2, 0);
    let client = cluster.connect(0);
    let commands: String = (0..40).map(|at| format!("SET {} v{at};", key_of(at % 2, usize::from(at / 2)))).collect();
    assert_eq!(cluster.ask(client, &commands), ["+OK|"; 40]);
    // The other core answers first, then this one.
    let commands: String = (0..40).map(|at| format!("GET {};", key_of(at % 2, usize::from(at / 2)))).collect();
    cluster.say(client, &commands);
    cluster.completions_max = 0;
    cluster.turn(0);
    cluster.completions_max = usize::MAX;
    cluster.turns(1, 10);
    assert!(cluster.replies(client).is_empty());
    cluster.settle();
    let expected: Vec<String> = (0..40).map(|at| bulk(&format!("v{at}"))).collect();
    assert_eq!(cluster.replies(client), expected);
}

#[test]
fn scan_finds_every_key_of_both_cores() {
    for cache_bytes in [0, 1 << 20] {
        let (mut cluster, client, names) = filled(cache_bytes, 300);
        for options in ["COUNT 100", "COUNT 7", "COUNT 100000", "COUNT 50 MATCH *", "COUNT 33 TYPE string"] {
            assert_eq!(scan(&mut cluster, client, options), names, "{options}");
        }
        let some: BTreeSet<String> = names.iter().filter(|name| name.starts_with('a')).cloned().collect();
        assert_eq!(scan(&mut cluster, client, "MATCH a:* COUNT 40"), some);
        assert!(scan(&mut cluster, client, "COUNT 1000 TYPE list").is_empty());
        let other = cluster.connect(1);
        assert_eq!(scan(&mut cluster, other, "COUNT 64"), names);
    }
}

#[test]
fn scan_finds_what_stays_while_keys_come_and_go() {
    let (mut cluster, client, names) = filled(0, 200);
    let mut cursor = "0".to_owned();
    let mut found = BTreeSet::new();
    for step in 0.. {
        let reply =
            cluster.ask(client, &format!("SET new:{step} v; SCAN {cursor} COUNT 9; DEL new:{}", step / 2)).remove(1);
        let lines: Vec<&str> = reply.split('|').collect();
        cursor = lines[2].to_owned();
        found.extend(lines[4..].iter().skip(1).step_by(2).map(ToString::to_string));
        if cursor == "0" {
            break;
        }
    }
    assert!(names.is_subset(&found));
}

#[test]
fn scans_refuse_what_they_cannot_mean() {
    let (mut cluster, client, _) = filled(0, 3);
    for (command, error) in [
        ("SCAN x", "-ERR invalid cursor|"),
        ("SCAN 18446744073709551615", "-ERR invalid cursor|"),
        ("SCAN 0 COUNT 0", "-ERR syntax error|"),
        ("SCAN 0 COUNT", "-ERR syntax error|"),
        ("SCAN 0 COUNT x", "-ERR value is not an integer or out of range|"),
    ] {
        cluster.expect(client, command, &[error]);
    }
}

#[test]
fn commands_on_all_keys() {
    for cache_bytes in [0, 1 << 20] {
        let (mut cluster, client, names) = filled(cache_bytes, 200);
        let other = cluster.connect(1);
        for asks in [client, other] {
            cluster.expect(asks, "DBSIZE", &[":200|"]);
            let reply = cluster.ask(asks, "KEYS *").remove(0);
            let keys: BTreeSet<String> = reply.split('|').skip(2).step_by(2).map(str::to_owned).collect();
            assert_eq!(keys, names);
            assert!(cluster.ask(asks, "KEYS a:1?")[0].starts_with("*3|"), "a:12, a:15, a:18");
            let random: BTreeSet<String> = cluster.ask(asks, &"RANDOMKEY;".repeat(50)).into_iter().collect();
            assert!(random.len() > 5 && random.iter().all(|reply| names.contains(reply.split('|').nth(1).unwrap())));
        }
        let replies = ["+OK|", ":0|", "$-1|", "$-1|", "*0|"];
        cluster.expect(other, "FLUSHALL; DBSIZE; GET a:0; RANDOMKEY; KEYS *", &replies);
        assert!(scan(&mut cluster, other, "COUNT 1000").is_empty());
        cluster.expect(client, "SET a:0 w; DBSIZE; GET a:0", &["+OK|", ":1|", "$1|w|"]);
    }
}

#[test]
fn a_full_queue_blocks_the_client_and_nothing_is_lost() {
    let mut cluster = Cluster::new(2, 1 << 20);
    let [client, other] = [0; 2].map(|_| cluster.connect(0));
    let (here, there) = (key_of(0, 0), key_of(1, 0));
    let rounds = limits::MESH_QUEUE_MESSAGES + 10;
    // The other core does not turn.
    for round in 0..rounds {
        cluster.say(client, &format!("SET {there} {round}"));
        cluster.turn(0);
    }
    assert!(!cluster.cores[0].shard.mesh().is_flushed());
    cluster.cores[0].shard.publish_metrics();
    assert_eq!(cluster.node.metrics.sum(Metric::MeshWaits), 10, "one for each turn that found the queue full");
    let large = "x".repeat(100_000);
    cluster.bytes_max = 100_000;
    cluster.say(client, &format!("SET {there} {large};").repeat(20));
    cluster.say(client, "PING");
    cluster.turns(0, 20);
    assert!(cluster.cores[0].shard.mesh().is_congested(1));
    assert!(
        cluster.clients[client].wire.len() > 100_000 && !cluster.clients[client].receives,
        "it is not received from"
    );
    cluster.say(other, &format!("GET {here}; GET {there}; STRLEN {there}"));
    cluster.turns(0, 20);
    cluster.settle();
    let replies = cluster.replies(client);
    assert_eq!(replies.len(), rounds + 21);
    assert!(replies[..rounds + 20].iter().all(|reply| reply == "+OK|") && replies[rounds + 20] == "+PONG|");
    assert_eq!(cluster.replies(other).len(), 3);
    assert!(cluster.clients[client].receives);
    cluster.expect(other, &format!("STRLEN {there}"), &[":100000|"]);
}
