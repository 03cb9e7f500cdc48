//! What was asked for and has not ended: stores that wait for a commit, for a record or for room, and loads that wait for a
//! record.
//!
//! Invariant: everything here is bounded: stalled stores by [`STALLED_MAX`] and [`STALLED_BYTES_MAX`], waiting merges by the
//! engine's limit of reads, loads by [`UNREAD_MAX`], what waits for a commit by the engine's frames.

use std::collections::VecDeque;
use std::rc::Rc;

use annulus_cluster::event::{Key, Now};
use annulus_cluster::ids::{Home, NodeId, StoreToken};
use annulus_engine::{Commit, MergeTicket, ReadPlan, Record};

/// Stores that wait for room at most, and their bytes.
pub(super) const STALLED_MAX: usize = 1024;
const STALLED_BYTES_MAX: usize = 16 << 20;
/// Loads that wait until they can be read at most.
const UNREAD_MAX: usize = 4096;
/// After so long what still finds no room is refused: by then its coordinator has given up.
const STALL_US_MAX: u64 = 1_000_000;

/// A store that the engine has no room for yet.
#[derive(Debug)]
pub(super) struct Stalled {
    pub(super) token: StoreToken,
    pub(super) home: Home,
    pub(super) hash: u128,
    pub(super) object: Box<[u8]>,
    pub(super) until_us: u64,
    key: Box<[u8]>,
}

impl Stalled {
    pub(super) fn new(token: StoreToken, home: Home, key: &Key<'_>, object: &[u8], now: Now) -> Self {
        let until_us = now.steady_us + STALL_US_MAX;
        Self { token, home, hash: key.hash, key: key.bytes.into(), object: object.into(), until_us }
    }

    pub(super) fn key(&self) -> Key<'_> {
        Key { bytes: &self.key, partition: self.home.partition(), hash: self.hash }
    }

    fn bytes(&self) -> usize {
        self.key.len() + self.object.len()
    }
}

/// A merge that has its record, or whose record has gone, and no room.
#[derive(Debug)]
pub(super) struct Unmerged {
    pub(super) token: StoreToken,
    pub(super) ticket: MergeTicket,
    pub(super) record: Option<Rc<Record>>,
    pub(super) until_us: u64,
}

impl Unmerged {
    pub(super) fn new(token: StoreToken, ticket: MergeTicket, record: Option<Rc<Record>>, now: Now) -> Self {
        Self { token, ticket, record, until_us: now.steady_us + STALL_US_MAX }
    }
}

/// A load that has not ended.
#[derive(Debug)]
pub(super) struct Loading {
    pub(super) token: StoreToken,
    pub(super) home: Home,
    pub(super) hash: u128,
    /// As asked for: empty where only a hint's name is known.
    pub(super) key: Vec<u8>,
}

impl Loading {
    pub(super) fn key(&self) -> Key<'_> {
        Key { bytes: &self.key, partition: self.home.partition(), hash: self.hash }
    }

    /// The target of a hint that is known by its name only.
    pub(super) fn name_only(&self) -> Option<u64> {
        match self.home {
            Home::Hinted { target, .. } if self.key.is_empty() => Some(target.raw()),
            _ => None,
        }
    }

    /// Whether it is the node's own and was asked for without the key's bytes: by a part of its hash, unless it has no bytes.
    pub(super) fn is_by_hash(&self) -> bool {
        matches!(self.home, Home::Owned(_)) && self.key.is_empty()
    }
}

/// What a record is read for.
#[derive(Debug)]
pub(super) enum Reading {
    Merge { token: StoreToken, ticket: MergeTicket },
    Load(Loading),
}

/// What waits until there is room.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    stalled: VecDeque<Stalled>,
    stalled_bytes: usize,
    unmerged: VecDeque<Unmerged>,
    unread: VecDeque<(Reading, ReadPlan)>,
}

