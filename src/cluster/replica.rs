//! What a replica does for coordinators elsewhere: keeps objects, tells versions, hands out objects.
//!
//! A write is answered when the store says that it is as durable as the key's durability promises, never before. An operation
//! of the store that is under way is remembered with who asked; a write that comes twice is merged twice, which changes
//! nothing, and answered twice, which counts once.
//!
//! Invariant: this node keeps a hint only where its answer will count, and says so only once it has it.

use annulus_object::{ObjectView, encode_object};
use smallvec::SmallVec;

use crate::event::{Key, StoreFailure};
use crate::held::Held;
use crate::ids::{Home, NodeId};
use crate::message::{Header, Message, Refusal, WriteOutcome};
use crate::mutation::{Mutation, mutated};
use crate::put::merge_into;
use crate::slab::{Handle, Kind, NOBODY, Slab};
use crate::turn::Turn;

/// An operation of the store that a coordinator waits for.
#[derive(Debug, Default)]
struct Operation {
    from: Option<NodeId>,
    asked: Header,
    is_stable: bool,
    /// Reads of an object that are under way; what they gave so far, `None` once one could not tell.
    loads: u8,
    object: Option<Vec<u8>>,
}

/// A replica's operations.
pub(crate) struct Replica {
    operations: Slab<Operation>,
    held: Held,
    encoded: Vec<u8>,
}

impl Replica {
    pub(crate) fn new(operations_max: usize) -> Self {
        Self { operations: Slab::new(Kind::Replica, operations_max), held: Held::default(), encoded: Vec::new() }
    }

    /// Operations under way.
    pub(crate) fn len(&self) -> usize {
        self.operations.len()
    }

    /// A coordinator wants an object kept, for this node or for `target`.
    pub(crate) fn on_write(
        &mut self,
        turn: &mut Turn<'_>,
        (from, asked): (NodeId, &Header),
        target: Option<NodeId>,
        key: &Key<'_>,
        object: &[u8],
    ) {
        let mut refusal = self.refusal(turn, asked, target);
        if mutated(Mutation::SiblingCapOnMerge) && self.is_above_cap(turn, key, object) {
            refusal = Some(Refusal::Busy);
        }
        let handle = if refusal.is_none() { self.operations.claim() } else { None };
        let Some(handle) = handle else {
            let refusal = refusal.unwrap_or(Refusal::Busy);
            turn.reply(from, asked, &Message::WriteReply(WriteOutcome::Refused(refusal)));
            return;
        };
        if mutated(Mutation::ReplicaAcksBeforeDurable) {
            turn.reply(from, asked, &Message::WriteReply(WriteOutcome::Stored { is_durable: true }));
        }
        turn.common.counters.hints_taken += u64::from(target.is_some());
        let operation = self.operations.get(handle).expect("claimed just now");
        (operation.from, operation.asked) = (Some(from), *asked);
        operation.is_stable = turn.store.is_stable(key);
        let partition = key.partition;
        let target = target.filter(|_| !mutated(Mutation::HintKeptAsOwn));
        let home = target.map_or(Home::Owned(partition), |target| Home::Hinted { partition, target });
        store(turn, handle, home, key, object);
    }

    /// A merge would leave more siblings than a client may make.
    fn is_above_cap(&mut self, turn: &Turn<'_>, key: &Key<'_>, object: &[u8]) -> bool {
        self.held.look_up(&*turn.store, key);
        let mut merged = crate::store::Versions::default();
        merged.copy_from_object(ObjectView::check(object).expect("checked with the message"));
        merged.merge(&self.held.versions);
        merged.siblings.len() > turn.common.limits.siblings_max
    }

    /// Why not, if not.
    fn refusal(&self, turn: &mut Turn<'_>, asked: &Header, target: Option<NodeId>) -> Option<Refusal> {
        let Some(target) = target else {
            // With the same ring it is the coordinator's replication class that makes this node an owner.
            let is_owner = asked.fingerprint == turn.routes.fingerprint() || is_owner(turn, asked.partition);
            return (!is_owner).then_some(Refusal::NotOwner);
        };
        let has_room = turn.store.hint_count(target) < turn.common.limits.hints_per_target_max;
        if target == turn.common.node {
            Some(Refusal::NotOwner)
        } else if !has_room || !turn.store.takes_writes() {
            turn.common.counters.hints_refused += 1;
            Some(Refusal::Hints)
        } else {
            None
        }
    }

    /// Somebody repairs this node's copy; nobody waits.
    pub(crate) fn on_repair(&mut self, turn: &mut Turn<'_>, key: &Key<'_>, object: &[u8]) {
        if is_owner(turn, key.partition) {
            let key_span = turn.effects.write(|out| out.extend_from_slice(key.bytes));
            let object_span = turn.effects.write(|out| out.extend_from_slice(object));
            turn.store_object(NOBODY, Home::Owned(key.partition), key.hash, (key_span, object_span));
        }
    }

