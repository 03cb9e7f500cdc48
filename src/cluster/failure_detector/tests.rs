//! What goes beyond foca: stalls, coming back, limits. Detectors are moved by hand; whole stories are in the golden scripts.

use std::collections::VecDeque;

use super::{FailureDetector, Identity, Notice, Output, Refused};
use crate::ids::NodeId;
use crate::limits::ControlLimits;

const SECOND: u64 = 1_000_000;

fn identity(number: u64) -> Identity {
    let address = format!("10.0.0.{number}:17379").parse().unwrap();
    Identity::new(NodeId::new(number), 1, address)
}

fn detector(number: u64) -> FailureDetector {
    FailureDetector::new(identity(number), &ControlLimits::default(), number)
}

/// Detectors whose datagrams arrive at once, except those to and from the nodes that are cut off.
struct Cluster {
    detectors: Vec<FailureDetector>,
    cut_off: Vec<usize>,
    now_us: u64,
    notices: Vec<(usize, Notice)>,
}

impl Cluster {
    /// Nodes 1 to `count`, which have met.
    fn new(count: u64) -> Self {
        let detectors = (1..=count).map(detector).collect();
        let mut cluster = Self { detectors, cut_off: Vec::new(), now_us: 0, notices: Vec::new() };
        for index in 0..cluster.detectors.len() {
            cluster.act(index, |detector, now_us, output| {
                detector.join(now_us, vec![identity(1).address()], output);
                detector.knock(now_us, &[], output);
            });
        }
        cluster.run_until(10 * SECOND);
        cluster
    }

    /// A call to one of them, and everything that is said because of it.
    fn act(&mut self, index: usize, act: impl FnOnce(&mut FailureDetector, u64, &mut Output)) {
        let mut output = Output::default();
        act(&mut self.detectors[index], self.now_us, &mut output);
        let mut under_way = VecDeque::new();
        self.carry(index, &output, &mut under_way);
        while let Some((to, bytes)) = under_way.pop_front() {
            output.clear();
            // A refusal is the sender's matter.
            let _ = self.detectors[to].on_datagram(self.now_us, &bytes, &mut output);
            self.carry(to, &output, &mut under_way);
        }
    }

    fn carry(&mut self, from: usize, output: &Output, under_way: &mut VecDeque<(usize, Vec<u8>)>) {
        self.notices.extend(output.notices().iter().map(|notice| (from, *notice)));
        for sending in output.sendings() {
            let to = self.detectors.iter().position(|detector| detector.identity().address() == sending.to);
            if let Some(to) = to.filter(|to| !self.cut_off.contains(to) && !self.cut_off.contains(&from)) {
                under_way.push_back((to, output.bytes(&sending.bytes).to_vec()));
            }
        }
    }

    fn run_until(&mut self, until_us: u64) {
        while self.now_us < until_us {
            self.now_us += 50_000;
            for index in 0..self.detectors.len() {
                self.act(index, |detector, now_us, output| {
                    detector.on_tick(now_us, output);
                    detector.knock(now_us, &[], output);
                    detector.gossip(now_us, output);
                });
            }
        }
    }

    fn saw(&self, index: usize, wanted: impl Fn(&Notice) -> bool) -> bool {
        self.notices.iter().any(|(who, notice)| *who == index && wanted(notice))
    }
}

#[test]
fn nodes_meet_through_a_seed_and_a_dead_one_is_noticed() {
    let mut cluster = Cluster::new(4);
    assert!(cluster.detectors.iter().all(|detector| detector.member_count() == 3 && detector.is_connected()));
    cluster.cut_off = vec![3];
    let start_us = cluster.now_us;
    cluster.run_until(start_us + 12 * SECOND);
    assert!((0..3).all(|index| cluster.saw(index, |notice| *notice == Notice::Down(identity(4)))));
    assert!(cluster.detectors[..3].iter().all(|detector| detector.member_count() == 2));
    assert!(cluster.detectors.iter().all(|detector| detector.counts().faults == 0));
}

#[test]
fn a_node_that_was_taken_for_dead_comes_back_under_a_new_session() {
    let mut cluster = Cluster::new(4);
    cluster.cut_off = vec![3];
    let start_us = cluster.now_us;
    cluster.run_until(start_us + 12 * SECOND);
    cluster.cut_off.clear();
    cluster.run_until(start_us + 40 * SECOND);
    let back = cluster.detectors[3].identity();
    assert_eq!((back.generation(), back.node()), (1, NodeId::new(4)));
    assert!(back.session() >= 1);
    assert!((0..3).all(|index| cluster.saw(index, |notice| *notice == Notice::Up(back))));
    assert!(cluster.detectors.iter().all(|detector| detector.member_count() == 3));
}

#[test]
fn being_told_that_we_are_dead_is_believed_once_a_second() {
    let mut cluster = Cluster::new(3);
    cluster.cut_off = vec![2];
    cluster.run_until(30 * SECOND);
    cluster.cut_off.clear();
    // Two members that take it for dead answer its announcements in the same instant.
    cluster.act(2, |detector, now_us, output| {
        for to in [1, 2].map(|to| Identity::anybody(identity(to).address())) {
            detector.foca.announce(to, detector.surroundings.recorder(now_us, output)).unwrap();
        }
    });
    let renewals = cluster.detectors[2].counts().renewals;
    assert_eq!(renewals, 1);
    cluster.run_until(60 * SECOND);
    assert!(cluster.detectors.iter().all(|detector| detector.member_count() == 2));
}

