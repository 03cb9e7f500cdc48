//! Data commands in a cluster: what they ask for, what they answer from what was read, and what they want written.

use annulus_net::resp::Protocol;
use annulus_object::{Actor, Clock, Context, Dot, SiblingRef, encode_object};

use super::{Data, Outcome, ReplicatedKeys};
use crate::commands::{self, table};

const NOW: u64 = 1_700_000_000_000;

/// The object of siblings (clock, value, expiry), and a context that has seen them.
fn object(siblings: &[(u64, Option<&str>, u64)]) -> Vec<u8> {
    let dot = |clock| Dot::new(Clock::from_raw(clock).unwrap(), Actor::new(clock, 1));
    let mut context = Context::default();
    siblings.iter().for_each(|(clock, ..)| context.insert(dot(*clock)));
    let siblings = siblings.iter().map(|&(clock, value, expires_at_ms)| SiblingRef {
        dot: dot(clock),
        expires_at_ms,
        value: value.map(str::as_bytes),
        value_dot: None,
    });
    let mut out = Vec::new();
    encode_object(&context, siblings, &mut out);
    out
}

/// What a run does, in a word: `reply`, `ASK`, or `reply` and what is written: `← value @expiry` or `← (deleted)`, with `seen`
/// where it replaces what was read, and `of` the clock of the write that made the value where it only touches that.
fn run(text: &str, object: Option<&[u8]>, may_swap: bool) -> String {
    let args: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
    let row = table::resolve(args[0], args.get(1).copied()).expect(text);
    let key = annulus_engine::Key { bytes: args[usize::from(row.keys.expect(text).first)], partition: 5, hash: 9 };
    let (mut hits, mut misses, mut out) = (0, 0, Vec::new());
    let mut data = Data {
        keys: ReplicatedKeys::new(object, may_swap),
        now_ms: NOW,
        protocol: Protocol::Resp2,
        hits: &mut hits,
        misses: &mut misses,
        out: &mut out,
    };
    let outcome = commands::run(row.command().expect(text), &mut data, &key, &args);
    let write = data.keys.write;
    let reply = String::from_utf8(out).unwrap().replace("\r\n", "|");
    match (outcome, write) {
        (Outcome::Ask, None) => String::from("ASK"),
        (Outcome::Done(None), None) => reply,
        (Outcome::Sent, Some(write)) => {
            let value = write.value.map_or("(deleted)", |value| std::str::from_utf8(value).unwrap());
            let expiry = if write.expires_at_ms == 0 { String::new() } else { format!(" @{}", write.expires_at_ms) };
            let of = write.value_dot.map_or_else(String::new, |made| format!(" of {}", made.clock.raw()));
            format!("{reply} <- {value}{expiry}{}{of}", if write.has_read { " seen" } else { "" })
        }
        (outcome, write) => panic!("{text}: {outcome:?} {write:?}"),
    }
}

fn check(object: Option<&[u8]>, script: &str) {
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (command, expected) = line.split_once(" > ").expect(line);
        assert_eq!(run(command, object, true), expected, "{command}");
    }
}

#[test]
fn a_first_run_asks_unless_it_needs_nothing() {
    check(
        None,
        "GET k > ASK
         STRLEN k > ASK
         GETRANGE k 0 1 > ASK
         EXISTS k > ASK
         TYPE k > ASK
         TTL k > ASK
         MEMORY USAGE k > ASK
         DEL k > ASK
         EXPIRE k 10 > ASK
         EXPIRE k -1 > ASK
         PERSIST k > ASK
         GETEX k > ASK
         GETEX k EX 10 > ASK
         GETEX k EX 0 > ASK
         SET k v KEEPTTL > ASK
         SET k v GET > ASK
         SET k v PXAT 1 > ASK
         GETSET k v > ASK
         GETDEL k > ASK
         SET k v > +OK| <- v
         SET k v PX 5 > +OK| <- v @1700000000005
         SETEX k 1 v > +OK| <- v @1700000001000
         SET k v EX > -ERR syntax error|
         EXPIRE k ten > -ERR value is not an integer or out of range|",
    );
}

