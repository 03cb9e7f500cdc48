//! One coordinating core of three owners, with everything around it as cheap as can be: a store that answers from one value,
//! and replicas that say yes. What is left is the coordinator's own work.

use std::ops::{Range, RangeInclusive};

use annulus_cluster::effect::{Answer, Effect, Effects};
use annulus_cluster::event::{Event, Get, Key, Now, Put, Quorum};
use annulus_cluster::ids::{ClientToken, Fingerprint, Home, NodeId, PartitionId, RequestId, Session, StoreToken};
use annulus_cluster::limits::Limits;
use annulus_cluster::message::{Header, Message, WriteOutcome};
use annulus_cluster::route::Routes;
use annulus_cluster::shard::{Shard, Start};
use annulus_cluster::store::{HintCursor, Store, Targets, Versions};
use annulus_object::{Actor, Clock, Context, Dot, HybridClock, Object, Sibling};

const OWNERS: [NodeId; 3] = [NodeId::new(1), NodeId::new(2), NodeId::new(3)];
const PARTITION: PartitionId = 7;
const SESSION: Session = Session(1);
const KEY: &[u8] = b"user:0000001234:name";
const UNIX_MS: u64 = 1_800_000_000_000;
/// Where a message has the request that it is about.
const REQUEST_AT: usize = 16;

struct Ring;

impl Routes for Ring {
    fn owners(&self, _: PartitionId) -> &[NodeId] {
        &OWNERS
    }
    fn fallbacks(&self, _: PartitionId) -> &[NodeId] {
        &[]
    }
    fn is_up(&self, _: NodeId) -> bool {
        true
    }
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint(1)
    }
}

struct OneValue {
    versions: Versions,
    clock: HybridClock,
}

impl Store for OneValue {
    fn versions(&self, _: Home, _: &Key<'_>, versions: &mut Versions) {
        versions.siblings.clone_from(&self.versions.siblings);
        versions.context.clone_from(&self.versions.context);
    }
    fn hinted_for(&self, _: &Key<'_>, targets: &mut Targets) {
        targets.clear();
    }
    fn stamp(&mut self, unix_ms: u64, above: Clock) -> Option<Dot> {
        Some(Dot::new(self.clock.stamp(unix_ms, above), Actor::new(1, 1)))
    }
    fn hints(&self, _: NodeId, _: HintCursor, _: usize, _: &mut dyn FnMut(PartitionId, u128, Dot)) {}
    fn hint_targets(&self, _: &mut dyn FnMut(NodeId)) {}
    fn hint_count(&self, _: NodeId) -> usize {
        0
    }
    fn partition_from(&self, _: PartitionId) -> Option<PartitionId> {
        None
    }
    fn open_epoch(&mut self, _: u64, _: u32) {}
    fn root_at(&self, _: PartitionId, _: u64) -> u128 {
        0
    }
    fn leaf_bits_at(&self, _: PartitionId, _: u64) -> u32 {
        0
    }
    fn sums_at(&self, _: PartitionId, _: u64, _: u32, _: Range<u32>, _: &mut Vec<u64>) {}
    fn visit_versions(
        &self,
        _: PartitionId,
        _: RangeInclusive<u64>,
        _: usize,
        _: &mut dyn FnMut(u128, &Versions),
    ) -> Option<u64> {
        None
    }
    fn is_stable(&self, _: &Key<'_>) -> bool {
        true
    }
    fn takes_writes(&self) -> bool {
        true
    }
}

/// The core, and what it is told again and again.
pub struct Coordinator {
    shard: Shard,
    store: OneValue,
    effects: Effects,
    value: Vec<u8>,
    object: Vec<u8>,
    write_reply: Vec<u8>,
    version_reply: Vec<u8>,
    steady_us: u64,
    /// Commands that were answered with success.
    pub answered: u64,
}

impl Coordinator {
    /// The key has one value, which all three owners have written before.
    pub fn new() -> Coordinator {
        let dot = |node: u64| Dot::new(Clock::from_unix_ms(UNIX_MS - 10 + node, 0), Actor::new(node, 1));
        let context = Context::from_parts(Clock::ZERO, (1..=3).map(|node| (dot(node).actor, dot(node).clock)));
        let value = vec![b'v'; 100];
        let stored = Object::single(
            Sibling { dot: dot(3), expires_at_ms: 0, value: Some(value.clone()), value_dot: None },
            context,
        );
        let mut object = Vec::new();
        stored.encode(&mut object);
        let mut versions = Versions::default();
        versions.siblings.push((dot(3), false));
        versions.context.clone_from(stored.context());
        let mut encoded = Vec::new();
        versions.encode(&mut encoded);
        let start = Start {
            node: OWNERS[0],
            session: SESSION,
            earlier_actor: None,
            is_refilling: false,
            limits: Limits::default(),
        };
        Coordinator {
            shard: Shard::new(start),
            store: OneValue { versions, clock: HybridClock::new(Clock::ZERO) },
            effects: Effects::default(),
            value,
            object,
            write_reply: reply(Message::WriteReply(WriteOutcome::Stored { is_durable: true })),
            version_reply: reply(Message::VersionReply { is_owner: true, versions: &encoded }),
            steady_us: 1_000_000,
            answered: 0,
        }
    }

