//! Dialler and acceptor over real sockets, with those who should connect and those who should not.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use annulus_net::handshake::{Dialler, Gate, Identity, Keys, KnownNode, VERSIONS, Wish};
use annulus_net::ring::{Ring, RingLimits};

use super::super::acceptor::Acceptor;
use super::super::dialer::{Dialer, introduce};
use super::super::handshaking::{HandshakeContext, HandshakeCounters, HandshakeFailed};
use super::*;
use crate::core_inbox::{CoreEvent, CoreInbox, CoreSender};

const SMALL_RING: RingLimits =
    RingLimits { submission_entries: 4, completion_entries: 64, provided_buffers: 2, provided_buffer_bytes: 512 };
const CORES: u16 = 4;

/// A node as far as handshakes are concerned.
pub(super) struct TestNode {
    pub(super) context: Arc<HandshakeContext>,
    pub(super) senders: Vec<CoreSender>,
    pub(super) inboxes: Vec<CoreInbox>,
    acceptor: Option<Acceptor>,
    pub(super) address: SocketAddr,
    gate: Arc<AtomicU8>,
}

impl TestNode {
    pub(super) fn dialer(&self) -> Dialer {
        Dialer::new(Arc::clone(&self.context), self.senders.clone())
    }

    /// The next event of a core.
    fn event(&self, core: u16) -> CoreEvent {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(event) = self.inboxes[usize::from(core)].next() {
                return event;
            }
            assert!(Instant::now() < until, "core {core} is told nothing");
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn count(&self, counter: impl Fn(&HandshakeCounters) -> &AtomicU64) -> u64 {
        counter(&self.context.counters).load(Ordering::Relaxed)
    }

    fn dial(&self, peer: PeerCore, address: SocketAddr) -> CoreEvent {
        self.dialer().dial(1, DialRequest { peer, address }).unwrap();
        self.event(1)
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.acceptor.take().into_iter().for_each(Acceptor::end);
    }
}

fn identity(node: NodeId) -> Identity {
    Identity {
        node: node.raw(),
        generation: 1,
        cluster_name: *b"the-name",
        cluster_id: [0xc1; 16],
        partitions: 1024,
        copies: 3,
        host: "host".to_owned(),
        port: 17379,
        versions: VERSIONS,
        capabilities: 1,
    }
}

fn sender() -> (CoreSender, CoreInbox) {
    let mut ring: Ring<std::convert::Infallible> = Ring::new(&SMALL_RING).unwrap();
    CoreInbox::new(ring.bell().unwrap())
}

/// A node that accepts at a port of its own; its clock is `ahead_ms` ahead.
pub(super) fn node(id: NodeId, ahead_ms: u64, change: impl FnOnce(&mut Identity, &mut Keys)) -> TestNode {
    let (mut identity, mut keys) = (identity(id), Keys::new(&[[1; 32]]));
    change(&mut identity, &mut keys);
    let gate = Arc::new(AtomicU8::new(0));
    let shown = Arc::clone(&gate);
    let context = Arc::new(HandshakeContext {
        identity,
        keys,
        hash_key: [0x4a; 16],
        cores: CORES,
        source: IpAddr::V4(Ipv4Addr::LOCALHOST),
        gate: Box::new(move || [Gate::Open, Gate::Loading, Gate::Draining][usize::from(shown.load(Ordering::Relaxed))]),
        clock_ms: Box::new(move || 1_700_000_000_000 + ahead_ms),
        counters: HandshakeCounters::default(),
    });
    let (senders, inboxes): (Vec<_>, Vec<_>) = (0..CORES).map(|_| sender()).unzip();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let known = KnownNode { node: 99, incarnation: 4, generation: 5 };
    let lookup = move |host: &str, port| (host == "host" && port == 17379).then_some(known);
    let acceptor = Acceptor::start(listener, Arc::clone(&context), senders.clone(), Arc::new(lookup)).unwrap();
    TestNode { context, senders, inboxes, acceptor: Some(acceptor), address, gate }
}

pub(super) fn plain(id: NodeId) -> TestNode {
    node(id, 0, |_, _| ())
}

/// Core 2 of B is reached by core 1 of A; the test's sign that service is undisturbed.
fn assert_links(a: &TestNode, b: &TestNode) {
    let wanted = PeerCore { node: B.node, core: 2 };
    let (CoreEvent::PeerConnected { socket: out, .. }, CoreEvent::PeerConnected { socket: into, connected }) =
        (a.dial(wanted, b.address), b.event(2))
    else {
        panic!("no link");
    };
    assert_eq!(connected.peer, PeerCore { node: A.node, core: 1 });
    let (mut out, mut into) = (TcpStream::from(out), TcpStream::from(into));
    out.write_all(b"first bytes").unwrap();
    into.set_nonblocking(false).unwrap();
    let mut read = [0; 11];
    into.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"first bytes");
}

