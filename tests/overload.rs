//! Many connections, readers that do not read, and an orderly end: the node stays up, bounded and fair.

mod support;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use support::directory::Directory;
use support::node::{Node, Options};
use support::resp::{Client, Reply, encode};
use support::wait_until;

/// Raises this process's descriptor limit and says how many connections it can hold beside the rest.
fn connections_possible() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let most = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20);
    usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(500)
}

fn status(node: &Node, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", node.id())).expect("our own child");
    let line = text.lines().find(|line| line.starts_with(name)).expect("the kernel tells");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

/// Processor time that the process has used, in clock ticks of 10 ms.
fn processor_ticks(node: &Node) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", node.id())).expect("our own child");
    let fields: Vec<&str> = text[text.rfind(')').expect("a name in brackets") + 2..].split(' ').collect();
    fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
}

fn connected(client: &mut Client) -> u64 {
    let text = client.words("INFO clients");
    let text = String::from_utf8_lossy(text.bytes()).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("connected_clients:")).expect("INFO tells");
    line.parse().expect("a number")
}

#[test]
fn ten_thousand_idle_connections() {
    let directory = Directory::new("overload-idle");
    let count = connections_possible().min(9_990);
    if count < 9_990 {
        eprintln!("SCALED DOWN to {count} connections: the descriptor limit allows no more");
    }
    let mut node = Options::new(directory.path()).start();
    let mut control = node.client();
    let before = status(&node, "VmRSS:");
    let mut idle: Vec<TcpStream> = Vec::new();
    for number in 0..count {
        let stream = TcpStream::connect(("127.0.0.1", node.port));
        idle.push(stream.unwrap_or_else(|error| panic!("connection {number} of {count}: {error}")));
    }
    wait_until("all connections to be counted", || connected(&mut control) == count as u64 + 1);
    let memory = status(&node, "VmRSS:").saturating_sub(before);
    eprintln!("{count} idle connections: {memory} KiB more resident memory");
    assert!(memory < 256 * 1024, "{memory} KiB for {count} idle connections");
    let (ticks, started) = (processor_ticks(&node), Instant::now());
    std::thread::sleep(Duration::from_secs(2));
    let used = (processor_ticks(&node) - ticks) as f64 / 100.0 / started.elapsed().as_secs_f64();
    eprintln!("idle: {:.1} % of one processor", used * 100.0);
    assert!(used < 0.20, "an idle node uses {:.0} % of a processor", used * 100.0);
    for stream in idle.iter_mut().step_by(7) {
        stream.write_all(b"PING\r\n").expect("the node reads");
        let mut reply = [0; 7];
        stream.read_exact(&mut reply).expect("an idle connection is served when it wakes");
        assert_eq!(&reply, b"+PONG\r\n");
    }
    drop(idle);
    wait_until("closed connections to be forgotten", || connected(&mut control) == 1);
    node.expect_alive();
    node.stop();
}

#[test]
fn one_client_too_many_is_told_so() {
    let directory = Directory::new("overload-maxclients");
    let mut node = Options::new(directory.path()).start();
    let mut control = node.client();
    control.words("CONFIG SET maxclients 20").expect_ok();
    let mut served = vec![];
    let mut refused = 0;
    for _ in 0..40 {
        let mut client = node.client();
        match client.try_command(&[b"PING"]) {
            Ok(Reply::Simple(_)) => served.push(client),
            Ok(Reply::Error(text)) => {
                assert_eq!(text, "ERR max number of clients reached");
                refused += 1;
            }
            // The reset that follows the refusal may overtake it, as it may with Redis.
            Err(_) => refused += 1,
            Ok(other) => panic!("{other}"),
        }
    }
    assert!(served.len() <= 19 && served.len() >= 15, "{} served beside the control connection", served.len());
    assert_eq!(served.len() + refused, 40);
    served.clear();
    wait_until("room again", || node.client().try_command(&[b"PING"]).is_ok_and(|reply| reply.error().is_none()));
    node.expect_alive();
}