    /// One blind write: the event, the own copy, and two replicas' answers.
    pub fn put(&mut self) {
        self.steady_us += 3;
        let put = Put {
            client: ClientToken(1),
            key: key(),
            value: Some(&self.value),
            expires_at_ms: 0,
            value_dot: None,
            context: None,
            own_last: None,
            own_is_alone: false,
            is_repeatable: false,
            quorum: quorum(),
            deadline_us: self.steady_us + 1_000_000,
        };
        self.effects.clear();
        self.shard.handle(self.now(), Event::Put(put), &mut self.store, &Ring, &mut self.effects);
        let (token, request) = self.asked();
        let token = token.expect("the own copy is stored");
        self.write_reply[REQUEST_AT..REQUEST_AT + 8].copy_from_slice(&request.0.to_le_bytes());
        self.tell(Event::Stored { token, result: Ok(()) });
        for owner in &OWNERS[1..] {
            let bytes = std::mem::take(&mut self.write_reply);
            self.tell(Event::Message { from: *owner, bytes: &bytes });
            self.write_reply = bytes;
        }
    }

    /// One read: the event, the own copy, and two replicas' versions.
    pub fn get(&mut self) {
        self.steady_us += 3;
        let get = Get {
            client: ClientToken(1),
            key: key(),
            own_last: None,
            quorum: quorum(),
            deadline_us: self.steady_us + 1_000_000,
        };
        self.effects.clear();
        self.shard.handle(self.now(), Event::Get(get), &mut self.store, &Ring, &mut self.effects);
        let (token, request) = self.asked();
        let token = token.expect("the own copy is read");
        self.version_reply[REQUEST_AT..REQUEST_AT + 8].copy_from_slice(&request.0.to_le_bytes());
        let object = std::mem::take(&mut self.object);
        self.tell(Event::Loaded {
            token,
            home: Home::Owned(PARTITION),
            key: KEY,
            hash: key().hash,
            object: Some(&object),
        });
        self.object = object;
        for owner in &OWNERS[1..] {
            let bytes = std::mem::take(&mut self.version_reply);
            self.tell(Event::Message { from: *owner, bytes: &bytes });
            self.version_reply = bytes;
        }
    }

    /// Commands under way.
    pub fn in_flight(&self) -> usize {
        self.shard.in_flight().0
    }

    fn tell(&mut self, event: Event<'_>) {
        self.effects.clear();
        self.shard.handle(self.now(), event, &mut self.store, &Ring, &mut self.effects);
        let is_success = |effect: &&Effect| {
            matches!(effect, Effect::Answer { answer: Answer::Written { .. } | Answer::Found { .. }, .. })
        };
        self.answered += self.effects.list().iter().filter(is_success).count() as u64;
    }

    /// What the store was asked for, and the request that the messages speak of.
    fn asked(&self) -> (Option<StoreToken>, RequestId) {
        let mut asked = (None, RequestId(0));
        for effect in self.effects.list() {
            match effect {
                Effect::Store { token, .. } | Effect::Load { token, .. } => asked.0 = Some(*token),
                Effect::Send { message, .. } => {
                    let bytes = &self.effects.bytes(message)[REQUEST_AT..REQUEST_AT + 8];
                    asked.1 = RequestId(u64::from_le_bytes(bytes.try_into().expect("eight bytes")));
                }
                _ => {}
            }
        }
        asked
    }

    fn now(&self) -> Now {
        Now { unix_ms: UNIX_MS + self.steady_us / 1000, steady_us: self.steady_us }
    }
}

fn key() -> Key<'static> {
    Key { bytes: KEY, partition: PARTITION, hash: 1 << 90 | 5 }
}

fn quorum() -> Quorum {
    Quorum { n: 3, r: 2, w: 2, pr: 0, pw: 0, dw: 2 }
}

fn reply(message: Message<'_>) -> Vec<u8> {
    let header = Header {
        partition: PARTITION,
        session: SESSION,
        request: RequestId(0),
        fingerprint: Fingerprint(1),
        sent_ms: UNIX_MS,
    };
    let mut bytes = Vec::new();
    message.encode(&header, &mut bytes);
    bytes
}
