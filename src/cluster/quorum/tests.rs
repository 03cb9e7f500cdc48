//! Every order of every answer for three owners and two fallbacks, against a count by hand.

use super::*;

fn node(number: u64) -> NodeId {
    NodeId::new(number)
}

fn quorum(w: u8, pw: u8, dw: u8) -> Quorum {
    Quorum { n: 3, r: 2, w, pr: 0, pw, dw }
}

/// Calls `visit` with every order of `items`.
fn permutations<T: Copy>(items: &mut [T], from: usize, visit: &mut dyn FnMut(&[T])) {
    if from == items.len() {
        visit(items);
        return;
    }
    for other in from..items.len() {
        items.swap(from, other);
        permutations(items, from + 1, visit);
        items.swap(from, other);
    }
}

/// What the three owners and the fallbacks for the second and third say: a digit of base 3 each.
fn keepings(number: u32) -> [Keeping; 5] {
    std::array::from_fn(|index| match number / 3u32.pow(index as u32) % 3 {
        0 => Keeping::Failed,
        1 => Keeping::Stored,
        _ => Keeping::Durable,
    })
}

#[test]
fn every_order_of_five_answers_ends_with_the_same_verdict() {
    for number in 0..3u32.pow(5) {
        let said = keepings(number);
        for (w, pw, dw) in [(1, 0, 0), (2, 0, 2), (2, 1, 1), (3, 0, 3), (3, 2, 0), (2, 2, 2)] {
            // By hand: a slot is what the better of its two keepers says.
            let best = |slot: usize| match slot {
                0 => said[0],
                slot => match (said[slot], said[slot + 2]) {
                    (Keeping::Durable, _) | (_, Keeping::Durable) => Keeping::Durable,
                    (Keeping::Stored, _) | (_, Keeping::Stored) => Keeping::Stored,
                    _ => Keeping::Failed,
                },
            };
            let kept = (0..3).filter(|slot| best(*slot) != Keeping::Failed).count();
            let durable = (0..3).filter(|slot| best(*slot) == Keeping::Durable).count();
            let owned = said[..3].iter().filter(|keeping| **keeping != Keeping::Failed).count();
            let is_met = kept >= usize::from(w) && owned >= usize::from(pw) && durable >= usize::from(dw);
            permutations(&mut [0usize, 1, 2, 3, 4], 0, &mut |order| {
                let verdict = count(order, &said, quorum(w, pw, dw));
                assert_eq!(verdict == Verdict::Met, is_met, "{said:?} in the order {order:?} for {w} {pw} {dw}");
                assert_ne!(verdict, Verdict::Pending, "nobody is waited for");
            });
        }
    }
}

/// The verdict after all have answered in this order; on the way it never goes back.
fn count(order: &[usize], said: &[Keeping; 5], quorum: Quorum) -> Verdict {
    let mut tally = WriteTally::default();
    tally.start(3, quorum);
    for slot in 0..3 {
        tally.ask(node(slot as u64 + 1), slot, true);
        tally.close(slot);
    }
    tally.ask(node(4), 1, false);
    tally.ask(node(5), 2, false);
    let mut last = tally.verdict();
    assert_eq!(last, Verdict::Pending);
    for &index in order {
        let slot = if index < 3 { index } else { index - 2 };
        assert_eq!(tally.answer(node(index as u64 + 1), said[index]), Some(slot));
        assert_eq!(tally.answer(node(index as u64 + 1), Keeping::Failed), None, "an answer counts once");
        let verdict = tally.verdict();
        assert!(last == Verdict::Pending || verdict == last, "{last:?} became {verdict:?}");
        last = verdict;
    }
    assert!(tally.waiting().next().is_none());
    last
}

#[test]
fn an_owner_and_the_fallback_that_has_its_hint_are_one_copy() {
    let mut tally = WriteTally::default();
    tally.start(3, quorum(2, 0, 2));
    tally.ask(node(3), 2, true);
    tally.ask(node(4), 2, false);
    tally.answer(node(3), Keeping::Durable);
    tally.answer(node(4), Keeping::Durable);
    assert_eq!(tally.verdict(), Verdict::Pending);
    assert!(tally.is_kept(2) && !tally.is_complete());
}

