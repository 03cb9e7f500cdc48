//! The outage suite: what clients of three nodes feel when one is ended with `kill -9` under load, and what is missing after
//! it has come back.
//!
//! Load is an open loop at a fixed rate, through all three nodes. A run without harm and one with it take turns. In the
//! latter one node is killed after a quarter of the time, and started again over its directory after two thirds. Then hints
//! are counted until there are none, and, once the load is over, roots of all trees are compared until they are the same.
//!
//! Invariant: a run that acknowledged nothing, killed nothing, or left no hint behind is an error.

use super::copies;
use super::load;
use super::results::{Metric, Results, Run, Table, Values};
use super::runner::{Context, contestant, remove};
use super::server::{Product, Server, Setup};
use super::suite::{Options, Part};
use super::table::{line, ratio};
use super::torture::{Report, Torture};
use super::verdict::at_most;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The two sides, which are the same nodes.
const OUTAGE: &str = "outage";
const QUIET: &str = "quiet";
const CASE: &str = "reads and writes, open loop";
/// Stored before, so that the nodes hold more than what is written.
const KEYS: u64 = 100_000;
const VALUE_BYTES: u64 = 100;
/// Of the load: attempts a second, clients with one request outstanding each, keys of each workload in use at a time.
const RATE: u32 = 3_000;
const CLIENTS: u32 = 12;
const TORTURED_KEYS: u32 = 2_000;
/// Which one is hurt, and in which parts of the time it goes and returns.
const VICTIM: usize = 2;
const KILL_SHARE: f64 = 0.25;
const RETURN_SHARE: f64 = 2.0 / 3.0;
/// Between two looks at hints while the load runs: asking costs the nodes little.
const LOOK: Duration = Duration::from_millis(250);
/// Between two looks at what all owners have compared, and until they have compared everything.
const SHOWN_LOOK: Duration = Duration::from_secs(1);
const SHOWN: Duration = Duration::from_secs(240);
/// What is promised: the longest gap of any client, how many times the p99.9 may be that of the quiet run, and seconds until
/// nothing is missing on any node.
const GAP_MS_MAX: f64 = 250.0;
const P999_RATIO_MAX: f64 = 3.0;
const SETTLED_S_MAX: f64 = 60.0;

/// One comparison.
pub struct Outage {
    pub setup: Setup,
    /// of one run
    pub seconds: u32,
    /// pairs of runs
    pub rounds: u32,
}

/// What the suite is made of.
pub fn parts(options: &Options) -> Vec<Part> {
    let setup = Setup::new("annulus ×3", Product::Annulus, &["--durability", "sync"]).replicated();
    vec![Part::Outage(Outage { setup, seconds: options.outage_seconds, rounds: options.rounds })]
}

/// Runs it.
pub fn run(context: &Context, plan: &Outage) -> (Table, Result<(), String>) {
    let side = |name: &str| super::results::Contestant { name: name.into(), ..contestant(&plan.setup) };
    let mut table = Table {
        title: format!(
            "{RATE} reads and writes a second of {CLIENTS} clients, {} runs of {} s each",
            plan.rounds, plan.seconds
        ),
        contestants: vec![side(OUTAGE), side(QUIET)],
        pairs: vec![(OUTAGE.into(), QUIET.into())],
        columns: vec![
            Metric::P50Us,
            Metric::P99Us,
            Metric::P999Us,
            Metric::GapMs,
            Metric::GapMedianMs,
            Metric::Acknowledged,
            Metric::Lost,
            Metric::HintsGoneS,
            Metric::EqualS,
            Metric::ShownS,
            Metric::ObjectsSent,
        ],
        runs: Vec::new(),
        notes: vec![format!(
            "Three nodes on one CPU with {KEYS} keys, N=3, R=W=2; one of them is killed after {:.0} s and started again after \
             {:.0} s. Latencies are of writes, from when they were due. A gap is the longest time in which no write of a client \
             succeeded: the longest of all clients, and the median of the clients. Seconds are from the start of the process \
             that returns: to no hint kept on any node; to that and the same roots of all trees, looked at when the load is \
             over, {:.0} s after the return; to exchanges having shown every pair of owners to be equal as of a time after the \
             return (last round only), which takes one or two rounds of a minute. Objects sent: what exchanges had to mend.",
            KILL_SHARE * f64::from(plan.seconds),
            RETURN_SHARE * f64::from(plan.seconds),
            (1.0 - RETURN_SHARE) * f64::from(plan.seconds),
        )],
    };
    println!("\n{}", table.title);
    let result = measure(context, plan, &mut table);
    let removed = remove(context.scratch);
    (table, result.and(removed))
}

