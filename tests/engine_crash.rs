//! `kill -9` of the real process at random moments under load, and what it must still hold afterwards.
//!
//! The judge is outside: it knows only what it sent and what was acknowledged to it, and beside it `annulus-inspect`, which
//! reads the files by itself. This shows that replies follow the write system call and that recovery reads back all of it,
//! from the log and from partition files, while the one is drained into the other; that the write reached the medium
//! is shown by `durability.rs` (flags) and by the engine's tests on its faulty disk, not here.
//!
//! `ANNULUS_KILL_ROUNDS` (default 4) rounds, `ANNULUS_KILL_LOOKS=all` to inspect the files after every one, as
//! `cargo xtask soak` does; `ANNULUS_SEED` repeats the choices, not the kernel's timing.
//!
//! Invariant: a set of rounds in which nothing was drained, compacted or recycled has shown nothing, and fails.

mod support;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use support::directory::Directory;
use support::figures::{self, Figures};
use support::inspect;
use support::ledger::{LONG_LIFE, Ledger, Life, SHORT_LIFE, State};
use support::node::{Node, Options};
use support::random::Random;
use support::resp::{Client, Reply, encode};
use support::writers::Writers;
use support::{processors, wait_until};

const WRITERS: usize = 4;
const KEYS_PER_WRITER: usize = 250;
/// Writes of a round, about 16 KiB each: the log turns over more than once.
const WRITES_MAX: u64 = 16_000;
/// And in one round of four.
const WRITES_FEW: u64 = 60;
/// A slow machine kills a node before that.
const LOAD_MAX: Duration = Duration::from_millis(1_500);
/// Of that many rounds one is followed by a look at the files.
const ROUNDS_PER_LOOK: u64 = 4;
/// And of that many one begins with a FLUSHALL.
const ROUNDS_PER_FLUSH: u64 = 12;
/// The smallest log of a core.
const LOG_MIB_PER_CORE: usize = 16;

/// What the whole test did: a run that did nothing fails.
#[derive(Default, Debug)]
struct Tally {
    rounds: usize,
    killed_mid_write: usize,
    killed_in_recovery: usize,
    flushed: usize,
    acknowledged: u64,
    unanswered: usize,
    keys_checked: usize,
    directories_verified: usize,
    trees_compared: usize,
    drains: u64,
    /// Runs that a kill found unfinished, so that the next start took their records from the log.
    interrupted_runs: u64,
    compactions: u64,
    recycled: u64,
    reaped: u64,
}

/// The rounds of one set: a directory, what must be in it, and chance.
struct Rounds {
    directory: Directory,
    /// Below it.
    data: PathBuf,
    partitions: usize,
    ledgers: Vec<Ledger>,
    random: Random,
    killed: Instant,
    looks_always: bool,
    tally: Tally,
}

#[test]
fn acknowledged_writes_survive_kill_9() {
    let rounds: usize =
        std::env::var("ANNULUS_KILL_ROUNDS").map_or(4, |text| text.parse().expect("ANNULUS_KILL_ROUNDS is a number"));
    let seed = Random::seed_from_environment();
    let mut set = Rounds::new(seed);
    eprintln!("kill rounds: {rounds}, partitions: {}, ANNULUS_SEED={seed}", set.partitions);
    let mut node = set.options(processors().min(2)).start();
    for round in 0..rounds {
        node = set.one_round(node).unwrap_or_else(|what| panic!("round {round}, seed {seed}: {what}"));
    }
    set.end(node).unwrap_or_else(|what| panic!("at the end, seed {seed}: {what}"));
    let tally = &set.tally;
    eprintln!("{tally:?}");
    assert!(tally.killed_mid_write > 0, "no kill hit a write under way: {tally:?}");
    assert!(tally.acknowledged > 0 && tally.keys_checked > 0, "nothing was checked: {tally:?}");
    assert!(tally.directories_verified > 0 && tally.trees_compared > 0, "no files were looked at: {tally:?}");
    assert!(tally.drains > 0 && tally.compactions > 0 && tally.recycled > 0, "nothing turned over: {tally:?}");
}

