//! Tests of the text and the page, and the reports that they and the comparison are tested with.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde_json::Value;

use super::text::*;
use super::{FORMAT, Generator, Latency, Report, Second, Step, Verification, page};

/// What a server could say to get into a page.
const HOSTILE: &str = "<script>alert('\"&')</script>\u{1b}[2J";
const HOSTILE_ESCAPED: &str = "&lt;script&gt;alert(&#39;&quot;&amp;&#39;)&lt;/script&gt;";

/// A report with something in every field.
pub(crate) fn full() -> Report {
    let operations = [("get", 180), ("set", 400)].map(|(name, us)| (name.to_owned(), distribution(us, 9_000)));
    let second = |at| Second { at, replies: 6000, errors: at % 2, p50: 180.0, p99: 410.0, p999: 2100.0, max: 25_000.0 };
    let step = |rate: f64, met, generator_limited| Step {
        rate,
        throughput: rate - 2.0,
        p50: 200.0,
        p99: 900.0,
        p999: if met { 4200.0 } else { 12_400.0 },
        errors: 1,
        generator_limited,
        met,
    };
    Report {
        format: FORMAT,
        started_unix_ms: 1_790_000_000_123,
        command: ["annulus-load", "run", "--endpoint", "127.0.0.1:6379", "--seed", "7"].map(str::to_owned).to_vec(),
        endpoint: "127.0.0.1:6379".into(),
        workload: "ycsb-a".into(),
        mode: "open".into(),
        rate: Some(6000.0),
        connections: 8,
        pipeline: 16,
        threads: 1,
        keys: 1_000_000,
        elapsed_s: 3.0,
        due: 18_012,
        replies: 18_000,
        throughput: 6000.25,
        errors: BTreeMap::from([("timeout".into(), 9), ("refused".into(), 3)]),
        latency: distribution(250, 18_000),
        operations: BTreeMap::from(operations),
        seconds: (0..3).map(second).collect(),
        generator: Generator { cpu_share: 0.4321, lateness_p99: 12.5, limited: None },
        verification: Some(Verification { checked: 9000, keys_at_end: 500, ..Verification::default() }),
        sweep: vec![
            step(4000.0, true, false),
            step(6000.0, true, false),
            step(7000.0, true, true),
            step(8000.0, false, false),
        ],
        slo_us: Some(5000.0),
    }
}

/// A report of a run in which nothing was due.
pub(crate) fn empty() -> Report {
    let latency = Latency::of(&Histogram::new(3).unwrap());
    let Report { format, started_unix_ms, endpoint, workload, .. } = full();
    Report {
        format,
        started_unix_ms,
        command: Vec::new(),
        endpoint,
        workload,
        mode: "closed".into(),
        rate: None,
        connections: 0,
        pipeline: 0,
        threads: 0,
        keys: 0,
        elapsed_s: 0.0,
        due: 0,
        replies: 0,
        throughput: 0.0,
        errors: BTreeMap::new(),
        latency,
        operations: BTreeMap::new(),
        seconds: Vec::new(),
        generator: Generator::default(),
        verification: None,
        sweep: Vec::new(),
        slo_us: None,
    }
}

/// A report of a run in which every request failed.
pub(crate) fn all_errors() -> Report {
    let seconds = (0..4).map(|at| Second { at, errors: 1000, ..Second::default() });
    Report {
        due: 4000,
        elapsed_s: 4.0,
        errors: BTreeMap::from([("refused".into(), 4000)]),
        operations: BTreeMap::from([("get".into(), Latency::default())]),
        seconds: seconds.collect(),
        verification: Some(Verification::default()),
        ..empty()
    }
}

fn distribution(median_us: u64, count: u64) -> Latency {
    let mut histogram = Histogram::<u64>::new(3).unwrap();
    (0..count).for_each(|n| histogram.record((median_us * 500) + median_us * 1000 * n / count + n * n / 100).unwrap());
    Latency::of(&histogram)
}

fn text_of(report: &Report) -> String {
    let mut out = Vec::new();
    write(report, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn page_of(report: &Report) -> String {
    let page = page::render(report).unwrap();
    for absent in ["http", "NaN", "inf", "src=", "href=", "<script", "url("] {
        assert!(!page.contains(absent), "{absent} in the page");
    }
    for tag in ["html", "body", "style", "svg", "table", "tr", "td", "div", "details", "ul", "dl", "p"] {
        let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "<{tag}> is opened and closed");
    }
    page
}

#[track_caller]
fn assert_all(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

/// Equal, except for the last bit of a fraction: the parser takes the shortest way, not the exact one.
fn assert_same(a: &Value, b: &Value) {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            assert!(a.keys().eq(b.keys()));
            a.values().zip(b.values()).for_each(|(a, b)| assert_same(a, b));
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len());
            a.iter().zip(b).for_each(|(a, b)| assert_same(a, b));
        }
        (Value::Number(a), Value::Number(b)) if a.is_f64() && b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            assert!((a - b).abs() <= a.abs() * 2.0 * f64::EPSILON, "{a} is {b}");
        }
        _ => assert_eq!(a, b),
    }
}

