//! The overwrite suite: what a data set that is written over and over costs on the disk, in bytes written and in space.
//!
//! All keys are stored once, and then as many writes as there are keys follow in each of several passes. Written bytes are
//! what the node counts (log and partition files, headers and padding included), and beside it what the kernel counts for
//! the process, over the bytes of the records that clients wrote. Space is what the files take over what is live, looked
//! at every second from the second pass on: the first one only makes the garbage that there always is afterwards.
//!
//! Invariant: the figures of all passes together begin and end at rest, so that no compaction is left to others.

use super::counters::disk_usage;
use super::figures::{self, Figures};
use super::load::{self, Length, Load, Paced, WARM_UP_MS};
use super::results::{Metric, Run, Table, Values};
use super::runner::{Context, contestant, remove};
use super::server::{Server, Setup};
use super::wire;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Of the load generator's keys.
const KEY_BYTES: u64 = 16;
const RECORD_HEADER_BYTES: u64 = 64;
const RECORD_ALIGNMENT: u64 = 16;
/// Enough at once to fill frames.
const CONNECTIONS: u32 = 50;
const PIPELINE: u32 = 16;
/// Between two looks at the space.
const LOOK: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(5);
/// As many bytes live for one of space.
pub const SPACE_MAX: f64 = 1.55;

/// One data set, written over in one way.
pub struct Overwrite {
    pub setup: Setup,
    pub distribution: &'static str,
    pub keys: u64,
    pub value_bytes: u64,
    pub passes: u32,
}

impl Overwrite {
    /// The case in which all passes are one.
    pub fn all_passes(distribution: &str) -> String {
        format!("{distribution}, all passes until at rest")
    }

    fn record_bytes(&self) -> u64 {
        (RECORD_HEADER_BYTES + KEY_BYTES + self.value_bytes).next_multiple_of(RECORD_ALIGNMENT)
    }
}

/// What has been written so far.
struct Written {
    counted: u64,
    by_process: u64,
}

impl Written {
    fn until_now(server: &Server) -> Result<Written, String> {
        Ok(Written { counted: Figures::of(server)?.written(), by_process: server.written_bytes()? })
    }

    /// Over the bytes of so many records.
    fn per_byte_since(&self, earlier: &Written, client_bytes: f64) -> Values {
        let over = |now: u64, before: u64| now.saturating_sub(before) as f64 / client_bytes;
        Values::from([
            (Metric::WriteAmplification, over(self.counted, earlier.counted)),
            (Metric::DeviceWriteAmplification, over(self.by_process, earlier.by_process)),
        ])
    }
}

/// Runs it.
pub fn run(context: &Context, plan: &Overwrite) -> (Table, Result<(), String>) {
    let mib = (plan.keys * plan.record_bytes()) >> 20;
    let mut table = Table {
        title: format!("{}: {} keys of {} bytes, {mib} MiB of records", plan.distribution, plan.keys, plan.value_bytes),
        contestants: vec![contestant(&plan.setup)],
        pairs: Vec::new(),
        columns: vec![
            Metric::WriteAmplification,
            Metric::DeviceWriteAmplification,
            Metric::SpaceMean,
            Metric::SpaceMax,
            Metric::Throughput,
        ],
        runs: Vec::new(),
        notes: vec![format!(
            "{} passes of {} writes each, {CONNECTIONS} connections with {PIPELINE} requests outstanding. A written byte is \
             one of value, key and {RECORD_HEADER_BYTES} bytes of header, rounded up to {RECORD_ALIGNMENT}.",
            plan.passes, plan.keys
        )],
    };
    println!("\n{}", table.title);
    let data = context.scratch.join("overwrite");
    let result = measure(context, plan, &data, &mut table);
    let removed = remove(context.scratch);
    (table, result.and(removed))
}

