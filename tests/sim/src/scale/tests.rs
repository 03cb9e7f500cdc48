//! Small clusters: the same numbers twice, stable, and fast enough.

use super::{Options, run};

#[test]
fn the_same_seed_gives_the_same_numbers() {
    for sizes in [vec![10], vec![50]] {
        let options = Options { sizes, rounds: 2, quiet_s: 20, ..Options::default() };
        let report = run(&options);
        assert_eq!(report, run(&options));
        assert!(report.is_stable(), "{report}");
        assert_ne!(report.rows, run(&Options { seed: 2, ..options }).rows, "another seed gives others");
        assert!(report.rows.iter().all(|row| row.events > 1000 && row.quiet.datagram_bytes > 100));
    }
}

#[test]
fn a_lossy_network_is_slower_but_nobody_is_taken_for_dead() {
    let options = Options { sizes: vec![20], rounds: 2, loss_per_million: 50_000, ..Options::default() };
    let report = run(&options);
    assert!(report.is_stable(), "{report}");
}

#[test]
fn the_text_and_the_picture_show_every_curve() {
    let report = run(&Options { sizes: vec![3, 6], rounds: 1, quiet_s: 5, ..Options::default() });
    let text = report.to_string();
    let path = std::env::temp_dir().join(format!("scale-{}.svg", std::process::id()));
    report.draw(&path).expect("the file can be written");
    let picture = std::fs::read_to_string(&path).expect("the picture is there");
    std::fs::remove_file(&path).expect("it was there");
    for chart in report.charts() {
        assert!(text.contains(chart.title) && picture.contains(chart.title));
        assert!(chart.curves.iter().all(|curve| text.contains(curve.name) && picture.contains(curve.name)));
    }
}
