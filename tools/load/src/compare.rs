//! Two stored reports side by side, as ratios B/A.
//!
//! Not a judgement of which is better: noise and settings decide what a ratio is worth. Invariant: whatever makes the
//! ratios doubtful (settings that differ, a limited generator, failed checks) is printed before them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::report::text::{self, ALL, NOTHING, count, latency, per_second, percent, printable, write_table};
use crate::report::{FORMAT, Latency, Report};

/// Arguments that other lines compare, or that do not change what was measured.
const COMPARED_ELSEWHERE: [&str; 13] = [
    "--endpoint",
    "--json",
    "--html",
    "--rate",
    "--closed",
    "--connections",
    "--pipeline",
    "--threads",
    "--workload",
    "--keys",
    "--slo",
    "--verify",
    "--quiet",
];
/// Runs whose lengths differ by less than this share were equally long.
const SAME_LENGTH: f64 = 0.05;

/// Why two reports were not compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A file is absent or closed to us.
    #[error("{}: cannot be read: {error}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file holds something else, or was cut.
    #[error("{}: not a report of annulus-load: {error}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What was expected, and where.
        error: serde_json::Error,
    },
    /// A file comes from a newer version of this program: compare with that one.
    #[error("{}: format {found} is newer than {FORMAT}, the newest that this annulus-load reads", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// What it says of itself.
        found: u32,
    },
    /// The result could not be printed.
    #[error("the comparison cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// Compares the reports in two files.
pub fn run(a: &Path, b: &Path, out: &mut impl Write) -> Result<(), CompareError> {
    let (report_a, report_b) = (read(a)?, read(b)?);
    let head = |side, path: &Path, report: &Report| {
        let path = printable(&path.to_string_lossy());
        let (workload, endpoint) = (printable(&report.workload), printable(&report.endpoint));
        format!("{side}  {path}: {workload} at {endpoint}, {}", text::utc(report.started_unix_ms))
    };
    writeln!(out, "{}", head("A", a, &report_a))?;
    writeln!(out, "{}", head("B", b, &report_b))?;
    for line in doubts("A", &report_a).into_iter().chain(doubts("B", &report_b)) {
        writeln!(out, "warning: {line}")?;
    }
    let differing = differing(&report_a, &report_b);
    if !differing.is_empty() {
        writeln!(out, "warning: settings differ, the ratios may mislead:")?;
    }
    for (setting, a, b) in differing {
        writeln!(out, "  {setting}: {} in A, {} in B", printable(&a), printable(&b))?;
    }
    writeln!(out)?;
    write_table(out, &totals(&report_a, &report_b))?;
    writeln!(out)?;
    write_table(out, &latencies(&report_a, &report_b))?;
    one_sided(&report_a, &report_b).map_or(Ok(()), |line| writeln!(out, "{line}"))?;
    Ok(())
}

/// The part of a report that every format has.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

fn read(path: &Path) -> Result<Report, CompareError> {
    let bytes = std::fs::read(path).map_err(|error| CompareError::Unreadable { path: path.into(), error })?;
    let malformed = |error| CompareError::Malformed { path: path.into(), error };
    // The format comes first: a newer one may lack what ours must have.
    let Head { format } = serde_json::from_slice(&bytes).map_err(malformed)?;
    if format > FORMAT {
        return Err(CompareError::Newer { path: path.into(), found: format });
    }
    serde_json::from_slice(&bytes).map_err(malformed)
}

/// Why one report does not say what its numbers seem to say.
fn doubts(side: &str, report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(reason) = &report.generator.limited {
        lines.push(format!("{side} was limited by its load generator: {}", printable(reason)));
    }
    if let Some(found) = report.verification.as_ref().filter(|found| text::failed(found)) {
        lines.push(format!("{side}: verification {}", text::verification(found)));
    }
    if report.replies == 0 {
        lines.push(format!("{side} has no replies"));
    }
    lines
}

/// Settings that are not the same: name, of A, of B.
fn differing(a: &Report, b: &Report) -> Vec<(String, String, String)> {
    let optional = |value: Option<f64>, write: fn(f64) -> String| value.map_or_else(|| "none".to_owned(), write);
    let checks = |report: &Report| if report.verification.is_some() { "checked" } else { "not checked" }.to_owned();
    let settings = |report: &Report| {
        [
            ("workload", report.workload.clone()),
            ("mode", report.mode.clone()),
            ("rate", optional(report.rate, per_second)),
            ("connections", count(report.connections.into())),
            ("pipeline", count(report.pipeline.into())),
            ("threads", count(report.threads.into())),
            ("keys", count(report.keys)),
            ("values", checks(report)),
            ("target of p99.9", optional(report.slo_us, latency)),
        ]
    };
    let pairs = settings(a).into_iter().zip(settings(b));
    let mut found: Vec<_> = pairs.filter(|(a, b)| a.1 != b.1).map(|(a, b)| (a.0.to_owned(), a.1, b.1)).collect();
    if (a.elapsed_s - b.elapsed_s).abs() > SAME_LENGTH * a.elapsed_s.max(b.elapsed_s) {
        found.push(("measured".to_owned(), format!("{:.1} s", a.elapsed_s), format!("{:.1} s", b.elapsed_s)));
    }
    let (of_a, of_b) = (arguments(&a.command), arguments(&b.command));
    let names: BTreeSet<_> = of_a.keys().chain(of_b.keys()).copied().collect();
    for name in names.into_iter().filter(|name| of_a.get(name) != of_b.get(name)) {
        let value = |of: &BTreeMap<&str, String>| of.get(name).cloned().unwrap_or_else(|| "absent".to_owned());
        found.push((name.to_owned(), value(&of_a), value(&of_b)));
    }
    found
}

