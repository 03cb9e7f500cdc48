//! `ls`: what there is, partition by partition and core by core.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::{Table, Verdict, tell};
use crate::failure::Failure;
use crate::log::Log;
use crate::state::{Fate, Partition, Totals};
use crate::store::Store;
use crate::text;

/// One partition's line.
struct Line {
    number: u16,
    files: usize,
    runs: usize,
    counting_runs: usize,
    totals: Totals,
    root: u128,
}

/// Lists a path.
pub fn run(path: &Path, json: bool, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let mut store = Store::open(path)?;
    let mut lines = Vec::new();
    let mut findings = store.findings.clone();
    for number in store.partitions() {
        let mut partition = store.partition(number, false)?;
        findings.extend(std::mem::take(&mut partition.findings));
        lines.push(line_of(&partition));
    }
    if json {
        let mut listing = to_json(&store, &lines);
        listing["findings"] = findings.to_json();
        writeln!(out, "{listing}")?;
    } else {
        write_node(&store, out)?;
        write_partitions(&lines, out)?;
        write_log(&store.log, out)?;
    }
    Ok(tell(&findings))
}

fn line_of(partition: &Partition) -> Line {
    Line {
        number: partition.number,
        files: partition.files.len(),
        runs: partition.runs().count(),
        counting_runs: partition.runs().filter(|run| partition.fate(run.at) == Fate::Current).count(),
        totals: partition.totals(),
        root: partition.tree().root(),
    }
}

fn sum(lines: &[Line]) -> Totals {
    lines.iter().fold(Totals::default(), |sum, line| {
        let totals = line.totals;
        let clocks = match (sum.clocks, totals.clocks) {
            (Some((low, high)), Some((lower, higher))) => Some((low.min(lower), high.max(higher))),
            (one, other) => one.or(other),
        };
        Totals {
            keys: sum.keys + totals.keys,
            tombstones: sum.tombstones + totals.tombstones,
            live_in_files: sum.live_in_files + totals.live_in_files,
            live_in_log: sum.live_in_log + totals.live_in_log,
            dead: sum.dead + totals.dead,
            clocks,
        }
    })
}

fn write_node(store: &Store, out: &mut dyn Write) -> std::io::Result<()> {
    let Some(meta) = store.meta() else { return Ok(()) };
    writeln!(
        out,
        "node {:012x}.{}, cluster {:032x}, {} partitions, {} cores in layout {}, {}\n",
        meta.node_id,
        meta.incarnation,
        u128::from_be_bytes(meta.cluster_id),
        meta.partitions,
        meta.cores,
        meta.layout,
        if meta.clean { "ended cleanly" } else { "running, or did not end cleanly" }
    )
}

fn write_partitions(lines: &[Line], out: &mut dyn Write) -> std::io::Result<()> {
    let mut table = Table::new(&[
        "partition",
        "files",
        "runs",
        "keys",
        "tombstones",
        "live",
        "in log",
        "dead",
        "oldest",
        "newest",
        "root",
    ]);
    let total = sum(lines);
    let mut row = |name: String, files: usize, runs: String, totals: &Totals, root: String| {
        let time = |clock: Option<annulus_object::Clock>| clock.map_or("-".into(), |clock| text::time(clock.unix_ms()));
        table.row([
            name,
            files.to_string(),
            runs,
            totals.keys.to_string(),
            totals.tombstones.to_string(),
            text::bytes(totals.live_in_files + totals.live_in_log),
            text::bytes(totals.live_in_log),
            text::bytes(totals.dead),
            time(totals.clocks.map(|clocks| clocks.0)),
            time(totals.clocks.map(|clocks| clocks.1)),
            root,
        ]);
    };
    let runs =
        |counting: usize, all: usize| if counting == all { all.to_string() } else { format!("{counting}/{all}") };
    for line in lines {
        let root = format!("{:032x}", line.root);
        row(line.number.to_string(), line.files, runs(line.counting_runs, line.runs), &line.totals, root);
    }
    let all = |of: fn(&Line) -> usize| lines.iter().map(of).sum::<usize>();
    let all_runs = runs(all(|line| line.counting_runs), all(|line| line.runs));
    row("all".into(), all(|line| line.files), all_runs, &total, String::new());
    table.write(out)
}

