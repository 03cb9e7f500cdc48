//! Tests of the comparison: ratios, warnings, and files that are none.

use super::*;
use crate::report::Verification;
use crate::report::tests::{all_errors, empty, full};

struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn with(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn compare(&self, a: &Report, b: &Report) -> String {
        let a = self.with("a.json", serde_json::to_vec(a).unwrap());
        let b = self.with("b.json", serde_json::to_vec_pretty(b).unwrap());
        let mut out = Vec::new();
        run(&a, &b, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// What is said of a file that stands as B.
    fn refuse(&self, bad: &Path) -> String {
        let good = self.with("good.json", serde_json::to_vec(&full()).unwrap());
        let mut out = Vec::new();
        let said = run(&good, bad, &mut out).unwrap_err().to_string();
        assert!(out.is_empty(), "nothing is printed of a comparison that fails");
        assert!(said.starts_with(&format!("{}: ", bad.display())), "names the file: {said}");
        said.split_once(": ").unwrap().1.to_owned()
    }
}

/// The line that begins so, as words.
#[track_caller]
fn line<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    let found = text.lines().find(|line| line.starts_with(start));
    found.unwrap_or_else(|| panic!("no line begins with {start:?}:\n{text}")).split_whitespace().collect()
}

#[test]
fn a_report_beside_itself() {
    let text = Files::new().compare(&full(), &full());
    assert!(!text.contains("warning") && !text.contains("only in"), "{text}");
    assert_eq!(line(&text, "throughput"), ["throughput", "6,000/s", "6,000/s", "1.000"]);
    for name in ["all", "get", "set"] {
        for percentile in ["p50", "p90", "p99", "p99.9", "p99.99", "max"] {
            assert_eq!(line(&text, &format!("{name} {percentile} ")).last(), Some(&"1.000"));
        }
    }
}

#[test]
fn ratios_are_of_b_to_a() {
    let (a, mut b) = (full(), full());
    b.throughput = 9000.375;
    b.latency.p999 = a.latency.p999 / 2.0;
    b.operations.get_mut("get").unwrap().p50 *= 3.0;
    b.operations.remove("set");
    b.operations.insert("scan".into(), b.latency.clone());
    b.errors = BTreeMap::from([("timeout".into(), 18), ("moved".into(), 1)]);
    b.generator.cpu_share = a.generator.cpu_share * 2.0;
    b.sweep[1].met = false;
    let text = Files::new().compare(&a, &b);
    assert_eq!(line(&text, "throughput"), ["throughput", "6,000/s", "9,000/s", "1.500"]);
    assert_eq!(line(&text, "all p99.9 ").last(), Some(&"0.500"));
    assert_eq!(line(&text, "get p50 ").last(), Some(&"3.000"));
    assert_eq!(line(&text, "errors"), ["errors", "12", "19", "1.583"]);
    assert_eq!(line(&text, "  moved"), ["moved", "0", "1", NOTHING]);
    assert_eq!(line(&text, "  timeout"), ["timeout", "9", "18", "2.000"]);
    assert_eq!(line(&text, "CPU share").last(), Some(&"2.000"));
    assert_eq!(line(&text, "highest rate").last(), Some(&"0.667"));
    assert!(text.contains("only in A: set; only in B: scan\n") && !text.contains("set p50"), "{text}");
}

#[test]
fn settings_that_differ_are_named_before_the_ratios() {
    let (a, mut b) = (full(), full());
    b.endpoint = "elsewhere:7000".into();
    b.mode = "closed".into();
    b.rate = None;
    b.connections = 50;
    b.pipeline = 1;
    b.threads = 2;
    b.keys = 10;
    b.workload = "ycsb-b".into();
    b.elapsed_s = 30.0;
    b.verification = None;
    b.command =
        ["run", "--endpoint", "elsewhere:7000", "--seed=8", "--cluster", "--json", "b"].map(str::to_owned).to_vec();
    let text = Files::new().compare(&a, &b);
    let warned = text.split("\n\n").next().unwrap();
    let expected = [
        "warning: settings differ, the ratios may mislead:",
        "  workload: ycsb-a in A, ycsb-b in B",
        "  mode: open in A, closed in B",
        "  rate: 6,000/s in A, none in B",
        "  connections: 8 in A, 50 in B",
        "  pipeline: 16 in A, 1 in B",
        "  threads: 1 in A, 2 in B",
        "  keys: 1,000,000 in A, 10 in B",
        "  values: checked in A, not checked in B",
        "  measured: 3.0 s in A, 30.0 s in B",
        "  --cluster: absent in A, given in B",
        "  --seed: 7 in A, 8 in B",
    ];
    assert_eq!(warned.lines().skip(2).collect::<Vec<_>>(), expected, "and the endpoint is no setting");
    b = a.clone();
    b.elapsed_s *= 1.01;
    assert!(!Files::new().compare(&a, &b).contains("warning"), "runs are never equally long to the microsecond");
}

#[test]
fn doubtful_reports_are_marked() {
    let (mut a, mut b) = (full(), full());
    a.generator.limited = Some("busy\u{1b}[2J".into());
    b.verification = Some(Verification { checked: 5, lost: 1, ..Verification::default() });
    let text = Files::new().compare(&a, &b);
    assert!(text.contains("warning: A was limited by its load generator: busy\\u{1b}[2J\n"), "{text}");
    assert!(text.contains("warning: B: verification FAILED: 5 reads checked, 0 mismatches, 1 lost"), "{text}");
    assert!(!text.contains("warning: B was") && !text.contains("warning: A: verification"), "{text}");
}

#[test]
fn reports_without_replies_compare() {
    let files = Files::new();
    let text = files.compare(&full(), &all_errors());
    assert!(text.contains("warning: B has no replies\n") && text.contains("all (none measured in B)\n"), "{text}");
    assert!(text.contains("get (none measured in B)\n"), "{text}");
    assert_eq!(line(&text, "throughput").last(), Some(&"0.000"));
    let text = files.compare(&empty(), &empty());
    assert!(text.contains("all (none measured in either)\n") && !text.contains("NaN"), "{text}");
    assert_eq!(line(&text, "errors"), ["errors", "0", "0", NOTHING]);
}

#[test]
fn files_that_are_no_reports() {
    let files = Files::new();
    assert!(files.refuse(&files.path("absent.json")).starts_with("cannot be read: "));
    assert!(files.refuse(files.directory.path()).starts_with("cannot be read: "));
    let stored = serde_json::to_string(&full()).unwrap();
    let cut = &stored[..stored.len() / 2];
    for (bytes, what) in
        [("", "EOF"), ("hello", "expected"), ("{}", "missing field `format`"), ("[]", ""), (cut, "EOF")]
    {
        let said = files.refuse(&files.with("bad.json", bytes));
        assert!(said.starts_with("not a report of annulus-load: ") && said.contains(what), "{bytes:?}: {said}");
    }
    let said = files.refuse(&files.with("bad.json", "{\"format\": 1}"));
    assert_eq!(said, "not a report of annulus-load: missing field `started_unix_ms` at line 1 column 13");
    assert!(files.refuse(&files.with("bad.json", [0xff, 0xfe])).starts_with("not a report"));
}

#[test]
fn a_newer_format_is_said_whatever_else_is_in_it() {
    let files = Files::new();
    let said = files.refuse(&files.with("new.json", format!("{{\"format\": {}, \"other\": true}}", FORMAT + 1)));
    assert_eq!(said, format!("format {} is newer than {FORMAT}, the newest that this annulus-load reads", FORMAT + 1));
}
