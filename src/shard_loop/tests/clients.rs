//! Clients that ask for no replies, go away, come back, read slowly, or send nonsense.

use super::*;
use crate::limits;

#[test]
fn client_reply_off_skip_on() {
    let mut cluster = Cluster::new(2, 0);
    let client = cluster.connect(0);
    let (here, there) = (key_of(0, 0), key_of(1, 0));
    let commands = format!(
        "CLIENT REPLY OFF; SET {here} 1; SET {there} 2; GET {here}; GET {there}; MGET {here} {there}; NONSENSE; DBSIZE; \
         GETSET {there} 3; PING; CLIENT REPLY ON; GET {here}; GET {there}; CLIENT REPLY SKIP; SET {there} 4; GET {there}; \
         CLIENT REPLY SKIP; PING; PING"
    );
    cluster.expect(client, &commands, &["+OK|", "$1|1|", "$1|3|", "$1|4|", "+PONG|"]);
    assert!(cluster.cores.iter().all(|core| core.shard.gathers.is_empty() && core.shard.commits.is_empty()));
}

#[test]
fn a_client_that_goes_leaves_nothing_to_the_next() {
    for seed in 0..10 {
        let mut cluster = Cluster::open(MemoryDisk::new(seed), 2, 0, super::limits(), 1);
        let (here, there) = (key_of(0, 0), key_of(1, 0));
        let first = cluster.connect(0);
        cluster.expect(first, &format!("SET {here} secret; SET {there} secret"), &["+OK|", "+OK|"]);
        cluster.completions_max = 0;
        cluster.say(
            first,
            &format!("GET {here}; GET {there}; SET {here} w; SET {there} w; MGET {here} {there}; KEYS *; DBSIZE"),
        );
        cluster.turn(0);
        cluster.begin(0);
        let connection = cluster.clients[first].connection;
        cluster.cores[0].shard.on_ended(connection, false);
        cluster.end(0);
        cluster.turn(0);
        assert!(cluster.clients[first].closed);
        let second = cluster.connect(0);
        assert_eq!(cluster.clients[second].connection, connection, "the connection's id is given out again");
        cluster.say(second, "PING; ECHO mine");
        cluster.turn(0);
        cluster.completions_max = 1;
        cluster.settle();
        assert_eq!(cluster.replies(second), ["+PONG|", "$4|mine|"]);
        assert!(cluster.replies(first).is_empty());
        assert_eq!(cluster.cores[0].shard.sessions.len(), 1, "the first one's place is free at last");
        cluster.expect(second, &format!("MGET {here} {there}"), &["*2|$1|w|$1|w|"]);
        assert_eq!(cluster.node.clients(), 1);
    }
}

#[test]
fn a_half_closed_client_gets_all_its_replies() {
    let mut cluster = Cluster::new(2, 0);
    let (here, there) = (key_of(0, 0), key_of(1, 0));
    let client = cluster.connect(0);
    cluster.completions_max = 1;
    cluster.say(client, &format!("SET {here} 1; SET {there} 2; MGET {here} {there}; GETDEL {here}; PING"));
    cluster.clients[client].wire.extend_from_slice(b"*2\r\n$3\r\nGET\r\n$1");
    cluster.clients[client].fin = true;
    cluster.settle();
    assert_eq!(cluster.replies(client), ["+OK|", "+OK|", "*2|$1|1|$1|2|", "$1|1|", "+PONG|"]);
    assert!(cluster.clients[client].closed && cluster.cores[0].shard.sessions.is_empty());
}

#[test]
fn a_half_closed_client_that_was_blocked_gets_all_its_replies() {
    for end_first in [true, false] {
        let mut cluster = Cluster::new(1, 1 << 20);
        let client = cluster.connect(0);
        let count = limits::SESSION_OUTSTANDING_MAX + 100;
        cluster.completions_max = 0;
        let bytes = encode(&"SET k v;".repeat(count));
        let connection = cluster.clients[client].connection;
        cluster.begin(0);
        bytes.chunks(RECEIVE_BYTES).for_each(|bytes| cluster.cores[0].shard.on_received(connection, bytes));
        cluster.end(0);
        // The end and what unblocks it come in one turn, in either order.
        cluster.begin(0);
        if end_first {
            cluster.cores[0].shard.on_ended(connection, true);
        }
        while cluster.complete(0) {}
        if !end_first {
            cluster.cores[0].shard.on_ended(connection, true);
        }
        cluster.end(0);
        cluster.completions_max = usize::MAX;
        cluster.settle();
        assert_eq!(cluster.replies(client).len(), count, "the end came first: {end_first}");
        assert!(cluster.clients[client].closed);
    }
}

#[test]
fn quit_answers_and_closes_behind_earlier_replies() {
    let mut cluster = Cluster::new(2, 0);
    let client = cluster.connect(0);
    let commands = format!("SET {} 1; GET {}; QUIT; SET never 1; PING", key_of(1, 0), key_of(1, 0));
    cluster.expect(client, &commands, &["+OK|", "$1|1|", "+OK|"]);
    assert!(cluster.clients[client].closed);
    let other = cluster.connect(0);
    cluster.expect(other, "EXISTS never", &[":0|"]);
}

