//! Data commands against a store in memory: what is asked and what is answered.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use annulus_engine::disk::memory::MemoryDisk;
use annulus_engine::{Config, Durability, Engine, Limits};
use annulus_net::resp::Protocol;
use annulus_object::{Actor, Clock};

use super::{Data, EngineKeys, Outcome, parse_integer};
use crate::commands::{self, table};

const NOW: u64 = 1_700_000_000_000;

/// A store whose values lie in memory; nothing of it waits.
fn store() -> Engine<MemoryDisk> {
    let config = Config {
        core: 0,
        cores: 1,
        layout: 1,
        migrate_from: None,
        partitions: 0..1024,
        hints_from: 1024,
        hash_key: [7; 16],
        cluster_id: [9; 16],
        actor: Actor::new(1, 1),
        clock: Clock::ZERO,
        durability: Durability::Memory,
        is_alone: true,
        hot_log_bytes: 64 << 20,
        hot_log_bytes_max: 64 << 20,
        cache_bytes: 1 << 20,
        memory_bytes: 64 << 20,
        limits: Limits::PRODUCTION,
        now_unix_ms: NOW,
        progress: Default::default(),
    };
    let opened = pin!(Engine::open(MemoryDisk::new(1), config));
    match opened.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(engine)) => engine,
        Poll::Ready(Err(error)) => panic!("{error}"),
        Poll::Pending => panic!("the disk in memory never waits"),
    }
}

/// One client of the store.
struct Client {
    engine: Engine<MemoryDisk>,
    now_ms: u64,
    protocol: Protocol,
    hits: u64,
    misses: u64,
}

impl Client {
    fn new() -> Self {
        Self { engine: store(), now_ms: NOW, protocol: Protocol::Resp2, hits: 0, misses: 0 }
    }

    /// The reply to a command whose arguments have no blanks, line ends shown as `|`.
    fn ask(&mut self, text: &str) -> String {
        let args: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        let row = table::resolve(args[0], args.get(1).copied()).expect(text);
        assert!(row.check_arity(args.len()), "{text}");
        let key = args[usize::from(row.keys.expect(text).first)];
        let key = self.engine.key(key, 5);
        let mut out = Vec::new();
        let mut data = Data {
            keys: EngineKeys { engine: &mut self.engine, fetched: None },
            now_ms: self.now_ms,
            protocol: self.protocol,
            hits: &mut self.hits,
            misses: &mut self.misses,
            out: &mut out,
        };
        let outcome = commands::run(row.command().expect(text), &mut data, &key, &args);
        assert!(matches!(outcome, Outcome::Done(None)), "{text}: {outcome:?}");
        String::from_utf8(out).expect(text).replace("\r\n", "|")
    }

    /// Asks line by line: `command > reply`.
    fn script(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (command, expected) = line.split_once(" > ").expect(line);
            assert_eq!(self.ask(command), expected, "{command}");
        }
    }
}

#[test]
fn values() {
    Client::new().script(
        "GET k > $-1|
         SET k value > +OK|
         GET k > $5|value|
         STRLEN k > :5|
         STRLEN none > :0|
         GETRANGE k 1 2 > $2|al|
         SUBSTR k -3 -1 > $3|lue|
         GETRANGE none 0 -1 > $0||
         GETRANGE k a 2 > -ERR value is not an integer or out of range|
         GETSET k other > $5|value|
         GETSET new first > $-1|
         GETDEL k > $5|other|
         GETDEL k > $-1|
         SET new second GET > $5|first|
         SET newer second GET > $-1|
         EXISTS new > :1|
         TOUCH none > :0|
         TYPE new > +string|
         TYPE none > +none|
         DEL new > :1|
         UNLINK new > :0|",
    );
}

#[test]
fn null_is_told_in_the_clients_protocol() {
    let mut client = Client::new();
    client.protocol = Protocol::Resp3;
    client.script(
        "GET k > _|
         SET k v GET > _|",
    );
    assert_eq!((client.hits, client.misses), (0, 1));
}

