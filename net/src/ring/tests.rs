//! The ring against the kernel, on loopback and a temporary file: every test is bounded by a deadline.

mod files;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

/// Few and small: queues and buffers run out.
const SMALL: RingLimits =
    RingLimits { submission_entries: 8, completion_entries: 16, provided_buffers: 2, provided_buffer_bytes: 512 };

/// Bytes aligned as direct I/O asks; the vector's memory stays where it is.
struct Block {
    memory: Vec<u8>,
    start: usize,
    bytes: usize,
}

impl Block {
    fn new(bytes: usize, fill: u8) -> Self {
        let mut memory = vec![fill; bytes + 4096];
        let start = memory.as_mut_ptr().align_offset(4096);
        Self { memory, start, bytes }
    }
}

// SAFETY: the range lies in a vector that is never resized.
unsafe impl StableBytes for Block {
    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.bytes]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.bytes]
    }
}

/// A ring, and what it has reported that nobody has asked about.
struct Bench {
    ring: Ring<Block>,
    address: SocketAddr,
    accepted: Vec<OwnedFd>,
    received: Vec<(ConnectionId, Vec<u8>)>,
    ended: Vec<(ConnectionId, Option<i32>)>,
    sent: Vec<(ConnectionId, usize, bool)>,
    closed: Vec<ConnectionId>,
    files: Vec<(u64, Block, io::Result<usize>)>,
    woken: usize,
}

impl Bench {
    fn new(limits: &RingLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut ring = Ring::new(limits).unwrap();
        ring.listen(0, listener.into());
        Self {
            ring,
            address,
            accepted: Vec::new(),
            received: Vec::new(),
            ended: Vec::new(),
            sent: Vec::new(),
            closed: Vec::new(),
            files: Vec::new(),
            woken: 0,
        }
    }

    fn turn(&mut self, wait: Wait) {
        self.ring.turn(wait).unwrap();
        while let Some(event) = self.ring.next_event() {
            match event {
                Event::Accepted { listener, socket } => {
                    assert_eq!(listener, 0);
                    self.accepted.push(socket);
                }
                Event::AcceptFailed { error, .. } => panic!("{error}"),
                Event::Received { connection, bytes } => {
                    assert!(!bytes.is_empty());
                    match self.received.last_mut() {
                        Some((last, all)) if *last == connection => all.extend_from_slice(bytes),
                        _ => self.received.push((connection, bytes.to_vec())),
                    }
                }
                Event::Ended { connection, error } => {
                    self.ended.push((connection, error.map(|error| error.raw_os_error().unwrap())));
                }
                Event::Sent { connection, buffer, result } => {
                    self.sent.push((connection, buffer.len(), result.is_ok()));
                }
                Event::Closed { connection } => self.closed.push(connection),
                Event::File { operation, buffer, result } => self.files.push((operation, buffer, result)),
                Event::Woken => self.woken += 1,
            }
        }
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let began = Instant::now();
        while !done(self) {
            assert!(began.elapsed() < DEADLINE, "waited too long until {what}");
            self.turn(Wait::AtMost(Duration::from_millis(20)));
        }
    }

    /// Turns for some time, whatever happens.
    fn idle(&mut self, millis: u64) {
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(millis) {
            self.turn(Wait::AtMost(Duration::from_millis(5)));
        }
    }

    fn connect_socket(&mut self) -> (TcpStream, OwnedFd) {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client.set_write_timeout(Some(DEADLINE)).unwrap();
        self.until("a client is accepted", |bench| !bench.accepted.is_empty());
        (client, self.accepted.remove(0))
    }

    fn connect(&mut self) -> (TcpStream, ConnectionId) {
        let (client, socket) = self.connect_socket();
        (client, self.ring.adopt(socket))
    }

    /// A connection whose socket takes little at a time.
    fn connect_narrow(&mut self) -> (TcpStream, ConnectionId) {
        let (client, socket) = self.connect_socket();
        rustix::net::sockopt::set_socket_recv_buffer_size(&client, 4096).unwrap();
        rustix::net::sockopt::set_socket_send_buffer_size(&socket, 4096).unwrap();
        (client, self.ring.adopt(socket))
    }

