//! A real node that reads its log: whoever comes meanwhile is told how far it is, and nobody gets a wrong answer or none.

mod support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::time::{Duration, Instant};
use support::directory::Directory;
use support::node::{Node, Options, free_ports};
use support::resp::{Client, Reply, encode};

const KEYS: usize = 2_000;
const VALUE_BYTES: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(5);

fn value(number: usize) -> Vec<u8> {
    let mut value = format!("{number}:").into_bytes();
    value.resize(VALUE_BYTES, b'a' + (number % 26) as u8);
    value
}

/// So much data that reading it is seen: 128 MB.
fn fill(options: &Options) {
    let mut node = options.clone().durability("interval").start();
    let mut client = node.client();
    for chunk in (0..KEYS).collect::<Vec<_>>().chunks(50) {
        let mut bytes = Vec::new();
        chunk.iter().for_each(|number| {
            encode(&mut bytes, &[b"SET", format!("key-{number}").as_bytes(), &value(*number)]);
        });
        client.send(&bytes).expect("the node reads");
        chunk.iter().for_each(|_| client.read_reply().expect("the node answers").expect_ok());
    }
    node.stop();
}

fn is_loading(reply: &Reply) -> bool {
    reply.error().is_some_and(|text| {
        let percent = text.strip_prefix("LOADING Annulus is loading the dataset: ");
        let percent =
            percent.and_then(|rest| rest.strip_suffix(" % done")).and_then(|number| number.parse::<u8>().ok());
        percent.is_some_and(|percent| percent <= 100)
    })
}

/// What one new client is told by a node that starts; `None` when nobody listens, or when it is let go before it is answered.
fn told(port: u16, number: usize) -> Option<bool> {
    let mut client = Client::try_connect(port).ok()?;
    client.set_patience(PATIENCE);
    let ping = client.try_command(&[b"PING"]).ok()?;
    let was_loading = is_loading(&ping);
    assert!(was_loading || ping.to_string() == "+PONG", "{ping}");
    let reply = client.try_command(&[b"GET", format!("key-{number}").as_bytes()]).ok()?;
    if was_loading {
        assert!(is_loading(&reply), "one connection meets one of the two: {reply}");
        let info = client.try_command(&[b"INFO"]).ok()?;
        let text = String::from_utf8_lossy(info.bytes()).into_owned();
        assert!(text.contains("loading:1\r\nloading_loaded_perc:"), "{text}");
        return Some(true);
    }
    let is_moved = reply.error().is_some_and(|error| error.starts_with("MOVED "));
    assert!(is_moved || reply.bytes() == value(number), "{reply}");
    Some(false)
}

fn ready_says(http: u16) -> Option<String> {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", http)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.lines().last().map(str::to_owned)
}

/// Asks until everybody is served; how many were told that it loads.
fn ask_until_served(node: &mut Node, http: u16, health: &mut BTreeSet<String>) -> usize {
    let ports: Vec<u16> = (0..=node.cores).map(|offset| node.port + u16::try_from(offset).expect("few")).collect();
    let (mut loading, mut served) = (0, 0);
    let deadline = Instant::now() + support::PATIENCE;
    for turn in 0.. {
        assert!(Instant::now() < deadline, "not served:\n{}", node.said());
        health.extend(ready_says(http).map(|said| said.split(':').next().unwrap_or_default().to_owned()));
        match told(ports[turn % ports.len()], turn % KEYS) {
            Some(true) => {
                assert_eq!(served, 0, "a node that has served loads no more");
                loading += 1;
            }
            Some(false) => served += 1,
            None => assert!(!node.has_ended(), "it ended:\n{}", node.said()),
        }
        if served > 20 {
            break;
        }
    }
    node.wait_ready();
    loading
}

#[test]
fn clients_are_told_that_it_loads_until_they_are_served() {
    let directory = Directory::new("loading");
    let mut options = Options::new(directory.path());
    options.port = free_ports();
    let http = options.port + 2_000;
    let options = options.argument("--http").argument(&format!("127.0.0.1:{http}"));
    fill(&options);
    let (mut loading, mut health) = (0, BTreeSet::new());
    for _ in 0..3 {
        let mut node = options.spawn();
        loading += ask_until_served(&mut node, http, &mut health);
        node.expect_alive();
        node.kill();
    }
    eprintln!("{loading} answers while loading; health: {health:?}");
    assert!(loading > 0, "three starts with 128 MB of data, and nobody saw one load");
    assert!(health.contains("loading") && health.contains("ok"), "{health:?}");
}

#[test]
fn a_node_that_is_asked_to_stop_while_it_loads_ends_cleanly() {
    let directory = Directory::new("loading-stop");
    let mut options = Options::new(directory.path());
    options.port = free_ports();
    fill(&options);
    let mut node = options.spawn();
    let mut waiting = None;
    // Its cores read, so it watches for signals; or it serves already.
    support::wait_until("a core that reads", || {
        waiting = Client::try_connect(node.port).ok();
        let said = waiting.as_mut().and_then(|client| client.try_command(&[b"PING"]).ok());
        said.is_some_and(|said| !said.to_string().ends_with(": 0 % done"))
    });
    node.stop();
    let said = node.said();
    assert!(said.contains("ended cleanly"), "{said}");
    let rest = waiting.expect("it was answered").read_to_end().expect("an end");
    assert!(rest.is_empty(), "{rest:?}");
    let node = options.start();
    assert!(node.client().words("GET key-7").bytes() == value(7));
}
