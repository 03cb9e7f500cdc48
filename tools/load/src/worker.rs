//! One thread: drives its load over a ring of sockets, through the phases of a run.
//!
//! Phases: connect → preload → (all threads wait for each other) → warm-up → measured → last replies → check of all keys.
//!
//! Invariant: the ring is never waited for beyond the instant at which the next request is due; close to it the thread looks
//! instead of sleeping, because the kernel wakes late.

use std::convert::Infallible;
use std::io;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use annulus_net::ring::{Event, Ring, RingLimits, Wait};
use rustix::time::{ClockId, clock_gettime};

use crate::endpoints::{self, EndpointError, Endpoints};
use crate::load::Load;
use crate::schedule::Source;
use crate::settings::Settings;
use crate::tally::SecondTally;
use crate::workload::Operation;

/// How long before a request is due the thread stops sleeping.
const WAKE_EARLY: Duration = Duration::from_micros(60);
/// Longest sleep.
const NAP: Duration = Duration::from_millis(50);
/// Between two attempts to connect again, and for each.
const RECONNECT: Duration = Duration::from_millis(100);
const RECONNECT_PATIENCE: Duration = Duration::from_millis(50);
/// Requests under way on a connection while every key is written or read once.
const SETUP_PIPELINE: usize = 32;
/// Without any reply for so long, writing or reading every key once is given up.
const SETUP_PATIENCE: Duration = Duration::from_secs(30);

/// Why a thread could not make its load.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Nobody there.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The ring failed.
    #[error("the ring failed: {0}")]
    Ring(#[from] io::Error),
    /// The keys could not be written before the run.
    #[error("writing the keys before the run failed {errors} times, first with {first}")]
    Preload {
        /// How often.
        errors: u64,
        /// A kind of error.
        first: String,
    },
    /// The server stopped answering before the run.
    #[error("the server answered nothing for {} s while every key was written or read once", SETUP_PATIENCE.as_secs())]
    Silent,
}

/// What all threads share.
#[derive(Clone)]
pub struct Shared {
    /// Zero of the steady clock.
    pub origin: Instant,
    /// All threads begin together behind the preload.
    pub barrier: Arc<Barrier>,
    /// Seconds that have ended.
    pub seconds: Sender<SecondTally>,
}

/// One thread.
pub struct Worker {
    ring: Ring<Infallible>,
    load: Load,
    endpoints: Endpoints,
    settings: Settings,
    shared: Shared,
    /// Spent looking at an empty ring.
    spun: Duration,
    reconnect_at: Instant,
}

