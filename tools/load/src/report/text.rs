//! A report for a terminal, and the words and figures that the page and the comparison share with it.
//!
//! Not the stored form. Invariant: whatever came from a server or from a file is printed without control characters, and
//! nothing that makes the figures doubtful (a limited generator, failed checks, errors) is left out.

use std::io::{self, Write};

use super::{Latency, Report, Step, Verification};

/// Stands where there is nothing to say.
pub const NOTHING: &str = "–";
/// Heads of the columns of [`latency_cells`].
pub const LATENCY_HEADS: [&str; 7] = ["count", "p50", "p90", "p99", "p99.9", "p99.99", "max"];
/// Heads of the columns of [`step_cells`].
pub const STEP_HEADS: [&str; 7] = ["rate", "throughput", "p50", "p99", "p99.9", "errors", "result"];
/// Where an operation has no name of its own: the row of all of them.
pub const ALL: &str = "all";
/// Columns before a value: the longest label and two spaces.
const LABEL_WIDTH: usize = 14;

/// Writes the whole report.
pub fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    for (label, value) in settings(report).into_iter().chain(results(report)) {
        writeln!(out, "{label:<LABEL_WIDTH$}{value}")?;
    }
    for example in report.verification.iter().flat_map(|found| &found.examples) {
        writeln!(out, "  {}", printable(example))?;
    }
    if let Some(reason) = &report.generator.limited {
        writeln!(out, "load generator limited: {}", printable(reason))?;
    }
    writeln!(out)?;
    write_table(out, &latency_rows(report))?;
    if report.sweep.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let head = STEP_HEADS.map(str::to_owned).to_vec();
    let rows: Vec<_> = [head].into_iter().chain(report.sweep.iter().map(step_cells)).collect();
    write_table(out, &rows)?;
    sweep_result(report).map_or(Ok(()), |line| writeln!(out, "{line}"))
}

/// What was run: label and value.
pub fn settings(report: &Report) -> Vec<(&'static str, String)> {
    let rate = report.rate.map(|rate| format!(" at {}", per_second(rate))).unwrap_or_default();
    let load = format!(
        "{} loop{rate}, {}, pipeline {}, {}",
        printable(&report.mode),
        counted(report.connections.into(), "connection"),
        report.pipeline,
        counted(report.threads.into(), "thread"),
    );
    let command: Vec<_> = report.command.iter().map(|argument| printable(argument)).collect();
    vec![
        ("command", command.join(" ")),
        ("endpoint", printable(&report.endpoint)),
        ("workload", format!("{}, {}", printable(&report.workload), counted(report.keys, "key"))),
        ("load", load),
        ("measured", format!("{:.1} s from {}", report.elapsed_s, utc(report.started_unix_ms))),
    ]
}

/// What came of it: label and value. The latencies have their own table.
pub fn results(report: &Report) -> Vec<(&'static str, String)> {
    let answered = match report.due {
        0 => String::new(),
        due => format!(" ({:.2} % of those due)", 100.0 * report.replies as f64 / due as f64),
    };
    let generator = format!(
        "{} of one CPU in its busiest thread, requests left late by {} at p99",
        percent(report.generator.cpu_share),
        latency(report.generator.lateness_p99)
    );
    vec![
        ("throughput", per_second(report.throughput)),
        ("due", count(report.due)),
        ("replies", format!("{}{answered}", count(report.replies))),
        ("errors", errors(report)),
        ("generator", generator),
        ("verification", report.verification.as_ref().map_or_else(|| "none".to_owned(), verification)),
    ]
}

/// Sum of all errors.
pub fn errors_total(report: &Report) -> u64 {
    report.errors.values().fold(0, |sum, errors| sum.saturating_add(*errors))
}

fn errors(report: &Report) -> String {
    let kinds: Vec<_> =
        report.errors.iter().map(|(kind, errors)| format!("{} {}", printable(kind), count(*errors))).collect();
    let total = count(errors_total(report));
    if kinds.is_empty() { total } else { format!("{total}: {}", kinds.join(", ")) }
}

/// Whether the store broke a promise.
pub fn failed(found: &Verification) -> bool {
    found.mismatches > 0 || found.lost > 0
}

