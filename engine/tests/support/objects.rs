//! A node among others, and a model of what each key's object may be.
//!
//! Three foreign actors have copies of the keys: they write, learn from each other and from the node, and send it their
//! objects, new ones and old ones. The node's own coordinator stamps, and merges what it has stamped.
//!
//! Some objects are kept for other nodes: hints, each of which has a name of its own in the model.
//!
//! Every write that was taken is a step: the whole object after it. While the node runs, the newest step that has not failed
//! is what must be seen. After a crash the object is the last durable step, merged with any of those that were not.

mod checks;
mod foreign;
mod life;

use checks::shown;
pub use checks::versions_of;
use foreign::some_context;
use std::rc::Rc;

use annulus_engine::disk::memory::MemoryDisk;
use annulus_engine::merkle::{MerkleTree, leaves_for};
use annulus_engine::{
    Commit, Engine, Found, Key, Merge, MergeTicket, ObjectFound, ReadError, ReadPlan, Record, Refusal, Versions,
    index::IndexHash,
};
use annulus_object::{Actor, Clock, Comparison, Context, Dot, HybridClock, Object, ObjectView};
use std::collections::BTreeMap;

use super::{Node, PARTITIONS, Random, owned, partition_of};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open(u16, Commit),
    Durable,
    Failed,
    /// A hint that was handed over. It, or what it was before, may be on the disk all the same.
    Forgotten,
}

#[derive(Clone, Debug)]
struct Step {
    object: Object,
    fate: Fate,
    /// A crash at this point of a recorded disk, or a later one, may leave it.
    from: usize,
    /// And one at this point or a later one must leave it, or what followed.
    durable_at: Option<usize>,
}

impl Step {
    fn is_gone(&self) -> bool {
        matches!(self.fate, Fate::Failed | Fate::Forgotten)
    }

    fn certain(object: Object) -> Step {
        Step { object, fate: Fate::Durable, from: 0, durable_at: Some(0) }
    }
}

/// A merge that waits for a record.
struct Waiting {
    core: u16,
    ticket: MergeTicket,
    /// `None` while no read could be started.
    token: Option<u64>,
    plan: ReadPlan,
    key: Vec<u8>,
    object: Object,
}

/// Another node.
struct Foreign {
    actor: Actor,
    clock: HybridClock,
    /// How far its clock is ahead, or behind.
    skew_ms: i64,
    copies: BTreeMap<Vec<u8>, Object>,
}

/// What happened, so that a test can insist that something did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Met {
    pub merges: u64,
    pub unchanged: u64,
    pub stamps: u64,
    pub puts: u64,
    pub deletes: u64,
    pub waited: u64,
    pub abandoned: u64,
    pub tried_again: u64,
    pub too_long: u64,
    pub refused: u64,
    pub failed: u64,
    pub siblings_max: u64,
    pub objects_read: u64,
    pub recovered: u64,
    pub recovered_siblings: u64,
    pub joined: u64,
    pub siblings_written: u64,
    pub siblings_moved: u64,
    pub hints: u64,
    pub forgotten: u64,
    pub hints_listed: u64,
    pub newer_shown: u64,
}

impl Met {
    pub fn add(&mut self, other: &Met) {
        self.merges += other.merges;
        self.unchanged += other.unchanged;
        self.stamps += other.stamps;
        self.puts += other.puts;
        self.deletes += other.deletes;
        self.waited += other.waited;
        self.abandoned += other.abandoned;
        self.tried_again += other.tried_again;
        self.too_long += other.too_long;
        self.refused += other.refused;
        self.failed += other.failed;
        self.siblings_max = self.siblings_max.max(other.siblings_max);
        self.objects_read += other.objects_read;
        self.recovered += other.recovered;
        self.recovered_siblings += other.recovered_siblings;
        self.joined += other.joined;
        self.siblings_written += other.siblings_written;
        self.siblings_moved += other.siblings_moved;
        self.hints += other.hints;
        self.forgotten += other.forgotten;
        self.hints_listed += other.hints_listed;
        self.newer_shown += other.newer_shown;
    }
}