impl Waiting {
    /// Whether one more store of so many bytes may wait.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.stalled.len() < STALLED_MAX && self.stalled_bytes + bytes <= STALLED_BYTES_MAX
    }

    /// Whether so much waits that nothing should be added which can go elsewhere.
    pub(super) fn is_crowded(&self) -> bool {
        self.stalled.len() >= STALLED_MAX / 2 || self.stalled_bytes >= STALLED_BYTES_MAX / 2
    }

    pub(super) fn add_stalled(&mut self, stalled: Stalled) {
        self.stalled_bytes += stalled.bytes();
        self.stalled.push_back(stalled);
    }

    pub(super) fn return_stalled(&mut self, stalled: Stalled) {
        self.stalled_bytes += stalled.bytes();
        self.stalled.push_front(stalled);
    }

    pub(super) fn next_stalled(&mut self) -> Option<Stalled> {
        let stalled = self.stalled.pop_front()?;
        self.stalled_bytes -= stalled.bytes();
        Some(stalled)
    }

    /// Stalled stores of a key.
    pub(super) fn stalled_at(&self, home: Home, hash: u128) -> impl Iterator<Item = &Stalled> {
        self.stalled.iter().filter(move |stalled| (stalled.home, stalled.hash) == (home, hash))
    }

    /// Shows `visit` the nodes for which stalled stores of a key are to be kept.
    pub(super) fn stalled_targets(&self, key: &Key<'_>, mut visit: impl FnMut(NodeId)) {
        for stalled in self.stalled.iter().filter(|stalled| stalled.hash == key.hash) {
            if let Home::Hinted { target, .. } = stalled.home {
                visit(target);
            }
        }
    }

    pub(super) fn add_unmerged(&mut self, unmerged: Unmerged) {
        self.unmerged.push_back(unmerged);
    }

    pub(super) fn unmerged(&self) -> usize {
        self.unmerged.len()
    }

    pub(super) fn next_unmerged(&mut self) -> Option<Unmerged> {
        self.unmerged.pop_front()
    }

    /// Keeps what cannot be read yet; gives it back where too much is kept. Merges are few, and always kept.
    pub(super) fn add_unread(&mut self, reading: Reading, plan: ReadPlan) -> Result<(), Reading> {
        if matches!(reading, Reading::Load(_)) && self.unread.len() >= UNREAD_MAX {
            return Err(reading);
        }
        self.unread.push_back((reading, plan));
        Ok(())
    }

    pub(super) fn unread(&self) -> usize {
        self.unread.len()
    }

    pub(super) fn next_unread(&mut self) -> Option<(Reading, ReadPlan)> {
        self.unread.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stalled.is_empty() && self.unmerged.is_empty() && self.unread.is_empty()
    }
}

/// Stores that wait for a commit of one of the log's instances, by the commits' order.
#[derive(Debug, Default)]
pub(super) struct Commits {
    queues: [VecDeque<(Commit, StoreToken)>; 2],
}

impl Commits {
    pub(super) fn wait(&mut self, commit: Commit, token: StoreToken) {
        let queue = &mut self.queues[usize::from(commit.instance)];
        // Nearly always the newest: only what finds its object written already waits for an older one.
        let mut place = queue.len();
        while place > 0 && queue[place - 1].0 > commit {
            place -= 1;
        }
        queue.insert(place, (commit, token));
    }

    /// Shows `visit` what waits for a commit or an earlier one of its instance: they are durable.
    pub(super) fn up_to(&mut self, commit: Commit, mut visit: impl FnMut(StoreToken)) {
        let queue = &mut self.queues[usize::from(commit.instance)];
        while let Some((_, token)) = queue.pop_front_if(|(other, _)| *other <= commit) {
            visit(token);
        }
    }

    /// Shows `visit` what waits for this commit, and no other.
    pub(super) fn of(&mut self, commit: Commit, mut visit: impl FnMut(StoreToken)) {
        self.queues[usize::from(commit.instance)].retain(|(other, token)| {
            if *other == commit {
                visit(*token);
            }
            *other != commit
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }
}
