//! What a run is made of: how many nodes, cores, clients and keys, how fast everything is, and which limits hold.
//!
//! Invariant: a shape is a function of the seed and the options; limits in it are valid.

use annulus_cluster::event::Quorum;
use annulus_cluster::limits::Limits;

use crate::clock::{Instant, MILLISECOND, SECOND};
use crate::seeds::{Consumer, Random};

/// What clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Everything, over few hot and many cold keys.
    Mixed,
    /// All add elements to one set: read, add, write with the context that was read.
    Set {
        /// How many elements are added in all, and acknowledged.
        adds: u32,
        /// What a client makes of siblings.
        resolution: Resolution,
    },
}

/// What a client makes of siblings when it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// It takes all of them together.
    Union,
    /// It takes the newest for the value and drops the others: what last-writer-wins does.
    Newest,
}

/// The size of everything.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Nodes.
    pub nodes: usize,
    /// Cores of each.
    pub cores: Vec<u16>,
    /// Partitions.
    pub partitions: u16,
    /// Clients.
    pub clients: usize,
    /// Keys that are used all the time.
    pub hot_keys: u32,
    /// Keys that are used now and then.
    pub cold_keys: u32,
    /// Operations on hot keys, in thousandths.
    pub hot_share: u64,
    /// How likely each operation is: see [`crate::workload::Choice`].
    pub weights: [u32; 8],
    /// What most operations ask for.
    pub quorum: Quorum,
    /// Operations that ask for something else, in thousandths.
    pub other_quorums: u64,
    /// Mean pause of a client between operations.
    pub think: Instant,
    /// How long an operation may take.
    pub deadline: Instant,
    /// How long faults go on.
    pub faulty_for: Instant,
    /// How long the cluster has to become well again.
    pub heal_for: Instant,
    /// Least and mean additional latency of a packet.
    pub latency: (Instant, Instant),
    /// Longest value.
    pub value_bytes_max: u64,
    /// What clients do.
    pub work: Work,
    /// The protocol's.
    pub limits: Limits,
}

/// Mean pause, deadline and how long faults go on.
const PACE: [(Instant, Instant, Instant); 3] = [
    (8 * MILLISECOND, 150 * MILLISECOND, 4 * SECOND),
    (15 * MILLISECOND, 300 * MILLISECOND, 6 * SECOND),
    (30 * MILLISECOND, SECOND, 10 * SECOND),
];

impl Shape {
    /// The shape of a seed.
    #[must_use]
    pub fn of(seed: u64, work: Work) -> Self {
        let mut random = Random::new(seed, Consumer::Shape, 0);
        let nodes = [3, 3, 4, 5, 5, 6, 7][random.index(7)];
        let cores = (0..nodes).map(|_| [1, 1, 2, 3][random.index(4)]).collect();
        let (think, deadline, faulty_for) = *random.pick(&PACE);
        let n = (*random.pick(&[3, 3, 3, 3, 3, 2, 1, 5])).min(u8::try_from(nodes).expect("few nodes"));
        let quorum = quorum(&mut random, n);
        let mut shape = Self {
            nodes,
            cores,
            partitions: *random.pick(&[4, 8, 16]),
            clients: usize::try_from(random.between(2, 8)).expect("few clients"),
            hot_keys: u32::try_from(random.between(1, 4)).expect("few keys"),
            cold_keys: u32::try_from(random.between(20, 200)).expect("few keys"),
            hot_share: random.between(300, 900),
            weights: std::array::from_fn(|_| u32::try_from(random.between(0, 10)).expect("small")),
            quorum,
            other_quorums: *random.pick(&[0, 0, 100, 500]),
            think,
            deadline,
            faulty_for,
            heal_for: 60 * SECOND,
            latency: *random.pick(&[(50, 150), (200, 500), (1_000, 3_000)]),
            value_bytes_max: *random.pick(&[12, 40, 200]),
            work,
            limits: limits(&mut random),
        };
        // Somebody reads, and somebody writes.
        shape.weights[0] += 3;
        shape.weights[1] += 3;
        if let Work::Set { .. } = work {
            (shape.nodes, shape.cores, shape.clients) = (5, vec![2; 5], 5);
            (shape.hot_keys, shape.cold_keys, shape.other_quorums) = (1, 1, 0);
            shape.quorum = Quorum { n: 3, r: 2, w: 2, pr: 0, pw: 0, dw: 2 };
            (shape.think, shape.deadline) = (15 * MILLISECOND, 300 * MILLISECOND);
            // At most: until all is added.
            shape.faulty_for = 600 * SECOND;
            shape.limits = Limits::default();
        }
        shape.limits.assert_valid();
        shape
    }

    /// Whether owners that have missed a write learn of it by reads: their turn to be compared does not come in this run.
    #[must_use]
    pub fn needs_reads(&self) -> bool {
        self.limits.exchange_interval_us > self.heal_for
    }

    /// A quorum that an operation asks for.
    pub fn draw_quorum(&self, random: &mut Random) -> Quorum {
        if random.per_mille(self.other_quorums) { quorum(random, self.quorum.n) } else { self.quorum }
    }
}

/// Default, strict, lax, or lopsided, for so many copies.
fn quorum(random: &mut Random, n: u8) -> Quorum {
    let most = n / 2 + 1;
    let quorums = [
        (most, most, 0, 0),
        (most, most, 0, 0),
        (most, most, most, most),
        (1, 1, 0, 0),
        (1, n, 0, 0),
        (n, 1, 0, 0),
        (1, most, 1, 1),
    ];
    let (r, w, pr, pw) = *random.pick(&quorums);
    Quorum { n, r, w, pr, pw, dw: w }
}

fn limits(random: &mut Random) -> Limits {
    let siblings_max = *random.pick(&[4, 16, 64]);
    Limits {
        requests_max: *random.pick(&[8, 64, 4096]),
        replica_operations_max: *random.pick(&[8, 64, 4096]),
        siblings_warn: siblings_max / 2,
        siblings_max,
        hints_in_flight_max: *random.pick(&[1, 4, 128]),
        hints_per_target_max: *random.pick(&[4, 1 << 20, 1 << 20]),
        read_repairs_per_second: *random.pick(&[5, 100, 1000]),
        reroute_after_us: *random.pick(&[5_000, 20_000, 100_000]),
        hint_timeout_us: *random.pick(&[20_000, 200_000, 1_000_000]),
        hint_backoff_us: *random.pick(&[(5_000, 50_000), (100_000, 2_000_000)]),
        hint_scan_us: *random.pick(&[20_000, 200_000, 1_000_000]),
        avoid_us: *random.pick(&[20_000, 200_000, 1_000_000]),
        forwarders_max: *random.pick(&[8, 4096]),
        exchange_interval_us: *random.pick(&[300_000, 500_000, 2_000_000, 3_600_000_000]),
        exchanges_max: *random.pick(&[1, 2]),
        exchange_timeout_us: *random.pick(&[50_000, 300_000]),
        exchange_epoch_bits: *random.pick(&[6, 8]),
        exchange_keys_per_message: *random.pick(&[1, 2, 512]),
        exchange_objects_per_second: *random.pick(&[50, 2_000]),
        dirty_pairs_max: *random.pick(&[4, 1024]),
        ..Limits::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_repeat_and_differ() {
        let text = |seed| format!("{:?}", Shape::of(seed, Work::Mixed));
        assert_eq!(text(5), text(5));
        let different: std::collections::BTreeSet<String> = (0..50).map(text).collect();
        assert_eq!(different.len(), 50);
    }
}
