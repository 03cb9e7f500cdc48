//! Three real nodes, one of whose wall clocks is minutes off: it is shown, and nobody is disturbed.
//!
//! What is stamped is above what it replaces whatever a wall clock says, so the later write wins. Only expiries are instants of
//! wall clocks: each node judges them by its own, and none of them destroys what others still see.

mod support;

use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::process::Command;
use support::cluster::{Cluster, members_status, status};
use support::node::binary;
use support::resp::{Client, Reply};
use support::shifted_clock::ShiftedClock;
use support::wait_until;

const NODES: usize = 3;
/// The one whose clock is wrong.
const WRONG: usize = 1;
const FIVE_MINUTES_MS: i64 = 300_000;
/// By how much a clock may seem to be off beside that: what a busy machine takes over a handshake.
const NOISE_MS: i64 = 10_000;
/// Shorter than clocks are apart, longer than a test takes. Seconds.
const LIFE_S: i64 = 280;

const LOAD: &str = "--seconds 6 --clients 6 --keys 4 --rate 400 --settle 60 --patience 3000 --clock-skew 310000";
/// Writes that a busy machine may take a second over.
const DOUBTS_MAX: u64 = 5;

#[test]
fn a_clock_that_is_five_minutes_ahead() {
    let mut cluster = start("clocks-ahead", FIVE_MINUTES_MS);
    // Whoever is in time sets, and for the one ahead the instant has come.
    let lives = Lives { setter: 0, sees: &[0, 2], does_not: &[WRONG] };
    story(&mut cluster, FIVE_MINUTES_MS, &lives);
    right_again(&mut cluster);
    // Nothing was destroyed by a clock that was ahead.
    assert_eq!(get(&cluster, WRONG, "life-kept"), Some("x".to_owned()));
}

#[test]
fn a_clock_that_is_five_minutes_behind() {
    let mut cluster = start("clocks-behind", -FIVE_MINUTES_MS);
    let lives = Lives { setter: WRONG, sees: &[WRONG], does_not: &[0, 2] };
    story(&mut cluster, -FIVE_MINUTES_MS, &lives);
    right_again(&mut cluster);
    assert_eq!(get(&cluster, WRONG, "life-kept"), None, "its instant has come by every clock");
}

/// What clocks that are apart mean to a value that lives for [`LIFE_S`].
struct Lives {
    /// At which node it is set: none is further behind.
    setter: usize,
    sees: &'static [usize],
    does_not: &'static [usize],
}

/// Founds a cluster.
fn start(name: &str, ahead_ms: i64) -> Cluster {
    let cluster = Cluster::start_with(name, NODES, |options, cluster| {
        let number = cluster.places.iter().position(|place| place.port == options.port).expect("one of its places");
        let options =
            options.argument("--http").argument(&format!("127.0.0.1:{}", cluster.places[number].port + 2_000));
        if number != WRONG {
            return options;
        }
        ShiftedClock::build(cluster.path()).shift(options, ahead_ms)
    });
    cluster.wait_members(&[0, 1, 2], NODES, NODES);
    cluster
}

/// Everything that goes on beside a wrong clock.
fn story(cluster: &mut Cluster, ahead_ms: i64, lives: &Lives) {
    let ahead = [0, ahead_ms, 0];
    wait_shown(cluster, &ahead);
    expect_told(cluster, &ahead);
    let outcome = cluster.torture(LOAD).finish();
    eprintln!("acknowledged {}, {} attempts failed", outcome.acknowledged(), outcome.failed());
    assert!(outcome.acknowledged() > 500 && outcome.failed() <= DOUBTS_MAX, "{} attempts failed", outcome.failed());
    everything_is_found_everywhere(cluster);
    the_later_write_wins(cluster);
    values_live_by_each_nodes_clock(cluster, lives);
    hints_reach_their_node(cluster);
    eprintln!("roots equal after {:?}", cluster.wait_converged());
    cluster.wait_members(&[0, 1, 2], NODES, NODES);
    (0..NODES).for_each(|number| cluster.node(number).expect_alive());
}

