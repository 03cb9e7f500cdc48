//! What a command on one key may touch while it runs on the core that owns the key, and how it ends.
//!
//! A data command is one function of its context and its arguments. It never waits: when it needs a record from the disk it
//! says so and is run again, from its first line, with the record at hand; so it must look before it writes.

use std::rc::Rc;

use annulus_engine::{
    Commit, Description, Disk, Engine, Found, Key, ReadError, ReadPlan, Record, RecordRef, Refusal, Written,
};
use annulus_net::resp::{Protocol, writer};

/// How one run of a data command ended.
#[derive(Debug)]
pub enum Outcome {
    /// The reply is complete. It may leave when this commit is durable, at once for `None`.
    Done(Option<Commit>),
    /// Run again with this record; nothing was written, and what was put into the reply is dropped.
    Read(ReadPlan),
    /// The engine's buffers are full: run again later, nothing was written.
    Stall,
    /// The reply comes when the core's part of a snapshot has ended.
    Snapshot,
}

/// What a data command sees.
pub struct Data<'a, D: Disk> {
    /// The core's store.
    pub engine: &'a mut Engine<D>,
    /// The wall clock of this turn, Unix milliseconds.
    pub now_ms: u64,
    /// How the client wants replies.
    pub protocol: Protocol,
    /// What the disk gave for the plan of the run before, if there was one.
    pub fetched: Option<&'a Result<Rc<Record>, ReadError>>,
    /// Counts reads of keys that are there.
    pub hits: &'a mut u64,
    /// Counts reads of keys that are not.
    pub misses: &'a mut u64,
    /// Where the reply goes.
    pub out: &'a mut Vec<u8>,
}

/// What [`Data::read`] found.
#[derive(Debug)]
pub enum Seen<T> {
    /// No such key, or it has expired; and the commit that this depends on, while that is not durable.
    Absent(Option<Commit>),
    /// What was made of the record, and the commit that made the record, while that is not durable.
    Here(T, Option<Commit>),
    /// End the run with this outcome: the record must be read first, or the reply is already an error.
    NotYet(Outcome),
}

/// What a command is going to do with a key that it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Only read: a record that was fetched answers, although the key may have been written since.
    Read,
    /// Write what follows from the record: only the key's current one serves.
    Rewrite,
}

impl<D: Disk> Data<'_, D> {
    /// Looks at the key's record, in memory or from the run before, through `look`, which may write the reply. The record is
    /// only lent: nothing is copied or counted for it.
    #[inline]
    pub fn read<T>(
        &mut self,
        key: &Key<'_>,
        intent: Intent,
        look: impl FnOnce(&mut Vec<u8>, RecordRef<'_>) -> T,
    ) -> Seen<T> {
        let counts = intent == Intent::Read;
        let found = match self.fetched {
            None => self.engine.find(key, self.now_ms),
            Some(Err(error)) => {
                writer::error(self.out, &format!("ERR reading the value failed: {error}"));
                return Seen::NotYet(Outcome::Done(None));
            }
            Some(Ok(record)) if intent == Intent::Read => {
                let record = record.view();
                let is_expired = (1..=self.now_ms).contains(&record.expires_at_ms());
                if record.key() != key.bytes || is_expired {
                    *self.misses += 1;
                    return Seen::Absent(None);
                }
                *self.hits += 1;
                return Seen::Here(look(self.out, record), None);
            }
            Some(Ok(record)) => self.engine.find_with(key, self.now_ms, Some(record)),
        };
        match found {
            Found::Absent { after } => {
                *self.misses += u64::from(counts);
                Seen::Absent(after)
            }
            Found::Here { record, after } => {
                *self.hits += u64::from(counts);
                Seen::Here(look(self.out, record), after)
            }
            Found::OnDisk(plan) => Seen::NotYet(Outcome::Read(plan)),
        }
    }

    /// What is known of the key without its record; for an absent key, the commit that its absence depends on.
    pub fn describe(&mut self, key: &Key<'_>) -> Result<Description, Option<Commit>> {
        match self.engine.describe(key, self.now_ms) {
            Some(description) => {
                *self.hits += 1;
                Ok(description)
            }
            None => {
                *self.misses += 1;
                Err(self.absent_after(key))
            }
        }
    }

    /// Stores a value whose expiry, 0 for none, may be in the past already: then the key is deleted instead.
    pub fn store(&mut self, key: &Key<'_>, value: &[u8], expires_at_ms: u64) -> Result<Option<Commit>, Refusal> {
        if (1..=self.now_ms).contains(&expires_at_ms) {
            return Ok(self.engine.delete(key, self.now_ms)?.and_then(|written| written.after));
        }
        let Written { after, .. } = self.engine.put(key, value, expires_at_ms, self.now_ms)?;
        Ok(after)
    }

    /// Ends a run whose reply, written already, depends on the outcome of a write; a refusal replaces the reply.
    pub fn finish(&mut self, reply_start: usize, written: Result<Option<Commit>, Refusal>) -> Outcome {
        match written {
            Ok(after) => Outcome::Done(after),
            Err(refusal) => {
                self.out.truncate(reply_start);
                self.refused(&refusal)
            }
        }
    }

    /// Answers a refused write.
    #[cold]
    pub fn refused(&mut self, refusal: &Refusal) -> Outcome {
        refused(self.out, refusal)
    }

    /// Ends a run with an error.
    #[cold]
    pub fn fail(&mut self, text: &str) -> Outcome {
        writer::error(self.out, text);
        Outcome::Done(None)
    }

    /// Ends a run with an integer.
    #[inline]
    pub fn integer(&mut self, value: i64, after: Option<Commit>) -> Outcome {
        writer::integer(self.out, value);
        Outcome::Done(after)
    }

    /// Ends a run without a value.
    #[inline]
    pub fn null(&mut self, after: Option<Commit>) -> Outcome {
        writer::null(self.out, self.protocol);
        Outcome::Done(after)
    }

    /// What a reply that calls the key absent depends on.
    pub fn absent_after(&mut self, key: &Key<'_>) -> Option<Commit> {
        match self.engine.find(key, self.now_ms) {
            Found::Absent { after } => after,
            Found::Here { .. } | Found::OnDisk(_) => None,
        }
    }
}

/// Answers a refused write.
#[cold]
pub fn refused(out: &mut Vec<u8>, refusal: &Refusal) -> Outcome {
    match refusal {
        Refusal::Stall => return Outcome::Stall,
        Refusal::OutOfMemory => writer::error(
            out,
            "OOM command not allowed when used memory > 'maxmemory'; nothing is evicted: delete keys, or raise memory-limit",
        ),
        Refusal::DiskFull => writer::error(
            out,
            "MISCONF the disk is nearly full, this write is refused; reads go on, and deletes while there is room for them: free space or add disk",
        ),
        Refusal::ReadOnly => writer::error(
            out,
            "MISCONF this core is read-only after write errors of its disk; reads go on: see the log, replace the disk",
        ),
        Refusal::TooLarge { .. } => writer::error(out, &format!("ERR {refusal}")),
    }
    Outcome::Done(None)
}

/// A decimal integer as Redis reads one: an optional minus, no plus, no leading zeros, nothing else; 64 bits.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = match digits {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', ..] => true,
        _ => false,
    };
    if !plain || digits.len() > 19 {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
