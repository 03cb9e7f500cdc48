//! Three nodes on one machine: what a copy costs beside Redis with replicas, a read of two copies beside one of one, and a
//! client that knows the owners beside one that does not.
//!
//! All servers of one contestant share one CPU, so CPU time per request is that of the whole cluster.
//!
//! Invariant: those that are compared as equals promise the same: a write's reply after two servers have it on disk.

use super::results::Metric::{self, ClientShare, CpuUs, MeanUs, P50Us, P99Us, P999Us, Throughput};
use super::results::Results;
use super::server::{Product, Setup};
use super::suite::{Block, Options, Part, Whose, closed, in_memory, open};
use super::table::ratio;
use super::verdict::at_most;

const VALUE_BYTES: u64 = 100;
const KEYS: u64 = 100_000;
const CONNECTIONS: u32 = 50;
/// CPU per write, of all nodes over all of Redis' servers.
const COST_MAX: f64 = 1.0;

/// The names of contestants, as tables and verdicts use them.
const NODES: &str = "annulus ×3";
const REDIS: &str = "redis ×3, WAIT 1";
const REDIS_ALONE: &str = "redis ×3, no WAIT";
const OF_TWO: &str = "R=2";
const OF_ONE: &str = "R=1";
const PLAIN: &str = "through one node";
const CLUSTER: &str = "cluster client";
const COLUMNS: [Metric; 7] = [Throughput, CpuUs, MeanUs, P50Us, P99Us, P999Us, ClientShare];

/// The three comparisons.
pub fn parts(_: &Options) -> Vec<Part> {
    vec![Part::Loads(copies()), Part::Loads(reads()), Part::Loads(clients())]
}

fn nodes(name: &'static str) -> Setup {
    Setup::new(name, Product::Annulus, &["--durability", "sync"]).replicated()
}

fn copies() -> Block {
    let aof = ["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"];
    let redis = |name| Setup::new(name, Product::Redis, &aof).replicated();
    let cases = vec![
        closed("SET P1", "set", CONNECTIONS, 1),
        closed("SET P16", "set", CONNECTIONS, 16),
        open("SET open at half of the slower's best P1", "set", 0.5, "SET P1", Whose::Slowest),
    ];
    let notes = "WAIT 1 leaves with every SET, in one piece; without WAIT a reply promises one copy.";
    Block {
        contestants: vec![nodes(NODES), redis(REDIS).under(&["--wait", "1"]), redis(REDIS_ALONE)],
        pairs: vec![(NODES, REDIS), (NODES, REDIS_ALONE)],
        columns: COLUMNS.to_vec(),
        notes: vec![notes.into()],
        ..in_memory("A write that two of three have on disk", VALUE_BYTES, KEYS, cases)
    }
}

fn reads() -> Block {
    let read = |name, quorum| {
        Setup::new(name, Product::Annulus, &["--durability", "sync", "--read-quorum", quorum]).replicated()
    };
    let cases = vec![
        closed("GET P1", "get", CONNECTIONS, 1),
        closed("GET P16", "get", CONNECTIONS, 16),
        open("GET open at half of the slower's best P1", "get", 0.5, "GET P1", Whose::Slowest),
    ];
    Block {
        contestants: vec![read(OF_TWO, "2"), read(OF_ONE, "1")],
        pairs: vec![(OF_TWO, OF_ONE)],
        columns: COLUMNS.to_vec(),
        ..in_memory("A read of two of three copies beside one", VALUE_BYTES, KEYS, cases)
    }
}

fn clients() -> Block {
    let mut cases = Vec::new();
    for (name, workload) in [("SET", "set"), ("GET", "get")] {
        let peak = format!("{name} P1");
        cases.push(closed(&peak, workload, CONNECTIONS, 1));
        let title = format!("{name} open at half of the slower's best P1");
        cases.push(open(&title, workload, 0.5, &peak, Whose::Slowest));
    }
    Block {
        contestants: vec![nodes(CLUSTER).under(&["--cluster"]), nodes(PLAIN)],
        pairs: vec![(CLUSTER, PLAIN)],
        columns: COLUMNS.to_vec(),
        ..in_memory("A client that asks a key's owner beside one that asks one node", VALUE_BYTES, KEYS, cases)
    }
}

/// What was promised of them, and ratios that are only stated.
pub fn verdict(results: &Results) -> Vec<String> {
    let of = |case: &str, pair: (&str, &str), metric| {
        let mut found = results.tables.iter().filter_map(|table| ratio(table, case, pair, metric));
        found.next().map(|spread| spread.median)
    };
    let stated = |what: &str, value: Option<f64>| match value {
        Some(value) => format!("{what}: {value:.2}"),
        None => format!("{what}: NOT MEASURED"),
    };
    let cost = |case| at_most(&format!("{case}: CPU per write over Redis'"), of(case, (NODES, REDIS), CpuUs), COST_MAX);
    let mut lines = vec![cost("SET P1"), cost("SET P16")];
    for case in ["GET P1", "GET P16"] {
        lines.push(stated(&format!("{case}: CPU of R=2 over R=1"), of(case, (OF_TWO, OF_ONE), CpuUs)));
    }
    for name in ["SET", "GET"] {
        let case = format!("{name} open at half of the slower's best P1");
        for metric in [P999Us, MeanUs] {
            let what = format!("{name}: {} of a cluster client over one node's", metric.title());
            lines.push(stated(&what, of(&case, (CLUSTER, PLAIN), metric)));
        }
    }
    lines
}
