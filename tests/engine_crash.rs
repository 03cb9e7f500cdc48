//! `kill -9` of the real process at random moments under load, and what it must still hold afterwards.
//!
//! The judge is outside: it knows only what it sent and what was acknowledged to it. This shows that replies
//! follow the write system call and that recovery reads back all of it; that the write reached the medium
//! is shown by `durability.rs` (flags) and by the engine's tests on its faulty disk, not here.
//!
//! `ANNULUS_KILL_ROUNDS` (default 4) rounds; `ANNULUS_SEED` repeats the choices, not the kernel's timing.

mod support;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::directory::Directory;
use support::ledger::{Ledger, State};
use support::node::{Node, Options};
use support::random::Random;
use support::resp::{Client, Reply, encode};
use support::{processors, wait_until};

const WRITERS: usize = 4;
const KEYS_PER_WRITER: usize = 250;
const BATCH_MAX: u64 = 48;

/// What the whole test did: a run that did nothing fails.
#[derive(Default, Debug)]
struct Tally {
    rounds: usize,
    killed_mid_write: usize,
    killed_in_recovery: usize,
    acknowledged: u64,
    unanswered: usize,
    keys_checked: usize,
}

#[test]
fn acknowledged_writes_survive_kill_9() {
    let rounds: usize =
        std::env::var("ANNULUS_KILL_ROUNDS").map_or(4, |text| text.parse().expect("ANNULUS_KILL_ROUNDS is a number"));
    let seed = Random::seed_from_environment();
    eprintln!("kill rounds: {rounds}, ANNULUS_SEED={seed}");
    let mut random = Random::new(seed);
    let directory = Directory::new("kill");
    let mut ledgers: Vec<Ledger> = (0..WRITERS).map(|writer| Ledger::new(writer, KEYS_PER_WRITER)).collect();
    let mut tally = Tally::default();
    let mut node = Options::new(directory.path()).start();
    for round in 0..rounds {
        ledgers = one_load(&mut node, ledgers, &mut random, &mut tally);
        tally.rounds += 1;
        node = restart(&directory, &mut random, &mut tally);
        verify(&node, &mut ledgers, &mut tally).unwrap_or_else(|what| panic!("round {round}, seed {seed}: {what}"));
    }
    node.stop();
    node = Options::new(directory.path()).start();
    verify(&node, &mut ledgers, &mut tally).unwrap_or_else(|what| panic!("after a clean stop, seed {seed}: {what}"));
    eprintln!("{tally:?}");
    assert!(tally.killed_mid_write > 0, "no kill hit a write under way: {tally:?}");
    assert!(tally.acknowledged > 0 && tally.keys_checked > 0, "nothing was checked: {tally:?}");
}

/// Every writer sends until the node dies, which happens after a random number of acknowledgements.
fn one_load(node: &mut Node, ledgers: Vec<Ledger>, random: &mut Random, tally: &mut Tally) -> Vec<Ledger> {
    let done = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = ledgers
        .into_iter()
        .map(|ledger| {
            let (done, seed) = (done.clone(), random.bits());
            // The base port forwards; a core's port may answer MOVED, which is for cluster clients.
            let port = node.port;
            std::thread::spawn(move || write_until_killed(port, ledger, &done, seed))
        })
        .collect();
    let most = if random.one_in(4) { 60 } else { 12_000 };
    let target = 1 + random.below(most);
    wait_until("writes to be acknowledged", || {
        assert!(!writers.iter().any(std::thread::JoinHandle::is_finished), "a writer ended early");
        done.load(Ordering::Relaxed) >= target
    });
    node.kill();
    let ledgers: Vec<Ledger> =
        writers.into_iter().map(|writer| writer.join().expect("a writer's checks hold")).collect();
    let unanswered: usize = ledgers.iter().map(Ledger::unanswered).sum();
    tally.acknowledged += done.load(Ordering::Relaxed);
    tally.unanswered += unanswered;
    tally.killed_mid_write += usize::from(unanswered > 0);
    ledgers
}

/// What a reply must be, in the order of the requests.
enum Expected {
    Set,
    Delete { existed: bool },
    Value(Option<Vec<u8>>),
}

