//! Records that must be read: reads overlap, replies keep their order, and a command that writes what it read holds its key.

use super::*;

/// One core without a cache, and a client that has stored `k0`, `k1`, … with the values `v0`, `v1`, …
fn stored(keys: usize, seed: u64, limits: Limits) -> (Cluster, usize) {
    let mut cluster = Cluster::open(MemoryDisk::new(seed), 1, 0, limits, 1);
    let client = cluster.connect(0);
    let commands: String = (0..keys).map(|key| format!("SET k{key} v{key};")).collect();
    assert_eq!(cluster.ask(client, &commands).len(), keys);
    (cluster, client)
}

#[test]
fn reads_overlap_and_their_replies_keep_the_order() {
    for seed in 0..20 {
        let (mut cluster, client) = stored(8, seed, limits());
        cluster.completions_max = 0;
        cluster.say(client, "GET k0; GET k1; PING; GET k2; GET k3; GET none; GET k4; STRLEN k5; GET k6; GET k7");
        cluster.turn(0);
        assert_eq!(cluster.in_flight(), 8, "every read is under way");
        cluster.completions_max = 1;
        cluster.settle();
        let replies = ["$2|v0|", "$2|v1|", "+PONG|", "$2|v2|", "$2|v3|", "$-1|", "$2|v4|", ":2|", "$2|v6|", "$2|v7|"];
        assert_eq!(cluster.replies(client), replies);
    }
}

#[test]
fn more_reads_than_may_be_in_flight_wait_for_their_turn() {
    let (mut cluster, client) = stored(40, 3, Limits { reads_max: 4, ..limits() });
    let other = cluster.connect(0);
    cluster.completions_max = 0;
    let gets: String = (0..40).map(|key| format!("GET k{key};")).collect();
    cluster.say(client, &gets);
    cluster.say(other, &format!("{gets} GETSET k7 new; MGET k7 k8; DBSIZE"));
    cluster.turn(0);
    assert_eq!(cluster.in_flight(), 4);
    cluster.completions_max = 1;
    cluster.settle();
    let expected: Vec<String> = (0..40).map(|key| bulk(&format!("v{key}"))).collect();
    let first = cluster.replies(client);
    // The other client's GETSET may be seen, by a GET that ran after it.
    assert!(first.iter().zip(&expected).enumerate().all(|(at, (got, old))| got == old || at == 7 && got == "$3|new|"));
    let second = cluster.replies(other);
    assert_eq!(
        (&second[..40], &second[40..]),
        (&expected[..], &["$2|v7|", "*2|$3|new|$2|v8|", ":40|"].map(str::to_owned)[..])
    );
}

#[test]
fn a_read_answers_as_of_its_place_although_a_write_overtakes_it() {
    for seed in 0..20 {
        let (mut cluster, client) = stored(1, seed, limits());
        cluster.completions_max = 0;
        cluster.say(client, "GET k0; SET k0 w; GET k0; STRLEN k0; DEL k0; GET k0");
        cluster.turns(0, 3);
        assert!(cluster.replies(client).is_empty());
        cluster.completions_max = 1;
        cluster.settle();
        assert_eq!(cluster.replies(client), ["$2|v0|", "+OK|", "$1|w|", ":1|", ":1|", "$-1|"]);
    }
}

#[test]
fn commands_that_write_what_they_read_hold_the_key() {
    for seed in 0..20 {
        let (mut cluster, client) = stored(3, seed, limits());
        cluster.completions_max = 0;
        let other = cluster.connect(0);
        cluster.say(
            client,
            "GETSET k0 a; GET k0; SET k0 b GET; STRLEN k0; GETDEL k0; GET k0; EXISTS k0; SET k0 cc; GET k1",
        );
        cluster.turn(0);
        assert_eq!(cluster.in_flight(), 2, "k0 is read once, k1 beside it");
        cluster.say(other, "GETDEL k0; SET k0 d; PING");
        cluster.turn(0);
        assert_eq!(cluster.cores[0].shard.busy_keys.len(), 7 + 2);
        cluster.completions_max = 1;
        cluster.settle();
        let replies = ["$2|v0|", "$1|a|", "$1|a|", ":1|", "$1|b|", "$-1|", ":0|", "+OK|", "$2|v1|"];
        assert_eq!(cluster.replies(client), replies);
        assert_eq!(cluster.replies(other), ["$2|cc|", "+OK|", "+PONG|"]);
        cluster.expect(client, "GET k0", &["$1|d|"]);
        assert!(cluster.cores[0].shard.busy_keys.is_empty() && cluster.cores[0].shard.readings.is_empty());
    }
}

