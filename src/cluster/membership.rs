//! The map of the cluster: which nodes exist, what each says of itself, and what operators have said of it.
//!
//! It says who is a member and as what. It is not the failure detector: a node that does not answer is as much a member as
//! before. It does not choose owners either; [`crate::placement`] does, from [`Membership::placed`].
//!
//! A node that was forgotten leaves a tombstone of a few bytes, or a node that was away would bring it back with its old map.
//! There are at most [`FORGOTTEN_MAX`]; then the oldest goes. So what is promised is: a forgotten node does not come back
//! unless so many others were forgotten since, whoever was away and for however long. What is not: that its number can be
//! used again. It cannot; what was forgotten counts as lost, and a node that would bring it back comes under a new number.
//!
//! Invariant: merging is commutative, associative and idempotent as long as no tombstone has to go; no more than [`MEMBERS_MAX`]
//! nodes and [`FORGOTTEN_MAX`] tombstones; only a node itself is the author of what it announces; maps with the same digest are
//! equal.

mod codec;
mod entry;
mod error;
mod fields;
mod register;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::hash::Hasher;

use annulus_object::Clock;
use siphasher::sip::SipHasher13;

use crate::ids::NodeId;
use crate::limits::{FORGOTTEN_MAX, MEMBERS_MAX};
use crate::placement::Member;

pub use codec::UnverifiedMembership;
pub use entry::Entry;
pub use error::{MapError, TooManyMembers};
pub use fields::{Announced, Endpoint, HOST_BYTES_MAX, Holdings, Role, WEIGHT_MAX, Weight, ZONE_BYTES_MAX, Zone};
pub use register::{Register, Stamp};

/// "annulus: " and "members"; only for telling maps apart.
const DIGEST_KEY: (u64, u64) = (0x616e_6e75_6c75_733a, 0x6d65_6d62_6572_7300);

/// What a map is recognised by: maps with the same digest are equal. Unlike a ring's fingerprint it covers every field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapDigest(pub u64);

/// What one entry is recognised by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EntryStamp {
    /// The largest clock of the entry's registers, raw: does not decrease when entries merge.
    pub version: u64,
    /// Of the entry's content: tells apart entries whose largest clock is the same.
    pub digest: u64,
}

impl EntryStamp {
    /// Whether an entry with this stamp may hold something that one with stamp `known` lacks. Both may hold something that the
    /// other lacks; then each is news to the other once their versions are equal, which merging one way brings about.
    #[must_use]
    pub fn is_news_to(self, known: Option<EntryStamp>) -> bool {
        match known {
            None => true,
            Some(known) if self.version == known.version => self.digest != known.digest,
            Some(known) => self.version > known.version,
        }
    }
}

/// An entry, and what it is recognised by.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    entry: Entry,
    stamp: EntryStamp,
}

/// The map: see the module. The default knows nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    entries: BTreeMap<NodeId, Kept>,
    /// How many of them are tombstones.
    forgotten: usize,
    /// Sum of the entries' own.
    digest: u64,
}

