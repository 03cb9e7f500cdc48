//! What must still be there after disks were lost: what one lost copy leaves, no more and no less.

use super::*;
use crate::model::Copies;

#[test]
fn a_strict_read_that_misses_what_one_lost_disk_left_is_found() {
    let missed = |lose: &dyn Fn(&mut Model)| {
        let mut bench = Bench::new();
        bench.write(0, &Object::default());
        lose(&mut bench.checkers.model);
        promise(bench.get(None, &Object::default()))
    };
    assert_eq!(missed(&|model| model.note_wiped(1)), Some(Promise::StrictReads), "the node itself does not count");
    assert_eq!(missed(&|model| model.note_wiped(2)), Some(Promise::StrictReads), "it never had a copy");
    assert_eq!(missed(&|model| [0, 1].into_iter().for_each(|node| model.note_wiped(node))), None, "no copy is left");
    assert_eq!(missed(&|model| model.note_rotten(1)), None, "its node does not know it");
}

#[test]
fn only_what_a_majority_had_is_found_again_after_a_lost_disk() {
    let lost = |nodes| Copies { wiped: nodes, ..Copies::default() };
    assert!(lost(0).are_told_of(1, 5), "nothing was lost");
    assert!(lost(0b10).are_told_of(3, 5) && !lost(0b10).are_told_of(2, 5) && !lost(0b110).are_told_of(5, 5));
    assert!(lost(0b1).are_told_of(2, 2) && !lost(0b1).are_told_of(1, 2));
}

#[test]
fn a_key_is_untold_where_all_owners_are_refilled_and_none_has_anything_of_it() {
    let mut bench = Bench::new();
    let object = bench.write(0, &Object::default());
    let nothing = Object::default();
    let is_untold = |owners: [(bool, &Object); 3]| convergence::is_untold(owners.into_iter());
    assert!(is_untold([(true, &nothing), (true, &nothing), (true, &nothing)]));
    assert!(!is_untold([(true, &nothing), (false, &nothing), (true, &nothing)]), "one knows that there is nothing");
    assert!(!is_untold([(true, &nothing), (true, &object), (true, &nothing)]), "one has something to tell");
}

/// A newest version with nothing but its own dot in the context.
fn bare(object: &Object) -> Object {
    let newest = object.newest().expect("it was written").clone();
    let mut context = Context::default();
    context.insert(newest.dot);
    Object::single(newest, context)
}

/// A plain delete at node 1, of which the model cannot tell what it must have seen; `heard` is what it was told of.
fn delete_after(bench: &mut Bench, heard: &Object, says_so: bool) -> Object {
    let op = bench.op(Kind::Delete, None, None);
    bench.checkers.model.op_mut(op).quorum = Quorum { n: 3, r: 1, w: 2, pr: 0, pw: 0, dw: 2 };
    bench.clock += 1;
    let dot = dot(bench.clock, 1);
    bench.checkers.model.note_stamp(1, 0, dot).unwrap();
    let delete =
        Sibling { dot, value_dot: None, expires_at_ms: crate::model::expires_at_ms(Kind::Delete, op), value: None };
    let seen = if says_so { heard.context().clone() } else { Context::default() };
    let object = Object::single(delete, seen);
    let storing = Storing {
        at: bench.clock,
        node: 1,
        core: 0,
        key: KEY,
        home: Home::Owned(3),
        before: &[],
        meanwhile: &[],
        heard: &bench.checkers.model.key(KEY).covered(heard.context()),
        object: &object,
    };
    bench.checkers.on_storing(&storing).unwrap();
    object
}

#[test]
fn what_a_delete_has_replaced_is_not_lost_once_its_own_context_is() {
    for (says_so, expected) in [(true, None), (false, Some(Promise::Kept))] {
        let mut bench = Bench::new();
        let first = bench.write(0, &Object::default());
        let delete = delete_after(&mut bench, &first, says_so);
        // The next writer has seen the delete, and a connection's own last dot is all that is left of that.
        let op = bench.put();
        let last = bench.stamp_blind(1, op, &delete).unwrap();
        let ended = acknowledged::check_owner(&bench.checkers.model, KEY, 2, &bare(&last));
        assert_eq!(promise(ended.map(drop)), expected, "its object said what it replaced: {says_so}");
    }
}
