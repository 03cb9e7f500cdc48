//! What a command on one key may touch while it runs on the core that owns the key, and how it ends.
//!
//! A data command is one function of its context and its arguments. It never waits: when it needs a record from the disk, or
//! what the key's other owners have, it says so and is run again, from its first line, with that at hand; so it must look
//! before it writes.

mod engine_keys;
mod keys;
mod replicated_keys;

use annulus_engine::{Commit, Key, ReadPlan, Refusal};
use annulus_net::resp::{Protocol, writer};

pub use engine_keys::EngineKeys;
pub use keys::{Deleted, Described, Keys, Looked, Stop, ValueRef};
pub use replicated_keys::{Intended, ReplicatedKeys, live_siblings};

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
    /// Run again with what R owners have of the key; nothing is to be written, and what was put into the reply is dropped.
    Ask,
    /// The reply is complete, and may leave when W nodes have what [`ReplicatedKeys::write`] says.
    Sent,
}

/// What a data command sees.
pub struct Data<'a, K> {
    /// The key's value, and whoever takes another.
    pub keys: K,
    /// The wall clock of this turn, Unix milliseconds.
    pub now_ms: u64,
    /// How the client wants replies.
    pub protocol: Protocol,
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
    /// What was made of the value, and the commit that made the value, while that is not durable.
    Here(T, Option<Commit>),
    /// End the run with this outcome: the value must be read first, or the reply is already an error.
    NotYet(Outcome),
}

impl<'v, K: Keys<'v>> Data<'_, K> {
    /// Looks at the key's value through `look`, which may write the reply. The value is only lent: nothing is copied or
    /// counted for it.
    #[inline]
    pub fn read<T>(&mut self, key: &Key<'_>, look: impl FnOnce(&mut Vec<u8>, &[u8]) -> T) -> Seen<T> {
        match self.keys.read(key, self.now_ms, |value| look(self.out, value)) {
            Looked::Absent(after) => {
                *self.misses += 1;
                Seen::Absent(after)
            }
            Looked::Here(made, after) => {
                *self.hits += 1;
                Seen::Here(made, after)
            }
            Looked::Stop(stop) => Seen::NotYet(self.stopped(stop)),
        }
    }

    /// As [`Data::read`] for a write that follows from the value.
    #[inline]
    pub fn read_to_write<T>(&mut self, key: &Key<'_>, look: impl FnOnce(&mut Vec<u8>, ValueRef<'_>) -> T) -> Seen<T> {
        let looked = self.keys.read_to_write(key, self.now_ms, |value| look(self.out, value));
        self.seen(looked)
    }

    /// Gives the key's value the expiry that `decide`, which may write the reply, makes of it: 0 for none, `None` leaves it.
    /// Tells whether the key was written. A refusal replaces the reply.
    #[inline]
    pub fn change_expiry(
        &mut self,
        key: &Key<'_>,
        decide: impl FnOnce(&mut Vec<u8>, ValueRef<'_>) -> Option<u64>,
    ) -> Seen<bool> {
        let reply_start = self.out.len();
        let looked = self.keys.change_expiry(key, self.now_ms, |value| decide(self.out, value));
        if matches!(looked, Looked::Stop(_)) {
            self.out.truncate(reply_start);
        }
        self.seen(looked)
    }

    fn seen<T>(&mut self, looked: Looked<T>) -> Seen<T> {
        match looked {
            Looked::Absent(after) => Seen::Absent(after),
            Looked::Here(made, after) => Seen::Here(made, after),
            Looked::Stop(stop) => Seen::NotYet(self.stopped(stop)),
        }
    }

    /// What is known of the key without its value.
    #[inline]
    pub fn describe(&mut self, key: &Key<'_>) -> Seen<Described> {
        match self.keys.describe(key, self.now_ms) {
            Looked::Here(described, after) => {
                *self.hits += 1;
                Seen::Here(described, after)
            }
            Looked::Absent(after) => {
                *self.misses += 1;
                Seen::Absent(after)
            }
            Looked::Stop(stop) => Seen::NotYet(self.stopped(stop)),
        }
    }

    /// Stores a value whose expiry, 0 for none, may be in the past already: then the key is deleted instead.
    #[inline]
    pub fn store(&mut self, key: &Key<'_>, value: &'v [u8], expires_at_ms: u64) -> Result<Option<Commit>, Stop> {
        if keys::has_come(expires_at_ms, self.now_ms) {
            return self.keys.delete(key, self.now_ms).map(|deleted| deleted.after);
        }
        self.keys.put(key, value, expires_at_ms, self.now_ms)
    }

    /// Ends a run whose reply, written already, depends on the outcome of a write; a refusal replaces the reply.
    pub fn finish(&mut self, reply_start: usize, written: Result<Option<Commit>, Stop>) -> Outcome {
        match written {
            Ok(after) => Outcome::Done(after),
            Err(stop) => {
                self.out.truncate(reply_start);
                self.stopped(stop)
            }
        }
    }

    /// Ends a run that could not do what it wanted.
    #[cold]
    pub fn stopped(&mut self, stop: Stop) -> Outcome {
        match stop {
            Stop::Again(outcome) => outcome,
            Stop::Refused(refusal) => refused(self.out, &refusal),
            Stop::Unreadable(error) => self.fail(&format!("ERR reading the value failed: {error}")),
        }
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
mod replicated_tests;
#[cfg(test)]
mod tests;
