//! Every checker finds what it is there for: each test plants a violation, and beside it what is right and must pass.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

use annulus_cluster::effect::Failure;
use annulus_cluster::event::Quorum;
use annulus_cluster::ids::Home;
use annulus_cluster::limits::Limits;
use annulus_cluster::store::Versions;
use annulus_object::{Actor, Clock, Context, Dot, Object, Sibling};

use super::*;
use crate::model::{Kind, Op, Seen};
use crate::node::Load;
use crate::ring::node_id;

mod refilling;

const KEY: KeyIndex = 0;
const OWNERS: u64 = 0b111;

/// A model with one key, and a cluster that does what the test says.
struct Bench {
    checkers: Checkers,
    clock: u64,
}

impl Bench {
    fn new() -> Self {
        let mut checkers = Checkers::default();
        checkers.model.add_key(b"k".to_vec(), 3, 77);
        checkers.model.add_key(b"other".to_vec(), 3, 78);
        Self { checkers, clock: 0 }
    }

    fn op(&mut self, kind: Kind, context: Option<Seen>, own_last: Option<WriteIndex>) -> OpId {
        let id = self.checkers.model.next_op();
        let value = if kind == Kind::Put { id.to_le_bytes().to_vec() } else { Vec::new() };
        self.clock += 1;
        self.checkers.model.invoke(Op {
            client: 0,
            key: KEY,
            kind,
            value,
            context: context.map(std::rc::Rc::new),
            own_last,
            own_is_alone: true,
            is_repeatable: false,
            quorum: Quorum { n: 3, r: 2, w: 2, pr: 2, pw: 2, dw: 2 },
            invoked: self.clock,
            due: None,
            node: 0,
            outcome: Outcome::Open,
            answers: 0,
            writes: Vec::new(),
        })
    }

    fn put(&mut self) -> OpId {
        self.op(Kind::Put, None, None)
    }

    /// A node stamps an operation over `before`; gives the object after it.
    fn stamp(&mut self, node: usize, op: OpId, before: &Object, context: &Context) -> Result<Object, Violation> {
        self.clock += 1;
        let dot = dot(self.clock, node);
        self.checkers.model.note_stamp(node, 0, dot)?;
        let mut object = before.clone();
        let value = (self.checkers.model.op(op).kind == Kind::Put).then(|| self.checkers.model.op(op).value.clone());
        object.write(dot, context, value, crate::model::expires_at_ms(self.checkers.model.op(op).kind, op));
        self.store(node, before, &object)?;
        Ok(object)
    }

    /// As a blind write.
    fn stamp_blind(&mut self, node: usize, op: OpId, before: &Object) -> Result<Object, Violation> {
        let context = before.context().clone();
        self.stamp(node, op, before, &context)
    }

    fn store(&mut self, node: usize, before: &Object, object: &Object) -> Result<(), Violation> {
        let held = [(Home::Owned(3), versions(before))];
        let storing = Storing {
            at: self.clock,
            node,
            core: 0,
            key: KEY,
            home: Home::Owned(3),
            before: &held,
            meanwhile: &held,
            heard: &Bits::default(),
            object,
        };
        self.checkers.on_storing(&storing)?;
        let dots: Vec<Dot> = object.siblings().iter().map(|sibling| sibling.dot).collect();
        self.checkers.on_state((node, self.clock), KEY, &dots, object.context())
    }

    fn durable(&mut self, nodes: &[usize], object: &Object) {
        let writes = self.checkers.model.key(KEY).covered(object.context());
        nodes.iter().for_each(|node| self.checkers.on_durable(*node, Home::Owned(3), KEY, &writes));
    }

    fn acknowledge(&mut self, op: OpId, object: &Object) -> Result<(), Violation> {
        self.clock += 1;
        let dot = object.newest().unwrap().dot;
        self.checkers.on_answer(0, self.clock, op, Told::Written { dot, owners: OWNERS })
    }

