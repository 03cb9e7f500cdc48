//! Other nodes: they write, learn from each other, leave hints, and send their objects.

use super::*;

impl Objects {
    /// A foreign actor writes: it has seen all of its copy, or only some siblings.
    pub fn foreign_writes(&mut self, random: &mut Random, key: &[u8], value: Option<Vec<u8>>, expires_at_ms: u64) {
        let number = random.below(3) as usize;
        let now_ms = self.node.now_ms;
        let foreign = &mut self.foreign[number];
        let copy = foreign.copies.entry(key.to_vec()).or_default();
        let seen = some_context(random, copy);
        let wall_ms = now_ms.checked_add_signed(foreign.skew_ms).unwrap();
        let clock = foreign.clock.stamp(wall_ms, copy.context().highest());
        let expires_at_ms = if value.is_some() { expires_at_ms } else { 0 };
        let dot = Dot::new(clock, foreign.actor);
        if !random.one_in(4) || !copy.touch(dot, &seen, expires_at_ms, now_ms) {
            copy.write(dot, &seen, value, expires_at_ms);
        }
    }

    /// A foreign actor learns from another, or from the node.
    pub fn foreign_learns(&mut self, random: &mut Random, key: &[u8]) {
        let (to, from) = (random.below(3) as usize, random.below(4) as usize);
        let object = match self.foreign.get(from) {
            Some(foreign) => foreign.copies.get(key).cloned().unwrap_or_default(),
            None => self.visible(key),
        };
        self.foreign[to].copies.entry(key.to_vec()).or_default().merge(object);
    }

    /// A foreign actor sends the node its copy, to be kept for another.
    pub fn foreign_leaves(&mut self, random: &mut Random, target: u8, key: &[u8]) {
        let number = random.below(3) as usize;
        if let Some(object) = self.foreign[number].copies.get(key).cloned() {
            self.met.hints += 1;
            self.merge(&hint(target, key), &object);
        }
    }

    /// A foreign actor sends the node its copy.
    pub fn foreign_sends(&mut self, random: &mut Random, key: &[u8]) {
        let number = random.below(3) as usize;
        if let Some(object) = self.foreign[number].copies.get(key).cloned() {
            self.merge(key, &object);
        }
    }
}

/// All that an object has seen, or the part of it that covers some siblings only: as a client says that had read an older one.
pub(super) fn some_context(random: &mut Random, object: &Object) -> Context {
    if random.one_in(2) {
        return object.context().clone();
    }
    let mut context = Context::default();
    for sibling in object.siblings() {
        if random.one_in(2) {
            context.insert(sibling.dot);
        }
    }
    context
}
