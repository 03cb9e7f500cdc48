//! How the model learns of a write: when its coordinator first stores it.
//!
//! What the write had seen follows from its operation and from what that core held of the key just before. A delete carries no
//! value; it is told by its instant of expiry or, where a store does not keep that, by which deletes of the key are still without a
//! write.
//!
//! Invariant: a dot becomes known once, with one value, and only if a core has stamped it.

use annulus_cluster::ids::Home;
use annulus_cluster::store::Versions;
use annulus_object::{Dot, Object, Sibling};

use super::copies::{Copies, is_refused};
use super::{KeyIndex, Kind, Model, OpId, Outcome, Seen, Write, WriteIndex, op_of_delete, op_of_value};
use crate::bits::Bits;
use crate::checkers::{Promise, Violation};
use crate::clock::{Instant, MILLISECOND};

/// How long after its deadline a write may be stamped where all clocks are right: deadlines travel in milliseconds.
const LATE_MAX: Instant = 5 * MILLISECOND;

/// A core is about to merge an object into its store.
pub struct Storing<'a> {
    /// When.
    pub at: Instant,
    /// Which node.
    pub node: usize,
    /// Which of its cores.
    pub core: u16,
    /// Of which key.
    pub key: KeyIndex,
    /// As owner or for another.
    pub home: Home,
    /// What the core had of the key when the event came, in all homes.
    pub before: &'a [(Home, Versions)],
    /// What it has now, something else that the same event has stored included.
    pub meanwhile: &'a [(Home, Versions)],
    /// What it was told that others have of it.
    pub heard: &'a Bits,
    /// What it merges.
    pub object: &'a Object,
}

impl Model {
    /// A core has stamped. It never does the same twice.
    pub fn note_stamp(&mut self, node: usize, core: u16, dot: Dot) -> Result<(), Violation> {
        if self.stamps.insert((node, core, dot)) {
            return Ok(());
        }
        Err(Violation::new(Promise::Dots, None, format!("core {core} of n{node} stamped {dot:?} twice")))
    }

    /// Learns what is new in an object; every sibling's dot is known afterwards.
    pub fn learn(&mut self, storing: &Storing<'_>) -> Result<Vec<WriteIndex>, Violation> {
        let mut learnt = Vec::new();
        for sibling in storing.object.siblings() {
            if self.key(storing.key).find(sibling.dot).is_none() {
                learnt.push(self.learn_write(storing, sibling)?);
            }
        }
        Ok(learnt)
    }

    fn learn_write(&mut self, storing: &Storing<'_>, sibling: &Sibling) -> Result<WriteIndex, Violation> {
        let dot = sibling.dot;
        let broken = |promise, text: String| Err(Violation::new(promise, Some(storing.key), text));
        if !self.stamps.contains(&(storing.node, storing.core, dot)) {
            let text = format!("n{} stores {dot:?}, which it has not stamped and nobody has stored", storing.node);
            return broken(Promise::NothingInvented, text);
        }
        let candidates = self.candidates(storing, sibling)?;
        let partition = self.key(storing.key).partition;
        if let Some(other) = self.by_partition.insert((partition, dot), storing.key) {
            let other = self.key_name(other);
            return broken(Promise::Dots, format!("{dot:?} names a write of {other} in the same partition too"));
        }
        let seen = self.seen_by(storing, &candidates);
        let replaced = self.replaced_in(storing, &seen);
        let op = (candidates.len() == 1).then(|| candidates[0]);
        let index = self.key(storing.key).count();
        if let Some(op) = op {
            self.note_executed(storing, op, index)?;
        }
        let highest = seen.must.iter().map(|index| self.key(storing.key).write(index).dot.clock).max();
        if highest.is_some_and(|highest| highest >= dot.clock) {
            let text = format!("n{} stamps {dot:?}, which is not above what it has seen: {highest:?}", storing.node);
            return broken(Promise::Dots, text);
        }
        let write = Write {
            dot,
            op,
            is_tombstone: sibling.value.is_none(),
            node: storing.node,
            at: storing.at,
            seen,
            replaced,
            acknowledged: None,
            unjust: None,
            copies: Copies::default(),
        };
        let key = &mut self.keys[storing.key as usize];
        key.by_dot.insert(dot, index);
        key.writes.push(write);
        Ok(index)
    }

    /// What the object says that its only version has replaced, of what that may have seen; nothing where there are several.
    fn replaced_in(&self, storing: &Storing<'_>, seen: &Seen) -> Bits {
        let is_alone = storing.object.siblings().len() == 1;
        let covered = is_alone.then(|| self.key(storing.key).covered(storing.object.context()));
        covered.iter().flat_map(Bits::iter).filter(|index| seen.may.has(*index)).collect()
    }

