//! Results as Markdown: medians of the rounds' ratios with their smallest and largest, and absolute medians.
//!
//! Pure: nothing here runs or reads anything.
//!
//! Invariant: a ratio is of two values of the same round; a table never shows a median without its range.

use super::results::{FloorRow, Metric, Results, Table, Values};
use std::fmt::Write;

/// Median, smallest and largest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    /// Of any number of values above none.
    pub fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Some(Spread { median, min, max })
    }

    fn shown(self, number: impl Fn(f64) -> String) -> String {
        format!("{} ({}–{})", number(self.median), number(self.min), number(self.max))
    }
}

/// Everything of a suite.
pub fn markdown(results: &Results) -> String {
    let mut lines = vec![format!("## {}", results.suite), String::new(), format!("{}.", results.about), String::new()];
    lines.extend([format!("    {}", results.command), String::new()]);
    lines.extend(results.machine.lines().into_iter().map(|line| format!("* {line}")));
    if results.seconds > 0 {
        lines.push(format!("* {} interleaved rounds of {} s each", results.rounds, results.seconds));
    }
    lines.push(String::new());
    if let Some(failure) = &results.failure {
        let first = failure.lines().next().unwrap_or_default();
        lines.extend([format!("**Not complete:** {first}"), String::new()]);
    }
    if !results.verdict.is_empty() {
        lines.extend(results.verdict.iter().map(|line| format!("* {line}")));
        lines.push(String::new());
    }
    for table in &results.tables {
        lines.extend([format!("### {}", table.title), String::new()]);
        lines.extend(table.contestants.iter().map(|one| format!("* {}: `{}`", one.name, one.command)));
        lines.push(String::new());
        lines.extend(ratios(table));
        lines.extend(absolutes(table));
        lines.extend(remarks(table));
        lines.extend(table.notes.iter().flat_map(|note| [note.clone(), String::new()]));
    }
    if !results.floor.is_empty() {
        lines.extend(["### The raw machine".into(), String::new()]);
        lines.extend(floor(&results.floor));
        lines.extend(["Times are in µs.".into(), String::new()]);
    }
    lines.extend(results.notes.iter().flat_map(|note| [note.clone(), String::new()]));
    let mut text = lines.join("\n").trim_end().to_string();
    text.push('\n');
    text
}

/// The client's share says nothing as a ratio.
fn is_compared(metric: Metric) -> bool {
    metric != Metric::ClientShare
}

fn ratios(table: &Table) -> Vec<String> {
    let mut rows = Vec::new();
    for case in table.cases() {
        for (left, right) in &table.pairs {
            let of = |metric: Metric| ratio(table, case, (left, right), metric);
            rows.push((format!("{case} | {left} / {right}"), of));
        }
    }
    let compared: Vec<Metric> = table.columns.iter().copied().filter(|metric| is_compared(*metric)).collect();
    let columns: Vec<Metric> =
        compared.into_iter().filter(|metric| rows.iter().any(|(_, of)| of(*metric).is_some())).collect();
    let cells = rows.iter().filter_map(|(head, of)| {
        let cells: Vec<String> = columns.iter().map(|metric| cell(of(*metric), hundredths)).collect();
        cells.iter().any(|cell| cell != NONE).then(|| format!("| {head} | {} |", cells.join(" | ")))
    });
    let titles: Vec<String> = columns.iter().map(|metric| metric.title().to_string()).collect();
    framed("Ratios: median of the rounds (smallest–largest)", "ratio of", &titles, cells.collect())
}

fn absolutes(table: &Table) -> Vec<String> {
    let mut lines = Vec::new();
    for case in table.cases() {
        for contestant in &table.contestants {
            let spread = |metric: &Metric| {
                let values = table.values(case, &contestant.name, *metric);
                cell(Spread::of(values.into_iter().map(|(_, value)| value).collect()), absolute)
            };
            let cells: Vec<String> = table.columns.iter().map(spread).collect();
            if cells.iter().any(|cell| cell != NONE) {
                lines.push(format!("| {case} | {} | {} |", contestant.name, cells.join(" | ")));
            }
        }
    }
    let title = |metric: &Metric| format!("{} {}", metric.title(), metric.unit()).trim_end().to_string();
    let titles: Vec<String> = table.columns.iter().map(title).collect();
    framed("Absolute: median of the rounds (smallest–largest)", "of", &titles, lines)
}

/// A caption, a head and rows; nothing without rows.
fn framed(caption: &str, second: &str, titles: &[String], rows: Vec<String>) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![format!("{caption}:"), String::new()];
    lines.push(format!("| case | {second} | {} |", titles.join(" | ")));
    lines.push(format!("|---|---|{}", "--:|".repeat(titles.len())));
    lines.extend(rows);
    lines.push(String::new());
    lines
}

const NONE: &str = "–";

fn cell(spread: Option<Spread>, number: fn(f64) -> String) -> String {
    spread.map_or_else(|| NONE.into(), |spread| spread.shown(number))
}

/// One contestant's values by another's, round by round.
pub fn ratio(table: &Table, case: &str, (left, right): (&str, &str), metric: Metric) -> Option<Spread> {
    let below = table.values(case, right, metric);
    let of = |(round, value): (u32, f64)| {
        let (_, other) = below.iter().find(|(other, _)| *other == round)?;
        (*other > 0.0).then(|| value / other)
    };
    Spread::of(table.values(case, left, metric).into_iter().filter_map(of).collect())
}

/// What was remarked of runs, once for each case and contestant.
fn remarks(table: &Table) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for case in table.cases() {
        for contestant in &table.contestants {
            let of = |run: &&super::results::Run| run.case == case && run.contestant == contestant.name;
            let runs: Vec<_> = table.runs.iter().filter(of).collect();
            let remarked: Vec<_> = runs.iter().filter(|run| !run.remarks.is_empty()).collect();
            if let Some(first) = remarked.first() {
                let (count, all, text) = (remarked.len(), runs.len(), first.remarks.join("; "));
                lines.push(format!("* {case}, {}, {count} of {all} runs: {text}", contestant.name));
            }
        }
    }
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

/// A table for each run of rows with the same columns.
fn floor(rows: &[FloorRow]) -> Vec<String> {
    let names = |row: &FloorRow| row.figures.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let mut lines = Vec::new();
    for alike in rows.chunk_by(|left, right| names(left) == names(right)) {
        let names = names(&alike[0]);
        lines.push(format!("| what | {} |", names.join(" | ")));
        lines.push(format!("|---|{}", "--:|".repeat(names.len())));
        for row in alike {
            let cells: Vec<String> = row.figures.iter().map(|(_, value)| figure(*value)).collect();
            lines.push(format!("| {} | {} |", row.name, cells.join(" | ")));
        }
        lines.push(String::new());
    }
    lines
}

/// Parameters are whole.
fn figure(value: f64) -> String {
    if value.fract() == 0.0 { grouped(value) } else { absolute(value) }
}

fn hundredths(value: f64) -> String {
    format!("{value:.2}")
}

/// Three digits or more, and no more than are worth reading.
pub fn absolute(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => grouped(value),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The values of a run that a table has columns for, in one line.
pub fn line(columns: &[Metric], values: &Values) -> String {
    let shown = columns.iter().filter_map(|metric| {
        let text = format!("{} {} {}", metric.title(), absolute(*values.get(metric)?), metric.unit());
        Some(text.trim_end().to_owned())
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// A whole number with commas.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = if value < 0.0 { String::from("-") } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        let _ = write!(text, "{digit}");
    }
    text
}

#[cfg(test)]
mod tests;
