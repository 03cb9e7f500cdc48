//! A peer's way from good over avoided and probed back to good.

use std::net::SocketAddr;

use super::{Change, Outcome, Reachability};
use crate::ids::NodeId;
use crate::limits::ControlLimits;
use crate::random::Random;

const SECOND: u64 = 1_000_000;

fn node() -> NodeId {
    NodeId::new(7)
}

fn address() -> SocketAddr {
    "10.0.0.7:1".parse().unwrap()
}

/// With a peer that has been good for a minute; the time is one minute.
fn heard() -> Reachability {
    let mut reachability = Reachability::new(&ControlLimits::default(), Random::new(1));
    let mut changes = Vec::new();
    reachability.on_heard(0, node(), address(), &mut changes);
    assert_eq!(changes, [Change::Reachable { node: node(), up: true }]);
    reachability
}

fn outcome(reachability: &mut Reachability, now_us: u64, outcome: Outcome) -> Vec<Change> {
    let mut changes = Vec::new();
    reachability.on_outcome(now_us, node(), outcome, &mut changes);
    changes
}

/// Until a probe is sent, or not.
fn tick(reachability: &mut Reachability) -> (u64, Option<u64>) {
    let now_us = reachability.next_due_us().unwrap();
    let mut changes = Vec::new();
    reachability.on_tick(now_us, &mut changes);
    match changes[..] {
        [] => (now_us, None),
        [Change::Probe { number, .. }] => (now_us, Some(number)),
        _ => panic!("{changes:?}"),
    }
}

#[test]
fn one_refusal_or_three_timeouts_in_a_row_are_enough() {
    let mut reachability = heard();
    assert_eq!(
        outcome(&mut reachability, 60 * SECOND, Outcome::Refused),
        [Change::Reachable { node: node(), up: false }]
    );
    assert!(!reachability.is_up(node()) && reachability.is_heard(node()));
    let mut reachability = heard();
    for wanted in [Outcome::TimedOut, Outcome::TimedOut, Outcome::Answered, Outcome::TimedOut, Outcome::TimedOut] {
        assert_eq!(outcome(&mut reachability, SECOND, wanted), []);
    }
    assert!(reachability.is_up(node()));
    assert_eq!(outcome(&mut reachability, SECOND, Outcome::TimedOut), [Change::Reachable { node: node(), up: false }]);
    // Nobody that the detector does not hear.
    reachability.on_outcome(0, NodeId::new(8), Outcome::Refused, &mut Vec::new());
    assert!(!reachability.is_heard(NodeId::new(8)));
}

#[test]
fn a_peer_is_probed_more_and_more_seldom_until_it_answers() {
    let (mut reachability, limits) = (heard(), ControlLimits::default());
    outcome(&mut reachability, 60 * SECOND, Outcome::Refused);
    let (mut last_us, mut waits_ms) = (60 * SECOND, Vec::new());
    for _ in 0..8 {
        let (probe_us, number) = tick(&mut reachability);
        assert!(number.is_some());
        waits_ms.push((probe_us - last_us) / 1000);
        let (end_us, nothing) = tick(&mut reachability);
        assert_eq!((end_us - probe_us, nothing), (limits.answer_timeout_us, None));
        last_us = end_us;
    }
    for (round, wait_ms) in waits_ms.iter().enumerate() {
        let about = (250u64 << round).min(10_000);
        assert!((about * 3 / 4..=about * 5 / 4).contains(wait_ms), "{waits_ms:?}");
    }
    let (now_us, number) = tick(&mut reachability);
    let mut changes = Vec::new();
    reachability.on_probe_reply(now_us, node(), number.unwrap() - 1, &mut changes);
    assert_eq!(changes, [], "the answer to an old probe");
    reachability.on_probe_reply(now_us, node(), number.unwrap(), &mut changes);
    assert_eq!(changes, [Change::Reachable { node: node(), up: true }]);
    assert_eq!(reachability.next_due_us(), None);
}

#[test]
fn a_peer_that_is_good_only_for_moments_is_avoided_longer_each_time() {
    let mut reachability = heard();
    let (mut now_us, mut waits_ms) = (60 * SECOND, Vec::new());
    for _ in 0..6 {
        outcome(&mut reachability, now_us, Outcome::Refused);
        let (probe_us, _) = tick(&mut reachability);
        waits_ms.push((probe_us - now_us) / 1000);
        outcome(&mut reachability, probe_us, Outcome::Answered);
        now_us = probe_us + SECOND;
    }
    assert!(waits_ms.windows(2).all(|pair| pair[0] < pair[1]), "{waits_ms:?}");
    // After a good while it begins anew.
    now_us += 20 * SECOND;
    outcome(&mut reachability, now_us, Outcome::Refused);
    assert!(reachability.next_due_us().unwrap() - now_us <= 312_500);
}

#[test]
fn a_refused_probe_is_answered() {
    let mut reachability = heard();
    outcome(&mut reachability, 60 * SECOND, Outcome::Refused);
    let (now_us, _) = tick(&mut reachability);
    assert_eq!(outcome(&mut reachability, now_us, Outcome::Refused), []);
    let wait_ms = (reachability.next_due_us().unwrap() - now_us) / 1000;
    assert!((375..=625).contains(&wait_ms), "{wait_ms}");
    // And while it waits nothing changes.
    outcome(&mut reachability, now_us, Outcome::Refused);
    assert_eq!((reachability.next_due_us().unwrap() - now_us) / 1000, wait_ms);
}

#[test]
fn what_the_detector_says_comes_first() {
    let mut reachability = heard();
    let mut changes = Vec::new();
    outcome(&mut reachability, 60 * SECOND, Outcome::Refused);
    reachability.on_unheard(node(), &mut changes);
    assert_eq!(changes, [], "it was not up before");
    assert_eq!((reachability.next_due_us(), reachability.address(node())), (None, None));
    reachability.on_heard(61 * SECOND, node(), address(), &mut changes);
    assert_eq!(changes, [Change::Reachable { node: node(), up: true }], "a restarted peer is good again");
    outcome(&mut reachability, 62 * SECOND, Outcome::Refused);
    changes.clear();
    reachability.on_heard(63 * SECOND, node(), address(), &mut changes);
    assert_eq!(changes, [Change::Reachable { node: node(), up: true }], "so is one that was replaced");
    changes.clear();
    reachability.on_unheard(node(), &mut changes);
    assert_eq!(changes, [Change::Reachable { node: node(), up: false }]);
}
