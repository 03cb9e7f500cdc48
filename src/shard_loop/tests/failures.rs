//! Writes that fail or find no room: who is told, and that nothing is lost.

use super::*;

/// So small that some dozens of writes stall.
fn tiny() -> Limits {
    Limits { small_record_bytes_max: 4 << 10, frame_bytes_max: 8 << 10, waiting_frames_max: 2, ..limits() }
}

/// Lets the next operation of the disk fail.
fn fail_next(cluster: &Cluster, core: usize) {
    let disk = &cluster.cores[core].disk;
    disk.fail_call(Some(disk.calls()), false);
}

#[test]
fn a_failed_commit_is_answered_to_exactly_its_commands() {
    let mut cluster = Cluster::new(1, 1 << 20);
    let [first, second, third] = [0; 3].map(|_| cluster.connect(0));
    cluster.expect(first, "SET a old; SET b old; SET c old", &["+OK|"; 3]);
    cluster.completions_max = 0;
    cluster.gives_incarnations = false;
    cluster.say(first, "SET a new; GET c; PING");
    cluster.say(second, "PING; DEL b");
    cluster.turn(0);
    assert_eq!(cluster.in_flight(), 1);
    // These join the next commit.
    cluster.say(third, "SET c new; GET c");
    cluster.say(second, "SET d new");
    cluster.turn(0);
    fail_next(&cluster, 0);
    cluster.completions_max = 1;
    cluster.turn(0);
    cluster.completions_max = usize::MAX;
    cluster.settle();
    let of_first = cluster.replies(first);
    assert!(of_first[0].starts_with("-INDOUBT"), "{of_first:?}");
    assert_eq!(of_first[1..], ["$3|old|", "+PONG|"]);
    assert_eq!(cluster.cores[0].disk.injected().failed_calls, 1);
    // Writes wait for a new incarnation, reads do not.
    let of_third = cluster.ask(third, "GET a; SET e new; GET e");
    assert_eq!(cluster.needs_incarnation.len(), 1);
    cluster.give_incarnations();
    cluster.settle();
    let of_third = [of_third, cluster.replies(third)].concat();
    assert_eq!(of_third, ["+OK|", "$3|new|", "$3|old|", "+OK|", "$3|new|"]);
    let of_second = cluster.replies(second);
    assert_eq!(of_second.len(), 3, "{of_second:?}");
    assert!(
        of_second[0] == "+PONG|" && of_second[1].starts_with("-INDOUBT") && of_second[2] == "+OK|",
        "{of_second:?}"
    );
    cluster.expect(
        first,
        "MGET a b c d e; SET a newer; GET a",
        &["*5|$3|old|$3|old|$3|new|$3|new|$3|new|", "+OK|", "$5|newer|"],
    );
}

#[test]
fn a_reader_of_an_earlier_commit_is_not_told_of_a_later_failure() {
    let mut cluster = Cluster::new(1, 1 << 20);
    let [writer, other, reader] = [0; 3].map(|_| cluster.connect(0));
    cluster.expect(writer, "SET warm up", &["+OK|"]);
    cluster.completions_max = 0;
    cluster.say(writer, "SET a 1");
    cluster.turn(0);
    cluster.say(other, "SET b 1");
    cluster.turn(0);
    cluster.say(reader, "GET a");
    cluster.turn(0);
    assert!(cluster.complete_in_turn(0), "the first commit");
    fail_next(&cluster, 0);
    assert!(cluster.complete_in_turn(0), "the second one");
    cluster.completions_max = usize::MAX;
    cluster.settle();
    assert_eq!(cluster.replies(writer), ["+OK|"]);
    assert!(cluster.replies(other)[0].starts_with("-INDOUBT"));
    assert_eq!(cluster.replies(reader), ["$1|1|"]);
}

impl Cluster {
    /// A turn in which one operation of the disk ends.
    fn complete_in_turn(&mut self, core: usize) -> bool {
        self.begin(core);
        let completed = self.complete(core);
        self.end(core);
        completed
    }
}

#[test]
fn what_depends_on_a_failed_commit_is_told_as_well() {
    let mut cluster = Cluster::new(2, 1 << 20);
    let client = cluster.connect(0);
    let (here, there) = (key_of(0, 0), key_of(1, 0));
    cluster.expect(client, &format!("MSET {here} 0 {there} 0"), &["+OK|"]);
    cluster.completions_max = 0;
    cluster.say(client, &format!("MSET {here} 1 {there} 1; PING; SET {there} 2; MGET {here} {there}"));
    for _ in 0..3 {
        cluster.turn(0);
        cluster.turn(1);
    }
    // Core 1's write fails, core 0's does not.
    fail_next(&cluster, 1);
    cluster.completions_max = 1;
    cluster.turn(1);
    cluster.completions_max = usize::MAX;
    cluster.settle();
    let replies = cluster.replies(client);
    let is_doubt = |reply: &String| reply.starts_with("-INDOUBT");
    assert!(
        is_doubt(&replies[0]) && replies[1] == "+PONG|" && is_doubt(&replies[2]) && is_doubt(&replies[3]),
        "{replies:?}"
    );
    cluster.expect(client, &format!("MGET {here} {there}"), &["*2|$1|1|$1|0|"]);
}

