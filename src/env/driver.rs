//! Drives one core: completions in, one turn of the shard loop, effects out, one system call.
//!
//! The driver is a task of the core's executor, but sleeps in the ring, not in the executor: a request then costs neither a
//! park nor a wake-up of the executor. While background work is under way (preparing segments, …) it sleeps briefly and
//! yields after every turn, so that the executor's own completions are seen.
//!
//! Invariant: between `about_to_sleep` and the system call the queues from other cores are looked at once more, so a wake-up
//! is never missed.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use annulus_net::listener;
use annulus_net::ring::{Event, Ring, Wait};
use annulus_object::{Actor, Clock};

use super::background::{Background, BackgroundDone};
use super::disk::{InFlight, RingDisk, completion};
use crate::control::ToControl;
use crate::core_inbox::{CoreEvent, CoreInbox};
use crate::limits;
use crate::logging::LogHandle;
use crate::mesh::{Doorbell, Message};
use crate::node::{Node, Phase};
use crate::operation::{NotDone, Operation};
use crate::peers::DialRequest;
use crate::shard_loop::{Now, Progress, ShardLoop};

/// Number of the base port's listener; a core's own has 1.
pub const BASE_LISTENER: u16 = 0;
/// Number of a core's own listener.
pub const CORE_LISTENER: u16 = 1;

/// How every core can be woken, once its ring exists.
pub type Doorbells = Arc<[OnceLock<Doorbell>]>;

/// How a core ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Above everything that it stamped.
    pub clock: Clock,
    /// Everything that it acknowledged is on stable storage.
    pub kept_everything: bool,
}

/// One core and what it runs on.
pub struct Driver {
    node: Arc<Node>,
    core: u16,
    ring: Ring<InFlight>,
    disk: RingDisk,
    shard: ShardLoop<RingDisk>,
    doorbells: Doorbells,
    inbox: CoreInbox,
    background: Background,
    log: LogHandle,
    drain_began: Option<Instant>,
    turn_began: Instant,
    accepts_tried: Instant,
    handovers: Vec<(u16, OwnedFd)>,
    /// Turns that ended with more requests waiting.
    gathered_turns: u32,
    /// How well looking for completions before sleeping has paid lately.
    spin_credit: u32,
    spins_skipped: u32,
}

impl Driver {
    /// A driver for a core whose ring is already its doorbell.
    pub fn new(
        node: Arc<Node>,
        ring: Ring<InFlight>,
        disk: RingDisk,
        mut shard: ShardLoop<RingDisk>,
        (doorbells, inbox): (Doorbells, CoreInbox),
        background: Background,
        log: LogHandle,
    ) -> Self {
        let core = shard.mesh().core();
        Self {
            node,
            core,
            ring,
            disk,
            shard,
            doorbells,
            inbox,
            background,
            log,
            drain_began: None,
            turn_began: Instant::now(),
            accepts_tried: Instant::now(),
            handovers: Vec::new(),
            gathered_turns: 0,
            spin_credit: 0,
            spins_skipped: 0,
        }
    }

    /// Accepts clients on a listening socket.
    pub fn listen(&mut self, number: u16, socket: OwnedFd) {
        self.ring.listen(number, socket);
    }

    /// Runs until the node has drained. Errors: the ring is unusable.
    pub async fn run(mut self) -> io::Result<Ended> {
        loop {
            let wait = self.wait();
            if wait != Wait::No {
                self.ring.submit()?;
                self.spin();
            }
            self.ring.turn(wait)?;
            self.doorbell().awake();
            self.turn_began = Instant::now();
            self.shard.begin_turn(now());
            self.take_events();
            self.take_background();
            self.take_inbox();
            self.maybe_retry_accepts();
            self.take_mesh();
            let more_comes = self.more_comes();
            self.shard.end_turn(more_comes);
            self.carry_out();
            self.watch_for_stall();
            match self.shard.progress() {
                Progress::Serve => {}
                Progress::Drain => self.drain(),
                Progress::Ended => break,
            }
            self.background.give_way().await;
        }
        self.background.end();
        while self.background.is_running() || self.ring.file_operations() > 0 {
            self.ring.turn(Wait::AtMost(limits::BACKGROUND_SLEEP))?;
            while self.ring.next_event().is_some() {}
            self.background.give_way().await;
        }
        let engine = self.shard.engine();
        Ok(Ended { clock: engine.clock(), kept_everything: !engine.may_have_lost_writes() })
    }

    fn doorbell(&self) -> &Doorbell {
        self.doorbells[usize::from(self.core)].get().expect("a core's doorbell exists before its driver")
    }