fn failed(event: CoreEvent) -> (String, bool) {
    match event {
        CoreEvent::DialFailed { why, is_refused, .. } => (why, is_refused),
        other => panic!("not failed: {other:?}"),
    }
}

#[test]
fn a_link_stands_between_the_cores_that_were_named() {
    let a = plain(A.node);
    // It is newer, and can do more.
    let b = node(B.node, 90_000, |identity, _| {
        (identity.versions, identity.capabilities) = (1..=*VERSIONS.end() + 1, 0b111);
    });
    let wanted = PeerCore { node: B.node, core: 2 };
    let CoreEvent::PeerConnected { connected, socket } = a.dial(wanted, b.address) else { panic!("no link") };
    let version = *VERSIONS.end();
    let expected = Connected { peer: wanted, version, capabilities: 1, is_dialled: true, skew_ms: 90_000 };
    assert_eq!(connected, expected);
    let mut socket = TcpStream::from(socket);
    let nothing = socket.read(&mut [0; 1]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock, "it does not wait, and holds no byte of the handshake");
    assert!(socket.nodelay().unwrap());
    let CoreEvent::PeerConnected { connected, .. } = b.event(2) else { panic!("no link") };
    let peer = PeerCore { node: A.node, core: 1 };
    assert_eq!(connected, Connected { peer, is_dialled: false, skew_ms: -90_000, ..expected });
    assert_links(&a, &b);
    assert_eq!((a.count(|counters| &counters.established), b.count(|counters| &counters.established)), (2, 2));
}

#[test]
fn who_knows_another_secret_is_refused_and_both_say_so() {
    let (a, b) = (plain(A.node), node(B.node, 0, |_, keys| *keys = Keys::new(&[[2; 32]])));
    let (why, is_refused) = failed(a.dial(B, b.address));
    assert_eq!((why.as_str(), is_refused), ("the peer is refused: wrong secret", true));
    let (why, is_refused) = failed(b.dial(A, a.address));
    assert_eq!((why.as_str(), is_refused), ("the peer is refused: wrong secret", true));
    // The acceptors were told.
    let until = Instant::now() + Duration::from_secs(5);
    while a.count(|counters| &counters.refused_by_peer) + b.count(|counters| &counters.refused_by_peer) < 2 {
        assert!(Instant::now() < until);
        thread::sleep(Duration::from_millis(2));
    }
    assert_links(&a, &plain(B.node));
}

#[test]
fn a_refusal_reaches_the_one_who_dialled() {
    let (a, b) = (plain(A.node), node(B.node, 0, |identity, _| identity.partitions = 64));
    let (why, is_refused) = failed(a.dial(B, b.address));
    let expected = "the peer refuses: other number of partitions (the dialler's 1024, the acceptor's 64)";
    assert_eq!((why.as_str(), is_refused), (expected, true));
    let b = plain(B.node);
    let (why, _) = failed(a.dial(PeerCore { node: B.node, core: 4 }, b.address));
    assert_eq!(why, "the peer refuses: no such core (core 4 of 4)");
    let (why, _) = failed(a.dial(PeerCore { node: NodeId::new(5), core: 0 }, b.address));
    assert_eq!(why, "the peer is refused: another node is at this address (000000000008 instead of 000000000005)");
}

