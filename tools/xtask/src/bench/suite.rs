//! The suites as data: who is compared with whom, under which loads, in which columns.
//!
//! Invariant: those that are compared within a part promise the same durability, or the part says that they do not.

use super::cluster;
use super::compaction::Compaction;
use super::exchange::{self, Exchange};
use super::outage::{self, Outage};
use super::overwrite::Overwrite;
use super::results::Metric::{
    self, ClientShare, CpuUs, DeviceReads, IdleCpuMs, KernelCpuUs, P50Us, P99Us, P999Us, QueueDepth, RecordReads,
    Throughput,
};
use super::results::Results;
use super::server::{Product, Setup};
use super::verdict;

/// Of the machine's usual requests.
const VALUE_BYTES: u64 = 100;
const KEYS: u64 = 100_000;
const CONNECTIONS: u32 = 50;
/// Values of one contestant together, in the suite of their sizes.
const VALUES_BYTES_MAX: u64 = 256 << 20;
/// What the suite beyond memory stores, and with `--quick`.
const LARGE_BYTES: u64 = 1 << 30;
const LARGE_BYTES_QUICK: u64 = 256 << 20;
/// What is written over: 8 times the log's budget and the cache, and with `--quick`, where both are as small as they can be.
const OVERWRITTEN_BYTES: u64 = 1 << 30;
const OVERWRITTEN_BYTES_QUICK: u64 = 128 << 20;
const PASSES: u32 = 5;
const PASSES_QUICK: u32 = 2;

/// Chosen on the command line.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub rounds: u32,
    pub seconds: u32,
    /// of one turn with or without compaction
    pub turn_seconds: u32,
    /// of one run with or without an outage
    pub outage_seconds: u32,
    pub quick: bool,
    /// of the data that is read cold
    pub gib: u32,
}

/// One comparison that can be run alone.
pub struct Suite {
    pub name: &'static str,
    pub about: &'static str,
    pub parts: fn(&Options) -> Vec<Part>,
    /// what was promised, and whether it is kept; one line each
    pub verdict: fn(&Results) -> Vec<String>,
}

/// What a suite is made of.
pub enum Part {
    Loads(Block),
    /// time to the first answer with that many keys
    Restart {
        keys: u64,
        rounds: u32,
    },
    /// the raw machine: this part of the floor bench, on a file of so many bytes
    Floor {
        part: &'static str,
        bytes: u64,
    },
    Overwrite(Overwrite),
    Compaction(Compaction),
    Outage(Outage),
    Exchange(Exchange),
}

impl Part {
    /// Whether it is run in rounds, and how many seconds each of its runs takes; `None` where runs end by what they have done.
    pub fn pace(&self, options: &Options) -> (bool, Option<u32>) {
        match self {
            Part::Loads(_) | Part::Restart { .. } | Part::Floor { .. } => (true, Some(options.seconds)),
            Part::Overwrite(_) => (false, None),
            Part::Compaction(plan) => (true, Some(plan.seconds)),
            Part::Outage(plan) => (true, Some(plan.seconds)),
            Part::Exchange(_) => (true, None),
        }
    }
}

/// Contestants and the cases that each of them runs.
pub struct Block {
    pub title: String,
    pub contestants: Vec<Setup>,
    /// whose values are divided by whose
    pub pairs: Vec<(&'static str, &'static str)>,
    pub columns: Vec<Metric>,
    pub keys: u64,
    pub value_bytes: u64,
    pub cases: Vec<Case>,
    /// only the one that is measured runs
    pub alone: bool,
    /// drains and compactions that storing the keys set off are over before the first case
    pub rests: bool,
    pub notes: Vec<String>,
}

pub struct Case {
    pub name: String,
    pub work: Work,
    /// run by this contestant only
    pub only: Option<&'static str>,
}