#[test]
fn a_protocol_error_closes_behind_earlier_replies() {
    let mut cluster = Cluster::new(2, 0);
    let client = cluster.connect(0);
    cluster.say(client, &format!("SET {} 1; GET {}", key_of(1, 0), key_of(1, 0)));
    cluster.clients[client].wire.extend_from_slice(b"*1\r\n!nonsense\r\n*1\r\n$4\r\nPING\r\n");
    cluster.settle();
    let replies = cluster.replies(client);
    assert_eq!((replies.len(), &replies[..2]), (3, &["+OK|".to_owned(), "$1|1|".to_owned()][..]));
    assert!(replies[2].starts_with("-ERR Protocol error"), "{replies:?}");
    assert!(cluster.clients[client].closed && cluster.cores[0].shard.sessions.is_empty());
}

#[test]
fn a_client_that_does_not_read_is_slowed_then_closed() {
    let mut cluster = Cluster::new(1, 4 << 20);
    let [slow, other] = [0; 2].map(|_| cluster.connect(0));
    let value = "v".repeat(500_000);
    cluster.expect(slow, &format!("SET k {value}"), &["+OK|"]);
    cluster.clients[slow].reads = false;
    cluster.say(slow, &"GET k;".repeat(100));
    cluster.settle();
    let unread = |cluster: &Cluster| {
        cluster.cores[0].shard.sessions.iter().map(|(_, session)| session.unread_bytes()).max().unwrap()
    };
    assert!((4 << 20..6 << 20).contains(&unread(&cluster)), "it is slowed: {}", unread(&cluster));
    assert!(!cluster.clients[slow].closed);
    cluster.clients[slow].reads = true;
    cluster.settle();
    let replies = cluster.replies(slow);
    assert!(replies.len() == 100 && replies.iter().all(|reply| *reply == bulk(&value)), "and goes on when it reads");
    let limit = ["CONFIG", "SET", "client-output-buffer-limit", "normal 32mb 0 0"];
    encode_command(&mut cluster.clients[other].wire, &limit);
    cluster.expect(other, "PING", &["+OK|", "+PONG|"]);
    cluster.clients[slow].reads = false;
    cluster.say(slow, &format!("MGET{}", " k".repeat(80)));
    cluster.settle();
    assert!(cluster.clients[slow].closed, "above the hard limit it is closed");
    cluster.expect(other, "PING", &["+PONG|"]);
    assert_eq!(cluster.cores[0].shard.sessions.len(), 1, "its place is free");
    cluster.drain();
}

#[test]
fn a_blocked_client_that_goes_does_not_hold_up_the_end() {
    let mut cluster = Cluster::new(1, 4 << 20);
    let [slow, waiting] = [0; 2].map(|_| cluster.connect(0));
    cluster.expect(slow, &format!("SET k {}", "v".repeat(500_000)), &["+OK|"]);
    cluster.clients[slow].reads = false;
    cluster.say(slow, &"GET k;".repeat(100));
    cluster.settle();
    cluster.completions_max = 0;
    cluster.say(waiting, &"SET j v;".repeat(limits::SESSION_OUTSTANDING_MAX + 1));
    cluster.turns(0, 10);
    cluster.begin(0);
    for client in [slow, waiting] {
        let connection = cluster.clients[client].connection;
        cluster.cores[0].shard.on_ended(connection, false);
    }
    cluster.end(0);
    cluster.turn(0);
    assert!([slow, waiting].iter().all(|client| cluster.clients[*client].closed));
    cluster.completions_max = usize::MAX;
    cluster.settle();
    assert!(cluster.cores[0].shard.sessions.is_empty());
    cluster.drain();
}

#[test]
fn a_client_blocked_for_one_reason_after_another_goes_on() {
    let tiny =
        Limits { small_record_bytes_max: 4 << 10, frame_bytes_max: 8 << 10, waiting_frames_max: 2, ..super::limits() };
    let mut cluster = Cluster::open(MemoryDisk::new(2), 2, 0, tiny, 1);
    let [client, other] = [0; 2].map(|_| cluster.connect(0));
    cluster.completions_max = 0;
    // First too many replies are outstanding, on the other core.
    let there = key_of(1, 0);
    let count = limits::SESSION_OUTSTANDING_MAX + 200;
    cluster.say(client, &format!("GET {there};").repeat(count));
    cluster.turns(0, 20);
    // Then this core's buffers are full, and more arrives.
    let here = key_of(0, 0);
    cluster.say(other, &format!("SET {here} {};", "x".repeat(3000)).repeat(30));
    cluster.turns(0, 5);
    assert!(!cluster.cores[0].shard.takes_requests());
    cluster.clients[client].receives = true;
    cluster.say(client, "PING; PING");
    cluster.turns(0, 5);
    cluster.completions_max = 1;
    cluster.settle();
    assert_eq!(cluster.replies(other).len(), 30);
    let replies = cluster.replies(client);
    assert_eq!((replies.len(), &replies[count][..]), (count + 2, "+PONG|"));
    cluster.drain();
}

#[test]
fn clients_that_come_at_once_are_spread_before_any_is_handed_over() {
    let mut cluster = Cluster::new(2, 0);
    let mut clients_of = [0; 2];
    for _ in 0..50 {
        let core = cluster.node.least_busy_core();
        assert!(cluster.cores[0].shard.may_connect(core));
        clients_of[usize::from(core)] += 1;
    }
    assert_eq!(clients_of, [25, 25]);
}
