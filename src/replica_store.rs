//! One core's engine as the store of the replication protocol: carries out what that wants stored, read and forgotten, and tells
//! it what became of it.
//!
//! ```text
//! Effect::Store ──▶ merge ─┬─ is written ─────────▶ its commit ends ──▶ Stored
//!                          ├─ needs a record ─────▶ read, merged again
//!                          └─ stalls ─────────────▶ waits here, tried again
//! Effect::Load ───▶ object ─┬─ in memory ───────────────────────────▶ Loaded
//!                           └─ on the disk ───────▶ read, looked up again
//! ```
//!
//! Whoever drives the core hands completions and finished work in, calls [`ReplicaStore::end_turn`] once a turn, and takes what
//! has ended with [`ReplicaStore::next_ended`] until there is nothing more.
//!
//! Invariant: every store and every load ends once; what was to be stored is shown until then, wherever it waits (rule S2); and
//! from a failure on until it was told nothing is stamped (rule S1).

mod ended;
mod lookup;
mod waiting;

use std::rc::Rc;

use annulus_cluster::event::{Key, Now, StoreFailure};
use annulus_cluster::ids::{Home, StoreToken};
use annulus_engine as engine;
use annulus_engine::{
    Completion, Disk, Durability, Engine, Merge, MergeTicket, ObjectFound, ReadError, ReadPlan, Record, Refusal, Work,
    WorkDone,
};
use annulus_object::{Dot, Object, ObjectView};

use crate::slab::Slab;

use self::ended::EndedQueue;
pub use self::ended::{Ended, LoadedBytes};
use self::waiting::{Commits, Loading, Reading, Stalled, Unmerged, Waiting};

/// Read tokens with this bit are this store's; whoever else reads from the engine uses others.
pub const READ_TOKENS: u64 = 1 << 63;

/// The store of one core.
pub struct ReplicaStore<D: Disk> {
    engine: Engine<D>,
    is_stable: bool,
    reads: Slab<Reading>,
    waiting: Waiting,
    commits: Commits,
    ended: EndedQueue,
    /// Something has ended since what waits was last tried.
    has_news: bool,
}

impl<D: Disk> ReplicaStore<D> {
    /// Over an engine that has recovered, and was opened with this durability.
    pub fn new(engine: Engine<D>, durability: Durability) -> Self {
        Self {
            engine,
            is_stable: durability == Durability::Sync,
            reads: Slab::default(),
            waiting: Waiting::default(),
            commits: Commits::default(),
            ended: EndedQueue::default(),
            has_news: false,
        }
    }

    /// The engine, for everything that is no business of the protocol's.
    pub fn engine(&self) -> &Engine<D> {
        &self.engine
    }

    /// The same, to be changed; what it then tells comes with [`ReplicaStore::next_ended`].
    pub fn engine_mut(&mut self) -> &mut Engine<D> {
        &mut self.engine
    }

    /// Carries out [`annulus_cluster::effect::Effect::Store`].
    pub fn store(&mut self, token: StoreToken, home: Home, key: &Key<'_>, object: &[u8], now: Now) {
        let view = ObjectView::check(object).expect("the protocol stores what it has checked");
        let merged = self.key_to_write(home, key).map(|key| self.engine.merge(&key, &view, now.unix_ms));
        match merged {
            Some(Ok(merge)) => self.go_on(token, merge),
            Some(Err(Refusal::Stall)) if self.waiting.has_room(key.bytes.len() + object.len()) => {
                self.waiting.add_stalled(Stalled::new(token, home, key, object, now));
            }
            Some(Err(_)) | None => self.ended.fail(token, StoreFailure::Refused),
        }
    }

    /// Carries out [`annulus_cluster::effect::Effect::Load`].
    pub fn load(&mut self, token: StoreToken, home: Home, key: &Key<'_>) {
        let mut bytes = self.ended.buffer();
        bytes.extend_from_slice(key.bytes);
        self.look(Loading { token, home, hash: key.hash, key: bytes }, None);
    }

    /// Carries out [`annulus_cluster::effect::Effect::Forget`]; whether the hint is gone. While some of it is on its way to the
    /// disk it is not, and will be handed over again.
    pub fn forget(&mut self, home: Home, key: &Key<'_>, dot: Dot) -> bool {
        if self.waiting.stalled_at(home, key.hash).next().is_some() {
            return false;
        }
        let hint = key_in(&self.engine, home, key);
        hint.is_some_and(|hint| self.engine.forget(&hint, dot))
    }

    /// An operation of the disk has ended.
    pub fn on_completion(&mut self, completion: Completion, now: Now) {
        self.engine.on_completion(completion, now.unix_ms);
        self.has_news = true;
        self.take_events(now);
    }

    /// The next piece of background work.
    pub fn next_work(&mut self) -> Option<Work<D>> {
        self.engine.next_work()
    }

    /// A piece of background work has ended.
    pub fn on_work_done(&mut self, done: WorkDone<D>, now: Now) {
        self.engine.on_work_done(done, now.unix_ms);
        self.has_news = true;
        self.take_events(now);
    }