fn measure(context: &Context, plan: &Outage, table: &mut Table) -> Result<(), String> {
    let mut server = Server::start(context.programs, &plan.setup, &context.scratch.join("outage"))?;
    load::preload(context.programs, &mut server, KEYS, VALUE_BYTES, context.scratch)?;
    copies::wait_equal(&mut server)?;
    let torture = |seed| Torture { seconds: plan.seconds, rate: RATE, clients: CLIENTS, keys: TORTURED_KEYS, seed };
    torture(0).run(context.programs, &mut server, context.scratch, |_, _| Ok(()))?;
    println!("  stored and warmed up");
    for round in 1..=plan.rounds {
        copies::wait_equal(&mut server)?;
        let report = torture(round).run(context.programs, &mut server, context.scratch, |_, _| Ok(()))?;
        push(table, QUIET, round, &report, Values::new())?;
        copies::wait_equal(&mut server)?;
        let sent = objects_sent(&server, |number| number != VICTIM)?;
        let mut harm = Harm::new(plan.seconds);
        let beside = |server: &mut Server, elapsed| harm.step(server, elapsed);
        let report = torture(round).run(context.programs, &mut server, context.scratch, beside)?;
        let back = harm.returned.ok_or("the load ended before the node was killed and started again")?;
        let mut found = back.settled(&mut server)?;
        if round == plan.rounds {
            found.insert(Metric::ShownS, back.shown(context, &mut server)?.as_secs_f64());
        }
        found.insert(Metric::ObjectsSent, objects_sent(&server, |_| true)?.saturating_sub(sent) as f64);
        push(table, OUTAGE, round, &report, found)?;
        println!("    {} hints were kept when the node returned", back.kept);
    }
    server.stop()
}

/// Objects that exchanges of these nodes have sent. The one that is killed counts from its return: before, it is left out.
fn objects_sent(server: &Server, of: impl Fn(usize) -> bool) -> Result<u64, String> {
    let nodes = server.nodes().iter().enumerate().filter(|(number, _)| of(*number));
    nodes.map(|(_, node)| copies::figure(node, "exchange_objects_sent")).sum()
}

/// A run that failed is in the table all the same.
fn push(table: &mut Table, side: &str, round: u32, report: &Report, found: Values) -> Result<(), String> {
    let (mut values, remarks) = (report.values(), report.remarks());
    values.extend(found);
    println!("  {side} · round {round}: {}", line(&table.columns, &values));
    remarks.iter().for_each(|remark| println!("    {remark}"));
    table.runs.push(Run { case: CASE.into(), contestant: side.into(), round, values, remarks });
    report.failure.clone().map_or(Ok(()), Err)
}

/// What is done to the node while the load runs.
struct Harm {
    kill_at: Duration,
    return_at: Duration,
    returned: Option<Returned>,
    looked: Instant,
}

impl Harm {
    fn new(seconds: u32) -> Harm {
        let share = |share: f64| Duration::from_secs(seconds.into()).mul_f64(share);
        let (kill_at, return_at) = (share(KILL_SHARE), share(RETURN_SHARE));
        Harm { kill_at, return_at, returned: None, looked: Instant::now() }
    }

    /// Kills and starts it when the time has come; looks at hints from then on.
    fn step(&mut self, server: &mut Server, elapsed: Duration) -> Result<(), String> {
        match &mut self.returned {
            None if elapsed >= self.return_at => self.returned = Some(Returned::now(server)?),
            None if elapsed >= self.kill_at && server.node(VICTIM).is_running() => server.node(VICTIM).kill()?,
            Some(returned) if self.looked.elapsed() >= LOOK => {
                returned.look(server);
                self.looked = Instant::now();
            }
            _ => {}
        }
        Ok(())
    }
}

/// A node that was started again, and what was seen since.
struct Returned {
    at: Instant,
    unix_ms: u64,
    /// hints that the others kept
    kept: u64,
    hints_gone: Option<Duration>,
}

impl Returned {
    /// Starts it.
    fn now(server: &mut Server) -> Result<Returned, String> {
        if server.node(VICTIM).is_running() {
            return Err("the node was not killed before it should return".into());
        }
        let kept = copies::hints(server)?;
        if kept == 0 {
            return Err("no hint was kept for the node that was killed: nothing was written meanwhile".into());
        }
        let since_epoch =
            SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| format!("the clock: {error}"))?;
        let unix_ms = u64::try_from(since_epoch.as_millis()).expect("the clock is right within millions of years");
        let at = Instant::now();
        server.node(VICTIM).start()?;
        Ok(Returned { at, unix_ms, kept, hints_gone: None })
    }

    /// Whether no hint is left; one that still starts does not say so.
    fn look(&mut self, server: &Server) {
        if self.hints_gone.is_none() && copies::hints(server) == Ok(0) {
            self.hints_gone = Some(self.at.elapsed());
        }
    }

    /// Waits until nothing is missing anywhere.
    fn settled(&self, server: &mut Server) -> Result<Values, String> {
        copies::wait_equal(server)?;
        let equal = self.at.elapsed();
        let gone = self.hints_gone.unwrap_or(equal);
        Ok(Values::from([(Metric::HintsGoneS, gone.as_secs_f64()), (Metric::EqualS, equal.as_secs_f64())]))
    }

    /// Waits until exchanges have shown the same, on every node for every pair.
    fn shown(&self, context: &Context, server: &mut Server) -> Result<Duration, String> {
        loop {
            server.check_alive()?;
            let mut are_shown = true;
            for node in server.nodes() {
                are_shown &= copies::are_shown_equal(&copies::pairs(context.programs, node)?, self.unix_ms);
            }
            if are_shown {
                return Ok(self.at.elapsed());
            }
            if self.at.elapsed() > SHOWN {
                return Err(format!("exchanges have not shown all owners to be equal {SHOWN:?} after the return"));
            }
            std::thread::sleep(SHOWN_LOOK);
        }
    }
}