#[test]
fn options_of_set() {
    Client::new().script(
        "SET k v EX 10 > +OK|
         TTL k > :10|
         SET k w KEEPTTL > +OK|
         TTL k > :10|
         SET k x KEEPTTL GET > $1|w|
         TTL k > :10|
         SET k y > +OK|
         TTL k > :-1|
         SET k v PX 1500 > +OK|
         PTTL k > :1500|
         SET k v EXAT 1700000100 > +OK|
         EXPIRETIME k > :1700000100|
         SET k v PXAT 1700000100001 > +OK|
         PEXPIRETIME k > :1700000100001|
         SET k v EXAT 1 > +OK|
         GET k > $-1|
         SET k v EX 0 > -ERR invalid expire time in 'set' command|
         SET k v PX -1 > -ERR invalid expire time in 'set' command|
         SET k v EX 9223372036854775807 > -ERR invalid expire time in 'set' command|
         SET k v EX ten > -ERR value is not an integer or out of range|
         SET k v EX > -ERR syntax error|
         SET k v EX 1 KEEPTTL > -ERR syntax error|
         SETEX k 10 v > +OK|
         TTL k > :10|
         SETEX k 0 v > -ERR invalid expire time in 'setex' command|
         PSETEX k 10 v > +OK|
         PTTL k > :10|
         PSETEX k -1 v > -ERR invalid expire time in 'psetex' command|",
    );
    let refusal = Client::new().ask("SET k v NX");
    assert!(refusal.starts_with("-ERR SET NX is not served by Annulus: "), "{refusal}");
}

#[test]
fn options_of_getex() {
    Client::new().script(
        "GETEX k EX 0 > $-1|
         SET k v > +OK|
         GETEX k > $1|v|
         GETEX k EX 10 > $1|v|
         TTL k > :10|
         GETEX k > $1|v|
         TTL k > :10|
         GETEX k PERSIST > $1|v|
         TTL k > :-1|
         GETEX k PXAT 1700000100001 > $1|v|
         PEXPIRETIME k > :1700000100001|
         GETEX k EX 0 > -ERR invalid expire time in 'getex' command|
         GETEX k EX 1 PERSIST > -ERR syntax error|
         GETEX k EXAT 1 > $1|v|
         EXISTS k > :0|",
    );
}

#[test]
fn expiry() {
    let mut client = Client::new();
    client.script(
        "TTL k > :-2|
         PTTL k > :-2|
         EXPIRE k 10 > :0|
         SET k v > +OK|
         EXPIRETIME k > :-1|
         PERSIST k > :0|
         EXPIRE k 10 XX > :0|
         EXPIRE k 10 GT > :0|
         EXPIRE k 10 NX > :1|
         EXPIRE k 20 NX > :0|
         EXPIRE k 20 GT > :1|
         EXPIRE k 30 LT > :0|
         PEXPIRE k 5400 LT > :1|
         TTL k > :5|
         PTTL k > :5400|
         PERSIST k > :1|
         TTL k > :-1|
         EXPIREAT k 1700000007 > :1|
         PEXPIRETIME k > :1700000007000|
         PEXPIREAT k 1700000008001 > :1|
         EXPIRETIME k > :1700000008|
         EXPIRE k 10 AB > -ERR Unsupported option AB|
         EXPIRE k 10 NX GT > -ERR NX and XX, GT or LT options at the same time are not compatible|
         EXPIRE k 10 GT LT > -ERR GT and LT options at the same time are not compatible|
         EXPIRE k x > -ERR value is not an integer or out of range|
         PEXPIRE k 9223372036854775807 > -ERR invalid expire time in 'pexpire' command|
         GET k > $1|v|",
    );
    client.now_ms += 8_001;
    client.script(
        "GET k > $-1|
         TTL k > :-2|
         PERSIST k > :0|
         SET k v > +OK|
         EXPIRE k -1 XX > :0|
         EXPIRE k -1 > :1|
         EXPIRE k -1 > :0|
         EXISTS k > :0|",
    );
}

#[test]
fn memory_usage() {
    let mut client = Client::new();
    client.script(
        "MEMORY USAGE k > $-1|
         SET k v > +OK|
         MEMORY USAGE k SAMPLES -1 > -ERR syntax error|
         MEMORY USAGE k WHAT 1 > -ERR syntax error|",
    );
    let reply = client.ask("MEMORY USAGE k SAMPLES 5");
    let bytes: u64 = reply.trim_matches([':', '|']).parse().unwrap();
    assert!((100..2000).contains(&bytes), "{bytes}");
}

#[test]
fn integers_as_redis_reads_them() {
    let good = [("0", 0), ("7", 7), ("-1", -1), ("9223372036854775807", i64::MAX), ("-9223372036854775808", i64::MIN)];
    for (text, value) in good {
        assert_eq!(parse_integer(text.as_bytes()), Some(value), "{text}");
    }
    for bad in ["", "-", "-0", "+1", "01", "-01", " 1", "1 ", "1.0", "0x1", "9223372036854775808", "--1", "1-"] {
        assert_eq!(parse_integer(bad.as_bytes()), None, "{bad}");
    }
}
