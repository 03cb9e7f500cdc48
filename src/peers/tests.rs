//! One core's table of links, without sockets.

mod over_ring;
mod sockets;
mod traffic;

use annulus_net::link::SendError;

use super::*;

const MS: u64 = 1000;
const A: PeerCore = PeerCore { node: NodeId::new(7), core: 3 };
const B: PeerCore = PeerCore { node: NodeId::new(8), core: 0 };

fn place() -> Option<SocketAddr> {
    Some(SocketAddr::from(([127, 0, 0, 1], 17379)))
}

fn peers() -> Peers {
    Peers::new(PeersLimits::PRODUCTION, 1, 0)
}

fn connection(number: usize) -> ConnectionId {
    ConnectionId::from_index(number)
}

fn dialled(peer: PeerCore) -> Connected {
    Connected { peer, version: 2, capabilities: 5, is_dialled: true, skew_ms: -3 }
}

fn accepted(peer: PeerCore) -> Connected {
    Connected { is_dialled: false, ..dialled(peer) }
}

/// Channels and bytes.
type Messages = Vec<(u8, Vec<u8>)>;

/// What a buffer holds, as the other end finds it.
fn messages(buffer: &[u8]) -> Messages {
    let mut link = Link::new(PeersLimits::PRODUCTION.link, 0);
    let mut found = Vec::new();
    link.on_received(buffer, 0, &mut |channel, message| found.push((channel, message.to_vec()))).unwrap();
    found
}

fn framed(channel: u8, message: &[u8]) -> Vec<u8> {
    let mut link = Link::new(PeersLimits::PRODUCTION.link, 0);
    link.send(channel, message).unwrap();
    link.take_output(0).unwrap()
}

fn lost(peers: &mut Peers) -> Vec<u64> {
    std::iter::from_fn(|| peers.next_lost()).map(NodeId::raw).collect()
}

fn send(peers: &mut Peers, peer: PeerCore, bytes: &[u8], now_us: u64) -> Result<(), Unsent> {
    peers.send(peer, place(), Channel::Data, bytes, now_us)
}

/// Gives back what is to be sent, with the connection's number.
fn sent(peers: &mut Peers) -> Vec<(usize, Messages)> {
    let mut all = Vec::new();
    while let Some((connection, buffer)) = peers.next_send() {
        all.push((connection.index(), messages(&buffer)));
        peers.on_sent(connection, buffer, true, peers.steady_us);
    }
    all
}

fn state(peers: &Peers, peer: PeerCore) -> LinkState {
    peers.links().find(|link| link.peer == peer).expect("the peer is known").state
}

#[test]
fn the_first_message_dials_and_the_next_wait_with_it() {
    let mut peers = peers();
    send(&mut peers, A, b"one", 0).unwrap();
    peers.send(A, None, Channel::Control, b"two", 0).unwrap();
    assert_eq!(peers.next_dial(), Some(DialRequest { peer: A, address: place().unwrap() }));
    assert_eq!(peers.next_dial(), None, "one dial at a time");
    assert_eq!(state(&peers, A), LinkState::Dialling);
    assert!(!peers.is_flushed() && peers.next_send().is_none());
    peers.on_connected(connection(4), dialled(A), 10 * MS);
    assert!(peers.owns(connection(4)) && !peers.owns(connection(3)) && !peers.owns(connection(5)));
    assert_eq!(sent(&mut peers), [(4, vec![(1, b"one".to_vec()), (2, b"two".to_vec())])]);
    assert!(peers.is_flushed() && lost(&mut peers).is_empty());
    let expected = LinkState::Connected {
        is_dialled: true,
        since_us: 10 * MS,
        is_doubtful: false,
        version: 2,
        capabilities: 5,
        skew_ms: -3,
    };
    assert_eq!((state(&peers, A), peers.len()), (expected, 1));
}

#[test]
fn whichever_connection_comes_first_takes_what_waits() {
    let mut peers = peers();
    send(&mut peers, A, b"one", 0).unwrap();
    peers.on_connected(connection(0), accepted(A), MS);
    send(&mut peers, A, b"two", MS).unwrap();
    assert_eq!(sent(&mut peers), [(0, vec![(1, b"one".to_vec()), (1, b"two".to_vec())])]);
    // The dial comes about as well: both stand, and messages stay where they are as long as that answers.
    peers.on_connected(connection(1), dialled(A), 2 * MS);
    send(&mut peers, A, b"three", 2 * MS).unwrap();
    assert_eq!(sent(&mut peers), [(0, vec![(1, b"three".to_vec())])]);
    peers.tick(252 * MS);
    send(&mut peers, A, b"four", 252 * MS).unwrap();
    let questioned: Vec<_> = sent(&mut peers).into_iter().filter(|(_, messages)| !messages.is_empty()).collect();
    assert_eq!(questioned, [(1, vec![(1, b"four".to_vec())])], "the older one owes an answer");
    assert!(lost(&mut peers).is_empty());
    assert_eq!((peers.counters().dialled, peers.counters().accepted), (1, 1));
}