    /// A blind write at a node that others store as well, and that is acknowledged.
    fn write(&mut self, node: usize, before: &Object) -> Object {
        let op = self.put();
        let object = self.stamp_blind(node, op, before).unwrap();
        self.durable(&[0, 1], &object);
        self.acknowledge(op, &object).unwrap();
        object
    }

    fn get(&mut self, own_last: Option<WriteIndex>, object: &Object) -> Result<(), Violation> {
        let op = self.op(Kind::Get, None, own_last);
        self.checkers.on_answer(0, self.clock, op, found(object))
    }
}

fn found(object: &Object) -> Told<'_> {
    Told::Found { object, is_stale_possible: false }
}

fn dot(clock: u64, node: usize) -> Dot {
    Dot::new(Clock::from_raw(clock << 20).unwrap(), Actor::new(node_id(node).raw(), 1))
}

fn versions(object: &Object) -> Versions {
    let siblings = object.siblings().iter().map(|sibling| (sibling.dot, sibling.value.is_none())).collect();
    Versions { siblings, context: object.context().clone() }
}

fn promise(result: Result<(), Violation>) -> Option<Promise> {
    result.err().map(|violation| violation.promise)
}

#[test]
fn a_right_history_passes() {
    let mut bench = Bench::new();
    let first = bench.write(0, &Object::default());
    let second = bench.write(0, &first);
    assert_eq!(second.siblings().len(), 1);
    bench.get(Some(1), &second).unwrap();
    // Somebody who had read the first only: a sibling of the second.
    let seen = bench.checkers.model.seen_in(KEY, &first);
    let op = bench.op(Kind::Put, Some(seen), None);
    let third = bench.stamp(1, op, &second, first.context()).unwrap();
    assert_eq!(third.siblings().len(), 2);
    bench.durable(&[0, 1], &third);
    bench.acknowledge(op, &third).unwrap();
    bench.get(None, &third).unwrap();
    acknowledged::check_owner(&bench.checkers.model, KEY, 0, &third).unwrap();
    for checked in [Promise::Causality, Promise::Copies, Promise::Sessions, Promise::StrictReads, Promise::Dots] {
        assert!(bench.checkers.compared.of(checked) > 0, "{checked:?}");
    }
}

#[test]
fn an_invented_value_is_found() {
    let mut bench = Bench::new();
    let op = bench.put();
    let object = bench.stamp_blind(0, op, &Object::default()).unwrap();
    let sibling = Sibling { value: Some(vec![9; 4]), ..object.siblings()[0].clone() };
    let other = Object::single(sibling, Context::default());
    assert_eq!(promise(bench.get(None, &other)), Some(Promise::NothingInvented));
    assert_eq!(promise(bench.store(1, &Object::default(), &other)), Some(Promise::NothingInvented));
    let unknown =
        Sibling { dot: dot(99, 1), expires_at_ms: 0, value: Some(op.to_le_bytes().to_vec()), value_dot: None };
    assert_eq!(
        promise(bench.get(None, &Object::single(unknown, Context::default()))),
        Some(Promise::NothingInvented),
        "a dot that nobody stamped"
    );
}

#[test]
fn a_delete_that_nobody_wanted_is_found() {
    let mut bench = Bench::new();
    bench.checkers.model.note_stamp(0, 0, dot(5, 0)).unwrap();
    let delete = Sibling { dot: dot(5, 0), expires_at_ms: 0, value: None, value_dot: None };
    let object = Object::single(delete, Context::default());
    assert_eq!(promise(bench.store(0, &Object::default(), &object)), Some(Promise::NothingInvented));
    let op = bench.op(Kind::Delete, None, None);
    bench.checkers.model.op_mut(op).due = Some(9);
    assert_eq!(promise(bench.store(0, &Object::default(), &object)), None);
}

