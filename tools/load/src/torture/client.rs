//! One client: a thread with one connection at a time, tied to one node while that answers.
//!
//! Invariant: one request is under way at a time, and every request that was due is counted once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::conversation::{Conversation, Failure};
use super::history::{History, Kind};
use super::workload::{Attempt, Keys, Own, Turn};
use crate::schedule::{Arrivals, Schedule};

/// How long a connection may take; nodes are near.
const CONNECT_PATIENCE: Duration = Duration::from_millis(250);
/// A node that did not answer is not tried again for so long, unless all are like that.
const AVOIDED: Duration = Duration::from_secs(2);
/// Waits between rounds of connecting, doubled from the least to the most.
const BACK_OFF_LEAST: Duration = Duration::from_millis(20);
const BACK_OFF_MOST: Duration = Duration::from_secs(1);

/// What all clients share.
#[derive(Debug)]
pub struct Shared {
    /// The nodes.
    pub endpoints: Vec<SocketAddr>,
    /// What is tried.
    pub kinds: Vec<Kind>,
    /// Keys in use.
    pub keys: Keys,
    /// When the run began.
    pub epoch: Instant,
    /// When it ends.
    pub end: Instant,
    /// How long a client waits for an answer.
    pub patience: Duration,
    /// Attempts a second of each client; `None` = as fast as answers come.
    pub rate: Option<f64>,
    /// Clients never go to another node than their own.
    pub stays: bool,
    /// Set when the run is over early, by a signal too.
    pub stopped: Arc<AtomicBool>,
    /// Attempts made so far, and at most.
    pub attempts: AtomicU64,
    /// See `attempts`.
    pub attempts_max: u64,
    /// Of everything random.
    pub seed: u64,
}

/// One request, in nanoseconds since the run began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Of what.
    pub kind: Kind,
    /// Read or write.
    pub attempt: Attempt,
    /// When it was due.
    pub due_ns: u64,
    /// When its client, which may have had to wait for an answer before, took it up.
    pub begun_ns: u64,
    /// When it ended.
    pub done_ns: u64,
    /// Why it was not done; `None` when it was.
    pub failure: Option<Failure>,
}

impl Made {
    /// Whether it was done.
    pub fn is_done(&self) -> bool {
        self.failure.is_none()
    }
}

/// What one client did and met.
#[derive(Debug, Default)]
pub struct Log {
    /// Writes by key.
    pub history: History,
    /// Its own keys, and what it read.
    pub own: Own,
    /// Every read and write, and every attempt that found no node as a write.
    pub made: Vec<Made>,
    /// The node that it was tied to, from each instant on.
    pub nodes: Vec<(u64, usize)>,
    /// Failed attempts by kind.
    pub errors: BTreeMap<String, u64>,
    /// Connections made after the first.
    pub reconnects: u64,
}

struct Client {
    shared: Arc<Shared>,
    number: u32,
    home: usize,
    random: StdRng,
    conversation: Option<Conversation>,
    connection: u64,
    avoided: Vec<Option<Instant>>,
    back_off: Duration,
    writes: u32,
    log: Log,
}

/// Runs client `number` until the run is over.
pub fn run(shared: Arc<Shared>, number: u32) -> Log {
    let nodes = shared.endpoints.len();
    let home = number as usize % nodes;
    let seed = shared.seed ^ (u64::from(number) << 32);
    let mut client = Client {
        number,
        home,
        random: StdRng::seed_from_u64(seed),
        conversation: None,
        connection: u64::from(number) << 32,
        avoided: vec![None; nodes],
        back_off: BACK_OFF_LEAST,
        writes: 0,
        log: Log { nodes: vec![(0, home)], ..Log::default() },
        shared,
    };
    client.run();
    client.log
}