#[test]
fn a_failed_dial_loses_what_waited_and_the_next_waits_its_time() {
    let mut peers = peers();
    send(&mut peers, A, b"one", 0).unwrap();
    assert!(peers.next_dial().is_some());
    peers.on_dial_failed(A, "cannot be reached".to_owned(), false, 0);
    assert_eq!(lost(&mut peers), [7]);
    assert_eq!(send(&mut peers, A, b"two", 24 * MS), Err(Unsent::BackingOff));
    assert_eq!(lost(&mut peers), [7], "of every message that is not taken");
    assert!(matches!(state(&peers, A), LinkState::BackingOff { .. }));
    assert_eq!(peers.links().next().unwrap().last_refusal, Some("cannot be reached"));
    send(&mut peers, A, b"three", 50 * MS).unwrap();
    assert!(peers.next_dial().is_some());
    peers.on_dial_failed(A, "other cluster name".to_owned(), true, 50 * MS);
    assert_eq!(send(&mut peers, A, b"four", 1000 * MS), Err(Unsent::BackingOff), "refused: not soon");
    send(&mut peers, A, b"five", 2050 * MS).unwrap();
    peers.on_connected(connection(0), dialled(A), 2051 * MS);
    assert_eq!(peers.links().next().unwrap().last_refusal, None);
    let counters = peers.counters();
    assert_eq!((counters.dials_failed, counters.dials_refused, counters.unsent), (2, 1, 2));
}

#[test]
fn a_dial_of_which_nothing_is_heard_has_failed() {
    let mut peers = peers();
    send(&mut peers, A, b"one", 0).unwrap();
    peers.tick(14_999 * MS);
    assert_eq!(state(&peers, A), LinkState::Dialling);
    peers.tick(15_000 * MS);
    assert!(matches!(state(&peers, A), LinkState::BackingOff { .. }));
    assert_eq!(lost(&mut peers), [7]);
}

#[test]
fn without_an_address_only_a_standing_link_will_do() {
    let mut peers = peers();
    assert_eq!(peers.send(A, None, Channel::Data, b"one", 0), Err(Unsent::NoAddress));
    assert_eq!((lost(&mut peers), peers.next_dial()), (vec![7], None));
    peers.on_connected(connection(0), accepted(A), 0);
    peers.send(A, None, Channel::Data, b"two", 0).unwrap();
    assert_eq!(sent(&mut peers).len(), 1);
}

#[test]
fn a_full_queue_is_said_at_once_and_its_node_told_of_once() {
    let mut peers = peers();
    let long = vec![0; 16 << 20];
    let taken = (0..9).take_while(|_| send(&mut peers, A, &long, 0).is_ok()).count();
    assert_eq!(taken, 2, "the queue of 32 MiB is full with the second");
    assert_eq!(send(&mut peers, A, b"small", 0), Err(Unsent::Link(SendError::Full)));
    send(&mut peers, B, b"small", 0).unwrap();
    assert_eq!(lost(&mut peers), [7]);
    let too_long = send(&mut peers, B, &vec![0; (64 << 20) + 1], 0);
    assert!(matches!(too_long, Err(Unsent::Link(SendError::TooLong { .. }))));
}

#[test]
fn a_link_that_ends_is_closed_once_and_its_node_told_of() {
    let mut peers = peers();
    peers.on_connected(connection(0), dialled(A), 0);
    send(&mut peers, A, b"one", 0).unwrap();
    let (_, buffer) = peers.next_send().unwrap();
    peers.on_ended(connection(0));
    assert_eq!(lost(&mut peers), [7]);
    // What still comes of it is of no interest.
    peers.on_sent(connection(0), buffer, false, 0);
    peers.on_received(connection(0), b"noise", 0, &mut |_, _, _| unreachable!());
    peers.on_ended(connection(0));
    peers.tick(MS);
    assert_eq!((peers.next_close(), peers.next_close()), (Some(connection(0)), None));
    assert!(peers.owns(connection(0)), "its number is not free yet");
    assert_eq!(peers.len(), 0);
    peers.on_closed(connection(0));
    assert!(!peers.owns(connection(0)));
    assert!(lost(&mut peers).is_empty());
    // The number is given again, to another.
    peers.on_connected(connection(0), accepted(B), 0);
    send(&mut peers, B, b"two", 0).unwrap();
    assert_eq!(sent(&mut peers), [(0, vec![(1, b"two".to_vec())])]);
    assert_eq!(state(&peers, A), LinkState::Idle);
}

#[test]
fn a_send_that_failed_ends_the_link() {
    let mut peers = peers();
    peers.on_connected(connection(0), dialled(A), 0);
    send(&mut peers, A, b"one", 0).unwrap();
    let (at, buffer) = peers.next_send().unwrap();
    peers.on_sent(at, buffer, false, 0);
    assert_eq!((peers.next_close(), lost(&mut peers)), (Some(at), vec![7]));
}