    fn bytes_of(&self, connection: ConnectionId) -> Vec<u8> {
        let of = self.received.iter().filter(|(other, _)| *other == connection);
        of.flat_map(|(_, bytes)| bytes.iter().copied()).collect()
    }

    fn bytes(&self) -> usize {
        self.received.iter().map(|(_, bytes)| bytes.len()).sum()
    }
}

/// Bytes that show when a piece is lost, repeated or in the wrong place.
fn pattern(bytes: usize, seed: usize) -> Vec<u8> {
    (0..bytes)
        .map(|at| u8::try_from((at ^ (at >> 8).wrapping_mul(31) ^ (at >> 16).wrapping_mul(7) ^ seed) & 255).unwrap())
        .collect()
}

#[test]
fn accept_receive_send_end_close() {
    let mut bench = Bench::new(&RingLimits::PRODUCTION);
    let (mut client, id) = bench.connect();
    assert_eq!(bench.ring.connections(), 1);
    client.write_all(b"ping").unwrap();
    bench.until("bytes arrive", |bench| bench.bytes() == 4);
    assert_eq!(bench.bytes_of(id), b"ping");
    bench.ring.send(id, b"pong".to_vec());
    bench.until("a send ends", |bench| !bench.sent.is_empty());
    assert_eq!(bench.sent, [(id, 4, true)]);
    let mut buffer = [0; 4];
    client.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"pong");
    client.shutdown(Shutdown::Write).unwrap();
    bench.until("the end", |bench| !bench.ended.is_empty());
    assert_eq!(bench.ended, [(id, None)]);
    // Half-closed: the other direction still works.
    bench.ring.send(id, b"last".to_vec());
    bench.until("a send ends", |bench| bench.sent.len() == 2);
    client.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"last");
    bench.ring.close(id);
    bench.until("closed", |bench| !bench.closed.is_empty());
    assert_eq!(client.read(&mut buffer).unwrap(), 0);
    bench.idle(20);
    assert_eq!((&bench.closed[..], bench.ring.connections(), bench.ended.len()), (&[id][..], 0, 1));
}

#[test]
fn a_large_send_to_a_slow_reader_arrives_whole_and_ends_once() {
    let bytes = pattern(32 << 20, 1);
    let mut bench = Bench::new(&RingLimits::PRODUCTION);
    let (mut client, id) = bench.connect();
    bench.ring.send(id, bytes.clone());
    let reader = thread::spawn(move || {
        let (mut all, mut buffer) = (Vec::new(), vec![0; 256 << 10]);
        while all.len() < 32 << 20 {
            thread::sleep(Duration::from_millis(1));
            let read = client.read(&mut buffer).unwrap();
            assert!(read > 0);
            all.extend_from_slice(&buffer[..read]);
        }
        (all, client)
    });
    bench.until("all is sent", |bench| !bench.sent.is_empty());
    assert_eq!(bench.sent, [(id, 32 << 20, true)]);
    let (all, _client) = reader.join().unwrap();
    assert!(all == bytes);
    bench.idle(20);
    assert_eq!(bench.sent.len(), 1);
}

