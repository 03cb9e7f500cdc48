//! Runs a block of cases: rounds interleaved, every run between two looks at the counters.
//!
//! Invariant: within a round all contestants run the same case directly after each other, at the same rate.

use super::counters::{Cpu, Disk, Kernel, Machine};
use super::figures;
use super::load::{self, Length, Load, Paced, WARM_UP_MS};
use super::results::{Contestant, Metric, Run, Table, Values};
use super::server::{Programs, Server, Setup};
use super::suite::{Block, Case, Options, Pace, Whose, Work};
use std::path::Path;
use std::time::{Duration, Instant};

/// Before a run: what the one before set off comes to an end.
const SETTLE: Duration = Duration::from_millis(200);
/// Of a look at an idle server; shorter with `--quick`.
const IDLE: Duration = Duration::from_secs(5);
const IDLE_QUICK: Duration = Duration::from_secs(1);

/// Most rounds that can be asked for, and one more.
const ROUNDS_MAX: u32 = 100;
/// A server that waits longer for its CPU, as a share of the time, shared it with somebody.
const WAITED_MAX: f64 = 0.1;

/// What every part needs.
pub struct Context<'a> {
    pub programs: &'a Programs,
    pub options: &'a Options,
    /// data and logs; each part removes what it put there
    pub scratch: &'a Path,
}

/// Runs a block. What was found before a failure is in the table all the same.
pub fn run(context: &Context, block: &Block) -> (Table, Result<(), String>) {
    let present = |setup: &&Setup| context.programs.of(setup.product).is_some();
    let setups: Vec<&Setup> = block.contestants.iter().filter(present).collect();
    let known = |name: &str| setups.iter().any(|setup| setup.name == name);
    let pairs = block.pairs.iter().filter(|(left, right)| known(left) && known(right));
    let table = Table {
        title: block.title.clone(),
        contestants: setups.iter().map(|setup| contestant(setup)).collect(),
        pairs: pairs.map(|(left, right)| (left.to_string(), right.to_string())).collect(),
        columns: block.columns.clone(),
        runs: Vec::new(),
        notes: block.notes.clone(),
    };
    println!("\n{}: {} keys of {} bytes", block.title, block.keys, block.value_bytes);
    let mut runner = Runner { context, block, setups, table };
    let result = if block.alone { runner.one_by_one() } else { runner.side_by_side() };
    let removed = remove(context.scratch);
    (runner.table, result.and(removed))
}

/// What is said about one.
pub fn contestant(setup: &Setup) -> Contestant {
    Contestant { name: setup.name.into(), command: setup.shown() }
}

/// Empties the directory of data.
pub fn remove(scratch: &Path) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("removing data: {error}");
    for entry in std::fs::read_dir(scratch).map_err(fail)?.flatten() {
        let path = entry.path();
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.map_err(fail)?;
    }
    Ok(())
}

struct Runner<'a> {
    context: &'a Context<'a>,
    block: &'a Block,
    setups: Vec<&'a Setup>,
    table: Table,
}

