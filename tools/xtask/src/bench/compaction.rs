//! The compaction suite: what clients feel of drains and compactions, at a rate that the node could take twice.
//!
//! One node under an open loop of half reads and half writes, in turns with compaction as it goes by itself and with
//! compaction held back. What was put off while it was held back is caught up with before the next turn, without load.
//!
//! Invariant: a turn "compacting" in which nothing was compacted, or one "paused" that goes on compacting, is an error.

use super::figures::{self, Figures};
use super::load::{self, Length, Load, Paced, WARM_UP_MS};
use super::results::{Metric, Run, Table};
use super::runner::{Context, contestant, remove, summary, under_load};
use super::server::{Server, Setup};
use std::time::Duration;

/// The two sides, which are the same node.
pub const COMPACTING: &str = "compacting";
pub const PAUSED: &str = "paused";
/// The case in which the node takes what it can, and that of the turns.
const CAPACITY: &str = "SET and GET, closed loop";
pub const TURNS: &str = "SET and GET, open at half of it";
/// The p99.9 beside compaction may be so many times that without.
pub const RATIO_MAX: f64 = 2.5;
const CONNECTIONS: u32 = 50;
/// The part of the capacity at which the turns run.
const SHARE: f64 = 0.5;
/// What is still under way when compaction is held back ends before this.
const PAUSE: Duration = Duration::from_millis(500);

/// One comparison.
pub struct Compaction {
    pub setup: Setup,
    pub keys: u64,
    pub value_bytes: u64,
    /// of one turn
    pub seconds: u32,
    /// pairs of turns
    pub rounds: u32,
}

/// Runs it.
pub fn run(context: &Context, plan: &Compaction) -> (Table, Result<(), String>) {
    let side = |name: &str| super::results::Contestant { name: name.into(), ..contestant(&plan.setup) };
    let mut table = Table {
        title: format!("{} keys of {} bytes, {} turns of {} s each", plan.keys, plan.value_bytes, plan.rounds, plan.seconds),
        contestants: vec![side(COMPACTING), side(PAUSED)],
        pairs: vec![(COMPACTING.into(), PAUSED.into())],
        columns: vec![
            Metric::Throughput,
            Metric::CpuUs,
            Metric::P50Us,
            Metric::P99Us,
            Metric::P999Us,
            Metric::CompactedMib,
            Metric::StolenPercent,
            Metric::ClientShare,
        ],
        runs: Vec::new(),
        notes: vec![
            "Paused: after `DYN.ADMIN COMPACTION PAUSE`. Compacted: bytes that drains and compactions read and wrote during \
             the turn. Stolen: time of all CPUs that the host gave to others."
                .into(),
        ],
    };
    println!("\n{}", table.title);
    let result = measure(context, plan, &mut table);
    let removed = remove(context.scratch);
    (table, result.and(removed))
}

fn measure(context: &Context, plan: &Compaction, table: &mut Table) -> Result<(), String> {
    let mut server = Server::start(context.programs, &plan.setup, &context.scratch.join("compaction"))?;
    load::preload(context.programs, &mut server, plan.keys, plan.value_bytes, context.scratch)?;
    let rest = figures::rest(&mut server)?;
    println!("  stored: {} MiB live, {} runs", rest.live >> 20, rest.partition_runs);
    let closed = Paced::Closed { connections: CONNECTIONS, pipeline: 1 };
    turn(context, plan, &mut server, table, (CAPACITY, COMPACTING, 1, closed))?;
    let capacity = table.peak(CAPACITY, COMPACTING).ok_or("the capacity was not measured")?;
    let open = Paced::Open { rate: SHARE * capacity };
    for round in 1..=plan.rounds {
        figures::rest(&mut server)?;
        turn(context, plan, &mut server, table, (TURNS, COMPACTING, round, open))?;
        figures::rest(&mut server)?;
        switch(&server, "PAUSE")?;
        std::thread::sleep(PAUSE);
        turn(context, plan, &mut server, table, (TURNS, PAUSED, round, open))?;
        switch(&server, "RESUME")?;
    }
    server.stop()
}

/// One run of the load on one side.
fn turn(
    context: &Context,
    plan: &Compaction,
    server: &mut Server,
    table: &mut Table,
    (case, side, round, paced): (&str, &str, u32, Paced),
) -> Result<(), String> {
    let load = Load {
        workload: "mixed",
        distribution: "uniform",
        paced,
        keys: plan.keys,
        value_bytes: plan.value_bytes,
        length: Length::Seconds(plan.seconds),
        seed: round,
        warm_up_ms: WARM_UP_MS,
        extra: Vec::new(),
    };
    let before = Figures::of(server)?;
    let (mut values, remarks) = under_load(context, server, &load).map_err(|error| format!("{case}: {error}"))?;
    let compacted = Figures::of(server)?.compacted() - before.compacted();
    values.insert(Metric::CompactedMib, compacted as f64 / f64::from(1 << 20));
    println!("  {case} · {side} · round {round}: {}, compacted {} MiB", summary(&values), compacted >> 20);
    remarks.iter().for_each(|remark| println!("    {remark}"));
    table.runs.push(Run { case: case.into(), contestant: side.into(), round, values, remarks });
    match (side, compacted) {
        (COMPACTING, 0) => Err(format!("{case}: nothing was compacted in round {round}: there is nothing to compare")),
        (PAUSED, 1..) => {
            Err(format!("{case}: {compacted} bytes were compacted in round {round} although it is paused"))
        }
        _ => Ok(()),
    }
}

/// Holds compaction back, or lets it go on.
fn switch(server: &Server, word: &str) -> Result<(), String> {
    server.ask(&["DYN.ADMIN", "COMPACTION", word]).map(|_| ())
}
