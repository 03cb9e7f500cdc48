//! `annulus-load torture` against a cluster that is sound, and ones that lose, duplicate, resurrect, invent or disagree.

mod support;

use serde_json::Value;
use support::cluster::{Cluster, Wrong};

const FIELDS: [&str; 5] = ["lost", "resurrected", "duplicated", "invented", "diverged"];

fn torture(wrong: Wrong, options: &str) -> (Option<i32>, Value, String) {
    let cluster = Cluster::start(3, wrong);
    // What has no remedy is waited for in vain, so shortly.
    let common = "--seconds 30 --clients 6 --keys 3 --settle 0.2 --patience 5000 --seed 5";
    let (output, report) = cluster.torture(&format!("{common} {options}"));
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), report, String::from_utf8_lossy(&said).into_owned())
}

fn count(report: &Value, kind: &str, field: &str) -> u64 {
    report["verdicts"][kind][field].as_u64().unwrap_or_else(|| panic!("{kind} {field} in {report}"))
}

fn found(report: &Value, kind: &str) -> Vec<&'static str> {
    FIELDS.into_iter().filter(|field| count(report, kind, field) > 0).collect()
}

#[test]
fn a_sound_cluster_passes_whatever_it_refuses_doubts_or_breaks_off() {
    for (wrong, error) in [
        (Wrong::Nothing, None),
        (Wrong::Refuses, Some("NOREPLICAS")),
        (Wrong::Doubts, Some("INDOUBT")),
        (Wrong::Closes, Some("disconnected")),
    ] {
        let (code, report, said) = torture(wrong, "--count 3000");
        assert_eq!(code, Some(0), "{wrong:?}: {said}");
        for kind in ["set", "siblings", "register", "delete"] {
            assert!(count(&report, kind, "acknowledged") > 100, "{wrong:?} {kind}: {report}");
            assert_eq!(count(&report, kind, "acknowledged"), count(&report, kind, "survived"));
        }
        let errors = report["errors"].as_object().expect("by kind");
        assert_eq!(errors.keys().map(String::as_str).collect::<Vec<_>>(), Vec::from_iter(error), "{said}");
        assert!(report["reads_checked"].as_u64().expect("a number") > 100);
        assert!(report["answers_compared"].as_u64().expect("a number") > 100);
        assert!(said.contains("passed"), "{said}");
    }
}

#[test]
fn every_broken_promise_is_told() {
    for (wrong, kind, finding) in [
        (Wrong::Forgets, "set", "lost"),
        (Wrong::Forgets, "siblings", "lost"),
        (Wrong::Forgets, "register", "lost"),
        (Wrong::Forgets, "delete", "lost"),
        (Wrong::ExecutesTwice, "siblings", "duplicated"),
        (Wrong::IgnoresContext, "siblings", "lost"),
        (Wrong::IgnoresContext, "set", "lost"),
        (Wrong::KeepsReplaced, "siblings", "resurrected"),
        (Wrong::KeepsReplaced, "delete", "resurrected"),
        (Wrong::RefusesFalsely, "set", "invented"),
        (Wrong::RefusesFalsely, "siblings", "invented"),
        (Wrong::HidesAtOneNode, "set", "diverged"),
        (Wrong::HidesAtOneNode, "register", "diverged"),
    ] {
        let (code, report, said) = torture(wrong, &format!("--count 2000 --workload {kind}"));
        assert_eq!(code, Some(1), "{wrong:?} {kind}: {said}");
        assert!(found(&report, kind).contains(&finding), "{wrong:?} {kind}: {said}");
        assert!(said.contains("FAILED"), "{said}");
    }
}

#[test]
fn a_run_that_shows_nothing_fails() {
    // Nobody serves the commands that it needs: every write is refused.
    let server = support::Server::start(support::Faults::default());
    let options = format!("torture --endpoints 127.0.0.1:{} --seconds 0.2 --settle 0 --write-quorum 1", server.port);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_annulus-load"))
        .args(options.split_whitespace())
        .args(["--workload", "set"])
        .output()
        .expect("the binary can be started");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no node answers") || said.contains("nothing is shown"), "{said}");
}

#[test]
fn an_open_loop_keeps_its_rate_and_its_time() {
    let cluster = Cluster::start(3, Wrong::Nothing);
    let (output, report) = cluster.torture("--seconds 2 --rate 300 --clients 6 --keys 3 --settle 1");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let number =
        |path: &str| report.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path}: {report}"));
    let made = number("/writes/count") + number("/reads/count");
    assert!((300.0..900.0).contains(&made), "{made} attempts in 2 s at 300 a second");
    assert_eq!(number("/availability/attempts"), number("/writes/count"));
    assert_eq!(number("/availability/apart"), 0.0);
    assert!(number("/elapsed_s") < 10.0);
}