pub enum Work {
    Load { workload: &'static str, pace: Pace },
    Idle,
}

/// How requests leave.
pub enum Pace {
    Closed {
        connections: u32,
        pipeline: u32,
    },
    /// at a share of the best throughput that a closed case reached
    Open {
        share: f64,
        of: String,
        whose: Whose,
    },
}

#[derive(Clone, Copy)]
pub enum Whose {
    /// of this contestant; of the slowest where it is missing
    One(&'static str),
    Slowest,
}

/// All, in the order in which they are run.
pub const SUITES: &[Suite] = &[
    suite("memory", "Nothing is written to disk: what a request costs", memory),
    suite("durable", "Writes that survive, at the same promise", durable),
    suite("larger-than-memory", "Uniform GETs of values that are not cached", larger),
    suite("pipeline", "Requests outstanding on each of 50 connections", pipeline),
    suite("values", "Sizes of values", values),
    suite("connections", "Connections, one request outstanding on each", connections),
    suite("restart", "From the start of the process to the first answered PING and GET", restart),
    suite("background", "A task that always wants to run on the node's core", background),
    Suite {
        verdict: verdict::overwrite,
        ..suite("overwrite", "A data set that is written over and over: bytes written, and space", overwrite)
    },
    Suite {
        verdict: verdict::compaction,
        ..suite("compaction", "What clients feel of drains and compactions", compaction)
    },
    Suite {
        verdict: verdict::cold_reads,
        ..suite("cold-reads", "Random GETs of much more data than there is cache", cold_reads)
    },
    Suite {
        verdict: cluster::verdict,
        ..suite("cluster", "Three nodes beside Redis with two replicas, and beside themselves", cluster::parts)
    },
    Suite {
        verdict: outage::verdict,
        ..suite("outage", "One of three nodes ended with kill -9 under load, and its return", outage::parts)
    },
    Suite {
        verdict: exchange::verdict,
        ..suite("exchange", "What finding and mending differences among three nodes costs", exchange::parts)
    },
    suite("floor", "What the raw machine can do, beside a node", floor),
];

const fn suite(name: &'static str, about: &'static str, parts: fn(&Options) -> Vec<Part>) -> Suite {
    Suite { name, about, parts, verdict: |_| Vec::new() }
}

fn memory(_: &Options) -> Vec<Part> {
    let mut cases = vec![
        closed("SET P1", "set", CONNECTIONS, 1),
        closed("GET P1", "get", CONNECTIONS, 1),
        closed("SET P16", "set", CONNECTIONS, 16),
        closed("GET P16", "get", CONNECTIONS, 16),
    ];
    for (name, workload, of) in [("SET open", "set", "SET P1"), ("GET open", "get", "GET P1")] {
        cases.push(open(&format!("{name} at 40 % of Redis' best P1"), workload, 0.4, of, Whose::One("redis")));
    }
    cases.push(Case { name: "idle".into(), work: Work::Idle, only: None });
    let mut columns = LOAD.to_vec();
    columns.push(IdleCpuMs);
    vec![Part::Loads(Block { columns, ..in_memory("Memory only", VALUE_BYTES, KEYS, cases) })]
}

fn durable(_: &Options) -> Vec<Part> {
    let modes = [
        ("Every reply after the data is on disk", "sync", "always"),
        ("On disk within an interval (Annulus 100 ms, the others 1 s)", "interval", "everysec"),
    ];
    let block = |(title, durability, fsync): (&str, &'static str, &'static str)| {
        let aof = ["--appendonly", "yes", "--appendfsync", fsync, "--auto-aof-rewrite-percentage", "0"];
        let contestants = vec![
            Setup::new("annulus", Product::Annulus, &["--durability", durability]),
            Setup::new("redis", Product::Redis, &aof),
            Setup::new("valkey", Product::Valkey, &aof),
        ];
        let cases = vec![
            closed("SET P1", "set", CONNECTIONS, 1),
            closed("SET P16", "set", CONNECTIONS, 16),
            open("SET open at half of the slower's best P1", "set", 0.5, "SET P1", Whose::Slowest),
        ];
        let notes = vec![
            "Kernel threads: CPU time of all of the kernel's own threads meanwhile, whoever caused it. The others' log is \
             not rewritten during the runs."
                .into(),
        ];
        let columns = vec![Throughput, CpuUs, KernelCpuUs, P50Us, P99Us, P999Us, ClientShare];
        Part::Loads(Block { contestants, columns, notes, ..in_memory(title, VALUE_BYTES, KEYS, cases) })
    };
    modes.into_iter().map(block).collect()
}

/// Bytes of the data that is larger than the cache, and of the file that the raw machine reads.
fn large_bytes(options: &Options) -> u64 {
    if options.quick { LARGE_BYTES_QUICK } else { LARGE_BYTES }
}

fn larger(options: &Options) -> Vec<Part> {
    let bytes = large_bytes(options);
    let loops = [(8, 1), (1, 8), (2, 8), (4, 8)];
    let cases = loops
        .map(|(connections, pipeline)| closed(&format!("GET {connections}×P{pipeline}"), "get", connections, pipeline));
    let flags = ["--durability", "interval", "--cache", "64mb"];
    let title = format!("{} MiB of 1 KiB values, 64 MiB of cache", bytes >> 20);
    let block = Block {
        contestants: vec![Setup::new("annulus", Product::Annulus, &flags)],
        columns: vec![Throughput, CpuUs, DeviceReads, QueueDepth, P50Us, P99Us, P999Us, ClientShare],
        ..in_memory(&title, 1024, bytes / 1024, cases.into())
    };
    vec![Part::Loads(block), Part::Floor { part: "reads", bytes }]
}

fn pipeline(_: &Options) -> Vec<Part> {
    let mut cases = Vec::new();
    for depth in [1, 4, 16, 64] {
        cases.push(closed(&format!("SET P{depth}"), "set", CONNECTIONS, depth));
        cases.push(closed(&format!("GET P{depth}"), "get", CONNECTIONS, depth));
    }
    vec![Part::Loads(in_memory("Memory only", VALUE_BYTES, KEYS, cases))]
}

fn values(_: &Options) -> Vec<Part> {
    let sizes = [(100, "100 B"), (1 << 10, "1 KiB"), (16 << 10, "16 KiB"), (128 << 10, "128 KiB"), (1 << 20, "1 MiB")];
    let block = |(bytes, name): (u64, &str)| {
        let cases = vec![
            closed(&format!("SET {name}"), "set", CONNECTIONS, 1),
            closed(&format!("GET {name}"), "get", CONNECTIONS, 1),
        ];
        let keys = (VALUES_BYTES_MAX / bytes).min(KEYS);
        Part::Loads(in_memory(&format!("{name}, {keys} keys"), bytes, keys, cases))
    };
    sizes.into_iter().map(block).collect()
}

fn connections(_: &Options) -> Vec<Part> {
    let mut cases = Vec::new();
    for count in [1, 50, 1000] {
        cases.push(closed(&format!("SET {count}×P1"), "set", count, 1));
        cases.push(closed(&format!("GET {count}×P1"), "get", count, 1));
    }
    vec![Part::Loads(in_memory("Memory only", VALUE_BYTES, KEYS, cases))]
}

fn restart(options: &Options) -> Vec<Part> {
    let mut parts = vec![Part::Restart { keys: 1_000_000, rounds: options.rounds }];
    if !options.quick {
        parts.push(Part::Restart { keys: 10_000_000, rounds: options.rounds });
    }
    parts
}

/// How the restart suite starts those that it compares, and what makes the data complete on disk.
pub fn restart_contestants() -> Vec<(Setup, Option<&'static str>)> {
    let aof = ["--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"];
    vec![
        (Setup::new("annulus", Product::Annulus, &["--durability", "sync"]), None),
        (Setup::new("annulus on 2 cores", Product::Annulus, &["--durability", "sync"]).with_cores("2"), None),
        (Setup::new("redis RDB", Product::Redis, &["--appendonly", "no"]), Some("SAVE")),
        (Setup::new("redis AOF", Product::Redis, &aof), None),
    ]
}

fn background(_: &Options) -> Vec<Part> {
    let block = |durability: &'static str| {
        let quiet = ["--durability", durability];
        let busy = ["--durability", durability, "--background-load"];
        let mut cases = vec![
            closed("SET P1", "set", CONNECTIONS, 1),
            open("SET open at half of the quiet node's best P1", "set", 0.5, "SET P1", Whose::One("quiet")),
        ];
        cases[0].only = Some("quiet");
        let title = format!("durability={durability}");
        Part::Loads(Block {
            contestants: vec![
                Setup::new("quiet", Product::Annulus, &quiet),
                Setup::new("with background", Product::Annulus, &busy),
            ],
            pairs: vec![("with background", "quiet")],
            alone: true,
            ..in_memory(&title, VALUE_BYTES, KEYS, cases)
        })
    };
    ["sync", "memory"].into_iter().map(block).collect()
}

/// A node with a log and a cache of an eighth of the data each.
fn small_node(name: &'static str, quick: bool) -> Setup {
    let (log, cache) = if quick { ("16mb", "16mb") } else { ("128mb", "128mb") };
    Setup::new(name, Product::Annulus, &["--durability", "sync", "--hot-log-bytes", log, "--cache", cache])
}

fn overwrite(options: &Options) -> Vec<Part> {
    let quick = options.quick;
    let bytes = if quick { OVERWRITTEN_BYTES_QUICK } else { OVERWRITTEN_BYTES };
    let of = |distribution| {
        Part::Overwrite(Overwrite {
            setup: small_node("annulus", quick),
            distribution,
            keys: bytes / 1024,
            value_bytes: 1024,
            passes: if quick { PASSES_QUICK } else { PASSES },
        })
    };
    ["uniform", "zipf"].into_iter().map(of).collect()
}

fn compaction(options: &Options) -> Vec<Part> {
    let bytes = if options.quick { OVERWRITTEN_BYTES_QUICK } else { OVERWRITTEN_BYTES };
    vec![Part::Compaction(Compaction {
        setup: small_node("annulus", options.quick),
        keys: bytes / 1024,
        value_bytes: 1024,
        seconds: options.turn_seconds,
        rounds: options.rounds,
    })]
}

fn cold_reads(options: &Options) -> Vec<Part> {
    let bytes = if options.quick { LARGE_BYTES_QUICK } else { u64::from(options.gib) << 30 };
    // Of each there are about eight under way at the device, or fewer, or more.
    let loops = [(8, 1), (12, 1), (7, 2), (3, 5), (4, 4), (4, 8)];
    let cases = loops
        .map(|(connections, pipeline)| closed(&format!("GET {connections}×P{pipeline}"), "get", connections, pipeline));
    let flags = ["--durability", "sync", "--cache", "64mb"];
    let title = format!("{} MiB of 1 KiB values, 64 MiB of cache", bytes >> 20);
    let block = Block {
        contestants: vec![Setup::new("annulus", Product::Annulus, &flags)],
        columns: vec![Throughput, CpuUs, RecordReads, DeviceReads, QueueDepth, P50Us, P99Us, P999Us, ClientShare],
        rests: true,
        notes: vec!["Everything that storing the keys had set off was drained and compacted before.".into()],
        ..in_memory(&title, 1024, bytes / 1024, cases.into())
    };
    // Before and after: the device is another one at another time.
    let raw = || Part::Floor { part: "reads", bytes };
    vec![raw(), Part::Loads(block), raw()]
}

fn floor(options: &Options) -> Vec<Part> {
    let cases = vec![closed("GET P1", "get", CONNECTIONS, 1), closed("GET P16", "get", CONNECTIONS, 16)];
    let contestants = vec![Setup::new("annulus", Product::Annulus, &["--durability", "memory"])];
    let block = Block { contestants, ..in_memory("A node that only echoes what it has", VALUE_BYTES, KEYS, cases) };
    vec![Part::Loads(block), Part::Floor { part: "all", bytes: large_bytes(options) }]
}

const LOAD: &[Metric] = &[Throughput, CpuUs, P50Us, P99Us, P999Us, ClientShare];

/// A block of the three products without persistence; others are made from it.
pub fn in_memory(title: &str, value_bytes: u64, keys: u64, cases: Vec<Case>) -> Block {
    Block {
        title: title.into(),
        contestants: vec![
            Setup::new("annulus", Product::Annulus, &["--durability", "memory"]),
            Setup::new("redis", Product::Redis, &["--appendonly", "no"]),
            Setup::new("valkey", Product::Valkey, &["--appendonly", "no"]),
        ],
        pairs: vec![("annulus", "redis"), ("valkey", "redis")],
        columns: LOAD.to_vec(),
        keys,
        value_bytes,
        cases,
        alone: false,
        rests: false,
        notes: Vec::new(),
    }
}

/// As many requests under way as connections and pipeline allow.
pub fn closed(name: &str, workload: &'static str, connections: u32, pipeline: u32) -> Case {
    let work = Work::Load { workload, pace: Pace::Closed { connections, pipeline } };
    Case { name: name.into(), work, only: None }
}

/// At a share of a rate that was found before.
pub fn open(name: &str, workload: &'static str, share: f64, of: &str, whose: Whose) -> Case {
    let work = Work::Load { workload, pace: Pace::Open { share, of: of.into(), whose } };
    Case { name: name.into(), work, only: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(quick: bool) -> Vec<Block> {
        let options = Options { rounds: 3, seconds: 4, turn_seconds: 60, outage_seconds: 24, quick, gib: 8 };
        let parts = SUITES.iter().flat_map(|suite| (suite.parts)(&options));
        parts.filter_map(|part| if let Part::Loads(block) = part { Some(block) } else { None }).collect()
    }

    #[test]
    fn pairs_and_shares_name_what_ran_before() {
        for block in blocks(false) {
            let known = |name: &str| block.contestants.iter().any(|setup| setup.name == name);
            let single = block.contestants.len() == 1;
            assert!(single || block.pairs.iter().all(|(left, right)| known(left) && known(right)), "{}", block.title);
            for (at, case) in block.cases.iter().enumerate() {
                assert!(case.only.is_none_or(known), "{}", case.name);
                if let Work::Load { pace: Pace::Open { of, whose, .. }, .. } = &case.work {
                    assert!(block.cases[..at].iter().any(|earlier| earlier.name == *of), "{}", case.name);
                    assert!(!matches!(whose, Whose::One(name) if !known(name)), "{}", case.name);
                }
            }
        }
    }

    #[test]
    fn a_default_run_stays_below_fifty_minutes_and_quick_below_a_million_keys() {
        let runs: usize = blocks(false).iter().map(|block| block.cases.len() * block.contestants.len()).sum();
        // Measured, warm-up, settling and start; loading and the restarts have the rest.
        let seconds = runs as f64 * 3.0 * (4.0 + 0.3 + 0.4);
        assert!(seconds < 40.0 * 60.0, "{seconds} s");
        assert!(blocks(true).iter().all(|block| block.keys <= 1_000_000));
    }
}
