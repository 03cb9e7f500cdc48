//! Two cores with rings of their own, each on its thread: dialling, links and messages as the cores' loops run them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use annulus_net::ring::{Event, Ring, RingLimits, Wait};

use super::super::dialer::Dialer;
use super::sockets::plain;
use super::*;
use crate::core_inbox::{CoreEvent, CoreInbox};

/// As a core's loop: everything that comes goes into the table, everything that it asks for is carried out.
struct Core {
    number: u16,
    ring: Ring<Infallible>,
    peers: Peers,
    inbox: CoreInbox,
    dialer: Dialer,
    began: Instant,
    got: Vec<(PeerCore, Channel, Vec<u8>)>,
    lost: usize,
}

impl Core {
    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap()
    }

    fn turn(&mut self) {
        self.ring.turn(Wait::AtMost(Duration::from_millis(2))).unwrap();
        let now_us = self.now_us();
        let Self { ring, peers, got, .. } = self;
        while let Some(event) = ring.next_event() {
            match event {
                Event::Received { connection, bytes } => {
                    peers.on_received(connection, bytes, now_us, &mut |peer, channel, bytes| {
                        got.push((peer, channel, bytes.to_vec()));
                    })
                }
                Event::Sent { connection, buffer, result } => peers.on_sent(connection, buffer, result.is_ok(), now_us),
                Event::Ended { connection, .. } => peers.on_ended(connection),
                Event::Closed { connection } => peers.on_closed(connection),
                _ => {}
            }
        }
        while let Some(event) = self.inbox.next() {
            match event {
                CoreEvent::PeerConnected { connected, socket } => {
                    let connection = self.ring.adopt(socket);
                    self.peers.on_connected(connection, connected, now_us);
                }
                CoreEvent::DialFailed { peer, why, is_refused } => {
                    self.peers.on_dial_failed(peer, why, is_refused, now_us)
                }
                other => panic!("{other:?}"),
            }
        }
        self.peers.tick(now_us);
    }

    fn carry_out(&mut self) {
        while let Some(connection) = self.peers.next_close() {
            self.ring.close(connection);
        }
        while let Some((connection, buffer)) = self.peers.next_send() {
            self.ring.send(connection, buffer);
        }
        while let Some(request) = self.peers.next_dial() {
            if self.dialer.dial(self.number, request).is_err() {
                let now_us = self.now_us();
                self.peers.on_dial_failed(request.peer, "too many dials wait".to_owned(), false, now_us);
            }
        }
        while self.peers.next_lost().is_some() {
            self.lost += 1;
        }
    }
}

const MESSAGES: u32 = 2000;

/// Long ones now and then, the longest beyond one frame by far.
fn message(number: u32) -> Vec<u8> {
    let bytes = if number.is_multiple_of(400) { 3 << 20 } else { number as usize % 300 };
    [&number.to_le_bytes()[..], &vec![number as u8; bytes]].concat()
}

/// Runs one core until it has sent everything and got everything; what it got, and how many notices of loss.
fn run(node: super::sockets::TestNode, number: u16, other: PeerCore, place: SocketAddr) -> (Vec<Vec<u8>>, usize) {
    let mut ring = Ring::new(&RingLimits { provided_buffers: 32, ..RingLimits::PRODUCTION }).unwrap();
    let (sender, inbox) = CoreInbox::new(ring.bell().unwrap());
    let dialer = {
        let mut senders = node.senders.clone();
        senders[usize::from(number)] = sender;
        // The acceptor knows the sender that it was started with.
        Dialer::new(Arc::clone(&node.context), senders)
    };
    let peers = Peers::new(PeersLimits::PRODUCTION, u64::from(number), 0);
    let mut core = Core { number, ring, peers, inbox, dialer, began: Instant::now(), got: Vec::new(), lost: 0 };
    let mut next = 0;
    let mut done_at = None;
    loop {
        assert!(core.began.elapsed() < Duration::from_secs(60), "it hangs: {} of {MESSAGES}", core.got.len());
        core.turn();
        while let Some(CoreEvent::PeerConnected { connected, socket }) = node.inboxes[usize::from(number)].next() {
            let connection = core.ring.adopt(socket);
            let now_us = core.now_us();
            core.peers.on_connected(connection, connected, now_us);
        }
        for _ in 0..50 {
            if next == MESSAGES
                || core.peers.send(other, Some(place), Channel::Data, &message(next), core.now_us()).is_err()
            {
                break;
            }
            next += 1;
        }
        core.carry_out();
        if next == MESSAGES && core.got.len() == MESSAGES as usize && core.peers.is_flushed() {
            // Both have: the last to come is the other's turn.
            let done_at = *done_at.get_or_insert_with(Instant::now);
            if done_at.elapsed() > Duration::from_millis(300) {
                break;
            }
        }
    }
    assert!(core.got.iter().all(|(peer, channel, _)| *peer == other && *channel == Channel::Data));
    (core.got.into_iter().map(|(_, _, message)| message).collect(), core.lost)
}

#[test]
fn messages_of_all_lengths_cross_between_two_cores_that_dial_each_other() {
    let (a, b) = (plain(A.node), plain(B.node));
    let (a_core, b_core) = (PeerCore { node: A.node, core: 1 }, PeerCore { node: B.node, core: 2 });
    let (a_place, b_place) = (a.address, b.address);
    let one = thread::spawn(move || run(a, 1, b_core, b_place));
    let other = thread::spawn(move || run(b, 2, a_core, a_place));
    for (got, lost) in [one.join().unwrap(), other.join().unwrap()] {
        assert_eq!(lost, 0);
        let by_number: BTreeMap<u32, Vec<u8>> =
            got.into_iter().map(|bytes| (u32::from_le_bytes(*bytes.first_chunk().unwrap()), bytes)).collect();
        assert_eq!(by_number.len(), MESSAGES as usize);
        assert!(by_number.iter().all(|(number, bytes)| *bytes == message(*number)));
    }
}
