//! How the control plane grows with the cluster: up to a thousand nodes of the production failure detector, gossip and
//! membership exchange under virtual time.
//!
//! Every node is a [`annulus_cluster::node::ControlNode`] with its own map, in which everybody is Active. The network delays and loses by seed ([`world`]). Of each size are measured ([`measure`]): bytes per
//! node and second while nothing happens, the time until a death is noticed, and the time until all maps agree after a node
//! has come and after an entry has changed.
//!
//! What it is not: cores, disks and clients take no part, and a node never runs late unless it is told to stall.
//!
//! Invariant: the same options give the same numbers, wall time excepted.

mod announced;
pub mod drawing;
pub mod measure;
pub mod report;
pub mod world;

#[cfg(test)]
mod tests;

pub use report::{Report, Row};

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Everything that is left to chance follows from it.
    pub seed: u64,
    /// Nodes of the clusters, ascending.
    pub sizes: Vec<usize>,
    /// Datagrams that are lost, of a million.
    pub loss_per_million: u64,
    /// How long nothing happens while gossip is counted.
    pub quiet_s: u64,
    /// Deaths, joins and changes, each.
    pub rounds: usize,
    /// Paces as for a cluster of so many members, however many there are: to see what they are good for.
    pub paced_for: Option<usize>,
    /// One node in a hundred, another one each time, stalls for so long, all the time.
    pub stall_s: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            sizes: vec![10, 100, 1000],
            loss_per_million: 1_000,
            quiet_s: 60,
            rounds: 3,
            paced_for: None,
            stall_s: 0,
        }
    }
}

/// Measures every size.
#[must_use]
pub fn run(options: &Options) -> Report {
    let rows = options.sizes.iter().map(|size| measure::measure(*size, options)).collect();
    Report { options: options.clone(), rows }
}
