//! What must hold: one file per promise, each a function of the model and of what was just observed.
//!
//! A violation ends the run; it names the promise, the key, and what was seen, and the run's story tells how it came to that.
//!
//! Invariant: a checker that compared nothing is reported as such, so that nobody takes silence for proof.

pub mod acknowledged;
pub mod answers;
pub mod bounded;
pub mod causality;
pub mod convergence;
pub mod copies;
pub mod hints;
pub mod invention;
pub mod rot;
pub mod sessions;
pub mod strict_reads;

#[cfg(test)]
mod tests;

use annulus_cluster::effect::Failure;
use annulus_cluster::ids::Home;
use annulus_cluster::store::Versions;
use annulus_object::{Context, Dot, Object};

use crate::bits::Bits;
use crate::clock::Instant;
use crate::model::{Acknowledged, KeyIndex, Model, OpId, Outcome, Storing, WriteIndex};

/// What is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// No acknowledged write is lost.
    Kept,
    /// No value is invented; what was refused leaves nothing.
    NothingInvented,
    /// A blind write is executed once.
    Once,
    /// A write is not executed after its deadline.
    InTime,
    /// A write replaces what it has seen and nothing else.
    Causality,
    /// A session reads its writes.
    Sessions,
    /// Strict quorums see the latest acknowledged write.
    StrictReads,
    /// After healing all owners agree, and nobody keeps hints.
    Convergence,
    /// Queues are bounded.
    Bounded,
    /// A request is answered once, and in time.
    Answers,
    /// I1: an acknowledged write is on as many nodes as was asked for.
    Copies,
    /// I2: a hint is forgotten when its target has it, and no copy that counts goes with it.
    Hints,
    /// I4: a dot is issued once, and is above what its write has seen.
    Dots,
    /// I8: damaged bytes are never returned and never replicated.
    Rot,
    /// The product's own assertions hold.
    Assertions,
}

impl Promise {
    /// All of them.
    pub const ALL: [Promise; 15] = [
        Promise::Kept,
        Promise::NothingInvented,
        Promise::Once,
        Promise::InTime,
        Promise::Causality,
        Promise::Sessions,
        Promise::StrictReads,
        Promise::Convergence,
        Promise::Bounded,
        Promise::Answers,
        Promise::Copies,
        Promise::Hints,
        Promise::Dots,
        Promise::Rot,
        Promise::Assertions,
    ];

    /// In words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Promise::Kept => "no acknowledged write is lost",
            Promise::NothingInvented => "nothing is invented",
            Promise::Once => "a blind write is executed once",
            Promise::InTime => "a write is not executed after its deadline",
            Promise::Causality => "a write replaces what it has seen, and only that",
            Promise::Sessions => "a session reads its writes",
            Promise::StrictReads => "strict quorums read the latest acknowledged write",
            Promise::Convergence => "after healing all owners agree and no hints are left",
            Promise::Bounded => "queues are bounded",
            Promise::Answers => "a request is answered once, and in time",
            Promise::Copies => "I1: an acknowledged write has its copies",
            Promise::Hints => "I2: a hint goes only when its target has it",
            Promise::Dots => "I4: a dot is issued once, above all that it has seen",
            Promise::Assertions => "the product's own assertions hold",
            Promise::Rot => "I8: damaged bytes are neither returned nor replicated",
        }
    }
}

/// A promise was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub promise: Promise,
    /// Of which key, if of one.
    pub key: Option<KeyIndex>,
    /// What was seen.
    pub text: String,
}

impl Violation {
    /// A violation.
    #[must_use]
    pub fn new(promise: Promise, key: Option<KeyIndex>, text: String) -> Self {
        Self { promise, key, text }
    }
}

/// How often each promise was put to the test.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compared([u64; Promise::ALL.len()]);

impl Compared {
    /// Counts comparisons.
    pub fn add(&mut self, promise: Promise, count: u64) {
        self.0[promise as usize] += count;
    }

    /// Comparisons of a promise.
    #[must_use]
    pub fn of(&self, promise: Promise) -> u64 {
        self.0[promise as usize]
    }

    /// Adds those of another run.
    pub fn merge(&mut self, other: &Compared) {
        self.0.iter_mut().zip(other.0).for_each(|(count, other)| *count += other);
    }
}

/// The model, and how often it was asked.
#[derive(Debug, Default)]
pub struct Checkers {
    /// What is true.
    pub model: Model,
    /// How often each promise was put to the test.
    pub compared: Compared,
}

/// A client's answer as it arrives at the model.
#[derive(Debug, Clone, Copy)]
pub enum Told<'a> {
    /// Acknowledged.
    Written {
        /// The write.
        dot: Dot,
        /// Which nodes own the key, one bit each.
        owners: u64,
    },
    /// Read.
    Found {
        /// All siblings and their context.
        object: &'a Object,
        /// The coordinator says that there may be more.
        is_stale_possible: bool,
    },
    /// Not served.
    Failed(Failure),
}

