//! Histories that are sound, and ones that lose, duplicate, resurrect or invent: each is told from the others.

use super::*;
use crate::torture::history::NEVER;

const SKEW: u64 = 1000;

fn key(kind: Kind) -> Key {
    Key { kind, slot: 0, generation: 0 }
}

fn id(number: u32) -> Id {
    Id { client: number / 100, number: number % 100 }
}

/// A write that was acknowledged, `at..at + 10`, on connection 1, with a context.
fn wrote(number: u32, seen: &[u32], at: u64) -> Write {
    Write {
        id: Some(id(number)),
        seen: seen.iter().map(|number| id(*number)).collect(),
        is_blind: false,
        connection: 1,
        began_ns: at,
        ended_ns: at + 10,
        outcome: Outcome::Acknowledged,
    }
}

fn deleted(seen: &[u32], at: u64) -> Write {
    Write { id: None, ..wrote(0, seen, at) }
}

fn blind(write: Write) -> Write {
    Write { is_blind: true, ..write }
}

fn in_doubt(write: Write) -> Write {
    Write { outcome: Outcome::InDoubt, ended_ns: NEVER, ..write }
}

fn refused(write: Write) -> Write {
    Write { outcome: Outcome::Refused, ..write }
}

fn elsewhere(write: Write) -> Write {
    Write { connection: 2, ..write }
}

fn each(numbers: &[u32]) -> Vec<Sibling> {
    numbers.iter().map(|number| Sibling::Ids(vec![id(*number)])).collect()
}

/// lost, resurrected, duplicated, invented
fn counts(kind: Kind, writes: &[Write], found: &[Sibling]) -> [u64; 4] {
    let verdict = judge(key(kind), writes, found, SKEW);
    assert_eq!(verdict.survived + verdict.lost, verdict.acknowledged);
    assert_eq!(verdict.is_clean(), verdict.examples.is_empty(), "{verdict:?}");
    [verdict.lost, verdict.resurrected, verdict.duplicated, verdict.invented]
}

#[test]
fn a_set_keeps_every_element_that_was_acknowledged() {
    let writes = [wrote(1, &[], 0), wrote(2, &[], 20), in_doubt(wrote(3, &[], 40)), refused(wrote(4, &[], 60))];
    let siblings = |each: &[&[u32]]| -> Vec<Sibling> {
        each.iter().map(|numbers| Sibling::Ids(numbers.iter().map(|number| id(*number)).collect())).collect()
    };
    let judged = |found: &[&[u32]]| counts(Kind::Set, &writes, &siblings(found));
    assert_eq!(judged(&[&[1, 2]]), [0; 4]);
    assert_eq!(judged(&[&[1], &[2, 3]]), [0; 4], "the union counts");
    assert_eq!(judged(&[&[2, 3]]), [1, 0, 0, 0]);
    assert_eq!(judged(&[]), [2, 0, 0, 0]);
    assert_eq!(judged(&[&[1, 2, 2]]), [0, 0, 1, 0]);
    assert_eq!(judged(&[&[1, 2, 4]]), [0, 0, 0, 1], "what was refused is not there");
    assert_eq!(judged(&[&[1, 2, 9]]), [0, 0, 0, 1]);
    let foreign = [siblings(&[&[1, 2]]), vec![Sibling::Foreign(b"x".to_vec())]].concat();
    assert_eq!(counts(Kind::Set, &writes, &foreign), [0, 0, 0, 1]);
}

#[test]
fn siblings_go_only_by_a_write_that_has_seen_them() {
    let writes = [wrote(1, &[], 0), elsewhere(wrote(101, &[], 0)), wrote(2, &[1], 20)];
    let judged = |found: &[u32]| counts(Kind::Siblings, &writes, &each(found));
    assert_eq!(judged(&[101, 2]), [0; 4]);
    assert_eq!(judged(&[2]), [1, 0, 0, 0], "nobody had seen 101");
    assert_eq!(judged(&[1, 101, 2]), [0, 1, 0, 0], "2 had seen 1");
    assert_eq!(judged(&[101, 2, 2]), [0, 0, 1, 0], "a write that was executed twice");
    assert_eq!(judged(&[101]), [1, 0, 0, 0]);
    assert_eq!(judged(&[101, 2, 7]), [0, 0, 0, 1]);
}