#[test]
fn a_slot_that_may_be_given_to_somebody_is_hope_until_it_is_closed() {
    let mut tally = WriteTally::default();
    tally.start(3, quorum(2, 0, 2));
    tally.ask(node(1), 0, true);
    tally.answer(node(1), Keeping::Durable);
    tally.ask(node(2), 1, true);
    tally.answer(node(2), Keeping::Failed);
    tally.close(2);
    assert_eq!(tally.verdict(), Verdict::Pending);
    tally.close(1);
    assert_eq!(tally.verdict(), Verdict::Impossible);
    assert_eq!(tally.answer(node(2), Keeping::Stored), Some(1), "a late success counts");
    assert_eq!(tally.verdict(), Verdict::Impossible, "but it is not durable");
    tally.answer(node(2), Keeping::Durable);
    assert_eq!(tally.verdict(), Verdict::Met);
}

#[test]
#[should_panic(expected = "a node counts once")]
fn a_node_is_asked_once() {
    let mut tally = WriteTally::default();
    tally.start(3, quorum(2, 0, 0));
    tally.ask(node(1), 0, true);
    tally.ask(node(1), 1, false);
}

#[test]
fn every_order_of_a_reads_answers_ends_with_the_same_verdict() {
    let all = [Knowing::Failed, Knowing::Found, Knowing::Absent];
    for number in 0..3usize.pow(5) {
        let said: [Knowing; 5] = std::array::from_fn(|index| all[number / 3usize.pow(index as u32) % 3]);
        for (r, pr) in [(1, 0), (2, 0), (2, 1), (2, 2), (3, 0), (3, 3)] {
            let owners = said[..3].iter().filter(|knowing| **knowing != Knowing::Failed).count();
            let fallbacks = said[3..].iter().filter(|knowing| **knowing == Knowing::Found).count();
            let is_met = owners + fallbacks >= usize::from(r) && owners >= usize::from(pr);
            permutations(&mut [0usize, 1, 2, 3, 4], 0, &mut |order| {
                let mut tally = ReadTally::default();
                tally.start(r, pr);
                (0..5).for_each(|index| tally.ask(node(index + 1), index < 3));
                let mut last = Verdict::Pending;
                for &index in order {
                    assert!(tally.answer(node(index as u64 + 1), said[index], true));
                    let verdict = tally.verdict();
                    assert!(last == Verdict::Pending || verdict == last, "{last:?} became {verdict:?}");
                    last = verdict;
                }
                assert_eq!(last == Verdict::Met, is_met, "{said:?} in the order {order:?} for {r} {pr}");
                assert!(tally.is_settled() && last != Verdict::Pending);
            });
        }
    }
}

#[test]
fn who_does_not_hold_itself_for_an_owner_counts_as_a_fallback() {
    let mut tally = ReadTally::default();
    tally.start(1, 0);
    tally.ask(node(1), true);
    tally.answer(node(1), Knowing::Absent, false);
    assert_eq!((tally.verdict(), tally.counted()), (Verdict::Impossible, (0, 0)));
}

#[test]
fn an_owner_that_lost_its_copy_may_be_asked_again_and_a_fallback_may_not() {
    let mut tally = WriteTally::default();
    tally.start(3, quorum(2, 2, 2));
    tally.ask(node(1), 0, true);
    tally.answer(node(1), Keeping::Durable);
    (1..3).for_each(|slot| tally.close(slot));
    tally.ask(node(2), 1, true);
    tally.ask(node(4), 2, false);
    assert_eq!((tally.lose(node(2)), tally.lose(node(2))), (Some(1), None), "it is lost once");
    assert_eq!(tally.lose(node(4)), Some(2));
    assert_eq!((tally.is_lost(1), tally.is_lost(2)), (true, false), "a fallback's place is another one's");
    assert!(!tally.is_waiting(1) && tally.verdict() == Verdict::Pending, "it counts for W, PW and DW");
    tally.ask_again(1);
    assert!(tally.is_waiting(1) && !tally.is_lost(1) && tally.lose(node(2)).is_some());
    assert_eq!(tally.answer(node(2), Keeping::Failed), Some(1));
    assert_eq!((tally.is_lost(1), tally.verdict()), (false, Verdict::Impossible), "down, or refused");
    assert_eq!(tally.lose(node(2)), None, "what has failed is not asked again");
    assert_eq!(tally.answer(node(2), Keeping::Durable), Some(1));
    assert_eq!((tally.lose(node(2)), tally.verdict()), (None, Verdict::Met), "what is kept is not lost");
}