/// By how much each node says that each member's clock is ahead of its own.
fn wait_shown(cluster: &Cluster, ahead: &[i64; NODES]) {
    let mut ids =
        (0..NODES).map(|number| cluster.client(number)).map(|mut client| status(&mut client)["node_id"].clone());
    let ids: [Reply; NODES] = std::array::from_fn(|_| ids.next().expect("as many as nodes"));
    for (number, own) in ahead.iter().enumerate() {
        wait_until(&format!("node {number} to show how far each clock is off"), || {
            let shown = members_status(&mut cluster.client(number));
            let is_right = |member: &std::collections::BTreeMap<String, Reply>| {
                let other = ids.iter().position(|id| *id == member["node"]).expect("a member that we know");
                match &member["clock_skew_ms"] {
                    Reply::Integer(skew_ms) => other != number && (skew_ms - (ahead[other] - own)).abs() <= NOISE_MS,
                    _ => other == number,
                }
            };
            shown.len() == NODES && shown.iter().all(is_right)
        });
    }
}

/// The same in what operators look at: the tool, the log, the metrics.
fn expect_told(cluster: &mut Cluster, ahead: &[i64; NODES]) {
    let mut wrong = status(&mut cluster.client(WRONG));
    let id = String::from_utf8_lossy(wrong.remove("node_id").expect("a node has an id").bytes()).into_owned();
    for number in [0, 2] {
        let endpoint = format!("127.0.0.1:{}", cluster.places[number].port);
        let output = Command::new(binary()).args(["admin", "--endpoint", &endpoint, "status", "--json"]).output();
        let said: Value = serde_json::from_slice(&output.expect("it can be started").stdout).expect("JSON");
        let members = said["members"].as_array().expect("a list");
        let row = members.iter().find(|member| member["node"] == *id).expect("the node is named");
        let skew_ms = row["clock_skew_ms"].as_i64().expect("a number");
        assert!((skew_ms - ahead[WRONG]).abs() <= NOISE_MS, "{row}");
        wait_until("the log to say so", || {
            let said = cluster.node(number).said();
            said.lines().any(|line| line.contains("are apart") && line.contains(&id))
        });
    }
    for number in 0..NODES {
        wait_until("the metrics to show it", || {
            farthest_ms(cluster.places[number].port + 2_000) >= FIVE_MINUTES_MS - NOISE_MS
        });
    }
}

/// As the metrics of a node say.
fn farthest_ms(http: u16) -> i64 {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", http)).expect("HTTP is served");
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers and closes");
    let value = |line: &str| line.strip_prefix("annulus_clock_skew_milliseconds{core=\"0\"} ")?.parse().ok();
    answer.lines().find_map(value).unwrap_or_else(|| panic!("no skew in {answer}"))
}

fn clients(cluster: &Cluster) -> Vec<Client> {
    (0..NODES).map(|number| cluster.client(number)).collect()
}

fn get(cluster: &Cluster, number: usize, key: &str) -> Option<String> {
    let reply = cluster.client(number).words(&format!("GET {key}"));
    (!reply.is_null()).then(|| String::from_utf8_lossy(reply.bytes()).into_owned())
}

fn everything_is_found_everywhere(cluster: &Cluster) {
    let mut clients = clients(cluster);
    for key in 0..300 {
        clients[key % NODES].words(&format!("SET found-{key} {key}")).expect_ok();
    }
    let mut found = 0;
    for client in &mut clients {
        for key in 0..300 {
            assert_eq!(client.words(&format!("GET found-{key}")).bytes(), key.to_string().as_bytes());
            found += 1;
        }
    }
    eprintln!("300 writes acknowledged, {found} reads found them");
}

