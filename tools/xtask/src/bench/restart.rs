//! The restart suite: how long after its start a server with data answers, after a clean stop and after `kill -9`.
//!
//! The kill comes right behind a burst of writes over what is stored, so that what a clean stop would have finished, drains
//! and compactions among it, is under way. The time runs from the start of the process to the answer to a GET of a key that was stored before. Data files leave
//! the page cache before every start, for everybody, as far as `dd` can do it.
//!
//! Invariant: a start counts only if the stored value came back, and nothing else runs meanwhile.

use super::figures::Figures;
use super::load::{self, Length, Load, Paced, WARM_UP_MS};
use super::results::{Metric, Run, Table, Values};
use super::runner::{Context, contestant, remove};
use super::server::{Product, START, Server, Setup};
use super::suite::restart_contestants;
use super::wire;
use crate::shell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const VALUE_BYTES: u64 = 100;
const KEY: &str = "bench:stored-before";
const VALUE: &str = "still here";
/// Of the keys one in so many is written over just before `kill -9`, so that there is an end that no clean stop has seen.
const LAST_WRITES_SHARE: u64 = 20;
const LAST_CONNECTIONS: u32 = 16;
const LAST_PIPELINE: u32 = 16;
/// For one answer while it starts: one that is loading may answer late.
const ANSWER: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Clean,
    Kill,
}

impl End {
    fn name(self) -> &'static str {
        match self {
            End::Clean => "a clean stop",
            End::Kill => "kill -9",
        }
    }

    fn case(self, keys: u64) -> String {
        format!("{} M keys, after {}", keys / 1_000_000, self.name())
    }
}

/// One that is down, with its data.
struct Stopped<'a> {
    setup: &'a Setup,
    data: PathBuf,
}

/// Runs it with that many keys.
pub fn run(context: &Context, keys: u64, rounds: u32) -> (Table, Result<(), String>) {
    let all = restart_contestants();
    let present = |(setup, _): &&(Setup, Option<&str>)| context.programs.of(setup.product).is_some();
    let all: Vec<&(Setup, Option<&str>)> = all.iter().filter(present).collect();
    let (own, others): (Vec<_>, Vec<_>) = all.iter().copied().partition(|(setup, _)| setup.product == Product::Annulus);
    let pair = |own: &str, other: &str| (own.to_string(), other.to_string());
    let pairs = own.iter().flat_map(|(own, _)| others.iter().map(move |(other, _)| pair(own.name, other.name)));
    let mut table = Table {
        title: format!("{} M keys of {VALUE_BYTES} bytes", keys / 1_000_000),
        contestants: all.iter().map(|(setup, _)| contestant(setup)).collect(),
        pairs: pairs.collect(),
        columns: vec![Metric::StartMs],
        runs: Vec::new(),
        notes: vec![format!(
            "Rounds: {rounds}. redis RDB: saved once after loading. redis AOF: as it was written, not rewritten. Before each \
             kill one key in {LAST_WRITES_SHARE} was written over; of the RDB that changes nothing. Data files were dropped \
             from the page cache before each start."
        )],
    };
    println!("\nRestart with {keys} keys");
    let result = measure_all(context, &all, keys, rounds, &mut table);
    let removed = remove(context.scratch);
    (table, result.and(removed))
}

fn measure_all(
    context: &Context,
    all: &[&(Setup, Option<&str>)],
    keys: u64,
    rounds: u32,
    table: &mut Table,
) -> Result<(), String> {
    let mut stopped = Vec::new();
    for (setup, save) in all {
        stopped.push(store(context, setup, *save, keys)?);
    }
    let starts = plan(rounds);
    for (index, (end, round)) in starts.iter().enumerate() {
        let next = starts.get(index + 1).map_or(End::Clean, |(end, _)| *end);
        for one in &stopped {
            let (server, took) = start(context, one)?;
            let start_ms = took.as_secs_f64() * 1000.0;
            println!("  {} · {} · round {round}: {start_ms:.0} ms", end.case(keys), one.setup.name);
            table.runs.push(Run {
                case: end.case(keys),
                contestant: one.setup.name.into(),
                round: *round,
                values: Values::from([(Metric::StartMs, start_ms)]),
                remarks: Vec::new(),
            });
            finish(context, server, one, next, (keys, *round), table)?;
        }
    }
    Ok(())
}