/// Named arguments and what follows each, without those that are compared elsewhere.
fn arguments(command: &[String]) -> BTreeMap<&str, String> {
    let mut named: BTreeMap<&str, String> = BTreeMap::new();
    let mut current = None;
    for argument in command {
        if argument.starts_with("--") {
            let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
            named.insert(name, value.to_owned());
            current = Some(name);
        } else if let Some(values) = current.and_then(|name| named.get_mut(name)) {
            *values = format!("{values} {argument}").trim_start().to_owned();
        }
    }
    named.retain(|name, _| !COMPARED_ELSEWHERE.contains(name));
    named.values_mut().filter(|value| value.is_empty()).for_each(|value| "given".clone_into(value));
    named
}

fn totals(a: &Report, b: &Report) -> Vec<Vec<String>> {
    let mut rows = vec![["", "A", "B", "B/A"].map(str::to_owned).to_vec()];
    rows.push(row("throughput", a.throughput, b.throughput, per_second));
    if let (Some(highest_a), Some(highest_b)) = (text::highest_met(a), text::highest_met(b)) {
        rows.push(row("highest rate that meets the target", highest_a.rate, highest_b.rate, per_second));
    }
    let whole = |number: f64| count(number as u64);
    rows.push(row("errors", text::errors_total(a) as f64, text::errors_total(b) as f64, whole));
    let kinds: BTreeSet<_> = a.errors.keys().chain(b.errors.keys()).collect();
    for kind in kinds {
        let of = |report: &Report| report.errors.get(kind).copied().unwrap_or(0) as f64;
        rows.push(row(&format!("  {}", printable(kind)), of(a), of(b), whole));
    }
    rows.push(row("CPU share of the generator", a.generator.cpu_share, b.generator.cpu_share, percent));
    rows
}

/// All operations, then each that both reports have.
fn latencies(a: &Report, b: &Report) -> Vec<Vec<String>> {
    let mut rows = vec![["latency", "A", "B", "B/A"].map(str::to_owned).to_vec()];
    rows.extend(distribution(ALL, &a.latency, &b.latency));
    for (name, of_a) in &a.operations {
        rows.extend(b.operations.get(name).into_iter().flat_map(|of_b| distribution(name, of_a, of_b)));
    }
    rows
}

fn distribution(name: &str, a: &Latency, b: &Latency) -> Vec<Vec<String>> {
    let name = printable(name);
    if a.count == 0 || b.count == 0 {
        let which = if a.count == 0 && b.count == 0 {
            "either"
        } else if a.count == 0 {
            "A"
        } else {
            "B"
        };
        return vec![vec![format!("{name} (none measured in {which})")]];
    }
    let figures = |of: &Latency| {
        [("p50", of.p50), ("p90", of.p90), ("p99", of.p99), ("p99.9", of.p999), ("p99.99", of.p9999), ("max", of.max)]
    };
    let pairs = figures(a).into_iter().zip(figures(b));
    pairs.map(|(a, b)| row(&format!("{name} {}", a.0), a.1, b.1, latency)).collect()
}

/// Operations that have no counterpart.
fn one_sided(a: &Report, b: &Report) -> Option<String> {
    let only = |side: &str, here: &Report, there: &Report| {
        let names = here.operations.keys().filter(|name| !there.operations.contains_key(*name));
        let names: Vec<_> = names.map(|name| printable(name)).collect();
        (!names.is_empty()).then(|| format!("only in {side}: {}", names.join(", ")))
    };
    let sides: Vec<_> = [only("A", a, b), only("B", b, a)].into_iter().flatten().collect();
    (!sides.is_empty()).then(|| sides.join("; "))
}

fn row(name: &str, a: f64, b: f64, write: impl Fn(f64) -> String) -> Vec<String> {
    vec![name.to_owned(), write(a), write(b), ratio(a, b)]
}

/// B/A; without a ratio where A is nothing.
fn ratio(a: f64, b: f64) -> String {
    if a > 0.0 && b.is_finite() { format!("{:.3}", b / a) } else { NOTHING.to_owned() }
}

#[cfg(test)]
mod tests;