#[test]
fn expiry_commands_on_disk_keep_the_value() {
    let (mut cluster, client) = stored(2, 5, limits());
    cluster.completions_max = 1;
    let commands =
        "EXPIRE k0 100; TTL k0; GET k0; PERSIST k0; TTL k0; GETEX k0 EX 50; TTL k0; SET k0 w KEEPTTL; GET k0; TTL k0";
    let replies = [":1|", ":100|", "$2|v0|", ":1|", ":-1|", "$2|v0|", ":50|", "+OK|", "$1|w|", ":50|"];
    cluster.expect(client, commands, &replies);
    cluster.expect(
        client,
        "EXPIRE k1 100; GET k1; EXPIRE k1 200 GT; TTL k1; EXPIRE k1 -1; GET k1",
        &[":1|", "$2|v1|", ":1|", ":200|", ":1|", "$-1|"],
    );
}

#[test]
fn parts_of_several_key_commands_wait_for_held_keys() {
    let (mut cluster, client) = stored(3, 6, limits());
    cluster.completions_max = 1;
    let commands = "GETSET k0 a; MGET k0 k1 k2; GETSET k1 b; MSET k0 c k1 d k9 e; MGET k0 k1 k9; GETDEL k0; DEL k0 k1 k2; EXISTS k0 k1 k2 k9";
    let replies = ["$2|v0|", "*3|$1|a|$2|v1|$2|v2|", "$2|v1|", "+OK|", "*3|$1|c|$1|d|$1|e|", "$1|c|", ":2|", ":1|"];
    cluster.expect(client, commands, &replies);
}

#[test]
fn commands_on_all_keys_see_what_waits_for_a_held_key() {
    let (mut cluster, client) = stored(2, 7, limits());
    cluster.expect(
        client,
        "GETDEL k0; DBSIZE; GETSET k1 w; FLUSHALL; GET k1; DBSIZE",
        &["$2|v0|", ":1|", "$2|v1|", "+OK|", "$-1|", ":0|"],
    );
}

#[test]
fn an_unreadable_record_is_an_error_of_its_command_only() {
    let (mut cluster, client) = stored(2, 8, limits());
    for (commands, expected) in [("GETDEL k0; GET k0", &["$2|v0|"]), ("GETSET k1 w; GET k1", &["$2|v1|"])] {
        let calls = cluster.cores[0].disk.calls();
        cluster.cores[0].disk.fail_call(Some(calls), false);
        let replies = cluster.ask(client, commands);
        assert!(replies[0].starts_with("-ERR reading the value failed"), "{replies:?}");
        assert_eq!(replies[1..], expected[..]);
    }
    assert_eq!(cluster.cores[0].disk.injected().failed_calls, 2);
    assert!(cluster.cores[0].shard.busy_keys.is_empty());
}

#[test]
fn a_command_that_waited_for_its_record_counts_once() {
    let (mut cluster, client) = stored(8, 1, limits());
    let gets: String = (0..8).map(|key| format!("GET k{key};")).collect();
    assert_eq!(cluster.ask(client, &gets).len(), 8);
    let statistics = cluster.ask(client, "INFO commandstats").join("");
    assert!(statistics.contains("cmdstat_get:calls=8,"), "{statistics}");
    assert!(statistics.contains("cmdstat_set:calls=8,"), "{statistics}");
}
