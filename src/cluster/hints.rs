//! Hinted handoff: what this node keeps for others is handed to them when they answer again, and forgotten when they have it.
//!
//! A hint goes to its target, or, where that is no owner of the partition any more, to all owners of now: which of them
//! replaced it cannot be told, and handing it only to one that counted already would make one copy of two (invariant I2).
//! It is forgotten when each of them has acknowledged it durably and what is kept is still exactly what was handed over; never
//! because of its age, and never because an exchange found nothing (rule S5). What came to it meanwhile is handed over in the
//! next pass.
//!
//! Hints of a target are passed through in the order of their hashes, so many at a time: one more after each that arrived, one
//! only after a failure, and after that a pause that doubles.
//!
//! Invariant: a forgotten hint is on every node that it was handed to, and if it was stamped here, its actor stamps no more
//! for the partition (rule S4).

use smallvec::SmallVec;

use crate::compose::shrink;
use crate::effect::Effect;
use crate::event::{Key, StoreFailure};
use crate::ids::{Home, NodeId, PartitionId};
use crate::message::{Message, WriteOutcome};
use crate::mutation::{Mutation, mutated};
use crate::slab::{Handle, Kind, Slab};
use crate::store::{HintCursor, Versions};
use crate::timers::Timers;
use crate::turn::Turn;
use annulus_object::ObjectView;

/// The token's part that means this node's own copy, where it is one of the owners.
const OWN_COPY: u8 = 1;
/// Targets that hints are handed to at a time, with all that may be under way to each.
const TARGETS_AT_ONCE: usize = 4;
/// Hints looked at in one pass of a target that is down, for those that can go to others.
const LOOKS_MAX: usize = 256;

/// How far the hints of one target are.
#[derive(Debug)]
struct Replay {
    target: NodeId,
    cursor: HintCursor,
    is_at_end: bool,
    has_failed: bool,
    in_flight: usize,
    window: usize,
    pause_us: u64,
    not_before_us: u64,
    handed_over: u64,
    failures: u64,
}

impl Replay {
    /// Nothing goes to the target for a while, longer each time.
    fn pause(&mut self, turn: &Turn<'_>) {
        self.window = 1;
        // All that fail together are one failure.
        if turn.now.steady_us >= self.not_before_us {
            self.not_before_us = turn.now.steady_us + self.pause_us;
            self.pause_us = (self.pause_us * 2).min(turn.common.limits.hint_backoff_us.1);
        }
    }
}

/// One hint on its way.
#[derive(Debug, Default)]
struct Handover {
    target: Option<NodeId>,
    partition: PartitionId,
    hash: u128,
    key: Vec<u8>,
    handed: Versions,
    waiting: SmallVec<[NodeId; 4]>,
    is_rerouted: bool,
}

/// All hints of a core that are handed over.
pub(crate) struct Hints {
    /// Sorted by target.
    replays: Vec<Replay>,
    handovers: Slab<Handover>,
    timers: Timers,
    next_scan_us: u64,
    found: Vec<(PartitionId, u128)>,
    kept: Versions,
}

impl Hints {
    pub(crate) fn new(in_flight_max: usize) -> Self {
        Self {
            replays: Vec::new(),
            handovers: Slab::new(Kind::Handover, in_flight_max * TARGETS_AT_ONCE),
            timers: Timers::new(),
            next_scan_us: 0,
            found: Vec::new(),
            kept: Versions::default(),
        }
    }

    /// Hints on their way.
    pub(crate) fn len(&self) -> usize {
        self.handovers.len()
    }

