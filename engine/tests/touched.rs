//! Values that were given another expiry after they were made, and siblings of which some are not to be shown.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not hold")]

mod support;

use annulus_engine::disk::memory::MemoryDisk;
use annulus_engine::{Durability, Engine, Merge, ObjectFound};
use annulus_object::{Actor, Clock, Context, Dot, Object, ObjectView, Sibling};
use support::{Node, partition_of};

fn dot(clock: u64, actor: u64) -> Dot {
    Dot::new(Clock::from_unix_ms(1_700_000_000_000 + clock, 0), Actor::new(actor, 1))
}

fn sibling(dot: Dot, value: Option<&str>) -> Sibling {
    Sibling { dot, expires_at_ms: 0, value: value.map(|value| value.as_bytes().to_vec()), value_dot: None }
}

fn single(dot: Dot, value: Option<&str>) -> Object {
    Object::single(sibling(dot, value), Context::default())
}

fn merge(engine: &mut Engine<MemoryDisk>, key: &[u8], object: &Object, now_ms: u64) {
    let mut bytes = Vec::new();
    object.encode(&mut bytes);
    let key = engine.key(key, partition_of(key));
    let merged = engine.merge(&key, &ObjectView::check(&bytes).unwrap(), now_ms).unwrap();
    assert!(matches!(merged, Merge::Done(done) if done.changed), "{merged:?}");
}

/// A key's object, of which the record is in memory.
fn object(engine: &mut Engine<MemoryDisk>, key: &[u8]) -> Option<Object> {
    let mut bytes = Vec::new();
    let key = engine.key(key, partition_of(key));
    match engine.object(&key, &mut bytes) {
        ObjectFound::Here { .. } => Some(Object::decode(&bytes).unwrap()),
        ObjectFound::Absent { .. } | ObjectFound::OnDisk(_) => None,
    }
}

/// A node among others.
fn open(durability: Durability) -> Node {
    let mut node = Node::closed(MemoryDisk::new(5), durability);
    (node.is_alone, node.limits) = (false, support::tiny());
    node.open(1, None).unwrap();
    node
}

/// Writes other keys until what was there before lies in partition files.
fn bury(node: &mut Node) {
    for round in 0..200_u32 {
        node.write(format!("other-{round}").as_bytes(), Some((vec![7; 900], 0)));
        (0..3).for_each(|_| drop(node.turn(4)));
        node.now_ms += 20;
        node.tick();
    }
    node.settle_all();
    assert!(node.cores[0].statistics().counts.drains > 0);
}

/// Touched by one, and touched again; beside it what another has written meanwhile.
fn touched() -> (Object, Object) {
    let mut old = single(dot(1, 1), Some("old"));
    old.touch(dot(50, 2), &old.context().clone(), 0, 0);
    let mut again = old.clone();
    again.touch(dot(60, 3), &again.context().clone(), 0, 0);
    again.merge(single(dot(30, 4), Some("new")));
    (old, again)
}

#[test]
fn a_value_keeps_its_dot_through_log_files_and_restarts() {
    let (old, beside) = touched();
    assert_eq!(beside.newest().map(|newest| newest.dot), Some(dot(30, 4)));
    for cores in [1, 2] {
        let mut node = open(Durability::Sync);
        merge(&mut node.cores[0], b"single", &old, node.now_ms);
        merge(&mut node.cores[0], b"beside", &beside, node.now_ms);
        let check = |node: &mut Node| {
            assert_eq!(node.read(b"single").unwrap(), Some(b"old".to_vec()));
            assert_eq!(node.read(b"beside").unwrap(), Some(b"new".to_vec()), "the newest value, whatever was touched");
        };
        check(&mut node);
        node.settle_all();
        assert_eq!(object(&mut node.cores[0], b"single"), Some(old.clone()));
        assert_eq!(object(&mut node.cores[0], b"beside"), Some(beside.clone()));
        bury(&mut node);
        check(&mut node);
        for is_clean in [true, false] {
            node.restart(is_clean, cores);
            check(&mut node);
        }
        // What comes after a restart joins what the disk has.
        let core = usize::from(node.core_of(b"single"));
        let newer = single(dot(30, 4), Some("new"));
        let mut bytes = Vec::new();
        newer.encode(&mut bytes);
        let key = node.cores[core].key(b"single", partition_of(b"single"));
        let merged = node.cores[core].merge(&key, &ObjectView::check(&bytes).unwrap(), node.now_ms).unwrap();
        assert!(matches!(merged, Merge::Done(_)), "the record was just read, so it is in memory: {merged:?}");
        assert_eq!(node.read(b"single").unwrap(), Some(b"new".to_vec()));
        node.settle_all();
        let mut expected = old.clone();
        expected.merge(newer);
        assert_eq!(object(&mut node.cores[core], b"single"), Some(expected));
    }
}

