//! A cluster: what R owners had of the key, and what W nodes are to have.
//!
//! Of several siblings the newest that is neither a tombstone nor expired is the key's value. A write that follows from what
//! was read replaces all that was read; one that was made without a look is blind. One that only gives the value another
//! expiry says which write made the value, so that it is no newer than it was (rule S10).
//!
//! Invariant: a run writes at most once (asserted), and one that has written ends with [`Outcome::Sent`].

use std::cmp::Reverse;

use annulus_engine::{Commit, Key};
use annulus_object::{Dot, ObjectView, SiblingRef, shown};

use super::Outcome;
use super::keys::{Deleted, Described, Keys, Looked, Stop, ValueRef, has_come};

/// What a command wants written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intended<'v> {
    /// `None` deletes.
    pub value: Option<&'v [u8]>,
    /// Unix milliseconds; 0 = never.
    pub expires_at_ms: u64,
    /// The write that made the value, where this one only gives it another expiry.
    pub value_dot: Option<Dot>,
    /// It replaces the object that the run was given: that object's context goes with it. Else it is blind.
    pub has_read: bool,
}

/// See the module.
#[derive(Debug)]
pub struct ReplicatedKeys<'v> {
    /// The encoded object that was read for this run, checked before; empty where there is none. `None`: nothing was read yet.
    pub object: Option<&'v [u8]>,
    /// Whether commands that answer with a value and replace it are served: the key has one copy, or the operator wants them
    /// although they are not atomic.
    pub may_swap: bool,
    /// What the run wants written.
    pub write: Option<Intended<'v>>,
}

impl<'v> ReplicatedKeys<'v> {
    /// For a run with this object, `None` for a first run.
    pub fn new(object: Option<&'v [u8]>, may_swap: bool) -> Self {
        Self { object, may_swap, write: None }
    }

    /// The key's value, and the write that made it; `Err` where nothing was read yet.
    fn live(&self, now_ms: u64) -> Result<Option<(ValueRef<'v>, Dot)>, Stop> {
        match self.object {
            None => Err(Stop::Again(Outcome::Ask)),
            Some(object) => Ok(newest_live(object, now_ms)),
        }
    }

    fn look<T>(&self, now_ms: u64, look: impl FnOnce(ValueRef<'v>) -> T) -> Looked<T> {
        self.look_with_dot(now_ms, |seen, _| look(seen))
    }

    fn look_with_dot<T>(&self, now_ms: u64, look: impl FnOnce(ValueRef<'v>, Dot) -> T) -> Looked<T> {
        match self.live(now_ms) {
            Ok(Some((value, made_by))) => Looked::Here(look(value, made_by), None),
            Ok(None) => Looked::Absent(None),
            Err(stop) => Looked::Stop(stop),
        }
    }

    fn intend(&mut self, value: Option<&'v [u8]>, expires_at_ms: u64, value_dot: Option<Dot>) {
        let has_read = self.object.is_some();
        let before = self.write.replace(Intended { value, expires_at_ms, value_dot, has_read });
        assert!(before.is_none(), "a command writes its key once");
    }
}

/// The siblings that have a value which has not expired, the newest first.
pub fn live_siblings(object: &[u8], now_ms: u64) -> impl Iterator<Item = SiblingRef<'_>> {
    let view = (!object.is_empty()).then(|| ObjectView::checked_before(object));
    let mut siblings: smallvec::SmallVec<[SiblingRef<'_>; 4]> = smallvec::SmallVec::new();
    siblings.extend(view.into_iter().flat_map(|view| view.siblings()).filter(|sibling| sibling.is_live(now_ms)));
    siblings.sort_unstable_by_key(|sibling| Reverse(sibling.newness()));
    siblings.into_iter()
}

/// Whether any sibling has a value, be its instant over or not.
fn has_values(object: &[u8]) -> bool {
    !object.is_empty() && ObjectView::checked_before(object).siblings().any(|sibling| sibling.value.is_some())
}

/// The value that is shown, and the write that made it.
fn newest_live(object: &[u8], now_ms: u64) -> Option<(ValueRef<'_>, Dot)> {
    if object.is_empty() {
        return None;
    }
    let newest = shown(ObjectView::checked_before(object).siblings(), now_ms)?;
    newest.value.map(|value| (ValueRef { value, expires_at_ms: newest.expires_at_ms }, newest.made_by()))
}

impl<'v> Keys<'v> for ReplicatedKeys<'v> {
    fn read<T>(&mut self, _key: &Key<'_>, now_ms: u64, look: impl FnOnce(&[u8]) -> T) -> Looked<T> {
        self.look(now_ms, |seen| look(seen.value))
    }

    fn read_to_write<T>(&mut self, _key: &Key<'_>, now_ms: u64, look: impl FnOnce(ValueRef<'_>) -> T) -> Looked<T> {
        self.look(now_ms, look)
    }

    fn describe(&mut self, key: &Key<'_>, now_ms: u64) -> Looked<Described> {
        let object_bytes = self.object.map_or(0, <[u8]>::len);
        let record_bytes = object_bytes + key.bytes.len();
        self.look(now_ms, |seen| Described { expires_at_ms: seen.expires_at_ms, record_bytes })
    }

    fn put(
        &mut self,
        _key: &Key<'_>,
        value: &'v [u8],
        expires_at_ms: u64,
        _now_ms: u64,
    ) -> Result<Option<Commit>, Stop> {
        self.intend(Some(value), expires_at_ms, None);
        Ok(None)
    }

    fn delete(&mut self, _key: &Key<'_>, now_ms: u64) -> Result<Deleted, Stop> {
        let existed = self.live(now_ms)?.is_some();
        // A value whose instant has come by this clock stays where others have it, and may be there yet by theirs.
        let is_held = self.object.is_some_and(has_values);
        if is_held {
            self.intend(None, 0, None);
        }
        Ok(Deleted { existed, after: None })
    }

    fn change_expiry(
        &mut self,
        _key: &Key<'_>,
        now_ms: u64,
        decide: impl FnOnce(ValueRef<'_>) -> Option<u64>,
    ) -> Looked<bool> {
        let decide =
            |seen: ValueRef<'v>, made_by| decide(seen).map(|expires_at_ms| (seen.value, expires_at_ms, made_by));
        let seen = self.look_with_dot(now_ms, decide);
        match seen {
            Looked::Here(Some((value, expires_at_ms, made_by)), after) => {
                match has_come(expires_at_ms, now_ms) {
                    true => self.intend(None, 0, None),
                    false => self.intend(Some(value), expires_at_ms, Some(made_by)),
                }
                Looked::Here(true, after)
            }
            Looked::Here(None, after) => Looked::Here(false, after),
            Looked::Absent(after) => Looked::Absent(after),
            Looked::Stop(stop) => Looked::Stop(stop),
        }
    }

    fn may_swap(&self) -> bool {
        self.may_swap
    }

    fn end(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Done(None) if self.write.is_some() => Outcome::Sent,
            outcome => outcome,
        }
    }
}
