//! A small honest protocol that lets the simulator run before the production one does: owners coordinate, others pass on to the
//! first owner that they take for alive; objects travel whole; reads repair.
//!
//! It is not Dynamo: no fallbacks, no hints, no sessions.
//!
//! Invariant: a write is stamped over the object that the store shows at that moment.

use std::collections::BTreeMap;

use annulus_cluster::effect::{Answer, Effect, Effects, Failure};
use annulus_cluster::event::{Event, Get, Key, Now, Put};
use annulus_cluster::ids::{ClientToken, Home, StoreToken};
use annulus_cluster::store::{Store, Versions};
use annulus_object::{Context, Dot, Object};

use crate::node::{Load, Protocol, Setup};
use crate::ring::{node_id, place_of};

struct Request {
    client: ClientToken,
    key: (Vec<u8>, u16, u128),
    deadline_us: u64,
    write: Option<(Option<Vec<u8>>, Option<Context>)>,
    dot: Option<Dot>,
    object: Object,
    wanted: u8,
    have: u8,
    /// What owners sent.
    sent: Vec<(u64, Object)>,
}

enum Purpose {
    Own(u64),
    Ack(u64, u64),
    Stamp(u64),
    Read(u64),
    Reply(u64, u64),
    Nothing,
}

/// See the module.
pub struct StandIn {
    setup: Setup,
    requests: BTreeMap<u64, Request>,
    purposes: BTreeMap<u64, Purpose>,
    next: u64,
}

const WRITE: u8 = 0;
const ACK: u8 = 1;
const READ: u8 = 2;
const REPLY: u8 = 3;

fn message(tag: u8, request: u64, key: &(Vec<u8>, u16, u128), object: Option<&Object>) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend_from_slice(&request.to_le_bytes());
    out.extend_from_slice(&key.1.to_le_bytes());
    out.extend_from_slice(&key.2.to_le_bytes());
    out.push(key.0.len() as u8);
    out.extend_from_slice(&key.0);
    if let Some(object) = object {
        object.encode(&mut out);
    }
    out
}

impl StandIn {
    fn token(&mut self, purpose: Purpose) -> StoreToken {
        self.next += 1;
        self.purposes.insert(self.next, purpose);
        StoreToken(self.next)
    }

    fn is_owner(&self, partition: u16) -> bool {
        self.setup.ring.owners(partition).contains(&place_of(self.setup.node))
    }

    fn load_key(&mut self, key: &(Vec<u8>, u16, u128), purpose: Purpose, effects: &mut Effects) {
        let token = self.token(purpose);
        let span = effects.write(|out| out.extend_from_slice(&key.0));
        effects.push(Effect::Load { token, home: Home::Owned(key.1), key: span, hash: key.2 });
    }

    fn store_key(&mut self, key: &(Vec<u8>, u16, u128), object: &Object, purpose: Purpose, effects: &mut Effects) {
        let token = self.token(purpose);
        let name = effects.write(|out| out.extend_from_slice(&key.0));
        let span = effects.write(|out| object.encode(out));
        effects.push(Effect::Store { token, home: Home::Owned(key.1), key: name, hash: key.2, object: span });
    }

    fn send(&self, to: usize, partition: u16, bytes: &[u8], effects: &mut Effects) {
        let message = effects.write(|out| out.extend_from_slice(bytes));
        effects.push(Effect::Send { to: node_id(to), partition, message });
    }

    fn fail(&mut self, id: u64, failure: Failure, effects: &mut Effects) {
        if let Some(request) = self.requests.remove(&id) {
            effects.push(Effect::Answer { client: request.client, answer: Answer::Failed(failure) });
        }
    }

