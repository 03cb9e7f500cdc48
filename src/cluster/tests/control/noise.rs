//! Whatever comes from outside, a control plane neither panics nor grows beyond its limits: genuine datagrams and messages of a
//! cluster, changed at random, signed again, and mixed with jumps of time and observations.

use std::sync::OnceLock;

use super::world::{World, address, setup};
use annulus_cluster::datagram::{self, Datagram, Secrets};
use annulus_cluster::event::Now;
use annulus_cluster::ids::NodeId;
use annulus_cluster::limits::ControlLimits;
use annulus_cluster::membership::{MapDigest, Membership, UnverifiedMembership};
use annulus_cluster::node::{ControlNode, MapChange, NodeEffect, NodeEffects, NodeEvent, NodeSetup};
use annulus_cluster::reachability::Outcome;
use proptest::prelude::*;

/// Failure detector's parts, messages.
type Samples = (Vec<Vec<u8>>, Vec<Vec<u8>>);

/// One thing that happens to the node; which sample and which change are taken modulo how many there are.
#[derive(Debug, Clone)]
enum Step {
    Datagram { sample: usize, changes: Vec<(usize, u8)> },
    Message { from: u64, sample: usize, changes: Vec<(usize, u8)> },
    Junk(Vec<u8>),
    Wait { ms: u64 },
    Observed { peer: u64, outcome: u8 },
    Leave,
    Join,
    Operate { node: u64, change: u8 },
}

fn changes() -> impl Strategy<Value = Vec<(usize, u8)>> {
    prop::collection::vec((any::<usize>(), any::<u8>()), 0..4)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<usize>(), changes()).prop_map(|(sample, changes)| Step::Datagram { sample, changes }),
        8 => (1..6u64, any::<usize>(), changes())
            .prop_map(|(from, sample, changes)| Step::Message { from, sample, changes }),
        1 => prop::collection::vec(any::<u8>(), 0..64).prop_map(Step::Junk),
        4 => (0..20_000u64).prop_map(|ms| Step::Wait { ms: ms * ms / 20_000 }),
        2 => (1..6u64, 0..3u8).prop_map(|(peer, outcome)| Step::Observed { peer, outcome }),
        1 => Just(Step::Leave),
        1 => Just(Step::Join),
        3 => (1..6u64, 0..5u8).prop_map(|(node, change)| Step::Operate { node, change }),
    ]
}

/// What a cluster says while its nodes meet, change their maps, stall, die and come back: failure detector's parts, messages.
fn samples() -> &'static Samples {
    static SAMPLES: OnceLock<Samples> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let mut world = World::new();
        let nodes: Vec<NodeId> = (1..=4).map(NodeId::new).collect();
        nodes.iter().for_each(|node| world.start(*node, &nodes[..1]));
        world.run_until(3_000_000);
        world.hold(nodes[1], 9);
        world.operate(nodes[1], nodes[3], MapChange::Join);
        world.stall(nodes[2], 3_000_000, true);
        world.cut(nodes[0], nodes[1]);
        world.event(nodes[0], NodeEvent::Observed { peer: nodes[3], outcome: Outcome::Refused });
        world.run_until(10_000_000);
        world.kill(nodes[3]);
        world.run_until(25_000_000);
        world.start(nodes[3], &nodes[..1]);
        world.run_until(30_000_000);
        let secrets = Secrets::new(&[[7; 16]]);
        let part = |bytes: &Vec<u8>| Datagram::open(bytes, &secrets).unwrap().detector.to_vec();
        let mut parts: Vec<Vec<u8>> = world.sent.0.iter().map(part).collect();
        let mut messages = world.sent.1;
        for list in [&mut parts, &mut messages] {
            list.sort();
            list.dedup();
        }
        assert!(parts.len() > 50 && messages.len() > 10);
        (parts, messages)
    })
}

fn changed(samples: &[Vec<u8>], sample: usize, changes: &[(usize, u8)]) -> Vec<u8> {
    let mut bytes = samples[sample % samples.len()].clone();
    for (at, value) in changes {
        if let Some(length) = at.checked_rem(bytes.len()) {
            bytes[length] = *value;
        }
    }
    bytes
}