#[test]
fn stored_and_read_again_is_the_same() {
    for report in [full(), empty(), all_errors()] {
        let stored = serde_json::to_string(&report).unwrap();
        let again = serde_json::from_str::<Report>(&stored).unwrap();
        assert_same(&serde_json::to_value(&report).unwrap(), &serde_json::to_value(&again).unwrap());
    }
    let stored = serde_json::to_value(full()).unwrap();
    for name in ["p50", "p90", "p99", "p999", "p9999", "max"] {
        assert!(stored["operations"]["get"][name].as_f64().unwrap() > 0.0, "{name} keeps its name");
    }
}

#[test]
fn a_report_without_later_fields_is_read() {
    let mut stored = serde_json::to_value(empty()).unwrap();
    let fields = stored.as_object_mut().unwrap();
    assert!(fields.remove("sweep").is_some() && fields.remove("slo_us").is_some());
    assert_eq!(serde_json::from_value::<Report>(stored).unwrap(), empty());
}

#[test]
fn text_of_a_full_report() {
    let text = text_of(&full());
    assert_all(
        &text,
        &[
            "endpoint      127.0.0.1:6379\n",
            "ycsb-a, 1,000,000 keys\n",
            "open loop at 6,000/s, 8 connections, pipeline 16, 1 thread\n",
            "3.0 s from 2026-09-21 14:13:20 UTC\n",
            "throughput    6,000/s\n",
            "replies       18,000 (99.93 % of those due)\n",
            "errors        12: refused 3, timeout 9\n",
            "43 % of one CPU in its busiest thread, requests left late by 12.5 µs at p99\n",
            "verification  passed: 9,000 reads checked, 0 mismatches, 0 lost acknowledged writes, 500 keys read at the end\n",
            "generator limited\n",
            "highest rate that meets p99.9 ≤ 5000 µs: 6,000/s\n",
        ],
    );
    assert!(!text.contains("load generator limited") && !text.contains("FAILED"));
    assert!(text.lines().all(|line| line == line.trim_end()), "no line ends in spaces");
    let table: Vec<_> = text.lines().skip_while(|line| !line.starts_with("latency")).take(4).collect();
    assert_eq!(table[0].split_whitespace().collect::<Vec<_>>()[1..], LATENCY_HEADS);
    let widths: Vec<_> = table.iter().map(|line| line.chars().count()).collect();
    assert!(widths.iter().all(|width| *width == widths[0]), "rows are aligned:\n{}", table.join("\n"));
    assert!(table[2].starts_with("get ") && table[3].starts_with("set "));
}

#[test]
fn text_says_what_makes_the_figures_doubtful() {
    let mut report = full();
    report.generator.limited = Some("its thread was busy 99 % of the time".into());
    let examples = vec!["key:7 held sequence 3, acknowledged was 4".into(), HOSTILE.into()];
    report.verification = Some(Verification { checked: 10, mismatches: 1, lost: 2, keys_at_end: 0, examples });
    report.sweep.iter_mut().for_each(|step| step.met = false);
    let text = text_of(&report);
    assert_all(
        &text,
        &[
            "\nload generator limited: its thread was busy 99 % of the time\n",
            "verification  FAILED: 10 reads checked, 1 mismatch, 2 lost acknowledged writes",
            "\n  key:7 held sequence 3, acknowledged was 4\n",
            "no rate that was tried meets p99.9 ≤ 5000 µs\n",
        ],
    );
    assert!(!text.contains('\u{1b}'), "control characters do not reach the terminal");
}

#[test]
fn text_of_nothing_and_of_errors_only() {
    let text = text_of(&empty());
    assert_all(
        &text,
        &["closed loop, 0 connections", "replies       0\n", "errors        0\n", "verification  none\n"],
    );
    assert!(!text.contains("highest rate") && !text.contains("NaN"));
    let text = text_of(&all_errors());
    assert_all(
        &text,
        &["replies       0 (0.00 % of those due)\n", "errors        4,000: refused 4,000\n", "nothing was checked"],
    );
    let row = text.lines().find(|line| line.starts_with("get ")).unwrap();
    assert_eq!(
        row.split_whitespace().collect::<Vec<_>>(),
        ["get", "0", NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING]
    );
}

