//! Counting, publishing, summing, exporting.

use super::*;

#[test]
fn the_table_is_in_order_and_its_names_are_good() {
    for (index, row) in METRICS.iter().enumerate() {
        assert_eq!(row.metric as usize, index);
        assert!(row.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", row.name);
        assert!(!row.name.ends_with("_total") && !row.help.ends_with('.'));
        assert_eq!(METRICS.iter().filter(|other| other.name == row.name).count(), 1);
    }
    for (index, family) in Family::ALL.iter().enumerate() {
        assert_eq!(*family as usize, index);
    }
}

#[test]
fn cores_do_not_share_cache_lines() {
    assert_eq!(align_of::<CoreMetrics>(), 128);
    assert_eq!(size_of::<CoreMetrics>() % 128, 0);
}

#[test]
fn published_numbers_are_summed() {
    let metrics = NodeMetrics::new(2);
    let mut counts = CoreCounts::new();
    counts.add(Metric::ReceivedBytes, 5);
    counts.add(Metric::ReceivedBytes, 5);
    counts.set(Metric::Keys, 7);
    counts.command(Family::Write, 3);
    assert_eq!(metrics.sum(Metric::ReceivedBytes), 0);
    metrics.cores()[0].publish(&counts);
    metrics.cores()[1].publish(&counts);
    metrics.cores()[1].publish(&counts);
    assert_eq!(metrics.sum(Metric::ReceivedBytes), 20);
    assert_eq!(metrics.sum(Metric::Keys), 14);
    assert_eq!(metrics.sum(Metric::CommandsWrite), 2);
    assert_eq!(metrics.latency(Family::Write).count(), 2);
    assert_eq!(metrics.latency(Family::Write).sum_us, 6);
    assert_eq!(metrics.latency(Family::Read).count(), 0);
}

#[test]
fn a_silent_core_is_seen() {
    let metrics = NodeMetrics::new(2);
    std::thread::sleep(std::time::Duration::from_millis(30));
    metrics.beat(1);
    let silence: Vec<u64> = metrics.silence_ms().collect();
    assert!(silence[0] >= 30 && silence[1] < silence[0], "{silence:?}");
}

#[test]
fn buckets_double() {
    let cases = [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (1023, 10), (1024, 11), (u64::MAX, BUCKETS - 1)];
    for (microseconds, bucket) in cases {
        assert_eq!(bucket_of(microseconds), bucket);
        assert!(bucket_upper_us(bucket).is_none_or(|upper| microseconds < upper));
    }
    for bucket in 1..BUCKETS - 1 {
        let upper = bucket_upper_us(bucket).unwrap();
        assert_eq!((bucket_of(upper - 1), bucket_of(upper)), (bucket, bucket + 1));
    }
}

#[test]
fn the_export_is_openmetrics() {
    let metrics = NodeMetrics::new(2);
    let mut counts = CoreCounts::new();
    counts.set(Metric::Keys, u64::MAX);
    counts.command(Family::Read, 3);
    counts.command(Family::Read, u64::MAX / 2);
    metrics.cores()[1].publish(&counts);
    let text = render(&metrics);
    for line in [
        "# TYPE annulus_commands_read counter",
        "annulus_commands_read_total{core=\"0\"} 0",
        "annulus_commands_read_total{core=\"1\"} 2",
        "annulus_keys{core=\"1\"} 9223372036854775807",
        "# TYPE annulus_command_duration_seconds histogram",
        "annulus_command_duration_seconds_bucket{le=\"0.000004\",family=\"read\"} 1",
        "annulus_command_duration_seconds_bucket{le=\"+Inf\",family=\"read\"} 2",
        "annulus_command_duration_seconds_count{family=\"read\"} 2",
    ] {
        assert!(text.lines().any(|candidate| candidate == line), "{line}\n{text}");
    }
    assert!(text.contains("annulus_last_turn_ms{core=\"0\"} "));
    assert!(text.ends_with("# EOF\n"));
}