/// What was promised.
pub fn verdict(results: &Results) -> Vec<String> {
    results.tables.first().map_or_else(|| vec!["nothing was measured".into()], judged)
}

fn judged(table: &Table) -> Vec<String> {
    let of =
        |side: &str, metric| table.values(CASE, side, metric).into_iter().map(|(_, value)| value).collect::<Vec<_>>();
    let worst = |metric| of(OUTAGE, metric).into_iter().max_by(f64::total_cmp);
    let both = |metric| [of(OUTAGE, metric), of(QUIET, metric)].concat();
    let sum = |values: Vec<f64>| (!values.is_empty()).then(|| values.iter().sum::<f64>());
    let ratio = ratio(table, CASE, (OUTAGE, QUIET), Metric::P999Us).map(|spread| spread.median);
    let mut lines = vec![
        at_most("longest gap of any client in any outage, ms", worst(Metric::GapMs), GAP_MS_MAX),
        at_most("p99.9 of writes with the outage over that without, median of the rounds", ratio, P999_RATIO_MAX),
        at_most("no hint kept and all trees equal, slowest round, s", worst(Metric::EqualS), SETTLED_S_MAX),
        at_most("acknowledged writes that were lost, all runs", sum(both(Metric::Lost)), 0.0),
    ];
    if let Some(acknowledged) = sum(of(OUTAGE, Metric::Acknowledged)) {
        lines.push(format!("acknowledged in runs with the outage: {acknowledged:.0}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::Contestant;

    fn table(runs: Vec<Run>) -> Table {
        let named = |name: &str| Contestant { name: name.into(), command: String::new() };
        let contestants = vec![named(OUTAGE), named(QUIET)];
        Table { title: String::new(), contestants, pairs: Vec::new(), columns: Vec::new(), runs, notes: Vec::new() }
    }

    fn one(side: &str, round: u32, values: &[(Metric, f64)]) -> Run {
        let values = values.iter().copied().collect();
        Run { case: CASE.into(), contestant: side.into(), round, values, remarks: Vec::new() }
    }

    #[test]
    fn the_node_goes_after_a_quarter_and_returns_after_two_thirds() {
        let harm = Harm::new(24);
        assert_eq!((harm.kill_at, harm.return_at), (Duration::from_secs(6), Duration::from_secs(16)));
        assert!(harm.returned.is_none());
    }

    #[test]
    fn gaps_and_times_are_judged_by_the_worst_round_and_losses_of_all_runs_count() {
        use Metric::{Acknowledged, EqualS, GapMs, Lost, P999Us};
        let runs = vec![
            one(QUIET, 1, &[(GapMs, 900.0), (P999Us, 10.0), (Lost, 1.0), (Acknowledged, 7.0)]),
            one(OUTAGE, 1, &[(GapMs, 100.0), (P999Us, 20.0), (Lost, 0.0), (Acknowledged, 5.0), (EqualS, 9.0)]),
            one(QUIET, 2, &[(GapMs, 20.0), (P999Us, 10.0), (Lost, 0.0), (Acknowledged, 7.0)]),
            one(OUTAGE, 2, &[(GapMs, 251.0), (P999Us, 30.0), (Lost, 0.0), (Acknowledged, 6.0), (EqualS, 61.0)]),
        ];
        let lines = judged(&table(runs));
        assert!(lines[0].contains("251.00") && lines[0].ends_with("MISSED"), "{lines:?}");
        assert!(lines[1].contains("2.50") && lines[1].ends_with("kept"), "{lines:?}");
        assert!(lines[2].contains("61.00") && lines[2].ends_with("MISSED"), "{lines:?}");
        assert!(lines[3].contains("1.00") && lines[3].ends_with("MISSED"), "{lines:?}");
        assert!(lines[4].ends_with(": 11"), "{lines:?}");
    }

    #[test]
    fn what_was_not_measured_is_not_kept() {
        let lines = judged(&table(Vec::new()));
        assert_eq!(lines.len(), 4);
        assert!(lines.iter().all(|line| line.contains("NOT MEASURED")), "{lines:?}");
    }
}
