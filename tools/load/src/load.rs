//! The load of one thread, apart from sockets: bytes and time in, bytes out.
//!
//! A request is wanted when it is due, and placed on a connection as soon as one has room. Its latency counts from the
//! instant at which it was due, so a server that stalls is seen at its full length.
//!
//! Invariant: `outstanding` is what all connections wait for; with the backlog it is bounded.

use std::collections::VecDeque;

use annulus_net::ring::ConnectionId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::connection::{Connection, Outstanding, Step};
use crate::content::{Content, head};
use crate::endpoints::Endpoints;
use crate::ledger::Ledger;
use crate::reply::{Malformed, Reply};
use crate::schedule::{Schedule, Source};
use crate::settings::{Mode, Settings};
use crate::tally::Tally;
use crate::workload::{KeyChoice, Operation, mix};

/// Requests that may wait for room on a connection; what is due beyond is an error.
const BACKLOG_MAX: usize = 1 << 20;

#[derive(Debug, Clone, Copy)]
struct Wanted {
    due_ns: u64,
    local: u64,
    operation: Operation,
    measured: bool,
}

/// Where a request can go.
enum Place {
    Connection(usize),
    /// All that it may use are full.
    Full,
    /// None is there.
    Absent,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placed {
    Sent,
    /// It waits for room.
    Later,
    /// It was counted as an error.
    Nowhere,
}

/// One thread's load.
pub struct Load {
    thread: u64,
    threads: u64,
    endpoints: Endpoints,
    connections: Vec<Connection>,
    /// Connections by the ring's number.
    by_id: Vec<usize>,
    of_endpoint: Vec<Vec<usize>>,
    /// Where the search for room begins, by endpoint.
    cursors: Vec<usize>,
    /// Connections that just got a reply, and so have room; used where every connection shall have as many under way.
    hungry: Vec<usize>,
    prefers_hungry: bool,
    room: usize,
    /// A key's requests all go over one connection.
    pinned: bool,
    content: Content,
    choice: KeyChoice,
    settings: Settings,
    random: StdRng,
    backlog: VecDeque<Wanted>,
    outstanding: usize,
    key: Vec<u8>,
    /// What follows every SET: nothing, or a WAIT.
    wait: Vec<u8>,
    /// Requests that may still be made.
    remaining: u64,
    /// Requests due from here to there are counted.
    measured: std::ops::Range<u64>,
    /// Of requests that are not counted.
    pub setup_errors: Tally,
    /// Of those that are.
    pub tally: Tally,
    /// What is known of the keys, when values are checked.
    pub ledger: Option<Ledger>,
    /// Connections that have something to send.
    pub dirty: Vec<usize>,
}

impl Load {
    /// The load of one thread; its connections are not there yet.
    pub fn new(settings: &Settings, endpoints: &Endpoints, thread: u32) -> Self {
        let count = usize::try_from(settings.part(u64::from(settings.connections), thread)).expect("a u32");
        let spread = endpoints.addresses().len();
        let connections: Vec<Connection> =
            (0..count.max(spread)).map(|number| Connection::new((number + thread as usize) % spread)).collect();
        let mut of_endpoint = vec![Vec::new(); spread];
        connections.iter().enumerate().for_each(|(index, one)| of_endpoint[one.endpoint].push(index));
        let keys = settings.part(settings.keys, thread).max(1);
        let uneven = endpoints.is_cluster() || settings.verify;
        Self {
            thread: u64::from(thread),
            threads: u64::from(settings.threads),
            cursors: vec![0; spread],
            by_id: Vec::new(),
            of_endpoint,
            hungry: Vec::new(),
            prefers_hungry: settings.mode == Mode::Closed && !uneven,
            // Where the key decides the connection, some get more than others for a while.
            room: settings.pipeline as usize * if uneven { 2 } else { 1 },
            pinned: settings.verify,
            content: Content::new(settings.key_sizes, settings.value_sizes),
            choice: KeyChoice::new(&settings.workload, keys),
            random: StdRng::seed_from_u64(settings.seed ^ mix(u64::from(thread))),
            backlog: VecDeque::new(),
            outstanding: 0,
            key: Vec::new(),
            wait: settings.wait_behind_a_write(),
            remaining: settings.count.map_or(u64::MAX, |count| settings.part(count, thread)),
            measured: 0..0,
            setup_errors: Tally::default(),
            tally: Tally::default(),
            ledger: settings.verify.then(Ledger::default),
            dirty: Vec::new(),
            endpoints: endpoints.clone(),
            connections,
            settings: settings.clone(),
        }
    }