    /// The operations that may have made a write: one, unless it is a delete.
    fn candidates(&self, storing: &Storing<'_>, sibling: &Sibling) -> Result<Vec<OpId>, Violation> {
        let invented = |text: String| Err(Violation::new(Promise::NothingInvented, Some(storing.key), text));
        if let Some(value) = &sibling.value {
            let op = op_of_value(value).filter(|op| *op < self.next_op());
            let Some(op) = op.filter(|op| self.op(*op).value == *value) else {
                return invented(format!("n{} stores a value that no client has written: {value:x?}", storing.node));
            };
            if self.op(op).key != storing.key {
                return invented(format!("n{} stores #{op} under another key", storing.node));
            }
            return Ok(vec![op]);
        }
        let is_this = |op: &OpId| self.op(*op).kind == Kind::Delete && self.op(*op).key == storing.key;
        if let Some(op) = op_of_delete(sibling.expires_at_ms) {
            let is_known = op < self.next_op() && is_this(&op);
            return if is_known {
                Ok(vec![op])
            } else {
                invented(format!("n{} stores no delete of #{op}", storing.node))
            };
        }
        let is_open = |op: &&OpId| {
            let op = self.op(**op);
            let is_executed = !op.writes.is_empty() || matches!(op.outcome, Outcome::Written(_));
            op.due.is_some() && !is_refused(op.outcome) && (!is_executed || op.is_repeatable)
        };
        let open: Vec<OpId> = self.key(storing.key).deletes.iter().filter(is_open).copied().collect();
        if open.is_empty() {
            return invented(format!("n{} stores a delete {:?} that no client wants", storing.node, sibling.dot));
        }
        Ok(open)
    }

    fn note_executed(&mut self, storing: &Storing<'_>, op: OpId, write: WriteIndex) -> Result<(), Violation> {
        let key = Some(storing.key);
        self.op_mut(op).writes.push(write);
        let known = self.op(op);
        let due = known.due.filter(|due| storing.at > due + LATE_MAX && self.clocks_are_right);
        if let Some(due) = due {
            let (at, node) = (storing.at, storing.node);
            let text = format!("n{node} executes #{op} at {at} µs, whose deadline was at {due} µs");
            return Err(Violation::new(Promise::InTime, key, text));
        }
        let known = self.op_mut(op);
        if is_refused(known.outcome) {
            let text = format!("#{op} was refused, and n{} executes it", storing.node);
            return Err(Violation::new(Promise::NothingInvented, key, text));
        }
        if known.writes.len() > 1 && !known.is_repeatable {
            let text = format!("#{op}, which is not repeatable, is executed again, by n{}", storing.node);
            return Err(Violation::new(Promise::Once, key, text));
        }
        Ok(())
    }

    /// What a write has seen that one of `candidates` makes now at a core.
    fn seen_by(&self, storing: &Storing<'_>, candidates: &[OpId]) -> Seen {
        let each = candidates.iter().map(|op| self.seen_by_op(storing, *op));
        let mut all = each.collect::<Vec<_>>().into_iter();
        let mut seen = all.next().expect("a write has a candidate");
        for other in all {
            // Of several, what is certain is what none contradicts: nothing is claimed.
            seen.must = Bits::default();
            seen.may.add(&other.may);
        }
        seen
    }

    fn seen_by_op(&self, storing: &Storing<'_>, op: OpId) -> Seen {
        let op = self.op(op);
        let key = self.key(storing.key);
        let own = key.closure(op.own_last);
        // The connection's own last dot counts as seen; what that had seen itself does not travel with it.
        // Where something stood beside it, only whoever holds it can count it as seen: a context has no place for it.
        let is_counted = |own: &WriteIndex| {
            let dot = key.write(*own).dot;
            op.own_is_alone || storing.before.iter().any(|(_, versions)| versions.context.covers(dot))
        };
        let own_dot: Bits = op.own_last.filter(is_counted).into_iter().collect();
        if let Some(context) = &op.context {
            let mut seen = (**context).clone();
            seen.must.add(&own_dot);
            seen.may.add(&own.may);
            return seen;
        }
        let held = |homes: &[(Home, Versions)], is_asked: &dyn Fn(&Home) -> bool| {
            let homes = homes.iter().filter(|(home, _)| is_asked(home));
            key.closure(key.known(homes.flat_map(|(_, versions)| versions.siblings.iter().map(|sibling| sibling.0))))
        };
        let is_owner = matches!(storing.home, Home::Owned(_));
        let mut seen = held(storing.before, &|home| matches!(home, Home::Owned(_)) == is_owner);
        seen.may.add(&held(storing.before, &|_| true).may);
        seen.may.add(&held(storing.meanwhile, &|_| true).may);
        seen.may.add(storing.heard);
        seen.must.add(&own_dot);
        seen.may.add(&own.may);
        if op.kind == Kind::Delete {
            seen.must.add(&self.settled_before(storing.key, op.invoked, op.quorum.pr, op.quorum.n).must);
            seen.may.add(&seen.must.clone());
        }
        seen
    }

    /// What must be seen by whoever asks `readers` owners at an instant: all writes that were acknowledged before by so many
    /// owners that one of them is asked. Writes so many of whose copies were destroyed that nobody who counts need have heard of
    /// them are left out.
    #[must_use]
    pub fn settled_before(&self, key: KeyIndex, at: Instant, readers: u8, n: u8) -> Seen {
        let key = self.key(key);
        let is_settled = |write: &Write| {
            let acknowledged = write.acknowledged.filter(|acknowledged| acknowledged.at <= at);
            acknowledged.is_some_and(|it| it.quorum.pw + readers > n && write.copies.are_told_of(it.quorum.pw, n))
        };
        key.closure(key.all().filter(|(_, write)| is_settled(write)).map(|(index, _)| index))
    }
}
