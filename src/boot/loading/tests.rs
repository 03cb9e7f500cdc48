//! Real connections on loopback, beside a progress that the test makes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};

use annulus_net::listener;
use annulus_net::resp::reader;
use rustix::fs::OFlags;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A node that loads: its sockets as the cores would have them, and the thread.
struct Node {
    listeners: Vec<OwnedFd>,
    addresses: Vec<SocketAddr>,
    progress: Arc<Progress>,
    loading: Loading,
}

impl Node {
    fn new() -> Self {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listeners: Vec<OwnedFd> = (0..3).map(|_| listener::bind(any).unwrap()).collect();
        let own = |listener| SocketAddr::try_from(rustix::net::getsockname(listener).unwrap()).unwrap();
        let addresses = listeners.iter().map(own).collect();
        let progress = Arc::new(Progress::default());
        let loading = Loading::start(&listeners, &progress).unwrap();
        Self { listeners, addresses, progress, loading }
    }

    fn connect(&self) -> TcpStream {
        connect(self.addresses[0])
    }

    fn expect(&self, done: u64, total: u64) {
        self.progress.expect(total);
        self.progress.advance(done);
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends bytes and reads so many replies.
fn ask(mut stream: &TcpStream, bytes: &[u8], replies: usize) -> Vec<String> {
    stream.write_all(bytes).unwrap();
    let mut received = Vec::new();
    let mut answers = Vec::new();
    while answers.len() < replies {
        while let Some(end) = reader::reply_end(&received, 1 << 20).unwrap() {
            answers.push(String::from_utf8(received.drain(..end).collect()).unwrap());
        }
        if answers.len() < replies {
            let mut more = [0; 4096];
            let count = stream.read(&mut more).unwrap();
            assert!(count > 0, "the connection ended behind {answers:?}");
            received.extend_from_slice(&more[..count]);
        }
    }
    assert!(received.is_empty() && answers.len() == replies, "more than was asked for: {answers:?}");
    answers
}

fn ask_one(stream: &TcpStream, bytes: &[u8]) -> String {
    ask(stream, bytes, 1).remove(0)
}

/// What comes until the end of the connection, which has to be orderly.
fn rest(mut stream: &TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn every_command_is_told_how_far_loading_is() {
    let node = Node::new();
    let client = node.connect();
    let none = "-LOADING Annulus is loading the dataset: 0 % done\r\n";
    assert_eq!(ask_one(&client, b"PING\r\n"), none);
    node.expect(459, 1000);
    let some = "-LOADING Annulus is loading the dataset: 45 % done\r\n";
    let commands = b"*1\r\n$4\r\nPING\r\n*3\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$0\r\n\r\n\r\nAUTH secret\r\n*0\r\nnonsense\r\nset a 1\r\n";
    assert_eq!(ask(&client, commands, 5), [some; 5]);
    // In pieces, and on a core's own port.
    for address in &node.addresses {
        let client = connect(*address);
        for byte in &b"*2\r\n$3\r\nGET\r\n$1\r\na\r"[..] {
            (&client).write_all(&[*byte]).unwrap();
        }
        assert_eq!(ask_one(&client, b"\n"), some);
    }
}

#[test]
fn info_says_that_it_loads() {
    let node = Node::new();
    let client = node.connect();
    let text = |reply: String| String::from_utf8(reader::read_bulk(reply.as_bytes()).unwrap().to_vec()).unwrap();
    let unknown = "# Persistence\r\nloading:1\r\nloading_loaded_perc:0.00\r\nloading_eta_seconds:-1\r\n";
    assert_eq!(text(ask_one(&client, b"info\r\n")), unknown);
    node.expect(1234, 10_000);
    let some = text(ask_one(&client, b"*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n"));
    assert!(some.starts_with("# Persistence\r\nloading:1\r\nloading_loaded_perc:12.34\r\nloading_eta_seconds:"));
    assert!(!some.contains("-1"), "{some}");
}

#[test]
fn quit_and_garbage_close_the_connection() {
    let node = Node::new();
    let client = node.connect();
    assert_eq!(ask(&client, b"PING\r\nQUIT\r\nPING\r\n", 2)[1], "+OK\r\n");
    assert_eq!(rest(&client), "");
    for garbage in ["*1\r\n$x\r\nPING\r\n", "*1\r\nPING\r\n", "*2\r\n$4\r\nPINGPING", "*9999999\r\n", "\"open\r\n"] {
        let client = node.connect();
        (&client).write_all(garbage.as_bytes()).unwrap();
        let said = rest(&client);
        assert!(said.starts_with("-ERR Protocol error: ") && said.lines().count() == 1, "{garbage:?}: {said}");
    }
    assert!(ask_one(&node.connect(), b"PING\r\n").starts_with("-LOADING"));
}

#[test]
fn a_client_that_sends_no_more_gets_its_replies() {
    let node = Node::new();
    let client = node.connect();
    (&client).write_all(b"PING\r\nPING\r\nPI").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&client).lines().count(), 2);
}

#[test]
fn a_command_that_is_too_large_to_keep_is_told_the_same() {
    let node = Node::new();
    let client = node.connect();
    let value = vec![b'x'; 4 << 20];
    let mut command = format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n${}\r\n", value.len()).into_bytes();
    command.extend_from_slice(&value);
    // The value is read on, or it would not fit the buffers between us.
    (&client).write_all(&command).unwrap();
    assert!(rest(&client).starts_with("-LOADING"));
    let client = node.connect();
    let largest = vec![b'x'; client::INPUT_BYTES_MAX - 100];
    let mut command = format!("*2\r\n$4\r\nECHO\r\n${}\r\n", largest.len()).into_bytes();
    command.extend_from_slice(&largest);
    command.extend_from_slice(b"\r\nPING\r\n");
    assert_eq!(ask(&client, &command, 2).len(), 2);
}

#[test]
fn a_pipeline_is_answered_however_slowly_it_is_read() {
    const COMMANDS: usize = 200_000;
    let node = Node::new();
    let client = node.connect();
    let writer = client.try_clone().unwrap();
    let writing = thread::spawn(move || (&writer).write_all(&b"PING\r\n".repeat(COMMANDS)).unwrap());
    thread::sleep(Duration::from_millis(300));
    // Others are answered meanwhile.
    assert!(ask_one(&node.connect(), b"PING\r\n").starts_with("-LOADING"));
    let mut left = COMMANDS;
    let mut bytes = [0; 64 << 10];
    while left > 0 {
        let count = (&client).read(&mut bytes).unwrap();
        assert!(count > 0, "{left} replies are missing");
        left -= bytes[..count].iter().filter(|byte| **byte == b'\n').count();
    }
    writing.join().unwrap();
}

#[test]
fn clients_are_bounded() {
    let node = Node::new();
    let mut clients: Vec<TcpStream> = (0..CLIENTS_MAX).map(|_| node.connect()).collect();
    for client in &clients {
        assert!(ask_one(client, b"PING\r\n").starts_with("-LOADING"));
    }
    for address in &node.addresses {
        assert_eq!(rest(&connect(*address)), "-ERR max number of clients reached\r\n");
    }
    drop(clients.pop());
    let until = Instant::now() + PATIENCE;
    loop {
        let client = node.connect();
        (&client).write_all(b"QUIT\r\n").unwrap();
        let mut first = [0];
        match (&client).read(&mut first) {
            Ok(1) if first[0] == b'+' => break,
            _ => assert!(Instant::now() < until, "a place that was given back is not taken again"),
        }
    }
}

#[test]
fn the_end_is_prompt_and_lets_everybody_go() {
    let node = Node::new();
    let idle: Vec<TcpStream> = (0..20).map(|_| node.connect()).collect();
    for client in &idle {
        ask_one(client, b"PING\r\n");
    }
    let midway = node.connect();
    assert_eq!(ask(&midway, b"PING\r\n*2\r\n$3\r\nGE", 1).len(), 1);
    let deaf = node.connect();
    deaf.set_nonblocking(true).unwrap();
    let until = Instant::now() + Duration::from_millis(300);
    while Instant::now() < until {
        let _ = (&deaf).write(&b"PING\r\n".repeat(1000));
    }
    let begun = Instant::now();
    node.loading.stop();
    node.loading.stop();
    assert!(begun.elapsed() < END_PATIENCE + Duration::from_secs(2), "{:?}", begun.elapsed());
    for client in idle.iter().chain([&midway]) {
        assert_eq!(rest(client), "");
    }
}

#[test]
fn what_arrived_before_the_end_is_answered() {
    for _ in 0..50 {
        let node = Node::new();
        let client = node.connect();
        ask_one(&client, b"PING\r\n");
        (&client).write_all(b"PING\r\n").unwrap();
        node.loading.stop();
        assert!(rest(&client).starts_with("-LOADING"));
    }
}

#[test]
fn the_cores_get_their_sockets_back() {
    let Node { listeners, addresses, progress, loading } = Node::new();
    ask_one(&connect(addresses[1]), b"PING\r\n");
    loading.stop();
    assert_eq!(Arc::strong_count(&progress), 1, "the thread has gone");
    for (listener, address) in listeners.into_iter().zip(addresses) {
        assert!(!rustix::fs::fcntl_getfl(&listener).unwrap().contains(OFlags::NONBLOCK));
        // Whoever comes now waits for the cores, and nobody else has the socket any more.
        let mut client = TcpStream::connect(address).unwrap();
        let listener = TcpListener::from(listener);
        let (mut served, _) = listener.accept().unwrap();
        served.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
        drop((client, served, listener));
        assert!(TcpStream::connect(address).is_err(), "a duplicate is left");
    }
}
