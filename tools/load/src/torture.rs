//! `annulus-load torture`: clients write while nodes are hurt; afterwards everything that was acknowledged must be there.
//!
//! [`workload`] does the writes, [`client`] keeps a connection, [`faults`] hurts nodes by way of [`hook`] and notes in [`reach`]
//! who could reach whom, [`verify`] reads what is left, [`verdict`] judges it.

mod client;
mod conversation;
mod faults;
mod history;
mod hook;
pub mod options;
mod reach;
mod report;
mod verdict;
mod verify;
mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use client::{Log, Shared};
use faults::Driver;
use history::{History, Key, Outcome};
use options::{Options, Settings};
use reach::Reach;
use report::Report;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use workload::{Attempt, Keys};

/// How long nodes that are there may take to answer at all.
const PRESENT_PATIENCE: Duration = Duration::from_secs(10);

/// Runs, prints, and says by the exit code whether anything was lost.
pub fn run(options: &Options) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let unix_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    let unix_ns = u64::try_from(unix_ns)?;
    let settings = options.settings(unix_ns)?;
    let report = torture(&settings, format!("{:x}", unix_ns / 1_000_000))?;
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, text).map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    }
    report.write(&mut std::io::stdout().lock())?;
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Set by SIGINT and SIGTERM: the load ends, and what it did is verified. The second one ends the process.
fn ended_by_signals() -> Result<Arc<AtomicBool>, String> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&ended))
            .and_then(|_| flag::register(signal, Arc::clone(&ended)))
            .map_err(|error| format!("signals cannot be taken: {error}"))?;
    }
    Ok(ended)
}

fn torture(settings: &Settings, run: String) -> Result<Report, String> {
    for endpoint in &settings.endpoints {
        if !faults::answers(*endpoint, PRESENT_PATIENCE) {
            return Err(format!("no node answers at {endpoint}"));
        }
    }
    let epoch = Instant::now();
    let nodes = settings.endpoints.len();
    let shared = Arc::new(Shared {
        endpoints: settings.endpoints.clone(),
        kinds: settings.kinds.clone(),
        keys: Keys::new(run, settings.keys),
        epoch,
        end: epoch + settings.length,
        patience: settings.patience,
        rate: settings.rate,
        stays: settings.stays,
        stopped: ended_by_signals()?,
        attempts: AtomicU64::new(0),
        attempts_max: settings.attempts_max,
        seed: settings.seed,
    });
    let reach = Arc::new(Mutex::new(Reach::new(nodes, settings.write_quorum)));
    let driver = settings.faults.clone().map(|(hook, interval, at_once)| {
        let driver = Driver::new(hook, Arc::clone(&shared), Arc::clone(&reach), interval, at_once);
        std::thread::spawn(move || driver.run())
    });
    let clients: Vec<_> = (0..settings.clients)
        .map(|number| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || client::run(shared, number))
        })
        .collect();
    let logs: Vec<Log> = clients.into_iter().map(|thread| thread.join().expect("a client does not panic")).collect();
    let elapsed = epoch.elapsed();
    shared.stopped.store(true, Ordering::Relaxed);
    let done = driver.map(|thread| thread.join().expect("the driver does not panic")).unwrap_or_default();
    let reach = reach.lock().expect("no thread panics with it").clone();
    Ok(assess(settings, &shared, logs, &reach, elapsed, done))
}

/// Verifies, and puts everything together.
fn assess(
    settings: &Settings,
    shared: &Shared,
    mut logs: Vec<Log>,
    reach: &Reach,
    elapsed: Duration,
    done: faults::Done,
) -> Report {
    let until_ns = nanoseconds(elapsed);
    let mut history = History::default();
    logs.iter_mut().for_each(|log| history.absorb(std::mem::take(&mut log.history)));
    let plan = verify::Plan {
        endpoints: &settings.endpoints,
        run: &shared.keys.run,
        patience: settings.settle,
        skew_ns: nanoseconds(settings.skew),
    };
    let found = verify::run(plan, &history);
    let mut errors = BTreeMap::new();
    for (kind, count) in logs.iter().flat_map(|log| &log.errors) {
        *errors.entry(kind.clone()).or_insert(0) += count;
    }
    let times = (until_ns, nanoseconds(settings.grace));
    let availability = |wanted| report::availability(wanted, &logs, reach, times);
    Report {
        run: shared.keys.run.clone(),
        seed: settings.seed,
        elapsed_s: elapsed.as_secs_f64(),
        clients: settings.clients,
        nodes: settings.endpoints.len(),
        faults: done.counts,
        fault_driver: done.failure,
        verdicts: report::verdicts(&settings.kinds, found.verdicts),
        invented_reads: invented_reads(&logs, &history),
        reads_checked: logs.iter().map(|log| log.own.reads_made).sum(),
        answers_compared: found.answers,
        agreed_after_s: found.agreed_after_s,
        availability: availability(Attempt::Write),
        read_availability: availability(Attempt::Read),
        errors,
        reconnects: logs.iter().map(|log| log.reconnects).sum(),
        longest_gap_ms: logs.iter().map(|log| report::longest_gap_ms(log, until_ns)).collect(),
        writes: report::latency(&logs, Attempt::Write),
        reads: report::latency(&logs, Attempt::Read),
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).expect("a run is shorter than 500 years")
}

/// Reads on the way that showed what nobody had sent there, or what was refused.
fn invented_reads(logs: &[Log], history: &History) -> u64 {
    let mut known: BTreeMap<Key, BTreeSet<_>> = BTreeMap::new();
    let mut invented = 0;
    for log in logs {
        invented += log.own.foreign_reads.len() as u64;
        for (key, id) in &log.own.reads {
            let written = known.entry(*key).or_insert_with(|| {
                history.of(*key).iter().filter(|write| write.outcome != Outcome::Refused).filter_map(|w| w.id).collect()
            });
            invented += u64::from(!written.contains(id));
        }
    }
    invented
}
