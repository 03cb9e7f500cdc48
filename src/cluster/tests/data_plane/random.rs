//! Random runs: clients that write and read, packets that come late, twice, or never, disks that fail, nodes that crash, and
//! wrong opinions of who is up. In the end everything heals by hints and read repair.

use std::collections::BTreeMap;

use annulus_cluster::event::StoreFailure;
use annulus_object::{Context, Dot};
use proptest::prelude::*;

use crate::oracle::{Oracle, Seen, live};
use crate::world::{Told, Wish, World};

const KEYS: [&[u8]; 2] = [b"k", b"l"];

/// What a client remembers of a key.
#[derive(Debug, Clone, Default)]
struct Memory {
    context: Context,
    seen: std::collections::BTreeSet<Dot>,
    /// Of a write beside which others stood.
    token: Option<Dot>,
    own: Option<(Dot, bool)>,
}

struct Run {
    world: World,
    oracles: Vec<Oracle>,
    /// Of each client's command: its key, the client, and whether it is a read.
    commands: BTreeMap<u64, (usize, usize)>,
    keys: BTreeMap<u64, Vec<u8>>,
    memory: BTreeMap<(usize, usize), Memory>,
    values: u32,
}

/// One step: what, and three numbers that say where.
type Step = (u8, u8, u8, u8);

impl Run {
    fn new() -> Run {
        Run {
            world: World::new(5),
            oracles: KEYS.iter().map(|key| Oracle::new(key)).collect(),
            commands: BTreeMap::new(),
            keys: BTreeMap::new(),
            memory: BTreeMap::new(),
            values: 0,
        }
    }

    fn step(&mut self, step: Step) {
        for oracle in &mut self.oracles {
            oracle.look(&self.world);
        }
        self.world.heard.clear();
        if self.world.is_loud {
            eprintln!("-- {step:?}");
        }
        self.act(step);
        // Whoever drives a node gives it an incarnation when it asks for one; sooner or later.
        for index in 0..self.world.nodes.len() {
            if self.world.nodes[index].incarnations_needed > 0 && step.1.is_multiple_of(2) {
                self.world.nodes[index].incarnations_needed = 0;
                self.world.renew(index);
            }
        }
        self.listen();
    }

    fn listen(&mut self) {
        let heard = std::mem::take(&mut self.world.heard);
        for oracle in &mut self.oracles {
            oracle.check(&self.world, &heard, &self.keys);
        }
        for event in &heard {
            if let crate::world::Heard::Told { client, told } = event
                && let Some(&place) = self.commands.get(client)
            {
                let memory = self.memory.entry(place).or_default();
                match told {
                    Told::Written { dot, is_alone, context } => {
                        memory.own = Some((*dot, *is_alone));
                        if *is_alone {
                            memory.context.clone_from(context);
                            memory.seen = std::iter::once(*dot).collect();
                        }
                        memory.token = (!is_alone).then_some(*dot);
                    }
                    Told::Found { object, .. } => {
                        memory.context.clone_from(object.context());
                        memory.seen = live(object);
                        memory.token = None;
                    }
                    Told::Failed(_) => {}
                }
            }
        }
    }

    fn act(&mut self, (what, a, b, c): Step) {
        let at = usize::from(a) % 5;
        match what % 32 {
            0..=6 => self.write(at, usize::from(b) % 3, usize::from(c)),
            7..=9 => self.read(at, usize::from(b) % 3, usize::from(c) % 2),
            10..=15 => self.deliver(a, b),
            16 => {
                if !self.world.packets.is_empty() {
                    let index = usize::from(a) % self.world.packets.len();
                    self.world.packets.remove(index);
                }
            }
            17 => {
                if !self.world.packets.is_empty() {
                    let packet = self.world.packets[usize::from(a) % self.world.packets.len()].clone();
                    self.world.packets.push_back(packet);
                }
            }
            18..=22 => self.end_store(at, b, Ok(())),
            23 if b % 4 == 0 => self.end_store(at, b, Err(StoreFailure::Unknown)),
            24 if b % 4 == 0 => self.end_store(at, b, Err(StoreFailure::Refused)),
            23..=25 => {
                let loads = self.world.nodes[at].store.loads.len();
                if loads > 0 {
                    self.world.finish_load(at, usize::from(b) % loads, c % 8 != 0);
                }
            }
            26 => self.world.tick(20 + u64::from(b)),
            27 => self.world.tick(400),
            28 => {
                if self.world.nodes[at].shard.is_some() && b % 2 == 0 {
                    self.world.crash(at);
                } else if self.world.nodes[at].shard.is_none() {
                    self.world.restart(at, true);
                }
            }
            29 => {
                let up = &mut self.world.nodes[usize::from(b) % 5].ring.down;
                let node = crate::world::node(at);
                if !up.remove(&node) && usize::from(b) % 5 != at {
                    up.insert(node);
                }
            }
            30 => self.world.settle(),
            _ => {
                for _ in 0..4 {
                    self.deliver(a, b);
                    self.end_store(at, b, Ok(()));
                }
            }
        }
    }

    fn deliver(&mut self, a: u8, b: u8) {
        if !self.world.packets.is_empty() {
            let last = self.world.packets.len();
            // Mostly the oldest.
            let index = if b.is_multiple_of(4) { usize::from(a) % last } else { 0 };
            self.world.deliver(index);
        }
    }

    fn end_store(&mut self, at: usize, b: u8, result: Result<(), StoreFailure>) {
        let writes = self.world.nodes[at].store.writes.len();
        if writes > 0 {
            self.world.finish_store(at, usize::from(b) % writes, result);
        }
    }