impl Checkers {
    /// A core merges an object into its store.
    pub fn on_storing(&mut self, storing: &Storing<'_>) -> Result<Vec<WriteIndex>, Violation> {
        let learnt = self.model.learn(storing)?;
        self.compared.add(Promise::Dots, learnt.len() as u64);
        self.compared.add(Promise::Once, learnt.len() as u64);
        if self.model.clocks_are_right {
            self.compared.add(Promise::InTime, learnt.len() as u64);
        }
        let place = format!("n{} stores", storing.node);
        self.check_values(storing.key, storing.object, &place)?;
        Ok(learnt)
    }

    /// A core has this of a key now.
    pub fn on_state(
        &mut self,
        (node, at): (usize, Instant),
        key: KeyIndex,
        dots: &[Dot],
        context: &Context,
    ) -> Result<(), Violation> {
        let live = invention::known(&self.model, key, dots, node)?;
        self.check_history((node, at), key, &live, context)
    }

    /// A write of the store is durable: the node has what these cover.
    pub fn on_durable(&mut self, node: usize, home: Home, key: KeyIndex, writes: &Bits) {
        self.model.note_durable(node, home, key, writes);
    }

    /// A node has forgotten hints of a key.
    pub fn on_forgotten(
        &mut self,
        node: usize,
        key: KeyIndex,
        targets: u64,
        (gone, left): (&Versions, &[(Home, Versions)]),
    ) -> Result<(), Violation> {
        self.compared.add(Promise::Hints, hints::forget(&mut self.model, node, key, targets, (gone, left))?);
        let model = self.model.key(key);
        let gone: Vec<WriteIndex> = model.known(gone.siblings.iter().map(|sibling| sibling.0)).collect();
        self.compared.add(Promise::Kept, acknowledged::check_copies(&self.model, key, gone.into_iter())?);
        Ok(())
    }

    /// A client is told something.
    pub fn on_answer(&mut self, node: usize, at: Instant, op: OpId, told: Told<'_>) -> Result<(), Violation> {
        self.compared.add(Promise::Answers, answers::check(&mut self.model, op, &told)?);
        match told {
            Told::Written { dot, owners } => self.on_written(at, op, dot, owners),
            Told::Found { object, is_stale_possible } => self.on_found(node, at, op, (object, is_stale_possible)),
            Told::Failed(failure) => {
                let known = self.model.op_mut(op);
                known.outcome = Outcome::Failed(failure);
                invention::check_refused(&self.model, op, failure)
            }
        }
    }

    fn on_written(&mut self, at: Instant, op: OpId, dot: Dot, owners: u64) -> Result<(), Violation> {
        let write = invention::check_written(&self.model, op, dot)?;
        let (key, quorum) = (self.model.op(op).key, self.model.op(op).quorum);
        self.model.op_mut(op).outcome = Outcome::Written(write);
        let known = self.model.write_mut(key, write);
        known.op = Some(op);
        known.acknowledged = Some(Acknowledged { at, quorum });
        self.compared.add(Promise::Copies, copies::check(&self.model, key, write, owners)?);
        self.compared.add(Promise::Kept, acknowledged::check_copies(&self.model, key, std::iter::once(write))?);
        self.compared.add(Promise::Causality, causality::check_kept(&self.model, key, write)?);
        Ok(())
    }

    fn on_found(
        &mut self,
        node: usize,
        at: Instant,
        op: OpId,
        (object, is_stale_possible): (&Object, bool),
    ) -> Result<(), Violation> {
        let key = self.model.op(op).key;
        self.model.op_mut(op).outcome = Outcome::Found;
        self.check_object((node, at), key, object, &format!("#{op} reads"))?;
        // Whoever is told that there may be more is not misled.
        if !is_stale_possible {
            self.compared.add(Promise::Sessions, sessions::check(&self.model, op, object)?);
        }
        self.compared.add(Promise::StrictReads, strict_reads::check(&self.model, op, object)?);
        Ok(())
    }

    /// Values and history of an object that somebody has.
    pub fn check_object(
        &mut self,
        place: (usize, Instant),
        key: KeyIndex,
        object: &Object,
        who: &str,
    ) -> Result<(), Violation> {
        self.check_values(key, object, who)?;
        let dots: Vec<Dot> = object.siblings().iter().map(|sibling| sibling.dot).collect();
        let live = invention::known(&self.model, key, &dots, place.0)?;
        self.check_history(place, key, &live, object.context())
    }

    fn check_values(&mut self, key: KeyIndex, object: &Object, who: &str) -> Result<(), Violation> {
        let compared = invention::check_values(&self.model, key, object, who)?;
        self.compared.add(Promise::NothingInvented, compared);
        Ok(())
    }

    fn check_history(
        &mut self,
        (node, at): (usize, Instant),
        key: KeyIndex,
        live: &[WriteIndex],
        context: &Context,
    ) -> Result<(), Violation> {
        let (compared, unjust) = causality::check_state(&self.model, key, live, context)?;
        self.compared.add(Promise::Causality, compared);
        for write in unjust {
            let known = self.model.write_mut(key, write);
            known.unjust.get_or_insert(crate::model::Unjust { node, at, live: live.to_vec() });
            causality::check_kept(&self.model, key, write)?;
        }
        Ok(())
    }
}
