//! The second phase: no more faults, everything is repaired, and the cluster has to become well again by itself.
//!
//! Then all owners have equal objects, nobody keeps hints, every acknowledged write is there, nothing is under way any more,
//! and a client reads the same wherever it asks.
//!
//! Invariant: this phase only reads; what it finds is what the faults have left.

use annulus_cluster::effect::Failure;
use annulus_cluster::event::{Key, Quorum};
use annulus_cluster::ids::Home;
use annulus_cluster::store::Store;
use annulus_object::Object;

use super::clients::Answered;
use super::{Happening, World};
use crate::checkers::{Promise, Violation, acknowledged, bounded, convergence};
use crate::clock::{MILLISECOND, SECOND};
use crate::model::{KeyIndex, Kind, OpId, Outcome};
use crate::node::{CoreStore, Disk, Protocol, Troubles};
use crate::ring::node_id;
use crate::shape::{Resolution, Work};
use crate::store::core_of;
use crate::watched::Watched;
use crate::workload::Wanted;

/// A core may refuse a read where it has much to do: then all are read again, at most so often; or as long as nodes are refilled.
const SWEEPS_MAX: u32 = 5;
/// So often a write may be refused or in doubt though all is well: a new incarnation may have to be stored first, and a key
/// may have as many siblings as it may.
const WRITES_MAX: u32 = 5;
/// How often the cluster is looked at while it recovers.
const LOOK: u64 = 250 * MILLISECOND;

impl<D: Disk, P: Protocol<Watched<D::Core>>> World<D, P> {
    /// Runs both phases; an error is a broken promise.
    pub fn run(&mut self) -> Result<(), Violation> {
        self.misbehave()?;
        self.heal();
        self.settle()?;
        self.write_again()?;
        self.settle()?;
        self.check_end()?;
        self.sweep(true)?;
        self.check_set()?;
        self.check_idle()
    }

    /// The first phase: for so long, or until the clients have done all that they want.
    fn misbehave(&mut self) -> Result<(), Violation> {
        while self.now < self.shape.faulty_for && !self.clients.iter().all(|client| client.is_done(&self.shape)) {
            self.run_until((self.now + SECOND).min(self.shape.faulty_for))?;
        }
        Ok(())
    }

    fn heal(&mut self) {
        self.tell(None, || "no more faults: everything is repaired".to_owned());
        self.is_healing = true;
        self.network.heal(self.now);
        for node in 0..self.machines.len() {
            self.trouble(node, Troubles::NONE);
            let machine = &mut self.machines[node];
            machine.clock.correct(self.now);
            // Whoever stands still wakes up when he was to.
            self.quiet_from = self.quiet_from.max(machine.paused_until);
            machine.slow = (0, 0);
            machine.armed = None;
            machine.meta_fails_until = 0;
            machine.alarms.fill(0);
            let (is_down, life) = (!machine.is_up(), machine.life);
            if is_down {
                self.agenda.add(self.now + MILLISECOND, Happening::Start { node, life });
            }
        }
    }

    /// Waits until the cluster is well; an error says what is not.
    fn settle(&mut self) -> Result<(), Violation> {
        let end = self.now + self.shape.heal_for;
        // Requests end, detectors notice.
        self.run_until(self.quiet_from.max(self.now) + self.shape.deadline * 2 + SECOND)?;
        loop {
            let result = self.check_disks().and_then(|()| self.check_hints()).and_then(|()| self.check_agreement());
            match result {
                Ok(()) => return Ok(()),
                Err(violation) if self.now >= end => return Err(violation),
                Err(_) => {}
            }
            self.run_until(self.now + LOOK)?;
            if (self.hints_left() == 0 || self.check_disks().is_err()) && self.shape.needs_reads() {
                self.sweep(false)?;
            }
        }
    }

    /// Every node takes writes again, for all copies of a key.
    fn write_again(&mut self) -> Result<(), Violation> {
        let n = self.shape.quorum.n;
        let quorum = Quorum { n, r: n, w: n, pr: n, pw: n, dw: n };
        for node in 0..self.machines.len() {
            let key = match self.shape.work {
                Work::Mixed => KeyIndex::try_from(node).expect("few nodes") % self.shape.hot_keys,
                // Not the set, which would be replaced.
                Work::Set { .. } => self.shape.hot_keys,
            };
            let mut attempts = WRITES_MAX;
            loop {
                let (content, context, own_last) = (Vec::new(), None, None);
                let wanted = Wanted { key, kind: Kind::Put, content, context, own_last, quorum };
                let op = self.begin_op(self.clients.len(), node, wanted);
                self.run_until(self.now + self.shape.deadline * 3 / 2)?;
                let outcome = self.checkers.model.op(op).outcome;
                attempts -= 1;
                if matches!(outcome, Outcome::Written(_)) {
                    break;
                }
                if attempts == 0 {
                    let text = format!("all is well, and the write #{op} at n{node} ends as {outcome:?}");
                    return Err(Violation::new(Promise::Convergence, Some(key), text));
                }
            }
        }
        Ok(())
    }