#[test]
fn a_paused_connection_receives_nothing_until_it_is_resumed() {
    let limits = RingLimits { provided_buffers: 8, provided_buffer_bytes: 4096, ..RingLimits::PRODUCTION };
    let mut bench = Bench::new(&limits);
    let (mut client, id) = bench.connect();
    let bytes = pattern(16 << 20, 3);
    let sent = bytes.clone();
    let writer = thread::spawn(move || {
        client.write_all(&sent).unwrap();
        client
    });
    bench.until("bytes arrive", |bench| bench.bytes() > 1 << 20);
    bench.ring.pause(id);
    bench.ring.pause(id);
    // What was under way when the pause reached the kernel.
    bench.turn(Wait::No);
    bench.turn(Wait::No);
    let at_pause = bench.bytes();
    bench.idle(60);
    assert_eq!(bench.bytes(), at_pause, "a pause stops what comes");
    bench.ring.resume(id);
    bench.until("more arrives", |bench| bench.bytes() > at_pause + (1 << 20));
    // Pauses and resumes that overtake each other within a turn.
    while bench.bytes() < bytes.len() {
        bench.ring.pause(id);
        bench.ring.resume(id);
        bench.turn(Wait::AtMost(Duration::from_millis(20)));
        bench.ring.pause(id);
        bench.turn(Wait::No);
        bench.ring.resume(id);
        let before = bench.bytes();
        bench.until("more arrives", |bench| bench.bytes() > before || before == bytes.len());
    }
    assert!(bench.bytes_of(id) == bytes);
    drop(writer.join().unwrap());
    bench.until("the end", |bench| !bench.ended.is_empty());
    // A pause after the end changes nothing.
    bench.ring.pause(id);
    bench.ring.resume(id);
    bench.ring.close(id);
    bench.until("closed", |bench| !bench.closed.is_empty());
}

#[test]
fn closing_cuts_a_send_off_and_the_id_is_free_only_then() {
    let mut bench = Bench::new(&RingLimits::PRODUCTION);
    let (_client, first) = bench.connect_narrow();
    bench.ring.send(first, pattern(8 << 20, 0));
    bench.idle(10);
    assert!(bench.sent.is_empty(), "the peer does not read");
    bench.ring.close(first);
    let (_other, socket) = bench.connect_socket_before_turning();
    let second = bench.ring.adopt(socket);
    assert_ne!(first, second, "the first is not reported closed");
    bench.until("closed", |bench| !bench.closed.is_empty());
    bench.idle(20);
    assert_eq!(bench.closed, [first]);
    assert!(bench.sent.len() <= 1 && bench.sent.iter().all(|(id, _, ok)| *id == first && !ok));
    let (mut third_client, third) = bench.connect();
    assert_eq!(third, first, "ids stay small");
    third_client.write_all(b"mine").unwrap();
    bench.until("bytes arrive", |bench| bench.bytes() == 4);
    assert_eq!(bench.bytes_of(third), b"mine");
}

impl Bench {
    /// Accepts without the ring, so that no event is taken in between.
    fn connect_socket_before_turning(&mut self) -> (TcpStream, OwnedFd) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0.into())
    }
}

#[test]
fn closing_right_after_a_send_in_the_same_turn_ends() {
    let mut bench = Bench::new(&RingLimits::PRODUCTION);
    for round in 0..20 {
        let (_client, id) = bench.connect();
        bench.ring.send(id, vec![1; 100_000]);
        bench.ring.close(id);
        bench.until("closed", |bench| bench.closed.len() == round + 1);
        assert_eq!(bench.ring.connections(), 0);
    }
}

#[test]
fn a_reset_is_an_end_with_an_error() {
    let mut bench = Bench::new(&RingLimits::PRODUCTION);
    let (client, id) = bench.connect();
    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    drop(client);
    bench.until("the end", |bench| !bench.ended.is_empty());
    assert_eq!(bench.ended, [(id, Some(libc::ECONNRESET))]);
    bench.ring.send(id, b"too late".to_vec());
    bench.until("a send ends", |bench| !bench.sent.is_empty());
    assert_eq!(bench.sent, [(id, 8, false)]);
    bench.ring.close(id);
    bench.until("closed", |bench| bench.closed == [id]);
}

