//! Medians, ratios and the printed form.

use super::super::machine::Machine;
use super::super::results::{Contestant, FORMAT, Run, Values};
use super::*;

fn run(case: &str, contestant: &str, round: u32, values: &[(Metric, f64)]) -> Run {
    let values = values.iter().copied().collect::<Values>();
    Run { case: case.into(), contestant: contestant.into(), round, values, remarks: Vec::new() }
}

fn named(name: &str) -> Contestant {
    Contestant { name: name.into(), command: format!("{name} --flags") }
}

fn table() -> Table {
    let rate = |value| [(Metric::Throughput, value)];
    let mut runs = vec![
        run("SET P1", "annulus", 1, &rate(100.0)),
        run("SET P1", "redis", 1, &rate(50.0)),
        run("SET P1", "annulus", 2, &rate(300.0)),
        run("SET P1", "redis", 2, &rate(100.0)),
        run("SET P1", "annulus", 3, &rate(10.0)),
        run("SET P1", "redis", 3, &rate(10.0)),
        run("idle", "annulus", 1, &[(Metric::IdleCpuMs, 0.5)]),
    ];
    runs[2].remarks.push("load generator limited: late".into());
    Table {
        title: "Memory only".into(),
        contestants: vec![named("annulus"), named("redis")],
        pairs: vec![("annulus".into(), "redis".into())],
        columns: vec![Metric::Throughput, Metric::IdleCpuMs, Metric::ClientShare],
        runs,
        notes: vec!["A note.".into()],
    }
}

fn machine() -> Machine {
    Machine {
        cpu: "a CPU".into(),
        cpus: 2,
        server_cpu: 0,
        client_cpu: 1,
        memory_mib: 1024,
        kernel: "6.1".into(),
        file_system: "ext4".into(),
        device: "vda".into(),
        versions: vec!["annulus 0.1.0".into(), "Redis server 7.0.15".into()],
        commit: "abc".into(),
        date: "2026-01-01 00:00 UTC".into(),
    }
}

#[test]
fn medians_are_of_the_middle() {
    let spread = |values: &[f64]| Spread::of(values.to_vec());
    assert_eq!(spread(&[]), None);
    assert_eq!(spread(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
    assert_eq!(spread(&[4.0, 1.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
}

#[test]
fn ratios_are_of_the_same_round() {
    // 2, 3 and 1; the ratio of the medians would be 100 / 50.
    let spread = ratio(&table(), "SET P1", ("annulus", "redis"), Metric::Throughput).unwrap();
    assert_eq!(spread, Spread { median: 2.0, min: 1.0, max: 3.0 });
    assert_eq!(ratio(&table(), "idle", ("annulus", "redis"), Metric::IdleCpuMs), None);
}

#[test]
fn numbers_are_short() {
    let shown = [1_234_567.8, 999.6, 100.0, 12.34, 1.234, 0.01234, 0.0, -1234.0].map(absolute);
    assert_eq!(shown, ["1,234,568", "1,000", "100", "12.3", "1.23", "0.012", "0.00", "-1,234"]);
}

#[test]
fn a_suite_is_printed_whole() {
    let results = Results {
        format: FORMAT,
        suite: "memory".into(),
        about: "What a request costs".into(),
        command: "cargo xtask bench memory".into(),
        rounds: 3,
        seconds: 4,
        machine: machine(),
        tables: vec![table()],
        floor: vec![FloorRow { name: "echo".into(), figures: vec![("pipeline".into(), 16.0), ("cpu".into(), 2.5)] }],
        notes: vec!["The end.".into()],
        verdict: vec!["p99.9: 2.00, at most 2.50: kept".into()],
        failure: None,
    };
    let wanted = "\
## memory

What a request costs.

    cargo xtask bench memory

* a CPU (2 CPUs), 1024 MiB of memory; server on CPU 0, load generator on CPU 1
* Linux 6.1; data on ext4 (vda)
* annulus 0.1.0, Redis server 7.0.15; commit abc; 2026-01-01 00:00 UTC
* 3 interleaved rounds of 4 s each

* p99.9: 2.00, at most 2.50: kept

### Memory only

* annulus: `annulus --flags`
* redis: `redis --flags`

Ratios: median of the rounds (smallest–largest):

| case | ratio of | throughput |
|---|---|--:|
| SET P1 | annulus / redis | 2.00 (1.00–3.00) |

Absolute: median of the rounds (smallest–largest):

| case | of | throughput 1/s | idle CPU ms/s | client's CPU of a core |
|---|---|--:|--:|--:|
| SET P1 | annulus | 100 (10.0–300) | – | – |
| SET P1 | redis | 50.0 (10.0–100) | – | – |
| idle | annulus | – | 0.500 (0.500–0.500) | – |

* SET P1, annulus, 1 of 3 runs: load generator limited: late

A note.

### The raw machine

| what | pipeline | cpu |
|---|--:|--:|
| echo | 16 | 2.50 |

Times are in µs.

The end.
";
    assert_eq!(markdown(&results), wanted);
}

#[test]
fn what_is_not_complete_says_so() {
    let mut results = Results {
        format: FORMAT,
        suite: "memory".into(),
        about: String::new(),
        command: String::new(),
        rounds: 3,
        seconds: 4,
        machine: machine(),
        tables: Vec::new(),
        floor: Vec::new(),
        notes: Vec::new(),
        verdict: Vec::new(),
        failure: Some("redis ended; the end of its log:\n    secret".into()),
    };
    results.machine.client_cpu = 0;
    let text = markdown(&results);
    assert!(text.contains("**Not complete:** redis ended") && !text.contains("secret"));
    assert!(text.contains("share CPU 0"));
}
