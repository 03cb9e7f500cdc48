//! One size of cluster: what happens to it, and what is measured of that.
//!
//! Invariant: every wait ends, at the latest after [`PATIENCE_US`]; one that ended so is no measurement but a failure.

use std::time::{Duration, Instant};

use super::Options;
use super::report::Row;
use super::world::{Sent, World};

const SECOND: u64 = 1_000_000;
/// Longer than this nothing may take.
pub const PATIENCE_US: u64 = 600 * SECOND;
/// How finely convergence is looked at.
const LOOK_US: u64 = 10_000;
/// Between two things that happen: gossip about the one is over.
const PAUSE_US: u64 = 30 * SECOND;
/// Long enough for each half to take the other for dead.
const SPLIT_US: u64 = 60 * SECOND;
/// All nodes of a cluster begin within this.
const COLD_START_US: u64 = SECOND;

/// Makes a cluster of this size and looks at it.
#[must_use]
pub fn measure(size: usize, options: &Options) -> Row {
    let begun = Instant::now();
    let mut stage =
        Stage { world: World::new(options), stall_us: options.stall_s * SECOND, quiet: Sent::default(), gave_up: 0 };
    let mut row = Row { size, ..Row::default() };
    row.start_agree_us = stage.start(size);
    stage.run(2 * PAUSE_US);
    row.start_bytes = average(&stage.world.sent());
    (row.quiet, row.quiet_most) = stage.quiet(options.quiet_s);
    stage.quiet = row.quiet;
    for _ in 0..options.rounds {
        row.changes_us.push(stage.change(&mut row.change_bytes));
        row.deaths_us.push(stage.death());
        row.joins_us.push(stage.join(&mut row.join_bytes));
    }
    (row.heal_us, row.heal_bytes) = stage.split();
    row.false_deaths = stage.world.false_deaths;
    row.renewals = stage.world.renewals();
    row.gave_up = stage.gave_up;
    row.is_faultless = stage.world.is_faultless();
    row.events = stage.world.events;
    row.virtual_us = stage.world.now_us;
    row.wall = Wall(begun.elapsed());
    row
}

/// How long it took this machine: differs from run to run, and says nothing about what was measured.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wall(pub Duration);

impl PartialEq for Wall {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// When the others noticed that one is dead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Death {
    /// The first.
    pub first_us: u64,
    /// Half of them.
    pub median_us: u64,
    /// The last.
    pub all_us: u64,
}

struct Stage {
    world: World,
    stall_us: u64,
    /// What a node sends a second while nothing happens.
    quiet: Sent,
    gave_up: u64,
}

impl Stage {
    fn run(&mut self, us: u64) {
        let until_us = self.world.now_us + us;
        while self.world.now_us < until_us {
            self.step(SECOND.min(until_us - self.world.now_us));
        }
    }

    /// A while, in which one in a hundred begins to stall.
    fn step(&mut self, us: u64) {
        let running = self.world.running().len() as u64;
        // Each begins so seldom that one in a hundred stalls on average; none where stalls take no time.
        let expected_per_million = (running * us * 10_000).checked_div(self.stall_us);
        if expected_per_million.is_some_and(|expected| self.world.chance(expected)) {
            let node = self.world.anybody();
            self.world.stall(node, self.stall_us);
        }
        self.world.run_until(self.world.now_us + us);
    }

    /// Until something is the case; the time that it took.
    fn until(&mut self, is_done: impl Fn(&World) -> bool) -> u64 {
        let begun_us = self.world.now_us;
        while !is_done(&self.world) {
            if self.world.now_us - begun_us >= PATIENCE_US {
                self.gave_up += 1;
                break;
            }
            self.step(LOOK_US);
        }
        self.world.now_us - begun_us
    }

    /// From nothing until all hear all and all maps agree.
    fn start(&mut self, size: usize) -> u64 {
        let begun_us = self.world.now_us;
        for index in 0..size as u64 {
            self.world.add();
            self.world.run_until(begun_us + COLD_START_US * (index + 1) / size as u64);
        }
        self.until(|world| world.do_all_hear_all() && world.do_maps_agree());
        self.world.now_us - begun_us
    }

