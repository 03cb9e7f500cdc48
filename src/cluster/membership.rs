//! The map of the cluster: which nodes exist, what each says of itself, and what operators have said of it.
//!
//! Every field that one party writes is a register of its own in which the last writer wins: what a node announces (where it is
//! reached, its incarnation, what it holds) is one, and its role, its weight and its zone are one each (rule S13). So an
//! address that changes does not undo a removal, and automation that lowers a weight does not undo a Leaving. A
//! register's stamp is the clock and the node at which it was written; nothing in a value, least of all an incarnation, decides
//! which of two is kept.
//!
//! It is not the failure detector: a node that does not answer is as much a member as before. It does not
//! choose owners either; [`crate::placement`] does, from [`Membership::placed`].
//!
//! Invariants: merging is commutative, associative and idempotent; no more than [`MEMBERS_MAX`] nodes; an entry has at least one
//! register; only a node itself is the author of what it announces.

mod codec;
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
use crate::limits::MEMBERS_MAX;
use crate::placement::Member;

pub use codec::UnverifiedMembership;
pub use error::{MapError, TooManyMembers};
pub use fields::{Announced, Endpoint, HOST_BYTES_MAX, Holdings, Role, WEIGHT_MAX, Weight, ZONE_BYTES_MAX, Zone};
pub use register::{Register, Stamp};

/// "annulus: " and "members"; only for telling maps apart.
const DIGEST_KEY: (u64, u64) = (0x616e_6e75_6c75_733a, 0x6d65_6d62_6572_7300);

/// All that is known of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    announced: Option<Register<Announced>>,
    role: Option<Register<Role>>,
    weight: Option<Register<Weight>>,
    zone: Option<Register<Zone>>,
}

/// What a map is recognised by: maps with the same digest are equal. Unlike a ring's fingerprint it covers every field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapDigest(pub u64);

/// The map: see the module. The default knows nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    entries: BTreeMap<NodeId, Entry>,
}

impl Entry {
    /// What the node says of itself; `None` while only operators have spoken of it.
    #[must_use]
    pub fn announced(&self) -> Option<&Announced> {
        self.announced.as_ref().map(|register| &register.value)
    }

    /// When and by whom that was written.
    #[must_use]
    pub fn announced_at(&self) -> Option<Stamp> {
        self.announced.as_ref().map(|register| register.stamp)
    }

    /// Its role; Joining until somebody gives it one.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role.as_ref().map_or(Role::Joining, |register| register.value)
    }

    /// When and by whom its role was given.
    #[must_use]
    pub fn role_at(&self) -> Option<Stamp> {
        self.role.as_ref().map(|register| register.stamp)
    }

    /// Its weight.
    #[must_use]
    pub fn weight(&self) -> Weight {
        self.weight.as_ref().map_or(Weight::default(), |register| register.value)
    }

    /// Its zone; the one without a name until somebody names it.
    #[must_use]
    pub fn zone(&self) -> Zone {
        self.zone.as_ref().map_or(Zone::default(), |register| register.value)
    }

    /// The largest clock of its registers.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let stamps = [
            self.announced.as_ref().map(|register| register.stamp),
            self.role.as_ref().map(|register| register.stamp),
            self.weight.as_ref().map(|register| register.stamp),
            self.zone.as_ref().map(|register| register.stamp),
        ];
        stamps.iter().flatten().map(|stamp| stamp.clock).fold(Clock::ZERO, Clock::max)
    }

    fn is_empty(&self) -> bool {
        self.announced.is_none() && self.role.is_none() && self.weight.is_none() && self.zone.is_none()
    }

    fn merge(&mut self, other: &Self) -> bool {
        let announced = register::merge(&mut self.announced, other.announced.as_ref());
        let role = register::merge(&mut self.role, other.role.as_ref());
        let weight = register::merge(&mut self.weight, other.weight.as_ref());
        let zone = register::merge(&mut self.zone, other.zone.as_ref());
        announced | role | weight | zone
    }

    /// The registers that merging into `other` would change there.
    fn newer_than(&self, other: &Self) -> Self {
        Self {
            announced: register::newer(self.announced.as_ref(), other.announced.as_ref()),
            role: register::newer(self.role.as_ref(), other.role.as_ref()),
            weight: register::newer(self.weight.as_ref(), other.weight.as_ref()),
            zone: register::newer(self.zone.as_ref(), other.zone.as_ref()),
        }
    }
}