impl Runner<'_> {
    /// All servers run throughout; those that are not measured are idle.
    fn side_by_side(&mut self) -> Result<(), String> {
        let mut servers = Vec::new();
        for setup in self.setups.clone() {
            servers.push(self.start(setup, setup.name)?);
        }
        for case in &self.block.cases {
            let pace = self.pace(case)?;
            for round in 1..=self.context.options.rounds {
                for (index, setup) in self.setups.clone().into_iter().enumerate() {
                    if case.only.is_none_or(|only| only == setup.name) {
                        // One that died while it was idle is found before it is measured again.
                        servers[index].check_alive()?;
                        self.measure(&mut servers[index], setup, case, round, pace)?;
                    }
                }
            }
        }
        servers.into_iter().try_for_each(Server::stop)
    }

    /// A server for every run, so that the others cannot disturb it.
    fn one_by_one(&mut self) -> Result<(), String> {
        for case in &self.block.cases {
            let pace = self.pace(case)?;
            for round in 1..=self.context.options.rounds {
                for setup in self.setups.clone() {
                    if case.only.is_none_or(|only| only == setup.name) {
                        let mut server = self.start(setup, &format!("{}-{round}", setup.name))?;
                        self.measure(&mut server, setup, case, round, pace)?;
                        server.stop()?;
                        remove(self.context.scratch)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Starts one and stores every key.
    fn start(&self, setup: &Setup, directory: &str) -> Result<Server, String> {
        let Context { programs, scratch, .. } = *self.context;
        let mut server = Server::start(programs, setup, &scratch.join(directory.replace(' ', "-")))?;
        let started = Instant::now();
        load::preload(programs, &mut server, self.block.keys, self.block.value_bytes, scratch)?;
        println!("  {}: loaded in {:.1} s", setup.name, started.elapsed().as_secs_f64());
        if self.block.rests {
            figures::rest(&mut server)?;
            println!("  {}: at rest {:.1} s later", setup.name, started.elapsed().as_secs_f64());
        }
        Ok(server)
    }

    /// How the case's requests leave, now that the cases before it have run; `None` when there are none.
    fn pace(&self, case: &Case) -> Result<Option<Paced>, String> {
        let Work::Load { pace, .. } = &case.work else { return Ok(None) };
        match pace {
            Pace::Closed { connections, pipeline } => {
                Ok(Some(Paced::Closed { connections: *connections, pipeline: *pipeline }))
            }
            Pace::Open { share, of, whose } => match best(&self.table, of, *whose) {
                Some(best) => Ok(Some(Paced::Open { rate: share * best })),
                None => Err(format!("{}: nobody has run {of}", case.name)),
            },
        }
    }

    fn measure(
        &mut self,
        server: &mut Server,
        setup: &Setup,
        case: &Case,
        round: u32,
        pace: Option<Paced>,
    ) -> Result<(), String> {
        std::thread::sleep(SETTLE);
        let (values, remarks) = match (&case.work, pace) {
            (Work::Load { workload, .. }, Some(paced)) => {
                let (keys, value_bytes) = (self.block.keys, self.block.value_bytes);
                let (length, distribution) = (Length::Seconds(self.context.options.seconds), "uniform");
                // Other keys in every case, or the next one would find what this one has read in the cache.
                let number = self.block.cases.iter().position(|other| other.name == case.name).unwrap_or(0);
                let seed = round + ROUNDS_MAX * u32::try_from(number).expect("few cases");
                let warm_up_ms = if setup.copies == 1 { WARM_UP_MS } else { 0 };
                let extra = setup.load.clone();
                let load = Load { workload, distribution, paced, keys, value_bytes, length, seed, warm_up_ms, extra };
                under_load(self.context, server, &load).map_err(|error| format!("{}: {error}", case.name))?
            }
            _ => (idle(server, if self.context.options.quick { IDLE_QUICK } else { IDLE })?, Vec::new()),
        };
        println!("  {} · {} · round {round}: {}", case.name, setup.name, summary(&values));
        remarks.iter().for_each(|remark| println!("    {remark}"));
        let (case, contestant) = (case.name.clone(), setup.name.to_string());
        self.table.runs.push(Run { case, contestant, round, values, remarks });
        Ok(())
    }
}

/// The best throughput of a case.
fn best(table: &Table, case: &str, whose: Whose) -> Option<f64> {
    let peaks = || table.contestants.iter().filter_map(|contestant| table.peak(case, &contestant.name));
    let slowest = || peaks().min_by(f64::total_cmp);
    match whose {
        Whose::One(name) => table.peak(case, name).or_else(slowest),
        Whose::Slowest => slowest(),
    }
}

/// The load, between two looks at the server, the kernel and the device.
pub fn under_load(context: &Context, server: &mut Server, load: &Load) -> Result<(Values, Vec<String>), String> {
    let (commands, reads, machine) = (server.commands()?, server.record_reads()?, Machine::now());
    let (disk, kernel, cpu) = (Disk::of(context.scratch), Kernel::now(), server.cpu()?);
    let report = load.run(context.programs, server, context.scratch)?;
    let (cpu_now, kernel_now, disk_now) = (server.cpu()?, Kernel::now(), Disk::of(context.scratch));
    // The server's own count includes the warm-up, as its CPU time does.
    let counted = server.commands()?.zip(commands).map_or(0, |(now, before)| now.saturating_sub(before));
    let served = counted.max(report.replies) as f64;
    let mut values = report.values();
    values.insert(Metric::CpuUs, spent(&cpu, &cpu_now) as f64 / 1000.0 / served);
    values.insert(Metric::KernelCpuUs, kernel_now.since(&kernel) as f64 / 1000.0 / served);
    values.insert(Metric::StolenPercent, Machine::now().stolen_since(&machine));
    if let (Some(before), Some(after)) = (reads, server.record_reads()?) {
        values.insert(Metric::RecordReads, after.saturating_sub(before) as f64 / served);
    }
    let seconds = report.elapsed_s + f64::from(load.warm_up_ms) / 1000.0;
    if let (Some(before), Some(after)) = (disk, disk_now) {
        values.insert(Metric::DeviceReads, after.reads_since(&before) / served);
        values.insert(Metric::QueueDepth, after.depth_since(&before, seconds));
    }
    let mut remarks = report.remarks();
    let waited = cpu_now[0].waited_since(&cpu[0]) as f64 / 1e9 / seconds;
    // Servers that keep the same data share their CPU on purpose.
    if waited > WAITED_MAX && cpu.len() == 1 {
        remarks.push(format!("disturbed: the server waited {:.0} % of the time for its CPU", waited * 100.0));
    }
    Ok((values, remarks))
}

/// CPU time of all processes between two looks, nanoseconds.
fn spent(before: &[Cpu], after: &[Cpu]) -> u64 {
    after.iter().zip(before).map(|(after, before)| after.since(before)).sum()
}

/// CPU time while nobody asks.
fn idle(server: &Server, length: Duration) -> Result<Values, String> {
    let (before, started) = (server.cpu()?, Instant::now());
    std::thread::sleep(length);
    let spent = spent(&before, &server.cpu()?) as f64 / 1e6;
    Ok(Values::from([(Metric::IdleCpuMs, spent / started.elapsed().as_secs_f64())]))
}

/// One line to watch.
pub fn summary(values: &Values) -> String {
    let shown = [Metric::Throughput, Metric::CpuUs, Metric::P50Us, Metric::P99Us, Metric::P999Us, Metric::IdleCpuMs];
    let of = |metric: &Metric| {
        let value = super::table::absolute(*values.get(metric)?);
        Some(format!("{} {value} {}", metric.title(), metric.unit()))
    };
    shown.iter().filter_map(of).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_come_from_the_named_or_the_slowest() {
        let run = |contestant: &str, round, throughput| Run {
            case: "SET P1".into(),
            contestant: contestant.into(),
            round,
            values: Values::from([(Metric::Throughput, throughput)]),
            remarks: Vec::new(),
        };
        let named = |name: &str| Contestant { name: name.into(), command: String::new() };
        let table = Table {
            title: String::new(),
            contestants: vec![named("annulus"), named("redis")],
            pairs: Vec::new(),
            columns: Vec::new(),
            runs: vec![run("annulus", 1, 80.0), run("annulus", 2, 90.0), run("redis", 1, 60.0), run("redis", 2, 50.0)],
            notes: Vec::new(),
        };
        assert_eq!(best(&table, "SET P1", Whose::One("annulus")), Some(90.0));
        assert_eq!(best(&table, "SET P1", Whose::Slowest), Some(60.0));
        assert_eq!(best(&table, "SET P1", Whose::One("valkey")), Some(60.0));
        assert_eq!(best(&table, "GET P1", Whose::Slowest), None);
    }
}