fn write_until_killed(port: u16, mut ledger: Ledger, done: &AtomicU64, seed: u64) -> Ledger {
    let mut random = Random::new(seed);
    let mut client = Client::connect(port);
    let mut writer = client.writer();
    loop {
        let (bytes, expected) = batch(&mut ledger, &mut random);
        if writer.write_all(&bytes).is_err() || read_batch(&mut client, &mut ledger, done, expected).is_err() {
            return ledger;
        }
    }
}

fn batch(ledger: &mut Ledger, random: &mut Random) -> (Vec<u8>, Vec<Expected>) {
    let mut bytes = Vec::new();
    let count = 1 + random.below(BATCH_MAX);
    let expected = (0..count).map(|_| {
        let index = random.below(ledger.len() as u64) as usize;
        let (key, before) = (ledger.key(index), ledger.latest(index));
        match random.below(10) {
            0 => {
                ledger.send_delete(index);
                encode(&mut bytes, &[b"DEL", &key]);
                Expected::Delete { existed: before != State::Absent }
            }
            1 => {
                encode(&mut bytes, &[b"GET", &key]);
                Expected::Value(match before {
                    State::Absent => None,
                    State::Written(sequence) => Some(ledger.value(index, sequence)),
                })
            }
            _ => {
                let value = ledger.send_value(index);
                encode(&mut bytes, &[b"SET", &key, &value]);
                Expected::Set
            }
        }
    });
    let expected = expected.collect();
    (bytes, expected)
}