/// A client that asks for far more than it reads is held back or cut off; memory stays bounded, others are served.
#[test]
fn a_slow_reader_is_bounded() {
    const REPLIES: usize = 1_000;
    let directory = Directory::new("overload-slow");
    let mut node = Options::new(directory.path()).start();
    let mut client = node.client();
    let value: Vec<u8> = (0..1 << 20).map(|index: usize| (index / 7) as u8).collect();
    client.command(&[b"SET", b"large", &value]).expect_ok();
    let before = status(&node, "VmRSS:");
    let mut slow = node.client();
    let mut bytes = Vec::new();
    (0..REPLIES).for_each(|_| encode(&mut bytes, &[b"GET", b"large"]));
    let mut writer = slow.writer();
    let sending = std::thread::spawn(move || writer.write_all(&bytes));
    let started = Instant::now();
    let mut most = 0;
    while started.elapsed() < Duration::from_secs(3) {
        assert_eq!(client.words("PING").to_string(), "+PONG");
        most = most.max(status(&node, "VmRSS:").saturating_sub(before));
    }
    eprintln!("slow reader: at most {most} KiB more resident memory");
    assert!(most < 320 * 1024, "{most} KiB are kept for one client that does not read");
    let mut complete = 0;
    while complete < REPLIES {
        match slow.read_reply() {
            Ok(reply) => assert!(reply.bytes() == value, "reply {complete} is not the value"),
            Err(_) => break,
        }
        complete += 1;
    }
    eprintln!("slow reader: {complete} of {REPLIES} replies arrived whole");
    assert!(complete > 0, "nothing arrived");
    drop(slow);
    let _ = sending.join();
    node.expect_alive();
}

/// SIGTERM under load: status 0 in time, every acknowledged write there afterwards, connections end at a reply's end.
#[test]
fn sigterm_drains() {
    let directory = Directory::new("overload-drain");
    let options = Options::new(directory.path());
    let mut node = options.start();
    let port = node.port;
    let writers: Vec<_> = (0..4).map(|writer| std::thread::spawn(move || write_until_closed(port, writer))).collect();
    wait_until("some writes", || node.client().words("DBSIZE").integer() > 500);
    let started = Instant::now();
    node.stop();
    assert!(started.elapsed() < Duration::from_secs(12), "it took {:?}", started.elapsed());
    let counts: Vec<u64> = writers.into_iter().map(|writer| writer.join().expect("whole replies only")).collect();
    let node = options.start();
    let mut client = node.client();
    for (writer, count) in counts.iter().enumerate() {
        for number in 0..*count {
            let reply = client.words(&format!("EXISTS drain-{writer}-{number}"));
            assert_eq!(reply, Reply::Integer(1), "drain-{writer}-{number} was acknowledged");
        }
    }
    assert!(counts.iter().sum::<u64>() > 500, "{counts:?}");
}

/// Writes in batches until the node closes; gives how many were acknowledged.
fn write_until_closed(port: u16, writer: usize) -> u64 {
    let mut client = Client::connect(port);
    let mut acknowledged = 0;
    loop {
        let mut bytes = Vec::new();
        for number in acknowledged..acknowledged + 16 {
            encode(&mut bytes, &[b"SET", format!("drain-{writer}-{number}").as_bytes(), b"v"]);
        }
        if client.send(&bytes).is_err() {
            return acknowledged;
        }
        for _ in 0..16 {
            match client.read_reply() {
                Ok(reply) => reply.expect_ok(),
                Err(error) => {
                    assert!(error.kind() != std::io::ErrorKind::InvalidData, "half a reply: {error}");
                    return acknowledged;
                }
            }
            acknowledged += 1;
        }
    }
}

#[test]
fn client_kill_and_timeout_end_connections() {
    let directory = Directory::new("overload-kill");
    let node = Options::new(directory.path()).start();
    let (mut control, mut victim) = (node.client(), node.client());
    let id = victim.words("CLIENT ID").integer();
    assert_eq!(control.words(&format!("CLIENT KILL ID {id}")), Reply::Integer(1));
    assert!(victim.try_command(&[b"PING"]).is_err(), "killed");
    control.words("CONFIG SET timeout 1").expect_ok();
    let mut idle = node.client();
    assert_eq!(idle.words("PING").to_string(), "+PONG");
    assert!(idle.read_to_end().expect("closed by the node").is_empty(), "an idle client is closed");
    control.try_command(&[b"PING"]).ok();
}