/// Sends to many connections in one turn; every one of them must end once and arrive whole.
fn send_to_many(limits: &RingLimits, connections: usize, bytes: usize) {
    let mut bench = Bench::new(limits);
    let mut clients: Vec<(TcpStream, ConnectionId)> = (0..connections).map(|_| bench.connect_narrow()).collect();
    for (number, (_, id)) in clients.iter().enumerate() {
        bench.ring.send(*id, pattern(bytes, number));
    }
    bench.turn(Wait::No);
    let readers: Vec<_> = clients
        .drain(..)
        .enumerate()
        .map(|(number, (mut client, _))| {
            thread::spawn(move || {
                let mut all = vec![0; bytes];
                client.read_exact(&mut all).unwrap();
                assert!(all == pattern(bytes, number), "what client {number} got");
                client
            })
        })
        .collect();
    bench.until("all is sent", |bench| bench.sent.len() >= connections);
    let _clients: Vec<TcpStream> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    bench.idle(20);
    let mut ids: Vec<ConnectionId> = bench.sent.iter().map(|(id, ..)| *id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), bench.sent.len()), (connections, connections), "each send ends once");
    assert!(bench.sent.iter().all(|(_, _, ok)| *ok));
}

#[test]
fn more_sends_than_submissions_in_a_turn() {
    send_to_many(&RingLimits::PRODUCTION, 300, 10);
    send_to_many(&SMALL, 60, 10);
}

#[test]
fn more_sends_fall_short_than_completions_fit() {
    send_to_many(&SMALL, 60, 200_000);
}

#[test]
fn receiving_goes_on_after_the_buffers_ran_out() {
    let mut bench = Bench::new(&SMALL);
    let mut clients: Vec<(TcpStream, ConnectionId)> = (0..16).map(|_| bench.connect()).collect();
    for (number, (client, _)) in clients.iter_mut().enumerate() {
        client.write_all(&pattern(20_000, number)).unwrap();
    }
    bench.until("everything arrives", |bench| bench.bytes() >= 16 * 20_000);
    for (number, (_, id)) in clients.iter().enumerate() {
        assert!(bench.bytes_of(*id) == pattern(20_000, number), "what client {number} sent");
    }
    drop(clients);
    bench.until("all ends", |bench| bench.ended.len() == 16);
}

#[test]
fn another_rings_wake_ends_a_long_wait() {
    let mut bench = Bench::new(&RingLimits::PRODUCTION);
    // The listener is armed and nothing else is under way.
    bench.idle(10);
    let address = bench.ring.address();
    let other = thread::spawn(move || {
        let mut ring = Ring::<Block>::new(&SMALL).unwrap();
        thread::sleep(Duration::from_millis(50));
        ring.wake(address);
        ring.turn(Wait::No).unwrap();
    });
    let began = Instant::now();
    bench.turn(Wait::AtMost(Duration::from_secs(10)));
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(bench.woken, 1);
    other.join().unwrap();
    let began = Instant::now();
    bench.turn(Wait::AtMost(Duration::from_millis(30)));
    assert!(began.elapsed() >= Duration::from_millis(30), "nothing wakes it twice");
    assert_eq!(bench.woken, 1);
}

#[test]
fn a_bell_wakes_from_a_thread_without_a_ring_every_time() {
    let mut bench = Bench::new(&RingLimits::PRODUCTION);
    let bell = bench.ring.bell().unwrap();
    for rung in 1..=3 {
        let other = {
            let bell = bell.clone();
            thread::spawn(move || bell.ring())
        };
        let began = Instant::now();
        bench.turn(Wait::AtMost(Duration::from_secs(10)));
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(bench.woken, rung);
        other.join().unwrap();
    }
    bench.idle(30);
    assert_eq!(bench.woken, 3, "nothing wakes it again");
}

#[test]
fn after_stop_listening_clients_are_refused_and_served_ones_stay() {
    let mut bench = Bench::new(&RingLimits::PRODUCTION);
    let (mut client, id) = bench.connect();
    bench.ring.stop_listening();
    bench.idle(20);
    let refused = TcpStream::connect(bench.address);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    client.write_all(b"still here").unwrap();
    bench.until("bytes arrive", |bench| bench.bytes() == 10);
    bench.ring.send(id, b"yes".to_vec());
    bench.until("a send ends", |bench| bench.sent == [(id, 3, true)]);
    assert!(bench.accepted.is_empty() && !bench.ring.has_failed_accepts());
}
