//! Running a command on the core that owns its key, and what it may have to wait for: the disk, a commit, another command
//! that holds the key, or room in the engine's buffers.

use std::rc::Rc;
use std::sync::LazyLock;

use annulus_engine::{Disk, Key, ReadError, ReadPlan, Record};
use annulus_net::resp::Protocol;

use super::dispatch::is_muted;
use super::{Reading, ShardLoop};
use crate::commands::data::{Data, EngineKeys, Outcome};
use crate::commands::session::{self, CorePart};
use crate::commands::table::{self, Command, Group, Route, Row};
use crate::commands::{self, Args, dynamo};
use crate::consistency::Asker;
use crate::core_facts::CoreFacts;
use crate::logging::panics;
use crate::metrics::Family;
use crate::session::Session;
use crate::snapshot::parse_directory;
use crate::waiting::{Parked, ReplyTo};

/// What a command's record turned out to be.
pub(super) type Fetched = Result<Rc<Record>, ReadError>;

/// What every served command is about.
static FAMILIES: LazyLock<Vec<Family>> = LazyLock::new(|| {
    let mut families = vec![Family::Server; Command::COUNT];
    for row in table::served().flat_map(|row| std::iter::once(row).chain(row.subcommands)) {
        if let Some(command) = row.command() {
            families[command.index()] = family_of(row, command);
        }
    }
    families
});

fn family_of(row: &Row, command: Command) -> Family {
    match (row.group, command) {
        (_, Command::Scan | Command::Keys | Command::RandomKey | Command::DbSize) => Family::Scan,
        (Group::Connection, _) => Family::Connection,
        (Group::Server, _) => Family::Server,
        (Group::Cluster, _) => Family::Cluster,
        _ if row.writes() => Family::Write,
        (Group::String, _) => Family::Read,
        _ => Family::Key,
    }
}

/// One command to run here.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) row: &'static Row,
    pub(super) protocol: Protocol,
    pub(super) asker: Asker,
    pub(super) partition: u16,
    pub(super) args: Args<'a>,
}

impl<'a> Request<'a> {
    /// A command that waited, with its arguments.
    pub(super) fn of(parked: &Parked, args: Args<'a>) -> Self {
        let Parked { row, protocol, asker, partition, .. } = *parked;
        Self { row, protocol, asker, partition, args }
    }

    /// Whether its reply is to carry the key's context as an attribute.
    #[inline]
    pub(super) fn carries_context(&self) -> bool {
        let consistency = self.asker.consistency;
        consistency.attributes && self.row.command().is_some_and(|command| dynamo::has_attribute(command, consistency))
    }

    pub(super) fn park(&self, to: ReplyTo) -> Parked {
        Parked::new(self.row, (self.protocol, self.asker), to, self.partition, self.args)
    }
}

/// Whether a command shows a core's part in the cluster.
fn tells_facts(command: Command) -> bool {
    matches!(command, Command::ClusterLinks | Command::DynAdminHints | Command::DynAdminSync)
}

impl<D: Disk> ShardLoop<D> {
    /// Runs a client's command on a key of this core; in the common case the reply is in its output afterwards.
    pub(super) fn run_for_session(
        &mut self,
        session: &mut Session,
        index: u32,
        row: &'static Row,
        key: &Key<'_>,
        args: Args<'_>,
    ) {
        let (protocol, asker) = session.reply_as();
        let request = Request { row, protocol, asker, partition: key.partition, args };
        if self.must_wait(key) {
            let to = self.reserve(session, index);
            return self.wait_for_key(key, request.park(to));
        }
        if self.needs_protocol(&request) {
            if !self.replication.has_room() {
                let to = self.reserve(session, index);
                return self.stalled.push_back(request.park(to));
            }
            return self.run_replicated_for_session((session, index), &request, key);
        }
        let muted = is_muted(session);
        let direct = if row.writes() || muted { None } else { session.replies.direct() };
        if let Some(out) = direct {
            let start = out.len();
            let outcome = self.run_once(&request, key, None, out);
            if matches!(outcome, Outcome::Done(None)) {
                return;
            }
            let reply = out.split_off(start);
            let to = self.reserve(session, index);
            return self.settle(outcome, &request, key, to, &reply);
        }
        let mut reply = std::mem::take(&mut self.scratch);
        reply.clear();
        match self.run_once(&request, key, None, &mut reply) {
            Outcome::Done(None) if muted => {}
            Outcome::Done(None) => session.replies.push(&reply),
            outcome => {
                let to = self.reserve(session, index);
                self.settle(outcome, &request, key, to, &reply);
            }
        }
        self.scratch = reply;
    }

    /// Runs a command whose reply goes anywhere.
    pub(super) fn run_request(&mut self, request: &Request<'_>, key: Option<&Key<'_>>, to: ReplyTo) {
        if !self.stalled.is_empty() {
            return self.stalled.push_back(request.park(to));
        }
        self.run_unstalled(request, key, to);
    }