/// One write after the other, at every pair of nodes: the second has replaced the first, whichever clock is ahead.
fn the_later_write_wins(cluster: &Cluster) {
    let mut clients = clients(cluster);
    clients.iter_mut().for_each(|client| client.words("DYN.CONSISTENCY W 3").expect_ok());
    let pairs = (0..NODES).flat_map(|first| (0..NODES).map(move |second| (first, second)));
    let (mut replaced, mut seen) = (0, BTreeSet::new());
    for (first, second) in pairs.filter(|(first, second)| first != second) {
        for number in 0..8 {
            let key = |what: &str| format!("later-{what}-{first}-{second}-{number}");
            // Without a context the second write replaces what its node has: with W 3 that is the first.
            clients[first].words(&format!("SET {} first", key("set"))).expect_ok();
            clients[second].words(&format!("SET {} second", key("set"))).expect_ok();
            let put = clients[first].words(&format!("DYN.PUT {} first W 2", key("put")));
            let context = String::from_utf8_lossy(put.bytes()).into_owned();
            clients[second].words(&format!("DYN.PUT {} second CONTEXT {context} W 2", key("put")));
            clients[first].words(&format!("SET {} first", key("del"))).expect_ok();
            assert_eq!(clients[second].words(&format!("DEL {}", key("del"))).integer(), 1);
            for client in &mut clients {
                for what in ["set", "put"] {
                    let found = client.words(&format!("DYN.GET {} R 3", key(what)));
                    let values: Vec<_> = found.items()[1..].iter().map(Reply::bytes).collect();
                    assert_eq!(values, [b"second"], "{what} at {first}, then at {second}");
                }
                assert!(client.words(&format!("GET {}", key("del"))).is_null(), "deleted at {second} after {first}");
                replaced += 3;
            }
            seen.insert((first, second));
        }
    }
    eprintln!("{replaced} looks at {} pairs of nodes found the later write", seen.len());
}

fn values_live_by_each_nodes_clock(cluster: &Cluster, lives: &Lives) {
    let mut clients = clients(cluster);
    let setter = lives.setter;
    for key in ["life-kept", "life-persisted", "life-deleted"] {
        clients[setter].words(&format!("SET {key} x EX {LIFE_S}")).expect_ok();
        for &number in lives.sees {
            assert_eq!(clients[number].words(&format!("GET {key}")).bytes(), b"x", "at {number}");
            let ttl = clients[number].words(&format!("TTL {key}")).integer();
            assert!((LIFE_S - 10..=LIFE_S).contains(&ttl), "{ttl} s at {number}");
        }
        for &number in lives.does_not {
            assert!(
                clients[number].words(&format!("GET {key}")).is_null(),
                "by the clock of {number} its instant has come"
            );
            assert_eq!(clients[number].words(&format!("TTL {key}")).integer(), -2);
        }
    }
    // It is there, for whoever takes its instant away.
    assert_eq!(clients[lives.sees[0]].words("PERSIST life-persisted").integer(), 1);
    // Nobody sees what was deleted, even where it was not seen.
    assert_eq!(clients[lives.does_not[0]].words("DEL life-deleted").integer(), 0);
    for client in &mut clients {
        assert_eq!(client.words("GET life-persisted").bytes(), b"x");
        assert!(client.words("GET life-deleted").is_null());
    }
    // The other way round it lives for longer.
    clients[lives.does_not[0]].words(&format!("SET life-long x EX {LIFE_S}")).expect_ok();
    let longer_s = LIFE_S + FIVE_MINUTES_MS / 1000;
    for &number in lives.sees {
        let ttl = clients[number].words("TTL life-long").integer();
        assert!((longer_s - 10..=longer_s).contains(&ttl), "{ttl} s at {number}");
    }
}

/// A node in time misses writes at both others.
fn hints_reach_their_node(cluster: &mut Cluster) {
    cluster.kill(0);
    cluster.wait_members(&[1, 2], NODES, NODES - 1);
    for number in [1, 2] {
        let mut client = cluster.client(number);
        for key in 0..50 {
            client.words(&format!("SET missed-{number}-{key} {key}")).expect_ok();
        }
    }
    cluster.restart(0);
    cluster.wait_members(&[0, 1, 2], NODES, NODES);
    eprintln!("hints handed over after {:?}", cluster.wait_converged());
    for (number, key) in [1, 2].into_iter().flat_map(|number| (0..50).map(move |key| (number, key))) {
        assert_eq!(get(cluster, 0, &format!("missed-{number}-{key}")), Some(key.to_string()));
    }
}

/// The node starts again with its clock set right: nothing shows a skew, and what it has stamped ahead, the same keys once more,
/// is replaced as ever.
fn right_again(cluster: &mut Cluster) {
    cluster.stop(WRONG);
    cluster.restart(WRONG);
    cluster.wait_members(&[0, 1, 2], NODES, NODES);
    wait_shown(cluster, &[0; NODES]);
    everything_is_found_everywhere(cluster);
    wait_until("the metrics to forget it", || farthest_ms(cluster.places[2].port + 2_000) <= NOISE_MS);
    the_later_write_wins(cluster);
    cluster.wait_converged();
}
