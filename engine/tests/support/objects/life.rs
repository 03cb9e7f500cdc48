//! How the node lives: it settles, restarts, crashes at a point of a recorded disk, and opens again.

use super::checks::assert_possible;
use super::*;

impl Objects {
    /// Lets everything become durable, and every merge end.
    pub fn settle_all(&mut self) {
        for _ in 0..1000 {
            self.turn(8);
            self.node.now_ms += 5;
            self.tick();
            if self.waiting.is_empty() {
                break;
            }
        }
        assert!(self.waiting.is_empty(), "merges wait for ever");
        self.node.settle_all();
        self.settle();
    }

    /// Stops cleanly or by a crash, and opens again.
    pub fn restart(&mut self, clean: bool, cores: u16) {
        if clean {
            self.settle_all();
        }
        self.note_counts();
        self.waiting.clear();
        self.read.clear();
        self.node.restart(clean, cores);
        self.node.commits.clear();
        self.check_recovered(clean);
    }

    /// What was recovered is what may be there; from now on that is certain.
    fn check_recovered(&mut self, clean: bool) {
        for report in self.node.cores.iter().map(|core| core.recovery().clone()) {
            assert_eq!(report.corruption, [], "no damage was done");
            self.met.recovered_siblings += report.siblings;
            self.met.joined += report.joined;
        }
        let keys: Vec<Vec<u8>> = self.model.keys().cloned().collect();
        for key in keys {
            let found = self.object(&key).unwrap();
            self.met.recovered += 1;
            let steps = self.model.remove(&key).unwrap();
            assert_possible(&key, &found, &steps, clean);
            self.model.insert(key, vec![Step::certain(found)]);
        }
    }

    /// A node that was not started yet, on what a crash at a point has left of this one; it knows what may be there.
    pub fn after_crash(&self, node: Node, point: usize) -> Objects {
        let mut objects = Objects::new(node);
        for (key, steps) in &self.model {
            let durable = |step: &Step| step.durable_at.is_some_and(|at| at <= point);
            let last = steps.iter().rposition(durable);
            // What was on its way before the last durable step is a part of that.
            let steps = steps[last.unwrap_or(0)..].iter().filter(|step| step.from <= point).map(|step| {
                let fate = if durable(step) { Fate::Durable } else { Fate::Failed };
                Step { fate, ..step.clone() }
            });
            objects.model.insert(key.clone(), steps.collect());
        }
        objects
    }

    /// Starts on what a crash has left, and compares it with what may be there; from now on that is certain.
    pub fn start(&mut self) {
        self.node.open(1, None).unwrap();
        self.check_recovered(false);
        self.node.check_trees();
    }

    pub fn note_counts(&mut self) {
        for counts in self.node.cores.iter().map(|core| core.statistics().counts) {
            self.met.siblings_written += counts.siblings_written;
            self.met.siblings_moved += counts.siblings_moved;
        }
    }
}