#[test]
fn what_was_refused_must_not_be_there() {
    let mut bench = Bench::new();
    let op = bench.put();
    bench.stamp_blind(0, op, &Object::default()).unwrap();
    let refused = |failure| Told::Failed(failure);
    assert_eq!(
        promise(bench.checkers.on_answer(0, 9, op, refused(Failure::NoReplicas))),
        Some(Promise::NothingInvented)
    );
    let late = bench.put();
    bench.checkers.on_answer(0, 9, late, refused(Failure::Busy)).unwrap();
    assert_eq!(promise(bench.stamp_blind(0, late, &Object::default()).map(drop)), Some(Promise::NothingInvented));
    let doubtful = bench.put();
    bench.checkers.on_answer(0, 9, doubtful, refused(Failure::InDoubt)).unwrap();
    assert_eq!(promise(bench.stamp_blind(0, doubtful, &Object::default()).map(drop)), None);
}

#[test]
fn a_second_execution_is_found() {
    let mut bench = Bench::new();
    let op = bench.put();
    bench.stamp_blind(0, op, &Object::default()).unwrap();
    assert_eq!(promise(bench.stamp_blind(1, op, &Object::default()).map(drop)), Some(Promise::Once));
}

#[test]
fn a_late_execution_is_found() {
    for (clocks_are_right, expected) in [(true, Some(Promise::InTime)), (false, None)] {
        let mut bench = Bench::new();
        bench.checkers.model.clocks_are_right = clocks_are_right;
        let op = bench.put();
        bench.checkers.model.op_mut(op).due = Some(1);
        bench.clock = 1_000_000;
        assert_eq!(promise(bench.stamp_blind(0, op, &Object::default()).map(drop)), expected);
    }
}

#[test]
fn a_write_that_kills_what_it_has_not_seen_is_found() {
    let mut bench = Bench::new();
    let first = bench.write(0, &Object::default());
    // Node 0 has lost it, and stamps as the same actor: its clock covers the first write.
    let op = bench.put();
    let object = bench.stamp_blind(0, op, &Object::default());
    assert_eq!(promise(object.map(drop)), Some(Promise::Causality));
    drop(first);
}

#[test]
fn killing_is_found_too_when_the_acknowledgement_comes_later() {
    let mut bench = Bench::new();
    let op = bench.put();
    let first = bench.stamp_blind(0, op, &Object::default()).unwrap();
    let other = bench.put();
    bench.stamp_blind(0, other, &Object::default()).unwrap();
    bench.durable(&[1, 2], &first);
    assert_eq!(promise(bench.acknowledge(op, &first)), Some(Promise::Causality));
}

#[test]
fn a_sibling_that_was_seen_is_found() {
    let mut bench = Bench::new();
    let first = bench.write(0, &Object::default());
    let seen = bench.checkers.model.seen_in(KEY, &first);
    let op = bench.op(Kind::Put, Some(seen), None);
    assert_eq!(promise(bench.stamp(1, op, &first, &Context::default()).map(drop)), Some(Promise::Causality));
    // The same for the connection's own last write.
    let mut bench = Bench::new();
    let first = bench.write(0, &Object::default());
    let op = bench.op(Kind::Put, None, Some(0));
    let alone = bench.stamp_blind(1, op, &Object::default()).unwrap();
    let mut both = first.clone();
    both.merge(alone);
    assert_eq!(promise(bench.store(2, &first, &both)), Some(Promise::Causality));
}

#[test]
fn a_lost_write_is_found() {
    let mut bench = Bench::new();
    let first = bench.write(0, &Object::default());
    bench.checkers.model.note_wiped(0);
    acknowledged::check_copies(&bench.checkers.model, KEY, std::iter::once(0)).unwrap();
    bench.checkers.model.note_wiped(1);
    let lost = acknowledged::check_copies(&bench.checkers.model, KEY, std::iter::once(0));
    assert_eq!(promise(lost.map(drop)), Some(Promise::Kept));
    let ended = |object: &Object| acknowledged::check_owner(&bench.checkers.model, KEY, 2, object).map(drop);
    assert_eq!(promise(ended(&Object::default())), Some(Promise::Kept));
    assert_eq!(promise(ended(&first)), None);
}