fn read_batch(
    client: &mut Client,
    ledger: &mut Ledger,
    done: &AtomicU64,
    expected: Vec<Expected>,
) -> std::io::Result<()> {
    for expected in &expected {
        let reply = client.read_reply()?;
        match expected {
            Expected::Set => reply.expect_ok(),
            Expected::Delete { existed } => assert_eq!(reply, Reply::Integer((*existed).into()), "of a DEL"),
            Expected::Value(None) => assert!(reply.is_null(), "a GET after its own DEL found {reply}"),
            Expected::Value(Some(value)) => {
                assert!(reply.bytes() == value.as_slice(), "a pipelined GET does not see its own SET: {reply}");
            }
        }
        if !matches!(expected, Expected::Value(_)) {
            ledger.acknowledged();
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Starts it again on the same directory, now and then with another number of cores or after a kill in recovery.
fn restart(directory: &Directory, random: &mut Random, tally: &mut Tally) -> Node {
    let most = processors().min(2) as u64;
    let mut options = Options::new(directory.path());
    if random.one_in(3) {
        options = options.cores(1 + random.below(most) as usize);
        let mut node = options.spawn();
        std::thread::sleep(Duration::from_millis(random.below(120)));
        node.kill();
        tally.killed_in_recovery += 1;
    }
    options.cores(1 + random.below(most) as usize).start()
}

/// Every key holds what it may hold, and there are no others.
fn verify(node: &Node, ledgers: &mut [Ledger], tally: &mut Tally) -> Result<(), String> {
    let mut client = node.client();
    for ledger in ledgers.iter_mut() {
        let mut bytes = Vec::new();
        (0..ledger.len()).for_each(|index| encode(&mut bytes, &[b"GET", &ledger.key(index)]));
        send_aside(client.writer(), bytes);
        for index in 0..ledger.len() {
            let reply = client.read_reply().map_err(|error| error.to_string())?;
            let found = if reply.is_null() { None } else { Some(reply.bytes()) };
            let name = String::from_utf8_lossy(&ledger.key(index)).into_owned();
            ledger.observe(index, found).map_err(|what| format!("{name} {what}"))?;
            tally.keys_checked += 1;
        }
        ledger.settle();
    }
    let expected: BTreeSet<Vec<u8>> = ledgers.iter().flat_map(Ledger::present).collect();
    let keys = client.words("KEYS *");
    let found: BTreeSet<Vec<u8>> = keys.items().iter().map(|key| key.bytes().to_vec()).collect();
    if found != expected || keys.items().len() != expected.len() {
        return Err(format!("KEYS gives {} names, {} are present", keys.items().len(), expected.len()));
    }
    match client.words("DBSIZE").integer() {
        size if size == expected.len() as i64 => Ok(()),
        size => Err(format!("DBSIZE is {size}, {} are present", expected.len())),
    }
}

/// Writes from another thread, so that neither side waits for the other with full buffers.
fn send_aside(mut stream: TcpStream, bytes: Vec<u8>) {
    std::thread::spawn(move || stream.write_all(&bytes));
}

#[test]
fn a_flush_survives_kill_9() {
    let directory = Directory::new("kill-flush");
    let mut node = Options::new(directory.path()).start();
    let mut client = node.client();
    for number in 0..500 {
        client.words(&format!("SET old-{number} x")).expect_ok();
    }
    client.words("FLUSHALL").expect_ok();
    for number in 0..20 {
        client.words(&format!("SET new-{number} y")).expect_ok();
    }
    node.kill();
    let node = Options::new(directory.path()).start();
    let mut client = node.client();
    assert_eq!(client.words("DBSIZE"), Reply::Integer(20), "what was flushed stays away, what came after stays");
    assert!(client.words("GET old-7").is_null());
    assert_eq!(client.words("GET new-7").bytes(), b"y");
}

#[test]
fn expiry_survives_kill_9() {
    let directory = Directory::new("kill-expiry");
    let mut node = Options::new(directory.path()).start();
    let mut client = node.client();
    client.words("SET short x PX 1").expect_ok();
    client.words("SET long x EX 1000").expect_ok();
    client.words("SET kept x EX 1000").expect_ok();
    assert_eq!(client.words("PERSIST kept"), Reply::Integer(1));
    client.words("SET later x").expect_ok();
    assert_eq!(client.words("EXPIRE later 2000"), Reply::Integer(1));
    wait_until("a millisecond to pass", || client.words("GET short").is_null());
    node.kill();
    let node = Options::new(directory.path()).start();
    let mut client = node.client();
    assert!(client.words("GET short").is_null(), "expired before the kill, and back after it");
    assert_eq!(client.words("TTL kept"), Reply::Integer(-1));
    assert!((900..=1000).contains(&client.words("TTL long").integer()));
    assert!((1900..=2000).contains(&client.words("TTL later").integer()));
}

#[test]
fn interval_loses_no_more_than_its_interval() {
    let directory = Directory::new("kill-interval");
    let mut node = Options::new(directory.path()).durability("interval").start();
    let mut client = node.client();
    for number in 0..300 {
        client.words(&format!("SET key-{number} {number}")).expect_ok();
    }
    // The longest interval that can be configured is one second: this wait is the promise under test.
    std::thread::sleep(Duration::from_millis(1_500));
    node.kill();
    let node = Options::new(directory.path()).durability("interval").start();
    let mut client = node.client();
    for number in 0..300 {
        let expected = number.to_string();
        assert_eq!(client.words(&format!("GET key-{number}")), Reply::Bulk(expected.into_bytes()), "key-{number}");
    }
}

#[test]
fn memory_forgets_and_serves() {
    let directory = Directory::new("kill-memory");
    let options = Options::new(directory.path()).durability("memory");
    let mut node = options.start();
    node.client().words("SET a b").expect_ok();
    assert_eq!(node.client().words("GET a").bytes(), b"b");
    node.kill();
    let node = options.start();
    assert!(node.client().words("GET a").is_null(), "values of `memory` live in RAM only");
    node.client().words("SET a c").expect_ok();
}

#[test]
fn a_clean_stop_loses_nothing_in_either_durability() {
    for durability in ["sync", "interval"] {
        let directory = Directory::new("drain");
        let options = Options::new(directory.path()).durability(durability);
        let mut node = options.start();
        let mut client = node.client();
        let mut bytes = Vec::new();
        for number in 0..2_000 {
            encode(&mut bytes, &[b"SET", format!("key-{number}").as_bytes(), b"v"]);
        }
        client.send(&bytes).expect("the node reads");
        // The signal lands among them: what was answered counts.
        let mut answered = 0;
        for number in 0..2_000 {
            match client.read_reply() {
                Ok(reply) => reply.expect_ok(),
                Err(_) => break,
            }
            answered = number + 1;
            if number == 700 {
                node.signal(rustix::process::Signal::TERM);
            }
        }
        let status = node.wait_exit();
        assert!(status.success(), "{durability}: {status}\n{}", node.said());
        let node = options.start();
        let mut client = node.client();
        for number in 0..answered {
            let reply = client.words(&format!("GET key-{number}"));
            assert_eq!(reply, Reply::Bulk(b"v".to_vec()), "{durability}: key-{number} of {answered} acknowledged");
        }
    }
}
