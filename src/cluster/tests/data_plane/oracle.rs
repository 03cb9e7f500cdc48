//! What must hold of every object that any node ever stores, and of every acknowledged write.
//!
//! A write is known by its dot. When it is stamped, it says by its context which others it replaces; it may replace only what
//! its writer had seen: what the client's context was read with and its own last write, or, without a context, what the
//! coordinator had; a plain delete whatever any node ever had. From then on the replaced ones may be missing anywhere; nothing else
//! may ever be covered by an object's context without being in it.

use std::collections::{BTreeMap, BTreeSet};

use annulus_cluster::ids::{Home, NodeId};
use annulus_object::{Dot, Object};

use crate::world::{Heard, PARTITION, Told, World, hash, node};

/// What a client had seen when it wrote a value.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// `None` for a blind write.
    pub context: Option<BTreeSet<Dot>>,
    pub own: Option<Dot>,
}

/// One key's history.
#[derive(Debug, Default)]
pub struct Oracle {
    key: Vec<u8>,
    /// Every write that was ever stamped.
    known: BTreeSet<Dot>,
    /// Those that some write has rightly replaced.
    replaced: BTreeSet<Dot>,
    acknowledged: BTreeSet<Dot>,
    seen: BTreeMap<Vec<u8>, Seen>,
    /// What each node had before the event that is looked at.
    had: Vec<BTreeSet<Dot>>,
}

impl Oracle {
    pub fn new(key: &[u8]) -> Oracle {
        Oracle { key: key.to_vec(), ..Oracle::default() }
    }

    /// A client is about to write a value; every value is written once.
    pub fn will_write(&mut self, value: &[u8], seen: Seen) {
        self.seen.insert(value.to_vec(), seen);
    }

    /// Before anything moves.
    pub fn look(&mut self, world: &World) {
        self.had = world.nodes.iter().map(|node| live_of(node.store.homes(hash(&self.key)))).collect();
    }

    /// What has happened since.
    pub fn check(&mut self, world: &World, heard: &[Heard], clients: &BTreeMap<u64, Vec<u8>>) {
        for event in heard {
            match event {
                Heard::Stores { node, key, object, .. } if *key == self.key => {
                    self.check_new(*node, object);
                    self.check_object(object);
                    self.had[*node].extend(live(object));
                }
                Heard::Told { client, told: Told::Written { dot, .. } } if clients[client] == self.key => {
                    assert!(self.known.contains(dot), "{dot:?} was acknowledged and never stored");
                    self.acknowledged.insert(*dot);
                    self.check_copies(world, *dot);
                }
                Heard::Told { client, told: Told::Found { object, .. } } if clients[client] == self.key => {
                    self.check_object(object);
                }
                _ => {}
            }
        }
    }

    /// A dot that nobody had before: who stamped it knew what it replaces.
    fn check_new(&mut self, at: usize, object: &Object) {
        for sibling in object.siblings().iter().filter(|sibling| sibling.dot.actor.node() == node(at).raw()) {
            if !self.known.insert(sibling.dot) {
                continue;
            }
            assert!(sibling.dot.clock >= object.context().highest(), "a stamp is above all that it saw");
            let may_replace: BTreeSet<Dot> = match &sibling.value {
                // It may have been told of what was lost since.
                None => self.known.clone(),
                Some(value) => {
                    let seen = &self.seen[value];
                    let base = seen.context.as_ref().unwrap_or(&self.had[at]);
                    base.iter().copied().chain(seen.own).collect()
                }
            };
            let replaces = self.known.iter().filter(|dot| object.context().covers(**dot) && !has(object, **dot));
            for dot in replaces {
                let is_seen = self.replaced.contains(dot) || may_replace.contains(dot);
                assert!(is_seen, "{:?} replaces {dot:?}, which its writer had not seen", sibling.dot);
            }
            let replaces: Vec<Dot> = self.known.iter().filter(|dot| object.context().covers(**dot)).copied().collect();
            self.replaced.extend(replaces.into_iter().filter(|dot| !has(object, *dot)));
        }
    }

    /// Nothing is missing from an object that its context covers, unless it was rightly replaced; nothing is invented.
    fn check_object(&self, object: &Object) {
        for dot in self.known.iter().filter(|dot| object.context().covers(**dot) && !has(object, **dot)) {
            assert!(self.replaced.contains(dot), "{dot:?} is taken for replaced in {object:?}");
        }
        for sibling in object.siblings() {
            assert!(self.known.contains(&sibling.dot), "{:?} was never written", sibling.dot);
        }
    }

    /// Invariant I1: as many nodes as W, each for another owner, have an acknowledged write durably.
    fn check_copies(&self, world: &World, dot: Dot) {
        let keeps = |at: usize, owner: NodeId| {
            let own = (owner == node(at)).then_some(Home::Owned(PARTITION));
            let hint = Home::Hinted { partition: PARTITION, target: owner };
            let homes = [own, Some(hint)].into_iter().flatten();
            let objects = homes.filter_map(|home| world.nodes[at].store.durable.get(&(hash(&self.key), home)));
            objects.into_iter().any(|kept| kept.object.context().covers(dot))
        };
        let owners = &world.nodes[0].ring.owners;
        let most = most_pairs(owners, &mut vec![false; world.nodes.len()], &keeps);
        let w = usize::from(world.quorum.w);
        assert!(most >= w, "{dot:?} was acknowledged with {most} copies, {w} were asked for");
    }

    /// Everything is well again: owners agree, and every acknowledged write is there or was replaced.
    pub fn check_healed(&self, world: &World) {
        let owner = |index: usize| world.owned(index, &self.key);
        let all = owner(0);
        for index in 1..3 {
            assert_eq!(all, owner(index), "owners differ");
        }
        self.check_object(&all);
        for dot in &self.acknowledged {
            assert!(all.context().covers(*dot), "{dot:?} was acknowledged and is lost");
            assert!(has(&all, *dot) || self.replaced.contains(dot), "{dot:?} was acknowledged and is gone");
        }
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }
}

/// The largest number of owners that can each be given a node of its own that keeps its copy.
fn most_pairs(owners: &[NodeId], used: &mut Vec<bool>, keeps: &dyn Fn(usize, NodeId) -> bool) -> usize {
    let Some((owner, rest)) = owners.split_first() else { return 0 };
    let mut most = most_pairs(rest, used, keeps);
    for at in 0..used.len() {
        if !used[at] && keeps(at, *owner) {
            used[at] = true;
            most = most.max(1 + most_pairs(rest, used, keeps));
            used[at] = false;
        }
    }
    most
}

pub fn live(object: &Object) -> BTreeSet<Dot> {
    object.siblings().iter().map(|sibling| sibling.dot).collect()
}

fn live_of(homes: Vec<(Home, Object)>) -> BTreeSet<Dot> {
    homes.iter().flat_map(|(_, object)| live(object)).collect()
}

fn has(object: &Object, dot: Dot) -> bool {
    object.siblings().iter().any(|sibling| sibling.dot == dot)
}
