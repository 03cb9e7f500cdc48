//! The Dynamo paper's three strategies of partitioning and placement (section 6.2), computed.
//!
//! 1. *T random tokens per node, partition by token value.* The ranges between tokens are the partitions. Each node keeps S·T tokens.
//! 2. *T random tokens per node, equal-sized partitions.* A partition goes to the first N nodes clockwise from its end. The paper
//!    asks for Q much greater than S·T; here Q = 8·S·T, and each node keeps the tokens and where the partitions are: S·T + Q.
//! 3. *Q/S tokens per node, equal-sized partitions.* Every node has as many partitions as every other, at random places; their copies go to
//!    the next nodes on the ring. Each node keeps Q places.
//!
//! Keys are spread evenly, so a node's load is the part of the key space of which it holds a copy. The paper counts "abstract
//! units"; what it does not say of Strategy 2 is the choice above.
//!
//! Invariant: the same seed gives the same figures.

/// One of the paper's strategies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    RandomTokens,
    TokensAndPartitions,
    EqualTokens,
}

/// Partitions of Strategy 2 for each token.
const PARTITIONS_PER_TOKEN: u64 = 8;

/// One setting and its efficiency.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub parameter: String,
    /// What each node keeps.
    pub units: f64,
    pub mean: f64,
    pub worst: f64,
}

/// A part of the ring: where it ends (64 bits), and the place that it begins at.
type Range = (u64, u64);

impl Strategy {
    pub fn name(self) -> &'static str {
        match self {
            Strategy::RandomTokens => "Strategy 1",
            Strategy::TokensAndPartitions => "Strategy 2",
            Strategy::EqualTokens => "Strategy 3",
        }
    }
}

impl Point {
    pub fn of(parameter: String, units: f64, efficiencies: &[f64]) -> Point {
        let mean = efficiencies.iter().sum::<f64>() / efficiencies.len() as f64;
        let worst = efficiencies.iter().copied().fold(f64::INFINITY, f64::min);
        Point { parameter, units, mean, worst }
    }
}

/// `tokens` per node, T or Q/S.
pub fn efficiency(strategy: Strategy, nodes: u64, tokens: u64, copies: u8, seeds: u64) -> Point {
    let all = nodes * tokens;
    let (parameter, units) = match strategy {
        Strategy::RandomTokens => (format!("T = {tokens}"), all),
        Strategy::TokensAndPartitions => {
            let partitions = PARTITIONS_PER_TOKEN * all;
            (format!("T = {tokens}, Q = {partitions}"), all + partitions)
        }
        Strategy::EqualTokens => (format!("Q = {all}"), all),
    };
    let one = |seed| {
        let mut random = Random(seed);
        let loads = match strategy {
            Strategy::RandomTokens => by_token(nodes, tokens, copies, &mut random),
            Strategy::TokensAndPartitions => by_partition(nodes, tokens, copies, &mut random),
            Strategy::EqualTokens => by_equal_tokens(nodes, tokens, copies, &mut random),
        };
        let greatest = loads.iter().copied().fold(0.0, f64::max);
        loads.iter().sum::<f64>() / nodes as f64 / greatest
    };
    let efficiencies: Vec<f64> = (0..seeds).map(one).collect();
    Point::of(parameter, units as f64, &efficiencies)
}

/// Tokens at random, by place: (place, node).
fn draw_tokens(nodes: u64, tokens: u64, random: &mut Random) -> Vec<(u64, usize)> {
    let mut ring: Vec<(u64, usize)> =
        (0..nodes * tokens).map(|token| (random.next(), (token % nodes) as usize)).collect();
    ring.sort_unstable();
    ring
}

fn by_token(nodes: u64, tokens: u64, copies: u8, random: &mut Random) -> Vec<f64> {
    let ring = draw_tokens(nodes, tokens, random);
    let before = |at: usize| ring[(at + ring.len() - 1) % ring.len()].0;
    // A range ends at its token; the first one wraps around.
    let ranges: Vec<(usize, Range)> = (0..ring.len()).map(|at| (at, (ring[at].0, before(at)))).collect();
    walk(&ring, &ranges, nodes, copies)
}

fn by_partition(nodes: u64, tokens: u64, copies: u8, random: &mut Random) -> Vec<f64> {
    let ring = draw_tokens(nodes, tokens, random);
    let partitions = PARTITIONS_PER_TOKEN * nodes * tokens;
    let end = |partition: u64| (u128::from(partition) * (1 << 64) / u128::from(partitions)) as u64;
    let range = |partition| {
        let first = ring.partition_point(|(place, _)| *place < end(partition)) % ring.len();
        (first, (end(partition), end((partition + partitions - 1) % partitions)))
    };
    let ranges: Vec<(usize, Range)> = (0..partitions).map(range).collect();
    walk(&ring, &ranges, nodes, copies)
}

fn by_equal_tokens(nodes: u64, tokens: u64, copies: u8, random: &mut Random) -> Vec<f64> {
    let mut owners: Vec<usize> = (0..nodes * tokens).map(|token| (token % nodes) as usize).collect();
    for last in (1..owners.len()).rev() {
        owners.swap(last, (random.next() % (last as u64 + 1)) as usize);
    }
    let partitions = owners.len() as u128;
    let end = |at: u128| ((at % partitions) * (1 << 64) / partitions) as u64;
    let ring: Vec<(u64, usize)> = (0..).zip(owners).map(|(at, owner)| (end(at + 1), owner)).collect();
    let ranges: Vec<(usize, Range)> = (0..ring.len()).map(|at| (at, (end(at as u128 + 1), end(at as u128)))).collect();
    walk(&ring, &ranges, nodes, copies)
}

/// Each range goes to the first nodes met from its token on. What each node holds, in parts of the key space.
fn walk(ring: &[(u64, usize)], ranges: &[(usize, Range)], nodes: u64, copies: u8) -> Vec<f64> {
    let mut loads = vec![0.0; nodes as usize];
    let mut met: Vec<usize> = Vec::new();
    for (first, (end, start)) in ranges {
        met.clear();
        let size = if ranges.len() == 1 { 1.0 } else { end.wrapping_sub(*start) as f64 / 2f64.powi(64) };
        for step in 0..ring.len() {
            let node = ring[(first + step) % ring.len()].1;
            if !met.contains(&node) {
                met.push(node);
                loads[node] += size;
            }
            if met.len() == usize::from(copies) {
                break;
            }
        }
    }
    loads
}

/// Splitmix64: enough for drawing tokens.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_places_every_copy() {
        for strategy in [by_token, by_partition, by_equal_tokens] {
            for (nodes, tokens) in [(1, 1), (3, 1), (5, 4), (30, 16)] {
                let loads = strategy(nodes, tokens, 3, &mut Random(9));
                let sum: f64 = loads.iter().sum();
                assert!((sum - 3.min(nodes) as f64).abs() < 1e-6, "{nodes} nodes, {tokens} tokens: {sum}");
            }
        }
    }

    #[test]
    fn more_tokens_are_more_even_and_equal_ones_most() {
        let mean = |strategy, tokens| efficiency(strategy, 30, tokens, 3, 10).mean;
        for strategy in [Strategy::RandomTokens, Strategy::TokensAndPartitions, Strategy::EqualTokens] {
            // With one token each, equal ones are perfectly even: whoever comes next has the copies.
            assert!(mean(strategy, 2) < mean(strategy, 16) && mean(strategy, 16) < mean(strategy, 128));
        }
        assert!(mean(Strategy::EqualTokens, 64) > mean(Strategy::RandomTokens, 64));
    }
}
