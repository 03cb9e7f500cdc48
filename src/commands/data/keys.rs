//! What a data command may do with its key, whoever has the key's value: this core's engine, or the owners of the key.
//!
//! ```text
//!  a node alone ── EngineKeys ──────▶ the core's engine: found, described and written at once
//!  a cluster ───── ReplicatedKeys ──▶ the object that R owners had, and the one write that is to go to W nodes
//! ```
//!
//! Invariant: a command looks before it writes, and a look that has to wait has changed nothing: it ends the run with
//! [`Stop::Again`], and the command is run once more, from its first line.

use annulus_engine::{Commit, Key, ReadError, Refusal};

use super::Outcome;

/// A live value, lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueRef<'a> {
    /// Its bytes.
    pub value: &'a [u8],
    /// Unix milliseconds from which it counts as deleted; 0 = never.
    pub expires_at_ms: u64,
}

/// What is known of a key that is there, without its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    /// As of [`ValueRef::expires_at_ms`].
    pub expires_at_ms: u64,
    /// Bytes of its record, as far as is known.
    pub record_bytes: usize,
}

/// What became of a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deleted {
    /// Whether the key was there.
    pub existed: bool,
    /// What the reply waits for; `None` = nothing.
    pub after: Option<Commit>,
}

/// Why a command ends before it could do what it wanted.
#[derive(Debug)]
pub enum Stop {
    /// It is to be run again: [`Outcome::Read`] or [`Outcome::Ask`].
    Again(Outcome),
    /// The write was refused.
    Refused(Refusal),
    /// The disk did not tell the value.
    Unreadable(ReadError),
}

/// What a look at a key found.
#[derive(Debug)]
pub enum Looked<T> {
    /// No such key, or it has expired; and the commit that this depends on, while that is not durable.
    Absent(Option<Commit>),
    /// What was made of the value, and the commit that made the value, while that is not durable.
    Here(T, Option<Commit>),
    /// It cannot be told in this run.
    Stop(Stop),
}

/// See the module. `'v` outlives the run: values that are to be written are only lent.
pub trait Keys<'v> {
    /// Lends the key's value to `look`. It may be older than a write that came while it was read.
    fn read<T>(&mut self, key: &Key<'_>, now_ms: u64, look: impl FnOnce(&[u8]) -> T) -> Looked<T>;

    /// Lends the key's value to `look`, for a write that follows from it: only the current one serves.
    fn read_to_write<T>(&mut self, key: &Key<'_>, now_ms: u64, look: impl FnOnce(ValueRef<'_>) -> T) -> Looked<T>;

    /// What is known of the key without its value.
    fn describe(&mut self, key: &Key<'_>, now_ms: u64) -> Looked<Described>;

    /// Stores a value that expires at `expires_at_ms` (0: never; ahead of now). What was read in this run is replaced; else
    /// the write is blind. Gives what the reply waits for.
    fn put(&mut self, key: &Key<'_>, value: &'v [u8], expires_at_ms: u64, now_ms: u64) -> Result<Option<Commit>, Stop>;

    /// Deletes the key; nothing is written where it is not there.
    fn delete(&mut self, key: &Key<'_>, now_ms: u64) -> Result<Deleted, Stop>;

    /// Gives the key's value the expiry that `decide` makes of it (0: never; in the past: deletes it); `None` leaves it as
    /// it is. Tells whether it was written.
    fn change_expiry(
        &mut self,
        key: &Key<'_>,
        now_ms: u64,
        decide: impl FnOnce(ValueRef<'_>) -> Option<u64>,
    ) -> Looked<bool>;

    /// Whether a command may answer with a value and replace it, although others may write in between.
    fn may_swap(&self) -> bool;

    /// What a run that ended so is for whoever started it.
    fn end(&self, outcome: Outcome) -> Outcome;
}

/// Whether an expiry (0 = never) has come.
#[inline]
pub(super) fn has_come(expires_at_ms: u64, now_ms: u64) -> bool {
    (1..=now_ms).contains(&expires_at_ms)
}
