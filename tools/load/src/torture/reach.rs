//! Which nodes could reach enough others, and when: what the fault driver did, as a function of time.
//!
//! Invariant: a node counts as cut off from the instant before a fault begins until the instant after it ended, so that an
//! attempt which met the fault is never taken for one that did not.

/// How each node is connected at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links {
    up: Vec<bool>,
    /// `cut[from][to]`: nothing passes that way.
    cut: Vec<Vec<bool>>,
}

impl Links {
    /// All up, nothing cut.
    pub fn sound(nodes: usize) -> Self {
        Self { up: vec![true; nodes], cut: vec![vec![false; nodes]; nodes] }
    }

    /// A node runs, or does not.
    pub fn set_up(&mut self, node: usize, is_up: bool) {
        self.up[node] = is_up;
    }

    /// Cuts, or mends, what goes from this node to all others, or what comes from them.
    pub fn set_cut(&mut self, node: usize, outwards: bool, inwards: bool, is_cut: bool) {
        for other in (0..self.up.len()).filter(|other| *other != node) {
            if outwards {
                self.cut[node][other] = is_cut;
            }
            if inwards {
                self.cut[other][node] = is_cut;
            }
        }
    }

    /// Whether `node` runs and has `wanted` running nodes that it can talk with both ways, itself among them.
    pub fn reaches(&self, node: usize, wanted: usize) -> bool {
        let talks = |other: usize| self.up[other] && !self.cut[node][other] && !self.cut[other][node];
        self.up[node] && (0..self.up.len()).filter(|other| *other == node || talks(*other)).count() >= wanted
    }
}

/// The links over time.
#[derive(Debug, Clone)]
pub struct Reach {
    /// From each instant on, nanoseconds since the run began; ascending.
    spans: Vec<(u64, Links)>,
    wanted: usize,
}

impl Reach {
    /// Sound from the beginning; a write needs `wanted` nodes.
    pub fn new(nodes: usize, wanted: usize) -> Self {
        Self { spans: vec![(0, Links::sound(nodes))], wanted }
    }

    /// The links as they are now.
    pub fn last(&self) -> &Links {
        &self.spans.last().expect("it has a beginning").1
    }

    /// From `at_ns` on the links are like this.
    pub fn change(&mut self, at_ns: u64, links: Links) {
        assert!(self.spans.last().is_some_and(|(last, _)| *last <= at_ns), "time goes on");
        self.spans.push((at_ns, links));
    }

    /// Whether every node that a client was tied to within `from..=to` reached enough others all the time. `nodes` says from
    /// which instant on it was tied to which.
    pub fn holds(&self, nodes: &[(u64, usize)], from: u64, to: u64) -> bool {
        let node_at = |at: u64| nodes[nodes.partition_point(|(since, _)| *since <= at).saturating_sub(1)].1;
        let links_at = |at: u64| &self.spans[self.spans.partition_point(|(since, _)| *since <= at).max(1) - 1].1;
        let inner = |since: &u64| from < *since && *since <= to;
        let changes = self.spans.iter().map(|(since, _)| *since).chain(nodes.iter().map(|(since, _)| *since));
        let mut instants = std::iter::once(from).chain(changes.filter(inner));
        instants.all(|at| links_at(at).reaches(node_at(at), self.wanted))
    }

    /// The share of the time, over all nodes, in which a node reached enough others.
    pub fn share(&self, until_ns: u64) -> f64 {
        let nodes = self.last().up.len();
        let mut covered = 0;
        for (index, (since, links)) in self.spans.iter().enumerate() {
            let end = self.spans.get(index + 1).map_or(until_ns, |(next, _)| *next).min(until_ns);
            let reaching = (0..nodes).filter(|node| links.reaches(*node, self.wanted)).count() as u64;
            covered += end.saturating_sub(*since) * reaching;
        }
        if until_ns == 0 { 1.0 } else { covered as f64 / (until_ns as f64 * nodes as f64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_nodes_are_those_that_talk_both_ways() {
        let mut links = Links::sound(3);
        assert!(links.reaches(0, 3));
        links.set_cut(1, true, false, true);
        assert_eq!([0, 1, 2].map(|node| links.reaches(node, 2)), [true, false, true]);
        links.set_up(2, false);
        assert_eq!([0, 1, 2].map(|node| links.reaches(node, 2)), [false; 3]);
        assert!(links.reaches(0, 1) && !links.reaches(2, 1));
        links.set_cut(1, true, true, false);
        assert_eq!([0, 1, 2].map(|node| links.reaches(node, 2)), [true, true, false]);
    }

    #[test]
    fn an_attempt_that_touches_a_fault_is_told_apart() {
        let mut reach = Reach::new(3, 2);
        let mut links = Links::sound(3);
        links.set_up(1, false);
        reach.change(100, links.clone());
        links.set_up(1, true);
        reach.change(200, links);
        let at_home = [(0, 1)];
        let holds = |nodes: &[(u64, usize)], from, to| reach.holds(nodes, from, to);
        assert!(holds(&at_home, 0, 99) && holds(&at_home, 200, 300));
        assert!(!holds(&at_home, 0, 100) && !holds(&at_home, 150, 160) && !holds(&at_home, 199, 300));
        assert!(holds(&[(0, 0)], 0, 300), "another node's fault is no excuse");
        assert!(!holds(&[(0, 1), (120, 0)], 110, 130), "it began at the dead node");
        assert!(holds(&[(0, 1), (120, 0)], 120, 150), "and went to another one");
        assert!((reach.share(200) - (3.0 * 100.0 + 2.0 * 100.0) / 600.0).abs() < 1e-9);
    }
}