#[test]
fn after_a_stall_nobody_is_judged_before_others_were_asked_again() {
    let mut cluster = Cluster::new(3);
    // Nodes 2 and 3 answer all the time, but node 1 neither reads nor ticks for 20 s.
    let mut output = Output::default();
    let now_us = cluster.now_us + 20 * SECOND;
    let detector = &mut cluster.detectors[0];
    detector.on_tick(now_us, &mut output);
    assert_eq!((output.sendings().len(), detector.counts().stalls), (0, 1), "the late tick reads no timer");
    // What had arrived is not read at all here: the harshest case. The probe of before is not judged yet.
    detector.on_tick(now_us + 60_000, &mut output);
    assert!(output.notices().is_empty());
    cluster.now_us = now_us + 60_000;
    cluster.run_until(now_us + 20 * SECOND);
    assert!(!cluster.saw(0, |notice| matches!(notice, Notice::Down(_))));
    assert_eq!(cluster.detectors[0].counts().faults, 0);
}

#[test]
fn a_node_that_is_late_all_the_time_still_notices_a_death() {
    let mut cluster = Cluster::new(2);
    let (mut output, mut now_us) = (Output::default(), cluster.now_us);
    let detector = &mut cluster.detectors[0];
    let dead = (0..100).any(|_| {
        now_us += 700_000;
        detector.on_tick(now_us, &mut output);
        output.notices().contains(&Notice::Down(identity(2)))
    });
    assert!(dead && detector.counts().faults == 0);
}

#[test]
fn a_generation_that_others_know_a_later_one_of_is_superseded() {
    let mut cluster = Cluster::new(3);
    // Node 3 was started again and lost its disk's newest state: others know generation 5.
    cluster.act(2, |detector, now_us, output| detector.adopt_generation(now_us, 5, output));
    let end_us = cluster.now_us + 10 * SECOND;
    cluster.run_until(end_us);
    let mut table = Vec::new();
    cluster.detectors[0].write_members(&mut table);
    cluster.detectors[2] = detector(3);
    cluster.act(2, |detector, now_us, output| detector.on_members(now_us, &table, output).unwrap());
    assert!(cluster.saw(2, |notice| *notice == Notice::Superseded { generation: 5 }));
    assert_eq!(cluster.detectors[2].member_count(), 2, "the rest of the table is taken");
    cluster.act(2, |detector, now_us, output| {
        detector.join(now_us, vec![identity(1).address()], output);
        detector.adopt_generation(now_us, 6, output);
    });
    let end_us = cluster.now_us + 10 * SECOND;
    cluster.run_until(end_us);
    let wanted = cluster.detectors[2].identity();
    assert!(wanted.generation() == 6 && cluster.detectors[0].members().any(|member| member == wanted));
}

#[test]
fn a_node_leaves_and_comes_back() {
    let mut cluster = Cluster::new(3);
    cluster.act(2, |detector, now_us, output| detector.leave(now_us, output));
    assert!((0..2).all(|index| cluster.saw(index, |notice| *notice == Notice::Down(identity(3)))), "at once");
    assert_eq!(cluster.detectors[2].next_due_us(), cluster.detectors[2].surroundings.timers.next_due_us());
    cluster.act(2, |detector, now_us, output| {
        assert_eq!(detector.on_datagram(now_us, &[1], output), Err(Refused::Left));
        detector.join(now_us, vec![identity(1).address()], output);
    });
    let end_us = cluster.now_us + 5 * SECOND;
    cluster.run_until(end_us);
    assert!(cluster.detectors.iter().all(|detector| detector.member_count() == 2));
}

#[test]
fn junk_and_ourselves_are_refused() {
    let mut output = Output::default();
    let mut one = detector(1);
    for end in 0..40 {
        assert_eq!(one.on_datagram(0, &vec![1; end], &mut output), Err(Refused::Malformed));
    }
    let mut other_one = FailureDetector::new(identity(1), &ControlLimits::default(), 9);
    other_one.join(0, vec![identity(2).address()], &mut output);
    other_one.knock(0, &[], &mut output);
    let bytes = output.bytes(&output.sendings()[0].bytes).to_vec();
    assert_eq!(one.on_datagram(0, &bytes, &mut output), Err(Refused::OurOwn));
}

#[test]
fn members_are_limited() {
    let limits = ControlLimits { members_max: 2, ..ControlLimits::default() };
    let mut one = FailureDetector::new(identity(1), &limits, 1);
    let mut results = Vec::new();
    for number in 2..=4 {
        let mut output = Output::default();
        let mut other = detector(number);
        other.join(0, vec![identity(1).address()], &mut output);
        other.knock(0, &[], &mut output);
        let bytes = output.bytes(&output.sendings()[0].bytes).to_vec();
        results.push(one.on_datagram(0, &bytes, &mut output).map(|sender| sender.node().raw()));
    }
    assert_eq!(results, [Ok(2), Ok(3), Err(Refused::Full)]);
    assert_eq!(one.member_count(), 2);
}