impl Worker {
    /// Connects everything. Must run on the thread that will run the worker.
    pub fn connect(
        settings: &Settings,
        endpoints: &Endpoints,
        thread: u32,
        shared: Shared,
    ) -> Result<Self, WorkerError> {
        // Without it the kernel may wake 50 µs late, which looking instead of sleeping makes up for.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        let mut worker = Self {
            ring: Ring::new(&RingLimits::PRODUCTION)?,
            load: Load::new(settings, endpoints, thread),
            endpoints: endpoints.clone(),
            settings: settings.clone(),
            shared,
            spun: Duration::ZERO,
            reconnect_at: Instant::now(),
        };
        for index in 0..worker.load.connections().len() {
            let address = endpoints.addresses()[worker.load.connections()[index].endpoint];
            let socket = endpoints::connect(address)?;
            let id = worker.ring.adopt(socket.into());
            worker.load.on_connected(index, id);
        }
        Ok(worker)
    }

    /// Runs all phases, and gives the load with what it counted.
    pub fn run(mut self) -> Result<Load, WorkerError> {
        let preloaded = if self.settings.preload { self.preload() } else { Ok(()) };
        // The others wait for this thread even if it failed.
        self.shared.barrier.wait();
        preloaded?;
        self.measure()?;
        self.finish()?;
        if self.load.ledger.is_some() {
            self.check()?;
        }
        Ok(self.load)
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.shared.origin.elapsed().as_nanos()).expect("less than 500 years")
    }

    fn preload(&mut self) -> Result<(), WorkerError> {
        let keys = self.load.keys();
        self.each(Operation::Update, keys)?;
        let errors = self.load.setup_errors.error_count();
        match self.load.setup_errors.errors.keys().next() {
            None => Ok(()),
            Some(first) => Err(WorkerError::Preload { errors, first: first.clone() }),
        }
    }

    /// Reads every key once that was ever written.
    fn check(&mut self) -> Result<(), WorkerError> {
        let deadline = Instant::now() + self.settings.patience;
        while self.load.connections().iter().any(|one| one.id.is_none()) && Instant::now() < deadline {
            self.turn(&mut Source::Nothing, None)?;
        }
        let keys = self.load.ledger.as_ref().map_or(0, |ledger| ledger.len());
        let before = self.load.setup_errors.error_count();
        self.each(Operation::Read, keys)?;
        for _ in before..self.load.setup_errors.error_count() {
            self.load.tally.error("unchecked-at-end");
        }
        Ok(())
    }

    fn each(&mut self, operation: Operation, keys: u64) -> Result<(), WorkerError> {
        let window = self.load.connections().len() * SETUP_PIPELINE.min(self.settings.pipeline as usize);
        let mut source = Source::Each { next: 0, end: keys, operation, window };
        let mut progress = (0, Instant::now());
        loop {
            self.turn(&mut source, None)?;
            let Source::Each { next, end, .. } = source else { unreachable!("a source keeps its kind") };
            if next == end && self.load.pending() == 0 {
                return Ok(());
            }
            let so_far = next.wrapping_sub(self.load.pending() as u64);
            if so_far != progress.0 {
                progress = (so_far, Instant::now());
            } else if progress.1.elapsed() > SETUP_PATIENCE {
                self.load.abandon("unanswered");
                return Err(WorkerError::Silent);
            }
        }
    }

    fn measure(&mut self) -> Result<(), WorkerError> {
        let warm_from = self.now_ns();
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).expect("less than 500 years");
        let start = warm_from + nanos(self.settings.warm_up);
        let end = start + nanos(self.settings.duration);
        self.load.measure(start..end);
        let mut source = self.load.source(warm_from);
        while self.now_ns() < start {
            self.turn(&mut source, Some(start))?;
        }
        let (cpu, spun) = (thread_cpu(), self.spun);
        loop {
            let now = self.now_ns();
            self.roll(now.saturating_sub(start) / 1_000_000_000);
            if now >= end || self.load.is_exhausted() {
                break;
            }
            self.turn(&mut source, Some(end))?;
        }
        let busy = (thread_cpu() - cpu).saturating_sub(self.spun - spun);
        self.load.tally.busy_ns = nanos(busy);
        self.load.tally.elapsed_ns = self.now_ns() - start;
        Ok(())
    }

    /// Waits for the last replies.
    fn finish(&mut self) -> Result<(), WorkerError> {
        let ended = self.load.tally.elapsed_ns / 1_000_000_000;
        let deadline = Instant::now() + self.settings.patience;
        while self.load.pending() > 0 && Instant::now() < deadline {
            self.turn(&mut Source::Nothing, None)?;
        }
        if self.load.pending() > 0 {
            // Their replies must not be taken for later ones'.
            let there: Vec<_> = self.load.connections().iter().filter_map(|one| one.id).collect();
            there.into_iter().for_each(|id| self.ring.close(id));
            self.load.abandon("unanswered");
        }
        self.roll(ended + 1);
        Ok(())
    }

    fn roll(&mut self, at: u64) {
        let seconds = &self.shared.seconds;
        // Nobody listens once the run was given up.
        self.load.tally.roll(at, |ended| drop(seconds.send(ended)));
    }

    /// Makes what is due, sends it, and takes what came; waits for that until the next request is due or `until_ns`.
    fn turn(&mut self, source: &mut Source, until_ns: Option<u64>) -> Result<(), WorkerError> {
        self.reconnect();
        let now_ns = self.now_ns();
        self.load.offer(source, now_ns);
        self.flush();
        let wait = self.wait(source, until_ns);
        let began = (wait == Wait::No).then(Instant::now);
        self.ring.turn(wait)?;
        let events = self.take_events();
        if let Some(began) = began
            && events == 0
        {
            // The kernel's own threads that complete a server's disk writes may need this CPU.
            std::thread::yield_now();
            self.spun += began.elapsed();
        }
        Ok(())
    }

    fn wait(&self, source: &Source, until_ns: Option<u64>) -> Wait {
        let now_ns = self.now_ns();
        let due_ns = match source {
            Source::Scheduled(schedule) => Some(schedule.next_ns()),
            Source::Nothing | Source::Each { .. } | Source::Windowed(_) => None,
        };
        let next_ns = [due_ns, until_ns].into_iter().flatten().min();
        let gap = next_ns.map_or(NAP, |next_ns| Duration::from_nanos(next_ns.saturating_sub(now_ns)));
        match gap.checked_sub(WAKE_EARLY) {
            None | Some(Duration::ZERO) => Wait::No,
            Some(nap) => Wait::AtMost(nap.min(NAP)),
        }
    }

    fn flush(&mut self) {
        while let Some(index) = self.load.dirty.pop() {
            let one = &mut self.load.connections()[index];
            one.dirty = false;
            match one.id {
                Some(id) if !one.sending && !one.out.is_empty() => {
                    one.sending = true;
                    let out = std::mem::take(&mut one.out);
                    self.ring.send(id, out);
                }
                // What it sends now gives the buffer back, and with it the occasion.
                Some(_) | None => {}
            }
        }
    }

    fn take_events(&mut self) -> usize {
        let mut events = 0;
        let mut closing = Vec::new();
        while let Some(event) = self.ring.next_event() {
            events += 1;
            match event {
                Event::Received { connection, bytes } => {
                    let now_ns = u64::try_from(self.shared.origin.elapsed().as_nanos()).expect("less than 500 years");
                    if let Some(index) = self.load.of_id(connection)
                        && self.load.on_received(index, bytes, now_ns).is_err()
                    {
                        self.load.on_lost(index, "malformed-reply");
                        closing.push(connection);
                    }
                }
                Event::Sent { connection, mut buffer, .. } => {
                    if let Some(index) = self.load.of_id(connection) {
                        let one = &mut self.load.connections()[index];
                        one.sending = false;
                        if one.out.is_empty() {
                            buffer.clear();
                            one.out = buffer;
                        } else if !std::mem::replace(&mut one.dirty, true) {
                            self.load.dirty.push(index);
                        }
                    }
                }
                Event::Ended { connection, .. } => {
                    if let Some(index) = self.load.of_id(connection) {
                        self.load.on_lost(index, "connection-lost");
                    }
                    closing.push(connection);
                }
                Event::Closed { .. } | Event::Woken => {}
                Event::Accepted { .. } | Event::AcceptFailed { .. } => unreachable!("nothing listens"),
                Event::File { buffer, .. } => match buffer {},
            }
        }
        closing.into_iter().for_each(|id| self.ring.close(id));
        events
    }

    fn reconnect(&mut self) {
        if Instant::now() < self.reconnect_at {
            return;
        }
        self.reconnect_at = Instant::now() + RECONNECT;
        for index in 0..self.load.connections().len() {
            let one = &self.load.connections()[index];
            if one.id.is_some() {
                continue;
            }
            let address = self.endpoints.addresses()[one.endpoint];
            // Where one is refused the others would be too.
            let Ok(socket) = endpoints::connect_within(address, RECONNECT_PATIENCE) else { return };
            let id = self.ring.adopt(socket.into());
            self.load.on_connected(index, id);
        }
    }
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).expect("CPU time is positive"),
        u32::try_from(time.tv_nsec).expect("a part of a second"),
    )
}
