//! More than a store, a link or a core takes: refused in clear words, before anything is done that cannot be undone.

use super::nodes::{Fleet, context_in, node_id};
use super::{bulk, limits};
use crate::core_inbox::PeerCore;
use crate::limits::{REMOTE_ASKED_MAX, REMOTE_REPLY_BYTES_MAX, REMOTE_SERVED_MAX};

const TOO_LONG: &str =
    "-ERR the value is too long to be stored, or it and the siblings that would stay beside it are; ";

impl Fleet {
    /// Bytes that a node has sent to others.
    fn sent_bytes(&self, node: usize) -> u64 {
        self.nodes[node].cores.iter().map(|core| core.shard.link_totals().sent_bytes).sum()
    }

    /// Writes that were refused as too large at a node; nothing else went wrong there.
    fn refused(&self, node: usize) -> u64 {
        let counters = self.nodes[node].cores[0].shard.replication.counters();
        assert_eq!((counters.in_doubt, counters.incarnations_needed, counters.no_replicas), (0, 0, 0));
        counters.oversized
    }
}

/// As long as the store of these tests takes it, or longer.
fn value(bytes: usize) -> String {
    "v".repeat(bytes)
}

#[test]
fn a_value_that_no_store_takes_is_refused_before_anything_is_sent() {
    let most = limits().value_bytes_max();
    let mut fleet = Fleet::new(4, 1);
    let clients: Vec<usize> = (0..4).map(|node| fleet.nodes[node].connect(0)).collect();
    let (fits, too_long) = (value(most), value(most + 1));
    // Three of the nodes own the key, and one passes commands on.
    for (node, client) in clients.iter().enumerate() {
        let before = fleet.sent_bytes(node);
        let commands =
            format!("SET k {too_long}; SETEX k 100 {too_long}; DYN.PUT k {too_long}; SET k {too_long} KEEPTTL; GET k");
        let said = fleet.ask((node, *client), &commands);
        assert!(said[..4].iter().all(|reply| reply.starts_with(TOO_LONG)), "{node}: {:?}", &said[..4]);
        assert_eq!(said[4], "$-1|");
        assert_eq!(fleet.refused(node), 4);
        let sent = fleet.sent_bytes(node) - before;
        assert!(sent < 10_000, "{sent} bytes of it were sent by {node}");
        assert_eq!(fleet.nodes[node].cores[0].shard.store.engine().keys(), 0);
    }
    for (node, client) in clients.iter().enumerate() {
        assert_eq!(
            fleet.ask((node, *client), &format!("SET k{node} {fits}; STRLEN k{node}")),
            ["+OK|", &format!(":{most}|")]
        );
    }
    (0..4).for_each(|node| assert_eq!(fleet.refused(node), 4));
}

#[test]
fn siblings_that_no_store_takes_together_are_not_made() {
    let most = limits().value_bytes_max();
    let third = value(most * 2 / 5);
    let mut fleet = Fleet::new(4, 1);
    let clients: Vec<usize> = (0..4).map(|node| fleet.nodes[node].connect(0)).collect();
    let first = context_in(&fleet.ask((0, clients[0]), "DYN.PUT k first")[0]);
    let beside = format!("DYN.PUT k {third} CONTEXT {first}");
    for node in [0, 1] {
        assert!(fleet.ask((node, clients[node]), &beside)[0].starts_with('$'), "it has room");
    }
    for (node, client) in clients.iter().enumerate() {
        let said = fleet.ask((node, *client), &beside);
        assert!(said[0].starts_with(TOO_LONG), "{node}: {said:?}");
    }
    let found = fleet.ask((3, clients[3]), "DYN.GET k R 3").remove(0);
    assert!(found.starts_with("*3|") && found.matches(&third).count() == 2, "the two that there were");
    // A write that has seen them makes room.
    let both = context_in(&found);
    let said = fleet.ask((2, clients[2]), &format!("DYN.PUT k {third} CONTEXT {both}"));
    assert!(said[0].starts_with('$'), "{said:?}");
    assert!(fleet.ask((1, clients[1]), "DYN.GET k R 3")[0].starts_with("*2|"));
    assert_eq!((0..4).map(|node| fleet.refused(node)).sum::<u64>(), 5, "also by the owner that one was passed to");
}

/// A reply of exactly so many bytes: one key.
fn reply_of(bytes: usize) -> Vec<u8> {
    let key = bytes - "*1\r\n$16777216\r\n\r\n".len();
    let mut reply = format!("*1\r\n${key}\r\n").into_bytes();
    reply.resize(reply.len() + key, b'k');
    reply.extend_from_slice(b"\r\n");
    assert_eq!(reply.len(), bytes);
    reply
}