    /// Bytes per node and second while nothing happens, on average and of the node that sends most.
    fn quiet(&mut self, seconds: u64) -> (Sent, Sent) {
        let before = self.world.sent();
        self.run(seconds * SECOND);
        let after = self.world.sent();
        let rates = before.iter().zip(&after).map(|(before, after)| Sent {
            datagram_bytes: (after.datagram_bytes - before.datagram_bytes) / seconds,
            message_bytes: (after.message_bytes - before.message_bytes) / seconds,
        });
        let rates: Vec<Sent> = rates.collect();
        let most = rates.iter().max_by_key(|rate| rate.datagram_bytes + rate.message_bytes).copied();
        (average(&rates), most.unwrap_or_default())
    }

    /// One entry changes: until all maps agree. `bytes` gets what every node sent on average from then to the end of the pause
    ///.
    fn change(&mut self, bytes: &mut Vec<Sent>) -> u64 {
        let before = total(&self.world.sent());
        let node = self.world.anybody();
        self.world.change(node);
        let took_us = self.until(World::do_maps_agree);
        self.run(PAUSE_US.saturating_sub(took_us));
        bytes.push(self.because(before, took_us.max(PAUSE_US)));
        took_us
    }

    /// One dies, until all others have noticed; then it comes back.
    fn death(&mut self) -> Death {
        let node = self.world.anybody();
        let begun_us = self.world.now_us;
        self.world.kill(node);
        let others = self.world.running().len();
        self.until(|world| world.noticed_us().len() >= others);
        let noticed = self.world.noticed_us();
        let at = |index: usize| noticed.get(index).map_or(PATIENCE_US, |at_us| at_us - begun_us);
        let death = Death { first_us: at(0), median_us: at(others / 2), all_us: at(others - 1) };
        self.run(PAUSE_US);
        self.world.start(node);
        self.until(World::do_all_hear_all);
        self.run(PAUSE_US);
        death
    }

    /// Two halves do not hear each other for a while, in which each changes an entry: from then until all hear all and all maps
    /// agree. And what every node sent on average because of it.
    fn split(&mut self) -> (u64, Sent) {
        let running = self.world.running();
        let (last, first) = (running[running.len() / 2 - 1], running[running.len() / 2]);
        self.world.split_at = Some(last);
        self.run(SPLIT_US);
        self.world.change(last);
        self.world.change(first);
        self.run(PAUSE_US);
        let before = total(&self.world.sent());
        (self.world.split_at, self.world.is_healing) = (None, true);
        let took_us = self.until(|world| world.do_all_hear_all() && world.do_maps_agree());
        self.run(PAUSE_US.saturating_sub(took_us));
        self.world.is_healing = false;
        (took_us, self.because(before, took_us.max(PAUSE_US)))
    }

    /// One comes: until all maps agree and it hears everybody.
    fn join(&mut self, bytes: &mut Vec<Sent>) -> u64 {
        let before = total(&self.world.sent());
        self.world.add();
        let took_us = self.until(|world| world.do_maps_agree() && world.do_all_hear_all());
        self.run(PAUSE_US.saturating_sub(took_us));
        bytes.push(self.because(before, took_us.max(PAUSE_US)));
        took_us
    }
}

impl Stage {
    /// What a node has sent on average since then beyond what it sends while nothing happens.
    fn because(&self, before: Sent, us: u64) -> Sent {
        let (after, nodes) = (total(&self.world.sent()), self.world.running().len() as u64);
        let more = |after: u64, before: u64, quiet: u64| ((after - before) / nodes).saturating_sub(quiet * us / SECOND);
        Sent {
            datagram_bytes: more(after.datagram_bytes, before.datagram_bytes, self.quiet.datagram_bytes),
            message_bytes: more(after.message_bytes, before.message_bytes, self.quiet.message_bytes),
        }
    }
}

fn total(sent: &[Sent]) -> Sent {
    sent.iter().fold(Sent::default(), |sum, sent| Sent {
        datagram_bytes: sum.datagram_bytes + sent.datagram_bytes,
        message_bytes: sum.message_bytes + sent.message_bytes,
    })
}

fn average(sent: &[Sent]) -> Sent {
    let (sum, count) = (total(sent), sent.len().max(1) as u64);
    Sent { datagram_bytes: sum.datagram_bytes / count, message_bytes: sum.message_bytes / count }
}

/// Gossip has to be over before the next thing happens.
const _: () = assert!(PAUSE_US < PATIENCE_US);
