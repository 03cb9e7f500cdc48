//! Which partitions a core has: a range of the cluster's, and behind the cluster's last one for each node that it keeps hints
//! for.
//!
//! Invariant: a partition keeps its slot; slots count from 0, those of the range first.

use std::ops::Range;

/// Partitions, and where each is in tables over all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partitions {
    owned: Range<u16>,
    hints_from: u16,
    hints: u16,
}

impl Partitions {
    /// Those of a range; partitions of hints, of which there are none yet, are numbered from `hints_from` on, which is behind
    /// the range (asserted).
    pub(crate) fn new(owned: Range<u16>, hints_from: u16) -> Self {
        assert!(owned.end <= hints_from, "partitions of hints are behind the cluster's");
        Self { owned, hints_from, hints: 0 }
    }

    /// The range.
    pub(crate) fn owned(&self) -> Range<u16> {
        self.owned.clone()
    }

    /// Those of hints.
    pub(crate) fn hints(&self) -> Range<u16> {
        self.hints_from..self.hints_from + self.hints
    }

    /// All of them, by slot.
    pub(crate) fn all(&self) -> impl Iterator<Item = u16> + use<> {
        self.owned().chain(self.hints())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.owned.len() + usize::from(self.hints)
    }

    /// Whether a partition is one of them.
    pub(crate) fn contains(&self, partition: u16) -> bool {
        self.owned.contains(&partition) || self.hints().contains(&partition)
    }

    /// Whether a partition is for hints, this core's or not.
    #[inline]
    pub(crate) fn is_hints(&self, partition: u16) -> bool {
        partition >= self.hints_from
    }

    /// Where a partition is in tables over all; somewhere behind them if it is none of these.
    #[inline]
    pub(crate) fn slot(&self, partition: u16) -> usize {
        let index = partition.wrapping_sub(self.owned.start);
        let owned = self.owned.end - self.owned.start;
        if index < owned {
            return usize::from(index);
        }
        usize::from(owned) + usize::from(partition.wrapping_sub(self.hints_from))
    }

    /// One more for hints; `None` when no number is left.
    pub(crate) fn add_hints(&mut self) -> Option<u16> {
        let partition = self.hints_from.checked_add(self.hints).filter(|partition| *partition < u16::MAX)?;
        self.hints += 1;
        Some(partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_a_list_of_all() {
        let mut partitions = Partitions::new(4..7, 16);
        assert_eq!((partitions.add_hints(), partitions.add_hints()), (Some(16), Some(17)));
        let all: Vec<u16> = partitions.all().collect();
        assert_eq!(all, [4, 5, 6, 16, 17]);
        for partition in 0..=u16::MAX {
            let slot = all.iter().position(|other| *other == partition);
            assert_eq!(partitions.contains(partition), slot.is_some());
            match slot {
                Some(slot) => assert_eq!(partitions.slot(partition), slot),
                None => assert!(partitions.slot(partition) >= partitions.len()),
            }
        }
        let mut last = Partitions::new(0..4, u16::MAX - 1);
        assert_eq!((last.add_hints(), last.add_hints()), (Some(u16::MAX - 1), None));
    }
}