    /// Of each target: hints handed over and forgotten, and attempts that failed.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (NodeId, u64, u64)> {
        self.replays.iter().map(|replay| (replay.target, replay.handed_over, replay.failures))
    }

    /// Time has passed: hints that were not acknowledged count as not handed over, and new passes begin.
    pub(crate) fn on_tick(&mut self, turn: &mut Turn<'_>) {
        while let Some(slot) = self.timers.pop_due(turn.now.steady_us) {
            if let Some(handle) = self.handovers.at(slot) {
                self.fail(turn, handle);
            }
        }
        if turn.now.steady_us >= self.next_scan_us {
            self.next_scan_us = turn.now.steady_us + turn.common.limits.hint_scan_us;
            self.scan(turn);
        }
        (0..self.replays.len()).for_each(|index| self.go_on(turn, index));
    }

    /// Finds the targets, and begins a new pass of those whose last one has ended.
    fn scan(&mut self, turn: &mut Turn<'_>) {
        let replays = &mut self.replays;
        replays.retain(|replay| replay.in_flight > 0 || turn.store.hint_count(replay.target) > 0);
        let pause_us = turn.common.limits.hint_backoff_us.0;
        turn.store.hint_targets(&mut |target| {
            if let Err(index) = replays.binary_search_by_key(&target, |replay| replay.target) {
                let replay = Replay {
                    target,
                    cursor: 0,
                    is_at_end: false,
                    has_failed: false,
                    in_flight: 0,
                    window: 1,
                    pause_us,
                    not_before_us: 0,
                    handed_over: 0,
                    failures: 0,
                };
                replays.insert(index, replay);
            }
        });
        for replay in replays.iter_mut().filter(|replay| replay.is_at_end && replay.in_flight == 0) {
            if !replay.has_failed {
                replay.pause_us = pause_us;
            }
            (replay.cursor, replay.is_at_end, replay.has_failed) = (0, false, false);
        }
    }

    /// A node answers again.
    pub(crate) fn on_up(&mut self, turn: &mut Turn<'_>, node: NodeId) {
        if let Ok(index) = self.replays.binary_search_by_key(&node, |replay| replay.target) {
            let replay = &mut self.replays[index];
            (replay.not_before_us, replay.pause_us) = (0, turn.common.limits.hint_backoff_us.0);
        }
        self.next_scan_us = 0;
    }

    /// Hands over the next hints of a target, as many as may be under way.
    fn go_on(&mut self, turn: &mut Turn<'_>, index: usize) {
        let mut looks = LOOKS_MAX;
        if mutated(Mutation::HintNeverReplayed) {
            return;
        }
        loop {
            let replay = &mut self.replays[index];
            if replay.is_at_end || replay.in_flight >= replay.window || turn.now.steady_us < replay.not_before_us {
                return;
            }
            let most = (replay.window - replay.in_flight).min(looks);
            self.found.clear();
            let found = &mut self.found;
            turn.store.hints(replay.target, replay.cursor, most, &mut |partition, hash, _| {
                found.push((partition, hash));
            });
            let last = found.last().map(|(_, hash)| *hash);
            match last.and_then(|hash| hash.checked_add(1)) {
                Some(next) => replay.cursor = next,
                None => replay.is_at_end = true,
            }
            looks -= found.len();
            let found = std::mem::take(&mut self.found);
            let are_started = found.iter().all(|(partition, hash)| self.start(turn, index, *partition, *hash));
            self.found = found;
            if !are_started || looks == 0 || last.is_none() {
                break;
            }
        }
        let replay = &mut self.replays[index];
        if replay.has_failed && replay.in_flight == 0 {
            replay.pause(turn);
        }
    }

    /// Begins to hand a hint over, if its nodes answer; false when nothing more may be under way.
    fn start(&mut self, turn: &mut Turn<'_>, index: usize, partition: PartitionId, hash: u128) -> bool {
        let target = self.replays[index].target;
        if receivers(turn, partition, target).is_none() {
            self.replays[index].has_failed = true;
            return true;
        }
        let Some(handle) = self.handovers.claim() else {
            // The rest waits for the next pass.
            self.replays[index].is_at_end = true;
            return false;
        };
        self.replays[index].in_flight += 1;
        let handover = self.handovers.get(handle).expect("claimed just now");
        (handover.target, handover.partition) = (Some(target), partition);
        handover.waiting.clear();
        self.timers.set(handle.slot(), turn.now.steady_us + turn.common.limits.hint_timeout_us);
        turn.load(handle.token(0), Home::Hinted { partition, target }, &Key { bytes: &[], partition, hash });
        true
    }

    /// A hint was read: until now it was known by its name, from here on by its key's hash.
    pub(crate) fn on_loaded(
        &mut self,
        turn: &mut Turn<'_>,
        handle: Handle,
        (key, hash): (&[u8], u128),
        object: Option<&[u8]>,
    ) {
        let Some(handover) = self.handovers.get(handle) else { return };
        let target = handover.target.expect("every handover has a target");
        let receivers = receivers(turn, handover.partition, target);
        let (Some(object), Some((receivers, is_rerouted))) = (object, receivers) else {
            self.fail(turn, handle);
            return;
        };
        if object.is_empty() {
            // Forgotten meanwhile.
            self.end(turn, handle);
            return;
        }
        let Ok(view) = ObjectView::check(object) else {
            self.fail(turn, handle);
            return;
        };
        handover.handed.copy_from_object(view);
        let is_old = view.siblings().all(|sibling| sibling.dot.clock.unix_ms() + 1_000 < turn.now.unix_ms);
        let is_forgotten = (mutated(Mutation::HintForgottenByAge) && is_old)
            || (mutated(Mutation::HintSkipsTombstones) && view.siblings().all(|sibling| sibling.value.is_none()));
        handover.key.clear();
        handover.key.extend_from_slice(key);
        (handover.waiting, handover.is_rerouted, handover.hash) = (receivers, is_rerouted, hash);
        let partition = handover.partition;
        let remaining_us = turn.common.limits.hint_timeout_us;
        let write = Message::Write { target: None, hash, remaining_us, key, object };
        let message = turn.write_message(partition, handle.request(), &write);
        for &node in handover.waiting.iter().filter(|_| !is_forgotten) {
            if node == turn.common.node {
                let key = turn.effects.write(|out| out.extend_from_slice(key));
                let object = turn.effects.write(|out| out.extend_from_slice(object));
                turn.store_object(handle.token(OWN_COPY), Home::Owned(partition), hash, (key, object));
            } else {
                turn.send(node, partition, &message);
            }
        }
        self.timers.set(handle.slot(), turn.now.steady_us + remaining_us);
        if is_forgotten || mutated(Mutation::HintForgottenWhenSent) {
            self.forget(turn, handle);
            self.end(turn, handle);
        }
    }

    /// This node is one of the owners, and has stored its copy or not.
    pub(crate) fn on_stored(&mut self, turn: &mut Turn<'_>, handle: Handle, result: Result<(), StoreFailure>) {
        let node = turn.common.node;
        self.on_receipt(turn, handle, node, result.is_ok());
    }

    /// An owner has stored a hint, or refused it.
    pub(crate) fn on_outcome(&mut self, turn: &mut Turn<'_>, handle: Handle, from: NodeId, outcome: WriteOutcome) {
        self.on_receipt(turn, handle, from, matches!(outcome, WriteOutcome::Stored { .. }));
    }

    fn on_receipt(&mut self, turn: &mut Turn<'_>, handle: Handle, from: NodeId, is_stored: bool) {
        let Some(handover) = self.handovers.get(handle) else {
            turn.common.counters.late_replies += 1;
            return;
        };
        if !handover.waiting.contains(&from) {
            return;
        }
        if !is_stored {
            self.fail(turn, handle);
            return;
        }
        handover.waiting.retain(|waiting| *waiting != from);
        if handover.waiting.is_empty() {
            let target = handover.target;
            self.forget(turn, handle);
            if let Some(replay) = self.replays.iter_mut().find(|replay| Some(replay.target) == target) {
                replay.window = (replay.window + 1).min(turn.common.limits.hints_in_flight_max);
            }
            self.end(turn, handle);
        }
    }

    /// Everybody has it: it goes, if it is still what was handed over.
    fn forget(&mut self, turn: &mut Turn<'_>, handle: Handle) {
        let handover = self.handovers.get(handle).expect("it has just been acknowledged");
        let (partition, hash) = (handover.partition, handover.hash);
        let target = handover.target.expect("every handover has a target");
        let home = Home::Hinted { partition, target };
        let key = Key { bytes: &handover.key, partition, hash };
        turn.store.versions(home, &key, &mut self.kept);
        let newest = handover.handed.siblings.last().map(|(dot, _)| *dot);
        let is_same = self.kept == handover.handed || mutated(Mutation::HintForgetsAdded);
        let Some(dot) = newest.filter(|_| is_same) else { return };
        turn.common.counters.hints_handed_over += 1;
        turn.common.counters.hints_rerouted += u64::from(handover.is_rerouted);
        if let Ok(index) = self.replays.binary_search_by_key(&target, |replay| replay.target) {
            self.replays[index].handed_over += 1;
        }
        turn.store.versions(Home::Owned(partition), &key, &mut self.kept);
        if !self.kept.includes(&handover.handed) {
            turn.common.stamping.forget(partition, &handover.handed.context);
        }
        let span = turn.effects.write(|out| out.extend_from_slice(&handover.key));
        turn.effects.push(Effect::Forget { home, key: span, hash, dot });
    }

    /// A node will not answer.
    pub(crate) fn on_unreachable(&mut self, turn: &mut Turn<'_>, node: NodeId) {
        for slot in 0..self.handovers.slots() {
            let Some(handle) = self.handovers.at(slot) else { continue };
            let handover = self.handovers.get(handle).expect("it is there");
            if handover.waiting.contains(&node) {
                self.fail(turn, handle);
            }
        }
    }

    /// Not handed over: again in another pass, after a pause.
    fn fail(&mut self, turn: &mut Turn<'_>, handle: Handle) {
        turn.common.counters.hint_failures += 1;
        let handover = self.handovers.get(handle).expect("it is under way");
        let target = handover.target.expect("every handover has a target");
        if let Ok(index) = self.replays.binary_search_by_key(&target, |replay| replay.target) {
            let replay = &mut self.replays[index];
            replay.has_failed = true;
            replay.failures += 1;
            replay.pause(turn);
        }
        self.end(turn, handle);
    }

    fn end(&mut self, turn: &mut Turn<'_>, handle: Handle) {
        let handover = self.handovers.get(handle).expect("it is under way");
        shrink(&mut handover.key, turn.common.limits.buffer_keep_bytes);
        let target = handover.target.expect("every handover has a target");
        self.timers.clear(handle.slot());
        self.handovers.release(handle);
        if let Ok(index) = self.replays.binary_search_by_key(&target, |replay| replay.target) {
            self.replays[index].in_flight -= 1;
            self.go_on(turn, index);
        }
    }
}

/// Who gets a hint, all at once, and whether that is somebody else than its target; `None` while not all of them answer.
fn receivers(turn: &Turn<'_>, partition: PartitionId, target: NodeId) -> Option<(SmallVec<[NodeId; 4]>, bool)> {
    let owners = turn.routes.owners(partition);
    if mutated(Mutation::HintToAnyOwner) {
        let any = owners.iter().find(|owner| **owner != turn.common.node && turn.is_usable(**owner));
        return any.map(|owner| (SmallVec::from_slice(&[*owner]), false));
    }
    let is_rerouted = !owners.contains(&target);
    let receivers = if is_rerouted { SmallVec::from_slice(owners) } else { SmallVec::from_slice(&[target]) };
    let are_usable = !receivers.is_empty() && receivers.iter().all(|node| turn.is_usable(*node));
    are_usable.then_some((receivers, is_rerouted))
}