impl Membership {
    /// Every node, by id.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Entry)> {
        self.entries.iter().map(|(node, entry)| (*node, entry))
    }

    /// One node.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Option<&Entry> {
        self.entries.get(&node)
    }

    /// How many nodes are known, removed ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A node says how it is reached and what it holds. True when that is news: see [`Membership::set_role`] on `clock`.
    pub fn announce(&mut self, node: NodeId, clock: Clock, announced: Announced) -> Result<bool, TooManyMembers> {
        assert!(announced.is_valid(), "a node announces what others accept: {announced:?}");
        let announced = Some(Register::new(clock, node, announced));
        self.write(node, &Entry { announced, ..Entry::default() })
    }

    /// An operator gives a node a role, at the node `author`. True when that is news, false when the register was written
    /// at a later clock; who stamps above [`Membership::epoch`] always makes news.
    pub fn set_role(&mut self, node: NodeId, clock: Clock, author: NodeId, role: Role) -> Result<bool, TooManyMembers> {
        self.write(node, &Entry { role: Some(Register::new(clock, author, role)), ..Entry::default() })
    }

    /// An operator gives a node a weight: as [`Membership::set_role`].
    pub fn set_weight(
        &mut self,
        node: NodeId,
        clock: Clock,
        author: NodeId,
        weight: Weight,
    ) -> Result<bool, TooManyMembers> {
        self.write(node, &Entry { weight: Some(Register::new(clock, author, weight)), ..Entry::default() })
    }

    /// An operator says where a node is: as [`Membership::set_role`].
    pub fn set_zone(&mut self, node: NodeId, clock: Clock, author: NodeId, zone: Zone) -> Result<bool, TooManyMembers> {
        self.write(node, &Entry { zone: Some(Register::new(clock, author, zone)), ..Entry::default() })
    }

    /// Takes from `other` every register that is newer there. True when anything changed. With more nodes in both than there may
    /// be nothing changes.
    pub fn merge(&mut self, other: &Self) -> Result<bool, TooManyMembers> {
        let new = other.entries.keys().filter(|node| !self.entries.contains_key(node)).count();
        self.make_room(new)?;
        let mut changed = false;
        for (node, entry) in &other.entries {
            changed |= self.entries.entry(*node).or_default().merge(entry);
        }
        Ok(changed)
    }

    /// What `other` lacks: a map of those registers alone, to be merged there.
    #[must_use]
    pub fn newer_than(&self, other: &Self) -> Self {
        let nothing = Entry::default();
        let news = |(node, entry): (&NodeId, &Entry)| {
            let news = entry.newer_than(other.entries.get(node).unwrap_or(&nothing));
            (!news.is_empty()).then_some((*node, news))
        };
        Self { entries: self.entries.iter().filter_map(news).collect() }
    }

    /// Among whom partitions are placed: the Active ones.
    #[must_use]
    pub fn placed(&self) -> Vec<Member> {
        let active = self.iter().filter(|(_, entry)| entry.role() == Role::Active);
        active.map(|(node, entry)| Member { node, weight: entry.weight(), zone: entry.zone() }).collect()
    }

    /// The epoch: the largest clock in the map.
    #[must_use]
    pub fn epoch(&self) -> Clock {
        self.entries.values().map(Entry::clock).fold(Clock::ZERO, Clock::max)
    }

    /// Equal for equal maps, and for no others that anybody will see.
    #[must_use]
    pub fn digest(&self) -> MapDigest {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        let mut hasher = SipHasher13::new_with_keys(DIGEST_KEY.0, DIGEST_KEY.1);
        hasher.write(&bytes);
        MapDigest(hasher.finish())
    }

    fn write(&mut self, node: NodeId, news: &Entry) -> Result<bool, TooManyMembers> {
        self.make_room(usize::from(!self.entries.contains_key(&node)))?;
        Ok(self.entries.entry(node).or_default().merge(news))
    }

    fn make_room(&self, nodes: usize) -> Result<(), TooManyMembers> {
        if self.entries.len() + nodes <= MEMBERS_MAX { Ok(()) } else { Err(TooManyMembers) }
    }
}