fn write_log(log: &Log, out: &mut dyn Write) -> std::io::Result<()> {
    if log.segments.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&["segment", "core", "sequence", "standing", "frames", "records", "used", "of"]);
    for segment in &log.segments {
        let name = segment.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        table.row([
            name,
            segment.core.to_string(),
            segment.sequence.to_string(),
            segment.standing.word().to_owned(),
            segment.frames.to_string(),
            segment.records.to_string(),
            text::bytes(segment.used),
            text::bytes(segment.length),
        ]);
    }
    writeln!(out)?;
    table.write(out)?;
    writeln!(out)?;
    for (core, of_core) in &log.cores {
        for (name, instance) in
            ["small", "large"].iter().zip(&of_core.instances).filter(|(_, it)| !it.sequences.is_empty())
        {
            let tail = instance.tail.map_or("no frame".to_owned(), |tail| format!("log begins with sequence {tail}"));
            let torn = if instance.is_torn { ", ends in a torn write" } else { "" };
            writeln!(
                out,
                "core {core}, {name} records: {tail}; {} frames, {} records{torn}",
                instance.frames, instance.records
            )?;
        }
        if let Some(mark) = of_core.mark {
            writeln!(out, "core {core}: everything up to {} was flushed", text::time(mark.unix_ms()))?;
        }
    }
    Ok(())
}

fn totals_json(totals: &Totals) -> Value {
    json!({
        "keys": totals.keys,
        "tombstones": totals.tombstones,
        "live_bytes": totals.live_in_files + totals.live_in_log,
        "live_bytes_in_log": totals.live_in_log,
        "dead_bytes": totals.dead,
        "oldest_ms": totals.clocks.map(|clocks| clocks.0.unix_ms()),
        "newest_ms": totals.clocks.map(|clocks| clocks.1.unix_ms()),
    })
}

fn to_json(store: &Store, lines: &[Line]) -> Value {
    let partition = |line: &Line| {
        let mut value = totals_json(&line.totals);
        value["partition"] = line.number.into();
        value["files"] = line.files.into();
        value["runs"] = line.runs.into();
        value["counting_runs"] = line.counting_runs.into();
        value["root"] = format!("{:032x}", line.root).into();
        value
    };
    let segments = store.log.segments.iter().map(|segment| {
        json!({
            "path": segment.path.display().to_string(),
            "core": segment.core,
            "instance": segment.instance,
            "sequence": segment.sequence,
            "standing": segment.standing.word(),
            "frames": segment.frames,
            "records": segment.records,
            "used_bytes": segment.used,
            "bytes": segment.length,
        })
    });
    let cores = store.log.cores.iter().map(|(core, log)| {
        let tails: Vec<_> = log.instances.iter().map(|instance| instance.tail).collect();
        json!({ "core": core, "tails": tails, "mark_ms": log.mark.map(annulus_object::Clock::unix_ms) })
    });
    let node = store.meta().map(|meta| {
        json!({
            "node": format!("{:012x}", meta.node_id),
            "incarnation": meta.incarnation,
            "cluster": format!("{:032x}", u128::from_be_bytes(meta.cluster_id)),
            "partitions": meta.partitions,
            "cores": meta.cores,
            "layout": meta.layout,
            "clean": meta.clean,
        })
    });
    json!({
        "path": store.root().display().to_string(),
        "node": node,
        "partitions": lines.iter().map(partition).collect::<Value>(),
        "totals": totals_json(&sum(lines)),
        "segments": segments.collect::<Value>(),
        "cores": cores.collect::<Value>(),
    })
}
