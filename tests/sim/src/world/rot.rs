//! Disks that rot: bits flip while the process runs, and after a while the disk is replaced by an empty one.
//!
//! What was on such a disk does not count as a copy from then on, and what comes to it does so only for itself: a node that has
//! a version confirms it without looking at its bytes.
//!
//! Invariant: one disk rots at a time, none that has the only copy of something, and no process starts on it again.

use super::machine::State;
use super::{Happening, World};
use crate::checkers::{Promise, Violation};
use crate::clock::{Instant, MILLISECOND};
use crate::faults::Kind;
use crate::model::{KeyIndex, WriteIndex};
use crate::node::{Disk, Protocol};
use crate::watched::Watched;

/// How long a process is down while its disk is replaced, and how long until that is tried again.
const REPLACING: Instant = 100 * MILLISECOND;

impl<D: Disk, P: Protocol<Watched<D::Core>>> World<D, P> {
    /// A write that would be lost with a node's disk, if there is one.
    pub(super) fn needed_on(&self, node: usize) -> Option<(KeyIndex, WriteIndex)> {
        let rotten = self.machines.iter().enumerate().filter(|(_, machine)| machine.is_rotten);
        let doubtful = rotten.fold(0, |nodes, (other, _)| nodes | 1 << other);
        self.checkers.model.only_on(node, doubtful)
    }

    /// Lets bits of a disk flip, unless that could destroy the last copy of something.
    pub(super) fn rot(&mut self, node: usize, length: Instant) {
        let is_first = !self.machines.iter().any(|machine| machine.is_rotten);
        let has_others = self.shape.quorum.n > 1;
        if !is_first || !has_others || self.machines[node].state != State::Up || self.needed_on(node).is_some() {
            self.tally.spared += 1;
            return;
        }
        let flipped = self.machines[node].disk.rot();
        if flipped == 0 {
            return;
        }
        self.machines[node].is_rotten = true;
        self.checkers.model.note_rotten(node);
        self.injected.add(Kind::Rot, flipped);
        self.tell(None, || format!("{flipped} bits of n{node}'s disk flip"));
        self.agenda.add(self.now + length, Happening::Replace { node });
    }

    /// A disk that rots is replaced, as soon as nothing is on it alone.
    pub(super) fn on_replace(&mut self, node: usize) {
        if !self.machines[node].is_rotten {
            return;
        }
        if self.needed_on(node).is_some() {
            self.agenda.add(self.now + REPLACING, Happening::Replace { node });
            return;
        }
        if self.machines[node].is_up() {
            self.crash(node);
        }
        self.wipe(node);
        self.restart_later(node, REPLACING, None);
    }

    /// Every process runs, and no disk rots any more.
    pub(super) fn check_disks(&self) -> Result<(), Violation> {
        for (node, machine) in self.machines.iter().enumerate() {
            if machine.is_rotten || !machine.is_up() {
                let Some((key, write)) = self.needed_on(node).filter(|_| machine.is_rotten) else {
                    let what = if machine.is_rotten { "still has a disk that rots" } else { "does not run" };
                    return Err(Violation::new(Promise::Convergence, None, format!("n{node} {what}")));
                };
                let name = self.checkers.model.name(key, write);
                let text = format!("n{node} still has a disk that rots, and no other owner has {name}");
                return Err(Violation::new(Promise::Convergence, Some(key), text));
            }
        }
        Ok(())
    }
}
