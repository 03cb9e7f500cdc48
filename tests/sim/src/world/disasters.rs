//! What goes wrong: carrying out faults, sparing what would destroy the last copy of a version, and ending them.
//!
//! The atlas of copies is the model's: a disk is replaced or rots only where every write that may have been acknowledged, or
//! something that replaced it, is durable on another node.
//!
//! Invariant: a fault is counted when it had an effect, not when it was wanted.

use super::machine::State;
use super::{Happening, World};
use crate::checkers::Violation;
use crate::clock::{Instant, MILLISECOND, SECOND};
use crate::faults::{Action, Kind, Moment};
use crate::node::{Disk, Protocol, Troubles};
use crate::watched::Watched;

/// What lies in wait for a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ambush {
    Kill,
    Stop,
    Replace,
}

impl<D: Disk, P: Protocol<Watched<D::Core>>> World<D, P> {
    /// The next fault comes.
    pub(super) fn on_fault(&mut self) -> Result<(), Violation> {
        if self.is_healing {
            return Ok(());
        }
        let gap = self.fault_gap();
        self.agenda.add(self.now + gap, Happening::Fault);
        let action = self.faults.draw();
        self.trace.note(10, self.now);
        self.apply(action);
        Ok(())
    }

    /// How long until the next fault: not long once half of the time has passed and none had an effect.
    pub(super) fn fault_gap(&mut self) -> Instant {
        let gap = self.faults.gap().min(self.shape.faulty_for / 4);
        let is_idle = self.injected.total() == 0 && self.now > self.shape.faulty_for / 2;
        if is_idle { gap.min(20 * MILLISECOND) } else { gap }
    }

    fn apply(&mut self, action: Action) {
        match action {
            Action::Weather(from, to, weather) => {
                self.tell(None, || format!("n{from} → n{to} is bad from now on: {weather:?}"));
                self.network.set_weather(from, to, weather);
            }
            Action::Cut(links, cut, length) => {
                let kind = if links.len() == 1 { Kind::OneWay } else { Kind::Split };
                self.injected.add(kind, 1);
                self.tell(None, || format!("cut, {cut:?}, for {length} µs: {}", links_text(&links)));
                links.iter().for_each(|(from, to)| self.network.cut(*from, *to, cut));
                self.agenda.add(self.now + length, Happening::Mend { links });
            }
            Action::Clog(from, to, length) => {
                self.tell(None, || format!("n{from} → n{to} is clogged for {length} µs"));
                self.network.clog(from, to, self.now + length);
            }
            Action::Pause(node, length) => self.pause(node, length, Kind::Pause),
            Action::Slow(node, delay, length) => {
                let end = self.now + length;
                self.machines[node].slow = (delay, end);
                self.disturb(node, end + delay);
                self.injected.add(Kind::Slow, 1);
                self.tell(None, || format!("n{node} sends {delay} µs late for {length} µs"));
            }
            Action::Jump(node, by_ms) => {
                self.machines[node].clock.jump(self.now, by_ms);
                self.injected.add(Kind::Jump, 1);
                self.tell(None, || format!("n{node}'s wall clock jumps by {by_ms} ms"));
            }
            Action::Drift(node, ppm) => {
                self.machines[node].clock.drift(self.now, ppm);
                self.injected.add(Kind::Drift, 1);
            }
            Action::FalseAlarm(node, peer, length) => self.machines[node].alarms[peer] = self.now + length,
            process_or_disk => self.apply_to_process(process_or_disk),
        }
    }

