//! What is wrong with which link, read by every thread of a relay without a lock.
//!
//! Invariant: a link passes only when its two nodes and the link itself are whole.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

#[derive(Debug, Default)]
struct NodeFaults {
    outwards: AtomicBool,
    inwards: AtomicBool,
    delay_us: AtomicU64,
}

/// All faults.
#[derive(Debug)]
pub(super) struct Faults {
    nodes: Vec<NodeFaults>,
    /// `links[from * nodes + to]`: cut.
    links: Vec<AtomicBool>,
}

impl Faults {
    /// Everything is whole.
    pub fn none(nodes: usize) -> Self {
        Self {
            nodes: (0..nodes).map(|_| NodeFaults::default()).collect(),
            links: (0..nodes * nodes).map(|_| AtomicBool::new(false)).collect(),
        }
    }

    fn link(&self, from: usize, to: usize) -> &AtomicBool {
        let nodes = self.nodes.len();
        assert!(from < nodes && to < nodes, "a link is between nodes");
        &self.links[from * nodes + to]
    }

    pub fn cut_link(&self, from: usize, to: usize, is_cut: bool) {
        self.link(from, to).store(is_cut, Ordering::Release);
    }

    pub fn cut_node(&self, node: usize, outwards: bool, inwards: bool) {
        self.nodes[node].outwards.store(outwards, Ordering::Release);
        self.nodes[node].inwards.store(inwards, Ordering::Release);
    }

    pub fn slow_node(&self, node: usize, delay: Duration) {
        let us = u64::try_from(delay.as_micros()).expect("a delay is short");
        self.nodes[node].delay_us.store(us, Ordering::Release);
    }

    pub fn heal_node(&self, node: usize) {
        self.cut_node(node, false, false);
        self.slow_node(node, Duration::ZERO);
        for other in 0..self.nodes.len() {
            self.cut_link(node, other, false);
            self.cut_link(other, node, false);
        }
    }

    /// Whether bytes get from one to the other; `None` is outside.
    pub fn passes(&self, from: Option<usize>, to: Option<usize>) -> bool {
        let is_cut = |flag: &AtomicBool| flag.load(Ordering::Acquire);
        let out = from.is_some_and(|from| is_cut(&self.nodes[from].outwards));
        let into = to.is_some_and(|to| is_cut(&self.nodes[to].inwards));
        let between = from.zip(to).is_some_and(|(from, to)| is_cut(self.link(from, to)));
        !(out || into || between)
    }

    /// How late what goes from one to the other arrives.
    pub fn delay(&self, from: Option<usize>, to: Option<usize>) -> Duration {
        let of = |node: Option<usize>| node.map_or(0, |node| self.nodes[node].delay_us.load(Ordering::Acquire));
        Duration::from_micros(of(from).max(of(to)))
    }
}