pub struct Objects {
    pub node: Node,
    pub met: Met,
    /// Steps are kept for [`Objects::after_crash`].
    pub keeps_steps: bool,
    model: BTreeMap<Vec<u8>, Vec<Step>>,
    waiting: Vec<Waiting>,
    foreign: Vec<Foreign>,
    read: BTreeMap<u64, Result<Rc<Record>, ReadError>>,
}

pub fn encoded(object: &Object) -> Vec<u8> {
    let mut bytes = Vec::new();
    object.encode(&mut bytes);
    bytes
}

/// The name of a hint in the model. No key begins with a zero.
pub fn hint(target: u8, key: &[u8]) -> Vec<u8> {
    [&[0, target], key].concat()
}

/// For whom something is kept, and its key; target 0 is the node itself.
fn parse(name: &[u8]) -> (u8, &[u8]) {
    match name {
        [0, target, key @ ..] => (*target, key),
        key => (0, key),
    }
}

fn engine_key<'a>(engine: &mut Engine<MemoryDisk>, name: &'a [u8]) -> Key<'a> {
    let (target, bytes) = parse(name);
    let key = engine.key(bytes, partition_of(bytes));
    if target == 0 {
        return key;
    }
    engine.add_hint_partition(u64::from(target)).unwrap();
    engine.hint_key(&key, u64::from(target)).unwrap()
}

fn merged(one: &Object, other: &Object) -> Object {
    let mut merged = one.clone();
    merged.merge(other.clone());
    merged
}

impl Objects {
    pub fn new(node: Node) -> Objects {
        let foreign = (1..=3).map(|number| Foreign {
            actor: Actor::new(1000 + number, 1),
            clock: HybridClock::new(Clock::ZERO),
            // One is right, one an hour ahead, one ten seconds behind.
            skew_ms: [0, 3_600_000, -10_000][number as usize - 1],
            copies: BTreeMap::new(),
        });
        let (met, read) = (Met::default(), BTreeMap::new());
        let (model, waiting, foreign) = (BTreeMap::new(), Vec::new(), foreign.collect());
        Objects { node, met, keeps_steps: false, model, waiting, foreign, read }
    }

    fn core_of(&self, name: &[u8]) -> usize {
        usize::from(self.node.core_of(parse(name).1))
    }

    /// What must be seen of a key.
    pub fn visible(&self, key: &[u8]) -> Object {
        let steps = self.model.get(key).into_iter().flatten();
        steps.rev().find(|step| !step.is_gone()).map(|step| step.object.clone()).unwrap_or_default()
    }

    /// And of what waits for a read.
    fn with_waiting(&self, key: &[u8]) -> Object {
        let waiting = self.waiting.iter().filter(|waiting| waiting.key == key);
        waiting.fold(self.visible(key), |object, waiting| merged(&object, &waiting.object))
    }

    fn push(&mut self, key: &[u8], object: Object) {
        let core = self.core_of(key) as u16;
        let engine = &mut self.node.cores[usize::from(core)];
        let known = engine_key(engine, key);
        let commit = engine.open_commit(&known);
        let fate = commit.map_or(Fate::Durable, |commit| Fate::Open(core, commit));
        self.met.siblings_max = self.met.siblings_max.max(object.siblings().len() as u64);
        let point = self.node.disk.recorded();
        let durable_at = (fate == Fate::Durable).then_some(point);
        self.model.entry(key.to_vec()).or_default().push(Step { object, fate, from: point + 1, durable_at });
        self.trim();
    }

    /// Merges an object into the node's, as a message or its coordinator brings it.
    pub fn merge(&mut self, key: &[u8], object: &Object) {
        let core = self.core_of(key) as u16;
        for _ in 0..1000 {
            let (before, now_ms) = (self.visible(key), self.node.now_ms);
            let engine = &mut self.node.cores[usize::from(core)];
            let known = engine_key(engine, key);
            let bytes = encoded(object);
            let result = engine.merge(&known, &ObjectView::check(&bytes).unwrap(), now_ms);
            match result {
                Ok(Merge::Done(done)) => return self.merged(key, object, &before, done.changed),
                Ok(Merge::NeedsRead { ticket, plan }) => {
                    self.met.waited += 1;
                    let (key, object) = (key.to_vec(), object.clone());
                    self.waiting.push(Waiting { core, ticket, token: None, plan, key, object });
                    return self.start_reads();
                }
                Err(Refusal::Stall) => self.wait(),
                Err(refusal) => return self.refused(&refusal),
            }
        }
        panic!("a merge stalls for ever");
    }

