//! Founding: so many nodes with empty directories become a cluster once they see each other.
//!
//! Every founder says so in its announcement, and makes itself Active when it sees as many founders as are wanted, itself one of
//! the chosen: those that are Active already, then those with the smallest numbers. It goes on saying so until it sees that many
//! Active members, so that whoever saw the others later still counts it.
//!
//! ```text
//!  founder, Joining ──▶ sees N founders ──▶ Active ──▶ sees N Active ──▶ founds no more
//!        └─▶ sees that it is done without it ──▶ stays Joining, founds no more
//! ```
//!
//! There is no vote: founders that see different ones at one moment may become one more than N. They are members as good as
//! any.
//!
//! Invariant: a node that does not found never makes itself Active here.

use annulus_cluster::ids::NodeId;
use annulus_cluster::membership::{Entry, Membership, Role};

use crate::node::Node;

/// What a founder is to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Wait: so many founders were seen, this one included.
    Wait {
        /// How many.
        seen: u8,
    },
    /// Make itself Active.
    Join,
    /// The cluster stands, and this node is one of it.
    Done,
    /// The cluster stands without this node, which stays Joining.
    Late,
}

/// What the founder `own` is to do, who wants as many as `wanted`. `is_up` tells who answers.
pub(super) fn step(map: &Membership, own: NodeId, wanted: u8, is_up: impl Fn(NodeId) -> bool) -> Step {
    let role = map.get(own).map_or(Role::Joining, Entry::role);
    if matches!(role, Role::Leaving | Role::Removed) {
        return Step::Done;
    }
    let founds = |entry: &Entry| entry.announced().is_some_and(|announced| announced.founding == wanted);
    let active = map.iter().filter(|(_, entry)| entry.role() == Role::Active);
    let (mut members, mut is_founded) = (0, false);
    for (_, entry) in active {
        members += 1;
        is_founded |= !founds(entry);
    }
    let wanted = usize::from(wanted);
    match role {
        Role::Active if members >= wanted || is_founded => return Step::Done,
        Role::Joining if members >= wanted || is_founded => return Step::Late,
        _ => {}
    }
    let is_there = |node: NodeId, entry: &Entry| entry.role() == Role::Active || node == own || is_up(node);
    let founders = map.iter().filter(|(node, entry)| founds(entry) && is_there(*node, entry));
    let mut founders: Vec<(bool, NodeId)> =
        founders.map(|(node, entry)| (entry.role() != Role::Active, node)).collect();
    founders.sort_unstable();
    let is_chosen = founders.iter().take(wanted).any(|(_, node)| *node == own);
    if role == Role::Joining && founders.len() >= wanted && is_chosen {
        return Step::Join;
    }
    Step::Wait { seen: u8::try_from(founders.len().min(wanted)).expect("at most as many as are wanted") }
}

/// Why nobody can be asked for a key while there is no owner, for clients: the rest of an error's line.
pub fn why_unowned(node: &Node) -> String {
    match node.founding() {
        Some((seen, wanted)) => {
            format!("CLUSTERDOWN the cluster is not founded yet: {seen} of {wanted} nodes seen")
        }
        None => {
            "CLUSTERDOWN no member of the cluster owns anything yet: `annulus admin join` makes one Active".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use annulus_cluster::membership::{Announced, Endpoint, Holdings};
    use annulus_object::Clock;

    use super::*;

    fn node(number: u64) -> NodeId {
        NodeId::new(number)
    }

    /// Members by number: with how many they found, and whether they are Active.
    fn map(members: &[(u64, u8, bool)]) -> Membership {
        let mut map = Membership::default();
        let clock = Clock::from_raw(7).unwrap();
        for (number, founding, is_active) in members {
            let announced = Announced {
                peers: Endpoint { host: "h".into(), port: 1 },
                clients: Endpoint { host: "h".into(), port: 1 },
                cores: 1,
                incarnation: 1,
                version: 1,
                founding: *founding,
                holdings: Holdings::default(),
            };
            map.announce(node(*number), clock, announced).unwrap();
            if *is_active {
                map.set_role(node(*number), clock, node(*number), Role::Active).unwrap();
            }
        }
        map
    }

    fn of(own: u64, members: &[(u64, u8, bool)]) -> Step {
        step(&map(members), node(own), 3, |_| true)
    }

    #[test]
    fn a_founder_waits_for_the_others_and_becomes_active_with_them() {
        assert_eq!(of(1, &[(1, 3, false)]), Step::Wait { seen: 1 });
        assert_eq!(of(1, &[(1, 3, false), (2, 3, false), (4, 0, false)]), Step::Wait { seen: 2 });
        let three = [(1, 3, false), (2, 3, false), (3, 3, false)];
        assert!((1..=3).all(|own| of(own, &three) == Step::Join));
        assert_eq!(step(&map(&three), node(1), 3, |other| other != node(2)), Step::Wait { seen: 2 });
        assert_eq!(
            of(1, &[(1, 3, false), (2, 3, false), (3, 2, false)]),
            Step::Wait { seen: 2 },
            "it wants another number"
        );
    }

    #[test]
    fn whoever_sees_the_others_later_goes_on() {
        // The first is Active, and one of them is not seen yet.
        assert_eq!(of(2, &[(1, 3, true), (2, 3, false)]), Step::Wait { seen: 2 });
        assert_eq!(of(2, &[(1, 3, true), (2, 3, false), (3, 3, false)]), Step::Join);
        assert_eq!(of(1, &[(1, 3, true), (2, 3, false), (3, 3, false)]), Step::Wait { seen: 3 });
        assert_eq!(of(1, &[(1, 3, true), (2, 3, true), (3, 3, true)]), Step::Done);
        // The others have seen it done.
        assert_eq!(of(1, &[(1, 3, true), (2, 0, true)]), Step::Done);
    }

    #[test]
    fn one_too_many_is_no_founder() {
        let four = [(1, 3, false), (2, 3, false), (3, 3, false), (4, 3, false)];
        assert_eq!(of(4, &four), Step::Wait { seen: 3 });
        // Who is Active is chosen before who is not.
        assert_eq!(of(3, &[(1, 3, false), (2, 3, false), (3, 3, false), (4, 3, true)]), Step::Wait { seen: 3 });
        assert_eq!(of(4, &[(1, 3, true), (2, 3, true), (3, 3, true), (4, 3, false)]), Step::Late);
        assert_eq!(of(4, &[(1, 0, true), (4, 3, false)]), Step::Late, "a cluster that stands");
    }
}