    fn hints_left(&self) -> usize {
        (0..self.machines.len()).map(|node| self.hints_of(node)).sum()
    }

    fn hints_of(&self, node: usize) -> usize {
        let cores = self.machines[node].cores.iter();
        let of_core = |store: &Watched<D::Core>| -> usize {
            (0..self.machines.len()).map(|target| store.hint_count(node_id(target))).sum()
        };
        cores.map(|core| of_core(&core.store)).sum()
    }

    fn check_hints(&mut self) -> Result<(), Violation> {
        for node in 0..self.machines.len() {
            let compared = convergence::check_hints(node, self.hints_of(node))?;
            self.checkers.compared.add(Promise::Convergence, compared);
        }
        Ok(())
    }

    /// All owners have equal objects and equal trees.
    fn check_agreement(&mut self) -> Result<(), Violation> {
        for key in 0..self.checkers.model.keys().len() {
            let key = KeyIndex::try_from(key).expect("few keys");
            let objects = self.owners_objects(key);
            let compared = convergence::check_objects(&self.checkers.model, key, &objects)?;
            self.checkers.compared.add(Promise::Convergence, compared);
        }
        for partition in 0..self.ring.partitions() {
            let owners = self.ring.owners(partition).iter();
            let root = |node: &usize| {
                let cores = &self.machines[*node].cores;
                let core = cores.get(usize::from(core_of(partition, self.ring.partitions(), cores.len() as u16)))?;
                Some((*node, core.store.inner.root(partition)?))
            };
            let roots: Vec<(usize, u128)> = owners.filter_map(root).collect();
            let compared = convergence::check_roots(partition, &roots)?;
            self.checkers.compared.add(Promise::Convergence, compared);
        }
        Ok(())
    }

    fn owners_objects(&mut self, key: KeyIndex) -> Vec<(usize, Object)> {
        let known = self.checkers.model.key(key);
        let (bytes, partition, hash) = (known.bytes.clone(), known.partition, known.hash);
        let name = Key { bytes: &bytes, partition, hash };
        let ring = self.ring.clone();
        let object = |node: &usize| {
            let cores = &mut self.machines[*node].cores;
            let core = usize::from(core_of(partition, ring.partitions(), cores.len() as u16));
            let object = cores[core].store.inner.object(Home::Owned(partition), &name);
            (*node, object.unwrap_or_default())
        };
        ring.owners(partition).iter().map(object).collect()
    }

    /// Every owner has every acknowledged write, and what it has is right.
    fn check_end(&mut self) -> Result<(), Violation> {
        for key in 0..self.checkers.model.keys().len() {
            let key = KeyIndex::try_from(key).expect("few keys");
            for (node, object) in self.owners_objects(key) {
                let who = format!("in the end n{node} has");
                self.checkers.check_object((node, self.now), key, &object, &who)?;
                let compared = acknowledged::check_owner(&self.checkers.model, key, node, &object)?;
                self.checkers.compared.add(Promise::Kept, compared);
            }
        }
        Ok(())
    }

    /// Reads every key that was written, each through another node; with `compares` the answers must be what owners have.
    fn sweep(&mut self, compares: bool) -> Result<(), Violation> {
        let n = self.shape.quorum.n;
        let quorum = Quorum { n, r: n, w: n, pr: 0, pw: 0, dw: n };
        let end = self.now + self.shape.heal_for;
        let mut attempts = 0;
        loop {
            let asked = self.ask_all(quorum)?;
            if !compares {
                return Ok(());
            }
            let compared = asked.into_iter().try_for_each(|(key, op)| self.check_read(key, op));
            attempts += 1;
            let may_ask_again = attempts < SWEEPS_MAX || (self.awaits_refilling() && self.now < end);
            if compared.is_ok() || !may_ask_again {
                return compared;
            }
        }
    }

    /// The word of some node does not count yet, and will: a read that only such nodes could answer fails until then.
    fn awaits_refilling(&self) -> bool {
        !self.shape.needs_reads() && self.machines.iter().any(|machine| machine.meta.is_refilling)
    }

