//! Which faults there are, and when each comes to whom.
//!
//! Every run has a profile: each kind of fault is in it or not, as the seed says, so that over many seeds every combination
//! comes up; a fault that needs the absence of another to do harm finds it. How often faults come and how long they last is
//! the profile's too.
//!
//! It only decides; [`crate::world::World`] carries out, spares what would destroy the last copy of a version, and counts
//! what had an effect.
//!
//! Invariant: kinds keep their numbers; new ones are added at the end, else saved seeds would show other runs.

use crate::clock::{Instant, MILLISECOND, SECOND};
use crate::network::{Cut, Weather};
use crate::node::Troubles;
use crate::seeds::{Consumer, Random};

macro_rules! kinds {
    ($($(#[doc = $text:literal])+ $name:ident = $word:literal,)+) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[doc = $text])+ $name,)+
        }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Kind] = &[$(Kind::$name,)+];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Kind::$name => $word,)+
                }
            }
        }
    };
}

kinds! {
    /// A packet vanishes.
    Loss = "packets lost",
    /// A packet comes twice.
    Duplicate = "packets duplicated",
    /// A packet is overtaken.
    Reorder = "packets overtaken",
    /// A packet takes a hundred times as long.
    Late = "packets late",
    /// The cluster falls into two parts.
    Split = "splits",
    /// A link is cut in one direction.
    OneWay = "one-way cuts",
    /// A link holds everything back for a while.
    Clog = "links clogged",
    /// A node stands still, and goes on.
    Pause = "nodes paused",
    /// A node takes long for everything.
    Slow = "nodes slowed",
    /// A process is killed.
    Crash = "crashes",
    /// A process is killed at a bad moment.
    AimedCrash = "aimed crashes",
    /// A process ends in order.
    Stop = "clean stops",
    /// A node starts with another number of cores.
    Recore = "restarts with other cores",
    /// A disk is replaced by an empty one.
    Wipe = "disks replaced",
    /// A disk is slow.
    SlowDisk = "disks slowed",
    /// A write of the log fails.
    FailedAppend = "failed log writes",
    /// A read fails.
    FailedRead = "failed reads",
    /// A disk is so full that it takes no new values, or nothing.
    FullDisk = "full disks",
    /// A bit of a file flips.
    Rot = "bits flipped",
    /// A new incarnation cannot be stored for a while.
    FailedMeta = "incarnations not stored",
    /// A wall clock jumps.
    Jump = "clock jumps",
    /// A node's clocks run too fast or too slow.
    Drift = "clocks drifting",
    /// A node takes another for dead that is not.
    FalseAlarm = "false alarms",
    /// What a process has sent arrives when another life of it has begun.
    Afterlife = "packets from an earlier life",
    /// A node stands still at a bad moment, and goes on.
    AimedPause = "aimed pauses",
}

/// Kinds, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(pub u64);

impl Kinds {
    /// Every kind.
    pub const ALL: Kinds = Kinds((1 << Kind::ALL.len()) - 1);

    /// Without one.
    #[must_use]
    pub const fn without(self, kind: Kind) -> Kinds {
        Kinds(self.0 & !(1 << kind as u32))
    }

    /// Whether a kind is among them.
    #[must_use]
    pub const fn has(self, kind: Kind) -> bool {
        self.0 >> kind as u32 & 1 == 1
    }

    /// Their names.
    #[must_use]
    pub fn names(self) -> String {
        let names: Vec<&str> = Kind::ALL.iter().filter(|kind| self.has(**kind)).map(|kind| kind.name()).collect();
        names.join(", ")
    }
}

/// Kinds that have an effect whatever else is in a profile.
const EFFECTIVE: [Kind; 10] = [
    Kind::Split,
    Kind::OneWay,
    Kind::Pause,
    Kind::Slow,
    Kind::Crash,
    Kind::Stop,
    Kind::SlowDisk,
    Kind::FullDisk,
    Kind::Jump,
    Kind::Drift,
];

/// Kinds that are a link's weather: drawn together, and as often as any other kind.
const WEATHER: [Kind; 4] = [Kind::Loss, Kind::Duplicate, Kind::Reorder, Kind::Late];

/// A moment at which killing a process hurts, or stopping it for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It has stamped a write and sent it to others, and its own store has not confirmed it.
    SentBeforeAppend,
    /// One of its writes became durable: the last acknowledgement may still be on its way.
    Appended,
    /// It has just answered a client.
    Answered,
    /// It has forgotten a hint.
    ForgotHint,
    /// It has taken a hint.
    TookHint,
    /// It has asked its disk or others for something, and has stamped nothing yet.
    Asked,
}

