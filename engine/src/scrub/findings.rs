//! What the scrub has found, kept for whoever asks.
//!
//! Invariant: a place is new once, and again only if it has come to concern more keys.

use std::collections::{BTreeMap, VecDeque};

use super::walk::Target;

/// Places that are kept.
const KEPT: usize = 100;
/// Places that are recognised when they are met again; with more, some are counted twice.
const KNOWN: usize = 4096;

/// Bytes on disk that are not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedPlace {
    /// The file.
    pub path: String,
    /// Where the damage begins, to the record, frame or block.
    pub offset: u64,
    /// How many bytes cannot be trusted for it, at most.
    pub bytes: u64,
    /// What is damaged.
    pub what: &'static str,
    /// Keys whose newest record cannot be read; none when nothing in the bytes counts.
    pub keys: u64,
    /// Partitions of those keys, first and last; of a partition's file, always its own.
    pub partitions: Option<(u16, u16)>,
    /// The upper 64 bits of those keys' hashes, smallest and largest.
    pub hashes: Option<(u64, u64)>,
    /// When it was found, Unix milliseconds.
    pub found_unix_ms: u64,
}

/// All of a core.
#[derive(Debug, Default)]
pub(super) struct Findings {
    newest: VecDeque<DamagedPlace>,
    known: BTreeMap<(Target, u64), u64>,
}

impl Findings {
    /// Keeps a place; whether it is new.
    pub(super) fn note(&mut self, target: Target, place: &DamagedPlace) -> bool {
        let of_target = (target, place.offset);
        if self.known.get(&of_target).is_some_and(|keys| *keys >= place.keys) {
            return false;
        }
        if self.known.len() >= KNOWN {
            self.known.pop_first();
        }
        self.known.insert(of_target, place.keys);
        if self.newest.len() >= KEPT {
            self.newest.pop_front();
        }
        self.newest.push_back(place.clone());
        true
    }

    /// The newest places, oldest of them first.
    pub(super) fn newest(&self) -> impl Iterator<Item = &DamagedPlace> {
        self.newest.iter()
    }
}
