//! Bytes that no client should send: each gets Redis's error or a closed connection, and the node goes on.
//!
//! Where `redis-server` is installed it gets the same bytes, and both sides' bytes are compared.

mod support;

use std::io::Write;
use std::net::Shutdown;
use support::conversation::assert_pattern;
use support::directory::Directory;
use support::mirror::Mirror;
use support::node::{Node, Options};
use support::resp::{Client, Reply, encode};
use support::wait_until;

fn node(name: &str) -> (Directory, Node) {
    let directory = Directory::new(name);
    let node = Options::new(directory.path()).start();
    (directory, node)
}

/// Sends bytes, then a PING; everything that comes back until the other side closes or the PING is answered.
/// Lines that never end are sent alone: a line end after them would make them another error.
fn answer(port: u16, bytes: &[u8]) -> String {
    let mut client = Client::connect(port);
    let _ = client.send(bytes);
    if bytes.len() < 64 * 1024 {
        let _ = client.send(b"*1\r\n$4\r\nPING\r\n");
    }
    let mut said = Vec::new();
    loop {
        match client.read_reply() {
            Ok(reply) if reply.to_string() == "+PONG" => return said.join(" ") + " +PONG",
            Ok(reply) => said.push(reply.to_string()),
            Err(_) => return said.join(" ") + " closed",
        }
    }
}