    fn start(&mut self, client: ClientToken, key: &Key<'_>, deadline_us: u64, wanted: u8) -> u64 {
        self.next += 1;
        let key = (key.bytes.to_vec(), key.partition, key.hash);
        let request = Request {
            client,
            key,
            deadline_us,
            write: None,
            dot: None,
            object: Object::default(),
            wanted,
            have: 0,
            sent: Vec::new(),
        };
        self.requests.insert(self.next, request);
        self.next
    }

    fn on_put(&mut self, put: &Put<'_>, effects: &mut Effects) {
        if !self.is_owner(put.key.partition) || put.quorum.w > 3 {
            let answer = Answer::Failed(Failure::NotCoordinating);
            return effects.push(Effect::Answer { client: put.client, answer });
        }
        let id = self.start(put.client, &put.key, put.deadline_us, put.quorum.w.max(put.quorum.pw));
        let request = self.requests.get_mut(&id).expect("just made");
        request.write = Some((put.value.map(<[u8]>::to_vec), put.context.cloned()));
        let key = request.key.clone();
        self.load_key(&key, Purpose::Stamp(id), effects);
    }

    fn on_get(&mut self, get: &Get<'_>, effects: &mut Effects) {
        if !self.is_owner(get.key.partition) {
            let answer = Answer::Failed(Failure::NotCoordinating);
            return effects.push(Effect::Answer { client: get.client, answer });
        }
        let id = self.start(get.client, &get.key, get.deadline_us, 3);
        let key = self.requests[&id].key.clone();
        self.load_key(&key, Purpose::Read(id), effects);
        let bytes = message(READ, id, &key, None);
        self.to_others(key.1, &bytes, effects);
    }

    fn to_others(&self, partition: u16, bytes: &[u8], effects: &mut Effects) {
        for owner in self.setup.ring.owners(partition) {
            if *owner != place_of(self.setup.node) {
                self.send(*owner, partition, bytes, effects);
            }
        }
    }

    fn stamp<S: Store>(&mut self, now: Now, id: u64, object: Object, store: &mut S, effects: &mut Effects) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        let key = request.key.clone();
        let mut versions = Versions::default();
        store.versions(Home::Owned(key.1), &Key { bytes: &key.0, partition: key.1, hash: key.2 }, &mut versions);
        if versions.context != *object.context() {
            return self.load_key(&key, Purpose::Stamp(id), effects);
        }
        let (value, context) = request.write.clone().expect("a write");
        let context = context.unwrap_or_else(|| object.context().clone());
        let above = context.highest().max(object.context().highest());
        let Some(dot) = store.stamp(now.unix_ms, above) else {
            return self.fail(id, Failure::NotCoordinating, effects);
        };
        let mut object = object;
        object.write(dot, &context, value, 0);
        request.dot = Some(dot);
        request.object = object.clone();
        self.store_key(&key, &object, Purpose::Own(id), effects);
        let bytes = message(WRITE, id, &key, Some(&object));
        self.to_others(key.1, &bytes, effects);
    }

    fn count(&mut self, id: u64, effects: &mut Effects) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        request.have += 1;
        if request.have < request.wanted {
            return;
        }
        let request = self.requests.remove(&id).expect("it is there");
        let context = effects.write(|out| request.object.context().encode(out));
        let answer = Answer::Written { dot: request.dot.expect("stamped"), context };
        effects.push(Effect::Answer { client: request.client, answer });
    }

    fn found(&mut self, id: u64, from: u64, object: Object, effects: &mut Effects) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        if request.sent.iter().any(|(node, _)| *node == from) {
            return;
        }
        request.object.merge(object.clone());
        request.sent.push((from, object));
        if request.sent.len() < usize::from(request.wanted) {
            return;
        }
        let request = self.requests.remove(&id).expect("it is there");
        let mut bytes = Vec::new();
        if !request.object.is_empty() {
            request.object.encode(&mut bytes);
        }
        let object = effects.write(|out| out.extend_from_slice(&bytes));
        let answer = Answer::Found { object, is_stale_possible: false };
        effects.push(Effect::Answer { client: request.client, answer });
        for (node, _) in request.sent.iter().filter(|(_, sent)| *sent != request.object) {
            let to = place_of(annulus_cluster::ids::NodeId::new(*node));
            if to == place_of(self.setup.node) {
                self.store_key(&request.key, &request.object, Purpose::Nothing, effects);
            } else {
                self.send(to, request.key.1, &message(WRITE, 0, &request.key, Some(&request.object)), effects);
            }
        }
    }

    fn on_message(&mut self, from: u64, bytes: &[u8], effects: &mut Effects) {
        let (tag, rest) = bytes.split_first().expect("a message");
        let request = u64::from_le_bytes(rest[..8].try_into().expect("8"));
        let partition = u16::from_le_bytes(rest[8..10].try_into().expect("2"));
        let hash = u128::from_le_bytes(rest[10..26].try_into().expect("16"));
        let length = usize::from(rest[26]);
        let key = (rest[27..27 + length].to_vec(), partition, hash);
        let object = &rest[27 + length..];
        let decode = || if object.is_empty() { Object::default() } else { Object::decode(object).expect("an object") };
        match *tag {
            WRITE => self.store_key(&key, &decode(), Purpose::Ack(from, request), effects),
            ACK => self.count(request, effects),
            READ => self.load_key(&key, Purpose::Reply(from, request), effects),
            _ => self.found(request, from, decode(), effects),
        }
    }
}