impl Client {
    fn run(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut schedule =
            shared.rate.map(|rate| Schedule::new(Arrivals::Poisson, rate, self.now_ns(), &mut self.random));
        while Instant::now() < shared.end && !shared.stopped.load(Ordering::Relaxed) {
            let due_ns = match &mut schedule {
                None => self.now_ns(),
                Some(schedule) => {
                    let due = schedule.next_ns();
                    schedule.advance(&mut self.random);
                    due
                }
            };
            if !self.sleep_until(due_ns) {
                return;
            }
            if shared.attempts.fetch_add(1, Ordering::Relaxed) >= shared.attempts_max {
                shared.stopped.store(true, Ordering::Relaxed);
                return;
            }
            self.attempt(due_ns);
        }
    }

    /// False when the run is over before.
    fn sleep_until(&self, due_ns: u64) -> bool {
        let due = self.shared.epoch + Duration::from_nanos(due_ns);
        if due >= self.shared.end {
            return false;
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        true
    }

    fn attempt(&mut self, due_ns: u64) {
        let kind = self.shared.kinds[self.random.random_range(0..self.shared.kinds.len())];
        let begun_ns = self.now_ns();
        let mut made = Made { kind, attempt: Attempt::Write, due_ns, begun_ns, done_ns: 0, failure: None };
        let result = match self.connect() {
            Ok(()) => self.converse(&mut made),
            Err(failure) => Err(failure),
        };
        let failure = result.err();
        self.log.made.push(Made { done_ns: self.now_ns(), failure: failure.clone(), ..made });
        let Some(failure) = failure else { return };
        *self.log.errors.entry(failure.to_string()).or_insert(0) += 1;
        if failure == Failure::NotConnected {
            std::thread::sleep(self.back_off);
            self.back_off = (self.back_off * 2).min(BACK_OFF_MOST);
        } else if failure.ends_conversation() {
            self.conversation = None;
            let node = self.node();
            self.avoided[node] = (failure == Failure::Timeout).then(Instant::now);
        }
    }

    /// Makes an attempt over the connection that there is. A write that follows from a read is due when that is done, which
    /// then counts for itself.
    fn converse(&mut self, made: &mut Made) -> Result<(), Failure> {
        let mut turn = Turn {
            conversation: self.conversation.as_mut().expect("it is connected"),
            connection: self.connection,
            patience: self.shared.patience,
            epoch: self.shared.epoch,
            random: &mut self.random,
            client: self.number,
            number: &mut self.writes,
            keys: &self.shared.keys,
            history: &mut self.log.history,
            own: &mut self.log.own,
            doing: Attempt::Write,
            read_done_ns: None,
        };
        let result = turn.attempt(made.kind);
        made.attempt = turn.doing;
        if let Some(done_ns) = turn.read_done_ns {
            self.log.made.push(Made { attempt: Attempt::Read, done_ns, ..made.clone() });
            (made.due_ns, made.begun_ns) = (done_ns, done_ns);
        }
        result
    }

    /// Makes sure of a connection: the home node first, then the others in their order.
    fn connect(&mut self) -> Result<(), Failure> {
        if self.conversation.is_some() {
            return Ok(());
        }
        let nodes = self.shared.endpoints.len();
        let others = if self.shared.stays { 1 } else { nodes };
        let order: Vec<usize> = (0..others).map(|step| (self.home + step) % nodes).collect();
        let is_avoided = |node: &usize| self.avoided[*node].is_some_and(|since| since.elapsed() < AVOIDED);
        let (last, first): (Vec<usize>, Vec<usize>) = order.into_iter().partition(is_avoided);
        for node in first.into_iter().chain(last) {
            let Ok(conversation) = Conversation::open(self.shared.endpoints[node], CONNECT_PATIENCE) else {
                continue;
            };
            self.conversation = Some(conversation);
            self.connection += 1;
            self.back_off = BACK_OFF_LEAST;
            self.log.reconnects += u64::from(!self.log.made.is_empty());
            if node != self.node() {
                let now = self.now_ns();
                self.log.nodes.push((now, node));
            }
            return Ok(());
        }
        Err(Failure::NotConnected)
    }

    /// The node that it is tied to.
    fn node(&self) -> usize {
        self.log.nodes.last().expect("it begins with its home").1
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.shared.epoch.elapsed().as_nanos()).expect("a run is shorter than 500 years")
    }
}