    fn apply_to_process(&mut self, action: Action) {
        match action {
            Action::Crash(node, length, cores) => {
                if self.machines[node].may_end() {
                    self.injected.add(Kind::Crash, 1);
                    self.crash(node);
                    self.restart_later(node, length, cores);
                }
            }
            Action::Relapse(node, moment, length) => {
                if self.machines[node].may_end() {
                    self.injected.add(Kind::Crash, 1);
                    self.crash(node);
                    self.restart_later(node, length, None);
                    self.machines[node].armed = Some((moment, Ambush::Kill, length));
                }
            }
            Action::AimedCrash(node, moment, length) => {
                if self.machines[node].is_up() {
                    self.machines[node].armed = Some((moment, Ambush::Kill, length));
                }
            }
            Action::AimedPause(node, moment, length) => {
                if self.machines[node].is_up() {
                    self.machines[node].armed = Some((moment, Ambush::Stop, length));
                }
            }
            Action::AimedWipe(node, moment, length) => {
                if self.machines[node].is_up() {
                    self.machines[node].armed = Some((moment, Ambush::Replace, length));
                }
            }
            Action::Stop(node, length, cores) => {
                if self.machines[node].state == State::Up && self.machines[node].may_end() {
                    self.stop(node);
                    // Long enough for it to end.
                    self.restart_later(node, length + SECOND / 4, cores);
                }
            }
            Action::Wipe(node, length) => self.replace_disk(node, length),
            Action::Disk(node, troubles, length) => {
                let trouble = self.trouble(node, troubles);
                if troubles.slowness > 1 {
                    self.injected.add(Kind::SlowDisk, 1);
                }
                if troubles.no_writes {
                    self.injected.add(Kind::FullDisk, 1);
                }
                self.disturb(node, self.now + length);
                self.tell(None, || format!("n{node}'s disk: {troubles:?} for {length} µs"));
                self.agenda.add(self.now + length, Happening::Mended { node, trouble });
            }
            Action::FailedMeta(node, length) => self.machines[node].meta_fails_until = self.now + length,
            Action::Rot(node, length) => self.rot(node, length),
            other => unreachable!("applied elsewhere: {other:?}"),
        }
    }

    /// Until an instant nobody wonders that a node takes long.
    fn disturb(&mut self, node: usize, until: Instant) {
        let machine = &mut self.machines[node];
        machine.undisturbed_since = machine.undisturbed_since.max(until);
    }

    fn pause(&mut self, node: usize, length: Instant, kind: Kind) {
        let until = self.now + length;
        let machine = &mut self.machines[node];
        if machine.is_up() && machine.paused_until < until {
            machine.paused_until = until;
            self.injected.add(kind, 1);
            self.disturb(node, until);
            self.tell(None, || format!("n{node} stands still for {length} µs"));
        }
    }

    /// Replaces a disk, unless that would destroy the last copy of something.
    fn replace_disk(&mut self, node: usize, length: Instant) {
        if let Some((key, write)) = self.needed_on(node) {
            self.tally.spared += 1;
            let name = self.checkers.model.name(key, write);
            self.tell(None, || format!("n{node}'s disk is spared: it alone has {name}"));
            return;
        }
        if self.machines[node].is_up() {
            self.crash(node);
            self.restart_later(node, length, None);
        }
        self.wipe(node);
        self.injected.add(Kind::Wipe, 1);
    }

    /// What lies in wait comes, if this is its moment.
    pub(super) fn at_moment(&mut self, node: usize, life: u32, moment: Moment) {
        let machine = &mut self.machines[node];
        let Some((_, ambush, length)) = machine.armed.filter(|(armed, ..)| *armed == moment) else { return };
        if !machine.is_up_as(life) || machine.state != State::Up || !machine.may_end() || self.is_healing {
            return;
        }
        if ambush == Ambush::Replace && self.needed_on(node).is_some() {
            // The next such moment may be better.
            return;
        }
        self.machines[node].armed = None;
        self.tell(None, || format!("n{node} at a bad moment, {moment:?}: {ambush:?}"));
        match ambush {
            Ambush::Kill => {
                self.injected.add(Kind::AimedCrash, 1);
                self.crash(node);
                self.restart_later(node, length, None);
            }
            Ambush::Stop => self.pause(node, length, Kind::AimedPause),
            Ambush::Replace => self.replace_disk(node, length),
        }
    }

    /// A cut ends.
    pub(super) fn on_mend(&mut self, links: &[(usize, usize)]) {
        self.tell(None, || format!("mended: {}", links_text(links)));
        let breaks = self.turns.one_in(2);
        links.iter().for_each(|(from, to)| self.network.mend(self.now, *from, *to, breaks));
    }

    /// A disk is well again.
    pub(super) fn on_mended(&mut self, node: usize, trouble: u64) {
        if self.machines[node].trouble == trouble {
            self.trouble(node, Troubles::NONE);
            self.tell(None, || format!("n{node}'s disk is well again"));
        }
    }
}

fn links_text(links: &[(usize, usize)]) -> String {
    let links: Vec<String> = links.iter().map(|(from, to)| format!("n{from} → n{to}")).collect();
    links.join(", ")
}
