//! One run: its threads, its progress, and its report.
//!
//! Invariant: a report is made whatever the server did once the run had begun.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Barrier};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::endpoints::Endpoints;
use crate::ledger::Ledger;
use crate::load::Load;
use crate::report::{FORMAT, Generator, Report, Second, Verification};
use crate::settings::{Mode, Settings};
use crate::tally::{SecondTally, Tally};
use crate::worker::{Shared, Worker, WorkerError};

/// Above this the client itself is what is measured.
const CPU_SHARE_MAX: f64 = 0.95;
/// The 99th percentile of how late requests may leave, as a part of their median latency and at least so much.
const LATENESS_PART: f64 = 0.5;
const LATENESS_LEAST_US: f64 = 200.0;

/// Runs, and says every second how it goes unless `quiet`.
pub fn run(settings: &Settings, endpoints: &Endpoints, quiet: bool) -> Result<Report, WorkerError> {
    let started_unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let (sender, seconds) = channel();
    let threads = settings.threads;
    let shared = Shared { origin: Instant::now(), barrier: Arc::new(Barrier::new(threads as usize)), seconds: sender };
    let start = |thread| {
        let (settings, endpoints, shared) = (settings.clone(), endpoints.clone(), shared.clone());
        std::thread::spawn(move || {
            let barrier = Arc::clone(&shared.barrier);
            match Worker::connect(&settings, &endpoints, thread, shared) {
                Ok(worker) => worker.run(),
                Err(error) => {
                    // The others wait for this thread.
                    barrier.wait();
                    Err(error)
                }
            }
        })
    };
    let workers: Vec<_> = (0..threads).map(start).collect();
    drop(shared);
    let seconds = watch(&seconds, threads, quiet);
    let loads: Result<Vec<Load>, WorkerError> =
        workers.into_iter().map(|worker| worker.join().expect("a panic ends the process")).collect();
    Ok(report(settings, &loads?, seconds, u64::try_from(started_unix_ms).expect("milliseconds fit")))
}

/// Adds the threads' seconds up until every thread has ended.
fn watch(ended: &Receiver<SecondTally>, threads: u32, quiet: bool) -> Vec<Second> {
    let mut open: BTreeMap<u64, (u32, SecondTally)> = BTreeMap::new();
    let mut seconds: Vec<Second> = Vec::new();
    let mut finish = |tally: &SecondTally| {
        let second = tally.report();
        if !quiet {
            let Second { at, replies, errors, p50, p99, max, .. } = second;
            let line = format!(
                "{:>4} s {replies:>9}/s  errors {errors}  p50 {p50:.0} µs  p99 {p99:.0} µs  max {max:.0} µs",
                at + 1
            );
            // Whoever started it may have closed its error output.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
        seconds.push(second);
    };
    while let Ok(tally) = ended.recv() {
        let at = tally.at;
        match open.get_mut(&at) {
            Some((count, sum)) => {
                sum.add(&tally);
                *count += 1;
            }
            None => {
                open.insert(at, (1, tally));
            }
        }
        while let Some(first) = open.first_entry()
            && first.get().0 == threads
        {
            finish(&first.remove().1);
        }
    }
    open.values().for_each(|(_, tally)| finish(tally));
    seconds
}

fn report(settings: &Settings, loads: &[Load], seconds: Vec<Second>, started_unix_ms: u64) -> Report {
    let mut tally = Tally::default();
    loads.iter().for_each(|load| tally.add(&load.tally));
    let elapsed_s = tally.elapsed_ns as f64 / 1e9;
    let replies = tally.replies();
    let latency = tally.latency();
    let generator = generator(settings, &tally, latency.p50);
    Report {
        format: FORMAT,
        started_unix_ms,
        command: std::env::args().collect(),
        endpoint: String::new(),
        workload: String::new(),
        mode: if settings.mode == Mode::Closed { "closed" } else { "open" }.to_owned(),
        rate: match settings.mode {
            Mode::Open { rate, .. } => Some(rate),
            Mode::Closed => None,
        },
        connections: settings.connections,
        pipeline: settings.pipeline,
        threads: settings.threads,
        keys: settings.keys,
        elapsed_s,
        due: tally.due,
        replies,
        throughput: if elapsed_s > 0.0 { replies as f64 / elapsed_s } else { 0.0 },
        errors: tally.errors.clone(),
        operations: tally.operations(),
        latency,
        seconds,
        generator,
        verification: verification(loads.iter().filter_map(|load| load.ledger.as_ref())),
        sweep: Vec::new(),
        slo_us: None,
    }
}

fn generator(settings: &Settings, tally: &Tally, p50_us: f64) -> Generator {
    let cpu_share = if tally.elapsed_ns > 0 { tally.busy_ns as f64 / tally.elapsed_ns as f64 } else { 0.0 };
    let lateness_p99 = tally.lateness.value_at_quantile(0.99) as f64 / 1000.0;
    let limited = if cpu_share > CPU_SHARE_MAX {
        Some(format!("a thread of the client used {:.0} % of a CPU; give it --threads or more CPUs", cpu_share * 100.0))
    } else if settings.mode != Mode::Closed && lateness_p99 > (p50_us * LATENESS_PART).max(LATENESS_LEAST_US) {
        Some(format!("requests left late by {lateness_p99:.0} µs (p99) although the server had taken those before"))
    } else {
        None
    };
    Generator { cpu_share, lateness_p99, limited }
}

fn verification<'a>(ledgers: impl Iterator<Item = &'a Ledger>) -> Option<Verification> {
    ledgers.fold(None, |sum, ledger| {
        let mut sum: Verification = sum.unwrap_or_default();
        sum.checked += ledger.checked;
        sum.mismatches += ledger.mismatches;
        sum.lost += ledger.lost;
        sum.keys_at_end += ledger.len();
        sum.examples.extend(ledger.examples.iter().cloned());
        Some(sum)
    })
}