#[test]
fn who_loads_is_tried_again_soon() {
    let (a, b) = (plain(A.node), plain(B.node));
    b.gate.store(1, Ordering::Relaxed);
    assert_eq!(failed(a.dial(B, b.address)), ("the peer refuses: loading".to_owned(), false));
    b.gate.store(2, Ordering::Relaxed);
    assert_eq!(failed(a.dial(B, b.address)), ("the peer refuses: draining".to_owned(), false));
    b.gate.store(0, Ordering::Relaxed);
    assert_links(&a, &b);
}

#[test]
fn where_nobody_listens_a_dial_fails_at_once() {
    let (a, b) = (plain(A.node), plain(B.node));
    let address = b.address;
    drop(b);
    let began = Instant::now();
    let (why, is_refused) = failed(a.dial(B, address));
    assert!(why.starts_with("cannot be reached: ") && !is_refused, "{why}");
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[test]
fn whoever_never_answers_costs_two_seconds_and_nobody_else_anything() {
    let (a, b) = (plain(A.node), plain(B.node));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let began = Instant::now();
    a.dialer().dial(0, DialRequest { peer: B, address: silent.local_addr().unwrap() }).unwrap();
    let mut stranger = TcpStream::connect(b.address).unwrap();
    assert_links(&a, &b);
    assert!(began.elapsed() < Duration::from_secs(1), "a silent one holds up nobody");
    assert_eq!(failed(a.event(0)), ("did not answer in time".to_owned(), false));
    assert!((Duration::from_millis(1900)..Duration::from_secs(4)).contains(&began.elapsed()));
    assert_eq!(stranger.read(&mut [0; 1]).unwrap(), 0, "the stranger is hung up on");
    assert_eq!(b.count(|counters| &counters.failed), 1);
}

#[test]
fn drops_of_bytes_do_not_stretch_the_deadline() {
    let b = plain(B.node);
    let mut stranger = TcpStream::connect(b.address).unwrap();
    let (identity, keys) = (identity(A.node), Keys::new(&[[1; 32]]));
    let (_, hello) = Dialler::hello(&identity, &keys, Wish::Introduction, [1; 16], 0);
    let began = Instant::now();
    for byte in hello {
        if stranger.write_all(&[byte]).is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    assert!((Duration::from_millis(1900)..Duration::from_secs(4)).contains(&began.elapsed()));
}

#[test]
fn garbage_and_frames_cut_anywhere_disturb_nobody() {
    let (a, b) = (plain(A.node), plain(B.node));
    let (identity, keys) = (identity(A.node), Keys::new(&[[1; 32]]));
    let link = Wish::Link { node: B.node.raw(), from_core: 0, to_core: 0 };
    let (_, hello) = Dialler::hello(&identity, &keys, link, [1; 16], 0);
    let mut strangers = 0;
    for end in (0..hello.len()).step_by(3) {
        let mut stranger = TcpStream::connect(b.address).unwrap();
        stranger.write_all(&hello[..end]).unwrap();
        strangers += 1;
        if end % 2 == 0 {
            stranger.shutdown(std::net::Shutdown::Write).unwrap();
            let mut said = Vec::new();
            stranger.read_to_end(&mut said).unwrap();
            assert!(said.is_empty(), "half a hello is answered by nothing");
        }
    }
    for garbage in
        [&b"GET / HTTP/1.1\r\nHost: somebody\r\n\r\n"[..], &[0; 64], &[0xff; 1000], b"*1\r\n$4\r\nPING\r\n----"]
    {
        let mut stranger = TcpStream::connect(b.address).unwrap();
        // It may be hung up on before it has said everything.
        let _ = stranger.write_all(garbage);
        let _ = stranger.read_to_end(&mut Vec::new());
        strangers += 1;
    }
    assert_links(&a, &b);
    let until = Instant::now() + Duration::from_secs(5);
    while b.count(|counters| &counters.failed) + b.count(|counters| &counters.turned_away) < strangers {
        assert!(Instant::now() < until);
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_dialler_takes_garbage_cuts_and_hanging_up() {
    let a = plain(A.node);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut frame = Vec::new();
    annulus_net::peer_frame::write(annulus_net::peer_frame::Label::message(0xff), [b"\x02challenge", &[]], &mut frame);
    let answers =
        [&b""[..], &frame[..9], &frame[..20], &frame, b"-ERR unknown command, and a lot more than a header\r\n"];
    for answer in answers {
        a.dialer().dial(1, DialRequest { peer: B, address }).unwrap();
        let (mut stranger, _) = listener.accept().unwrap();
        stranger.read_exact(&mut [0; 100]).unwrap();
        stranger.write_all(answer).unwrap();
        stranger.shutdown(std::net::Shutdown::Write).unwrap();
        let (why, _) = failed(a.event(1));
        let is_expected = ["closed the connection", "did not send a frame", "the peer is refused: malformed"];
        assert!(is_expected.iter().any(|words| why.starts_with(words)), "{why}");
        drop(stranger);
    }
    assert_links(&a, &plain(B.node));
}

#[test]
fn more_strangers_than_are_listened_to_are_turned_away() {
    let (a, b) = (plain(A.node), plain(B.node));
    let strangers: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(b.address).unwrap()).collect();
    let until = Instant::now() + Duration::from_secs(5);
    while b.count(|counters| &counters.turned_away) < 8 {
        assert!(Instant::now() < until);
        thread::sleep(Duration::from_millis(2));
    }
    drop(strangers);
    while b.count(|counters| &counters.failed) < 32 {
        assert!(Instant::now() < until);
        thread::sleep(Duration::from_millis(2));
    }
    assert_links(&a, &b);
}

#[test]
fn a_newcomer_is_introduced() {
    let b = plain(B.node);
    let newcomer = node(A.node, 0, |identity, _| identity.cluster_id = [0; 16]);
    let introduced = introduce(&newcomer.context, b.address).unwrap();
    assert_eq!((introduced.cluster_id, introduced.hash_key, introduced.node), ([0xc1; 16], [0x4a; 16], 8));
    assert_eq!(introduced.known, Some(KnownNode { node: 99, incarnation: 4, generation: 5 }));
    let elsewhere = node(A.node, 0, |identity, _| {
        identity.cluster_id = [0; 16];
        identity.port = 1;
    });
    assert_eq!(introduce(&elsewhere.context, b.address).unwrap().known, None);
    let wrong = node(A.node, 0, |_, keys| *keys = Keys::new(&[[2; 32]]));
    assert!(matches!(introduce(&wrong.context, b.address), Err(HandshakeFailed::Refused(_))));
    assert!(matches!(introduce(&newcomer.context, newcomer.address), Err(HandshakeFailed::Refused(_))), "itself");
}

#[test]
fn many_dials_at_once_all_come_to_an_end() {
    let (a, b) = (plain(A.node), plain(B.node));
    let dialer = a.dialer();
    for _ in 0..100 {
        dialer.dial(1, DialRequest { peer: B, address: b.address }).unwrap();
    }
    let (mut connected, mut turned_away) = (0, 0);
    for _ in 0..100 {
        match a.event(1) {
            CoreEvent::PeerConnected { .. } => connected += 1,
            CoreEvent::DialFailed { .. } => turned_away += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(connected > 0 && connected + turned_away == 100, "{connected} connected");
    dialer.end();
    assert!(dialer.dial(1, DialRequest { peer: B, address: b.address }).is_err());
}
