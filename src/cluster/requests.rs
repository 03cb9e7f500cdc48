//! The commands that a core has under way: puts, gets and forwards, their deadlines, and the order within a key.
//!
//! A command of a client is coordinated here when this node is one of the key's owners and can stamp, else passed to an owner
//! that answers; when there is none, it is coordinated here nevertheless, as a fallback. A command that another node passed
//! on is coordinated as an owner, or not at all.
//!
//! Invariant: a command is in one slab, from its arrival until its answer was given and nothing of it is under way.

use crate::effect::Failure;
use crate::event::{Now, StoreFailure};
use crate::forward::Forward;
use crate::get::{Get, GetCommand, Phase as GetPhase};
use crate::ids::NodeId;
use crate::limits::Limits;
use crate::line::Line;
use crate::message::WriteOutcome;
use crate::mutation::{Mutation, mutated};
use crate::put::{Phase as PutPhase, Put, PutCommand};
use crate::slab::{Handle, Kind, Slab};
use crate::timers::Timers;
use crate::turn::Turn;
use crate::versions::VersionsView;

mod passed_on;

/// All commands of a core.
pub(crate) struct Requests {
    puts: Slab<Put>,
    put_timers: Timers,
    gets: Slab<Get>,
    get_timers: Timers,
    forwards: Slab<Forward>,
    forward_timers: Timers,
    line: Line,
    /// Of the last write that was passed on.
    number: u64,
}

impl Requests {
    pub(crate) fn new(limits: &Limits) -> Self {
        let max = limits.requests_max;
        Self {
            puts: Slab::new(Kind::Put, max),
            put_timers: Timers::new(),
            gets: Slab::new(Kind::Get, max),
            get_timers: Timers::new(),
            forwards: Slab::new(Kind::Forward, max),
            forward_timers: Timers::new(),
            line: Line::default(),
            number: 0,
        }
    }

    /// Commands under way.
    pub(crate) fn len(&self) -> usize {
        self.puts.len() + self.gets.len() + self.forwards.len()
    }

    /// Whether one more command with so many bytes may be taken on.
    pub(crate) fn has_room(&self, turn: &Turn<'_>, bytes: usize) -> bool {
        let limits = &turn.common.limits;
        self.len() < limits.requests_max && turn.common.request_bytes + bytes <= limits.request_bytes_max
    }

    /// Whether this node coordinates such a write as an owner now.
    pub(crate) fn is_put_coordinator(turn: &mut Turn<'_>, command: &PutCommand<'_>) -> bool {
        let partition = command.write.key.partition;
        let is_owner = turn.preference_list(partition, command.quorum.n).owners.contains(&turn.common.node);
        let takes = command.write.value.is_none() || turn.store.takes_writes();
        let unix_ms = turn.now.unix_ms;
        let common = &mut *turn.common;
        is_owner && takes && common.stamping.is_possible(turn.store, unix_ms, partition, turn.effects)
    }

    /// Whether so many commands are under way that those which were answered have to end early.
    fn is_crowded(&self, turn: &Turn<'_>) -> bool {
        let limits = &turn.common.limits;
        self.len() * 2 > limits.requests_max || turn.common.request_bytes * 2 > limits.request_bytes_max
    }

    /// A client of this node writes.
    pub(crate) fn on_put(&mut self, turn: &mut Turn<'_>, command: &PutCommand<'_>) {
        let bytes = command.write.key.bytes.len() + command.write.value.map_or(0, <[u8]>::len);
        if !turn.common.limits.takes_value(command.write.value) {
            turn.answer_failed((command.origin, command.write.key.partition), Failure::TooLarge);
        } else if !self.has_room(turn, bytes) {
            turn.answer_failed((command.origin, command.write.key.partition), Failure::Busy);
        } else if Self::is_put_coordinator(turn, command) {
            self.coordinate_put(turn, command);
        } else {
            let id = self.forwards.claim().expect("there is room");
            let forward = self.forwards.get(id).expect("claimed just now");
            forward.begin_put(command);
            turn.common.request_bytes += forward.bytes;
            let next = forward.send_on(turn, id, &mut self.number);
            self.after_forward(turn, id, next);
        }
    }

