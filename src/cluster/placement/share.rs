//! What is fair: how many copies each node would hold if copies could be divided, and how many it may hold at most.
//!
//! A zone's part is what its weight says of all copies, but never less and never more than distinct zones force upon it: of
//! three zones and three copies each holds every partition, whatever it weighs. Inside a zone each node's part is what its
//! weight says of the zone's, but at most one copy of every partition.
//!
//! Invariant: the shares of all nodes add up to all copies, within what each zone and each node can hold; so copies can always be
//! placed within the caps with every zone rule kept.

/// What a node may hold of its fair share, in per cent; but at least one copy more than the whole copies in it.
const CAP_PER_CENT: u128 = 105;

/// How many copies of one partition a zone may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spread {
    pub(crate) least: u32,
    pub(crate) most: u32,
}

/// The spread of each zone for `copies`, at most as many as there are nodes: one copy each in turn, among zones that still have a
/// node, until the copies are out; the last turn is of some zones only.
pub(crate) fn spreads(nodes_of_zones: &[u32], copies: u32) -> Vec<Spread> {
    let in_turns = |turns: u32| nodes_of_zones.iter().map(|nodes| nodes.min(&turns)).sum::<u32>();
    let full = (0..=copies).rev().find(|turns| in_turns(*turns) <= copies).expect("no turn takes no copy");
    let left = copies - in_turns(full);
    let spread = |nodes: &u32| {
        let least = *nodes.min(&full);
        Spread { least, most: if left > 0 && *nodes > full { least + 1 } else { least } }
    };
    nodes_of_zones.iter().map(spread).collect()
}

/// An exact fraction; what it counts are copies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    above: u128,
    below: u128,
}

impl Share {
    /// Whole copies, rounded down.
    pub(crate) fn floor(self) -> u128 {
        self.above / self.below
    }

    /// In thousandths of a copy, rounded down: for reports.
    pub(crate) fn per_mille(self) -> u64 {
        u64::try_from(self.above * 1000 / self.below).expect("a share is at most all partitions")
    }

    /// The most copies that its node holds: 5 % above the share, and at least one above its whole copies, because nodes that may
    /// hold exactly their share can be filled in hardly more than one way, and everything moves when a node joins. Never more
    /// than there are partitions.
    pub(crate) fn cap(self, partitions: u32) -> u32 {
        let cap = (self.above * CAP_PER_CENT / (self.below * 100)).max(self.floor() + 1);
        u32::try_from(cap).map_or(partitions, |cap| cap.min(partitions))
    }
}

/// Divides `total` copies by weight, within the least and the most that each may get. Where these bind, the others divide
/// what is left.
///
/// Each round takes those that the plain division would leave outside of their bounds, on the side on which more is missing, and
/// gives them their bound: so the rest can only come nearer to its own.
fn divide(total: Share, weights: &[u64], bounds: &[(u64, u64)]) -> Vec<Share> {
    let mut fixed: Vec<Option<u64>> = vec![None; weights.len()];
    loop {
        let free: Vec<usize> = (0..weights.len()).filter(|index| fixed[*index].is_none()).collect();
        let taken: u128 = fixed.iter().flatten().map(|part| u128::from(*part)).sum();
        let weight: u128 = free.iter().map(|index| u128::from(weights[*index])).sum();
        let left = total.above.saturating_sub(taken * total.below);
        let below = total.below * weight;
        let plain = |index: usize| left * u128::from(weights[index]);
        let (mut missing, mut over) = (0, 0);
        for index in &free {
            missing += (u128::from(bounds[*index].0) * below).saturating_sub(plain(*index));
            over += plain(*index).saturating_sub(u128::from(bounds[*index].1) * below);
        }
        if missing == 0 && over == 0 {
            let share = |index: usize| match fixed[index] {
                Some(part) => Share { above: u128::from(part), below: 1 },
                None => Share { above: plain(index), below },
            };
            return (0..weights.len()).map(share).collect();
        }
        for index in free {
            let (least, most) = bounds[index];
            if missing > over && plain(index) < u128::from(least) * below {
                fixed[index] = Some(least);
            } else if over >= missing && plain(index) > u128::from(most) * below {
                fixed[index] = Some(most);
            }
        }
    }
}