    /// About every 20 ms.
    pub fn tick(&mut self, now: Now) {
        self.engine.tick(now.unix_ms);
        self.has_news = true;
        self.take_events(now);
    }

    /// Ends a turn: what waited is tried again, and what is to be written is on its way.
    pub fn end_turn(&mut self, now: Now) {
        if std::mem::take(&mut self.has_news) {
            self.try_again(now);
        }
        self.engine.end_turn(now.steady_us);
        self.take_events(now);
    }

    /// What has ended next; the bytes of a load are put into `bytes`.
    pub fn next_ended(&mut self, bytes: &mut LoadedBytes) -> Option<Ended> {
        self.ended.next(bytes)
    }

    /// Whether anything has ended.
    pub fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Whether nothing is under way that the protocol asked for.
    pub fn is_idle(&self) -> bool {
        self.reads.is_empty() && self.waiting.is_empty() && self.commits.is_empty() && self.ended.is_empty()
    }

    /// The engine's name of what is to be written; `None` where hints are kept for as many nodes as they can be.
    fn key_to_write<'a>(&mut self, home: Home, key: &Key<'a>) -> Option<engine::Key<'a>> {
        if let Home::Hinted { target, .. } = home {
            self.engine.add_hint_partition(target.raw())?;
        }
        key_in(&self.engine, home, key)
    }

    /// A merge has come so far.
    fn go_on(&mut self, token: StoreToken, merge: Merge) {
        match merge {
            Merge::NeedsRead { ticket, plan } => self.read(Reading::Merge { token, ticket }, plan),
            Merge::Done(merged) => match merged.after {
                Some(commit) => self.commits.wait(commit, token),
                None => self.ended.stored(token),
            },
        }
    }

    fn read(&mut self, reading: Reading, plan: ReadPlan) {
        let number = self.reads.insert(reading);
        if !self.engine.start_read(&plan, READ_TOKENS | u64::from(number)) {
            let reading = self.reads.remove(number);
            if let Err(Reading::Load(loading)) = self.waiting.add_unread(reading, plan) {
                self.ended.not_told(loading);
            }
        }
    }

    /// Goes on with a merge, with the record that it waited for if that is still there.
    fn merge_on(&mut self, unmerged: Unmerged, now: Now) {
        let Unmerged { token, ticket, record, until_us } = unmerged;
        let result = match &record {
            Some(record) => self.engine.merge_with(ticket, record, now.unix_ms),
            None => self.engine.merge_again(ticket, now.unix_ms),
        };
        match result {
            Ok(merge) => self.go_on(token, merge),
            Err(Refusal::Stall) if now.steady_us < until_us => {
                self.waiting.add_unmerged(Unmerged { token, ticket, record, until_us });
            }
            Err(_) => self.give_up(token, ticket),
        }
    }

    /// A merge that will not be: its key's record cannot be read, or the store takes nothing more.
    fn give_up(&mut self, token: StoreToken, ticket: MergeTicket) {
        self.engine.abandon_merge(ticket);
        self.ended.fail(token, StoreFailure::Refused);
    }

    /// Looks an object up, with the record that it waited for.
    fn look(&mut self, loading: Loading, fetched: Option<&Rc<Record>>) {
        if loading.is_by_hash() && self.engine.key(b"", place_of(&loading)).hash != loading.hash {
            return self.look_in_index(loading, fetched);
        }
        let (mut key, mut object) = (self.ended.buffer(), self.ended.buffer());
        let Some(place) = key_in(&self.engine, loading.home, &loading.key()) else {
            return self.ended.loaded(loading, (key, object));
        };
        let found = match loading.name_only() {
            Some(target) => self.engine.hint_object(target, place.hash, fetched, (&mut key, &mut object)),
            None => self.engine.object_with(&place, fetched, &mut object),
        };
        if let ObjectFound::OnDisk(plan) = found {
            self.ended.keep(key);
            self.ended.keep(object);
            return self.read(Reading::Load(loading), plan);
        }
        join_unmerged(&self.engine, &self.waiting, &loading, &place, &mut object);
        if loading.name_only().is_some() {
            if key.is_empty() && !object.is_empty() {
                // Only what waits is left of it, and that does not tell its key before it is merged.
                return self.ended.not_told(loading);
            }
            let hash = if object.is_empty() { loading.hash } else { self.engine.key(&key, place_of(&loading)).hash };
            return self.ended.loaded(Loading { hash, ..loading }, (key, object));
        }
        if !object.is_empty() {
            key.extend_from_slice(&loading.key);
        }
        self.ended.loaded(loading, (key, object));
    }

    /// Looks an object up of which the index's part of the hash is known: what is durable of it.
    fn look_in_index(&mut self, loading: Loading, fetched: Option<&Rc<Record>>) {
        let (mut key, mut object) = (self.ended.buffer(), self.ended.buffer());
        let partition = place_of(&loading);
        let found = self.engine.object_in_index(partition, loading.hash, fetched, (&mut key, &mut object));
        if let ObjectFound::OnDisk(plan) = found {
            self.ended.keep(key);
            self.ended.keep(object);
            return self.read(Reading::Load(loading), plan);
        }
        let hash = if object.is_empty() { loading.hash } else { self.engine.key(&key, partition).hash };
        self.ended.loaded(Loading { hash, ..loading }, (key, object));
    }

    /// Turns what the engine tells into what has ended.
    pub fn take_events(&mut self, now: Now) {
        while let Some(event) = self.engine.next_event() {
            match event {
                engine::Event::Durable(commit) => {
                    self.commits.up_to(commit, |token| self.ended.stored(token));
                    self.ended.push(Ended::Engine(event));
                }
                engine::Event::Failed(commit) => {
                    self.commits.of(commit, |token| self.ended.fail(token, StoreFailure::Unknown));
                    self.ended.push(Ended::Engine(event));
                }
                engine::Event::Read { token, result } if token & READ_TOKENS != 0 => {
                    let number = u32::try_from(token & !READ_TOKENS).expect("its number was added to the bit");
                    let reading = self.reads.remove(number);
                    self.on_read(reading, result, now);
                }
                engine::Event::NeedIncarnation => self.ended.push(Ended::NeedIncarnation),
                engine::Event::ReadOnly => self.ended.push(Ended::ReadOnly),
                other @ (engine::Event::Read { .. } | engine::Event::Snapshot(_)) => {
                    self.ended.push(Ended::Engine(other));
                }
            }
        }
    }

    fn on_read(&mut self, reading: Reading, result: Result<Rc<Record>, ReadError>, now: Now) {
        match (reading, result) {
            (Reading::Merge { token, ticket }, Ok(record)) => {
                self.merge_on(Unmerged::new(token, ticket, Some(record), now), now);
            }
            (Reading::Merge { token, ticket }, Err(ReadError::Gone)) => {
                self.merge_on(Unmerged::new(token, ticket, None, now), now);
            }
            (Reading::Merge { token, ticket }, Err(_)) => self.give_up(token, ticket),
            (Reading::Load(loading), Ok(record)) => self.look(loading, Some(&record)),
            (Reading::Load(loading), Err(ReadError::Gone)) => self.look(loading, None),
            (Reading::Load(loading), Err(_)) => self.ended.not_told(loading),
        }
    }

    /// Tries what waits, the oldest first, until there is no room again.
    fn try_again(&mut self, now: Now) {
        for _ in 0..self.waiting.unread() {
            let (reading, plan) = self.waiting.next_unread().expect("so many were counted");
            self.read(reading, plan);
        }
        for _ in 0..self.waiting.unmerged() {
            let unmerged = self.waiting.next_unmerged().expect("so many were counted");
            self.merge_on(unmerged, now);
        }
        while let Some(stalled) = self.waiting.next_stalled() {
            let (token, key) = (stalled.token, stalled.key());
            let view = ObjectView::checked_before(&stalled.object);
            let merged = self.key_to_write(stalled.home, &key).map(|key| self.engine.merge(&key, &view, now.unix_ms));
            match merged {
                Some(Ok(merge)) => self.go_on(token, merge),
                Some(Err(Refusal::Stall)) if now.steady_us < stalled.until_us => {
                    return self.waiting.return_stalled(stalled);
                }
                Some(Err(_)) | None => self.ended.fail(token, StoreFailure::Refused),
            }
        }
    }
}