#[test]
fn a_store_in_memory_keeps_the_dot_of_a_value() {
    let (old, beside) = touched();
    let mut node = open(Durability::Memory);
    merge(&mut node.cores[0], b"k", &old, node.now_ms);
    assert_eq!(object(&mut node.cores[0], b"k"), Some(old));
    merge(&mut node.cores[0], b"k", &beside, node.now_ms);
    assert_eq!(object(&mut node.cores[0], b"k"), Some(beside));
    assert_eq!(node.read(b"k").unwrap(), Some(b"new".to_vec()));
}

/// A tombstone, or a value that has expired, hides nothing that its writer had not seen: also of a store that is alone now.
#[test]
fn a_store_alone_shows_the_newest_sibling_that_lives() {
    let mut node = open(Durability::Sync);
    let soon = node.now_ms + 1_000;
    let expiring =
        Object::single(Sibling { expires_at_ms: soon, ..sibling(dot(9, 3), Some("short")) }, Context::default());
    let keys: [(&[u8], &[&Object]); 3] = [
        (b"deleted", &[&single(dot(2, 1), Some("kept")), &single(dot(8, 2), None)]),
        (b"expired", &[&single(dot(2, 1), Some("kept")), &expiring]),
        (b"gone", &[&single(dot(8, 2), None), &expiring]),
    ];
    for (key, objects) in keys {
        let mut all = Object::default();
        objects.iter().for_each(|object| all.merge((*object).clone()));
        merge(&mut node.cores[0], key, &all, node.now_ms);
    }
    for phase in ["waiting", "in the log", "alone", "in files"] {
        match phase {
            "in the log" => node.settle_all(),
            "alone" => {
                node.is_alone = true;
                node.restart(true, 1);
            }
            "in files" => bury(&mut node),
            _ => {}
        }
        let is_early = node.now_ms < soon;
        let expected = if is_early { ["kept", "short", "short"] } else { ["kept", "kept", ""] };
        for (key, expected) in [&b"deleted"[..], b"expired", b"gone"].into_iter().zip(expected) {
            let found = node.read(key).unwrap().unwrap_or_default();
            assert_eq!(found, expected.as_bytes(), "{phase}: {}", key.escape_ascii());
        }
        let now_ms = node.now_ms;
        let key = node.cores[0].key(b"expired", partition_of(b"expired"));
        let described = node.cores[0].describe(&key, now_ms).unwrap();
        assert_eq!(described.needs_record, phase != "waiting", "{phase}");
        let listed = node.scan_keys(3);
        assert_eq!(listed.iter().filter(|key| *key == b"gone").count(), usize::from(is_early), "{phase}");
        assert!(listed.contains(&b"deleted".to_vec()) && listed.contains(&b"expired".to_vec()), "{phase}");
        node.now_ms += if phase == "alone" { 2_000 } else { 0 };
        node.tick();
    }
    let now_ms = node.now_ms;
    let key = node.cores[0].key(b"deleted", partition_of(b"deleted"));
    assert!(
        node.cores[0].delete(&key, now_ms).unwrap().is_some_and(|written| written.existed),
        "what is shown is deleted"
    );
    assert_eq!(node.read(b"deleted").unwrap(), None);
}
