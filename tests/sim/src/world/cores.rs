//! Driving one core: an event goes in, and what the protocol wants is carried out, in order and before the next event.
//!
//! Here the checkers see every state that a store takes, every write that becomes durable, and every hint that is forgotten.
//!
//! Invariant: bytes between cores are copied and decoded again; nothing else passes from one to another.

use annulus_cluster::effect::{Answer, Effect, Effects};
use annulus_cluster::event::{Event, Key};
use annulus_cluster::ids::{ClientToken, Home, NodeId, StoreToken};
use annulus_cluster::store::{Store, Versions};
use annulus_object::{Context, Dot, Object};

use super::machine::Outstanding;
use super::{Happening, TICK, World};
use crate::checkers::{Promise, Violation, bounded, rot};
use crate::faults::{Kind, Moment};
use crate::model::{KeyIndex, OpId, Storing};
use crate::network::Packet;
use crate::node::{CoreStore, Disk, Done, Protocol};
use crate::ring::{node_id, place_of};
use crate::store::core_of;
use crate::watched::Watched;

/// A core of a node.
pub(super) type Place = (usize, usize);

impl<D: Disk, P: Protocol<Watched<D::Core>>> World<D, P> {
    pub(super) fn on_tick(&mut self, node: usize, core: usize, life: u32) -> Result<(), Violation> {
        if !self.machines[node].is_up_as(life) {
            return Ok(());
        }
        self.agenda.add(self.now + TICK, Happening::Tick { node, core, life });
        self.drive((node, core), Event::Tick, None).map(|()| self.maybe_end_refilling(node, core, life))
    }

    pub(super) fn on_packet(&mut self, packet: Packet) -> Result<(), Violation> {
        let (node, machine) = (packet.to, &self.machines[packet.to]);
        self.trace.note(3, (packet.from as u64) << 32 | node as u64);
        self.trace.note_bytes(4, &packet.bytes);
        if !machine.is_up() {
            return self.bounce(&packet);
        }
        if machine.life != packet.to_life {
            // The connection went down with the process that it was for.
            return Ok(());
        }
        if self.machines[packet.from].life != packet.from_life {
            self.injected.add(Kind::Afterlife, 1);
        }
        let machine = &self.machines[node];
        let core = usize::from(core_of(packet.partition, self.ring.partitions(), machine.cores.len() as u16));
        if self.trace.tells() {
            self.tell_packet(&packet);
        }
        self.hear((node, core), packet.partition, &P::told(&packet.bytes));
        let event = Event::Message { from: node_id(packet.from), bytes: &packet.bytes };
        self.drive((node, core), event, packet.cause)
    }

    fn tell_packet(&mut self, packet: &Packet) {
        let said = P::describe(&packet.bytes);
        let key = packet.cause.map(|op| self.checkers.model.op(op).key);
        let writes = match (said.dots, key) {
            (Some(dots), Some(key)) => {
                let model = &self.checkers.model;
                let writes: Vec<u32> = model.key(key).known(dots).collect();
                format!(" {}", model.names(key, writes))
            }
            (dots, _) => dots.map(|dots| format!(" {dots:?}")).unwrap_or_default(),
        };
        let (from, to) = (packet.from, packet.to);
        let about = packet.cause.map(|op| format!(" (for #{op})")).unwrap_or_default();
        self.tell(key, || format!("n{from} → n{to}  {}{writes}{}{about}", said.before, said.after));
    }

    /// Nobody is there to take a packet: most of the time the sender is told so.
    fn bounce(&mut self, packet: &Packet) -> Result<(), Violation> {
        let (node, peer) = (packet.from, packet.to);
        if self.network.passes(self.now, peer, node) && !self.turns.one_in(4) {
            let (at, life) = (self.now + self.network.latency(), packet.from_life);
            self.agenda.add(at, Happening::Unreachable { node, life, peer });
        }
        Ok(())
    }