/// What is sent, and what comes back.
fn malformed() -> Vec<(Vec<u8>, &'static str)> {
    let text = |bytes: &[u8]| bytes.to_vec();
    let digits = |head: &[u8]| [head, &vec![b'1'; 70 * 1024]].concat();
    vec![
        (text(b"*1\r\n+PING\r\n"), "-ERR Protocol error: expected '$', got '+' closed"),
        (text(b"*1\r\n\r\n"), "-ERR Protocol error: expected '$', got ' ' closed"),
        (text(b"*x\r\n"), "-ERR Protocol error: invalid multibulk length closed"),
        (text(b"*99999999999999999999\r\n"), "-ERR Protocol error: invalid multibulk length closed"),
        (text(b"*1\r\n$-1\r\n"), "-ERR Protocol error: invalid bulk length closed"),
        (text(b"*1\r\n$x\r\n"), "-ERR Protocol error: invalid bulk length closed"),
        (text(b"*1\r\n$99999999999\r\n"), "-ERR Protocol error: invalid bulk length closed"),
        (text(b"SET \"unbalanced\r\n"), "-ERR Protocol error: unbalanced quotes in request closed"),
        (text(b"SET 'a'b\r\n"), "-ERR Protocol error: unbalanced quotes in request closed"),
        (digits(b"*"), "-ERR Protocol error: too big mbulk count string closed"),
        (digits(b"*1\r\n$"), "-ERR Protocol error: too big bulk count string closed"),
        (digits(b"GET "), "-ERR Protocol error: too big inline request closed"),
        (text(b"*0\r\n"), " +PONG"),
        (text(b"*-10\r\n"), " +PONG"),
        (text(b"\r\n\r\n\n"), " +PONG"),
        (text(b"ECHO hello\n"), "\"hello\" +PONG"),
        (text(b"ECHO \"a b\\x41\"\r\n"), "\"a bA\" +PONG"),
        (text(b"  ECHO   spaced  \r\n"), "\"spaced\" +PONG"),
        (text(b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n"), "\"\" +PONG"),
        (text(b"*1\r\n$0\r\n\r\n"), "-ERR unknown command '', with args beginning with:  +PONG"),
        (text(b"ECHO a\r\n*1\r\n?"), "\"a\" -ERR Protocol error: expected '$', got '?' closed"),
    ]
}

#[test]
fn malformed_requests_get_redis_errors() {
    let (directory, mut node) = node("bad-malformed");
    let mirror = Mirror::start(&directory);
    for (bytes, expected) in malformed() {
        let what = bytes[..bytes.len().min(40)].escape_ascii().to_string();
        // Ours also says how long the argument was and what the limit is.
        let ours = answer(node.port, &bytes).replace(" (99999999999 bytes; proto-max-bulk-len is 16777216)", "");
        assert_eq!(ours, expected, "after {what}");
        if let Some(mirror) = &mirror {
            assert_eq!(answer(mirror.port, &bytes), expected, "Redis, after {what}");
        }
    }
    node.expect_alive();
}

#[test]
fn random_bytes_never_end_the_node() {
    let (_directory, mut node) = node("bad-random");
    let seed = support::random::Random::seed_from_environment();
    eprintln!("ANNULUS_SEED={seed}");
    let mut random = support::random::Random::new(seed);
    let pieces: [&[u8]; 12] = [
        b"*3\r\n",
        b"$3\r\n",
        b"SET\r\n",
        b"\r\n",
        b"*",
        b"$",
        b"-1",
        b"\0\xff",
        b"GET k\r\n",
        b"\"",
        b"9999",
        b"$3\r\nGET\r\n",
    ];
    for _ in 0..400 {
        let mut bytes = Vec::new();
        for _ in 0..random.below(30) {
            bytes.extend_from_slice(pieces[random.below(pieces.len() as u64) as usize]);
        }
        let mut client = node.client();
        let _ = client.send(&bytes);
        if random.one_in(2) {
            let _ = client.stream().shutdown(Shutdown::Write);
            let _ = client.read_to_end();
        }
    }
    node.expect_alive();
}

/// The wire may cut anywhere; the replies do not change.
#[test]
fn requests_may_be_split_anywhere() {
    let (_directory, node) = node("bad-split");
    let mut bytes = Vec::new();
    encode(&mut bytes, &[b"SET", b"key", b"value\r\nwith line ends"]);
    encode(&mut bytes, &[b"GET", b"key"]);
    bytes.extend_from_slice(b"ECHO inline\r\n");
    for cut in 1..bytes.len() {
        let mut client = node.client();
        client.send(&bytes[..cut]).expect("the node reads");
        // The first part is a packet of its own: the stream does not delay, and this waits until it was taken.
        client.stream().flush().expect("a socket");
        node_turn(&node);
        client.send(&bytes[cut..]).expect("the node reads");
        client.read_reply().expect("a reply").expect_ok();
        assert_eq!(client.read_reply().expect("a reply").bytes(), b"value\r\nwith line ends");
        assert_eq!(client.read_reply().expect("a reply").bytes(), b"inline");
    }
}

/// A round trip on another connection: the node has turned at least once since.
fn node_turn(node: &Node) {
    assert_eq!(node.client().words("PING").to_string(), "+PONG");
}

#[test]
fn an_oversized_value_is_refused_by_name() {
    let (_directory, mut node) = node("bad-oversized");
    let mut client = node.client();
    let header = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", 33 << 20);
    client.send(header.as_bytes()).expect("the node reads");
    assert_pattern(
        &client.read_reply().expect("an error before the value is sent"),
        "-ERR Protocol error: invalid bulk length*",
    );
    assert!(client.read_to_end().expect("closed").is_empty());
    let mut client = node.client();
    let many = format!("*{}\r\n", 2 << 20);
    client.send(many.as_bytes()).expect("the node reads");
    assert_pattern(&client.read_reply().expect("an error"), "-ERR Protocol error: invalid multibulk length*");
    node.expect_alive();
}

#[test]
fn a_half_closed_socket_gets_all_its_replies() {
    let (_directory, mut node) = node("bad-half-closed");
    let mut bytes = Vec::new();
    for number in 0..500 {
        encode(&mut bytes, &[b"SET", format!("key-{number}").as_bytes(), b"v"]);
        encode(&mut bytes, &[b"GET", format!("key-{number}").as_bytes()]);
    }
    let mut client = node.client();
    client.send(&bytes).expect("the node reads");
    client.stream().shutdown(Shutdown::Write).expect("a socket");
    for number in 0..500 {
        client.read_reply().unwrap_or_else(|error| panic!("SET {number}: {error}")).expect_ok();
        assert_eq!(client.read_reply().expect("a reply").bytes(), b"v");
    }
    assert!(client.read_to_end().expect("closed in order").is_empty());
    // Half a command, then nothing more: no reply, and the node closes.
    let mut client = node.client();
    client.send(b"*2\r\n$3\r\nGET\r\n$3\r\nke").expect("the node reads");
    client.stream().shutdown(Shutdown::Write).expect("a socket");
    assert!(client.read_to_end().expect("closed").is_empty());
    node.expect_alive();
}

#[test]
fn a_reset_in_the_middle_of_a_pipeline_harms_nobody() {
    let (_directory, mut node) = node("bad-reset");
    for round in 0..50 {
        let mut bytes = Vec::new();
        for number in 0..300 {
            encode(&mut bytes, &[b"SET", format!("key-{number}").as_bytes(), format!("round-{round}").as_bytes()]);
        }
        let mut client = node.client();
        let _ = client.send(&bytes[..bytes.len() * (round + 1) / 60]);
        // Dropped with replies unread: the kernel sends a reset.
    }
    node.expect_alive();
    let mut client = node.client();
    let information = client.words("INFO clients");
    let information = String::from_utf8_lossy(information.bytes()).into_owned();
    assert!(information.contains("connected_clients:"), "{information}");
    wait_until("the dropped connections to be forgotten", || {
        let information = client.words("INFO clients");
        String::from_utf8_lossy(information.bytes()).contains("connected_clients:1\r\n")
    });
}

#[test]
fn before_authentication_little_is_accepted() {
    let directory = Directory::new("bad-auth");
    let file = directory.path().join("annulus.toml");
    let mut config = std::fs::File::create(&file).expect("a file");
    config.write_all(b"requirepass = \"hunter2\"\n").expect("a file");
    let options = Options::new(&directory.path().join("data"));
    let mut node = options.argument("--config").argument(&file.to_string_lossy()).start();
    let mut client = node.client();
    assert_eq!(client.words("GET k").to_string(), "-NOAUTH Authentication required.");
    assert_pattern(&client.words("AUTH wrong"), "-WRONGPASS invalid username-password pair or user is disabled.");
    assert_pattern(&client.words("HELLO 3"), "-NOAUTH HELLO must be called with the client already authenticated*");
    assert_pattern(&client.words("NOSUCH"), "-*");
    client.words("AUTH hunter2").expect_ok();
    client.words("SET k v").expect_ok();
    assert_eq!(client.words("HELLO 3 AUTH default hunter2").items().len(), 14);
    let mut client = node.client();
    client.send(b"*11\r\n").expect("the node reads");
    assert_pattern(&client.read_reply().expect("an error"), "-ERR Protocol error: unauthenticated multibulk length");
    let mut client = node.client();
    client.send(b"*2\r\n$4\r\nECHO\r\n$16385\r\n").expect("the node reads");
    assert_pattern(&client.read_reply().expect("an error"), "-ERR Protocol error: unauthenticated bulk length");
    assert_eq!(Client::connect(node.port).words("AUTH default hunter2"), Reply::Simple("OK".into()));
    let said = node.said();
    assert!(!said.contains("hunter2"), "the password is in what the node prints:\n{said}");
    let mut client = node.client();
    client.words("AUTH hunter2").expect_ok();
    assert_eq!(client.words("PING").to_string(), "+PONG");
    node.stop();
}