impl Rounds {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        // Many partitions of few keys, and few of many.
        let partitions = [64, 256, 1024][random.below(3) as usize];
        let directory = Directory::new("kill");
        let configuration = directory.path().join("annulus.toml");
        std::fs::write(configuration, format!("partitions = {partitions}\n")).expect("the directory can be written");
        Rounds {
            data: directory.path().join("data"),
            directory,
            partitions,
            ledgers: (0..WRITERS).map(|writer| Ledger::new(writer, KEYS_PER_WRITER)).collect(),
            random,
            killed: Instant::now(),
            looks_always: std::env::var_os("ANNULUS_KILL_LOOKS").is_some_and(|value| value == "all"),
            tally: Tally::default(),
        }
    }

    fn options(&self, cores: usize) -> Options {
        let configuration = self.directory.path().join("annulus.toml");
        let log = format!("{}MiB", cores * LOG_MIB_PER_CORE);
        let options = Options::new(&self.data).cores(cores).argument("--hot-log-bytes").argument(&log);
        options.argument("--config").argument(&configuration.to_string_lossy())
    }

    /// Load, death, another start, and what is there then.
    fn one_round(&mut self, mut node: Node) -> Result<Node, String> {
        self.load_and_kill(&mut node);
        self.tally.rounds += 1;
        // The first round is looked at in any case.
        let is_looked_at = self.looks_always || self.tally.rounds == 1 || self.random.one_in(ROUNDS_PER_LOOK);
        if is_looked_at {
            inspect::verify(&self.data)?;
            self.tally.directories_verified += 1;
        }
        let node = self.restart();
        self.verify(&node)?;
        if is_looked_at {
            self.compare_trees(&node)?;
        }
        Ok(node)
    }

    /// After the last round: a clean stop loses nothing, and what is left on the disk is sound.
    fn end(&mut self, mut node: Node) -> Result<(), String> {
        self.compare_trees(&node)?;
        let roots = figures::roots(&mut node.client());
        node.stop();
        inspect::verify(&self.data)?;
        if inspect::roots(&self.data)? != roots {
            return Err("the files of the stopped node have other hash trees than it had".into());
        }
        let node = self.options(processors().min(2)).start();
        self.verify(&node)
    }

    /// Every writer sends until the node dies, which happens after a random number of acknowledgements.
    fn load_and_kill(&mut self, node: &mut Node) {
        let (mut client, started) = (node.client(), Instant::now());
        if self.random.one_in(ROUNDS_PER_FLUSH) {
            client.words("FLUSHALL").expect_ok();
            self.ledgers.iter_mut().for_each(Ledger::flush);
            self.tally.flushed += 1;
        }
        let ledgers = std::mem::take(&mut self.ledgers);
        // The base port forwards; a core's port may answer MOVED, which is for cluster clients.
        let writers = Writers::start(node.port, ledgers, &mut self.random);
        let most = if self.random.one_in(ROUNDS_PER_LOOK) { WRITES_FEW } else { WRITES_MAX };
        let target = 1 + self.random.below(most);
        wait_until("writes to be acknowledged", || {
            assert!(!writers.has_ended(), "a writer ended early");
            let acknowledged = writers.acknowledged();
            acknowledged >= target || (acknowledged > 0 && started.elapsed() > LOAD_MAX)
        });
        if self.tally.rounds == 0 {
            // Whatever chance does in so few rounds, files that turned over are there from the first one on.
            wait_until("the log to be drained and partitions to be compacted", || {
                let figures = Figures::of(&mut client);
                ["drains", "compactions", "segments_recycled"].iter().all(|name| figures.get(name) > 0)
            });
        }
        let figures = Figures::of(&mut client);
        // The answer came at a quiet moment of its core; what follows is not.
        std::thread::sleep(Duration::from_micros(self.random.below(20_000)));
        node.kill();
        self.killed = Instant::now();
        self.tally.acknowledged += writers.acknowledged();
        self.ledgers = writers.join();
        let unanswered: usize = self.ledgers.iter().map(Ledger::unanswered).sum();
        self.tally.unanswered += unanswered;
        self.tally.killed_mid_write += usize::from(unanswered > 0);
        self.count(&figures);
    }

    /// Adds up what a node did until now; each start counts from zero.
    fn count(&mut self, figures: &Figures) {
        self.tally.drains += figures.get("drains");
        self.tally.compactions += figures.get("compactions");
        self.tally.recycled += figures.get("segments_recycled");
        self.tally.reaped += figures.get("tombstones_reaped");
    }

    /// Starts it again on the same directory, now and then with another number of cores or after a kill in recovery.
    fn restart(&mut self) -> Node {
        if self.random.one_in(3) {
            let cores = self.cores();
            let mut node = self.options(cores).spawn();
            std::thread::sleep(Duration::from_millis(self.random.below(120)));
            node.kill();
            self.tally.killed_in_recovery += 1;
        }
        let cores = self.cores();
        let node = self.options(cores).start();
        self.tally.interrupted_runs += interrupted_runs(&node.said());
        node
    }

    /// One or two.
    fn cores(&mut self) -> usize {
        1 + self.random.below(processors().min(2) as u64) as usize
    }

    /// Every key holds what it may hold, for as long as it may, and there are no others.
    fn verify(&mut self, node: &Node) -> Result<(), String> {
        std::thread::sleep(SHORT_LIFE.saturating_sub(self.killed.elapsed()));
        let mut client = node.client();
        for ledger in &mut self.ledgers {
            let mut bytes = Vec::new();
            for index in 0..ledger.len() {
                encode(&mut bytes, &[b"GET", &ledger.key(index)]);
                encode(&mut bytes, &[b"TTL", &ledger.key(index)]);
            }
            send_aside(client.writer(), bytes);
            for index in 0..ledger.len() {
                let reply = client.read_reply().map_err(|error| error.to_string())?;
                let seconds = client.read_reply().map_err(|error| error.to_string())?.integer();
                let found = if reply.is_null() { None } else { Some(reply.bytes()) };
                let name = String::from_utf8_lossy(&ledger.key(index)).into_owned();
                let state = ledger.observe(index, found).map_err(|what| format!("{name} {what}"))?;
                if !is_life_left(ledger, state, seconds) {
                    return Err(format!("{name} holds {state:?}, and its TTL is {seconds}"));
                }
                self.tally.keys_checked += 1;
            }
            ledger.settle();
        }
        self.verify_names(&mut client)
    }

    /// KEYS and DBSIZE know the keys that are present, and no others.
    fn verify_names(&self, client: &mut Client) -> Result<(), String> {
        let expected: BTreeSet<Vec<u8>> = self.ledgers.iter().flat_map(Ledger::present).collect();
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

    /// The files say of every partition what the idle node says.
    fn compare_trees(&mut self, node: &Node) -> Result<(), String> {
        let mut client = node.client();
        wait_for_rest(&mut client);
        let mut found = Vec::new();
        // What begins all the same between the looks is over at the next.
        for _ in 0..5 {
            let (mine, files) = (figures::roots(&mut client), inspect::roots(&self.data)?);
            let differs = |partition: &&u16| mine.get(partition) != files.get(partition);
            found = mine.keys().chain(files.keys()).filter(differs).copied().collect();
            if found.is_empty() {
                self.tally.trees_compared += 1;
                return Ok(());
            }
            wait_for_rest(&mut client);
        }
        Err(format!("the files have other hash trees than the node, of partitions {found:?}"))
    }
}

/// Whether what is left of a key's life is what its value was written with.
fn is_life_left(ledger: &Ledger, state: State, seconds: i64) -> bool {
    match state {
        State::Absent => seconds == -2,
        State::Written(number) if ledger.life(number) == Life::Long => {
            (1..=LONG_LIFE.as_secs() as i64).contains(&seconds)
        }
        State::Written(_) => seconds == -1,
    }
}

/// What the node's cores said that they found unfinished.
fn interrupted_runs(said: &str) -> u64 {
    let counts = said.split("interrupted_runs=").skip(1).map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().expect("a number of runs")
    });
    counts.sum()
}

/// Waits until no drain and no compaction goes on.
fn wait_for_rest(client: &mut Client) {
    let mut before = None;
    wait_until("drains and compactions to end", || {
        let now = Some(Figures::of(client).background());
        let rests = before == now;
        before = now;
        // Background work begins with a tick; those are 20 ms apart.
        std::thread::sleep(Duration::from_millis(100));
        rests
    });
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