    /// Counts what is due in this time from now on.
    pub fn measure(&mut self, measured: std::ops::Range<u64>) {
        self.measured = measured;
    }

    /// The workload from an instant on, for the mode.
    pub fn source(&mut self, start_ns: u64) -> Source {
        match self.settings.mode {
            Mode::Open { rate, arrivals } => {
                let rate = rate / self.threads as f64;
                Source::Scheduled(Schedule::new(arrivals, rate, start_ns, &mut self.random))
            }
            Mode::Closed => Source::Windowed(self.connections.len() * self.settings.pipeline as usize),
        }
    }

    /// Keys of this thread when it began.
    pub fn keys(&self) -> u64 {
        self.settings.part(self.settings.keys, u32::try_from(self.thread).expect("made from a u32"))
    }

    /// Requests under way or waiting for room.
    pub fn pending(&self) -> usize {
        self.outstanding + self.backlog.len()
    }

    /// True when the count of requests is reached.
    pub fn is_exhausted(&self) -> bool {
        self.remaining == 0
    }

    /// All connections.
    pub fn connections(&mut self) -> &mut [Connection] {
        &mut self.connections
    }

    /// A lost or new connection is there.
    pub fn on_connected(&mut self, index: usize, id: ConnectionId) {
        self.connections[index].id = Some(id);
        if self.by_id.len() <= id.index() {
            self.by_id.resize(id.index() + 1, usize::MAX);
        }
        self.by_id[id.index()] = index;
        self.feed(index);
    }

    fn feed(&mut self, index: usize) {
        if self.prefers_hungry {
            self.hungry.push(index);
        }
    }

    /// The connection with the ring's number, unless it was lost.
    pub fn of_id(&self, id: ConnectionId) -> Option<usize> {
        let index = *self.by_id.get(id.index())?;
        (self.connections.get(index)?.id == Some(id)).then_some(index)
    }

    /// A connection is gone: what it waited for is an error of this kind.
    pub fn on_lost(&mut self, index: usize, kind: &str) {
        let lost = self.connections[index].lose();
        self.outstanding -= lost.len();
        for one in lost.into_iter().filter(|one| one.step != Step::Refused) {
            // Only here the end of a write is unknown; one that was refused comes before whatever is acknowledged later.
            if let (Step::Set { sequence }, Some(ledger)) = (one.step, &mut self.ledger) {
                ledger.doubt_write(one.local, sequence);
            }
            self.count_error(one.measured, kind);
        }
    }

    /// Ends what is still under way as an error of this kind.
    pub fn abandon(&mut self, kind: &str) {
        for index in 0..self.connections.len() {
            self.on_lost(index, kind);
        }
        for wanted in std::mem::take(&mut self.backlog) {
            self.count_error(wanted.measured, kind);
        }
    }

    /// Bytes came for a connection.
    pub fn on_received(&mut self, index: usize, bytes: &[u8], now_ns: u64) -> Result<(), Malformed> {
        // Taken out, so that its replies may touch everything else.
        let endpoint = self.connections[index].endpoint;
        let mut connection = std::mem::replace(&mut self.connections[index], Connection::new(endpoint));
        let result = connection.receive(bytes, |connection, oldest, reply| {
            self.outstanding -= 1;
            self.on_reply(connection, index, oldest, reply, now_ns);
        });
        self.connections[index] = connection;
        self.feed(index);
        result
    }