    pub(super) fn on_unreachable(&mut self, node: usize, life: u32, peer: usize) -> Result<(), Violation> {
        if !self.machines[node].is_up_as(life) {
            return Ok(());
        }
        self.drive_all(node, Event::Unreachable { peer: node_id(peer) })
    }

    /// Tells all cores of a node the same.
    pub(super) fn drive_all(&mut self, node: usize, event: Event<'_>) -> Result<(), Violation> {
        let life = self.machines[node].life;
        for core in 0..self.machines[node].cores.len() {
            if self.machines[node].is_up_as(life) {
                self.drive((node, core), event, None)?;
            }
        }
        Ok(())
    }

    pub(super) fn on_disk(&mut self, node: usize, core: usize, life: u32) -> Result<(), Violation> {
        if !self.machines[node].is_up_as(life) {
            return Ok(());
        }
        let (instant, now) = (self.now, self.machines[node].clock.read(self.now));
        let driven = &mut self.machines[node].cores[core];
        driven.disk_due = None;
        driven.store.inner.advance(instant, now);
        self.finish_disk((node, core), life)
    }

    /// Hands the core what its store has finished.
    fn finish_disk(&mut self, place: Place, life: u32) -> Result<(), Violation> {
        let (node, core) = place;
        while self.machines[node].is_up_as(life) {
            let Some(done) = self.machines[node].cores[core].store.inner.next_done() else { break };
            match done {
                Done::Stored { token, result } => {
                    let driven = &mut self.machines[node].cores[core];
                    let stored = driven.stores.remove(&token).expect("a write that was asked for");
                    if result.is_ok() {
                        self.checkers.on_durable(node, stored.home, stored.key, &stored.writes);
                    }
                    self.trace.note(5, token.0 << 1 | u64::from(result.is_ok()));
                    if let Err(failure) = result {
                        self.tell(Some(stored.key), || format!("n{node}: a store fails: {failure:?}"));
                    }
                    self.drive(place, Event::Stored { token: stored.token, result }, stored.cause)?;
                    self.at_moment(node, life, Moment::Appended);
                }
                Done::Loaded { token, home, key, hash, object } => {
                    let loads = &mut self.machines[node].cores[core].loads;
                    let (token, cause) = loads.remove(&token).expect("a read that was asked for");
                    let event = Event::Loaded { token, home, key: &key, hash, object: object.as_deref() };
                    self.drive(place, event, cause)?;
                }
                Done::NeedIncarnation => self.want_incarnation(node),
                Done::ReadOnly => self.start_again(node),
            }
        }
        self.schedule_disk(place, life);
        Ok(())
    }

    fn schedule_disk(&mut self, (node, core): Place, life: u32) {
        if !self.machines[node].is_up_as(life) {
            return;
        }
        let driven = &mut self.machines[node].cores[core];
        let Some(due) = driven.store.inner.next_due() else { return };
        if driven.disk_due.is_none_or(|earlier| due < earlier) {
            driven.disk_due = Some(due);
            self.agenda.add(due.max(self.now), Happening::Disk { node, core, life });
        }
    }

    /// One event into one core, and what comes of it.
    pub(super) fn drive(&mut self, place: Place, event: Event<'_>, cause: Option<OpId>) -> Result<(), Violation> {
        let (node, core) = place;
        let mut effects = std::mem::take(&mut self.effects);
        effects.clear();
        let machine = &mut self.machines[node];
        let (life, now) = (machine.life, machine.clock.read(self.now));
        let driven = &mut machine.cores[core];
        driven.protocol.on_event(now, event, &mut driven.store, &mut effects);
        let stamps = driven.store.take_stamps();
        let load = driven.protocol.load();
        driven.count(&mut self.tally);
        for dot in &stamps {
            self.checkers.model.note_stamp(node, core as u16, *dot)?;
        }
        let bounded = bounded::check(node, core as u16, load, &self.shape.limits, self.shape.nodes)?;
        self.checkers.compared.add(Promise::Bounded, bounded);
        self.at_event.clear();
        let stores = effects.list().iter().filter(|effect| matches!(effect, Effect::Store { .. }));
        self.has_several_stores = stores.count() > 1;
        for effect in effects.list() {
            self.carry_out(place, effect, &effects, cause)?;
        }
        let moment = moment_of(&effects, !stamps.is_empty());
        self.effects = effects;
        self.machines[node].cores[core].store.inner.end_turn(self.now, now);
        self.schedule_disk(place, life);
        if let Some(moment) = moment {
            self.at_moment(node, life, moment);
        }
        // What needs no disk is there at once.
        if self.machines[node].is_up_as(life) { self.finish_at_once(place, life) } else { Ok(()) }
    }

