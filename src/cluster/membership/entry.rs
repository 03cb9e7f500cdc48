//! All that is known of one node, and how what two maps say of it becomes one.
//!
//! Every field that one party writes is a register of its own in which the last writer wins: what the node announces (where it
//! is reached, its incarnation, what it holds) is one, and its role, its weight and its zone are one each (rule S13). So an
//! address that changes does not undo a removal, and automation that lowers a weight does not undo a Leaving. Nothing in a
//! value, least of all an incarnation, decides which of two is kept.
//!
//! To be forgotten is final: it takes the place of everything, however late that was written.
//!
//! Invariant: merging is commutative, associative and idempotent; the largest clock of the merged entry is the larger one of
//! both; a tombstone has no registers.

use annulus_object::Clock;

use super::register::{self, Register, Stamp};
use super::{Announced, Role, Weight, Zone};
use crate::ids::NodeId;
use crate::mutation::{Mutation, mutated};
use crate::placement::Member;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    pub(super) announced: Option<Register<Announced>>,
    /// The greatest incarnation that it ever announced; 0 where it has announced nothing.
    pub(super) incarnation_most: u16,
    pub(super) role: Option<Register<Role>>,
    pub(super) weight: Option<Register<Weight>>,
    pub(super) zone: Option<Register<Zone>>,
    /// When and where somebody wanted the node removed last.
    pub(super) removal: Option<Stamp>,
    /// It is a tombstone, and the largest clock of what it took the place of and its own.
    pub(super) forgotten: Option<Clock>,
}

impl Entry {
    /// What the node says of itself; `None` while only operators have spoken of it.
    #[must_use]
    pub fn announced(&self) -> Option<&Announced> {
        self.announced.as_ref().map(|register| &register.value)
    }

    /// The greatest incarnation that the node ever announced, 0 if none. It may have forgotten that, and announced smaller ones
    /// since; it must not use them (rule S1).
    #[must_use]
    pub fn incarnation_most(&self) -> u16 {
        self.incarnation_most
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

    /// When and by whom its removal was wanted, unless its role was given later.
    #[must_use]
    pub fn removal(&self) -> Option<Stamp> {
        self.removal.filter(|removal| self.role_at().is_none_or(|role| role < *removal))
    }

    /// Whether it is a tombstone.
    #[must_use]
    pub fn is_forgotten(&self) -> bool {
        self.forgotten.is_some()
    }

    /// The node as [`crate::placement`] wants it; `None` unless it is Active.
    #[must_use]
    pub fn placed(&self, node: NodeId) -> Option<Member> {
        let is_placed = self.role() == Role::Active;
        is_placed.then(|| Member { node, weight: self.weight(), zone: self.zone() })
    }

    /// The largest clock of its registers.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let stamps = [
            self.announced.as_ref().map(|register| register.stamp),
            self.role.as_ref().map(|register| register.stamp),
            self.weight.as_ref().map(|register| register.stamp),
            self.zone.as_ref().map(|register| register.stamp),
            self.removal,
        ];
        let clocks = stamps.iter().flatten().map(|stamp| stamp.clock).chain(self.forgotten);
        clocks.fold(Clock::ZERO, Clock::max)
    }

    /// Takes every register that is newer in `other`. True when that changed anything.
    pub(super) fn merge(&mut self, other: &Self) -> bool {
        if self.is_forgotten() || other.is_forgotten() {
            return self.merge_forgotten(other);
        }
        if mutated(Mutation::WholeEntryLastWriterWins) {
            let is_newer = other.clock() > self.clock();
            if is_newer {
                *self = other.clone();
            }
            return is_newer;
        }
        let announced = register::merge(&mut self.announced, other.announced.as_ref());
        let role = register::merge(&mut self.role, other.role.as_ref());
        let weight = register::merge(&mut self.weight, other.weight.as_ref());
        let zone = register::merge(&mut self.zone, other.zone.as_ref());
        let removal = other.removal > self.removal;
        self.removal = self.removal.max(other.removal);
        let incarnation_most = other.incarnation_most > self.incarnation_most;
        self.incarnation_most = self.incarnation_most.max(other.incarnation_most);
        announced | incarnation_most | role | weight | zone | removal
    }

    /// One of both is a tombstone.
    fn merge_forgotten(&mut self, other: &Self) -> bool {
        if mutated(Mutation::ForgottenComesBack) && !other.is_forgotten() && other.clock() > self.clock() {
            *self = other.clone();
            return true;
        }
        let clock = self.clock().max(other.clock());
        let is_news = self.forgotten != Some(clock);
        *self = Self { forgotten: Some(clock), ..Self::default() };
        is_news
    }
}