/// Something to do to the cluster. Nodes are given by their place in the world, and durations say when it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A link's weather changes.
    Weather(usize, usize, Weather),
    /// Links are cut.
    Cut(Vec<(usize, usize)>, Cut, Instant),
    /// A link clogs.
    Clog(usize, usize, Instant),
    /// A node stands still.
    Pause(usize, Instant),
    /// A node takes so long for every event.
    Slow(usize, Instant, Instant),
    /// A process is killed, and starts again after a while, with so many cores.
    Crash(usize, Instant, Option<u16>),
    /// A process is killed at the next such moment.
    AimedCrash(usize, Moment, Instant),
    /// A process dies, and again at the first such moment of its next life; each time it is back before what was on its way
    /// to it has come. The requests of a short life have the numbers of the next one's.
    Relapse(usize, Moment, Instant),
    /// A node stands still from the next such moment on.
    AimedPause(usize, Moment, Instant),
    /// A process ends in order, and starts again.
    Stop(usize, Instant, Option<u16>),
    /// A process is killed and its disk replaced.
    Wipe(usize, Instant),
    /// The same at the next such moment, and the process is back before most others know: whoever asks it then is told of
    /// nothing.
    AimedWipe(usize, Moment, Instant),
    /// A disk has troubles.
    Disk(usize, Troubles, Instant),
    /// Bits flip on a disk, which is replaced after a while.
    Rot(usize, Instant),
    /// No incarnation can be stored.
    FailedMeta(usize, Instant),
    /// A wall clock jumps.
    Jump(usize, i64),
    /// Clocks run at another speed.
    Drift(usize, i64),
    /// The first takes the second for dead.
    FalseAlarm(usize, usize, Instant),
}

/// The faults of one run.
#[derive(Debug)]
pub struct Faults {
    kinds: Kinds,
    mean_gap: Instant,
    mean_length: Instant,
    worst: u64,
    nodes: usize,
    random: Random,
}

impl Faults {
    /// The faults of a seed for so many nodes, of `allowed` kinds only.
    #[must_use]
    pub fn new(seed: u64, nodes: usize, allowed: Kinds) -> Self {
        let mut random = Random::new(seed, Consumer::Faults, 0);
        let few = random.one_in(4);
        let mut kinds = Kinds(random.bits() & allowed.0);
        if few {
            kinds.0 &= random.bits() & random.bits();
        }
        // Something that has an effect by itself.
        if !EFFECTIVE.iter().any(|kind| kinds.has(*kind)) {
            let effective: Vec<Kind> = EFFECTIVE.iter().copied().filter(|kind| allowed.has(*kind)).collect();
            let kind = if effective.is_empty() { Kind::Crash } else { *random.pick(&effective) };
            kinds.0 |= 1 << kind as u32;
        }
        let mean_gap = *random.pick(&[40, 120, 400]) * MILLISECOND;
        let mean_length = *random.pick(&[50, 300, 1500]) * MILLISECOND;
        let worst = *random.pick(&[10, 50, 250]);
        Self { kinds, mean_gap, mean_length, worst, nodes, random }
    }

    /// Which kinds this run has.
    #[must_use]
    pub fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// How long until the next fault.
    pub fn gap(&mut self) -> Instant {
        self.random.waiting(self.mean_gap) + 1
    }

    /// How long a fault lasts: now and then much longer than the others.
    pub fn length(&mut self) -> Instant {
        let mean = if self.random.one_in(8) { self.mean_length * 5 } else { self.mean_length };
        self.random.waiting(mean).min(4 * SECOND) + 1
    }

