//! The fault driver: kills, pauses, cuts and slows nodes of a local cluster at random, and says when.
//!
//! Invariant: [`Reach`] has a fault before the fault begins, and loses it after it has ended and its node answers again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::client::Shared;
use super::conversation::Conversation;
use super::hook::{Hook, HookError};
use super::reach::Reach;

/// How long a node may take to answer after its fault has ended.
const RETURN_PATIENCE: Duration = Duration::from_secs(60);
/// How late a slow node's bytes are.
const SLOW_MS: std::ops::Range<u64> = 20..200;

/// What can go wrong with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    Pause,
    Cut,
    CutOut,
    CutIn,
    Slow,
}

const FAULTS: [Fault; 6] = [Fault::Kill, Fault::Pause, Fault::Cut, Fault::CutOut, Fault::CutIn, Fault::Slow];

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Cut => "cut",
            Self::CutOut => "cut-out",
            Self::CutIn => "cut-in",
            Self::Slow => "slow",
        }
    }

    fn command(self, node: usize, random: &mut StdRng) -> String {
        match self {
            Self::Kill => format!("kill {node}"),
            Self::Pause => format!("pause {node}"),
            Self::Cut => format!("cut {node} both"),
            Self::CutOut => format!("cut {node} out"),
            Self::CutIn => format!("cut {node} in"),
            Self::Slow => format!("slow {node} {}", random.random_range(SLOW_MS)),
        }
    }
}

/// What was done.
#[derive(Debug, Default)]
pub struct Done {
    /// How often each fault.
    pub counts: BTreeMap<&'static str, u64>,
    /// Why it ended early, if it did.
    pub failure: Option<String>,
}

/// The driver; one thread.
pub struct Driver {
    hook: Hook,
    shared: Arc<Shared>,
    reach: Arc<Mutex<Reach>>,
    /// Mean time between two changes.
    interval: Duration,
    at_once: usize,
    random: StdRng,
    active: Vec<(usize, Fault)>,
    done: Done,
}

impl Driver {
    /// At most `at_once` nodes are hurt at a time.
    pub fn new(hook: Hook, shared: Arc<Shared>, reach: Arc<Mutex<Reach>>, interval: Duration, at_once: usize) -> Self {
        let random = StdRng::seed_from_u64(shared.seed.rotate_left(17) ^ 0xFA);
        Self { hook, shared, reach, interval, at_once, random, active: Vec::new(), done: Done::default() }
    }

    /// Hurts and heals until the run is over, then heals all that is left.
    pub fn run(mut self) -> Done {
        let result = self.drive();
        let healed = self.heal_all();
        let failure = result.and(healed).err().map(|error| error.to_string());
        Done { failure, ..self.done }
    }

    fn drive(&mut self) -> Result<(), HookError> {
        loop {
            let pause = self.interval.mul_f64(self.random.random_range(0.5..1.5));
            let wake = Instant::now() + pause;
            while Instant::now() < wake {
                if self.shared.stopped.load(Ordering::Relaxed) || Instant::now() >= self.shared.end {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let full = self.active.len() >= self.at_once;
            if full || (!self.active.is_empty() && self.random.random_bool(0.5)) {
                let index = self.random.random_range(0..self.active.len());
                self.heal(index)?;
            } else {
                self.hurt()?;
            }
        }
    }

    fn hurt(&mut self) -> Result<(), HookError> {
        let nodes = self.shared.endpoints.len();
        let sound: Vec<usize> = (0..nodes).filter(|node| self.active.iter().all(|(hurt, _)| hurt != node)).collect();
        let node = sound[self.random.random_range(0..sound.len())];
        let fault = FAULTS[self.random.random_range(0..FAULTS.len())];
        self.active.push((node, fault));
        self.note(node, fault, true);
        *self.done.counts.entry(fault.name()).or_insert(0) += 1;
        let command = fault.command(node, &mut self.random);
        self.hook.ask(&command)
    }

    fn heal(&mut self, index: usize) -> Result<(), HookError> {
        let (node, fault) = self.active[index];
        self.hook.ask(&format!("heal {node}"))?;
        answers(self.shared.endpoints[node], RETURN_PATIENCE);
        self.active.remove(index);
        self.note(node, fault, false);
        // A cut of a node also cuts others from it: what is still in force is said again.
        for (node, fault) in self.active.clone() {
            self.note(node, fault, true);
        }
        Ok(())
    }

    fn heal_all(&mut self) -> Result<(), HookError> {
        while !self.active.is_empty() {
            self.heal(0)?;
        }
        Ok(())
    }

    fn note(&self, node: usize, fault: Fault, is_hurt: bool) {
        let mut reach = self.reach.lock().expect("no thread panics with it");
        let mut links = reach.last().clone();
        match fault {
            Fault::Kill | Fault::Pause => links.set_up(node, !is_hurt),
            Fault::Cut => links.set_cut(node, true, true, is_hurt),
            Fault::CutOut => links.set_cut(node, true, false, is_hurt),
            Fault::CutIn => links.set_cut(node, false, true, is_hurt),
            Fault::Slow => return,
        }
        let now = u64::try_from(self.shared.epoch.elapsed().as_nanos()).expect("a run is shorter than 500 years");
        reach.change(now, links);
    }
}

/// Waits until a node answers PING; false when it does not in time.
pub fn answers(address: SocketAddr, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        let soon = Duration::from_millis(500);
        let answer = Conversation::open(address, soon)
            .ok()
            .and_then(|mut conversation| conversation.ask(&[b"PING"], Instant::now() + soon).ok());
        if answer.is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}