impl Membership {
    /// Every node, by id, without those that were forgotten.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Entry)> {
        let known = self.entries.iter().filter(|(_, kept)| !kept.entry.is_forgotten());
        known.map(|(node, kept)| (*node, &kept.entry))
    }

    /// One node; `None` of one that was forgotten.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Option<&Entry> {
        self.entries.get(&node).map(|kept| &kept.entry).filter(|entry| !entry.is_forgotten())
    }

    /// Whether a node was forgotten.
    #[must_use]
    pub fn is_forgotten(&self, node: NodeId) -> bool {
        self.entries.get(&node).is_some_and(|kept| kept.entry.is_forgotten())
    }

    /// How many nodes are known, removed ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() - self.forgotten
    }

    /// Whether nobody is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the entries are recognised by, tombstones included, ascending by node.
    pub fn stamps(&self) -> impl Iterator<Item = (NodeId, EntryStamp)> {
        self.entries.iter().map(|(node, kept)| (*node, kept.stamp))
    }

    /// What the entry of a node is recognised by; `None` where there is not even a tombstone.
    #[must_use]
    pub fn stamp(&self, node: NodeId) -> Option<EntryStamp> {
        self.entries.get(&node).map(|kept| kept.stamp)
    }

    /// A node says how it is reached and what it holds. True when that is news: see [`Membership::set_role`] on `clock`.
    pub fn announce(&mut self, node: NodeId, clock: Clock, announced: Announced) -> Result<bool, TooManyMembers> {
        assert!(announced.is_valid(), "a node announces what others accept: {announced:?}");
        let incarnation_most = announced.incarnation;
        let announced = Some(Register::new(clock, node, announced));
        self.merge_one(node, &Entry { announced, incarnation_most, ..Entry::default() })
    }

    /// An operator gives a node a role, at the node `author`. True when that is news, false when the register was written
    /// at a later clock; who stamps above [`Membership::epoch`] always makes news, unless the node was forgotten.
    pub fn set_role(&mut self, node: NodeId, clock: Clock, author: NodeId, role: Role) -> Result<bool, TooManyMembers> {
        self.merge_one(node, &Entry { role: Some(Register::new(clock, author, role)), ..Entry::default() })
    }

    /// An operator gives a node a weight: as [`Membership::set_role`].
    pub fn set_weight(
        &mut self,
        node: NodeId,
        clock: Clock,
        author: NodeId,
        weight: Weight,
    ) -> Result<bool, TooManyMembers> {
        self.merge_one(node, &Entry { weight: Some(Register::new(clock, author, weight)), ..Entry::default() })
    }

    /// An operator says where a node is: as [`Membership::set_role`].
    pub fn set_zone(&mut self, node: NodeId, clock: Clock, author: NodeId, zone: Zone) -> Result<bool, TooManyMembers> {
        self.merge_one(node, &Entry { zone: Some(Register::new(clock, author, zone)), ..Entry::default() })
    }

    /// An operator wants a node removed: as [`Membership::set_role`]. What becomes of it, see [`crate::node`].
    pub fn intend_removal(&mut self, node: NodeId, clock: Clock, author: NodeId) -> Result<bool, TooManyMembers> {
        self.merge_one(node, &Entry { removal: Some(Stamp { clock, author }), ..Entry::default() })
    }

    /// An operator wants to hear of a node no more: a tombstone takes the place of whatever is known of it, here and wherever it
    /// is merged.
    pub fn forget(&mut self, node: NodeId, clock: Clock) -> Result<bool, TooManyMembers> {
        self.merge_one(node, &Entry { forgotten: Some(clock), ..Entry::default() })
    }

    /// Takes from `other` every register that is newer there. True when anything changed. With more nodes in both than there may
    /// be nothing changes.
    pub fn merge(&mut self, other: &Self) -> Result<bool, TooManyMembers> {
        let new = other.iter().filter(|(node, _)| !self.entries.contains_key(node)).count();
        if self.len() + new > MEMBERS_MAX {
            return Err(TooManyMembers);
        }
        let mut changed = false;
        for (node, kept) in &other.entries {
            changed |= self.merge_one(*node, &kept.entry)?;
        }
        Ok(changed)
    }

    /// Merges what somebody knows of one node. True when anything changed.
    pub fn merge_one(&mut self, node: NodeId, news: &Entry) -> Result<bool, TooManyMembers> {
        let before = self.entries.get(&node);
        if before.is_none() && !news.is_forgotten() && self.len() >= MEMBERS_MAX {
            return Err(TooManyMembers);
        }
        let mut entry = before.map(|kept| kept.entry.clone()).unwrap_or_default();
        if !entry.merge(news) {
            return Ok(false);
        }
        self.remove(node);
        self.insert(node, entry);
        let has_shed = self.forgotten > FORGOTTEN_MAX && self.shed_oldest() == node;
        Ok(!has_shed)
    }

    /// Among whom partitions are placed: the Active ones.
    #[must_use]
    pub fn placed(&self) -> Vec<Member> {
        self.iter().filter_map(|(node, entry)| entry.placed(node)).collect()
    }

    /// The epoch: the largest clock in the map.
    #[must_use]
    pub fn epoch(&self) -> Clock {
        self.entries.values().map(|kept| kept.entry.clock()).fold(Clock::ZERO, Clock::max)
    }

    /// Equal for equal maps, and for no others that anybody will see.
    #[must_use]
    pub fn digest(&self) -> MapDigest {
        MapDigest(self.digest)
    }

    fn insert(&mut self, node: NodeId, entry: Entry) {
        let stamp = EntryStamp { version: entry.clock().raw(), digest: digest_of(node, &entry) };
        self.digest = self.digest.wrapping_add(stamp.digest);
        self.forgotten += usize::from(entry.is_forgotten());
        self.entries.insert(node, Kept { entry, stamp });
    }

    fn remove(&mut self, node: NodeId) {
        if let Some(kept) = self.entries.remove(&node) {
            self.digest = self.digest.wrapping_sub(kept.stamp.digest);
            self.forgotten -= usize::from(kept.entry.is_forgotten());
        }
    }

    /// The tombstone with the smallest clock goes: the same one on every node that has the same ones.
    fn shed_oldest(&mut self) -> NodeId {
        let tombstones = self.entries.iter().filter(|(_, kept)| kept.entry.is_forgotten());
        let oldest = tombstones.map(|(node, kept)| (kept.stamp.version, *node)).min();
        let (_, node) = oldest.expect("there are more than there may be");
        self.remove(node);
        node
    }
}

fn digest_of(node: NodeId, entry: &Entry) -> u64 {
    let mut bytes = Vec::new();
    entry.encode(&mut bytes);
    let mut hasher = SipHasher13::new_with_keys(DIGEST_KEY.0, DIGEST_KEY.1);
    hasher.write_u64(node.raw());
    hasher.write(&bytes);
    hasher.finish()
}
