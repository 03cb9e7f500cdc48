//! The whole load generator against a server that is sound, slow, wrong, or gone.

mod support;

use std::time::Duration;

use support::{Faults, Server, run};

fn number(report: &serde_json::Value, path: &str) -> f64 {
    report.pointer(path).and_then(serde_json::Value::as_f64).unwrap_or_else(|| panic!("{path} in {report}"))
}

#[test]
fn a_count_of_requests_is_made_and_verified() {
    let server = Server::start(Faults::default());
    for (mix, options) in
        [("a", ""), ("d", "--threads 2"), ("f", "--pipeline 8"), ("mixed", "--key-bytes 20-40 --value-bytes 20-300")]
    {
        let options = format!(
            "--closed --connections 4 --keys 100 --count 3000 --warm-up 0s --verify --workload {mix} {options}"
        );
        let (output, report) = run(server.port, &options);
        assert_eq!(output.status.code(), Some(0), "{options}: {}", String::from_utf8_lossy(&output.stdout));
        assert_eq!((number(&report, "/due"), number(&report, "/replies")), (3000.0, 3000.0), "{options}");
        assert!(number(&report, "/verification/checked") > 1000.0);
        assert!(number(&report, "/verification/keys_at_end") >= 100.0);
        assert!(number(&report, "/latency/p999") >= number(&report, "/latency/p50"));
    }
}

#[test]
fn what_the_server_loses_or_damages_fails_the_run() {
    let forgets = Faults { forgets: Some(50), ..Faults::default() };
    let flips = Faults { flips: Some(50), ..Faults::default() };
    for (faults, found) in [(forgets, "/verification/lost"), (flips, "/verification/mismatches")] {
        let server = Server::start(faults);
        let (output, report) =
            run(server.port, "--closed --connections 4 --keys 200 --count 3000 --warm-up 0s --verify");
        assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(number(&report, found) > 10.0, "{found} in {report}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("FAILED"));
    }
}

/// An error is an answer: it leaves no doubt behind which a lost write could hide.
#[test]
fn refused_writes_do_not_hide_lost_ones() {
    let server = Server::start(Faults { refuses: Some(2), forgets: Some(5), ..Faults::default() });
    let options = "--closed --connections 1 --keys 1 --count 400 --warm-up 0s --verify --workload a";
    let (output, report) = run(server.port, options);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(number(&report, "/verification/lost") > 5.0 && number(&report, "/errors/OOM") > 50.0, "{report}");
}

#[test]
fn errors_are_counted_by_kind() {
    let server = Server::start(Faults { refuses: Some(10), ..Faults::default() });
    let (output, report) = run(server.port, "--closed --connections 2 --workload set --count 1000 --warm-up 0s");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(number(&report, "/errors/OOM"), 100.0);
    assert_eq!(number(&report, "/replies"), 900.0);
}

#[test]
fn a_write_that_waits_is_done_when_its_copies_are_there() {
    let server = Server::start(Faults { refuses: Some(10), copies_less: Some(9), ..Faults::default() });
    let options = "--closed --connections 2 --pipeline 3 --workload set --count 1000 --warm-up 0s --wait 2";
    let (output, report) = run(server.port, options);
    assert_eq!(output.status.code(), Some(0));
    // A WAIT behind a write that was refused counts for nothing, whatever it says.
    assert_eq!((server.requests(), server.waits(), number(&report, "/errors/OOM")), (2000, 1000, 100.0), "{report}");
    let few = number(&report, "/errors/too-few-copies");
    assert!((90.0..=111.0).contains(&few) && number(&report, "/replies") + few == 900.0, "{report}");
}

#[test]
fn lost_connections_come_back_and_lose_no_acknowledged_write() {
    let server = Server::start(Faults { closes: Some(500), ..Faults::default() });
    let (output, report) = run(
        server.port,
        "--rate 4000 --connections 4 --keys 50 --workload a --duration 2s --warm-up 0s --verify --pipeline 4",
    );
    // The preload may meet a lost connection too, which ends the run with that reason.
    if output.status.code() == Some(1) {
        return assert!(String::from_utf8_lossy(&output.stderr).contains("before the run"));
    }
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(number(&report, "/errors/connection-lost") > 0.0);
    assert!(number(&report, "/replies") > 100.0);
}

#[test]
fn a_server_that_dies_leaves_a_report() {
    let server = Server::start(Faults { dies: Some(2000), ..Faults::default() });
    let (output, report) = run(server.port, "--rate 4000 --connections 4 --duration 2s --warm-up 0s --patience 200ms");
    assert_eq!(output.status.code(), Some(0));
    let errors: f64 =
        report["errors"].as_object().expect("by kind").values().filter_map(serde_json::Value::as_f64).sum();
    assert!(number(&report, "/errors/not-connected") > 1000.0, "{report}");
    assert_eq!(number(&report, "/replies") + errors, number(&report, "/due"));
    assert!(server.requests() >= 2000);
}

/// A closed loop has nothing that would make it wait for a server that has gone.
#[test]
fn a_closed_loop_ends_when_its_server_has_died() {
    let server = Server::start(Faults { dies: Some(2000), ..Faults::default() });
    let began = std::time::Instant::now();
    let (output, report) = run(server.port, "--closed --connections 4 --duration 1s --warm-up 0s --patience 200ms");
    assert_eq!(output.status.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(20));
    let errors: f64 =
        report["errors"].as_object().expect("by kind").values().filter_map(serde_json::Value::as_f64).sum();
    assert!((1.0..10_000.0).contains(&errors), "{report}");
}

#[test]
fn nobody_there_is_said_before_anything_is_sent() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let (output, report) = run(free, "--rate 10");
    assert_eq!((output.status.code(), report.is_null()), (Some(1), true));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no server answers"));
    let (output, _) = run(free, "");
    assert!(String::from_utf8_lossy(&output.stderr).contains("--rate"));
}

/// No coordinated omission: everything that was due during the pause waited for its end.
#[test]
fn a_pause_shows_at_its_full_length_in_an_open_loop() {
    let pause = Duration::from_millis(400);
    let server = Server::start(Faults { pauses: Some((1000, pause)), ..Faults::default() });
    let (output, report) = run(server.port, "--rate 2000 --connections 4 --duration 2s --warm-up 0s");
    assert_eq!(output.status.code(), Some(0));
    let (p90, p999) = (number(&report, "/latency/p90"), number(&report, "/latency/p999"));
    assert!(p999 > 380_000.0, "p99.9 is {p999} µs");
    assert!(p90 > 100_000.0, "a fifth of the requests were due in the pause, yet p90 is {p90} µs");
}

#[test]
fn a_search_ends_with_a_rate_that_met_the_target() {
    let server = Server::start(Faults::default());
    let (output, report) = run(
        server.port,
        "--rate 200 --slo 10s --patience 500ms --connections 2 --duration 100ms --warm-up 0s --keys 100",
    );
    assert_eq!(output.status.code(), Some(0));
    let steps = report["sweep"].as_array().expect("steps");
    assert!(steps.len() > 1);
    let best =
        steps.iter().filter(|step| step["met"] == true).filter_map(|step| step["rate"].as_f64()).fold(0.0, f64::max);
    // A machine that is busy otherwise may keep the client from any rate, which it says.
    assert!(steps[0]["met"] == true || steps[0]["generator_limited"] == true, "{report}");
    assert!(best == 0.0 || number(&report, "/rate") == best, "{report}");
}
