//! Pipelines of one client on one core: order, and a command sees every earlier one.

use super::*;

#[test]
fn a_write_waits_for_its_commit_and_what_is_behind_it_stays_behind() {
    let mut cluster = Cluster::new(1, 1 << 20);
    let client = cluster.connect(0);
    cluster.expect(client, "SET b 0", &["+OK|"]);
    cluster.completions_max = 0;
    cluster.say(client, "PING; SET a 1; GET b; PING; DEL b; GET nothing; EXISTS a b");
    cluster.turns(0, 5);
    assert_eq!(cluster.replies(client), ["+PONG|"], "what is before the write leaves at once");
    assert_eq!(cluster.in_flight(), 1, "one group commit");
    cluster.completions_max = usize::MAX;
    cluster.settle();
    assert_eq!(cluster.replies(client), ["+OK|", "$1|0|", "+PONG|", ":1|", "$-1|", ":1|"]);
}

#[test]
fn a_command_sees_every_earlier_one_of_its_pipeline() {
    for cache_bytes in [0, 1 << 20] {
        let mut cluster = Cluster::new(1, cache_bytes);
        let client = cluster.connect(0);
        let commands =
            "SET k v; GET k; SET k w; GET k; STRLEN k; DEL k; GET k; EXISTS k; SET k x XX; SET k y NX; GET k";
        let replies = ["+OK|", "$1|v|", "+OK|", "$1|w|", ":1|", ":1|", "$-1|", ":0|"].map(str::to_owned);
        let all = cluster.ask(client, commands);
        assert_eq!(all[..8], replies);
        cluster.expect(
            client,
            "MSET a 1 b 2 a 3; MGET a b c a; DEL a a; DBSIZE; GET b; FLUSHALL; GET b; DBSIZE",
            &[
                "+OK|",
                "*4|$1|3|$1|2|$-1|$1|3|",
                ":1|",
                &format!(":{}|", u8::from(all[10] != "$-1|") + 1),
                "$1|2|",
                "+OK|",
                "$-1|",
                ":0|",
            ],
        );
    }
}

#[test]
fn bytes_may_arrive_one_by_one() {
    let mut cluster = Cluster::new(2, 0);
    let client = cluster.connect(0);
    cluster.bytes_max = 1;
    let (here, there) = (key_of(0, 0), key_of(1, 0));
    let commands = format!("SET {here} 1; SET {there} 2; GET {here}; MGET {here} {there} none; PING; GETDEL {there}");
    cluster.expect(client, &commands, &["+OK|", "+OK|", "$1|1|", "*3|$1|1|$1|2|$-1|", "+PONG|", "$1|2|"]);
    cluster.clients[client].wire.extend_from_slice(b"PING\r\nset x 'inline'\r\n\r\nGET x\r\n");
    cluster.settle();
    let replies = cluster.replies(client);
    assert_eq!((replies.len(), &replies[0][..], &replies[1][..]), (3, "+PONG|", "+OK|"));
}

#[test]
fn small_and_large_writes_of_one_key_keep_their_order() {
    let mut cluster = Cluster::new(1, 0);
    let client = cluster.connect(0);
    let large = "L".repeat(20_000);
    for round in 0..5 {
        let commands = format!(
            "SET k {large}; STRLEN k; SET k s{round}; GET k; SET k {large}; SET k t{round}; SET k {large}; STRLEN k; PING"
        );
        let small = bulk(&format!("s{round}"));
        cluster.expect(
            client,
            &commands,
            &["+OK|", ":20000|", "+OK|", &small, "+OK|", "+OK|", "+OK|", ":20000|", "+PONG|"],
        );
        cluster.expect(client, "STRLEN k", &[":20000|"]);
    }
}

#[test]
fn one_commit_serves_what_arrived_in_a_turn() {
    let mut cluster = Cluster::new(1, 1 << 20);
    let clients: Vec<usize> = (0..50).map(|_| cluster.connect(0)).collect();
    cluster.expect(clients[0], "SET warm up", &["+OK|"]);
    let before = cluster.cores[0].shard.engine().statistics().counts.commits;
    clients.iter().for_each(|client| cluster.say(*client, &format!("SET k{client} v")));
    cluster.settle();
    assert!(clients.iter().all(|client| cluster.replies(*client) == ["+OK|"]));
    assert_eq!(cluster.cores[0].shard.engine().statistics().counts.commits, before + 1);
}

#[test]
fn replies_are_counted_and_bounded() {
    let mut cluster = Cluster::new(1, 1 << 20);
    let client = cluster.connect(0);
    cluster.completions_max = 0;
    let count = 3 * crate::limits::SESSION_OUTSTANDING_MAX;
    cluster.say(client, &"SET k v;".repeat(count));
    cluster.turns(0, 20);
    assert_eq!(cluster.cores[0].shard.commits.len(), crate::limits::SESSION_OUTSTANDING_MAX, "the rest waits unparsed");
    assert!(!cluster.clients[client].receives, "and is not received for ever");
    cluster.completions_max = usize::MAX;
    cluster.settle();
    assert_eq!(cluster.replies(client).len(), count);
    assert!(cluster.clients[client].receives);
}

#[test]
fn what_a_resumed_client_writes_is_on_its_way_before_the_core_sleeps() {
    let one_segment =
        Limits { segment_bytes_min: 2 << 20, segment_bytes_max: 2 << 20, large_segment_bytes_min: 2 << 20, ..limits() };
    let mut cluster = Cluster::open(MemoryDisk::new(1), 1, 1 << 20, one_segment, 1);
    let client = cluster.connect(0);
    cluster.expect(client, "SET warm up", &["+OK|"]);
    cluster.completions_max = 0;
    let count = crate::limits::SESSION_OUTSTANDING_MAX + 10;
    cluster.say(client, &"SET k v;".repeat(count));
    cluster.turns(0, 5);
    cluster.begin(0);
    while cluster.complete(0) {}
    cluster.end(0);
    let core = &cluster.cores[0];
    assert!(core.disk.in_flight() > 0 || core.shard.sleep_at_most().is_zero(), "it would sleep with writes to commit");
    cluster.completions_max = usize::MAX;
    cluster.settle();
    assert_eq!(cluster.replies(client).len(), count);
}