    fn wait(&mut self) -> Wait {
        let mut most = self.shard.sleep_at_most();
        if self.background.is_running() {
            most = most.min(limits::BACKGROUND_SLEEP);
        }
        if most == Duration::ZERO || self.background.has_results() || !self.handovers.is_empty() {
            return Wait::No;
        }
        if self.doorbells.len() > 1 {
            self.doorbell().about_to_sleep();
            let has_arrivals = if self.shard.takes_requests() {
                !self.shard.mesh().is_quiet()
            } else {
                self.shard.mesh().has_replies()
            };
            if has_arrivals {
                return Wait::No;
            }
        }
        Wait::AtMost(most)
    }

    /// True when requests wait in the ring, but for so many turns in a row only.
    fn more_comes(&mut self) -> bool {
        self.gathered_turns = if self.ring.has_work() { self.gathered_turns + 1 } else { 0 };
        if self.gathered_turns > limits::GATHER_TURNS_MAX {
            self.gathered_turns = 0;
        }
        self.gathered_turns > 0
    }

    /// Looks for completions for a few microseconds before it sleeps: a request that comes meanwhile costs neither this core
    /// a sleep nor its client a wake-up. Where requests are further apart it soon gives up, and tries again only now and then.
    fn spin(&mut self) {
        if self.spin_credit == 0 {
            self.spins_skipped += 1;
            if self.spins_skipped < limits::SPIN_RETRY_TURNS {
                return;
            }
            self.spins_skipped = 0;
            self.spin_credit = 1;
        }
        let began = Instant::now();
        while began.elapsed() < limits::SPIN {
            if self.ring.has_work() {
                self.spin_credit = (self.spin_credit + 1).min(limits::SPIN_CREDIT_MAX);
                return;
            }
            std::hint::spin_loop();
        }
        self.spin_credit = self.spin_credit.saturating_sub(2);
    }

    fn take_events(&mut self) {
        let Self { ring, shard, node, handovers, core, .. } = self;
        let mut adopted = Vec::new();
        while let Some(event) = ring.next_event() {
            match event {
                Event::Received { connection, bytes } => shard.on_received(connection, bytes),
                Event::Sent { connection, buffer, result } => shard.on_sent(connection, buffer, result.is_ok()),
                Event::File { operation, buffer, result } => shard.on_disk(completion(operation, buffer, result)),
                Event::Ended { connection, error } => shard.on_ended(connection, error.is_none()),
                Event::Closed { connection } => shard.on_closed(connection),
                Event::Woken => {}
                Event::Accepted { listener, socket } => {
                    let target = if listener == BASE_LISTENER { node.least_busy_core() } else { *core };
                    if !shard.may_connect(target) {
                        refuse(&socket, node.phase());
                    } else if target == *core {
                        adopted.push(socket);
                    } else {
                        handovers.push((target, socket));
                    }
                }
                Event::AcceptFailed { listener, error } => {
                    tracing::warn!(core = *core, listener, %error, "a client could not be accepted");
                }
            }
        }
        adopted.into_iter().for_each(|socket| self.adopt(socket));
    }

    /// Accepts again some time after a failure: without descriptors the next attempt would fail at once.
    fn maybe_retry_accepts(&mut self) {
        if self.ring.has_failed_accepts() && self.turn_began.duration_since(self.accepts_tried) > limits::ACCEPT_RETRY {
            self.accepts_tried = self.turn_began;
            self.ring.retry_accepts();
        }
    }

    /// Takes a client in that was counted in.
    fn adopt(&mut self, socket: OwnedFd) {
        let keepalive = self.shard.keepalive();
        let prepared = listener::configure(&socket, keepalive).and_then(|()| listener::addresses(&socket));
        match (prepared, self.node.phase()) {
            (Ok(addresses), Phase::Ready) => {
                let connection = self.ring.adopt(socket);
                return self.shard.on_connected(connection, addresses);
            }
            (Ok(_), phase) => refuse(&socket, phase),
            (Err(error), _) => tracing::debug!(core = self.core, %error, "a client went before it was taken in"),
        }
        self.node.remove_client(self.core);
    }

    fn take_background(&mut self) {
        for done in self.background.take() {
            match done {
                BackgroundDone::Work(done) => self.shard.on_work_done(done),
                BackgroundDone::Nothing => {}
                BackgroundDone::Snapshot(done) => self.shard.on_snapshot(done),
                BackgroundDone::Incarnation(Ok(actor)) => {
                    tracing::info!(
                        core = self.core,
                        incarnation = actor.incarnation(),
                        "a new incarnation after a failed write"
                    );
                    self.node.note_incarnation(actor);
                    self.shard.engine().adopt_incarnation(actor);
                    self.announce_incarnation(actor);
                }
                BackgroundDone::Incarnation(Err(error)) => {
                    tracing::error!(core = self.core, %error, "no new incarnation could be stored: this core writes nothing more");
                    self.shard.engine().refuse_writes();
                }
            }
        }
    }