impl<S: Store> Protocol<S> for StandIn {
    const NEEDS_READS: bool = true;

    fn new(setup: Setup) -> Self {
        let next = u64::from(setup.life) << 40;
        Self { setup, requests: BTreeMap::new(), purposes: BTreeMap::new(), next }
    }

    fn on_event(&mut self, now: Now, event: Event<'_>, store: &mut S, effects: &mut Effects) {
        match event {
            Event::Put(put) => self.on_put(&put, effects),
            Event::Get(get) => self.on_get(&get, effects),
            Event::Message { from, bytes } => self.on_message(from.raw(), bytes, effects),
            Event::Stored { token, result } => match (self.purposes.remove(&token.0), result) {
                (Some(Purpose::Own(id)), Ok(())) => self.count(id, effects),
                (Some(Purpose::Ack(node, id)), Ok(())) => {
                    let none = (Vec::new(), 0, 0);
                    self.send(node as usize - 1, 0, &message(ACK, id, &none, None), effects);
                }
                _ => {}
            },
            Event::Loaded { token, home, key, object } => {
                let object = object.filter(|bytes| !bytes.is_empty());
                let found = object.map(|bytes| Object::decode(bytes).expect("an object")).unwrap_or_default();
                match self.purposes.remove(&token.0) {
                    Some(Purpose::Stamp(id)) => self.stamp(now, id, found, store, effects),
                    Some(Purpose::Read(id)) => self.found(id, self.setup.node.raw(), found, effects),
                    Some(Purpose::Reply(node, id)) => {
                        let key = (key.to_vec(), home.partition(), 0);
                        let bytes = message(REPLY, id, &key, object.is_some().then_some(&found));
                        self.send(node as usize - 1, home.partition(), &bytes, effects);
                    }
                    _ => {}
                }
            }
            Event::Tick => {
                let late = self.requests.iter().filter(|(_, request)| request.deadline_us <= now.steady_us);
                for id in late.map(|(id, _)| *id).collect::<Vec<_>>() {
                    let wrote = self.requests[&id].write.is_some();
                    self.fail(id, if wrote { Failure::InDoubt } else { Failure::ReadTimeout }, effects);
                }
            }
            Event::Unreachable { .. } | Event::Liveness { .. } => {}
        }
    }

    fn load(&self) -> Load {
        Load::default()
    }

    fn describe(bytes: &[u8]) -> String {
        format!("{} bytes, kind {}", bytes.len(), bytes[0])
    }
}
