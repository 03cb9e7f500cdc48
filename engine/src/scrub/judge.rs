//! What damage concerns: the records that the index names in bytes that are bad, each read once more by itself.
//!
//! A bad range may be longer than the damage, where a wrong length hides what follows. So what is whole of it is told apart.
//!
//! Invariant: an entry is called lost only if its own record could not be read.

use std::collections::VecDeque;

use annulus_object::Clock;

use super::walk::{Bad, Target};
use crate::index::{Entry, Index, IndexHash, Place, class_bytes};
use crate::record::{RecordError, RecordRef};

/// One judgement.
pub(super) struct Judging {
    pub(super) bad: Bad,
    /// Partitions whose entries are still to be looked through, and where in the first of them to go on.
    partitions: VecDeque<u16>,
    from: u64,
    suspects: Vec<Suspect>,
    /// The suspect that is read next.
    next: usize,
    lost: Vec<Suspect>,
}

/// An entry that points into the bad bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Suspect {
    pub(super) partition: u16,
    pub(super) hash: IndexHash,
    clock: Clock,
    place: Place,
    bytes: usize,
}

impl Judging {
    /// Of bytes that any of these partitions' entries may point into.
    pub(super) fn new(bad: Bad, partitions: VecDeque<u16>) -> Self {
        let partitions = if bad.has_records { partitions } else { VecDeque::new() };
        Self { bad, partitions, from: 0, suspects: Vec::new(), next: 0, lost: Vec::new() }
    }

    /// Looks through about so many entries more; whether that was all.
    pub(super) fn search(&mut self, index: &Index, target: &Target, most: usize) -> bool {
        let mut left = most;
        while let Some(&partition) = self.partitions.front().filter(|_| left > 0) {
            let range = self.bad.from..self.bad.to;
            let mut seen = 1;
            let (suspects, file) = (&mut self.suspects, target.file);
            let more = index.scan(partition, self.from, left, |entry: Entry| {
                seen += 1;
                if entry.place.file == file && range.contains(&entry.place.offset()) {
                    let (hash, clock, place) = (entry.hash, entry.clock, entry.place);
                    suspects.push(Suspect { partition, hash, clock, place, bytes: class_bytes(entry.size_class) });
                }
            });
            left = left.saturating_sub(seen);
            self.from = more.unwrap_or(0);
            if more.is_none() {
                self.partitions.pop_front();
            }
        }
        self.partitions.is_empty()
    }

    /// Where the next suspect lies: whole blocks of a file of so many bytes.
    pub(super) fn wanted(&self, end: u64) -> Option<(u64, usize)> {
        let suspect = self.suspects.get(self.next)?;
        let from = suspect.place.offset() & !4095;
        let to = (suspect.place.offset() + suspect.bytes as u64).min(end.max(from + 1)).next_multiple_of(4096);
        Some((from, usize::try_from(to - from).expect("a record fits memory")))
    }

    /// Judges the suspect whose bytes came.
    pub(super) fn judge(&mut self, bytes: &[u8]) {
        let Some(suspect) = self.suspects.get_mut(self.next) else { return };
        let start = usize::try_from(suspect.place.offset() % 4096).expect("below 4096");
        match RecordRef::check(&bytes[start..]) {
            // An expired value counts as a short tombstone, but lies there whole.
            Err(RecordError::Truncated { needed, .. }) if needed > suspect.bytes => {
                suspect.bytes = needed;
                return;
            }
            Ok(record) if IndexHash::of(record.hash()) == suspect.hash && record.dot().clock == suspect.clock => {}
            _ => self.lost.push(*suspect),
        }
        self.next += 1;
    }

    /// What is lost, of what the index still names there.
    pub(super) fn lost(self, index: &Index) -> Vec<Suspect> {
        let Self { mut lost, .. } = self;
        lost.retain(|suspect| {
            index.get(suspect.partition, suspect.hash).is_some_and(|entry| entry.place == suspect.place)
        });
        lost
    }

    /// Memory in use.
    pub(super) fn memory_bytes(&self) -> usize {
        (self.suspects.capacity() + self.lost.capacity()) * size_of::<Suspect>()
    }
}