#[test]
fn figures_are_readable() {
    let latencies = [0.0, 99.94, 100.0, 9999.0, 10_000.0, 203_456.0, 2_000_000.0, f64::NAN].map(latency);
    assert_eq!(latencies, ["0.0 µs", "99.9 µs", "100 µs", "9999 µs", "10.0 ms", "203.5 ms", "2000 ms", NOTHING]);
    assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    assert_eq!([0.5, 3.0, 1234.5, f64::INFINITY].map(per_second), ["0.50/s", "3/s", "1,235/s", NOTHING]);
    let times = [0, 951_782_400_000, 1_709_251_199_999, 4_107_542_400_000].map(utc);
    let expected = ["1970-01-01 00:00:00", "2000-02-29 00:00:00", "2024-02-29 23:59:59", "2100-03-01 00:00:00"];
    assert_eq!(times, expected.map(|time| format!("{time} UTC")));
}

#[test]
fn page_of_a_full_report() {
    let report = full();
    let page = page_of(&report);
    assert_all(
        &page,
        &[
            "<title>annulus-load: ycsb-a at 127.0.0.1:6379</title>",
            "prefers-color-scheme:dark",
            "<h2>Latency over time</h2>",
            "<h2>Latency by percentile</h2>",
            "<h2>Throughput over time</h2>",
            "</i>p99.9</li>",
            "</i>get</li>",
            "</i>errors</li>",
            "\np99.9\n</text>",
            "\n100 µs\n</text>",
            "\n10 ms\n</text>",
            "<td>6,000/s</td>",
            "highest rate that meets p99.9 ≤ 5000 µs: 6,000/s",
            "<tr><td>1</td><td>6,000</td><td>1</td><td>180 µs</td><td>410 µs</td><td>2100 µs</td><td>25.0 ms</td></tr>",
        ],
    );
    assert_eq!(page.matches("<svg").count(), 3);
    assert_eq!(page.matches("<polyline").count() - axes(&page), 4 + 2 + 2, "one line per figure");
    for cell in latency_rows(&report).iter().flatten() {
        assert_all(&page, &[cell]);
    }
}

/// Lines of the charts that are no figures.
fn axes(page: &str) -> usize {
    page.lines().filter(|line| line.starts_with("<polyline") && line.contains("stroke=\"#111111\"")).count()
}

#[test]
fn page_of_nothing_of_one_second_and_of_errors_only() {
    let page = page_of(&empty());
    assert_eq!((page.matches("Nothing was measured.").count(), page.matches("<svg").count()), (3, 0));
    let page = page_of(&all_errors());
    assert_eq!((page.matches("Nothing was measured.").count(), page.matches("<svg").count()), (2, 1));
    assert_all(&page, &["4,000: refused 4,000", "<td>1,000</td>", "\n1,000/s\n</text>"]);
    let mut report = full();
    report.seconds.truncate(1);
    report.operations.clear();
    report.latency = distribution(100, 1);
    let page = page_of(&report);
    assert_all(&page, &["</i>all</li>", "<circle"]);
    assert_eq!(page.matches("<svg").count(), 3);
}

#[test]
fn page_draws_no_line_over_seconds_without_answers() {
    let mut report = full();
    let lively = report.seconds[0].clone();
    report.seconds = (0..9)
        .map(|at| Second { at, ..if (3..6).contains(&at) { Second::default() } else { lively.clone() } })
        .collect();
    report.seconds.remove(7);
    let page = page_of(&report);
    let pieces = 3;
    assert_eq!(page.matches("<polyline").count() - axes(&page), 4 * pieces + 2 + 2 * 2);
}

#[test]
fn page_survives_odd_figures() {
    let mut report = full();
    let odd = [f64::NAN, f64::INFINITY, -1.0, 0.0, f64::MIN_POSITIVE, 1e300];
    report.seconds = (0..6)
        .map(|at| Second { at: at * (u64::MAX / 5), replies: u64::MAX, p50: odd[at as usize], ..Second::default() })
        .collect();
    report.latency.curve = odd.iter().flat_map(|a| odd.iter().map(|b| (*a, *b))).collect();
    report.operations = (0..20).map(|n| (format!("operation {n}"), report.latency.clone())).collect();
    page::render(&report).unwrap();
}

#[test]
fn page_escapes_what_it_is_given() {
    let mut report = full();
    report.endpoint = HOSTILE.into();
    report.workload = HOSTILE.into();
    report.mode = HOSTILE.into();
    report.command.push(HOSTILE.into());
    report.errors.insert(HOSTILE.into(), 1);
    report.operations.insert(HOSTILE.into(), report.latency.clone());
    report.generator.limited = Some(HOSTILE.into());
    report.verification = Some(Verification { lost: 1, examples: vec![HOSTILE.into()], ..Verification::default() });
    let page = page_of(&report);
    assert!(page.matches("&lt;script&gt;").count() >= 10);
    assert_all(&page, &["load generator limited: &lt;script&gt;", "verification FAILED: "]);
    assert_all(&page, &[HOSTILE_ESCAPED]);
}