    fn write(&mut self, at: usize, client: usize, kind: usize) {
        if self.world.nodes[at].shard.is_none() {
            return;
        }
        let key = kind / 128;
        let memory = self.memory.get(&(client, key)).cloned().unwrap_or_default();
        self.values += 1;
        let value = format!("v{}", self.values).into_bytes();
        let (wish, seen) = match kind % 8 {
            // A client that has seen nothing.
            0 => {
                let wish = Wish {
                    value: Some(&value),
                    context: Some(Context::default()),
                    is_repeatable: true,
                    ..Wish::default()
                };
                (wish, Seen { context: Some([].into()), own: None })
            }
            // With what was read, or what an earlier write gave.
            1..=3 => {
                let own = memory.token.map(|dot| (dot, false)).or(memory.own);
                let wish = Wish {
                    value: Some(&value),
                    context: Some(memory.context.clone()),
                    own_last: own,
                    is_repeatable: true,
                    ..Wish::default()
                };
                (wish, Seen { context: Some(memory.seen), own: own.map(|own| own.0) })
            }
            4 => (Wish::default(), Seen::default()),
            // A plain SET of a connection that remembers its last write.
            _ => {
                let wish = Wish { value: Some(&value), own_last: memory.own, ..Wish::default() };
                (wish, Seen { context: None, own: memory.own.map(|own| own.0) })
            }
        };
        if self.world.is_loud {
            eprintln!("client {client} writes {wish:?}");
        }
        self.oracles[key].will_write(&value, seen);
        self.note(client, key);
        self.world.put(at, KEYS[key], &wish);
    }

    fn read(&mut self, at: usize, client: usize, key: usize) {
        if self.world.nodes[at].shard.is_some() {
            self.note(client, key);
            let own = self.memory.get(&(client, key)).and_then(|memory| memory.own);
            self.world.get(at, KEYS[key], own.map(|own| own.0));
        }
    }

    /// The next command is this client's.
    fn note(&mut self, client: usize, key: usize) {
        let command = self.world.next_client();
        self.commands.insert(command, (client, key));
        self.keys.insert(command, KEYS[key].to_vec());
    }

    fn heal(&mut self) {
        for index in 0..5 {
            if self.world.nodes[index].shard.is_none() {
                self.world.restart(index, true);
            }
            self.world.nodes[index].ring.down.clear();
            self.world.nodes[index].incarnations_needed = 0;
            self.world.renew(index);
        }
        // Once past every deadline, then past every pause of hints.
        self.world.quorum.r = 3;
        for round in 0..12 {
            for _ in 0..60 {
                self.step((26, 1, 80, 0));
                self.step((30, 1, 0, 0));
            }
            for (key, bytes) in KEYS.iter().enumerate() {
                self.note(9, key);
                self.world.get(round % 3, bytes, None);
                self.step((30, 1, 0, 0));
            }
        }
        for (index, node) in self.world.nodes.iter().enumerate() {
            let hints: usize =
                (0..5).map(|to| annulus_cluster::store::Store::hint_count(&node.store, crate::world::node(to))).sum();
            assert_eq!(hints, 0, "node {index} still has hints");
            assert_eq!(node.shard.as_ref().unwrap().in_flight(), (0, 0, 0), "node {index} is not done");
        }
        for oracle in &self.oracles {
            oracle.check_healed(&self.world);
        }
    }
}

fn run(steps: &[Step]) -> Run {
    let mut run = Run::new();
    steps.iter().for_each(|step| run.step(*step));
    run.heal();
    run
}

proptest! {
    #[test]
    fn no_acknowledged_write_is_lost_and_none_overwritten_unseen(
        steps in prop::collection::vec(any::<Step>(), 1..400),
    ) {
        run(&steps);
    }
}

#[test]
fn random_runs_do_acknowledge_and_do_fail() {
    // The same mixture from a fixed sequence: the property above is not empty.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 32) as u32
    };
    let mut acknowledged = 0;
    let mut counters = annulus_cluster::counters::Counters::default();
    for _ in 0..40 {
        let steps: Vec<Step> = (0..400)
            .map(|_| {
                let n = next().to_le_bytes();
                (n[0], n[1], n[2], n[3])
            })
            .collect();
        let run = run(&steps);
        acknowledged += run.oracles.iter().map(Oracle::acknowledged).sum::<usize>();
        for node in &run.world.nodes {
            let of = node.shard.as_ref().unwrap().counters();
            counters.hints_handed_over += of.hints_handed_over;
            counters.read_repairs += of.read_repairs;
            counters.in_doubt += of.in_doubt;
            counters.fallback_puts += of.fallback_puts;
            counters.forwarded += of.forwarded;
            counters.merged_reads += of.merged_reads;
            counters.forwards_dropped += of.forwards_dropped;
            counters.incarnations_needed += of.incarnations_needed;
        }
    }
    assert!(acknowledged > 500, "{acknowledged} acknowledged, {counters:?}");
    let of = &counters;
    for (what, count) in [
        ("hints", of.hints_handed_over),
        ("repairs", of.read_repairs),
        ("doubts", of.in_doubt),
        ("fallbacks", of.fallback_puts),
        ("forwards", of.forwarded),
        ("merges", of.merged_reads),
        ("drops", of.forwards_dropped),
        ("incarnations", of.incarnations_needed),
    ] {
        assert!(count > 0, "no {what} in {counters:?}");
    }
}