    /// A coordinator asks which versions are here. Answered from memory, at once.
    pub(crate) fn on_version_read(&mut self, turn: &mut Turn<'_>, from: NodeId, asked: &Header, key: &Key<'_>) {
        self.held.look_up(&*turn.store, key);
        if mutated(Mutation::DeletedAsAbsent) && self.held.versions.siblings.iter().all(|(_, deletes)| *deletes) {
            self.held.versions.clear();
        }
        self.encoded.clear();
        self.held.versions.encode(&mut self.encoded);
        let is_owner = counts_as_owner(turn, key.partition);
        turn.reply(from, asked, &Message::VersionReply { is_owner, versions: &self.encoded });
    }

    /// A coordinator asks for all of a key.
    pub(crate) fn on_object_read(&mut self, turn: &mut Turn<'_>, from: NodeId, asked: &Header, key: &Key<'_>) {
        self.held.look_up(&*turn.store, key);
        let homes: SmallVec<[Home; 2]> = self.held.homes.clone();
        let handle = if homes.is_empty() { None } else { self.operations.claim() };
        let Some(handle) = handle else {
            // Nothing here, or too much to do: then nothing is known.
            let object = homes.is_empty().then_some(&[][..]);
            let is_owner = counts_as_owner(turn, key.partition);
            turn.reply(from, asked, &Message::ObjectReply { is_owner, object });
            return;
        };
        let operation = self.operations.get(handle).expect("claimed just now");
        (operation.from, operation.asked) = (Some(from), *asked);
        operation.loads = u8::try_from(homes.len()).expect("few nodes are stood in for");
        operation.object.get_or_insert_default().clear();
        homes.into_iter().for_each(|home| turn.load(handle.token(0), home, key));
    }

    /// A write that a coordinator asked for has ended.
    pub(crate) fn on_stored(&mut self, turn: &mut Turn<'_>, handle: Handle, result: Result<(), StoreFailure>) {
        let Some(operation) = self.operations.get(handle) else { return };
        let outcome = match result {
            Ok(()) => WriteOutcome::Stored { is_durable: operation.is_stable },
            Err(_) => WriteOutcome::Refused(Refusal::Store),
        };
        let from = operation.from.expect("every operation was asked for");
        turn.reply(from, &operation.asked, &Message::WriteReply(outcome));
        self.operations.release(handle);
    }

    /// A read that a coordinator asked for has ended, or one of several.
    pub(crate) fn on_loaded(&mut self, turn: &mut Turn<'_>, handle: Handle, object: Option<&[u8]>) {
        let keep = turn.common.limits.buffer_keep_bytes;
        let Some(operation) = self.operations.get(handle) else { return };
        let object = object.or_else(|| mutated(Mutation::LoadFailureAsAbsent).then_some(&[][..]));
        let merged = operation.object.as_mut().zip(object).is_some_and(|(merged, object)| merge_into(merged, object));
        if !merged {
            operation.object = None;
        }
        operation.loads -= 1;
        if operation.loads > 0 {
            return;
        }
        let from = operation.from.expect("every operation was asked for");
        let is_owner = counts_as_owner(turn, operation.asked.partition);
        turn.reply(from, &operation.asked, &Message::ObjectReply { is_owner, object: operation.object.as_deref() });
        operation.object.iter_mut().for_each(|object| crate::compose::shrink(object, keep));
        self.operations.release(handle);
    }
}

/// Whether this node's ring names it an owner, of the largest replication class.
pub(crate) fn is_owner(turn: &Turn<'_>, partition: u16) -> bool {
    turn.routes.owners(partition).contains(&turn.common.node)
}

/// The same, and what this node tells of the partition counts as an owner's word.
pub(crate) fn counts_as_owner(turn: &mut Turn<'_>, partition: u16) -> bool {
    if !is_owner(turn, partition) {
        return false;
    }
    let is_whole = turn.common.refill.is_whole(partition, turn.routes.owners(partition).len());
    turn.common.counters.words_uncounted += u64::from(!is_whole);
    is_whole || mutated(Mutation::RefillingOwnerCounts)
}

fn store(turn: &mut Turn<'_>, handle: Handle, home: Home, key: &Key<'_>, object: &[u8]) {
    let key_span = turn.effects.write(|out| out.extend_from_slice(key.bytes));
    let object_span = turn.effects.write(|out| match mutated(Mutation::NewestSiblingOnly) {
        true => write_newest(object, out),
        false => out.extend_from_slice(object),
    });
    turn.store_object(handle.token(0), home, key.hash, (key_span, object_span));
}

/// A deliberate bug: the newest sibling alone, with the whole context.
fn write_newest(object: &[u8], out: &mut Vec<u8>) {
    let view = ObjectView::check(object).expect("checked with the message");
    let newest = view.siblings().last();
    encode_object(&view.context().to_context(), newest, out);
}