#[test]
fn what_is_not_there_is_answered_and_deleted_only_where_it_may_be_there_for_others() {
    let deleted = object(&[(7, None, 0)]);
    let expired = object(&[(7, Some("old"), NOW), (8, None, 0)]);
    for object in [&[][..], &deleted] {
        check(Some(object), "DEL k > :0|\n EXPIRE k -1 > :0|\n SET k v PXAT 1 > +OK|");
    }
    // By another node's clock it has not expired yet.
    check(
        Some(&expired),
        "DEL k > :0| <- (deleted) seen
         EXPIRE k -1 > :0| <- (deleted) seen
         SET k v PXAT 1 > +OK| <- (deleted) seen",
    );
    for object in [&[][..], &deleted, &expired] {
        check(
            Some(object),
            "GET k > $-1|
             STRLEN k > :0|
             EXISTS k > :0|
             TYPE k > +none|
             TTL k > :-2|
             MEMORY USAGE k > $-1|
             EXPIRE k 10 > :0|
             PERSIST k > :0|
             GETEX k EX 10 > $-1|
             GETDEL k > $-1|
             SET k v KEEPTTL > +OK| <- v seen
             GETSET k v > $-1| <- v seen",
        );
    }
}

#[test]
fn the_newest_sibling_that_lives_is_the_value_and_writes_replace_them_all() {
    let object =
        object(&[(5, Some("older"), 0), (6, Some("value"), NOW + 9_000), (7, Some("gone"), NOW), (8, None, 0)]);
    check(
        Some(&object),
        "GET k > $5|value|
         STRLEN k > :5|
         GETRANGE k 1 2 > $2|al|
         EXISTS k > :1|
         TYPE k > +string|
         TTL k > :9|
         PEXPIRETIME k > :1700000009000|
         DEL k > :1| <- (deleted) seen
         EXPIRE k 10 > :1| <- value @1700000010000 seen of 6
         EXPIRE k 10 NX > :0|
         EXPIRE k 5 GT > :0|
         EXPIRE k -1 > :1| <- (deleted) seen
         EXPIRE k -1 XX > :1| <- (deleted) seen
         PERSIST k > :1| <- value seen of 6
         GETEX k > $5|value|
         GETEX k PERSIST > $5|value| <- value seen of 6
         GETEX k PXAT 1 > $5|value| <- (deleted) seen
         GETEX k PXAT 1700000009000 > $5|value|
         GETEX k EX 0 > -ERR invalid expire time in 'getex' command|
         SET k new KEEPTTL > +OK| <- new @1700000009000 seen
         SET k new GET > $5|value| <- new seen
         SET k new KEEPTTL GET > $5|value| <- new @1700000009000 seen
         SET k new PXAT 1 > +OK| <- (deleted) seen
         GETSET k new > $5|value| <- new seen
         GETDEL k > $5|value| <- (deleted) seen",
    );
    check_touched();
    let usage = run("MEMORY USAGE k", Some(&object), true);
    let bytes: usize = usage.trim_matches([':', '|']).parse().unwrap();
    assert!((object.len()..object.len() + 200).contains(&bytes), "{bytes}");
}

/// A value that was touched is as new as the write that made it, also when it is touched again.
fn check_touched() {
    let dot = |clock| Dot::new(Clock::from_raw(clock).unwrap(), Actor::new(1, 1));
    let old = |at, made| SiblingRef { dot: dot(at), expires_at_ms: 0, value: Some(b"old"), value_dot: Some(dot(made)) };
    let new = SiblingRef { dot: dot(4), expires_at_ms: 0, value: Some(b"new"), value_dot: None };
    let cases = [([new, old(9, 3)], "new", 4), ([old(9, 5), old(10, 3)], "old", 5), ([new, old(9, 7)], "old", 7)];
    for (siblings, shown, made) in cases {
        let mut object = Vec::new();
        encode_object(&Context::with_floor(Clock::from_raw(10).unwrap()), siblings, &mut object);
        check(
            Some(&object),
            &format!("GET k > $3|{shown}|\nEXPIRE k 9 > :1| <- {shown} @1700000009000 seen of {made}"),
        );
        check(Some(&object), "SET k v KEEPTTL > +OK| <- v seen");
    }
}

#[test]
fn what_cannot_be_atomic_is_refused_unless_that_is_wanted() {
    let object = object(&[(5, Some("value"), 0)]);
    for (command, title) in [("GETSET k v", "GETSET"), ("GETDEL k", "GETDEL"), ("SET k v GET", "SET with GET")] {
        for object in [None, Some(&object[..])] {
            let reply = run(command, object, false);
            assert!(reply.starts_with(&format!("-ERR {title} is not served by Annulus: replicas")), "{reply}");
            assert!(reply.contains("relaxed-commands = yes"), "{reply}");
        }
    }
    assert_eq!(run("SET k v", None, false), "+OK| <- v");
    assert_eq!(run("GETEX k PERSIST", Some(&object), false), "$5|value|");
}
