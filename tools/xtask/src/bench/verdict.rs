//! What the project promises of its own figures, beside what was measured: one line for each promise.
//!
//! Pure: it only looks at results. What could not be measured is said to be so.
//!
//! Invariant: a promise is never called kept without the figure that it is about.

use super::compaction::{self, COMPACTING, PAUSED, TURNS};
use super::overwrite::{Overwrite, SPACE_MAX};
use super::results::{FloorRow, Metric, Results, Table};
use super::table::{Spread, ratio};

/// Bytes written to log and files for each that clients wrote, where every key is as likely, and where few are hot.
const WRITTEN_MAX: [(&str, f64); 2] = [("uniform", 3.0), ("zipf", 2.0)];
/// Reads of the disk for a GET.
const READS_MAX: f64 = 1.0;
/// Device requests under way, of the node and of the raw machine, when their rates are compared.
const DEPTH: f64 = 8.0;
/// What the raw machine reads whole blocks around: the node's record of a value of 1 KiB (`benches/floor/reads.rs`).
const RECORD_BYTES: f64 = 1104.0;
/// Of the raw machine's rate.
const RATE_MIN: f64 = 0.8;

/// Of the suite that writes over and over.
pub fn overwrite(results: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    for (distribution, most) in WRITTEN_MAX {
        let case = Overwrite::all_passes(distribution);
        let of = |metric| median(&results.tables, &case, "annulus", metric);
        let counted = of(Metric::WriteAmplification);
        lines.push(at_most(&format!("{distribution}: bytes written to log and files per byte"), counted, most));
        lines.push(at_most(
            &format!("{distribution}: disk space per live byte, mean"),
            of(Metric::SpaceMean),
            SPACE_MAX,
        ));
        lines.push(at_most(
            &format!("{distribution}: disk space per live byte, largest"),
            of(Metric::SpaceMax),
            SPACE_MAX,
        ));
    }
    lines
}

/// Of the suite that holds compaction back.
pub fn compaction(results: &Results) -> Vec<String> {
    let ratio = results.tables.first().and_then(|table| ratio(table, TURNS, (COMPACTING, PAUSED), Metric::P999Us));
    let what = format!("p99.9 {COMPACTING} over p99.9 {PAUSED}, median of the rounds");
    let mut lines = vec![at_most(&what, ratio.map(|spread| spread.median), compaction::RATIO_MAX)];
    if let Some(mib) = median(&results.tables, TURNS, COMPACTING, Metric::CompactedMib) {
        lines.push(format!("compacted meanwhile: {mib:.0} MiB, median of the rounds"));
    }
    lines
}

/// Of the suite that reads what is not cached.
pub fn cold_reads(results: &Results) -> Vec<String> {
    let raw = raw_rate(&results.floor);
    let Some(table) = results.tables.first() else { return vec!["nothing was measured".into()] };
    let median = |case: &str, metric| median(&results.tables, case, "annulus", metric);
    let mut lines = Vec::new();
    let reads = table.cases().into_iter().filter_map(|case| median(case, Metric::RecordReads));
    lines.push(at_most("reads per GET, the most of any case", reads.max_by(f64::total_cmp), READS_MAX));
    let depth = |case: &&str| median(case, Metric::QueueDepth);
    let off = |case: &&str| depth(case).map_or(f64::INFINITY, |depth| (depth - DEPTH).abs());
    let nearest = table.cases().into_iter().min_by(|left, right| off(left).total_cmp(&off(right)));
    let share = nearest.and_then(|case| Some(median(case, Metric::Throughput)? / raw?));
    let shown =
        nearest.map_or("?".into(), |case| format!("{case} ({:.1} under way)", depth(&case).unwrap_or(f64::NAN)));
    lines.push(at_least(&format!("rate of {shown} over the raw device's at depth {DEPTH}"), share, RATE_MIN));
    lines
}