fn measure(context: &Context, plan: &Overwrite, data: &Path, table: &mut Table) -> Result<(), String> {
    let mut server = Server::start(context.programs, &plan.setup, data)?;
    load::preload(context.programs, &mut server, plan.keys, plan.value_bytes, context.scratch)?;
    figures::rest(&mut server)?;
    let begin = Written::until_now(&server)?;
    let (mut replies, mut spaces) = (0, Vec::new());
    for pass in 1..=plan.passes {
        let before = Written::until_now(&server)?;
        let load = Load {
            workload: "set",
            distribution: plan.distribution,
            paced: Paced::Closed { connections: CONNECTIONS, pipeline: PIPELINE },
            keys: plan.keys,
            value_bytes: plan.value_bytes,
            length: Length::Requests(plan.keys),
            seed: pass,
            warm_up_ms: WARM_UP_MS,
            extra: Vec::new(),
        };
        let (report, space) =
            watched(&Space { port: server.port(), data }, || load.run(context.programs, &mut server, context.scratch));
        let report = report?;
        replies += report.replies;
        let bytes = (report.replies * plan.record_bytes()) as f64;
        let mut values = Written::until_now(&server)?.per_byte_since(&before, bytes);
        values.insert(Metric::Throughput, report.throughput);
        if pass > 1 {
            values.extend(summary(&space));
            spaces.extend(space);
        }
        push(table, plan.distribution.into(), pass, values, report.remarks());
    }
    // What the passes have put off is theirs all the same.
    figures::rest(&mut server)?;
    let mut values = Written::until_now(&server)?.per_byte_since(&begin, (replies * plan.record_bytes()) as f64);
    values.extend(summary(&spaces));
    push(table, Overwrite::all_passes(plan.distribution), 1, values, Vec::new());
    server.stop()
}

fn push(table: &mut Table, case: String, round: u32, values: Values, remarks: Vec<String>) {
    println!("  {case} · {round}: {}", super::table::line(&table.columns, &values));
    table.runs.push(Run { case, contestant: table.contestants[0].name.clone(), round, values, remarks });
}

fn summary(space: &[f64]) -> Values {
    let largest = space.iter().copied().max_by(f64::total_cmp);
    let Some(largest) = largest else { return Values::new() };
    let mean = space.iter().sum::<f64>() / space.len() as f64;
    Values::from([(Metric::SpaceMean, mean), (Metric::SpaceMax, largest)])
}

/// Where to look for space, and whom to ask what is live.
pub struct Space<'a> {
    pub port: u16,
    pub data: &'a Path,
}

impl Space<'_> {
    /// Bytes of disk for each that is live; `None` while the node does not say.
    fn now(&self) -> Option<f64> {
        let info = wire::ask(self.port, &["INFO", "annulus"], ANSWER).ok()?;
        let live = Figures::parse(&info).ok()?.live;
        (live > 0).then(|| disk_usage(self.data) as f64 / live as f64)
    }
}

/// Does something, and looks at the space every second meanwhile.
fn watched<T>(space: &Space, work: impl FnOnce() -> T) -> (T, Vec<f64>) {
    let (over, seen) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let done = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                std::thread::park_timeout(LOOK);
                if let (Some(now), Ok(mut seen)) = (space.now(), seen.lock()) {
                    seen.push(now);
                }
            }
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        watcher.thread().unpark();
        done
    });
    (done, seen.into_inner().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::server::Product;

    #[test]
    fn records_are_rounded_up_and_bytes_divided_by_them() {
        let setup = Setup::new("annulus", Product::Annulus, &[]);
        let plan = Overwrite { setup, distribution: "uniform", keys: 10, value_bytes: 1024, passes: 5 };
        assert_eq!(plan.record_bytes(), 1104);
        assert_eq!(Overwrite { value_bytes: 1025, ..plan }.record_bytes(), 1120);
        let (before, after) = (Written { counted: 100, by_process: 0 }, Written { counted: 400, by_process: 450 });
        let values = after.per_byte_since(&before, 150.0);
        assert_eq!((values[&Metric::WriteAmplification], values[&Metric::DeviceWriteAmplification]), (2.0, 3.0));
    }

    #[test]
    fn space_has_a_mean_and_a_largest() {
        let values = summary(&[1.0, 1.5, 1.1]);
        assert!((values[&Metric::SpaceMean] - 1.2).abs() < 1e-9);
        assert_eq!(values[&Metric::SpaceMax], 1.5);
        assert!(summary(&[]).is_empty());
    }

    #[test]
    fn watching_ends_with_the_work() {
        let nobody = Space { port: 1, data: Path::new(".") };
        assert_eq!(watched(&nobody, || 7), (7, Vec::new()));
    }
}