#[test]
fn a_part_of_a_reply_travels_up_to_16_mib_and_beyond_that_an_error() {
    let mut fleet = Fleet::new(2, 1);
    let client = fleet.nodes[0].connect(0);
    let asker = PeerCore { node: node_id(0), core: 0 };
    assert_eq!(fleet.ask((0, client), "KEYS *"), ["*0|"]);
    for (token, bytes) in [(2, REMOTE_REPLY_BYTES_MAX), (3, REMOTE_REPLY_BYTES_MAX + 1)] {
        // The question is lost, and answered nevertheless.
        fleet.silent.insert(1);
        fleet.nodes[0].say(client, "KEYS *");
        for _ in 0..3 {
            fleet.turn();
        }
        fleet.silent.clear();
        let shard = &mut fleet.nodes[1].cores[0].shard;
        let part = shard.remote.serve(asker, token);
        shard.answer_peer(part, &reply_of(bytes));
        fleet.settle();
        let said = fleet.nodes[0].replies(client).remove(0);
        if bytes == REMOTE_REPLY_BYTES_MAX {
            assert!(said.starts_with("*1|$16777199|kkk") && said.len() > bytes - 10, "{} bytes", said.len());
        } else {
            assert_eq!(
                said,
                "-ERR one core's part of the reply has more than 16777216 bytes, the most that nodes send each other: use SCAN|"
            );
        }
    }
    assert_eq!(fleet.ask((0, client), "SET k v; KEYS *"), ["+OK|", "*1|$1|k|"]);
}

#[test]
fn a_core_that_is_at_work_for_others_as_much_as_it_may_says_so() {
    let mut fleet = Fleet::new(2, 1);
    let client = fleet.nodes[0].connect(0);
    assert_eq!(fleet.ask((0, client), "SET k v; DBSIZE"), ["+OK|", ":1|"]);
    // Tokens that the asker does not know: replies to them are nobody's.
    let asker = PeerCore { node: node_id(0), core: 0 };
    let remote = &mut fleet.nodes[1].cores[0].shard.remote;
    let parts: Vec<u32> = (0..REMOTE_SERVED_MAX as u64).map(|token| remote.serve(asker, 1 << 40 | token)).collect();
    fleet.nodes[0].say(client, "DBSIZE; KEYS *; RANDOMKEY; SCAN 0 COUNT 1000; GET k");
    let mut said = Vec::new();
    for _ in 0..1000 {
        fleet.turn();
        said.extend(fleet.nodes[0].replies(client));
    }
    assert_eq!(said.len(), 5);
    let busy = "-BUSY the core is at work for other nodes as much as it may: send it again later|";
    assert!(said[..4].iter().all(|reply| reply == busy), "{said:?}");
    assert_eq!(said[4], bulk("v"), "its keys are served");
    for part in parts {
        fleet.nodes[1].cores[0].shard.answer_peer(part, b":7\r\n");
    }
    assert_eq!(fleet.ask((0, client), "DBSIZE"), [":1|"]);
}

#[test]
fn a_core_that_waits_for_others_as_much_as_it_may_says_so() {
    const COMMANDS: usize = 2048;
    let mut fleet = Fleet::new(3, 1);
    let client = fleet.nodes[0].connect(0);
    assert_eq!(fleet.ask((0, client), "SET k v; DBSIZE"), ["+OK|", ":1|"]);
    fleet.silent.extend([1, 2]);
    // Each waits for the two others.
    let waiting: Vec<usize> = (0..REMOTE_ASKED_MAX / COMMANDS / 2).map(|_| fleet.nodes[0].connect(0)).collect();
    for other in &waiting {
        fleet.nodes[0].say(*other, &"DBSIZE;".repeat(COMMANDS));
    }
    fleet.nodes[0].turn(0);
    // What room there is left is taken by commands that wait for one.
    let slots: Vec<String> = (0..64).map(|partition| format!("CLUSTER COUNTKEYSINSLOT {}", partition * 16)).collect();
    fleet.nodes[0].say(waiting[0], &slots.join(";"));
    fleet.nodes[0].turn(0);
    fleet.nodes[0].say(client, "DBSIZE; KEYS *; RANDOMKEY; SCAN 0 COUNT 1000; PING");
    let mut said = Vec::new();
    for _ in 0..200 {
        fleet.nodes[0].turn(0);
        said.extend(fleet.nodes[0].replies(client));
    }
    let busy = "-BUSY this core waits for as many answers of other nodes as it may: send it again later|";
    assert_eq!(said, [busy, busy, busy, busy, "+PONG|"]);
    // All of them are told before long, and then there is room.
    fleet.settle();
    let said: Vec<String> = waiting.into_iter().flat_map(|other| fleet.nodes[0].replies(other)).collect();
    let told = said.iter().filter(|reply| reply.starts_with("-TRYAGAIN node ")).count();
    assert!(told > REMOTE_ASKED_MAX / 2 - 2, "{told}");
    assert!(said.iter().all(|reply| reply.starts_with("-TRYAGAIN node ") || reply == busy || reply == ":0|"));
    fleet.silent.clear();
    for _ in 0..4000 {
        fleet.turn();
    }
    assert_eq!(fleet.ask((0, client), "DBSIZE"), [":1|"]);
}