#[test]
fn what_comes_is_delivered_with_its_peer_and_channel() {
    let mut peers = peers();
    peers.on_connected(connection(2), accepted(A), 0);
    let bytes = [framed(1, b"data"), framed(4, b"reply")].concat();
    let mut got = Vec::new();
    for piece in bytes.chunks(7) {
        peers.on_received(connection(2), piece, 0, &mut |peer, channel, message| {
            got.push((peer, channel, message.to_vec()));
        });
    }
    assert_eq!(got, [(A, Channel::Data, b"data".to_vec()), (A, Channel::Reply, b"reply".to_vec())]);
    assert_eq!(peers.totals().messages_in, 2);
}

#[test]
fn garbage_ends_one_link_and_disturbs_no_other() {
    let mut peers = peers();
    peers.on_connected(connection(0), accepted(A), 0);
    peers.on_connected(connection(1), accepted(B), 0);
    peers.on_received(connection(0), &[0xee; 40], 0, &mut |_, _, _| unreachable!());
    // A channel that nobody has.
    let mut also = self::peers();
    also.on_connected(connection(0), accepted(A), 0);
    also.on_received(connection(0), &framed(77, b"?"), 0, &mut |_, _, _| unreachable!());
    for peers in [&mut peers, &mut also] {
        assert_eq!((peers.next_close(), peers.counters().bad), (Some(connection(0)), 1));
    }
    let mut got = 0;
    peers.on_received(connection(1), &framed(2, b"fine"), 0, &mut |_, _, _| got += 1);
    send(&mut peers, B, b"fine, too", 0).unwrap();
    assert_eq!((got, sent(&mut peers).len(), lost(&mut peers)), (1, 1, vec![7]));
}

#[test]
fn who_answers_no_more_is_given_up_and_dialled_by_the_next_message() {
    let mut peers = peers();
    peers.on_connected(connection(0), dialled(A), 0);
    send(&mut peers, A, b"one", 0).unwrap();
    let mut now_us = 0;
    while peers.next_close().is_none() {
        sent(&mut peers);
        now_us += 20 * MS;
        peers.tick(now_us);
    }
    assert_eq!((now_us, lost(&mut peers)), (1000 * MS, vec![7]));
    send(&mut peers, A, b"two", now_us).unwrap();
    assert!(peers.next_dial().is_some());
    assert_eq!((peers.counters().dead, peers.counters().ended), (1, 1));
}

#[test]
fn a_process_that_was_stopped_does_not_take_its_peers_for_dead() {
    let mut peers = peers();
    peers.on_connected(connection(0), dialled(A), 0);
    send(&mut peers, A, b"one", 0).unwrap();
    sent(&mut peers);
    // An hour later it goes on; what the peer said meanwhile is read right after.
    let later = 3_600_000 * MS;
    peers.tick(later);
    assert_eq!(peers.next_close(), None);
    peers.on_received(connection(0), &framed(1, b"answer"), later, &mut |_, _, _| ());
    peers.tick(later + 20 * MS);
    assert_eq!(peers.next_close(), None);
}

#[test]
fn of_too_many_connections_to_one_core_the_oldest_goes() {
    let mut peers = peers();
    for number in 0..5 {
        peers.on_connected(connection(number), accepted(A), 0);
    }
    peers.on_connected(connection(5), accepted(B), 0);
    assert_eq!((peers.next_close(), peers.next_close(), peers.len()), (Some(connection(0)), None, 5));
}

#[test]
fn a_node_that_is_no_member_any_more_is_let_go() {
    let mut peers = peers();
    let other_core = PeerCore { core: 1, ..A };
    peers.on_connected(connection(0), accepted(A), 0);
    peers.on_connected(connection(1), accepted(other_core), 0);
    peers.on_connected(connection(2), accepted(B), 0);
    peers.forget(A.node);
    let closes: Vec<usize> = std::iter::from_fn(|| peers.next_close()).map(ConnectionId::index).collect();
    assert_eq!((closes, peers.links().map(|link| link.peer).collect::<Vec<_>>()), (vec![0, 1], vec![B]));
    peers.close_all();
    assert_eq!((peers.next_close(), peers.is_empty()), (Some(connection(2)), true));
    peers.on_closed(connection(0));
}

#[test]
fn who_is_not_needed_for_long_is_forgotten() {
    let mut peers = peers();
    peers.on_connected(connection(0), accepted(A), 0);
    send(&mut peers, B, b"one", 0).unwrap();
    peers.on_dial_failed(B, "no".to_owned(), false, 0);
    peers.tick(599_000 * MS);
    assert_eq!(peers.links().count(), 2);
    peers.tick(600_000 * MS);
    assert_eq!(peers.links().map(|link| link.peer).collect::<Vec<_>>(), [A]);
}
