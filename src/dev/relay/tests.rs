//! Two echoing nodes behind relays: what passes, what is held, what is dropped, which way.

use super::*;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::mpsc;
use std::time::Instant;

const SOON: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(10);

/// An address of the block that no other test of this process uses.
fn address() -> IpAddr {
    use std::sync::atomic::AtomicU8;
    static NEXT: AtomicU8 = AtomicU8::new(1);
    static START: std::sync::OnceLock<u8> = std::sync::OnceLock::new();
    let start = *START.get_or_init(|| (std::process::id() % 200) as u8);
    Ipv4Addr::new(127, 42, start, NEXT.fetch_add(1, Ordering::Relaxed)).into()
}

struct Pair {
    relay: Relay,
    nodes: Vec<RelayedNode>,
    listeners: Vec<TcpListener>,
    sockets: Vec<UdpSocket>,
}

fn pair() -> Pair {
    let mut nodes = Vec::new();
    let (mut listeners, mut sockets) = (Vec::new(), Vec::new());
    for number in 0..2_usize {
        let ip = address();
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let real = listener.local_addr().unwrap();
        sockets.push(UdpSocket::bind(real).unwrap());
        sockets[number].set_read_timeout(Some(SOON)).unwrap();
        let front = TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap();
        nodes.push(RelayedNode { front, real });
        listeners.push(listener);
    }
    let relay = Relay::start(&nodes).unwrap();
    Pair { relay, nodes, listeners, sockets }
}

impl Pair {
    /// Node 0 dials node 1, from its own address: both ends.
    fn dial(&self) -> (TcpStream, TcpStream) {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let bound = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&bound, &SocketAddr::new(self.nodes[0].real.ip(), 0)).unwrap();
        connect(&bound, &self.nodes[1].front).unwrap();
        let dialled = TcpStream::from(bound);
        let (accepted, _) = self.listeners[1].accept().unwrap();
        for stream in [&dialled, &accepted] {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        (dialled, accepted)
    }
}

/// Whether a word arrives, and when it does not at once: whether it does not within a short time.
fn arrives(stream: &mut TcpStream, word: &[u8], patience: Duration) -> bool {
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut bytes = vec![0; word.len()];
    stream.read_exact(&mut bytes).is_ok_and(|()| bytes == word)
}

#[test]
fn streams_are_cut_one_way_and_lose_nothing() {
    let pair = pair();
    let (mut dialled, mut accepted) = pair.dial();
    dialled.write_all(b"one").unwrap();
    assert!(arrives(&mut accepted, b"one", PATIENCE));
    pair.relay.cut_link(0, 1, true);
    std::thread::sleep(LOOK * 2);
    dialled.write_all(b"two").unwrap();
    accepted.write_all(b"back").unwrap();
    assert!(arrives(&mut dialled, b"back", PATIENCE), "the other way is whole");
    assert!(!arrives(&mut accepted, b"two", SOON));
    pair.relay.cut_link(0, 1, false);
    assert!(arrives(&mut accepted, b"two", PATIENCE), "what was held arrives");
    pair.relay.cut_node(1, true, false);
    std::thread::sleep(LOOK * 2);
    accepted.write_all(b"late").unwrap();
    assert!(!arrives(&mut dialled, b"late", SOON), "out of node 1 nothing comes");
    pair.relay.heal_node(1);
    assert!(arrives(&mut dialled, b"late", PATIENCE));
    drop(accepted);
    assert_eq!(dialled.read(&mut [0; 8]).unwrap(), 0, "the end is passed on");
}

#[test]
fn a_connection_over_a_cut_link_waits_until_it_is_mended() {
    let pair = pair();
    pair.relay.cut_node(0, true, true);
    let relay = &pair.relay;
    let (sender, established) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let began = Instant::now();
            let _streams = pair.dial();
            sender.send(began.elapsed()).unwrap();
        });
        std::thread::sleep(SOON);
        relay.heal_node(0);
        assert!(established.recv_timeout(PATIENCE).unwrap() >= SOON);
    });
}

#[test]
fn slow_links_are_late() {
    let pair = pair();
    let (mut dialled, mut accepted) = pair.dial();
    pair.relay.slow_node(1, Duration::from_millis(100));
    let began = Instant::now();
    dialled.write_all(b"word").unwrap();
    assert!(arrives(&mut accepted, b"word", PATIENCE));
    assert!(began.elapsed() >= Duration::from_millis(100));
    let began = Instant::now();
    pair.sockets[0].send_to(b"word", pair.nodes[1].front).unwrap();
    pair.sockets[1].set_read_timeout(Some(PATIENCE)).unwrap();
    pair.sockets[1].recv_from(&mut [0; 8]).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(100));
}

#[test]
fn datagrams_come_from_who_sent_them_and_are_dropped_one_way() {
    let pair = pair();
    let [first, second] = &pair.sockets[..] else { panic!("two nodes") };
    let mut bytes = [0; 16];
    first.send_to(b"hello", pair.nodes[1].front).unwrap();
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    let (count, source) = second.recv_from(&mut bytes).unwrap();
    assert_eq!((&bytes[..count], source), (&b"hello"[..], pair.nodes[0].front));
    second.send_to(b"answer", source).unwrap();
    first.set_read_timeout(Some(PATIENCE)).unwrap();
    let (count, source) = first.recv_from(&mut bytes).unwrap();
    assert_eq!((&bytes[..count], source), (&b"answer"[..], pair.nodes[1].front));
    pair.relay.cut_link(0, 1, true);
    first.send_to(b"lost", pair.nodes[1].front).unwrap();
    second.set_read_timeout(Some(SOON)).unwrap();
    assert!(second.recv_from(&mut bytes).is_err());
    second.send_to(b"passes", pair.nodes[0].front).unwrap();
    let (count, _) = first.recv_from(&mut bytes).unwrap();
    assert_eq!(&bytes[..count], b"passes");
    pair.relay.cut_link(0, 1, false);
    first.send_to(b"again", pair.nodes[1].front).unwrap();
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    let (count, _) = second.recv_from(&mut bytes).unwrap();
    assert_eq!(&bytes[..count], b"again", "what was dropped does not come back");
}

#[test]
fn a_front_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let held = TcpListener::bind((taken.ip(), 0)).unwrap();
    let front = held.local_addr().unwrap();
    let error = Relay::start(&[RelayedNode { front, real: taken }]).unwrap_err();
    assert!(error.to_string().contains(&front.to_string()), "{error}");
}