/// Which end precedes each start; the first ones follow the clean stop after loading.
fn plan(rounds: u32) -> Vec<(End, u32)> {
    [End::Clean, End::Kill].into_iter().flat_map(|end| (1..=rounds).map(move |round| (end, round))).collect()
}

/// Stores all keys and stops.
fn store<'a>(context: &Context, setup: &'a Setup, save: Option<&str>, keys: u64) -> Result<Stopped<'a>, String> {
    let data = context.scratch.join(setup.name.replace(' ', "-"));
    let (mut server, started) = (Server::start(context.programs, setup, &data)?, Instant::now());
    load::preload(context.programs, &mut server, keys, VALUE_BYTES, context.scratch)?;
    server.ask(&["SET", KEY, VALUE])?;
    if let Some(save) = save {
        server.ask(&[save])?;
    }
    println!("  {}: stored in {:.1} s", setup.name, started.elapsed().as_secs_f64());
    server.stop()?;
    Ok(Stopped { setup, data })
}

/// Starts it and waits for the value that was stored.
fn start(context: &Context, one: &Stopped) -> Result<(Server, Duration), String> {
    forget(&one.data);
    let started = Instant::now();
    let mut server = Server::spawn(context.programs, one.setup, &one.data)?;
    let answers = |port| {
        let is = |words: &[&str], wanted: &str| wire::ask(port, words, ANSWER).is_ok_and(|reply| reply == wanted);
        is(&["PING"], "PONG") && is(&["GET", KEY], VALUE)
    };
    server.wait_until(START, answers)?;
    Ok((server, started.elapsed()))
}

/// Ends it as the next start shall find it.
fn finish(
    context: &Context,
    mut server: Server,
    one: &Stopped,
    end: End,
    (keys, round): (u64, u32),
    table: &mut Table,
) -> Result<(), String> {
    if end == End::Kill {
        let load = Load {
            workload: "set",
            distribution: "uniform",
            paced: Paced::Closed { connections: LAST_CONNECTIONS, pipeline: LAST_PIPELINE },
            keys,
            value_bytes: VALUE_BYTES,
            length: Length::Requests(keys / LAST_WRITES_SHARE),
            seed: round,
            warm_up_ms: WARM_UP_MS,
            extra: Vec::new(),
        };
        load.run(context.programs, &mut server, context.scratch)?;
    }
    if one.setup.product == Product::Annulus {
        let Figures { log_files, partition_files, partition_runs, .. } = Figures::of(&server)?;
        let note = format!(
            "{} before {}: {} MiB of log, {} MiB of partition files with {partition_runs} runs.",
            one.setup.name,
            end.name(),
            log_files >> 20,
            partition_files >> 20
        );
        // The rounds differ little; one line for each end says enough.
        let is_new =
            !table.notes.iter().any(|other| other.starts_with(&format!("{} before {}", one.setup.name, end.name())));
        table.notes.extend(is_new.then_some(note));
    }
    match end {
        End::Clean => server.stop(),
        End::Kill => server.kill(),
    }
}

/// Drops files from the page cache; with no effect on what is written past it.
fn forget(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            forget(&path);
        } else {
            let file = format!("of={}", path.display());
            let drop = ["oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none", &file];
            let _ = shell::output(&mut shell::command("dd", &drop));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_stops_come_first_and_every_round_is_there() {
        assert_eq!(plan(2), [(End::Clean, 1), (End::Clean, 2), (End::Kill, 1), (End::Kill, 2)]);
        assert!(plan(1)[1].0.case(10_000_000).starts_with("10 M keys, after kill"));
    }
}
