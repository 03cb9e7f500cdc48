//! Nodes whose disk was replaced: they own what they owned and have none of it, until each of their cores says that it has all of
//! it back (rule S11).
//!
//! This is the part of production's loop and control plane that the protocol relies on: a node remembers over its lives that it
//! is being refilled, and forgets it when the last of its cores is done.
//!
//! Invariant: only a core that has said so in this life counts as done.

use super::World;
use crate::node::{Disk, Protocol};
use crate::watched::Watched;

impl<D: Disk, P: Protocol<Watched<D::Core>>> World<D, P> {
    /// Asks a core of a node that is being refilled whether it is done.
    pub(super) fn maybe_end_refilling(&mut self, node: usize, core: usize, life: u32) {
        let machine = &mut self.machines[node];
        if !machine.meta.is_refilling || !machine.is_up_as(life) || machine.cores[core].is_refilled {
            return;
        }
        let driven = &mut machine.cores[core];
        driven.is_refilled = driven.protocol.is_refilled(&driven.store);
        let is_stored = machine.meta_fails_until <= self.now;
        if machine.cores.iter().all(|core| core.is_refilled) && is_stored {
            machine.meta.is_refilling = false;
            self.tally.refilled += 1;
            self.tell(None, || format!("n{node} is refilled"));
        }
    }
}
