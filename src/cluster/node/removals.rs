//! Removals that were published and are not carried out yet (rule S13).
//!
//! Whoever wants a node removed publishes that, and waits for as long as everybody needs to hear of it and it of theirs. Then
//! the lowest stamp wins: its author removes the node, and the others give up, because the map that they had counted on has one
//! node less. So two operators, or two brakes, who remove different nodes at once remove one.
//!
//! ```text
//!  published ──▶ waits 60 s ─┬─▶ a lower one is published, one was carried out since,
//!                            │   or the node's role was given since:             given up
//!                            └─▶ otherwise:                                      Removed
//! ```
//!
//! What is not promised: two sides of a split do not hear of each other. Each may remove one, and both are removed when they
//! meet.
//!
//! Invariant: this node has at most one removal of its own under way; a removal whose author does not carry it out stands in
//! nobody's way for longer than twice the wait.

use std::collections::BTreeMap;

use crate::ids::NodeId;
use crate::membership::{Membership, Role, Stamp};
use crate::mutation::{Mutation, mutated};

/// Published here.
#[derive(Debug, Clone, Copy)]
struct Own {
    node: NodeId,
    stamp: Stamp,
    due_us: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Removals {
    wait_us: u64,
    /// Later than this the clock says that we stalled, and have not heard what was said meanwhile.
    stall_us: u64,
    own: Option<Own>,
    /// By the node that is to be removed: which, and when it was first seen.
    seen: BTreeMap<NodeId, (Stamp, u64)>,
}

impl Removals {
    pub(super) const fn new(wait_us: u64, stall_us: u64) -> Self {
        Self { wait_us, stall_us, own: None, seen: BTreeMap::new() }
    }

    /// The entry of a node may have changed.
    pub(super) fn note(&mut self, now_us: u64, node: NodeId, map: &Membership) {
        match map.get(node).and_then(|entry| entry.removal()) {
            None => {
                self.seen.remove(&node);
            }
            Some(stamp) if self.seen.get(&node).is_some_and(|seen| seen.0 == stamp) => {}
            Some(stamp) => {
                self.seen.insert(node, (stamp, now_us));
            }
        }
    }

    /// One was published here.
    pub(super) fn begin(&mut self, now_us: u64, node: NodeId, stamp: Stamp) {
        self.own = Some(Own { node, stamp, due_us: now_us + self.wait_us });
    }

    pub(super) fn next_due_us(&self) -> Option<u64> {
        self.own.map(|own| own.due_us)
    }

    /// The removal that is under way with the lowest stamp.
    pub(super) fn lowest(&self, now_us: u64, map: &Membership) -> Option<(Stamp, NodeId)> {
        let is_fresh = |seen_us: u64| now_us.saturating_sub(seen_us) < 2 * self.wait_us;
        let fresh = self.seen.iter().filter(|(_, (_, seen_us))| is_fresh(*seen_us));
        let open = fresh.filter(|(_, (stamp, _))| !was_one_removed_since(*stamp, map));
        open.map(|(node, (stamp, _))| (*stamp, *node)).min()
    }

    /// The node whose removal was published here, if that has ended now, and whether it is to be removed.
    pub(super) fn end(&mut self, now_us: u64, map: &Membership) -> Option<(NodeId, bool)> {
        let own = self.own.filter(|own| own.due_us <= now_us)?;
        if now_us - own.due_us > self.stall_us {
            self.begin(now_us, own.node, own.stamp);
            return None;
        }
        self.own = None;
        let is_standing = map.get(own.node).and_then(|entry| entry.removal()) == Some(own.stamp);
        let is_lowest = self.lowest(now_us, map).is_none_or(|lowest| lowest >= (own.stamp, own.node));
        let is_removed = is_standing && is_lowest && !was_one_removed_since(own.stamp, map);
        Some((own.node, is_removed))
    }
}

fn was_one_removed_since(stamp: Stamp, map: &Membership) -> bool {
    let is_later = |at: Option<Stamp>| at.is_some_and(|at| at > stamp);
    !mutated(Mutation::RemovalIgnoresOthers)
        && map.iter().any(|(_, entry)| entry.role() == Role::Removed && is_later(entry.role_at()))
}

#[cfg(test)]
mod tests {
    use annulus_object::Clock;

    use super::Removals;
    use crate::ids::NodeId;
    use crate::membership::{Membership, Stamp};

    const SECOND: u64 = 1_000_000;

    fn node(number: u64) -> NodeId {
        NodeId::new(number)
    }

    fn stamp(tick: u64, author: u64) -> Stamp {
        Stamp { clock: Clock::from_raw(tick).unwrap(), author: node(author) }
    }

    /// Removals as a node sees them that was told of these at once.
    fn told(removals: &[(u64, u64, u64)]) -> (Removals, Membership) {
        let (mut told, mut map) = (Removals::new(60 * SECOND, SECOND / 2), Membership::default());
        for (of, tick, author) in removals {
            map.intend_removal(node(*of), stamp(*tick, *author).clock, node(*author)).unwrap();
            told.note(0, node(*of), &map);
        }
        (told, map)
    }

    #[test]
    fn the_lowest_goes_first_and_is_not_waited_for_for_ever() {
        let (mut removals, map) = told(&[(7, 5, 1), (8, 5, 2), (9, 4, 3)]);
        assert_eq!(removals.lowest(0, &map), Some((stamp(4, 3), node(9))));
        removals.begin(0, node(8), stamp(5, 2));
        assert_eq!(removals.end(59 * SECOND, &map), None);
        assert_eq!(removals.end(60 * SECOND, &map), Some((node(8), false)));
        assert_eq!((removals.next_due_us(), removals.lowest(120 * SECOND, &map)), (None, None));
    }

    /// What was said while this node did not run has arrived by the next time.
    #[test]
    fn who_has_stalled_waits_once_more() {
        let (mut removals, map) = told(&[(7, 5, 1)]);
        removals.begin(0, node(7), stamp(5, 1));
        assert_eq!(removals.end(61 * SECOND, &map), None);
        assert_eq!(removals.next_due_us(), Some(121 * SECOND));
        assert_eq!(removals.end(121 * SECOND, &map), Some((node(7), true)));
    }

    #[test]
    fn one_that_another_has_taken_over_is_the_others() {
        let (mut removals, mut map) = told(&[(7, 5, 1)]);
        removals.begin(0, node(7), stamp(5, 1));
        map.intend_removal(node(7), stamp(6, 2).clock, node(2)).unwrap();
        removals.note(SECOND, node(7), &map);
        assert_eq!(removals.end(60 * SECOND, &map), Some((node(7), false)));
    }
}
