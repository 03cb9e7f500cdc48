//! What one attempt of each workload does, over one connection.
//!
//! Invariant: every write that left is in the history, however it ended.

mod delete;
mod register;
mod set;
mod siblings;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;

use super::conversation::{Answer, Conversation, Failure};
use super::history::{History, Id, Key, Kind, NEVER, Outcome, Sibling, Write};

pub use delete::Own;

/// Writes of a key before the next generation takes its place. A set grows with every write; a register shows only its last
/// value, and the fewer come before it the more ends are compared.
fn writes_per_key(kind: Kind) -> u64 {
    match kind {
        Kind::Set => 100,
        Kind::Siblings => 40,
        Kind::Register => 12,
        Kind::Delete => 8,
    }
}

/// The keys that are in use, shared by all clients.
#[derive(Debug)]
pub struct Keys {
    /// Attempts so far, by kind and slot.
    counts: Vec<Vec<AtomicU64>>,
    /// Keeps runs apart.
    pub run: String,
}

impl Keys {
    /// `slots` keys of each kind.
    pub fn new(run: String, slots: u32) -> Self {
        assert!(slots > 0, "there is a key");
        let counts = |_| (0..slots).map(|_| AtomicU64::new(0)).collect();
        Self { counts: Kind::ALL.iter().map(counts).collect(), run }
    }

    /// A key for one more write.
    fn pick(&self, kind: Kind, random: &mut StdRng) -> Key {
        let place = Kind::ALL.iter().position(|other| *other == kind).expect("a kind is one of all");
        let slot = random.random_range(0..self.slots());
        let count = self.counts[place][slot as usize].fetch_add(1, Ordering::Relaxed);
        let generation = u32::try_from(count / writes_per_key(kind)).expect("runs are bounded");
        Key { kind, slot, generation }
    }

    fn slots(&self) -> u32 {
        u32::try_from(self.counts[0].len()).expect("it was made of a u32")
    }
}

/// What an attempt was, or how far it came: what is written from what was read is a read first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// A read.
    Read,
    /// A write or delete.
    Write,
}

/// One attempt's surroundings.
pub struct Turn<'a> {
    /// The connection.
    pub conversation: &'a mut Conversation,
    /// Its number, unlike any other's.
    pub connection: u64,
    /// How long the client waits for an answer.
    pub patience: Duration,
    /// When the run began.
    pub epoch: Instant,
    /// The client's.
    pub random: &'a mut StdRng,
    /// The client's number.
    pub client: u32,
    /// The number of the client's last write.
    pub number: &'a mut u32,
    /// The keys of everybody.
    pub keys: &'a Keys,
    /// What this client did.
    pub history: &'a mut History,
    /// What this client knows of its own keys.
    pub own: &'a mut Own,
    /// What is being done.
    pub doing: Attempt,
    /// When the read of a read and a write had its answer, in nanoseconds since the run began.
    pub read_done_ns: Option<u64>,
}

/// What is to be written.
struct Draft {
    key: Key,
    id: Option<Id>,
    seen: Vec<Id>,
    is_blind: bool,
}

impl Turn<'_> {
    /// Makes one attempt; `doing` says what it was, or in what it failed.
    pub fn attempt(&mut self, kind: Kind) -> Result<(), Failure> {
        match kind {
            Kind::Set => set::attempt(self),
            Kind::Siblings => siblings::attempt(self),
            Kind::Register => register::attempt(self),
            Kind::Delete => delete::attempt(self),
        }
    }

    fn ask(&mut self, arguments: &[&[u8]]) -> Result<Answer, Failure> {
        self.conversation.ask(arguments, Instant::now() + self.patience)
    }

    /// A fresh identifier.
    fn next_id(&mut self) -> Id {
        *self.number = self.number.checked_add(1).expect("runs are bounded");
        Id { client: self.client, number: *self.number }
    }

    /// All siblings of a key, with their context.
    fn versions(&mut self, key: Key) -> Result<(Vec<u8>, Vec<Sibling>), Failure> {
        self.read(key, &[])
    }

    /// The same for whoever can do with less: where fewer than R owners answer, what one has.
    fn versions_of_any(&mut self, key: Key) -> Result<(Vec<u8>, Vec<Sibling>), Failure> {
        match self.read(key, &[]) {
            Err(Failure::Refused(code)) if code == "TRYAGAIN" => self.read(key, &[b"R", b"1"]),
            result => result,
        }
    }

    fn read(&mut self, key: Key, options: &[&[u8]]) -> Result<(Vec<u8>, Vec<Sibling>), Failure> {
        self.doing = Attempt::Read;
        let deadline = Instant::now() + self.patience;
        let versions = versions(self.conversation, (key, options), &self.keys.run, deadline)?;
        self.read_done_ns = Some(self.now_ns());
        Ok(versions)
    }

    /// Sends a write, and notes it and its end.
    fn write(&mut self, draft: Draft, arguments: &[&[u8]]) -> Result<Answer, Failure> {
        self.doing = Attempt::Write;
        let began_ns = self.now_ns();
        let answer = self.ask(arguments);
        let outcome = match &answer {
            Ok(_) => Outcome::Acknowledged,
            Err(failure) if failure.is_refusal() => Outcome::Refused,
            Err(_) => Outcome::InDoubt,
        };
        let ended_ns = if outcome == Outcome::InDoubt { NEVER } else { self.now_ns() };
        let Draft { key, id, seen, is_blind } = draft;
        let write = Write { id, seen, is_blind, connection: self.connection, began_ns, ended_ns, outcome };
        self.history.push(key, write);
        answer
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).expect("a run is shorter than 500 years")
    }
}

/// Asks for all siblings of a key, with these options: the context first, then the values.
pub fn versions(
    conversation: &mut Conversation,
    (key, options): (Key, &[&[u8]]),
    run: &str,
    deadline: Instant,
) -> Result<(Vec<u8>, Vec<Sibling>), Failure> {
    let name = key.name(run);
    let arguments: Vec<&[u8]> = [b"DYN.GET", &name[..]].into_iter().chain(options.iter().copied()).collect();
    let Answer::Values(values) = conversation.ask(&arguments, deadline)? else {
        return Err(Failure::Malformed);
    };
    let mut values = values.into_iter();
    let context = values.next().ok_or(Failure::Malformed)?;
    Ok((context, values.map(|value| Sibling::read(key, &value)).collect()))
}

/// What a GET shows.
pub fn shown(conversation: &mut Conversation, key: Key, run: &str, deadline: Instant) -> Result<Vec<Sibling>, Failure> {
    match conversation.ask(&[b"GET", &key.name(run)], deadline)? {
        Answer::Bulk(value) => Ok(vec![Sibling::read(key, &value)]),
        Answer::Null => Ok(Vec::new()),
        _ => Err(Failure::Malformed),
    }
}