    /// A client of this node reads.
    pub(crate) fn on_get(&mut self, turn: &mut Turn<'_>, command: &GetCommand<'_>) {
        let list = turn.preference_list(command.key.partition, command.quorum.n);
        if !self.has_room(turn, 0) {
            turn.answer_failed((command.origin, command.key.partition), Failure::Busy);
        } else if list.owners.contains(&turn.common.node) {
            self.coordinate_get(turn, command);
        } else {
            let id = self.forwards.claim().expect("there is room");
            let forward = self.forwards.get(id).expect("claimed just now");
            forward.begin_get(command);
            turn.common.request_bytes += forward.bytes;
            let next = forward.send_on(turn, id, &mut self.number);
            self.after_forward(turn, id, next);
        }
    }

    /// Coordinates a write here.
    pub(crate) fn coordinate_put(&mut self, turn: &mut Turn<'_>, command: &PutCommand<'_>) {
        let Some(id) = self.puts.claim() else {
            turn.answer_failed(
                (command.origin, command.write.key.partition),
                command.repetition.refusal(Failure::Busy),
            );
            return;
        };
        let put = self.puts.get(id).expect("claimed just now");
        put.begin(turn, command);
        turn.common.request_bytes += put.bytes;
        let hash = put.hash;
        if self.line.is_taken(hash) {
            put.queue(command);
            self.line.wait(hash, id);
        } else {
            put.start(turn, id, Some(&command.write));
        }
        self.after_put(turn, id);
    }

    /// Coordinates a read here.
    pub(crate) fn coordinate_get(&mut self, turn: &mut Turn<'_>, command: &GetCommand<'_>) {
        let Some(id) = self.gets.claim() else {
            turn.answer_failed((command.origin, command.key.partition), Failure::Busy);
            return;
        };
        let get = self.gets.get(id).expect("claimed just now");
        get.begin(turn, command);
        if self.line.is_taken(get.hash) {
            get.queue();
            self.line.wait(get.hash, id);
        } else {
            get.start(turn, id);
        }
        self.after_get(turn, id);
    }

    /// Lines of keys that move up with this event: what earlier ones have written is carried out.
    pub(crate) fn lines(&self) -> usize {
        self.line.moving()
    }

    /// The first so many lines move up, each by one write at most.
    pub(crate) fn move_up(&mut self, turn: &mut Turn<'_>, lines: usize) {
        for _ in 0..lines {
            let hash = self.line.take_moving().expect("counted just now");
            while let Some(id) = self.line.next(hash) {
                if id.kind == Kind::Put {
                    self.puts.get(id).expect("it waits").start(turn, id, None);
                    self.after_put(turn, id);
                    if mutated(Mutation::LineMovesAtOnce) {
                        continue;
                    }
                    self.line.hold(hash);
                    break;
                }
                self.gets.get(id).expect("it waits").start(turn, id);
                self.after_get(turn, id);
            }
        }
    }

    /// Sets a write's next deadline, or ends it.
    fn after_put(&mut self, turn: &mut Turn<'_>, id: Handle) {
        let put = self.puts.get(id).expect("it is under way");
        if put.is_unstamped() {
            if put.phase != PutPhase::Queued {
                self.line.enter(put.hash, id);
            }
        } else if !self.line.is_empty() {
            self.line.leave(put.hash, id);
        }
        if put.phase == PutPhase::Done {
            turn.common.request_bytes -= put.bytes;
            put.shrink(turn.common.limits.buffer_keep_bytes);
            self.put_timers.clear(id.slot());
            self.puts.release(id);
        } else if put.wake_us == u64::MAX {
            self.put_timers.clear(id.slot());
        } else {
            self.put_timers.set(id.slot(), put.wake_us);
        }
    }

    fn after_get(&mut self, turn: &mut Turn<'_>, id: Handle) {
        let get = self.gets.get(id).expect("it is under way");
        if get.phase == GetPhase::Done {
            if !self.line.is_empty() {
                self.line.leave(get.hash, id);
            }
            get.shrink(turn.common.limits.buffer_keep_bytes);
            self.get_timers.clear(id.slot());
            self.gets.release(id);
        } else {
            self.get_timers.set(id.slot(), get.wake_us);
        }
    }

    /// Something that the store was asked for on behalf of a write has ended.
    pub(crate) fn on_stored(
        &mut self,
        turn: &mut Turn<'_>,
        (id, part): (Handle, u8),
        result: Result<(), StoreFailure>,
    ) {
        if let Some(put) = self.puts.get(id) {
            put.on_stored(turn, id, part, result);
            self.after_put(turn, id);
        }
    }