    fn finish_at_once(&mut self, (node, core): Place, life: u32) -> Result<(), Violation> {
        let driven = &mut self.machines[node].cores[core];
        if driven.store.inner.has_done() { self.finish_disk((node, core), life) } else { Ok(()) }
    }

    fn carry_out(
        &mut self,
        place: Place,
        effect: &Effect,
        effects: &Effects,
        cause: Option<OpId>,
    ) -> Result<(), Violation> {
        match effect {
            Effect::Send { to, partition, message } => {
                self.send(place.0, *to, *partition, effects.bytes(message), cause);
                Ok(())
            }
            Effect::Store { token, home, key, hash, object } => {
                let known = Key { bytes: effects.bytes(key), partition: home.partition(), hash: *hash };
                self.store(place, *token, *home, &known, effects.bytes(object), cause)
            }
            Effect::Load { token, home, key, hash } => {
                let known = Key { bytes: effects.bytes(key), partition: home.partition(), hash: *hash };
                let (node, core) = place;
                let now = self.machines[node].clock.read(self.now);
                let driven = &mut self.machines[node].cores[core];
                let name = driven.name();
                driven.loads.insert(name, (*token, cause));
                driven.store.inner.start_load(name, *home, &known, now);
                Ok(())
            }
            Effect::Forget { home, key, hash, dot } => {
                let known = Key { bytes: effects.bytes(key), partition: home.partition(), hash: *hash };
                self.forget(place, *home, &known, *dot)
            }
            Effect::Answer { client, answer } => self.answer(place.0, *client, answer, effects),
            Effect::Dirty { partition, .. } => {
                self.left_some(place, *partition);
                Ok(())
            }
            Effect::NeedIncarnation => {
                self.want_incarnation(place.0);
                Ok(())
            }
        }
    }

    fn send(&mut self, node: usize, to: NodeId, partition: u16, bytes: &[u8], cause: Option<OpId>) {
        let peer = place_of(to);
        assert_ne!(peer, node, "nobody sends to himself");
        let (from_life, to_life) = (self.machines[node].life, self.machines[peer].life);
        let packet = Packet { from: node, to: peer, partition, bytes: bytes.to_vec(), cause, from_life, to_life };
        let delay = self.machines[node].slowness(self.now);
        if !self.network.send(self.now + delay, packet) {
            self.agenda.add(self.now, Happening::Unreachable { node, life: from_life, peer });
        }
    }

    /// A core is told what others have of a key: its next delete may have seen it (rule S7).
    fn hear(&mut self, (node, core): Place, partition: u16, dots: &[Dot]) {
        for dot in dots {
            let model = &self.checkers.model;
            let Some(key) = model.key_of_dot(partition, *dot) else { continue };
            let known = model.key(key);
            let seen = known.closure(known.find(*dot));
            self.machines[node].cores[core].heard.entry(key).or_default().add(&seen.may);
        }
    }