    fn on_reply(&mut self, connection: &mut Connection, index: usize, one: Outstanding, reply: Reply<'_>, now_ns: u64) {
        if one.step == Step::Refused {
            return;
        }
        if let Reply::Error(text) = reply {
            let word = text.split(|byte| *byte == b' ').next().unwrap_or_default();
            if matches!(one.step, Step::Set { .. }) && self.settings.wait > 0 {
                connection.outstanding.push_front(Outstanding { step: Step::Refused, ..one });
                self.outstanding += 1;
            }
            return self.count_error(one.measured, &String::from_utf8_lossy(word));
        }
        match (one.step, reply) {
            (Step::Get { at_least }, Reply::Bulk(_) | Reply::Null) => {
                let key = self.global(one.local);
                if let Some(ledger) = &mut self.ledger {
                    let found = if let Reply::Bulk(value) = reply { Some(value) } else { None };
                    ledger.finish_read(one.local, key, at_least, found);
                }
            }
            (Step::Set { sequence }, Reply::Status(b"OK")) => {
                if let Some(ledger) = &mut self.ledger {
                    ledger.finish_write(one.local, sequence);
                }
                if self.settings.wait > 0 {
                    // It left with the SET, so the next reply is its own.
                    connection.outstanding.push_front(Outstanding { step: Step::Wait, ..one });
                    self.outstanding += 1;
                    return;
                }
            }
            (Step::Wait, Reply::Integer(copies)) if copies >= i64::from(self.settings.wait) => {}
            (Step::Wait, Reply::Integer(_)) => return self.count_error(one.measured, "too-few-copies"),
            _ => return self.count_error(one.measured, "unexpected-reply"),
        }
        if one.operation == Operation::ReadThenWrite && matches!(one.step, Step::Get { .. }) {
            self.make_key(one.local);
            let step = self.encode_set(connection, one.local);
            return self.sent(connection, index, Outstanding { step, ..one });
        }
        if one.measured {
            self.tally.reply(one.operation, now_ns.saturating_sub(one.due_ns));
        }
    }

    fn count_error(&mut self, measured: bool, kind: &str) {
        if measured { self.tally.error(kind) } else { self.setup_errors.error(kind) }
    }

    /// Makes the requests that are due now.
    pub fn offer(&mut self, source: &mut Source, now_ns: u64) {
        while let Some(wanted) = self.backlog.pop_front() {
            if self.place(wanted, now_ns, true) == Placed::Later {
                break;
            }
        }
        loop {
            let due_ns = match source {
                Source::Nothing => return,
                Source::Each { next, end, operation, window } => {
                    if next == end || self.pending() >= *window {
                        return;
                    }
                    let wanted = Wanted { due_ns: now_ns, local: *next, operation: *operation, measured: false };
                    *next += 1;
                    self.place(wanted, now_ns, false);
                    continue;
                }
                Source::Scheduled(schedule) if schedule.next_ns() <= now_ns => {
                    let due_ns = schedule.next_ns();
                    schedule.advance(&mut self.random);
                    due_ns
                }
                Source::Windowed(window) if self.pending() < *window => now_ns,
                Source::Scheduled(_) | Source::Windowed(_) => return,
            };
            if self.remaining == 0 || (!self.measured.is_empty() && due_ns >= self.measured.end) {
                return;
            }
            let placed = self.want(due_ns, now_ns);
            if placed == Placed::Nowhere && matches!(source, Source::Windowed(_)) {
                // No reply will make room; the next turn tries again.
                return;
            }
        }
    }

    fn want(&mut self, due_ns: u64, now_ns: u64) -> Placed {
        let operation = self.settings.workload.operation(&mut self.random);
        let local = match operation {
            Operation::Insert => self.choice.insert(),
            _ => self.choice.existing(&mut self.random),
        };
        let measured = self.measured.contains(&due_ns);
        if measured {
            self.remaining -= 1;
            self.tally.due += 1;
        }
        self.place(Wanted { due_ns, local, operation, measured }, now_ns, false)
    }