/// The engine's name of a key; `None` where nothing was ever kept for the target.
fn key_in<'a, D: Disk>(engine: &Engine<D>, home: Home, key: &Key<'a>) -> Option<engine::Key<'a>> {
    let owned = engine::Key { bytes: key.bytes, partition: home.partition(), hash: key.hash };
    match home {
        Home::Owned(_) => Some(owned),
        // A hint's name is also its name's.
        Home::Hinted { target, .. } => engine.hint_key(&owned, target.raw()),
    }
}

fn place_of(loading: &Loading) -> u16 {
    loading.home.partition()
}

/// Merges what is not the engine's yet into an object that it gave.
fn join_unmerged<D: Disk>(
    engine: &Engine<D>,
    waiting: &Waiting,
    loading: &Loading,
    place: &engine::Key<'_>,
    object: &mut Vec<u8>,
) {
    let mut joined: Option<Object> = None;
    let mut join = |view: ObjectView<'_>| {
        let stored = || if object.is_empty() { Object::default() } else { decoded(object) };
        joined.get_or_insert_with(stored).merge(decoded(view.bytes()));
    };
    engine.waiting_objects(place, &mut join);
    let stalled = waiting.stalled_at(loading.home, loading.hash);
    stalled.for_each(|stalled| join(ObjectView::checked_before(&stalled.object)));
    if let Some(joined) = joined {
        object.clear();
        joined.encode(object);
    }
}

fn decoded(bytes: &[u8]) -> Object {
    Object::decode(bytes).expect("what is stored was checked")
}

#[cfg(test)]
mod tests;
