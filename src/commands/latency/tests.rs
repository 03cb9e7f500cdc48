//! Buckets, sums over cores, and the three reports.

use super::*;

#[test]
fn buckets_tile_the_times() {
    let mut start = 0;
    for bucket in 0..BUCKETS {
        let end = bucket_end(bucket);
        assert_eq!((bucket_of(start), bucket_of(end - 1)), (bucket, bucket));
        assert!(bucket == 0 || end - start <= start / 4, "a quarter at most");
        start = end;
    }
    assert_eq!(start, 1 << (LAST_OCTAVE + 1));
    assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
}

#[test]
fn totals_add_cores_and_reset_clears() {
    let mut cores = [Latency::new(), Latency::new()];
    for _ in 0..98 {
        cores[0].record(Command::Get, 900);
    }
    cores[1].record(Command::Get, 3_000_000);
    cores[1].record(Command::Get, 5_000);
    cores[1].record_failure(Command::Get, b"-OOM x\r\n");
    let total = Total::of(&cores, Command::Get);
    assert_eq!((total.calls, total.failed), (100, 1));
    assert_eq!(total.nanos, 98 * 900 + 3_005_000);
    assert_eq!(total.percentile_us(500), 1.024);
    assert!((3000.0..3750.0).contains(&total.percentile_us(999)), "{}", total.percentile_us(999));
    assert_eq!(total.cumulative(), [(1, 98), (8, 99), (4194, 100)]);
    let mut text = String::new();
    write_command_statistics(&mut text, &cores);
    assert_eq!(text, "cmdstat_get:calls=100,usec=3093,usec_per_call=30.93,rejected_calls=0,failed_calls=1\r\n");
    cores.iter_mut().for_each(Latency::reset);
    assert_eq!(Total::of(&cores, Command::Get).calls, 0);
}

#[test]
fn errors_by_prefix() {
    let cores = [Latency::new()];
    cores[0].record_rejection(None, b"-ERR unknown command\r\n");
    cores[0].record_rejection(Some(Command::Get), b"-ERR wrong number\r\n");
    cores[0].record_rejection(None, b"-STRANGE\r\n");
    let mut text = String::new();
    write_error_statistics(&mut text, &cores);
    assert_eq!(text, "errorstat_ERR:count=2\r\nerrorstat_other:count=1\r\n");
}

#[test]
fn every_command_has_a_name_and_containers_are_all_they_hold() {
    for (number, command) in Command::ALL.iter().enumerate() {
        assert_eq!(number, command.index());
        assert!(*command == Command::Help || NAMES[number] != "help", "{command:?}");
    }
    assert_eq!(commands_named(b"GET"), [Command::Get]);
    assert!(commands_named(b"client").contains(&Command::ClientList));
    assert!(commands_named(b"nothing").is_empty());
}

#[test]
fn histograms_as_clients_read_them() {
    let cores = [Latency::new()];
    cores[0].record(Command::Set, 1_500);
    let mut out = Vec::new();
    write_histograms(&mut out, Protocol::Resp3, &[("set", Total::of(&cores, Command::Set))]);
    assert_eq!(out, b"%1\r\n$3\r\nset\r\n%2\r\n$5\r\ncalls\r\n:1\r\n$14\r\nhistogram_usec\r\n%1\r\n:2\r\n:1\r\n");
}