    /// A read of the store has ended.
    pub(crate) fn on_loaded(&mut self, turn: &mut Turn<'_>, id: Handle, object: Option<&[u8]>) {
        if id.kind == Kind::Put {
            if let Some(put) = self.puts.get(id) {
                put.on_loaded(turn, id, object);
                self.after_put(turn, id);
            }
        } else if let Some(get) = self.gets.get(id) {
            get.on_loaded(turn, id, object);
            self.after_get(turn, id);
        }
    }

    /// A replica has answered a write.
    pub(crate) fn on_outcome(&mut self, turn: &mut Turn<'_>, id: Handle, from: NodeId, outcome: WriteOutcome) {
        match self.puts.get(id) {
            Some(put) => {
                put.on_outcome(turn, id, from, outcome);
                self.after_put(turn, id);
            }
            None => turn.common.counters.late_replies += 1,
        }
    }

    /// A node has told its versions.
    pub(crate) fn on_versions(
        &mut self,
        turn: &mut Turn<'_>,
        id: Handle,
        from: NodeId,
        versions: (bool, VersionsView<'_>),
    ) {
        match id.kind {
            Kind::Put if self.puts.get(id).is_some() => {
                self.puts.get(id).expect("it is there").on_versions(turn, id, from, versions);
                self.after_put(turn, id);
            }
            Kind::Get if self.gets.get(id).is_some() => {
                self.gets.get(id).expect("it is there").on_versions(turn, id, from, versions);
                self.after_get(turn, id);
            }
            _ => turn.common.counters.late_replies += 1,
        }
    }

    /// A node has given its object.
    pub(crate) fn on_object(&mut self, turn: &mut Turn<'_>, id: Handle, from: NodeId, object: (bool, Option<&[u8]>)) {
        match self.gets.get(id) {
            Some(get) => {
                get.on_object(turn, id, from, object);
                self.after_get(turn, id);
            }
            None => turn.common.counters.late_replies += 1,
        }
    }

    /// A node will not answer: whatever waits for it is due at once.
    pub(crate) fn on_unreachable(&mut self, turn: &mut Turn<'_>, node: NodeId) {
        let is_up = turn.routes.is_up(node);
        for slot in 0..self.puts.slots() {
            if self.puts.at(slot).and_then(|id| self.puts.get(id)).is_some_and(|put| put.on_unreachable(node, is_up)) {
                self.put_timers.set(slot, 0);
            }
        }
        for slot in 0..self.gets.slots() {
            if self.gets.at(slot).and_then(|id| self.gets.get(id)).is_some_and(|get| get.on_unreachable(node)) {
                self.get_timers.set(slot, 0);
            }
        }
        for slot in 0..self.forwards.slots() {
            let Some(id) = self.forwards.at(slot) else { continue };
            let forward = self.forwards.get(id).expect("it is there");
            if forward.is_waiting_for(node) {
                let next = forward.on_unreachable(turn, id, &mut self.number);
                self.after_forward_of_many(turn, id, next);
            }
        }
    }

    /// Whatever is due, until enough was written for one event.
    pub(crate) fn on_time(&mut self, turn: &mut Turn<'_>) {
        let Now { steady_us, .. } = turn.now;
        let has_room = |turn: &Turn<'_>| turn.effects.byte_count() < turn.common.limits.turn_bytes_max;
        while has_room(turn)
            && let Some(slot) = self.put_timers.pop_due(steady_us)
        {
            let (id, is_crowded) =
                (self.puts.at(slot).expect("a deadline is of a write under way"), self.is_crowded(turn));
            self.puts.get(id).expect("it is there").on_time(turn, id, is_crowded);
            self.after_put(turn, id);
        }
        while has_room(turn)
            && let Some(slot) = self.get_timers.pop_due(steady_us)
        {
            let id = self.gets.at(slot).expect("a deadline is of a read under way");
            self.gets.get(id).expect("it is there").on_time(turn, id);
            self.after_get(turn, id);
        }
        while has_room(turn)
            && let Some(slot) = self.forward_timers.pop_due(steady_us)
        {
            let id = self.forwards.at(slot).expect("a deadline is of a command under way");
            let forward = self.forwards.get(id).expect("it is there");
            let next = forward.on_time(turn, id, &mut self.number);
            self.after_forward_of_many(turn, id, next);
        }
    }
}