#[test]
fn a_write_in_doubt_excuses_and_a_refused_one_does_not() {
    let first = wrote(1, &[], 0);
    for (merge, lost) in [(in_doubt(wrote(2, &[1], 20)), 0), (refused(wrote(2, &[1], 20)), 1)] {
        let writes = [first.clone(), merge];
        assert_eq!(counts(Kind::Siblings, &writes, &[]), [lost, 0, 0, 0]);
        assert_eq!(counts(Kind::Siblings, &writes, &each(&[1])), [0; 4]);
    }
}

#[test]
fn a_delete_is_not_undone_and_takes_nothing_that_came_after() {
    let writes = [wrote(1, &[], 0), deleted(&[1], 20), blind(wrote(2, &[], 40))];
    let judged = |writes: &[Write], found: &[u32]| counts(Kind::Delete, writes, &each(found));
    assert_eq!(judged(&writes, &[2]), [0; 4]);
    assert_eq!(judged(&writes, &[]), [1, 0, 0, 0], "the delete had ended before 2 began");
    assert_eq!(judged(&writes, &[1, 2]), [0, 1, 0, 0]);
    let undecided = [writes[0].clone(), in_doubt(deleted(&[1], 20))];
    assert_eq!(judged(&undecided, &[1]), [0; 4]);
    assert_eq!(judged(&undecided, &[]), [0; 4]);
}

#[test]
fn a_write_without_a_context_may_replace_what_was_there_before_it_ended() {
    let first = elsewhere(wrote(101, &[], 0));
    let after = blind(wrote(1, &[], 5));
    assert_eq!(counts(Kind::Delete, &[first.clone(), after.clone()], &each(&[1])), [0; 4]);
    assert_eq!(counts(Kind::Delete, &[first.clone(), after], &each(&[1, 101])), [0; 4], "or may not have met it");
    let late = Write { began_ns: 100, ended_ns: 110, ..first };
    assert_eq!(counts(Kind::Delete, &[late, blind(wrote(1, &[], 5))], &each(&[1])), [1, 0, 0, 0]);
}

#[test]
fn a_register_holds_its_newest_value() {
    let writes = [wrote(1, &[], 0), wrote(2, &[], 20), in_doubt(wrote(3, &[], 10)), refused(wrote(4, &[], 60))];
    let judged = |found: &[u32]| counts(Kind::Register, &writes, &each(found));
    assert_eq!(judged(&[2]), [0; 4]);
    assert_eq!(judged(&[3]), [0; 4], "a write in doubt may have come last");
    assert_eq!(judged(&[1]), [1, 0, 0, 0], "2 came later, on the same connection");
    assert_eq!(judged(&[]), [2, 0, 0, 0]);
    assert_eq!(judged(&[4]), [2, 0, 0, 1]);
    // On another connection order follows from clocks, and these are apart.
    let near = [wrote(1, &[], 0), elsewhere(wrote(101, &[], 10 + SKEW - 1))];
    assert_eq!(counts(Kind::Register, &near, &each(&[1])), [0; 4]);
    let far = [wrote(1, &[], 0), elsewhere(wrote(101, &[], 10 + SKEW))];
    assert_eq!(counts(Kind::Register, &far, &each(&[1])), [1, 0, 0, 0]);
}

#[test]
fn verdicts_add_up() {
    let mut all = judge(key(Kind::Set), &[wrote(1, &[], 0)], &[], SKEW);
    all.absorb(Verdict::of_diverged(key(Kind::Set), &[wrote(2, &[], 0)], "node 1 shows nothing"));
    assert_eq!((all.keys, all.acknowledged, all.lost, all.diverged, all.examples.len()), (2, 2, 1, 1, 2));
    assert!(!all.is_clean());
}
