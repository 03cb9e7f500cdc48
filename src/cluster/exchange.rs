//! Active anti-entropy: two owners of a partition compare what they have, and each gets what it lacks.
//!
//! ```text
//! asker                                         other owner
//! root at a cut                    ──────────►  equal: the end
//! sums of differing nodes          ◄─────────►  64 below each, level by level
//! keys of differing leaves         ◄─────────►  with their versions, message by message
//! objects that the other lacks     ──────────►  merged there, as repairs
//! hashes of what it lacks itself   ──────────►  objects come back, as repairs
//! ```
//!
//! Trees are compared at a *cut*: without what was stamped in the last epochs, which may still be on its way. So two healthy
//! owners under load compare equal. Versions are compared as they are: what comes of it are merges, so that nothing is ever
//! removed that was not seen, and findings that are out of date do no harm.
//!
//! `schedule` says which pair is next, `dirty` which are known to differ, `comparison` follows one tree, `answers` is the other
//! side, `supply` sends objects, `budget` bounds what all of it costs.
//!
//! Invariant: an exchange that has ended has left each side what the other lacked of the keys that differed, or said that it
//! failed; a hint is never forgotten because of one (rule S5).

use crate::event::Now;
use crate::ids::{NodeId, PartitionId};
use crate::limits::Limits;
use crate::message::{
    ExchangeMessage, ExchangeRefusal, HashList, Header, KeyList, Message, NodeList, SumList, write_hash, write_nodes,
};
use crate::mutation::{Mutation, mutated};
use crate::slab::{Handle, Kind, Slab};
use crate::store::Versions;
use crate::timers::Timers;
use crate::turn::Turn;

mod answers;
mod budget;
mod comparison;
mod dirty;
mod schedule;
mod supply;

use answers::{Answers, cut_of, nodes_below};
use budget::Budget;
use comparison::{Comparison, Next, lacks};
pub(crate) use dirty::DirtyPairs;
use schedule::Schedule;
use supply::Supply;

/// A cut is so many epochs before that of now: what was stamped up to it has had a whole epoch to arrive.
const CUT_LAG: u64 = 2;

/// The epoch of now.
fn epoch_of(now: Now, limits: &Limits) -> u64 {
    now.unix_ms >> limits.exchange_epoch_bits
}

/// The cut itself, unless a deliberate bug compares at no cut.
fn cut_in_use(cut: u64) -> u64 {
    if mutated(Mutation::ExchangeIgnoresCut) { u64::MAX } else { cut }
}

/// All exchanges of a core.
pub(crate) struct Exchanges {
    schedule: Schedule,
    comparisons: Slab<Comparison>,
    timers: Timers,
    answers: Answers,
    supply: Supply,
    sums: Budget,
    keys: Budget,
    /// Scratch.
    own_sums: Vec<u64>,
    own_keys: Vec<(u128, Versions)>,
    other: Versions,
    wanted: Vec<u8>,
    lacking: Vec<u128>,
}