    fn run_unstalled(&mut self, request: &Request<'_>, key: Option<&Key<'_>>, to: ReplyTo) {
        match request.row.route {
            Route::OneKey | Route::Gather(_) => {
                // A part of a multi-key command has its one key where a command on one key has it.
                let first = usize::from(request.row.keys.expect("a data command has a key").first);
                let key = match key {
                    Some(key) => *key,
                    None => self.store.engine().key(request.args[first], request.partition),
                };
                if self.must_wait(&key) {
                    return self.wait_for_key(&key, request.park(to));
                }
                if self.needs_protocol(request) {
                    if !self.replication.has_room() {
                        return self.stalled.push_back(request.park(to));
                    }
                    return self.run_replicated(request, &key, None, to);
                }
                self.run_and_settle(request, &key, None, to);
            }
            Route::Protocol if !self.replication.has_room() => self.stalled.push_back(request.park(to)),
            Route::Protocol => self.run_dynamo(request, to),
            // Commands on all keys see what the commands before them do, those that wait for a record included. In a cluster,
            // where that may be another node's, they see what is there.
            Route::Cursor | Route::EveryCore(_) | Route::Slot
                if self.replication.is_alone && !self.busy_keys.is_empty() =>
            {
                self.stalled.push_back(request.park(to));
            }
            Route::Cursor | Route::EveryCore(_) | Route::Slot if self.start_scan_of(request, to) => {}
            Route::Session | Route::EveryCore(_) | Route::Slot | Route::Cursor => self.run_core_part(request, to),
        }
    }

    /// Whether a command on a key goes to its owners: the engine alone knows neither other nodes nor contexts.
    #[inline]
    fn needs_protocol(&self, request: &Request<'_>) -> bool {
        !self.replication.is_alone || request.carries_context()
    }

    fn run_and_settle(&mut self, request: &Request<'_>, key: &Key<'_>, fetched: Option<&Fetched>, to: ReplyTo) {
        let mut reply = std::mem::take(&mut self.scratch);
        reply.clear();
        match self.run_once(request, key, fetched, &mut reply) {
            Outcome::Done(None) => self.deliver(to, &reply),
            outcome => self.settle(outcome, request, key, to, &reply),
        }
        self.scratch = reply;
    }

    /// One run of a data command.
    fn run_once(
        &mut self,
        request: &Request<'_>,
        key: &Key<'_>,
        fetched: Option<&Fetched>,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let command = request.row.command().expect("refused rows never get here");
        panics::enter_command(request.row.name);
        let mut data = Data {
            keys: EngineKeys { engine: self.store.engine_mut(), fetched },
            now_ms: self.now.unix_ms,
            protocol: request.protocol,
            hits: &mut self.hits,
            misses: &mut self.misses,
            out,
        };
        let start = data.out.len();
        let outcome = commands::run(command, &mut data, key, request.args);
        let reply = &data.out[start..];
        if reply.first() == Some(&b'-') {
            self.latency.record_failure(command, reply);
        }
        match outcome {
            Outcome::Done(_) => self.time_command(command, request.args),
            // It will be run again, and counts then.
            Outcome::Stall | Outcome::Read(_) | Outcome::Snapshot | Outcome::Ask | Outcome::Sent => self.start_timing(),
        }
        outcome
    }

    pub(super) fn time_command(&mut self, command: Command, args: Args<'_>) {
        let threshold = self.runtime.slowlog_slower_than_us;
        if !self.runtime.latency_tracking && threshold < 0 {
            self.counts.command(FAMILIES[command.index()], 0);
            return self.latency.record(command, 0);
        }
        let end = (self.steady_clock)();
        let nanos = end - std::mem::replace(&mut self.command_started_ns, end);
        self.latency.record(command, if self.runtime.latency_tracking { nanos } else { 0 });
        self.counts.command(FAMILIES[command.index()], nanos / 1000);
        if threshold >= 0 && nanos / 1000 >= threshold.unsigned_abs() {
            self.slowlog.push(self.now.unix_ms, nanos / 1000, args);
        }
    }

    /// Begins to time commands: what came before is no command's.
    pub(super) fn start_timing(&mut self) {
        self.command_started_ns = (self.steady_clock)();
    }

    /// Lets a command that is not done wait for what it needs; `reply` is what it would answer.
    fn settle(&mut self, outcome: Outcome, request: &Request<'_>, key: &Key<'_>, to: ReplyTo, reply: &[u8]) {
        match outcome {
            Outcome::Done(None) => self.deliver(to, reply),
            Outcome::Done(Some(commit)) => self.commits.push(commit, to, reply),
            Outcome::Stall => self.stalled.push_back(request.park(to)),
            Outcome::Read(plan) => self.read_for(&plan, request.park(to), request.row.writes().then_some(key.hash)),
            Outcome::Snapshot => unreachable!("no command on a key makes one"),
            Outcome::Ask | Outcome::Sent => unreachable!("the engine has the key's only copy"),
        }
    }