    fn refused(&mut self, refusal: &Refusal) {
        match refusal {
            Refusal::TooLarge { .. } => self.met.too_long += 1,
            _ => self.met.refused += 1,
        }
    }

    fn merged(&mut self, key: &[u8], object: &Object, before: &Object, changed: bool) {
        let after = merged(before, object);
        assert_eq!(changed, after != *before, "of {}: {before:?} and {object:?}", key.escape_ascii());
        if changed {
            self.met.merges += 1;
            self.push(key, after);
        } else {
            self.met.unchanged += 1;
        }
    }

    fn wait(&mut self) {
        self.turn(3);
        self.node.now_ms += 10;
        self.tick();
    }

    fn start_reads(&mut self) {
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.token.is_none()) {
            let token = self.node.next_token;
            if self.node.cores[usize::from(waiting.core)].start_read(&waiting.plan, token) {
                self.node.next_token += 1;
                waiting.token = Some(token);
            }
        }
    }

    pub fn tick(&mut self) {
        self.node.tick();
    }

    /// One turn of every core; what has been read is merged.
    pub fn turn(&mut self, completions: usize) {
        let reads = self.node.turn(completions);
        self.settle();
        for (token, result) in reads {
            match self.waiting.iter().position(|waiting| waiting.token == Some(token)) {
                Some(index) => self.finish(index, result),
                None => drop(self.read.insert(token, result)),
            }
        }
        self.start_reads();
    }

    /// Ends the merge whose record came.
    fn finish(&mut self, index: usize, result: Result<Rc<Record>, ReadError>) {
        let waiting = self.waiting.swap_remove(index);
        let (core, now_ms) = (usize::from(waiting.core), self.node.now_ms);
        let record = match result {
            Ok(record) => Some(record),
            // The key was written anew, or forgotten.
            Err(ReadError::Gone) => None,
            // Or a call that a test lets fail: every other time the merge is tried once more.
            Err(ReadError::Disk(_)) if self.node.next_token.is_multiple_of(2) => None,
            Err(ReadError::Disk(_)) => {
                self.node.cores[core].abandon_merge(waiting.ticket);
                self.met.abandoned += 1;
                return;
            }
            Err(error) => panic!("{} cannot be read: {error}", waiting.key.escape_ascii()),
        };
        let before = self.visible(&waiting.key);
        let engine = &mut self.node.cores[core];
        self.met.tried_again += u64::from(record.is_none());
        let result = match record {
            Some(record) => engine.merge_with(waiting.ticket, &record, now_ms),
            None => engine.merge_again(waiting.ticket, now_ms),
        };
        match result {
            Ok(Merge::Done(done)) => self.merged(&waiting.key, &waiting.object, &before, done.changed),
            Ok(Merge::NeedsRead { ticket, plan }) => {
                assert_eq!(ticket, waiting.ticket);
                self.waiting.push(Waiting { plan, token: None, ..waiting });
            }
            Err(Refusal::Stall) => self.waiting.push(Waiting { token: None, ..waiting }),
            Err(refusal) => {
                self.node.cores[core].abandon_merge(waiting.ticket);
                self.refused(&refusal);
            }
        }
    }

    fn settle(&mut self) {
        for (core, commit, is_durable) in std::mem::take(&mut self.node.commits) {
            for step in self.model.values_mut().flatten() {
                let Fate::Open(of, open) = step.fate else { continue };
                let is_of = of == core && open.instance == commit.instance;
                if is_of && is_durable && open <= commit {
                    (step.fate, step.durable_at) = (Fate::Durable, Some(self.node.disk.recorded()));
                } else if is_of && !is_durable && open == commit {
                    step.fate = Fate::Failed;
                    self.met.failed += 1;
                }
            }
        }
        self.trim();
    }

    /// Forgets what a durable step has replaced. What has failed may be on the disk all the same.
    fn trim(&mut self) {
        if self.keeps_steps {
            return;
        }
        for steps in self.model.values_mut() {
            if let Some(last) = steps.iter().rposition(|step| step.fate == Fate::Durable) {
                let mut index = 0;
                steps.retain(|step| {
                    index += 1;
                    index > last || step.is_gone()
                });
            }
        }
    }

    /// What is kept of a key for another node was handed over.
    pub fn forget(&mut self, target: u8, key: &[u8]) {
        let name = hint(target, key);
        let (core, Some(latest)) = (self.core_of(&name), self.visible(&name).latest().map(|latest| latest.dot)) else {
            return;
        };
        let is_open = |step: &Step| matches!(step.fate, Fate::Open(..));
        let waits = self.model[&name].iter().any(is_open) || self.waiting.iter().any(|waiting| waiting.key == name);
        let engine = &mut self.node.cores[core];
        let known = engine_key(engine, &name);
        let older = Dot::new(Clock::from_raw(1).unwrap(), latest.actor);
        assert!(!engine.forget(&known, older), "something newer came");
        if engine.forget(&known, latest) {
            assert!(!waits, "what is on its way is not forgotten");
            self.met.forgotten += 1;
            // A restart may find it again, or older states of it.
            self.model.get_mut(&name).unwrap().iter_mut().for_each(|step| step.fate = Fate::Forgotten);
        }
    }

    /// The node's coordinator writes: its stamp is above all that it has, and its object is whole.
    pub fn coordinate(&mut self, random: &mut Random, key: &[u8], value: Option<Vec<u8>>, expires_at_ms: u64) {
        let core = self.core_of(key);
        let mut object = self.with_waiting(key);
        let now_ms = self.node.now_ms;
        let engine = &mut self.node.cores[core];
        let known = engine_key(engine, key);
        let versions = engine.versions(&known);
        assert_eq!(versions, versions_of(&object), "of {}", key.escape_ascii());
        let Some(dot) = engine.stamp(now_ms, versions.context.highest()) else { return };
        let seen = some_context(random, &object);
        let expires_at_ms = if value.is_some() { expires_at_ms } else { 0 };
        if !random.one_in(4) || !object.touch(dot, &seen, expires_at_ms, now_ms) {
            object.write(dot, &seen, value, expires_at_ms);
        }
        self.met.stamps += 1;
        self.merge(key, &object);
    }

    /// A plain write, or delete, which replaces all that the node has.
    pub fn write(&mut self, key: &[u8], value: Option<(Vec<u8>, u64)>) {
        let core = self.core_of(key);
        for _ in 0..1000 {
            let (seen, mut object) = (self.with_waiting(key).context().clone(), self.visible(key));
            let now_ms = self.node.now_ms;
            let was_there = shown(&object, now_ms).is_some();
            let engine = &mut self.node.cores[core];
            let known = engine_key(engine, key);
            let result = match &value {
                Some((value, expires_at_ms)) => engine.put(&known, value, *expires_at_ms, now_ms).map(Some),
                None => engine.delete(&known, now_ms),
            };
            match result {
                Ok(Some(written)) => {
                    // Of several siblings with values the store does not know before it reads them that all have expired.
                    let is_plain = object.siblings().len() < 2;
                    assert!(
                        written.existed == was_there || (written.existed && !is_plain),
                        "of {}",
                        key.escape_ascii()
                    );
                    let (expires_at_ms, value) = match &value {
                        Some((value, expires_at_ms)) => (*expires_at_ms, Some(value.clone())),
                        None => (0, None),
                    };
                    *(if value.is_some() { &mut self.met.puts } else { &mut self.met.deletes }) += 1;
                    object.write(written.dot, &seen, value, expires_at_ms);
                    return self.push(key, object);
                }
                Ok(None) => return assert!(!was_there, "a delete found nothing of {}", key.escape_ascii()),
                Err(Refusal::Stall) => self.wait(),
                Err(refusal) => return self.refused(&refusal),
            }
        }
        panic!("a write stalls for ever");
    }

    pub fn known_keys(&self) -> Vec<Vec<u8>> {
        self.model.keys().cloned().collect()
    }
}
