//! N, R, W and DW: as they are wanted, and as they are in force among the members that there are.
//!
//! Invariant: what is in force is at least 1 and at most the number of copies; who answers does not matter to it.

use crate::cluster_view::ClusterView;
use crate::config::QuorumConfig;

/// Numbers of copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorums {
    /// N: copies of a key.
    pub copies: u8,
    /// R: copies that answer a read.
    pub read: u8,
    /// W: copies that acknowledge a write.
    pub write: u8,
    /// DW: of these, copies on stable storage.
    pub durable: u8,
}

impl Default for Quorums {
    fn default() -> Self {
        Self { copies: 3, read: 2, write: 2, durable: 2 }
    }
}

impl Quorums {
    /// As a node is configured.
    #[must_use]
    pub fn of(config: &QuorumConfig) -> Self {
        Self { copies: config.copies, read: config.read, write: config.write, durable: config.durable }
    }

    /// What of these is in force: no more than there are copies.
    #[must_use]
    pub fn in_force(self, view: &ClusterView) -> Self {
        let copies = u8::try_from(view.copies).unwrap_or(u8::MAX).max(1);
        let cap = |wanted: u8| wanted.clamp(1, copies);
        Self { copies, read: cap(self.read), write: cap(self.write), durable: self.durable.min(copies) }
    }
}

#[cfg(test)]
mod tests {
    use annulus_cluster::membership::Role;

    use super::*;
    use crate::cluster_view::example;

    #[test]
    fn capped_by_members_never_by_who_is_up() {
        for (count, expected) in [(1, (1, 1, 1, 1)), (2, (2, 2, 2, 2)), (3, (3, 2, 2, 2)), (5, (3, 2, 2, 2))] {
            let members: Vec<_> =
                (1..=count).map(|number| example::member(number, 1, Role::Active, number == 1)).collect();
            let in_force = Quorums::default().in_force(&example::view(1, 1, 8, 3, &members));
            let Quorums { copies, read, write, durable } = in_force;
            assert_eq!((copies, read, write, durable), expected);
        }
        let alone = example::view(1, 1, 8, 3, &[example::member(1, 1, Role::Joining, true)]);
        let wanted = Quorums { copies: 3, read: 3, write: 3, durable: 0 };
        assert_eq!(wanted.in_force(&alone), Quorums { copies: 1, read: 1, write: 1, durable: 0 });
    }
}