/// The fair share of every node, in their order: `nodes` are weight and number of the zone, `spreads` are of the zones.
pub(crate) fn shares(nodes: &[(u16, u16)], spreads: &[Spread], partitions: u32, copies: u32) -> Vec<Share> {
    let mut zone_weights = vec![0u64; spreads.len()];
    nodes.iter().for_each(|(weight, zone)| zone_weights[usize::from(*zone)] += u64::from(*weight));
    let of_all = |part: u32| u64::from(part) * u64::from(partitions);
    let bounds: Vec<(u64, u64)> = spreads.iter().map(|zone| (of_all(zone.least), of_all(zone.most))).collect();
    let total = Share { above: u128::from(of_all(copies)), below: 1 };
    let zone_parts = divide(total, &zone_weights, &bounds);
    let mut shares = vec![Share { above: 0, below: 1 }; nodes.len()];
    for (zone, part) in zone_parts.into_iter().enumerate() {
        let inside = |index: &usize| usize::from(nodes[*index].1) == zone;
        let members: Vec<usize> = (0..nodes.len()).filter(inside).collect();
        let weights: Vec<u64> = members.iter().map(|index| u64::from(nodes[*index].0)).collect();
        let one_of_each = vec![(0, of_all(1)); members.len()];
        for (index, share) in members.iter().zip(divide(part, &weights, &one_of_each)) {
            shares[*index] = share;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spread(least: u32, most: u32) -> Spread {
        Spread { least, most }
    }

    /// Zones are the second numbers.
    fn per_mille(nodes: &[(u16, u16)], partitions: u32, copies: u32) -> Vec<u64> {
        let zones = nodes.iter().map(|node| node.1).max().map_or(0, |zone| usize::from(zone) + 1);
        let mut counts = vec![0; zones];
        nodes.iter().for_each(|node| counts[usize::from(node.1)] += 1);
        let shares = shares(nodes, &spreads(&counts, copies), partitions, copies);
        shares.into_iter().map(Share::per_mille).collect()
    }

    #[test]
    fn copies_go_round_the_zones() {
        assert_eq!(spreads(&[4, 4, 4], 3), [spread(1, 1); 3]);
        assert_eq!(spreads(&[4, 4, 4, 4], 3), [spread(0, 1); 4]);
        assert_eq!(spreads(&[9], 3), [spread(3, 3)]);
        assert_eq!(spreads(&[4, 4], 3), [spread(1, 2); 2]);
        assert_eq!(spreads(&[1, 4], 3), [spread(1, 1), spread(2, 2)]);
        assert_eq!(spreads(&[1, 4, 4], 4), [spread(1, 1), spread(1, 2), spread(1, 2)]);
        assert_eq!(spreads(&[1, 1], 2), [spread(1, 1); 2]);
        assert!(spreads(&[], 0).is_empty());
    }

    #[test]
    fn shares_follow_weights_until_zones_forbid_it() {
        assert_eq!(per_mille(&[(100, 0), (100, 0), (200, 0), (200, 0)], 1000, 2), [333_333, 333_333, 666_666, 666_666]);
        // Three zones and three copies: each zone has every partition.
        assert_eq!(
            per_mille(&[(100, 0), (100, 1), (100, 2), (300, 2)], 1000, 3),
            [1_000_000, 1_000_000, 250_000, 750_000]
        );
        // One of four zones would get more than every partition; the others divide the rest.
        assert_eq!(
            per_mille(&[(500, 0), (100, 1), (100, 2), (200, 3)], 1000, 3),
            [1_000_000, 500_000, 500_000, 1_000_000]
        );
        // One heavy node in a zone without rival zones.
        assert_eq!(per_mille(&[(900, 0), (100, 0), (100, 0)], 1000, 2), [1_000_000, 500_000, 500_000]);
        // A light zone of two still holds one copy of each.
        assert_eq!(
            per_mille(&[(10, 0), (10, 0), (100, 1), (100, 1)], 1000, 3),
            [500_000, 500_000, 1_000_000, 1_000_000]
        );
    }

    #[test]
    fn caps_are_5_per_cent_or_one_copy_above() {
        let cap = |above, below| Share { above, below }.cap(1024);
        assert_eq!(cap(3072, 30), 107);
        assert_eq!(cap(3072, 24), 134);
        assert_eq!(cap(5, 1), 6);
        assert_eq!(cap(21, 4), 6);
        assert_eq!(cap(1024, 1), 1024);
    }

    proptest! {
        #[test]
        fn shares_add_up_within_bounds(
            nodes in prop::collection::vec((1..10_000u16, 0..6u16), 1..40),
            copies in 1..7u32,
        ) {
            let copies = copies.min(nodes.len() as u32);
            let partitions = 1024;
            let mut counts = vec![0; 6];
            nodes.iter().for_each(|node| counts[usize::from(node.1)] += 1);
            let spreads = spreads(&counts, copies);
            let shares = shares(&nodes, &spreads, partitions, copies);
            let value = |share: &Share| share.above as f64 / share.below as f64;
            let sum: f64 = shares.iter().map(value).sum();
            prop_assert!((sum - f64::from(partitions * copies)).abs() < 1e-6, "{sum}");
            for (zone, spread) in spreads.iter().enumerate() {
                let inside = nodes.iter().zip(&shares).filter(|(node, _)| usize::from(node.1) == zone);
                let part: f64 = inside.map(|(_, share)| value(share)).sum();
                prop_assert!(part > f64::from(spread.least * partitions) - 1e-6);
                prop_assert!(part < f64::from(spread.most * partitions) + 1e-6);
            }
            prop_assert!(shares.iter().all(|share| value(share) < f64::from(partitions) + 1e-6));
            prop_assert!(shares.iter().all(|share| value(share) > 0.0));
        }
    }
}