#[test]
fn what_was_replaced_is_not_lost_where_a_context_has_forgotten_it() {
    let mut bench = Bench::new();
    let first = bench.write(0, &Object::default());
    let bare = |object: &Object| {
        let newest = object.newest().expect("it was written").clone();
        let mut context = Context::default();
        context.insert(newest.dot);
        Object::single(newest, context)
    };
    let ended = |bench: &Bench, object: &Object| {
        promise(acknowledged::check_owner(&bench.checkers.model, KEY, 2, object).map(drop))
    };
    let op = bench.put();
    let beside = bench.stamp_blind(2, op, &Object::default()).unwrap();
    assert_eq!(ended(&bench, &bare(&beside)), Some(Promise::Kept), "it stands beside the first");
    let op = bench.put();
    let second = bench.stamp_blind(1, op, &first).unwrap();
    assert_eq!(ended(&bench, &bare(&second)), None);
}

#[test]
fn the_atlas_knows_the_last_copy() {
    let mut bench = Bench::new();
    let first = bench.write(0, &Object::default());
    assert_eq!(bench.checkers.model.only_on(0, 0), None);
    bench.checkers.model.note_wiped(1);
    assert_eq!(bench.checkers.model.only_on(0, 0), Some((KEY, 0)));
    // Replaced on another node: the disk may go.
    let op = bench.put();
    let second = bench.stamp_blind(0, op, &first).unwrap();
    bench.durable(&[2], &second);
    assert_eq!(bench.checkers.model.only_on(0, 0), None);
}

#[test]
fn too_few_copies_are_found() {
    for (nodes, expected) in [(&[0][..], Some(Promise::Copies)), (&[0, 1], None), (&[0, 5], Some(Promise::Copies))] {
        let mut bench = Bench::new();
        let op = bench.put();
        let object = bench.stamp_blind(0, op, &Object::default()).unwrap();
        bench.durable(nodes, &object);
        assert_eq!(promise(bench.acknowledge(op, &object)), expected, "{nodes:?}, of which 0 to 2 are owners");
    }
}

#[test]
fn a_hint_that_is_forgotten_early_is_found() {
    let mut bench = Bench::new();
    let object = bench.write(0, &Object::default());
    let writes = bench.checkers.model.key(KEY).covered(object.context());
    let hint = Home::Hinted { partition: 3, target: node_id(2) };
    bench.checkers.on_durable(4, hint, KEY, &writes);
    let gone = versions(&object);
    let early = bench.checkers.on_forgotten(4, KEY, 1 << 2, (&gone, &[]));
    assert_eq!(promise(early), Some(Promise::Hints));
    bench.durable(&[2], &object);
    bench.checkers.on_forgotten(4, KEY, 1 << 2, (&gone, &[])).unwrap();
    assert!(bench.checkers.compared.of(Promise::Hints) > 0);
}

#[test]
fn a_hand_over_onto_a_copy_that_counts_is_found() {
    let mut bench = Bench::new();
    let op = bench.put();
    let object = bench.stamp_blind(0, op, &Object::default()).unwrap();
    bench.durable(&[2], &object);
    let writes = bench.checkers.model.key(KEY).covered(object.context());
    let hint = Home::Hinted { partition: 3, target: node_id(2) };
    bench.checkers.on_durable(4, hint, KEY, &writes);
    // Both were counted, and only one of them is an owner: for W=2 PW=0 that is enough.
    bench.checkers.model.op_mut(op).quorum = Quorum { n: 3, r: 2, w: 2, pr: 0, pw: 0, dw: 2 };
    bench.acknowledge(op, &object).unwrap();
    let merged = bench.checkers.on_forgotten(4, KEY, 1 << 2, (&versions(&object), &[]));
    assert_eq!(promise(merged), Some(Promise::Hints));
}

#[test]
fn a_dot_that_is_issued_twice_is_found() {
    let mut bench = Bench::new();
    bench.checkers.model.note_stamp(0, 0, dot(5, 0)).unwrap();
    bench.checkers.model.note_stamp(0, 1, dot(5, 0)).unwrap();
    assert_eq!(promise(bench.checkers.model.note_stamp(0, 0, dot(5, 0))), Some(Promise::Dots));
}