#[test]
fn full_buffers_park_everything_in_order_and_lose_nothing() {
    let mut cluster = Cluster::open(MemoryDisk::new(4), 2, 0, tiny(), 1);
    let clients: Vec<usize> = [0, 0, 1].map(|core| cluster.connect(core)).to_vec();
    cluster.completions_max = 0;
    let value = "v".repeat(1000);
    for client in &clients {
        let writes: String = (0..60).map(|at| format!("SET c{client}:{at} {value}{at}; GET c{client}:{at};")).collect();
        let keys: String = (0..60).map(|at| format!(" c{client}:{at}")).collect();
        cluster.say(
            *client,
            &format!(
                "{writes} SET last {client}; EXISTS{keys}; MSET x{client} 1 y{client} 2; MGET x{client} y{client}; PING"
            ),
        );
    }
    for _ in 0..20 {
        cluster.turn(0);
        cluster.turn(1);
    }
    let stalled = |cluster: &Cluster| cluster.cores.iter().any(|core| !core.shard.takes_requests());
    assert!(stalled(&cluster), "the buffers are full");
    assert!(clients.iter().all(|client| cluster.clients[*client].output.is_empty()));
    cluster.completions_max = 1;
    cluster.settle();
    assert!(!stalled(&cluster));
    for client in &clients {
        let replies = cluster.replies(*client);
        assert_eq!(replies.len(), 125);
        for at in 0..60 {
            assert_eq!((&replies[2 * at][..], &replies[2 * at + 1]), ("+OK|", &bulk(&format!("{value}{at}"))));
        }
        assert_eq!(replies[120..], ["+OK|", ":60|", "+OK|", "*2|$1|1|$1|2|", "+PONG|"]);
    }
    cluster.expect(clients[0], "DBSIZE", &[":187|"]);
}

#[test]
fn commands_that_waited_for_a_key_come_before_what_stalled_later() {
    let mut cluster = Cluster::open(MemoryDisk::new(4), 1, 0, tiny(), 1);
    let [client, other] = [0; 2].map(|_| cluster.connect(0));
    cluster.expect(client, "SET k old", &["+OK|"]);
    cluster.completions_max = 0;
    cluster.say(client, "GETSET k a; GET k; STRLEN k");
    cluster.turn(0);
    // The parts fill the buffers; that of `k`, the last, stalls while the key is held.
    let parts: String = (0..9).map(|at| format!(" p{at} {}", "x".repeat(3000))).collect();
    cluster.say(other, &format!("MSET{parts} k stalled"));
    cluster.turn(0);
    assert!(!cluster.cores[0].shard.takes_requests());
    cluster.completions_max = usize::MAX;
    cluster.settle();
    assert_eq!(cluster.replies(client), ["$3|old|", "$1|a|", ":1|"]);
    assert_eq!(cluster.replies(other), ["+OK|"]);
    cluster.expect(client, "GET k", &["$7|stalled|"]);
}

/// Clients come and go, and writes fail: whoever stays gets a reply to each command, and the node ends.
#[test]
fn faults_and_departures_leave_nobody_without_a_reply() {
    let mut failed_calls = 0;
    for seed in 0..60 {
        let mut random = Random(seed);
        let mut cluster = Cluster::open(MemoryDisk::new(seed), 2, 0, tiny(), 1);
        let mut asked: Vec<usize> = Vec::new();
        for step in 0..60 {
            if step % 10 == 0 {
                asked.push(0);
                cluster.connect(random.below(2));
            }
            let client = random.below(asked.len());
            let at = &cluster.clients[client];
            let (core, connection) = (at.core, at.connection);
            if at.fin || at.closing || at.closed {
                continue;
            }
            match random.below(30) {
                0 => cluster.clients[client].fin = true,
                1 => {
                    asked[client] = usize::MAX;
                    cluster.begin(core);
                    cluster.cores[core].shard.on_ended(connection, false);
                    cluster.end(core);
                }
                _ => {
                    let key = random.below(20);
                    let value = "x".repeat(random.below(6000));
                    cluster.say(
                        client,
                        &format!("SET {key} v{value}; GETSET {key} w; MGET {key} 1 2; DEL 3 {key}; DBSIZE; GET 1"),
                    );
                    asked[client] += 6;
                }
            }
            if random.one_in(20) {
                fail_next(&cluster, 0);
            }
            cluster.bytes_max = 1 + random.below(4000);
            cluster.completions_max = random.below(4);
            cluster.turns(random.below(2), 1 + random.below(3));
        }
        (cluster.bytes_max, cluster.completions_max) = (1 << 20, 1);
        cluster.settle();
        for (client, asked) in asked.iter().enumerate().filter(|(_, asked)| **asked != usize::MAX) {
            assert_eq!(cluster.replies(client).len(), *asked, "seed {seed}, client {client}");
        }
        failed_calls += cluster.cores[0].disk.injected().failed_calls;
        cluster.drain();
        for core in &cluster.cores {
            let shard = &core.shard;
            assert!(shard.gathers.is_empty() && shard.readings.is_empty() && shard.busy_keys.is_empty());
            assert!(shard.commits.is_empty() && shard.stalled.is_empty() && shard.scans.is_empty());
        }
    }
    assert!(failed_calls > 60);
}

#[test]
fn a_second_failure_makes_the_core_read_only_and_everybody_is_answered() {
    let mut cluster = Cluster::new(1, 1 << 20);
    let client = cluster.connect(0);
    cluster.expect(client, "SET a 1", &["+OK|"]);
    fail_next(&cluster, 0);
    assert!(cluster.ask(client, "SET a 2")[0].starts_with("-INDOUBT"));
    cluster.expect(client, "SET a 3", &["+OK|"]);
    fail_next(&cluster, 0);
    assert!(cluster.ask(client, "SET a 4")[0].starts_with("-INDOUBT"));
    let replies = cluster.ask(client, "SET a 5; GET a; DEL a; PING");
    assert!(replies[0].starts_with("-MISCONF") && replies[2].starts_with("-MISCONF"), "{replies:?}");
    assert_eq!((&replies[1][..], &replies[3][..]), ("$1|3|", "+PONG|"));
    cluster.drain();
}