    fn store(
        &mut self,
        place: Place,
        token: StoreToken,
        home: Home,
        key: &Key<'_>,
        bytes: &[u8],
        cause: Option<OpId>,
    ) -> Result<(), Violation> {
        let (node, core) = place;
        let index = self.key_index(key)?;
        let object = rot::decode(bytes, Some(index), &format!("n{node} stores"))?;
        self.checkers.compared.add(Promise::Rot, 1);
        self.learn(place, home, (key, index), &object)?;
        let writes = self.checkers.model.key(index).covered(object.context());
        let now = self.machines[node].clock.read(self.now);
        let driven = &mut self.machines[node].cores[core];
        let name = driven.name();
        driven.stores.insert(name, Outstanding { token, key: index, home, writes, cause });
        driven.store.inner.start_store(name, home, key, bytes, now);
        self.trace.note_bytes(6, bytes);
        self.check_state(place, home, key, index)
    }

    /// Tells the checkers what is stored, and the model what is new in it.
    fn learn(
        &mut self,
        place: Place,
        home: Home,
        (key, index): (&Key<'_>, KeyIndex),
        object: &Object,
    ) -> Result<(), Violation> {
        let (node, core) = place;
        let is_new = object.siblings().iter().any(|sibling| self.checkers.model.key(index).find(sibling.dot).is_none());
        if is_new || self.has_several_stores {
            self.look(place, key);
            // Of several in one event the later ones were made before the earlier ones were carried out.
            let before = &self.before;
            self.at_event.entry(index).or_insert_with(|| before.clone());
        }
        let (at, meanwhile) = (self.now, std::mem::take(&mut self.before));
        let before = self.at_event.get(&index).unwrap_or(&meanwhile);
        let heard = self.machines[node].cores[core].heard.get(&index).cloned().unwrap_or_default();
        let (heard, meanwhile_seen) = (&heard, &meanwhile);
        let core = core as u16;
        let storing = Storing { at, node, core, key: index, home, before, meanwhile: meanwhile_seen, heard, object };
        let learnt = self.checkers.on_storing(&storing)?;
        self.before = meanwhile;
        learnt.into_iter().for_each(|write| self.tell_stamp(node, index, write, home));
        Ok(())
    }

    /// The state that a core has of a key now.
    fn check_state(
        &mut self,
        (node, core): Place,
        home: Home,
        key: &Key<'_>,
        index: KeyIndex,
    ) -> Result<(), Violation> {
        let mut versions = Versions::default();
        self.machines[node].cores[core].store.versions(home, key, &mut versions);
        let dots: Vec<Dot> = versions.siblings.iter().map(|sibling| sibling.0).collect();
        self.checkers.on_state((node, self.now), index, &dots, &versions.context)
    }

    /// Looks up all that a core has of a key, into `before`.
    fn look(&mut self, (node, core): Place, key: &Key<'_>) {
        self.before.clear();
        let partition = key.partition;
        let others = (0..self.shape.nodes).filter(|target| *target != node);
        let hinted = others.map(|target| Home::Hinted { partition, target: node_id(target) });
        for home in std::iter::once(Home::Owned(partition)).chain(hinted) {
            let mut versions = Versions::default();
            self.machines[node].cores[core].store.versions(home, key, &mut versions);
            if !versions.is_empty() {
                self.before.push((home, versions));
            }
        }
    }

    fn forget(&mut self, place: Place, home: Home, key: &Key<'_>, dot: Dot) -> Result<(), Violation> {
        let (node, core) = place;
        let index = self.key_index(key)?;
        let Home::Hinted { target, partition } = home else { panic!("only hints are forgotten") };
        // The same event may have stamped a write that has seen the hint.
        self.look(place, key);
        let before = &self.before;
        self.at_event.entry(index).or_insert_with(|| before.clone());
        let store = &mut self.machines[node].cores[core].store;
        let (mut gone, mut left) = (Versions::default(), Versions::default());
        store.versions(home, key, &mut gone);
        store.inner.forget(home, key, dot);
        store.versions(home, key, &mut left);
        if !left.is_empty() || gone.is_empty() {
            return Ok(());
        }
        self.tally.hints_forgotten += 1;
        self.trace.note(7, u64::from(index));
        self.look(place, key);
        let before = std::mem::take(&mut self.before);
        let owners = self.ring.owner_bits(partition);
        let target = 1 << place_of(target);
        let targets = if owners & target == 0 { owners } else { target };
        if self.trace.tells() {
            let model = self.checkers.model.key(index);
            let live: Vec<u32> = model.known(gone.siblings.iter().map(|sibling| sibling.0)).collect();
            let names = self.checkers.model.names(index, live);
            self.tell(Some(index), || format!("n{node} forgets its hint of {names} for {target:?}"));
        }
        let result = self.checkers.on_forgotten(node, index, targets, (&gone, &before));
        self.before = before;
        result
    }

    fn answer(
        &mut self,
        node: usize,
        client: ClientToken,
        answer: &Answer,
        effects: &Effects,
    ) -> Result<(), Violation> {
        let op = u32::try_from(client.0).expect("clients are named by their operations");
        let key = Some(self.checkers.model.op(op).key);
        let bytes = match answer {
            Answer::Written { context, .. } => effects.bytes(context),
            Answer::Found { object, .. } => effects.bytes(object),
            Answer::Failed(_) => &[],
        };
        self.trace.note_bytes(8, bytes);
        let rotten = |error| Violation::new(Promise::Rot, key, format!("#{op} is given no context: {error}"));
        match answer {
            Answer::Written { dot, is_alone, .. } => {
                let context = Context::decode(bytes).map_err(rotten)?;
                self.answer_written(node, op, (*dot, *is_alone), context)
            }
            Answer::Found { reach, .. } => {
                let object: Object = rot::decode(bytes, key, &format!("#{op} is given"))?;
                self.answer_found(node, op, object, reach.is_stale_possible())
            }
            Answer::Failed(failure) => self.answer_failed(node, op, *failure),
        }
    }

    fn key_index(&self, key: &Key<'_>) -> Result<KeyIndex, Violation> {
        let index = self.checkers.model.key_of(key.hash);
        let same = index.filter(|index| {
            let known = self.checkers.model.key(*index);
            known.partition == key.partition && (key.bytes.is_empty() || known.bytes == key.bytes)
        });
        let text = || format!("{:?} in partition {} is no key", String::from_utf8_lossy(key.bytes), key.partition);
        same.ok_or_else(|| Violation::new(Promise::NothingInvented, index, text()))
    }

    fn tell_stamp(&mut self, node: usize, key: KeyIndex, write: u32, home: Home) {
        self.tally.stamps += 1;
        if matches!(home, Home::Hinted { .. }) {
            self.tally.fallback_stamps += 1;
        }
        if self.trace.tells() {
            let model = &self.checkers.model;
            let known = model.key(key).write(write);
            let name = model.name(key, write);
            let must = model.names(key, known.seen.must.iter());
            let dot = known.dot;
            self.tell(Some(key), || format!("n{node} stamps {name} as {dot:?} ({home:?}); it has seen {must}"));
        }
    }
}

/// The moment that an event has led to.
fn moment_of(effects: &Effects, has_stamped: bool) -> Option<Moment> {
    let has = |wanted: fn(&Effect) -> bool| effects.list().iter().any(wanted);
    if has_stamped && has(|effect| matches!(effect, Effect::Send { .. })) {
        Some(Moment::SentBeforeAppend)
    } else if has(|effect| matches!(effect, Effect::Answer { .. })) {
        Some(Moment::Answered)
    } else if has(|effect| matches!(effect, Effect::Forget { .. })) {
        Some(Moment::ForgotHint)
    } else if has(|effect| matches!(effect, Effect::Store { home: Home::Hinted { .. }, .. })) {
        Some(Moment::TookHint)
    } else if has(|effect| matches!(effect, Effect::Load { .. } | Effect::Send { .. })) {
        Some(Moment::Asked)
    } else {
        None
    }
}
