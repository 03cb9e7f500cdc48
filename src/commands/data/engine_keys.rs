//! A node alone: the core's engine has the key's only copy.
//!
//! Invariant: nothing is copied or counted for a value that is only looked at.

use std::rc::Rc;

use annulus_engine::{Commit, Disk, Engine, Found, Key, ReadError, Record, Refusal};

use super::Outcome;
use super::keys::{Deleted, Described, Keys, Looked, Stop, ValueRef, has_come};

/// See the module.
pub struct EngineKeys<'a, D: Disk> {
    /// The core's store.
    pub engine: &'a mut Engine<D>,
    /// What the disk gave for the plan of the run before, if there was one.
    pub fetched: Option<&'a Result<Rc<Record>, ReadError>>,
}

impl<'v, D: Disk> Keys<'v> for EngineKeys<'_, D> {
    #[inline]
    fn read<T>(&mut self, key: &Key<'_>, now_ms: u64, look: impl FnOnce(&[u8]) -> T) -> Looked<T> {
        match self.fetched {
            None => match self.engine.find(key, now_ms) {
                Found::Absent { after } => Looked::Absent(after),
                Found::Here { record, after } => Looked::Here(look(record.value(now_ms)), after),
                Found::OnDisk(plan) => Looked::Stop(Stop::Again(Outcome::Read(plan))),
            },
            Some(Err(error)) => Looked::Stop(Stop::Unreadable(error.clone())),
            // It answers as of when it was asked, although the key may have been written since.
            Some(Ok(record)) => {
                let record = record.view();
                if record.key() != key.bytes || !record.is_shown(now_ms) {
                    return Looked::Absent(None);
                }
                Looked::Here(look(record.value(now_ms)), None)
            }
        }
    }

    #[inline]
    fn read_to_write<T>(&mut self, key: &Key<'_>, now_ms: u64, look: impl FnOnce(ValueRef<'_>) -> T) -> Looked<T> {
        let fetched = match self.fetched {
            None => None,
            Some(Ok(record)) => Some(record),
            Some(Err(error)) => return Looked::Stop(Stop::Unreadable(error.clone())),
        };
        match self.engine.find_with(key, now_ms, fetched) {
            Found::Absent { after } => Looked::Absent(after),
            Found::Here { record, after } => {
                let shown = record.shown(now_ms).expect("what is found is shown");
                let value = ValueRef { value: shown.value.unwrap_or_default(), expires_at_ms: shown.expires_at_ms };
                Looked::Here(look(value), after)
            }
            Found::OnDisk(plan) => Looked::Stop(Stop::Again(Outcome::Read(plan))),
        }
    }

    #[inline]
    fn describe(&mut self, key: &Key<'_>, now_ms: u64) -> Looked<Described> {
        match self.engine.describe(key, now_ms) {
            Some(found) if found.needs_record => self.read_to_write(key, now_ms, |seen| Described {
                expires_at_ms: seen.expires_at_ms,
                record_bytes: found.record_bytes,
            }),
            Some(found) => {
                let described = Described { expires_at_ms: found.expires_at_ms, record_bytes: found.record_bytes };
                Looked::Here(described, found.after)
            }
            None => Looked::Absent(self.absent_after(key, now_ms)),
        }
    }

    #[inline]
    fn put(&mut self, key: &Key<'_>, value: &'v [u8], expires_at_ms: u64, now_ms: u64) -> Result<Option<Commit>, Stop> {
        self.write(key, value, expires_at_ms, now_ms).map_err(Stop::Refused)
    }

    #[inline]
    fn delete(&mut self, key: &Key<'_>, now_ms: u64) -> Result<Deleted, Stop> {
        match self.engine.delete(key, now_ms).map_err(Stop::Refused)? {
            Some(written) => Ok(Deleted { existed: true, after: written.after }),
            None => Ok(Deleted { existed: false, after: self.absent_after(key, now_ms) }),
        }
    }

    fn change_expiry(
        &mut self,
        key: &Key<'_>,
        now_ms: u64,
        decide: impl FnOnce(ValueRef<'_>) -> Option<u64>,
    ) -> Looked<bool> {
        let seen = self.read_to_write(key, now_ms, |seen| {
            decide(seen).map(|expires_at_ms| {
                // What is deleted at once need not be kept.
                let value = if has_come(expires_at_ms, now_ms) { Vec::new() } else { seen.value.to_vec() };
                (value, expires_at_ms)
            })
        });
        let ((value, expires_at_ms), read_after) = match seen {
            Looked::Here(Some(changed), after) => (changed, after),
            Looked::Here(None, after) => return Looked::Here(false, after),
            Looked::Absent(after) => return Looked::Absent(after),
            Looked::Stop(stop) => return Looked::Stop(stop),
        };
        // Nobody else has, or will have, versions of the key beside which the value would have to keep its dot.
        let written = if has_come(expires_at_ms, now_ms) {
            self.engine.delete(key, now_ms).map(|written| written.map_or(read_after, |written| written.after))
        } else {
            self.write(key, &value, expires_at_ms, now_ms)
        };
        match written {
            Ok(after) => Looked::Here(true, after),
            Err(refusal) => Looked::Stop(Stop::Refused(refusal)),
        }
    }

    #[inline]
    fn may_swap(&self) -> bool {
        true
    }

    #[inline]
    fn end(&self, outcome: Outcome) -> Outcome {
        outcome
    }
}

impl<D: Disk> EngineKeys<'_, D> {
    #[inline]
    fn write(
        &mut self,
        key: &Key<'_>,
        value: &[u8],
        expires_at_ms: u64,
        now_ms: u64,
    ) -> Result<Option<Commit>, Refusal> {
        self.engine.put(key, value, expires_at_ms, now_ms).map(|written| written.after)
    }

    /// What a reply that calls the key absent depends on.
    fn absent_after(&mut self, key: &Key<'_>, now_ms: u64) -> Option<Commit> {
        match self.engine.find(key, now_ms) {
            Found::Absent { after } => after,
            Found::Here { .. } | Found::OnDisk(_) => None,
        }
    }
}