    fn read_for(&mut self, plan: &ReadPlan, parked: Parked, holds: Option<u128>) {
        let reading = self.readings.insert(Reading::Command { parked, holds });
        if self.store.engine_mut().start_read(plan, u64::from(reading)) {
            if let Some(hash) = holds {
                self.busy_keys.hold(hash);
            }
            return;
        }
        // Too many reads are in flight: nothing was held yet, so it simply runs again later.
        let Reading::Command { parked, .. } = self.readings.remove(reading) else {
            unreachable!("inserted above");
        };
        self.stalled.push_back(parked);
    }

    pub(super) fn must_wait(&self, key: &Key<'_>) -> bool {
        !self.busy_keys.is_empty() && self.busy_keys.is_held(key.hash)
    }

    pub(super) fn wait_for_key(&mut self, key: &Key<'_>, parked: Parked) {
        self.busy_keys.wait(key.hash, parked);
    }

    /// A record came from the disk.
    pub(super) fn on_read(&mut self, token: u64, result: Fetched) {
        let reading = u32::try_from(token).expect("tokens are numbers of readings");
        match self.readings.remove(reading) {
            Reading::Scan { scan, place } => self.on_scan_read(scan, place, result),
            Reading::Command { parked, holds } => {
                self.start_timing();
                let waiting = holds.map(|hash| self.busy_keys.release(hash));
                // What has stalled meanwhile came later than those that wait for this key.
                let mut later = std::mem::take(&mut self.stalled);
                self.rerun(&parked, &result);
                for next in waiting.into_iter().flatten() {
                    self.run_parked(&next);
                }
                self.stalled.append(&mut later);
            }
        }
    }

    fn rerun(&mut self, parked: &Parked, fetched: &Fetched) {
        let args = parked.arguments();
        let request = Request::of(parked, &args);
        let first = usize::from(parked.row.keys.expect("a data command has a key").first);
        let key = self.store.engine().key(args[first], parked.partition);
        self.run_and_settle(&request, &key, Some(fetched), parked.to);
    }

    /// Runs a command that waited.
    pub(super) fn run_parked(&mut self, parked: &Parked) {
        let args = parked.arguments();
        let request = Request::of(parked, &args);
        self.run_request(&request, None, parked.to);
    }

    /// Runs this core's parts of commands that its own clients sent.
    pub(super) fn run_local(&mut self) {
        if self.local.is_empty() {
            return;
        }
        self.start_timing();
        while let Some(parked) = self.local.pop_front() {
            self.run_parked(&parked);
        }
    }

    /// Runs again what found the engine's buffers full or the protocol without room, until one does again.
    pub(super) fn retry_stalled(&mut self) {
        // Without room each would be copied only to wait again.
        if self.stalled.is_empty() || !self.replication.has_room() {
            return;
        }
        self.start_timing();
        let mut waiting = std::mem::take(&mut self.stalled);
        while let Some(parked) = waiting.pop_front() {
            let args = parked.arguments();
            let request = Request::of(&parked, &args);
            self.run_unstalled(&request, None, parked.to);
            if !self.stalled.is_empty() {
                break;
            }
        }
        self.stalled.append(&mut waiting);
    }

    /// This core's part of a command on the node or the database.
    fn run_core_part(&mut self, request: &Request<'_>, to: ReplyTo) {
        let command = request.row.command().expect("refused rows never get here");
        panics::enter_command(request.row.name);
        let mut reply = std::mem::take(&mut self.scratch);
        reply.clear();
        let mut kill = Vec::new();
        let level_before = self.runtime.log_level;
        let facts = if tells_facts(command) { self.core_facts() } else { CoreFacts::default() };
        let mut part = CorePart {
            node: &self.node,
            core: self.core,
            engine: self.store.engine_mut(),
            sessions: &mut self.sessions,
            runtime: &mut self.runtime,
            slowlog: &mut self.slowlog,
            latency: &mut self.latency,
            facts: &facts,
            coverage: self.replication.coverage.as_ref(),
            now_ms: self.now.unix_ms,
            protocol: request.protocol,
            out: &mut reply,
            kill: &mut kill,
        };
        let outcome = session::core_part(command, &mut part, request.args);
        if reply.first() == Some(&b'-') {
            self.latency.record_failure(command, &reply);
        }
        self.time_command(command, request.args);
        match outcome {
            Outcome::Done(None) => self.deliver(to, &reply),
            Outcome::Done(Some(commit)) => self.commits.push(commit, to, &reply),
            Outcome::Stall => self.stalled.push_back(request.park(to)),
            Outcome::Read(_) | Outcome::Ask | Outcome::Sent => unreachable!("a core part reads and writes no key"),
            Outcome::Snapshot => {
                let directory = parse_directory(request.args[2]).expect("checked before it was sent to the cores");
                self.begin_snapshot(directory, request.protocol, to);
            }
        }
        self.scratch = reply;
        if self.runtime.log_level != level_before {
            self.outbox.log_level = Some(self.runtime.log_level);
        }
        kill.into_iter().for_each(|index| self.close_after_replies(index));
    }
}