    /// The cluster remembers the greatest incarnation of a node for the case that the node forgets it.
    fn announce_incarnation(&self, actor: Actor) {
        if let Some(control) = &self.node.control {
            // Full: then a later one tells more.
            let _ = control.send(ToControl::Incarnation(actor.incarnation()));
        }
    }

    /// What threads that are no cores have told this core.
    fn take_inbox(&mut self) {
        while let Some(event) = self.inbox.next() {
            match event {
                CoreEvent::PeerConnected { connected, socket } => {
                    let connection = self.ring.adopt(socket);
                    self.shard.on_peer_connected(connection, connected);
                }
                other => self.shard.on_core_event(other),
            }
        }
    }

    fn take_mesh(&mut self) {
        let mut sockets = Vec::new();
        self.shard.on_mesh(|socket| sockets.push(socket));
        sockets.into_iter().for_each(|socket| self.adopt(socket));
        for (core, socket) in std::mem::take(&mut self.handovers) {
            match self.shard.mesh().send(core, Message::Client(socket)) {
                Ok(()) => self.ring_at(core),
                Err(Message::Client(socket)) => self.handovers.push((core, socket)),
                Err(_) => unreachable!("what was sent comes back"),
            }
        }
    }

    fn ring_at(&mut self, core: u16) {
        // A core that has not come so far finds the message when it begins.
        if let Some(address) = self.doorbells[usize::from(core)].get().and_then(Doorbell::must_ring) {
            self.ring.wake(address);
        }
    }

    fn carry_out(&mut self) {
        let outbox = std::mem::take(self.shard.outbox());
        let mut outbox = outbox;
        for (connection, buffer) in outbox.sends.drain(..) {
            self.ring.send(connection, buffer);
        }
        for (connection, receives) in outbox.receives.drain(..) {
            if receives { self.ring.resume(connection) } else { self.ring.pause(connection) }
        }
        outbox.closes.drain(..).for_each(|connection| self.ring.close(connection));
        outbox.wakes.drain(..).for_each(|core| self.ring_at(core));
        outbox.dials.drain(..).for_each(|dial| self.dial(dial));
        outbox.operations.drain(..).for_each(|operation| self.operate(operation));
        if std::mem::take(&mut outbox.shutdown) {
            self.node.enter(Phase::Draining);
        }
        if let Some(level) = outbox.log_level.take() {
            self.log.set(level);
        }
        if std::mem::take(&mut outbox.needs_incarnation) {
            self.background.take_incarnation();
        }
        if let Some(task) = outbox.snapshot.take() {
            self.background.snapshot(task);
        }
        // The vectors keep their memory for the next turn.
        *self.shard.outbox() = outbox;
        while let Some(work) = self.shard.next_work() {
            self.background.run(work);
        }
        self.disk.submit(&mut self.ring);
    }

    fn dial(&mut self, dial: DialRequest) {
        let dialler = self.node.dialer.get();
        let why = match dialler.map(|dialler| dialler.dial(self.core, dial)) {
            Some(Ok(())) => return,
            Some(Err(error)) => error.to_string(),
            None => "this node has not come so far".to_owned(),
        };
        self.shard.on_core_event(CoreEvent::DialFailed { peer: dial.peer, why, is_refused: false });
    }

    fn operate(&mut self, operation: Operation) {
        let Operation { token, node, change } = operation;
        let wish = ToControl::Operate { core: self.core, token, node, change };
        let refused = match &self.node.control {
            Some(control) => control.send(wish).is_err().then_some(NotDone::Busy),
            None => Some(NotDone::NoCluster),
        };
        if let Some(why) = refused {
            self.shard.on_operated(token, Err(why));
        }
    }

    fn drain(&mut self) {
        let began = *self.drain_began.get_or_insert_with(|| {
            self.ring.stop_listening();
            Instant::now()
        });
        if began.elapsed() > self.node.config.shutdown_timeout {
            self.shard.abandon_clients();
        }
    }

    fn watch_for_stall(&mut self) {
        let took = self.turn_began.elapsed();
        if took > limits::STALL {
            self.shard.count_stall();
            let millis = took.as_millis();
            tracing::warn!(core = self.core, millis, "a turn of this core took long; its clients waited");
        }
    }
}

/// Tells a client why it is not taken, as far as its socket takes it; there is nothing to wait for.
fn refuse(socket: &OwnedFd, phase: Phase) {
    let reply: &[u8] = match phase {
        Phase::Ready => b"-ERR max number of clients reached\r\n",
        Phase::Loading => b"-LOADING Annulus is loading the dataset\r\n",
        Phase::Draining => b"-TRYAGAIN the node is shutting down: connect to another one, or later\r\n",
    };
    let flags = rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL;
    let _ = rustix::net::send(socket, reply, flags);
}

/// The time now.
pub fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX), steady_ns: steady_ns() }
}

/// Nanoseconds since the first call in this process.
pub fn steady_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).expect("less than 500 years")
}