    /// The next fault.
    pub fn draw(&mut self) -> Action {
        let weather = WEATHER.into_iter().find(|kind| self.kinds.has(*kind));
        let others = Kind::ALL.iter().copied().filter(|kind| self.kinds.has(*kind) && !WEATHER.contains(kind));
        let kinds: Vec<Kind> = weather.into_iter().chain(others).collect();
        let kind = *self.random.pick(&kinds);
        let node = self.random.index(self.nodes);
        let (length, other) = (self.length(), self.other(node));
        match kind {
            Kind::Loss | Kind::Duplicate | Kind::Reorder | Kind::Late => {
                let weather = self.weather();
                Action::Weather(node, other, weather)
            }
            Kind::Split => self.split(length),
            Kind::OneWay => Action::Cut(vec![(node, other)], self.cut(), length),
            Kind::Clog => Action::Clog(node, other, length),
            Kind::Pause => Action::Pause(node, length),
            Kind::Slow => Action::Slow(node, self.random.between(100, 20_000), length),
            Kind::Crash => Action::Crash(node, length, None),
            Kind::Afterlife => {
                let moment = if self.random.one_in(2) { Moment::Asked } else { Moment::SentBeforeAppend };
                Action::Relapse(node, moment, self.random.between(50, 3_000))
            }
            Kind::AimedCrash => Action::AimedCrash(node, self.moment(), length),
            Kind::AimedPause => {
                let moment = if self.random.one_in(2) { Moment::Asked } else { self.moment() };
                Action::AimedPause(node, moment, length)
            }
            Kind::Stop => Action::Stop(node, length, None),
            Kind::Recore => {
                let cores = Some(*self.random.pick(&[1, 2, 3, 4]));
                if self.random.one_in(2) {
                    Action::Stop(node, length, cores)
                } else {
                    Action::Crash(node, length, cores)
                }
            }
            Kind::Wipe if self.random.one_in(2) => {
                let moment = if self.random.one_in(2) { Moment::Appended } else { Moment::Answered };
                Action::AimedWipe(node, moment, self.random.between(50, 3_000))
            }
            Kind::Wipe => Action::Wipe(node, length),
            Kind::SlowDisk => {
                let slowness = *self.random.pick(&[5, 50, 500, 5_000]);
                Action::Disk(node, Troubles { slowness, ..Troubles::NONE }, length)
            }
            Kind::FailedAppend => Action::Disk(node, Troubles { fails_append: true, ..Troubles::NONE }, length),
            Kind::FailedRead => Action::Disk(node, Troubles { fails_reads: true, ..Troubles::NONE }, length),
            Kind::FullDisk => {
                let read_only = self.random.one_in(3);
                Action::Disk(node, Troubles { no_writes: true, read_only, ..Troubles::NONE }, length)
            }
            Kind::Rot => Action::Rot(node, length),
            Kind::FailedMeta => Action::FailedMeta(node, length),
            Kind::Jump => Action::Jump(node, self.jump()),
            Kind::Drift => Action::Drift(node, self.drift()),
            Kind::FalseAlarm => Action::FalseAlarm(node, other, length),
        }
    }

    fn other(&mut self, node: usize) -> usize {
        (node + 1 + self.random.index(self.nodes - 1)) % self.nodes
    }

    fn cut(&mut self) -> Cut {
        if self.random.one_in(2) { Cut::Drops } else { Cut::Holds }
    }

    /// Two parts, neither empty.
    fn split(&mut self, length: Instant) -> Action {
        let mut order: Vec<usize> = (0..self.nodes).collect();
        self.random.shuffle(&mut order);
        let (left, right) = order.split_at(1 + self.random.index(self.nodes - 1));
        let both = left.iter().flat_map(|left| right.iter().flat_map(|right| [(*left, *right), (*right, *left)]));
        Action::Cut(both.collect(), self.cut(), length)
    }

    /// The weather of a link: only of kinds that this run has.
    fn weather(&mut self) -> Weather {
        let mut rate = |kind| if self.kinds.has(kind) { self.random.below(self.worst + 1) } else { 0 };
        Weather {
            loss: rate(Kind::Loss),
            duplicate: rate(Kind::Duplicate),
            reorder: rate(Kind::Reorder),
            late: rate(Kind::Late),
        }
    }

    fn moment(&mut self) -> Moment {
        let moments = [
            Moment::SentBeforeAppend,
            Moment::SentBeforeAppend,
            Moment::Appended,
            Moment::Answered,
            Moment::ForgotHint,
            Moment::TookHint,
        ];
        *self.random.pick(&moments)
    }

    fn jump(&mut self) -> i64 {
        let by_ms = *self.random.pick(&[20, 500, 5_000, 60_000, 3_600_000]);
        if self.random.one_in(2) { by_ms } else { -by_ms }
    }

    fn drift(&mut self) -> i64 {
        let ppm = *self.random.pick(&[50, 5_000, 100_000]);
        if self.random.one_in(2) { ppm } else { -ppm }
    }
}

/// How often each kind had an effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Injected([u64; Kind::ALL.len()]);

impl Injected {
    /// Counts effects.
    pub fn add(&mut self, kind: Kind, count: u64) {
        self.0[kind as usize] += count;
    }

    /// Effects of a kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds those of another run.
    pub fn merge(&mut self, other: &Injected) {
        self.0.iter_mut().zip(other.0).for_each(|(count, other)| *count += other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_many_seeds_every_pair_of_kinds_is_there_and_absent() {
        let profiles: Vec<Kinds> = (0..400).map(|seed| Faults::new(seed, 5, Kinds::ALL).kinds()).collect();
        for a in Kind::ALL {
            for b in Kind::ALL.iter().filter(|b| *b != a) {
                let found = |wants_b| profiles.iter().any(|kinds| kinds.has(*a) && kinds.has(*b) == wants_b);
                assert!(found(true) && found(false), "{a:?} with and without {b:?}");
            }
        }
    }

    #[test]
    fn a_run_has_only_its_own_kinds() {
        let only = Kinds(1 << Kind::Split as u32);
        let mut faults = Faults::new(9, 4, only);
        for _ in 0..100 {
            let Action::Cut(links, ..) = faults.draw() else { panic!("only splits were allowed") };
            assert!([6, 8].contains(&links.len()), "two parts of four nodes: {links:?}");
        }
    }
}