/// Mean rate of the raw reads of records at the depth that is compared; measured before and after.
fn raw_rate(rows: &[FloorRow]) -> Option<f64> {
    let figure = |row: &FloorRow, name: &str| row.figures.iter().find(|(own, _)| own == name).map(|(_, value)| *value);
    let is_compared = |row: &&FloorRow| {
        row.name.contains("reads") && figure(row, "depth") == Some(DEPTH) && figure(row, "bytes") == Some(RECORD_BYTES)
    };
    let at_depth = rows.iter().filter(is_compared);
    let rates: Vec<f64> = at_depth.filter_map(|row| figure(row, "operations_per_second")).collect();
    (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / rates.len() as f64)
}

fn median(tables: &[Table], case: &str, contestant: &str, metric: Metric) -> Option<f64> {
    let values = tables.iter().flat_map(|table| table.values(case, contestant, metric));
    Spread::of(values.map(|(_, value)| value).collect()).map(|spread| spread.median)
}

/// A promise of a ceiling, and whether it is kept.
pub fn at_most(what: &str, value: Option<f64>, most: f64) -> String {
    judged(what, value, "at most", most, |value| value <= most)
}

fn at_least(what: &str, value: Option<f64>, least: f64) -> String {
    judged(what, value, "at least", least, |value| value >= least)
}

fn judged(what: &str, value: Option<f64>, word: &str, bound: f64, holds: impl Fn(f64) -> bool) -> String {
    match value {
        None => format!("{what}: NOT MEASURED, {word} {bound:.2}"),
        Some(value) => {
            let outcome = if holds(value) { "kept" } else { "MISSED" };
            format!("{what}: {value:.2}, {word} {bound:.2}: {outcome}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::{Run, Values};

    fn turn(contestant: &str, round: u32, p999_us: f64) -> Run {
        let values = Values::from([(Metric::P999Us, p999_us)]);
        Run { case: TURNS.into(), contestant: contestant.into(), round, values, remarks: Vec::new() }
    }

    #[test]
    fn promises_are_kept_missed_or_not_measured() {
        assert_eq!(at_most("x", Some(2.5), 2.5), "x: 2.50, at most 2.50: kept");
        assert_eq!(at_least("x", Some(0.79), 0.8), "x: 0.79, at least 0.80: MISSED");
        assert_eq!(at_most("x", None, 1.0), "x: NOT MEASURED, at most 1.00");
    }

    #[test]
    fn raw_rates_of_the_depth_are_averaged() {
        let row = |name: &str, bytes, depth, rate| FloorRow {
            name: name.into(),
            figures: [("bytes", bytes), ("depth", depth), ("operations_per_second", rate)]
                .map(|(name, value)| (name.to_owned(), value))
                .to_vec(),
        };
        let rows = [
            row("reads", RECORD_BYTES, 8.0, 100.0),
            row("reads", RECORD_BYTES, 16.0, 500.0),
            row("append", RECORD_BYTES, 8.0, 7.0),
            row("reads", 4096.0, 8.0, 900.0),
            row("reads", RECORD_BYTES, 8.0, 300.0),
        ];
        assert_eq!(raw_rate(&rows), Some(200.0));
        assert_eq!(raw_rate(&rows[1..4]), None);
    }

    #[test]
    fn medians_are_of_all_rounds() {
        let runs = vec![turn(COMPACTING, 1, 400.0), turn(PAUSED, 1, 200.0), turn(PAUSED, 2, 400.0)];
        let (title, contestants, pairs, columns) = (String::new(), Vec::new(), Vec::new(), Vec::new());
        let table = Table { title, contestants, pairs, columns, runs, notes: Vec::new() };
        let found = ratio(&table, TURNS, (COMPACTING, PAUSED), Metric::P999Us).unwrap();
        assert_eq!(found.median, 2.0);
        assert_eq!(median(&[table], TURNS, PAUSED, Metric::P999Us), Some(300.0));
    }
}