impl Exchanges {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            schedule: Schedule::default(),
            comparisons: Slab::new(Kind::Exchange, limits.exchanges_max),
            timers: Timers::new(),
            answers: Answers::default(),
            supply: Supply::new(limits),
            sums: Budget::new(limits.exchange_sums_per_second),
            keys: Budget::new(limits.exchange_keys_per_second),
            own_sums: Vec::new(),
            own_keys: Vec::new(),
            other: Versions::default(),
            wanted: Vec::new(),
            lacking: Vec::new(),
        }
    }

    /// Exchanges that were begun and have not ended.
    pub(crate) fn len(&self) -> usize {
        self.comparisons.len()
    }

    /// Whether nothing is compared and no object waits to be sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.comparisons.len() == 0 && self.supply.is_idle()
    }

    /// Time has passed: what was not answered has failed, what waited goes on, and the next pairs begin.
    pub(crate) fn on_tick(&mut self, turn: &mut Turn<'_>) {
        let limits = &turn.common.limits;
        let (epoch, bits) = (epoch_of(turn.now, limits), limits.exchange_epoch_bits);
        turn.store.open_epoch(epoch, bits);
        turn.common.refill.on_tick(turn.now, limits);
        while let Some(slot) = self.timers.pop_due(turn.now.steady_us) {
            if let Some(handle) = self.comparisons.at(slot) {
                self.fail(turn, handle);
            }
        }
        self.supply.go_on(turn);
        for slot in 0..self.comparisons.slots() {
            let Some(handle) = self.comparisons.at(slot) else { continue };
            if self.comparisons.get(handle).is_some_and(|comparison| comparison.waits) {
                self.go_on(turn, handle);
            }
        }
        while self.comparisons.len() < turn.common.limits.exchanges_max && self.sums.has_any(turn.now) {
            if !self.begin(turn) {
                break;
            }
        }
    }

    /// Begins the next exchange; false where none is due.
    fn begin(&mut self, turn: &mut Turn<'_>) -> bool {
        let mut dirty = std::mem::take(&mut turn.common.dirty);
        let is_owner = |partition, node: NodeId| turn.routes.owners(partition).contains(&node);
        let worth = |partition, node| is_owner(partition, node) && is_owner(partition, turn.common.node);
        let may_begin = |pair: (PartitionId, NodeId)| turn.is_usable(pair.1) && !self.are_compared(pair);
        let known = dirty.take(turn.now, worth, may_begin);
        turn.common.dirty = dirty;
        let Some((partition, node)) = known.or_else(|| self.schedule.next(turn)) else { return false };
        if known.is_none() && self.are_compared((partition, node)) {
            return true;
        }
        let handle = self.comparisons.claim().expect("there is room for one");
        let cut = cut_of(epoch_of(turn.now, &turn.common.limits));
        let comparison = self.comparisons.get(handle).expect("claimed just now");
        comparison.start((partition, node), cut, known.is_some());
        turn.common.counters.exchanges += 1;
        turn.common.counters.exchanges_of_dirty += u64::from(known.is_some());
        self.ask_root(turn, handle);
        true
    }

    /// Whether an exchange of a pair is under way.
    fn are_compared(&self, (partition, node): (PartitionId, NodeId)) -> bool {
        self.comparisons.iter().any(|comparison| (comparison.partition, comparison.peer) == (partition, Some(node)))
    }

    fn ask_root(&mut self, turn: &mut Turn<'_>, handle: Handle) {
        let comparison = self.comparisons.get(handle).expect("it is under way");
        let (partition, cut) = (comparison.partition, comparison.cut);
        let root = turn.store.root_at(partition, cut_in_use(cut));
        self.sums.spend(1);
        self.ask(turn, handle, &ExchangeMessage::RootRead { cut, root });
    }

    fn ask(&mut self, turn: &mut Turn<'_>, handle: Handle, question: &ExchangeMessage<'_>) {
        // What was asked before and is answered twice is no answer to this.
        let handle = self.comparisons.renew(handle);
        let comparison = self.comparisons.get(handle).expect("it is under way");
        comparison.waits = false;
        let (partition, peer) = (comparison.partition, comparison.peer.expect("every exchange has another side"));
        let message = turn.write_message(partition, handle.request(), &Message::Exchange(*question));
        turn.send(peer, partition, &message);
        self.timers.set(handle.slot(), turn.now.steady_us + turn.common.limits.exchange_timeout_us);
    }

    /// The next step of an exchange, if there is something left to spend on it.
    fn go_on(&mut self, turn: &mut Turn<'_>, handle: Handle) {
        let limits = &turn.common.limits;
        let has_room = self.supply.has_room(limits, 2 * limits.exchange_keys_per_message);
        let may_go_on = self.sums.has_any(turn.now) && self.keys.has_any(turn.now) && has_room;
        let comparison = self.comparisons.get(handle).expect("it is under way");
        if !may_go_on {
            comparison.waits = true;
            self.timers.clear(handle.slot());
            return;
        }
        match comparison.next() {
            Next::Sums { parent_bits, bits } => {
                let cut = comparison.cut;
                let mut nodes = std::mem::take(&mut self.wanted);
                nodes.clear();
                write_nodes(comparison.asked.iter().copied(), &mut nodes);
                let (parent_bits, bits) = (parent_bits as u8, bits as u8);
                let nodes_list = NodeList::written(&nodes);
                self.ask(turn, handle, &ExchangeMessage::SumsRead { cut, parent_bits, bits, nodes: nodes_list });
                self.wanted = nodes;
            }
            Next::Keys(range) => {
                self.ask(turn, handle, &ExchangeMessage::KeysRead { from: *range.start(), to: *range.end() });
            }
            Next::End => {
                turn.common.counters.exchanges_differing += 1;
                let pair = (comparison.partition, comparison.peer.expect("every exchange has another side"));
                turn.note_pair(pair, |fact| {
                    fact.exchanges += 1;
                    fact.differing += 1;
                });
                self.end(handle);
            }
        }
    }

    /// Another owner asks, and this core is the other side.
    pub(crate) fn on_question(
        &mut self,
        turn: &mut Turn<'_>,
        (from, asked): (NodeId, &Header),
        question: &ExchangeMessage<'_>,
    ) {
        if let ExchangeMessage::Wanted(hashes) = question {
            if turn.routes.owners(asked.partition).contains(&from) {
                self.supply.add(turn, (from, asked.partition), hashes.iter());
            }
            return;
        }
        let (sums, keys) = self.answers.answer(turn, (from, asked), question);
        self.sums.spend(sums);
        self.keys.spend(keys);
    }

    /// The other side of an exchange has answered.
    pub(crate) fn on_answer(
        &mut self,
        turn: &mut Turn<'_>,
        handle: Handle,
        from: NodeId,
        answer: &ExchangeMessage<'_>,
    ) {
        let Some(comparison) = self.comparisons.get(handle).filter(|comparison| comparison.peer == Some(from)) else {
            turn.common.counters.late_replies += 1;
            return;
        };
        self.timers.clear(handle.slot());
        match *answer {
            ExchangeMessage::Equal if !comparison.differs => {
                turn.common.counters.exchanges_equal += 1;
                let (partition, cut, bits) =
                    (comparison.partition, comparison.cut, turn.common.limits.exchange_epoch_bits);
                let now_ms = turn.now.unix_ms;
                turn.note_equal(partition, from, cut);
                turn.note_pair((partition, from), |fact| fact.note_equal(cut, bits, now_ms));
                self.end(handle);
            }
            ExchangeMessage::Differs { leaf_bits } if !comparison.differs => {
                let own = turn.store.leaf_bits_at(comparison.partition, cut_in_use(comparison.cut));
                comparison.descend(own.min(u32::from(leaf_bits)));
                self.go_on(turn, handle);
            }
            ExchangeMessage::Sums(sums) => self.on_sums(turn, handle, sums),
            ExchangeMessage::Keys { next, keys } if comparison.range.is_some() => {
                self.on_keys(turn, handle, next, keys);
            }
            ExchangeMessage::Refused { why: ExchangeRefusal::Behind, epoch } if !comparison.is_retried => {
                // Its clock decides: where nothing is open any more, the trees are those of the moment.
                comparison.is_retried = true;
                comparison.cut = comparison.cut.min(cut_of(epoch));
                self.ask_root(turn, handle);
            }
            _ => self.fail(turn, handle),
        }
    }

    fn on_sums(&mut self, turn: &mut Turn<'_>, handle: Handle, others: SumList<'_>) {
        let comparison = self.comparisons.get(handle).expect("it is under way");
        let (parent_bits, bits) = comparison.levels;
        self.own_sums.clear();
        let (partition, cut) = (comparison.partition, cut_in_use(comparison.cut));
        // The tree may have become smaller meanwhile.
        let has_level = bits <= turn.store.leaf_bits_at(partition, cut);
        for node in comparison.asked.iter().filter(|_| has_level) {
            turn.store.sums_at(partition, cut, bits, nodes_below(*node, parent_bits, bits), &mut self.own_sums);
        }
        self.sums.spend(self.own_sums.len());
        if comparison.compare(&self.own_sums, others.iter()) {
            self.go_on(turn, handle);
        } else {
            self.fail(turn, handle);
        }
    }

    fn on_keys(&mut self, turn: &mut Turn<'_>, handle: Handle, next: Option<u64>, keys: KeyList<'_>) {
        let comparison = self.comparisons.get(handle).expect("it is under way");
        let (partition, range) = (comparison.partition, comparison.range.clone().expect("keys were asked for"));
        let is_within = |hash: u128| range.contains(&((hash >> 64) as u64));
        let is_right = keys.iter().all(|(hash, _)| is_within(hash)) && next.is_none_or(|next| next > *range.start());
        if !is_right {
            turn.common.counters.bad_messages += 1;
            self.fail(turn, handle);
            return;
        }
        let told = next.map_or(*range.end(), |next| (next - 1).min(*range.end()));
        self.own_keys.clear();
        let (own, max) = (&mut self.own_keys, turn.common.limits.exchange_keys_per_message);
        let own_next = turn.store.visit_versions(partition, *range.start()..=told, max, &mut |hash, versions| {
            own.push((hash, versions.clone()));
        });
        // What the other side told of beyond the last own key is asked for again.
        let end = own_next.map_or(told, |next| next - 1);
        comparison.pass(end);
        if mutated(Mutation::ExchangeFirstKeysOnly) {
            comparison.skip_range();
        }
        let peer = comparison.peer.expect("every exchange has another side");
        self.join(turn, end, keys);
        if !self.wanted.is_empty() && !mutated(Mutation::ExchangeOneWay) {
            let wanted = ExchangeMessage::Wanted(HashList::written(&self.wanted));
            let message = turn.write_message(partition, handle.request(), &Message::Exchange(wanted));
            turn.send(peer, partition, &message);
        }
        self.supply.add(turn, (peer, partition), self.lacking.iter().copied());
        self.go_on(turn, handle);
    }

    /// Compares own keys and another's up to `end`: what this node wants, and what the other lacks.
    fn join(&mut self, turn: &mut Turn<'_>, end: u64, keys: KeyList<'_>) {
        self.wanted.clear();
        self.lacking.clear();
        let nothing = Versions::default();
        let mut own = self.own_keys.iter().peekable();
        let mut others = keys.iter().filter(|(hash, _)| (hash >> 64) as u64 <= end).peekable();
        let mut count = 0;
        loop {
            let hashes = (own.peek().map(|(hash, _)| *hash), others.peek().map(|(hash, _)| *hash));
            let first = hashes.0.into_iter().chain(hashes.1).min();
            let Some(hash) = first else { break };
            let ours = own.next_if(|(own, _)| *own == hash).map_or(&nothing, |(_, versions)| versions);
            match others.next_if(|(other, _)| *other == hash) {
                Some((_, view)) => view.copy_to(&mut self.other),
                None => self.other.clear(),
            }
            let (own_lacks, other_lacks) = lacks(ours, &self.other);
            if own_lacks {
                write_hash(hash, &mut self.wanted);
            }
            if other_lacks {
                self.lacking.push(hash);
            }
            count += 1;
        }
        self.keys.spend(count);
        turn.common.counters.exchange_keys += count as u64;
    }

    /// An object that another owner lacks was read.
    pub(crate) fn on_loaded(&mut self, turn: &mut Turn<'_>, handle: Handle, key: (&[u8], u128), object: Option<&[u8]>) {
        self.supply.on_loaded(turn, handle, key, object);
    }

    /// A node will not answer.
    pub(crate) fn on_unreachable(&mut self, turn: &mut Turn<'_>, node: NodeId) {
        self.supply.on_unreachable(node);
        for slot in 0..self.comparisons.slots() {
            let Some(handle) = self.comparisons.at(slot) else { continue };
            if self.comparisons.get(handle).is_some_and(|comparison| comparison.peer == Some(node)) {
                self.fail(turn, handle);
            }
        }
    }

    /// Not compared to the end; a pair that is known to differ comes up again.
    fn fail(&mut self, turn: &mut Turn<'_>, handle: Handle) {
        turn.common.counters.exchanges_failed += 1;
        let comparison = self.comparisons.get(handle).expect("it is under way");
        let pair = (comparison.partition, comparison.peer.expect("every exchange has another side"));
        turn.note_pair(pair, |fact| fact.failed += 1);
        if comparison.is_dirty {
            let has_room = turn.common.dirty.bring_back(&turn.common.limits, turn.now, pair);
            turn.common.counters.dirty_dropped += u64::from(!has_room);
        }
        self.end(handle);
    }

    fn end(&mut self, handle: Handle) {
        self.timers.clear(handle.slot());
        self.comparisons.release(handle);
    }
}
