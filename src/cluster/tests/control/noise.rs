//! Whatever comes from outside, a control plane neither panics nor grows beyond its limits: genuine datagrams and messages of a
//! cluster, changed at random, signed again, and mixed with jumps of time and observations.

use std::sync::OnceLock;

use super::toy_map::{ToyMap, address};
use super::world::World;
use annulus_cluster::datagram::{self, Datagram, Secrets};
use annulus_cluster::failure_detector::Identity;
use annulus_cluster::ids::{Fingerprint, NodeId};
use annulus_cluster::limits::ControlLimits;
use annulus_cluster::node::{ControlNode, NodeEffect, NodeEffects, NodeEvent, NodeSetup};
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
        world.change(nodes[1], nodes[1], "changed");
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

fn happen(node: &mut ControlNode<ToyMap>, now_us: &mut u64, step: &Step, effects: &mut NodeEffects) {
    match step {
        Step::Datagram { sample, changes } => {
            let part = changed(&samples().0, *sample, changes);
            let mut bytes = Vec::new();
            let fingerprint = Fingerprint(*sample as u64 % 3);
            datagram::write(&part, fingerprint, 1400, &Secrets::new(&[[7; 16]]), || None, &mut bytes);
            node.on_event(*now_us, NodeEvent::Datagram(&bytes), effects);
        }
        Step::Message { from, sample, changes } => {
            let bytes = changed(&samples().1, *sample, changes);
            node.on_event(*now_us, NodeEvent::Message { from: NodeId::new(*from), bytes: &bytes }, effects);
        }
        Step::Junk(bytes) => {
            node.on_event(*now_us, NodeEvent::Datagram(bytes), effects);
            node.on_event(*now_us, NodeEvent::Message { from: NodeId::new(2), bytes }, effects);
        }
        Step::Wait { ms } => *now_us += ms * 1000,
        Step::Observed { peer, outcome } => {
            let outcome = [Outcome::Answered, Outcome::TimedOut, Outcome::Refused][usize::from(*outcome)];
            node.on_event(*now_us, NodeEvent::Observed { peer: NodeId::new(*peer), outcome }, effects);
        }
        Step::Leave => node.on_event(*now_us, NodeEvent::Leave, effects),
        Step::Join => node.on_event(*now_us, NodeEvent::Join { seeds: &[address(NodeId::new(2))] }, effects),
    }
    node.on_event(*now_us, NodeEvent::Tick, effects);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn noise_does_no_harm(steps in prop::collection::vec(step(), 1..60)) {
        let limits = ControlLimits { members_max: 8, ..ControlLimits::default() };
        let setup = NodeSetup {
            identity: Identity::new(NodeId::new(1), 1, address(NodeId::new(1))),
            secrets: Secrets::new(&[[7; 16]]),
            seed: 1,
            limits,
        };
        let mut node = ControlNode::new(setup, ToyMap::default());
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
                        node.on_event(now_us, NodeEvent::Generation { generation }, &mut more);
                    }
                    _ => {}
                }
            }
            prop_assert!(effects.list().len() < 200);
            prop_assert!(node.map().0.len() <= 8);
            prop_assert_eq!(node.detector().counts().faults, 0);
        }
    }
}

#[test]
fn the_samples_are_heard() {
    let setup = NodeSetup {
        identity: Identity::new(NodeId::new(1), 1, address(NodeId::new(1))),
        secrets: Secrets::new(&[[7; 16]]),
        seed: 1,
        limits: ControlLimits::default(),
    };
    let mut node = ControlNode::new(setup, ToyMap::default());
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
    assert_eq!((node.detector().member_count(), node.map().0.len(), node.counts().refused_messages), (3, 4, 0));
}
