//! Replies, byte for byte: conversations held with our node and, where it is installed, with `redis-server`.
//!
//! `tests/commands/*.txt` are the conversations; a deliberate difference says why beside it. The rest asks both
//! servers about every command that either knows. Redis 7.0 serves as the mirror where 7.2 is not packaged:
//! nothing that is compared here changed between them.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use support::conversation::{Conversation, Server, matches_pattern};
use support::directory::Directory;
use support::mirror::Mirror;
use support::node::{Node, Options};
use support::resp::{Client, Reply};

fn conversations() -> Vec<Conversation> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/commands");
    let found: Vec<_> =
        support::directory::files_below(&directory).iter().map(|path| Conversation::read(path)).collect();
    assert!(found.len() >= 4, "the conversations are where they were");
    found
}

fn hold_all(server: Server, port: u16) {
    let mut differences = Vec::new();
    let mut compared = 0;
    for conversation in conversations() {
        for protocol in [2, 3] {
            let (found, count) = conversation.hold(server, port, protocol);
            differences.extend(found);
            compared += count;
        }
    }
    eprintln!("{compared} replies compared with {server:?}");
    assert!(compared > 400, "only {compared} replies were compared");
    assert!(differences.is_empty(), "{} of {compared}:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn our_replies_are_the_recorded_ones() {
    let directory = Directory::new("commands");
    let node = Options::new(directory.path()).start();
    hold_all(Server::Annulus, node.port);
}

#[test]
fn our_replies_in_memory_are_the_same() {
    let directory = Directory::new("commands-memory");
    let node = Options::new(directory.path()).durability("memory").cores(1).start();
    hold_all(Server::Annulus, node.port);
}

#[test]
fn the_recorded_replies_are_those_of_redis() {
    let directory = Directory::new("commands-redis");
    if let Some(mirror) = Mirror::start(&directory) {
        hold_all(Server::Redis, mirror.port);
    }
}

fn both(name: &str) -> Option<(Directory, Node, Mirror)> {
    let directory = Directory::new(name);
    let mirror = Mirror::start(&directory)?;
    let data = directory.path().join("annulus");
    Some((directory, Options::new(&data).start(), mirror))
}

fn names(reply: &Reply) -> BTreeSet<String> {
    reply.items().iter().map(|name| String::from_utf8_lossy(name.bytes()).into_owned()).collect()
}

/// What ends the conversation, blocks, or changes what comes after.
const NOT_ASKED: [&str; 12] = [
    "shutdown",
    "quit",
    "monitor",
    "sync",
    "psync",
    "replconf",
    "subscribe",
    "psubscribe",
    "ssubscribe",
    "reset",
    "client",
    "debug",
];

/// Commands whose arity 7.2 corrected.
const ARITY_OF_7_2: [&str; 2] = ["command|getkeys", "command|getkeysandflags"];

/// Served commands that a mirror older than 7.2 does not know.
const SINCE_7_2: [&str; 4] = ["client|setinfo", "client|no-touch", "cluster|myshardid", "waitaof"];

/// Every command of Redis is served or refused with a reason: none is unknown; and arity errors are Redis's.
#[test]
fn every_redis_command_is_known() {
    let Some((_directory, node, mirror)) = both("commands-all") else {
        return;
    };
    let (mut ours, mut theirs) = (node.client(), Client::connect(mirror.port));
    let all = names(&theirs.words("COMMAND LIST"));
    let served = names(&ours.words("COMMAND LIST"));
    assert!(all.len() > 200 && served.len() > 50, "{} and {}", all.len(), served.len());
    let mut wrong = Vec::new();
    let asked = |name: &&String| !NOT_ASKED.contains(&name.split('|').next().unwrap_or_default());
    for name in all.iter().filter(asked) {
        // A subcommand is listed as `config|get`.
        let words: Vec<&[u8]> = name.split('|').map(str::as_bytes).collect();
        let (found, expected) = (ours.command(&words), theirs.command(&words));
        let text = found.to_string();
        if text.contains("unknown command") {
            wrong.push(format!("{name}: {text}"));
        } else if !served.contains(name) {
            if !matches_pattern("-ERR * is not served by Annulus: *; *", &text) && found != expected {
                wrong.push(format!("{name} is neither listed nor refused: {text}"));
            }
        } else if expected.error().is_some_and(|error| error.contains("number of arguments")) && found != expected {
            wrong.push(format!("{name}: {text}\n  Redis: {expected}"));
        }
    }
    for name in served.iter().filter(|name| !all.contains(*name)) {
        if !name.starts_with("dyn.") && !SINCE_7_2.contains(&name.as_str()) {
            wrong.push(format!("{name} is listed, and Redis does not know it"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
}

/// Arity and key positions, by which clients route, are Redis's for everything that is served.
#[test]
fn command_info_agrees_with_redis() {
    let Some((_directory, node, mirror)) = both("commands-info") else {
        return;
    };
    let (mut ours, mut theirs) = (node.client(), Client::connect(mirror.port));
    let mut wrong = Vec::new();
    let mut compared = 0;
    for name in names(&ours.words("COMMAND LIST")).iter().filter(|name| !name.starts_with("dyn.")) {
        let question: [&[u8]; 3] = [b"COMMAND", b"INFO", name.as_bytes()];
        let (found, expected) = (ours.command(&question), theirs.command(&question));
        if expected.items()[0].is_null() && SINCE_7_2.contains(&name.as_str()) {
            continue;
        }
        // Name, arity, first key, last key, step.
        let part = |reply: &Reply| -> Vec<String> {
            let items = reply.items()[0].items();
            [0, 1, 3, 4, 5].iter().map(|&index| items[index].to_string()).collect()
        };
        if part(&found) != part(&expected) && !ARITY_OF_7_2.contains(&name.as_str()) {
            wrong.push(format!("{name}: {:?}, Redis: {:?}", part(&found), part(&expected)));
        }
        compared += 1;
    }
    assert!(compared > 50, "only {compared} commands were compared");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// SCAN meets every key at least once, whatever happens to others meanwhile, on the base port and core by core.
#[test]
fn scan_meets_every_key() {
    let directory = Directory::new("commands-scan");
    let node = Options::new(directory.path()).start();
    let mut client = node.client();
    for number in 0..3_000 {
        client.words(&format!("SET stays-{number} x")).expect_ok();
    }
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut ports = vec![node.port];
    ports.extend((0..node.cores).map(|core| node.core_port(core)));
    for port in ports {
        let mut scanner = Client::connect(port);
        let mut cursor = String::from("0");
        for turn in 0.. {
            assert!(turn < 5_000, "SCAN on port {port} does not end");
            let reply = scanner.words(&format!("SCAN {cursor} MATCH stays-* COUNT 20"));
            let (next, keys) = (&reply.items()[0], &reply.items()[1]);
            keys.items()
                .iter()
                .for_each(|key| *seen.entry(String::from_utf8_lossy(key.bytes()).into_owned()).or_default() += 1);
            client.words(&format!("SET comes-{turn} x")).expect_ok();
            client.words(&format!("DEL comes-{}", turn / 2));
            cursor = String::from_utf8_lossy(next.bytes()).into_owned();
            if cursor == "0" {
                break;
            }
        }
    }
    assert_eq!(seen.len(), 3_000);
    // Once on the base port, and once on the port of the core that owns it.
    let twice = seen.values().filter(|&&count| count >= 2).count();
    assert_eq!(twice, 3_000, "the cores' ports together cover every key");
}

/// Commands on several keys gather from every core, in the order asked for.
#[test]
fn multi_key_commands_span_cores() {
    let directory = Directory::new("commands-multi");
    let node = Options::new(directory.path()).start();
    let mut client = node.client();
    let keys: Vec<String> = (0..500).map(|number| format!("key-{number}")).collect();
    let mut set: Vec<&[u8]> = vec![b"MSET"];
    keys.iter().for_each(|key| set.extend([key.as_bytes(), key.as_bytes()]));
    client.command(&set).expect_ok();
    let with = |name: &'static [u8]| -> Vec<&[u8]> {
        std::iter::once(name).chain(keys.iter().map(String::as_bytes)).collect()
    };
    let values = client.command(&with(b"MGET"));
    assert!(values.items().iter().zip(&keys).all(|(value, key)| value.bytes() == key.as_bytes()), "in order");
    assert_eq!(client.command(&with(b"EXISTS")), Reply::Integer(500));
    assert_eq!(client.words("DBSIZE"), Reply::Integer(500));
    assert_eq!(client.command(&with(b"DEL")), Reply::Integer(500));
    assert_eq!(client.words("DBSIZE"), Reply::Integer(0));
}

/// Whatever the sizes, a value comes back as it went in, from memory and from the disk.
#[test]
fn values_of_every_size() {
    let directory = Directory::new("commands-sizes");
    let options = Options::new(directory.path());
    let sizes = [0, 1, 63, 64, 4_000, 4_096, 65_535, 131_000, 131_072, 140_000, 1 << 20, (1 << 20) + 1, 16 << 20];
    let value = |size: usize| -> Vec<u8> { (0..size).map(|index| (index * 31 + index / 251 + size) as u8).collect() };
    let mut node = options.start();
    let mut client = node.client();
    for size in sizes {
        client.command(&[b"SET", format!("size-{size}").as_bytes(), &value(size)]).expect_ok();
    }
    let too_large = client.command(&[b"PING", b"before"]);
    assert_eq!(too_large.bytes(), b"before");
    for turn in 0..2 {
        for size in sizes {
            let reply = client.command(&[b"GET", format!("size-{size}").as_bytes()]);
            assert!(reply.bytes() == value(size), "size {size}, turn {turn}");
            assert_eq!(client.words(&format!("STRLEN size-{size}")), Reply::Integer(size as i64));
        }
        node.stop();
        node = options.start();
        client = node.client();
    }
    let key = vec![b'k'; 65_535];
    client.command(&[b"SET", &key, b"long key"]).expect_ok();
    assert_eq!(client.command(&[b"GET", &key]).bytes(), b"long key");
    let reply = client.command(&[b"SET", &vec![b'k'; 65_536], b"x"]);
    assert!(reply.error().is_some(), "a key may have 65,535 bytes, got {reply}");
    node.expect_alive();
}