    /// Sends a request, or keeps it for later.
    fn place(&mut self, wanted: Wanted, now_ns: u64, waited: bool) -> Placed {
        self.make_key(wanted.local);
        let index = match self.find_place(wanted.local) {
            Place::Connection(index) => index,
            Place::Absent => {
                self.count_error(wanted.measured, "not-connected");
                return Placed::Nowhere;
            }
            Place::Full if self.backlog.len() >= BACKLOG_MAX => {
                self.count_error(wanted.measured, "too-far-behind");
                return Placed::Nowhere;
            }
            Place::Full if waited => {
                self.backlog.push_front(wanted);
                return Placed::Later;
            }
            Place::Full => {
                self.backlog.push_back(wanted);
                return Placed::Later;
            }
        };
        let Wanted { due_ns, local, operation, measured } = wanted;
        if measured && !waited {
            self.tally.lateness.saturating_record(now_ns - due_ns);
        }
        let endpoint = self.connections[index].endpoint;
        let mut connection = std::mem::replace(&mut self.connections[index], Connection::new(endpoint));
        let step = match operation {
            Operation::Read | Operation::ReadThenWrite => {
                connection.out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
                connection.out.extend_from_slice(&self.key);
                Step::Get { at_least: self.ledger.as_mut().map_or(0, |ledger| ledger.start_read(local)) }
            }
            Operation::Update | Operation::Insert => self.encode_set(&mut connection, local),
        };
        self.sent(&mut connection, index, Outstanding { due_ns, local, operation, step, measured });
        self.connections[index] = connection;
        Placed::Sent
    }

    fn encode_set(&mut self, connection: &mut Connection, local: u64) -> Step {
        let sequence = self.ledger.as_mut().map_or(0, |ledger| ledger.start_write(local));
        head(b'*', 3, &mut connection.out);
        connection.out.extend_from_slice(b"$3\r\nSET\r\n");
        connection.out.extend_from_slice(&self.key);
        let (key, draw) = (self.global(local), self.random.random());
        self.content.value(key, sequence, draw, self.ledger.is_some(), &mut connection.out);
        connection.out.extend_from_slice(&self.wait);
        Step::Set { sequence }
    }

    fn sent(&mut self, connection: &mut Connection, index: usize, one: Outstanding) {
        connection.outstanding.push_back(one);
        self.outstanding += 1;
        if !std::mem::replace(&mut connection.dirty, true) {
            self.dirty.push(index);
        }
    }

    /// The number by which everybody knows a key of this thread.
    fn global(&self, local: u64) -> u64 {
        local * self.threads + self.thread
    }

    fn make_key(&mut self, local: u64) {
        self.key.clear();
        self.content.key(self.global(local), &mut self.key);
    }

    fn find_place(&mut self, local: u64) -> Place {
        let endpoint = match self.endpoints.is_cluster() {
            true => self.endpoints.of_key(argument(&self.key)),
            false => 0,
        };
        let has_room = |one: &Connection| one.id.is_some() && one.outstanding.len() < self.room;
        let candidates = &self.of_endpoint[endpoint];
        if self.pinned {
            let number = usize::try_from(mix(local) % candidates.len() as u64).expect("a number of connections");
            let one = &self.connections[candidates[number]];
            return match one.id {
                None => Place::Absent,
                Some(_) if has_room(one) => Place::Connection(candidates[number]),
                Some(_) => Place::Full,
            };
        }
        while let Some(index) = self.hungry.pop() {
            let one = &self.connections[index];
            if has_room(one) && one.endpoint == endpoint {
                // It may have room for more.
                self.hungry.push(index);
                return Place::Connection(index);
            }
        }
        let start = self.cursors[endpoint];
        let mut places = (0..candidates.len()).map(|at| (start + at) % candidates.len());
        match places.find(|at| has_room(&self.connections[candidates[*at]])) {
            Some(at) => {
                self.cursors[endpoint] = at + 1;
                Place::Connection(candidates[at])
            }
            None if candidates.iter().any(|index| self.connections[*index].id.is_some()) => Place::Full,
            None => Place::Absent,
        }
    }
}

/// The bytes of an encoded argument.
fn argument(encoded: &[u8]) -> &[u8] {
    let start = encoded.iter().position(|byte| *byte == b'\n').expect("it begins with its length") + 1;
    &encoded[start..encoded.len() - 2]
}