    /// Nobody will ever say whether there is such a key: see [`convergence::is_untold`].
    fn stays_untold(&mut self, key: KeyIndex) -> bool {
        let objects = self.owners_objects(key);
        let owners = objects.iter().map(|(node, object)| (self.machines[*node].meta.is_refilling, object));
        self.shape.needs_reads() && convergence::is_untold(owners)
    }

    /// Asks for every key that was written, and waits for all answers.
    fn ask_all(&mut self, quorum: Quorum) -> Result<Vec<(KeyIndex, OpId)>, Violation> {
        let mut asked = Vec::new();
        for key in 0..self.checkers.model.keys().len() {
            let key = KeyIndex::try_from(key).expect("few keys");
            if self.checkers.model.key(key).writes.is_empty() {
                continue;
            }
            let node = key as usize % self.machines.len();
            let wanted = Wanted { key, kind: Kind::Get, content: Vec::new(), context: None, own_last: None, quorum };
            asked.push((key, self.begin_op(self.clients.len(), node, wanted)));
            // Not more than a core may have under way.
            self.run_until(self.now + 5 * MILLISECOND)?;
        }
        self.run_until(self.now + self.shape.deadline * 2)?;
        Ok(asked)
    }

    /// What a sweeping read has found.
    pub(super) fn on_swept(&mut self, op: OpId, answered: &Answered) {
        if let Answered::Found(object) = answered {
            self.swept.insert(op, object.clone());
        }
    }

    fn check_read(&mut self, key: KeyIndex, op: OpId) -> Result<(), Violation> {
        let read = self.swept.remove(&op);
        let outcome = self.checkers.model.op(op).outcome;
        if outcome == Outcome::Failed(Failure::ReadTimeout) && self.stays_untold(key) {
            return Ok(());
        }
        let Some(read) = read.filter(|_| outcome == Outcome::Found) else {
            let text = format!("all is well, and #{op} of {} ends as {outcome:?}", self.checkers.model.key_name(key));
            return Err(Violation::new(Promise::Convergence, Some(key), text));
        };
        let mut objects = self.owners_objects(key);
        objects.truncate(1);
        objects.push((self.checkers.model.op(op).node, read));
        let compared = convergence::check_objects(&self.checkers.model, key, &objects)?;
        self.checkers.compared.add(Promise::Convergence, compared);
        Ok(())
    }

    /// A set holds every element whose addition was acknowledged.
    fn check_set(&mut self) -> Result<(), Violation> {
        let Work::Set { resolution, .. } = self.shape.work else { return Ok(()) };
        let (_, object) = self.owners_objects(0).swap_remove(0);
        let elements = super::clients::elements(&object, self.shape.work);
        let model = &self.checkers.model;
        let is_added = |op: &OpId| matches!(model.op(*op).outcome, Outcome::Written(_)) && model.op(*op).key == 0;
        let added: Vec<OpId> = (0..model.next_op()).filter(is_added).collect();
        let lost: Vec<OpId> = added.iter().copied().filter(|op| elements.binary_search(op).is_err()).collect();
        self.tally.set_added = added.len() as u64;
        self.tally.set_lost = lost.len() as u64;
        match lost.first() {
            Some(first) if resolution == Resolution::Union => {
                let text = format!("{} of {} elements are lost, #{first} first", lost.len(), added.len());
                Err(Violation::new(Promise::Kept, Some(0), text))
            }
            _ => Ok(()),
        }
    }

    /// A core has left a copy to an exchange: its own, if it is an owner.
    pub(super) fn left_some(&mut self, (node, core): (usize, usize), partition: u16) {
        let owners = self.ring.owners(partition);
        let is_own = owners.contains(&node) && owners.len() > 1;
        self.tally.dirty += 1;
        self.machines[node].cores[core].has_left_some |= is_own;
    }

    /// Nothing is under way any more.
    fn check_idle(&mut self) -> Result<(), Violation> {
        self.run_until(self.now + SECOND)?;
        for (node, machine) in self.machines.iter().enumerate() {
            for (core, it) in machine.cores.iter().enumerate() {
                let begun = it.exchanges.of_dirty;
                let compared = convergence::check_left(node, core as u16, it.has_left_some, begun)?;
                self.checkers.compared.add(Promise::Convergence, compared);
                let compared = bounded::check_idle(node, core as u16, it.protocol.load())?;
                self.checkers.compared.add(Promise::Bounded, compared);
            }
        }
        Ok(())
    }
}