#[test]
fn a_read_that_misses_is_found() {
    let mut bench = Bench::new();
    let first = bench.write(0, &Object::default());
    assert_eq!(promise(bench.get(Some(0), &Object::default())), Some(Promise::Sessions));
    assert_eq!(promise(bench.get(None, &Object::default())), Some(Promise::StrictReads));
    assert_eq!(promise(bench.get(Some(0), &first)), None);
    // Whoever says that there may be more promises no session; PR it promises nevertheless.
    let op = bench.op(Kind::Get, None, Some(0));
    bench.checkers.model.op_mut(op).quorum.pr = 0;
    let stale = Told::Found { object: &Object::default(), is_stale_possible: true };
    assert_eq!(promise(bench.checkers.on_answer(0, 99, op, stale)), None);
    // A lax read may miss.
    let op = bench.op(Kind::Get, None, None);
    bench.checkers.model.op_mut(op).quorum.pr = 0;
    assert_eq!(promise(bench.checkers.on_answer(0, 99, op, found(&Object::default()))), None);
}

#[test]
fn a_strict_delete_that_has_not_read_is_found() {
    let mut bench = Bench::new();
    let first = bench.write(0, &Object::default());
    let op = bench.op(Kind::Delete, None, None);
    let delete = bench.stamp_blind(2, op, &Object::default()).unwrap();
    let mut both = first.clone();
    both.merge(delete);
    assert_eq!(promise(bench.store(0, &first, &both)), Some(Promise::Causality));
}

#[test]
fn a_second_answer_is_found() {
    let mut bench = Bench::new();
    let op = bench.put();
    bench.checkers.on_answer(0, 1, op, Told::Failed(Failure::InDoubt)).unwrap();
    let again = bench.checkers.on_answer(0, 1, op, Told::Failed(Failure::InDoubt));
    assert_eq!(promise(again), Some(Promise::Answers));
    let other = bench.put();
    let wrong = bench.checkers.on_answer(0, 1, other, found(&Object::default()));
    assert_eq!(promise(wrong), Some(Promise::Answers));
    let late = |waited| answers::check_silence(&bench.checkers.model, other, waited, 1000).map(drop);
    assert_eq!(promise(late(1000)), None);
    assert_eq!(promise(late(1001 + answers::GRACE)), Some(Promise::Answers));
}

#[test]
fn owners_that_differ_are_found() {
    let mut bench = Bench::new();
    let first = bench.write(0, &Object::default());
    let model = &bench.checkers.model;
    let same = [(0, first.clone()), (1, first.clone())];
    assert_eq!(convergence::check_objects(model, KEY, &same), Ok(1));
    let different = [(0, first.clone()), (1, Object::default())];
    let found = convergence::check_objects(model, KEY, &different);
    assert_eq!(promise(found.map(drop)), Some(Promise::Convergence));
    assert_eq!(promise(convergence::check_roots(1, &[(0, 5), (1, 6)]).map(drop)), Some(Promise::Convergence));
    assert_eq!(promise(convergence::check_hints(1, 3).map(drop)), Some(Promise::Convergence));
    assert_eq!(convergence::check_hints(1, 0), Ok(1));
}

#[test]
fn unbounded_and_leaking_queues_are_found() {
    let limits = Limits::default();
    let over = Load { requests: limits.requests_max + 1, ..Load::default() };
    assert_eq!(promise(bounded::check(0, 0, over, &limits, 3).map(drop)), Some(Promise::Bounded));
    assert_eq!(bounded::check(0, 0, Load::default(), &limits, 3), Ok(1));
    let left = Load { requests: 1, ..Load::default() };
    assert_eq!(promise(bounded::check_idle(0, 0, left).map(drop)), Some(Promise::Bounded));
}

#[test]
fn rotten_bytes_are_found() {
    assert_eq!(promise(rot::decode(&[1, 2, 3], Some(KEY), "n0 stores").map(drop)), Some(Promise::Rot));
    assert_eq!(rot::decode(&[], None, "n0 stores"), Ok(Object::default()));
}