/// The result of the checks in one line.
pub fn verification(found: &Verification) -> String {
    let counts = format!(
        "{} checked, {}, {}, {} read at the end",
        counted(found.checked, "read"),
        if found.mismatches == 1 { "1 mismatch".to_owned() } else { format!("{} mismatches", count(found.mismatches)) },
        counted(found.lost, "lost acknowledged write"),
        counted(found.keys_at_end, "key"),
    );
    match found {
        _ if failed(found) => format!("FAILED: {counts}"),
        Verification { checked: 0, keys_at_end: 0, .. } => "nothing was checked".to_owned(),
        _ => format!("passed: {counts}"),
    }
}

/// The table of latencies, its head first: all operations, then each.
pub fn latency_rows(report: &Report) -> Vec<Vec<String>> {
    let row = |name: &str, latency: &Latency| [printable(name)].into_iter().chain(latency_cells(latency)).collect();
    let mut rows = vec![["latency"].into_iter().chain(LATENCY_HEADS).map(str::to_owned).collect()];
    rows.push(row(ALL, &report.latency));
    rows.extend(report.operations.iter().map(|(name, latency)| row(name, latency)));
    rows
}

/// Count and percentiles of one operation, in the order of [`LATENCY_HEADS`].
fn latency_cells(of: &Latency) -> Vec<String> {
    let figures = [of.p50, of.p90, of.p99, of.p999, of.p9999, of.max];
    let cell = |us| if of.count == 0 { NOTHING.to_owned() } else { latency(us) };
    [count(of.count)].into_iter().chain(figures.map(cell)).collect()
}

/// One step of a sweep, in the order of [`STEP_HEADS`].
pub fn step_cells(step: &Step) -> Vec<String> {
    let result = match step {
        Step { generator_limited: true, .. } => "generator limited",
        Step { met: true, .. } => "met",
        _ => "missed",
    };
    vec![
        per_second(step.rate),
        per_second(step.throughput),
        latency(step.p50),
        latency(step.p99),
        latency(step.p999),
        count(step.errors),
        result.to_owned(),
    ]
}

/// The step with the highest rate that met the target; a rate that the client could not make is none.
pub fn highest_met(report: &Report) -> Option<&Step> {
    let met = report.sweep.iter().filter(|step| step.met && !step.generator_limited);
    met.max_by(|a, b| a.rate.total_cmp(&b.rate))
}

/// What the sweep found, if there was one with a target.
pub fn sweep_result(report: &Report) -> Option<String> {
    let slo = latency(report.slo_us.filter(|_| !report.sweep.is_empty())?);
    Some(match highest_met(report) {
        Some(step) => format!("highest rate that meets p99.9 ≤ {slo}: {}", per_second(step.rate)),
        None => format!("no rate that was tried meets p99.9 ≤ {slo}"),
    })
}

/// Writes rows whose first column stands left and whose other columns stand right.
pub fn write_table(out: &mut impl Write, rows: &[Vec<String>]) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            line += &if column == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") };
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A latency of so many microseconds with its unit: µs below 10 ms, ms from there.
pub fn latency(us: f64) -> String {
    match us {
        _ if !us.is_finite() => NOTHING.to_owned(),
        _ if us < 100.0 => format!("{us:.1} µs"),
        _ if us < 10_000.0 => format!("{us:.0} µs"),
        _ if us < 1_000_000.0 => format!("{:.1} ms", us / 1000.0),
        _ => format!("{:.0} ms", us / 1000.0),
    }
}

/// A number with its thousands apart.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number and what it counts.
fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A rate: whole numbers, but two digits after the point where it is small.
pub fn per_second(rate: f64) -> String {
    match rate {
        _ if !rate.is_finite() => NOTHING.to_owned(),
        _ if rate < 100.0 && rate.fract() != 0.0 => format!("{rate:.2}/s"),
        // Saturates: no rate is near the limit.
        _ => format!("{}/s", count(rate.round() as u64)),
    }
}

/// A share of 1.
pub fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// The text without control characters: a server's words must not steer the terminal.
pub fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() { clean.extend(letter.escape_default()) } else { clean.push(letter) }
    }
    clean
}

/// Date and time in UTC, to the second.
pub fn utc(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Year, month and day of the Gregorian calendar, so many days after 1970-01-01. Years begin with March here, so that
/// the leap day is the last; an era is 400 of them.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_PER_ERA: u64 = 146_097;
    const DAYS_FROM_YEAR_0_TO_1970: u64 = 719_468;
    let days = days + DAYS_FROM_YEAR_0_TO_1970;
    let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}