fn happen(node: &mut ControlNode, now_us: &mut u64, step: &Step, effects: &mut NodeEffects) {
    let now = Now { unix_ms: 1_800_000_000_000 + *now_us / 1000, steady_us: *now_us };
    match step {
        Step::Datagram { sample, changes } => {
            let part = changed(&samples().0, *sample, changes);
            let mut bytes = Vec::new();
            let digest = MapDigest(*sample as u64 % 3);
            datagram::write(&part, digest, 1400, &Secrets::new(&[[7; 16]]), || None, &mut bytes);
            node.on_event(now, NodeEvent::Datagram(&bytes), effects);
        }
        Step::Message { from, sample, changes } => {
            let bytes = changed(&samples().1, *sample, changes);
            node.on_event(now, NodeEvent::Message { from: NodeId::new(*from), bytes: &bytes }, effects);
        }
        Step::Junk(bytes) => {
            node.on_event(now, NodeEvent::Datagram(bytes), effects);
            node.on_event(now, NodeEvent::Message { from: NodeId::new(2), bytes }, effects);
        }
        Step::Wait { ms } => *now_us += ms * 1000,
        Step::Observed { peer, outcome } => {
            let outcome = [Outcome::Answered, Outcome::TimedOut, Outcome::Refused][usize::from(*outcome)];
            node.on_event(now, NodeEvent::Observed { peer: NodeId::new(*peer), outcome }, effects);
        }
        Step::Leave => node.on_event(now, NodeEvent::Leave, effects),
        Step::Join => node.on_event(now, NodeEvent::Join { seeds: &[address(NodeId::new(2))] }, effects),
        Step::Operate { node: of, change } => {
            let changes = [MapChange::Join, MapChange::Leave, MapChange::Remove, MapChange::Retire, MapChange::Forget];
            let change = changes[usize::from(*change)];
            node.on_event(now, NodeEvent::Operate { node: NodeId::new(*of), change }, effects);
        }
    }
    node.on_event(Now { steady_us: *now_us, ..now }, NodeEvent::Tick, effects);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn noise_does_no_harm(steps in prop::collection::vec(step(), 1..60)) {
        let limits = ControlLimits { members_max: 8, ..ControlLimits::default() };
        let setup = NodeSetup { limits, ..setup(NodeId::new(1), 1, 1, 1) };
        let mut node = ControlNode::new(setup, Membership::default());
        let mut effects = NodeEffects::default();
        let mut now_us = 1_000_000;
        for step in &steps {
            effects.clear();
            happen(&mut node, &mut now_us, step, &mut effects);
            for effect in effects.list() {
                match effect {
                    NodeEffect::Datagram { bytes, .. } => prop_assert!(effects.bytes(bytes).len() <= 1400),
                    NodeEffect::NeedGeneration { above } if *above < u32::MAX => {
                        let generation = above + 1;
                        let mut more = NodeEffects::default();
                        node.on_event(Now { unix_ms: 0, steady_us: now_us }, NodeEvent::Generation { generation }, &mut more);
                    }
                    _ => {}
                }
            }
            prop_assert!(effects.list().len() < 200);
            // Whatever was taken can be stored, and read again.
            let mut bytes = Vec::new();
            node.map().encode(&mut bytes);
            let read = UnverifiedMembership::new(&bytes).check();
            prop_assert_eq!(read.as_ref(), Ok(node.map()));
            prop_assert_eq!(node.detector().counts().faults, 0);
        }
    }
}

#[test]
fn the_samples_are_heard() {
    let mut node = ControlNode::new(setup(NodeId::new(1), 1, 1, 1), Membership::default());
    let mut effects = NodeEffects::default();
    let (parts, messages) = samples();
    let mut now_us = 1_000_000;
    for sample in 0..parts.len() {
        happen(&mut node, &mut now_us, &Step::Datagram { sample, changes: Vec::new() }, &mut effects);
    }
    for sample in 0..messages.len() {
        happen(&mut node, &mut now_us, &Step::Message { from: 2, sample, changes: Vec::new() }, &mut effects);
    }
    let kinds = |wanted: fn(&NodeEffect) -> bool| effects.list().iter().filter(|effect| wanted(effect)).count();
    assert!(kinds(|effect| matches!(effect, NodeEffect::Datagram { .. })) > 20);
    assert!(kinds(|effect| matches!(effect, NodeEffect::Message { .. })) > 10);
    assert_eq!((node.detector().member_count(), node.map().len(), node.counts().refused_messages), (3, 4, 0));
}
